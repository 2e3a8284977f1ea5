//! The generalized Kullback-Leibler loss of a mixture path, and its gradient with respect to logits.
//!
//! ```text
//! p = softmax(logits), c = d_alpha / (1 - alpha) at t, same = 1 where x_t = x_1
//! loss        -c (p[x_t] - same + (1 - same) log p[x_1])
//! gradient_j  -c (p[x_t] (j = x_t) - p[x_t] p[j] + (1 - same) ((j = x_1) - p[j]))
//! ```

use std::str::FromStr;

use ndarray::{Array, ArrayBase, ArrayD, ArrayView1, ArrayViewMut1, Axis, Data, Dimension};

use super::outputs::{Outputs, log_sum};
use super::path::{MixturePath, check_shape, check_times};
use super::scheduler::Scheduler;
use crate::error::{Error, Result};
use crate::token::{ABSENT, Token};
use crate::vocab::Real;

/// What is made of the losses of all positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Nothing: one for each position.
    None,
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl FromStr for Reduction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Reduction::None),
            "mean" => Ok(Reduction::Mean),
            "sum" => Ok(Reduction::Sum),
            _ => Err(Error::invalid("reduction", text, "none, mean or sum")),
        }
    }
}

/// Losses by position.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowLoss<D: Dimension> {
    /// `[batch, ..]`; 0 where the target is absent (-1).
    pub positions: Array<f64, D>,
    /// Positions whose target is there.
    pub counted: usize,
}

impl<D: Dimension> FlowLoss<D> {
    /// The sum over all positions.
    pub fn sum(&self) -> f64 {
        self.positions.sum()
    }

    /// The mean over the positions whose target is there; 0 if there is none.
    pub fn mean(&self) -> f64 {
        if self.counted == 0 { 0.0 } else { self.sum() / self.counted as f64 }
    }

    /// One or all of them.
    pub fn reduced(&self, reduction: Reduction) -> ArrayD<f64> {
        match reduction {
            Reduction::None => self.positions.clone().into_dyn(),
            Reduction::Mean => ndarray::arr0(self.mean()).into_dyn(),
            Reduction::Sum => ndarray::arr0(self.sum()).into_dyn(),
        }
    }
}

/// Losses, and the gradient of their mean or sum with respect to the logits.
pub type LossAndGradient<F, D> = (FlowLoss<D>, Array<F, <D as Dimension>::Larger>);

/// One position of the loss.
#[derive(Clone, Copy)]
struct Position {
    rate: f64,
    same: bool,
    /// Places of x_t and x_1 on the last axis; x_t may have none.
    t: Option<usize>,
    one: usize,
}

impl Position {
    /// The loss, with what its gradient needs: the logarithm of the logits' sum and p[x_t].
    fn loss<F: Real>(self, logits: ArrayView1<'_, F>, at: usize) -> Result<(f64, f64, f64)> {
        let log_sum = log_sum(logits, at)?;
        let log_p = |id: usize| logits[id].into() - log_sum;
        let p_t = self.t.map_or(0.0, |id| log_p(id).exp());
        let inner = if self.same { p_t - 1.0 } else { p_t + log_p(self.one) };
        // Nothing to lose is no loss, even where the rate is infinite; nor is anything lost where it is 0.
        Ok((if inner == 0.0 || self.rate == 0.0 { 0.0 } else { -self.rate * inner }, log_sum, p_t))
    }

    /// The gradient of the loss times `scale`.
    fn gradient<F: Real>(
        self,
        logits: ArrayView1<'_, F>,
        mut to: ArrayViewMut1<'_, F>,
        log_sum: f64,
        p_t: f64,
        scale: f64,
    ) {
        let other = f64::from(u8::from(!self.same));
        for (j, (to, &logit)) in to.iter_mut().zip(logits).enumerate() {
            let (is_t, is_one) = (f64::from(u8::from(self.t == Some(j))), f64::from(u8::from(self.one == j)));
            let p = (logit.into() - log_sum).exp();
            let slope = p_t * (is_t - p) + other * (is_one - p);
            *to = F::from_f64(if slope == 0.0 { 0.0 } else { -self.rate * slope * scale });
        }
    }
}

/// What the loss is taken of.
#[derive(Debug, Clone, Copy)]
pub struct FlowBatch<'a, A, D: Dimension> {
    /// Target tokens, joint ids, `[batch, ..]`; absent ones (-1) do not count.
    pub x_1: ndarray::ArrayView<'a, A, D>,
    /// Tokens on the path at `times`, alike.
    pub x_t: ndarray::ArrayView<'a, A, D>,
    /// Times, `[batch]`.
    pub times: &'a [f64],
}

impl<S: Scheduler> MixturePath<S> {
    /// The generalized Kullback-Leibler loss of logits, position by position.
    ///
    /// # Shapes
    /// `logits` has the tokens' axes and one more, as long as [`Outputs::size`].
    /// # Errors
    /// `Invalid`, with the position in row-major order, for tokens that are no joint ids, targets outside the target
    /// part, logits that have no largest one; also if the shapes do not go together, or a time is not in 0 to 1.
    /// # Examples
    /// ```
    /// use ndarray::{Array3, arr2};
    /// use roundelay::flow::{FlowBatch, MixturePath, Outputs, Polynomial};
    /// use roundelay::vocab::Joint;
    ///
    /// let joint = Joint::disjoint(&[("source", 4), ("target", 2)])?;
    /// let path = MixturePath::new(Polynomial::LINEAR)?;
    /// let (x_1, x_t) = (arr2(&[[4, 5]]), arr2(&[[4, 0]]));
    /// let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times: &[0.5] };
    /// // The target's logits alone: half and half.
    /// let logits = Array3::<f32>::zeros((1, 2, 2));
    /// let loss = path.generalized_kl(Outputs::Target(joint.part("target")?), &logits, batch)?;
    /// // c = 2; the first is target already, the second is not: 2 (1 - 1/2) and 2 log 2.
    /// assert_eq!(loss.positions, arr2(&[[1.0, 2.0 * 2_f64.ln()]]));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    /// # Source
    /// flow_matching `loss/generalized_loss.py`, `MixturePathGeneralizedKL`.
    pub fn generalized_kl<A: Token, F: Real, D: Dimension, L: Data<Elem = F>>(
        &self,
        outputs: Outputs<'_>,
        logits: &ArrayBase<L, D::Larger>,
        batch: FlowBatch<'_, A, D>,
    ) -> Result<FlowLoss<D>> {
        let (positions, mut losses) = (self.positions(outputs, logits, &batch)?, Vec::new());
        for (at, (row, position)) in logits.lanes(Axis(logits.ndim() - 1)).into_iter().zip(&positions).enumerate() {
            losses.push(position.map_or(Ok(0.0), |position| position.loss(row, at).map(|(loss, ..)| loss))?);
        }
        Ok(gathered(batch.x_1.raw_dim(), losses, &positions))
    }

    /// [`MixturePath::generalized_kl`] with the gradient of its mean or sum with respect to the logits.
    ///
    /// Without a reduction the gradient is that of the sum: each position's own.
    ///
    /// # Shapes
    /// The gradient has the shape of the logits.
    /// # Errors
    /// As [`MixturePath::generalized_kl`].
    pub fn generalized_kl_gradient<A: Token, F: Real, D: Dimension, L: Data<Elem = F>>(
        &self,
        outputs: Outputs<'_>,
        logits: &ArrayBase<L, D::Larger>,
        batch: FlowBatch<'_, A, D>,
        reduction: Reduction,
    ) -> Result<LossAndGradient<F, D>> {
        let positions = self.positions(outputs, logits, &batch)?;
        let counted = positions.iter().flatten().count();
        let scale = if reduction == Reduction::Mean { 1.0 / counted.max(1) as f64 } else { 1.0 };
        let (mut gradient, last) = (Array::from_elem(logits.raw_dim(), F::from_f64(0.0)), Axis(logits.ndim() - 1));
        let rows = logits.lanes(last).into_iter().zip(gradient.lanes_mut(last));
        let mut losses = Vec::new();
        for (at, ((row, to), position)) in rows.zip(&positions).enumerate() {
            let Some(position) = position else {
                losses.push(0.0);
                continue;
            };
            let (loss, log_sum, p_t) = position.loss(row, at)?;
            position.gradient(row, to, log_sum, p_t, scale);
            losses.push(loss);
        }
        Ok((gathered(batch.x_1.raw_dim(), losses, &positions), gradient))
    }

    /// Checks all but the logits' numbers, and says what each position is; `None` where the target is absent.
    fn positions<A: Token, D: Dimension, L: ndarray::RawData>(
        &self,
        outputs: Outputs<'_>,
        logits: &ArrayBase<L, D::Larger>,
        batch: &FlowBatch<'_, A, D>,
    ) -> Result<Vec<Option<Position>>> {
        check_shape("x_t", batch.x_t.shape(), batch.x_1.shape())?;
        check_times(batch.times, batch.x_1.shape())?;
        outputs.check("the logits", logits.shape(), batch.x_1.shape())?;
        let each = batch.x_1.len() / batch.times.len().max(1);
        let position = |(at, (&x_1, &x_t)): (usize, (&A, &A))| {
            let (one, t) = (outputs.token("x_1", at, x_1.into())?, outputs.token("x_t", at, x_t.into())?);
            let Some(one) = one else { return Ok(None) };
            let place = || outputs.index(one).filter(|_| outputs.target().local(one).is_some());
            let (Some(place), Some(t)) = (place(), t) else { return Err(not_of_target(outputs, at, x_1.into(), t)) };
            let rate = self.scheduler().rate(batch.times[at / each]);
            Ok(Some(Position { rate, same: one == t, t: outputs.index(t), one: place }))
        };
        batch.x_1.iter().zip(&batch.x_t).enumerate().map(position).collect()
    }

    /// The velocity of the path that leads to where a posterior says: c (p - 1 at x_t).
    ///
    /// # Shapes
    /// `posterior` has the axes of `x_t` and one more, for all joint ids; returns the same, with zeros where `x_t` is
    /// absent (-1): such a position goes nowhere.
    /// # Errors
    /// `Invalid` for tokens that are no joint ids; also if the shapes do not go together, or a time is not in 0 to 1.
    /// # Source
    /// flow_matching `path/mixture.py`, `posterior_to_velocity`. Infinite at t = 1, but 0 where there is nothing to
    /// move.
    pub fn posterior_to_velocity<A: Token, F: Real, D: Dimension, L: Data<Elem = F>>(
        &self,
        posterior: &ArrayBase<L, D::Larger>,
        x_t: &ArrayBase<impl Data<Elem = A>, D>,
        times: &[f64],
    ) -> Result<Array<F, D::Larger>> {
        check_times(times, x_t.shape())?;
        let Some((&joint, axes)) = posterior.shape().split_last() else {
            return Err(Error::invalid("number of axes of the posterior", 0, "1 more than x_t has"));
        };
        check_shape("the posterior without its last axis", axes, x_t.shape())?;
        let each = x_t.len() / times.len().max(1);
        let mut velocity = posterior.to_owned();
        for ((at, mut row), &x_t) in velocity.lanes_mut(Axis(axes.len())).into_iter().enumerate().zip(x_t) {
            if x_t.into() == ABSENT {
                row.fill(F::from_f64(0.0));
                continue;
            }
            let id = usize::try_from(x_t.into()).ok().filter(|&id| id < joint).ok_or_else(|| {
                Error::invalid(format!("x_t at position {at}"), x_t.into(), format!("a joint id, 0..{joint}"))
            })?;
            let rate = self.scheduler().rate(times[at / each]);
            for (j, value) in row.iter_mut().enumerate() {
                let way: f64 = (*value).into() - f64::from(u8::from(j == id));
                *value = F::from_f64(if way == 0.0 { 0.0 } else { rate * way });
            }
        }
        Ok(velocity)
    }
}

fn not_of_target(outputs: Outputs<'_>, at: usize, x_1: i64, t: Option<u32>) -> Error {
    match t {
        None => Error::invalid(format!("x_t at position {at}"), "absent", "a joint id, as x_1 is there"),
        Some(_) => {
            let expected = format!("a joint id of part {}", outputs.target().name());
            Error::invalid(format!("x_1 at position {at}"), x_1, expected)
        }
    }
}

fn gathered<D: Dimension>(shape: D, losses: Vec<f64>, positions: &[Option<Position>]) -> FlowLoss<D> {
    let positions_there = positions.iter().flatten().count();
    let positions = Array::from_shape_vec(shape, losses).expect("a loss for each position");
    FlowLoss { positions, counted: positions_there }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, ArrayD, arr2, arr3};

    use super::super::Polynomial;
    use super::*;
    use crate::vocab::Joint;

    fn loss(x_1: &Array2<i64>, x_t: &Array2<i64>, logits: &Array3<f32>) -> Result<FlowLoss<ndarray::Ix2>> {
        let joint = Joint::disjoint(&[("source", 2), ("target", 2)]).unwrap();
        let path = MixturePath::new(Polynomial::LINEAR).unwrap();
        let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times: &[0.5] };
        path.generalized_kl(Outputs::Joint(joint.part("target").unwrap()), logits, batch)
    }

    #[test]
    fn absent_positions_do_not_count() {
        let logits = Array3::from_shape_fn((1, 2, 4), |(_, n, j)| if n == 0 { j as f32 } else { f32::NAN });
        let found = loss(&arr2(&[[2, -1]]), &arr2(&[[0, -1]]), &logits).unwrap();
        assert_eq!((found.counted, found.positions[[0, 1]]), (1, 0.0));
        assert_eq!(found.mean(), found.sum());
        assert!(found.mean() > 0.0);
        assert_eq!(found.reduced(Reduction::None).shape(), [1, 2]);
        let none = loss(&arr2(&[[-1, -1]]), &arr2(&[[-1, 0]]), &logits).unwrap();
        assert_eq!((none.counted, none.mean()), (0, 0.0));
    }

    #[test]
    fn where_nothing_moves_nothing_is_lost() {
        let joint = Joint::disjoint(&[("source", 2), ("target", 2)]).unwrap();
        let path = MixturePath::new(Polynomial::new(2.0).unwrap()).unwrap();
        let (x_1, x_t) = (arr2(&[[2, 3]]), arr2(&[[0, 1]]));
        // The target of the second is what the model holds for impossible.
        let mut logits = Array3::<f64>::zeros((1, 2, 4));
        logits[(0, 1, 3)] = f64::NEG_INFINITY;
        let of = |times: &[f64]| {
            let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times };
            let outputs = Outputs::Joint(joint.part("target").unwrap());
            path.generalized_kl_gradient(outputs, &logits, batch, Reduction::Sum).unwrap()
        };
        let (loss, gradient) = of(&[0.0]);
        assert_eq!((loss.sum(), loss.counted), (0.0, 2));
        assert!(gradient.iter().all(|&slope| slope == 0.0));
        let (later, gradient) = of(&[0.5]);
        assert_eq!(later.positions[[0, 1]], f64::INFINITY);
        assert!(gradient.iter().all(|slope| slope.is_finite() && *slope != 0.0));
    }

    #[test]
    fn velocities_are_0_where_the_token_is_absent() {
        let path = MixturePath::new(Polynomial::LINEAR).unwrap();
        let posterior = arr3(&[[[0.25, 0.75], [0.25, 0.75]]]);
        let velocity = |x_t| path.posterior_to_velocity(&posterior, &arr2(&[x_t]), &[0.5]);
        assert_eq!(velocity([0, -1]).unwrap(), arr3(&[[[-1.5, 1.5], [0.0, 0.0]]]));
        let error = velocity([0, -2]).unwrap_err().to_string();
        assert_eq!(error, "x_t at position 1 is -2, expected a joint id, 0..2");
        let none = ArrayD::<f64>::zeros(vec![]);
        let error = path.posterior_to_velocity(&none, &arr2(&[[0]]).into_dyn(), &[0.5]).unwrap_err().to_string();
        assert_eq!(error, "number of axes of the posterior is 0, expected 1 more than x_t has");
    }

    #[test]
    fn tokens_and_logits_that_do_not_fit_are_named() {
        let zeros = Array3::zeros((1, 2, 4));
        let refused = |x_1, x_t, logits| loss(&arr2(&[x_1]), &arr2(&[x_t]), logits).unwrap_err().to_string();
        assert_eq!(refused([2, 1], [0, 1], &zeros), "x_1 at position 1 is 1, expected a joint id of part target");
        assert_eq!(refused([2, 3], [0, 4], &zeros), "x_t at position 1 is 4, expected a joint id, 0..4");
        assert_eq!(refused([2, -2], [0, 1], &zeros), "x_1 at position 1 is -2, expected a joint id, 0..4");
        assert_eq!(
            refused([2, 3], [0, -1], &zeros),
            "x_t at position 1 is absent, expected a joint id, as x_1 is there"
        );
        let wrong = Array3::zeros((1, 2, 3));
        assert_eq!(refused([2, 3], [0, 1], &wrong), "shape of the logits is [1, 2, 3], expected [1, 2, 4]");
        let empty = Array3::from_elem((1, 2, 4), f32::NEG_INFINITY);
        assert!(refused([2, 3], [0, 1], &empty).starts_with("largest logit at position 0 is -inf"));
    }
}
