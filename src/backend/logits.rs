//! A model that gives logits and learns from their gradient: the loss is made outside.
//!
//! ```text
//! tokens [B, C, P] ──> hidden [B, P, width] ──> logits [B, P, N], or [B, P, K] for K candidates ──> any loss
//!                                               gradient, of the same shape <────────────────────── its slope
//! ```
//! [`TrainBackend`](super::TrainBackend) has its loss built in, and is the faster for it. What is trained by another loss
//! (flow matching, softmax over a part of the words) goes through this door.

use ndarray::{Array2, Array3, ArrayView3};

use crate::error::{Error, Result};
use crate::token::UNGENERATED;

/// Gives logits, and learns from the gradient of a loss that it need not know.
///
/// Five methods: two for a step, one to look at what has been learned, and two that a search for candidates needs, which
/// is before a step.
pub trait LogitBackend {
    /// Logits for what goes in; kept for [`learn`](LogitBackend::learn), in place of those that were kept before.
    ///
    /// # Shapes
    /// `[batch, position, output]`, where outputs are the candidates if there are any.
    /// # Errors
    /// As [`LogitSpec::check`]: what was kept is kept. Those of the device.
    fn logits(&mut self, input: &LogitInput) -> Result<Array3<f32>>;

    /// The same logits, for validation and sampling: nothing is learned from them, and what is kept for
    /// [`learn`](LogitBackend::learn) stays.
    ///
    /// # Shapes
    /// As [`logits`](LogitBackend::logits).
    /// # Errors
    /// As [`LogitSpec::check`]; those of the device.
    fn predict(&mut self, input: &LogitInput) -> Result<Array3<f32>>;

    /// One optimisation step on the gradient of a loss with respect to the logits given last, which are then used up.
    /// Rows of the output table that were no candidates stay as they are.
    ///
    /// # Errors
    /// `Invalid` if no logits were given since the last step, or if the gradient is not of their shape or holds what is no
    /// finite number: model and logits are as before. `Invalid` if all of the model's gradient that follows from it has no
    /// finite length: the model is as before, but the logits are used up. Those of the device.
    fn learn(&mut self, gradient: ArrayView3<f32>) -> Result<()>;

    /// What positions are, before logits are made of it: each logit is the inner product of one of these and a row of
    /// the output table. The model's candidates are left out.
    ///
    /// # Shapes
    /// `[batch, position, width]`.
    /// # Errors
    /// As [`LogitSpec::check`]; those of the device.
    fn hidden(&mut self, input: &LogitInput) -> Result<Array3<f32>>;

    /// Rows of the output table: of these ids, or all.
    ///
    /// # Shapes
    /// `[output, width]`.
    /// # Errors
    /// As [`LogitSpec::check`] for candidates; those of the device.
    fn rows(&mut self, of: Option<&[u32]>) -> Result<Array2<f32>>;
}

/// What goes into a [`LogitBackend`].
#[derive(Debug, Clone, Copy)]
pub struct LogitInput<'a> {
    /// Ids, `[batch, channel, position]`: the embeddings of a position's channels are added. -1 and -2 have none.
    pub tokens: ArrayView3<'a, i32>,
    /// A time for each row, `[batch]`, from 0 to 1; for models that are told one.
    pub times: Option<&'a [f32]>,
    /// Outputs are these rows of the output table, in rising order; all without.
    pub candidates: Option<&'a [u32]>,
}

impl<'a> LogitInput<'a> {
    /// Ids alone: no times, all outputs.
    pub fn new(tokens: ArrayView3<'a, i32>) -> Self {
        LogitInput { tokens, times: None, candidates: None }
    }
}

/// What a [`LogitBackend`] reads and says.
///
/// # Examples
/// ```
/// use ndarray::Array3;
/// use roundelay::backend::{LogitInput, LogitSpec};
///
/// let spec = LogitSpec { channels: vec![100, 10], outputs: 50, timed: false };
/// let tokens = Array3::from_elem((4, 2, 16), 9); // four rows of 16 positions in two channels
/// let input = LogitInput { candidates: Some(&[3, 7, 49]), ..LogitInput::new(tokens.view()) };
/// assert_eq!(spec.check(&input)?, [4, 16, 3]);
///
/// let twice = LogitInput { candidates: Some(&[3, 3]), ..input };
/// assert_eq!(spec.check(&twice).unwrap_err().to_string(), "candidate 1 is 3, expected 4..50");
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogitSpec {
    /// Ids that each channel reads: `0..channels[c]`.
    pub channels: Vec<usize>,
    /// Rows of the output table.
    pub outputs: usize,
    /// Whether the model is told a time for each row.
    pub timed: bool,
}

impl LogitSpec {
    /// Holds an input against it, so that no wrong id reaches a device; gives the shape of its logits.
    ///
    /// # Errors
    /// `Invalid` for another number of channels, for no row or position, an id that its channel does not read, times that
    /// are missing, not asked for or not from 0 to 1, and candidates that are none, do not rise or are no outputs.
    pub fn check(&self, input: &LogitInput) -> Result<[usize; 3]> {
        let (batch, channels, positions) = input.tokens.dim();
        if channels != self.channels.len() {
            return Err(Error::invalid("number of channels", channels, self.channels.len()));
        }
        if batch * positions == 0 {
            return Err(Error::invalid("rows and positions", format!("{batch} and {positions}"), "at least 1 of each"));
        }
        self.check_tokens(input.tokens)?;
        self.check_times(input.times, batch)?;
        input.candidates.map_or(Ok(()), |ids| self.check_candidates(ids))?;
        Ok([batch, positions, input.candidates.map_or(self.outputs, <[u32]>::len)])
    }

    fn check_tokens(&self, tokens: ArrayView3<i32>) -> Result<()> {
        let wrong = tokens.indexed_iter().find(|&((_, c, _), &id)| {
            i64::from(id) < UNGENERATED || usize::try_from(id).is_ok_and(|id| id >= self.channels[c])
        });
        wrong.map_or(Ok(()), |((row, c, position), id)| {
            let what = format!("input of row {row}, channel {c}");
            Err(Error::invalid(what, id, format!("-2, -1 or 0..{}", self.channels[c])).at_frame(position))
        })
    }

    fn check_times(&self, times: Option<&[f32]>, batch: usize) -> Result<()> {
        let found = times.map_or(0, <[f32]>::len);
        let expected = if self.timed { batch } else { 0 };
        if found != expected || times.is_some() != self.timed {
            return Err(Error::invalid("number of times", found, expected));
        }
        match times.into_iter().flatten().find(|time| !(0.0..=1.0).contains(*time)) {
            Some(time) => Err(Error::invalid("time", time, "0 to 1")),
            None => Ok(()),
        }
    }

    /// Holds candidates against the output table.
    ///
    /// # Errors
    /// `Invalid` if there is none, if they do not rise, or if one is no output.
    pub fn check_candidates(&self, ids: &[u32]) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::invalid("number of candidates", 0, "at least 1"));
        }
        let mut least = 0;
        for (place, &id) in ids.iter().enumerate() {
            if !(least..self.outputs).contains(&(id as usize)) {
                return Err(Error::invalid(format!("candidate {place}"), id, format!("{least}..{}", self.outputs)));
            }
            least = id as usize + 1;
        }
        Ok(())
    }
}

/// Holds a gradient against the logits given last.
#[cfg(feature = "burn")]
pub(super) fn check_gradient(gradient: ArrayView3<f32>, logits: [usize; 3]) -> Result<()> {
    let (batch, positions, outputs) = gradient.dim();
    if [batch, positions, outputs] != logits {
        let found = format!("{:?}", gradient.shape());
        return Err(Error::invalid("shape of the gradient", found, format!("{logits:?}, as the logits given last")));
    }
    match gradient.iter().find(|slope| !slope.is_finite()) {
        Some(slope) => Err(Error::invalid("gradient", slope, "finite numbers")),
        None => Ok(()),
    }
}
