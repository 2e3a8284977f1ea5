//! A small transformer behind [`LogitBackend`]: any ids in, logits out, their gradient back.
//!
//! ```text
//! tokens [B, C, P] ── sum of embeddings ─┐
//! times  [B] ── waves of t ── matrix ────┴─ layers ── hidden [B x P, width] ─┬─ logits [B x P, K]
//!                                          output table [N, width] ── K rows ┘
//! ```
//! Of a table only the rows that a step names are taken, and only they take the step: an embedding that is not read, or an
//! output that is no candidate, costs nothing, however many there are.

mod model;
mod options;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use ndarray::{Array2, Array3, ArrayView3};

use self::model::{Kept, LogitParts};
use super::Options;
use super::model::{Part, Parts};
use super::optimise::{Step, Trained, norm};
use super::train::read;
use crate::backend::logits::check_gradient;
use crate::backend::{LogitBackend, LogitInput, LogitSpec};
use crate::error::{Error, Result};

pub use options::LogitOptions;

/// A matrix without gradients.
type Plain<B> = Tensor<<B as AutodiffBackend>::InnerBackend, 2>;

/// Rows of a table.
type Rows<B> = Tensor<<B as AutodiffBackend>::InnerBackend, 1, Int>;

/// Gives logits and learns from their gradient, on a device of burn's.
///
/// # Examples
/// Ids 0 to 3 in a ring: each is to be followed by the next, whatever the loss is made of.
///
/// ```
/// use ndarray::{Array3, Axis};
/// use roundelay::backend::burn::{Cpu, LogitModel, LogitOptions};
/// use roundelay::backend::{LogitBackend, LogitInput, LogitSpec};
///
/// let spec = LogitSpec { channels: vec![4], outputs: 4, timed: false };
/// let options = LogitOptions { width: 8, heads: 2, layers: 1, learning_rate: 0.02, ..LogitOptions::default() };
/// let mut model = LogitModel::<Cpu>::new(&spec, &options, &Default::default())?;
/// let tokens = Array3::from_shape_fn((1, 1, 8), |(_, _, position)| position as i32 % 4);
/// let next = |position: usize| (position + 1) % 4;
/// for _ in 0..40 {
///     let logits = model.logits(&LogitInput::new(tokens.view()))?;
///     // The gradient of a squared distance from 3 at what is next, and from 0 elsewhere.
///     let slope = |(_, p, id), &x: &f32| x - if id == next(p) { 3.0 } else { 0.0 };
///     model.learn(Array3::from_shape_fn(logits.dim(), |at| slope(at, &logits[at])).view())?;
/// }
/// let logits = model.logits(&LogitInput::new(tokens.view()))?;
/// for (position, said) in logits.index_axis(Axis(0), 0).outer_iter().enumerate() {
///     assert!(said.iter().enumerate().all(|(id, &x)| id == next(position) || x < said[next(position)]));
/// }
/// # Ok::<(), roundelay::Error>(())
/// ```
pub struct LogitModel<B: AutodiffBackend> {
    spec: LogitSpec,
    causal: bool,
    options: Options,
    device: B::Device,
    model: LogitParts<usize>,
    parts: Vec<Part>,
    trained: Vec<Trained<B::InnerBackend>>,
    step: u64,
    kept: Option<Kept<B>>,
}

impl<B: AutodiffBackend> LogitModel<B> {
    /// A new model, drawn by the options' seed.
    ///
    /// # Errors
    /// `Invalid` for options that make no model, or if nothing is read or said; `OverLimit` for more than 2^31 numbers.
    pub fn new(spec: &LogitSpec, options: &LogitOptions, device: &B::Device) -> Result<Self> {
        let (causal, options) = (options.causal, options.common());
        let (model, parts) = LogitParts::of(spec, &options)?;
        let tensor = |(numbers, part): (Vec<f32>, &Part)| {
            Trained::new(Tensor::from_data(TensorData::new(numbers, part.shape), device))
        };
        let trained = Parts::numbers(&parts, options.seed).zip(&parts).map(tensor).collect();
        let (spec, device) = (spec.clone(), device.clone());
        Ok(LogitModel { spec, causal, options, device, model, parts, trained, step: 0, kept: None })
    }

    /// How many numbers are trained.
    pub fn numbers(&self) -> usize {
        self.parts.iter().map(|part| part.shape[0] * part.shape[1]).sum()
    }

    /// Steps that the model has taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Rows of the output table.
    fn output(&self, rows: Option<&Rows<B>>) -> Plain<B> {
        let table = self.trained[self.model.output].numbers.clone();
        match rows {
            Some(rows) => table.select(0, rows.clone()),
            None => table,
        }
    }

    /// Gradients of all parts that what is kept came from.
    fn gradients(&self, kept: &Kept<B>, slopes: Plain<B>) -> Vec<Option<Plain<B>>> {
        let mut gradients = vec![None; self.parts.len()];
        gradients[self.model.output] = Some(slopes.clone().transpose().matmul(kept.hidden.clone().inner()));
        // A loss whose slope at the hidden numbers is that of the logits.
        let loss = (kept.hidden.clone() * Tensor::from_inner(slopes.matmul(kept.output.clone()))).sum();
        let mut found = loss.backward();
        for (gradient, part) in gradients.iter_mut().zip(&kept.parts) {
            *gradient = gradient.take().or_else(|| part.as_ref()?.numbers.grad_remove(&mut found));
        }
        gradients
    }

    fn move_by(&mut self, rows: Vec<Option<Rows<B>>>, gradients: Vec<Option<Plain<B>>>, norm: f64) {
        let step = Step::new(&self.options, self.step, norm);
        let parts = std::mem::take(&mut self.trained).into_iter().zip(rows).zip(gradients).zip(&self.parts);
        let moved = parts.map(|(((trained, rows), gradient), part)| match (rows, gradient) {
            (Some(rows), Some(gradient)) => trained.step_rows(rows, gradient, &step, part.decays()),
            (_, gradient) => trained.step(gradient, &step, part.decays()),
        });
        self.trained = moved.collect();
    }
}

impl<B: AutodiffBackend> LogitBackend for LogitModel<B> {
    fn logits(&mut self, input: &LogitInput) -> Result<Array3<f32>> {
        let shape = self.spec.check(input)?;
        let kept = self.way(input, shape, true);
        let logits = read(kept.hidden.clone().inner().matmul(kept.output.clone().transpose()))?;
        self.kept = Some(kept);
        Ok(Array3::from_shape_vec(shape, logits).expect("a logit for each row of the output table"))
    }

    fn learn(&mut self, gradient: ArrayView3<f32>) -> Result<()> {
        let nothing = || Error::invalid("logits to learn from", "none", "logits given since the last step");
        let kept = self.kept.as_ref().ok_or_else(nothing)?;
        check_gradient(gradient, kept.shape)?;
        let [batch, positions, outputs] = kept.shape;
        let slopes = TensorData::new(gradient.iter().copied().collect(), [batch * positions, outputs]);
        let gradients = self.gradients(kept, Tensor::from_data(slopes, &self.device));
        let norm = norm(&gradients)?;
        if !norm.is_finite() {
            return Err(Error::invalid("length of the gradient", norm, "a finite number"));
        }
        let rows = self.kept.take().map_or_else(Vec::new, |kept| kept.rows(self.model.output));
        self.step += 1;
        self.move_by(rows, gradients, norm);
        Ok(())
    }

    fn hidden(&mut self, input: &LogitInput) -> Result<Array3<f32>> {
        let [batch, positions, _] = self.spec.check(&LogitInput { candidates: None, ..*input })?;
        let kept = self.way(input, [batch, positions, 0], false);
        let shape = [batch, positions, self.options.width];
        Ok(Array3::from_shape_vec(shape, read(kept.hidden)?).expect("a width for each position"))
    }

    fn rows(&mut self, of: Option<&[u32]>) -> Result<Array2<f32>> {
        of.map_or(Ok(()), |ids| self.spec.check_candidates(ids))?;
        let rows = of.map(|ids| model::rows::<B>(ids.iter().copied(), &self.device));
        let shape = [of.map_or(self.spec.outputs, <[u32]>::len), self.options.width];
        Ok(Array2::from_shape_vec(shape, read(self.output(rows.as_ref()))?).expect("rows of the table"))
    }
}
