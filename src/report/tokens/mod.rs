//! How the rows of a dataset use their codes: counted segment by segment.
//!
//! ```text
//! segments ── add ──> TokenCounts ── statistics ──> TokenStatistics   as a table, as JSON
//!                          └ merge: any order, any grouping
//! ```

mod split;
mod statistics;
mod stream;
mod table;

use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::stream::Layout;
use crate::units::Seconds;

use split::SplitCounts;
pub use statistics::{FrameLengths, LongestRun, SplitStatistics, StreamStatistics, TokenStatistics};
pub(super) use stream::MOST_CODES;
use stream::StreamCounts;

/// Counts over the codes of segments of one layout, in memory that is taken at the beginning: about 35 MiB for 17 streams,
/// however much there is to count.
///
/// What is counted, for each stream:
/// - **entropy**: of the codes as they occur, in bits; **perplexity**, 2 to the power of that, is how many equally frequent
///   codes would have as much.
/// - **entropy of pairs**: that of a code when the one before it in its stream is known. Where there are more different
///   pairs than there is room for, it is that of a sample of the codes: see [`Pairs`](crate::codebook::Pairs).
/// - **used**: codes that occur at all. **dead**: codes that occur less than a hundredth as often as if all were equally
///   frequent, those that never occur among them.
/// - **repeats**: frames with the code of the frame before, of all frames that have a code as the one before has.
/// - **stuck**: runs of one code of at least a second. Pads of a row of text do not count here.
///
/// Absent frames are counted by themselves and end pairs and runs, as does the end of a segment.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::batch::{Segment, Split};
/// use roundelay::report::TokenCounts;
/// use roundelay::{Frames, Layout, Seconds};
///
/// let layout = Layout::preset("delay-1")?;
/// let segment = Segment {
///     id: "a.wav".into(),
///     path: "a.wav".into(),
///     start: Seconds::ZERO,
///     duration: "0.4".parse()?,
///     codes: Frames(arr2(&[[0, 6312, 28709, 3, 3], [7, 7, 7, 5, 5], [1, 2, 3, 4, -1]])),
///     words: vec![],
///     regions: vec![],
///     split: Split::Train,
///     meta: String::new(),
/// };
/// let mut counts = TokenCounts::new(&layout);
/// counts.add(&segment)?;
/// let found = counts.statistics();
/// let [text, first, second] = found.streams.as_slice() else { panic!("three streams") };
/// assert_eq!((text.pad_share, first.used, first.repeat_share), (Some(0.4), Some(2), Some(0.75)));
/// assert_eq!((second.entropy_bits, second.pair_entropy_bits, second.absent), (Some(2.0), Some(0.0), 1));
/// assert_eq!(first.longest_run.as_ref().map(|run| (run.code, run.frame, run.frames)), Some((7, 0, 3)));
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// C. E. Shannon, "A mathematical theory of communication", 1948: entropy, and that of a symbol when others are known.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCounts {
    layout: Layout,
    dead_share: f64,
    stuck: Seconds,
    train: SplitCounts,
    valid: SplitCounts,
    streams: Vec<StreamCounts>,
}

impl TokenCounts {
    /// Begins with nothing counted; runs of a second are stuck, and a hundredth of an even share is dead.
    pub fn new(layout: &Layout) -> Self {
        TokenCounts {
            layout: layout.clone(),
            dead_share: 0.01,
            stuck: Seconds::of_samples(1, 1),
            train: SplitCounts::default(),
            valid: SplitCounts::default(),
            streams: StreamCounts::of(layout),
        }
    }

    /// Another length from which on a run of one code is stuck; to be called before anything is counted.
    ///
    /// # Errors
    /// `Invalid` if it is not above 0.
    pub fn with_stuck(self, stuck: Seconds) -> Result<Self> {
        match stuck > Seconds::ZERO {
            true => Ok(TokenCounts { stuck, ..self }),
            false => Err(Error::invalid("length of a run that is stuck", stuck, "more than 0 s")),
        }
    }

    /// Another share of an even share below which a code is dead.
    ///
    /// # Errors
    /// `Invalid` if it is not from 0 to 1.
    pub fn with_dead_share(self, dead_share: f64) -> Result<Self> {
        match (0.0..=1.0).contains(&dead_share) {
            true => Ok(TokenCounts { dead_share, ..self }),
            false => Err(Error::invalid("share below which a code is dead", dead_share, "a number from 0 to 1")),
        }
    }

    /// Counts one segment.
    ///
    /// # Errors
    /// `StreamCount` if its codes have not one row for each stream; `Invalid` with stream and frame if a code is neither
    /// below the stream's cardinality nor absent.
    pub fn add(&mut self, segment: &Segment) -> Result<()> {
        let codes = &segment.codes;
        self.layout.check_streams(codes.0.nrows())?;
        let is_wrong = |(stream, row): (&StreamCounts, _)| stream.has_wrong(row);
        if self.streams.iter().zip(codes.0.outer_iter()).any(is_wrong) {
            self.layout.check_codes(codes).map_err(|e| e.in_recording(&segment.id))?;
        }
        let (stuck, mut pairs) = (self.stuck_frames(), Vec::with_capacity(codes.0.ncols()));
        for (stream, row) in self.streams.iter_mut().zip(codes.0.outer_iter()) {
            stream.add(row, &segment.id, stuck, &mut pairs);
        }
        let split = if segment.split == Split::Train { &mut self.train } else { &mut self.valid };
        split.add(segment.duration, codes.0.ncols() as u64);
        Ok(())
    }

    fn stuck_frames(&self) -> usize {
        usize::try_from(self.layout.frame_rate().ceil(self.stuck)).unwrap_or(usize::MAX)
    }

    /// Adds what another has counted: in any order and grouping, the same comes out.
    ///
    /// # Errors
    /// `Invalid` if the other was made for another layout, or tells stuck runs by another length.
    pub fn merge(&mut self, other: &TokenCounts) -> Result<()> {
        if (&self.layout, self.stuck) != (&other.layout, other.stuck) {
            return Err(Error::invalid("token statistics to add", "of another layout or length of runs", "the same"));
        }
        self.train.merge(&other.train);
        self.valid.merge(&other.valid);
        self.streams.iter_mut().zip(&other.streams).for_each(|(mine, others)| mine.merge(others));
        Ok(())
    }

    /// The figures so far.
    pub fn statistics(&self) -> TokenStatistics {
        let rate = self.layout.frame_rate();
        let streams = self.layout.streams().iter().zip(&self.streams);
        let sides = [("train", &self.train), ("valid", &self.valid)];
        TokenStatistics {
            stuck_seconds: self.stuck,
            dead_share: self.dead_share,
            splits: sides.map(|(name, side)| (name.to_owned(), side.statistics())).into(),
            streams: streams.map(|(stream, counts)| counts.statistics(stream, rate, self.dead_share)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array2, ArrayView1};
    use proptest::prelude::*;

    use super::*;
    use crate::stream::{Frames, Kind};

    fn layout() -> Layout {
        Layout::preset("delay-1").unwrap()
    }

    fn segment(id: &str, codes: Array2<i32>, split: Split) -> Segment {
        let duration = layout().frame_rate().start_of(codes.ncols());
        Segment {
            id: id.into(),
            path: id.into(),
            start: Seconds::ZERO,
            duration,
            codes: Frames(codes),
            words: vec![],
            regions: vec![],
            split,
            meta: String::new(),
        }
    }

    fn counted(segments: &[Segment], stuck: &str) -> TokenCounts {
        let mut counts = TokenCounts::new(&layout()).with_stuck(stuck.parse().unwrap()).unwrap();
        segments.iter().for_each(|segment| counts.add(segment).unwrap());
        counts
    }

    /// Rows of few codes, so that they repeat, with gaps; text has pads.
    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let code = || prop_oneof![6 => 0..4i32, 1 => Just(-1), 1 => Just(-2), 1 => 0..2048i32];
        let one = (0usize..40).prop_flat_map(move |frames| (prop::collection::vec(code(), 3 * frames), any::<bool>()));
        prop::collection::vec(one, 0..6).prop_map(|rows| {
            let segment = |(n, (codes, valid)): (usize, (Vec<i32>, bool))| {
                let codes = Array2::from_shape_vec((3, codes.len() / 3), codes).unwrap();
                segment(&format!("{}.wav", 9 - n), codes, if valid { Split::Valid } else { Split::Train })
            };
            rows.into_iter().enumerate().map(segment).collect()
        })
    }

    /// Runs of codes: which, from where, how many.
    fn runs(row: ArrayView1<i32>) -> Vec<(i32, usize, usize)> {
        let mut runs: Vec<(i32, usize, usize)> = Vec::new();
        for (t, &code) in row.iter().enumerate() {
            match runs.last_mut() {
                Some((last, first, length)) if *last == code && *first + *length == t => *length += 1,
                _ => runs.push((code, t, 1)),
            }
        }
        runs.retain(|(code, ..)| *code >= 0);
        runs
    }

    fn entropy(counts: &BTreeMap<(i32, i32), u64>) -> f64 {
        let mut befores: BTreeMap<i32, u64> = BTreeMap::new();
        counts.iter().for_each(|((before, _), n)| *befores.entry(*before).or_default() += n);
        let all: u64 = counts.values().sum();
        let each = counts
            .iter()
            .map(|((before, _), &n)| -(n as f64 / all as f64) * (n as f64 / befores[before] as f64).log2());
        each.sum()
    }

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-9 * expected.abs().max(1.0))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn figures_are_those_of_the_slow_way(segments in segments(), stuck in 1usize..6) {
            let layout = layout();
            let stuck_seconds = layout.frame_rate().start_of(stuck).to_string();
            let found = counted(&segments, &stuck_seconds).statistics();
            for (k, stream) in layout.streams().iter().enumerate() {
                let rows = || segments.iter().map(|segment| (segment.id.as_str(), segment.codes.0.row(k)));
                let is_silent = |id: i32| stream.kind == Kind::Text && (id == 3 || id == 0);
                let cells: Vec<i32> = rows().flat_map(|(_, row)| row.to_vec()).collect();
                let data: Vec<i32> = cells.iter().copied().filter(|&id| id >= 0).collect();
                let row = &found.streams[k];
                prop_assert_eq!((row.frames, row.tokens, row.absent),
                    (cells.len() as u64, data.len() as u64, (cells.len() - data.len()) as u64));
                let mut pairs: BTreeMap<(i32, i32), u64> = BTreeMap::new();
                for (_, row) in rows() {
                    for t in 1..row.len() {
                        if row[t - 1] >= 0 && row[t] >= 0 {
                            *pairs.entry((row[t - 1], row[t])).or_default() += 1;
                        }
                    }
                }
                let repeats: u64 = pairs.iter().filter(|((a, b), _)| a == b).map(|(_, n)| n).sum();
                prop_assert_eq!((row.pairs, row.repeats), (pairs.values().sum(), repeats));
                let mut codes: BTreeMap<(i32, i32), u64> = BTreeMap::new();
                data.iter().for_each(|&code| *codes.entry((0, code)).or_default() += 1);
                prop_assert_eq!(row.used, Some(codes.len() as u64));
                if data.is_empty() {
                    prop_assert_eq!((row.entropy_bits, row.perplexity, row.dead), (None, None, None));
                } else {
                    let bits = entropy(&codes);
                    prop_assert!(close(row.entropy_bits, bits) && close(row.perplexity, bits.exp2()));
                    let even = data.len() as f64 / f64::from(stream.cardinality);
                    let alive = codes.values().filter(|&&n| n as f64 >= 0.01 * even).count();
                    prop_assert_eq!(row.dead, Some(u64::from(stream.cardinality) - alive as u64));
                }
                match pairs.is_empty() {
                    true => prop_assert_eq!((row.pair_entropy_bits, row.repeat_share), (None, None)),
                    false => prop_assert!(close(row.pair_entropy_bits, entropy(&pairs))),
                }
                let pads = cells.iter().filter(|&&id| id == 3).count() as f64;
                let share = (stream.kind == Kind::Text && !cells.is_empty()).then(|| pads / cells.len() as f64);
                prop_assert_eq!(row.pad_share, share);

                let all = rows().flat_map(|(id, row)| runs(row).into_iter().map(move |run| (id, run)));
                let all: Vec<_> = all.filter(|(_, (code, ..))| !is_silent(*code)).collect();
                let long = || all.iter().filter(|(_, (.., length))| *length >= stuck).map(|(_, (.., n))| *n as u64);
                prop_assert_eq!((row.stuck, row.stuck_frames), (long().count() as u64, long().sum()));
                let longest = all.iter().filter(|(_, (.., length))| *length > 1);
                let longest = longest.max_by_key(|(id, (_, first, n))| (*n, std::cmp::Reverse((*id, *first))));
                let longest = longest.map(|(id, (code, first, n))| (*id, *first, *code as u32, *n));
                let run = row.longest_run.as_ref().map(|run| (run.segment.as_str(), run.frame, run.code, run.frames));
                prop_assert_eq!(run, longest);
            }
            let count: Vec<u64> = ["train", "valid"].map(|name| found.splits[name].segments.count).into();
            let train = segments.iter().filter(|segment| segment.split == Split::Train).count() as u64;
            prop_assert_eq!(count, [train, segments.len() as u64 - train]);
        }

        #[test]
        fn merging_equals_counting_all(segments in segments(), cut in 0..7usize) {
            let whole = counted(&segments, "0.2");
            let (first, second) = segments.split_at(cut.min(segments.len()));
            let mut merged = counted(second, "0.2");
            merged.merge(&counted(first, "0.2")).unwrap();
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(merged.statistics(), whole.statistics());
        }
    }

    #[test]
    fn lengths_are_told_for_each_side() {
        let long = |id, frames, split| segment(id, Array2::zeros((3, frames)), split);
        let all = [long("a", 25, Split::Train), long("b", 50, Split::Train), long("c", 100, Split::Valid)];
        let found = counted(&all, "1").statistics();
        let (train, valid) = (&found.splits["train"], &found.splits["valid"]);
        let expected = FrameLengths {
            sum: 75,
            least: Some(25),
            median: Some(25),
            most: Some(50),
            histogram: vec![(16, 1), (32, 1)],
        };
        assert_eq!((&train.frames, train.hours, valid.hours), (&expected, 6.0 / 3600.0, 8.0 / 3600.0));
        let run = found.streams[1].longest_run.clone().unwrap();
        assert_eq!((&*run.segment, run.frame, run.frames, run.seconds), ("c", 0, 100, "8".parse().unwrap()));
        // Zeros of text are ends of pads.
        assert_eq!((found.streams[0].stuck, found.streams[1].stuck, found.streams[1].stuck_frames), (0, 3, 175));
        let table = found.to_string();
        assert!(table.contains("main.0: code 0 for 8.00 s in \"c\" from frame 0 on"), "{table}");
        let lines: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in ["train 2 0.00 75 2.00 s 2.00 s 4.00 s", "from 4 s 1 0", "from 8 s 0 1"] {
            assert!(lines.contains(&line.to_owned()), "{line}: {table}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused_and_counts_nothing() {
        let mut counts = TokenCounts::new(&layout());
        for wrong in [2048, -3] {
            let mut codes = Array2::zeros((3, 4));
            codes[[2, 1]] = wrong;
            let error = counts.add(&segment("a.wav", codes, Split::Train)).unwrap_err().to_string();
            assert!(error.starts_with("recording \"a.wav\", stream main.1, frame 1: code is"), "{error}");
        }
        assert_eq!(counts, TokenCounts::new(&layout()));
        assert!(counts.merge(&TokenCounts::new(&Layout::preset("moshi-7b").unwrap())).is_err());
        let other = |stuck: &str| TokenCounts::new(&layout()).with_stuck(stuck.parse().unwrap());
        assert!(counts.merge(&other("2").unwrap()).is_err() && other("0").is_err());
        for wrong in [-0.1, 1.5, f64::NAN] {
            assert!(TokenCounts::new(&layout()).with_dead_share(wrong).is_err());
        }
    }

    #[test]
    fn a_layout_cannot_ask_for_memory_without_end() {
        let text = layout().to_json().replace("2048,\"delay\":1", "2147483647,\"delay\":1");
        let text = text.replace("\"initial\":2048,\"pad\":2048", "\"initial\":0,\"pad\":0");
        let layout = Layout::from_json(&text).unwrap();
        assert_eq!(layout.streams()[2].cardinality, i32::MAX as u32);
        let mut counts = TokenCounts::new(&layout);
        let codes = ndarray::arr2(&[[5, 6], [5, 6], [i32::MAX - 1, i32::MAX - 1]]);
        counts.add(&segment("a", codes, Split::Train)).unwrap();
        let found = counts.statistics();
        assert_eq!(
            (found.streams[0].used, found.streams[2].used, found.streams[2].entropy_bits),
            (Some(2), None, None)
        );
        assert_eq!((found.streams[2].repeat_share, found.streams[2].pair_entropy_bits), (Some(1.0), Some(0.0)));
        assert!(found.to_string().contains("-/2147483647"), "{found}");
    }
}
