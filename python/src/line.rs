//! Generation, one step at a time.

use ndarray::{Array2, ArrayD};
use pyo3::prelude::*;
use roundelay::delay::KyutaiOptions;
use roundelay::{Frames, Steps};

use crate::array::{Alike, Ids, for_ids, wide};
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
        self.line.input(Frames(&cells_of(user)?), Steps(cells)).or_raise()?;
        Alike::to(user)?.give(read.into_dyn())
    }

    /// What the depth model reads within the step, int64 `[batch, dep_q]`, by its text `[batch]` and the audio
    /// `[batch, dep_q]` as sampled.
    fn depth_input(&self, text: &Bound<'_, PyAny>, sampled: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let mut depth = Array2::zeros([self.line.batch(), self.line.dep_q()]);
        let cells = depth.as_slice_mut().expect("a new array is one slice");
        self.line.depth_input(Steps(&cells_of(text)?), Steps(&cells_of(sampled)?), Steps(cells)).or_raise()?;
        Alike::to(sampled)?.give(depth.into_dyn())
    }

    /// Takes what the model emitted, text `[batch]` and audio `[batch, dep_q]`, and gives the frame that is whole now,
    /// int64 `[batch, 1 + dep_q]`; None where there is none yet.
    fn output(&mut self, text: &Bound<'_, PyAny>, audio: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let mut frame = Array2::zeros([self.line.batch(), 1 + self.line.dep_q()]);
        let cells = frame.as_slice_mut().expect("a new array is one slice");
        let whole = self.line.output(Steps(&cells_of(text)?), Steps(&cells_of(audio)?), Frames(cells)).or_raise()?;
        if whole { Alike::to(audio)?.give(frame.into_dyn()).map(Some) } else { Ok(None) }
    }
}

/// Ids row by row.
fn cells_of(source: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let ids = Ids::of(source)?;
    let ids: ArrayD<i64> = for_ids!(ids, ids => wide(ids));
    Ok(ids.into_iter().collect())
}
