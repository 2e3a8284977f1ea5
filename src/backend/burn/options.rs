//! What is chosen about a model and its training.

use core::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Size of the model, and how it is trained. The default learns minutes of speech by heart on a processor.
///
/// # Examples
/// ```
/// use roundelay::backend::burn::Options;
/// let options = Options { learning_rate: 1.0, warmup: 4, decay: Some(12), ..Options::default() };
/// let rates = [1, 2, 4, 8, 12, 50].map(|step| (options.rate(step) * 100.0).round() / 100.0);
/// assert_eq!(rates, [0.25, 0.5, 1.0, 0.55, 0.1, 0.1]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Numbers that the temporal transformer holds of a step; 128.
    pub width: usize,
    /// Its heads of attention, each of `width / heads` numbers, an even one; 4.
    pub heads: usize,
    /// Its layers; 3.
    pub layers: usize,
    /// Numbers that the depth transformer holds of a stream; 64.
    pub depth_width: usize,
    /// Its heads of attention; 2.
    pub depth_heads: usize,
    /// Its layers; 2.
    pub depth_layers: usize,
    /// The most that a step moves a number by, roughly; 0.003.
    pub learning_rate: f64,
    /// Steps until the learning rate is reached, evenly; 20.
    pub warmup: u64,
    /// Step at which half a cosine has brought the rate down to a tenth; none, the default, lets it be.
    pub decay: Option<u64>,
    /// Share of a matrix that is taken away at a step, times the learning rate; 0.01.
    pub weight_decay: f64,
    /// Longer gradients are shortened to this; 1.
    pub clip: f64,
    /// Decides the model's first numbers; 0.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            width: 128,
            heads: 4,
            layers: 3,
            depth_width: 64,
            depth_heads: 2,
            depth_layers: 2,
            learning_rate: 3e-3,
            warmup: 20,
            decay: None,
            weight_decay: 0.01,
            clip: 1.0,
            seed: 0,
        }
    }
}

/// Share of the learning rate that is left when it has decayed.
const LEAST_RATE: f64 = 0.1;

impl Options {
    /// The learning rate of a step; the first is 1.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.learning_rate * step as f64 / self.warmup as f64;
        }
        let Some(end) = self.decay.filter(|&end| end > self.warmup) else { return self.learning_rate };
        let gone = ((step - self.warmup) as f64 / (end - self.warmup) as f64).min(1.0);
        self.learning_rate * (LEAST_RATE + (1.0 - LEAST_RATE) * (1.0 + (PI * gone).cos()) / 2.0)
    }

    /// Inner numbers of a feed-forward layer: with its gate it is as large as one of four times the width without.
    pub(super) fn inner(width: usize) -> usize {
        (width * 8).div_ceil(3)
    }

    pub(super) fn check(&self) -> Result<()> {
        let sizes = [
            ("width", self.width, self.heads),
            ("heads", self.heads, 1),
            ("layers", self.layers, 1),
            ("depth_width", self.depth_width, self.depth_heads),
            ("depth_heads", self.depth_heads, 1),
            ("depth_layers", self.depth_layers, 1),
        ];
        for (what, size, of) in sizes {
            if size == 0 || !size.is_multiple_of(of) || size > 1 << 16 {
                return Err(Error::invalid(what, size, format!("a multiple of {of}, 1 to 65536")));
            }
        }
        if !(self.width / self.heads).is_multiple_of(2) {
            return Err(Error::invalid("width of a head", self.width / self.heads, "an even number"));
        }
        let rates = [("learning_rate", self.learning_rate), ("weight_decay", self.weight_decay), ("clip", self.clip)];
        if self.clip == 0.0 {
            return Err(Error::invalid("clip", self.clip, "a finite number above 0"));
        }
        match rates.into_iter().find(|(_, rate)| !(*rate >= 0.0 && rate.is_finite())) {
            Some((what, rate)) => Err(Error::invalid(what, rate, "a finite number that is not negative")),
            None => Ok(()),
        }
    }
}
