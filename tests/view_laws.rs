//! Laws of views: slices of a segment, both of its sides, and what augmentation does to its text.

use std::sync::LazyLock;

use ndarray::{Array2, Array3, Axis, concatenate, s};
use proptest::prelude::*;
use roundelay::batch::{Segment, Split};
use roundelay::pipeline::{Look, Prepare, Recording, SliceText, Speakers, View, ViewOptions};
use roundelay::tally::{EventKind, Tally};
use roundelay::text::{
    Augment, JmoshiRule, KyutaiRule, PlacedWord, Rule, ShiftRange, TextDrop, TextStream, Tokenizer, Unit, Word,
};
use roundelay::weights::Region;
use roundelay::window::{Border, Window};
use roundelay::{Frames, Layout, Seconds};

static SPEAKERS: LazyLock<Speakers> = LazyLock::new(Speakers::default);

static BPE: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::from_bytes(include_bytes!("../fixtures/tokenizers/mistral_v1_32k_bpe.model")).unwrap());

fn hundredths(value: i64) -> Seconds {
    format!("{value}e-2").parse().unwrap()
}

fn stream(name: &str, kind: &str, speaker: &str, level: &str, pads: &str) -> String {
    let specials = format!("{pads}, \"delay\": 0, \"trained\": true");
    format!(r#"{{"name": "{name}", "kind": "{kind}", "speaker": "{speaker}", {level} {specials}}}"#)
}

/// Two speakers of two codebooks each, and so many rows of text.
fn layout(texts: usize, lag: i64, silence: i64) -> Layout {
    let text = r#""cardinality": 32000, "initial": 32000, "pad": 3, "end_pad": 0"#;
    let audio = r#""cardinality": 2048, "initial": 2048, "pad": 2048"#;
    let mut streams: Vec<_> = [("text", "main"), ("text.other", "other")]
        .iter()
        .map(|(name, who)| stream(name, "text", who, "", text))
        .collect();
    streams.truncate(texts);
    for who in ["main", "other"] {
        streams.push(stream(&format!("{who}.0"), "semantic", who, r#""level": 0,"#, audio));
        streams.push(stream(&format!("{who}.1"), "acoustic", who, r#""level": 1,"#, audio));
    }
    let times = format!(r#""text_lag": {}, "silence_prefix": {}"#, hundredths(lag), hundredths(silence));
    let json = format!(r#"{{"name": "two", "frame_rate": 12.5, {times}, "streams": [{}]}}"#, streams.join(",\n"));
    Layout::from_json(&json).unwrap()
}

/// Layouts whose text lags, or leads, with silence in front.
fn layouts(texts: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Layout> {
    (texts, -100..200i64, 0..50i64).prop_map(|(texts, lag, silence)| layout(texts, lag, silence))
}

/// Words of two speakers within ten seconds; their tokens are no pads.
fn words() -> impl Strategy<Value = Vec<PlacedWord>> {
    let one = (0..1000i64, 1..60i64, prop::bool::weighted(0.6), prop::collection::vec(100..32_000i32, 0..6));
    let one = one.prop_map(|(start, length, main, tokens)| {
        let speaker = if main { "SPEAKER_MAIN" } else { "B" };
        PlacedWord::new(Word::new("w", hundredths(start), hundredths(start + length), speaker), tokens)
    });
    prop::collection::vec(one, 0..40).prop_map(|mut words| {
        // Somebody who says nothing that is written: the recording has the main speaker's label.
        let mut said = Word::new("hm", hundredths(0), hundredths(1), "SPEAKER_MAIN");
        said.ids = Some(Vec::new());
        words.push(PlacedWord::new(said, Vec::new()));
        words
    })
}

/// Words that J-Moshi's rule has tokenized.
fn spelled() -> impl Strategy<Value = Vec<PlacedWord>> {
    let one = (0..1000i64, 1..60i64, any::<bool>(), "[a-z]{1,9}");
    let one = one.prop_map(|(start, length, main, text)| {
        let speaker = if main { "SPEAKER_MAIN" } else { "B" };
        Word::new(text, hundredths(start), hundredths(start + length), speaker)
    });
    let main = Word::new("so", hundredths(0), hundredths(20), "SPEAKER_MAIN");
    let all = prop::collection::vec(one, 0..30).prop_map(move |mut words| {
        words.push(main.clone());
        words
    });
    all.prop_map(|words| JMOSHI.tokenize(words, &BPE).unwrap())
}

const JMOSHI: Rule = Rule::Jmoshi(JmoshiRule { whitespace_before_word: true });

/// Rules that make a row for each window.
fn rules() -> impl Strategy<Value = Rule> {
    let kyutai = (any::<bool>(), any::<bool>(), any::<bool>(), prop::sample::select(vec![0.0, 0.2, -0.3]));
    let kyutai = kyutai.prop_map(|(main, shift, seconds, audio_delay)| {
        Rule::Kyutai(KyutaiRule {
            keep_main_only: main,
            keep_and_shift: shift,
            frames_as_seconds: seconds,
            audio_delay,
            ..KyutaiRule::default()
        })
    });
    prop_oneof![2 => Just(Rule::Moshi), 1 => kyutai]
}

/// Rules that go with two rows of text as with one.
fn plain_rules() -> impl Strategy<Value = Rule> {
    prop::sample::select(vec![Rule::Moshi, Rule::Kyutai(KyutaiRule { keep_and_shift: true, ..KyutaiRule::default() })])
}

fn recording(words: Vec<PlacedWord>, frames: usize, layout: &Layout) -> Recording {
    let region = |start, end, weight| Region { start: hundredths(start), end: hundredths(end), weight };
    let regions = [region(-5, 40, 2.0), region(17, 93, 0.5)];
    let is_inside = |region: &Region| region.start + hundredths(60) < layout.frame_rate().start_of(frames);
    let codes = Array3::from_shape_fn((2, 2, frames), |(c, q, t)| (1000 * c + 400 * q + t) as i32);
    Recording {
        path: "a.wav".into(),
        codes: Frames(codes),
        heard: None,
        words: Some(words),
        regions: regions.into_iter().filter(is_inside).collect(),
        duration: layout.frame_rate().start_of(frames) - hundredths(3),
        split: Split::Valid,
        meta: r#"{"a": 1}"#.into(),
    }
}

fn prepared(
    layout: &Layout,
    rule: Rule,
    recording: &Recording,
    window: usize,
    border: Border,
) -> (Vec<Segment>, Tally) {
    let window = Some(Window::new(window, window).unwrap());
    let prepare = Prepare { layout, rule, speakers: &SPEAKERS, window, border };
    let (segments, events) = prepare.segments(recording).unwrap();
    (segments, events.iter().collect())
}

/// The recording as one segment; silence in front may be longer than nothing.
fn segment(layout: &Layout, rule: Rule, words: &[PlacedWord], frames: usize) -> Segment {
    let (mut segments, _) = prepared(layout, rule, &recording(words.to_vec(), frames, layout), frames, Border::Start);
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

fn slices(options: &ViewOptions, segment: &Segment, window: usize) -> Vec<View> {
    let spans = Window::new(window, window).unwrap().spans(segment.codes.0.ncols());
    let look = |frames| Look { frames: Some(frames), ..Look::default() };
    spans.map(|frames| options.view(segment, &look(frames)).unwrap()).collect()
}

fn whole() -> Look {
    Look::default()
}

fn swapped() -> Look {
    Look { swapped: true, ..Look::default() }
}

fn merged(views: &[View]) -> Tally {
    views.iter().fold(Tally::default(), |mut sum, view| {
        sum.merge(&view.tally);
        sum
    })
}

/// The same, under the name of the segment that it comes from.
fn renamed(segments: Vec<Segment>) -> Vec<Segment> {
    segments.into_iter().map(|segment| Segment { id: "a.wav".into(), ..segment }).collect()
}

fn seen(views: Vec<View>) -> Vec<Segment> {
    views.into_iter().map(|view| view.segment).collect()
}

/// The text row of some words by the rule, and the words as they come out of it.
fn placed(
    layout: &Layout,
    rule: Rule,
    words: &[PlacedWord],
    speaker: &str,
    row: usize,
    frames: usize,
) -> (Vec<i32>, Vec<PlacedWord>) {
    let text = TextStream::new(layout, &layout.streams()[row], speaker);
    let row = rule.place_in_window(words.to_vec(), &text, frames, frames).unwrap();
    (row.tokens, row.words)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn the_whole_segment_without_options_is_the_segment(
        layout in layouts(0..=2), rule in plain_rules(), words in words(), frames in 1usize..150,
    ) {
        let segment = segment(&layout, rule, &words, frames);
        for text in [SliceText::Cut, SliceText::Start, SliceText::Drop] {
            let options = ViewOptions { text, ..ViewOptions::new(&layout, rule, &SPEAKERS) };
            for frames in [None, Some(0..frames)] {
                let view = options.view(&segment, &Look { index: 7, frames, ..whole() }).unwrap();
                prop_assert_eq!((view.index, view.whole, view.swapped, view.name()), (7, true, false, "a.wav".into()));
                prop_assert!(view.tally.is_empty() && view.augmented.is_empty());
                prop_assert_eq!(&view.segment, &segment);
            }
        }
    }

    #[test]
    fn joined_slices_are_the_segment_again(
        layout in layouts(1..=2), rule in plain_rules(), words in words(), frames in 1usize..150, window in 1usize..60,
    ) {
        let segment = segment(&layout, rule, &words, frames);
        let views = slices(&ViewOptions::new(&layout, rule, &SPEAKERS), &segment, window);
        let codes: Vec<_> = views.iter().map(|view| view.segment.codes.0.view()).collect();
        prop_assert_eq!(&concatenate(Axis(1), &codes).unwrap(), &segment.codes.0);
        let back = |view: &View| {
            let start = layout.frame_rate().start_of(view.frames.start);
            let words = view.segment.words.clone().into_iter();
            words.map(|mut placed| {
                (placed.word.start, placed.word.end) = (placed.word.start + start, placed.word.end + start);
                placed.frame = placed.frame.map(|frame| frame + view.frames.start);
                placed
            }).collect::<Vec<_>>()
        };
        let key = |word: &PlacedWord| format!("{word:?}");
        let mut words: Vec<_> = views.iter().flat_map(back).collect();
        let mut expected = segment.words.clone();
        words.sort_by_key(key);
        expected.sort_by_key(key);
        prop_assert_eq!(words, expected);
        let lengths = views.iter().fold(Seconds::ZERO, |sum, view| sum + view.segment.duration);
        prop_assert_eq!(lengths, segment.duration);
    }

    #[test]
    fn words_in_a_slice_are_kept_exactly_and_others_are_counted(
        layout in layouts(1..=1), words in words(), frames in 2usize..150, ends in (0usize..150, 0usize..150),
    ) {
        let segment = segment(&layout, Rule::Moshi, &words, frames);
        let (a, b) = (ends.0.min(ends.1) % frames, (ends.0.max(ends.1) % frames + 1).min(frames));
        prop_assume!(a < b);
        let options = ViewOptions::new(&layout, Rule::Moshi, &SPEAKERS);
        let view = options.view(&segment, &Look { frames: Some(a..b), ..whole() }).unwrap();
        let row = view.segment.codes.0.row(0).to_vec();
        let mut kept = 0;
        for word in &segment.words {
            let Some(first) = word.frame.filter(|&first| a <= first && first + word.tokens.len() <= b) else { continue };
            let start = layout.frame_rate().start_of(a);
            let expected = PlacedWord { frame: Some(first - a), word: Word {
                start: word.word.start - start, end: word.word.end - start, ..word.word.clone()
            }, ..word.clone() };
            prop_assert!(view.segment.words.contains(&expected));
            prop_assert_eq!(&row[first - a..][..word.tokens.len()], word.tokens.as_slice());
            kept += 1;
        }
        prop_assert!(kept <= view.segment.words.len());
        let outside = view.tally.get(EventKind::OutsideWindow).events as usize;
        prop_assert_eq!(view.segment.words.len() + outside, segment.words.len());
        prop_assert_eq!(view.tally.get(EventKind::Skipped).amount as usize, frames - (b - a));
    }

    #[test]
    fn slices_with_rows_of_their_own_are_the_windows_that_prep_writes(
        layout in layouts(1..=1), rule in rules(), words in words(), frames in 1usize..150, window in 1usize..60,
        drop: bool,
    ) {
        let (border, text) = if drop { (Border::Drop, SliceText::Drop) } else { (Border::Start, SliceText::Start) };
        let segment = segment(&layout, rule, &words, frames);
        let options = ViewOptions { text, ..ViewOptions::new(&layout, rule, &SPEAKERS) };
        let views = slices(&options, &segment, window);
        let (windows, tally) = prepared(&layout, rule, &recording(words, frames, &layout), window, border);
        prop_assume!(windows.len() > 1);
        let told = merged(&views);
        for kind in [EventKind::Cut, EventKind::Late, EventKind::Dropped, EventKind::CrossesWindow, EventKind::Replaced] {
            prop_assert_eq!(told.get(kind), tally.get(kind), "{:?}", kind);
        }
        prop_assert_eq!(seen(views), renamed(windows));
    }

    #[test]
    fn slices_with_their_text_cut_are_the_windows_of_one_row(
        layout in layouts(1..=2), rule in plain_rules(), words in words(), frames in 1usize..150, window in 1usize..60,
    ) {
        let segment = segment(&layout, rule, &words, frames);
        let views = slices(&ViewOptions::new(&layout, rule, &SPEAKERS), &segment, window);
        let (windows, tally) = prepared(&layout, rule, &recording(words, frames, &layout), window, Border::Split);
        let crossing = EventKind::CrossesWindow;
        prop_assert_eq!(merged(&views).get(crossing), tally.get(crossing));
        prop_assert_eq!(seen(views), renamed(windows));
    }

    #[test]
    fn swapping_exchanges_the_rows_and_twice_is_as_it_was(
        layout in layouts(1..=2), rule in plain_rules(), words in words(), frames in 1usize..120, slice in 1usize..120,
    ) {
        let segment = segment(&layout, rule, &words, frames);
        let speakers = Speakers::default().with("other", "B");
        let options = ViewOptions::new(&layout, rule, &speakers);
        let view = options.view(&segment, &swapped()).unwrap();
        let texts = layout.streams().len() - 4;
        let (before, after) = (&segment.codes.0, &view.segment.codes.0);
        prop_assert_eq!(after.slice(s![texts..texts + 2, ..]), before.slice(s![texts + 2.., ..]));
        prop_assert_eq!(after.slice(s![texts + 2.., ..]), before.slice(s![texts..texts + 2, ..]));
        let said = |who: &str| words.iter().filter(|w| texts == 1 || w.word.speaker == who).cloned().collect::<Vec<_>>();
        for (row, who) in ["B", "SPEAKER_MAIN"].into_iter().enumerate().take(texts) {
            prop_assert_eq!(after.row(row).to_vec(), placed(&layout, rule, &said(who), who, row, frames).0);
        }
        prop_assert!(view.swapped && view.name() == "a.wav swapped");

        let exchanged = Speakers::new("B").with("other", "SPEAKER_MAIN");
        let again = ViewOptions::new(&layout, rule, &exchanged).view(&view.segment, &swapped()).unwrap();
        prop_assert_eq!(&again.segment, &segment);

        // A slice of the other side is the other side's slice.
        let frames = Some(0..slice.min(frames));
        let cut = options.view(&segment, &Look { frames: frames.clone(), ..swapped() }).unwrap();
        let of_cut = options.view(&view.segment, &Look { frames, ..whole() }).unwrap();
        prop_assert_eq!(cut.segment, of_cut.segment);
    }

    #[test]
    fn augmentation_is_that_of_the_words(
        layout in layouts(1..=1), rule in rules(), words in words(), frames in 1usize..120, window in 1usize..60,
        swap: bool, epoch in 0..3u64, seed: u64, unit in units(), probability in 0.0..=1.0,
    ) {
        let augment = Augment {
            drop: Some(TextDrop { probability, unit }),
            shift: Some(ShiftRange { least: "-0.6".parse().unwrap(), most: "0.6".parse().unwrap() }),
            seed,
        };
        let segment = segment(&layout, rule, &words, frames);
        let speakers = Speakers::default().with("other", "B");
        let options = ViewOptions { augment: Some(augment), ..ViewOptions::new(&layout, rule, &speakers) };
        let text = TextStream::of(&layout, if swap { "B" } else { "SPEAKER_MAIN" }).unwrap();
        let spans = Window::new(window, window).unwrap().spans(frames);
        for frames in std::iter::once(None).chain(spans.map(Some)) {
            for (slice_text, augment) in [SliceText::Cut, SliceText::Start].map(|text| (text, augment)) {
                let options = ViewOptions { text: slice_text, ..options };
                let view = options.view(&segment, &Look { frames: frames.clone(), swapped: swap, epoch, index: 0 }).unwrap();
                let drawn = augment.draw_in(epoch, &view.name()).unwrap();
                let (start, length) = (layout.frame_rate().start_of(view.frames.start), view.frames.len());
                let moved = drawn.lag(&text);
                let mut row = match slice_text {
                    SliceText::Cut if drawn.shift == Seconds::ZERO && !swap => segment.codes.0.row(0).to_vec(),
                    SliceText::Start if !view.whole => {
                        let words = view.segment.words.clone();
                        rule.place_in_window(words, &moved, length, length).unwrap().tokens
                    }
                    _ => {
                        let all = segment.codes.0.ncols();
                        rule.place_in_window(segment.words.clone(), &moved, all, all).unwrap().tokens
                    }
                };
                if slice_text == SliceText::Cut && !view.whole {
                    row = row[view.frames.clone()].to_vec();
                }
                let done = drawn.apply(&mut row, &text);
                prop_assert_eq!(view.segment.codes.0.row(0).to_vec(), row);
                prop_assert_eq!((&view.augmented, view.segment.start), (&vec![done], segment.start + start));
            }
        }
    }

    #[test]
    fn one_row_of_the_whole_can_be_cut_moved_and_swapped(
        layout in layouts(1..=1), words in spelled(), frames in 1usize..150, window in 1usize..60, shift in -40..40i64,
    ) {
        let segment = segment(&layout, JMOSHI, &words, frames);
        let options = ViewOptions::new(&layout, JMOSHI, &SPEAKERS);
        let (windows, _) = prepared(&layout, JMOSHI, &recording(words.clone(), frames, &layout), window, Border::Start);
        prop_assert_eq!(seen(slices(&options, &segment, window)), renamed(windows));

        let range = ShiftRange { least: hundredths(shift), most: hundredths(shift) };
        let augment = Some(Augment { shift: Some(range), ..Augment::default() });
        let moved = slices(&ViewOptions { augment, ..options }, &segment, window);
        let text = TextStream::of(&layout, "SPEAKER_MAIN").unwrap();
        let text = TextStream { lag: text.lag + hundredths(shift), ..text };
        let row = JMOSHI.place(segment.words.clone(), &text, frames).unwrap().tokens;
        let rows: Vec<_> = moved.iter().flat_map(|view| view.segment.codes.0.row(0).to_vec()).collect();
        prop_assert_eq!(rows, row);

        let other = options.view(&segment, &swapped()).unwrap().segment.codes.0.row(0).to_vec();
        prop_assert_eq!(other, placed(&layout, JMOSHI, &segment.words, "B", 0, frames).0);
        let refused = ViewOptions { text: SliceText::Start, ..options }.view(&segment, &whole()).unwrap_err().to_string();
        prop_assert!(refused.ends_with("text of a slice is start, expected cut: the rule jmoshi makes one row of the whole"));
    }
}

fn units() -> impl Strategy<Value = Unit> {
    prop::sample::select(vec![Unit::Example, Unit::Lexical, Unit::Position])
}

#[test]
fn the_picture_holds() {
    let layout = layout(1, 0, 0);
    let word = |start, end, who: &str, ids: &[i32]| {
        PlacedWord::new(Word::new("w", hundredths(start), hundredths(end), who), ids.to_vec())
    };
    let words =
        [word(8, 24, "SPEAKER_MAIN", &[11, 12]), word(40, 64, "SPEAKER_MAIN", &[21, 22, 23]), word(16, 24, "B", &[31])];
    let segment = segment(&layout, Rule::Moshi, &words, 8);
    assert_eq!(segment.codes.0.row(0).to_vec(), [0, 11, 12, 3, 0, 21, 22, 23]);
    let look = Look { frames: Some(2..7), ..whole() };
    let view = |text, look: &Look| {
        let options = ViewOptions { text, ..ViewOptions::new(&layout, Rule::Moshi, &SPEAKERS) };
        let view = options.view(&segment, look).unwrap();
        let frames: Vec<_> = view.segment.words.iter().map(|word| word.frame).collect();
        (view.segment.codes.0.row(0).to_vec(), frames, view.tally.get(EventKind::OutsideWindow).events)
    };
    assert_eq!(view(SliceText::Cut, &look), (vec![12, 3, 0, 21, 22], vec![None, Some(3)], 1));
    assert_eq!(view(SliceText::Start, &look), (vec![3, 3, 0, 21, 22], vec![None, Some(3)], 1));
    assert_eq!(view(SliceText::Drop, &look), (vec![3; 5], vec![None], 1));
    let other = Look { swapped: true, ..look };
    assert_eq!(view(SliceText::Cut, &other).0, [31, 3, 3, 3, 3]);
    assert_eq!(view(SliceText::Start, &other).0, [0, 31, 3, 3, 3]);
}

/// Rows of pads, not absent ones: `two` says nothing, and that is known.
#[test]
fn silence_is_pads_and_what_nobody_knows_is_absent() {
    let layout = layout(1, 0, 0);
    let word = PlacedWord::new(Word::new("w", hundredths(10), hundredths(30), "SPEAKER_MAIN"), vec![9]);
    let options = ViewOptions::new(&layout, Rule::Moshi, &SPEAKERS);
    let row = |words: Option<Vec<PlacedWord>>, options: &ViewOptions, look: &Look| {
        let recording = Recording { words, ..recording(vec![], 5, &layout) };
        let (segments, _) = prepared(&layout, Rule::Moshi, &recording, 5, Border::Start);
        options.view(&segments[0], look).unwrap().segment.codes.0.row(0).to_vec()
    };
    assert_eq!(row(Some(vec![word.clone()]), &options, &whole()), [0, 9, 3, 3, 3]);
    assert_eq!(row(Some(vec![word]), &options, &swapped()), [3; 5]);
    assert_eq!(row(Some(vec![]), &options, &swapped()), [3; 5]);
    assert_eq!(row(None, &options, &swapped()), [-1; 5]);
    let start = ViewOptions { text: SliceText::Start, ..options };
    let slice = Look { frames: Some(1..3), ..swapped() };
    assert_eq!((row(None, &start, &slice), row(Some(vec![]), &start, &slice)), (vec![-1; 2], vec![3; 2]));
}

#[test]
fn who_is_who_is_not_guessed() {
    let layout = layout(1, 0, 0);
    let word =
        |start, who: &str| PlacedWord::new(Word::new("w", hundredths(start), hundredths(start + 9), who), vec![9]);
    let segment = |words: &[PlacedWord]| segment(&layout, Rule::Moshi, words, 5);
    let row = |speakers: &Speakers, words: &[PlacedWord]| {
        let view = ViewOptions::new(&layout, Rule::Moshi, speakers).view(&segment(words), &swapped());
        view.map(|view| view.segment.codes.0.row(0).to_vec()).map_err(|e| e.to_string())
    };
    // A part of a recording in which the main speaker says nothing.
    assert_eq!(row(&SPEAKERS, &[word(10, "B")]).unwrap(), [0, 9, 3, 3, 3]);
    let three = [word(0, "SPEAKER_MAIN"), word(10, "B"), word(20, "C")];
    let error = row(&SPEAKERS, &three).unwrap_err();
    let expected = "recording \"a.wav\": labels of the speakers besides \"SPEAKER_MAIN\" is \"B\", \"C\", expected a choice which \
                    of them is the layout's other";
    assert_eq!(error, expected);
    assert_eq!(row(&Speakers::default().with("other", "C"), &three).unwrap(), [3, 0, 9, 3, 3]);
}

#[test]
fn slices_that_are_none_are_refused() {
    let layout = layout(1, 0, 0);
    let segment = segment(&layout, Rule::Moshi, &[], 5);
    let options = ViewOptions::new(&layout, Rule::Moshi, &SPEAKERS);
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for frames in [0..0, 5..5, 3..2, 4..6, 0..usize::MAX] {
        let expected = format!(
            "recording \"a.wav\": frames of the slice is {}..{}, expected at least one, within 0..5",
            frames.start, frames.end
        );
        let look = Look { frames: Some(frames), ..whole() };
        assert_eq!(options.view(&segment, &look).unwrap_err().to_string(), expected);
    }
    let short = Segment { codes: Frames(Array2::zeros((2, 5))), ..segment };
    assert!(options.view(&short, &whole()).unwrap_err().to_string().ends_with("2 streams, expected 5"));
}

/// One channel, whose speaker says one word.
fn mono(words: Vec<PlacedWord>) -> Segment {
    let mut codes = Array2::from_elem((5, 4), -1);
    codes.slice_mut(s![0, ..]).assign(&ndarray::arr1(&[3, 0, 77, 3]));
    codes.slice_mut(s![1..3, ..]).fill(5);
    Segment {
        id: "a".into(),
        path: "a".into(),
        start: Seconds::ZERO,
        duration: hundredths(32),
        codes: Frames(codes),
        words,
        regions: vec![],
        split: Split::Train,
        meta: String::new(),
    }
}

#[test]
fn a_speaker_without_a_channel_says_nothing_that_anybody_knows() {
    let layout = layout(1, 0, 0);
    let word = Word::new("no", hundredths(16), hundredths(20), SPEAKERS.main());
    let segment = mono(vec![PlacedWord { frame: Some(2), ..PlacedWord::new(word, vec![77]) }]);
    let options = ViewOptions::new(&layout, Rule::Moshi, &SPEAKERS);
    let swapped = options.view(&segment, &Look { swapped: true, ..Look::default() }).unwrap();
    let codes = swapped.segment.codes.0;
    assert!(codes.slice(s![..3, ..]).iter().all(|&code| code == -1), "{codes}");
    assert!(codes.slice(s![3.., ..]).iter().all(|&code| code == 5), "{codes}");
}

#[test]
fn text_whose_words_were_not_kept_is_not_placed_anew() {
    let layout = layout(1, 0, 0);
    let options = ViewOptions::new(&layout, Rule::Moshi, &SPEAKERS);
    let error = options.view(&mono(vec![]), &Look { swapped: true, ..Look::default() }).unwrap_err().to_string();
    let expected =
        "recording \"a\": words of the segment is none, expected those of its text, which is to be placed anew";
    assert_eq!(error, expected);
    assert!(options.view(&mono(vec![]), &Look::default()).is_ok());
}
