//! What a `.model` file says, field by field, before anything is made of it.
//!
//! # Source
//! `sentencepiece_model.proto` of SentencePiece 0.2.0, for field numbers and defaults.

use super::charsmap::Charsmap;
use super::proto::{Fields, Value, malformed};
use crate::error::{Error, Result};

/// Bounds on what a file can make us allocate or search through. The largest vocabularies in use have 256,000 pieces.
pub(super) const MAX_BYTES: usize = 1 << 28;
pub(super) const MAX_PIECES: usize = 1 << 22;
pub(super) const MAX_PIECE_BYTES: usize = 4096;

/// The messages that matter here.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub pieces: Vec<Piece>,
    pub trainer: Trainer,
    pub normalizer: Normalizer,
    pub denormalizer: Normalizer,
}

/// One entry of the vocabulary; its id is its index.
#[derive(Debug)]
pub(super) struct Piece {
    pub text: Box<str>,
    pub score: f32,
    pub kind: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// How the model was trained, as far as encoding depends on it.
#[derive(Debug)]
pub(super) struct Trainer {
    pub model_type: u64,
    pub whitespace_as_suffix: bool,
    pub byte_fallback: bool,
    pub unk_surface: String,
    pub unk_piece: String,
    pub bos_piece: String,
    pub eos_piece: String,
}

impl Default for Trainer {
    fn default() -> Self {
        Trainer {
            model_type: 1,
            whitespace_as_suffix: false,
            byte_fallback: false,
            unk_surface: " \u{2047} ".into(),
            unk_piece: "<unk>".into(),
            bos_piece: "<s>".into(),
            eos_piece: "</s>".into(),
        }
    }
}

/// What is done to a text before it is cut into pieces, or after they are joined.
#[derive(Debug)]
pub(super) struct Normalizer {
    pub charsmap: Option<Charsmap>,
    pub dummy_prefix: bool,
    pub remove_extra_whitespaces: bool,
    pub escape_whitespaces: bool,
}

impl Default for Normalizer {
    fn default() -> Self {
        Normalizer { charsmap: None, dummy_prefix: true, remove_extra_whitespaces: true, escape_whitespaces: true }
    }
}

impl Model {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::over_limit("SentencePiece model's size", bytes.len(), MAX_BYTES));
        }
        let mut model = Model::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Bytes(message)) => model.add_piece(message)?,
                (2, Value::Bytes(message)) => model.trainer.read(message)?,
                (3, Value::Bytes(message)) => model.normalizer.read(message)?,
                (5, Value::Bytes(message)) => model.denormalizer.read(message)?,
                _ => {}
            }
        }
        match model.pieces.is_empty() {
            true => Err(malformed("it has no pieces")),
            false => Ok(model),
        }
    }

    fn add_piece(&mut self, message: &[u8]) -> Result<()> {
        let id = self.pieces.len();
        if id == MAX_PIECES {
            return Err(Error::over_limit("number of pieces", format!("{} or more", id + 1), MAX_PIECES));
        }
        self.pieces.push(Piece::read(message, id)?);
        Ok(())
    }
}

impl Piece {
    fn read(message: &[u8], id: usize) -> Result<Self> {
        let (mut text, mut score, mut kind) = ("", 0.0, PieceKind::Normal);
        for field in Fields::new(message) {
            match field? {
                (1, Value::Bytes(bytes)) => {
                    text = str::from_utf8(bytes).map_err(|e| malformed(format!("piece {id}: {e}")))?;
                }
                (2, Value::Fixed32(bits)) => score = f32::from_bits(bits),
                (3, Value::Number(number)) => kind = piece_kind(number, id)?,
                _ => {}
            }
        }
        if text.is_empty() {
            return Err(malformed(format!("piece {id} is empty")));
        }
        if text.len() > MAX_PIECE_BYTES {
            return Err(Error::over_limit(format!("length of piece {id}"), text.len(), MAX_PIECE_BYTES));
        }
        if !score.is_finite() {
            return Err(malformed(format!("piece {id} has the score {score}")));
        }
        // Adding 0 makes the -0 that trainers write for the first piece equal to 0 in every order.
        Ok(Piece { text: text.into(), score: score + 0.0, kind })
    }
}

fn piece_kind(number: u64, id: usize) -> Result<PieceKind> {
    Ok(match number {
        1 => PieceKind::Normal,
        2 => PieceKind::Unknown,
        3 => PieceKind::Control,
        4 => PieceKind::UserDefined,
        5 => PieceKind::Unused,
        6 => PieceKind::Byte,
        _ => return Err(malformed(format!("piece {id} has the type {number}"))),
    })
}

impl Trainer {
    fn read(&mut self, message: &[u8]) -> Result<()> {
        for field in Fields::new(message) {
            match field? {
                (3, Value::Number(number)) => self.model_type = number,
                (24, Value::Number(flag)) => self.whitespace_as_suffix = flag != 0,
                (35, Value::Number(flag)) => self.byte_fallback = flag != 0,
                // The library reads it as a C string.
                (44, Value::Bytes(bytes)) => {
                    self.unk_surface = string(bytes.split(|&byte| byte == 0).next().unwrap_or(&[]))?
                }
                (45, Value::Bytes(bytes)) => set_name(&mut self.unk_piece, bytes)?,
                (46, Value::Bytes(bytes)) => set_name(&mut self.bos_piece, bytes)?,
                (47, Value::Bytes(bytes)) => set_name(&mut self.eos_piece, bytes)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Normalizer {
    fn read(&mut self, message: &[u8]) -> Result<()> {
        for field in Fields::new(message) {
            match field? {
                (2, Value::Bytes([])) => self.charsmap = None,
                (2, Value::Bytes(bytes)) => self.charsmap = Some(Charsmap::read(bytes)?),
                (3, Value::Number(flag)) => self.dummy_prefix = flag != 0,
                (4, Value::Number(flag)) => self.remove_extra_whitespaces = flag != 0,
                (5, Value::Number(flag)) => self.escape_whitespaces = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn string(bytes: &[u8]) -> Result<String> {
    str::from_utf8(bytes).map(str::to_owned).map_err(malformed)
}

/// An empty name stands for the default.
fn set_name(name: &mut String, bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() {
        *name = string(bytes)?;
    }
    Ok(())
}
