//! Notes on words that did not go straight in, taken while the row is written.

use crate::tally::{Event, EventKind};
use crate::text::PlacedWord;

/// One thing that happened to a word on its way into the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Which word: its place in the row's [`words`](crate::text::TextRow::words).
    pub word: usize,
    /// What happened.
    pub event: EventKind,
    /// How many tokens or frames; the kind says which.
    pub amount: u64,
}

impl Note {
    /// The note with the text and the start of its word.
    pub(super) fn event(self, words: &[PlacedWord]) -> Event {
        let PlacedWord { word, .. } = &words[self.word];
        Event::new(self.event, self.amount).about(&word.text, word.start)
    }
}

/// What became of words, by their index. A rule may find out late that an earlier word lost a token.
#[derive(Default)]
pub(super) struct Told(Vec<Note>);

impl Told {
    pub(super) fn tell(&mut self, word: usize, event: EventKind, amount: usize) {
        self.0.push(Note { word, event, amount: amount as u64 });
    }

    /// The same, unless it is about nothing.
    pub(super) fn count(&mut self, word: usize, kind: EventKind, amount: usize) {
        if amount > 0 {
            self.tell(word, kind, amount);
        }
    }

    /// The notes, in order of words.
    pub(super) fn notes(mut self) -> Vec<Note> {
        self.0.sort_by_key(|note| note.word);
        self.0
    }
}
