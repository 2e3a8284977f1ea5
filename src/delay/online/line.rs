//! Frames to steps, one column at a time.

use ndarray::{ArrayBase, Data, DataMut, Ix2, Ix3};

use super::rows::{Lengths, Rows};
use super::{Act, ids};
use crate::delay::{Extent, Start};
use crate::error::Result;
use crate::stream::{Frames, Layout, Steps};
use crate::token::Token;

/// Takes one frame of codes at a time and gives one step of the delayed sequence.
///
/// After T frames and [`DelayLine::tail`] flushes a row has given every column of [`Delay::build`], in order. With
/// [`Start::Initial`] the first frame brings out the initial column: what comes out is what the model reads *before*
/// it predicts that frame.
///
/// A family that brackets its codes has no mode of its own here: the column of every stream's `bos` goes in before the
/// first frame, that of every `eos` after the last, and what comes out is what [`Delay::bracketed`] builds.
///
/// Rows pause, end and start anew without regard to each other: [`DelayLine::step_rows`] and [`DelayLine::reset`].
/// A row that pauses keeps its state, and its cells in the result stay as they are.
///
/// [`Delay::bracketed`]: crate::Delay::bracketed
/// [`Delay::build`]: crate::Sequencer::build
///
/// # Examples
/// ```
/// use roundelay::delay::DelayLine;
/// use roundelay::{Extent, Frames, Layout, Start, Steps};
///
/// let layout = Layout::preset("delay-1")?; // delays 0 1 1
/// let mut line = DelayLine::new(&layout, Extent::Extend, Start::None, 1)?;
/// let mut tokens = [0; 3];
/// line.step(Frames(&[11, 21, 31]), Steps(&mut tokens))?;
/// assert_eq!(tokens, [11, 2048, 2048]);
/// line.step(Frames(&[12, 22, 32]), Steps(&mut tokens))?;
/// assert_eq!(tokens, [12, 21, 31]);
/// assert_eq!(line.tail(), 1);
/// line.flush(Steps(&mut tokens))?;
/// assert_eq!(tokens, [3, 22, 32]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DelayLine<A> {
    rows: Rows<A>,
}

impl<A: Token> DelayLine<A> {
    /// A line for `batch` rows, all at their start.
    ///
    /// # Errors
    /// `Invalid` if there is no row or a fill does not fit the token type; `OverLimit` if batch, streams and delays
    /// are too many together.
    pub fn new(layout: &Layout, extent: Extent, start: Start, batch: usize) -> Result<Self> {
        let lead = usize::from(start == Start::Initial);
        let lags = layout.streams().iter().map(|stream| stream.delay + lead).collect();
        let tail = match extent {
            Extent::Extend => layout.max_delay() + lead,
            Extent::Truncate => lead,
        };
        let (before, after) = (ids(layout, |stream| stream.initial)?, ids(layout, |stream| stream.pad)?);
        Ok(DelayLine { rows: Rows::new(lags, Lengths { wait: 0, tail }, batch, before, after)? })
    }

    /// Rows of the batch.
    pub fn batch(&self) -> usize {
        self.rows.batch()
    }

    /// Steps that a row has more than frames: how often it is to be flushed after its last.
    pub fn tail(&self) -> usize {
        self.rows.tail()
    }

    /// Every row takes a frame and gives a step.
    ///
    /// # Shapes
    /// Both columns are `[batch, stream]`, row after row.
    /// # Errors
    /// `Invalid` if a column has another length, or a row's tail has begun; then no row has moved.
    pub fn step(&mut self, codes: Frames<&[A]>, tokens: Steps<&mut [A]>) -> Result<()> {
        self.rows.step(codes.0, tokens.0)
    }

    /// Each row does what `acts` says of it.
    ///
    /// # Shapes
    /// `acts` is `[batch]`, both columns are `[batch, stream]`.
    /// # Errors
    /// `Invalid` if one has another length, if a row takes a frame after its tail began, or is flushed after its tail
    /// is out; then no row has moved.
    pub fn step_rows(&mut self, acts: &[Act], codes: Frames<&[A]>, tokens: Steps<&mut [A]>) -> Result<()> {
        self.rows.step_rows(acts, codes.0, tokens.0)
    }

    /// Every row gives one step of its tail.
    ///
    /// # Errors
    /// `Invalid` if `tokens` is not `[batch, stream]`, or a row's tail is out; then no row has moved.
    pub fn flush(&mut self, tokens: Steps<&mut [A]>) -> Result<()> {
        self.rows.flush(tokens.0)
    }

    /// Every row takes all frames of a prompt: the same as that many calls of [`DelayLine::step`].
    ///
    /// # Shapes
    /// Both are `[batch, stream, time]`, of one length.
    /// # Errors
    /// `StreamCount`, or `Invalid` for batch or length, or if a row's tail has begun; then no row has moved.
    pub fn prefill<S, M>(
        &mut self,
        codes: &Frames<ArrayBase<S, Ix3>>,
        tokens: &mut Steps<ArrayBase<M, Ix3>>,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        M: DataMut<Elem = A>,
    {
        self.rows.prefill(&codes.0, &mut tokens.0)
    }

    /// One row takes all frames of its own prompt; the others pause.
    ///
    /// # Shapes
    /// Both are `[stream, time]`, of one length.
    /// # Errors
    /// As [`DelayLine::prefill`], and `Invalid` if there is no such row.
    pub fn prefill_row<S, M>(
        &mut self,
        row: usize,
        codes: &Frames<ArrayBase<S, Ix2>>,
        tokens: &mut Steps<ArrayBase<M, Ix2>>,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        M: DataMut<Elem = A>,
    {
        self.rows.prefill_row(row, codes.0.view(), tokens.0.view_mut())
    }

    /// Starts a row anew, wherever it is.
    ///
    /// # Errors
    /// `Invalid` if there is no such row.
    pub fn reset(&mut self, row: usize) -> Result<()> {
        self.rows.reset(row)
    }
}
