//! J-Moshi's Parquet: one row a dialogue, two speakers with a row of text each.
//!
//! ```text
//! dialogue_id    A                                  B
//! "d/0001"       [[3 0 812 ..] [5 6 7 ..] ..]       [[3 3 3 ..] [9 9 1 ..] ..]
//!                text, then 8 codebooks             the same of the other speaker
//! ```
//!
//! # Source
//! nu-dialogue/moshi-finetune, `tools/prepare_dataset.py`.

mod reader;
mod writer;

use std::sync::Arc;

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

use crate::error::{Error, Result};
use crate::stream::Layout;

pub(super) use reader::{JmoshiReader, is_jmoshi};
pub use writer::{JmoshiCounts, export_jmoshi};

/// The layout of what is read.
const LAYOUT: &str = "j-moshi";
const ID: &str = "dialogue_id";
const SPEAKERS: [&str; 2] = ["A", "B"];
/// Codebooks of a speaker.
const CODEBOOKS: usize = 8;
/// Rows of a speaker: text, and the codebooks.
const ROWS: usize = 1 + CODEBOOKS;

/// The layout of segments that are read from J-Moshi's files.
pub(super) fn layout() -> Layout {
    Layout::preset(LAYOUT).expect("a preset")
}

/// The columns that are written: pyarrow's names of lists, and nothing that may be null.
fn schema() -> TypePtr {
    let lists = |name: &str| {
        format!(
            "REQUIRED GROUP {name} (LIST) {{ REPEATED GROUP list {{ REQUIRED GROUP element (LIST) {{
                REPEATED GROUP list {{ REQUIRED INT32 element; }} }} }} }}"
        )
    };
    let [a, b] = SPEAKERS.map(lists);
    let text = format!("message dialogues {{ REQUIRED BYTE_ARRAY {ID} (STRING); {a} {b} }}");
    Arc::new(parse_message_type(&text).expect("the schema above is well-formed"))
}

/// The rows of a layout that become those of the two speakers; of the other speaker's text, if there is a row of it.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    main: [usize; ROWS],
    other: [usize; CODEBOOKS],
    other_text: Option<usize>,
}

impl Rows {
    /// # Errors
    /// `Unsupported` if the layout has not the rows that J-Moshi's trainer takes, and no others.
    fn of(layout: &Layout) -> Result<Self> {
        let unsupported = |found: String| {
            let what = format!("layout {:?} as J-Moshi's Parquet", layout.name());
            let expected =
                format!("{found}; it holds text of the main speaker and {CODEBOOKS} codebooks of two speakers");
            Error::unsupported(what, expected)
        };
        let speakers = layout.audio_speakers();
        let [main, other] = speakers[..] else {
            return Err(unsupported(format!("there are {} speakers", speakers.len())));
        };
        let text = |speaker: &str| layout.streams().iter().position(|s| !s.kind.is_audio() && s.speaker == speaker);
        let level = |speaker: &str, level: usize| {
            let row = layout.streams().iter().position(|s| s.speaker == speaker && s.level == Some(level));
            row.ok_or_else(|| unsupported(format!("speaker {speaker} has no codebook {level}")))
        };
        let mut rows = Rows { main: [0; ROWS], other: [0; CODEBOOKS], other_text: text(other) };
        rows.main[0] = text(main).ok_or_else(|| unsupported(format!("speaker {main} has no text")))?;
        for n in 0..CODEBOOKS {
            (rows.main[1 + n], rows.other[n]) = (level(main, n)?, level(other, n)?);
        }
        let taken = ROWS + CODEBOOKS + usize::from(rows.other_text.is_some());
        match layout.streams().len() == taken {
            true => Ok(rows),
            false => {
                Err(unsupported(format!("there are {} streams, and {taken} have a place", layout.streams().len())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_layouts_of_two_speakers() {
        let rows = |name: &str| Rows::of(&Layout::preset(name).unwrap());
        let expected =
            Rows { main: [0, 1, 2, 3, 4, 5, 6, 7, 8], other: [9, 10, 11, 12, 13, 14, 15, 16], other_text: None };
        assert_eq!(rows("j-moshi").unwrap(), expected);
        assert_eq!(rows("moshi-7b").unwrap(), expected);
        for (name, expected) in [
            ("moshi-2b", "33 streams, and 17 have a place"),
            ("delay-1", "there are 1 speakers"),
            ("musicgen", "there are 1 speakers"),
        ] {
            let error = rows(name).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
