//! Notes on words that did not go straight in, taken while the row is written.

use crate::tally::{Event, EventKind};
use crate::text::PlacedWord;

/// What became of words, by their index. A rule may find out late that an earlier word lost a token.
#[derive(Default)]
pub(super) struct Told(Vec<(usize, EventKind, u64)>);

impl Told {
    pub(super) fn tell(&mut self, word: usize, kind: EventKind, amount: usize) {
        self.0.push((word, kind, amount as u64));
    }

    /// The same, unless it is about nothing.
    pub(super) fn count(&mut self, word: usize, kind: EventKind, amount: usize) {
        if amount > 0 {
            self.tell(word, kind, amount);
        }
    }

    /// The events, in order of words.
    pub(super) fn events(mut self, words: &[PlacedWord]) -> Vec<Event> {
        self.0.sort_by_key(|(word, ..)| *word);
        let event = |(word, kind, amount): (usize, EventKind, u64)| {
            let PlacedWord { word, .. } = &words[word];
            Event::new(kind, amount).about(&word.text, word.start)
        };
        self.0.into_iter().map(event).collect()
    }
}
