//! Numbers from 0 to 1, from which all draws here are made.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Numbers drawn evenly from 0 to 1, 1 left out, without end: the same ones for the same seed.
///
/// Whatever draws here takes any iterator of such numbers, so that recorded ones can be handed in.
///
/// # Examples
/// ```
/// use roundelay::vocab::subset::Uniforms;
/// let drawn: Vec<f64> = Uniforms::new(7).take(1000).collect();
/// assert_eq!(drawn, Uniforms::new(7).take(1000).collect::<Vec<f64>>());
/// assert!(drawn.iter().all(|u| (0.0..1.0).contains(u)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Uniforms(ChaCha8Rng);

impl Uniforms {
    /// Starts the numbers of one seed.
    pub fn new(seed: u64) -> Self {
        Uniforms(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Iterator for Uniforms {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        Some(self.0.random())
    }
}

/// The next number of those that are handed in.
pub(super) fn uniform(draws: &mut dyn Iterator<Item = f64>) -> Result<f64> {
    let drawn = draws.next().ok_or_else(|| Error::invalid("number to draw by", "missing", "one for each draw"))?;
    match (0.0..1.0).contains(&drawn) {
        true => Ok(drawn),
        false => Err(Error::invalid("number to draw by", drawn, "0 to 1, 1 left out")),
    }
}

/// A draw of the Gumbel distribution, from an even one.
pub(super) fn gumbel(uniform: f64) -> f64 {
    -(-uniform.ln()).ln()
}

/// Places of the `count` largest keys, the largest first; of equals the one that comes first.
pub(super) fn largest(keys: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..keys.len()).collect();
    let order = |a: &usize, b: &usize| keys[*b].total_cmp(&keys[*a]).then(a.cmp(b));
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}
