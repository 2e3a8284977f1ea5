//! Recordings, words and codes -> a dataset folder.

use std::borrow::Cow;
use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use roundelay::Seconds;
use roundelay::codec::builtin::Builtin;
use roundelay::io::{CodeSource, PrepOptions, Shard, ValidShare};
use roundelay::pipeline::Speakers;

use crate::data::{object, parsed};
use crate::error::OrRaise;
use crate::layout::layout;
use crate::text::rule;

/// Prepares every recording of a manifest into a dataset folder, and returns what its `dataset.json` says.
///
/// What it does and writes is that of the command line's `prep`, to the byte. `codec` is "builtin", or "codes" for files
/// beside the recordings (`codes_suffix`); `window` and `hop` are seconds; `valid` is the share of recordings held out;
/// `shard` `(i, n)` takes the i-th of n shares. A run that was broken off goes on when the same call is made again.
#[pyfunction]
#[pyo3(signature = (manifest, folder, layout = None, tokenizer = None, *, codec = "builtin", codes_suffix = None,
    rule = None, main_speaker = "SPEAKER_MAIN", window = None, hop = None, border = "start", valid = None, seed = 0,
    shard = None, jobs = 1))]
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
    window: Option<f64>,
    hop: Option<f64>,
    border: &str,
    valid: Option<f64>,
    seed: u64,
    shard: Option<(usize, usize)>,
    jobs: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let layout =
        layout.map_or_else(|| roundelay::Layout::preset("moshi-7b").map(Cow::Owned).or_raise(), self::layout)?;
    let codes = match codec {
        "builtin" => CodeSource::Codec(Box::new(Builtin::new())),
        "codes" => CodeSource::Files { suffix: codes_suffix },
        _ => return Err(PyValueError::new_err(format!("codec is {codec:?}, expected \"builtin\" or \"codes\""))),
    };
    let seconds = |time: Option<f64>| time.map(|time| Seconds::from_f64(time).or_raise()).transpose();
    let options = PrepOptions {
        rule: rule.map_or(Ok(Default::default()), self::rule)?,
        speakers: Speakers::new(main_speaker),
        window: seconds(window)?,
        hop: seconds(hop)?,
        border: parsed("border", border.into())?,
        valid: valid.map(|share| ValidShare { share, seed }),
        shard: shard.map(|(index, count)| Shard::new(index, count).or_raise()).transpose()?,
        jobs,
        ..PrepOptions::new(layout.into_owned(), tokenizer, codes)
    };
    let info = py.detach(|| roundelay::io::prep(&manifest, &folder, &options, &mut |_| ())).or_raise()?;
    object(py, &info)
}
