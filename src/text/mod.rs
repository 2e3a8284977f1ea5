//! Words and the text row.
//!
//! A [`Rule`] gives words their ids and places them in a [`TextRow`]; [`words_from_row`] is the way back.

mod augment;
mod draws;
mod interleave;
mod jmoshi;
mod kyutai;
#[cfg(test)]
mod laws;
mod moshi;
mod rule;
mod segment;
mod sentencepiece;
mod told;
mod word;
mod words;

pub use augment::{Augment, Augmented, Drawn, ShiftRange, TextDrop, Unit};
pub use interleave::{TextRow, TextStream};
pub use jmoshi::JmoshiRule;
pub use kyutai::{KyutaiRule, TurnMarkers};
pub use rule::{Rule, tokenize};
pub use segment::SpeakerSegment;
pub use sentencepiece::Tokenizer;
pub use told::Note;
pub use word::{PlacedWord, Word};
pub use words::words_from_row;
