//! The default rule: nothing is lost, except past the end of the row.
//!
//! ```text
//! start frames         a 2       b 3 (three tokens)     c 4        d 9
//! frame       0    1    2    3    4    5    6    7    8    9
//! row         P    E    a   b1   b2   b3    c    P    E    d       c is late by two frames
//! ```

use crate::tally::EventKind;
use crate::text::{Note, PlacedWord, TextRow, TextStream};

/// Places words that are sorted by start and whose tokens are data.
///
/// For each word of the speaker with tokens: p = max(start frame, end of the word before), and 1 if that is 0, so that
/// an end of pad has room. If cell p-1 is a pad it becomes an end of pad; the tokens go to p and after. What lies past
/// the end is cut, so a row is the beginning of any longer one.
///
/// # Source
/// Moshi paper, arXiv 2410.00037, which has no rule for words that overlap.
pub(super) fn place(mut words: Vec<PlacedWord>, text: &TextStream, frames: usize) -> TextRow {
    let mut writer = Writer { text, row: vec![text.pad(); frames], notes: Vec::new(), collisions: 0, cursor: 0 };
    // In a loop of its own, as nothing in it has to wait for where the word before went.
    let start = |PlacedWord { word, .. }: &PlacedWord| {
        (word.speaker == text.speaker).then(|| text.frame_rate.floor(word.start + text.lag))
    };
    let starts: Vec<_> = words.iter().map(start).collect();
    for (index, (word, start)) in words.iter_mut().zip(starts).enumerate() {
        word.frame = writer.word(index, word, start);
    }
    TextRow { tokens: writer.row, words, notes: writer.notes, collisions: writer.collisions }
}

struct Writer<'a> {
    text: &'a TextStream<'a>,
    row: Vec<i32>,
    notes: Vec<Note>,
    collisions: usize,
    /// The frame after the last word's last token.
    cursor: usize,
}

impl Writer<'_> {
    /// Writes a word, and returns the frame of its first token if the row holds it.
    fn word(
        &mut self,
        index: usize,
        PlacedWord { word, tokens, .. }: &PlacedWord,
        start: Option<i64>,
    ) -> Option<usize> {
        let Some(start) = start else {
            self.tell(index, EventKind::OtherSpeaker, 0);
            return None;
        };
        if word.end <= word.start {
            self.tell(index, EventKind::NoDuration, 0);
        }
        if tokens.is_empty() {
            self.tell(index, EventKind::Empty, 0);
            return None;
        }
        // Frame 0 is left to the end of pad.
        let first = usize::try_from(start).unwrap_or(0).max(self.cursor).max(1);
        let late = i128::try_from(first).map_or(0, |first| first - i128::from(start));
        if late > 0 {
            self.tell(index, EventKind::Late, u64::try_from(late).unwrap_or(u64::MAX));
        }
        self.end_padding(first);
        let written = self.write(first, tokens);
        if written < tokens.len() {
            self.tell(index, EventKind::Cut, (tokens.len() - written) as u64);
        }
        (written > 0).then_some(first)
    }

    /// Ends the padding before `first`, if there is any: cells from the cursor on hold nothing but pads. Which they are
    /// is known by place; a word's own token may have the pad's id.
    fn end_padding(&mut self, first: usize) {
        if first > self.cursor
            && let Some(id) = self.text.end_pad()
            && let Some(cell) = self.row.get_mut(first - 1)
        {
            *cell = id;
        }
    }

    /// Writes the tokens that fit and returns their number.
    fn write(&mut self, first: usize, tokens: &[i32]) -> usize {
        self.cursor = first.saturating_add(tokens.len());
        let written = tokens.len().min(self.row.len().saturating_sub(first));
        for (at, &id) in (first..).zip(&tokens[..written]) {
            self.row[at] = id;
            self.collisions += usize::from(self.text.is_pad(id));
        }
        written
    }

    fn tell(&mut self, word: usize, event: EventKind, amount: u64) {
        self.notes.push(Note { word, event, amount });
    }
}
