//! Spans of time that count for more or for less.
//!
//! ```text
//! frame        0     1     2     3     4
//!           |-----|-----|-----|-----|-----|
//! 0.1..0.2        ░░█████░░         frames 1 and 2: all that are touched
//! ```

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::{FrameRate, Seconds};

/// A span of time whose loss weights are multiplied, in every stream. Where several apply, the later in their list does.
///
/// # Examples
/// ```
/// use roundelay::{FrameRate, Seconds, weights::Region};
/// let region = Region { start: Seconds::from_f64(0.1)?, end: Seconds::from_f64(0.2)?, weight: 2.0 };
/// assert_eq!(region.frames(FrameRate::new(25, 2)?, 100), 1..3);
/// assert!(Region { weight: -1.0, ..region }.validate().is_err());
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// First instant.
    pub start: Seconds,
    /// Instant after the last.
    pub end: Seconds,
    /// Factor, finite and not negative.
    pub weight: f32,
}

impl Region {
    /// Checks that the span has a length and that the weight is a factor.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.end <= self.start {
            let expected = format!("after its start, {} s", self.start);
            return Err(Error::invalid("end of the region", format!("{} s", self.end), expected));
        }
        check_factor("weight of the region", self.weight)
    }

    /// The frames that the span touches, of `frames` there are.
    pub fn frames(&self, rate: FrameRate, frames: usize) -> Range<usize> {
        let within = |frame: i64| usize::try_from(frame.max(0)).map_or(frames, |frame| frame.min(frames));
        let end = within(rate.ceil(self.end));
        within(rate.floor(self.start)).min(end)..end
    }
}

/// Checks that a weight is finite and not negative.
pub(super) fn check_factor(what: &str, weight: f32) -> Result<()> {
    match weight.is_finite() && weight >= 0.0 {
        true => Ok(()),
        false => Err(Error::invalid(what, weight, "a finite number, not negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: &str, end: &str) -> Region {
        Region { start: start.parse().unwrap(), end: end.parse().unwrap(), weight: 2.0 }
    }

    #[test]
    fn every_frame_that_is_touched_counts() {
        let frames = |start, end| region(start, end).frames(FrameRate::new(25, 2).unwrap(), 100);
        assert_eq!(frames("0", "0.08"), 0..1);
        assert_eq!(frames("2.32", "2.4"), 29..30);
        assert_eq!(frames("2.319", "2.4001"), 28..31);
        assert_eq!(frames("-5", "0.01"), 0..1);
        assert_eq!(frames("-5", "-4"), 0..0);
        assert_eq!(frames("7", "1e9"), 87..100);
        assert_eq!(frames("9", "10"), 100..100);
    }

    #[test]
    fn regions_that_are_none_are_refused() {
        let refusal = |region: Region| region.validate().unwrap_err().to_string();
        assert_eq!(refusal(region("2", "2")), "end of the region is 2 s, expected after its start, 2 s");
        let weight = |weight| Region { weight, ..region("1", "2") };
        assert_eq!(refusal(weight(f32::NAN)), "weight of the region is NaN, expected a finite number, not negative");
        assert!(weight(-0.5).validate().is_err() && weight(f32::INFINITY).validate().is_err());
        assert!(weight(0.0).validate().is_ok());
    }
}
