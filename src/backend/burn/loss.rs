//! Heads, their cross-entropies and the slopes of these, written out: logits are by far the largest tensors of a step, and
//! automatic differentiation would keep several copies.
//!
//! ```text
//! logits = hidden x head     shares = exp(logits - largest)     nats = ln(sum of shares) - (logit - largest) of the target
//! slope  = (shares - sum at the target) x weight / sum          of hidden: slope x head', of the head: hidden' x slope
//! ```
//! What rows are multiplied by goes to the smaller factor of a product, or behind it.

use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::batch::Label;
use crate::backend::report::is_token;
use crate::backend::{Labels, Report, StreamLoss};

/// What a head's labels cost; columns are `[label, 1]`.
pub(super) struct Cost<B: Backend> {
    /// Cross-entropies, a column.
    pub(super) nats: Tensor<B, 2>,
    /// `[label, id]`, not divided by their sum.
    shares: Tensor<B, 2>,
    sum: Tensor<B, 2>,
    targets: Tensor<B, 2, Int>,
}

/// Of logits `[label, id]`.
pub(super) fn cost<B: Backend>(logits: Tensor<B, 2>, targets: Tensor<B, 2, Int>) -> Cost<B> {
    let largest = logits.clone().max_dim(1);
    let shifted = logits - largest;
    let of_target = shifted.clone().gather(1, targets.clone());
    let shares = shifted.exp();
    let sum = shares.clone().sum_dim(1);
    Cost { nats: sum.clone().log() - of_target, shares, sum, targets }
}

/// How the weighted sum of costs changes with hidden numbers and with the head.
pub(super) struct Slopes<B: Backend> {
    pub(super) hidden: Tensor<B, 2>,
    pub(super) head: Tensor<B, 2>,
}

impl<B: Backend> Cost<B> {
    pub(super) fn slopes(self, hidden: Tensor<B, 2>, head: Tensor<B, 2>, weights: Tensor<B, 2>) -> Slopes<B> {
        let factor = weights / self.sum.clone();
        let slope = self.shares.scatter(1, self.targets, -self.sum, IndexingUpdateOp::Add);
        let of_head = (hidden * factor.clone()).transpose().matmul(slope.clone());
        Slopes { head: of_head, hidden: slope.matmul(head.transpose()) * factor }
    }
}

/// What labels cost in all, stream by stream; a cost for each.
pub(super) fn report(streams: usize, labels: &[Label], nats: &[f32]) -> Report {
    let mut losses = vec![StreamLoss::default(); streams];
    for (label, &nats) in labels.iter().zip(nats) {
        let (loss, nats) = (&mut losses[label.stream], f64::from(nats));
        loss.loss += f64::from(label.weight) * nats;
        let of = if is_token(label.reason) { &mut loss.tokens } else { &mut loss.pads };
        of.add(&Labels { count: 1, nats });
    }
    Report { step: 0, loss: losses.iter().map(|stream| stream.loss).sum(), streams: losses, gradient_norm: None }
}
