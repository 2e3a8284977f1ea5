//! Dataset folders, and the batches of a corpus.

use std::path::PathBuf;

use numpy::IntoPyArray;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use roundelay::batch::{Ahead, Collate, OrderOptions, Packing, Place, Position, Split};
use roundelay::io::{self, Loaded, LoaderOptions};
use roundelay::report::CodebookCounts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codebook::threshold;
use crate::delay::Delay;
use crate::error::{OrRaise, limited};
use crate::layout::{Layout, json, options};
use crate::shift::Shift;
use crate::weights::{Policy, sums};

/// A dataset folder that `prep` wrote, or a folder of J-Moshi's Parquet.
///
/// `len` is the number of segments; `dataset[i]` and `dataset["id"]` are one of them: a dictionary of `id`, `codes`
/// (int32 `[stream, frame]`), `words`, `split`, `start` and `duration` in seconds, and `meta`.
#[pyclass(frozen, module = "roundelay")]
pub struct Dataset(io::Dataset);

#[pymethods]
impl Dataset {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        py.detach(|| io::Dataset::open(&folder)).map(Dataset).or_raise()
    }

    fn __getnewargs__(&self) -> PyResult<(PathBuf,)> {
        Ok((std::path::absolute(self.0.folder())?,))
    }

    #[getter]
    fn layout(&self) -> Layout {
        Layout(self.0.layout().clone())
    }

    /// What `dataset.json` says: codec, tokenizer, counts, parts.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, self.0.info())
    }

    /// The segments' ids, in order.
    #[getter]
    fn ids(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let index = py.detach(|| self.0.index()).or_raise()?;
        Ok((0..index.len()).map(|segment| index.id(segment).to_owned()).collect())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(py.detach(|| self.0.index()).or_raise()?.len())
    }

    fn __getitem__<'py>(&self, py: Python<'py>, which: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let index = py.detach(|| self.0.index()).or_raise()?;
        let number = match which.cast::<PyString>() {
            Ok(id) => {
                let id: String = id.extract()?;
                index.number(&id).ok_or_else(|| PyKeyError::new_err(format!("no segment {id:?} in the dataset")))?
            }
            Err(_) => {
                let (asked, len) = (which.extract::<isize>()?, index.len());
                let number = if asked < 0 { asked + len as isize } else { asked };
                let outside = || PyIndexError::new_err(format!("segment {asked} of {len}"));
                usize::try_from(number).ok().filter(|&number| number < len).ok_or_else(outside)?
            }
        };
        let segment = py.detach(|| self.0.get(number)).or_raise()?;
        let found = PyDict::new(py);
        found.set_item("id", &segment.id)?;
        found.set_item("codes", segment.codes.0.clone().into_pyarray(py))?;
        found.set_item("words", object(py, &segment.words)?)?;
        found.set_item("split", segment.split.name())?;
        found.set_item("start", segment.start.to_f64())?;
        found.set_item("duration", segment.duration.to_f64())?;
        found.set_item("meta", &segment.meta)?;
        Ok(found)
    }

    /// How the codebooks are used, stream by stream, with the dead codes below a threshold as `Usage.dead` has it.
    #[pyo3(signature = (**dead))]
    fn codebooks<'py>(&self, py: Python<'py>, dead: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        let threshold = threshold(dead)?;
        let statistics = py.detach(|| {
            let mut counts = CodebookCounts::new(self.0.layout(), &self.0.info().codec.name)?;
            self.0.segments().try_for_each(|segment| counts.add(&segment?))?;
            Ok(counts.statistics(threshold))
        });
        object(py, &statistics.or_raise()?)
    }

    /// Writes J-Moshi's Parquet, `train.parquet` and `valid.parquet`, and returns how much, and what had no place in it.
    fn export_jmoshi<'py>(&self, py: Python<'py>, folder: PathBuf) -> PyResult<Bound<'py, PyAny>> {
        let counts = py.detach(|| io::export_jmoshi(&self.0, &folder)).or_raise()?;
        object(py, &counts)
    }

    fn __repr__(&self) -> String {
        let (folder, counts) = (self.0.folder().display(), &self.0.info().counts);
        format!("Dataset {folder}: {} segments, layout {}", counts.segments, self.0.layout().name())
    }
}

/// The training batches of datasets, the same on every run and every rank.
///
/// `datasets` is a folder, a list of folders, or a list of `(folder, weight)`: an epoch goes through each so often.
/// `delay` is the layout's with `extent` and `start="initial"` unless given; `policy` is a Policy or the name of one.
///
/// - `split` is "train", "valid" or None for both; `evaluation` gives everything exactly once, unshuffled.
/// - `batch` rows for each of `world` ranks, of which this is `rank`, at each step. Where a step lacks rows, they are
///   absent (-1) and weigh 0, and weights are normalised by rank: `sums` has what they were divided by.
/// - `seed` and `shuffle` ("blocks", "full", "stored") draw the order; `pooling` puts segments of near-equal length,
///   of a `pool` of so many, together.
/// - `crop` is "whole", `{"random": {"frames": n}}` or `{"windows": {"frames": n, "hop": h}}` in frames; a crop's
///   `text` is cut as it stands ("cut"), or made of the words that start in it ("start"), without those that go on
///   behind it ("drop").
/// - `both_sides` shows each view also with main and other speaker swapped; a side that is absent weighs nothing.
/// - `packing` is the steps of a row that holds several segments; `cache` bytes of decoded data are kept.
#[pyclass(frozen, module = "roundelay")]
pub struct Loader(io::Loader<Shift>);

/// Threads, and batches that wait for their turn.
const MOST_AHEAD: usize = 4096;

/// Epochs that nobody will see the end of.
const ENDLESS: u64 = 1 << 32;

/// Batches one after another, made ahead by threads.
#[pyclass(module = "roundelay")]
pub struct Batches(io::Batches<Shift>);

#[pymethods]
impl Loader {
    #[new]
    #[pyo3(signature = (datasets, delay = None, policy = None, *, extent = "extend", rank = 0, split = Some("train"),
        evaluation = false, text = "cut", cache = 1 << 30, packing = None, **order))]
    #[allow(clippy::too_many_arguments, reason = "Python's are named")]
    fn new(
        datasets: &Bound<'_, PyAny>,
        delay: Option<&Bound<'_, Delay>>,
        policy: Option<&Bound<'_, PyAny>>,
        extent: &str,
        rank: usize,
        split: Option<&str>,
        evaluation: bool,
        text: &str,
        cache: usize,
        packing: Option<usize>,
        order: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = datasets.py();
        let datasets = folders(datasets)?
            .into_iter()
            .map(|(folder, weight)| Ok((py.detach(|| io::Dataset::open(&folder)).or_raise()?, weight)));
        let datasets = datasets.collect::<PyResult<Vec<_>>>()?;
        let layout = match datasets.first() {
            Some((dataset, _)) => dataset.layout().clone(),
            None => return Err(PyValueError::new_err("no dataset, expected at least 1")),
        };
        let shift = match delay {
            Some(delay) => delay.get().shift.clone(),
            None => Delay::shift_of(&layout, extent, "initial")?,
        };
        let policy = match policy {
            None => roundelay::Policy::default(),
            Some(policy) => match policy.cast::<Policy>() {
                Ok(policy) => policy.get().0.clone(),
                Err(_) => roundelay::Policy::named(&policy.extract::<String>()?).or_raise()?,
            },
        };
        let order: OrderOptions = parsed("options of the order", Value::Object(options(order)?))?;
        let packing = packing.map(|steps| Packing::of(&shift, steps)).transpose().or_raise()?;
        let order = OrderOptions { packing, ..order };
        let split: Option<Split> = split.map(|split| parsed("split", Value::from(split))).transpose()?;
        let text = parsed("text", Value::from(text))?;
        let options = LoaderOptions { order, rank, split, evaluation, text, augment: None, cache };
        let collate = Collate::new(layout, policy, shift).or_raise()?;
        py.detach(|| io::Loader::new(datasets, collate, options)).map(Loader).or_raise()
    }

    #[getter]
    fn layout(&self) -> Layout {
        Layout(self.0.collate().layout().clone())
    }

    /// Steps of an epoch.
    fn steps(&self, py: Python<'_>, epoch: u64) -> PyResult<u64> {
        py.detach(|| self.0.order().steps(epoch)).or_raise()
    }

    /// The place `(epoch, step)` that is so many steps after another.
    #[pyo3(signature = (epoch, step, steps = 1))]
    fn after(&self, py: Python<'_>, epoch: u64, step: u64, steps: u64) -> PyResult<(u64, u64)> {
        limited("number of steps", step.saturating_add(steps) as usize)?;
        let after = py.detach(|| self.0.order().after(Place { epoch, step }, steps)).or_raise()?;
        let Place { epoch, step } = after.expect("a loader has items");
        Ok((epoch, step))
    }

    /// This rank's part of a step: a dictionary of `input`, `target` (int32, -1 behind a row's end), `weights` (float32),
    /// `reasons` (uint8), all `[row, stream, step]`; int32 `[row, step]` with each step's segment of the row
    /// (`segment_ids`, -1 behind the end) and step of that segment (`places`, 0 there); `sums` of the raw weights; ids of each
    /// row's segments (`rows`); `epoch` and `step`.
    fn batch<'py>(&self, py: Python<'py>, epoch: u64, step: u64) -> PyResult<Bound<'py, PyDict>> {
        let mut loaded = Loaded::default();
        py.detach(|| self.0.batch(Place { epoch, step }, &mut loaded)).or_raise()?;
        batch(py, loaded)
    }

    /// The batches from a step on, of so many epochs (the begun one among them) or without an end.
    #[pyo3(signature = (epoch = 0, step = 0, epochs = None, *, threads = 2, depth = 4))]
    fn batches(
        &self,
        py: Python<'_>,
        epoch: u64,
        step: u64,
        epochs: Option<u64>,
        threads: usize,
        depth: usize,
    ) -> PyResult<Batches> {
        let (steps, epochs) = (self.steps(py, epoch)?, epochs.filter(|&epochs| epochs <= ENDLESS));
        if step >= steps {
            return Err(PyValueError::new_err(format!(
                "step is {step}, expected one below {steps}, the steps of epoch {epoch}"
            )));
        }
        if threads > MOST_AHEAD || depth > MOST_AHEAD {
            let found = format!("threads are {threads} and depth is {depth}");
            return Err(PyValueError::new_err(format!("{found}, expected at most {MOST_AHEAD}")));
        }
        py.detach(|| self.0.batches(Place { epoch, step }, epochs, Ahead { threads, depth })).map(Batches).or_raise()
    }

    /// What to keep with a checkpoint, to go on at this step: a dictionary that JSON holds.
    fn position<'py>(&self, py: Python<'py>, epoch: u64, step: u64) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.0.order().position(Place { epoch, step }))
    }

    /// The `(epoch, step)` of a position, if it is one of this corpus and these options.
    fn seek(&self, position: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
        let position: Position = parsed("position", value(position)?)?;
        let Place { epoch, step } = self.0.order().seek(&position).or_raise()?;
        Ok((epoch, step))
    }
}

#[pymethods]
impl Batches {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let next = py.detach(|| self.0.next().map(|next| next.map(std::mem::take)));
        next.map(|loaded| batch(py, loaded.or_raise()?)).transpose()
    }

    /// Where to go on once all that was taken so far has been trained on.
    fn position<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.0.position().or_raise()?)
    }
}

fn batch<'py>(py: Python<'py>, loaded: Loaded) -> PyResult<Bound<'py, PyDict>> {
    let Loaded { batch, place, .. } = loaded;
    let found = PyDict::new(py);
    found.set_item("segment_ids", batch.segment_ids().into_pyarray(py))?;
    found.set_item("places", batch.places().into_pyarray(py))?;
    found.set_item("sums", sums(&batch.sums))?;
    let rows: Vec<Vec<_>> = batch.rows.iter().map(|row| row.iter().map(|placed| placed.id.clone()).collect()).collect();
    found.set_item("rows", rows)?;
    found.set_item("input", batch.input.0.into_pyarray(py))?;
    found.set_item("target", batch.target.0.into_pyarray(py))?;
    found.set_item("weights", batch.weights.0.into_pyarray(py))?;
    found.set_item("reasons", batch.reasons.0.into_pyarray(py))?;
    found.set_item("epoch", place.epoch)?;
    found.set_item("step", place.step)?;
    Ok(found)
}

/// Folders with their weights: one, or a sequence of them or of pairs.
fn folders(given: &Bound<'_, PyAny>) -> PyResult<Vec<(PathBuf, f64)>> {
    if let Ok(folder) = given.extract::<PathBuf>() {
        return Ok(vec![(folder, 1.0)]);
    }
    let one = |item: Bound<'_, PyAny>| match item.extract() {
        Ok(folder) => Ok((folder, 1.0)),
        Err(_) => item
            .extract::<[Bound<'_, PyAny>; 2]>()
            .and_then(|[folder, weight]| Ok((folder.extract()?, weight.extract()?))),
    };
    let all = given.try_iter().and_then(|items| items.map(|item| one(item?)).collect());
    let expected = "a folder, or a list of folders or of (folder, weight)";
    all.map_err(|_| PyTypeError::new_err(format!("datasets are {given}, expected {expected}")))
}

pub fn parsed<T: DeserializeOwned>(what: &str, value: Value) -> PyResult<T> {
    serde_json::from_value(value).map_err(|e| PyValueError::new_err(format!("{what}: {e}")))
}

fn value(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    serde_json::from_str(&json(given)?).map_err(|e| PyValueError::new_err(e.to_string()))
}

/// As Python's `json` reads it.
pub fn object<'py>(py: Python<'py>, of: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(of).map_err(|e| PyValueError::new_err(e.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}
