//! Frames <-> steps: each stream is shifted later by its own delay, and back.
//!
//! ```text
//!           frames                 extend                    truncate            initial column in front
//! text      t1 t2 t3 t4       t1 t2 t3 t4  P             t1 t2 t3 t4           I t1 t2 t3 t4
//! semantic  s1 s2 s3 s4   ->   I s1 s2 s3 s4              I s1 s2 s3           I  I s1 s2 s3
//! acoustic  a1 a2 a3 a4        I a1 a2 a3 a4              I a1 a2 a3           I  I a1 a2 a3
//!
//! delays 0 1 1; I the stream's initial id, P its pad id
//! ```

mod apply;
mod undo;

pub use apply::Built;
pub use undo::Undone;

use crate::error::{ErrorKind, Result};
use crate::stream::Layout;

/// Whether the sequence grows by the largest delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Extent {
    /// S = T + largest delay: nothing is lost.
    #[default]
    Extend,
    /// S = T: the last `delay` codes of each stream fall off. What Kyutai trains on.
    Truncate,
}

/// What comes before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Start {
    /// Nothing: the first column is frame 0 of the streams without delay.
    #[default]
    None,
    /// One column of initial ids, so that steps `..S-1` are the model's input and `1..` its target.
    Initial,
}

/// The shift of every stream of a layout.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::{Delay, Extent, Frames, Layout, Start};
///
/// let layout = Layout::preset("delay-1")?; // delays 0 1 1
/// let delay = Delay::new(&layout, Extent::Extend, Start::None);
/// let codes = Frames(arr2(&[[11, 12, 13], [21, 22, 23], [31, 32, 33]]));
/// let built = delay.build(&codes)?;
/// assert_eq!(built.tokens.0, arr2(&[[11, 12, 13, 3], [2048, 21, 22, 23], [2048, 31, 32, 33]]));
/// assert_eq!(delay.undo(&built.tokens, -1)?.codes, codes);
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// Moshi paper (arXiv 2410.00037) on the acoustic delay. moshi `models/lm_utils.py` truncates; nu-dialogue
/// `utils/data.py` extends and puts the initial column in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    streams: Vec<Shift>,
    extent: Extent,
    start: Start,
}

/// One stream's shift and what fills its holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shift {
    delay: usize,
    initial: i64,
    pad: i64,
}

impl Delay {
    /// Takes delays and fills from the layout.
    pub fn new(layout: &Layout, extent: Extent, start: Start) -> Self {
        let shift = |s: &crate::Stream| Shift { delay: s.delay, initial: s.initial.into(), pad: s.pad.into() };
        Delay { streams: layout.streams().iter().map(shift).collect(), extent, start }
    }

    /// Whether the sequence grows.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Steps that `frames` become.
    pub fn steps(&self, frames: usize) -> usize {
        frames + self.overhead()
    }

    /// Frames that `steps` came from.
    ///
    /// # Errors
    /// `TooShort` if no number of frames gives so few steps.
    pub fn frames(&self, steps: usize) -> Result<usize> {
        let expected = self.overhead();
        steps.checked_sub(expected).ok_or_else(|| ErrorKind::TooShort { found: steps, expected }.into())
    }

    /// The step that frame `t` of stream `k` goes to; past the end of the sequence if truncation cuts it off.
    ///
    /// # Panics
    /// If there is no stream `k`.
    pub fn step_of(&self, k: usize, t: usize) -> usize {
        t + self.head(k)
    }

    /// Steps before stream `k`'s first token.
    fn head(&self, k: usize) -> usize {
        self.streams[k].delay + self.lead()
    }

    fn lead(&self) -> usize {
        usize::from(self.start == Start::Initial)
    }

    fn overhead(&self) -> usize {
        let tail = match self.extent {
            Extent::Extend => self.streams.iter().map(|s| s.delay).max().unwrap_or(0),
            Extent::Truncate => 0,
        };
        tail + self.lead()
    }

    fn check_streams(&self, found: usize) -> Result<()> {
        let expected = self.streams.len();
        if found == expected { Ok(()) } else { Err(ErrorKind::StreamCount { found, expected }.into()) }
    }
}
