//! Words with times, from the files that aligners and other trainers write.

mod moshi_finetune;

use std::path::Path;

use crate::error::Result;
use crate::text::Word;
use crate::weights::Region;

pub use moshi_finetune::read_alignments;

/// What a file says was said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    /// Words in the order of the file; none where the file says that nobody knows what was said.
    pub words: Option<Vec<Word>>,
    /// Spans of time with a loss weight of their own.
    pub regions: Vec<Region>,
    /// What the text is to be conditioned on, as JSON text: `text_conditions` of moshi-finetune.
    pub conditions: Option<String>,
}

/// Who writes words in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WordsFormat {
    /// moshi-finetune's JSON: `{"alignments": [[word, [start, end], speaker], ..]}`.
    MoshiFinetune,
}

/// Reads a file of words; without a format, by its extension and content.
///
/// # Errors
/// `Io` if the file cannot be read, `OverLimit` beyond 256 MiB, else as [`read_alignments`]; each names the file.
pub fn read_words(path: &Path, _format: Option<WordsFormat>) -> Result<Transcript> {
    Ok(Transcript { words: Some(moshi_finetune::read_words(path)?), ..Transcript::default() })
}
