//! What each position weighs in the loss.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use numpy::Element;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyEllipsis, PySlice};
use roundelay::delay::Fills;
use roundelay::token::Token;
use roundelay::weights::{TrainingViews, training_shapes};
use roundelay::{Frames, Reason, Sequencer, Steps};

use crate::array::{Alike, Ids, for_ids};
use crate::data::object;
use crate::delay::Delay;
use crate::error::OrRaise;
use crate::layout::options;
use crate::shift::Shift;

/// What tokens weigh in the loss. `Policy("kyutai")` is a named one ("moshi", "kyutai", "jmoshi"),
/// `Policy("moshi", text_pad=0.3)` one with changes; `to_json` lists all fields. `normalize` is "none", "modality" (text
/// and audio each by their own sum) or "class"; `pad_ids` "pad" or "pad_and_end_pad", whichever weigh `text_pad`.
#[pyclass(frozen, eq, module = "roundelay")]
#[derive(PartialEq)]
pub struct Policy(pub roundelay::Policy);

/// Weights (float32) and reasons (uint8, see `reason_names`) `[..., stream, time]`, over frames and over steps, and the
/// sums that a normalisation divided by.
#[pyclass(frozen, get_all, module = "roundelay")]
pub struct Weights {
    frames: Py<PyAny>,
    frame_reasons: Py<PyAny>,
    steps: Py<PyAny>,
    step_reasons: Py<PyAny>,
    sums: BTreeMap<&'static str, f64>,
}

/// What a training step reads: `tokens` `[..., stream, step]` over S steps; `input` and `target`, views of all of them but
/// the last and but the first; `weights` of the targets, and `mask`, true where a target comes from the codes, made when it
/// is asked for.
#[pyclass(frozen, module = "roundelay")]
pub struct Training {
    #[pyo3(get)]
    tokens: Py<PyAny>,
    #[pyo3(get)]
    weights: Py<PyAny>,
    #[pyo3(get)]
    sums: BTreeMap<&'static str, f64>,
    mask: PyOnceLock<Py<PyAny>>,
    delay: Py<Delay>,
    /// Of the codes.
    shape: Vec<usize>,
}

pub fn sums(sums: &roundelay::weights::Sums) -> BTreeMap<&'static str, f64> {
    BTreeMap::from([("text", sums.text), ("audio", sums.audio), ("words", sums.words), ("pads", sums.pads)])
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (name = "moshi", **changes))]
    fn new(name: &str, changes: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let named = roundelay::Policy::named(name).or_raise()?;
        let mut fields: serde_json::Map<_, _> = serde_json::from_str(&named.to_json()).expect("a policy is an object");
        fields.extend(options(changes)?);
        let text = serde_json::Value::Object(fields).to_string();
        roundelay::Policy::from_json(&text).map(Policy).or_raise()
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((&'static str,), Bound<'py, PyAny>)> {
        Ok((("moshi",), object(py, &self.0)?))
    }

    /// All fields, as JSON.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// Weighs every position of codes `[..., stream, frame]` and of the sequence that `delay` makes of them. Ids below 0
    /// are absent; whether others are below their stream's cardinality is not looked at.
    fn weigh(&self, codes: &Bound<'_, PyAny>, delay: &Bound<'_, Delay>) -> PyResult<Weights> {
        let (ids, like, Delay { layout, shift, .. }) = (Ids::of(codes)?, Alike::to(codes)?, delay.get());
        for_ids!(ids, view => {
            let weights = codes.py().detach(|| self.0.weigh(layout, shift, &Frames(view))).or_raise()?;
            Ok(Weights {
                sums: sums(&weights.sums),
                frames: like.give(weights.frames.0)?,
                frame_reasons: like.give(weights.frame_reasons.0)?,
                steps: like.give(weights.steps.0)?,
                step_reasons: like.give(weights.step_reasons.0)?,
            })
        })
    }

    /// Input, target, mask and weights of codes `[..., stream, frame]`.
    fn training(&self, codes: &Bound<'_, PyAny>, delay: &Bound<'_, Delay>) -> PyResult<Training> {
        let (ids, like) = (Ids::of(codes)?, Alike::to(codes)?);
        for_ids!(ids, codes => self.train(codes, &like, delay))
    }

    fn __repr__(&self) -> String {
        format!("Policy {}", self.0.to_json())
    }
}

impl Policy {
    fn train<A: Token + Element>(
        &self,
        codes: ArrayViewD<A>,
        like: &Alike,
        delay: &Bound<'_, Delay>,
    ) -> PyResult<Training> {
        let (codes, Delay { layout, shift, .. }) = (Frames(codes), delay.get());
        let [whole, said] = training_shapes(shift, &codes).or_raise()?;
        let (mut tokens, mut weights) = (like.unwritten::<A>(&whole)?, like.unwritten(&said)?);
        let (to, weigh) = (Steps(tokens.as_array_mut()), Steps(weights.as_array_mut()));
        let views = TrainingViews { tokens: to, mask: None, weights: weigh };
        let sums = like.py.detach(|| self.0.training_into(layout, shift, &codes, views)).or_raise()?;
        Ok(Training {
            tokens: like.written(tokens)?,
            weights: like.written(weights)?,
            sums: self::sums(&sums),
            mask: PyOnceLock::new(),
            delay: delay.clone().unbind(),
            shape: codes.0.shape().to_vec(),
        })
    }
}

#[pymethods]
impl Training {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Training {}", self.tokens.bind(py).getattr("shape")?))
    }

    #[getter]
    fn mask(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = self.mask.get_or_try_init(py, || {
            let known = py.detach(|| known(&self.delay.get().shift, &self.shape)).or_raise()?;
            Alike::to(self.tokens.bind(py))?.give(known)
        })?;
        Ok(made.clone_ref(py))
    }

    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.steps(py, PySlice::new(py, 0, -1, 1))
    }

    #[getter]
    fn target<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.steps(py, PySlice::new(py, 1, isize::MAX, 1))
    }
}

impl Training {
    fn steps<'py>(&self, py: Python<'py>, steps: Bound<'py, PySlice>) -> PyResult<Bound<'py, PyAny>> {
        self.tokens.bind(py).get_item((PyEllipsis::get(py), steps))
    }
}

/// Where the targets of codes of this shape are codes: the same in every example.
fn known(shift: &Shift, codes: &[usize]) -> roundelay::Result<ArrayD<bool>> {
    let (batch, grid) = codes.split_at(codes.len() - 2);
    let known = shift.shift(&Frames(ArrayD::from_elem(grid, true)), |_| Fills::all(false))?.0;
    let steps = known.shape()[1];
    let said = known.slice_axis(Axis(1), Slice::from(steps.min(1)..));
    Ok(said.broadcast([batch, said.shape()].concat()).expect("axes in front are new").to_owned())
}

/// The names of reasons, by their numbers. A number of 128 or more is that reason within a region of time, which has a
/// weight of its own.
#[pyfunction]
pub fn reason_names() -> BTreeMap<u8, &'static str> {
    (0..Reason::REGION).filter_map(|number| Some((number, Reason::of(number)?.name()))).collect()
}
