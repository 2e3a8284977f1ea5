//! Recordings, words and codes -> a dataset folder; several folders -> one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use roundelay::codec::builtin::Builtin;
use roundelay::io::{CodeSource, DatasetInfo, PrepOptions, PrepProgress, REJECTS_FILE, Shard, ValidShare, WordsFormat};
use roundelay::pipeline::Speakers;
use roundelay::tally::EventKind;
use roundelay::{Error, Seconds};

use crate::data::{object, parsed};
use crate::error::OrRaise;
use crate::layout::layout;
use crate::text::rule;

/// Threads that a system starts without trouble.
const MOST_JOBS: usize = 1024;

/// Prepares every recording of a manifest into a dataset folder, and returns what its `dataset.json` says.
///
/// What it does and writes is that of the command line's `prep`, to the byte. Recordings are WAV files that the manifest
/// names, a JSON object with `path` and `duration` a line; their words lie beside them (`words_suffix` and `words_format`
/// say where and how, if that cannot be told).
///
/// - `layout` is moshi-7b unless given; `codec` is "builtin", which is for trying things out, or "codes" for files of
///   codes beside the recordings (`codes_suffix`).
/// - `rule` places words: "moshi", "kyutai", "jmoshi", or a dictionary with its name, as
///   `{"rule": "kyutai", "keep_main_only": True}`. `main_speaker` is the label whose words are the main text,
///   `speakers` gives those of other speakers of the layout.
/// - `window` and `hop` are seconds, rounded up to frames; None keeps whole recordings. `border` is what becomes of a word
///   that a window's end cuts: it is cut there ("start"), left out ("drop"), or goes on in the next window ("split").
/// - `diarised` takes one channel apart by speaker segments: "silence" or "absent" where a speaker is not heard.
/// - `valid` is the share of recordings held out, drawn by `seed`; `shard` `(i, n)` takes the i-th of n shares.
/// - `jobs` are threads. `progress` is called with `(done, recordings)` now and then.
///
/// A recording that cannot be used is a line in `rejects.jsonl` and a warning; with `strict`, or where none can be used,
/// it is a ValueError at the end. A run that was broken off, by Ctrl-C or by what `progress` raises, goes on with the first
/// part that is not whole when the same call is made again; a part has `part_recordings`, 256 unless given.
#[pyfunction]
#[pyo3(signature = (manifest, folder, layout = None, tokenizer = None, *, codec = "builtin", codes_suffix = None,
    rule = None, main_speaker = "SPEAKER_MAIN", speakers = None, window = None, hop = None, border = "start",
    words_suffix = None, words_format = None, diarised = None, valid = None, seed = 0, part_recordings = None,
    shard = None, jobs = 1, strict = false, progress = None))]
#[allow(clippy::too_many_arguments, reason = "Python's are named")]
pub fn prep<'py>(
    py: Python<'py>,
    manifest: PathBuf,
    folder: PathBuf,
    layout: Option<&Bound<'py, PyAny>>,
    tokenizer: Option<PathBuf>,
    codec: &str,
    codes_suffix: Option<String>,
    rule: Option<&Bound<'py, PyAny>>,
    main_speaker: &str,
    speakers: Option<BTreeMap<String, String>>,
    window: Option<f64>,
    hop: Option<f64>,
    border: &str,
    words_suffix: Option<String>,
    words_format: Option<&str>,
    diarised: Option<&str>,
    valid: Option<f64>,
    seed: u64,
    part_recordings: Option<usize>,
    shard: Option<(usize, usize)>,
    jobs: usize,
    strict: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let layout =
        layout.map_or_else(|| roundelay::Layout::preset("moshi-7b").map(Cow::Owned).or_raise(), self::layout)?;
    let codes = match codec {
        "builtin" => CodeSource::Codec(Box::new(Builtin::new())),
        "codes" => CodeSource::Files { suffix: codes_suffix },
        _ => return Err(PyValueError::new_err(format!("codec is {codec:?}, expected \"builtin\" or \"codes\""))),
    };
    let seconds = |time: Option<f64>| time.map(|time| Seconds::from_f64(time).or_raise()).transpose();
    let others = speakers.unwrap_or_default().into_iter();
    let defaults = PrepOptions::new(layout.into_owned(), tokenizer, codes);
    if !(1..=MOST_JOBS).contains(&jobs) {
        return Err(PyValueError::new_err(format!("jobs is {jobs}, expected 1 to {MOST_JOBS}")));
    }
    let options = PrepOptions {
        rule: rule.map_or(Ok(Default::default()), self::rule)?,
        speakers: others.fold(Speakers::new(main_speaker), |speakers, (who, label)| speakers.with(who, label)),
        window: seconds(window)?,
        hop: seconds(hop)?,
        border: parsed("border", border.into())?,
        words_suffix,
        words_format: words_format.map(str::parse::<WordsFormat>).transpose().or_raise()?,
        diarised: diarised.map(|unheard| parsed("diarised", unheard.into())).transpose()?,
        valid: valid.map(|share| ValidShare { share, seed }),
        part_recordings: part_recordings.unwrap_or(defaults.part_recordings),
        shard: shard.map(|(index, count)| Shard::new(index, count).or_raise()).transpose()?,
        jobs,
        ..defaults
    };
    let mut raised = None;
    let mut tell = |now: &PrepProgress| {
        let done = now.counts.recordings + now.counts.rejects;
        let call = |py: Python<'_>| {
            progress.as_ref().map_or(Ok(()), |progress| progress.call1(py, (done, now.lines)).map(drop))
        };
        going_on(&mut raised, call)
    };
    let info = py.detach(|| roundelay::io::prep(&manifest, &folder, &options, &mut tell));
    if let Some(exception) = raised {
        return Err(exception);
    }
    let info = info.or_raise()?;
    judge(py, &info, &options, &folder, strict)?;
    object(py, &info)
}

/// Says what a corpus does not tell by itself: recordings that could not be used, and words of nobody that is asked for.
fn judge(py: Python<'_>, info: &DatasetInfo, options: &PrepOptions, folder: &Path, strict: bool) -> PyResult<()> {
    let counts = &info.counts;
    let texts = options.layout.streams().iter().filter(|stream| !stream.kind.is_audio()).count() as u64;
    let wordless = counts.recordings > 0 && texts > 0 && counts.text_pads == texts * counts.frames;
    let reasons = folder.join(REJECTS_FILE);
    let mut found = Vec::new();
    if wordless && info.events.get(EventKind::OtherSpeaker).events > 0 {
        found.push(format!("only words of other speakers: is no speaker called {:?}?", options.speakers.main()));
    }
    if counts.rejects > 0 {
        let who = if counts.recordings == 0 { "none of the " } else { "" };
        let could = if counts.recordings == 0 { "could" } else { "could not" };
        let rejects = counts.rejects;
        found.push(format!("{who}{rejects} recordings {could} be used; {} says why", reasons.display()));
    }
    match found.join("; ") {
        none if none.is_empty() => Ok(()),
        // Of a shard's recordings none may be of use, and of the others'.
        found if strict || counts.recordings == 0 && options.shard.is_none() => Err(PyValueError::new_err(found)),
        found => PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(found)?, 1),
    }
}

/// Joins datasets of one layout, codec, tokenizer and set of options; the shards of one manifest become what one run would
/// have written, to the byte. Returns what `dataset.json` says.
#[pyfunction]
pub fn merge(py: Python<'_>, folders: Vec<PathBuf>, output: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let mut raised = None;
    let info = py.detach(|| roundelay::io::merge(&folders, &output, &mut |_| going_on(&mut raised, |_| Ok(()))));
    match raised {
        Some(exception) => Err(exception),
        None => object(py, &info.or_raise()?),
    }
}

/// Looks for Ctrl-C, and calls what is to be called; an exception breaks the work off, and is kept.
fn going_on(raised: &mut Option<PyErr>, call: impl FnOnce(Python<'_>) -> PyResult<()>) -> roundelay::Result<()> {
    let told = Python::attach(|py| py.check_signals().and_then(|()| call(py)));
    told.map_err(|exception| {
        *raised = Some(exception);
        Error::io("go on", std::io::ErrorKind::Interrupted.into())
    })
}
