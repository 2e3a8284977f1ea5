//! NIST's line formats: CTM for words and RTTM for speakers.
//!
//! ```text
//! ;; recording channel start duration word [confidence]
//! librivox_mono 1 0.20 0.17 And 0.98
//!
//! ;; type recording channel start duration - - speaker - -
//! SPEAKER librivox_mono 1 0.20 6.59 <NA> <NA> SPEAKER_00 <NA> <NA>
//! ```
//!
//! Fields stand between white space; blank lines and those that begin with `;;` say nothing. A file that says nothing at
//! all is refused: an aligner that died leaves such a one.

use super::recording::Recordings;
use super::source::{is_silence, shortened};
use crate::error::{Error, ErrorKind, Result};
use crate::text::{SpeakerSegment, Word};
use crate::units::Seconds;

/// Words of CTM, whose speakers are the channels.
pub fn parse_ctm(text: &str, recording: Option<&str>) -> Result<Vec<Word>> {
    if lines("CTM file", text).next().is_none() {
        return Err(Error::malformed("CTM file", "it has no words"));
    }
    let mut words = Recordings::new("CTM file");
    for line in lines("CTM file", text) {
        if let [_, _, "*", "*", _, ..] = *line.fields {
            return Err(Error::unsupported("a CTM file with alternatives", "keep one of them").on_line(line.number));
        }
        let [file, channel, start, duration, word, ref rest @ ..] = *line.fields else {
            return Err(line.is_not("recording channel start duration word [confidence]"));
        };
        line.check_confidence(rest)?;
        let (start, end) = line.span(start, duration)?;
        words.of(file).extend((!is_silence(word)).then(|| Word::new(word, start, end, channel)));
    }
    words.choose(recording)
}

/// Spans of RTTM, whose other lines than SPEAKER say nothing about who speaks when.
pub fn parse_rttm(text: &str, recording: Option<&str>) -> Result<Vec<SpeakerSegment>> {
    let mut segments = Recordings::new("RTTM file");
    for line in lines("RTTM file", text) {
        match *line.fields {
            ["SPEAKER", file, _, start, duration, _, _, speaker, _]
            | ["SPEAKER", file, _, start, duration, _, _, speaker, _, _] => {
                let (start, end) = line.span(start, duration)?;
                segments.of(file).push(SpeakerSegment { start, end, speaker: speaker.to_owned() });
            }
            [kind, ..] if OTHER_KINDS.contains(&kind) => {}
            _ => return Err(line.is_not("SPEAKER recording channel start duration <NA> <NA> speaker <NA> <NA>")),
        }
    }
    let segments = segments.choose(recording)?;
    match segments.is_empty() {
        true => Err(Error::malformed("RTTM file", "it has no segments")),
        false => Ok(segments),
    }
}

/// The other types of RTTM's lines.
const OTHER_KINDS: &[&str] = &[
    "SEGMENT",
    "NOSCORE",
    "NO_RT_METADATA",
    "LEXEME",
    "NON-LEX",
    "NON-SPEECH",
    "FILLER",
    "EDIT",
    "IP",
    "SU",
    "CB",
    "A/P",
    "SPKR-INFO",
];

struct Line<'a> {
    what: &'static str,
    number: usize,
    text: &'a str,
    fields: Vec<&'a str>,
}

fn lines<'a>(what: &'static str, text: &'a str) -> impl Iterator<Item = Line<'a>> {
    let said = |line: &&str| !line.is_empty() && !line.starts_with(";;");
    let lines = (1..).zip(text.lines().map(str::trim_ascii)).filter(move |(_, line)| said(line));
    lines.map(move |(number, text)| Line {
        what,
        number,
        text,
        fields: text.split_ascii_whitespace().take(11).collect(),
    })
}

impl Line<'_> {
    /// When something begins and ends.
    fn span(&self, start: &str, duration: &str) -> Result<(Seconds, Seconds)> {
        let start = self.time("start", start)?;
        let length = self.time("duration", duration)?;
        if length < Seconds::ZERO {
            return Err(Error::invalid("duration", shortened(duration), "0 or more").on_line(self.number));
        }
        Ok((start, start + length))
    }

    fn time(&self, name: &str, digits: &str) -> Result<Seconds> {
        digits.parse::<Seconds>().map_err(|error| {
            match error.kind() {
                ErrorKind::Invalid { expected, .. } => Error::invalid(name, shortened(digits), expected),
                _ => error,
            }
            .on_line(self.number)
        })
    }

    fn check_confidence(&self, rest: &[&str]) -> Result<()> {
        match rest {
            [] | ["NA"] => Ok(()),
            [confidence] if confidence.parse::<f64>().is_ok() => Ok(()),
            [confidence] => Err(Error::invalid("confidence", shortened(confidence), "a number").on_line(self.number)),
            _ => Err(self.is_not("recording channel start duration word [confidence]")),
        }
    }

    fn is_not(&self, expected: &str) -> Error {
        Error::malformed(self.what, format!("it says {}, expected {expected}", shortened(self.text)))
            .on_line(self.number)
    }
}
