//! From a recording to the segments of a dataset.
//!
//! ```text
//! said       a a b b b|b c c d d     windows of 5 frames; the border cuts b
//! start      E a1 . E b1 | E c1 E d1 .      a row for each window: b2 is cut, and an event
//! split      E a1 . E b1 | b2 c1 . E d1     one row, cut into windows: b2 is in the next, and an event
//! ```

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView1, Axis, s};

use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::pipeline::texts::{Placed, Texts};
use crate::pipeline::{Heard, Speakers, codes, silence_frames};
use crate::stream::{Frames, Kind, Layout};
use crate::tally::{Event, EventKind};
use crate::text::{PlacedWord, Rule};
use crate::units::Seconds;
use crate::weights::Region;
use crate::window::{Border, Window};

/// A recording with its codes and its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its name in the dataset.
    pub path: String,
    /// `[channel, codebook, frame]`, as a codec gives them, the layout's silence in front included; the first channel is
    /// the layout's first speaker.
    pub codes: Frames<Array3<i32>>,
    /// For codes of one channel with several voices: who is heard when. Each speaker of the layout then takes the codes
    /// of the channel's frames in which it is heard.
    pub heard: Option<Heard>,
    /// Words of all speakers with their tokens, with times in the sound; none if nobody knows what was said, and text is
    /// then absent.
    pub words: Option<Vec<PlacedWord>>,
    /// Spans of the sound with a loss weight of their own.
    pub regions: Vec<Region>,
    /// Length of the sound, the layout's silence in front included.
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
    /// Whose words each text row holds.
    pub speakers: &'a Speakers,
    /// Where recordings are cut; one segment each if not at all.
    pub window: Option<Window>,
    /// What becomes of words that a window's border cuts.
    pub border: Border,
}

impl Prepare<'_> {
    /// Checks what does not depend on a recording.
    ///
    /// # Errors
    /// `Invalid` if a speaker is not the layout's, or if words cannot be treated at borders as asked: split where windows do not follow each other without gap and overlap, or anything but
    /// start under a rule that makes one row of the whole recording. `Invalid` too if the rule's options tell speakers
    /// of one row apart, as turn markers do, and the layout has several text rows, each of one speaker.
    pub fn check(&self) -> Result<()> {
        self.speakers.check(self.layout)?;
        self.check_rows()?;
        if self.rule.places_whole() && self.border != Border::Start {
            let expected = format!("start: the rule {} makes one row of the recording, and cuts it", self.rule.name());
            return Err(Error::invalid("choice at a window's border", self.border.name(), expected));
        }
        match self.window.filter(|window| self.border == Border::Split && window.hop() != window.size()) {
            Some(window) => {
                let found = format!("{} frames in windows of {}", window.hop(), window.size());
                Err(Error::invalid("hop", found, "that of the window, where words are split at its border"))
            }
            None => Ok(()),
        }
    }

    fn check_rows(&self) -> Result<()> {
        let rows = self.layout.streams().iter().filter(|stream| stream.kind == Kind::Text).count();
        let Rule::Kyutai(rule) = self.rule else { return Ok(()) };
        let found = match (rule.turn_markers, rule.keep_main_only) {
            (Some(_), _) => "turn markers",
            (None, true) => "the main speaker's words only",
            (None, false) => return Ok(()),
        };
        if rows > 1 {
            let expected = format!("none of that: layout {} has {rows} text rows, one a speaker", self.layout.name());
            return Err(Error::invalid("choice of the rule kyutai", found, expected));
        }
        Ok(())
    }

    /// Cuts first and leaves the delay to the reader: codes in segments are never shifted.
    ///
    /// A word belongs to each window in which it starts; one before the beginning or past the end belongs to the
    /// first or the last. Where one row is made of the whole recording, a word belongs to the window that holds its first
    /// token. Its times count from the window's beginning and stay as said: the text's lag moves tokens only, and with
    /// silence in front the sound of the time 0 lies behind that. Regions of time count from the window's beginning with
    /// that silence, as its frames do.
    ///
    /// Channels without a speaker in the layout and codebooks that it does not read are left out and counted; a speaker
    /// without a channel is absent.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); `Invalid` if there is no frame, a code is not below its stream's cardinality, the
    /// codec gives fewer codebooks than the layout reads, a token is no text id, a region of time lies outside of the
    /// recording, or nobody says which label is whose.
    pub fn segments(&self, recording: &Recording) -> Result<(Vec<Segment>, Vec<Event>)> {
        self.check()?;
        let mut events = Vec::new();
        let codes = codes::rows(self.layout, &recording.codes, recording.heard.as_ref(), &mut events)?;
        let frames = codes.0.len_of(Axis(1));
        if frames == 0 {
            return Err(Error::invalid("length", "0 frames", "at least one"));
        }
        let window = self.window.map_or_else(|| Window::new(frames, frames), Ok)?;
        let words = recording.words.as_deref().unwrap_or_default();
        let texts = Texts::new(self.layout, self.rule, self.speakers, words)?;
        if !words.is_empty() && !texts.streams.is_empty() && !words.iter().any(|word| texts.writes(word)) {
            events.push(Event::new(EventKind::Wordless, words.len() as u64));
        }
        let mut cut = Cut { prepare: self, recording, texts, window, codes, events };
        cut.check_regions()?;
        let segments = match (&recording.words, self.rule.places_whole() || self.border == Border::Split) {
            (Some(words), true) => cut.whole(words)?,
            (Some(words), false) => cut.each(words)?,
            (None, _) => cut.wordless(),
        };
        for event in cut.events.iter_mut().filter(|event| event.recording.is_empty()) {
            event.recording = recording.path.clone();
        }
        Ok((segments, cut.events))
    }
}

/// One recording on its way.
struct Cut<'a> {
    prepare: &'a Prepare<'a>,
    recording: &'a Recording,
    texts: Texts<'a>,
    window: Window,
    codes: Frames<Array2<i32>>,
    events: Vec<Event>,
}

impl Cut<'_> {
    fn frames(&self) -> usize {
        self.codes.0.ncols()
    }

    fn spans(&self) -> Vec<Range<usize>> {
        self.window.spans(self.frames()).collect()
    }

    /// When a frame begins.
    fn time_of(&self, frame: usize) -> Seconds {
        self.prepare.layout.frame_rate().start_of(frame)
    }

    /// The silence in front of the sound.
    fn silence(&self) -> Seconds {
        self.time_of(silence_frames(self.prepare.layout))
    }

    /// The frame in which a word's sound starts, taken to the nearest one that there is.
    fn sound_frame(&self, word: &PlacedWord) -> usize {
        let frame = self.prepare.layout.frame_rate().floor(word.word.start + self.silence());
        frame.clamp(0, self.frames() as i64 - 1) as usize
    }

    /// Segments of a recording whose words nobody knows.
    fn wordless(&mut self) -> Vec<Segment> {
        self.tell_skipped(&[]);
        self.spans().into_iter().map(|span| self.segment(span, Vec::new())).collect()
    }

    /// A row of text for each window.
    fn each(&mut self, words: &[PlacedWord]) -> Result<Vec<Segment>> {
        let homes: Vec<_> = words.iter().map(|word| (self.sound_frame(word), word)).collect();
        self.tell_skipped(&homes);
        let mut segments = Vec::new();
        for span in self.spans() {
            let inside = self.words_in(&span, &homes);
            segments.push(self.one(span, inside)?);
        }
        Ok(segments)
    }

    /// Words whose frame lies in a window, with times from its beginning.
    fn words_in(&self, span: &Range<usize>, homes: &[(usize, &PlacedWord)]) -> Vec<PlacedWord> {
        let inside = homes.iter().filter(|(frame, _)| span.contains(frame));
        inside.map(|(_, word)| from_start(word, span.start, self.time_of(span.start))).collect()
    }

    /// One window and its row of text.
    fn one(&mut self, span: Range<usize>, words: Vec<PlacedWord>) -> Result<Segment> {
        let (dropped, words) = words.into_iter().partition(|word| self.is_dropped(word, &span));
        let mut segment = self.segment(span.clone(), words);
        let words = std::mem::take(&mut segment.words);
        let Placed { rows, words, mut events } = self.texts.place(words, span.len())?;
        for (k, row) in rows {
            segment.codes.0.row_mut(k).assign(&ArrayView1::from(&row));
        }
        segment.words = words.into_iter().map(|(_, word)| word).collect();
        events.extend(dropped.iter().map(|word: &PlacedWord| about(EventKind::Dropped, word.tokens.len(), word)));
        name(&mut events, &segment);
        self.events.extend(events);
        self.events.extend(self.crossing(&segment, &span));
        Ok(segment)
    }

    /// Words of a segment that go on behind its border.
    fn crossing(&self, segment: &Segment, span: &Range<usize>) -> Vec<Event> {
        let crossing = segment.words.iter().filter(|word| self.crosses(word, span));
        let mut events: Vec<_> = crossing.map(|word| about(EventKind::CrossesWindow, 0, word)).collect();
        name(&mut events, segment);
        events
    }

    /// Whether a word, by its times in the window, ends past the border that the window has with the rest.
    fn crosses(&self, word: &PlacedWord, span: &Range<usize>) -> bool {
        let length = self.time_of(span.end) - self.time_of(span.start);
        span.end < self.frames() && word.word.end + self.silence() > length
    }

    /// Words that no row holds stay: nothing of them is cut.
    fn is_dropped(&self, word: &PlacedWord, span: &Range<usize>) -> bool {
        self.prepare.border == Border::Drop && self.crosses(word, span) && self.texts.writes(word)
    }

    /// One row of text for the whole recording, cut into windows.
    fn whole(&mut self, words: &[PlacedWord]) -> Result<Vec<Segment>> {
        let Placed { rows, words, events } = self.texts.place(words.to_vec(), self.frames())?;
        self.events.extend(events);
        for (k, row) in &rows {
            self.codes.0.row_mut(*k).assign(&ArrayView1::from(row));
        }
        let homes: Vec<_> =
            words.iter().map(|(_, word)| (word.frame.unwrap_or_else(|| self.sound_frame(word)), word)).collect();
        self.tell_skipped(&homes);
        if self.prepare.border == Border::Split {
            let rows: Vec<_> = rows.iter().map(|(_, row)| row.as_slice()).collect();
            self.tell_split(&words, &rows);
        }
        let mut segments = Vec::new();
        for span in self.spans() {
            let segment = self.segment(span.clone(), self.words_in(&span, &homes));
            self.events.extend(self.crossing(&segment, &span));
            segments.push(segment);
        }
        Ok(segments)
    }

    /// Tells how many tokens of each word lie behind the border of the window that holds its first one.
    fn tell_split(&mut self, words: &[(Option<usize>, PlacedWord)], rows: &[&[i32]]) {
        for (stream, word) in words {
            let (Some(stream), Some(first)) = (stream, word.frame) else { continue };
            let cells = rows[*stream].get(first..).unwrap_or_default();
            // A rule may stop a word where the next begins; the row says how far it came.
            let written = cells.iter().zip(&word.tokens).take_while(|(cell, token)| cell == token).count();
            let border = (first / self.window.size() + 1) * self.window.size();
            if first + written > border {
                self.events.push(about(EventKind::Split, first + written - border, word));
            }
        }
    }

    /// Tells frames that no window holds, and words that start in them.
    fn tell_skipped(&mut self, homes: &[(usize, &PlacedWord)]) {
        let skipped = self.window.skipped(self.frames());
        if skipped == 0 {
            return;
        }
        self.events.push(Event::new(EventKind::Skipped, skipped as u64));
        let spans = self.spans();
        let outside = homes.iter().filter(|(frame, _)| !spans.iter().any(|span| span.contains(frame)));
        self.events.extend(outside.map(|(_, word)| about(EventKind::OutsideWindow, 0, word)));
    }

    /// A window's segment with the rows as they are, and these words.
    fn segment(&self, span: Range<usize>, words: Vec<PlacedWord>) -> Segment {
        let recording = self.recording;
        let (start, end) = (self.time_of(span.start), self.time_of(span.end));
        let end = if span.end == self.frames() && recording.duration > start { recording.duration } else { end };
        let whole = span == (0..self.frames());
        Segment {
            id: if whole { recording.path.clone() } else { format!("{}@{}", recording.path, span.start) },
            path: recording.path.clone(),
            start,
            duration: end - start,
            codes: Frames(self.codes.0.slice(s![.., span.clone()]).to_owned()),
            words,
            regions: self.regions_in(&span),
            split: recording.split,
            meta: recording.meta.clone(),
        }
    }

    /// Regions cut to a window.
    fn regions_in(&self, span: &Range<usize>) -> Vec<Region> {
        self.recording.regions.iter().filter_map(|region| self.region_in(region, span)).collect()
    }

    /// What of a region lies in a window.
    fn region_in(&self, region: &Region, span: &Range<usize>) -> Option<Region> {
        let (start, length) = (self.time_of(span.start), self.time_of(span.end) - self.time_of(span.start));
        let within = |time: Seconds| (time + self.silence() - start).clamp(Seconds::ZERO, length);
        let region = Region { start: within(region.start), end: within(region.end), ..*region };
        (region.start < region.end).then_some(region)
    }

    /// Refuses regions that no frame could hold, such as times in milliseconds.
    fn check_regions(&self) -> Result<()> {
        let whole = 0..self.frames();
        let outside = |region: &&Region| self.region_in(region, &whole).is_none();
        let Some(Region { start, end, .. }) = self.recording.regions.iter().find(outside) else { return Ok(()) };
        let length = self.time_of(whole.end) - self.silence();
        let expected = format!("within 0..{length} s of the recording");
        Err(Error::invalid("region of time", format!("[{start}, {end}]"), expected))
    }
}

/// A word with times and frame from a window's beginning.
pub(super) fn from_start(placed: &PlacedWord, first: usize, start: Seconds) -> PlacedWord {
    let mut placed = placed.clone();
    (placed.word.start, placed.word.end) = (placed.word.start - start, placed.word.end - start);
    placed.starts.iter_mut().for_each(|token| *token = *token - start);
    placed.frame = placed.frame.and_then(|frame| frame.checked_sub(first));
    placed
}

/// Says in which segment events happened, and when in the recording.
fn name(events: &mut [Event], segment: &Segment) {
    for event in events {
        event.recording = segment.id.clone();
        event.time = event.time.map(|time| time + segment.start);
    }
}

pub(super) fn about(kind: EventKind, amount: usize, placed: &PlacedWord) -> Event {
    Event::new(kind, amount as u64).about(&placed.word.text, placed.word.start)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::pipeline::audio_codes;
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
            heard: None,
            words: Some(vec![word("one", "0.1", "0.3", &[11]), word("two", "0.42", "0.9", &[12, 13])]),
            regions: Vec::new(),
            duration: crate::FrameRate::new(25, 2).unwrap().start_of(frames),
            split: Split::Train,
            meta: "{}".into(),
        }
    }

    fn prepare(layout: &Layout, window: Option<(usize, usize)>) -> Prepare<'_> {
        static SPEAKERS: LazyLock<Speakers> = LazyLock::new(Speakers::default);
        let window = window.map(|(size, hop)| Window::new(size, hop).unwrap());
        Prepare { layout, rule: Rule::Moshi, speakers: &SPEAKERS, window, border: Border::Start }
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
