//! How datasets use the codebooks of their codec: counted segment by segment, added over parts and machines.
//!
//! ```text
//! segments ── add ──> CodebookCounts ── statistics ──> CodebookStatistics     as a table, as JSON
//!                       │      ▲
//!                       └ JSON ┴ merge: any order, any grouping
//! ```

mod figures;
mod table;

use std::collections::BTreeMap;

use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use super::tokens::MOST_CODES;
use crate::batch::Segment;
use crate::codebook::{Threshold, Usage, UsageEma};
use crate::error::{Error, Result};
use crate::stream::{Layout, Stream};

pub use figures::{CodeUse, CodebookStatistics, CodebookUse, UseFigures};

/// Counts of the codes of segments of one layout and codec, for each stream of codes; text is left out. They take as much
/// memory as the codebooks have codes, however much there is to count.
///
/// As JSON they go from one machine to another, to be added there.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::batch::{Segment, Split};
/// use roundelay::codebook::Threshold;
/// use roundelay::report::CodebookCounts;
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
/// let mut counts = CodebookCounts::new(&layout, "drawn")?;
/// counts.add(&segment)?;
/// counts.merge(&counts.clone())?;
/// let found = counts.statistics(Threshold::Count(5.0));
/// let [first, second] = found.codebooks.as_slice() else { panic!("two streams of codes") };
/// assert_eq!((first.counted.total, first.counted.used, first.counted.dead), (10, 2, Some(2047)));
/// assert_eq!((second.absent, second.counted.perplexity.map(f64::round)), (2, Some(4.0)));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Form")]
pub struct CodebookCounts {
    layout: Layout,
    codec: String,
    segments: u64,
    streams: Vec<StreamUse>,
    #[serde(skip)]
    averages: Option<Averages>,
}

/// What is counted of one stream of codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StreamUse {
    stream: String,
    absent: u64,
    counts: Usage,
}

/// Moving averages over segments, one for each stream.
#[derive(Debug, Clone, PartialEq)]
struct Averages {
    decay: f64,
    streams: Vec<UsageEma>,
}

/// Counts as they are read, before they are known to be those of their layout.
#[derive(Deserialize)]
struct Form {
    layout: Layout,
    codec: String,
    segments: u64,
    streams: Vec<StreamUse>,
}

impl CodebookCounts {
    /// Begins with nothing counted; `codec` says whose codes they are.
    ///
    /// # Errors
    /// `Invalid` if the layout has no stream of codes; `OverLimit` if it has more than 8,388,608 codes in all.
    pub fn new(layout: &Layout, codec: &str) -> Result<Self> {
        let codes: u64 = coded(layout).map(|(_, stream)| u64::from(stream.cardinality)).sum();
        if codes > MOST_CODES {
            return Err(Error::over_limit("codes of all streams", codes, MOST_CODES));
        }
        let streams: Vec<_> =
            coded(layout).map(|(_, stream)| StreamUse::new(&stream.name, stream.cardinality)).collect();
        if streams.is_empty() {
            let found = format!("{}, which has text alone", layout.name());
            return Err(Error::invalid("layout", found, "one with a stream of codes"));
        }
        Ok(CodebookCounts { layout: layout.clone(), codec: codec.to_owned(), segments: 0, streams, averages: None })
    }

    /// Also keeps a moving average of each code's count over the segments, from 0 on: how they are used lately.
    ///
    /// # Errors
    /// `Invalid` if the decay is not from 0 to 1.
    pub fn with_average(mut self, decay: f64) -> Result<Self> {
        let average = |stream: &StreamUse| UsageEma::new(stream.counts.counts().len(), decay);
        let streams = self.streams.iter().map(average).collect::<Result<_>>()?;
        self.averages = Some(Averages { decay, streams });
        Ok(self)
    }

    /// Counts one segment.
    ///
    /// # Errors
    /// `StreamCount` if its codes have not one row for each stream; `Invalid` with stream and frame if a code is neither
    /// below the stream's cardinality nor absent.
    pub fn add(&mut self, segment: &Segment) -> Result<()> {
        let codes = &segment.codes;
        self.layout.check_codes(codes).map_err(|e| e.in_recording(&segment.id))?;
        let mut averages = self.averages.iter_mut().flat_map(|averages| &mut averages.streams);
        for (stream, (row, _)) in self.streams.iter_mut().zip(coded(&self.layout)) {
            let row = codes.0.row(row);
            match averages.next() {
                None => stream.add(row),
                Some(average) => stream.add_averaged(row, average),
            }
        }
        self.segments += 1;
        Ok(())
    }

    /// Adds what another has counted: in any order and grouping, the same comes out.
    ///
    /// # Errors
    /// `Invalid` if the other is of another layout or codec, or all together are too many to count, or one of both keeps
    /// moving averages, which cannot be added.
    pub fn merge(&mut self, other: &CodebookCounts) -> Result<()> {
        self.check_alike(other)?;
        if self.averages.is_some() || other.averages.is_some() {
            return Err(Error::invalid("counts to add", "with moving averages", "counts alone"));
        }
        let segments = self.segments.checked_add(other.segments);
        let fits = self.streams.iter().zip(&other.streams).all(|(mine, others)| mine.can_take(others));
        let (Some(segments), true) = (segments, fits) else {
            return Err(Error::over_limit("sum of the counts", "larger", MOST));
        };
        self.segments = segments;
        self.streams.iter_mut().zip(&other.streams).for_each(|(mine, others)| mine.merge(others));
        Ok(())
    }

    /// Sees that another counts the codes of the same layout and codec.
    ///
    /// # Errors
    /// `Invalid` if not.
    pub fn check_alike(&self, other: &CodebookCounts) -> Result<()> {
        if self.layout != other.layout {
            return Err(Error::invalid("layout", name_of(other, self), format!("{} as before", self.layout.name())));
        }
        match self.codec == other.codec {
            true => Ok(()),
            false => Err(Error::invalid("codec", &other.codec, format!("{} as before", self.codec))),
        }
    }

    /// The figures so far, stream by stream; a code is dead below the threshold.
    pub fn statistics(&self, dead: Threshold) -> CodebookStatistics {
        let average = |k: usize| Some(self.averages.as_ref()?.streams[k].usage());
        let streams = self.streams.iter().enumerate();
        let codebooks = streams.map(|(k, stream)| CodebookUse::of(stream, average(k), dead)).collect();
        self.told(codebooks, dead)
    }

    /// The same where streams of the same level and as many codes are counted as one, whoever speaks: those of several
    /// speakers have one codebook. There are no moving averages.
    pub fn statistics_by_level(&self, dead: Threshold) -> CodebookStatistics {
        let mut levels: BTreeMap<(Option<usize>, u32), StreamUse> = BTreeMap::new();
        for ((_, stream), counted) in coded(&self.layout).zip(&self.streams) {
            let name = stream.level.map_or_else(|| stream.name.clone(), |level| format!("level {level}"));
            let sum = levels.entry((stream.level, stream.cardinality));
            sum.or_insert_with(|| StreamUse::new(&name, stream.cardinality)).merge(counted);
        }
        self.told(levels.values().map(|level| CodebookUse::of(level, None, dead)).collect(), dead)
    }

    fn told(&self, codebooks: Vec<CodebookUse>, dead: Threshold) -> CodebookStatistics {
        let decay = self.averages.as_ref().map(|averages| averages.decay);
        let (layout, codec) = (self.layout.name().to_owned(), self.codec.clone());
        CodebookStatistics { layout, codec, segments: self.segments, dead, ema_decay: decay, codebooks }
    }
}

/// As many codes as can be counted: above, figures would not be exact, and sums over streams not fit.
const MOST: u64 = 1 << 53;

/// The streams of codes with their rows.
fn coded(layout: &Layout) -> impl Iterator<Item = (usize, &Stream)> {
    layout.streams().iter().enumerate().filter(|(_, stream)| stream.kind.is_audio())
}

/// What to call another layout, which may have the same name.
fn name_of(other: &CodebookCounts, mine: &CodebookCounts) -> String {
    let name = other.layout.name();
    if name == mine.layout.name() { format!("another {name}") } else { name.to_owned() }
}

impl StreamUse {
    fn new(stream: &str, cardinality: u32) -> Self {
        StreamUse { stream: stream.to_owned(), absent: 0, counts: Usage::new(cardinality as usize) }
    }

    fn add(&mut self, row: ArrayView1<'_, i32>) {
        for &code in row {
            match usize::try_from(code) {
                Ok(code) => self.counts.add(code),
                Err(_) => self.absent += 1,
            }
        }
    }

    /// The same for the moving average, which takes a segment's counts at once.
    fn add_averaged(&mut self, row: ArrayView1<'_, i32>, average: &mut UsageEma) {
        let mut of_segment = StreamUse { absent: 0, ..self.clone() };
        of_segment.counts = Usage::new(self.counts.counts().len());
        of_segment.add(row);
        average.step(&of_segment.counts);
        self.merge(&of_segment);
    }

    /// Whether the sums with another's counts are numbers that can be held.
    fn can_take(&self, other: &StreamUse) -> bool {
        self.absent.checked_add(other.absent).is_some()
            && self.counts.total().checked_add(other.counts.total()).is_some_and(|sum| sum <= MOST)
    }

    fn merge(&mut self, other: &StreamUse) {
        self.absent += other.absent;
        self.counts.merge(&other.counts);
    }
}

impl TryFrom<Form> for CodebookCounts {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        let mut counts = CodebookCounts::new(&form.layout, &form.codec)?;
        let alike = |(mine, found): (&StreamUse, &StreamUse)| {
            mine.stream == found.stream && mine.counts.counts().len() == found.counts.counts().len()
        };
        if counts.streams.len() != form.streams.len() || !counts.streams.iter().zip(&form.streams).all(alike) {
            let expected = format!("those of the layout {}", form.layout.name());
            return Err(Error::invalid("streams of the counts", "others", expected));
        }
        if let Some(found) = form.streams.iter().map(|stream| stream.counts.total()).find(|&total| total > MOST) {
            return Err(Error::over_limit("sum of the counts", found, MOST));
        }
        (counts.segments, counts.streams) = (form.segments, form.streams);
        Ok(counts)
    }
}

#[cfg(test)]
mod tests;
