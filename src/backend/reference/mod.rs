//! The smallest backend that is a model all the same: to read, to run docs and tests on, to hold others against.
//!
//! ```text
//! state[s]    = sum of what the streams' inputs add at step s  +  half of state[s-1] of the same segment
//! seen[k, s]  = state[s]  +  what the targets of trained streams before k add at step s
//! logits      = table of stream k x seen[k, s] + bias of stream k
//! ```
//!
//! A stand-in for the temporal transformer in the first line, for the depth transformer in the second. Everything is in
//! 64 bits, one cell after another.

mod file;
mod tables;

use std::collections::BTreeMap;
use std::io::{Read, Write};

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, s};
use serde::{Deserialize, Serialize};

use self::file::{File, malformed};
use self::tables::{StreamTables, Tables};
use super::report::check_parts;
use super::{BatchSpec, Generate, Report, TrainBackend, Upload};
use crate::batch::TrainBatch;
use crate::error::{Error, Result};

/// What of the state one step leaves to the next.
const MEMORY: f64 = 0.5;
/// Adam's: how slowly the means of gradients and of their squares move, and what keeps the quotient finite.
const BETAS: [f64; 2] = [0.9, 0.95];
const EPSILON: f64 = 1e-8;

/// How a [`Reference`] is built and learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceOptions {
    /// Numbers in the state; 16 by default. Time and memory grow with it.
    pub width: usize,
    /// Adam's step; 0.01 by default.
    pub learning_rate: f64,
    /// Longer gradients are shortened to this; 1 by default.
    pub clip: f64,
    /// Decides the parameters at the begin; 0 by default.
    pub seed: u64,
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        ReferenceOptions { width: 16, learning_rate: 0.01, clip: 1.0, seed: 0 }
    }
}

impl ReferenceOptions {
    fn check(&self) -> Result<()> {
        if !(1..=1 << 16).contains(&self.width) {
            return Err(Error::invalid("width", self.width, "1 to 65536"));
        }
        for (what, value) in [("learning rate", self.learning_rate), ("clip", self.clip)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::invalid(what, value, "a finite number above 0"));
            }
        }
        Ok(())
    }
}

/// A small model on the processor, written to be read: state from embeddings with a fixed memory, linear logits, gradients
/// by hand, Adam.
///
/// # Examples
/// See [`backend`](crate::backend#examples).
#[derive(Debug, Clone)]
pub struct Reference {
    spec: BatchSpec,
    options: ReferenceOptions,
    learned: Learned,
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq)]
struct Learned {
    model: Tables,
    /// Moving means of the gradient and of its squares.
    means: [Tables; 2],
    steps: u64,
}

impl Reference {
    /// A model for such batches, drawn by the options' seed.
    ///
    /// # Errors
    /// `Invalid` for options out of their range.
    pub fn new(spec: &BatchSpec, options: ReferenceOptions) -> Result<Self> {
        options.check()?;
        let model = Tables::random(spec, options.width, options.seed);
        let means = [0, 1].map(|_| Tables::zeros(spec, options.width));
        Ok(Reference { spec: spec.clone(), options, learned: Learned { model, means, steps: 0 } })
    }

    /// The loss of a batch; its gradient is added, where it is asked for.
    fn run(&self, batch: &TrainBatch, mut gradient: Option<&mut Tables>) -> Report {
        let (places, mut nats) = (batch.places(), Array3::zeros(batch.shape()));
        for row in 0..batch.shape().0 {
            let at = s![row, .., ..];
            let cells = Row {
                tables: &self.learned.model.0,
                input: batch.input.0.slice(at),
                target: batch.target.0.slice(at),
                weights: batch.weights.0.slice(at),
                goes_on: places.row(row).iter().map(|place| *place > 0).collect(),
            };
            let mut nats = nats.index_axis_mut(Axis(0), row);
            cells.run(|k, step, cell| nats[[k, step]] = cell, gradient.as_deref_mut());
        }
        self.report(batch, &nats)
    }

    fn report(&self, batch: &TrainBatch, nats: &Array3<f64>) -> Report {
        Report { step: self.learned.steps, ..Report::of(batch, |row, k, step| nats[[row, k, step]]) }
    }

    /// Adam, on a gradient that is no longer than `clip`.
    fn update(&mut self, gradient: &Tables, norm: f64) {
        let Learned { model, means: [means, squares], steps } = &mut self.learned;
        *steps += 1;
        let shorter = if norm > self.options.clip { self.options.clip / norm } else { 1.0 };
        // Means begin at 0, which is too low by these.
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powf(*steps as f64));
        let moving = means.values_mut().zip(squares.values_mut());
        for ((value, gradient), (mean, square)) in model.values_mut().zip(gradient.values()).zip(moving) {
            let gradient = gradient * shorter;
            *mean = BETAS[0] * *mean + (1.0 - BETAS[0]) * gradient;
            *square = BETAS[1] * *square + (1.0 - BETAS[1]) * gradient * gradient;
            *value -= self.options.learning_rate * (*mean / first) / ((*square / second).sqrt() + EPSILON);
        }
    }
}

impl TrainBackend for Reference {
    type Batch = TrainBatch;
    type Upload = ReferenceUpload;

    fn uploader(&mut self) -> Result<ReferenceUpload> {
        Ok(ReferenceUpload(self.spec.clone()))
    }

    fn step(&mut self, parts: &[TrainBatch]) -> Result<Report> {
        check_parts(parts)?;
        let mut gradient = Tables::zeros(&self.spec, self.options.width);
        let mut report = Report::default();
        parts.iter().for_each(|part| report.add(&self.run(part, Some(&mut gradient))));
        report.step = self.learned.steps + 1;
        let norm = gradient.norm();
        report.gradient_norm = Some(norm);
        report.check(&self.spec)?;
        self.update(&gradient, norm);
        Ok(report)
    }

    fn evaluate(&mut self, batch: &TrainBatch) -> Result<Report> {
        Ok(self.run(batch, None))
    }

    fn save(&mut self, to: &mut dyn Write) -> Result<()> {
        let file = self.learned.file(&self.spec)?;
        // A model that is lost is not written over a better one.
        match file.tensors.iter().find(|(_, tensor)| tensor.iter().any(|number| !number.is_finite())) {
            Some((name, _)) => Err(Error::invalid(format!("tensor `{name}`"), "not finite", "finite numbers")),
            None => file.write(to),
        }
    }

    fn load(&mut self, from: &mut dyn Read) -> Result<()> {
        self.learned = self.learned.read(&File::read(from)?, &self.spec)?;
        Ok(())
    }
}

/// Names of the tables in a checkpoint.
const PARTS: [&str; 3] = ["model", "mean", "square"];
const FORMAT: &str = "roundelay reference 1";

impl Learned {
    fn parts(&self) -> [&Tables; 3] {
        [&self.model, &self.means[0], &self.means[1]]
    }

    fn file(&self, spec: &BatchSpec) -> Result<File> {
        let named = |(part, tables): (&'static str, &'_ Tables)| {
            tables.named().map(|(name, table)| (format!("{part}.{name}"), table.clone())).collect::<Vec<_>>()
        };
        let streams = serde_json::to_string(&spec.streams).map_err(malformed)?;
        let metadata = [("format", FORMAT.into()), ("steps", self.steps.to_string()), ("streams", streams)];
        Ok(File {
            metadata: metadata.map(|(name, value)| (name.to_owned(), value)).into(),
            tensors: PARTS.into_iter().zip(self.parts()).flat_map(named).collect(),
        })
    }

    /// What a file holds of tables like these.
    fn read(&self, file: &File, spec: &BatchSpec) -> Result<Self> {
        let expected = self.file(spec)?;
        check_tensors(&file.tensors, &expected.tensors)?;
        let mut read = Learned { steps: check_metadata(&file.metadata, &expected.metadata)?, ..self.clone() };
        for (part, tables) in PARTS.into_iter().zip([&mut read.model].into_iter().chain(&mut read.means)) {
            let names: Vec<_> = tables.named().map(|(name, _)| format!("{part}.{name}")).collect();
            let values = names.iter().flat_map(|name| &file.tensors[name]);
            tables.values_mut().zip(values).for_each(|(to, value)| *to = *value);
        }
        Ok(read)
    }
}

/// The same names and shapes.
fn check_tensors(found: &BTreeMap<String, Array2<f64>>, expected: &BTreeMap<String, Array2<f64>>) -> Result<()> {
    let shape = |tensor: Option<&Array2<f64>>| tensor.map_or("missing".into(), |tensor| format!("{:?}", tensor.dim()));
    for name in expected.keys().chain(found.keys()) {
        let (found, expected) = (shape(found.get(name)), shape(expected.get(name)));
        if found != expected {
            return Err(Error::invalid(format!("shape of tensor `{name}`"), found, expected));
        }
    }
    Ok(())
}

/// Steps, if the file is of a model with these streams.
fn check_metadata(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) -> Result<u64> {
    for (name, expected) in expected.iter().filter(|(name, _)| *name != "steps") {
        match found.get(name) {
            Some(found) if found == expected => (),
            found => {
                let found = found.map_or("missing", String::as_str);
                return Err(Error::invalid(format!("`{name}` of the checkpoint"), found, expected));
            }
        }
    }
    let steps = found.get("steps").map_or("missing", String::as_str);
    steps.parse().map_err(|_| Error::invalid("`steps` of the checkpoint", steps, "a number"))
}

/// Copies batches that fit the model.
#[derive(Debug, Clone)]
pub struct ReferenceUpload(BatchSpec);

impl Upload for ReferenceUpload {
    type Batch = TrainBatch;

    fn upload(&mut self, batch: &TrainBatch) -> Result<TrainBatch> {
        self.0.check(batch)?;
        Ok(batch.clone())
    }
}

/// A row of a batch.
struct Row<'a> {
    tables: &'a [StreamTables],
    input: ArrayView2<'a, i32>,
    target: ArrayView2<'a, i32>,
    weights: ArrayView2<'a, f32>,
    /// Whether a step goes on with the segment of the step before.
    goes_on: Vec<bool>,
}

impl Row<'_> {
    fn run(&self, mut nats: impl FnMut(usize, usize, f64), mut gradient: Option<&mut Tables>) {
        let states = states(self.tables, self.input, |step| self.goes_on[step]);
        let mut backward = Array2::zeros(states.dim());
        for (step, state) in states.outer_iter().enumerate() {
            let mut seen = state.to_owned();
            let mut wanted = vec![None; self.tables.len()];
            for (k, tables) in self.tables.iter().enumerate() {
                let (target, weight) = (self.target[[k, step]], self.weights[[k, step]]);
                if weight > 0.0 {
                    let surprise = Surprise::of(tables.logits.dot(&seen) + tables.bias.column(0), target as usize);
                    nats(k, step, surprise.nats);
                    if let Some(gradient) = &mut gradient {
                        let wants = surprise.gradient(weight);
                        wanted[k] = Some(gradient.0[k].add_logits(&wants, &seen, tables));
                    }
                }
                add(&mut seen, &tables.said, target);
            }
            if let Some(gradient) = &mut gradient {
                let sum = self.back_through_streams(step, &wanted, gradient);
                backward.row_mut(step).assign(&sum);
            }
        }
        if let Some(gradient) = gradient {
            self.back_through_time(backward, gradient);
        }
    }

    /// What the streams of a step want of the state: each hears those behind it.
    fn back_through_streams(&self, step: usize, wanted: &[Option<Array1<f64>>], gradient: &mut Tables) -> Array1<f64> {
        let mut sum = Array1::zeros(self.tables[0].read.ncols());
        for (k, wanted) in wanted.iter().enumerate().rev() {
            if let Some(mut said) = row_of(&mut gradient.0[k].said, self.target[[k, step]]) {
                said += &sum;
            }
            wanted.iter().for_each(|wanted| sum += wanted);
        }
        sum
    }

    /// What later steps of the segment want of earlier inputs.
    fn back_through_time(&self, mut backward: Array2<f64>, gradient: &mut Tables) {
        for step in (0..backward.nrows()).rev() {
            let wanted = backward.row(step).to_owned();
            for (k, tables) in gradient.0.iter_mut().enumerate() {
                if let Some(mut read) = row_of(&mut tables.read, self.input[[k, step]]) {
                    read += &wanted;
                }
            }
            if step > 0 && self.goes_on[step] {
                backward.row_mut(step - 1).scaled_add(MEMORY, &wanted);
            }
        }
    }
}

/// `[time, width]`: the state at each step.
fn states(tables: &[StreamTables], input: ArrayView2<i32>, goes_on: impl Fn(usize) -> bool) -> Array2<f64> {
    let mut states = Array2::zeros((input.ncols(), tables.first().map_or(0, |stream| stream.read.ncols())));
    let mut state = Array1::zeros(states.ncols());
    for (step, mut to) in states.outer_iter_mut().enumerate() {
        state *= if goes_on(step) { MEMORY } else { 0.0 };
        tables.iter().zip(input.column(step)).for_each(|(stream, &id)| add(&mut state, &stream.read, id));
        to.assign(&state);
    }
    states
}

/// Adds what an id stands for; absent ones and any other that the table lacks stand for nothing.
fn add(state: &mut Array1<f64>, table: &Array2<f64>, id: i32) {
    if let Some(row) = usize::try_from(id).ok().filter(|id| *id < table.nrows()) {
        *state += &table.row(row);
    }
}

fn row_of(table: &mut Array2<f64>, id: i32) -> Option<ndarray::ArrayViewMut1<'_, f64>> {
    let row = usize::try_from(id).ok().filter(|id| *id < table.nrows())?;
    Some(table.row_mut(row))
}

impl StreamTables {
    /// Adds the gradient of logits, and gives what they want of the state that they saw.
    fn add_logits(&mut self, wants: &Array1<f64>, seen: &Array1<f64>, model: &StreamTables) -> Array1<f64> {
        for (mut row, want) in self.logits.outer_iter_mut().zip(wants) {
            row.scaled_add(*want, seen);
        }
        self.bias.column_mut(0).scaled_add(1.0, wants);
        model.logits.t().dot(wants)
    }
}

/// A cross-entropy, and the chances that it came from.
struct Surprise {
    nats: f64,
    chances: Array1<f64>,
    target: usize,
}

impl Surprise {
    fn of(logits: Array1<f64>, target: usize) -> Self {
        // Exponentials of large logits are infinite: only differences matter.
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut chances = logits.mapv(|logit| (logit - most).exp());
        let sum = chances.sum();
        chances /= sum;
        Surprise { nats: sum.ln() - (logits[target] - most), chances, target }
    }

    /// By the logits.
    fn gradient(mut self, weight: f32) -> Array1<f64> {
        self.chances[self.target] -= 1.0;
        self.chances * f64::from(weight)
    }
}

impl Generate for Reference {
    fn next(
        &mut self,
        steps: ArrayView2<i32>,
        known: &[Option<i32>],
        choose: &mut dyn FnMut(usize, &[f32]) -> i32,
    ) -> Result<Vec<i32>> {
        let tables = &self.learned.model.0;
        let states = states(tables, steps, |step| step > 0);
        let mut seen = states.outer_iter().next_back().map_or(Array1::zeros(states.ncols()), |last| last.to_owned());
        let mut column = Vec::new();
        for (k, (stream, tables)) in self.spec.streams.iter().zip(tables).enumerate() {
            let said = match known.get(k).copied().flatten() {
                Some(id) => id,
                None if stream.trained => {
                    let logits = tables.logits.dot(&seen) + tables.bias.column(0);
                    choose(k, &logits.mapv(|logit| logit as f32).to_vec())
                }
                None => {
                    return Err(
                        Error::invalid("token", "not given", "one: the model does not say it").in_stream(&stream.name)
                    );
                }
            };
            add(&mut seen, &tables.said, said);
            column.push(said);
        }
        Ok(column)
    }
}

#[cfg(feature = "testing")]
impl super::contract::Score for Reference {
    fn score(&mut self, batch: &TrainBatch, logits: &[Array3<f32>]) -> Result<Report> {
        let live = batch.weights.0.indexed_iter().filter(|(_, weight)| **weight > 0.0);
        let mut nats = Array3::zeros(batch.shape());
        for ((row, k, step), _) in live {
            let logits = logits[k].slice(s![row, step, ..]).mapv(f64::from);
            nats[[row, k, step]] = Surprise::of(logits, batch.target.0[[row, k, step]] as usize).nats;
        }
        Ok(self.report(batch, &nats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::StreamSpec;
    use crate::batch::Placed;
    use crate::stream::{Kind, Steps};

    fn spec() -> BatchSpec {
        let stream = |(k, (outputs, trained)): (usize, (usize, bool))| StreamSpec {
            name: format!("s{k}"),
            kind: [Kind::Text, Kind::Semantic, Kind::Acoustic][k.min(2)],
            inputs: outputs + 1,
            outputs,
            trained,
        };
        let streams = [(5, true), (4, true), (3, false), (3, true)];
        BatchSpec { streams: streams.into_iter().enumerate().map(stream).collect(), rows: 3, steps: 8 }
    }

    /// A packed row, and one that ends before the batch does; some targets and weights are missing.
    fn batch() -> TrainBatch {
        let mut batch = TrainBatch::default();
        let outputs = |k: usize| spec().streams[k].outputs;
        let id = |row: usize, k: usize, step: usize| ((3 * row + 7 * k + 5 * step * step) % outputs(k)) as i32;
        let shape = (2, 4, 6);
        let dead = |row, k, step| k == 2 || (row + k + step) % 4 == 0 || (row == 1 && step > 3);
        batch.input =
            Steps(Array3::from_shape_fn(shape, |(row, k, step)| if step == 2 { -1 } else { id(row, k, step) }));
        batch.target = Steps(Array3::from_shape_fn(shape, |(row, k, step)| match (row + k + step) % 8 {
            0 => [-1, 99, outputs(k) as i32][step % 3],
            _ => id(row, k, step + 1),
        }));
        let weight = |row, k, step| if dead(row, k, step) { 0.0 } else { 0.1 * (1 + k + step) as f32 };
        batch.weights = Steps(Array3::from_shape_fn(shape, |(row, k, step)| weight(row, k, step)));
        batch.reasons = Steps(Array3::zeros(shape));
        let placed = |steps| Placed { id: "clip".into(), index: 0, steps, frames: 3 };
        batch.rows = vec![vec![placed(0..3), placed(3..7)], vec![placed(0..5)]];
        batch
    }

    fn reference(options: ReferenceOptions) -> Reference {
        Reference::new(&spec(), options).unwrap()
    }

    #[test]
    fn gradients_are_those_of_small_differences() {
        let mut reference = reference(ReferenceOptions { width: 3, ..ReferenceOptions::default() });
        let mut gradient = Tables::zeros(&spec(), 3);
        reference.run(&batch(), Some(&mut gradient));
        // Nobody hears what the last stream says, and what is not trained says nothing.
        let empty = |(name, table): (String, &Array2<f64>)| table.iter().all(|x| *x == 0.0).then_some(name);
        let without: Vec<_> = gradient.named().filter_map(empty).collect();
        assert_eq!(without, ["2.said", "2.logits", "2.bias", "3.said"]);
        let gradient: Vec<f64> = gradient.values().copied().collect();
        assert_eq!(gradient.len(), 150);
        for (i, expected) in gradient.iter().enumerate() {
            let mut loss = |by: f64| {
                *reference.learned.model.values_mut().nth(i).unwrap() += by;
                reference.run(&batch(), None).loss
            };
            let (above, below) = (loss(1e-5), loss(-2e-5));
            loss(1e-5);
            let found = (above - below) / 2e-5;
            assert!((found - expected).abs() <= 1e-8 + 1e-6 * expected.abs(), "parameter {i}: {expected}, not {found}");
        }
    }

    #[test]
    fn what_is_said_next_has_the_chances_of_training() {
        let (mut reference, mut batch) = (reference(ReferenceOptions::default()), batch().part(1..2));
        batch.target.0.index_axis_mut(Axis(1), 2).fill(2);
        for step in 0..4 {
            let mut one = batch.clone();
            one.weights
                .0
                .indexed_iter_mut()
                .for_each(|((_, _, at), weight)| *weight *= f32::from(u8::from(at == step)));
            let report = reference.evaluate(&one).unwrap();
            let cells =
                one.weights.0.slice(s![0, .., step]).to_owned().into_iter().zip(one.target.0.slice(s![0, .., step]));
            let known: Vec<_> = cells.map(|(weight, &target)| (weight == 0.0).then_some(target)).collect();
            let mut loss = 0.0;
            let mut choose = |k: usize, logits: &[f32]| {
                let target = one.target.0[[0, k, step]];
                let logits = logits.iter().map(|&logit| f64::from(logit)).collect();
                loss += f64::from(one.weights.0[[0, k, step]]) * Surprise::of(logits, target as usize).nats;
                target
            };
            let steps = one.input.0.slice(s![0, .., ..=step]);
            let said = reference.next(steps, &known, &mut choose).unwrap();
            assert_eq!(said, one.target.0.slice(s![0, .., step]).to_vec());
            assert!((loss - report.loss).abs() < 1e-6 && loss > 0.0, "{loss} and {}", report.loss);
        }
        let error = reference.next(batch.input.0.slice(s![0, .., ..1]), &[None; 4], &mut |_, _| 0).unwrap_err();
        assert_eq!(error.to_string(), "stream s2: token is not given, expected one: the model does not say it");
    }

    #[test]
    fn gradients_longer_than_the_clip_are_shortened() {
        let mut gradient = Tables::zeros(&spec(), 2);
        gradient.values_mut().next().into_iter().for_each(|x| *x = 8.0);
        let means = |clip: f64| {
            let mut reference = reference(ReferenceOptions { width: 2, clip, ..ReferenceOptions::default() });
            reference.update(&gradient, gradient.norm());
            reference.learned.means[0].values().copied().fold(0.0, f64::max)
        };
        assert!((means(2.0) - 0.2).abs() < 1e-12 && (means(9.0) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_model_beyond_all_numbers_takes_no_step() {
        let mut reference = reference(ReferenceOptions { learning_rate: 1e300, ..ReferenceOptions::default() });
        reference.step(&[batch()]).unwrap();
        let before = reference.learned.clone();
        let error = reference.step(&[batch()]).unwrap_err();
        assert_eq!(error.to_string(), "stream s0: loss is NaN, expected a finite number");
        assert_eq!(reference.learned, before);
    }

    #[test]
    fn another_models_checkpoint_is_told_by_tensor_and_shapes() {
        let mut saved = Vec::new();
        reference(ReferenceOptions { width: 3, ..ReferenceOptions::default() }).save(&mut saved).unwrap();
        let error = reference(ReferenceOptions::default()).load(&mut &saved[..]).unwrap_err();
        assert_eq!(error.to_string(), "shape of tensor `mean.0.logits` is (5, 3), expected (5, 16)");
        let mut other = spec();
        other.streams[3].name = "else".into();
        let mut other = Reference::new(&other, ReferenceOptions { width: 3, ..ReferenceOptions::default() }).unwrap();
        let error = other.load(&mut &saved[..]).unwrap_err().to_string();
        assert!(error.starts_with("`streams` of the checkpoint is [{\"name\":\"s0\""), "{error}");
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let right = ReferenceOptions::default();
        for wrong in [
            ReferenceOptions { width: 0, ..right.clone() },
            ReferenceOptions { learning_rate: f64::NAN, ..right.clone() },
            ReferenceOptions { learning_rate: -0.1, ..right.clone() },
            ReferenceOptions { clip: 0.0, ..right },
        ] {
            assert!(Reference::new(&spec(), wrong).is_err());
        }
    }
}
