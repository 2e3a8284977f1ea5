//! What a step or an evaluation tells.

use serde::{Deserialize, Deserializer, Serialize};

use super::BatchSpec;
use crate::batch::TrainBatch;
use crate::error::{Error, Result};
use crate::weights::Reason;

/// The loss of a step or of an evaluation, and where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Optimisation steps that the model has taken, this one included.
    pub step: u64,
    /// Sum of weight x cross-entropy over all positions: what a step makes smaller.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Its parts, a stream of the layout each; streams that are not trained have 0.
    pub streams: Vec<StreamLoss>,
    /// Length of the gradient before clipping; none from an evaluation, or from a backend that has none.
    #[serde(default, deserialize_with = "some_number", skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
}

/// A stream's part of a [`Report`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamLoss {
    /// Its part of the loss, weights and all.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Labels with a weight that are tokens: words and codes.
    pub tokens: Labels,
    /// Labels with a weight that are not: pads, ends of pads, learned tails.
    pub pads: Labels,
}

/// Labels that count in the loss, and how well they were foretold, weights apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    /// How many.
    pub count: u64,
    /// Sum of their cross-entropies, in nats.
    #[serde(deserialize_with = "number")]
    pub nats: f64,
}

impl Labels {
    /// Cross-entropy of a label; none where there are no labels.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.nats / self.count as f64)
    }

    /// Those of two parts.
    pub fn add(&mut self, other: &Labels) {
        self.count += other.count;
        self.nats += other.nats;
    }
}

impl Report {
    /// Adds the report of another part of the same step. The gradients' norm does not add up and stays as it is.
    pub fn add(&mut self, other: &Report) {
        self.step = self.step.max(other.step);
        self.loss += other.loss;
        self.streams.resize(self.streams.len().max(other.streams.len()), StreamLoss::default());
        for (sum, part) in self.streams.iter_mut().zip(&other.streams) {
            sum.loss += part.loss;
            sum.tokens.add(&part.tokens);
            sum.pads.add(&part.pads);
        }
    }

    /// Tokens of some streams together.
    pub fn tokens(&self, of: impl Fn(usize) -> bool) -> Labels {
        let mut sum = Labels::default();
        self.streams.iter().enumerate().filter(|(k, _)| of(*k)).for_each(|(_, stream)| sum.add(&stream.tokens));
        sum
    }

    /// Checks that loss and gradient are numbers to go on with.
    ///
    /// # Errors
    /// `Invalid`, with the stream whose part is none.
    pub fn check(&self, spec: &BatchSpec) -> Result<()> {
        let finite = "a finite number";
        if let Some((stream, part)) = spec.streams.iter().zip(&self.streams).find(|(_, part)| !part.loss.is_finite()) {
            return Err(Error::invalid("loss", part.loss, finite).in_stream(&stream.name));
        }
        if !self.loss.is_finite() {
            return Err(Error::invalid("loss", self.loss, finite));
        }
        match self.gradient_norm {
            Some(norm) if !norm.is_finite() => Err(Error::invalid("norm of the gradient", norm, finite)),
            _ => Ok(()),
        }
    }

    /// The report that cross-entropies give: `[batch, stream, time]`, of which only those with a weight are looked at.
    pub fn of(batch: &TrainBatch, cross_entropy: impl Fn(usize, usize, usize) -> f64) -> Report {
        let mut streams = vec![StreamLoss::default(); batch.shape().1];
        for ((at, &weight), &reason) in batch.weights.0.indexed_iter().zip(&batch.reasons.0) {
            if weight > 0.0 {
                let nats = cross_entropy(at.0, at.1, at.2);
                streams[at.1].add(weight, reason, nats);
            }
        }
        Report { step: 0, loss: streams.iter().map(|stream| stream.loss).sum(), streams, gradient_norm: None }
    }
}

impl StreamLoss {
    fn add(&mut self, weight: f32, reason: u8, nats: f64) {
        self.loss += f64::from(weight) * nats;
        let labels = if is_token(reason) { &mut self.tokens } else { &mut self.pads };
        labels.add(&Labels { count: 1, nats });
    }
}

/// Checks that a step has something to be taken on.
pub(super) fn check_parts<B>(parts: &[B]) -> Result<()> {
    match parts.is_empty() {
        true => Err(Error::invalid("parts of the step", 0, "at least 1")),
        false => Ok(()),
    }
}

/// Whether a reason is that of a word's token or a code.
pub(super) fn is_token(reason: u8) -> bool {
    Reason::of(reason) == Some(Reason::Token)
}

/// JSON knows no NaN and no infinity: they are written as null.
fn number<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn some_number<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<f64>, D::Error> {
    number(from).map(Some)
}
