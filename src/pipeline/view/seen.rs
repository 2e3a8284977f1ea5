//! One segment on its way into a view: its rows, then its words, then what is left out.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, Axis, s};

use super::swap::Swap;
use super::{Look, SliceText, View, ViewOptions, name};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::pipeline::segments::{about, from_start};
use crate::pipeline::silence_frames;
use crate::pipeline::speakers::main_speaker;
use crate::pipeline::texts::{Placed, Texts};
use crate::stream::{Frames, Stream};
use crate::tally::{Event, EventKind, Tally};
use crate::text::{Augmented, Drawn, PlacedWord, TextStream};
use crate::token::ABSENT;
use crate::units::Seconds;
use crate::weights::Region;

/// One segment on its way.
pub(super) struct Seen<'a> {
    options: &'a ViewOptions<'a>,
    segment: &'a Segment,
    look: &'a Look,
    frames: Range<usize>,
    swap: Option<Swap<'a>>,
    drawn: Option<Drawn>,
}

impl<'a> Seen<'a> {
    pub fn new(options: &'a ViewOptions<'a>, segment: &'a Segment, look: &'a Look) -> Result<Self> {
        options.check()?;
        let (streams, total) = segment.codes.0.dim();
        options.layout.check_streams(streams)?;
        let frames = look.frames.clone().unwrap_or(0..total);
        if look.frames.is_some() && (frames.is_empty() || frames.end > total) {
            let expected = format!("at least one, within 0..{total}");
            return Err(Error::invalid("frames of the slice", format!("{}..{}", frames.start, frames.end), expected));
        }
        let swap = if look.swapped { Some(Swap::new(options.layout)?) } else { None };
        let mut seen = Seen { options, segment, look, frames, swap, drawn: None };
        if let Some(augment) = options.augment {
            let name = name(&segment.id, (!seen.is_whole()).then_some(&seen.frames), look.swapped);
            seen.drawn = Some(augment.draw_in(look.epoch, &name)?);
        }
        Ok(seen)
    }

    fn total(&self) -> usize {
        self.segment.codes.0.ncols()
    }

    fn is_whole(&self) -> bool {
        self.frames == (0..self.total())
    }

    fn time_of(&self, frame: usize) -> Seconds {
        self.options.layout.frame_rate().start_of(frame)
    }

    fn silence(&self) -> Seconds {
        self.time_of(silence_frames(self.options.layout))
    }

    /// Seconds by which the text is to be moved.
    fn shift(&self) -> Seconds {
        self.drawn.map_or(Seconds::ZERO, |drawn| drawn.shift)
    }

    pub fn view(self) -> Result<View> {
        let mut codes = self.codes();
        let (words, mut tally) = self.words(&mut codes)?;
        self.hush(&mut codes);
        if !self.is_whole() {
            tally.add(&Event::new(EventKind::Skipped, (self.total() - self.frames.len()) as u64));
        }
        let augmented = self.augment(&mut codes);
        let Seen { segment, look, .. } = self;
        let (start, end) = (self.time_of(self.frames.start), self.end());
        let seen = Segment {
            id: segment.id.clone(),
            path: segment.path.clone(),
            start: segment.start + start,
            duration: end - start,
            codes: Frames(codes),
            words,
            regions: segment.regions.iter().filter_map(|region| self.region(region)).collect(),
            split: segment.split,
            meta: segment.meta.clone(),
        };
        let (index, swapped) = (look.index, look.swapped);
        Ok(View { segment: seen, index, whole: self.is_whole(), frames: self.frames, swapped, augmented, tally })
    }

    /// The rows of audio as they are seen; those of text as they stand.
    fn codes(&self) -> Array2<i32> {
        let cut = self.segment.codes.0.slice(s![.., self.frames.clone()]);
        self.swap.as_ref().map_or_else(|| cut.to_owned(), |swap| cut.select(Axis(0), &swap.rows))
    }

    /// When the view ends: a whole segment as it does, which may be before its last frame.
    fn end(&self) -> Seconds {
        match self.frames.end == self.total() && self.segment.duration > self.time_of(self.frames.start) {
            true => self.segment.duration,
            false => self.time_of(self.frames.end),
        }
    }

    /// What of a region lies in the view.
    fn region(&self, region: &Region) -> Option<Region> {
        if self.is_whole() {
            return Some(*region);
        }
        let (start, length) = (self.time_of(self.frames.start), self.length());
        let within = |time: Seconds| (time - start).clamp(Seconds::ZERO, length);
        let region = Region { start: within(region.start), end: within(region.end), ..*region };
        (region.start < region.end).then_some(region)
    }

    fn length(&self) -> Seconds {
        self.time_of(self.frames.end) - self.time_of(self.frames.start)
    }

    /// The view's words, once its rows of text are right.
    fn words(&self, codes: &mut Array2<i32>) -> Result<(Vec<PlacedWord>, Tally)> {
        let moved = (self.swap.is_some() || self.shift() != Seconds::ZERO) && self.knows_words();
        let own = self.options.text != SliceText::Cut && !self.is_whole();
        if moved || own {
            self.check_words()?;
        }
        if own && self.knows_words() {
            return self.own_row(codes);
        }
        let mut tally = Tally::default();
        let mut remade = Vec::new();
        if moved {
            let Placed { rows, words, events } = self.texts()?.place(self.segment.words.clone(), self.total())?;
            events.iter().for_each(|event| tally.add(event));
            write(codes, rows, self.frames.clone());
            remade = words.into_iter().map(|(_, word)| word).collect();
        }
        let words: &[PlacedWord] = if moved { &remade } else { &self.segment.words };
        if self.is_whole() {
            return Ok((words.to_vec(), tally));
        }
        let words = self.inside(words, |word| word.frame.unwrap_or_else(|| self.sound_frame(word)), &mut tally);
        self.tell_crossing(&words, &mut tally);
        Ok((words, tally))
    }

    /// Makes rows of the words that start in the slice.
    fn own_row(&self, codes: &mut Array2<i32>) -> Result<(Vec<PlacedWord>, Tally)> {
        let (mut tally, texts) = (Tally::default(), self.texts()?);
        let words = self.inside(&self.segment.words, |word| self.sound_frame(word), &mut tally);
        let is_dropped =
            |word: &PlacedWord| self.options.text == SliceText::Drop && self.crosses(word) && texts.writes(word);
        let (dropped, words): (Vec<_>, _) = words.into_iter().partition(is_dropped);
        dropped.iter().for_each(|word| tally.add(&about(EventKind::Dropped, word.tokens.len(), word)));
        self.tell_crossing(&words, &mut tally);
        let Placed { rows, words, events } = texts.place(words, self.frames.len())?;
        events.iter().for_each(|event| tally.add(event));
        write(codes, rows, 0..self.frames.len());
        Ok((words.into_iter().map(|(_, word)| word).collect(), tally))
    }

    /// Words whose frame lies in the slice, with times from its beginning.
    fn inside(&self, words: &[PlacedWord], home: impl Fn(&PlacedWord) -> usize, tally: &mut Tally) -> Vec<PlacedWord> {
        let Range { start, .. } = self.frames;
        let inside = words.iter().filter(|word| self.frames.contains(&home(word)));
        let inside: Vec<_> = inside.map(|word| from_start(word, start, self.time_of(start))).collect();
        let outside = words.len() - inside.len();
        (0..outside).for_each(|_| tally.add(&Event::new(EventKind::OutsideWindow, 0)));
        inside
    }

    /// Tells words of the slice that go on behind its border.
    fn tell_crossing(&self, words: &[PlacedWord], tally: &mut Tally) {
        let crossing = words.iter().filter(|word| self.crosses(word)).count();
        (0..crossing).for_each(|_| tally.add(&Event::new(EventKind::CrossesWindow, 0)));
    }

    /// Whether a word, by its times in the slice, ends past the border that the slice has with the rest.
    fn crosses(&self, word: &PlacedWord) -> bool {
        self.frames.end < self.total() && word.word.end + self.silence() > self.length()
    }

    /// The frame in which a word's sound starts, taken to the nearest one that the segment has.
    fn sound_frame(&self, word: &PlacedWord) -> usize {
        let frame = self.options.layout.frame_rate().floor(word.word.start + self.silence());
        frame.clamp(0, self.total() as i64 - 1) as usize
    }

    /// False where nobody knows what was said: without words, the rows of text are absent then, and not pads.
    fn knows_words(&self) -> bool {
        let has_text = |(k, _)| self.segment.codes.0.row(k).iter().any(|&id| id >= 0);
        !self.segment.words.is_empty() || self.options.text_rows().any(has_text)
    }

    /// Makes the text absent of a speaker who is heard nowhere in the segment, as in a recording of one channel: pads
    /// would be false silence.
    fn hush(&self, codes: &mut Array2<i32>) {
        let Some(swap) = &self.swap else { return };
        let is_absent = |row: usize| self.segment.codes.0.row(row).iter().all(|&code| code < 0);
        for (k, text) in self.options.text_rows() {
            let streams = self.options.layout.streams().iter().zip(&swap.rows);
            let mut own = streams.filter(|(stream, _)| stream.kind.is_audio() && stream.speaker == text.speaker);
            if own.all(|(_, &row)| is_absent(row)) {
                codes.row_mut(k).fill(ABSENT as i32);
            }
        }
    }

    /// Sees that rows made anew of a segment's words do not lose text whose words were not kept.
    fn check_words(&self) -> Result<()> {
        let is_text = |(k, stream): (usize, &Stream)| {
            let silence = |id: i64| id == i64::from(stream.pad) || Some(id) == stream.end_pad.map(i64::from);
            self.segment.codes.0.row(k).iter().any(|&id| id >= 0 && !silence(id.into()))
        };
        match self.segment.words.is_empty() && self.options.text_rows().any(is_text) {
            true => {
                Err(Error::invalid("words of the segment", "none", "those of its text, which is to be placed anew"))
            }
            false => Ok(()),
        }
    }

    /// The text rows as they are seen from here: with the labels of their speakers, and moved.
    ///
    /// A segment may be a part of its recording in which the main speaker is not heard: whoever else is alone in it is
    /// the other one.
    fn texts(&'a self) -> Result<Texts<'a>> {
        let ViewOptions { layout, rule, speakers, .. } = *self.options;
        let side = |stream: &'a Stream| match &self.swap {
            Some(swap) => swap.partner(&stream.speaker),
            None => &stream.speaker,
        };
        let words = self.segment.words.iter().map(|word| word.word.speaker.as_str());
        let found: Vec<_> = words.chain([speakers.main()]).collect();
        let wanted: Vec<_> = self.options.text_rows().map(|(_, stream)| side(stream)).collect();
        let labels = speakers.labels(main_speaker(layout).unwrap_or_default(), &wanted, &found)?;
        let text = |((k, stream), label): ((usize, &'a Stream), Option<&'a str>)| {
            let text = TextStream::new(layout, stream, label.unwrap_or_else(|| side(stream)));
            (k, TextStream { lag: text.lag + self.shift(), ..text })
        };
        Ok(Texts { rule, streams: self.options.text_rows().zip(labels).map(text).collect() })
    }

    /// Leaves out text of the rows as they are seen.
    fn augment(&self, codes: &mut Array2<i32>) -> Vec<Augmented> {
        let Some(drawn) = self.drawn else { return Vec::new() };
        let apply = |(k, stream): (usize, &Stream)| {
            let mut row = codes.row(k).to_vec();
            let done = drawn.apply(&mut row, &TextStream::new(self.options.layout, stream, &stream.speaker));
            codes.row_mut(k).assign(&ArrayView1::from(&row));
            done
        };
        self.options.text_rows().map(apply).collect()
    }
}

/// Writes frames of rows of text into their places.
fn write(codes: &mut Array2<i32>, rows: Vec<(usize, Vec<i32>)>, frames: Range<usize>) {
    for (k, row) in rows {
        codes.row_mut(k).assign(&ArrayView1::from(&row[frames.clone()]));
    }
}
