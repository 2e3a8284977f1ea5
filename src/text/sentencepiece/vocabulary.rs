//! The pieces of a model, checked, and the ways to look them up.

use std::collections::{HashMap, HashSet};

use super::model::{Piece, PieceKind};
use super::proto::malformed;
use super::trie::Trie;
use crate::error::Result;

/// Pieces by id and by text.
pub(super) struct Vocabulary {
    pieces: Vec<Piece>,
    /// Pieces that are matched before any others; most models have none.
    user_defined: Option<Trie>,
    /// Text pieces that read like a reserved one, with that one's id; most models have none.
    twins: HashMap<u32, u32>,
    unk: u32,
    bytes: Option<Box<[u32; 256]>>,
}

impl Vocabulary {
    /// Checks what SentencePiece checks: one unknown piece, no piece twice, all bytes or none.
    pub(super) fn new(pieces: Vec<Piece>, byte_fallback: bool) -> Result<Self> {
        check_distinct(&pieces)?;
        let unk = unknown_id(&pieces)?;
        let bytes = byte_ids(&pieces, byte_fallback)?;
        let has_user_defined = pieces.iter().any(|piece| piece.kind == PieceKind::UserDefined);
        let user_defined = has_user_defined.then(|| {
            let pieces = pieces.iter().zip(0..).filter(|(piece, _)| piece.kind == PieceKind::UserDefined);
            Trie::of(pieces)
        });
        let twins = twins(&pieces);
        Ok(Vocabulary { user_defined, twins, unk, bytes, pieces })
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The piece of an id that this vocabulary gave out.
    pub(super) fn piece(&self, id: u32) -> &Piece {
        &self.pieces[id as usize]
    }

    /// The piece of an id from outside.
    pub(super) fn get(&self, id: i32) -> Option<&Piece> {
        self.pieces.get(usize::try_from(id).ok()?)
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn unk(&self) -> u32 {
        self.unk
    }

    /// Ids of the 256 byte pieces, if the model falls back to bytes.
    pub(super) fn bytes(&self) -> Option<&[u32; 256]> {
        self.bytes.as_deref()
    }

    /// Pieces that text may become, with their ids: normal, user-defined and unused. Control, byte and unknown pieces
    /// are not among them, so a `<s>` that somebody said is text.
    pub(super) fn text_pieces(&self) -> impl Iterator<Item = (&Piece, u32)> {
        self.pieces.iter().zip(0..).filter(|(piece, _)| is_text(piece.kind))
    }

    /// The id that the library gives to the text of a piece: where two read alike, the reserved one's.
    pub(super) fn as_spelt(&self, id: u32) -> u32 {
        self.twins.get(&id).copied().unwrap_or(id)
    }

    /// Pieces that are matched before any others, if there are any.
    pub(super) fn user_defined(&self) -> Option<&Trie> {
        self.user_defined.as_ref()
    }
}

fn is_text(kind: PieceKind) -> bool {
    matches!(kind, PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused)
}

/// A text piece may read like a reserved one; apart from that no text occurs twice.
fn check_distinct(pieces: &[Piece]) -> Result<()> {
    let mut seen = HashSet::new();
    match pieces.iter().position(|piece| !seen.insert((is_text(piece.kind), &piece.text))) {
        Some(id) => Err(malformed(format!("piece {id}, {:?}, is there twice", pieces[id].text))),
        None => Ok(()),
    }
}

fn twins(pieces: &[Piece]) -> HashMap<u32, u32> {
    let with_ids = || pieces.iter().zip(0..);
    let reserved: HashMap<_, _> =
        with_ids().filter(|(piece, _)| !is_text(piece.kind)).map(|(p, id)| (&p.text, id)).collect();
    let text = with_ids().filter(|(piece, _)| is_text(piece.kind));
    text.filter_map(|(piece, id)| Some((id, *reserved.get(&piece.text)?))).collect()
}

fn unknown_id(pieces: &[Piece]) -> Result<u32> {
    let mut unknown = (0..).zip(pieces).filter(|(_, piece)| piece.kind == PieceKind::Unknown);
    match (unknown.next(), unknown.next()) {
        (Some((id, _)), None) => Ok(id),
        (None, _) => Err(malformed("it has no unknown piece")),
        (Some(_), Some((id, _))) => Err(malformed(format!("piece {id} is a second unknown piece"))),
    }
}

fn byte_ids(pieces: &[Piece], byte_fallback: bool) -> Result<Option<Box<[u32; 256]>>> {
    let mut ids = Box::new([u32::MAX; 256]);
    for (id, piece) in (0..).zip(pieces).filter(|(_, piece)| piece.kind == PieceKind::Byte) {
        if !byte_fallback {
            return Err(malformed(format!("piece {id} is a byte, and the model does not fall back to bytes")));
        }
        let byte = byte_of(&piece.text);
        let byte = byte.ok_or_else(|| malformed(format!("piece {id}, {:?}, is no byte", piece.text)))?;
        ids[usize::from(byte)] = id;
    }
    match ids.iter().position(|&id| id == u32::MAX) {
        Some(byte) if byte_fallback => Err(malformed(format!("the piece of the byte {byte} is missing"))),
        _ => Ok(byte_fallback.then_some(ids)),
    }
}

/// The byte that `<0x41>` stands for. Capital letters only, as SentencePiece writes them.
pub(super) fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let capital = digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    capital.then(|| u8::from_str_radix(digits, 16).ok())?
}
