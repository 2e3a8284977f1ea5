//! Softmax over a label and drawn negatives, set right for how likely each was drawn.

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::loss::{finite, log_sum};
use super::remap::{check_axis, is_absent};
use super::{Loss, Proposal, Subset};
use crate::error::{Error, Result};
use crate::token::Token;
use crate::vocab::Real;

/// What a negative's share is divided by: how often it is expected among m draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// 1: nothing is set right, and words that are drawn often are pushed down too far.
    None,
    /// m q: draws with replacement, repeats count.
    #[default]
    LogMQ,
    /// 1 - (1 - q)^m: the same draws, each id once.
    LogExpectedUnique,
}

impl Correction {
    /// How often an id is expected among `draws` draws.
    pub fn expected(self, proposal: &Proposal, draws: usize, id: u32) -> f64 {
        let (q, m) = (proposal.probability(id), draws as f64);
        match self {
            Correction::None => 1.0,
            Correction::LogMQ => m * q,
            // As exact for the smallest q: 1 - (1 - q)^m.
            Correction::LogExpectedUnique => -(m * (-q).ln_1p()).exp_m1(),
        }
    }
}

/// Cross-entropy of a label among negatives that were drawn for the whole batch.
///
/// ```text
/// column 0       s_y              or  s_y - ln E_y
/// column 1..     s_j - ln E_j     or  minus infinity, where j = y
/// loss           ln sum e^(column) - column 0
/// ```
/// With the default, the sum of exponentials is right on average: e^(s_y) is always in it, and every other word is, as
/// often as E says, with its share divided by that. The loss and its gradient are then those of all words, but for the
/// curve of the logarithm: they are off by about the relative variance of that sum, which falls as 1 / m.
///
/// With `correct_label` the loss is another one: which of the candidates was the label, when all of them came from the
/// proposal. Where accidental hits are kept it has its minimum at the same logits, and nearly so otherwise; its gradient
/// on the way is another one.
///
/// # Source
/// Jean et al. 2015, "On Using Very Large Target Vocabulary"; TensorFlow's `sampled_softmax_loss` is `correct_label` and
/// `remove_accidental_hits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampledSoftmax {
    /// What negatives are divided by; m q by default.
    pub correction: Correction,
    /// Whether the label's share is divided likewise; no by default.
    pub correct_label: bool,
    /// Whether a negative that is the row's label is left out; yes by default.
    pub remove_accidental_hits: bool,
}

impl Default for SampledSoftmax {
    fn default() -> Self {
        SampledSoftmax { correction: Correction::default(), correct_label: false, remove_accidental_hits: true }
    }
}

/// Negatives, and what they were drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Ids as drawn, repeats among them.
    pub ids: &'a [u32],
    /// How many draws that were.
    pub draws: usize,
    /// What they were drawn from.
    pub proposal: &'a Proposal,
}

impl<'a> Sample<'a> {
    /// What came of drawing `ids`.
    pub fn new(ids: &'a [u32], proposal: &'a Proposal) -> Self {
        Sample { ids, draws: ids.len(), proposal }
    }

    /// What logits are needed of: the labels and the negatives.
    ///
    /// # Errors
    /// `Invalid` for a label that is no word.
    pub fn subset<L: Token>(&self, labels: ArrayView1<L>) -> Result<Subset> {
        let words = self.proposal.words();
        let id = |&label: &L| {
            u32::try_from(label.into()).map_err(|_| Error::invalid("label", label.into(), format!("0..{words}")))
        };
        let labels = labels.iter().filter(|&&label| !is_absent(label.into())).map(id).collect::<Result<Vec<_>>>()?;
        Subset::new(labels.into_iter().chain(self.ids.iter().copied()), words)
    }
}

/// A sample as columns of a subset's logits.
struct Columns {
    /// Where each negative stands in the subset.
    places: Vec<usize>,
    /// What is taken off each of them.
    less: Vec<f64>,
    /// Each row's label in the subset, if it has one.
    labels: Vec<Option<usize>>,
    /// What is taken off each label.
    labels_less: Vec<f64>,
}

impl SampledSoftmax {
    /// The loss of each row.
    ///
    /// # Shapes
    /// `logits` is `[R, K]`, of a subset with all labels and negatives in it; `labels` `[R]` are ids of words.
    /// # Errors
    /// `Invalid` for shapes that do not fit, a label or a negative that is not in the subset or that is never drawn
    /// where its share is divided by how often it is, and a loss that is no finite number.
    pub fn loss<T: Real, L: Token>(
        &self,
        logits: ArrayView2<T>,
        labels: ArrayView1<L>,
        subset: &Subset,
        sample: &Sample,
    ) -> Result<Loss<T>> {
        let columns = self.columns(logits, labels, subset, sample)?;
        let mut loss = Loss::zeros(logits.dim(), columns.labels.iter().flatten().count());
        let scale = loss.counted as f64;
        let (mut corrected, mut slopes) = (vec![0.0; columns.places.len() + 1], vec![0.0; subset.len()]);
        for (row, label) in columns.labels.iter().enumerate().filter_map(|(row, label)| Some((row, (*label)?))) {
            self.fill(&columns, logits.row(row), row, &mut corrected);
            let aim = corrected[0];
            loss.rows[row] = finite(log_sum(&mut corrected) - aim, row)?;
            slopes.fill(0.0);
            slopes[label] = corrected[0] - 1.0;
            // A negative that was drawn twice is pushed down twice.
            columns.places.iter().zip(&corrected[1..]).for_each(|(&place, share)| slopes[place] += share);
            let slopes = loss.gradient.row_mut(row).into_iter().zip(&slopes);
            slopes.for_each(|(slope, sum)| *slope = T::from_f64(sum / scale));
        }
        Ok(loss)
    }

    /// The logits that the loss is taken over: the label's in column 0, then the negatives'. Under
    /// [`Correction::LogExpectedUnique`] these are the distinct ones, in rising order. A row without a label has minus
    /// infinity in column 0.
    ///
    /// # Shapes
    /// As [`SampledSoftmax::loss`]; returns `[R, 1 + m]`.
    /// # Errors
    /// As there, but for the loss.
    pub fn corrected<T: Real, L: Token>(
        &self,
        logits: ArrayView2<T>,
        labels: ArrayView1<L>,
        subset: &Subset,
        sample: &Sample,
    ) -> Result<Array2<f64>> {
        let columns = self.columns(logits, labels, subset, sample)?;
        let mut corrected = Array2::zeros((logits.nrows(), columns.places.len() + 1));
        for (row, mut corrected) in corrected.outer_iter_mut().enumerate() {
            let corrected = corrected.as_slice_mut().expect("rows are in one piece");
            self.fill(&columns, logits.row(row), row, corrected);
        }
        Ok(corrected)
    }

    fn columns<T: Real, L: Token>(
        &self,
        logits: ArrayView2<T>,
        labels: ArrayView1<L>,
        subset: &Subset,
        sample: &Sample,
    ) -> Result<Columns> {
        check_axis("words of the proposal", sample.proposal.words(), subset.words())?;
        check_axis("logits of a row", logits.ncols(), subset.len())?;
        check_axis("number of labels", labels.len(), logits.nrows())?;
        let mut ids = sample.ids.to_vec();
        if self.correction == Correction::LogExpectedUnique {
            ids.sort_unstable();
            ids.dedup();
        }
        // Ids that were drawn are never absent.
        let negatives: Vec<usize> = subset.places(ArrayView1::from(&ids))?.into_iter().flatten().collect();
        let labels = subset.places(labels)?;
        let less = |place: &usize| self.less(subset.ids()[*place], sample);
        let label_less = |label: &Option<usize>| label.as_ref().map_or(Ok(0.0), less);
        let nothing = vec![0.0; labels.len()];
        Ok(Columns {
            less: negatives.iter().map(less).collect::<Result<_>>()?,
            labels_less: if self.correct_label {
                labels.iter().map(label_less).collect::<Result<_>>()?
            } else {
                nothing
            },
            places: negatives,
            labels,
        })
    }

    fn less(&self, id: u32, sample: &Sample) -> Result<f64> {
        let expected = self.correction.expected(sample.proposal, sample.draws, id);
        match expected > 0.0 {
            true => Ok(expected.ln()),
            false => Err(Error::invalid(format!("expected draws of word {id}"), expected, "more than 0")),
        }
    }

    fn fill<T: Real>(&self, columns: &Columns, logits: ArrayView1<T>, row: usize, corrected: &mut [f64]) {
        let label = columns.labels[row];
        corrected[0] = label.map_or(f64::NEG_INFINITY, |label| logits[label].into() - columns.labels_less[row]);
        let negatives = columns.places.iter().zip(&columns.less).zip(&mut corrected[1..]);
        for ((&place, less), corrected) in negatives {
            let hit = self.remove_accidental_hits && Some(place) == label;
            *corrected = if hit { f64::NEG_INFINITY } else { logits[place].into() - less };
        }
    }
}
