//! moshi-finetune's words, as its `annotate.py` writes them.
//!
//! ```text
//! {"alignments": [
//!   ["He",  [0.21, 0.34], "SPEAKER_MAIN"],        text, [start, end] in seconds, speaker
//!   [[403], [0.34, 0.56], "SPEAKER_MAIN"]         or token ids in place of the text
//!  ],
//!  "regions": [[2.0, 3.5, 10]],                   [start, end, weight]: counts tenfold in the loss
//!  "text_conditions": {"mood": "calm"}}
//! ```
//!
//! `"alignments": null` says that nobody knows what was said. Any label is a speaker, and any string a word, the empty
//! one too; a time may be negative and an end before its start. What is to be done about such words is the placing
//! rule's matter. Other keys are passed over.

use super::Transcript;
use super::json::{Document, Value};
use super::regions::regions;
use super::source::{shortened, untimed};
use crate::error::{Error, Result};
use crate::text::Word;

pub fn parse(text: &str) -> Result<Transcript> {
    let file = Document { what: "words file", text }.value()?;
    if file.is_list() {
        return Err(Error::malformed("words file", "it is a list, expected {\"alignments\": [..]}"));
    }
    let [alignments, found, conditions] =
        file.fields(["alignments", "regions", "text_conditions"], "{\"alignments\": [..]}")?;
    let alignments = file.required("alignments", alignments)?;
    Ok(Transcript {
        words: alignments.known().map(|list| words(&list)).transpose()?,
        regions: found.and_then(Value::known).map_or(Ok(Vec::new()), |list| regions(&list))?,
        conditions: conditions.and_then(Value::known).map(|value| value.written().to_owned()),
    })
}

fn words(list: &Value) -> Result<Vec<Word>> {
    let mut words = Vec::new();
    list.each("[[word, [start, end], speaker], ..]", |entry| {
        words.push(word(&entry)?);
        Ok(())
    })?;
    Ok(words)
}

fn word(entry: &Value) -> Result<Word> {
    let [text, span, speaker] = entry.entries("[word, [start, end], speaker]")?;
    let untimed = || {
        let said = format!("{} ({}) lacks its start or end", entry.name(), shortened(text.written()));
        untimed(said).on_line(entry.line())
    };
    let span = span.known().ok_or_else(untimed)?;
    let [start, end] = span.entries("[start, end]")?.map(Value::known);
    let (Some(start), Some(end)) = (start, end) else { return Err(untimed()) };
    let ids = text.is_list().then(|| ids(&text)).transpose()?;
    let text = if ids.is_some() { String::new() } else { text.string()? };
    Ok(Word { ids, ..Word::new(text, start.time()?, end.time()?, speaker.string()?) })
}

fn ids(list: &Value) -> Result<Vec<i32>> {
    let mut ids = Vec::new();
    list.each("a list of token ids", |entry| {
        let id = entry.written().parse().ok().filter(|id| *id >= 0);
        ids.push(id.ok_or_else(|| entry.is_not("a token id, 0 or more"))?);
        Ok(())
    })?;
    Ok(ids)
}
