//! The figures as tables for people.
//!
//! ```text
//! stream        used   dead  entropy  given last  perplexity  repeats  longest  stuck  absent    pads
//! text     812/32000  31201     3.21        2.10        9.25   48.2 %   0.16 s      0   0.0 %  64.8 %
//! main.0   1998/2048     50    10.12        7.80     1112.13    4.0 %   0.88 s      0   0.0 %       -
//! ```

use std::collections::BTreeSet;
use std::fmt;

use super::statistics::{SplitStatistics, StreamStatistics, TokenStatistics};
use crate::report::aligned::{percent, seconds, write_aligned};
use crate::units::Seconds;

/// Tables of the sides of the split, of the lengths of segments, and of the streams.
impl fmt::Display for TokenStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_aligned(f, &self.sides())?;
        writeln!(f)?;
        write_aligned(f, &self.lengths())?;
        writeln!(f)?;
        write_aligned(f, &self.table())?;
        writeln!(f)?;
        for line in self.longest() {
            writeln!(f, "{line}")?;
        }
        write!(f, "{}", self.legend())
    }
}

impl TokenStatistics {
    fn sides(&self) -> Vec<Vec<String>> {
        let head = ["split", "segments", "hours", "frames", "shortest", "median", "longest"];
        let line = |(name, side): (&String, &SplitStatistics)| {
            let lengths = &side.segments;
            let ends = [lengths.least, lengths.median, lengths.most].map(seconds);
            let [segments, frames] = [lengths.count, side.frames.sum].map(|n| n.to_string());
            [name.clone(), segments, format!("{:.2}", side.hours), frames].into_iter().chain(ends).collect()
        };
        [head.map(str::to_owned).to_vec()].into_iter().chain(self.splits.iter().map(line)).collect()
    }

    /// Segments by length, a column for each side.
    fn lengths(&self) -> Vec<Vec<String>> {
        let sides = || self.splits.values();
        let edges: BTreeSet<Seconds> =
            sides().flat_map(|side| side.segments.histogram.iter().map(|(edge, _)| *edge)).collect();
        let count = |side: &SplitStatistics, edge: Seconds| {
            side.segments.histogram.iter().find(|(from, _)| *from == edge).map_or(0, |(_, count)| *count).to_string()
        };
        let line = |edge: Seconds| {
            let from = vec![format!("  from {edge} s")];
            from.into_iter().chain(sides().map(|side| count(side, edge))).collect()
        };
        let head = std::iter::once("segments by length".to_owned()).chain(self.splits.keys().cloned()).collect();
        std::iter::once(head).chain(edges.into_iter().map(line)).collect()
    }

    fn table(&self) -> Vec<Vec<String>> {
        let head = [
            "stream",
            "used",
            "dead",
            "entropy",
            "given last",
            "perplexity",
            "repeats",
            "longest",
            "stuck",
            "absent",
            "pads",
        ];
        let head = head.map(str::to_owned).to_vec();
        std::iter::once(head).chain(self.streams.iter().map(line)).collect()
    }

    /// Where the longest run of each stream is, if it is stuck.
    fn longest(&self) -> Vec<String> {
        let runs = self.streams.iter().filter_map(|stream| Some((&stream.stream, stream.longest_run.as_ref()?)));
        let stuck = runs.filter(|(_, run)| run.seconds >= self.stuck_seconds);
        let lines = stuck.map(|(stream, run)| {
            let length = seconds(Some(run.seconds));
            format!("{stream}: code {} for {length} in {:?} from frame {} on", run.code, run.segment, run.frame)
        });
        lines.collect()
    }

    fn legend(&self) -> String {
        let mut text = format!(
            "entropy: bits; given last: where the code before is known; dead: below {} of an even share;\n\
             repeats: of codes after a code; stuck: runs of one code of {} s and more, without pads",
            self.dead_share, self.stuck_seconds
        );
        let least = self.streams.iter().filter_map(|stream| stream.pairs_counted).fold(1.0, f64::min);
        if least < 1.0 {
            text +=
                &format!("\ngiven last: of a sample of the codes, with at least {} of the pairs", percent(Some(least)));
        }
        text
    }
}

fn line(stream: &StreamStatistics) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let count = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let longest = stream.longest_run.as_ref().map(|run| run.seconds);
    vec![
        stream.stream.clone(),
        format!("{}/{}", count(stream.used), stream.cardinality),
        count(stream.dead),
        number(stream.entropy_bits),
        number(stream.pair_entropy_bits),
        number(stream.perplexity),
        percent(stream.repeat_share),
        seconds(longest),
        stream.stuck.to_string(),
        percent(stream.absent_share),
        percent(stream.pad_share),
    ]
}
