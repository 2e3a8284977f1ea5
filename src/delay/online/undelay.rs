//! Steps back to frames, one column at a time.

use ndarray::{ArrayBase, Data, DataMut, Ix2, Ix3};

use super::Act;
use super::rows::{Lengths, Rows};
use crate::delay::{Extent, Start};
use crate::error::Result;
use crate::stream::{Frames, Layout, Steps};

/// Takes one step of the delayed sequence at a time and gives one whole frame of codes.
///
/// Frame t is whole once the stream with the largest delay has its token, so the first steps give nothing (see
/// [`UndelayLine::wait`]); after that each step gives a frame. The frames are those of [`Delay::undo`]. Under
/// [`Extent::Truncate`] the last ones lack the codes that the sequence cut off: they come by [`UndelayLine::flush`],
/// with `fill` in those places. Under [`Extent::Extend`] there is nothing to flush.
///
/// [`Delay::undo`]: crate::Sequencer::undo
///
/// # Examples
/// ```
/// use roundelay::delay::UndelayLine;
/// use roundelay::{Extent, Frames, Layout, Start, Steps};
///
/// let layout = Layout::preset("delay-1")?; // delays 0 1 1
/// let mut line = UndelayLine::new(&layout, Extent::Truncate, Start::None, 1, -1)?;
/// let mut codes = [0; 3];
/// line.step(Steps(&[11, 2048, 2048]), Frames(&mut codes))?;
/// assert_eq!(line.wait(), [1]); // no frame yet; the next step gives one
/// line.step(Steps(&[12, 21, 31]), Frames(&mut codes))?;
/// assert_eq!((line.wait(), codes), (&[0][..], [11, 21, 31]));
/// assert_eq!(line.tail(), 1);
/// line.flush(Frames(&mut codes))?;
/// assert_eq!(codes, [12, -1, -1]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct UndelayLine<A> {
    rows: Rows<A>,
}

impl<A: Copy> UndelayLine<A> {
    /// A line for `batch` rows, all at their start; `fill` stands where truncation cut a code off.
    ///
    /// # Errors
    /// `Invalid` if there is no row; `OverLimit` if batch, streams and delays are too many together.
    pub fn new(layout: &Layout, extent: Extent, start: Start, batch: usize, fill: A) -> Result<Self> {
        let (most, lead) = (layout.max_delay(), usize::from(start == Start::Initial));
        let lags: Vec<_> = layout.streams().iter().map(|stream| most - stream.delay).collect();
        let tail = match extent {
            Extent::Extend => 0,
            Extent::Truncate => most,
        };
        let fills = vec![fill; lags.len()];
        let lengths = Lengths { wait: most + lead, tail };
        Ok(UndelayLine { rows: Rows::new(lags, lengths, batch, fills.clone(), fills)? })
    }

    /// Rows of the batch.
    pub fn batch(&self) -> usize {
        self.rows.batch()
    }

    /// How often a row is to be flushed after its last step.
    pub fn tail(&self) -> usize {
        self.rows.tail()
    }

    /// For each row, the steps until it has given its first frame, that step included. At 0 every step
    /// gives one.
    pub fn wait(&self) -> &[usize] {
        self.rows.waits()
    }

    /// Every row takes a step; those whose [`wait`](UndelayLine::wait) is 0 then have given a frame.
    ///
    /// # Shapes
    /// Both columns are `[batch, stream]`, row after row.
    /// # Errors
    /// `Invalid` if a column has another length, or a row's tail has begun; then no row has moved.
    pub fn step(&mut self, tokens: Steps<&[A]>, codes: Frames<&mut [A]>) -> Result<()> {
        self.rows.step(tokens.0, codes.0)
    }

    /// Each row does what `acts` says of it.
    ///
    /// # Shapes
    /// `acts` is `[batch]`, both columns are `[batch, stream]`.
    /// # Errors
    /// `Invalid` if one has another length, if a row takes a step after its tail began, or is flushed after its tail
    /// is out; then no row has moved.
    pub fn step_rows(&mut self, acts: &[Act], tokens: Steps<&[A]>, codes: Frames<&mut [A]>) -> Result<()> {
        self.rows.step_rows(acts, tokens.0, codes.0)
    }

    /// Every row moves on as if a step without codes had come.
    ///
    /// # Errors
    /// `Invalid` if `codes` is not `[batch, stream]`, or a row's tail is out; then no row has moved.
    pub fn flush(&mut self, codes: Frames<&mut [A]>) -> Result<()> {
        self.rows.flush(codes.0)
    }

    /// Every row takes many steps: the same as that many calls of [`UndelayLine::step`].
    ///
    /// # Shapes
    /// Both are `[batch, stream, time]`, of one length: column j is what step j gives, untouched in those columns of a
    /// row that give nothing.
    /// # Errors
    /// `StreamCount`, or `Invalid` for batch or length, or if a row's tail has begun; then no row has moved.
    pub fn prefill<S, M>(
        &mut self,
        tokens: &Steps<ArrayBase<S, Ix3>>,
        codes: &mut Frames<ArrayBase<M, Ix3>>,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        M: DataMut<Elem = A>,
    {
        self.rows.prefill(&tokens.0, &mut codes.0)
    }

    /// One row takes many steps; the others pause.
    ///
    /// # Shapes
    /// Both are `[stream, time]`, of one length, as in [`UndelayLine::prefill`].
    /// # Errors
    /// As [`UndelayLine::prefill`], and `Invalid` if there is no such row.
    pub fn prefill_row<S, M>(
        &mut self,
        row: usize,
        tokens: &Steps<ArrayBase<S, Ix2>>,
        codes: &mut Frames<ArrayBase<M, Ix2>>,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        M: DataMut<Elem = A>,
    {
        self.rows.prefill_row(row, tokens.0.view(), codes.0.view_mut())
    }

    /// Starts a row anew, wherever it is.
    ///
    /// # Errors
    /// `Invalid` if there is no such row.
    pub fn reset(&mut self, row: usize) -> Result<()> {
        self.rows.reset(row)
    }
}
