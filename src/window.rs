//! Spans over a length: size, hop, tail rule. Touches no data.
//!
//! ```text
//! frames  0         10        20     26
//!         [---------)[--------)[------)     window 10, hop 10: the last is short
//!         [--------)[-------)[--------)     even split, at most 10: 9, 9, 8
//! ```

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Cuts a length in frames into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    size: usize,
    hop: usize,
}

impl Window {
    /// Windows of `size` frames that begin every `hop` frames.
    ///
    /// # Errors
    /// `Invalid` if either is 0.
    pub fn new(size: usize, hop: usize) -> Result<Self> {
        for (what, frames) in [("window", size), ("hop", hop)] {
            if frames == 0 {
                return Err(Error::invalid(what, "0 frames", "at least one frame"));
            }
        }
        Ok(Window { size, hop })
    }

    /// Frames of a whole window.
    pub fn size(self) -> usize {
        self.size
    }

    /// Frames from one window's start to the next one's.
    pub fn hop(self) -> usize {
        self.hop
    }

    /// The windows over `frames`, the last one short. Windows that hold nothing new are left out: the first to reach
    /// the end is the last. An empty length has no window.
    pub fn spans(self, frames: usize) -> impl Iterator<Item = Range<usize>> {
        let count = if frames == 0 { 0 } else { frames.saturating_sub(self.size).div_ceil(self.hop) + 1 };
        (0..count)
            .map(move |i| i * self.hop)
            .take_while(move |&start| start < frames)
            .map(move |start| start..(start + self.size).min(frames))
    }

    /// Frames that no window holds: those between a window's end and the next one's start.
    pub fn skipped(self, frames: usize) -> usize {
        let held: usize = self.spans(frames).map(|span| span.len().min(self.hop)).sum();
        if self.hop <= self.size { 0 } else { frames - held }
    }
}

/// What becomes of a word that a window's border cuts.
///
/// ```text
/// said                  a a a a b b b b|b b c c            the border cuts b
/// start   a and b belong to the first window, c to the second; tokens of b that do not fit are cut
/// drop    a belongs to the first, c to the second, b to none
/// split   as start, but tokens of b that do not fit go on at the beginning of the second
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// It belongs to the window in which it starts, and what does not fit there is cut.
    #[default]
    Start,
    /// It is left out.
    Drop,
    /// The row of text is made for the whole recording and then cut, so that the next window goes on with it.
    Split,
}

impl Border {
    /// The choice's name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Border::Start => "start",
            Border::Drop => "drop",
            Border::Split => "split",
        }
    }
}

/// Cuts a length into the fewest nearly equal parts.
///
/// # Examples
/// ```
/// use roundelay::window::EvenSplit;
/// let split = EvenSplit::new(10, 0)?;
/// assert_eq!(split.spans(26).collect::<Vec<_>>(), [0..9, 9..18, 18..26]);
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// nu-dialogue/moshi-finetune 3879d29, `utils/data.py`, `max_length` and `min_length`; it cuts sequences, after the
/// shift, so that all parts but the first begin in the middle of their streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvenSplit {
    longest: usize,
    shortest: usize,
}

impl EvenSplit {
    /// Parts of at most `longest` frames or steps; those below `shortest` are left out.
    ///
    /// # Errors
    /// `Invalid` if `longest` is 0.
    pub fn new(longest: usize, shortest: usize) -> Result<Self> {
        match longest {
            0 => Err(Error::invalid("longest part", 0, "at least 1")),
            _ => Ok(EvenSplit { longest, shortest }),
        }
    }

    /// The parts, the longer ones first; none of an empty length.
    pub fn spans(self, length: usize) -> impl Iterator<Item = Range<usize>> {
        self.all(length).filter(move |span| span.len() >= self.shortest)
    }

    /// How much of the length no part holds.
    pub fn skipped(self, length: usize) -> usize {
        length - self.spans(length).map(|span| span.len()).sum::<usize>()
    }

    fn all(self, length: usize) -> impl Iterator<Item = Range<usize>> {
        let count = length.div_ceil(self.longest);
        // Each begins after all those before it, of which the first `length % count` are one longer.
        let begin = move |part: usize| part * (length / count) + part.min(length % count);
        (0..count).map(move |part| begin(part)..begin(part + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_frame_unless_the_hop_is_larger() {
        for (size, hop, frames) in (1..6).flat_map(|s| (1..8).flat_map(move |h| (0..30).map(move |t| (s, h, t)))) {
            let window = Window::new(size, hop).unwrap();
            let mut held = vec![false; frames];
            window.spans(frames).for_each(|span| held[span].fill(true));
            assert_eq!(held.iter().filter(|h| !**h).count(), window.skipped(frames), "{size} {hop} {frames}");
            assert!(window.spans(frames).all(|span| !span.is_empty() && span.start % hop == 0));
            assert!(window.spans(frames).skip(1).all(|span| span.start + size > frames || span.len() == size));
        }
    }

    #[test]
    fn the_last_window_is_short() {
        let spans: Vec<_> = Window::new(10, 10).unwrap().spans(26).collect();
        assert_eq!(spans, [0..10, 10..20, 20..26]);
    }

    #[test]
    fn an_even_split_is_whole_and_its_parts_differ_by_one_at_most() {
        for (longest, length) in (1..9).flat_map(|longest| (0..40).map(move |length| (longest, length))) {
            let spans: Vec<_> = EvenSplit::new(longest, 0).unwrap().spans(length).collect();
            assert_eq!(spans.iter().cloned().flatten().collect::<Vec<_>>(), (0..length).collect::<Vec<_>>());
            let sizes: Vec<_> = spans.iter().map(ExactSizeIterator::len).collect();
            assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
            let (first, last) = (sizes.first().copied().unwrap_or(0), sizes.last().copied().unwrap_or(0));
            assert!(first <= longest && first - last <= 1, "{sizes:?}");
            assert!(sizes.is_empty() || (sizes.len() - 1) * longest < length, "fewer parts would do: {sizes:?}");
        }
        assert!(EvenSplit::new(0, 0).is_err());
    }

    #[test]
    fn parts_that_are_too_short_are_left_out_and_counted() {
        let split = EvenSplit::new(8, 6).unwrap();
        assert!(split.spans(11).eq(std::iter::once(0..6)) && split.skipped(11) == 5);
        assert_eq!((split.spans(5).count(), split.skipped(5)), (0, 5));
        assert_eq!((split.spans(16).count(), split.skipped(16)), (2, 0));
    }
}
