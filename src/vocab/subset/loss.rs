//! Softmax over all words, and over a subset as it is.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use super::Subset;
use super::remap::check_axis;
use crate::error::{Error, Result};
use crate::token::Token;
use crate::vocab::Real;

/// A loss of each row, and its gradient.
///
/// # Shapes
/// `rows` is `[R]`, `gradient` as the logits, `[R, K]`. Batches of positions, `[B, T, K]`, are R = B x T rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss<T> {
    /// The losses, in nats.
    pub rows: Array1<f64>,
    /// Gradient of their mean with respect to the logits; of their weighted sum after [`Loss::weighted`].
    pub gradient: Array2<T>,
}

impl<T: Real> Loss<T> {
    /// The mean over rows.
    pub fn mean(&self) -> f64 {
        self.rows.mean().unwrap_or(0.0)
    }

    /// Each row's loss times a weight of its own, and the gradient of the sum: 0 for positions that do not count.
    ///
    /// # Shapes
    /// `weights` is `[R]`.
    /// # Errors
    /// `Invalid` for another number of weights.
    pub fn weighted(mut self, weights: ArrayView1<f64>) -> Result<Self> {
        check_axis("number of weights", weights.len(), self.rows.len())?;
        let rows = self.rows.len() as f64;
        for (mut gradient, &weight) in self.gradient.outer_iter_mut().zip(weights) {
            gradient.mapv_inplace(|slope| T::from_f64(slope.into() * weight * rows));
        }
        self.rows *= &weights;
        Ok(self)
    }
}

/// Cross-entropy over all words.
///
/// ```text
/// loss = ln sum_j e^(s_j) - s_y          gradient_j = (softmax_j - [j = y]) / R
/// ```
///
/// # Shapes
/// `logits` is `[R, N]`, `labels` `[R]`.
/// # Errors
/// `Invalid` for another number of labels, a label that is no word, or a loss that is no finite number.
pub fn full_softmax<T: Real, L: Token>(logits: ArrayView2<T>, labels: ArrayView1<L>) -> Result<Loss<T>> {
    let words = logits.ncols();
    let place = |(row, &label): (usize, &L)| {
        let place = usize::try_from(label.into()).ok().filter(|&id| id < words);
        place.ok_or_else(|| Error::invalid(format!("label of row {row}"), label.into(), format!("0..{words}")))
    };
    let places = labels.iter().enumerate().map(place).collect::<Result<Vec<_>>>()?;
    cross_entropy(logits, &places, None)
}

/// Cross-entropy over a subset alone, as if there were no other words: smaller than that over all.
///
/// # Shapes
/// `logits` is `[R, K]`, of the subset; `labels` `[R]` are ids of words.
/// # Errors
/// As [`full_softmax`]; `Invalid` for a label that is not in the subset.
pub fn subset_softmax<T: Real, L: Token>(
    logits: ArrayView2<T>,
    labels: ArrayView1<L>,
    subset: &Subset,
) -> Result<Loss<T>> {
    check_axis("logits of a row", logits.ncols(), subset.len())?;
    cross_entropy(logits, &subset.places(labels)?, None)
}

/// Cross-entropy of logits less some number for each column.
pub(super) fn cross_entropy<T: Real>(logits: ArrayView2<T>, places: &[usize], less: Option<&[f64]>) -> Result<Loss<T>> {
    check_axis("number of labels", places.len(), logits.nrows())?;
    let mut loss =
        Loss { rows: Array1::zeros(places.len()), gradient: Array2::from_elem(logits.dim(), T::from_f64(0.0)) };
    let rows = places.len() as f64;
    let mut corrected = vec![0.0; logits.ncols()];
    for (row, &place) in places.iter().enumerate() {
        let all = corrected.iter_mut().zip(logits.row(row));
        match less {
            Some(less) => all.zip(less).for_each(|((corrected, &logit), less)| *corrected = logit.into() - less),
            None => all.for_each(|(corrected, &logit)| *corrected = logit.into()),
        }
        let aim = corrected[place];
        loss.rows[row] = finite(log_sum(&mut corrected) - aim, row)?;
        let mut gradient = loss.gradient.row_mut(row);
        gradient.iter_mut().zip(&corrected).for_each(|(slope, share)| *slope = T::from_f64(share / rows));
        gradient[place] = T::from_f64((corrected[place] - 1.0) / rows);
    }
    Ok(loss)
}

/// The logarithm of the sum of exponentials, which are left as shares of it.
pub(super) fn log_sum(numbers: &mut [f64]) -> f64 {
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for number in numbers.iter_mut() {
        *number = (*number - most).exp();
        sum += *number;
    }
    numbers.iter_mut().for_each(|share| *share /= sum);
    most + sum.ln()
}

pub(super) fn finite(loss: f64, row: usize) -> Result<f64> {
    match loss.is_finite() {
        true => Ok(loss),
        false => Err(Error::invalid(format!("loss of row {row}"), loss, "a finite number")),
    }
}
