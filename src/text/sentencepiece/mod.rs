//! SentencePiece tokenizers, read from their `.model` files.
//!
//! ```text
//! "hello there"  ->  ▁hello▁there  ->  ▁hell o ▁there  ->  6312 28709 736      ▁ (U+2581) stands for a space
//! ```
//!
//! BPE and Unigram models with the identity normaliser, equal to the C++ library id for id.

mod bpe;
mod model;
mod normalize;
mod proto;
mod trie;
mod unigram;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::error::{Error, Result};
use model::{Model, Normalizer, Piece, PieceKind, Trainer};
use normalize::SPACE;
use proto::malformed;
use vocabulary::Vocabulary;

/// Turns text into ids and back.
///
/// # Examples
/// ```
/// use roundelay::text::Tokenizer;
/// let model = include_bytes!("../../../fixtures/tokenizers/mistral_v1_32k_bpe.model");
/// let tokenizer = Tokenizer::from_bytes(model)?;
/// assert_eq!(tokenizer.encode("hello there"), [6312, 28709, 736]);
/// assert_eq!(tokenizer.piece(736), Some("▁there"));
/// assert_eq!(tokenizer.decode(&[6312, 28709, 736])?, "hello there");
/// # Ok::<(), roundelay::Error>(())
/// ```
pub struct Tokenizer {
    vocabulary: Vocabulary,
    algorithm: Algorithm,
    normalizer: Normalizer,
    unk_surface: String,
    bos: Option<i32>,
    eos: Option<i32>,
}

enum Algorithm {
    Bpe,
    Unigram(unigram::Scores),
}

impl Tokenizer {
    /// Reads a `.model` file's bytes.
    ///
    /// # Errors
    /// `Malformed` if they are no SentencePiece model or a damaged one. `Unsupported` for word and character models,
    /// for a normaliser that rewrites characters, and for white space kept as a suffix. `OverLimit` beyond 256 MiB,
    /// 4 million pieces, or 4096 bytes in one piece.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if let Some(other) = other_format(bytes) {
            return Err(Error::unsupported(other, "a SentencePiece .model file is needed"));
        }
        let Model { pieces, trainer, normalizer, denormalizer } = Model::read(bytes)?;
        check_supported(&trainer, &normalizer, &denormalizer)?;
        let vocabulary = Vocabulary::new(pieces, trainer.byte_fallback)?;
        let algorithm = match trainer.model_type {
            2 => Algorithm::Bpe,
            _ => Algorithm::Unigram(unigram::Scores::of(&vocabulary)),
        };
        let control = |name: &str| id_of(vocabulary.pieces(), name, PieceKind::Control);
        let (bos, eos) = (control(&trainer.bos_piece), control(&trainer.eos_piece));
        Ok(Tokenizer { bos, eos, vocabulary, algorithm, normalizer, unk_surface: trainer.unk_surface })
    }

    /// The ids of a text, without one that marks its beginning. A `<s>` in the text is three characters.
    pub fn encode(&self, text: &str) -> Vec<i32> {
        let normal = self.normalizer.apply(text, &self.vocabulary);
        let mut ids = Vec::with_capacity(normal.len() / 2 + 1);
        let mut after_unknown = false;
        let emit = |piece: &str, id: u32| {
            let unknown = id == self.vocabulary.unk();
            match self.vocabulary.bytes() {
                Some(bytes) if unknown => ids.extend(piece.bytes().map(|byte| bytes[usize::from(byte)] as i32)),
                // A run of unknown characters is one unknown piece.
                None if unknown && after_unknown => {}
                _ => ids.push(id as i32),
            }
            after_unknown = unknown;
        };
        match &self.algorithm {
            Algorithm::Bpe => bpe::encode(&self.vocabulary, &normal, emit),
            Algorithm::Unigram(scores) => unigram::encode(&self.vocabulary, scores, &normal, emit),
        }
        ids
    }

    /// The ids of a text of several lines: each line by itself, so that each gets its own leading space, with the
    /// piece of the line feed between them.
    ///
    /// # Errors
    /// `Unsupported` if the text has a line feed and the tokenizer makes nothing of one.
    /// # Source
    /// moshi-finetune `finetune/data/interleaver.py`, `tokenize`.
    pub fn encode_lines(&self, text: &str) -> Result<Vec<i32>> {
        let mut lines = text.split('\n');
        let mut ids = lines.next().map(|line| self.encode(line)).unwrap_or_default();
        let mut line_feed = None;
        for line in lines {
            let id = match line_feed {
                Some(id) => id,
                None => *line_feed.insert(self.line_feed()?),
            };
            ids.push(id);
            ids.extend(self.encode(line));
        }
        Ok(ids)
    }

    fn line_feed(&self) -> Result<i32> {
        let dropped = || Error::unsupported("a text of several lines", "this tokenizer drops line feeds");
        self.encode("\n").pop().ok_or_else(dropped)
    }

    /// The text of ids: pieces joined, spaces unescaped, the leading space dropped, bytes put together. Control
    /// pieces have no text; bytes that are not UTF-8 become U+FFFD, one for each byte.
    ///
    /// # Errors
    /// `Invalid` for an id outside the vocabulary.
    pub fn decode(&self, ids: &[i32]) -> Result<String> {
        let mut text = Decoder { tokenizer: self, text: String::new(), bytes: Vec::new(), at_start: true };
        for &id in ids {
            text.push(self.checked(id)?);
        }
        Ok(text.finish())
    }

    fn checked(&self, id: i32) -> Result<&Piece> {
        let expected = || Error::invalid("token", id, format!("0..{}", self.len()));
        self.vocabulary.get(id).ok_or_else(expected)
    }

    /// True if the piece of `id` begins a word: it starts with an escaped space.
    pub fn begins_word(&self, id: i32) -> bool {
        self.is_text(id) && self.piece(id).is_some_and(|piece| piece.starts_with(SPACE))
    }

    /// True if text can become `id`: a normal piece, a user-defined one, or a byte.
    ///
    /// Moshi's text pad is 3, which is a special id in Moshi's own tokenizer and the byte 0 in others.
    pub fn is_text(&self, id: i32) -> bool {
        let kind = self.vocabulary.get(id).map(|piece| piece.kind);
        matches!(kind, Some(PieceKind::Normal | PieceKind::UserDefined | PieceKind::Byte))
    }

    /// True for a piece without text of its own, as `<s>`.
    pub fn is_control(&self, id: i32) -> bool {
        self.vocabulary.get(id).is_some_and(|piece| piece.kind == PieceKind::Control)
    }

    /// The piece of an id as the model spells it: `▁there`, `<0x0A>`.
    pub fn piece(&self, id: i32) -> Option<&str> {
        self.vocabulary.get(id).map(|piece| &*piece.text)
    }

    /// Number of ids.
    // Never empty, so there is nothing for `is_empty` to say.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// Id of what is not in the vocabulary.
    pub fn unk(&self) -> i32 {
        self.vocabulary.unk() as i32
    }

    /// Id of the piece that marks a beginning, if there is one.
    pub fn bos(&self) -> Option<i32> {
        self.bos
    }

    /// Id of the piece that marks an end, if there is one.
    pub fn eos(&self) -> Option<i32> {
        self.eos
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Bpe => "BPE",
            Algorithm::Unigram(_) => "Unigram",
        };
        write!(f, "Tokenizer({algorithm}, {} pieces)", self.len())
    }
}

/// Other files that people hand over for a `.model` file.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'{', ..] => Some("a tokenizer in JSON"),
        _ if bytes.starts_with(b"version https://git-lfs") => Some("a Git LFS pointer in place of a tokenizer"),
        _ => None,
    }
}

fn check_supported(trainer: &Trainer, normalizer: &Normalizer, denormalizer: &Normalizer) -> Result<()> {
    let kind = match trainer.model_type {
        1 | 2 => None,
        3 => Some("a word model"),
        4 => Some("a character model"),
        _ => return Err(malformed(format!("its model type is {}", trainer.model_type))),
    };
    if let Some(kind) = kind {
        return Err(Error::unsupported(format!("tokenizer: {kind}"), "BPE and Unigram models are read"));
    }
    if normalizer.has_charsmap || denormalizer.has_charsmap {
        let name = if normalizer.has_charsmap { &normalizer.name } else { &denormalizer.name };
        let what = format!("tokenizer: the normaliser \"{name}\"");
        return Err(Error::unsupported(what, "only models with the identity normaliser are read so far"));
    }
    if trainer.whitespace_as_suffix {
        return Err(Error::unsupported("tokenizer: white space as a suffix", "pieces must carry it in front"));
    }
    Ok(())
}

fn id_of(pieces: &[Piece], text: &str, kind: PieceKind) -> Option<i32> {
    pieces.iter().zip(0..).find(|(piece, _)| piece.kind == kind && &*piece.text == text).map(|(_, id)| id)
}

/// Joins pieces into text.
///
/// # Source
/// SentencePiece `sentencepiece_processor.cc`, `Decode`.
struct Decoder<'a> {
    tokenizer: &'a Tokenizer,
    text: String,
    bytes: Vec<u8>,
    /// Whether the next piece's leading space is the one that encoding put in front.
    at_start: bool,
}

impl Decoder<'_> {
    fn push(&mut self, piece: &Piece) {
        if let (PieceKind::Byte, Some(byte)) = (piece.kind, vocabulary::byte_of(&piece.text)) {
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
        let Normalizer { dummy_prefix, remove_extra_whitespaces, .. } = self.tokenizer.normalizer;
        let mut rest = piece;
        if self.at_start && (dummy_prefix || remove_extra_whitespaces) {
            rest = piece.strip_prefix(SPACE).unwrap_or(piece);
            // One space was put in front; where spaces are removed, as many as come are dropped.
            self.at_start = remove_extra_whitespaces || rest.len() == piece.len();
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

    fn finish(mut self) -> String {
        self.flush_bytes();
        self.text
    }
}
