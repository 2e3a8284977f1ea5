//! Clips of any lengths, brought into one batch.
//!
//! ```text
//! rows     [a a a]  [b b] [c]  []             undelayed codes, several to a row where rows are packed
//! pass 1   input and target of each clip, and what it weighs                        codes are looked at once
//! pass 2   weights and reasons, divided by what the whole batch weighs              (text, and rows with gaps, twice)
//! ```

use std::ops::Range;

use ndarray::{ArrayView2, Axis};

use super::pack::check_first;
use super::train::columns;
use super::{Placed, TrainBatch, Width};
use crate::delay::{Fills, Sequencer, Tracks, check_streams, fills_as, place};
use crate::error::{Error, Result};
use crate::stream::rows::as_slice;
use crate::stream::{Frames, Layout};
use crate::token::{ABSENT, convert};
use crate::weights::{Counted, Example, Policy, Reason, Region, Spare, Sums, Weighing};

/// Larger batches are typing errors, and would be allocated: 13 bytes a cell.
const MOST_CELLS: usize = 1 << 31;

/// What goes into a row: a segment, or as much of it as is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip<'a> {
    /// The segment's; errors name it.
    pub id: &'a str,
    /// Which example of the corpus it is: with the policy's seed it decides which frames are drawn.
    pub index: u64,
    /// `[stream, time]`, undelayed.
    pub codes: Frames<ArrayView2<'a, i32>>,
    /// Spans of its time with a weight of their own; they count from its first frame.
    pub regions: &'a [Region],
}

/// Makes batches of one kind.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::batch::{Clip, Collate, TrainBatch};
/// use roundelay::{Delay, Extent, Frames, Layout, Policy, Start};
///
/// let layout = Layout::preset("delay-1")?; // delays 0 1 1
/// let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
/// let collate = Collate::new(layout, Policy::named("moshi")?, delay)?;
/// let (long, short) = (arr2(&[[9, 3], [1, 2], [5, 6]]), arr2(&[[8], [3], [7]]));
/// let clip = |id, codes| Clip { id, index: 0, codes: Frames(codes), regions: &[] };
///
/// let mut batch = TrainBatch::default();
/// collate.batch(&[vec![clip("a", long.view())], vec![clip("b", short.view())]], None, &mut batch)?;
/// assert_eq!(batch.shape(), (2, 3, 3));
/// assert_eq!(batch.input.0.row_of(1, 1), [2048, 2048, -1]);
/// assert_eq!(batch.target.0.row_of(1, 1), [2048, 3, -1]);
///
/// collate.batch(&[vec![clip("a", long.view()), clip("b", short.view())]], None, &mut batch)?;
/// assert_eq!(batch.input.0.row_of(0, 0), [32000, 9, 3, 3, 32000, 8]);
/// assert_eq!(batch.segment_ids().row(0).to_vec(), [0, 0, 0, 0, 1, 1]);
/// assert_eq!(batch.undo(collate.sequencer(), 0)?[1].codes.0, short);
///
/// trait RowOf { fn row_of(&self, row: usize, stream: usize) -> Vec<i32>; }
/// impl RowOf for ndarray::Array3<i32> {
///     fn row_of(&self, row: usize, stream: usize) -> Vec<i32> { self.slice(ndarray::s![row, stream, ..]).to_vec() }
/// }
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Collate<S> {
    layout: Layout,
    policy: Policy,
    sequencer: S,
    fills: Vec<Fills<i32>>,
}

/// A clip in its row, its ids written and its weights counted.
struct Laid<'a> {
    row: usize,
    codes: ArrayView2<'a, i32>,
    /// Steps of the target.
    target: Range<usize>,
    counted: Counted,
}

impl<S: Sequencer> Collate<S> {
    /// Of a layout's rows, weighed by a policy and laid out by a sequencer.
    ///
    /// # Errors
    /// As [`Policy::check`]; `StreamCount` if the sequencer is of another layout; `Invalid` if a fill is no i32.
    pub fn new(layout: Layout, policy: Policy, sequencer: S) -> Result<Self> {
        policy.check(&layout)?;
        check_streams(&sequencer, layout.streams().len())?;
        let fills = fills_as(&sequencer)?;
        Ok(Collate { layout, policy, sequencer, fills })
    }

    /// What the rows are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What tokens weigh.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How frames become steps.
    pub fn sequencer(&self) -> &S {
        &self.sequencer
    }

    /// Steps of a batch of some width.
    ///
    /// # Errors
    /// As [`Sequencer::steps`].
    pub fn steps(&self, width: Width) -> Result<usize> {
        match width {
            Width::Steps(steps) => Ok(steps),
            Width::Frames(frames) => Ok(self.sequencer.steps(frames)?.saturating_sub(1)),
        }
    }

    /// Fills a batch, keeping its memory. A row without clips is absent; one of several is packed.
    ///
    /// Without a width, the batch is as long as its longest row.
    ///
    /// # Errors
    /// `StreamCount`; `Invalid` if a row is longer than the batch, for a region that is none, or for weights without a
    /// sum; `OverLimit` for more than 2^31 cells; `Unsupported` for a packed row where a sequence begins with codes. Errors name the clip's id. The batch then
    /// holds part of a result.
    pub fn batch<'a, R>(&self, rows: &[R], width: Option<Width>, into: &mut TrainBatch) -> Result<()>
    where
        R: AsRef<[Clip<'a>]>,
    {
        if rows.iter().any(|row| row.as_ref().len() > 1) {
            check_first(&self.sequencer)?;
        }
        into.rows.clear();
        for row in rows {
            into.rows.push(self.place(row.as_ref())?);
        }
        let steps = self.fitted(width, &into.rows)?;
        let cells = rows.len().saturating_mul(self.layout.streams().len()).saturating_mul(steps);
        if cells > MOST_CELLS {
            return Err(Error::over_limit("cells of the batch", cells, MOST_CELLS));
        }
        into.reshape((rows.len(), self.layout.streams().len(), steps));
        let weighing = Weighing::new(&self.policy, &self.layout);
        let mut laid = self.write_ids(rows, &weighing, into)?;
        into.sums = Sums::default();
        laid.iter().for_each(|clip| into.sums.add(clip.counted.sums()));
        into.sums.check()?;
        laid.iter_mut().for_each(|clip| clip.counted.divide(&weighing, &into.sums));
        write_weights(&laid, into);
        fill_behind(into);
        Ok(())
    }

    /// Where the clips of a row stand.
    fn place(&self, row: &[Clip]) -> Result<Vec<Placed>> {
        let mut end = 0;
        let place = |clip: &Clip| {
            let (streams, frames) = clip.codes.0.dim();
            let steps = self.layout.check_streams(streams).and_then(|()| self.sequencer.steps(frames));
            end += steps.map_err(|e| e.in_recording(clip.id))?;
            let first = end - self.sequencer.steps(frames)?;
            Ok(Placed { id: clip.id.to_owned(), index: clip.index, steps: first..end, frames })
        };
        row.iter().map(place).collect()
    }

    /// Steps of the batch, in which every row has room.
    fn fitted(&self, width: Option<Width>, rows: &[Vec<Placed>]) -> Result<usize> {
        let longest = rows.iter().max_by_key(|row| columns(row));
        let needed = longest.map_or(0, |row| columns(row).saturating_sub(1));
        let steps = width.map_or(Ok(needed), |width| self.steps(width))?;
        match longest.and_then(|row| row.last()) {
            Some(last) if needed > steps => {
                let error = Error::invalid("steps of the row", needed, format!("at most {steps}, as the batch has"));
                Err(error.in_recording(&last.id))
            }
            _ => Ok(steps),
        }
    }

    /// Input and target of every clip.
    fn write_ids<'a, R: AsRef<[Clip<'a>]>>(
        &self,
        rows: &[R],
        weighing: &Weighing,
        into: &mut TrainBatch,
    ) -> Result<Vec<Laid<'a>>> {
        let (_, streams, width) = into.shape();
        let [input, target] = [&mut into.input, &mut into.target].map(|grid| cells(&mut grid.0));
        let (mut laid, mut spare) = (Vec::new(), Vec::new());
        for (row, (clips, placed)) in rows.iter().zip(&into.rows).enumerate() {
            let end = columns(placed);
            for (clip, placed) in clips.as_ref().iter().zip(placed).filter(|(_, placed)| !placed.steps.is_empty()) {
                let windows = Windows::of(&placed.steps, end);
                let read = Tracks::new(&self.sequencer, placed.frames, windows.read.clone());
                let codes = clip.codes.0;
                let mut counted = self.counted(weighing, clip, placed.frames, &windows)?;
                for (k, codes) in codes.outer_iter().enumerate() {
                    let (codes, first) = (as_slice(codes, &mut spare), (row * streams + k) * width);
                    let [input, target] = [&mut input[first..first + width], &mut target[first..first + width]];
                    write(read.of(k), codes, &mut input[windows.input()], &self.fills[k]);
                    write(counted.said().of(k), codes, &mut target[windows.target()], &self.fills[k]);
                    counted.count(k, codes);
                }
                laid.push(Laid { row, codes, target: windows.target(), counted });
            }
        }
        Ok(laid)
    }

    fn counted(&self, weighing: &Weighing, clip: &Clip, frames: usize, windows: &Windows) -> Result<Counted> {
        let said = Tracks::new(&self.sequencer, frames, windows.said.clone());
        let example = Example { index: clip.index, regions: clip.regions };
        let counted = Counted::new(weighing, &self.sequencer, example, (frames, windows.said.len()), said);
        counted.map_err(|e| e.in_recording(clip.id))
    }
}

/// The steps of a clip's sequence that are read and said, and where they go.
///
/// ```text
/// clips       i a a p | i b b p         input: all but the row's last column
/// input       i a a p   i b b
/// target      a a p i   b b p           target: all but the row's first
/// ```
struct Windows {
    at: usize,
    read: Range<usize>,
    said: Range<usize>,
}

impl Windows {
    /// Of a clip at some columns of its row, which has `end`.
    fn of(columns: &Range<usize>, end: usize) -> Self {
        let (first, last) = (usize::from(columns.start == 0), usize::from(columns.end == end));
        Windows { at: columns.start, read: 0..columns.len() - last, said: first..columns.len() }
    }

    fn input(&self) -> Range<usize> {
        self.at..self.at + self.read.len()
    }

    fn target(&self) -> Range<usize> {
        let first = self.at + self.said.start - 1;
        first..first + self.said.len()
    }
}

fn write(pieces: &[crate::delay::Piece], codes: &[i32], steps: &mut [i32], fills: &Fills<i32>) {
    place(pieces, codes, steps, fills, |codes, to| {
        convert(codes, to);
    });
}

/// Weights and reasons of every clip, once they are divided.
fn write_weights(laid: &[Laid], into: &mut TrainBatch) {
    let (_, streams, width) = into.shape();
    let (weights, reasons) = (cells(&mut into.weights.0), cells(&mut into.reasons.0));
    let (mut row, mut spare) = (Vec::new(), Spare::default());
    for clip in laid {
        for (k, codes) in clip.codes.outer_iter().enumerate() {
            let first = (clip.row * streams + k) * width;
            let steps = first + clip.target.start..first + clip.target.end;
            let codes = as_slice(codes, &mut row);
            clip.counted.write(k, codes, &mut weights[steps.clone()], &mut reasons[steps], &mut spare);
        }
    }
}

/// What no clip reaches is absent.
fn fill_behind(into: &mut TrainBatch) {
    for (row, placed) in into.rows.iter().enumerate() {
        let behind = ndarray::Slice::from(columns(placed).saturating_sub(1)..);
        let [input, target] = [&mut into.input, &mut into.target].map(|grid| &mut grid.0);
        for grid in [input, target] {
            grid.index_axis_mut(Axis(0), row).slice_axis_mut(Axis(1), behind).fill(ABSENT as i32);
        }
        into.weights.0.index_axis_mut(Axis(0), row).slice_axis_mut(Axis(1), behind).fill(0.0);
        into.reasons.0.index_axis_mut(Axis(0), row).slice_axis_mut(Axis(1), behind).fill(Reason::Absent as u8);
    }
}

fn cells<A>(grid: &mut ndarray::Array3<A>) -> &mut [A] {
    grid.as_slice_mut().expect("a batch that has been reshaped is one slice")
}
