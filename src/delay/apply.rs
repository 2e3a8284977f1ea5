//! Frames to steps.

use std::iter::repeat_n;

use ndarray::{Array, ArrayBase, ArrayView1, Axis, Data, Dimension};

use super::Delay;
use crate::error::{Error, Result};
use crate::stream::{Frames, Steps, batched};
use crate::token::Token;

/// A delayed sequence and where its cells come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Built<A, D: Dimension> {
    /// `[.., stream, time]` over S steps.
    pub tokens: Steps<Array<A, D>>,
    /// True where the cell comes from the codes, whatever its value; false on fills.
    pub mask: Steps<Array<bool, D>>,
}

impl Delay {
    /// Shifts each stream later by its delay; heads are filled with `initial`, tails with `pad`.
    ///
    /// Looks only at positions: absent (-1) and ungenerated (-2) tokens are shifted like any other.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames; both results are the same over
    /// [`Delay::steps`]`(T)` steps.
    /// # Errors
    /// `StreamCount` if `codes` has not one row for each stream; `Invalid` for another number of axes, or if a fill
    /// does not fit the element type.
    pub fn build<A: Token, S, D>(&self, codes: &Frames<ArrayBase<S, D>>) -> Result<Built<A, D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let fills = self.fills::<A>()?;
        let tokens = self.shift(codes, |k| fills[k])?;
        let every = Frames(Array::from_elem(codes.0.raw_dim(), true));
        let mask = self.shift(&every, |_| (false, false))?;
        Ok(Built { tokens, mask })
    }

    /// Shifts anything that has one value a code, such as weights; `fills` gives head and tail for a stream's index.
    ///
    /// # Errors
    /// `StreamCount`, or `Invalid` for the number of axes.
    pub fn shift<A: Copy, S, D>(
        &self,
        values: &Frames<ArrayBase<S, D>>,
        fills: impl Fn(usize) -> (A, A),
    ) -> Result<Steps<Array<A, D>>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let from = batched(&values.0)?;
        self.check_streams(from.len_of(Axis(1)))?;
        let mut shape = values.0.raw_dim();
        let time = shape.ndim() - 1;
        let steps = self.steps(shape[time]);
        shape[time] = steps;
        // Written once, in order: filling an array first and copying into it would touch the memory twice.
        let mut shifted = Vec::with_capacity(shape.size());
        for example in from.outer_iter() {
            for (k, row) in example.outer_iter().enumerate() {
                shift_row(row, &mut shifted, steps, self.head(k), fills(k));
            }
        }
        Ok(Steps(Array::from_shape_vec(shape, shifted).expect("every row has as many steps")))
    }

    /// Head and tail fill of each stream in the grid's own type.
    fn fills<A: Token>(&self) -> Result<Vec<(A, A)>> {
        let fit = |k: usize, id: i64| {
            A::try_from(id).map_err(|_| Error::invalid("fill", id, format!("an id that fits {}", A::NAME)).in_stream(k))
        };
        self.streams.iter().enumerate().map(|(k, s)| Ok((fit(k, s.initial)?, fit(k, s.pad)?))).collect()
    }
}

/// Appends `head` cells of the first fill, the codes as far as they fit, and the second fill, `steps` in all.
fn shift_row<A: Copy>(row: ArrayView1<A>, to: &mut Vec<A>, steps: usize, head: usize, (initial, pad): (A, A)) {
    let head = head.min(steps);
    let kept = row.len().min(steps - head);
    to.extend(repeat_n(initial, head));
    match row.to_slice() {
        Some(codes) => to.extend_from_slice(&codes[..kept]),
        None => to.extend(row.iter().take(kept)),
    }
    to.extend(repeat_n(pad, steps - head - kept));
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2, arr3};

    use super::*;
    use crate::{ErrorKind, Extent, Layout, Start};

    fn delay(extent: Extent, start: Start) -> Delay {
        Delay::new(&Layout::preset("delay-1").unwrap(), extent, start)
    }

    #[test]
    fn truncate_drops_the_tails() {
        let codes = Frames(arr2(&[[11, 12], [21, 22], [31, 32]]));
        let built = delay(Extent::Truncate, Start::None).build(&codes).unwrap();
        assert_eq!(built.tokens.0, arr2(&[[11, 12], [2048, 21], [2048, 31]]));
        assert_eq!(built.mask.0, arr2(&[[true, true], [false, true], [false, true]]));
    }

    #[test]
    fn the_initial_column_shifts_all_streams() {
        let codes = Frames(arr3(&[[[11], [21], [31]], [[-1], [-2], [0]]]));
        let built = delay(Extent::Extend, Start::Initial).build(&codes).unwrap();
        let first = [[32000, 11, 3], [2048, 2048, 21], [2048, 2048, 31]];
        assert_eq!(built.tokens.0, arr3(&[first, [[32000, -1, 3], [2048, 2048, -2], [2048, 2048, 0]]]));
    }

    #[test]
    fn no_frames_give_fills_only() {
        let built = delay(Extent::Extend, Start::Initial).build(&Frames(Array2::<i32>::zeros((3, 0)))).unwrap();
        assert_eq!(built.tokens.0, arr2(&[[32000, 3], [2048, 2048], [2048, 2048]]));
        assert!(built.mask.0.iter().all(|m| !m));
    }

    #[test]
    fn wrong_grids_are_refused() {
        let delay = delay(Extent::Extend, Start::None);
        let error = delay.build(&Frames(Array2::<i64>::zeros((2, 4)))).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::StreamCount { found: 2, expected: 3 }));
        assert!(delay.build(&Frames(ndarray::Array1::<i64>::zeros(3))).is_err());
        let error = delay.build(&Frames(Array2::<u8>::zeros((3, 4)))).unwrap_err();
        assert_eq!(error.to_string(), "stream 0: fill is 32000, expected an id that fits u8");
    }
}
