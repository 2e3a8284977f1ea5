//! A small transformer behind [`LogitBackend`]: any ids in, logits out, their gradient back.
//!
//! ```text
//! tokens [B, C, P] ── sum of embeddings ─┐
//! times  [B] ── waves of t ── matrix ────┴─ layers ── hidden [B x P, width] ─┬─ logits [B x P, K]
//!                                          output table [N, width] ── K rows ┘
//! ```
//! Of a table only the rows that a step names are taken, and only they take the step: an embedding that is not read, or an
//! output that is no candidate, is in no product and stays as it is. It is not free for all that: burn's backend for
//! processors puts rows back into a copy of the table, three times a step for each table (the numbers and both means).

mod model;
mod options;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use ndarray::{Array2, Array3, ArrayView3};

use self::model::{Kept, LogitParts};
use super::Options;
use super::model::{Part, Parts};
use super::optimise::{Step, Trained, norm};
use super::train::{Plain, read};
use crate::backend::logits::check_gradient;
use crate::backend::{LogitBackend, LogitInput, LogitSpec};
use crate::error::{Error, Result};

pub use options::LogitOptions;

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
/// let logits = model.predict(&LogitInput::new(tokens.view()))?;
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

    /// A step of each part, or of its rows, that there is a gradient of; what was not read stays.
    fn move_by(&mut self, rows: Vec<Option<Rows<B>>>, gradients: Vec<Option<Plain<B>>>, norm: f64) {
        let step = Step::new(&self.options, self.step, norm);
        let parts = std::mem::take(&mut self.trained).into_iter().zip(rows).zip(gradients).zip(&self.parts);
        let moved = parts.map(|(((trained, rows), gradient), part)| match (rows, gradient) {
            (Some(rows), Some(gradient)) => trained.step_rows(rows, gradient, &step, part.decays()),
            (None, Some(gradient)) => trained.step(Some(gradient), &step, part.decays()),
            (_, None) => trained,
        });
        self.trained = moved.collect();
    }

    /// Lets go of logits that nothing was learned from.
    fn forget(&mut self) {
        if let Some(kept) = self.kept.take() {
            kept.forget();
        }
    }
}

impl<B: AutodiffBackend> Drop for LogitModel<B> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl<B: AutodiffBackend> LogitBackend for LogitModel<B> {
    fn logits(&mut self, input: &LogitInput) -> Result<Array3<f32>> {
        let shape = self.spec.check(input)?;
        self.forget();
        let kept = self.way(input, shape, true);
        self.kept.insert(kept).logits()
    }

    fn predict(&mut self, input: &LogitInput) -> Result<Array3<f32>> {
        let shape = self.spec.check(input)?;
        let kept = self.way(input, shape, false);
        let logits = kept.logits();
        kept.forget();
        logits
    }

    fn learn(&mut self, gradient: ArrayView3<f32>) -> Result<()> {
        let nothing = || Error::invalid("logits to learn from", "none", "logits given since the last step");
        check_gradient(gradient, self.kept.as_ref().ok_or_else(nothing)?.shape)?;
        // Used up whatever comes: burn takes its way back only once.
        let kept = self.kept.take().ok_or_else(nothing)?;
        let [batch, positions, outputs] = kept.shape;
        let slopes = TensorData::new(gradient.iter().copied().collect(), [batch * positions, outputs]);
        let gradients = self.gradients(&kept, Tensor::from_data(slopes, &self.device));
        let norm = norm(&gradients)?;
        if !norm.is_finite() {
            return Err(Error::invalid("length of the gradient", norm, "a finite number"));
        }
        self.step += 1;
        self.move_by(kept.rows(self.model.output), gradients, norm);
        Ok(())
    }

    fn hidden(&mut self, input: &LogitInput) -> Result<Array3<f32>> {
        let input = LogitInput { candidates: None, ..*input };
        let shape = self.spec.check(&input)?;
        let kept = self.way(&input, shape, false);
        let hidden = read(kept.hidden.clone());
        kept.forget();
        let shape = [shape[0], shape[1], self.options.width];
        Ok(Array3::from_shape_vec(shape, hidden?).expect("a width for each position"))
    }

    fn rows(&mut self, of: Option<&[u32]>) -> Result<Array2<f32>> {
        of.map_or(Ok(()), |ids| self.spec.check_candidates(ids))?;
        let rows = of.map(|ids| model::rows::<B>(ids.iter().copied(), &self.device));
        let shape = [of.map_or(self.spec.outputs, <[u32]>::len), self.options.width];
        Ok(Array2::from_shape_vec(shape, read(self.output(rows.as_ref()))?).expect("rows of the table"))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, arr3};

    use super::super::Cpu;
    use super::*;

    /// Two channels of 6 and 4 ids, 7 outputs.
    fn model() -> LogitModel<Cpu> {
        let spec = LogitSpec { channels: vec![6, 4], outputs: 7, timed: false };
        let options = LogitOptions { width: 4, heads: 2, layers: 1, warmup: 0, ..LogitOptions::default() };
        LogitModel::new(&spec, &options, &Default::default()).unwrap()
    }

    /// A part's numbers and both running means, row by row.
    type Held = Vec<Vec<[u32; 3]>>;

    fn held(model: &LogitModel<Cpu>, part: usize) -> Held {
        let trained = &model.trained[part];
        let bits = [&trained.numbers, &trained.means[0], &trained.means[1]].map(|x| read(x.clone()).unwrap());
        let cells: Vec<_> = (0..bits[0].len()).map(|n| bits.each_ref().map(|x| x[n].to_bits())).collect();
        cells.chunks(model.parts[part].shape[1]).map(<[_]>::to_vec).collect()
    }

    fn all_held(model: &LogitModel<Cpu>) -> Vec<Held> {
        (0..model.parts.len()).map(|part| held(model, part)).collect()
    }

    /// Rows that are not what they were to the bit.
    fn moved(before: &Held, after: &Held) -> Vec<usize> {
        before
            .iter()
            .zip(after)
            .enumerate()
            .filter(|(_, (before, after))| before != after)
            .map(|(row, _)| row)
            .collect()
    }

    /// One step with a slope of 1 at the first logit of each position and -2 at the others, and which rows of the input
    /// tables and of the output table it moved.
    fn step(model: &mut LogitModel<Cpu>, tokens: [[[i32; 3]; 2]; 1], candidates: &[u32]) -> [Vec<usize>; 3] {
        let (before, tokens) = (all_held(model), arr3(&tokens));
        let input = LogitInput { candidates: Some(candidates), ..LogitInput::new(tokens.view()) };
        let shape = model.logits(&input).unwrap().dim();
        let slopes = Array3::from_shape_fn(shape, |(_, _, id)| if id == 0 { 1.0 } else { -2.0 });
        model.learn(slopes.view()).unwrap();
        let (after, part) = (all_held(model), |name| model.parts.iter().position(|part| part.name == name).unwrap());
        ["inputs.0", "inputs.1", "output"].map(part).map(|part| moved(&before[part], &after[part]))
    }

    #[test]
    fn rows_that_are_not_named_stay_with_their_means() {
        let mut model = model();
        assert_eq!(step(&mut model, [[[1, 4, 1], [0, -1, 2]]], &[0, 5]), [vec![1, 4], vec![0, 2], vec![0, 5]]);
        // Rows 1 of the first table and 5 of the last have running means now, which do not move them.
        assert_eq!(step(&mut model, [[[4, 0, -1], [2, 2, 2]]], &[2, 6]), [vec![0, 4], vec![2], vec![2, 6]]);
        assert_eq!(step(&mut model, [[[1, 1, 3], [3, -1, -2]]], &[5, 6]), [vec![1, 3], vec![3], vec![5, 6]]);
    }

    #[test]
    fn tables_that_are_not_read_stay() {
        let mut model = model();
        step(&mut model, [[[0, 1, 2], [0, 1, 2]]], &[0, 1]);
        // Row 0 has running means, and nothing stands in for what is absent.
        assert_eq!(step(&mut model, [[[0, -2, 5], [-1, -2, -1]]], &[0, 1]), [vec![0, 5], vec![], vec![0, 1]]);
        assert_eq!(step(&mut model, [[[-1, -1, -1], [-2, -2, -2]]], &[3, 4]), [vec![], vec![], vec![3, 4]]);
        assert_eq!(model.steps(), 3);
    }

    #[test]
    fn candidates_are_all_outputs_with_no_slope_elsewhere() {
        let tokens = arr3(&[[[1, 4, 1], [0, -1, 2]], [[5, 5, 0], [1, 3, -2]]]);
        let few = LogitInput { candidates: Some(&[1, 2, 6]), ..LogitInput::new(tokens.view()) };
        let slopes = Array3::from_shape_fn((2, 3, 3), |(row, at, id)| (row + 2 * at) as f32 - 1.5 * id as f32);
        let mut among_all = Array3::zeros((2, 3, 7));
        for (place, id) in [1, 2, 6].into_iter().enumerate() {
            among_all.index_axis_mut(Axis(2), id).assign(&slopes.index_axis(Axis(2), place));
        }
        let learned = |input: &LogitInput, slopes: &Array3<f32>| {
            let mut model = model();
            model.logits(input).unwrap();
            model.learn(slopes.view()).unwrap();
            all_held(&model).into_iter().map(|rows| rows.into_iter().map(Vec::into_flattened).collect::<Vec<_>>())
        };
        let output = model().model.output;
        let (few, all) = (learned(&few, &slopes), learned(&LogitInput::new(tokens.view()), &among_all));
        let mut compared = 0;
        for (part, (few, all)) in few.zip(all).enumerate() {
            for (row, (few, all)) in few.iter().zip(&all).enumerate() {
                // The others decay if they take the step.
                let named = part != output || [1, 2, 6].contains(&row);
                assert_eq!(few.iter().zip(all).all(|(&a, &b)| near(a, b)), named, "part {part}, row {row}");
                compared += 1;
            }
        }
        assert_eq!(compared, model().parts.iter().map(|part| part.shape[0]).sum::<usize>());
    }

    fn near(a: u32, b: u32) -> bool {
        (f32::from_bits(a) - f32::from_bits(b)).abs() < 1e-6
    }

    #[test]
    fn a_gradient_without_length_changes_nothing() {
        let (mut model, tokens) = (model(), arr3(&[[[1, 4, 1], [0, -1, 2]]]));
        step(&mut model, [[[0, 1, 2], [0, 1, 2]]], &[0, 1]);
        let before = all_held(&model);
        let good = model.logits(&LogitInput::new(tokens.view())).unwrap();
        assert!(model.learn((&good * 0.0 + 1e38).view()).is_err());
        let error = model.learn(good.view()).unwrap_err().to_string();
        assert_eq!(error, "logits to learn from is none, expected logits given since the last step");
        assert!(before == all_held(&model) && model.steps() == 1);
        // Logits given anew are learned from as if nothing had been.
        model.logits(&LogitInput::new(tokens.view())).unwrap();
        model.learn(good.view()).unwrap();
        assert!(before.iter().zip(all_held(&model)).all(|(before, after)| !moved(before, &after).is_empty()));
    }
}
