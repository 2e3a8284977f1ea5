//! What lies beside a recording: its words, regions of time, and who speaks when.
//!
//! ```text
//! a.wav   a.json | a.TextGrid | a.ctm | a.jsonl     words, the first that there is; also a.textgrid
//!         a.regions.json                            spans of time with a loss weight of their own
//!         a.rttm                                    speaker segments
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::options::PrepOptions;
use crate::error::{Error, Result};
use crate::io::{Transcript, WordsFormat, read_regions, read_segments, read_words};
use crate::text::SpeakerSegment;

const SUFFIXES: [&str; 5] = [".json", ".TextGrid", ".textgrid", ".ctm", ".jsonl"];

/// The name of a recording with another ending.
fn beside(recording: &Path, suffix: &str) -> PathBuf {
    let stem = recording.file_stem().unwrap_or_default().to_string_lossy();
    recording.with_file_name(format!("{stem}{suffix}"))
}

/// Words and regions of a recording. There may be no words at all only where nobody `needs` them.
pub(super) fn transcript(recording: &Path, options: &PrepOptions, needed: bool) -> Result<Transcript> {
    let mut transcript = match find_words(recording, options) {
        Some(path) => read_words(&path, options.words_format)?,
        None if needed => return Err(no_words(recording, options)),
        None => Transcript { words: Some(Vec::new()), ..Transcript::default() },
    };
    let regions = beside(recording, ".regions.json");
    if regions.exists() {
        transcript.regions.extend(read_regions(&regions)?);
    }
    Ok(transcript)
}

fn suffixes(options: &PrepOptions) -> Vec<&str> {
    let fits = |suffix: &str| {
        let extension = suffix.trim_start_matches('.').to_ascii_lowercase();
        options.words_format.is_none_or(|format: WordsFormat| format.extensions().contains(&&*extension))
    };
    match &options.words_suffix {
        Some(suffix) => vec![suffix],
        None => SUFFIXES.into_iter().filter(|suffix| fits(suffix)).collect(),
    }
}

fn find_words(recording: &Path, options: &PrepOptions) -> Option<PathBuf> {
    suffixes(options).into_iter().map(|suffix| beside(recording, suffix)).find(|path| path.exists())
}

fn no_words(recording: &Path, options: &PrepOptions) -> Error {
    let stem = recording.file_stem().unwrap_or_default().to_string_lossy();
    let names: Vec<_> = suffixes(options).into_iter().map(|suffix| format!("{stem}{suffix}")).collect();
    Error::invalid("words", "missing", format!("{} beside the recording", names.join(", or ")))
        .in_file(recording.display())
}

/// Who speaks when in a recording of one channel, and the file that says so.
pub(super) fn segments(recording: &Path) -> Result<(PathBuf, Vec<SpeakerSegment>)> {
    let path = beside(recording, ".rttm");
    if !path.exists() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let expected = format!("{name} beside the recording");
        return Err(Error::invalid("speaker segments", "missing", expected).in_file(recording.display()));
    }
    let segments = read_segments(&path)?;
    Ok((path, segments))
}

/// What the manifest says of a recording, and what its text is to be conditioned on; the manifest has the last word.
pub(super) fn meta(said: &str, conditions: Option<&str>) -> Result<String> {
    let Some(conditions) = conditions else { return Ok(said.to_owned()) };
    let failed = |e| Error::malformed("text_conditions", e);
    let mut meta: BTreeMap<String, Box<RawValue>> = serde_json::from_str(said).map_err(failed)?;
    meta.entry("text_conditions".to_owned()).or_insert(serde_json::from_str(conditions).map_err(failed)?);
    serde_json::to_string(&meta).map_err(failed)
}
