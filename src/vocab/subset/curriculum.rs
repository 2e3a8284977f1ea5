//! From a large subset to a small one, as training goes on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a subset shrinks between its two sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shrinking {
    /// By as many words at each step.
    Linear,
    /// By the same share at each step: most words go early.
    #[default]
    Geometric,
    /// Along half a cosine: slowly at first and at the end.
    Cosine,
}

/// The size of the subset at each step.
///
/// ```text
/// from ────────┐
///              └─╲
///                 ╲──────── to
///      0     hold   hold + steps
/// ```
/// A large subset has a loss close to the full one, a small one is quick: early on, when nearly every word is a mistake
/// waiting to be made, words drawn at random teach enough; later only those do that come close, and these are retrieved.
///
/// # Examples
/// ```
/// use roundelay::vocab::subset::{Curriculum, Shrinking};
/// let sizes = Curriculum { from: 65536, to: 8192, hold: 10, steps: 30, shrinking: Shrinking::Geometric };
/// assert_eq!([0, 10, 20, 30, 40, 1000].map(|step| sizes.size(step)), [65536, 65536, 32768, 16384, 8192, 8192]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// Size at the first steps.
    pub from: usize,
    /// Size at the last ones.
    pub to: usize,
    /// Steps that nothing shrinks at.
    pub hold: u64,
    /// Steps from the one size to the other.
    pub steps: u64,
    /// The way between them.
    pub shrinking: Shrinking,
}

impl Curriculum {
    /// Holds the sizes against each other.
    ///
    /// # Errors
    /// `Invalid` unless `from` is at least `to`, and `to` at least 1.
    pub fn check(&self) -> Result<()> {
        match (1..=self.from).contains(&self.to) {
            true => Ok(()),
            false => Err(Error::invalid("last size of the subset", self.to, format!("1 to {}, the first", self.from))),
        }
    }

    /// The size at a step; the first is 0.
    pub fn size(&self, step: u64) -> usize {
        let gone = step.saturating_sub(self.hold);
        if gone == 0 {
            return self.from;
        }
        if gone >= self.steps {
            return self.to;
        }
        let (from, to, share) = (self.from as f64, self.to as f64, gone as f64 / self.steps as f64);
        let size = match self.shrinking {
            Shrinking::Linear => from + (to - from) * share,
            Shrinking::Geometric => from * (to / from).powf(share),
            Shrinking::Cosine => to + (from - to) * (1.0 + (core::f64::consts::PI * share).cos()) / 2.0,
        };
        (size.round() as usize).clamp(self.to.min(self.from), self.from.max(self.to))
    }
}
