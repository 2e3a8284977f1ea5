//! What the frames of one example count, beside what their codes weigh.
//!
//! ```text
//! frame              0  1  2  3  4
//! region x 2            └──┘            every stream           1  2  2  1  1
//! drawn              x  .  x  x  .      the depth stage's      1  0  2  1  0
//! ```

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{DepthFrames, Reason, Region, Weighing};
use crate::error::{Error, Result};

/// What is known of one example of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Example<'a> {
    /// Which example of the corpus it is: with the policy's seed, it decides which frames are drawn.
    pub index: u64,
    /// Spans of its time with a weight of their own; the later wins.
    pub regions: &'a [Region],
}

/// Factors of an example's frames.
#[derive(Debug, Clone, Default)]
pub(super) struct Factors {
    /// In any stream; empty where every frame counts once.
    any: Vec<f32>,
    /// In streams of the depth transformer's, with 0 where a frame was not drawn; empty where all are.
    depth: Vec<f32>,
    /// [`Reason::REGION`] where a region applies; as long as `any`.
    marks: Vec<u8>,
    /// Which frames were drawn; as long as `depth`.
    drawn: Vec<bool>,
}

impl Weighing<'_> {
    /// The factors of each example of a batch.
    pub(super) fn factors(&self, batch: usize, frames: usize) -> Result<Vec<Factors>> {
        if !self.examples.is_empty() && self.examples.len() != batch {
            return Err(Error::invalid("number of examples", self.examples.len(), format!("{batch}, as in the codes")));
        }
        let of =
            |place: usize| self.examples.get(place).copied().unwrap_or(Example { index: place as u64, regions: &[] });
        (0..batch).map(|place| self.of_example(of(place), frames)).collect()
    }

    /// The factors of one example.
    pub(super) fn of_example(&self, example: Example, frames: usize) -> Result<Factors> {
        let mut factors = Factors::default();
        if !example.regions.is_empty() {
            (factors.any, factors.marks) = (vec![1.0; frames], vec![0; frames]);
        }
        for region in example.regions {
            region.validate()?;
            let touched = region.frames(self.layout.frame_rate(), frames);
            factors.any[touched.clone()].fill(region.weight);
            factors.marks[touched].fill(Reason::REGION);
        }
        if let Some(depth) = self.policy.depth_frames {
            factors.drawn = depth.draw(example.index, frames);
            let of = |t: usize| factors.any.get(t).copied().unwrap_or(1.0);
            let each = factors.drawn.iter().enumerate();
            factors.depth = each.map(|(t, &drawn)| if drawn { of(t) } else { 0.0 }).collect();
        }
        Ok(factors)
    }
}

impl DepthFrames {
    /// Which of an example's frames are drawn. Of fewer frames, the same are.
    fn draw(self, example: u64, frames: usize) -> Vec<bool> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(example);
        (0..frames).map(|_| rng.random_bool(self.share)).collect()
    }
}

impl Factors {
    /// One for each frame, or none where every frame counts once.
    pub fn of(&self, depth: bool) -> &[f32] {
        if depth && !self.depth.is_empty() { &self.depth } else { &self.any }
    }

    /// Multiplies the weights of a stream's frames.
    pub fn scale(&self, depth: bool, weights: &mut [f32]) {
        weights.iter_mut().zip(self.of(depth)).for_each(|(weight, factor)| *weight *= factor);
    }

    /// Marks the reasons of a stream's frames.
    pub fn mark(&self, depth: bool, reasons: &mut [u8]) {
        let skipped = |reason: u8, drawn: bool| !drawn && reason == Reason::Token as u8;
        if depth {
            let cells = reasons.iter_mut().zip(&self.drawn);
            cells
                .filter(|(reason, drawn)| skipped(**reason, **drawn))
                .for_each(|(reason, _)| *reason = Reason::Skipped as u8);
        }
        reasons.iter_mut().zip(&self.marks).for_each(|(reason, mark)| *reason |= mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_example_and_the_seed() {
        let draw = |seed, example, frames| DepthFrames { share: 0.25, seed }.draw(example, frames);
        assert_eq!(draw(1, 7, 400), draw(1, 7, 400));
        assert_eq!(draw(1, 7, 400)[..30], draw(1, 7, 30));
        assert_ne!(draw(1, 7, 400), draw(1, 8, 400));
        assert_ne!(draw(1, 7, 400), draw(2, 7, 400));
        let drawn = draw(1, 7, 40_000).iter().filter(|&&drawn| drawn).count();
        // Three deviations of a binomial draw are 260.
        assert!(drawn.abs_diff(10_000) < 260, "{drawn}");
        let all = |share| DepthFrames { share, seed: 3 }.draw(0, 99).iter().filter(|&&drawn| drawn).count();
        assert_eq!((all(0.0), all(1.0)), (0, 99));
    }
}
