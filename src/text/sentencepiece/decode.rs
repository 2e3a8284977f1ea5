//! From ids back to text: pieces joined, bytes put together.
//!
//! ```text
//! ▁caf  <0xC3>  <0xA9>  </s>  ▁the  ->  "café the"
//! ```

use super::Tokenizer;
use super::model::{Piece, PieceKind};
use super::normalize::SPACE;
use super::vocabulary::byte_of;

/// Joins pieces into text.
///
/// # Source
/// SentencePiece `sentencepiece_processor.cc`, `Decode`.
pub(super) struct Decoder<'a> {
    tokenizer: &'a Tokenizer,
    text: String,
    bytes: Vec<u8>,
    /// Whether the next piece's leading space is the one that encoding put in front.
    at_start: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Decoder { tokenizer, text: String::new(), bytes: Vec::new(), at_start: true }
    }

    pub(super) fn push(&mut self, piece: &Piece) {
        if let (PieceKind::Byte, Some(byte)) = (piece.kind, byte_of(&piece.text)) {
            return self.bytes.push(byte);
        }
        self.flush_bytes();
        self.at_start &= self.text.is_empty();
        match piece.kind {
            PieceKind::Control => {}
            PieceKind::Unknown => self.text.push_str(&self.tokenizer.unk_surface),
            _ => self.push_text(&piece.text),
        }
    }

    fn push_text(&mut self, piece: &str) {
        let normalizer = &self.tokenizer.normalizer;
        let mut rest = piece;
        if self.at_start && (normalizer.dummy_prefix || normalizer.remove_extra_whitespaces) {
            rest = piece.strip_prefix(SPACE).unwrap_or(piece);
            // One space was put in front; where spaces are removed, as many as come are dropped.
            self.at_start = normalizer.remove_extra_whitespaces || rest.len() == piece.len();
        }
        self.text.extend(rest.chars().map(|c| if c == SPACE { ' ' } else { c }));
    }

    fn flush_bytes(&mut self) {
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            self.text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        self.bytes.clear();
    }

    pub(super) fn finish(mut self) -> String {
        self.flush_bytes();
        match &self.tokenizer.denormalizer {
            Some(denormalizer) => {
                let mut text = String::new();
                denormalizer.apply(&self.text, None, &mut text);
                text
            }
            None => self.text,
        }
    }
}
