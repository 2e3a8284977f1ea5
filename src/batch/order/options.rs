//! What an order is made from.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::views::Crop;
use crate::batch::Packing;
use crate::error::{Error, Result};

/// One dataset as an order sees it: the lengths of its segments.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Frames of each segment, by its number.
    pub lengths: Arc<[u32]>,
    /// Segments that are read at once (a row group), one range behind the other over all segments; none if each is
    /// read by itself.
    pub blocks: Vec<Range<usize>>,
    /// How often an epoch goes through the source: 1 is once; 0.5 one half in turn; 2.5 twice or three times.
    pub weight: f64,
}

impl Source {
    /// A source of weight 1 without blocks.
    pub fn new(lengths: impl Into<Arc<[u32]>>) -> Self {
        Source { lengths: lengths.into(), blocks: Vec::new(), weight: 1.0 }
    }
}

/// How an order is drawn. All but `world` is part of the plan: on another number of ranks with as many rows in all, the
/// order is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrderOptions {
    /// Of all draws; 0 by default.
    pub seed: u64,
    /// Rows of one rank at each step; 16 by default.
    pub batch: usize,
    /// Ranks that train together; 1 by default. A global batch has `batch` times `world` rows.
    pub world: usize,
    /// Items in a pool, 16,384 by default; rounded down to whole global batches, at least one.
    ///
    /// A larger pool mixes better and, with `pooling`, pads less; a reader has to keep as much at hand.
    pub pool: usize,
    /// Whether items of near-equal length share a batch, so that little is padded; true by default.
    pub pooling: bool,
    /// What is shuffled; blocks by default.
    pub shuffle: Shuffle,
    /// Which frames of a segment are one view; whole segments by default.
    pub crop: Crop,
    /// Whether each view is also seen with main and other speaker swapped; false by default. An order does not see who
    /// speaks: of a recording of one speaker, the other side weighs nothing where its rows are absent.
    pub both_sides: bool,
    /// Several items in a row; one by default.
    pub packing: Option<Packing>,
}

/// What is shuffled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shuffle {
    /// Blocks, then the items of a pool. Without blocks it is [`Shuffle::Full`].
    ///
    /// Items of one block come in one pool or in two that follow each other, and are as good as independent within it. So
    /// that a batch is a fair draw of the corpus, let a pool hold many blocks, and let blocks not be sorted by what is in
    /// them.
    #[default]
    Blocks,
    /// All items: any order of a pass is as likely as any other. Each item may need a block of its own to be read.
    Full,
    /// Nothing: items come as they are stored, one source behind the other.
    Stored,
}

impl Default for OrderOptions {
    fn default() -> Self {
        OrderOptions {
            seed: 0,
            batch: 16,
            world: 1,
            pool: 16_384,
            pooling: true,
            shuffle: Shuffle::Blocks,
            crop: Crop::Whole,
            both_sides: false,
            packing: None,
        }
    }
}

/// Weights above this are refused: places of an epoch are counted in 64 bits.
const MOST_WEIGHT: f64 = (1 << 20) as f64;
/// Weights below this are refused but for 0: whoever looks for the next item goes through as many empty epochs.
const LEAST_WEIGHT: f64 = 1e-6;

impl OrderOptions {
    /// Rows of a global batch.
    pub fn rows(&self) -> usize {
        self.batch.saturating_mul(self.world)
    }

    /// Checks what can be told without sources.
    pub(super) fn check(&self) -> Result<()> {
        for (what, number) in [("batch", self.batch), ("world", self.world), ("pool", self.pool)] {
            if number == 0 || u32::try_from(number).is_err() {
                return Err(Error::invalid(what, number, format!("1 to {}", u32::MAX)));
            }
        }
        match u32::try_from(self.rows()) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::over_limit("rows of a global batch", self.rows(), u32::MAX)),
        }
    }
}

impl Source {
    /// Checks the weight, and that blocks cover the segments.
    pub(super) fn check(&self) -> Result<()> {
        if self.weight != 0.0 && !(LEAST_WEIGHT..=MOST_WEIGHT).contains(&self.weight) {
            let expected = format!("0, or {LEAST_WEIGHT} to {MOST_WEIGHT}");
            return Err(Error::invalid("weight of the source", self.weight, expected));
        }
        let mut covered = 0;
        for block in &self.blocks {
            if block.start != covered || block.end < block.start {
                return Err(Error::invalid("block", format!("{block:?}"), format!("one that begins at {covered}")));
            }
            covered = block.end;
        }
        match self.blocks.is_empty() || covered == self.lengths.len() {
            true => Ok(()),
            false => Err(Error::invalid("segments in blocks", covered, format!("all {}", self.lengths.len()))),
        }
    }
}
