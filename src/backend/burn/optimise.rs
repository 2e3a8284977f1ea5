//! Adam with decoupled weight decay, over a list of matrices.

use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::Options;
use super::train::read;
use crate::error::Result;

/// How much of the means of gradients, and of their squares, stays at a step.
const KEPT: [f64; 2] = [0.9, 0.95];

/// Added to what is divided by.
const TINY: f64 = 1e-8;

/// A part of the model as it is trained.
#[derive(Debug, Clone)]
pub(super) struct Trained<B: Backend> {
    pub(super) numbers: Tensor<B, 2>,
    /// Running means of gradients, and of their squares.
    pub(super) means: [Tensor<B, 2>; 2],
}

/// What a step does to all parts alike.
pub(super) struct Step {
    rate: f64,
    decay: f64,
    /// What gradients are shortened by.
    share: f64,
    /// What running means that began at 0 are still short of.
    missing: [f64; 2],
}

impl Step {
    /// The step of this number, from 1, with a gradient of some length.
    pub(super) fn new(options: &Options, number: u64, norm: f64) -> Self {
        let share = if norm > options.clip { options.clip / norm } else { 1.0 };
        let missing = KEPT.map(|kept| 1.0 - kept.powi(i32::try_from(number).unwrap_or(i32::MAX)));
        Step { rate: options.rate(number), decay: options.weight_decay, share, missing }
    }
}

impl<B: Backend> Trained<B> {
    pub(super) fn new(numbers: Tensor<B, 2>) -> Self {
        let nothing = numbers.zeros_like();
        Trained { numbers, means: [nothing.clone(), nothing] }
    }

    /// The part after a step; without a gradient as with one of 0.
    pub(super) fn step(self, gradient: Option<Tensor<B, 2>>, step: &Step, decays: bool) -> Self {
        let [mut mean, mut square] = self.means;
        // Each tensor is used up by its last use, which then needs no memory of its own.
        (mean, square) = (mean * KEPT[0], square * KEPT[1]);
        if let Some(gradient) = gradient {
            mean = mean + gradient.clone() * ((1.0 - KEPT[0]) * step.share);
            square = square + gradient.clone() * gradient * ((1.0 - KEPT[1]) * step.share * step.share);
        }
        let [mean_missing, square_missing] = step.missing;
        let spread = square.clone().sqrt() * square_missing.powf(-0.5) + TINY;
        let moved = mean.clone() / spread * (step.rate / mean_missing);
        let numbers = if decays { self.numbers * (1.0 - step.rate * step.decay) } else { self.numbers };
        Trained { numbers: numbers - moved, means: [mean, square] }
    }

    /// The part after a step that only some of its rows take, each named once; the others, their means too, stay.
    pub(super) fn step_rows(self, rows: Tensor<B, 1, Int>, gradient: Tensor<B, 2>, step: &Step, decays: bool) -> Self {
        let of = |whole: &Tensor<B, 2>| whole.clone().select(0, rows.clone());
        let before = Trained { numbers: of(&self.numbers), means: self.means.each_ref().map(of) };
        let after = before.clone().step(Some(gradient), step, decays);
        let put = |whole: Tensor<B, 2>, before: Tensor<B, 2>, after: Tensor<B, 2>| {
            whole.select_assign(0, rows.clone(), after - before, IndexingUpdateOp::Add)
        };
        let ([mean, square], [mean_before, square_before], [mean_after, square_after]) =
            (self.means, before.means, after.means);
        let means = [put(mean, mean_before, mean_after), put(square, square_before, square_after)];
        Trained { numbers: put(self.numbers, before.numbers, after.numbers), means }
    }
}

/// The length of a gradient.
pub(super) fn norm<B: Backend>(gradients: &[Option<Tensor<B, 2>>]) -> Result<f64> {
    let squares: Vec<_> = gradients.iter().flatten().map(squares).collect();
    if squares.is_empty() {
        return Ok(0.0);
    }
    let squares = read(Tensor::cat(squares, 0))?;
    Ok(squares.into_iter().map(f64::from).sum::<f64>().sqrt())
}

/// The sum of squares of a gradient: in two stages, as a long sum of f32 is inexact.
fn squares<B: Backend>(gradient: &Tensor<B, 2>) -> Tensor<B, 1> {
    (gradient.clone() * gradient.clone()).sum_dim(1).sum()
}
