//! Spans over a length: size, hop, tail rule. Touches no data.
//!
//! ```text
//! frames  0         10        20     26
//!         [---------)[--------)[------)     window 10, hop 10: the last is short
//! ```

use std::ops::Range;

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
}
