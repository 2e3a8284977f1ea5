//! What is chosen about a model that gives logits, and its training.

use serde::{Deserialize, Serialize};

use super::super::Options;

/// Size of a [`LogitModel`](super::LogitModel), and how it is trained.
///
/// # Examples
/// ```
/// use roundelay::backend::burn::LogitOptions;
/// let options: LogitOptions = serde_json::from_str(r#"{"width": 32, "causal": false}"#).unwrap();
/// assert_eq!(options, LogitOptions { width: 32, causal: false, ..LogitOptions::default() });
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogitOptions {
    /// Numbers that the model holds of a position; 64.
    pub width: usize,
    /// Heads of attention, each of `width / heads` numbers, an even one; 4.
    pub heads: usize,
    /// Layers; 2.
    pub layers: usize,
    /// Whether a position is told only what is before it and itself, not what comes later; true.
    pub causal: bool,
    /// The most that a step moves a number by, roughly; 0.003.
    pub learning_rate: f64,
    /// Steps until the learning rate is reached, evenly; 20.
    pub warmup: u64,
    /// Step at which half a cosine has brought the rate down to a tenth; none, the default, lets it be.
    pub decay: Option<u64>,
    /// Share of a matrix that is taken away at a step, times the learning rate; 0.01. Of tables, from the rows that take
    /// the step.
    pub weight_decay: f64,
    /// Longer gradients are shortened to this; 1.
    pub clip: f64,
    /// Decides the model's first numbers; 0.
    pub seed: u64,
}

impl Default for LogitOptions {
    fn default() -> Self {
        let Options { learning_rate, warmup, decay, weight_decay, clip, seed, .. } = Options::default();
        LogitOptions {
            width: 64,
            heads: 4,
            layers: 2,
            causal: true,
            learning_rate,
            warmup,
            decay,
            weight_decay,
            clip,
            seed,
        }
    }
}

impl LogitOptions {
    /// The same for layers and steps, which this model has in common with the other one.
    pub(super) fn common(&self) -> Options {
        let &LogitOptions { width, heads, layers, learning_rate, warmup, decay, weight_decay, clip, seed, .. } = self;
        Options { width, heads, layers, learning_rate, warmup, decay, weight_decay, clip, seed, ..Options::default() }
    }
}
