//! What each position weighs in the loss.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyEllipsis, PySlice};
use roundelay::{Frames, Reason};

use crate::array::{Alike, Ids, for_ids};
use crate::data::object;
use crate::delay::Delay;
use crate::error::OrRaise;
use crate::layout::options;

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
/// the last and but the first; `mask` and `weights` of the targets.
#[pyclass(frozen, module = "roundelay")]
pub struct Training {
    #[pyo3(get)]
    tokens: Py<PyAny>,
    #[pyo3(get)]
    mask: Py<PyAny>,
    #[pyo3(get)]
    weights: Py<PyAny>,
    #[pyo3(get)]
    sums: BTreeMap<&'static str, f64>,
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
        let (ids, like, Delay { layout, shift, .. }) = (Ids::of(codes)?, Alike::to(codes)?, delay.get());
        for_ids!(ids, view => {
            let training = codes.py().detach(|| self.0.training(layout, shift, &Frames(view))).or_raise()?;
            Ok(Training {
                sums: sums(&training.sums),
                tokens: like.give(training.tokens.0)?,
                mask: like.give(training.mask.0)?,
                weights: like.give(training.weights.0)?,
            })
        })
    }

    fn __repr__(&self) -> String {
        format!("Policy {}", self.0.to_json())
    }
}

#[pymethods]
impl Training {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Training {}", self.tokens.bind(py).getattr("shape")?))
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

/// The names of reasons, by their numbers. A number of 128 or more is that reason within a region of time, which has a
/// weight of its own.
#[pyfunction]
pub fn reason_names() -> BTreeMap<u8, &'static str> {
    (0..Reason::REGION).filter_map(|number| Some((number, Reason::of(number)?.name()))).collect()
}
