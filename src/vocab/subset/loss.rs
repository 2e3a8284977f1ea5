//! Softmax over all words, and over a subset as it is.

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayView3, Axis};

use super::Subset;
use super::remap::{check_axis, is_absent};
use crate::error::{Error, Result};
use crate::token::Token;
use crate::vocab::Real;

/// A loss of each row, and its gradient.
///
/// # Shapes
/// `rows` is `[R]`, `gradient` as the logits, `[R, K]`. Batches of positions with one subset, `[B, T, K]`, are R = B x T
/// rows; where each row of the batch has its own, [`by_row`] puts their losses together.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss<T> {
    /// The losses, in nats; 0 where the label is absent (-1) or to be generated (-2).
    pub rows: Array1<f64>,
    /// Gradient of their mean with respect to the logits; of their weighted sum after [`Loss::weighted`].
    pub gradient: Array2<T>,
    /// Rows whose label is there: the others are not in the mean.
    pub counted: usize,
}

impl<T: Real> Loss<T> {
    /// No loss yet, of logits of this shape.
    pub(super) fn zeros(shape: (usize, usize), counted: usize) -> Self {
        Loss { rows: Array1::zeros(shape.0), gradient: Array2::from_elem(shape, T::from_f64(0.0)), counted }
    }

    /// The mean over the rows that count; 0 if none does.
    pub fn mean(&self) -> f64 {
        self.rows.sum() / self.counted.max(1) as f64
    }

    /// Each row's loss times a weight of its own, and the gradient of the sum: 0 for positions that do not count.
    ///
    /// # Shapes
    /// `weights` is `[R]`.
    /// # Errors
    /// `Invalid` for another number of weights.
    pub fn weighted(mut self, weights: ArrayView1<f64>) -> Result<Self> {
        check_axis("number of weights", weights.len(), self.rows.len())?;
        let rows = self.counted as f64;
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
    let place = |(row, &label): (usize, &L)| match usize::try_from(label.into()).ok().filter(|&id| id < words) {
        None if is_absent(label.into()) => Ok(None),
        None => Err(Error::invalid(format!("label of row {row}"), label.into(), format!("0..{words}"))),
        place => Ok(place),
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

/// The losses of a batch whose rows have subsets of their own, as one: `loss` is given a row's number, its logits `[T, K]`
/// and its labels `[T]`. Returns the losses `[B, T]` and the gradient `[B, T, K]` of their mean over all that count.
///
/// # Shapes
/// `logits` is `[B, T, K]`, `labels` `[B, T]`.
/// # Errors
/// Those of `loss`, with the row; `Invalid` for shapes that do not fit.
/// # Examples
/// ```
/// use ndarray::{Array3, arr2};
/// use roundelay::vocab::subset::{Subset, by_row, subset_softmax};
///
/// let subsets = [Subset::new([1, 5, 9], 10)?, Subset::new([0, 2, 5], 10)?];
/// let labels = arr2(&[[5, 9], [0, -1]]);
/// let logits = Array3::<f32>::zeros((2, 2, 3));
/// let (losses, gradient) =
///     by_row(logits.view(), labels.view(), |row, logits, labels| subset_softmax(logits, labels, &subsets[row]))?;
/// assert_eq!(losses, arr2(&[[3f64.ln(), 3f64.ln()], [3f64.ln(), 0.0]]));
/// // Three positions count: (1/3 - 1) / 3 where the label is.
/// assert!((gradient[[1, 0, 0]] + 2.0 / 9.0).abs() < 1e-7 && gradient[[1, 1, 0]] == 0.0);
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn by_row<T: Real, L: Token>(
    logits: ArrayView3<T>,
    labels: ArrayView2<L>,
    mut loss: impl FnMut(usize, ArrayView2<T>, ArrayView1<L>) -> Result<Loss<T>>,
) -> Result<(Array2<f64>, Array3<T>)> {
    check_axis("rows of labels", labels.nrows(), logits.len_of(Axis(0)))?;
    check_axis("labels of a row", labels.ncols(), logits.len_of(Axis(1)))?;
    let rows = logits.outer_iter().zip(labels.outer_iter()).enumerate();
    let of = |(row, (logits, labels))| loss(row, logits, labels).map_err(|e| e.in_stream(format!("row {row}")));
    let rows = rows.map(of).collect::<Result<Vec<Loss<T>>>>()?;
    let counted = rows.iter().map(|row| row.counted).sum::<usize>().max(1) as f64;
    let (mut losses, mut gradient) = (Array2::zeros(labels.dim()), Array3::from_elem(logits.dim(), T::from_f64(0.0)));
    for (row, loss) in rows.iter().enumerate() {
        check_axis("losses of a row", loss.rows.len(), labels.ncols())?;
        check_axis("columns of a row's gradient", loss.gradient.ncols(), logits.len_of(Axis(2)))?;
        losses.row_mut(row).assign(&loss.rows);
        let share = loss.counted as f64 / counted;
        let scaled = loss.gradient.mapv(|slope| T::from_f64(slope.into() * share));
        gradient.index_axis_mut(Axis(0), row).assign(&scaled);
    }
    Ok((losses, gradient))
}

/// Cross-entropy of logits less some number for each column, in rows that have a place.
pub(super) fn cross_entropy<T: Real>(
    logits: ArrayView2<T>,
    places: &[Option<usize>],
    less: Option<&[f64]>,
) -> Result<Loss<T>> {
    check_axis("number of labels", places.len(), logits.nrows())?;
    let mut loss = Loss::zeros(logits.dim(), places.iter().flatten().count());
    let rows = loss.counted as f64;
    let mut corrected = vec![0.0; logits.ncols()];
    for (row, place) in places.iter().enumerate().filter_map(|(row, place)| Some((row, (*place)?))) {
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
