//! Who speaks how much and when, and what that makes of the text row: counted segment by segment.
//!
//! ```text
//! segments ── add ──> Conversation ── statistics ──> Statistics   as a table, as JSON
//!                          └ merge: any order, any grouping
//! ```

pub(super) mod spread;
mod statistics;
mod table;
mod talk;
mod voice;

use std::collections::BTreeMap;

use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::pipeline::silence_frames;
use crate::stream::{Kind, Layout, Stream};
use crate::text::PlacedWord;
use crate::units::Seconds;

use spread::Spread;
pub(super) use statistics::share;
pub use statistics::{InRow, Lengths, SpeakerStatistics, Statistics, TextStatistics};
use voice::Voice;

/// Counts over segments of one layout, in memory that grows with the number of speakers' labels only.
///
/// What is counted:
/// - **speech**: the union of a speaker's words; words without duration have none.
/// - **unit** (inter-pausal unit): a speaker's speech with the silences of at most 0.2 s inside it.
/// - **turn**: a speaker's units with nothing but pauses between them.
/// - **pause**, **gap**: a time without units of anybody, before one of those who spoke last goes on, or before somebody
///   else begins, whose gap it is. Silence before the first unit and after the last is neither.
/// - **overlap**: a time with units of several speakers.
///
/// A short word inside another's speech ("mm-hmm") is a turn like any other: whether it is a backchannel or an
/// interruption depends on what is said. Each segment counts by itself: a turn that a window's border cuts is two, and
/// what lies past a segment's end does not count.
///
/// The times of words count from behind the layout's silence in front. A word said before its segment begins (its row's
/// lag brings the first token into the next window) counts in full, as no other segment has it: a segment's time begins
/// with its first word then, while shares and rates are still of the segment's own length.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::batch::{Segment, Split};
/// use roundelay::report::Conversation;
/// use roundelay::text::{PlacedWord, Word};
/// use roundelay::{Frames, Layout, Seconds};
///
/// let layout = Layout::preset("delay-1")?;
/// let word = |text: &str, start: &str, end: &str, speaker: &str, ids: &[i32]| -> roundelay::Result<PlacedWord> {
///     Ok(PlacedWord::new(Word::new(text, start.parse()?, end.parse()?, speaker), ids.to_vec()))
/// };
/// let mut words = vec![word("hello", "0.1", "0.2", "A", &[6312, 28709])?, word("hi", "0.3", "0.4", "B", &[5])?];
/// words[0].frame = Some(1);
/// let segment = Segment {
///     id: "a.wav".into(),
///     path: "a.wav".into(),
///     start: Seconds::ZERO,
///     duration: "0.4".parse()?,
///     codes: Frames(arr2(&[[0, 6312, 28709, 3, 3], [7; 5], [7; 5]])),
///     words,
///     regions: vec![],
///     split: Split::Train,
///     meta: String::new(),
/// };
/// let mut conversation = Conversation::new(&layout);
/// conversation.add(&segment)?;
/// let found = conversation.statistics();
/// assert_eq!((found.all.words, found.all.gaps.count, found.all.gaps.seconds), (2, 1, "0.1".parse()?));
/// assert_eq!((found.speakers["A"].speech_share, found.text[0].pad_share), (Some(0.25), Some(0.4)));
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// dGSLM, arXiv 2203.16502, section 3.4, whose figures Moshi's paper gives too: there a voice activity detector says
/// when somebody speaks, here the words do. It leaves backchannels alone for the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    layout: Layout,
    silence: Seconds,
    lateness: bool,
    frames: u64,
    segments: Spread,
    voices: BTreeMap<String, Voice>,
    all: Voice,
    texts: Vec<TextCells>,
}

/// What the cells of a row of text hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct TextCells {
    row: usize,
    frames: u64,
    pads: u64,
    end_pads: u64,
    absent: u64,
}

impl Conversation {
    /// Begins with nothing counted; units may have 0.2 s of silence inside.
    pub fn new(layout: &Layout) -> Self {
        let texts = layout.streams().iter().enumerate().filter(|(_, stream)| stream.kind == Kind::Text);
        Conversation {
            layout: layout.clone(),
            silence: Seconds::of_samples(1, 5),
            lateness: false,
            frames: 0,
            segments: Spread::default(),
            voices: BTreeMap::new(),
            all: Voice::default(),
            texts: texts.map(|(row, _)| TextCells { row, ..TextCells::default() }).collect(),
        }
    }

    /// Another length of the silence that units may have inside; to be called before anything is counted.
    ///
    /// # Errors
    /// `Invalid` if it is below 0.
    pub fn with_silence(self, silence: Seconds) -> Result<Self> {
        match silence < Seconds::ZERO {
            true => Err(Error::invalid("silence inside a unit", silence, "0 s or more")),
            false => Ok(Conversation { silence, ..self }),
        }
    }

    /// Looks also at how much later words stand in their rows than the layout wants them; to be called before anything is
    /// counted.
    ///
    /// It is of use for text that [`Rule::Moshi`](crate::text::Rule::Moshi) wrote: other rules place words elsewhere by
    /// intention.
    #[must_use]
    pub fn with_lateness(self) -> Self {
        Conversation { lateness: true, ..self }
    }

    /// Counts one segment.
    ///
    /// # Errors
    /// `StreamCount` if its codes have not one row for each stream.
    pub fn add(&mut self, segment: &Segment) -> Result<()> {
        let (streams, frames) = segment.codes.0.dim();
        self.layout.check_streams(streams)?;
        self.frames += frames as u64;
        self.segments.add(segment.duration);
        for text in &mut self.texts {
            let stream = &self.layout.streams()[text.row];
            segment.codes.0.row(text.row).iter().for_each(|&id| text.count(id, stream));
        }
        for word in &segment.words {
            let late = self.frames_late(word);
            self.all.count(word, late);
            voice(&mut self.voices, &word.word.speaker).count(word, late);
        }
        let lead = self.layout.frame_rate().start_of(silence_frames(&self.layout));
        let (talks, all) = talk::talk(&segment.words, lead, segment.duration, self.silence);
        self.all.add(&all);
        talks.iter().for_each(|(speaker, talk)| voice(&mut self.voices, speaker).add(talk));
        Ok(())
    }

    /// By how many frames a word is late, where it is and where that is looked at.
    fn frames_late(&self, word: &PlacedWord) -> Option<u64> {
        let frame = word.frame.filter(|_| self.lateness)?;
        let wanted = self.layout.frame_rate().floor(word.word.start + self.layout.lag());
        let late = frame as i128 - i128::from(wanted);
        (late > 0).then(|| u64::try_from(late).unwrap_or(u64::MAX))
    }

    /// Adds what another has counted: in any order and grouping, the same comes out.
    ///
    /// # Errors
    /// `Invalid` if the other was made for another layout, with another silence, or looks at lateness where this does not.
    pub fn merge(&mut self, other: &Conversation) -> Result<()> {
        if (&self.layout, self.silence, self.lateness) != (&other.layout, other.silence, other.lateness) {
            return Err(Error::invalid("statistics to add", "of another layout, silence or lateness", "the same"));
        }
        self.frames += other.frames;
        self.segments.merge(&other.segments);
        self.texts.iter_mut().zip(&other.texts).for_each(|(mine, others)| mine.merge(others));
        self.all.merge(&other.all);
        other.voices.iter().for_each(|(speaker, others)| voice(&mut self.voices, speaker).merge(others));
        Ok(())
    }

    /// The figures so far.
    pub fn statistics(&self) -> Statistics {
        let seconds = self.segments.total();
        let text = |cells: &TextCells| cells.statistics(&self.layout.streams()[cells.row]);
        Statistics {
            segments: Lengths::of(&self.segments),
            frames: self.frames,
            unit_silence: self.silence,
            all: self.all.statistics(seconds),
            speakers: self.voices.iter().map(|(name, voice)| (name.clone(), voice.statistics(seconds))).collect(),
            text: self.texts.iter().map(text).collect(),
            events: None,
        }
    }
}

/// The voice of a label; the label is copied once.
fn voice<'a>(voices: &'a mut BTreeMap<String, Voice>, speaker: &str) -> &'a mut Voice {
    if !voices.contains_key(speaker) {
        voices.insert(speaker.to_owned(), Voice::default());
    }
    voices.get_mut(speaker).expect("it has just been put there")
}

impl TextCells {
    fn count(&mut self, id: i32, stream: &Stream) {
        self.frames += 1;
        let id = i64::from(id);
        if id == i64::from(stream.pad) {
            self.pads += 1;
        } else if stream.end_pad.map(i64::from) == Some(id) {
            self.end_pads += 1;
        } else if id < 0 {
            self.absent += 1;
        }
    }

    fn merge(&mut self, other: &TextCells) {
        self.frames += other.frames;
        self.pads += other.pads;
        self.end_pads += other.end_pads;
        self.absent += other.absent;
    }

    fn statistics(&self, stream: &Stream) -> TextStatistics {
        TextStatistics {
            stream: stream.name.clone(),
            frames: self.frames,
            tokens: self.frames - self.pads - self.end_pads - self.absent,
            pads: self.pads,
            end_pads: self.end_pads,
            absent: self.absent,
            pad_share: share(self.pads as f64, self.frames as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Split;
    use crate::stream::Frames;
    use crate::tally::{Event, EventKind};
    use crate::text::{Rule, TextStream, Word};

    fn seconds(text: &str) -> Seconds {
        text.parse().unwrap()
    }

    fn layout() -> Layout {
        Layout::preset("delay-1").unwrap()
    }

    fn word(start: &str, end: &str, speaker: &str, tokens: &[i32]) -> PlacedWord {
        PlacedWord::new(Word::new("w", seconds(start), seconds(end), speaker), tokens.to_vec())
    }

    /// A segment of frames, with the words of A in its text row.
    fn segment(layout: &Layout, words: Vec<PlacedWord>, frames: usize) -> Segment {
        let text = TextStream::of(layout, "A").unwrap();
        let row = Rule::Moshi.place(words, &text, frames).unwrap();
        let mut codes = Array2::zeros((layout.streams().len(), frames));
        codes.row_mut(0).assign(&ndarray::Array1::from(row.tokens));
        Segment {
            id: "a".into(),
            path: "a".into(),
            start: Seconds::ZERO,
            duration: layout.frame_rate().start_of(frames),
            codes: Frames(codes),
            words: row.words,
            regions: vec![],
            split: Split::Train,
            meta: String::new(),
        }
    }

    fn counted(layout: &Layout, segments: &[Segment]) -> Conversation {
        let mut conversation = Conversation::new(layout).with_lateness();
        segments.iter().for_each(|segment| conversation.add(segment).unwrap());
        conversation
    }

    /// ```text
    /// frame  0   1   2   3   4   5   6   7   8   9  10  11  12  13  14  15      1.28 s
    /// A      ═a══════b═══              ═c══════════════            ═d══
    /// B                        ═══════════════
    /// row    E   a   a   b   P   P   E   c   c   c   P   P   P   E   d  3d      3d has the pad's id; a fourth is cut
    /// ```
    fn example() -> Segment {
        let words = vec![
            word("0", "0.16", "A", &[10, 11]),
            word("0.16", "0.3", "A", &[20]),
            word("0.4", "0.8", "B", &[70, 71, 72]),
            word("0.56", "0.9", "A", &[30, 31, 32]),
            word("1.12", "1.2", "A", &[40, 3, 41]),
        ];
        segment(&layout(), words, 16)
    }

    #[test]
    fn figures_of_a_hand_made_example() {
        let segment = example();
        assert_eq!(segment.codes.0.row(0).to_vec(), [0, 10, 11, 20, 3, 3, 0, 30, 31, 32, 3, 3, 3, 0, 40, 3]);
        let found = counted(&layout(), &[segment]).statistics();
        assert_eq!((found.segments.count, found.segments.seconds, found.frames), (1, seconds("1.28"), 16));
        let [a, b, all] = [&found.speakers["A"], &found.speakers["B"], &found.all];

        assert_eq!([a.words, a.tokens, b.words, b.tokens, all.words, all.tokens], [4, 9, 1, 3, 5, 12]);
        // 0 to 0.3, 0.56 to 0.9, 1.12 to 1.2; B from 0.4 to 0.8.
        assert_eq!([a, b, all].map(|s| s.speech_seconds), ["0.72", "0.4", "0.88"].map(seconds));
        assert_eq!(a.speech_share, Some(0.72 / 1.28));
        assert_eq!((a.words_per_second, a.words_per_second_of_speech), (Some(4.0 / 1.28), Some(4.0 / 0.72)));

        // B speaks between A's first two units; from 0.9 to 1.12 nobody does.
        assert_eq!([a.units.count, b.units.count, all.units.count], [3, 1, 4]);
        assert_eq!([a.turns.count, b.turns.count, all.turns.count], [2, 1, 3]);
        assert_eq!(
            (a.turns.least, a.turns.median, a.turns.most),
            (Some(seconds("0.3")), Some(seconds("0.3")), Some(seconds("0.64")))
        );
        assert_eq!((a.pauses.count, a.pauses.seconds, b.pauses.count, all.pauses.count), (1, seconds("0.22"), 0, 1));
        assert_eq!((a.gaps.count, b.gaps.count, b.gaps.seconds, all.gaps.count), (0, 1, seconds("0.1"), 1));
        assert_eq!([a, b, all].map(|s| (s.overlaps.count, s.overlaps.seconds)), [(1, seconds("0.24")); 3]);
        assert_eq!(all.overlap_share, Some(0.24 / 1.28));

        // "a" is moved from frame 0 to 1, "b" from 2 to 3; the others stand where they are said.
        let expected = InRow { words: 4, late_median_frames: Some(1), late_most_frames: Some(1) };
        assert_eq!((&a.in_row, b.in_row.words), (&expected, 0));
        let text = &found.text[0];
        assert_eq!((&*text.stream, text.frames, text.tokens, text.absent), ("text", 16, 7, 0));
        assert_eq!((text.pads, text.end_pads, text.pad_share), (6, 3, Some(6.0 / 16.0)));
    }

    fn latest(conversation: Conversation, segment: &Segment) -> Option<u64> {
        let mut conversation = conversation;
        conversation.add(segment).unwrap();
        conversation.statistics().all.in_row.late_most_frames
    }

    #[test]
    fn lateness_is_counted_from_where_the_layout_wants_the_word() {
        let json = layout().to_json().replacen("\"streams\"", "\"text_lag\": 0.5, \"streams\"", 1);
        let lagging = Layout::from_json(&json).unwrap();
        let word = segment(&lagging, vec![word("0.16", "0.3", "A", &[9])], 16);
        assert_eq!(latest(Conversation::new(&lagging).with_lateness(), &word), None);
        // The same words for a layout without lag: (0.16 + 0.5) s lies in frame 8, 0.16 s in frame 2.
        assert_eq!(latest(Conversation::new(&layout()).with_lateness(), &word), Some(6));
        assert_eq!(latest(Conversation::new(&layout()), &word), None);
        let mut early = word;
        early.words[0].frame = Some(1);
        assert_eq!(latest(Conversation::new(&layout()).with_lateness(), &early), None);
    }

    #[test]
    fn words_count_from_behind_the_silence_in_front() {
        let json = layout().to_json().replacen("\"streams\"", "\"silence_prefix\": 0.1, \"streams\"", 1);
        let silent = Layout::from_json(&json).unwrap();
        let mut window = segment(&layout(), vec![word("0", "0.1", "A", &[9]), word("0.9", "1.3", "B", &[9])], 16);
        // The second window: 0.1 s is two frames of 0.08 s, so these words lie from -0.14 to -0.04 and 0.06 to 0.16 s.
        for (word, start) in window.words.iter_mut().zip(["-0.3", "-0.1"]) {
            (word.word.start, word.word.end) = (seconds(start), seconds(start) + seconds("0.1"));
        }
        let found = counted(&silent, &[window]).statistics();
        assert_eq!((found.all.speech_seconds, found.all.gaps.seconds), (seconds("0.2"), seconds("0.1")));
        assert_eq!((found.all.speech_share, found.segments.seconds), (Some(0.2 / 1.28), seconds("1.28")));
    }

    #[test]
    fn events_are_those_of_the_caller() {
        let mut found = counted(&layout(), &[example()]).statistics();
        assert!(!found.to_string().contains("whole dataset"), "{found}");
        let events = [Event::new(EventKind::Late, 3), Event::new(EventKind::Late, 1), Event::new(EventKind::Cut, 1)];
        found.events = Some(events.iter().collect());
        let table = found.to_string();
        let lines: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let first = lines.iter().position(|line| line == "events of the whole dataset number together").unwrap();
        assert_eq!(lines[first + 1..first + 4], ["late 2 4 frames", "cut 1 1 token", "split 0 0 tokens"]);
    }

    #[test]
    fn another_silence_makes_other_units() {
        let units = |silence: &str| {
            let mut conversation = Conversation::new(&layout()).with_silence(seconds(silence)).unwrap();
            conversation.add(&example()).unwrap();
            conversation.statistics().speakers["A"].units.count
        };
        assert_eq!(["0", "0.2", "0.22", "0.26", "5"].map(units), [3, 3, 2, 1, 1]);
        let error = Conversation::new(&layout()).with_silence(seconds("-1")).unwrap_err().to_string();
        assert_eq!(error, "silence inside a unit is -1, expected 0 s or more");
    }

    #[test]
    fn nothing_has_no_shares() {
        let found = counted(&layout(), &[]).statistics();
        assert_eq!(
            (found.all.speech_share, found.all.words_per_second_of_speech, found.segments.median),
            (None, None, None)
        );
        assert_eq!((found.text[0].pad_share, found.speakers.len()), (None, 0));
        assert!(found.to_string().contains("segments  0, 0.00 s together, 0 frames"), "{found}");
    }

    #[test]
    fn segments_of_another_layout_are_refused() {
        let mut conversation = Conversation::new(&Layout::preset("moshi-7b").unwrap());
        assert!(conversation.add(&example()).unwrap_err().to_string().contains("3 streams, expected 17"));
        assert!(conversation.merge(&Conversation::new(&layout())).unwrap_err().to_string().contains("another layout"));
        let silence = Conversation::new(&layout()).with_silence(seconds("1")).unwrap();
        for other in [silence, Conversation::new(&layout()).with_lateness()] {
            assert!(Conversation::new(&layout()).merge(&other).is_err());
        }
    }

    #[test]
    fn the_table_is_aligned_and_keeps_to_the_loudest_speakers() {
        let segment = |speaker: &str, end: &str| segment(&layout(), vec![word("0.1", end, speaker, &[9])], 16);
        let mut segments: Vec<_> = ["B", "C", "D", "E", "F", "G\n"].map(|name| segment(name, "0.5")).into();
        segments.extend([segment("A", "0.9"), segment(&"long".repeat(20), "0.8")]);
        let table = counted(&layout(), &segments).statistics().to_string();
        let lines: Vec<&str> = table.lines().collect();
        let head = lines.iter().position(|line| line.trim_start().starts_with("all")).unwrap();
        let names: Vec<&str> = lines[head].split_whitespace().collect();
        assert_eq!(names, ["all", "A", "longlonglonglonglonglon…", "B", "C", "D", "E"]);
        assert!(lines.contains(&"and 2 speakers with less speech"), "{table}");
        let widths: Vec<usize> = lines[head..head + 23].iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let one = (0..120i64, 0..60i64, "[ABC]", prop::collection::vec(0..20i32, 0..4)).prop_map(
            |(start, length, who, ids)| word(&format!("{start}e-2"), &format!("{}e-2", start + length), &who, &ids),
        );
        let parts = (prop::collection::vec(one, 0..8), 0..16usize);
        prop::collection::vec(parts.prop_map(|(words, frames)| segment(&layout(), words, frames)), 0..8)
    }

    proptest! {
        #[test]
        fn merging_equals_counting_all(segments in segments(), cut in 0..9usize) {
            let whole = counted(&layout(), &segments);
            let (first, second) = segments.split_at(cut.min(segments.len()));
            let mut merged = counted(&layout(), second);
            merged.merge(&counted(&layout(), first)).unwrap();
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(serde_json::to_string(&merged.statistics()).unwrap(), serde_json::to_string(&whole.statistics()).unwrap());
        }

        #[test]
        fn speakers_add_up_to_all(segments in segments()) {
            let found = counted(&layout(), &segments).statistics();
            let sum = |count: &dyn Fn(&SpeakerStatistics) -> u64| found.speakers.values().map(count).sum::<u64>();
            let counts: [fn(&SpeakerStatistics) -> u64; 5] =
                [|s| s.words, |s| s.tokens, |s| s.units.count, |s| s.turns.count, |s| s.in_row.words];
            for count in counts {
                prop_assert_eq!(sum(&count), count(&found.all));
            }
            let TextStatistics { frames, tokens, pads, end_pads, absent, .. } = found.text[0];
            prop_assert_eq!(frames, tokens + pads + end_pads + absent);
        }
    }
}
