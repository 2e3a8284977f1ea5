//! Words and the text row.

mod word;

pub use word::{PlacedWord, Word};
