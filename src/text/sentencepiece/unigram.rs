//! Unigram encoding: of all ways to cut a text into pieces, the one with the best sum of scores.

use super::model::PieceKind;
use super::trie::Trie;
use super::vocabulary::Vocabulary;

/// What a character that is no piece costs more than the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The pieces by their beginnings, and scores that follow from those of all pieces.
pub(super) struct Unigram {
    pieces: Trie,
    unknown: f32,
    largest: f32,
}

impl Unigram {
    pub(super) fn of(vocabulary: &Vocabulary) -> Self {
        let normal = vocabulary.pieces().iter().filter(|piece| piece.kind == PieceKind::Normal);
        let (smallest, largest) = normal.fold((f32::MAX, f32::MIN_POSITIVE), |(smallest, largest), piece| {
            // The library begins the maximum at C's FLT_MIN, the smallest positive float; scores are negative, so
            // there it stays, and a user-defined piece gets about -0.1.
            (smallest.min(piece.score), largest.max(piece.score))
        });
        let pieces = Trie::of(vocabulary.text_pieces());
        Unigram { pieces, unknown: smallest - UNKNOWN_PENALTY, largest }
    }
}

/// The best way to cut the text up to some byte: where its last piece begins.
#[derive(Clone, Copy)]
struct Best {
    score: f32,
    start: usize,
    id: u32,
}

/// Hands the pieces of `text` to `emit`, in order, as text and id.
///
/// # Source
/// SentencePiece `unigram_model.cc`, `EncodeOptimized`, of 0.2.0 and 0.2.1: sums are compared in double and kept in
/// single precision; of equal sums the first found stays. From 0.2.2 on they are compared in single precision, which
/// cuts about one in a thousand hard strings elsewhere: runs of one character that several cuts fit equally well.
pub(super) fn encode<'t>(
    vocabulary: &Vocabulary,
    unigram: &Unigram,
    text: &'t str,
    mut emit: impl FnMut(&'t str, u32),
) {
    let mut best: Vec<Option<Best>> = vec![None; text.len() + 1];
    for (start, character) in text.char_indices() {
        extend(vocabulary, unigram, &text[start..], start, character.len_utf8(), &mut best);
    }
    for (piece, id) in trace(text, &best) {
        emit(piece, id);
    }
}

/// Tries every piece that begins at `start`.
fn extend(
    vocabulary: &Vocabulary,
    unigram: &Unigram,
    rest: &str,
    start: usize,
    character: usize,
    best: &mut [Option<Best>],
) {
    let so_far = best[start].map_or(0.0, |best| best.score);
    let mut is_piece = false;
    for (length, id) in unigram.pieces.prefixes(rest.as_bytes()) {
        let piece = vocabulary.piece(id);
        let score = match piece.kind {
            PieceKind::Unused => continue,
            PieceKind::UserDefined => f64::from(length as f32 * unigram.largest) - 0.1,
            _ => f64::from(piece.score),
        };
        is_piece |= length == character;
        improve(&mut best[start + length], score + f64::from(so_far), start, id);
    }
    if !is_piece {
        let score = unigram.unknown + so_far;
        improve(&mut best[start + character], f64::from(score), start, vocabulary.unk());
    }
}

fn improve(best: &mut Option<Best>, score: f64, start: usize, id: u32) {
    if best.is_none_or(|best| score > f64::from(best.score)) {
        *best = Some(Best { score: score as f32, start, id });
    }
}

/// The pieces of the best way, in order.
fn trace<'t>(text: &'t str, best: &[Option<Best>]) -> Vec<(&'t str, u32)> {
    let mut pieces = Vec::new();
    let mut end = text.len();
    // Every character ends some way, as it is a piece or unknown; so each end has its best.
    while let Some(Best { start, id, .. }) = best[end] {
        pieces.push((&text[start..end], id));
        end = start;
    }
    pieces.reverse();
    pieces
}
