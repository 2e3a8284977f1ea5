//! Weights of one clip in a batch of clips of unlike lengths: counted first, written once the whole batch is counted.
//!
//! ```text
//! clip 0    count  ┐                     ┌ write
//! clip 1    count  ┼ sums of the batch ──┼ write        a normalisation divides by what all clips weigh together
//! clip 2    count  ┘                     └ write
//! ```

use super::example::{Example, Factors};
use super::scale::{Row, Scales, Spare, Walk};
use super::{Sums, Weighing};
use crate::delay::{Sequencer, Tracks};
use crate::error::Result;
use crate::token::{Token, all_present};

/// What is known of a clip once its codes have been looked at.
pub(crate) struct Counted {
    scales: Scales,
    factors: Factors,
    /// The way of its streams through the targets.
    said: Tracks,
}

impl Counted {
    /// A clip of `frames` frames, whose targets are `steps` steps walked by `said`. The policy was checked before.
    pub fn new(
        weighing: &Weighing,
        sequencer: &impl Sequencer,
        example: Example,
        (frames, steps): (usize, usize),
        said: Tracks,
    ) -> Result<Self> {
        let factors = weighing.of_example(example, frames)?;
        let walk = Walk { tracks: &said, frames, steps };
        let scales = Scales::of_checked(weighing.policy, weighing.layout, sequencer, walk);
        Ok(Counted { scales, factors, said })
    }

    /// The way of its streams through the targets.
    pub fn said(&self) -> &Tracks {
        &self.said
    }

    /// Counts stream `k`, which comes after those before it.
    pub fn count<A: Token>(&mut self, k: usize, codes: &[A]) {
        self.scales.count(k, codes, all_present(codes), &self.factors, &self.said);
    }

    /// What the raw weights add up to.
    pub fn sums(&self) -> &Sums {
        &self.scales.sums
    }

    /// Divides by the sums of the whole batch.
    pub fn divide(&mut self, weighing: &Weighing, sums: &Sums) {
        self.scales.divide(weighing.policy, sums);
    }

    /// Writes weights and reasons of stream `k`'s targets.
    pub fn write<A: Token>(&self, k: usize, codes: &[A], weights: &mut [f32], reasons: &mut [u8], spare: &mut Spare) {
        let row = Row { codes, present: self.scales.present[k], factors: &self.factors };
        let (scale, pieces) = (&self.scales.streams[k], self.said.of(k));
        scale.place_weights(pieces, row, weights, &mut spare.weights);
        scale.place_reasons(pieces, row, reasons, &mut spare.reasons);
    }
}
