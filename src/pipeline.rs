//! The flow over values, without files: a recording's codes and words become segments, and come back.
//!
//! ```text
//! codes [C,Q,T] ─┬─ rows of the layout ─┬─ cut into windows ─> Segment { codes [K,T], words }
//! words ─────────┴─ text row of tokens ─┘
//! ```

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use crate::batch::{Segment, Split};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::stream::{Frames, Kind, Layout};
use crate::tally::{Event, EventKind};
use crate::text::{PlacedWord, Rule, TextStream};
use crate::token::{ABSENT, UNGENERATED};
use crate::units::Seconds;
use crate::window::Window;

/// A recording with its codes and its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its name in the dataset.
    pub path: String,
    /// `[channel, codebook, frame]`, as a codec gives them; the first channel is the layout's first speaker.
    pub codes: Frames<Array3<i32>>,
    /// Words of all speakers with their tokens.
    pub words: Vec<PlacedWord>,
    /// Length of the sound.
    pub duration: Seconds,
    /// Which side of the split it is on.
    pub split: Split,
    /// JSON text that goes with it.
    pub meta: String,
}

/// How recordings become segments.
#[derive(Debug, Clone, Copy)]
pub struct Prepare<'a> {
    /// The rows to fill.
    pub layout: &'a Layout,
    /// How words become a text row.
    pub rule: Rule,
    /// Whose words the text row holds: the label in the words.
    pub speaker: &'a str,
    /// Where recordings are cut; one segment each if not at all.
    pub window: Option<Window>,
}

impl Prepare<'_> {
    /// Cuts first and leaves the delay to the reader: codes in segments are never shifted.
    ///
    /// A word belongs to each window in which it starts; one before the beginning or past the end belongs to the
    /// first or the last. Channels without a speaker in the layout and codebooks that it does not read are left out
    /// and counted; a speaker without a channel is absent.
    ///
    /// # Errors
    /// `Invalid` if there is no frame, a code is not below its stream's cardinality, the codec gives fewer codebooks
    /// than the layout reads, or a token is no text id; `Unsupported` if the layout holds more than one text stream or
    /// phases.
    pub fn segments(&self, recording: &Recording) -> Result<(Vec<Segment>, Vec<Event>)> {
        check_layout(self.layout)?;
        let mut events = Vec::new();
        let codes = self.rows(&recording.codes, &mut events)?;
        let frames = codes.0.len_of(Axis(1));
        if frames == 0 {
            return Err(Error::invalid("length", "0 frames", "at least one"));
        }
        let window = self.window.map_or_else(|| Window::new(frames, frames), Ok)?;
        self.tell_skipped(window, frames, recording, &mut events);
        let segment = |span| self.segment(recording, &codes, span, &mut events);
        let segments = window.spans(frames).map(segment).collect::<Result<Vec<_>>>()?;
        for event in events.iter_mut().filter(|event| event.recording.is_empty()) {
            event.recording = recording.path.clone();
        }
        Ok((segments, events))
    }

    /// The layout's rows, with the text row absent for now.
    fn rows(&self, codes: &Frames<Array3<i32>>, events: &mut Vec<Event>) -> Result<Frames<Array2<i32>>> {
        let (channels, codebooks, frames) = codes.0.dim();
        if channels == 0 {
            return Err(Error::invalid("number of channels", 0, "at least 1"));
        }
        let speakers = self.layout.audio_speakers();
        if channels > speakers.len() {
            events.push(Event::new(EventKind::Channels, (channels - speakers.len()) as u64));
        }
        let read = check_codebooks(self.layout, codebooks)?;
        if codebooks > read {
            events.push(Event::new(EventKind::Codebooks, (codebooks - read) as u64));
        }
        let mut rows = Frames(Array2::from_elem((self.layout.streams().len(), frames), ABSENT as i32));
        for (stream, mut row) in self.layout.streams().iter().zip(rows.0.outer_iter_mut()) {
            let channel = speakers.iter().position(|&speaker| speaker == stream.speaker);
            if let (Some(level), Some(channel)) = (stream.level, channel.filter(|&c| c < channels)) {
                row.assign(&codes.0.slice(s![channel, level, ..]));
            }
        }
        self.layout.check_codes(&rows)?;
        self.check_generated(&rows)?;
        let heard = codes.0.slice(s![..channels.min(speakers.len()), ..read, ..]);
        let absent = heard.lanes(Axis(1)).into_iter().filter(|c| c.iter().all(|&c| i64::from(c) == ABSENT)).count();
        if absent > 0 && read > 0 {
            events.push(Event::new(EventKind::Absent, absent as u64));
        }
        Ok(rows)
    }

    /// Slots that a model is to fill have no place in a dataset.
    fn check_generated(&self, rows: &Frames<Array2<i32>>) -> Result<()> {
        match rows.0.indexed_iter().find(|(_, code)| i64::from(**code) == UNGENERATED) {
            Some(((k, t), code)) => {
                let error = Error::invalid("code", code, "a code, or -1 where there is none");
                Err(error.in_stream(&self.layout.streams()[k].name).at_frame(t))
            }
            None => Ok(()),
        }
    }

    fn tell_skipped(&self, window: Window, frames: usize, recording: &Recording, events: &mut Vec<Event>) {
        let skipped = window.skipped(frames);
        if skipped == 0 {
            return;
        }
        events.push(Event::new(EventKind::Skipped, skipped as u64));
        for word in &recording.words {
            let frame = self.frame_of(word, frames);
            if !window.spans(frames).any(|span| span.contains(&frame)) {
                events.push(Event::new(EventKind::OutsideWindow, 0).about(&word.word.text, word.word.start));
            }
        }
    }

    fn segment(
        &self,
        recording: &Recording,
        codes: &Frames<Array2<i32>>,
        span: Range<usize>,
        events: &mut Vec<Event>,
    ) -> Result<Segment> {
        let rate = self.layout.frame_rate();
        let frames = codes.0.len_of(Axis(1));
        let (start, end) = (rate.start_of(span.start), rate.start_of(span.end));
        let end = if span.end == frames && recording.duration > start { recording.duration } else { end };
        let mut segment = Segment {
            id: if span == (0..frames) { recording.path.clone() } else { format!("{}@{}", recording.path, span.start) },
            path: recording.path.clone(),
            start,
            duration: end - start,
            codes: Frames(codes.0.slice(s![.., span.clone()]).to_owned()),
            words: self.words_in(&recording.words, &span, frames),
            regions: Vec::new(),
            split: recording.split,
            meta: recording.meta.clone(),
        };
        let mut told = self.place_words(&mut segment)?;
        told.extend(
            segment
                .words
                .iter()
                .filter(|w| span.end < frames && w.word.end > end - start)
                .map(|w| Event::new(EventKind::CrossesWindow, 0).about(&w.word.text, w.word.start)),
        );
        for event in &mut told {
            event.recording = segment.id.clone();
            event.time = event.time.map(|time| time + start);
        }
        events.extend(told);
        Ok(segment)
    }

    /// Words that start in a span, with times from its beginning.
    fn words_in(&self, words: &[PlacedWord], span: &Range<usize>, frames: usize) -> Vec<PlacedWord> {
        let start = self.layout.frame_rate().start_of(span.start);
        let inside = words.iter().filter(|word| span.contains(&self.frame_of(word, frames)));
        let mut inside: Vec<_> = inside.cloned().collect();
        for PlacedWord { word, .. } in &mut inside {
            (word.start, word.end) = (word.start - start, word.end - start);
        }
        inside
    }

    /// The frame a word starts in, taken to the nearest one that there is.
    fn frame_of(&self, word: &PlacedWord, frames: usize) -> usize {
        self.layout.frame_rate().floor(word.word.start).clamp(0, frames as i64 - 1) as usize
    }

    /// Writes the text row, if the layout has one.
    fn place_words(&self, segment: &mut Segment) -> Result<Vec<Event>> {
        let mut rows = (0..).zip(self.layout.streams());
        let Some((k, stream)) = rows.find(|(_, stream)| stream.kind == Kind::Text) else { return Ok(Vec::new()) };
        let text = TextStream { stream, frame_rate: self.layout.frame_rate(), speaker: self.speaker };
        let mut row = segment.codes.0.row_mut(k);
        let placed = self.rule.place(std::mem::take(&mut segment.words), &text, row.len())?;
        row.assign(&ndarray::ArrayView1::from(&placed.tokens));
        segment.words = placed.words;
        let mut events = placed.events;
        if placed.collisions > 0 {
            events.push(Event::new(EventKind::Collision, placed.collisions as u64));
        }
        Ok(events)
    }
}

/// Encodes every channel.
///
/// # Shapes
/// `channels` holds samples at the codec's rate, one list a channel, all of one length. Returns
/// `[channel, codebook, frame]`.
/// # Errors
/// Those of the codec; `Invalid` if lengths differ.
pub fn encode(codec: &dyn Codec, channels: &[Vec<f32>]) -> Result<Frames<Array3<i32>>> {
    let rows = channels.iter().map(|samples| codec.encode(samples)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = rows.iter().map(|codes| codes.0.view()).collect();
    if views.is_empty() {
        return Ok(Frames(Array3::zeros((0, codec.spec().codebooks, 0))));
    }
    let stacked = ndarray::stack(Axis(0), &views);
    stacked.map(Frames).map_err(|_| Error::invalid("length of a channel", "unlike the others'", "the same for all"))
}

/// Decodes every channel of `[channel, codebook, frame]`: samples at the codec's rate.
///
/// # Errors
/// Those of the codec, with the channel.
pub fn decode(codec: &dyn Codec, codes: &Frames<Array3<i32>>) -> Result<Vec<Vec<f32>>> {
    let channel = |(c, codes): (usize, ArrayView2<i32>)| {
        codec.decode(Frames(codes)).map_err(|error| error.in_stream(format!("channel {c}")))
    };
    codes.0.outer_iter().enumerate().map(channel).collect()
}

/// The audio rows of a layout as a codec reads them: one channel for each speaker.
///
/// # Shapes
/// `[stream, time]` becomes `[channel, codebook, frame]`.
/// # Errors
/// `StreamCount`.
pub fn audio_codes(layout: &Layout, codes: &Frames<ArrayView2<i32>>) -> Result<Frames<Array3<i32>>> {
    layout.check_streams(codes.0.len_of(Axis(0)))?;
    let speakers = layout.audio_speakers();
    let shape = (speakers.len(), codebooks_read(layout), codes.0.len_of(Axis(1)));
    let mut audio = Array3::from_elem(shape, ABSENT as i32);
    for (stream, row) in layout.streams().iter().zip(codes.0.outer_iter()) {
        let channel = speakers.iter().position(|&speaker| speaker == stream.speaker);
        if let (Some(level), Some(channel)) = (stream.level, channel) {
            audio.slice_mut(s![channel, level, ..]).assign(&row);
        }
    }
    Ok(Frames(audio))
}

/// Checks that recordings can be prepared for a layout at all.
///
/// # Errors
/// `Unsupported` if it has a second text stream, or streams that are phases of a multi-rate codec.
pub fn check_layout(layout: &Layout) -> Result<()> {
    if let Some(second) = layout.streams().iter().filter(|stream| stream.kind == Kind::Text).nth(1) {
        let detail = "words are placed in one text stream";
        return Err(Error::unsupported("a second text stream", detail).in_stream(&second.name));
    }
    if let Some(stream) = layout.streams().iter().find(|stream| stream.phase.is_some()) {
        return Err(
            Error::unsupported("a stream with a phase", "all codebooks run at one rate").in_stream(&stream.name)
        );
    }
    Ok(())
}

/// Checks that a codec with so many codebooks can feed a layout, and gives the number that the layout reads.
///
/// # Errors
/// `Invalid` if the layout reads more.
pub fn check_codebooks(layout: &Layout, codebooks: usize) -> Result<usize> {
    if let Some(stream) = layout.streams().iter().find(|stream| stream.phase.is_some()) {
        return Err(
            Error::unsupported("a stream with a phase", "all codebooks run at one rate").in_stream(&stream.name)
        );
    }
    let read = codebooks_read(layout);
    if codebooks < read {
        let expected = format!("at least {read}, as layout {} reads", layout.name());
        return Err(Error::invalid("number of codebooks", codebooks, expected));
    }
    Ok(read)
}

/// Codebooks of each speaker that a layout reads.
pub fn codebooks_read(layout: &Layout) -> usize {
    layout.streams().iter().filter_map(|stream| stream.level).max().map_or(0, |level| level + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Word;

    fn word(text: &str, start: &str, end: &str, tokens: &[i32]) -> PlacedWord {
        let word = Word::new(text, start.parse().unwrap(), end.parse().unwrap(), "SPEAKER_MAIN");
        PlacedWord::new(word, tokens.into())
    }

    fn recording(channels: usize, codebooks: usize, frames: usize) -> Recording {
        let codes = Array3::from_shape_fn((channels, codebooks, frames), |(c, q, t)| (100 * c + 10 * q + t) as i32);
        Recording {
            path: "a.wav".into(),
            codes: Frames(codes),
            words: vec![word("one", "0.1", "0.3", &[11]), word("two", "0.42", "0.9", &[12, 13])],
            duration: crate::FrameRate::new(25, 2).unwrap().start_of(frames),
            split: Split::Train,
            meta: "{}".into(),
        }
    }

    fn prepare(layout: &Layout, window: Option<(usize, usize)>) -> Prepare<'_> {
        let window = window.map(|(size, hop)| Window::new(size, hop).unwrap());
        Prepare { layout, rule: Rule::Moshi, speaker: "SPEAKER_MAIN", window }
    }

    #[test]
    fn a_recording_fills_the_rows_and_comes_back() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let (segments, events) = prepare(&layout, None).segments(&recording(2, 8, 12)).unwrap();
        assert_eq!((segments.len(), events.len()), (1, 0));
        assert_eq!(segments[0].codes.0.row(0).to_vec(), [0, 11, 3, 3, 0, 12, 13, 3, 3, 3, 3, 3]);
        assert_eq!(audio_codes(&layout, &Frames(segments[0].codes.0.view())).unwrap(), recording(2, 8, 12).codes);
    }

    #[test]
    fn a_missing_speaker_is_absent_and_what_is_left_out_is_counted() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let (segments, _) = prepare(&layout, None).segments(&recording(1, 8, 4)).unwrap();
        assert!(segments[0].codes.0.slice(s![9.., ..]).iter().all(|&code| code == -1));
        let (_, events) = prepare(&layout, None).segments(&recording(3, 9, 4)).unwrap();
        let kinds: Vec<_> = events.iter().map(|e| (e.event, e.amount)).collect();
        assert_eq!(kinds[..2], [(EventKind::Channels, 1), (EventKind::Codebooks, 1)]);
        let error = prepare(&layout, None).segments(&recording(1, 4, 4)).unwrap_err();
        assert_eq!(error.to_string(), "number of codebooks is 4, expected at least 8, as layout moshi-7b reads");
        assert!(prepare(&layout, None).segments(&recording(1, 8, 0)).is_err());
    }

    #[test]
    fn windows_are_cut_before_words_are_placed() {
        let layout = Layout::preset("delay-1").unwrap();
        let (segments, events) = prepare(&layout, Some((6, 6))).segments(&recording(1, 2, 10)).unwrap();
        let ids: Vec<_> = segments.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["a.wav@0", "a.wav@6"]);
        assert_eq!(segments[0].codes.0.row(0).to_vec(), [0, 11, 3, 3, 0, 12]);
        assert_eq!(segments[1].codes.0.row(0).to_vec(), [3, 3, 3, 3]);
        assert_eq!(segments[1].codes.0.row(1).to_vec(), [6, 7, 8, 9]);
        assert_eq!((segments[1].start.to_string(), segments[1].duration.to_string()), ("0.48".into(), "0.32".into()));
        let told: Vec<_> =
            events.iter().map(|e| (e.event, e.recording.as_str(), e.time.unwrap().to_string())).collect();
        let expected =
            [(EventKind::Cut, "a.wav@0", "0.42".into()), (EventKind::CrossesWindow, "a.wav@0", "0.42".into())];
        assert_eq!(told, expected);
    }

    #[test]
    fn frames_and_words_between_windows_are_events() {
        let layout = Layout::preset("delay-1").unwrap();
        let (segments, events) = prepare(&layout, Some((2, 8))).segments(&recording(1, 2, 10)).unwrap();
        assert_eq!(segments.len(), 2);
        let told: Vec<_> = events.iter().map(|e| (e.event, e.amount)).collect();
        assert_eq!(told, [(EventKind::Skipped, 6), (EventKind::OutsideWindow, 0), (EventKind::CrossesWindow, 0)]);
    }
}
