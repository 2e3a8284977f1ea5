//! What every layout of frames as steps can do, however it was made.

use std::cell::Cell;

use ndarray::{Array, ArrayBase, ArrayView3, ArrayViewMut, Axis, Data, Dimension};

use super::run::{Bracket, Fills, Runs, Tracks, place, take};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::rows::{alike, each_row};
use crate::stream::{Frames, Steps, batched, batched_mut};
use crate::token::{Token, convert};

/// Lays frames out as steps, and takes them back.
///
/// [`Delay`](super::Delay) does it by a closed form, [`Plan`](super::Plan) by a compiled list. What they must say is
/// how long a sequence is and where each stream's [`Run`](super::Run)s lie; all else follows from it.
pub trait Sequencer {
    /// Streams of a grid.
    fn stream_count(&self) -> usize;

    /// Steps that `frames` become.
    ///
    /// # Errors
    /// `Invalid` if this sequencer is not for so many frames.
    fn steps(&self, frames: usize) -> Result<usize>;

    /// Frames that `steps` came from.
    ///
    /// # Errors
    /// `TooShort` or `Invalid` if no number of frames gives as many steps.
    fn frames(&self, steps: usize) -> Result<usize>;

    /// Where stream `k`'s columns lie, in ascending steps and columns. Runs may reach past the sequence's end.
    ///
    /// What this promises is relied on: runs that overlap, go back or have no stride make the other methods panic.
    ///
    /// # Panics
    /// If there is no stream `k`.
    fn runs(&self, k: usize, frames: usize) -> Runs<'_>;

    /// What stream `k` has where it has no code.
    ///
    /// # Panics
    /// If there is no stream `k`.
    fn fills(&self, k: usize) -> Fills;

    /// Columns added to every stream before it is laid out.
    fn bracket(&self) -> Bracket {
        Bracket::default()
    }

    /// The shape of codes once they are laid out: of what [`Sequencer::build_into`] writes.
    ///
    /// # Errors
    /// As [`Sequencer::build`], fills apart.
    fn shape_in_steps<A, S, D>(&self, codes: &Frames<ArrayBase<S, D>>) -> Result<D>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        reshaped(self, &codes.0, |frames| self.steps(frames))
    }

    /// The shape of a sequence once it is undone: of what [`Sequencer::undo_into`] writes.
    ///
    /// # Errors
    /// As [`Sequencer::undo`].
    fn shape_in_frames<A, S, D>(&self, tokens: &Steps<ArrayBase<S, D>>) -> Result<D>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        reshaped(self, &tokens.0, |steps| self.frames(steps))
    }

    /// Lays codes out; heads are filled with `initial`, tails with `pad`.
    ///
    /// Looks only at positions: absent (-1) and ungenerated (-2) tokens go where any other would.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames; both results are the same over
    /// [`Sequencer::steps`]`(T)` steps.
    /// # Errors
    /// `StreamCount` if `codes` has not one row for each stream; `Invalid` for another number of axes, or if a fill
    /// does not fit the element type.
    fn build<A: Token, S, D>(&self, codes: &Frames<ArrayBase<S, D>>) -> Result<Built<A, D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let shape = self.shape_in_steps(codes)?;
        let mut tokens = Array::from_elem(shape.clone(), A::wrap(0));
        let mut mask = Array::from_elem(shape, false);
        self.build_into(codes, Steps(tokens.view_mut()), Some(Steps(mask.view_mut())))?;
        Ok(Built { tokens: Steps(tokens), mask: Steps(mask) })
    }

    /// [`Sequencer::build`] into the caller's memory, of any token type that holds the ids. Every cell is written.
    ///
    /// The mask is that of any codes of this shape: a loop over batches needs it once.
    ///
    /// # Errors
    /// As `build`; `Invalid` if a view has another shape, or an id does not fit (the views then hold part of a result).
    fn build_into<A: Token, B: Token, S, D>(
        &self,
        codes: &Frames<ArrayBase<S, D>>,
        tokens: Steps<ArrayViewMut<B, D>>,
        mask: Option<Steps<ArrayViewMut<bool, D>>>,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let shape = self.shape_in_steps(codes)?;
        check_shape("tokens", &shape, &tokens.0)?;
        let mask = mask.map(|mask| mask.0);
        mask.iter().try_for_each(|mask| check_shape("mask", &shape, mask))?;
        let fills = fills_as::<B>(self)?;
        let (codes, tokens) = (batched(&codes.0)?, batched_mut(tokens.0)?);
        let tracks = Tracks::new(self, codes.len_of(TIME), 0..tokens.len_of(TIME));
        let whole = Cell::new(true);
        let write = |codes: &[A], to: &mut [B]| whole.set(whole.get() & convert(codes, to));
        each_row(codes, tokens, |k, codes, steps| place(tracks.of(k), codes, steps, &fills[k], write));
        if let Some(mask) = mask {
            alike(codes, batched_mut(mask)?, |k, codes, steps| {
                place(tracks.of(k), codes, steps, &Fills::all(false), |_, known| known.fill(true));
            });
        }
        if whole.get() { Ok(()) } else { Err(misfit::<A, B>(codes)) }
    }

    /// Lays out anything that has one value a code, such as weights; `fills` gives those of a stream's index.
    ///
    /// # Errors
    /// `StreamCount`, or `Invalid` for the number of axes.
    fn shift<A: Copy, S, D>(
        &self,
        values: &Frames<ArrayBase<S, D>>,
        fills: impl Fn(usize) -> Fills<A>,
    ) -> Result<Steps<Array<A, D>>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let mut steps = Array::from_elem(self.shape_in_steps(values)?, fills(0).tail);
        let (values, view) = (batched(&values.0)?, batched_mut(steps.view_mut())?);
        let tracks = Tracks::new(self, values.len_of(TIME), 0..view.len_of(TIME));
        each_row(values, view, |k, row, steps| {
            place(tracks.of(k), row, steps, &fills(k), |from, to| to.copy_from_slice(from));
        });
        Ok(Steps(steps))
    }

    /// What the loss may look at: the codes and each stream's end where there is one; `ignore` everywhere else.
    ///
    /// Absent and ungenerated tokens are ignored, and so is the end of a stream whose last code is one: it has not been
    /// seen to end.
    ///
    /// # Errors
    /// `StreamCount`, or `Invalid` for the number of axes.
    fn labels<A: Token, S, D>(&self, codes: &Frames<ArrayBase<S, D>>, ignore: i64) -> Result<Steps<Array<i64, D>>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let mut labels = Array::zeros(self.shape_in_steps(codes)?);
        let (grid, view) = (batched(&codes.0)?, batched_mut(labels.view_mut())?);
        let tracks = Tracks::new(self, grid.len_of(TIME), 0..view.len_of(TIME));
        each_row(grid, view, |k, codes, steps| {
            let eos = if ends(codes) { self.fills(k).eos } else { ignore };
            place(tracks.of(k), codes, steps, &Fills { eos, ..Fills::all(ignore) }, |codes, labels| {
                let label = |code: i64| if code < 0 { ignore } else { code };
                labels.iter_mut().zip(codes).for_each(|(to, &code)| *to = label(code.into()));
            });
        });
        Ok(Steps(labels))
    }

    /// Takes codes out of a sequence again: the exact inverse of [`Sequencer::build`].
    ///
    /// Looks only at positions and passes ids through. Codes that the sequence does not hold come back as `fill`
    /// ([`ABSENT`](crate::token::ABSENT) unless there is a reason).
    ///
    /// # Shapes
    /// `tokens` is `[stream, time]` or `[batch, stream, time]` over S steps; both results are the same over
    /// [`Sequencer::frames`]`(S)` frames.
    /// # Errors
    /// `StreamCount`; `TooShort` if no codes give so short a sequence; `Invalid` for another number of axes.
    fn undo<A: Token, S, D>(&self, tokens: &Steps<ArrayBase<S, D>>, fill: A) -> Result<Undone<A, D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let shape = self.shape_in_frames(tokens)?;
        let mut codes = Array::from_elem(shape.clone(), A::wrap(0));
        let mut mask = Array::from_elem(shape, false);
        self.undo_into(tokens, Frames(codes.view_mut()), Some(Frames(mask.view_mut())), fill)?;
        Ok(Undone { codes: Frames(codes), mask: Frames(mask) })
    }

    /// [`Sequencer::undo`] into the caller's memory, of any token type that holds the ids. Every cell is written.
    ///
    /// # Errors
    /// As `undo`; `Invalid` if a view has another shape, or an id does not fit (the views then hold part of a result).
    fn undo_into<A: Token, B: Token, S, D>(
        &self,
        tokens: &Steps<ArrayBase<S, D>>,
        codes: Frames<ArrayViewMut<B, D>>,
        mask: Option<Frames<ArrayViewMut<bool, D>>>,
        fill: B,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let shape = self.shape_in_frames(tokens)?;
        check_shape("codes", &shape, &codes.0)?;
        let mask = mask.map(|mask| mask.0);
        mask.iter().try_for_each(|mask| check_shape("mask", &shape, mask))?;
        let (grid, codes) = (batched(&tokens.0)?, batched_mut(codes.0)?);
        let tracks = Tracks::new(self, codes.len_of(TIME), 0..grid.len_of(TIME));
        let whole = Cell::new(true);
        let write = |steps: &[A], to: &mut [B]| whole.set(whole.get() & convert(steps, to));
        each_row(grid, codes, |k, steps, codes| take(tracks.of(k), steps, codes, 1, fill, write));
        if let Some(mask) = mask {
            alike(grid, batched_mut(mask)?, |k, steps, known| {
                take(tracks.of(k), steps, known, 1, false, |_, known| known.fill(true));
            });
        }
        match whole.get() {
            true => Ok(()),
            // Only what was taken counts: a sequence's fills may be of any size.
            false => Err(misfit::<A, B>(batched(&self.undo(tokens, A::wrap(fill.into()))?.codes.0)?)),
        }
    }

    /// Takes out of a sequence anything that has one value or one row of values a token, such as logits.
    ///
    /// # Shapes
    /// `stream` is the streams' axis and the one after it is time: `[batch, stream, step, card]` becomes
    /// `[batch, stream, frame, card]` for `Axis(1)`.
    /// # Errors
    /// `StreamCount`, `TooShort`, or `Invalid` if there is no such axis with one after it.
    /// # Source
    /// moshi `models/lm_utils.py`, `_undelay_sequence`; there the fill is NaN for logits.
    fn unshift<A: Copy, S, D>(
        &self,
        values: &Steps<ArrayBase<S, D>>,
        stream: Axis,
        fill: A,
    ) -> Result<Frames<Array<A, D>>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let time = stream.index() + 1;
        if time >= values.0.ndim() {
            return Err(Error::invalid("number of axes", values.0.ndim(), format!("more than {time}")));
        }
        check_streams(self, values.0.len_of(stream))?;
        let (steps, mut shape) = (values.0.len_of(Axis(time)), values.0.raw_dim());
        shape[time] = self.frames(steps)?;
        let mut undone = Array::from_elem(shape.clone(), fill);
        let width = shape.slice()[time + 1..].iter().product::<usize>();
        if steps * width * undone.len() == 0 {
            return Ok(Frames(undone));
        }
        let values = values.0.as_standard_layout();
        let values = values.as_slice().expect("the standard layout is one slice");
        let undone_rows = undone.as_slice_mut().expect("a new array is one slice").chunks_mut(shape[time] * width);
        let tracks = Tracks::new(self, shape[time], 0..steps);
        for (row, (steps, frames)) in values.chunks(steps * width).zip(undone_rows).enumerate() {
            let pieces = tracks.of(row % self.stream_count());
            take(pieces, steps, frames, width, fill, |from, to| to.copy_from_slice(from));
        }
        Ok(Frames(undone))
    }

    /// The step that frame `t` of stream `k` goes to, of a grid of `frames`; none if the sequence does not hold it.
    ///
    /// # Errors
    /// As [`Sequencer::steps`].
    /// # Panics
    /// If there is no stream `k`.
    fn step_of(&self, k: usize, t: usize, frames: usize) -> Result<Option<usize>> {
        let (column, steps) = (t.saturating_add(self.bracket().bos.into()), self.steps(frames)?);
        let run = self.runs(k, frames).find(|run| (run.column..run.column + run.len).contains(&column));
        Ok(run.map(|run| run.step + (column - run.column) * run.stride).filter(|&step| t < frames && step < steps))
    }
}

/// A sequence and where its cells come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Built<A, D: Dimension> {
    /// `[.., stream, time]` over S steps.
    pub tokens: Steps<Array<A, D>>,
    /// True where the cell comes from the codes, whatever its value; false on fills.
    pub mask: Steps<Array<bool, D>>,
}

/// Codes taken out of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Undone<A, D: Dimension> {
    /// `[.., stream, time]` over T frames.
    pub codes: Frames<Array<A, D>>,
    /// True where the sequence holds the code; false where truncation had cut it off.
    pub mask: Frames<Array<bool, D>>,
}

/// Every stream's fills in another token type.
pub(crate) fn fills_as<B: Token>(sequencer: &(impl Sequencer + ?Sized)) -> Result<Vec<Fills<B>>> {
    let fit = |k: usize, id: i64| {
        B::try_from(id).map_err(|_| Error::invalid("fill", id, format!("an id that fits {}", B::NAME)).in_stream(k))
    };
    (0..sequencer.stream_count()).map(|k| sequencer.fills(k).try_map(|id| fit(k, id))).collect()
}

/// Whether a row's end belongs to it: where the last code is absent, nobody has heard it end.
pub(crate) fn ends<A: Token>(codes: &[A]) -> bool {
    codes.last().is_none_or(|&code| code.into() >= 0)
}

/// The first id that does not fit, of which there is one.
pub(crate) fn misfit<A: Token, B: Token>(grid: ArrayView3<A>) -> Error {
    let mut cells = grid.indexed_iter().map(|(index, &id)| (index, id.into()));
    let ((_, k, t), id) = cells.find(|&(_, id)| B::try_from(id).is_err()).expect("one did not fit");
    Error::invalid("token", id, format!("an id that fits {}", B::NAME)).in_stream(k).at_frame(t)
}

/// The shape of a grid of a sequencer's streams, with another length of time.
fn reshaped<A, D: Dimension>(
    sequencer: &(impl Sequencer + ?Sized),
    grid: &ArrayBase<impl Data<Elem = A>, D>,
    length: impl FnOnce(usize) -> Result<usize>,
) -> Result<D> {
    check_streams(sequencer, batched(grid)?.len_of(Axis(1)))?;
    let (mut shape, time) = (grid.raw_dim(), grid.ndim() - 1);
    shape[time] = length(shape[time])?;
    Ok(shape)
}

pub(crate) fn check_streams(sequencer: &(impl Sequencer + ?Sized), found: usize) -> Result<()> {
    let expected = sequencer.stream_count();
    if found == expected { Ok(()) } else { Err(ErrorKind::StreamCount { found, expected }.into()) }
}

pub(crate) fn check_shape<A, D: Dimension>(what: &str, expected: &D, view: &ArrayViewMut<A, D>) -> Result<()> {
    match view.shape() == expected.slice() {
        true => Ok(()),
        false => Err(Error::invalid(
            format!("shape of the {what}"),
            format!("{:?}", view.shape()),
            format!("{:?}", expected.slice()),
        )),
    }
}

/// The last axis of a batch.
const TIME: Axis = Axis(2);
