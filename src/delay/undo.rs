//! Steps back to frames.

use ndarray::{Array, ArrayBase, ArrayView, ArrayViewMut, Axis, Data, Dimension, RemoveAxis};

use super::Delay;
use crate::error::{Error, Result};
use crate::stream::{Frames, Steps};

/// Codes with the delays taken out.
#[derive(Debug, Clone, PartialEq)]
pub struct Undone<A, D: Dimension> {
    /// `[.., stream, time]` over T frames.
    pub codes: Frames<Array<A, D>>,
    /// True where the sequence holds the code; false where truncation had cut it off.
    pub mask: Frames<Array<bool, D>>,
}

impl Delay {
    /// Takes the delays out again: the exact inverse of [`Delay::build`].
    ///
    /// Looks only at positions and passes ids through. Codes that truncation cut off come back as `fill`
    /// ([`ABSENT`](crate::token::ABSENT) unless there is a reason).
    ///
    /// # Shapes
    /// `tokens` is `[stream, time]` or `[batch, stream, time]` over S steps; both results are the same over
    /// [`Delay::frames`]`(S)` frames.
    /// # Errors
    /// `StreamCount`; `TooShort` if no codes give so short a sequence; `Invalid` for another number of axes.
    pub fn undo<A: Copy, S, D>(&self, tokens: &Steps<ArrayBase<S, D>>, fill: A) -> Result<Undone<A, D>>
    where
        S: Data<Elem = A>,
        D: RemoveAxis,
    {
        let time = tokens.0.ndim().wrapping_sub(1);
        if !(1..=2).contains(&time) {
            return Err(Error::invalid("number of axes", tokens.0.ndim(), "2 or 3: [batch,] stream, time"));
        }
        let codes = self.unshift(tokens, Axis(time - 1), fill)?;
        let every = Steps(Array::from_elem(tokens.0.raw_dim(), true));
        let mask = self.unshift(&every, Axis(time - 1), false)?;
        Ok(Undone { codes, mask })
    }

    /// Takes the delays out of anything that has one value or one row of values a token, such as logits.
    ///
    /// # Shapes
    /// `stream` is the streams' axis and the one after it is time: `[batch, stream, step, card]` becomes
    /// `[batch, stream, frame, card]` for `Axis(1)`.
    /// # Errors
    /// `StreamCount`, `TooShort`, or `Invalid` if there is no such axis with one after it.
    /// # Source
    /// moshi `models/lm_utils.py`, `_undelay_sequence`; there the fill is NaN for logits.
    pub fn unshift<A: Copy, S, D>(
        &self,
        values: &Steps<ArrayBase<S, D>>,
        stream: Axis,
        fill: A,
    ) -> Result<Frames<Array<A, D>>>
    where
        S: Data<Elem = A>,
        D: RemoveAxis,
    {
        let time = stream.index() + 1;
        if time >= values.0.ndim() {
            return Err(Error::invalid("number of axes", values.0.ndim(), format!("more than {time}")));
        }
        self.check_streams(values.0.len_of(stream))?;
        let mut shape = values.0.raw_dim();
        shape[time] = self.frames(shape[time])?;
        let mut frames = Array::from_elem(shape, fill);
        for k in 0..self.streams.len() {
            // Without the stream's axis, time has its place.
            let from = values.0.index_axis(stream, k);
            unshift_stream(from, frames.index_axis_mut(stream, k), stream, self.head(k));
        }
        Ok(Frames(frames))
    }
}

/// Copies steps `head..` to frames `0..`, as many as both hold; the rest keeps its fill.
fn unshift_stream<A: Copy, D: Dimension>(
    steps: ArrayView<A, D>,
    mut frames: ArrayViewMut<A, D>,
    time: Axis,
    head: usize,
) {
    let known = steps.len_of(time).saturating_sub(head).min(frames.len_of(time));
    if known > 0 {
        let steps = steps.split_at(time, head).1.split_at(time, known).0;
        frames.view_mut().split_at(time, known).0.assign(&steps);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4, arr2};

    use super::*;
    use crate::{ErrorKind, Extent, Layout, Start};

    fn delay(extent: Extent, start: Start) -> Delay {
        Delay::new(&Layout::preset("delay-1").unwrap(), extent, start)
    }

    #[test]
    fn what_truncation_cut_comes_back_absent() {
        let tokens = Steps(arr2(&[[11, 12], [2048, 21], [2048, 31]]));
        let undone = delay(Extent::Truncate, Start::None).undo(&tokens, -1).unwrap();
        assert_eq!(undone.codes.0, arr2(&[[11, 12], [21, -1], [31, -1]]));
        assert_eq!(undone.mask.0, arr2(&[[true, true], [true, false], [true, false]]));
    }

    #[test]
    fn trailing_axes_move_with_their_step() {
        let logits = Array4::from_shape_fn((1, 3, 3, 2), |(_, k, s, c)| (100 * k + 10 * s + c) as f32);
        let undone = delay(Extent::Truncate, Start::None).unshift(&Steps(logits), Axis(1), f32::NAN).unwrap();
        assert_eq!(undone.0[[0, 1, 0, 1]], 111.0);
        assert!(undone.0[[0, 2, 2, 0]].is_nan() && !undone.0[[0, 0, 2, 0]].is_nan());
    }

    #[test]
    fn short_sequences_are_refused() {
        let error = delay(Extent::Extend, Start::Initial).undo(&Steps(Array2::<i64>::zeros((3, 1))), -1).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TooShort { found: 1, expected: 2 }));
        let delay = delay(Extent::Truncate, Start::None);
        assert_eq!(delay.undo(&Steps(Array2::<i64>::zeros((3, 0))), -1).unwrap().codes.0.dim(), (3, 0));
    }
}
