//! How long the segments of one side of the split are.

use super::statistics::{FrameLengths, SplitStatistics};
use crate::report::conversation::Lengths;
use crate::report::conversation::spread::{Bins, Spread};
use crate::units::Seconds;

/// Lengths of segments, in seconds and in frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SplitCounts {
    seconds: Spread,
    frames: Bins,
    sum: u64,
    /// Least and most.
    ends: Option<(u64, u64)>,
}

impl SplitCounts {
    pub fn add(&mut self, duration: Seconds, frames: u64) {
        self.seconds.add(duration);
        self.frames.add(frames);
        self.sum += frames;
        self.widen((frames, frames));
    }

    pub fn merge(&mut self, other: &SplitCounts) {
        self.seconds.merge(&other.seconds);
        self.frames.merge(&other.frames);
        self.sum += other.sum;
        other.ends.into_iter().for_each(|ends| self.widen(ends));
    }

    fn widen(&mut self, (least, most): (u64, u64)) {
        let (low, high) = self.ends.unwrap_or((least, most));
        self.ends = Some((low.min(least), high.max(most)));
    }

    pub fn statistics(&self) -> SplitStatistics {
        let (least, most) = self.ends.unzip();
        let median = self.frames.median().zip(self.ends).map(|(median, (least, most))| median.clamp(least, most));
        let histogram = self.frames.classes();
        SplitStatistics {
            hours: self.seconds.total().to_f64() / 3600.0,
            segments: Lengths::of(&self.seconds),
            frames: FrameLengths { sum: self.sum, least, median, most, histogram },
        }
    }
}
