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
use crate::text::{Note, PlacedWord};
use crate::token::ABSENT;
use crate::units::{FrameRate, Seconds};

/// The stream that a row of text is for, and whose words it holds.
#[derive(Debug, Clone, Copy)]
pub struct TextStream<'a> {
    /// Gives pad, end of pad and cardinality. Without an end of pad none is written.
    pub stream: &'a Stream,
    /// Frames a second.
    pub frame_rate: FrameRate,
    /// The speaker's label in the words, as `SPEAKER_MAIN`; words of others are not written, unless the rule wants it.
    pub speaker: &'a str,
    /// How much later a word stands in the row than in the sound; below zero where text leads.
    pub lag: Seconds,
}

impl<'a> TextStream<'a> {
    /// The only text stream of a layout, as late as the layout says: its `text_lag` and `silence_prefix`.
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
        Ok(TextStream::new(layout, stream, speaker))
    }

    /// One text stream of several; where it is none, placing words in it is refused.
    pub fn new(layout: &Layout, stream: &'a Stream, speaker: &'a str) -> Self {
        TextStream { stream, frame_rate: layout.frame_rate(), speaker, lag: layout.lag() }
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
        u32::try_from(id).is_ok_and(|id| id < self.stream.cardinality)
    }
}

/// One token a frame, and what became of each word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRow {
    /// `[time]`.
    pub tokens: Vec<i32>,
    /// All words, also those that the row does not hold, in order of start.
    pub words: Vec<PlacedWord>,
    /// What happened to words that did not go straight in, in the same order.
    pub notes: Vec<Note>,
    /// Cells of words whose id is also that of the pad, the end of pad or the rule's in-word padding: read from the row
    /// alone they are silence.
    pub collisions: usize,
}

impl TextRow {
    /// A row of a recording whose words nobody knows: every frame is absent, which no loss looks at. An empty list of
    /// words is something else: silence.
    pub fn unknown(frames: usize) -> Self {
        TextRow { tokens: vec![ABSENT as i32; frames], words: Vec::new(), notes: Vec::new(), collisions: 0 }
    }

    /// The notes as events, which hold the text and the start of their words.
    pub fn events(&self) -> Vec<Event> {
        self.notes.iter().map(|note| note.event(&self.words)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Count, EventKind, Tally};
    use crate::text::{JmoshiRule, KyutaiRule, Rule, Tokenizer, TurnMarkers, Word, tokenize, words_from_row};
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
        row.notes.iter().map(|note| (note.event, note.amount)).collect()
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
        assert_eq!((row.events()[0].word.as_deref(), row.events()[0].time), (Some("b"), Some(hundredths(10))));
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
    fn the_row_lags_as_the_layout_says() {
        let layouts = ["kyutai-stt-2.6b", "kyutai-tts-1.6b", "delay-1"].map(|name| Layout::preset(name).unwrap());
        let lags = layouts.each_ref().map(|layout| TextStream::of(layout, "A").unwrap().lag.to_string());
        assert_eq!(lags, ["3.5", "-1.28", "0"]);
        let text = TextStream { lag: hundredths(24), ..text(&layouts[2]) };
        let row = Rule::Moshi.place(vec![word("w", 10, 40, "A", vec![10])], &text, 6).unwrap();
        assert_eq!((row.tokens.as_slice(), events(&row)), (&[3, 3, 3, 0, 10, 3][..], vec![]));
        let text = TextStream { lag: hundredths(-24), ..text };
        let row = Rule::Moshi.place(vec![word("w", 10, 40, "A", vec![10])], &text, 3).unwrap();
        assert_eq!((row.tokens.as_slice(), events(&row)), (&[0, 10, 3][..], vec![(EventKind::Late, 3)]));
    }

    #[test]
    fn ids_of_a_word_win_over_the_tokenizer() {
        let given = Word { ids: Some(vec![7, 8]), ..word("a", 0, 1, "A", vec![]).word };
        let words = vec![given, word("b", 2, 3, "A", vec![]).word];
        let tokens = |words: Vec<PlacedWord>| words.into_iter().map(|word| word.tokens).collect::<Vec<_>>();
        assert_eq!(tokens(tokenize(words.clone(), |_| Ok(vec![9])).unwrap()), [vec![7, 8], vec![9]]);
        let by_rule = |rule: Rule| tokens(rule.tokenize(words.clone(), bpe()).unwrap());
        assert_eq!(by_rule(Rule::Moshi), [vec![7, 8], vec![287]]);
        assert_eq!(by_rule(Rule::Jmoshi(JmoshiRule::default())), [vec![7, 8], vec![287]]);
    }

    #[test]
    fn what_lies_past_the_sound_is_absent() {
        let words = || vec![word("w", 10, 40, "A", vec![10, 11])];
        let row = Rule::Moshi.place_in_window(words(), &text(&layout()), 2, 4).unwrap();
        assert_eq!((row.tokens.as_slice(), events(&row)), (&[0, 10, -1, -1][..], vec![(EventKind::Cut, 1)]));
        assert_eq!(Rule::Moshi.place_in_window(words(), &text(&layout()), 9, 4).unwrap().tokens, [0, 10, 11, 3]);
        assert_eq!(TextRow::unknown(2).tokens, [-1, -1]);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let refusal = |rule| Rule::Kyutai(rule).place(vec![], &text(&layout()), 4).unwrap_err().to_string();
        let plain = KyutaiRule::default();
        let markers = Some(TurnMarkers { bos: 1, eos: 32_000 });
        assert_eq!(refusal(KyutaiRule { turn_markers: markers, ..plain }), "eos is 32000, expected 0..32000");
        let padding = refusal(KyutaiRule { in_word_padding: Some(-1), ..plain });
        assert_eq!(padding, "in_word_padding is -1, expected 0..32000");
        for audio_delay in [f64::NAN, f64::INFINITY, -1e9] {
            let delay = refusal(KyutaiRule { audio_delay, ..plain });
            assert_eq!(delay, format!("audio_delay is {audio_delay}, expected at most 65536 frames"));
        }
        let mut late = word("hm", 0, 1, "A", vec![5, 6]);
        late.starts = vec![hundredths(0)];
        let error = Rule::Moshi.place(vec![late], &text(&layout()), 4).unwrap_err();
        assert!(error.to_string().ends_with("starts of the word \"hm\" at 0 is 1, expected 2, as tokens"), "{error}");
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
            prop_assert_eq!(row.events().iter().collect::<Tally>().get(EventKind::Cut).amount, cut as u64);
        }

        #[test]
        fn words_and_events_account_for_all(words in words(), frames in 0usize..150) {
            let row = Rule::Moshi.place(words, &text(&layout()), frames).unwrap();
            let tally: Tally = row.events().iter().collect();
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
        fn every_word_that_starts_inside_and_fits_is_in_the_row_once(
            words in words(), frames in 1usize..150, lag in -300..300i64, given in any::<bool>(),
        ) {
            let ids = |word: &PlacedWord| Word { ids: given.then(|| word.tokens.clone()), ..word.word.clone() };
            let mut tokens = words.iter().filter(|_| !given).map(|word| word.tokens.clone());
            let words = tokenize(words.iter().map(ids).collect(), |_| Ok(tokens.next().unwrap())).unwrap();
            let layout = layout();
            let text = TextStream { lag: hundredths(lag), ..text(&layout) };
            let row = Rule::Moshi.place(words, &text, frames).unwrap();
            let mut end = 0;
            for PlacedWord { word, frame, tokens, .. } in row.words.iter().filter(|w| w.word.speaker == "A") {
                let start = text.frame_rate.floor(word.start + text.lag).max(end).max(1);
                if tokens.is_empty() {
                    continue;
                }
                end = start + tokens.len() as i64;
                prop_assert_eq!(frame.map(|frame| frame as i64), Some(start).filter(|&start| start < frames as i64));
                if end <= frames as i64 {
                    prop_assert_eq!(&row.tokens[start as usize..end as usize], tokens.as_slice());
                }
            }
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
