//! Laws of the flow from a recording to segments: every token is in a row or counted, every word in a segment.

use std::sync::LazyLock;

use ndarray::Array3;
use proptest::prelude::*;
use roundelay::batch::{Segment, Split};
use roundelay::pipeline::{Prepare, Recording, Speakers};
use roundelay::tally::{Event, EventKind, Tally};
use roundelay::text::{PlacedWord, Rule, TextStream, Tokenizer, Word, tokenize, words_from_row};
use roundelay::window::{Border, Window};
use roundelay::{Frames, Layout, Seconds};

static SPEAKERS: LazyLock<Speakers> = LazyLock::new(Speakers::default);

static BPE: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::from_bytes(include_bytes!("../fixtures/tokenizers/mistral_v1_32k_bpe.model")).unwrap());

fn hundredths(value: i64) -> Seconds {
    format!("{value}e-2").parse().unwrap()
}

/// `delay-1` with text that lags, or leads, and silence in front.
fn layout(lag: i64, silence: i64) -> Layout {
    let times = format!("{{\"text_lag\": {}, \"silence_prefix\": {},", hundredths(lag), hundredths(silence));
    Layout::from_json(&Layout::preset("delay-1").unwrap().to_json().replacen('{', &times, 1)).unwrap()
}

/// Words within ten seconds; their tokens are no pads.
fn words() -> impl Strategy<Value = Vec<PlacedWord>> {
    let one = (0..1000i64, 1..60i64, prop::bool::weighted(0.8), prop::collection::vec(100..32_000i32, 0..6));
    let one = one.prop_map(|(start, length, main, tokens)| {
        let speaker = if main { "SPEAKER_MAIN" } else { "SPEAKER_OTHER" };
        PlacedWord::new(Word::new("w", hundredths(start), hundredths(start + length), speaker), tokens)
    });
    prop::collection::vec(one, 0..40)
}

fn of_others(words: &[PlacedWord]) -> Vec<PlacedWord> {
    words.iter().filter(|word| word.word.speaker != "SPEAKER_MAIN").cloned().collect()
}

fn recording(words: &[PlacedWord], frames: usize, layout: &Layout) -> Recording {
    Recording {
        path: "a".into(),
        codes: Frames(Array3::zeros((1, 2, frames))),
        heard: None,
        words: Some(words.to_vec()),
        regions: Vec::new(),
        duration: layout.frame_rate().start_of(frames),
        split: Split::Train,
        meta: "{}".into(),
    }
}

fn cut(layout: &Layout, words: &[PlacedWord], frames: usize, window: usize, border: Border) -> (Vec<Segment>, Tally) {
    let window = Some(Window::new(window, window).unwrap());
    let prepare = Prepare { layout, rule: Rule::Moshi, speakers: &SPEAKERS, window, border };
    let (segments, events): (_, Vec<Event>) = prepare.segments(&recording(words, frames, layout)).unwrap();
    (segments, events.iter().collect())
}

/// Rows of text, one after another.
fn text(segments: &[Segment]) -> Vec<i32> {
    segments.iter().flat_map(|segment| segment.codes.0.row(0).to_vec()).collect()
}

fn tokens(words: &[PlacedWord]) -> u64 {
    words.iter().filter(|word| word.word.speaker == "SPEAKER_MAIN").map(|word| word.tokens.len() as u64).sum()
}

/// Words with their times in the recording, in some fixed order.
fn said<'a>(words: impl Iterator<Item = (&'a PlacedWord, Seconds)>) -> Vec<(Seconds, Seconds, String, Vec<i32>)> {
    let word = |(placed, start): (&PlacedWord, Seconds)| {
        let Word { start: from, end, speaker, .. } = placed.word.clone();
        (from + start, end + start, speaker, placed.tokens.clone())
    };
    let mut said: Vec<_> = words.map(word).collect();
    said.sort();
    said
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_token_is_in_a_row_or_counted(
        words in words(), frames in 1usize..150, window in 1usize..60, lag in -200..300i64, silence in 0..100i64,
        border in prop::sample::select(vec![Border::Start, Border::Drop, Border::Split]),
    ) {
        let layout = layout(lag, silence);
        let (segments, tally) = cut(&layout, &words, frames, window, border);
        let written = text(&segments).iter().filter(|id| **id >= 100).count() as u64;
        let dropped = tally.get(EventKind::Dropped);
        let others = words.iter().filter(|w| w.word.speaker != "SPEAKER_MAIN").map(|w| w.tokens.len() as u64).sum::<u64>();
        let lost = written + tally.get(EventKind::Cut).amount;
        prop_assert!(lost <= tokens(&words) && lost + dropped.amount >= tokens(&words));
        prop_assert!(lost + dropped.amount <= tokens(&words) + others);
        prop_assert!(border == Border::Drop || dropped.events == 0);
    }

    #[test]
    fn split_windows_are_the_whole_row_cut(
        words in words(), frames in 1usize..150, window in 1usize..60, lag in -200..300i64, silence in 0..100i64,
    ) {
        let layout = layout(lag, silence);
        let (segments, tally) = cut(&layout, &words, frames, window, Border::Split);
        let (whole, alone) = cut(&layout, &words, frames, frames, Border::Start);
        prop_assert_eq!(text(&segments), text(&whole));
        // Nothing is lost but past the recording's end.
        prop_assert_eq!(tally.get(EventKind::Cut), alone.get(EventKind::Cut));
        let behind = |segment: &Segment| {
            let length = segment.codes.0.ncols();
            let last = segment.words.iter().filter_map(|word| Some((word.frame?, word.tokens.len()))).max();
            last.map_or(0, |(frame, tokens)| (frame + tokens).saturating_sub(length))
        };
        let (last, before) = segments.split_last().unwrap();
        let split: usize = before.iter().map(behind).sum();
        // What the last whole window hands on may lie past the end, where it is cut.
        let cut = tally.get(EventKind::Cut).amount as usize;
        let told = tally.get(EventKind::Split).amount as usize;
        prop_assert!(told <= split && split <= told + cut, "{} {} {}", told, split, cut);
        prop_assert!(last.words.iter().all(|word| word.frame.is_none_or(|frame| frame < last.codes.0.ncols())));
    }

    #[test]
    fn segments_hold_every_word_with_its_times(
        words in words(), frames in 1usize..150, window in 1usize..60, lag in -200..300i64,
        border in prop::sample::select(vec![Border::Start, Border::Split]),
    ) {
        let (segments, _) = cut(&layout(lag, 0), &words, frames, window, border);
        let held = segments.iter().flat_map(|segment| segment.words.iter().map(|word| (word, segment.start)));
        prop_assert_eq!(said(held), said(words.iter().map(|word| (word, Seconds::ZERO))));
    }

    #[test]
    fn dropped_words_are_those_that_a_border_cuts(words in words(), frames in 1usize..150, window in 1usize..60) {
        let layout = layout(0, 0);
        let (segments, tally) = cut(&layout, &words, frames, window, Border::Drop);
        let (_, start) = cut(&layout, &words, frames, window, Border::Start);
        // Words of others are in no row: they stay beside it, wherever they end.
        let (_, others) = cut(&layout, &of_others(&words), frames, window, Border::Start);
        let crossing = |tally: &Tally| tally.get(EventKind::CrossesWindow).events;
        prop_assert_eq!(tally.get(EventKind::Dropped).events, crossing(&start) - crossing(&others));
        prop_assert_eq!(crossing(&tally), crossing(&others));
        let held: usize = segments.iter().map(|segment| segment.words.len()).sum();
        prop_assert_eq!(held as u64 + tally.get(EventKind::Dropped).events, words.len() as u64);
    }

    #[test]
    fn the_row_alone_gives_words_where_they_were_written_less_the_lag(
        said in prop::collection::vec((300..800i64, "[!-~]{1,12}"), 0..30), lag in -200..300i64, silence in 0..100i64,
    ) {
        let layout = layout(lag, silence);
        let stream = TextStream::of(&layout, "A").unwrap();
        let word = |(start, said): &(i64, String)| Word::new(said, hundredths(*start), hundredths(start + 20), "A");
        let words = tokenize(said.iter().map(word).collect(), |text| Ok(BPE.encode(text))).unwrap();
        let row = Rule::Moshi.place(words, &stream, 600).unwrap();
        let written = |placed: &PlacedWord| {
            let [first, end] = [0, placed.tokens.len()].map(|n| placed.frame.unwrap() + n);
            let [start, end] = [first, end].map(|frame| layout.frame_rate().start_of(frame) - stream.lag);
            Word { start, end, ..placed.word.clone() }
        };
        let expected: Vec<_> = row.words.iter().map(written).collect();
        prop_assert_eq!(words_from_row(&row.tokens, &stream, &BPE).unwrap(), expected);
    }
}
