//! What one training step reads: rows of any lengths in one shape.
//!
//! ```text
//! input      i a a a a p i b b p -       segments' sequences one after another, without the last column
//! target     a a a a p i b b p - -       without the first
//! weights    1 1 1 1 0 0 1 1 0 0 0       nothing at the border, nothing where no token is
//! reasons    0 0 0 0 4 3 0 0 4 5 5       token, tail, head, absent
//! segments   0 0 0 0 0 0 1 1 1 1 -       who may attend to whom
//! ```
//! (In the last row, `-` is -1; above, too, it is the absent token.)

use std::ops::Range;

use ndarray::{Array2, Array3, Axis, concatenate, s};

use crate::delay::{Sequencer, Undone};
use crate::error::{Error, Result};
use crate::stream::{Frames, Steps};
use crate::weights::Sums;

/// A batch for one training step, all `[batch, stream, time]` over S steps.
///
/// Rows that are shorter than the batch, and rows that nothing is in, are absent there: -1, with weight 0. They are never
/// pads, so a model learns no false silence.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainBatch {
    /// What the model reads.
    pub input: Steps<Array3<i32>>,
    /// What it should say.
    pub target: Steps<Array3<i32>>,
    /// What each target weighs in the loss.
    pub weights: Steps<Array3<f32>>,
    /// [`Reason`](crate::Reason) numbers of the targets, with the bit of a region.
    pub reasons: Steps<Array3<u8>>,
    /// What a normalisation divided by, over all rows of the batch.
    pub sums: Sums,
    /// The segments of each row, in the order of their steps; none where the row is absent.
    pub rows: Vec<Vec<Placed>>,
}

/// Where a segment stands in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The segment's.
    pub id: String,
    /// Which example of the corpus it is.
    pub index: u64,
    /// Columns of the row's sequence, whose column s is input's s and target's s - 1.
    pub steps: Range<usize>,
    /// Frames that they were made from.
    pub frames: usize,
}

/// An empty batch, to be filled by [`Collate`](super::Collate).
impl Default for TrainBatch {
    fn default() -> Self {
        TrainBatch {
            input: Steps(Array3::zeros((0, 0, 0))),
            target: Steps(Array3::zeros((0, 0, 0))),
            weights: Steps(Array3::zeros((0, 0, 0))),
            reasons: Steps(Array3::zeros((0, 0, 0))),
            sums: Sums::default(),
            rows: Vec::new(),
        }
    }
}

impl TrainBatch {
    /// Rows, streams and steps.
    pub fn shape(&self) -> (usize, usize, usize) {
        self.input.0.dim()
    }

    /// Some of its rows. Their weights stay as they are, divided by the sums of all: the losses of all parts add up to that
    /// of the whole.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn part(&self, rows: Range<usize>) -> TrainBatch {
        let at = s![rows.clone(), .., ..];
        TrainBatch {
            input: Steps(self.input.0.slice(at).to_owned()),
            target: Steps(self.target.0.slice(at).to_owned()),
            weights: Steps(self.weights.0.slice(at).to_owned()),
            reasons: Steps(self.reasons.0.slice(at).to_owned()),
            sums: self.sums,
            rows: self.rows[rows].to_vec(),
        }
    }

    /// Which segment of its row each step of the input is of, -1 where there is none: for attention that does not look
    /// across borders.
    ///
    /// # Shapes
    /// `[batch, time]` over S steps.
    pub fn segment_ids(&self) -> Array2<i32> {
        let (batch, _, steps) = self.shape();
        let mut ids = Array2::from_elem((batch, steps), -1);
        for (mut ids, row) in ids.outer_iter_mut().zip(&self.rows) {
            let live = columns(row).saturating_sub(1);
            for (number, placed) in row.iter().enumerate() {
                ids.slice_mut(s![placed.steps.start.min(live)..placed.steps.end.min(live)]).fill(number as i32);
            }
        }
        ids
    }

    /// The place of each step in its segment's sequence, 0 where there is none: for positions that begin anew.
    ///
    /// # Shapes
    /// `[batch, time]` over S steps.
    pub fn places(&self) -> Array2<i32> {
        let (batch, _, steps) = self.shape();
        let mut places = Array2::zeros((batch, steps));
        for (mut places, row) in places.outer_iter_mut().zip(&self.rows) {
            let live = columns(row).saturating_sub(1);
            for placed in row {
                let steps = s![placed.steps.start.min(live)..placed.steps.end.min(live)];
                places.slice_mut(steps).iter_mut().zip(0..).for_each(|(to, place)| *to = place);
            }
        }
        places
    }

    /// The codes of every segment of a row, exactly; -1, with a mask of false, where truncation had cut them off.
    ///
    /// # Errors
    /// As [`Sequencer::undo`], which must be the one that the batch was made with; `Invalid` if there is no such row.
    pub fn undo(&self, sequencer: &impl Sequencer, row: usize) -> Result<Vec<Undone<i32, ndarray::Ix2>>> {
        let placed = self.rows.get(row);
        let placed = placed.ok_or_else(|| Error::invalid("row", row, format!("below {}", self.rows.len())))?;
        let sequence = self.sequence(row, columns(placed))?;
        let undo = |placed: &Placed| {
            let steps = Steps(sequence.slice(s![.., placed.steps.clone()]));
            let mut undone = sequencer.undo(&steps, -1).map_err(|e| e.in_recording(&placed.id))?;
            // A plan gives as many frames as it was made for.
            undone.codes = Frames(undone.codes.0.slice_move(s![.., ..placed.frames]));
            undone.mask = Frames(undone.mask.0.slice_move(s![.., ..placed.frames]));
            Ok(undone)
        };
        placed.iter().map(undo).collect()
    }

    /// A row before it was split into input and target.
    fn sequence(&self, row: usize, columns: usize) -> Result<Array2<i32>> {
        let [input, target] = [&self.input, &self.target].map(|grid| grid.0.index_axis(Axis(0), row));
        let read = input.slice(s![.., ..columns.min(1)]);
        let said = target.slice(s![.., ..columns.saturating_sub(1)]);
        concatenate(Axis(1), &[read, said]).map_err(|_| Error::invalid("shape of the target", "another", "the input's"))
    }

    /// Takes a shape and keeps the memory. What the cells then hold is for the caller to overwrite.
    pub(super) fn reshape(&mut self, shape: (usize, usize, usize)) {
        reshape(&mut self.input, shape);
        reshape(&mut self.target, shape);
        reshape(&mut self.weights, shape);
        reshape(&mut self.reasons, shape);
    }
}

/// Columns of a row's sequence.
pub(super) fn columns(row: &[Placed]) -> usize {
    row.last().map_or(0, |placed| placed.steps.end)
}

fn reshape<A: Copy + Default>(grid: &mut Steps<Array3<A>>, shape: (usize, usize, usize)) {
    if grid.0.dim() == shape && grid.0.is_standard_layout() {
        return;
    }
    let (mut cells, _) = std::mem::take(&mut grid.0).into_raw_vec_and_offset();
    cells.resize(shape.0 * shape.1 * shape.2, A::default());
    grid.0 = Array3::from_shape_vec(shape, cells).expect("there are as many cells");
}
