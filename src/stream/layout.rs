//! The ordered list of streams with everything known about each.
//!
//! ```text
//! row  name    kind      delay  initial  pad   cardinality
//!  0   text    text        0     32000     3      32000
//!  1   main.0  semantic    0      2048  2048       2048
//!  2   main.1  acoustic    1      2048  2048       2048
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stream::Frames;
use crate::stream::grid::batched;
use crate::token::{ABSENT, Token, UNGENERATED};
use crate::units::{FrameRate, Seconds};

/// Streams in one layout, and frames of delay: bounds on what a file can make us allocate.
pub(crate) const MAX_STREAMS: usize = 1024;
pub(crate) const MAX_DELAY: usize = 1 << 16;

/// What a stream's tokens stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text ids, one a frame.
    Text,
    /// Codes of the first codebook, which carries what is said.
    Semantic,
    /// Codes of the other codebooks, which carry how it sounds; of all, in a codec without a semantic one.
    Acoustic,
}

impl Kind {
    /// True for semantic and acoustic streams.
    pub fn is_audio(self) -> bool {
        self != Kind::Text
    }
}

/// One row of the grid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// Unique in its layout.
    pub name: String,
    /// Text, semantic or acoustic.
    pub kind: Kind,
    /// Whose voice: `main`, `other` or any label.
    pub speaker: String,
    /// Codebook's index in the residual stack; audio only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<usize>,
    /// Ids `0..cardinality` are data.
    pub cardinality: u32,
    /// Frames by which the stream trails the undelayed grid.
    pub delay: usize,
    /// Fed before the stream's first token (head fill).
    pub initial: u32,
    /// Fed after its last token (tail fill); in text it also means that nothing is being said.
    pub pad: u32,
    /// Text only: the step just before a word begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_pad: Option<u32>,
    /// Opens the stream, in families that bracket each one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos: Option<u32>,
    /// Closes the stream, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eos: Option<u32>,
    /// For a codec level that runs at n times the coarse rate: which of its n codes in a coarse frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<usize>,
    /// Whether the loss sees it.
    pub trained: bool,
}

/// A validated list of streams. It is data: read from JSON, or one of the presets.
///
/// # Examples
/// ```
/// use roundelay::Layout;
/// let layout = Layout::preset("moshi-7b")?;
/// assert_eq!(layout.streams().len(), 17);
/// assert_eq!(layout.max_delay(), 1);
/// let same = Layout::from_json(&layout.to_json())?;
/// assert_eq!(same, layout);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "super::form::LayoutForm")]
pub struct Layout(Unchecked);

/// What a layout holds, before the streams are known to go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unchecked {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub frame_rate: FrameRate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_lag: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence_prefix: Option<Seconds>,
    pub streams: Vec<Stream>,
}

impl Layout {
    /// Checks the streams as a whole.
    ///
    /// # Errors
    /// `Invalid`, naming the stream, the field, its value and what would do.
    pub fn new(name: impl Into<String>, frame_rate: FrameRate, streams: Vec<Stream>) -> Result<Self> {
        let name = name.into();
        Unchecked { name, source: None, frame_rate, text_lag: None, silence_prefix: None, streams }.try_into()
    }

    /// The layout's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where its numbers come from.
    pub fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// Frames a second of the undelayed grid.
    pub fn frame_rate(&self) -> FrameRate {
        self.0.frame_rate
    }

    /// Seconds by which text trails audio; negative where it leads.
    pub fn text_lag(&self) -> Option<Seconds> {
        self.0.text_lag
    }

    /// Seconds of silence in front.
    pub fn silence_prefix(&self) -> Option<Seconds> {
        self.0.silence_prefix
    }

    /// How much later text stands in its row than it is said: the lag and the silence in front together.
    pub fn lag(&self) -> Seconds {
        self.text_lag().unwrap_or_default() + self.silence_prefix().unwrap_or_default()
    }

    /// The rows, in order.
    pub fn streams(&self) -> &[Stream] {
        &self.0.streams
    }

    /// The largest delay, in frames.
    pub fn max_delay(&self) -> usize {
        self.0.streams.iter().map(|s| s.delay).max().unwrap_or(0)
    }

    /// Speakers that are heard, in order of their first audio stream: one channel of sound each.
    pub fn audio_speakers(&self) -> Vec<&str> {
        let mut speakers = Vec::new();
        for stream in self.streams().iter().filter(|stream| stream.kind.is_audio()) {
            if !speakers.contains(&stream.speaker.as_str()) {
                speakers.push(stream.speaker.as_str());
            }
        }
        speakers
    }

    /// Checks that a grid has one row for each stream.
    ///
    /// # Errors
    /// `StreamCount`.
    pub fn check_streams(&self, found: usize) -> Result<()> {
        let expected = self.streams().len();
        match found == expected {
            true => Ok(()),
            false => Err(crate::ErrorKind::StreamCount { found, expected }.into()),
        }
    }

    /// Checks that every code is data, absent or ungenerated.
    ///
    /// # Shapes
    /// `[stream, time]` or `[batch, stream, time]`.
    /// # Errors
    /// `StreamCount`, or `Invalid` with stream and frame.
    pub fn check_codes<A: Token, S, D>(&self, codes: &Frames<ndarray::ArrayBase<S, D>>) -> Result<()>
    where
        S: ndarray::Data<Elem = A>,
        D: ndarray::Dimension,
    {
        let codes = batched(&codes.0)?;
        self.check_streams(codes.shape()[1])?;
        for ((_, k, t), &code) in codes.indexed_iter() {
            let (code, stream) = (code.into(), &self.streams()[k]);
            if !(0..i64::from(stream.cardinality)).contains(&code) && ![ABSENT, UNGENERATED].contains(&code) {
                let expected = format!("0..{}, or -1 where there is none", stream.cardinality);
                return Err(Error::invalid("code", code, expected).in_stream(&stream.name).at_frame(t));
            }
        }
        Ok(())
    }
}

impl TryFrom<Unchecked> for Layout {
    type Error = Error;

    fn try_from(layout: Unchecked) -> Result<Self> {
        let streams = &layout.streams;
        if streams.is_empty() || streams.len() > MAX_STREAMS {
            return Err(Error::invalid("number of streams", streams.len(), format!("1 to {MAX_STREAMS}")));
        }
        check_times(&layout)?;
        for (k, stream) in streams.iter().enumerate() {
            check_stream(stream).map_err(|e| e.in_stream(label(stream, k)))?;
            check_unlike(stream, &streams[..k]).map_err(|e| e.in_stream(label(stream, k)))?;
        }
        Ok(Layout(layout))
    }
}

/// Checks what all streams share.
fn check_times(layout: &Unchecked) -> Result<()> {
    let rate = layout.frame_rate;
    if rate.floor(Seconds::of_samples(1000, 1)) < 1 || rate.ceil(Seconds::of_samples(1, 1)) > 1_000_000 {
        return Err(Error::invalid("frame rate", rate, "0.001 to 1000000 frames a second"));
    }
    match layout.silence_prefix.filter(|length| *length < Seconds::ZERO) {
        Some(length) => Err(Error::invalid("silence_prefix", format!("{length} s"), "0 s or more")),
        None => Ok(()),
    }
}

fn label(stream: &Stream, k: usize) -> String {
    if stream.name.is_empty() { format!("number {k}") } else { stream.name.clone() }
}

/// Checks one stream by itself.
fn check_stream(stream: &Stream) -> Result<()> {
    let text = stream.kind == Kind::Text;
    if stream.name.is_empty() {
        return Err(Error::invalid("name", "empty", "a unique name"));
    }
    if stream.speaker.is_empty() {
        return Err(Error::invalid("speaker", "empty", "main, other or any label"));
    }
    if stream.cardinality == 0 || stream.cardinality > i32::MAX as u32 {
        return Err(Error::invalid("cardinality", stream.cardinality, "1 to 2147483647"));
    }
    if stream.delay > MAX_DELAY {
        return Err(Error::invalid("delay", stream.delay, format!("0 to {MAX_DELAY} frames")));
    }
    if text && (stream.level.is_some() || stream.phase.is_some()) {
        return Err(Error::invalid("level or phase", "given", "none on a text stream"));
    }
    if !text && stream.end_pad.is_some() {
        return Err(Error::invalid("end_pad", "given", "none: only text streams have one"));
    }
    if !text && stream.level.is_none() {
        return Err(Error::invalid("level", "missing", "the codebook's index from 0"));
    }
    if stream.kind == Kind::Semantic && stream.level != Some(0) {
        return Err(Error::invalid("level", stream.level.unwrap_or(0), "0 on a semantic stream"));
    }
    let specials = [Some(stream.initial), Some(stream.pad), stream.end_pad, stream.bos, stream.eos];
    if let Some(id) = specials.into_iter().flatten().find(|&id| id > i32::MAX as u32) {
        return Err(Error::invalid("special id", id, "at most 2147483647"));
    }
    if stream.end_pad == Some(stream.pad) {
        return Err(Error::invalid("end_pad", stream.pad, "an id other than pad's"));
    }
    Ok(())
}

/// Checks one stream against those before it.
fn check_unlike(stream: &Stream, before: &[Stream]) -> Result<()> {
    if before.iter().any(|other| other.name == stream.name) {
        return Err(Error::invalid("name", &stream.name, "a name that no other stream has"));
    }
    let same = |other: &&Stream| {
        (other.kind.is_audio() == stream.kind.is_audio())
            && other.speaker == stream.speaker
            && other.level == stream.level
            && other.phase == stream.phase
    };
    if let Some(other) = before.iter().find(same) {
        let found = format!("that of stream {}", other.name);
        return Err(Error::invalid("(kind, speaker, level, phase)", found, "one that no other stream has"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(change: impl Fn(&mut Unchecked)) -> String {
        let mut layout = Layout::preset("delay-1").unwrap().0;
        change(&mut layout);
        Layout::try_from(layout).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_stream_field_found_and_expected() {
        assert_eq!(
            broken(|l| l.streams[1].name = "text".into()),
            "stream text: name is text, expected a name that no other stream has"
        );
        assert_eq!(
            broken(|l| l.streams[2].cardinality = 0),
            "stream main.1: cardinality is 0, expected 1 to 2147483647"
        );
        assert_eq!(
            broken(|l| l.streams[0].end_pad = Some(3)),
            "stream text: end_pad is 3, expected an id other than pad's"
        );
        assert_eq!(broken(|l| l.streams.clear()), "number of streams is 0, expected 1 to 1024");
        assert!(broken(|l| l.streams[2].level = Some(0)).contains("(kind, speaker, level, phase)"));
        assert!(broken(|l| l.streams[2].level = None).contains("level is missing"));
    }

    #[test]
    fn rates_and_silence_have_bounds() {
        let at = |frames, seconds| broken(|l| l.frame_rate = FrameRate::new(frames, seconds).unwrap());
        assert_eq!(at(1, 1001), "frame rate is 1/1001, expected 0.001 to 1000000 frames a second");
        assert_eq!(at(1_000_001, 1), "frame rate is 1000001, expected 0.001 to 1000000 frames a second");
        let silence = broken(|l| l.silence_prefix = Some(Seconds::ZERO - Seconds::of_samples(1, 2)));
        assert_eq!(silence, "silence_prefix is -0.5 s, expected 0 s or more");
        let mut layout = Layout::preset("delay-1").unwrap().0;
        for (frames, seconds) in [(1, 1000), (1_000_000, 1)] {
            layout.frame_rate = FrameRate::new(frames, seconds).unwrap();
            layout.silence_prefix = Some(Seconds::ZERO);
            assert!(Layout::try_from(layout.clone()).is_ok());
        }
    }

    #[test]
    fn codes_outside_their_stream_are_named() {
        let layout = Layout::preset("delay-1").unwrap();
        let codes = ndarray::arr2(&[[3, -1], [0, -2], [0, 2048]]);
        let error = layout.check_codes(&Frames(codes)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stream main.1, frame 1: code is 2048, expected 0..2048, or -1 where there is none"
        );
    }
}
