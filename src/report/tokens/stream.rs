//! The codes of one stream: how often each occurs, which follows which, and which does not end.
//!
//! ```text
//! row     7  7  7  5 -1  5  5      codes 6, absent 1
//! pairs    77 77 75         55     4, of which 3 repeat
//! runs    [7  7  7]  5   [5  5]    the longest is of 3 frames, from frame 0 on
//! ```

use std::cmp::Reverse;
use std::f64::consts::LN_2;

use ndarray::ArrayView1;

use super::statistics::{LongestRun, StreamStatistics};
use crate::codebook::{Pairs, Usage};
use crate::report::conversation::share;
use crate::stream::{Kind, Layout, Stream};
use crate::token::UNGENERATED;
use crate::units::FrameRate;

/// Places for pairs, of all streams together and of one: 64 MiB and 2 MiB.
const ALL_PLACES: usize = 1 << 22;
const MOST_PLACES: usize = 1 << 17;
/// Codes that are counted one by one, of all streams together: 64 MiB. Layouts are data, and may name any number.
pub(in crate::report) const MOST_CODES: u64 = 1 << 23;

/// What is counted of one stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamCounts {
    cardinality: u32,
    /// Of text.
    pad: Option<u32>,
    /// Pad and end of pad of a row of text, of which runs are silence.
    silent: Vec<u32>,
    frames: u64,
    absent: u64,
    /// None where the layout has more codes than there is room for.
    usage: Option<Usage>,
    pads: u64,
    pairs: Pairs,
    repeats: u64,
    stuck: u64,
    stuck_frames: u64,
    longest: Option<Run>,
}

/// One code, frame after frame.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    frames: usize,
    code: u32,
    segment: String,
    first: usize,
}

impl StreamCounts {
    /// Counts for each stream of a layout.
    pub fn of(layout: &Layout) -> Vec<Self> {
        let streams = layout.streams();
        let places = (ALL_PLACES / streams.len()).min(MOST_PLACES);
        let room = (1usize << places.ilog2()) / 2;
        let mut codes = 0;
        let counts = |stream: &Stream| {
            codes += u64::from(stream.cardinality);
            StreamCounts::new(stream, codes <= MOST_CODES, room)
        };
        streams.iter().map(counts).collect()
    }

    fn new(stream: &Stream, counts_codes: bool, room: usize) -> Self {
        let cardinality = stream.cardinality;
        let pads = [Some(stream.pad), stream.end_pad].into_iter().flatten();
        let silent: Vec<_> = pads.filter(|&id| stream.kind == Kind::Text && id < cardinality).collect();
        StreamCounts {
            cardinality,
            pad: (stream.kind == Kind::Text).then_some(stream.pad),
            pairs: Pairs::new(room, &silent),
            silent,
            frames: 0,
            absent: 0,
            usage: counts_codes.then(|| Usage::new(cardinality as usize)),
            pads: 0,
            repeats: 0,
            stuck: 0,
            stuck_frames: 0,
            longest: None,
        }
    }

    /// Whether a row holds what is neither a code nor absent.
    pub fn has_wrong(&self, row: ArrayView1<i32>) -> bool {
        let codes = UNGENERATED as i32..self.cardinality as i32;
        row.iter().any(|code| !codes.contains(code))
    }

    /// Counts a row, in which runs of so many frames are stuck; `pairs` is a buffer.
    pub fn add(&mut self, row: ArrayView1<i32>, segment: &str, stuck: usize, pairs: &mut Vec<(u32, u32)>) {
        pairs.clear();
        self.frames += row.len() as u64;
        let mut before = None;
        let mut first = 0;
        for (t, &id) in row.iter().enumerate() {
            let code = u32::try_from(id).ok();
            self.count(before, code, pairs);
            if code != before {
                self.end_run(before, first..t, segment, stuck);
                (before, first) = (code, t);
            }
        }
        self.end_run(before, first..row.len(), segment, stuck);
        self.pairs.add_all(pairs);
    }

    /// Counts a frame's code, and notes its pair with the one before.
    fn count(&mut self, before: Option<u32>, code: Option<u32>, pairs: &mut Vec<(u32, u32)>) {
        let Some(code) = code else {
            self.absent += 1;
            return;
        };
        if let Some(usage) = &mut self.usage {
            usage.add(code as usize);
        }
        self.pads += u64::from(self.pad == Some(code));
        if let Some(before) = before {
            pairs.push((before, code));
            self.repeats += u64::from(before == code);
        }
    }

    fn end_run(&mut self, code: Option<u32>, frames: std::ops::Range<usize>, segment: &str, stuck: usize) {
        let Some(code) = code.filter(|code| !self.silent.contains(code)) else { return };
        if frames.len() >= stuck {
            self.stuck += 1;
            self.stuck_frames += frames.len() as u64;
        }
        let longest = self.longest.as_ref().map_or(1, |run| run.frames);
        if frames.len() >= longest.max(2) {
            let run = Run { frames: frames.len(), code, segment: segment.to_owned(), first: frames.start };
            self.lengthen(run);
        }
    }

    /// Takes a run if it is longer, or as long and of a name that comes first.
    fn lengthen(&mut self, run: Run) {
        fn rank(run: &Run) -> (usize, Reverse<(&str, usize)>) {
            (run.frames, Reverse((&run.segment, run.first)))
        }
        if self.longest.as_ref().is_none_or(|longest| rank(longest) < rank(&run)) {
            self.longest = Some(run);
        }
    }

    pub fn merge(&mut self, other: &StreamCounts) {
        self.frames += other.frames;
        self.absent += other.absent;
        if let (Some(usage), Some(other)) = (&mut self.usage, &other.usage) {
            usage.merge(other);
        }
        self.pads += other.pads;
        self.pairs.merge(&other.pairs);
        self.repeats += other.repeats;
        self.stuck += other.stuck;
        self.stuck_frames += other.stuck_frames;
        other.longest.iter().for_each(|run| self.lengthen(run.clone()));
    }

    pub fn statistics(&self, stream: &Stream, rate: FrameRate, dead_share: f64) -> StreamStatistics {
        let tokens = self.frames - self.absent;
        let usage = self.usage.as_ref().filter(|_| tokens > 0);
        let limit = dead_share * tokens as f64 / f64::from(self.cardinality);
        let is_dead = |count: &&u64| **count == 0 || (**count as f64) < limit;
        let pairs = self.pairs.total();
        StreamStatistics {
            stream: stream.name.clone(),
            frames: self.frames,
            tokens,
            absent: self.absent,
            absent_share: share(self.absent as f64, self.frames as f64),
            pad_share: share(self.pads as f64, self.frames as f64).filter(|_| stream.kind == Kind::Text),
            cardinality: self.cardinality,
            used: self.usage.as_ref().map(|usage| usage.used() as u64),
            dead: usage.map(|usage| usage.counts().iter().filter(is_dead).count() as u64),
            entropy_bits: usage.map(|usage| usage.entropy() / LN_2),
            perplexity: usage.map(Usage::perplexity),
            pairs,
            pair_entropy_bits: self.pairs.entropy().filter(|_| pairs > 0).map(|nats| nats / LN_2),
            pairs_sample: self.pairs.sample(),
            pairs_counted: (pairs > 0).then(|| self.pairs.share_counted()),
            repeats: self.repeats,
            repeat_share: share(self.repeats as f64, pairs as f64),
            longest_run: self.longest.as_ref().map(|run| run.statistics(rate)),
            stuck: self.stuck,
            stuck_frames: self.stuck_frames,
        }
    }
}

impl Run {
    fn statistics(&self, rate: FrameRate) -> LongestRun {
        let seconds = rate.start_of(self.frames);
        LongestRun { segment: self.segment.clone(), frame: self.first, code: self.code, frames: self.frames, seconds }
    }
}
