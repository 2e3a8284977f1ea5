//! Frames <-> steps.

use ndarray::{ArrayD, ArrayViewD, Axis, Ix2, Slice};
use numpy::Element;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use roundelay::delay::{Bracket, Fills, Pattern};
use roundelay::token::{ABSENT, Token};
use roundelay::{Extent, Frames, Sequencer, Start, Steps};

use crate::array::{Alike, Ids, floats, for_ids, wide};
use crate::error::{OrRaise, limited};
use crate::layout::{draw, json, layout};
use crate::shift::Shift;

/// The shift of every stream of a layout: frames to steps, and back.
///
/// `extent` is "extend" (S = T + largest delay, nothing is lost) or "truncate" (S = T, the last codes of each stream fall
/// off, as Kyutai trains); `start` is "none" or "initial" (one column of initial ids in front, so that steps `[..., :-1]`
/// are a model's input and `[..., 1:]` its target); `bos` and `eos` put columns of these ids around the codes.
///
/// `pattern` lays the codes out in another way, for up to so many `frames`: text such as "flatten" or
/// "delay:delays=0,1,2;flatten-first=2", or a dictionary with the same fields.
#[pyclass(frozen, module = "roundelay")]
pub struct Delay {
    pub layout: roundelay::Layout,
    pub shift: Shift,
    #[pyo3(get)]
    extent: String,
    #[pyo3(get)]
    start: String,
    #[pyo3(get)]
    bos: bool,
    #[pyo3(get)]
    eos: bool,
    /// As JSON, with the frames that it is for.
    pattern: Option<(String, usize)>,
}

type LayoutExtentStart<'a> = (crate::layout::Layout, &'a str, &'a str);

/// A sequence: `tokens` `[..., stream, step]`, and `mask`, true where a cell comes from the codes, made when it is asked
/// for.
///
/// `tokens, mask = built` takes it apart; printed, it is drawn.
#[pyclass(frozen, module = "roundelay")]
pub struct Built {
    #[pyo3(get)]
    tokens: Py<PyAny>,
    mask: Mask,
}

/// Codes `[..., stream, frame]` taken out of a sequence, and `mask`, true where the sequence holds the code.
#[pyclass(frozen, get_all, module = "roundelay")]
pub struct Undone {
    codes: Py<PyAny>,
    mask: Py<PyAny>,
}

#[pymethods]
impl Delay {
    #[new]
    #[pyo3(signature = (layout, extent = "extend", start = "none", *, bos = false, eos = false, pattern = None,
        frames = None))]
    fn new(
        layout: &Bound<'_, PyAny>,
        extent: &str,
        start: &str,
        bos: bool,
        eos: bool,
        pattern: Option<&Bound<'_, PyAny>>,
        frames: Option<usize>,
    ) -> PyResult<Self> {
        let (layout, bracket) = (self::layout(layout)?.into_owned(), Bracket { bos, eos });
        let (shift, pattern) = match (pattern, frames) {
            (None, None) => (Delay::shift_of(&layout, extent, start)?, None),
            (Some(pattern), Some(frames)) => {
                let (pattern, columns) = (pattern_of(pattern)?, bracket.columns(limited("number of frames", frames)?));
                let plan = pattern.plan(&layout, columns, extent_of(extent)?, start_of(start)?);
                (Shift::Plan(plan.or_raise()?), Some((pattern.to_json(), frames)))
            }
            (Some(_), None) => {
                return Err(PyValueError::new_err("frames is missing, expected how many the pattern is for"));
            }
            (None, Some(_)) => return Err(PyValueError::new_err("pattern is missing, expected one beside frames")),
        };
        let shift = shift.bracketed(&layout, bracket).or_raise()?;
        Ok(Delay { layout, shift, extent: extent.to_owned(), start: start.to_owned(), bos, eos, pattern })
    }

    #[getter]
    fn layout(&self) -> crate::layout::Layout {
        crate::layout::Layout(self.layout.clone())
    }

    /// The pattern as JSON; None for the layout's own delays.
    #[getter]
    fn pattern(&self) -> Option<&str> {
        self.pattern.as_ref().map(|(pattern, _)| pattern.as_str())
    }

    /// Steps that so many frames become.
    fn steps(&self, frames: usize) -> PyResult<usize> {
        self.shift.steps(frames).or_raise()
    }

    /// Frames that so many steps came from.
    fn frames(&self, steps: usize) -> PyResult<usize> {
        self.shift.frames(steps).or_raise()
    }

    /// Lays codes out: heads are filled with each stream's initial id, tails with its pad.
    ///
    /// `codes` are integers `[stream, frame]` or `[batch, stream, frame]`; so is the result over steps, of the same type
    /// (int8 gives int16, uint64 int64), tensors if they were a tensor. -1 (absent) and -2 (ungenerated) go where any
    /// other id would.
    fn build(this: &Bound<'_, Self>, codes: &Bound<'_, PyAny>) -> PyResult<Built> {
        let (ids, like) = (Ids::of(codes)?, Alike::to(codes)?);
        for_ids!(ids, codes => Delay::lay_out(this, &Frames(codes), &like))
    }

    /// Takes codes out of a sequence: the exact inverse of `build`. Codes that the sequence does not hold are `missing`, -1
    /// by default; for a type that holds no -1 it must be given if there are any.
    ///
    /// `tokens` are integers `[stream, step]` or `[batch, stream, step]`.
    #[pyo3(signature = (tokens, missing = None))]
    fn undo(&self, tokens: &Bound<'_, PyAny>, missing: Option<i64>) -> PyResult<Undone> {
        let (ids, like) = (Ids::of(tokens)?, Alike::to(tokens)?);
        for_ids!(ids, tokens => self.take_out(&Steps(tokens), missing, &like))
    }

    /// Takes out of a sequence what has one value or one row of values a token, such as logits.
    ///
    /// `values` are float32 with the streams on `stream_axis` and steps on the axis after it: logits
    /// `[batch, stream, step, card]` with `stream_axis=1` become `[batch, stream, frame, card]`.
    #[pyo3(signature = (values, stream_axis = 0, fill = f32::NAN))]
    fn unshift(&self, values: &Bound<'_, PyAny>, stream_axis: usize, fill: f32) -> PyResult<Py<PyAny>> {
        let (given, like) = (floats(values)?, Alike::to(values)?);
        let axes = given.as_array().ndim();
        if stream_axis >= axes.saturating_sub(1) {
            let message = format!("stream_axis is {stream_axis} of {axes} axes, expected one with another behind it");
            return Err(PyValueError::new_err(message));
        }
        let steps = Steps(given.as_array());
        like.give(values.py().detach(|| self.shift.unshift(&steps, Axis(stream_axis), fill)).or_raise()?.0)
    }

    /// What a loss may look at, int64 over steps: the codes and each stream's end if there is one; `ignore` elsewhere.
    #[pyo3(signature = (codes, ignore = -100))]
    fn labels(&self, codes: &Bound<'_, PyAny>, ignore: i64) -> PyResult<Py<PyAny>> {
        let (ids, like) = (Ids::of(codes)?, Alike::to(codes)?);
        for_ids!(ids, view => {
            like.give(codes.py().detach(|| self.shift.labels(&Frames(view), ignore)).or_raise()?.0)
        })
    }

    fn __repr__(&self) -> String {
        let Delay { extent, start, bos, eos, .. } = self;
        let pattern = self.pattern.as_ref().map(|(pattern, frames)| format!(", pattern {pattern} for {frames} frames"));
        let bracket = if *bos || *eos { format!(", bos {bos}, eos {eos}") } else { String::new() };
        format!(
            "Delay of {}, extent {extent}, start {start}{bracket}{}",
            self.layout.name(),
            pattern.unwrap_or_default()
        )
    }

    fn __eq__(&self, other: &Self) -> bool {
        let of =
            |delay: &Delay| (delay.extent.clone(), delay.start.clone(), delay.bos, delay.eos, delay.pattern.clone());
        self.layout == other.layout && of(self) == of(other)
    }

    /// What it was made of.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(LayoutExtentStart<'_>, Bound<'py, PyDict>)> {
        let options = PyDict::new(py);
        options.set_item("bos", self.bos)?;
        options.set_item("eos", self.eos)?;
        if let Some((pattern, frames)) = &self.pattern {
            options.set_item("pattern", pattern)?;
            options.set_item("frames", frames)?;
        }
        Ok(((self.layout(), &self.extent, &self.start), options))
    }
}

impl Delay {
    /// [`Delay::build`] of ids of one type.
    fn lay_out<A: Token + Element>(
        this: &Bound<'_, Self>,
        codes: &Frames<ArrayViewD<A>>,
        like: &Alike,
    ) -> PyResult<Built> {
        let shift = &this.get().shift;
        let mut tokens = like.unwritten::<A>(&shift.shape_in_steps(codes).or_raise()?)?;
        let to = Steps(tokens.as_array_mut());
        like.py.detach(|| shift.build_into(codes, to, None)).or_raise()?;
        Ok(Built { tokens: like.written(tokens)?, mask: Mask::new(this, codes.0.shape(), 0) })
    }

    fn take_out<A: Token + Element + Default>(
        &self,
        tokens: &Steps<ArrayViewD<A>>,
        missing: Option<i64>,
        like: &Alike,
    ) -> PyResult<Undone> {
        let missing_id = missing.unwrap_or(ABSENT);
        let fill = A::try_from(missing_id).ok();
        let unfit =
            || PyValueError::new_err(format!("missing is {missing_id}, expected an id that the tokens' type holds"));
        if missing.is_some() && fill.is_none() {
            return Err(unfit());
        }
        let shape = self.shift.shape_in_frames(tokens).or_raise()?;
        let (mut codes, mut mask) = (like.unwritten::<A>(&shape)?, like.unset(&shape));
        let (to, known) = (Frames(codes.as_array_mut()), Some(Frames(mask.as_array_mut())));
        like.py.detach(|| self.shift.undo_into(tokens, to, known, fill.unwrap_or_default())).or_raise()?;
        if fill.is_none() && !mask.as_array().iter().all(|&known| known) {
            return Err(unfit());
        }
        Ok(Undone { codes: like.written(codes)?, mask: like.written(mask)? })
    }

    /// Of the layout's own delays.
    pub fn shift_of(layout: &roundelay::Layout, extent: &str, start: &str) -> PyResult<Shift> {
        Ok(Shift::Delay(roundelay::Delay::new(layout, extent_of(extent)?, start_of(start)?)))
    }
}

#[pymethods]
impl Built {
    #[getter]
    fn mask(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.mask.beside(self.tokens.bind(py))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (self.tokens.clone_ref(py), self.mask(py)?).into_pyobject(py)?.into_any().call_method0("__iter__")
    }

    /// The grid; of a batch its first row. Of a long one no more than its shape.
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Delay { layout, shift, .. } = self.mask.delay.get();
        let ids = Ids::of(self.tokens.bind(py))?;
        let tokens: ArrayD<i64> = for_ids!(ids, tokens => wide(tokens));
        let shape = tokens.shape().to_vec();
        let first = match *shape {
            [0, ..] => None,
            [_, _, steps] if steps <= DRAWN => Some(tokens.index_axis_move(Axis(0), 0)),
            [_, steps] if steps <= DRAWN => Some(tokens),
            _ => None,
        };
        let Some(Ok(first)) = first.map(ArrayD::into_dimensionality::<Ix2>) else {
            return Ok(format!("Built {shape:?}"));
        };
        let codes = shift.undo(&Steps(first), ABSENT).or_raise()?.codes.0;
        Ok(format!("Built {shape:?}\n{}", draw(layout, shift, &codes)?))
    }
}

/// Where cells come from the codes, made when it is asked for: the same in every example of a batch.
pub struct Mask {
    made: PyOnceLock<Py<PyAny>>,
    delay: Py<Delay>,
    /// Of the codes.
    shape: Vec<usize>,
    /// The first step that it is of.
    from: usize,
}

impl Mask {
    pub fn new(delay: &Bound<'_, Delay>, shape: &[usize], from: usize) -> Self {
        Mask { made: PyOnceLock::new(), delay: delay.clone().unbind(), shape: shape.to_vec(), from }
    }

    /// As an array or a tensor, as these tokens are.
    pub fn beside(&self, tokens: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = tokens.py();
        let made = self.made.get_or_try_init(py, || Alike::to(tokens)?.give(py.detach(|| self.make()).or_raise()?))?;
        Ok(made.clone_ref(py))
    }

    fn make(&self) -> roundelay::Result<ArrayD<bool>> {
        let (batch, grid) = self.shape.split_at(self.shape.len() - 2);
        let (shift, examples) = (&self.delay.get().shift, batch.iter().product());
        let steps = shift.steps(grid[1])?;
        let shape = [batch, &[grid[0], steps.saturating_sub(self.from)]].concat();
        if examples == 0 {
            // However long its examples would be.
            return Ok(ArrayD::from_elem(shape, false));
        }
        let known = shift.shift(&Frames(ArrayD::from_elem(grid, true)), |_| Fills::all(false))?.0;
        let one = known.slice_axis(Axis(1), Slice::from(steps.min(self.from)..));
        let cells = one.as_standard_layout().as_slice().expect("the standard layout is one slice").repeat(examples);
        Ok(ArrayD::from_shape_vec(shape, cells).expect("as many cells as there are examples of them"))
    }
}

/// Steps of what is drawn, at most.
const DRAWN: usize = 200;

#[pymethods]
impl Undone {
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (self.codes.clone_ref(py), self.mask.clone_ref(py)).into_pyobject(py)?.into_any().call_method0("__iter__")
    }
}

/// J-Moshi's labels of a sequence or of any part of one: int64 of the same shape, `ignore` where a token is not below its
/// stream's initial id, or is absent.
#[pyfunction]
#[pyo3(signature = (tokens, layout, ignore = -100))]
pub fn jmoshi_labels(tokens: &Bound<'_, PyAny>, layout: &Bound<'_, PyAny>, ignore: i64) -> PyResult<Py<PyAny>> {
    let (ids, like, layout) = (Ids::of(tokens)?, Alike::to(tokens)?, self::layout(layout)?);
    for_ids!(ids, view => {
        let labels = tokens.py().detach(|| roundelay::delay::jmoshi_labels(&layout, &Steps(view), ignore));
        like.give(labels.or_raise()?.0)
    })
}

/// Text in the short form or as JSON, or a dictionary.
fn pattern_of(given: &Bound<'_, PyAny>) -> PyResult<Pattern> {
    let text = json(given)?;
    if text.trim_start().starts_with('{') { Pattern::from_json(&text).or_raise() } else { text.parse().or_raise() }
}

pub fn extent_of(name: &str) -> PyResult<Extent> {
    match name {
        "extend" => Ok(Extent::Extend),
        "truncate" => Ok(Extent::Truncate),
        _ => Err(PyValueError::new_err(format!("extent is {name:?}, expected \"extend\" or \"truncate\""))),
    }
}

pub fn start_of(name: &str) -> PyResult<Start> {
    match name {
        "none" => Ok(Start::None),
        "initial" => Ok(Start::Initial),
        _ => Err(PyValueError::new_err(format!("start is {name:?}, expected \"none\" or \"initial\""))),
    }
}
