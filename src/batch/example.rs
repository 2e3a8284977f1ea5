//! One segment of one recording: undelayed codes with the words that were said.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::stream::Frames;
use crate::text::PlacedWord;
use crate::units::Seconds;
use crate::weights::Region;

/// What a dataset holds a row of.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Unique in its dataset: the recording's path, and `@` with the first frame where it was cut into windows.
    pub id: String,
    /// The recording, as the manifest names it.
    pub path: String,
    /// Where in the recording the segment begins.
    pub start: Seconds,
    /// Its length.
    pub duration: Seconds,
    /// `[stream, time]`, undelayed, -1 where absent.
    pub codes: Frames<Array2<i32>>,
    /// Words of every speaker, in order of start; times count from the segment's beginning and are those of the sound,
    /// without the layout's text lag and silence in front.
    pub words: Vec<PlacedWord>,
    /// Spans of time with a loss weight of their own, cut to the segment; times count from its first frame.
    pub regions: Vec<Region>,
    /// Which side of the split the whole recording is on.
    pub split: Split,
    /// Anything else that the manifest says of the recording, as JSON text.
    pub meta: String,
}

/// For training on, or for measuring by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Trained on.
    Train,
    /// Held out.
    Valid,
}

impl Split {
    /// The side's name.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
        }
    }
}
