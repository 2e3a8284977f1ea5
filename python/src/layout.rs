//! Layouts and their streams.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use ndarray::Array2;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyString};
use roundelay::report::{Drawing, Picture};
use roundelay::{Extent, Frames, Policy, Sequencer, Start};

use crate::error::{OrRaise, read};

/// A validated list of streams: what the rows of a grid are, their delays and their fill ids.
///
/// `Layout("moshi-7b")` is a preset, `Layout.read(path)` a file; to be drawn, print it.
#[pyclass(frozen, eq, module = "roundelay")]
#[derive(PartialEq)]
pub struct Layout(pub roundelay::Layout);

/// One row of the grid.
#[pyclass(frozen, eq, get_all, module = "roundelay")]
#[derive(Clone, PartialEq)]
pub struct Stream {
    name: String,
    kind: String,
    speaker: String,
    level: Option<usize>,
    cardinality: u32,
    delay: usize,
    initial: u32,
    pad: u32,
    end_pad: Option<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    phase: Option<usize>,
    trained: bool,
}

/// A layout, or the name of a preset.
pub fn layout<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, roundelay::Layout>> {
    match given.cast::<Layout>() {
        Ok(layout) => Ok(Cow::Borrowed(&layout.get().0)),
        Err(_) => {
            let wrong =
                |_| PyTypeError::new_err(format!("layout is {given}, expected a Layout or the name of a preset"));
            roundelay::Layout::preset(&given.extract::<String>().map_err(wrong)?).map(Cow::Owned).or_raise()
        }
    }
}

/// Text of JSON, or what `json` makes text of.
pub fn json(given: &Bound<'_, PyAny>) -> PyResult<String> {
    match given.cast::<PyString>() {
        Ok(text) => text.extract(),
        Err(_) => {
            let strict = [("allow_nan", false)].into_py_dict(given.py())?;
            given.py().import("json")?.call_method("dumps", (given,), Some(&strict))?.extract()
        }
    }
}

#[pymethods]
impl Layout {
    #[new]
    fn new(name: &str) -> PyResult<Self> {
        roundelay::Layout::preset(name).map(Layout).or_raise()
    }

    /// The names of the layouts that are built in.
    #[staticmethod]
    fn presets() -> Vec<&'static str> {
        roundelay::Layout::presets().collect()
    }

    /// A layout from its JSON form, as text or as a dictionary.
    #[staticmethod]
    fn from_json(layout: &Bound<'_, PyAny>) -> PyResult<Self> {
        roundelay::Layout::from_json(&json(layout)?).map(Layout).or_raise()
    }

    /// A layout from a file of its JSON form, or from a `config.json` of Kyutai's.
    #[staticmethod]
    fn read(path: PathBuf) -> PyResult<Self> {
        let named = |e: roundelay::Error| e.in_file(path.display().to_string());
        roundelay::Layout::read(&read(&path, fs::read_to_string)?).map_err(named).map(Layout).or_raise()
    }

    /// The JSON form, one stream a line.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn source(&self) -> Option<&str> {
        self.0.source()
    }

    /// Frames a second, as a `fractions.Fraction`.
    #[getter]
    fn frame_rate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("fractions")?.call_method1("Fraction", (self.0.frame_rate().to_string(),))
    }

    #[getter]
    fn streams(&self) -> Vec<Stream> {
        self.0.streams().iter().map(Stream::of).collect()
    }

    /// The streams' delays, in frames.
    #[getter]
    fn delays(&self) -> Vec<usize> {
        self.0.streams().iter().map(|stream| stream.delay).collect()
    }

    #[getter]
    fn max_delay(&self) -> usize {
        self.0.max_delay()
    }

    /// Whose audio there is, in the order of channels.
    #[getter]
    fn audio_speakers(&self) -> Vec<&str> {
        self.0.audio_speakers()
    }

    fn __len__(&self) -> usize {
        self.0.streams().len()
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.0.to_json().hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Layout>().getattr("from_json")?, (self.to_json(),)))
    }

    /// What becomes of a few frames.
    fn __repr__(&self) -> PyResult<String> {
        let codes = Array2::from_shape_fn((self.0.streams().len(), FRAMES), |(k, t)| {
            let id = t as i64 + FIRST;
            if id < i64::from(self.0.streams()[k].cardinality) { id } else { t as i64 }
        });
        let delay = roundelay::Delay::new(&self.0, Extent::Extend, Start::None);
        let grid = draw(&self.0, &delay, &codes)?;
        let (count, rate) = (self.0.streams().len(), self.0.frame_rate());
        Ok(format!("Layout {}: {count} streams at {rate:?}\n{grid}", self.0.name()))
    }
}

/// Frames that are drawn of a layout, and the first of their ids: beyond those of pads.
const FRAMES: usize = 4;
const FIRST: i64 = 10;

/// The grid that codes become.
pub fn draw(layout: &roundelay::Layout, delay: &impl Sequencer, codes: &Array2<i64>) -> PyResult<String> {
    let picture = Picture::new(layout, delay, &Policy::default(), &Frames(codes.view())).or_raise()?;
    // Without its head, which says how large it is: arrays and layouts say that themselves.
    let drawing = Drawing::new(&picture).to_string();
    Ok(drawing.lines().skip(2).map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned())
}

impl Stream {
    fn of(stream: &roundelay::Stream) -> Self {
        let roundelay::Stream { level, cardinality, delay, initial, pad, end_pad, bos, eos, phase, trained, .. } =
            *stream;
        let (name, speaker) = (stream.name.clone(), stream.speaker.clone());
        let kind = match stream.kind {
            roundelay::Kind::Text => "text",
            roundelay::Kind::Semantic => "semantic",
            roundelay::Kind::Acoustic => "acoustic",
        };
        let kind = kind.to_owned();
        Stream { name, kind, speaker, level, cardinality, delay, initial, pad, end_pad, bos, eos, phase, trained }
    }
}

#[pymethods]
impl Stream {
    fn __repr__(&self) -> String {
        let Stream { name, kind, speaker, cardinality, delay, .. } = self;
        format!("Stream {name}: {kind} of {speaker}, {cardinality} ids, delay {delay}")
    }
}

/// Options with their names, as JSON.
pub fn options(given: Option<&Bound<'_, PyDict>>) -> PyResult<serde_json::Map<String, serde_json::Value>> {
    let Some(given) = given else { return Ok(Default::default()) };
    let text = json(given.as_any())?;
    serde_json::from_str(&text).map_err(|e| pyo3::exceptions::PyValueError::new_err(e.to_string()))
}
