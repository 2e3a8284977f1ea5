//! WhisperX's words: segments, each with its words.
//!
//! ```text
//! {"segments": [{"start": 0.2, "end": 6.79, "text": " And Mr. John", "speaker": "SPEAKER_00",
//!                "words": [{"word": "And", "start": 0.2, "end": 0.37, "score": 0.9, "speaker": "SPEAKER_00"}, ..]}],
//!  "word_segments": [..],                        the same words once more
//!  "language": "en"}
//! ```
//!
//! Whisper's own JSON is alike if it was asked for word times. A word's speaker is its own, else its segment's, else
//! [`SPEAKER`]. WhisperX leaves words that it cannot align, such as numbers, without times: these are refused.

use super::SPEAKER;
use super::json::{Document, Value};
use super::source::untimed;
use crate::error::{Error, Result};
use crate::text::Word;

pub fn parse(text: &str) -> Result<Vec<Word>> {
    let file = Document { what: "WhisperX file", text }.value()?;
    let [segments, flat] = file.fields(["segments", "word_segments"], "{\"segments\": [..]}")?;
    let mut words = Vec::new();
    match (segments, flat) {
        (None, Some(flat)) => take_words(&flat, None, &mut words)?,
        (segments, _) => {
            let segments = file.required("segments", segments)?;
            segments.each("[{\"words\": [..]}, ..]", |segment| take_segment(&segment, &mut words))?;
        }
    }
    Ok(words)
}

fn take_segment(segment: &Value, words: &mut Vec<Word>) -> Result<()> {
    let [list, text, speaker] = segment.fields(["words", "text", "speaker"], "an object")?;
    let text = text.and_then(Value::known).map_or(Ok(String::new()), |text| text.string())?;
    let speaker = speaker.and_then(Value::known).map(|speaker| speaker.string()).transpose()?;
    let before = words.len();
    if let Some(list) = list.and_then(Value::known) {
        take_words(&list, speaker.as_deref(), words)?;
    }
    if words.len() == before && !text.trim().is_empty() {
        return Err(without_words(segment));
    }
    Ok(())
}

fn without_words(segment: &Value) -> Error {
    let detail = format!("{} has no \"words\" (whisper writes them with --word_timestamps True)", segment.name());
    untimed(detail).on_line(segment.line())
}

fn take_words(list: &Value, speaker: Option<&str>, words: &mut Vec<Word>) -> Result<()> {
    list.each("[{\"word\": .., \"start\": .., \"end\": ..}, ..]", |entry| {
        words.push(word(&entry, speaker)?);
        Ok(())
    })
}

fn word(entry: &Value, speaker: Option<&str>) -> Result<Word> {
    let [text, start, end, own] = entry.fields(["word", "start", "end", "speaker"], "an object")?;
    let text = entry.required("word", text)?.string()?;
    let (Some(start), Some(end)) = (start.and_then(Value::known), end.and_then(Value::known)) else {
        return Err(untimed(format!("{} ({text:?}) lacks its start or end", entry.name())).on_line(entry.line()));
    };
    let own = own.and_then(Value::known).map(|own| own.string()).transpose()?;
    let speaker = own.as_deref().or(speaker).unwrap_or(SPEAKER);
    // Whisper writes the space before a word with the word.
    Ok(Word::new(text.trim(), start.time()?, end.time()?, speaker))
}
