//! Words <-> a row of text.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use ndarray::Ix1;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use roundelay::Seconds;
use roundelay::text::{Note, PlacedWord, Rule, TextStream};

use crate::array::{shaped, stored};
use crate::error::{OrRaise, limited, read};
use crate::layout::layout;

/// A SentencePiece model, from a path or from bytes; its ids are those of the C++ library.
#[pyclass(frozen, module = "roundelay")]
pub struct Tokenizer(pub roundelay::text::Tokenizer);

/// A word, its times in seconds, its token ids, and the frame of the first of them; none if the row does not hold it.
#[pyclass(frozen, get_all, eq, module = "roundelay")]
#[derive(Clone, PartialEq)]
pub struct Word {
    text: String,
    start: f64,
    end: f64,
    speaker: String,
    tokens: Vec<i32>,
    frame: Option<usize>,
}

/// Words with their ids, ready to be placed in rows.
///
/// `words` are `(text, (start, end), speaker)`, times in seconds, as moshi-finetune's alignments; ids in place of the text
/// are taken as they are. An empty list is silence; None, that nobody knows the words, gives absent tokens. `rule` is
/// "moshi", "kyutai" or "jmoshi", or a dictionary with its options.
#[pyclass(frozen, module = "roundelay")]
pub struct Words {
    rule: Rule,
    /// In order of start; none if nobody knows them.
    words: Option<Vec<PlacedWord>>,
    /// The same once more, which the default rule takes and gives back with nothing but their frames changed.
    spare: Mutex<Vec<PlacedWord>>,
}

/// `tokens` int32 `[frame]`, the words with where they went, and events `(kind, amount, word)` of those that did not go
/// straight in.
#[pyclass(frozen, module = "roundelay")]
pub struct TextRow {
    #[pyo3(get)]
    tokens: Py<PyArray1<i32>>,
    words: Py<Words>,
    /// Of the words' first tokens.
    frames: Vec<Option<usize>>,
    notes: Vec<Note>,
}

#[pymethods]
impl Tokenizer {
    #[new]
    fn new(model: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = model.py();
        if let Ok(bytes) = model.cast::<PyBytes>() {
            let bytes = bytes.as_bytes();
            return py.detach(|| roundelay::text::Tokenizer::from_bytes(bytes)).map(Tokenizer).or_raise();
        }
        let path: PathBuf = model.extract()?;
        let bytes = read(&path, fs::read)?;
        let tokenizer = py.detach(|| roundelay::text::Tokenizer::from_bytes(&bytes));
        tokenizer.map(Tokenizer).map_err(|e| e.in_file(path.display().to_string())).or_raise()
    }

    /// Ids of a text, line by line.
    fn encode(&self, py: Python<'_>, text: &str) -> PyResult<Vec<i32>> {
        py.detach(|| self.0.encode_lines(text)).or_raise()
    }

    /// The text of ids.
    fn decode(&self, py: Python<'_>, ids: Vec<i32>) -> PyResult<String> {
        py.detach(|| self.0.decode(&ids)).or_raise()
    }

    /// The piece that an id stands for.
    fn piece(&self, id: i32) -> Option<&str> {
        self.0.piece(id)
    }

    #[getter]
    fn bos(&self) -> Option<i32> {
        self.0.bos()
    }

    #[getter]
    fn eos(&self) -> Option<i32> {
        self.0.eos()
    }

    #[getter]
    fn unk(&self) -> i32 {
        self.0.unk()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

#[pymethods]
impl Word {
    fn __repr__(&self) -> String {
        format!("Word {:?} {} to {} s, {}", self.text, self.start, self.end, self.speaker)
    }
}

impl Word {
    fn of(word: &PlacedWord) -> Self {
        let PlacedWord { word, frame, tokens, .. } = word;
        let (start, end) = (word.start.to_f64(), word.end.to_f64());
        let (text, speaker) = (word.text.clone(), word.speaker.clone());
        Word { text, start, end, speaker, tokens: tokens.clone(), frame: *frame }
    }
}

/// `(text or ids, (start, end), speaker)`.
pub fn word(given: &Bound<'_, PyAny>) -> PyResult<roundelay::text::Word> {
    // Tuples, or lists as JSON has them.
    let parts = || -> PyResult<_> {
        let [said, times, speaker]: [Bound<PyAny>; 3] = given.extract()?;
        let [start, end]: [f64; 2] = times.extract()?;
        Ok((said, start, end, speaker.extract::<String>()?))
    };
    let (said, start, end, speaker) = parts().map_err(|_| {
        PyValueError::new_err(format!(
            "a word is {given}, expected (text or ids, (start, end), speaker), times in seconds"
        ))
    })?;
    let [start, end] = [start, end].map(|time| Seconds::from_f64(time).or_raise());
    let (text, ids) = match said.cast::<PyString>() {
        Ok(text) => (text.extract()?, None),
        Err(_) => (String::new(), Some(said.extract()?)),
    };
    Ok(roundelay::text::Word { ids, ..roundelay::text::Word::new(text, start?, end?, speaker) })
}

/// A rule by its name or as its options.
pub fn rule(given: &Bound<'_, PyAny>) -> PyResult<Rule> {
    let text = match given.cast::<PyString>() {
        Ok(name) => format!(r#"{{"rule": {:?}}}"#, name.extract::<String>()?),
        Err(_) => crate::layout::json(given)?,
    };
    serde_json::from_str(&text).map_err(|e| PyValueError::new_err(format!("rule {text}: {e}")))
}

#[pymethods]
impl Words {
    #[new]
    #[pyo3(signature = (words, tokenizer, rule = None))]
    fn new(
        words: Option<Vec<Bound<'_, PyAny>>>,
        tokenizer: &Bound<'_, Tokenizer>,
        rule: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let rule = rule.map_or(Ok(Rule::default()), self::rule)?;
        let Some(words) = words else { return Ok(Words { rule, words: None, spare: Mutex::default() }) };
        let words = words.iter().map(word).collect::<PyResult<Vec<_>>>()?;
        let (py, tokenizer) = (tokenizer.py(), &tokenizer.get().0);
        let mut words = py.detach(|| rule.tokenize(words, tokenizer)).or_raise()?;
        words.sort_by_key(|word| word.word.start);
        Ok(Words { rule, words: Some(words), spare: Mutex::default() })
    }

    /// One token a frame, for the layout's stream of text whose words are the speaker's.
    #[pyo3(signature = (frames, layout, speaker = "SPEAKER_MAIN"))]
    fn align(this: &Bound<'_, Self>, frames: usize, layout: &Bound<'_, PyAny>, speaker: &str) -> PyResult<TextRow> {
        let (py, words, layout) = (this.py(), this.get(), self::layout(layout)?);
        limited("number of frames", frames)?;
        let text = TextStream::of(&layout, speaker).or_raise()?;
        let mut row = py.detach(|| words.place(&text, frames)).or_raise()?;
        let frames = row.words.iter().map(|word| word.frame).collect();
        words.keep(std::mem::take(&mut row.words));
        Ok(TextRow {
            tokens: row.tokens.into_pyarray(py).unbind(),
            words: this.clone().unbind(),
            frames,
            notes: row.notes,
        })
    }

    fn __len__(&self) -> usize {
        self.words.as_ref().map_or(0, Vec::len)
    }
}

impl Words {
    fn place(&self, text: &TextStream, frames: usize) -> roundelay::Result<roundelay::text::TextRow> {
        let Some(words) = &self.words else { return Ok(roundelay::text::TextRow::unknown(frames)) };
        let spare = std::mem::take(&mut *self.spare.lock().expect("nobody panics in there"));
        // An error keeps what it was given, and another thread may have it.
        let words = if spare.len() == words.len() { spare } else { words.clone() };
        self.rule.place(words, text, frames)
    }

    fn keep(&self, words: Vec<PlacedWord>) {
        if self.rule == Rule::Moshi {
            *self.spare.lock().expect("nobody panics in there") = words;
        }
    }
}

#[pymethods]
impl TextRow {
    #[getter]
    fn words(&self) -> Vec<Word> {
        let placed = self.words.get().words.iter().flatten().zip(&self.frames);
        placed.map(|(word, &frame)| Word { frame, ..Word::of(word) }).collect()
    }

    #[getter]
    fn events(&self) -> Vec<(String, u64, Option<String>)> {
        let words = self.words.get().words.as_deref().unwrap_or_default();
        let event = |note: &Note| {
            let kind = serde_json::to_value(note.event).expect("a kind has a name");
            let kind = kind.as_str().expect("the name is text").to_owned();
            (kind, note.amount, words.get(note.word).map(|word| word.word.text.clone()))
        };
        self.notes.iter().map(event).collect()
    }
}

/// The words of a row `[frame]`, from the row alone: the best that can be done for generated text.
#[pyfunction]
#[pyo3(signature = (row, layout, tokenizer, speaker = "SPEAKER_MAIN"))]
pub fn words_from_row(
    row: &Bound<'_, PyAny>,
    layout: &Bound<'_, PyAny>,
    tokenizer: &Bound<'_, Tokenizer>,
    speaker: &str,
) -> PyResult<Vec<Word>> {
    let (py, tokenizer, layout) = (row.py(), &tokenizer.get().0, self::layout(layout)?);
    let row = shaped::<_, Ix1>("ids of a row", stored(row)?)?.to_vec();
    let text = TextStream::of(&layout, speaker).or_raise()?;
    let words = py.detach(|| roundelay::text::words_from_row(&row, &text, tokenizer)).or_raise()?;
    Ok(words.into_iter().map(|word| Word::of(&PlacedWord::new(word, Vec::new()))).collect())
}
