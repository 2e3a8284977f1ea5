//! Which rows of a batch are picked, and the noise on copies: all that is random in a step.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Picks rows of the whole batch: of all workers' rows, in the order of their ranks.
///
/// Workers that hold replicas must draw alike: each asks its own `Draws` the same questions in the same order.
pub trait Draws {
    /// `count` rows of `n`: all different while there are enough.
    ///
    /// # Panics
    /// If there is none to draw from.
    fn rows(&mut self, n: usize, count: usize) -> Vec<usize>;

    /// `width` draws of the normal distribution of variance 1, for row `row` of a batch that is repeated because it has
    /// too few rows.
    fn noise(&mut self, row: usize, width: usize) -> Vec<f32>;
}

/// Draws that follow from a seed.
///
/// # Examples
/// ```
/// use roundelay::codebook::{Draws, SeededDraws};
///
/// let (mut one, mut other) = (SeededDraws::new(7), SeededDraws::new(7));
/// let mut rows = one.rows(10, 10);
/// assert_eq!(rows, other.rows(10, 10));
/// rows.sort();
/// assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SeededDraws(ChaCha8Rng);

impl SeededDraws {
    /// Starts the draws of one seed.
    pub fn new(seed: u64) -> Self {
        SeededDraws(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    /// Whether something of this chance happens.
    pub(super) fn happens(&mut self, chance: f64) -> bool {
        self.0.random::<f64>() < chance
    }
}

impl Draws for SeededDraws {
    fn rows(&mut self, n: usize, count: usize) -> Vec<usize> {
        assert!(n > 0 || count == 0, "rows are drawn from at least one");
        if n < count {
            return (0..count).map(|_| self.0.random_range(0..n)).collect();
        }
        // Floyd's sampling: as many draws as rows are picked, however many there are to pick from.
        let mut picked = BTreeSet::new();
        let pick = |last| {
            let row = self.0.random_range(0..=last);
            if picked.insert(row) {
                return row;
            }
            picked.insert(last);
            last
        };
        let mut rows: Vec<usize> = (n - count..n).map(pick).collect();
        // Late places tend to hold late rows until they are mixed.
        rows.shuffle(&mut self.0);
        rows
    }

    fn noise(&mut self, _row: usize, width: usize) -> Vec<f32> {
        (0..width).map(|_| normal(&mut self.0)).collect()
    }
}

/// One draw of the normal distribution, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    // 1 - u is in (0, 1], so that its logarithm is finite.
    let (radius, angle) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_picked_alike_at_every_place() {
        let mut draws = SeededDraws::new(3);
        let mut counts = [[0; 5]; 3];
        for _ in 0..3000 {
            for (place, row) in draws.rows(5, 3).into_iter().enumerate() {
                counts[place][row] += 1;
            }
        }
        // 600 expected; the standard deviation is 22.
        assert!(counts.as_flattened().iter().all(|count| (500..700).contains(count)), "{counts:?}");
    }

    #[test]
    fn noise_has_mean_0_and_variance_1() {
        let noise = SeededDraws::new(5).noise(0, 10_000);
        let mean = noise.iter().sum::<f32>() / 1e4;
        let variance = noise.iter().map(|value| value * value).sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean}, {variance}");
    }
}
