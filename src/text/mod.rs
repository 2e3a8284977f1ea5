//! Words and the text row.
//!
//! [`tokenize`] gives words their ids, a [`Rule`] places them in a [`TextRow`], [`words_from_row`] is the way back.

mod interleave;
mod moshi;
mod sentencepiece;
mod word;
mod words;

pub use interleave::{Rule, TextRow, TextStream, tokenize};
pub use sentencepiece::Tokenizer;
pub use word::{PlacedWord, Word};
pub use words::words_from_row;
