//! Training what chooses the words: the choice is hard, its gradient that of a soft one.
//!
//! ```text
//! scores [B, N] + Gumbel noise = keys z ──> the K largest: 0 or 1           what the step uses
//!                                       └─> inside_i = sigmoid((z_i - c) / t), c such that they add up to K
//!                                           what gradients go through
//! ```
//! Of all soft choices of K, these are the ones that weigh keys against entropy: `inside` maximises `z . p + t H(p)` over
//! p with sum K, H being the sum of the entropies of N coins. As t goes to 0 it becomes the hard choice. With
//! `w_i = inside_i (1 - inside_i)` and W their sum,
//!
//! ```text
//! d inside_i / d z_j = (w_i [i = j] - w_i w_j / W) / t
//! ```
//! What goes into the scores is up to the model: with scores `query . word` the gradient of the query is the sum of
//! slopes times words, and that of a word its slope times the query.
//!
//! # Source
//! Jang et al. 2017, on the Gumbel softmax and its straight-through form; Kool et al. 2019, on Gumbel top-k.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};

use super::Loss;
use super::draws::{gumbel, largest, uniform};
use super::loss::{finite, log_sum};
use super::remap::check_axis;
use crate::error::{Error, Result};
use crate::token::Token;
use crate::vocab::Real;

/// Chooses words by their scores.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::vocab::subset::select::Selector;
///
/// let scores = arr2(&[[0.1, 2.0, -1.0, 1.5, 0.3f64]]);
/// let chosen = Selector::new(2, 0.5)?.select(scores.view(), None)?;
/// assert_eq!(chosen.places(), arr2(&[[1, 3]]));
/// assert!((chosen.inside().sum() - 2.0).abs() < 1e-12);
///
/// // The label 4 is not among them: its score is to rise, those of all others to fall.
/// let loss = chosen.label_loss(arr2(&[[4]]).view())?;
/// assert!(loss.gradient[[0, 4]] < 0.0 && loss.gradient[[0, 3]] > 0.0);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selector {
    count: usize,
    temperature: f64,
}

impl Selector {
    /// Chooses `count` words; gradients are those of a soft choice of some temperature.
    ///
    /// # Errors
    /// `Invalid` for none, or a temperature that is not a finite number above 0.
    pub fn new(count: usize, temperature: f64) -> Result<Self> {
        if count == 0 {
            return Err(Error::invalid("words to choose", 0, "at least 1"));
        }
        match temperature > 0.0 && temperature.is_finite() {
            true => Ok(Selector { count, temperature }),
            false => Err(Error::invalid("temperature", temperature, "a finite number above 0")),
        }
    }

    /// Chooses for each row: by noise made of a number for each score, row by row, or without noise.
    ///
    /// # Shapes
    /// `scores` is `[B, N]`.
    /// # Errors
    /// `Invalid` if there are fewer scores in a row than words to choose, for a score that is no finite number, and for
    /// missing numbers.
    pub fn select<T: Real>(
        &self,
        scores: ArrayView2<T>,
        mut draws: Option<&mut dyn Iterator<Item = f64>>,
    ) -> Result<Selection> {
        let mut keys = scores.mapv(Into::<f64>::into);
        if self.count > keys.ncols() {
            return Err(Error::invalid("words to choose", self.count, format!("at most {}", keys.ncols())));
        }
        for key in &mut keys {
            if !(*key / self.temperature).is_finite() {
                return Err(Error::invalid("score", key, format!("finite at temperature {:e}", self.temperature)));
            }
            if let Some(draws) = &mut draws {
                // The least number there is stands for 0, whose noise would be infinite.
                *key += gumbel(uniform(&mut **draws)?.max(f64::MIN_POSITIVE));
            }
        }
        let mut places = Array2::zeros((keys.nrows(), self.count));
        for (mut places, keys) in places.outer_iter_mut().zip(keys.outer_iter()) {
            places.assign(&Array1::from(largest(&keys.to_vec(), self.count)));
        }
        let mut odds = keys;
        odds.outer_iter_mut().for_each(|mut row| self.centre(&mut row));
        Ok(Selection { places, inside: odds.mapv(sigmoid), odds, temperature: self.temperature })
    }

    /// Keys as what the sigmoid is taken of: the same number is taken off all, so that sigmoids add up to the count.
    fn centre(&self, keys: &mut ndarray::ArrayViewMut1<f64>) {
        keys.mapv_inplace(|key| key / self.temperature);
        let count = self.count as f64;
        // With all chosen there is no such number: all are inside for sure.
        if self.count == keys.len() {
            return keys.fill(f64::INFINITY);
        }
        // At these two the smallest sigmoid, and the largest, is the mean one.
        let mean = (count / (keys.len() as f64 - count)).ln();
        let (least, most) = keys.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &k| (a.min(k), b.max(k)));
        let (mut low, mut high) = (least - mean, most - mean);
        loop {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                return keys.mapv_inplace(|key| key - middle);
            }
            let sum: f64 = keys.iter().map(|key| sigmoid(key - middle)).sum();
            if sum > count { low = middle } else { high = middle }
        }
    }
}

/// What was chosen, and how softly.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    places: Array2<usize>,
    inside: Array2<f64>,
    /// What the sigmoids are taken of.
    odds: Array2<f64>,
    temperature: f64,
}

impl Selection {
    /// The chosen places, `[B, K]`, the largest key first.
    pub fn places(&self) -> &Array2<usize> {
        &self.places
    }

    /// 1 for what is chosen, 0 for the rest: `[B, N]`.
    pub fn mask(&self) -> Array2<f64> {
        let mut mask = Array2::zeros(self.inside.dim());
        for (row, places) in self.places.outer_iter().enumerate() {
            places.iter().for_each(|&place| mask[[row, place]] = 1.0);
        }
        mask
    }

    /// How far inside each is, softly: `[B, N]`, each row adding up to K.
    pub fn inside(&self) -> &Array2<f64> {
        &self.inside
    }

    /// The gradient of the scores, from that of the mask: the straight-through estimate, which takes the mask for
    /// [`Selection::inside`].
    ///
    /// # Shapes
    /// `[B, N]` to `[B, N]`.
    /// # Errors
    /// `Invalid` for another shape.
    pub fn back(&self, of_mask: ArrayView2<f64>) -> Result<Array2<f64>> {
        check_axis("rows of the gradient", of_mask.nrows(), self.inside.nrows())?;
        check_axis("columns of the gradient", of_mask.ncols(), self.inside.ncols())?;
        let mut scores = Array2::zeros(of_mask.dim());
        for (row, mut slopes) in scores.outer_iter_mut().enumerate() {
            let (of_mask, spread) = (of_mask.row(row), self.spread(row));
            let mean = mean_by(&spread, of_mask);
            Zip::from(&mut slopes).and(&spread).and(of_mask).for_each(|slope, &w, &g| {
                *slope = w * (g - mean) / self.temperature;
            });
        }
        Ok(scores)
    }

    /// The loss that rewards labels for being inside: `-ln inside`, the mean over a row's labels.
    ///
    /// # Shapes
    /// `labels` is `[B, L]`, places among the N; -1 and -2 are no labels. Gradients are `[B, N]`, of the scores.
    /// # Errors
    /// `Invalid` for another number of rows, or a label that is no place.
    pub fn label_loss<L: Token>(&self, labels: ArrayView2<L>) -> Result<Loss<f64>> {
        check_axis("rows of labels", labels.nrows(), self.inside.nrows())?;
        let mut loss = Loss::zeros(self.inside.dim(), labels.nrows());
        for (row, labels) in labels.outer_iter().enumerate() {
            let places = self.label_places(labels, row)?;
            let share = 1.0 / (places.len().max(1) * self.inside.nrows()) as f64 / self.temperature;
            let (odds, spread) = (self.odds.row(row), self.spread(row));
            let all: f64 = spread.sum();
            let mut gradient = loss.gradient.row_mut(row);
            for &place in &places {
                loss.rows[row] += softplus(-odds[place]) / places.len() as f64;
                let missing = sigmoid(-odds[place]) * share;
                gradient[place] -= missing;
                if all > 0.0 {
                    gradient.scaled_add(missing / all, &spread);
                }
            }
        }
        Ok(loss)
    }

    fn label_places<L: Token>(&self, labels: ArrayView1<L>, row: usize) -> Result<Vec<usize>> {
        let words = self.inside.ncols();
        let present = labels.iter().map(|&label| label.into()).filter(|label| !(-2..0).contains(label));
        let place = |label: i64| {
            let place = usize::try_from(label).ok().filter(|&place| place < words);
            place.ok_or_else(|| Error::invalid(format!("label of row {row}"), label, format!("0..{words}")))
        };
        present.map(place).collect()
    }

    /// How much each sigmoid moves with its key: the derivatives, without the temperature.
    fn spread(&self, row: usize) -> Array1<f64> {
        // As a product of two sigmoids it does not vanish where one is 1 but for rounding.
        self.odds.row(row).mapv(|odds| sigmoid(odds) * sigmoid(-odds))
    }
}

/// What a subset misses of a softmax over all words, and the gradient of the mask.
///
/// ```text
/// loss = ln sum_j e^(s_j) - ln sum_j m_j e^(s_j)          gradient_j = -e^(s_j) / sum_k m_k e^(s_k) / R
/// ```
/// It is at least 0, and 0 when nothing is missed. The loss of the labels on the subset would not do to train the choice:
/// that one falls when the words go that are hardest to tell from the label.
///
/// # Shapes
/// `logits` is `[R, N]`, of R positions that have one subset; `mask` is `[N]`. The gradient is `[1, N]`, the mean over
/// positions.
/// # Errors
/// `Invalid` for another length, or if nothing of a row's softmax is in the subset.
pub fn missed<T: Real>(logits: ArrayView2<T>, mask: ArrayView1<f64>) -> Result<Loss<f64>> {
    check_axis("length of the mask", mask.len(), logits.ncols())?;
    let (rows, counted) = (Array1::zeros(logits.nrows()), logits.nrows());
    let mut loss = Loss { rows, gradient: Array2::zeros((1, logits.ncols())), counted };
    for (row, logits) in logits.axis_iter(Axis(0)).enumerate() {
        let mut shares: Vec<f64> = logits.iter().map(|&logit| logit.into()).collect();
        log_sum(&mut shares);
        let inside: f64 = shares.iter().zip(mask).map(|(share, mask)| share * mask).sum();
        loss.rows[row] = finite(-inside.ln(), row)?;
        let scale = -1.0 / (inside * loss.rows.len() as f64);
        loss.gradient.row_mut(0).iter_mut().zip(&shares).for_each(|(slope, share)| *slope += share * scale);
    }
    Ok(loss)
}

/// The mean of some numbers, weighted; 0 if nothing weighs anything.
fn mean_by(weights: &Array1<f64>, numbers: ArrayView1<f64>) -> f64 {
    let all = weights.sum();
    if all > 0.0 { weights.dot(&numbers) / all } else { 0.0 }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// `-ln sigmoid(-x)`
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
