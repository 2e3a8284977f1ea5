//! Two peers' ways to undo, where they are not by position.
//!
//! ```text
//! steps       i a0 a1 p        compact: what is neither i nor p, moved together     a0 a1
//!             i i  b0 b1                                                            b0 b1
//! steps         a0 a1 a2       repeating: the last step once more, where            a0 a1 a2
//!               i  b0 b1       frames end behind the sequence                       b0 b1 b1
//! ```

use ndarray::{Array, ArrayBase, Axis, Data, Dimension};

use super::check_rows;
use crate::delay::Sequencer;
use crate::delay::sequencer::check_streams;
use crate::error::{Error, Result};
use crate::stream::{Frames, Steps, batched, batched_mut};
use crate::token::Token;

/// Moves the cells that are kept together, in each row by itself.
///
/// Undoes a delay whose fills are known, without the delay: MusicGen keeps what is not its pad, whatever cell that is
/// in; Parler and transformers' Moshi keep the cells in which a [`Template`](super::Template) holds no fill.
/// [`Sequencer::undo`] goes by position and does not depend on ids.
///
/// # Shapes
/// Both are `[stream, time]` or `[batch, stream, time]` over S steps.
/// # Errors
/// `Invalid` if the shapes differ, or if a row keeps another number of cells than the first: the peers would go on with
/// rows out of step.
/// # Source
/// transformers `models/musicgen/modeling_musicgen.py`, `generate`, last lines; parler-tts and `models/moshi`, likewise.
pub fn compact<A: Token, D: Dimension>(
    tokens: &Steps<ArrayBase<impl Data<Elem = A>, D>>,
    keep: &Steps<ArrayBase<impl Data<Elem = bool>, D>>,
) -> Result<Frames<Array<A, D>>> {
    if tokens.0.shape() != keep.0.shape() {
        let (found, expected) = (format!("{:?}", keep.0.shape()), format!("{:?}", tokens.0.shape()));
        return Err(Error::invalid("shape of what is kept", found, expected));
    }
    let (cells, keep) = (batched(&tokens.0)?, batched(&keep.0)?);
    let (mut kept, mut frames) = (Vec::new(), None);
    for (row, (cells, keep)) in cells.lanes(Axis(2)).into_iter().zip(keep.lanes(Axis(2))).enumerate() {
        let before = kept.len();
        kept.extend(cells.iter().zip(keep).filter(|(_, keep)| **keep).map(|(&token, _)| token));
        let count = kept.len() - before;
        let k = row % tokens.0.len_of(Axis(tokens.0.ndim() - 2));
        check_rows("cells that are kept", count, *frames.get_or_insert(count)).map_err(|e| e.in_stream(k))?;
    }
    let mut shape = tokens.0.raw_dim();
    shape[tokens.0.ndim() - 1] = frames.unwrap_or(0);
    Ok(Frames(Array::from_shape_vec(shape, kept).expect("every row keeps as many cells")))
}

/// Undoes a sequence that was cut at its end, taking the last step wherever a code lies behind it.
///
/// So a delayed stream's last codes are repeats, which no mask tells from codes; steps from `steps` on count as `pad`.
/// [`Sequencer::undo`] gives its fill instead.
///
/// # Errors
/// As [`Sequencer::undo`].
/// # Source
/// nari-labs dia `dia/audio.py`, `build_revert_indices` and `revert_audio_delay`, with `steps` as its `T`.
pub fn undo_repeating<A: Token, D: Dimension>(
    sequencer: &impl Sequencer,
    tokens: &Steps<ArrayBase<impl Data<Elem = A>, D>>,
    steps: usize,
    pad: A,
) -> Result<Frames<Array<A, D>>> {
    let from = batched(&tokens.0)?;
    check_streams(sequencer, from.len_of(Axis(1)))?;
    let known = from.len_of(Axis(2));
    let frames = sequencer.frames(known)?;
    let mut shape = tokens.0.raw_dim();
    shape[tokens.0.ndim() - 1] = frames;
    let mut undone = Array::from_elem(shape, pad);
    for ((row, k, t), code) in batched_mut(undone.view_mut())?.indexed_iter_mut() {
        let step = sequencer.step_of(k, t, frames)?.unwrap_or(known).min(known.saturating_sub(1));
        if let Some(&held) = from.get((row, k, step)).filter(|_| step < steps) {
            *code = held;
        }
    }
    Ok(Frames(undone))
}
