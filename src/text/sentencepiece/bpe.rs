//! Byte-pair encoding: neighbours are merged, best score first, until no two of them make a piece.
//!
//! ```text
//! ▁ h e l l o  ->  ▁ he l l o  ->  ▁ he ll o  ->  ▁ hell o  ->  ▁hell o
//! ```

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use foldhash::fast::FixedState;

use super::model::{Piece, PieceKind};
use super::vocabulary::Vocabulary;
use short::Short;

mod short;

/// Pieces this long are looked at when a model is read, to know whether merging arrives at them.
const SHORT: usize = 32;

/// The pieces by their text.
pub(super) struct Bpe {
    // Looked up several times a character. Whoever makes pieces collide slows down none but the own model.
    ids: HashMap<Box<str>, Entry, FixedState>,
    /// Those of few bytes by their [`key`](short::key), which is quicker.
    keys: HashMap<u128, Entry, FixedState>,
    /// No piece is user-defined or unused: merging is all there is.
    plain: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    id: u32,
    score: f32,
    /// Whether the piece's own text, merged, is known to become this one piece. Not every piece is reached so.
    whole: bool,
}

impl Bpe {
    pub(super) fn of(vocabulary: &Vocabulary) -> Self {
        let entry = |(piece, id): (&Piece, u32)| (piece.text.clone(), Entry { id, score: piece.score, whole: false });
        let plain = vocabulary.text_pieces().all(|(piece, _)| piece.kind == PieceKind::Normal);
        let ids: HashMap<_, _, _> = vocabulary.text_pieces().map(entry).collect();
        let keys = ids.iter().filter_map(|(text, &entry)| Some((short::key(text)?, entry))).collect();
        let mut bpe = Bpe { ids, keys, plain };
        let short = vocabulary.text_pieces().filter(|(piece, _)| piece.text.len() <= SHORT);
        for (piece, id) in short {
            let whole = bpe.becomes(vocabulary, &piece.text, id);
            bpe.ids.get_mut(&piece.text).expect("it was put there").whole = whole;
        }
        bpe
    }

    fn becomes(&self, vocabulary: &Vocabulary, text: &str, expected: u32) -> bool {
        let mut all = true;
        self.merge(vocabulary, text, |piece, id| all &= id == expected && piece.len() == text.len());
        all
    }

    /// Hands the pieces of `text` to `emit`, in order, as text and id.
    ///
    /// # Source
    /// SentencePiece `bpe_model.cc`, `SampleEncode` without dropout.
    pub(super) fn encode<'t>(&self, vocabulary: &Vocabulary, text: &'t str, mut emit: impl FnMut(&'t str, u32)) {
        match self.ids.get(text) {
            Some(&Entry { id, whole: true, .. }) => emit(text, id),
            _ => self.merge(vocabulary, text, emit),
        }
    }

    fn merge<'t>(&self, vocabulary: &Vocabulary, text: &'t str, emit: impl FnMut(&'t str, u32)) {
        match Short::of(text).filter(|_| self.plain) {
            Some(mut word) => word.merge(self, vocabulary, emit),
            None => self.merge_any(vocabulary, text, emit),
        }
    }

    fn merge_any<'t>(&self, vocabulary: &Vocabulary, text: &'t str, mut emit: impl FnMut(&'t str, u32)) {
        let mut merger = Merger::new(self, vocabulary, text);
        merger.merge_all();
        let mut at = merger.symbols.first();
        while let Some(symbol) = at {
            merger.resegment(&text[symbol.start..symbol.end], &mut emit);
            at = symbol.next.map(|next| &merger.symbols[next]);
        }
    }

    fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).map(|entry| entry.id)
    }
}

/// The id of a piece that merging has arrived at.
///
/// The library looks it up once more by its text, and so takes a byte or the unknown piece that reads like it. With a
/// control piece it fails then; here it stays text.
fn emitted(vocabulary: &Vocabulary, id: u32) -> u32 {
    let spelt = vocabulary.as_spelt(id);
    if spelt != id && vocabulary.piece(spelt).kind == PieceKind::Control { id } else { spelt }
}

/// A stretch of the text that is one symbol so far; empty once its left neighbour has swallowed it.
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
    /// User-defined: merges with nothing.
    frozen: bool,
}

/// Two neighbours that make a piece. Greatest is merged first: the better score, then the one further left.
#[derive(Clone, Copy)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    size: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left)).then(other.size.cmp(&self.size))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

struct Merger<'t, 'v> {
    bpe: &'v Bpe,
    vocabulary: &'v Vocabulary,
    text: &'t str,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    /// For each unused piece that was made: how long its left half was when it was last thought of.
    halves: HashMap<u32, usize>,
}

impl<'t, 'v> Merger<'t, 'v> {
    fn new(bpe: &'v Bpe, vocabulary: &'v Vocabulary, text: &'t str) -> Self {
        let symbols = split(vocabulary, text);
        let agenda = BinaryHeap::with_capacity(symbols.len());
        let mut merger = Merger { bpe, vocabulary, text, symbols, agenda, halves: HashMap::new() };
        (1..merger.symbols.len()).for_each(|right| merger.consider(Some(right - 1), Some(right)));
        merger
    }

    /// Notes a pair of neighbours if they make a piece.
    fn consider(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (a, b) = (&self.symbols[left], &self.symbols[right]);
        if a.frozen || b.frozen {
            return;
        }
        let Some(id) = self.bpe.id(&self.text[a.start..b.end]) else { return };
        let piece = self.vocabulary.piece(id);
        if piece.kind == PieceKind::Unused {
            self.halves.insert(id, a.end - a.start);
        }
        self.agenda.push(Pair { score: piece.score, left, right, size: b.end - a.start });
    }

    fn merge_all(&mut self) {
        while let Some(Pair { left, right, size, .. }) = self.agenda.pop() {
            let (a, b) = (&self.symbols[left], &self.symbols[right]);
            // A pair one of whose halves has been merged elsewhere: halves only grow, or become empty.
            if a.start == a.end || b.start == b.end || (a.end - a.start) + (b.end - b.start) != size {
                continue;
            }
            let next = b.next;
            self.symbols[left].end = b.end;
            self.symbols[left].next = next;
            self.symbols[right].start = self.symbols[right].end;
            if let Some(next) = next {
                self.symbols[next].previous = Some(left);
            }
            self.consider(self.symbols[left].previous, Some(left));
            self.consider(Some(left), next);
        }
    }

    /// Emits a symbol; one that is an unused piece is taken apart again into the halves that it was made of.
    fn resegment(&self, symbol: &'t str, emit: &mut impl FnMut(&'t str, u32)) {
        // Not recursive, as a hostile model could nest its unused pieces deeply. The last is emitted first.
        let mut waiting = Vec::new();
        let mut at = Some(symbol);
        while let Some(symbol) = at {
            let id = self.bpe.id(symbol);
            if let Some(half) = id.and_then(|id| self.unused_half(id)) {
                waiting.push(&symbol[half..]);
                at = Some(&symbol[..half]);
            } else {
                emit(symbol, id.map_or(self.vocabulary.unk(), |id| emitted(self.vocabulary, id)));
                at = waiting.pop();
            }
        }
    }

    fn unused_half(&self, id: u32) -> Option<usize> {
        self.halves.get(&id).copied()
    }
}

/// The symbols to begin with: user-defined pieces, and single characters between them.
fn split(vocabulary: &Vocabulary, text: &str) -> Vec<Symbol> {
    let mut symbols = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some(character) = text[start..].chars().next() {
        let user_defined = vocabulary.user_defined().and_then(|pieces| pieces.longest(&text[start..]));
        let end = start + user_defined.unwrap_or(character.len_utf8());
        let index = symbols.len();
        let next = (end < text.len()).then_some(index + 1);
        symbols.push(Symbol { start, end, previous: index.checked_sub(1), next, frozen: user_defined.is_some() });
        start = end;
    }
    symbols
}
