//! Windows as Kyutai's fine-tuning code makes them.
//!
//! ```text
//! words      a    b  c      d   e         a window of 4 s from 2 s on: b, c and d
//! starts    1.0  2.0 2.5   5.9 6.1        a, begun before, is left out, also what of it is said inside
//! ```

use ndarray::{Array2, Array3, ArrayView1, s};

use crate::error::{Error, Result};
use crate::pipeline::codes;
use crate::stream::{Frames, Layout};
use crate::tally::Event;
use crate::text::{KyutaiRule, PlacedWord, Rule, TextStream, Word};
use crate::token::ABSENT;
use crate::units::{FrameRate, Seconds};

/// A training window of moshi-finetune, in its double arithmetic: of one length wherever the sound ends, the rest absent.
///
/// # Source
/// moshi-finetune 2acc879, `finetune/data/interleaver.py`, `InterleavedTokenizer`; `finetune/data/dataset.py`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KyutaiWindow {
    /// Where in the recording it begins, in seconds.
    pub start: f64,
    /// Its length in seconds.
    pub duration: f64,
}

impl KyutaiWindow {
    /// The windows over a recording. Starts are sums of doubles, so one may lie just before the end that it should have
    /// met: windows of 0.3 s over 3 s are 11, not 10.
    ///
    /// # Errors
    /// `Invalid` if the window's length is not a positive number.
    pub fn over(recording: f64, duration: f64) -> Result<impl Iterator<Item = KyutaiWindow>> {
        if !(duration.is_finite() && duration > 0.0) {
            return Err(Error::invalid("window", duration, "a positive number of seconds"));
        }
        // Far out the sum of two doubles may be the larger one; there the windows end.
        let next = move |start: &f64| Some(start + duration).filter(|next| next > start);
        let starts = std::iter::successors(Some(0.0), next).take_while(move |&start| start < recording);
        Ok(starts.map(move |start| KyutaiWindow { start, duration }))
    }

    /// Its number of frames.
    pub fn frames(&self, rate: FrameRate) -> usize {
        KyutaiRule::frames(self.duration, rate)
    }

    /// Words that start in the window, with times from its beginning. Words are to be in order of start; else the search
    /// finds some range.
    ///
    /// # Errors
    /// `Invalid` if a time goes beyond all bounds.
    pub fn words(&self, words: &[Word]) -> Result<Vec<Word>> {
        let starts: Vec<_> = words.iter().map(|word| word.start.to_f64()).collect();
        let first = first_not_before(&starts, self.start);
        let end = first_not_before(&starts, self.start + self.duration);
        let time = |time: Seconds| Seconds::from_f64(time.to_f64() - self.start);
        let moved = |word: &Word| Ok(Word { start: time(word.start)?, end: time(word.end)?, ..word.clone() });
        words.get(first..end).unwrap_or_default().iter().map(moved).collect()
    }

    /// The layout's rows of the window: codes and text cut to its frames, absent behind their end. Without words the
    /// text is absent.
    ///
    /// # Shapes
    /// `codes` is `[channel, codebook, frame]`, what a codec gives for the window's sound. Returns `[stream, time]`.
    /// # Errors
    /// Those of [`TextStream::of`], [`Rule::place`] and, for the codes, [`Prepare::segments`](super::Prepare::segments).
    pub fn rows(
        &self,
        layout: &Layout,
        rule: KyutaiRule,
        label: &str,
        codes: &Frames<Array3<i32>>,
        words: Option<Vec<PlacedWord>>,
    ) -> Result<(Frames<Array2<i32>>, Vec<Event>)> {
        let frames = self.frames(layout.frame_rate());
        let mut events = Vec::new();
        let heard = codes::rows(layout, codes, None, &mut events)?;
        let both = frames.min(heard.0.ncols());
        let mut rows = Array2::from_elem((layout.streams().len(), frames), ABSENT as i32);
        rows.slice_mut(s![.., ..both]).assign(&heard.0.slice(s![.., ..both]));
        if let Some(words) = words {
            let text = TextStream::of(layout, label)?;
            let row = Rule::Kyutai(rule).place_in_window(words, &text, both, frames)?;
            let k = layout.streams().iter().position(|stream| stream == text.stream).unwrap_or_default();
            rows.row_mut(k).assign(&ArrayView1::from(&row.tokens));
            events.extend(row.events());
        }
        Ok((Frames(rows), events))
    }
}

/// The first place in a sorted list whose value is not before `value`, halving as moshi-finetune's `dicho` does: in a list
/// that is not sorted, some place, and the same one.
pub fn first_not_before(starts: &[f64], value: f64) -> usize {
    let (mut first, mut end) = (0, starts.len());
    while first < end {
        let middle = first.midpoint(end);
        match starts[middle] < value {
            true => first = middle + 1,
            false => end = middle,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_doubles_make_one_window_more() {
        let starts: Vec<_> = KyutaiWindow::over(3.0, 0.3).unwrap().map(|window| window.start).collect();
        assert_eq!((starts.len(), starts[10]), (11, 2.999_999_999_999_999_6));
        assert_eq!(KyutaiWindow::over(0.0, 1.0).unwrap().count(), 0);
        assert_eq!(KyutaiWindow::over(f64::INFINITY, 1e308).unwrap().count(), 2);
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(KyutaiWindow::over(1.0, wrong).is_err());
        }
    }

    #[test]
    fn unsorted_starts_give_some_range_and_no_panic() {
        let word = |start: f64| Word::new("w", Seconds::from_f64(start).unwrap(), Seconds::ZERO, "A");
        let words: Vec<_> = [9.0, 1.0, 0.0].map(word).into();
        let window = KyutaiWindow { start: 2.0, duration: 1.0 };
        assert_eq!(window.words(&words).unwrap(), []);
    }
}
