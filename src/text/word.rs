//! A word with its span in seconds, and what became of it on the frame grid.

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// A word as it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The word, with its punctuation.
    pub text: String,
    /// When it begins.
    pub start: Seconds,
    /// When it ends.
    pub end: Seconds,
    /// Who said it.
    pub speaker: String,
    /// Its token ids where the source gives them; a tokenizer is then not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<i32>>,
}

impl Word {
    /// A word whose ids are the tokenizer's matter.
    pub fn new(text: impl Into<String>, start: Seconds, end: Seconds, speaker: impl Into<String>) -> Self {
        Word { text: text.into(), start, end, speaker: speaker.into(), ids: None }
    }

    /// The text without white space around it, which is what is tokenized.
    ///
    /// White space as Python's `str.strip` has it: also the separators U+001C to U+001F, and not U+200B.
    pub fn stripped(&self) -> &str {
        strip(&self.text)
    }
}

/// Drops white space on both sides, as Python does.
pub(super) fn strip(text: &str) -> &str {
    // Nearly every word is such a one, and this is asked of each.
    if let [first, .., last] = text.as_bytes()
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return text;
    }
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// A word with its token ids and its place in the text row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedWord {
    /// The word as it was said; times count from the beginning of the row.
    #[serde(flatten)]
    pub word: Word,
    /// Frame of its first token; none if the row does not hold it.
    pub frame: Option<usize>,
    /// All its token ids, also those that were cut.
    pub tokens: Vec<i32>,
    /// When each token begins, under a rule that spreads them over the word; empty where they follow one another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Seconds>,
}

impl PlacedWord {
    /// A word that is to be placed.
    pub fn new(word: Word, tokens: Vec<i32>) -> Self {
        PlacedWord { word, frame: None, tokens, starts: Vec::new() }
    }
}
