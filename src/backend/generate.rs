//! A trained model goes on where codes end.
//!
//! ```text
//! codes      7  4 -2 -2        -2: to be said by the model          sequence   i  7  4 -2 -2  p
//!            1  1  1  1         given all the way                              i  1  1  1  1  p     delays 0, 0, 1
//!            5  9 -2 -2                                                        i  i  5  9 -2 -2
//!                                                                column by column ──>  and back through the undelay line
//! ```

use ndarray::{ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::delay::{Delay, Extent, Sequencer, Start, UndelayLine};
use crate::error::{Error, Result};
use crate::stream::{Frames, Layout, Steps};
use crate::token::UNGENERATED;

/// A model that says the next column of a sequence.
pub trait Generate {
    /// The column behind `steps`. What is `known` of it is taken; for every other stream, in the layout's order,
    /// `choose` is given the logits of all that the stream can say, and gives the id.
    ///
    /// # Shapes
    /// `steps` is `[stream, time]` over the columns so far; `known` and what is returned have an entry for each stream.
    /// # Errors
    /// `Invalid` if a stream is to be said that the model does not say; those of the device.
    fn next(
        &mut self,
        steps: ArrayView2<i32>,
        known: &[Option<i32>],
        choose: &mut dyn FnMut(usize, &[f32]) -> i32,
    ) -> Result<Vec<i32>>;
}

/// How ids are drawn from logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Logits are divided by it; 0, the default, takes the likeliest id.
    pub temperature: f32,
    /// Only so many of the likeliest ids are drawn from; 0, the default, is all of them.
    pub top_k: usize,
    /// Decides all draws; 0 by default.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.0, top_k: 0, seed: 0 }
    }
}

/// Draws ids, the same ones for the same seed.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    /// At the begin of its draws.
    ///
    /// # Errors
    /// `Invalid` for a temperature that is negative or no number.
    pub fn new(sampling: Sampling) -> Result<Self> {
        if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
            return Err(Error::invalid("temperature", sampling.temperature, "a finite number that is not negative"));
        }
        Ok(Sampler { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) })
    }

    /// An id by its logits. Of equal ones the lowest comes first.
    ///
    /// # Examples
    /// ```
    /// use roundelay::backend::{Sampler, Sampling};
    /// let logits = [0.0, 2.0, 2.0, -1.0];
    /// assert_eq!(Sampler::new(Sampling::default())?.choose(&logits), 1);
    /// let mut two = Sampler::new(Sampling { temperature: 1.0, top_k: 2, seed: 7 })?;
    /// assert!((0..50).all(|_| [1, 2].contains(&two.choose(&logits))));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn choose(&mut self, logits: &[f32]) -> i32 {
        let mut ids: Vec<usize> = (0..logits.len()).collect();
        let likelier = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        if self.sampling.temperature == 0.0 {
            return ids.into_iter().min_by(likelier).map_or(0, |id| id as i32);
        }
        let kept = if self.sampling.top_k == 0 { ids.len() } else { self.sampling.top_k.min(ids.len()) };
        if kept < ids.len() {
            ids.select_nth_unstable_by(kept - 1, likelier);
            ids.truncate(kept);
            ids.sort_unstable();
        }
        self.draw(logits, &ids)
    }

    fn draw(&mut self, logits: &[f32], ids: &[usize]) -> i32 {
        let most = ids.iter().map(|&id| logits[id]).fold(f32::NEG_INFINITY, f32::max);
        let share = |id: usize| f64::from((logits[id] - most) / self.sampling.temperature).exp();
        let sum: f64 = ids.iter().map(|&id| share(id)).sum();
        let mut left = self.random.random::<f64>() * sum;
        let drawn = ids.iter().find(|&&id| {
            left -= share(id);
            left < 0.0
        });
        drawn.or(ids.last()).map_or(0, |&id| id as i32)
    }
}

/// Has a model say every ungenerated token (-2) of some codes; frames are handed on as soon as they are complete.
///
/// # Shapes
/// `codes` is `[stream, time]`, undelayed; `each` is given a token of every stream, frame by frame.
/// # Errors
/// As [`Delay::build`](crate::Sequencer::build); `Unsupported` for a layout with a bracket; those of the model and of `each`.
pub fn fill(
    model: &mut impl Generate,
    layout: &Layout,
    codes: Frames<ArrayView2<i32>>,
    mut choose: impl FnMut(usize, &[f32]) -> i32,
    mut each: impl FnMut(&[i32]) -> Result<()>,
) -> Result<()> {
    let mut sequence = Delay::new(layout, Extent::Extend, Start::Initial).build(&codes)?.tokens.0;
    let mut undelay = UndelayLine::new(layout, Extent::Extend, Start::Initial, 1, 0)?;
    let mut frame = vec![0; sequence.nrows()];
    for step in 0..sequence.ncols() {
        let known: Vec<Option<i32>> =
            sequence.column(step).iter().map(|&id| (i64::from(id) != UNGENERATED).then_some(id)).collect();
        if known.contains(&None) {
            let said = model.next(sequence.slice(s![.., ..step]), &known, &mut choose)?;
            sequence.column_mut(step).iter_mut().zip(said).for_each(|(to, id)| *to = id);
        }
        undelay.step(Steps(&sequence.column(step).to_vec()), Frames(&mut frame))?;
        if undelay.wait()[0] == 0 {
            each(&frame)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    /// Says of every stream the id that it had in the column before, plus 1.
    struct Counts;

    impl Generate for Counts {
        fn next(
            &mut self,
            steps: ArrayView2<i32>,
            known: &[Option<i32>],
            choose: &mut dyn FnMut(usize, &[f32]) -> i32,
        ) -> Result<Vec<i32>> {
            let before = steps.column(steps.ncols() - 1);
            let say = |(k, (known, before)): (usize, (&Option<i32>, &i32))| {
                let logits: Vec<f32> = (0..20).map(|id| f32::from(u8::from(id == before + 1))).collect();
                known.unwrap_or_else(|| choose(k, &logits))
            };
            Ok(known.iter().zip(before).enumerate().map(say).collect())
        }
    }

    #[test]
    fn what_is_given_stays_and_the_rest_is_said() {
        let layout = Layout::preset("delay-1").unwrap();
        let codes = arr2(&[[7, 4, -2, -2], [1, 1, 5, 1], [8, -2, -2, -2]]);
        let mut sampler = Sampler::new(Sampling::default()).unwrap();
        let (mut frames, choose) = (Vec::new(), |_: usize, logits: &[f32]| sampler.choose(logits));
        let keep = |frame: &[i32]| {
            frames.extend_from_slice(frame);
            Ok(())
        };
        fill(&mut Counts, &layout, Frames(codes.view()), choose, keep).unwrap();
        let frames = Array2::from_shape_vec((4, 3), frames).unwrap();
        assert_eq!(frames.t(), arr2(&[[7, 4, 5, 6], [1, 1, 5, 1], [8, 9, 10, 11]]));
    }

    #[test]
    fn draws_follow_the_logits() {
        let mut sampler = Sampler::new(Sampling { temperature: 1.0, top_k: 0, seed: 1 }).unwrap();
        let logits = [1f32.ln(), 3f32.ln(), f32::NEG_INFINITY];
        let ones = (0..4000).filter(|_| sampler.choose(&logits) == 1).count();
        assert!((2900..3100).contains(&ones), "{ones} of 4000 for a share of 3/4");
        assert!(Sampler::new(Sampling { temperature: f32::NAN, ..Sampling::default() }).is_err());
    }
}
