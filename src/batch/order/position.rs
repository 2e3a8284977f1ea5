//! Where a run stands in an order, and whether another run's order goes on from there.

use serde::{Deserialize, Serialize};

use super::{OrderOptions, Source};
use crate::error::{Error, Result};

/// A step of an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// From 0.
    pub epoch: u64,
    /// Global batch of the epoch, from 0.
    pub step: u64,
}

/// What a run keeps, in order to go on from there: the next step, and what the order was made from.
///
/// ```text
/// {"epoch": 3, "step": 1500, "rows": 128, "corpus": "5c0f..", "options": "91ab.."}
///                                   |              |                  seed, pool, shuffle, crop, packing
///                                   |              lengths, blocks and weights of the sources, in their order
///                                   rows of a global batch: batch x world, however it is shared out
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epoch of the next step.
    pub epoch: u64,
    /// The next step.
    pub step: u64,
    /// Rows of a global batch.
    pub rows: u64,
    /// Hash of the sources: of lengths, blocks and weights, and not of what is in the segments.
    pub corpus: String,
    /// Hash of the options but for batch and world.
    pub options: String,
}

/// What positions of one order have in common.
#[derive(Debug)]
pub(super) struct Plan {
    corpus: String,
    options: String,
}

/// Orders that are drawn in another way than this version's have another number.
const DRAWN_AS: u64 = 1;

impl Plan {
    pub fn new(sources: &[Source], options: &OrderOptions) -> Self {
        let mut corpus = Digest::default();
        for source in sources {
            corpus.add(source.weight.to_bits());
            corpus.add(source.lengths.len() as u64);
            source.lengths.iter().for_each(|&length| corpus.add(length.into()));
            corpus.add(source.blocks.len() as u64);
            source.blocks.iter().for_each(|block| corpus.add(block.end as u64));
        }
        let mut drawn = Digest::default();
        drawn.add(DRAWN_AS);
        let options = OrderOptions { batch: 1, world: 1, ..options.clone() };
        let json = serde_json::to_vec(&options).expect("options are plain data");
        json.into_iter().for_each(|byte| drawn.add(byte.into()));
        Plan { corpus: corpus.hex(), options: drawn.hex() }
    }

    pub fn position(&self, at: Place, rows: usize) -> Position {
        let (corpus, options) = (self.corpus.clone(), self.options.clone());
        Position { epoch: at.epoch, step: at.step, rows: rows as u64, corpus, options }
    }

    /// Checks that a position is one of this order's.
    pub fn check(&self, position: &Position, options: &OrderOptions) -> Result<()> {
        if position.corpus != self.corpus {
            let expected = format!(
                "{}, as where the run stopped: check that the datasets, their order and their weights are the same",
                position.corpus
            );
            return Err(Error::invalid("hash of the corpus", &self.corpus, expected));
        }
        if position.options != self.options {
            let expected = format!(
                "{}, as where the run stopped: check seed, pool (which a cache bounds), pooling, shuffle, crop, sides and packing",
                position.options
            );
            return Err(Error::invalid("hash of the order's options", &self.options, expected));
        }
        check_rows(position.rows, options)
    }
}

fn check_rows(rows: u64, options: &OrderOptions) -> Result<()> {
    let OrderOptions { batch, world, .. } = options;
    if options.rows() as u64 == rows {
        return Ok(());
    }
    let world = *world as u64;
    let expected = match rows.is_multiple_of(world) {
        true => format!("{rows}, as where the run stopped: a batch of {} on each of {world} ranks", rows / world),
        false => format!("{rows}, as where the run stopped, which {world} ranks cannot share evenly"),
    };
    Err(Error::invalid("rows of a global batch", format!("{} ({batch} on {world} ranks)", options.rows()), expected))
}

/// A 128-bit hash of numbers: it tells plans apart that differ by mistake, not by intent.
struct Digest([u64; 2]);

impl Default for Digest {
    fn default() -> Self {
        Digest([0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344])
    }
}

impl Digest {
    fn add(&mut self, word: u64) {
        let Digest([a, b]) = self;
        *a = (*a ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        *a ^= *a >> 32;
        *b = (b.rotate_left(23) ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        *b ^= *b >> 29;
    }

    fn hex(&self) -> String {
        format!("{:016x}{:016x}", self.0[0], self.0[1])
    }
}
