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

mod family;
mod labels;
mod online;
mod pattern;
mod plan;
mod run;
mod sequencer;

pub use family::{EndRule, Ending, Stray, Template, compact, content, undo_repeating};
pub use labels::jmoshi_labels;
pub use online::{Act, DelayLine, KyutaiLine, KyutaiOptions, UndelayLine};
pub use pattern::{Delays, Order, Pattern, join_phases, split_phases};
pub use plan::Plan;
pub use run::{Bracket, Fills, Run, Runs};
pub(crate) use run::{Piece, Tracks, place};
pub use sequencer::{Built, Sequencer, Undone};
pub(crate) use sequencer::{check_shape, check_streams, ends, fills_as, misfit};

use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Layout, Stream};

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
/// use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start};
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
    bracket: Bracket,
}

/// One stream's shift and what fills its holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shift {
    delay: usize,
    fills: Fills,
}

impl Delay {
    /// Takes delays and fills from the layout.
    pub fn new(layout: &Layout, extent: Extent, start: Start) -> Self {
        let shift = |stream: &Stream| Shift { delay: stream.delay, fills: Fills::of(stream) };
        let streams = layout.streams().iter().map(shift).collect();
        Delay { streams, extent, start, bracket: Bracket::default() }
    }

    /// The same with a column of each stream's `bos` in front of its codes, of its `eos` behind them, or both.
    ///
    /// ```text
    /// a0 a1     ->   b a0 a1 e  p    delay 0
    /// b0 b1          i b  b0 b1 e    delay 1; b bos, e eos, i initial, p pad
    /// ```
    ///
    /// # Errors
    /// `Invalid`, naming the first stream whose layout lacks the id.
    /// # Source
    /// Higgs Audio v2 and Dia wrap codes so before they delay them; Parler has the end alone.
    pub fn bracketed(self, layout: &Layout, bracket: Bracket) -> Result<Self> {
        bracket.check(layout)?;
        Ok(Delay { bracket, ..self })
    }

    /// Whether the sequence grows.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    fn lead(&self) -> usize {
        usize::from(self.start == Start::Initial)
    }

    /// Steps that a sequence has more than its codes have frames.
    fn overhead(&self) -> usize {
        let tail = match self.extent {
            Extent::Extend => self.streams.iter().map(|s| s.delay).max().unwrap_or(0),
            Extent::Truncate => 0,
        };
        self.bracket.columns(tail + self.lead())
    }
}

impl Sequencer for Delay {
    fn stream_count(&self) -> usize {
        self.streams.len()
    }

    fn steps(&self, frames: usize) -> Result<usize> {
        let most = usize::MAX - self.overhead();
        match frames <= most {
            true => Ok(frames + self.overhead()),
            false => Err(Error::over_limit("number of frames", frames, most)),
        }
    }

    fn frames(&self, steps: usize) -> Result<usize> {
        let expected = self.overhead();
        steps.checked_sub(expected).ok_or_else(|| ErrorKind::TooShort { found: steps, expected }.into())
    }

    fn runs(&self, k: usize, frames: usize) -> Runs<'_> {
        let step = self.streams[k].delay + self.lead();
        Runs::One(Some(Run { step, column: 0, len: self.bracket.columns(frames), stride: 1 }))
    }

    fn fills(&self, k: usize) -> Fills {
        self.streams[k].fills
    }

    fn bracket(&self) -> Bracket {
        self.bracket
    }
}

impl Fills {
    /// A stream's own ids; one without begin or end of its own has its head and tail fills there.
    pub(crate) fn of(stream: &Stream) -> Self {
        let id = |id: u32| i64::from(id);
        Fills {
            bos: id(stream.bos.unwrap_or(stream.initial)),
            eos: id(stream.eos.unwrap_or(stream.pad)),
            ..Fills::edges(id(stream.initial), id(stream.pad))
        }
    }
}

impl Bracket {
    /// Checks that every stream has the ids.
    pub(crate) fn check(self, layout: &Layout) -> Result<()> {
        for stream in layout.streams() {
            for (what, wanted, id) in [("bos", self.bos, stream.bos), ("eos", self.eos, stream.eos)] {
                if wanted && id.is_none() {
                    return Err(Error::invalid(what, "missing", "an id for every stream").in_stream(&stream.name));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Array4, Axis, arr2, arr3};

    use super::*;
    use crate::stream::{Frames, Steps};

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
    fn brackets_move_with_their_stream() {
        let layout =
            Layout::preset("delay-1").unwrap().to_json().replace("\"initial\"", "\"bos\":7,\"eos\":8,\"initial\"");
        let layout = Layout::from_json(&layout).unwrap();
        let delay = Delay::new(&layout, Extent::Extend, Start::None).bracketed(&layout, Bracket::BOTH).unwrap();
        let codes = Frames(arr2(&[[11], [21], [31]]));
        let built = delay.build(&codes).unwrap();
        assert_eq!(built.tokens.0, arr2(&[[7, 11, 8, 3], [2048, 7, 21, 8], [2048, 7, 31, 8]]));
        assert_eq!(delay.labels(&codes, -100).unwrap().0.row(1).to_vec(), [-100, -100, 21, 8]);
        let open = Frames(arr2(&[[11], [-2], [-1]]));
        assert_eq!(
            delay.labels(&open, -100).unwrap().0.row(1).to_vec(),
            [-100; 4],
            "open and absent codes are no labels"
        );
        assert_eq!(delay.undo(&built.tokens, -1).unwrap().codes, codes);
        let plain = Layout::preset("delay-1").unwrap();
        let error = Delay::new(&plain, Extent::Extend, Start::None).bracketed(&plain, Bracket::BOTH).unwrap_err();
        assert_eq!(error.to_string(), "stream text: bos is missing, expected an id for every stream");
    }

    #[test]
    fn other_token_types_are_widened_and_narrowed() {
        let codes = Frames(arr2(&[[11_u16, 12], [21, 22], [31, 2047]]));
        let delay = delay(Extent::Truncate, Start::None);
        let (mut wide, mut known) = (Array2::<i64>::zeros((3, 2)), Array2::from_elem((3, 2), false));
        delay.build_into(&codes, Steps(wide.view_mut()), None).unwrap();
        assert_eq!(wide, arr2(&[[11, 12], [2048, 21], [2048, 31]]));
        let mut narrow = Array2::<u16>::zeros((3, 2));
        delay.undo_into(&Steps(wide.view()), Frames(narrow.view_mut()), Some(Frames(known.view_mut())), 9).unwrap();
        assert_eq!(known, arr2(&[[true, true], [true, false], [true, false]]));
        assert_eq!(narrow, arr2(&[[11, 12], [21, 9], [31, 9]]));
        wide[(1, 1)] = -1;
        let undone = delay.undo_into(&Steps(wide), Frames(narrow.view_mut()), None, 9);
        assert_eq!(undone.unwrap_err().to_string(), "stream 1, frame 0: token is -1, expected an id that fits u16");
    }

    #[test]
    fn wrong_grids_are_refused() {
        let delay = delay(Extent::Extend, Start::None);
        let error = delay.build(&Frames(Array2::<i64>::zeros((2, 4)))).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::StreamCount { found: 2, expected: 3 }));
        assert!(delay.build(&Frames(Array1::<i64>::zeros(3))).is_err());
        let error = delay.build(&Frames(Array2::<u8>::zeros((3, 4)))).unwrap_err();
        assert_eq!(error.to_string(), "stream 0: fill is 32000, expected an id that fits u8");
        let (codes, mut tokens) = (Array2::<i64>::zeros((3, 4)), Array2::<i64>::zeros((3, 4)));
        let error = delay.build_into(&Frames(codes), Steps(tokens.view_mut()), None).unwrap_err();
        assert_eq!(error.to_string(), "shape of the tokens is [3, 4], expected [3, 5]");
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
        assert!(delay(Extent::Extend, Start::None).steps(usize::MAX).is_err());
        let delay = delay(Extent::Truncate, Start::None);
        assert_eq!(delay.undo(&Steps(Array2::<i64>::zeros((3, 0))), -1).unwrap().codes.0.dim(), (3, 0));
    }
}
