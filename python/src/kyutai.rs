//! moshi-finetune's training windows.

use ndarray::Ix3;
use numpy::{IntoPyArray, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundelay::Frames;
use roundelay::pipeline::KyutaiWindow;
use roundelay::text::{KyutaiRule, Rule};
use serde_json::Value;

use crate::array::{shaped, stored};
use crate::data::parsed;
use crate::error::{OrRaise, limited, measure};
use crate::layout::{layout, options};
use crate::text::{Tokenizer, word};

/// Where the windows of a recording begin, in seconds, in moshi-finetune's arithmetic.
#[pyfunction]
pub fn kyutai_windows(py: Python<'_>, recording: f64, duration: f64) -> PyResult<Vec<f64>> {
    let windows = KyutaiWindow::over(measure("length of the recording", recording)?, duration).or_raise()?;
    limited("number of windows", (recording / duration).ceil() as usize)?;
    Ok(py.detach(|| windows.map(|window| window.start).collect()))
}

/// One training window as moshi-finetune's interleaver makes it: int32 `[stream, frame]`, absent (-1) behind the sound.
///
/// `codes` are `[channel, codebook, frame]` of the window's sound, `words` those of the whole recording in order of start,
/// as `(text, (start, end), speaker)`, or None. `options` are those of the rule "kyutai"; `frames_as_seconds` is true, as
/// there.
#[pyfunction]
#[pyo3(signature = (codes, words, start, duration, layout, tokenizer, speaker = "SPEAKER_MAIN", **options))]
#[allow(clippy::too_many_arguments, reason = "Python's are named")]
pub fn kyutai_window<'py>(
    codes: &Bound<'py, PyAny>,
    words: Option<Vec<Bound<'py, PyAny>>>,
    start: f64,
    duration: f64,
    layout: &Bound<'py, PyAny>,
    tokenizer: &Bound<'py, Tokenizer>,
    speaker: &str,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let (py, tokenizer, layout) = (codes.py(), &tokenizer.get().0, self::layout(layout)?);
    let (start, duration) = (measure("start of the window", start)?, measure("duration of the window", duration)?);
    let window = KyutaiWindow { start, duration };
    limited("number of frames", window.frames(layout.frame_rate()))?;
    let mut fields = self::options(options)?;
    fields.entry("frames_as_seconds").or_insert(true.into());
    let rule: KyutaiRule = parsed("options of the rule", Value::Object(fields))?;
    let words = words.map(|words| words.iter().map(word).collect::<PyResult<Vec<_>>>()).transpose()?;
    let codes = Frames(shaped::<_, Ix3>("codes", stored(codes)?)?);
    let rows = py.detach(|| {
        let inside = words.map(|words| Rule::Kyutai(rule).tokenize(window.words(&words)?, tokenizer)).transpose()?;
        window.rows(&layout, rule, speaker, &codes, inside)
    });
    Ok(rows.or_raise()?.0.0.into_pyarray(py))
}

/// Moshi-finetune's search among words: the first whose start is not before a time, or how many there are.
#[pyfunction]
pub fn first_not_before(starts: Vec<f64>, time: f64) -> usize {
    roundelay::pipeline::first_not_before(&starts, time)
}
