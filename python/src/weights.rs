//! What each position weighs in the loss.

use std::collections::BTreeMap;

use ndarray::ArrayViewD;
use numpy::Element;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyEllipsis, PySlice};
use roundelay::token::Token;
use roundelay::weights::{TrainingViews, WeightsViews, training_shapes};
use roundelay::{Frames, Reason, Sequencer, Steps};

use crate::array::{Alike, Ids, for_ids};
use crate::data::object;
use crate::delay::{Delay, Mask};
use crate::error::OrRaise;
use crate::layout::options;

/// What tokens weigh in the loss. `Policy("kyutai")` is a named one ("moshi", "kyutai", "jmoshi"),
/// `Policy("moshi", text_pad=0.3)` one with changes; `to_json` lists all fields. `normalize` is "none", "modality" (text
/// and audio each by their own sum) or "class"; `pad_ids` "pad" or "pad_and_end_pad", whichever weigh `text_pad`.
#[pyclass(frozen, eq, module = "roundelay")]
#[derive(PartialEq)]
pub struct Policy(pub roundelay::Policy);

/// Weights (float32) and reasons (uint8, see `reason_names`) `[..., stream, time]`, over frames and over steps, as far as
/// they were asked for, else None, and the sums that a normalisation divided by.
#[pyclass(frozen, get_all, module = "roundelay")]
pub struct Weights {
    frames: Option<Py<PyAny>>,
    frame_reasons: Option<Py<PyAny>>,
    steps: Option<Py<PyAny>>,
    step_reasons: Option<Py<PyAny>>,
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
    mask: Mask,
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
    ///
    /// `over` is "both", "frames" or "steps"; what is not asked for is None, and so are reasons without `reasons`. A loss
    /// needs one of the two, without reasons; ends (`eos`) and learned tails are in steps alone.
    #[pyo3(signature = (codes, delay, over = "both", reasons = true))]
    fn weigh(
        &self,
        codes: &Bound<'_, PyAny>,
        delay: &Bound<'_, Delay>,
        over: &str,
        reasons: bool,
    ) -> PyResult<Weights> {
        let (parts, ids, like) = (Parts::of(over, reasons)?, Ids::of(codes)?, Alike::to(codes)?);
        for_ids!(ids, codes => self.weigh_parts(&Frames(codes), &like, delay.get(), &parts))
    }

    /// Input, target, mask and weights of codes `[..., stream, frame]`.
    fn training(&self, codes: &Bound<'_, PyAny>, delay: &Bound<'_, Delay>) -> PyResult<Training> {
        let (ids, like) = (Ids::of(codes)?, Alike::to(codes)?);
        for_ids!(ids, codes => self.train(&Frames(codes), &like, delay))
    }

    fn __repr__(&self) -> String {
        format!("Policy {}", self.0.to_json())
    }
}

/// Which of [`Weights`] are wanted.
struct Parts {
    frames: bool,
    frame_reasons: bool,
    steps: bool,
    step_reasons: bool,
}

impl Parts {
    fn of(over: &str, reasons: bool) -> PyResult<Self> {
        let of =
            |frames, steps| Parts { frames, frame_reasons: frames && reasons, steps, step_reasons: steps && reasons };
        match over {
            "both" => Ok(of(true, true)),
            "frames" => Ok(of(true, false)),
            "steps" => Ok(of(false, true)),
            _ => Err(PyValueError::new_err(format!("over is {over:?}, expected \"both\", \"frames\" or \"steps\""))),
        }
    }
}

impl Policy {
    fn weigh_parts<A: Token>(
        &self,
        codes: &Frames<ArrayViewD<A>>,
        like: &Alike,
        Delay { layout, shift, .. }: &Delay,
        parts: &Parts,
    ) -> PyResult<Weights> {
        let (in_frames, in_steps) = (codes.0.raw_dim(), shift.shape_in_steps(codes).or_raise()?);
        let mut frames = like.unwritten_if(parts.frames, &in_frames)?;
        let mut frame_reasons = like.unwritten_if(parts.frame_reasons, &in_frames)?;
        let mut steps = like.unwritten_if(parts.steps, &in_steps)?;
        let mut step_reasons = like.unwritten_if(parts.step_reasons, &in_steps)?;
        let views = WeightsViews {
            frames: frames.as_mut().map(|array| Frames(array.as_array_mut())),
            frame_reasons: frame_reasons.as_mut().map(|array| Frames(array.as_array_mut())),
            steps: steps.as_mut().map(|array| Steps(array.as_array_mut())),
            step_reasons: step_reasons.as_mut().map(|array| Steps(array.as_array_mut())),
        };
        let sums = like.py.detach(|| self.0.weigh_into(layout, shift, codes, views)).or_raise()?;
        Ok(Weights {
            frames: like.written_if(frames)?,
            frame_reasons: like.written_if(frame_reasons)?,
            steps: like.written_if(steps)?,
            step_reasons: like.written_if(step_reasons)?,
            sums: self::sums(&sums),
        })
    }

    fn train<A: Token + Element>(
        &self,
        codes: &Frames<ArrayViewD<A>>,
        like: &Alike,
        delay: &Bound<'_, Delay>,
    ) -> PyResult<Training> {
        let Delay { layout, shift, .. } = delay.get();
        let [whole, said] = training_shapes(shift, codes).or_raise()?;
        let (mut tokens, mut weights) = (like.unwritten::<A>(&whole)?, like.unwritten(&said)?);
        let (to, weigh) = (Steps(tokens.as_array_mut()), Steps(weights.as_array_mut()));
        let views = TrainingViews { tokens: to, mask: None, weights: weigh };
        let sums = like.py.detach(|| self.0.training_into(layout, shift, codes, views)).or_raise()?;
        Ok(Training {
            tokens: like.written(tokens)?,
            weights: like.written(weights)?,
            sums: self::sums(&sums),
            mask: Mask::new(delay, codes.0.shape(), 1),
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
        self.mask.beside(self.tokens.bind(py))
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
