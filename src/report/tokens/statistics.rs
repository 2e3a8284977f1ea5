//! The figures, as plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::conversation::Lengths;
use crate::units::Seconds;

/// What is known of the codes of a dataset; displays as tables.
///
/// What the words mean is said at the head of [`TokenCounts`](super::TokenCounts). Shares and entropies are none where
/// nothing was counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenStatistics {
    /// The length from which on a run of one code is stuck.
    pub stuck_seconds: Seconds,
    /// The share of an even share below which a code is dead.
    pub dead_share: f64,
    /// The sides of the split, `train` and `valid`.
    pub splits: BTreeMap<String, SplitStatistics>,
    /// Each stream, in the layout's order.
    pub streams: Vec<StreamStatistics>,
}

/// The segments of one side of the split.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SplitStatistics {
    /// Their length together.
    pub hours: f64,
    /// How many there are, and how long they are.
    pub segments: Lengths,
    /// How many frames they have.
    pub frames: FrameLengths,
}

/// Lengths in frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FrameLengths {
    /// Frames of all segments.
    pub sum: u64,
    /// Of the shortest one.
    pub least: Option<u64>,
    /// Of the one in the middle, of two the shorter: exact below 2048, to a thousandth above.
    pub median: Option<u64>,
    /// Of the longest one.
    pub most: Option<u64>,
    /// Where each class of lengths begins and how many are in it: 0, 1, from 2 on, from 4 on, and so on by doubling. Empty
    /// classes are left out.
    pub histogram: Vec<(u64, u64)>,
}

/// How one stream uses its codes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StreamStatistics {
    /// The stream's name.
    pub stream: String,
    /// Its cells.
    pub frames: u64,
    /// Cells that hold a code, or a text id.
    pub tokens: u64,
    /// Cells without.
    pub absent: u64,
    /// Of all cells.
    pub absent_share: Option<f64>,
    /// Cells with the pad, of all cells; text only.
    pub pad_share: Option<f64>,
    /// Codes that there are.
    pub cardinality: u32,
    /// Codes that occur; none, as in the three figures that follow, where the layout has more codes than are counted.
    pub used: Option<u64>,
    /// Codes that occur hardly or not at all.
    pub dead: Option<u64>,
    /// Of the codes as they occur.
    pub entropy_bits: Option<f64>,
    /// 2 to the power of that.
    pub perplexity: Option<f64>,
    /// Cells that hold a code, as the cell before does.
    pub pairs: u64,
    /// Of a code when the one before is known; none if no code of the sample has occurred.
    pub pair_entropy_bits: Option<f64>,
    /// The share of codes whose pairs were counted, besides pads: 1 where there was room for all.
    pub pairs_sample: f64,
    /// The share of pairs that were counted.
    pub pairs_counted: Option<f64>,
    /// Cells with the code of the cell before.
    pub repeats: u64,
    /// Of the pairs.
    pub repeat_share: Option<f64>,
    /// The longest run of one code, of those of two frames and more.
    pub longest_run: Option<LongestRun>,
    /// Runs that are stuck.
    pub stuck: u64,
    /// Their cells.
    pub stuck_frames: u64,
}

/// A run of one code, and where it is. Of several as long, the one whose segment's name comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LongestRun {
    /// The segment's id.
    pub segment: String,
    /// First frame in the segment.
    pub frame: usize,
    /// The code.
    pub code: u32,
    /// How many there are.
    pub frames: usize,
    /// How long that is.
    pub seconds: Seconds,
}
