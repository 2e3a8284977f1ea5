//! All that is random in a flow: numbers between 0 and 1.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers spread evenly over 0 to 1, without 1. Any closure that gives such numbers will do.
pub trait Uniforms {
    /// The next one.
    fn next(&mut self) -> f64;
}

impl<F: FnMut() -> f64> Uniforms for F {
    fn next(&mut self) -> f64 {
        self()
    }
}

/// Numbers that follow from a seed.
///
/// # Examples
/// ```
/// use roundelay::flow::{SeededUniforms, Uniforms};
///
/// let (mut one, mut other) = (SeededUniforms::new(7), SeededUniforms::new(7));
/// let number = one.next();
/// assert_eq!(number, other.next());
/// assert!((0.0..1.0).contains(&number));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SeededUniforms(ChaCha8Rng);

impl SeededUniforms {
    /// Starts the numbers of one seed.
    pub fn new(seed: u64) -> Self {
        SeededUniforms(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Uniforms for SeededUniforms {
    fn next(&mut self) -> f64 {
        self.0.random()
    }
}

/// Draws one of the weighted: the first whose sum of weights up to it exceeds the number's share of all.
///
/// `None` if no weight is above 0.
pub(super) fn draw<T: Copy>(weighted: impl Iterator<Item = (T, f64)> + Clone, uniform: f64) -> Option<T> {
    let bar = uniform * weighted.clone().map(|(_, weight)| weight).sum::<f64>();
    let (mut sum, mut last) = (0.0, None);
    for (item, weight) in weighted.filter(|(_, weight)| *weight > 0.0) {
        sum += weight;
        last = Some(item);
        if sum > bar {
            break;
        }
    }
    // Rounding may leave the last sum at the bar.
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let weights = [('a', 0.0), ('b', 1.0), ('c', 0.0), ('d', 3.0), ('e', 0.0)];
        let drawn = [0.0, 0.249, 0.25, 0.999, 1.0].map(|uniform| draw(weights.into_iter(), uniform));
        assert_eq!(drawn, ['b', 'b', 'd', 'd', 'd'].map(Some));
        assert_eq!(draw([('a', 0.0)].into_iter(), 0.5), None);
    }
}
