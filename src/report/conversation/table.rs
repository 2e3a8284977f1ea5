//! The figures as a table for people.
//!
//! ```text
//!                      all  SPEAKER_MAIN  SPEAKER_OTHER
//! words                 50            30             20
//! speech           15.84 s        9.80 s         6.71 s
//! ```

use std::fmt;

use super::statistics::{Lengths, SpeakerStatistics, Statistics, TextStatistics};
use crate::report::aligned::{percent, seconds, write_aligned};
use crate::tally::{EventKind, Tally};

/// Speakers that have a column.
const COLUMNS: usize = 6;
/// Characters of a speaker's label that are shown.
const LABEL: usize = 24;

/// A line's name, and its cell for a speaker.
type Line = (&'static str, fn(&SpeakerStatistics) -> String);

const LINES: &[Line] = &[
    ("words", |s| s.words.to_string()),
    ("  tokens", |s| s.tokens.to_string()),
    ("  a second", |s| number(s.words_per_second)),
    ("  a second of speech", |s| number(s.words_per_second_of_speech)),
    ("speech", |s| seconds(Some(s.speech_seconds))),
    ("  of all time", |s| percent(s.speech_share)),
    ("turns", |s| s.turns.count.to_string()),
    ("  median", |s| seconds(s.turns.median)),
    ("  longest", |s| seconds(s.turns.most)),
    ("units", |s| s.units.count.to_string()),
    ("  median", |s| seconds(s.units.median)),
    ("pauses", |s| s.pauses.count.to_string()),
    ("  median", |s| seconds(s.pauses.median)),
    ("  together", |s| seconds(Some(s.pauses.seconds))),
    ("gaps", |s| s.gaps.count.to_string()),
    ("  median", |s| seconds(s.gaps.median)),
    ("  together", |s| seconds(Some(s.gaps.seconds))),
    ("overlaps", |s| s.overlaps.count.to_string()),
    ("  median", |s| seconds(s.overlaps.median)),
    ("  together", |s| seconds(Some(s.overlaps.seconds))),
    ("  of all time", |s| percent(s.overlap_share)),
    ("words in a text row", |s| s.in_row.words.to_string()),
];

/// Lines that are there only if some word is known to be late.
const LATENESS: &[Line] = &[
    ("  late, median", |s| frames(s.in_row.late_median_frames)),
    ("  late, most", |s| frames(s.in_row.late_most_frames)),
];

/// Events of words on their way into a text row, and what their amounts are.
const EVENTS: [(EventKind, &str); 7] = [
    (EventKind::Late, "frame"),
    (EventKind::Cut, "token"),
    (EventKind::Split, "token"),
    (EventKind::Replaced, "token"),
    (EventKind::Overwritten, "token"),
    (EventKind::Dropped, "token"),
    (EventKind::Collision, "token"),
];

/// A table of the speakers with most speech, and one of the text rows.
impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lengths { count, seconds: sum, least, median, most, .. } = &self.segments;
        writeln!(f, "segments  {count}, {} together, {} frames", seconds(Some(*sum)), self.frames)?;
        writeln!(f, "lengths   {} to {}, median {}\n", seconds(*least), seconds(*most), seconds(*median))?;
        let columns = self.columns();
        let mut table = vec![vec![String::new()]];
        table[0].extend(columns.iter().map(|(name, _)| name.clone()));
        for (name, cell) in LINES.iter().chain(self.lateness()) {
            table.push([(*name).to_owned()].into_iter().chain(columns.iter().map(|(_, s)| cell(s))).collect());
        }
        write_aligned(f, &table)?;
        if self.speakers.len() > COLUMNS {
            writeln!(f, "and {} speakers with less speech", self.speakers.len() - COLUMNS)?;
        }
        writeln!(f)?;
        write_aligned(f, &text_table(&self.text))?;
        if let Some(events) = &self.events {
            writeln!(f)?;
            write_aligned(f, &event_table(events))?;
        }
        write!(f, "\n{}", self.legend())
    }
}

impl Statistics {
    /// All, and the speakers with most speech.
    fn columns(&self) -> Vec<(String, &SpeakerStatistics)> {
        let mut speakers: Vec<_> = self.speakers.iter().collect();
        speakers.sort_by_key(|(_, speaker)| std::cmp::Reverse(speaker.speech_seconds));
        let all = ("all".to_owned(), &self.all);
        [all].into_iter().chain(speakers.into_iter().take(COLUMNS).map(|(name, s)| (label(name), s))).collect()
    }

    fn lateness(&self) -> &'static [Line] {
        if self.all.in_row.late_most_frames.is_some() { LATENESS } else { &[] }
    }

    fn legend(&self) -> String {
        let silence = self.unit_silence;
        format!(
            "unit: a speaker's words with at most {silence} s of silence between them; turn: units with only pauses \
             between;\npause, gap: silence before the same speaker goes on, before another one begins"
        )
    }
}

/// A speaker's label without what would break the table.
fn label(name: &str) -> String {
    let shown: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match shown.chars().count() {
        0 => "(none)".to_owned(),
        count if count > LABEL => shown.chars().take(LABEL - 1).chain(['…']).collect(),
        _ => shown,
    }
}

fn text_table(rows: &[TextStatistics]) -> Vec<Vec<String>> {
    let head = ["text row", "frames", "words", "pads", "ends of pads", "absent"];
    let cell = |part: u64, row: &TextStatistics| percent((row.frames > 0).then(|| part as f64 / row.frames as f64));
    let line = |row: &TextStatistics| {
        let shares = [row.tokens, row.pads, row.end_pads, row.absent].map(|part| cell(part, row));
        [row.stream.clone(), row.frames.to_string()].into_iter().chain(shares).collect()
    };
    match rows {
        [] => vec![vec!["no text row".to_owned()]],
        _ => [head.map(str::to_owned).to_vec()].into_iter().chain(rows.iter().map(line)).collect(),
    }
}

fn event_table(events: &Tally) -> Vec<Vec<String>> {
    let line = |(kind, unit): (EventKind, &str)| {
        let count = events.get(kind);
        vec![format!("  {}", kind.name()), count.events.to_string(), amount(count.amount, unit)]
    };
    let head = ["events of the whole dataset", "number", "together"].map(str::to_owned).to_vec();
    [head].into_iter().chain(EVENTS.map(line)).collect()
}

fn number(rate: Option<f64>) -> String {
    rate.map_or("-".to_owned(), |rate| format!("{rate:.2}"))
}

fn frames(count: Option<u64>) -> String {
    count.map_or("-".to_owned(), |count| amount(count, "frame"))
}

fn amount(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
