//! SentencePiece tokenizers, read from their `.model` files.
//!
//! ```text
//! "hello there"  ->  ▁hello▁there  ->  ▁hell o ▁there  ->  6312 28709 736      ▁ (U+2581) stands for a space
//! ```
//!
//! BPE and Unigram models with the map of their normaliser, equal to the C++ library id for id.

mod bpe;
mod charsmap;
mod decode;
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
use decode::Decoder;
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
    /// What is done to decoded text; hardly any model has one.
    denormalizer: Option<Normalizer>,
    unk_surface: String,
    bos: Option<i32>,
    eos: Option<i32>,
}

enum Algorithm {
    Bpe(bpe::Bpe),
    Unigram(unigram::Unigram),
}

impl Tokenizer {
    /// Reads a `.model` file's bytes.
    ///
    /// # Errors
    /// `Malformed` if they are no SentencePiece model or a damaged one. `Unsupported` for word and character models,
    /// and for white space kept as a suffix. `OverLimit` beyond 256 MiB, 4 million pieces, 4096 bytes in one piece, or
    /// 1024 in what a normaliser writes for one string.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if let Some(other) = other_format(bytes) {
            return Err(Error::unsupported(other, "a SentencePiece .model file is needed"));
        }
        let Model { pieces, trainer, normalizer, denormalizer } = Model::read(bytes)?;
        check_supported(&trainer)?;
        let vocabulary = Vocabulary::new(pieces, trainer.byte_fallback)?;
        let algorithm = match trainer.model_type {
            2 => Algorithm::Bpe(bpe::Bpe::of(&vocabulary)),
            _ => Algorithm::Unigram(unigram::Unigram::of(&vocabulary)),
        };
        let control = |name: &str| id_of(vocabulary.pieces(), name, PieceKind::Control);
        let (bos, eos) = (control(&trainer.bos_piece), control(&trainer.eos_piece));
        let denormalizer = Some(denormalizer).filter(|denormalizer| denormalizer.charsmap.is_some());
        let unk_surface = trainer.unk_surface;
        Ok(Tokenizer { vocabulary, algorithm, normalizer, denormalizer, unk_surface, bos, eos })
    }

    /// The ids of a text, without one that marks its beginning. A `<s>` in the text is three characters.
    pub fn encode(&self, text: &str) -> Vec<i32> {
        self.encode_in(&mut String::new(), text)
    }

    /// [`encode`](Self::encode) with memory for the normalised text.
    fn encode_in(&self, normal: &mut String, text: &str) -> Vec<i32> {
        let mut ids = Vec::with_capacity(text.len() / 2 + 1);
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
        self.cut(normal, text, emit);
        ids
    }

    /// The pieces of a text as they stand in it, spaces escaped, with their ids. What the model does not know has the
    /// unknown id: a character at a time where it spells bytes, else as many as follow one another.
    pub(in crate::text) fn pieces(&self, text: &str) -> Vec<(String, i32)> {
        let mut pieces: Vec<(String, i32)> = Vec::new();
        let (unknown, by_run) = (self.unk(), self.vocabulary.bytes().is_none());
        self.cut(&mut String::new(), text, |piece, id| match pieces.last_mut() {
            Some((run, last)) if by_run && *last == unknown && id as i32 == unknown => run.push_str(piece),
            _ => pieces.push((piece.to_owned(), id as i32)),
        });
        pieces
    }

    /// Normalises a text and cuts it into pieces, unknown characters one by one.
    fn cut(&self, normal: &mut String, text: &str, emit: impl FnMut(&str, u32)) {
        normal.clear();
        self.normalizer.apply(text, self.vocabulary.user_defined(), normal);
        match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.encode(&self.vocabulary, normal, emit),
            Algorithm::Unigram(unigram) => unigram::encode(&self.vocabulary, unigram, normal, emit),
        }
    }

    /// The ids of a text of several lines: each line by itself, so that each gets its own leading space, with the
    /// piece of the line feed between them.
    ///
    /// # Errors
    /// `Unsupported` if the text has a line feed and the tokenizer makes nothing of one.
    /// # Source
    /// moshi-finetune `finetune/data/interleaver.py`, `tokenize`.
    pub fn encode_lines(&self, text: &str) -> Result<Vec<i32>> {
        self.encode_lines_in(&mut String::new(), text)
    }

    /// [`encode_lines`](Self::encode_lines) with memory for the normalised text: words are many and short.
    pub(in crate::text) fn encode_lines_in(&self, normal: &mut String, text: &str) -> Result<Vec<i32>> {
        let mut lines = text.split('\n');
        let mut ids = lines.next().map(|line| self.encode_in(normal, line)).unwrap_or_default();
        let mut line_feed = None;
        for line in lines {
            let id = match line_feed {
                Some(id) => id,
                None => *line_feed.insert(self.line_feed()?),
            };
            ids.push(id);
            ids.extend(self.encode_in(normal, line));
        }
        Ok(ids)
    }

    fn line_feed(&self) -> Result<i32> {
        let dropped = || Error::unsupported("a text of several lines", "this tokenizer drops line feeds");
        self.encode("\n").pop().ok_or_else(dropped)
    }

    /// The text of ids: pieces joined, spaces unescaped, the leading space dropped, bytes put together. Control
    /// pieces have no text; bytes that are not UTF-8 become U+FFFD, one for each byte. What a normaliser replaced does
    /// not come back.
    ///
    /// # Errors
    /// `Invalid` for an id outside the vocabulary.
    pub fn decode(&self, ids: &[i32]) -> Result<String> {
        let mut text = Decoder::new(self);
        for &id in ids {
            text.push(self.checked(id)?);
        }
        Ok(text.finish())
    }

    /// The piece that decoding takes for an id: the library goes by its text.
    fn checked(&self, id: i32) -> Result<&Piece> {
        let expected = || Error::invalid("token", id, format!("0..{}", self.len()));
        let known = u32::try_from(id).ok().filter(|&id| (id as usize) < self.len()).ok_or_else(expected)?;
        Ok(self.vocabulary.piece(self.vocabulary.as_spelt(known)))
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

    /// Those of `ids` that text can become, with their pieces: where `ids` are a layout's pads, what such text becomes
    /// cannot be told from padding.
    ///
    /// # Examples
    /// Moshi pads with 3 and ends the padding with 0.
    /// ```
    /// use roundelay::text::Tokenizer;
    /// let model = include_bytes!("../../../fixtures/tokenizers/mistral_v1_32k_bpe.model");
    /// let tokenizer = Tokenizer::from_bytes(model)?;
    /// assert_eq!(tokenizer.collisions(&[3, 0]), [(3, "<0x00>")]);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn collisions(&self, ids: &[i32]) -> Vec<(i32, &str)> {
        // Where there are no bytes to fall back to, an unknown character becomes the unknown piece.
        let unk = self.vocabulary.bytes().is_none().then_some(self.unk());
        let met = ids.iter().filter(|&&id| self.is_text(id) || Some(id) == unk);
        met.filter_map(|&id| Some((id, self.piece(id)?))).collect()
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
            Algorithm::Bpe(_) => "BPE",
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

fn check_supported(trainer: &Trainer) -> Result<()> {
    let kind = match trainer.model_type {
        1 | 2 => None,
        3 => Some("a word model"),
        4 => Some("a character model"),
        _ => return Err(malformed(format!("its model type is {}", trainer.model_type))),
    };
    if let Some(kind) = kind {
        return Err(Error::unsupported(format!("tokenizer: {kind}"), "BPE and Unigram models are read"));
    }
    if trainer.whitespace_as_suffix {
        return Err(Error::unsupported("tokenizer: white space as a suffix", "pieces must carry it in front"));
    }
    Ok(())
}

fn id_of(pieces: &[Piece], text: &str, kind: PieceKind) -> Option<i32> {
    pieces.iter().zip(0..).find(|(piece, _)| piece.kind == kind && &*piece.text == text).map(|(_, id)| id)
}
