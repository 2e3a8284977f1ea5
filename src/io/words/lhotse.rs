//! Lhotse's words: cuts with their supervisions, or supervisions alone, one JSON object a line or all in one list.
//!
//! ```text
//! {"id": "c", "start": 0.0, "duration": 7.12, "channel": 0, "type": "MonoCut", "supervisions": [
//!    {"id": "s", "recording_id": "r", "start": 0.2, "duration": 6.59, "channel": 0, "speaker": "A", "text": "And Mr.",
//!     "alignment": {"word": [["And", 0.2, 0.17, 0.9], ["Mr.", 0.37, 0.26, null]]}}]}     symbol, start, duration, score
//! ```
//!
//! A supervision begins at a time of its cut, a word at a time of the recording, as Lhotse's documentation has it and as
//! cutting leaves it. A word that lies outside its supervision was timed otherwise, and is refused; so is a file without
//! a line, which an aligner that died leaves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::json::{Document, Value};
use super::recording::Recordings;
use super::source::{is_silence, untimed};
use super::{SPEAKER, SPEAKER_OTHER};
use crate::error::{Error, Result};
use crate::text::Word;
use crate::units::Seconds;

pub fn parse(text: &str, recording: Option<&str>) -> Result<Vec<Word>> {
    let document = Document { what: "Lhotse file", text };
    let mut manifest = Manifest { recordings: Recordings::new("Lhotse file"), seen: HashMap::new() };
    if text.trim().is_empty() {
        return Err(Error::malformed("Lhotse file", "it has no words"));
    }
    if text.trim_start().starts_with('[') {
        document.value()?.each("a list of cuts", |entry| manifest.take(&entry))?;
    } else {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            manifest.take(&document.value_of(line)?)?;
        }
    }
    manifest.recordings.choose(recording)
}

struct Manifest {
    recordings: Recordings<'static, Word>,
    /// Which of its recording's words are those of a supervision, by recording and id: cuts that overlap hold the same.
    seen: HashMap<(String, String), Range<usize>>,
}

impl Manifest {
    /// A cut or a supervision.
    fn take(&mut self, entry: &Value) -> Result<()> {
        let [supervisions, start, tracks, own] =
            entry.fields(["supervisions", "start", "tracks", "recording_id"], "a cut or a supervision")?;
        if tracks.is_some() {
            let refused = Error::unsupported("a cut mixed of several", "save the cuts before mixing");
            return Err(refused.on_line(entry.line()));
        }
        if own.is_some() && supervisions.is_none() {
            return self.take_supervision(entry, Seconds::ZERO);
        }
        let supervisions = entry.required("supervisions", supervisions)?;
        let start = entry.required("start", start)?.time()?;
        supervisions.each("a list of supervisions", |supervision| self.take_supervision(&supervision, start))
    }

    /// A supervision of a cut that begins at this time of the recording.
    fn take_supervision(&mut self, entry: &Value, cut: Seconds) -> Result<()> {
        let [id, recording] = entry.fields(["id", "recording_id"], "a supervision")?;
        let id = entry.required("id", id)?.string()?;
        let recording = entry.required("recording_id", recording)?.string()?;
        let words = words(entry, cut)?;
        let all = self.recordings.of(recording.clone());
        match self.seen.entry((recording, id)) {
            Entry::Vacant(entry) => {
                entry.insert(all.len()..all.len() + words.len());
                all.extend(words);
            }
            Entry::Occupied(before) if all[before.get().clone()] == words => {}
            Entry::Occupied(before) => {
                let id = &before.key().1;
                return Err(entry.malformed(format!("supervision {id:?} is there twice, with other words")));
            }
        }
        Ok(())
    }
}

fn words(entry: &Value, cut: Seconds) -> Result<Vec<Word>> {
    let [start, duration, text, alignment] =
        entry.fields(["start", "duration", "text", "alignment"], "a supervision")?;
    let start = cut + entry.required("start", start)?.time()?;
    let span = (start, start + entry.required("duration", duration)?.duration()?);
    let text = text.and_then(Value::known).map_or(Ok(String::new()), |text| text.string())?;
    let speaker = speaker(entry)?;
    let mut items = 0;
    let mut words = Vec::new();
    if let Some(alignment) = alignment.and_then(Value::known) {
        let [list] = alignment.fields(["word"], "{\"word\": [..]}")?;
        if let Some(list) = list.and_then(Value::known) {
            list.each("[[symbol, start, duration, score], ..]", |item| {
                items += 1;
                words.extend(Some(word(&item, span, &speaker)?).filter(|word| !is_silence(&word.text)));
                Ok(())
            })?;
        }
    }
    if items == 0 && !text.trim().is_empty() {
        return Err(untimed(format!("{} has text and no alignment of words", entry.name())).on_line(entry.line()));
    }
    Ok(words)
}

fn word(item: &Value, span: (Seconds, Seconds), speaker: &str) -> Result<Word> {
    // Early versions wrote no score.
    let [symbol, start, duration] = match item.entries("[symbol, start, duration, score]") {
        Ok([symbol, start, duration, _score]) => [symbol, start, duration],
        Err(error) => item.entries("").map_err(|_| error)?,
    };
    let (start_time, duration) = (start.time()?, duration.duration()?);
    let word = Word::new(symbol.string()?, start_time, start_time + duration, speaker);
    if word.end < span.0 || word.start > span.1 {
        return Err(
            start.is_not(&format!("a time of the recording, within its supervision ({} to {})", span.0, span.1))
        );
    }
    Ok(word)
}

/// The speaker; where none is named, by the channel.
fn speaker(entry: &Value) -> Result<String> {
    let [speaker, channel] = entry.fields(["speaker", "channel"], "a supervision")?;
    if let Some(speaker) = speaker.and_then(Value::known) {
        return speaker.string();
    }
    let channel = channel.map_or(Ok(0), |channel| first_channel(&channel))?;
    Ok(match channel {
        0 => SPEAKER.to_owned(),
        1 => SPEAKER_OTHER.to_owned(),
        n => format!("channel {n}"),
    })
}

/// A channel, or the first of those that share the supervision.
fn first_channel(channel: &Value) -> Result<u32> {
    let mut first = None;
    let mut take = |value: &Value| {
        first.get_or_insert(value.written().parse().map_err(|_| value.is_not("the number of a channel"))?);
        Ok(())
    };
    if channel.is_list() {
        channel.each("a list of channels", |value| take(&value))?;
    } else {
        take(channel)?;
    }
    Ok(first.unwrap_or(0))
}
