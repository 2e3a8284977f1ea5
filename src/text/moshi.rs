//! The default rule: nothing is lost, except past the end of the row.
//!
//! ```text
//! start frames         a 2       b 3 (three tokens)     c 4        d 9
//! frame       0    1    2    3    4    5    6    7    8    9
//! row         P    E    a   b1   b2   b3    c    P    E    d       c is late by two frames
//! ```

use crate::tally::{Event, EventKind};
use crate::text::{PlacedWord, TextRow, TextStream};

/// Places words that are sorted by start and whose tokens are data.
///
/// For each word of the speaker with tokens: p = max(start frame, end of the word before), and 1 if that is 0, so that
/// an end of pad has room. If cell p-1 is a pad it becomes an end of pad; the tokens go to p and after. What lies past
/// the end is cut, so a row is the beginning of any longer one.
///
/// # Source
/// Moshi paper, arXiv 2410.00037, which has no rule for words that overlap.
pub(super) fn place(words: Vec<PlacedWord>, text: &TextStream, frames: usize) -> TextRow {
    let row = TextRow { tokens: vec![text.pad(); frames], words, events: Vec::new(), collisions: 0 };
    let mut writer = Writer { text, row, cursor: 0 };
    let mut words = std::mem::take(&mut writer.row.words);
    words.iter_mut().for_each(|word| writer.word(word));
    TextRow { words, ..writer.row }
}

struct Writer<'a> {
    text: &'a TextStream<'a>,
    row: TextRow,
    /// The frame after the last word's last token.
    cursor: usize,
}

impl Writer<'_> {
    fn word(&mut self, placed: &mut PlacedWord) {
        placed.frame = None;
        if placed.word.speaker != self.text.speaker {
            return self.tell(EventKind::OtherSpeaker, 0, placed);
        }
        if placed.word.end <= placed.word.start {
            self.tell(EventKind::NoDuration, 0, placed);
        }
        if placed.tokens.is_empty() {
            return self.tell(EventKind::Empty, 0, placed);
        }
        let start = self.text.frame_rate.floor(placed.word.start + self.text.lag);
        // Frame 0 is left to the end of pad.
        let first = usize::try_from(start).unwrap_or(0).max(self.cursor).max(1);
        let late = i128::try_from(first).map_or(0, |first| first - i128::from(start));
        if late > 0 {
            self.tell(EventKind::Late, u64::try_from(late).unwrap_or(u64::MAX), placed);
        }
        self.end_padding(first);
        let written = self.write(first, &placed.tokens);
        placed.frame = (written > 0).then_some(first);
        if written < placed.tokens.len() {
            self.tell(EventKind::Cut, (placed.tokens.len() - written) as u64, placed);
        }
    }

    /// Ends the padding before `first`, if there is any: cells from the cursor on hold nothing but pads. Which they are
    /// is known by place; a word's own token may have the pad's id.
    fn end_padding(&mut self, first: usize) {
        if first > self.cursor
            && let Some(id) = self.text.end_pad()
            && let Some(cell) = self.row.tokens.get_mut(first - 1)
        {
            *cell = id;
        }
    }

    /// Writes the tokens that fit and returns their number.
    fn write(&mut self, first: usize, tokens: &[i32]) -> usize {
        self.cursor = first.saturating_add(tokens.len());
        let cells = self.row.tokens.get_mut(first..).unwrap_or_default();
        let (pad, end_pad) = (self.text.pad(), self.text.end_pad());
        for (cell, &id) in cells.iter_mut().zip(tokens) {
            *cell = id;
            self.row.collisions += usize::from(id == pad || Some(id) == end_pad);
        }
        tokens.len().min(cells.len())
    }

    fn tell(&mut self, kind: EventKind, amount: u64, placed: &PlacedWord) {
        self.row.events.push(Event::new(kind, amount).about(&placed.word.text, placed.word.start));
    }
}
