//! What a batch takes of a segment: a slice of it, from either side, with its text as it is, moved or left out.
//!
//! ```text
//! segment   text   E  a1 a2  P  E  b1 b2 b3      words a at frame 1, b at frame 5
//!           main   m0 m1 m2 m3 m4 m5 m6 m7
//!           other  o0 o1 o2 o3 o4 o5 o6 o7
//!
//! slice 2..7, its text
//! cut       text         a2  P  E  b1 b2         b at frame 3; a begins before: counted
//! start     text         P   P  E  b1 b2         b at frame 3; a row of its own, for words that start in it
//! drop      text         P   P  P  P  P          b ends behind the border: dropped, and counted
//!
//! swapped   text   the other speaker's words; main o0 o1 ..; other m0 m1 ..
//! ```

mod seen;
mod swap;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::pipeline::Speakers;
use crate::stream::{Kind, Layout, Stream};
use crate::tally::Tally;
use crate::text::{Augment, Augmented, Rule};

use seen::Seen;
pub use swap::check_swap;

/// What a slice's row of text is. A segment that is taken whole keeps its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SliceText {
    /// The segment's row is cut as it stands, so that slices joined are the segment again. A word belongs to the slice
    /// that holds its first token; tokens that follow in the next slice stay in its row.
    #[default]
    Cut,
    /// A row is made of the words that start in the slice, as for [`Border::Start`](crate::window::Border::Start).
    Start,
    /// The same without words that go on behind the slice, as for [`Border::Drop`](crate::window::Border::Drop).
    Drop,
}

impl SliceText {
    /// The choice's name.
    pub fn name(self) -> &'static str {
        match self {
            SliceText::Cut => "cut",
            SliceText::Start => "start",
            SliceText::Drop => "drop",
        }
    }
}

/// How views are made: what is the same for all segments of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct ViewOptions<'a> {
    /// The rows of the segments.
    pub layout: &'a Layout,
    /// How words became a text row, for rows that are made anew.
    pub rule: Rule,
    /// Whose words each text row holds.
    pub speakers: &'a Speakers,
    /// What a slice's row of text is; cut by default.
    pub text: SliceText,
    /// What is done to the text of each view, drawn by its [name](View::name); nothing by default.
    pub augment: Option<Augment>,
}

/// How to look at one segment; by default at all of it, as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Which example of the corpus it is: goes into [`View::index`].
    pub index: u64,
    /// Frames of the segment; all if none.
    pub frames: Option<Range<usize>>,
    /// Whether the two speakers change sides.
    pub swapped: bool,
    /// Whose draws augmentation has.
    pub epoch: u64,
}

/// A segment, or what was made of it for a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The codes, words and regions as they are seen, with times from the view's first frame, and with the id of the
    /// segment that they come from. `start` and `duration` are the view's own.
    pub segment: Segment,
    /// As in [`Look::index`].
    pub index: u64,
    /// The frames of the segment that are in the view.
    pub frames: Range<usize>,
    /// Whether it is all of them.
    pub whole: bool,
    /// Whether the speakers have changed sides: rows of the main speaker hold the other one's codes and words. Labels
    /// in the words are those of the recording still.
    pub swapped: bool,
    /// What was done to each row of text, in order; nothing if nothing was to be done.
    pub augmented: Vec<Augmented>,
    /// What is not in the view: frames (`Skipped`) and words (`OutsideWindow`); words that go on behind it
    /// (`CrossesWindow`); and, where a row of text was made anew, what became of its words.
    pub tally: Tally,
}

impl View {
    /// What the view is called where draws are made for it: the segment's id, with the slice and the side where it is
    /// not the segment as it is, as `a.wav[30..60] swapped`.
    pub fn name(&self) -> String {
        name(&self.segment.id, (!self.whole).then_some(&self.frames), self.swapped)
    }
}

fn name(id: &str, slice: Option<&Range<usize>>, swapped: bool) -> String {
    let slice = slice.map_or(String::new(), |Range { start, end }| format!("[{start}..{end}]"));
    format!("{id}{slice}{}", if swapped { " swapped" } else { "" })
}

impl<'a> ViewOptions<'a> {
    /// Slices with their text cut, and nothing done to it.
    pub fn new(layout: &'a Layout, rule: Rule, speakers: &'a Speakers) -> Self {
        ViewOptions { layout, rule, speakers, text: SliceText::Cut, augment: None }
    }

    /// Checks what does not depend on a segment. Where speakers are to change sides, [`check_swap`] checks more.
    ///
    /// # Errors
    /// `Invalid` if a speaker is not the layout's, if slices are to have rows of their own under a rule that makes one row
    /// of the whole recording, or if augmentation is out of range.
    pub fn check(&self) -> Result<()> {
        self.speakers.check(self.layout)?;
        if self.rule.places_whole() && self.text != SliceText::Cut {
            let expected = format!("cut: the rule {} makes one row of the whole", self.rule.name());
            return Err(Error::invalid("text of a slice", self.text.name(), expected));
        }
        self.augment.map_or(Ok(()), |augment| augment.check())
    }

    /// Looks at a segment.
    ///
    /// Codes are cut; words, regions and times follow and count from the slice's first frame. A word belongs to the slice
    /// that holds its first token or, if its row does not hold it or is made anew for the slice, its sound. Words from
    /// before the segment's beginning or past its end belong to its first or last frame.
    ///
    /// Swapped, codes change rows by codebook, and rows of text are made anew: of words if they are known, pads where the
    /// speaker says nothing. Text that nobody knows stays absent, and so is that of a speaker who has no channel in the
    /// segment. Rows are made anew too where the text is moved; for a
    /// slice whose text is cut, that of the whole segment is made and cut. Words from a dataset do not say when each of
    /// their tokens begins: the rule jmoshi then spreads them evenly over the word.
    ///
    /// # Errors
    /// `Invalid` if the frames are not all the segment's, or are none, or if it is not told which of several labels the
    /// other speaker has; `StreamCount`; `Unsupported` as [`check_swap`]. Those of [`check`](Self::check) and
    /// [`Rule::place`].
    /// # Examples
    /// ```
    /// use ndarray::arr2;
    /// use roundelay::batch::{Segment, Split};
    /// use roundelay::pipeline::{Look, Speakers, ViewOptions};
    /// use roundelay::text::Rule;
    /// use roundelay::{Frames, Layout, Seconds};
    ///
    /// let layout = Layout::preset("delay-1")?;
    /// let segment = Segment {
    ///     id: "a.wav".into(),
    ///     path: "a.wav".into(),
    ///     start: Seconds::ZERO,
    ///     duration: "0.4".parse()?,
    ///     codes: Frames(arr2(&[[0, 6312, 28709, 3, 3], [10, 11, 12, 13, 14], [20, 21, 22, 23, 24]])),
    ///     words: vec![],
    ///     regions: vec![],
    ///     split: Split::Train,
    ///     meta: String::new(),
    /// };
    /// let speakers = Speakers::default();
    /// let options = ViewOptions::new(&layout, Rule::Moshi, &speakers);
    /// let view = options.view(&segment, &Look { frames: Some(2..5), ..Look::default() })?;
    /// assert_eq!(view.segment.codes.0, arr2(&[[28709, 3, 3], [12, 13, 14], [22, 23, 24]]));
    /// assert_eq!((view.segment.start, view.segment.duration), ("0.16".parse()?, "0.24".parse()?));
    /// assert_eq!(view.name(), "a.wav[2..5]");
    /// assert_eq!(options.view(&segment, &Look::default())?.segment, segment);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn view(&self, segment: &Segment, look: &Look) -> Result<View> {
        let seen = Seen::new(self, segment, look).and_then(Seen::view);
        seen.map_err(|e| e.in_recording(&segment.id))
    }

    /// The text rows with their streams.
    fn text_rows(&self) -> impl Iterator<Item = (usize, &'a Stream)> + use<'a> {
        self.layout.streams().iter().enumerate().filter(|(_, stream)| stream.kind == Kind::Text)
    }
}
