//! How a codebook moves: a few choices, and the ones that other projects made.
//!
//! ```text
//! assign ------------> EMA -> normalise                 the step
//!          ^                             ^
//!          before                        after          where dead codes are looked for and given vectors
//! ```

use serde::{Deserialize, Serialize};

use super::usage::{Threshold, check_decay, check_number};
use crate::error::{Error, Result};

/// How a codebook follows the vectors assigned to its codes.
///
/// ```text
/// size <- decay * size + (1 - decay) * number of vectors        sum <- decay * sum + (1 - decay) * sum of vectors
/// vector of the code = sum / smoothed size
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EmaRule {
    /// The share of sizes and sums that stays at a step. Default 0.99; 0 is a round of k-means.
    pub decay: f64,
    /// What the sums are divided by. Default Laplace with 1e-5.
    pub smoothing: Smoothing,
    /// What is nearest. Default Euclidean.
    pub metric: Metric,
    /// What becomes of codes that nobody uses. `None` leaves them.
    pub revival: Option<Revival>,
    /// Noise on the copies of a batch that has fewer vectors than are drawn from it, as a share of 1/sqrt(d). Default
    /// 0: rows are drawn more than once.
    pub noise: f64,
}

/// How sizes become divisors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// Laplace: `(size + eps) / (total + codes * eps) * total`. Keeps the total.
    Laplace(f64),
    /// The size itself, but at least this.
    AtLeast(f64),
}

/// What nearest means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The smallest Euclidean distance.
    Euclidean,
    /// The largest cosine: vectors and codes are scaled to length 1.
    Cosine,
}

/// How dead codes are given new vectors out of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Revival {
    /// Codes whose size is below this are dead.
    pub threshold: Threshold,
    /// Every how many steps they are looked for. Default 1.
    pub every: u64,
    /// When in the step. Default after the EMA.
    pub moment: Moment,
    /// Which draw belongs to which code. Default one for each dead code.
    pub draw: Draw,
    /// What else changes. Default a fifth of the mean size: with more, a bad draw is found out later.
    pub state: RevivedState,
}

/// Where in a step dead codes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// By the sizes before the step; the EMA then follows.
    BeforeEma,
    /// By the sizes after the EMA.
    AfterEma,
}

/// Which draw a dead code gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draw {
    /// As many draws as codes; code i gets draw i.
    EachCode,
    /// As many draws as dead codes; the j-th dead code gets draw j.
    EachDead,
}

/// The size of a revived code, which its sum follows: size times the new vector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevivedState {
    /// Size and sum stay what they were: the next EMA takes the code back to its old place.
    Kept,
    /// This size.
    Size(f64),
    /// This ratio to the mean size.
    Ratio(f64),
}

impl Default for Revival {
    fn default() -> Self {
        Revival {
            threshold: Threshold::Ratio(0.1),
            every: 1,
            moment: Moment::AfterEma,
            draw: Draw::EachDead,
            state: RevivedState::Ratio(0.2),
        }
    }
}

impl Default for EmaRule {
    fn default() -> Self {
        EmaRule {
            decay: 0.99,
            smoothing: Smoothing::Laplace(1e-5),
            metric: Metric::Euclidean,
            revival: Some(Revival::default()),
            noise: 0.0,
        }
    }
}

impl EmaRule {
    /// As audiocraft does: codes below a size of 2 *before* the step get vectors, but the table is made anew from the
    /// sums in the same step, so nothing of that stays.
    ///
    /// # Source
    /// audiocraft `quantization/core_vq.py`, `EuclideanCodebook`, with the threshold of EnCodec.
    pub fn audiocraft() -> Self {
        let revival = Revival {
            threshold: Threshold::Count(2.0),
            moment: Moment::BeforeEma,
            draw: Draw::EachCode,
            state: RevivedState::Kept,
            ..Revival::default()
        };
        EmaRule { revival: Some(revival), ..EmaRule::default() }
    }

    /// As vector-quantize-pytorch by lucidrains does: codes below a size of 2 after the step get vectors, and that size.
    ///
    /// # Source
    /// vector-quantize-pytorch `vector_quantize_pytorch.py`, `Codebook`, `expire_codes_`.
    pub fn lucidrains() -> Self {
        let revival =
            Revival { threshold: Threshold::Count(2.0), state: RevivedState::Size(2.0), ..Revival::default() };
        EmaRule { decay: 0.8, revival: Some(revival), ..EmaRule::default() }
    }

    /// As moshi does: at every fifth step, codes below a tenth of the mean size get vectors and the mean size; sums are
    /// divided by plain sizes.
    ///
    /// # Source
    /// moshi `quantization/core_vq.py`, `EuclideanCodebook`.
    pub fn moshi() -> Self {
        let revival = Revival {
            threshold: Threshold::Ratio(0.1),
            every: 5,
            moment: Moment::BeforeEma,
            draw: Draw::EachCode,
            state: RevivedState::Ratio(1.0),
        };
        EmaRule { smoothing: Smoothing::AtLeast(1e-5), revival: Some(revival), ..EmaRule::default() }
    }

    /// As TATS does: codes below a size of 1 after the step get vectors, but keep size and sum, so they are given other
    /// ones at the next step unless they were used enough.
    ///
    /// # Source
    /// TATS `tats/modules/codebook.py`, `Codebook`. It draws from the rows of worker 0; here all workers' rows are drawn
    /// from.
    pub fn tats() -> Self {
        let revival = Revival {
            threshold: Threshold::Count(1.0),
            draw: Draw::EachCode,
            state: RevivedState::Kept,
            ..Revival::default()
        };
        EmaRule { smoothing: Smoothing::Laplace(1e-7), revival: Some(revival), noise: 0.01, ..EmaRule::default() }
    }

    /// Refuses numbers that make no rule.
    pub(super) fn check(&self) -> Result<()> {
        check_decay(self.decay)?;
        check_number("noise on copies", self.noise)?;
        let (Smoothing::Laplace(eps) | Smoothing::AtLeast(eps)) = self.smoothing;
        check_number("smoothing", eps)?;
        self.revival.map_or(Ok(()), |revival| revival.check())
    }
}

impl Revival {
    fn check(&self) -> Result<()> {
        self.threshold.check()?;
        if self.every == 0 {
            return Err(Error::invalid("steps from one look for dead codes to the next", 0, "at least 1"));
        }
        match self.state {
            RevivedState::Kept => Ok(()),
            RevivedState::Size(value) | RevivedState::Ratio(value) => check_number("size of revived codes", value),
        }
    }

    /// Whether dead codes are looked for at step `step`, counted from 1.
    pub(super) fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }
}

impl RevivedState {
    /// The size that a revived code is given, if any.
    pub(super) fn size(self, mean: f64) -> Option<f64> {
        match self {
            RevivedState::Kept => None,
            RevivedState::Size(size) => Some(size),
            RevivedState::Ratio(ratio) => Some(ratio * mean),
        }
    }
}

impl Smoothing {
    /// What the sum of each code is divided by.
    ///
    /// # Examples
    /// ```
    /// use roundelay::codebook::Smoothing;
    ///
    /// assert_eq!(Smoothing::AtLeast(0.5).divisors(&[0.0, 3.0]), [0.5, 3.0]);
    /// assert_eq!(Smoothing::Laplace(1.0).divisors(&[0.0, 2.0]), [0.5, 1.5]);
    /// ```
    pub fn divisors(self, sizes: &[f32]) -> Vec<f64> {
        let sizes = sizes.iter().map(|&size| f64::from(size));
        match self {
            Smoothing::AtLeast(least) => sizes.map(|size| size.max(least)).collect(),
            Smoothing::Laplace(eps) => {
                let (total, codes) = (sizes.clone().sum::<f64>(), sizes.len() as f64);
                sizes.map(|size| (size + eps) / (total + codes * eps) * total).collect()
            }
        }
    }
}
