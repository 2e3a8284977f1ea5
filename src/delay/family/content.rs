//! What a generated sequence holds: the frames between its begin and its end.
//!
//! ```text
//! frames    x  b  a0 a1 a2 e  p
//!           y  b  b0 b1 b2 e  p       content 2..5: behind the last whole begin, before the first end
//! ```

use std::ops::Range;

use ndarray::{Array, ArrayBase, Data, Dimension, Ix2};

use super::fit;
use crate::delay::Sequencer;
use crate::error::Result;
use crate::stream::{Frames, Layout, Steps, batched_mut};
use crate::token::{ABSENT, Token};

/// The frames of codes in one row of generated tokens.
///
/// They begin behind the last frame in which every stream holds its `bos`, and end before the first in which any
/// stream holds its `eos` or which the sequence does not hold as a whole. Without a begin they start at frame 0.
///
/// # Shapes
/// `tokens` is `[stream, time]` over S steps. `sequencer` has no bracket: begin and end are found by their ids, and
/// frames are counted as [`Sequencer::undo`] gives them.
/// # Errors
/// As [`Sequencer::undo`].
/// # Examples
/// ```
/// use ndarray::{Array2, s};
/// use roundelay::delay::{Bracket, content};
/// use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start};
///
/// let layout = Layout::preset("higgs-v2")?;
/// let delay = Delay::new(&layout, Extent::Extend, Start::None);
/// let codes = Frames(Array2::from_elem((8, 5), 7_i64));
/// let tokens = delay.clone().bracketed(&layout, Bracket::BOTH)?.build(&codes)?.tokens;
/// let frames = content(&delay, &tokens)?;
/// assert_eq!(frames, 1..6);
/// assert_eq!(delay.undo(&tokens, -1)?.codes.0.slice(s![.., frames]), codes.0);
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// transformers `models/dia/processing_dia.py` and `models/higgs_audio_v2/processing_higgs_audio_v2.py`,
/// `batch_decode`, which count ids in the first stream, or look at one row of a batch for all.
pub fn content<A: Token, S>(sequencer: &impl Sequencer, tokens: &Steps<ArrayBase<S, Ix2>>) -> Result<Range<usize>>
where
    S: Data<Elem = A>,
{
    let ids = Steps(tokens.0.mapv(Into::<i64>::into));
    let undone = sequencer.undo(&ids, ABSENT)?;
    let (codes, whole) = (undone.codes.0, undone.mask.0);
    let fills: Vec<_> = (0..codes.nrows()).map(|k| sequencer.fills(k)).collect();
    let begins = |t: usize| codes.column(t).iter().zip(&fills).all(|(&id, fills)| id == fills.bos);
    let ends = |t: usize| codes.column(t).iter().zip(&fills).any(|(&id, fills)| id == fills.eos);
    let is_whole = |t: usize| whole.column(t).iter().all(|&known| known);
    let begin = (0..codes.ncols()).rfind(|&t| begins(t)).map_or(0, |t| t + 1);
    let end = (begin..codes.ncols()).find(|&t| ends(t) || !is_whole(t));
    Ok(begin..end.unwrap_or(codes.ncols()))
}

/// What becomes of ids that are no codes before they reach a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Stray {
    /// An error: a begin, an end or a pad among the codes says that the sequence was cut wrongly.
    #[default]
    Refuse,
    /// Code 0, as in nari-labs' Dia.
    Zero,
    /// The nearest code, as in Higgs Audio: an end becomes the last one.
    Clamp,
}

impl Stray {
    /// Gives codes that are all in `0..cardinality` of their stream.
    ///
    /// # Errors
    /// Under [`Stray::Refuse`] as [`Layout::check_codes`], which lets absent and ungenerated cells pass; `StreamCount`,
    /// or `Invalid` for the number of axes.
    /// # Examples
    /// ```
    /// use roundelay::delay::Stray;
    /// use roundelay::{Frames, Layout};
    /// let layout = Layout::preset("musicgen")?;
    /// let codes = Frames(ndarray::arr2(&[[1], [2], [2048], [-1]]));
    /// assert_eq!(Stray::Clamp.settle(&layout, codes.clone())?.0, ndarray::arr2(&[[1], [2], [2047], [0]]));
    /// assert!(Stray::Refuse.settle(&layout, codes).is_err());
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn settle<A: Token, D: Dimension>(
        self,
        layout: &Layout,
        mut codes: Frames<Array<A, D>>,
    ) -> Result<Frames<Array<A, D>>> {
        if self == Stray::Refuse {
            layout.check_codes(&codes)?;
            return Ok(codes);
        }
        let mut grid = batched_mut(codes.0.view_mut())?;
        layout.check_streams(grid.shape()[1])?;
        for ((_, k, _), code) in grid.indexed_iter_mut() {
            let (id, last) = ((*code).into(), i64::from(layout.streams()[k].cardinality) - 1);
            let near = id.clamp(0, last);
            *code = fit(if self == Stray::Zero && near != id { 0 } else { near }, k)?;
        }
        Ok(codes)
    }
}
