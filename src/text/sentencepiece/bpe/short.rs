//! Merging within a short text, as nearly every word is: its neighbours lie side by side, and looking at all of them is
//! quicker than keeping them in order. Pieces are looked up by their bytes as one number.

use super::{Bpe, Entry, emitted};
use crate::text::sentencepiece::vocabulary::Vocabulary;

/// Symbols at most. Each merge looks at all of them.
const MOST: usize = 32;
/// Bytes of a text at most.
const MOST_BYTES: usize = 64;
/// Bytes of a key; the last is the length.
const KEY: usize = 16;
/// In place of an id.
const NONE: u32 = u32::MAX;

/// The bytes of a piece and their number, as one number; `None` if they are too many.
pub(super) fn key(piece: &str) -> Option<u128> {
    let mut bytes = [0; KEY];
    bytes[..KEY - 1].get_mut(..piece.len())?.copy_from_slice(piece.as_bytes());
    bytes[KEY - 1] = piece.len() as u8;
    Some(u128::from_le_bytes(bytes))
}

/// A text of few characters and the symbols that it is cut into so far.
pub(super) struct Short<'t> {
    text: &'t str,
    /// Those of the text, and zeros.
    bytes: [u8; MOST_BYTES + KEY],
    symbols: [Symbol; MOST],
    length: usize,
}

/// From `start` to the start of the next one.
#[derive(Clone, Copy)]
struct Symbol {
    start: u8,
    /// The piece that it is, once a merge has made it.
    id: u32,
    /// The piece that it makes with the next one, and its score.
    pair: u32,
    score: f32,
}

impl<'t> Short<'t> {
    /// `None` if the text is longer.
    #[inline]
    pub fn of(text: &'t str) -> Option<Self> {
        let mut bytes = [0; MOST_BYTES + KEY];
        bytes[..MOST_BYTES].get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let symbols = [Symbol { start: 0, id: NONE, pair: NONE, score: 0.0 }; MOST];
        let mut short = Short { text, bytes, symbols, length: 0 };
        for (start, _) in text.char_indices() {
            short.symbols.get_mut(short.length)?.start = start as u8;
            short.length += 1;
        }
        Some(short)
    }

    /// Merges all that can be merged, then hands the pieces to `emit`.
    pub fn merge(&mut self, bpe: &Bpe, vocabulary: &Vocabulary, mut emit: impl FnMut(&'t str, u32)) {
        (0..self.length).for_each(|left| self.consider(bpe, left));
        while let Some(left) = self.best() {
            self.symbols[left].id = self.symbols[left].pair;
            self.symbols.copy_within(left + 2..self.length, left + 1);
            self.length -= 1;
            self.consider(bpe, left);
            if left > 0 {
                self.consider(bpe, left - 1);
            }
        }
        for at in 0..self.length {
            let id = match self.symbols[at].id {
                NONE => self.entry(bpe, at, at + 1).map(|entry| entry.id),
                made => Some(made),
            };
            let text = &self.text[self.start(at)..self.start(at + 1)];
            emit(text, id.map_or(vocabulary.unk(), |id| emitted(vocabulary, id)));
        }
    }

    /// The left half of the pair to merge: of the best score, and the first of these.
    fn best(&self) -> Option<usize> {
        let mut best: Option<(f32, usize)> = None;
        for (at, symbol) in self.symbols[..self.length].iter().enumerate() {
            if symbol.pair != NONE && best.is_none_or(|(score, _)| symbol.score > score) {
                best = Some((symbol.score, at));
            }
        }
        best.map(|(_, at)| at)
    }

    fn consider(&mut self, bpe: &Bpe, left: usize) {
        let entry = if left + 1 < self.length { self.entry(bpe, left, left + 2) } else { None };
        let symbol = &mut self.symbols[left];
        (symbol.pair, symbol.score) = entry.map_or((NONE, 0.0), |entry| (entry.id, entry.score));
    }

    /// The piece that the symbols from `from` to before `to` make.
    fn entry(&self, bpe: &Bpe, from: usize, to: usize) -> Option<Entry> {
        let (start, end) = (self.start(from), self.start(to));
        let length = end - start;
        if length >= KEY {
            return bpe.ids.get(&self.text[start..end]).copied();
        }
        let bytes = self.bytes[start..start + KEY].try_into().expect("as many bytes as a key has");
        let kept = u128::from_le_bytes(bytes) & ((1 << (8 * length)) - 1);
        bpe.keys.get(&(kept | (length as u128) << (8 * (KEY - 1)))).copied()
    }

    fn start(&self, at: usize) -> usize {
        if at < self.length { usize::from(self.symbols[at].start) } else { self.text.len() }
    }
}
