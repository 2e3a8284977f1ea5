//! Sequences of a fixed length, in which a model is to fill what the prompt leaves open.
//!
//! ```text
//! prompt  a0 a1     7 steps     i  a0 a1 .  .  p  p     delay 0
//!         b0 b1       ->        i  i  b0 b1 .  .  p     delay 1     . open, i initial, p pad
//!         c0 c1                 i  i  i  c0 c1 .  .     delay 2
//! ```

use ndarray::{Array, ArrayBase, ArrayView1, Axis, Data, Dimension, Slice};

use super::{check_rows, fit};
use crate::delay::sequencer::check_streams;
use crate::delay::{Delay, Sequencer};
use crate::error::{Error, Result};
use crate::stream::{Frames, Steps, batched, batched_mut};
use crate::token::{Token, UNGENERATED};

/// What is given of a sequence before a model generates the rest.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::delay::Template;
/// use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start, Steps};
///
/// let layout = Layout::preset("musicgen")?; // delays 0 1 2 3
/// let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
/// let prompt = Frames(arr2(&[[10], [20], [30], [40]]));
/// let template = Template::new(&delay, &prompt, 7)?;
/// assert_eq!(template.tokens().0.row(0).to_vec(), [2048, 10, -2, -2, 2048, 2048, 2048]);
/// assert_eq!(template.tokens().0.row(3).to_vec(), [2048, 2048, 2048, 2048, 40, -2, -2]);
/// assert_eq!(template.first_open(), Some(2));
///
/// let generated = template.apply(&Steps(ndarray::Array2::<i64>::from_elem((4, 7), 5)))?;
/// assert_eq!(delay.undo(&generated, -1)?.codes.0, arr2(&[[10, 5, 5], [20, 5, 5], [30, 5, 5], [40, 5, 5]]));
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// transformers `models/musicgen/modeling_musicgen.py`, `build_delay_pattern_mask` and `apply_delay_pattern_mask`;
/// parler-tts, functions of the same names; there an open cell is -1.
#[derive(Debug, Clone, PartialEq)]
pub struct Template<D: Dimension> {
    tokens: Steps<Array<i64, D>>,
}

impl<D: Dimension> Template<D> {
    /// Lays a prompt out as the beginning of a sequence of `steps`; frames behind the prompt are open.
    ///
    /// # Shapes
    /// `prompt` is `[stream, time]` or `[batch, stream, time]` over any number of frames, zero included.
    /// # Errors
    /// `Invalid` if the prompt has more frames than the sequence; else as [`Sequencer::frames`] and
    /// [`Sequencer::build`].
    pub fn new<A: Token, S>(sequencer: &impl Sequencer, prompt: &Frames<ArrayBase<S, D>>, steps: usize) -> Result<Self>
    where
        S: Data<Elem = A>,
    {
        let (frames, given) = (sequencer.frames(steps)?, batched(&prompt.0)?.len_of(Axis(2)));
        if given > frames {
            return Err(Error::invalid("frames of the prompt", given, format!("at most {frames} in {steps} steps")));
        }
        let mut codes = all_open(&prompt.0, frames);
        let time = Axis(codes.ndim() - 1);
        codes.slice_axis_mut(time, Slice::from(..given)).assign(&prompt.0.mapv(Into::into));
        Ok(Template { tokens: sequencer.build(&Frames(codes))?.tokens })
    }

    /// [`Template::new`] with the peers' rule for short sequences: of fewer steps than twice the largest delay and
    /// one, all cells are open, and the prompt is in none.
    ///
    /// What the model then generates is not delayed. Parler's training labels go the same way, so that clips of fewer
    /// than K - 2 frames come out as nothing but ends.
    ///
    /// # Errors
    /// As [`Template::new`].
    /// # Source
    /// transformers and parler-tts, `build_delay_pattern_mask`: `if max_length < 2 * channel_codebooks - 1`.
    pub fn open_if_short<A: Token, S>(delay: &Delay, prompt: &Frames<ArrayBase<S, D>>, steps: usize) -> Result<Self>
    where
        S: Data<Elem = A>,
    {
        let largest = delay.streams.iter().map(|stream| stream.delay).max().unwrap_or(0);
        if steps > 2 * largest {
            return Template::new(delay, prompt, steps);
        }
        let streams = batched(&prompt.0)?.len_of(Axis(1));
        check_streams(delay, streams)?;
        Ok(Template { tokens: Steps(all_open(&prompt.0, steps)) })
    }

    /// Takes tokens that must be as they are, except where they are [`UNGENERATED`].
    ///
    /// # Errors
    /// `Invalid` if they are neither `[stream, time]` nor `[batch, stream, time]`.
    pub fn of(tokens: Steps<Array<i64, D>>) -> Result<Self> {
        batched(&tokens.0)?;
        Ok(Template { tokens })
    }

    /// `[.., stream, time]` over S steps: what must be, or [`UNGENERATED`] where the model is to choose.
    pub fn tokens(&self) -> &Steps<Array<i64, D>> {
        &self.tokens
    }

    /// The first step that has an open cell in any row: where a model begins.
    pub fn first_open(&self) -> Option<usize> {
        let time = Axis(self.tokens.0.ndim() - 1);
        let open = |row: ArrayView1<i64>| row.iter().position(|&id| id == UNGENERATED);
        self.tokens.0.lanes(time).into_iter().filter_map(open).min()
    }

    /// Lets the model's tokens stand where the template is open; elsewhere it wins.
    ///
    /// Either may be the longer one: only the steps that both have are looked at.
    ///
    /// # Errors
    /// `Invalid` if the number of rows differs, or an id does not fit the token type.
    pub fn apply<A: Token, S>(&self, tokens: &Steps<ArrayBase<S, D>>) -> Result<Steps<Array<A, D>>>
    where
        S: Data<Elem = A>,
    {
        let mut applied = tokens.0.to_owned();
        let (template, mut to) = (batched(&self.tokens.0)?, batched_mut(applied.view_mut())?);
        check_rows("examples", to.len_of(Axis(0)), template.len_of(Axis(0)))?;
        check_rows("streams", to.len_of(Axis(1)), template.len_of(Axis(1)))?;
        for ((row, k, step), &id) in template.indexed_iter().filter(|(_, id)| **id != UNGENERATED) {
            if let Some(to) = to.get_mut((row, k, step)) {
                *to = fit(id, k)?;
            }
        }
        Ok(Steps(applied))
    }

    /// [`Template::apply`] for one step while generating: every stream of the first example, then of the next.
    ///
    /// # Errors
    /// As `apply`.
    pub fn force<A: Token>(&self, step: usize, tokens: Steps<&mut [A]>) -> Result<()> {
        let time = Axis(self.tokens.0.ndim() - 1);
        let (rows, streams) = (self.tokens.0.lanes(time).into_iter(), batched(&self.tokens.0)?.len_of(Axis(1)));
        check_rows("tokens of the step", tokens.0.len(), rows.len())?;
        for (row, (given, to)) in rows.zip(tokens.0).enumerate() {
            if let Some(&id) = given.get(step).filter(|id| **id != UNGENERATED) {
                *to = fit(id, row % streams)?;
            }
        }
        Ok(())
    }
}

/// A grid with the rows of `like`, open everywhere.
fn all_open<A, D: Dimension>(like: &ArrayBase<impl Data<Elem = A>, D>, time: usize) -> Array<i64, D> {
    let mut shape = like.raw_dim();
    shape[like.ndim() - 1] = time;
    Array::from_elem(shape, UNGENERATED)
}
