//! The figures, as plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use super::spread::Spread;
use crate::tally::Tally;
use crate::units::Seconds;

/// What is known of the segments of a dataset; displays as a table.
///
/// What the words mean is said at the head of [`Conversation`](super::Conversation). Shares and rates are none where
/// they would be divided by 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Lengths of the segments.
    pub segments: Lengths,
    /// Frames of all segments.
    pub frames: u64,
    /// The silence in seconds that a unit may have inside.
    pub unit_silence: Seconds,
    /// All speakers together. A time in which several speak is counted once in `speech_seconds`, `pauses`, `gaps` and
    /// `overlaps`, and for each of them in `units` and `turns`.
    pub all: SpeakerStatistics,
    /// Each speaker by the label in the words.
    pub speakers: BTreeMap<String, SpeakerStatistics>,
    /// Each row of text.
    pub text: Vec<TextStatistics>,
    /// What happened as the dataset was written, to all of its segments, also where only some are counted here: for the
    /// caller to fill in, as segments do not tell it.
    pub events: Option<Tally>,
}

/// How much and when somebody speaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SpeakerStatistics {
    /// Words said.
    pub words: u64,
    /// Their tokens, also those that no row holds.
    pub tokens: u64,
    /// The union of the words' spans.
    pub speech_seconds: Seconds,
    /// Of all time.
    pub speech_share: Option<f64>,
    /// Words in a second of all time.
    pub words_per_second: Option<f64>,
    /// Words in a second of speech.
    pub words_per_second_of_speech: Option<f64>,
    /// Units with nothing but pauses between them.
    pub turns: Lengths,
    /// Speech without longer silences.
    pub units: Lengths,
    /// Silences before the speaker goes on.
    pub pauses: Lengths,
    /// Silences after somebody else, before the speaker begins.
    pub gaps: Lengths,
    /// Times in which somebody else speaks as well.
    pub overlaps: Lengths,
    /// Of all time.
    pub overlap_share: Option<f64>,
    /// Words that a row of text holds.
    pub in_row: InRow,
}

/// Words in a row of text, and how they came into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InRow {
    /// Words of which a row holds a token. The others are of speakers without a row, have no tokens, or found no room
    /// before the end; the dataset's events say which.
    pub words: u64,
    /// By how many frames words stand later than the layout wants them, in the middle of those that do: exact below 2048,
    /// to a thousandth above. None if no word is late, or if lateness is not looked at.
    pub late_median_frames: Option<u64>,
    /// By how many frames at most.
    pub late_most_frames: Option<u64>,
}

/// What the cells of one row of text hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TextStatistics {
    /// The row's name.
    pub stream: String,
    /// Its cells.
    pub frames: u64,
    /// Cells with tokens of words.
    pub tokens: u64,
    /// Cells with the pad.
    pub pads: u64,
    /// Cells with the end of pad.
    pub end_pads: u64,
    /// Cells without a token.
    pub absent: u64,
    /// Of pads in all cells.
    pub pad_share: Option<f64>,
}

/// Lengths of time: how many, and how long.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Lengths {
    /// How many there are.
    pub count: u64,
    /// Their sum.
    pub seconds: Seconds,
    /// The shortest.
    pub least: Option<Seconds>,
    /// The one in the middle, of two the shorter: rounded down to the millisecond below two seconds, by less than a
    /// thousandth above.
    pub median: Option<Seconds>,
    /// The longest.
    pub most: Option<Seconds>,
    /// Where each class of lengths begins and how many are in it: below 0.125 s, from there to 0.25 s, 0.5 s, 1 s, and
    /// so on by doubling. Empty classes are left out.
    pub histogram: Vec<(Seconds, u64)>,
}

impl Lengths {
    pub(in crate::report) fn of(spread: &Spread) -> Self {
        Lengths {
            count: spread.count(),
            seconds: spread.total(),
            least: spread.least(),
            median: spread.median(),
            most: spread.most(),
            histogram: spread.histogram(),
        }
    }
}

/// A part of a whole that is not 0.
pub(in crate::report) fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
