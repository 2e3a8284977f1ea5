//! Words in the text streams of a layout, each of which holds one speaker's.

use crate::error::Result;
use crate::pipeline::{Speakers, speakers::main_speaker};
use crate::stream::{Kind, Layout, Stream};
use crate::tally::{Event, EventKind};
use crate::text::{PlacedWord, Rule, TextStream, Word};

/// The text streams, by their rows.
pub(super) struct Texts<'a> {
    pub rule: Rule,
    pub streams: Vec<(usize, TextStream<'a>)>,
}

/// Rows of text, and what became of the words.
pub(super) struct Placed {
    /// By the number of the layout's stream.
    pub rows: Vec<(usize, Vec<i32>)>,
    /// In order of start, each with the place in `rows` of the row that it is for.
    pub words: Vec<(Option<usize>, PlacedWord)>,
    pub events: Vec<Event>,
}

/// The text streams of a layout by their rows, each with the label of its speaker in a recording where the labels
/// `found` occur. A speaker without a label keeps the layout's name.
///
/// # Errors
/// As [`Speakers::labels`].
pub fn text_streams<'a>(
    layout: &'a Layout,
    speakers: &'a Speakers,
    found: &[&'a str],
) -> Result<Vec<(usize, TextStream<'a>)>> {
    let rows = (0..).zip(layout.streams()).filter(|(_, stream)| stream.kind == Kind::Text);
    let (rows, streams): (Vec<usize>, Vec<_>) = rows.unzip();
    let wanted: Vec<_> = streams.iter().map(|stream| stream.speaker.as_str()).collect();
    let labels = speakers.labels(main_speaker(layout).unwrap_or_default(), &wanted, found)?;
    let text = |(stream, label): (&'a Stream, Option<&'a str>)| {
        TextStream::new(layout, stream, label.unwrap_or(&stream.speaker))
    };
    Ok(rows.into_iter().zip(streams.into_iter().zip(labels).map(text)).collect())
}

impl<'a> Texts<'a> {
    /// # Errors
    /// As [`Speakers::labels`].
    pub fn new(layout: &'a Layout, rule: Rule, speakers: &'a Speakers, words: &'a [PlacedWord]) -> Result<Self> {
        let found: Vec<_> = words.iter().map(|word| word.word.speaker.as_str()).collect();
        Ok(Texts { rule, streams: text_streams(layout, speakers, &found)? })
    }

    /// The stream that a word is for. A single one sees the words of all speakers, as its rule may want them.
    fn stream_of(&self, word: &PlacedWord) -> Option<usize> {
        match self.streams.len() {
            1 => Some(0),
            _ => self.streams.iter().position(|(_, text)| text.speaker == word.word.speaker),
        }
    }

    /// Whether a word is for a row that the rule writes it in.
    pub fn writes(&self, word: &PlacedWord) -> bool {
        self.stream_of(word).is_some_and(|i| self.rule.writes(&word.word, &self.streams[i].1))
    }

    /// Places words in rows of `frames`.
    ///
    /// # Errors
    /// As [`Rule::place_in_window`].
    pub fn place(&self, mut words: Vec<PlacedWord>, frames: usize) -> Result<Placed> {
        words.sort_by_key(|word| word.word.start);
        let nowhere = |word: PlacedWord| (self.stream_of(&word), PlacedWord { frame: None, ..word });
        let words: Vec<_> = words.into_iter().map(nowhere).collect();
        let mut placed = Placed { rows: Vec::new(), words, events: Vec::new() };
        if !self.streams.is_empty() {
            let nobodys = placed.words.iter().filter(|(stream, _)| stream.is_none());
            let event = |word: &Word| Event::new(EventKind::OtherSpeaker, 0).about(&word.text, word.start);
            placed.events.extend(nobodys.map(|(_, placed)| event(&placed.word)));
        }
        for (i, (k, text)) in self.streams.iter().enumerate() {
            self.fill(i, *k, text, frames, &mut placed)?;
        }
        Ok(placed)
    }

    /// Makes the row of one stream.
    fn fill(&self, i: usize, k: usize, text: &TextStream, frames: usize, placed: &mut Placed) -> Result<()> {
        let own = |(stream, _): &&mut (Option<usize>, _)| *stream == Some(i);
        let words = placed.words.iter_mut().filter(own).map(|(_, word)| word.clone()).collect();
        let row = self.rule.place_in_window(words, text, frames, frames)?;
        placed.events.extend(row.events());
        // A rule gives back every word, in order of start.
        for ((_, word), now) in placed.words.iter_mut().filter(own).zip(row.words) {
            *word = now;
        }
        if row.collisions > 0 {
            placed.events.push(Event::new(EventKind::Collision, row.collisions as u64));
        }
        placed.rows.push((k, row.tokens));
        Ok(())
    }
}
