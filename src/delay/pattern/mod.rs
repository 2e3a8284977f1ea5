//! General patterns: rules that lay codes out as steps in another way than one delay for each stream.
//!
//! ```text
//! frames of three     parallel        delay 0 1 2        coarse first        partial flatten
//! a0 a1               a0 a1           a0 a1  .  .        a0 a1  .  .         a0  . a1  .
//! b0 b1               b0 b1            . b0 b1  .         .  . b0 b1          . b0  . b1
//! c0 c1               c0 c1            .  . c0 c1         .  . c0 c1          . c0  . c1
//!
//! flatten                  MusicLM's order, in twos         multi-rate, b at twice the rate of a:
//! a0  .  . a1  .  .        a0  . a1  .  .  .  .  .          a0  .  . a1  .  .
//!  . b0  .  . b1  .         . b0  . b1  .  .  .  .           . b0  .  . b2  .     phase 0 of b
//!  .  . c0  .  . c1         .  .  .  . c0  . c1  .           .  . b1  .  . b3     phase 1 of b
//!                           .  .  .  .  . d0  . d1
//! ```
//!
//! A pattern is data. It becomes an [`Order`] (which codes each step holds) for a number of frames, and the order
//! becomes a [`Plan`] (where to copy from and to).

mod order;
mod phases;
mod shape;
mod text;

use serde::{Deserialize, Serialize};

pub use order::Order;
pub use phases::{join_phases, split_phases};
use shape::Rows;
pub(super) use shape::Shape;
pub use text::Delays;

use super::{Extent, Start};
use crate::error::{Error, Result};
use crate::stream::Layout;

/// A rule that assigns each code to a step.
///
/// Read from text (`flatten:flattening=0,1,1;delays=0,2,2`) or from JSON
/// (`{"pattern": "flatten", "flattening": [0, 1, 1], "delays": [0, 2, 2]}`).
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::delay::{Pattern, Sequencer};
/// use roundelay::{Extent, Frames, Layout, Start};
///
/// let layout = Layout::preset("delay-1")?;
/// let pattern: Pattern = "partial-flatten".parse()?;
/// let plan = pattern.plan(&layout, 2, Extent::Extend, Start::None)?;
/// let codes = Frames(arr2(&[[11, 12], [21, 22], [31, 32]]));
/// let built = plan.build(&codes)?;
/// // text     11  . 12  .
/// // main.0    . 21  . 22
/// // main.1    . 31  . 32
/// assert_eq!(built.tokens.0, arr2(&[[11, 3, 12, 3], [2048, 21, 2048, 22], [2048, 31, 2048, 32]]));
/// assert_eq!(plan.undo(&built.tokens, -1)?.codes, codes);
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// audiocraft `modules/codebooks_patterns.py`, for all but `multi-rate`; MusicGen paper (arXiv 2306.05284), figure 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pattern", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pattern {
    /// All codes of a frame in one step.
    Parallel {
        /// Empty steps in front, besides the one of [`Start::Initial`]; below 0, not even that one.
        #[serde(default)]
        empty_initial: i64,
    },
    /// Each stream later by its delay, in frames.
    Delay {
        /// The layout's, unless given.
        #[serde(default = "Delays::of_layout")]
        delays: Delays,
        /// So many frames at the beginning are flattened: one step for each code, without delay.
        #[serde(default)]
        flatten_first: usize,
        /// As for [`Pattern::Parallel`].
        #[serde(default)]
        empty_initial: i64,
    },
    /// A frame becomes several steps. audiocraft calls it unrolled.
    ///
    /// ```text
    /// flattening 0 1 1, delays 0 2 2, T = 2      a0 a1  . a2  . a3
    ///                                             .  . b0  . b1  .     a2 and a3 lie past the end:
    ///                                             .  . c0  . c1  .     only fills stand there
    /// ```
    /// Of the groups that meet in a frame the one with the longest delay, so with the oldest codes, comes first.
    Flatten {
        /// Inner step of each stream; those with the same one travel together and have one delay. Inner steps that
        /// no stream has stay empty, at the front of their frame. A step for each stream, unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flattening: Option<Vec<usize>>,
        /// In frames; none, unless given.
        #[serde(default)]
        delays: Delays,
    },
    /// The first stream has a step of its own, the others share the next: flattening 0, 1, 1, ..
    PartialFlatten {
        /// In frames; none, unless given.
        #[serde(default)]
        delays: Delays,
    },
    /// The whole first stream, then the others side by side.
    CoarseFirst {
        /// One for each stream but the first; none, unless given.
        #[serde(default)]
        delays: Delays,
    },
    /// Groups of streams one after another, each one flattened. The order of MusicLM's coarse and fine stages.
    Musiclm {
        /// Streams in a group.
        #[serde(default = "two")]
        group_by: usize,
    },
    /// One code a step in the order of time, for codecs whose levels run at different rates.
    ///
    /// A level at n times the coarse rate is n streams, [`phase`](crate::Stream::phase) 0..n; phase p begins p / n
    /// into the frame. Of those that begin together the slower level comes first. SNAC's three levels, 1 : 2 : 4,
    /// come as Orpheus has them:
    ///
    /// ```text
    /// level 0   00 .  .  .  .  .  .
    /// level 1   .  10 .  .  11 .  .
    /// level 2   .  .  20 21 .  22 23
    /// ```
    MultiRate {
        /// In frames of the coarse rate; none, unless given.
        #[serde(default)]
        delays: Delays,
    },
}

fn two() -> usize {
    2
}

impl Pattern {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// `Malformed`, with the line where the JSON is wrong, or naming the field whose name or type is.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| match (Error::malformed("pattern", &e), e.line()) {
            // The variant is chosen once all has been read: by then the place is lost.
            (error, 0) => error,
            (error, line) => error.on_line(line),
        })
    }

    /// The JSON form, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a pattern's fields have string keys and whole numbers")
    }

    /// Which codes each step holds, for so many streams: what can be said without a layout.
    ///
    /// # Errors
    /// `Invalid`, naming the option, its value and what would do; also if the pattern needs a layout. `OverLimit` if
    /// there are more than 2^24 codes or steps.
    pub fn order(&self, streams: usize, frames: usize, start: Start) -> Result<Order> {
        Shape::new(self, &Rows::Count(streams), start)?.order(frames)
    }

    /// The order of a layout's streams.
    ///
    /// # Errors
    /// As [`Pattern::order`].
    pub fn order_of(&self, layout: &Layout, frames: usize, start: Start) -> Result<Order> {
        Shape::new(self, &Rows::Of(layout), start)?.order(frames)
    }

    /// The number of frames that becomes `steps` steps.
    ///
    /// # Errors
    /// `Invalid` if no number of frames does, or several do; else as [`Pattern::order`].
    pub fn frames_of(&self, steps: usize, layout: &Layout, extent: Extent, start: Start) -> Result<usize> {
        Shape::new(self, &Rows::Of(layout), start)?.frames_of(steps, extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pattern: &str, streams: usize) -> String {
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.order(streams, 4, Start::Initial).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_option_found_and_expected() {
        assert_eq!(refused("parallel", 0), "number of streams is 0, expected 1 to 1024");
        assert_eq!(
            refused("delay:delays=0,2,1,3", 4),
            "delays is 0,2,1,3, expected numbers that never fall, or `layout` for the layout's as they are"
        );
        assert_eq!(refused("delay:delays=0,1,2", 4), "number of delays is 3, expected 4");
        assert_eq!(refused("delay:delays=0,65537", 2), "delay is 65537, expected 0 to 65536 frames");
        assert_eq!(
            refused("flatten:flattening=0,1,1;delays=0,2,3", 3),
            "stream 2: delay is 3, expected 2, as of stream 1 at the same inner step"
        );
        assert_eq!(refused("flatten:flattening=1,0,2", 3), "flattening is 1,0,2, expected numbers that never fall");
        assert_eq!(refused("flatten:flattening=0,1", 3), "number of inner steps is 2, expected 3");
        assert_eq!(refused("coarse-first", 1), "number of streams is 1, expected 2 or more for coarse-first");
        assert_eq!(refused("musiclm", 9), "group-by is 2, expected a divisor of 9, the number of streams");
        assert_eq!(refused("musiclm:group-by=0", 9), "group-by is 0, expected a divisor of 9, the number of streams");
    }

    #[test]
    fn what_only_a_layout_knows_is_asked_of_it() {
        let expected = "none, staircase or a list where there is no layout";
        assert_eq!(refused("delay", 4), format!("delays is layout, expected {expected}"));
        assert_eq!(refused("multi-rate", 4), "layout is missing, expected one: it holds the streams' phases");
        let layout = Layout::preset("delay-1").unwrap();
        let order = Pattern::from_json("{\"pattern\":\"delay\"}").unwrap().order_of(&layout, 1, Start::None).unwrap();
        assert_eq!(order.to_vec(), [vec![(0, 0)], vec![(1, 0), (0, 1), (0, 2)]]);
    }

    #[test]
    fn too_much_is_refused_before_it_is_laid_out() {
        for pattern in ["delay:empty-initial=9223372036854775807", "flatten:flattening=0,65536", "musiclm", "parallel"]
        {
            let pattern: Pattern = pattern.replace("delay:", "delay:delays=none;").parse().unwrap();
            let error = pattern.order(2, usize::MAX, Start::Initial).unwrap_err();
            assert!(matches!(error.kind(), crate::ErrorKind::OverLimit { .. }), "{error}");
        }
        let pattern: Pattern = "delay:delays=none;flatten-first=18446744073709551615".parse().unwrap();
        assert_eq!(pattern.order(2, 3, Start::None).unwrap().steps(), 6);
    }
}
