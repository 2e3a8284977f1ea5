//! What a loss may look at, told by the value of a token and not by its place.
//!
//! ```text
//! text       i w1 w2  P  p         i initial; P pad among the codes, p pad behind them: the same id
//! by place   . w1 w2  P  .         Sequencer::labels
//! by value   . w1 w2  P  p         jmoshi_labels
//! ```

use ndarray::{Array, ArrayBase, Axis, Data, Dimension};

use crate::error::Result;
use crate::stream::{Layout, Steps, batched, batched_mut};
use crate::token::{ABSENT, Token};

/// J-Moshi's labels: every token that is not below its stream's `initial` id becomes `ignore`, and so does an absent one.
///
/// Unlike [`Sequencer::labels`](super::Sequencer::labels) it takes a sequence, and any part of one: J-Moshi cuts
/// sequences after the shift, where places are no longer known. A pad below `initial` is learned, as Moshi's text pad
/// is, also behind the last code; where pad and `initial` are one id, as in Moshi's audio, it is ignored. Ids of data
/// at or above `initial` would be ignored as well: this rule is for layouts whose `initial` follows their data.
///
/// # Shapes
/// `tokens` and what is returned are `[stream, time]` or `[batch, stream, time]` over any steps.
/// # Errors
/// `StreamCount`; `Invalid` for another number of axes.
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::delay::jmoshi_labels;
/// use roundelay::{Layout, Steps};
///
/// let layout = Layout::preset("delay-1")?;
/// let tokens = Steps(arr2(&[[32000, 650, 3], [2048, 417, 2048], [2048, -1, 7]]));
/// let labels = jmoshi_labels(&layout, &tokens, -100)?;
/// assert_eq!(labels.0, arr2(&[[-100, 650, 3], [-100, 417, -100], [-100, -100, 7]]));
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// nu-dialogue/moshi-finetune 3879d29, `utils/data.py`.
pub fn jmoshi_labels<A: Token, S, D>(
    layout: &Layout,
    tokens: &Steps<ArrayBase<S, D>>,
    ignore: i64,
) -> Result<Steps<Array<i64, D>>>
where
    S: Data<Elem = A>,
    D: Dimension,
{
    layout.check_streams(batched(&tokens.0)?.len_of(Axis(1)))?;
    let mut labels = tokens.0.mapv(Into::<i64>::into);
    for ((_, k, _), id) in batched_mut(labels.view_mut())?.indexed_iter_mut() {
        if *id == ABSENT || *id >= i64::from(layout.streams()[k].initial) {
            *id = ignore;
        }
    }
    Ok(Steps(labels))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array3};

    use super::*;

    #[test]
    fn every_row_of_a_batch_is_held_against_its_stream() {
        let layout = Layout::preset("delay-1").unwrap();
        let tokens = Array3::from_shape_fn((2, 3, 2), |(b, _, s)| [31_999_u32, 2048, 2047, 32_000][2 * b + s]);
        let labels = jmoshi_labels(&layout, &Steps(tokens), -1).unwrap().0;
        let first = [[31_999, 2048], [-1, -1], [-1, -1]];
        assert_eq!(labels, ndarray::arr3(&[first, [[2047, -1], [2047, -1], [2047, -1]]]));
        let refused = jmoshi_labels(&layout, &Steps(Array3::<i64>::zeros((1, 2, 4))), -1).unwrap_err();
        assert_eq!(refused.to_string(), "the grid has 2 streams, expected 3");
        assert!(jmoshi_labels(&layout, &Steps(Array1::<i64>::zeros(3)), -1).is_err());
    }
}
