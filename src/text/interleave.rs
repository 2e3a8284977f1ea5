//! From words with times to a row of one token a frame.
//!
//! ```text
//! words        He [0.30, 0.42)   was [0.58, 0.80)
//! frame       0    1    2    3    4    5    6    7    8    9
//! row         P    P    E   He    P    P    E  was    P    P        P pad, E end of pad
//! ```

use crate::error::{Error, Result};
use crate::stream::{Kind, Layout, Stream};
use crate::tally::Event;
use crate::text::{PlacedWord, Word, moshi};
use crate::units::FrameRate;

/// The stream that a row of text is for, and whose words it holds.
#[derive(Debug, Clone, Copy)]
pub struct TextStream<'a> {
    /// Gives pad, end of pad and cardinality. Without an end of pad none is written.
    pub stream: &'a Stream,
    /// Frames a second.
    pub frame_rate: FrameRate,
    /// The speaker's label in the words, as `SPEAKER_MAIN`; words of others are not written.
    pub speaker: &'a str,
}

impl<'a> TextStream<'a> {
    /// The text stream of a layout.
    ///
    /// # Errors
    /// `Unsupported` if the layout has none, or several.
    pub fn of(layout: &'a Layout, speaker: &'a str) -> Result<Self> {
        let mut texts = layout.streams().iter().filter(|stream| stream.kind == Kind::Text);
        let unsupported = |detail| Error::unsupported(format!("text in the layout {}", layout.name()), detail);
        let stream = texts.next().ok_or_else(|| unsupported("it has no text stream"))?;
        if texts.next().is_some() {
            return Err(unsupported("it has more than one text stream"));
        }
        Ok(TextStream { stream, frame_rate: layout.frame_rate(), speaker })
    }

    /// The id of silence.
    pub(super) fn pad(&self) -> i32 {
        // Layouts are checked to hold no id beyond i32.
        self.stream.pad as i32
    }

    /// The id just before a word.
    pub(super) fn end_pad(&self) -> Option<i32> {
        self.stream.end_pad.map(|id| id as i32)
    }

    /// True for ids that mean silence, whether or not a word has them too.
    pub(super) fn is_pad(&self, id: i32) -> bool {
        id == self.pad() || Some(id) == self.end_pad()
    }

    /// True for ids that are text or pads; others are absent, ungenerated or initial.
    pub(super) fn is_data(&self, id: i32) -> bool {
        (0..i64::from(self.stream.cardinality)).contains(&i64::from(id))
    }
}

/// One token a frame, and what became of each word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRow {
    /// `[time]`.
    pub tokens: Vec<i32>,
    /// All words, also those that the row does not hold, in order of start.
    pub words: Vec<PlacedWord>,
    /// Words that did not go straight in, in the same order.
    pub events: Vec<Event>,
    /// Cells of words whose id is also that of the pad or the end of pad: read from the row alone they are silence.
    pub collisions: usize,
}

/// How words become a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rule {
    /// The Moshi paper's rule, made complete: a word begins in the frame of its start, or as soon as the word before
    /// it is finished; an end of pad goes before each word that does not touch the one before.
    #[default]
    Moshi,
}

impl Rule {
    /// The rule's name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Moshi => "moshi",
        }
    }

    /// Places words in a row of `frames` tokens. Frames that the words already have do not matter: a row can be made
    /// anew from the words of another.
    ///
    /// # Errors
    /// `Invalid` if a word that is to be written has a token outside the stream's cardinality, or if the stream is
    /// not text.
    /// # Examples
    /// ```
    /// use roundelay::text::{Rule, TextStream, Word, tokenize};
    /// let layout = roundelay::Layout::preset("moshi-7b")?;
    /// let text = TextStream::of(&layout, "SPEAKER_MAIN")?;
    /// let word = Word::new("hello", "0.2".parse()?, "0.5".parse()?, "SPEAKER_MAIN");
    /// let words = tokenize(vec![word], |_| Ok(vec![6312, 28709]))?;
    /// let row = Rule::Moshi.place(words, &text, 6)?;
    /// assert_eq!(row.tokens, [3, 0, 6312, 28709, 3, 3]);
    /// assert_eq!(row.words[0].frame, Some(2));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn place(self, mut words: Vec<PlacedWord>, text: &TextStream, frames: usize) -> Result<TextRow> {
        if text.stream.kind != Kind::Text {
            let error = Error::invalid("kind", format!("{:?}", text.stream.kind), "Text");
            return Err(error.in_stream(&text.stream.name));
        }
        words.sort_by_key(|word| word.word.start);
        check_tokens(&words, text)?;
        match self {
            Rule::Moshi => Ok(moshi::place(words, text, frames)),
        }
    }
}

/// Gives each word its tokens: those of its text without white space around it.
///
/// # Errors
/// Those of `encode`.
pub fn tokenize(words: Vec<Word>, mut encode: impl FnMut(&str) -> Result<Vec<i32>>) -> Result<Vec<PlacedWord>> {
    let placed = |word: Word| Ok(PlacedWord::new(word.clone(), encode(word.stripped())?));
    words.into_iter().map(placed).collect()
}

/// Checks the tokens of the words that are to be written.
fn check_tokens(words: &[PlacedWord], text: &TextStream) -> Result<()> {
    for PlacedWord { word, tokens, .. } in words.iter().filter(|word| word.word.speaker == text.speaker) {
        if let Some(&id) = tokens.iter().find(|&&id| !text.is_data(id)) {
            let what = format!("a token of the word {:?} at {}", word.text, word.start);
            let expected = format!("0..{}", text.stream.cardinality);
            return Err(Error::invalid(what, id, expected).in_stream(&text.stream.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Count, EventKind, Tally};
    use crate::text::{Tokenizer, words_from_row};
    use crate::units::Seconds;
    use proptest::prelude::*;

    const PAD: i32 = 3;
    const END: i32 = 0;

    fn layout() -> Layout {
        Layout::preset("delay-1").unwrap()
    }

    fn text(layout: &Layout) -> TextStream<'_> {
        TextStream::of(layout, "A").unwrap()
    }

    fn hundredths(value: i64) -> Seconds {
        format!("{value}e-2").parse().unwrap()
    }

    fn word(text: &str, start: i64, end: i64, speaker: &str, tokens: Vec<i32>) -> PlacedWord {
        let (start, end) = (hundredths(start), hundredths(end));
        PlacedWord::new(Word::new(text, start, end, speaker), tokens)
    }

    /// Words of speaker A, each from a frame on, for a quarter of a second.
    fn place(words: &[(i64, &[i32])], frames: usize) -> TextRow {
        let word = |&(frame, tokens): &(i64, &[i32])| word("w", frame * 8, frame * 8 + 25, "A", tokens.to_vec());
        Rule::Moshi.place(words.iter().map(word).collect(), &text(&layout()), frames).unwrap()
    }

    fn events(row: &TextRow) -> Vec<(EventKind, u64)> {
        row.events.iter().map(|event| (event.event, event.amount)).collect()
    }

    #[test]
    fn the_pictures_hold() {
        let row = place(&[(2, &[10]), (3, &[20, 21, 22]), (4, &[30]), (9, &[40])], 10);
        assert_eq!(row.tokens, [3, 0, 10, 20, 21, 22, 30, 3, 0, 40]);
        assert_eq!(events(&row), [(EventKind::Late, 2)]);
    }

    #[test]
    fn a_word_at_the_beginning_moves_by_one() {
        let row = place(&[(0, &[10])], 3);
        assert_eq!((row.tokens.as_slice(), events(&row)), (&[0, 10, 3][..], vec![(EventKind::Late, 1)]));
        let row = place(&[(-5, &[10]), (0, &[20])], 4);
        assert_eq!(row.tokens, [0, 10, 20, 3]);
        assert_eq!(events(&row), [(EventKind::Late, 6), (EventKind::Late, 2)]);
    }

    #[test]
    fn what_lies_past_the_end_is_cut_and_counted() {
        let row = place(&[(2, &[10, 11, 12]), (9, &[20])], 4);
        assert_eq!(row.tokens, [3, 0, 10, 11]);
        assert_eq!(events(&row), [(EventKind::Cut, 1), (EventKind::Cut, 1)]);
        assert_eq!(row.words.iter().map(|word| word.frame).collect::<Vec<_>>(), [Some(2), None]);
        assert!(place(&[(0, &[10])], 0).tokens.is_empty());
    }

    #[test]
    fn the_end_of_pad_before_the_first_frame_outside_is_in_the_row() {
        assert_eq!(place(&[(3, &[10])], 3).tokens, [3, 3, 0]);
        assert_eq!(place(&[(4, &[10])], 3).tokens, [3, 3, 3]);
    }

    #[test]
    fn pads_are_known_by_role_not_by_value() {
        let row = place(&[(1, &[PAD]), (2, &[10, END]), (4, &[20])], 6);
        assert_eq!(row.tokens, [END, PAD, 10, END, 20, PAD]);
        assert_eq!(row.collisions, 2);
        assert_eq!(place(&[(1, &[10])], 3).collisions, 0);
    }

    #[test]
    fn a_stream_without_end_of_pad_gets_none() {
        let mut stream = layout().streams()[0].clone();
        stream.end_pad = None;
        let layout = layout();
        let text = TextStream { stream: &stream, ..text(&layout) };
        let row = Rule::Moshi.place(vec![word("w", 20, 40, "A", vec![10])], &text, 4).unwrap();
        assert_eq!(row.tokens, [3, 3, 10, 3]);
    }

    #[test]
    fn other_speakers_and_empty_words_are_kept_and_counted() {
        let words = vec![
            word("c", 40, 40, "A", vec![30]),
            word("b", 10, 20, "B", vec![99_999]),
            word("a", 10, 20, "A", vec![]),
        ];
        let row = Rule::Moshi.place(words, &text(&layout()), 8).unwrap();
        assert_eq!(row.tokens, [3, 3, 3, 3, 0, 30, 3, 3]);
        assert_eq!(row.words.iter().map(|word| &*word.word.text).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(events(&row), [(EventKind::OtherSpeaker, 0), (EventKind::Empty, 0), (EventKind::NoDuration, 0)]);
        assert_eq!((row.events[0].word.as_deref(), row.events[0].time), (Some("b"), Some(hundredths(10))));
    }

    #[test]
    fn a_token_outside_the_cardinality_is_named() {
        for wrong in [32_000, -1] {
            let words = vec![word("hm", 125, 140, "A", vec![5, wrong])];
            let error = Rule::Moshi.place(words, &text(&layout()), 8).unwrap_err();
            let expected = format!("stream text: a token of the word \"hm\" at 1.25 is {wrong}, expected 0..32000");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn white_space_is_stripped_as_python_does() {
        let mut seen = Vec::new();
        let words = ["\u{1c} a\u{85}\u{3000}", "\u{200b}", " \n"].map(|text| word(text, 0, 1, "A", vec![]).word);
        let encode = |text: &str| {
            seen.push(text.to_owned());
            Ok(vec![])
        };
        tokenize(words.into(), encode).unwrap();
        assert_eq!(seen, ["a", "\u{200b}", ""]);
    }

    #[test]
    fn far_times_do_not_overflow() {
        let far = |text: &str| text.parse::<Seconds>().unwrap();
        let mut words = vec![word("a", 0, 1, "A", vec![5]), word("b", 0, 1, "A", vec![6])];
        (words[0].word.start, words[1].word.start, words[1].word.end) = (far("-1e9"), far("999999999"), far("1e9"));
        let layout = layout();
        let mut text = text(&layout);
        text.frame_rate = FrameRate::new(u32::MAX, 1).unwrap();
        let row = Rule::Moshi.place(words, &text, 4).unwrap();
        assert_eq!(row.tokens, [0, 5, 3, 3]);
        assert_eq!(events(&row), [(EventKind::Late, 4_294_967_295_000_000_001), (EventKind::Cut, 1)]);
    }

    /// The rule, cell by cell on a row that does not end, with each cell's role written down.
    fn place_slowly(words: &[PlacedWord], frames: usize) -> Vec<i32> {
        #[derive(Clone, Copy, PartialEq)]
        enum Cell {
            Pad,
            EndPad,
            Token(i32),
        }
        let mut sorted: Vec<_> = words.iter().filter(|w| w.word.speaker == "A" && !w.tokens.is_empty()).collect();
        sorted.sort_by_key(|word| word.word.start);
        let mut row = vec![Cell::Pad; 2000];
        let mut cursor = 0;
        for word in sorted {
            let start = FrameRate::new(25, 2).unwrap().floor(word.word.start);
            let p = if start.max(cursor) <= 0 { 1 } else { start.max(cursor) };
            if row[p as usize - 1] == Cell::Pad {
                row[p as usize - 1] = Cell::EndPad;
            }
            for (at, &token) in (p as usize..).zip(&word.tokens) {
                row[at] = Cell::Token(token);
            }
            cursor = p + word.tokens.len() as i64;
        }
        let id = |&cell: &Cell| match cell {
            Cell::Pad => PAD,
            Cell::EndPad => END,
            Cell::Token(id) => id,
        };
        row[..frames].iter().map(id).collect()
    }

    /// Words anywhere in ten seconds, with some tokens that look like pads.
    fn words() -> impl Strategy<Value = Vec<PlacedWord>> {
        let token = prop_oneof![8 => 100..32_000i32, 1 => Just(PAD), 1 => Just(END)];
        let one = (-60..1000i64, -10..60i64, prop::bool::weighted(0.8), prop::collection::vec(token, 0..6));
        let one = one.prop_map(|(start, length, main, tokens)| {
            word("w", start, start + length, if main { "A" } else { "B" }, tokens)
        });
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn the_row_equals_the_slow_way_at_every_length(words in words(), frames in 0usize..150) {
            let row = Rule::Moshi.place(words.clone(), &text(&layout()), frames).unwrap();
            prop_assert_eq!(row.tokens, place_slowly(&words, frames));
        }

        #[test]
        fn every_token_is_in_the_row_in_order_once_or_counted_as_cut(words in words(), frames in 0usize..150) {
            let input = words.len();
            let row = Rule::Moshi.place(words, &text(&layout()), frames).unwrap();
            prop_assert_eq!(row.words.len(), input);
            let mut end = 0;
            let mut expected = vec![PAD; frames];
            let mut cut = 0;
            for PlacedWord { word, frame, tokens, .. } in &row.words {
                prop_assert!(word.speaker == "A" || frame.is_none());
                let written = frame.map_or(0, |first| tokens.len().min(frames - first));
                if let Some(first) = *frame {
                    prop_assert!(first >= end && first > 0);
                    if first > end {
                        expected[first - 1] = END;
                    }
                    expected[first..first + written].copy_from_slice(&tokens[..written]);
                    end = first + written;
                }
                cut += if word.speaker == "A" { tokens.len() - written } else { 0 };
            }
            // The end of pad of a word that begins just outside.
            if let Some(last) = expected.last_mut().filter(|_| end < frames) {
                *last = *row.tokens.last().unwrap();
                prop_assert!([PAD, END].contains(last));
            }
            prop_assert_eq!(&row.tokens, &expected);
            prop_assert_eq!(row.events.iter().collect::<Tally>().get(EventKind::Cut).amount, cut as u64);
        }

        #[test]
        fn words_and_events_account_for_all(words in words(), frames in 0usize..150) {
            let row = Rule::Moshi.place(words, &text(&layout()), frames).unwrap();
            let tally: Tally = row.events.iter().collect();
            let count = |wanted: &dyn Fn(&PlacedWord) -> bool| row.words.iter().filter(|&w| wanted(w)).count() as u64;
            let main = |word: &PlacedWord| word.word.speaker == "A";
            prop_assert_eq!(tally.get(EventKind::OtherSpeaker).events, count(&|w| !main(w)));
            prop_assert_eq!(tally.get(EventKind::Empty).events, count(&|w| main(w) && w.tokens.is_empty()));
            prop_assert_eq!(tally.get(EventKind::NoDuration).events, count(&|w| main(w) && w.word.end <= w.word.start));
            // A word is late by as much as its frame says, where it has one.
            let rate = FrameRate::new(25, 2).unwrap();
            let late = |w: &PlacedWord| w.frame.map_or(0, |frame| frame as i64 - rate.floor(w.word.start));
            let shown: Vec<u64> = row.words.iter().map(late).filter(|&late| late > 0).map(|late| late as u64).collect();
            let Count { events, amount } = tally.get(EventKind::Late);
            prop_assert!(events >= shown.len() as u64 && amount >= shown.iter().sum());
        }

        #[test]
        fn placing_again_changes_nothing(words in words(), frames in 0usize..150) {
            let row = Rule::Moshi.place(words, &text(&layout()), frames).unwrap();
            prop_assert_eq!(&Rule::Moshi.place(row.words.clone(), &text(&layout()), frames).unwrap(), &row);
        }

        #[test]
        fn the_row_alone_gives_back_every_word_where_it_was_written(
            said in prop::collection::vec((0..500i64, "[!-~]{1,12}"), 0..30),
        ) {
            let layout = layout();
            let word = |(start, said): &(i64, String)| word(said, *start, start + 20, "A", vec![]).word;
            let words = tokenize(said.iter().map(word).collect(), |text| Ok(bpe().encode(text))).unwrap();
            let row = Rule::Moshi.place(words, &text(&layout), 500).unwrap();
            let found = words_from_row(&row.tokens, &text(&layout), bpe()).unwrap();
            let rate = layout.frame_rate();
            let written = |placed: &PlacedWord| Word {
                start: rate.start_of(placed.frame.unwrap()),
                end: rate.start_of(placed.frame.unwrap() + placed.tokens.len()),
                ..placed.word.clone()
            };
            prop_assert_eq!(found, row.words.iter().map(written).collect::<Vec<_>>());
        }
    }

    fn bpe() -> &'static Tokenizer {
        static MODEL: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(|| {
            Tokenizer::from_bytes(include_bytes!("../../fixtures/tokenizers/mistral_v1_32k_bpe.model")).unwrap()
        });
        &MODEL
    }
}
