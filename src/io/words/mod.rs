//! Words with times, from the files that aligners and other trainers write.
//!
//! ```text
//! bytes -- words_text -->  text  -- WordsFormat::detect -->  format  -- parse_words -->  Transcript
//!          UTF-8, UTF-16          extension, content                 one file of this folder each
//! ```
//!
//! A time is taken from the digits in the file, never through a double, and start + duration is an exact sum.

mod detect;
mod jmoshi;
mod json;
mod lhotse;
mod lines;
mod moshi_finetune;
mod recording;
mod regions;
mod source;
mod textgrid;
mod whisperx;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::text::{SpeakerSegment, Word};
use crate::weights::Region;

pub use source::words_text;

/// Who speaks where a file does not say, as moshi-finetune labels the model's speaker and the other.
const SPEAKER: &str = "SPEAKER_MAIN";
const SPEAKER_OTHER: &str = "SPEAKER_OTHER";

/// What a file says was said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    /// Words in the order of the file; none where the file says that nobody knows what was said.
    pub words: Option<Vec<Word>>,
    /// Spans of time with a loss weight of their own.
    pub regions: Vec<Region>,
    /// What the text is to be conditioned on, as JSON text: `text_conditions` of moshi-finetune.
    pub conditions: Option<String>,
}

impl Transcript {
    /// Words and nothing else.
    fn of(words: Vec<Word>) -> Self {
        Transcript { words: Some(words), ..Transcript::default() }
    }
}

/// Who writes words in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WordsFormat {
    /// moshi-finetune's JSON: `{"alignments": [[word, [start, end], speaker], ..]}`.
    MoshiFinetune,
    /// J-Moshi's JSON: `[{"speaker": "A", "word": "hello", "start": 0.46, "end": 1.52}, ..]`.
    Jmoshi,
    /// WhisperX's JSON: `{"segments": [{"words": [{"word": "hello", "start": 0.46, "end": 1.52}, ..]}, ..]}`.
    Whisperx,
    /// Praat's TextGrid as text, long or short, as the Montreal Forced Aligner writes it.
    TextGrid,
    /// NIST's CTM: a line `recording channel start duration word` for each word.
    Ctm,
    /// Lhotse's cuts or supervisions with word alignments, one JSON object a line.
    Lhotse,
}

impl WordsFormat {
    /// All formats.
    pub const ALL: [WordsFormat; 6] = [
        WordsFormat::MoshiFinetune,
        WordsFormat::Jmoshi,
        WordsFormat::Whisperx,
        WordsFormat::TextGrid,
        WordsFormat::Ctm,
        WordsFormat::Lhotse,
    ];

    /// The name by which it is chosen.
    pub const fn name(self) -> &'static str {
        match self {
            WordsFormat::MoshiFinetune => "moshi-finetune",
            WordsFormat::Jmoshi => "jmoshi",
            WordsFormat::Whisperx => "whisperx",
            WordsFormat::TextGrid => "textgrid",
            WordsFormat::Ctm => "ctm",
            WordsFormat::Lhotse => "lhotse",
        }
    }

    /// Extensions of such files, in small letters.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            WordsFormat::MoshiFinetune | WordsFormat::Jmoshi | WordsFormat::Whisperx => &["json"],
            WordsFormat::TextGrid => &["textgrid"],
            WordsFormat::Ctm => &["ctm"],
            WordsFormat::Lhotse => &["jsonl", "json"],
        }
    }
}

impl fmt::Display for WordsFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WordsFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = || WordsFormat::ALL.map(WordsFormat::name).join(", ");
        let found = WordsFormat::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| Error::invalid("words format", name, format!("one of {}", names())))
    }
}

/// Reads a file of words; without a format, by its content and extension.
///
/// Of a file that tells of several recordings, those of the recording with the file's name are read, as
/// [`parse_words_for`] has it.
///
/// # Errors
/// `Io` if the file cannot be read, `OverLimit` beyond 256 MiB, else as [`WordsFormat::detect`] and [`parse_words`]; each
/// names the file.
pub fn read_words(path: &Path, format: Option<WordsFormat>) -> Result<Transcript> {
    let read = || {
        let text = source::read_text(path, "words")?;
        let format = format.map_or_else(|| WordsFormat::detect(&path.to_string_lossy(), &text), Ok)?;
        parse(&text, format, source::stem(path).as_deref())
    };
    read().map_err(|e: Error| e.in_file(path.display()))
}

/// Reads words out of a text that is at hand.
///
/// # Errors
/// `Malformed`, `Unsupported` (words without times among them) or `Invalid`, with the line. An empty text is `Malformed`
/// in every format; an empty list in JSON says that nobody speaks.
/// # Examples
/// ```
/// use roundelay::io::{WordsFormat, parse_words};
/// let text = r#"{"alignments": [["He", [0.21, 0.34], "SPEAKER_MAIN"]]}"#;
/// let words = parse_words(text, WordsFormat::MoshiFinetune)?.words.expect("what was said is known");
/// assert_eq!((&*words[0].text, words[0].start.to_string()), ("He", "0.21".to_string()));
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn parse_words(text: &str, format: WordsFormat) -> Result<Transcript> {
    parse(text, format, None)
}

/// As [`parse_words`], of a text that may tell of several recordings (CTM, Lhotse).
///
/// A text that tells of one recording alone is read whatever that one's name is.
///
/// # Errors
/// As [`parse_words`]; `Malformed` if there are several recordings and none has this name.
/// # Examples
/// ```
/// use roundelay::io::{WordsFormat, parse_words_for};
/// let text = "a 1 0.1 0.2 hello\nb 1 0.3 0.2 you";
/// let words = parse_words_for("b", text, WordsFormat::Ctm)?.words.expect("what was said is known");
/// assert_eq!((&*words[0].text, words[0].end.to_string()), ("you", "0.5".to_string()));
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn parse_words_for(recording: &str, text: &str, format: WordsFormat) -> Result<Transcript> {
    parse(text, format, Some(recording))
}

fn parse(text: &str, format: WordsFormat, recording: Option<&str>) -> Result<Transcript> {
    let text = source::unmarked(text);
    match format {
        WordsFormat::MoshiFinetune => return moshi_finetune::parse(text),
        WordsFormat::Jmoshi => jmoshi::parse(text),
        WordsFormat::Whisperx => whisperx::parse(text),
        WordsFormat::TextGrid => textgrid::parse(text),
        WordsFormat::Ctm => lines::parse_ctm(text, recording),
        WordsFormat::Lhotse => lhotse::parse(text, recording),
    }
    .map(Transcript::of)
}

/// Reads a file that says who speaks when: RTTM, as diarisation tools write it.
///
/// # Errors
/// As [`read_words`].
pub fn read_segments(path: &Path) -> Result<Vec<SpeakerSegment>> {
    let read = || parse_segments(&source::read_text(path, "speaker segments")?, source::stem(path).as_deref());
    read().map_err(|e: Error| e.in_file(path.display()))
}

/// Reads RTTM: of several recordings, the spans of the one with this name.
///
/// # Errors
/// `Malformed` or `Invalid`, with the line; `Malformed` without a segment.
/// # Examples
/// ```
/// use roundelay::io::parse_segments;
/// let segments = parse_segments("SPEAKER a 1 0.21 2.53 <NA> <NA> alice <NA> <NA>", None)?;
/// assert_eq!((&*segments[0].speaker, segments[0].end.to_string()), ("alice", "2.74".to_string()));
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn parse_segments(text: &str, recording: Option<&str>) -> Result<Vec<SpeakerSegment>> {
    lines::parse_rttm(source::unmarked(text), recording)
}

/// Reads a file of regions: a JSON list of `[start, end, weight]`.
///
/// # Errors
/// As [`read_words`].
pub fn read_regions(path: &Path) -> Result<Vec<Region>> {
    let read = || parse_regions(&source::read_text(path, "regions")?);
    read().map_err(|e: Error| e.in_file(path.display()))
}

/// Reads a JSON list of `[start, end, weight]`: ends come after starts, weights are finite and not negative.
///
/// # Errors
/// `Malformed` or `Invalid`, with the line.
/// # Examples
/// ```
/// let regions = roundelay::io::parse_regions("[[2.0, 3.5, 10]]")?;
/// assert_eq!((regions[0].end.to_string(), regions[0].weight), ("3.5".to_string(), 10.0));
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn parse_regions(text: &str) -> Result<Vec<Region>> {
    regions::parse(source::unmarked(text))
}
