//! What a row may be filled with: whole segments, crops or windows of them, from one side or from both.
//!
//! ```text
//! segment          0 [------------------)   1 [-----)          windows of 8 frames, hop 8
//! views            0 [-------)              3 [-----)          numbered from 0 on in each segment: 0 1 2, 0
//!                  1         [-------)
//!                  2                 [--)                      both sides: twice as many, 2 w + 1 is swapped
//! ```

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::permutation::draw;
use crate::error::{Error, Result};
use crate::window::Window;

/// Which frames of a segment are one view of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Crop {
    /// All of them.
    #[default]
    Whole,
    /// At most so many, from a start that is drawn anew each time the segment is seen.
    Random {
        /// Length of the crop; a shorter segment is whole.
        frames: usize,
    },
    /// Each window by itself, as in [`Window`]: the last one is short, and a segment without frames has none.
    Windows {
        /// Length of a window.
        frames: usize,
        /// From one window's start to the next one's.
        hop: usize,
    },
}

/// The frames of a segment that an item stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Of the segment.
    pub frames: Range<usize>,
    /// Whether the main speaker and the other one change places.
    pub swapped: bool,
}

/// The views of one source, numbered through.
#[derive(Debug, Clone)]
pub(super) struct Views {
    lengths: Arc<[u32]>,
    crop: Crop,
    /// Views of each stretch of frames.
    sides: usize,
    /// First view of each segment and the number of all; none where every segment has one stretch.
    firsts: Option<Vec<u32>>,
    len: usize,
}

/// More views of one source than this are refused: they are numbered by 32 bits.
const MOST_VIEWS: usize = u32::MAX as usize;

impl Views {
    pub fn new(lengths: Arc<[u32]>, crop: Crop, both_sides: bool) -> Result<Self> {
        let sides = 1 + usize::from(both_sides);
        let (firsts, len) = match crop {
            Crop::Windows { frames, hop } => {
                let (firsts, len) = count(&lengths, Window::new(frames, hop)?, sides);
                (Some(firsts), len)
            }
            Crop::Random { frames: 0 } => return Err(Error::invalid("crop", "0 frames", "at least one frame")),
            _ => (None, lengths.len() * sides),
        };
        if len > MOST_VIEWS {
            return Err(Error::over_limit("number of views in one source", len, MOST_VIEWS));
        }
        Ok(Views { lengths, crop, sides, firsts, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of a segment's first view.
    pub fn first(&self, segment: usize) -> usize {
        match &self.firsts {
            Some(firsts) => firsts[segment] as usize,
            None => segment * self.sides,
        }
    }

    /// Segment of a view, and which of its views it is.
    pub fn find(&self, view: usize) -> (usize, usize) {
        let segment = match &self.firsts {
            // Segments without views share their first with the one behind them.
            Some(firsts) => firsts.partition_point(|&first| first as usize <= view) - 1,
            None => view / self.sides,
        };
        (segment, view - self.first(segment))
    }

    /// Length of a view.
    pub fn frames(&self, segment: usize, view: usize) -> usize {
        let length = self.lengths[segment] as usize;
        match self.crop {
            Crop::Whole => length,
            Crop::Random { frames } => length.min(frames),
            Crop::Windows { frames, hop } => frames.min(length - view / self.sides * hop),
        }
    }

    /// The frames of a view; `key` draws where a random crop begins.
    pub fn cut(&self, segment: usize, view: usize, key: &[u64]) -> Cut {
        let (length, frames) = (self.lengths[segment] as usize, self.frames(segment, view));
        let start = match self.crop {
            Crop::Whole => 0,
            Crop::Random { .. } => draw(key, (length - frames) as u64 + 1) as usize,
            Crop::Windows { hop, .. } => view / self.sides * hop,
        };
        Cut { frames: start..start + frames, swapped: self.sides == 2 && view % 2 == 1 }
    }

    /// The longest view, if there is any.
    pub fn longest(&self) -> Option<(usize, usize)> {
        let most = (0..self.lengths.len()).filter(|&segment| self.has_views(segment)).map(|s| (self.frames(s, 0), s));
        most.max_by_key(|&(frames, segment)| (frames, std::cmp::Reverse(segment)))
    }

    fn has_views(&self, segment: usize) -> bool {
        self.firsts.is_none() || self.lengths[segment] > 0
    }
}

/// First view of each segment, by windows.
fn count(lengths: &[u32], window: Window, sides: usize) -> (Vec<u32>, usize) {
    let mut len = 0;
    let mut firsts = Vec::with_capacity(lengths.len() + 1);
    for &length in lengths {
        firsts.push(len as u32);
        len += windows(length as usize, window) * sides;
    }
    firsts.push(len as u32);
    (firsts, len)
}

/// How many windows there are: [`Window::spans`] without walking along them.
fn windows(length: usize, window: Window) -> usize {
    let full = length.saturating_sub(window.size()).div_ceil(window.hop()) + 1;
    // A hop beyond the window may jump over the end.
    full.min(length.div_ceil(window.hop()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_window() {
        for (size, hop) in (1..6).flat_map(|size| (1..9).map(move |hop| (size, hop))) {
            let window = Window::new(size, hop).unwrap();
            let lengths: Vec<u32> = (0..30).collect();
            let views = Views::new(lengths.into(), Crop::Windows { frames: size, hop }, true).unwrap();
            let spans = (0..30).flat_map(|t| window.spans(t).flat_map(move |span| [(t, span.clone()), (t, span)]));
            let mut seen = 0;
            for (number, (segment, span)) in spans.enumerate() {
                let (found, view) = views.find(number);
                let cut = views.cut(found, view, &[]);
                assert_eq!((found, cut.frames, cut.swapped), (segment, span.clone(), number % 2 == 1));
                assert_eq!(views.frames(found, view), span.len());
                seen += 1;
            }
            assert_eq!(views.len(), seen);
        }
    }

    #[test]
    fn random_crops_lie_inside_and_move() {
        let views = Views::new(vec![10, 3, 0].into(), Crop::Random { frames: 4 }, false).unwrap();
        let starts: std::collections::BTreeSet<_> =
            (0..200).map(|key| views.cut(0, 0, &[key]).frames).map(|cut| (cut.start, cut.end)).collect();
        assert!(starts.into_iter().eq((0..=6).map(|start| (start, start + 4))));
        assert_eq!((views.cut(1, 0, &[9]).frames, views.cut(2, 0, &[9]).frames), (0..3, 0..0));
        assert_eq!(views.longest(), Some((4, 0)));
        assert!(Views::new(vec![1].into(), Crop::Random { frames: 0 }, false).is_err());
        assert!(Views::new(vec![1].into(), Crop::Windows { frames: 3, hop: 0 }, false).is_err());
    }
}
