//! J-Moshi's words: one list for both speakers.
//!
//! ```text
//! [{"speaker": "A", "word": "hello", "start": 0.46, "end": 1.52},
//!  {"speaker": "B", "word": "hi",    "start": 1.82, "end": 2.04}]
//! ```

use super::json::{Document, Value};
use super::source::untimed;
use crate::error::Result;
use crate::text::Word;

const FORM: &str = "[{\"speaker\": .., \"word\": .., \"start\": .., \"end\": ..}, ..]";

pub fn parse(text: &str) -> Result<Vec<Word>> {
    let mut words = Vec::new();
    Document { what: "J-Moshi file", text }.value()?.each(FORM, |entry| {
        words.push(word(&entry)?);
        Ok(())
    })?;
    Ok(words)
}

fn word(entry: &Value) -> Result<Word> {
    let [speaker, text, start, end] = entry.fields(["speaker", "word", "start", "end"], "an object")?;
    let text = entry.required("word", text)?.string()?;
    let speaker = entry.required("speaker", speaker)?.string()?;
    let (Some(start), Some(end)) = (start.and_then(Value::known), end.and_then(Value::known)) else {
        return Err(untimed(format!("{} ({text:?}) lacks its start or end", entry.name())).on_line(entry.line()));
    };
    Ok(Word::new(text, start.time()?, end.time()?, speaker))
}
