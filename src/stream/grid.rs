//! Grids before the delay and after it, as two types.

use ndarray::{ArrayBase, ArrayView3, ArrayViewMut, ArrayViewMut3, Axis, Data, Dimension};

use crate::error::{Error, Result};

/// Codes before any shift, `[stream, time]` or `[batch, stream, time]`; column t is frame t of every stream.
///
/// Wraps any ndarray array or view. The wrapper is what keeps a shift from being applied twice: only frames can be
/// delayed, and only [`Steps`] undelayed.
///
/// ```compile_fail
/// use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start};
/// let layout = Layout::preset("delay-1").unwrap();
/// let delay = Delay::new(&layout, Extent::Extend, Start::None);
/// let codes = Frames(ndarray::Array2::<i64>::zeros((3, 4)));
/// let delayed = delay.build(&codes).unwrap();
/// delay.build(&delayed.tokens).unwrap(); // expected `Frames`, found `Steps`
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frames<A>(pub A);

/// Tokens after the shift, `[stream, time]` or `[batch, stream, time]`; column s is what the model reads at step s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps<A>(pub A);

/// A grid as `[batch, stream, time]`, with a batch of one in front of `[stream, time]`.
///
/// # Errors
/// `Invalid` for any other number of axes.
pub fn batched<S: Data, D: Dimension>(grid: &ArrayBase<S, D>) -> Result<ArrayView3<'_, S::Elem>> {
    let view = grid.view().into_dyn();
    let axes = view.ndim();
    let view = if axes == 2 { view.insert_axis(Axis(0)) } else { view };
    view.into_dimensionality().map_err(|_| wrong_axes(axes))
}

/// [`batched`] for a grid that is to be written.
///
/// # Errors
/// `Invalid` for any other number of axes.
pub fn batched_mut<A, D: Dimension>(grid: ArrayViewMut<'_, A, D>) -> Result<ArrayViewMut3<'_, A>> {
    let view = grid.into_dyn();
    let axes = view.ndim();
    let view = if axes == 2 { view.insert_axis(Axis(0)) } else { view };
    view.into_dimensionality().map_err(|_| wrong_axes(axes))
}

fn wrong_axes(found: usize) -> Error {
    Error::invalid("number of axes", found, "2, as [stream, time], or 3, as [batch, stream, time]")
}
