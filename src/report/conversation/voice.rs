//! What is counted for one speaker, or for all.

use std::collections::BTreeSet;

use super::spread::{Bins, Spread};
use super::statistics::{InRow, Lengths, SpeakerStatistics, share};
use super::talk::{Span, Talk};
use crate::stream::{Kind, Layout};
use crate::text::PlacedWord;
use crate::units::{FrameRate, Seconds};

/// Where words stand in the rows of text of one segment.
pub(super) struct Rows {
    frame_rate: FrameRate,
    /// How much later words stand in the rows than in the sound.
    lag: Seconds,
    frames: usize,
    /// Ids that mean silence.
    pads: BTreeSet<u32>,
}

/// Counts of one speaker, or of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Voice {
    words: u64,
    tokens: u64,
    in_row: Written,
    speech: Seconds,
    units: Spread,
    turns: Spread,
    pauses: Spread,
    gaps: Spread,
    overlaps: Spread,
}

/// Counts of words that stand in a row.
#[derive(Debug, Clone, Default, PartialEq)]
struct Written {
    words: u64,
    /// Frames by which words are late, where they are.
    late: Bins,
    latest: u64,
    early: u64,
    cut_words: u64,
    cut_tokens: u64,
    collisions: u64,
}

impl Voice {
    pub fn count(&mut self, word: &PlacedWord, rows: &Rows) {
        self.words += 1;
        self.tokens += word.tokens.len() as u64;
        if let Some(frame) = word.frame {
            self.in_row.count(word, frame, rows);
        }
    }

    pub fn add(&mut self, talk: &Talk) {
        self.speech = talk.speech.iter().fold(self.speech, |sum, span| sum + span.length());
        let Voice { units, turns, pauses, gaps, overlaps, .. } = self;
        let lists = [
            (units, &talk.units),
            (turns, &talk.turns),
            (pauses, &talk.pauses),
            (gaps, &talk.gaps),
            (overlaps, &talk.overlaps),
        ];
        lists
            .into_iter()
            .for_each(|(spread, spans)| spans.iter().copied().map(Span::length).for_each(|l| spread.add(l)));
    }

    pub fn merge(&mut self, other: &Voice) {
        self.words += other.words;
        self.tokens += other.tokens;
        self.in_row.merge(&other.in_row);
        self.speech = self.speech + other.speech;
        self.units.merge(&other.units);
        self.turns.merge(&other.turns);
        self.pauses.merge(&other.pauses);
        self.gaps.merge(&other.gaps);
        self.overlaps.merge(&other.overlaps);
    }

    /// The figures, of so many seconds of sound.
    pub fn statistics(&self, seconds: Seconds) -> SpeakerStatistics {
        let [words, speech, all] = [self.words as f64, self.speech.to_f64(), seconds.to_f64()];
        SpeakerStatistics {
            words: self.words,
            tokens: self.tokens,
            speech_seconds: self.speech,
            speech_share: share(speech, all),
            words_per_second: share(words, all),
            words_per_second_of_speech: share(words, speech),
            turns: Lengths::of(&self.turns),
            units: Lengths::of(&self.units),
            pauses: Lengths::of(&self.pauses),
            gaps: Lengths::of(&self.gaps),
            overlaps: Lengths::of(&self.overlaps),
            overlap_share: share(self.overlaps.total().to_f64(), all),
            in_row: self.in_row.statistics(),
        }
    }
}

impl Written {
    fn count(&mut self, word: &PlacedWord, frame: usize, rows: &Rows) {
        self.words += 1;
        let said = rows.frame_rate.floor(word.word.start + rows.lag);
        let late = frame as i128 - i128::from(said);
        if late > 0 {
            let late = u64::try_from(late).unwrap_or(u64::MAX);
            self.late.add(late);
            self.latest = self.latest.max(late);
        }
        self.early += u64::from(late < 0);
        let inside = word.tokens.iter().zip(rows.cells(word, frame)).filter(|(_, cell)| *cell < rows.frames as i64);
        let (mut written, mut collisions) = (0, 0);
        for (&id, _) in inside {
            written += 1;
            collisions += u64::from(u32::try_from(id).is_ok_and(|id| rows.pads.contains(&id)));
        }
        let cut = word.tokens.len() as u64 - written;
        self.cut_words += u64::from(cut > 0);
        self.cut_tokens += cut;
        self.collisions += collisions;
    }

    fn merge(&mut self, other: &Written) {
        self.words += other.words;
        self.late.merge(&other.late);
        self.latest = self.latest.max(other.latest);
        self.early += other.early;
        self.cut_words += other.cut_words;
        self.cut_tokens += other.cut_tokens;
        self.collisions += other.collisions;
    }

    fn statistics(&self) -> InRow {
        let late_words = self.late.count();
        InRow {
            words: self.words,
            late_words,
            late_median_frames: self.late.median(),
            late_most_frames: (late_words > 0).then_some(self.latest),
            early_words: self.early,
            cut_words: self.cut_words,
            cut_tokens: self.cut_tokens,
            collisions: self.collisions,
        }
    }
}

impl Rows {
    pub fn new(layout: &Layout, frames: usize) -> Self {
        let texts = layout.streams().iter().filter(|stream| stream.kind == Kind::Text);
        Rows {
            frame_rate: layout.frame_rate(),
            lag: layout.lag(),
            frames,
            pads: texts.flat_map(|stream| [Some(stream.pad), stream.end_pad]).flatten().collect(),
        }
    }

    /// The frame of each token: one after another, or when each begins where the word says so.
    fn cells<'a>(&'a self, word: &'a PlacedWord, first: usize) -> impl Iterator<Item = i64> + 'a {
        (0..word.tokens.len()).map(move |n| match word.starts.get(n) {
            Some(&start) => self.frame_rate.floor(start + self.lag),
            None => i64::try_from(first.saturating_add(n)).unwrap_or(i64::MAX),
        })
    }
}
