//! What is counted for one speaker, or for all.

use super::spread::{Bins, Spread};
use super::statistics::{InRow, Lengths, SpeakerStatistics, share};
use super::talk::{Span, Talk};
use crate::text::PlacedWord;
use crate::units::Seconds;

/// Counts of one speaker, or of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Voice {
    words: u64,
    tokens: u64,
    /// Words that stand in a row.
    in_row: u64,
    /// Frames by which they are late, where they are.
    late: Bins,
    latest: u64,
    speech: Seconds,
    units: Spread,
    turns: Spread,
    pauses: Spread,
    gaps: Spread,
    overlaps: Spread,
}

impl Voice {
    /// Counts a word that is late by so many frames, if it is.
    pub fn count(&mut self, word: &PlacedWord, late: Option<u64>) {
        self.words += 1;
        self.tokens += word.tokens.len() as u64;
        self.in_row += u64::from(word.frame.is_some());
        if let Some(frames) = late {
            self.late.add(frames);
            self.latest = self.latest.max(frames);
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
        self.in_row += other.in_row;
        self.late.merge(&other.late);
        self.latest = self.latest.max(other.latest);
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
            in_row: self.in_row(),
        }
    }

    fn in_row(&self) -> InRow {
        let late_median_frames = self.late.median();
        InRow { words: self.in_row, late_median_frames, late_most_frames: late_median_frames.map(|_| self.latest) }
    }
}
