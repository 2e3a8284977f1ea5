//! Generation, one step at a time.

use ndarray::{Array2, Array3, ArrayD, Ix3};
use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use roundelay::delay::{Act, KyutaiOptions};
use roundelay::token::ABSENT;
use roundelay::{Frames, Steps};

use crate::array::{Alike, Ids, for_ids, shaped, wide};
use crate::delay::{extent_of, start_of};
use crate::error::OrRaise;
use crate::layout::layout;

/// Kyutai's `LMGen` without its model: what the model reads at each step, and the frames that come of what it emits.
///
/// A step is `input`, the model, then `output`; or `abandon` where the model failed. `dep_q` is how many of the audio
/// streams the model generates, those the layout trains unless given; the rest are the user's.
#[pyclass(module = "roundelay")]
pub struct KyutaiLine {
    line: roundelay::delay::KyutaiLine<i64>,
    /// Rows and streams that the model reads.
    reads: [usize; 2],
}

#[pymethods]
impl KyutaiLine {
    #[new]
    #[pyo3(signature = (layout, batch = 1, *, dep_q = None, out_of_sync = false, guidance = false))]
    fn new(
        layout: &Bound<'_, PyAny>,
        batch: usize,
        dep_q: Option<usize>,
        out_of_sync: bool,
        guidance: bool,
    ) -> PyResult<Self> {
        let layout = self::layout(layout)?;
        let options = KyutaiOptions { dep_q, out_of_sync, guidance };
        let line = roundelay::delay::KyutaiLine::new(&layout, batch, options).or_raise()?;
        let rows = if guidance { 2 * batch } else { batch };
        Ok(KyutaiLine { line, reads: [rows, layout.streams().len()] })
    }

    #[getter]
    fn batch(&self) -> usize {
        self.line.batch()
    }

    #[getter]
    fn dep_q(&self) -> usize {
        self.line.dep_q()
    }

    /// Streams that the user is to hand in.
    #[getter]
    fn user_streams(&self) -> usize {
        self.line.user_streams()
    }

    /// Steps that each row has taken since its start or reset.
    #[getter]
    fn offsets(&self) -> Vec<usize> {
        self.line.offsets().to_vec()
    }

    /// Says which rows take part from now on: a flag for each.
    fn set_active(&mut self, active: Vec<bool>) -> PyResult<()> {
        self.line.set_active(&active).or_raise()
    }

    /// Starts a row anew and makes it active.
    fn reset(&mut self, row: usize) -> PyResult<()> {
        self.line.reset(row).or_raise()
    }

    /// Takes the step's input back, for when the model gave nothing.
    fn abandon(&mut self) {
        self.line.abandon();
    }

    /// Takes the user's frame `[batch, stream]` and gives what the model reads, int64 `[batch, stream]` with all streams;
    /// twice the batch under guidance.
    fn input(&mut self, user: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let mut read = Array2::zeros(self.reads);
        let cells = read.as_slice_mut().expect("a new array is one slice");
        // Those of the user alone, or of all streams: how many there are is for the line to judge.
        let user_ids = ids_of(user)?;
        let streams = user_ids.shape().last().copied().unwrap_or(0);
        self.line.input(Frames(&in_shape(user_ids, [self.line.batch(), streams])?), Steps(cells)).or_raise()?;
        Alike::to(user)?.give(read.into_dyn())
    }

    /// What the depth model reads within the step, int64 `[batch, dep_q]`, by its text `[batch]` and the audio
    /// `[batch, dep_q]` as sampled.
    fn depth_input(&self, text: &Bound<'_, PyAny>, sampled: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let batch = self.line.batch();
        let mut depth = Array2::zeros([batch, self.line.dep_q()]);
        let cells = depth.as_slice_mut().expect("a new array is one slice");
        self.line
            .depth_input(
                Steps(&cells_of(text, [batch])?),
                Steps(&cells_of(sampled, [batch, self.line.dep_q()])?),
                Steps(cells),
            )
            .or_raise()?;
        Alike::to(sampled)?.give(depth.into_dyn())
    }

    /// Takes what the model emitted, text `[batch]` and audio `[batch, dep_q]`, and gives the frame that is whole now,
    /// int64 `[batch, 1 + dep_q]`; None where there is none yet.
    fn output(&mut self, text: &Bound<'_, PyAny>, audio: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let (batch, dep_q) = (self.line.batch(), self.line.dep_q());
        let mut frame = Array2::zeros([batch, 1 + dep_q]);
        let cells = frame.as_slice_mut().expect("a new array is one slice");
        let whole = self
            .line
            .output(Steps(&cells_of(text, [batch])?), Steps(&cells_of(audio, [batch, dep_q])?), Frames(cells))
            .or_raise()?;
        if whole { Alike::to(audio)?.give(frame.into_dyn()).map(Some) } else { Ok(None) }
    }
}

/// `Delay.build` one column at a time: takes a frame `[batch, stream]` and gives the next step of the sequence.
///
/// After T frames and `tail` flushes a row has given every column that `build` makes of them. Rows pause where `active` is
/// False, and hold -1 in what comes out; `reset` starts one anew.
#[pyclass(module = "roundelay")]
pub struct DelayLine {
    line: roundelay::delay::DelayLine<i64>,
    streams: usize,
}

/// `Delay.undo` one column at a time: takes a step `[batch, stream]` and gives the frame that is whole now.
///
/// Before a row's first frame, for which it has to `wait` so many steps, and where it pauses, its codes are `missing`; None
/// if no row has a frame. After the last step there are `tail` flushes.
#[pyclass(module = "roundelay")]
pub struct UndelayLine {
    line: roundelay::delay::UndelayLine<i64>,
    streams: usize,
    missing: i64,
}

#[pymethods]
impl DelayLine {
    #[new]
    #[pyo3(signature = (layout, batch = 1, extent = "extend", start = "none"))]
    fn new(layout: &Bound<'_, PyAny>, batch: usize, extent: &str, start: &str) -> PyResult<Self> {
        let (layout, extent, start) = (self::layout(layout)?, extent_of(extent)?, start_of(start)?);
        let line = roundelay::delay::DelayLine::new(&layout, extent, start, batch).or_raise()?;
        Ok(DelayLine { line, streams: layout.streams().len() })
    }

    #[getter]
    fn batch(&self) -> usize {
        self.line.batch()
    }

    /// Steps that a row has more than frames.
    #[getter]
    fn tail(&self) -> usize {
        self.line.tail()
    }

    /// The next step, int64 `[batch, stream]`, after a frame of the same shape.
    #[pyo3(signature = (codes, active = None))]
    fn step(&mut self, codes: &Bound<'_, PyAny>, active: Option<Vec<bool>>) -> PyResult<Py<PyAny>> {
        let (mut tokens, acts) = (self.column(), acts(active, self.line.batch(), Act::Take));
        self.line
            .step_rows(&acts, Frames(&cells_of(codes, [self.line.batch(), self.streams])?), Steps(cells(&mut tokens)))
            .or_raise()?;
        Alike::to(codes)?.give(tokens.into_dyn())
    }

    /// One step more of each row's tail.
    #[pyo3(signature = (active = None))]
    fn flush<'py>(&mut self, py: Python<'py>, active: Option<Vec<bool>>) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let (mut tokens, acts) = (self.column(), acts(active, self.line.batch(), Act::Flush));
        let none = vec![ABSENT; tokens.len()];
        self.line.step_rows(&acts, Frames(&none), Steps(cells(&mut tokens))).or_raise()?;
        Ok(tokens.into_pyarray(py))
    }

    /// All frames of a prompt `[batch, stream, frame]` at once: what as many calls of `step` give.
    fn prefill(&mut self, codes: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let prompt = prompt_of(codes)?;
        let mut tokens = Steps(Array3::from_elem(prompt.raw_dim(), ABSENT));
        codes.py().detach(|| self.line.prefill(&Frames(prompt), &mut tokens)).or_raise()?;
        Alike::to(codes)?.give(tokens.0.into_dyn())
    }

    /// Starts a row anew.
    fn reset(&mut self, row: usize) -> PyResult<()> {
        self.line.reset(row).or_raise()
    }
}

impl DelayLine {
    fn column(&self) -> Array2<i64> {
        Array2::from_elem([self.line.batch(), self.streams], ABSENT)
    }
}

#[pymethods]
impl UndelayLine {
    #[new]
    #[pyo3(signature = (layout, batch = 1, extent = "extend", start = "none", missing = ABSENT))]
    fn new(layout: &Bound<'_, PyAny>, batch: usize, extent: &str, start: &str, missing: i64) -> PyResult<Self> {
        let (layout, extent, start) = (self::layout(layout)?, extent_of(extent)?, start_of(start)?);
        let line = roundelay::delay::UndelayLine::new(&layout, extent, start, batch, missing).or_raise()?;
        Ok(UndelayLine { line, streams: layout.streams().len(), missing })
    }

    #[getter]
    fn batch(&self) -> usize {
        self.line.batch()
    }

    /// How often a row is to be flushed after its last step.
    #[getter]
    fn tail(&self) -> usize {
        self.line.tail()
    }

    /// For each row, the steps until it has given its first frame, that step included.
    #[getter]
    fn wait(&self) -> Vec<usize> {
        self.line.wait().to_vec()
    }

    /// The frame that is whole after a step `[batch, stream]`, int64 of the same shape; None if no row has one.
    #[pyo3(signature = (tokens, active = None))]
    fn step(&mut self, tokens: &Bound<'_, PyAny>, active: Option<Vec<bool>>) -> PyResult<Option<Py<PyAny>>> {
        let (mut codes, acts) = (self.column(), acts(active, self.line.batch(), Act::Take));
        self.line
            .step_rows(&acts, Steps(&cells_of(tokens, [self.line.batch(), self.streams])?), Frames(cells(&mut codes)))
            .or_raise()?;
        if self.is_whole(&acts) { Alike::to(tokens)?.give(codes.into_dyn()).map(Some) } else { Ok(None) }
    }

    /// One frame more, without a step.
    #[pyo3(signature = (active = None))]
    fn flush<'py>(
        &mut self,
        py: Python<'py>,
        active: Option<Vec<bool>>,
    ) -> PyResult<Option<Bound<'py, PyArray2<i64>>>> {
        let (mut codes, acts) = (self.column(), acts(active, self.line.batch(), Act::Flush));
        let none = vec![ABSENT; codes.len()];
        self.line.step_rows(&acts, Steps(&none), Frames(cells(&mut codes))).or_raise()?;
        Ok(self.is_whole(&acts).then(|| codes.into_pyarray(py)))
    }

    /// Many steps `[batch, stream, step]` at once: column j of what comes is what step j gives, `missing` where it gives
    /// nothing.
    fn prefill(&mut self, tokens: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let prompt = prompt_of(tokens)?;
        let mut codes = Frames(Array3::from_elem(prompt.raw_dim(), self.missing));
        tokens.py().detach(|| self.line.prefill(&Steps(prompt), &mut codes)).or_raise()?;
        Alike::to(tokens)?.give(codes.0.into_dyn())
    }

    /// Starts a row anew.
    fn reset(&mut self, row: usize) -> PyResult<()> {
        self.line.reset(row).or_raise()
    }
}

impl UndelayLine {
    fn column(&self) -> Array2<i64> {
        Array2::from_elem([self.line.batch(), self.streams], self.missing)
    }

    /// Whether a row that took part has given a frame.
    fn is_whole(&self, acts: &[Act]) -> bool {
        self.line.wait().iter().zip(acts).any(|(&wait, &act)| wait == 0 && act != Act::Pause)
    }
}

/// What each row does: the same for those that are active, all of them unless told otherwise.
fn acts(active: Option<Vec<bool>>, batch: usize, act: Act) -> Vec<Act> {
    let active = active.unwrap_or_else(|| vec![true; batch]);
    active.into_iter().map(|active| if active { act } else { Act::Pause }).collect()
}

fn cells(column: &mut Array2<i64>) -> &mut [i64] {
    column.as_slice_mut().expect("a new array is one slice")
}

fn prompt_of(source: &Bound<'_, PyAny>) -> PyResult<Array3<i64>> {
    shaped::<_, Ix3>("ids of a prompt", ids_of(source)?)
}

fn ids_of(source: &Bound<'_, PyAny>) -> PyResult<ArrayD<i64>> {
    let ids = Ids::of(source)?;
    Ok(for_ids!(ids, ids => wide(ids)))
}

/// Ids row by row, of this shape.
fn cells_of<const N: usize>(source: &Bound<'_, PyAny>, shape: [usize; N]) -> PyResult<Vec<i64>> {
    in_shape(ids_of(source)?, shape)
}

fn in_shape<const N: usize>(ids: ArrayD<i64>, shape: [usize; N]) -> PyResult<Vec<i64>> {
    if ids.shape() != shape {
        return Err(PyValueError::new_err(format!("a column of ids is {:?}, expected {shape:?}", ids.shape())));
    }
    Ok(ids.into_iter().collect())
}
