//! Preparing small recordings with words of every kind: what is found beside them, whose it is, and where it is cut.
#![cfg(all(feature = "builtin", feature = "io"))]

mod common;

use std::fs;
use std::path::PathBuf;

use common::fixture;
use ndarray::{Array3, s};
use roundelay::batch::Segment;
use roundelay::io::{self, CodeSource, Dataset, DatasetInfo, PrepOptions, WordsFormat, prep, tensors};
use roundelay::pipeline::{Speakers, Unheard};
use roundelay::tally::EventKind;
use roundelay::text::{JmoshiRule, KyutaiRule, Rule, TextStream, Tokenizer, TurnMarkers};
use roundelay::window::Border;
use roundelay::{Kind, Layout};
use serde_json::json;

fn model() -> PathBuf {
    fixture("tokenizers/mistral_v1_32k_bpe.model")
}

/// Recordings of 25 frames (2 s) and what lies beside them.
struct Corpus {
    folder: tempfile::TempDir,
    names: Vec<String>,
}

impl Corpus {
    fn new() -> Self {
        Corpus { folder: tempfile::tempdir().unwrap(), names: Vec::new() }
    }

    /// One recording, as codes of so many channels.
    fn codes(channels: usize) -> Self {
        let mut corpus = Corpus::new();
        corpus.add_codes("a", channels);
        corpus
    }

    fn add_codes(&mut self, name: &str, channels: usize) {
        let codes = Array3::from_shape_fn((channels, 2, 25), |(c, q, t)| (1000 * c + 100 * q + t) as i64);
        tensors::write(&self.at(&format!("{name}.safetensors")), &[("audio_codes", codes.into())]).unwrap();
        self.names.push(name.to_owned());
    }

    /// One recording of one channel, as sound.
    fn sound() -> Self {
        let mut corpus = Corpus::new();
        let samples = (0..48_000).map(|n| 0.3 * (n as f32 * 0.05).sin()).collect();
        io::write_wav(&corpus.at("a.wav"), 24_000, &[samples]).unwrap();
        corpus.names.push("a".to_owned());
        corpus
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(self, name: &str, text: impl ToString) -> Self {
        fs::write(self.at(name), text.to_string()).unwrap();
        self
    }

    fn words(self, alignments: serde_json::Value) -> Self {
        self.file("a.json", json!({ "alignments": alignments }))
    }

    fn prep(&self, options: &PrepOptions) -> roundelay::Result<DatasetInfo> {
        let lines: Vec<_> = self.names.iter().map(|name| json!({"path": format!("{name}.wav")}).to_string()).collect();
        self.prep_lines(&lines.join("\n"), options)
    }

    fn prep_lines(&self, manifest: &str, options: &PrepOptions) -> roundelay::Result<DatasetInfo> {
        fs::write(self.at("data.jsonl"), manifest).unwrap();
        let out = self.at("out");
        if out.exists() {
            fs::remove_dir_all(&out).unwrap();
        }
        prep(&self.at("data.jsonl"), &out, options, &mut |_| Ok(()))
    }

    fn segments(&self, options: &PrepOptions) -> Vec<Segment> {
        let info = self.prep(options).unwrap();
        assert_eq!(info.counts.rejects, 0, "{}", self.rejects());
        Dataset::open(&self.at("out")).unwrap().segments().map(Result::unwrap).collect()
    }

    fn rejects(&self) -> String {
        fs::read_to_string(self.at("out/rejects.jsonl")).unwrap()
    }

    /// Why the only recording was rejected.
    fn refusal(&self, options: &PrepOptions) -> String {
        assert_eq!(self.prep(options).unwrap().counts.rejects, 1);
        self.rejects()
    }

    fn events(&self) -> Vec<(EventKind, u64)> {
        let text = fs::read_to_string(self.at("out/events.jsonl")).unwrap();
        let event = |line: &str| serde_json::from_str::<roundelay::tally::Event>(line).unwrap();
        text.lines().map(event).map(|event| (event.event, event.amount)).collect()
    }
}

/// `delay-1` with two codebooks for each speaker and text for those named.
fn layout(speakers: &[&str], texts: &[&str]) -> Layout {
    let plain = Layout::preset("delay-1").unwrap();
    let named = |k: usize, name: String, speaker: &str| {
        let mut stream = plain.streams()[k].clone();
        (stream.name, stream.speaker) = (name, speaker.to_owned());
        stream
    };
    let mut streams: Vec<_> = texts.iter().map(|speaker| named(0, format!("text.{speaker}"), speaker)).collect();
    for speaker in speakers {
        streams.extend([named(1, format!("{speaker}.0"), speaker), named(2, format!("{speaker}.1"), speaker)]);
    }
    Layout::new("small", plain.frame_rate(), streams).unwrap()
}

fn from_codes(layout: Layout) -> PrepOptions {
    PrepOptions::new(layout, Some(model()), CodeSource::Files { suffix: None })
}

/// A row of the first segment's codes.
fn row(segment: &Segment, k: usize) -> Vec<i32> {
    segment.codes.0.row(k).to_vec()
}

const TEXT_GRID: &str = r#"File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.4
            text = ""
        intervals [2]:
            xmin = 0.4
            xmax = 0.9
            text = "there"
        intervals [3]:
            xmin = 0.9
            xmax = 2
            text = ""
"#;

// What lies beside a recording

#[test]
fn words_are_found_beside_the_recording_by_order_suffix_and_format() {
    let texts = |corpus: &Corpus, options: &PrepOptions| {
        let words = corpus.segments(options).remove(0).words;
        words.into_iter().map(|word| (word.word.text, word.word.start.to_string())).collect::<Vec<_>>()
    };
    let mut options = from_codes(layout(&["main"], &["main"]));
    let corpus = Corpus::codes(1).file("a.TextGrid", TEXT_GRID);
    options.speakers = Speakers::new("words");
    assert_eq!(texts(&corpus, &options), [("there".to_owned(), "0.4".to_owned())]);
    let small = Corpus::codes(1).file("a.textgrid", TEXT_GRID);
    assert_eq!(texts(&small, &options)[0].0, "there");

    let corpus = corpus.words(json!([["first", [0.2, 0.4], "SPEAKER_MAIN"]]));
    options.speakers = Speakers::default();
    assert_eq!(texts(&corpus, &options), [("first".to_owned(), "0.2".to_owned())], ".json comes before .TextGrid");
    options.words_format = Some(WordsFormat::TextGrid);
    assert_eq!(texts(&corpus, &options)[0].0, "there", "a format chooses among the extensions");
    options.words_format = None;

    let corpus = corpus.file("a.said.json", json!({"alignments": [["other", [0.2, 0.4], "SPEAKER_MAIN"]]}));
    options.words_suffix = Some(".said.json".into());
    assert_eq!(texts(&corpus, &options)[0].0, "other");
    options.words_suffix = Some(".none".into());
    assert!(corpus.refusal(&options).contains("words is missing, expected a.none beside the recording"));
    let bare = Corpus::codes(1);
    options.words_suffix = None;
    assert!(
        bare.refusal(&options)
            .contains("a.json, or a.TextGrid, or a.textgrid, or a.ctm, or a.jsonl beside the recording")
    );
}

#[test]
fn regions_are_cut_to_windows_and_conditions_go_to_meta() {
    let words = json!({
        "alignments": [["one", [0.2, 0.4], "SPEAKER_MAIN"]],
        "regions": [[0.5, 1.2, 2.0]],
        "text_conditions": {"mood": "calm"}
    });
    let corpus = Corpus::codes(1).file("a.json", words).file("a.regions.json", "[[0.0, 0.1, 0.0]]");
    let mut options = from_codes(layout(&["main"], &["main"]));
    options.window = Some("0.96".parse().unwrap());
    let segments = corpus.segments(&options);
    let regions = |segment: &Segment| {
        let regions = segment.regions.iter();
        regions.map(|r| (r.start.to_string(), r.end.to_string(), r.weight)).collect::<Vec<_>>()
    };
    let told = |start: &str, end: &str, weight| (start.to_owned(), end.to_owned(), weight);
    assert_eq!(regions(&segments[0]), [told("0.5", "0.96", 2.0), told("0", "0.1", 0.0)]);
    assert_eq!(regions(&segments[1]), [told("0", "0.24", 2.0)]);
    assert_eq!(regions(&segments[2]), []);
    assert_eq!(segments[0].meta, r#"{"text_conditions":{"mood":"calm"}}"#);
}

#[test]
fn a_region_outside_of_the_recording_is_refused() {
    let corpus = Corpus::codes(1).words(json!([]));
    let options = from_codes(layout(&["main"], &["main"]));
    for (found, shown) in [("[2000, 3500, 2]", "[2000, 3500]"), ("[2, 2.5, 2]", "[2, 2.5]"), ("[-1, 0, 2]", "[-1, 0]")]
    {
        let corpus = Corpus::codes(1).words(json!([])).file("a.regions.json", format!("[[0, 1, 1], {found}]"));
        let reason = corpus.refusal(&options);
        assert!(reason.contains(&format!("is {shown}, expected within 0..2 s of the recording")), "{reason}");
    }
    let partly = corpus.file("a.regions.json", "[[-1, 0.1, 2], [1.9, 2000, 2]]");
    assert_eq!(partly.segments(&options)[0].regions.len(), 2);
}

#[test]
fn an_empty_file_of_words_is_refused() {
    let options = from_codes(layout(&["main"], &["main"]));
    for (name, text) in [("a.ctm", ";; made by an aligner\n\n"), ("a.ctm", ""), ("a.jsonl", " \n")] {
        let reason = Corpus::codes(1).file(name, text).refusal(&options);
        assert!(reason.contains(&format!("{name}: ")) && reason.contains("it has no words"), "{reason}");
    }
}

#[test]
fn null_alignments_are_absent_text_and_an_empty_list_is_silence() {
    let options = from_codes(layout(&["main"], &["main"]));
    let unknown = Corpus::codes(1).words(json!(null)).segments(&options);
    assert_eq!((row(&unknown[0], 0), unknown[0].words.len()), (vec![-1; 25], 0));
    assert_eq!(row(&Corpus::codes(1).words(json!([])).segments(&options)[0], 0), [3; 25]);
}

// Speakers

#[test]
fn each_text_stream_holds_its_speakers_words() {
    let alignments = json!([["yes", [0.2, 0.4], "A"], ["no", [0.24, 0.5], "B"], ["hm", [1.0, 1.1], "C"]]);
    let corpus = Corpus::codes(2).words(alignments);
    let mut options = from_codes(layout(&["main", "other"], &["main", "other"]));
    options.speakers = Speakers::new("A");
    let reason = corpus.refusal(&options);
    assert!(reason.contains(r#"labels of the speakers besides \"A\" is \"B\", \"C\", expected a choice"#), "{reason}");

    options.speakers = Speakers::new("A").with("other", "B");
    let segment = corpus.segments(&options).remove(0);
    let tokens = |text: &str| Tokenizer::from_bytes(&fs::read(model()).unwrap()).unwrap().encode(text);
    let mut expected = [vec![3; 25], vec![3; 25]];
    for (row, frame, text) in [(0, 2, "yes"), (1, 3, "no")] {
        expected[row][frame - 1] = 0;
        expected[row].splice(frame..frame + tokens(text).len(), tokens(text));
    }
    assert_eq!([row(&segment, 0), row(&segment, 1)], expected);
    let frames: Vec<_> = segment.words.iter().map(|word| (&*word.word.text, word.frame)).collect();
    assert_eq!(frames, [("yes", Some(2)), ("no", Some(3)), ("hm", None)]);
    assert_eq!(corpus.events(), [(EventKind::OtherSpeaker, 0)]);

    // A single other label needs no choice.
    let corpus = Corpus::codes(2).words(json!([["yes", [0.2, 0.4], "A"], ["no", [0.24, 0.5], "B"]]));
    options.speakers = Speakers::new("A");
    let again = corpus.segments(&options).remove(0);
    assert_eq!([row(&again, 0), row(&again, 1)], expected);
}

#[test]
fn speakers_of_another_layout_are_refused() {
    let mut options = from_codes(layout(&["main", "other"], &["main"]));
    options.speakers = Speakers::new("A").with("user", "B");
    let error = Corpus::codes(2).prep(&options).unwrap_err().to_string();
    assert_eq!(error, "speaker with a label is \"user\", expected one of the layout's other speakers: \"other\"");
}

#[test]
fn a_recording_may_have_labels_of_its_own() {
    let words = |main: &str, other: &str| json!({"alignments": [["yes", [0.2, 0.4], main], ["no", [0.24, 0.5], other], ["hm", [1.0, 1.1], "C"]]});
    let mut corpus = Corpus::codes(2).file("a.json", words("A", "B")).file("b.json", words("Tom", "Ann"));
    corpus.add_codes("b", 2);
    let mut options = from_codes(layout(&["main", "other"], &["main", "other"]));
    options.speakers = Speakers::new("A").with("other", "B");
    let own = r#""main_speaker":"Tom","speakers":{"other":"Ann"}"#;
    let manifest = |own: &str| format!("{{\"path\":\"a.wav\"}}\n{{\"path\":\"b.wav\",{own}}}");
    assert_eq!(corpus.prep_lines(&manifest(own), &options).unwrap().counts.rejects, 0, "{}", corpus.rejects());
    let segments: Vec<_> = Dataset::open(&corpus.at("out")).unwrap().segments().map(Result::unwrap).collect();
    let [a, b] = &segments[..] else { panic!("{} segments", segments.len()) };
    assert!(row(a, 0) == row(b, 0) && row(a, 1) == row(b, 1) && row(a, 0) != row(a, 1));
    let frames = |segment: &Segment| segment.words.iter().map(|word| word.frame).collect::<Vec<_>>();
    assert_eq!((frames(a), frames(b)), (vec![Some(2), Some(3), None], vec![Some(2), Some(3), None]));
    assert_eq!((&*a.meta, &*b.meta), ("{}", &*format!("{{{own}}}")), "what readers must know");

    for (own, expected) in [
        (r#""main_speaker":"B""#, r#"label of the speaker other is \"B\", expected a label that no other speaker has"#),
        (r#""speakers":{"user":"Ann"}"#, r#"speaker with a label is \"user\""#),
        (r#""main_speaker":1"#, "main_speaker is 1, expected the label of the main speaker, a string"),
        (r#""speakers":["Ann"]"#, r#"speakers is [\"Ann\"], expected labels of the layout's other speakers, as "#),
    ] {
        assert_eq!(corpus.prep_lines(&manifest(own), &options).unwrap().counts.rejects, 1);
        assert!(corpus.rejects().contains(expected), "{own}: {}", corpus.rejects());
    }
}

#[test]
fn a_recording_whose_words_are_all_of_others_is_told() {
    let words = json!({"alignments": [["yes", [0.2, 0.4], "C"], ["no", [0.5, 0.6], "D"]]});
    let corpus = Corpus::codes(1).file("a.json", words);
    let info = corpus.prep_lines("{\"path\":\"a.wav\"}", &from_codes(layout(&["main"], &["main"]))).unwrap();
    assert_eq!(info.counts.segments, 1, "{}", corpus.rejects());
    let ledger = fs::read_to_string(corpus.at("out").join("events.jsonl")).unwrap();
    assert!(ledger.contains(r#"{"event":"wordless","recording":"a.wav","amount":2}"#), "{ledger}");
}

const RTTM: &str = "SPEAKER a 1 0.10 0.40 <NA> <NA> A <NA> <NA>\nSPEAKER a 1 0.45 0.20 <NA> <NA> B <NA> <NA>\n";

#[test]
fn one_channel_is_two_speakers_absent_where_they_are_not_heard() {
    let mut options = from_codes(layout(&["main", "other"], &["main"]));
    options.speakers = Speakers::new("A");
    options.diarised = Some(Unheard::Absent);
    let corpus = Corpus::codes(1).words(json!([])).file("a.rttm", RTTM);
    let segment = corpus.segments(&options).remove(0);
    let held = |from: i32, frames: std::ops::Range<i32>| {
        (0..25).map(|t| if frames.contains(&t) { from + t } else { -1 }).collect::<Vec<_>>()
    };
    // 0.10 to 0.50 s and 0.45 to 0.65 s: both in the frames 5 and 6.
    assert_eq!([row(&segment, 1), row(&segment, 2)], [held(0, 1..7), held(100, 1..7)]);
    assert_eq!([row(&segment, 3), row(&segment, 4)], [held(0, 5..9), held(100, 5..9)]);
    assert_eq!(corpus.events(), [(EventKind::Unheard, 19), (EventKind::Unheard, 21)]);

    // Two channels need no segments, and are as they were.
    let stereo = Corpus::codes(2).words(json!([]));
    assert_eq!(row(&stereo.segments(&options)[0], 3), (1000..1025).collect::<Vec<_>>());
    let reason = Corpus::codes(1).words(json!([])).refusal(&options);
    assert!(reason.contains("a.wav: speaker segments is missing, expected a.rttm beside the recording"), "{reason}");
    options.diarised = Some(Unheard::Silence);
    let error = corpus.prep(&options).unwrap_err().to_string();
    assert!(error.contains("codes of silence come from a codec"), "{error}");
}

#[test]
fn a_main_speaker_without_a_segment_is_refused_and_not_swapped() {
    let mut options = from_codes(layout(&["main", "other"], &["main"]));
    options.diarised = Some(Unheard::Absent);
    let corpus = Corpus::codes(1).words(json!([])).file("a.rttm", RTTM.replace(" B ", " A "));
    let reason = corpus.refusal(&options);
    let expected = r#"a.rttm: label of the main speaker is \"SPEAKER_MAIN\", expected one of \"A\""#;
    assert!(reason.contains(expected), "{reason}");
    let corpus = corpus.file("a.rttm", "SPKR-INFO a 1 <NA> <NA> <NA> unknown A <NA>\n");
    let reason = corpus.refusal(&options);
    assert!(reason.contains("a.rttm: RTTM file is ill-formed: it has no segments"), "{reason}");

    // The same of words, where each speaker has a row.
    let mut options = from_codes(layout(&["main", "other"], &["main", "other"]));
    options.speakers = Speakers::new("Tom");
    let reason = Corpus::codes(2).words(json!([["yes", [0.2, 0.4], "SPEAKER_MAIN"]])).refusal(&options);
    assert!(reason.contains(r#"is \"Tom\", expected one of \"SPEAKER_MAIN\""#), "{reason}");
}

fn from_sound(layout: Layout) -> PrepOptions {
    PrepOptions::new(layout, Some(model()), CodeSource::Codec(Box::new(roundelay::codec::Builtin::new())))
}

#[test]
fn one_channel_is_two_speakers_silent_where_they_are_not_heard() {
    use roundelay::codec::{Builtin, Codec};
    let mut options = from_sound(layout(&["main", "other"], &["main"]));
    options.speakers = Speakers::new("A");
    options.diarised = Some(Unheard::Silence);
    let corpus = Corpus::sound().words(json!([])).file("a.rttm", RTTM);
    let segment = corpus.segments(&options).remove(0);
    let sound = io::read_audio(&corpus.at("a.wav")).unwrap();
    for (k, frames) in [(1, 1..7), (3, 5..9)] {
        let mut alone = vec![0.0; 48_000];
        let samples = 1920 * frames.start..1920 * frames.end;
        alone[samples.clone()].copy_from_slice(&sound.channels[0][samples]);
        let codes = Builtin::new().encode(&alone).unwrap().0;
        assert_eq!(segment.codes.0.slice(s![k..k + 2, ..]), codes.slice(s![..2, ..]));
    }
    let unheard: Vec<_> = corpus.events().into_iter().filter(|(kind, _)| *kind == EventKind::Unheard).collect();
    assert_eq!(unheard, [(EventKind::Unheard, 19), (EventKind::Unheard, 21)]);
}

// Silence in front

#[test]
fn silence_in_front_moves_sound_and_text_and_no_times() {
    let form = layout(&["main"], &["main"]).to_json();
    let text = form.replacen('{', "{\"text_lag\": 0.5, \"silence_prefix\": 0.3,", 1);
    let layout = Layout::from_json(&text).unwrap();
    let alignments = json!([["yes", [0.2, 0.4], "SPEAKER_MAIN"]]);
    let corpus = Corpus::sound().words(alignments.clone()).file("a.regions.json", "[[0.0, 0.08, 2.0]]");
    let segment = corpus.segments(&from_sound(layout.clone())).remove(0);
    // 0.3 s are 3.75 frames, so 4 of silence; text lags by 0.8 s.
    assert_eq!((segment.codes.0.ncols(), segment.duration.to_string()), (29, "2.32".into()));
    let silence = segment.codes.0.slice(s![1.., ..3]);
    assert!(silence.columns().into_iter().all(|column| column == silence.column(0)));
    assert_eq!((segment.words[0].frame, segment.words[0].word.start.to_string()), (Some(12), "0.2".into()));
    assert_eq!(segment.regions[0].frames(layout.frame_rate(), 29), 4..5);

    let text = TextStream::of(&layout, "SPEAKER_MAIN").unwrap();
    let tokenizer = Tokenizer::from_bytes(&fs::read(model()).unwrap()).unwrap();
    let back = roundelay::text::words_from_row(&row(&segment, 0), &text, &tokenizer).unwrap();
    assert_eq!((&*back[0].text, back[0].start.to_string()), ("yes", "0.16".into()));

    let codes = Corpus::codes(1).words(alignments);
    let error = codes.prep(&from_codes(layout)).unwrap_err().to_string();
    assert!(
        error.contains("silence_prefix of the layout is 0.3 s, expected none with files of codes: encode"),
        "{error}"
    );
    assert!(error.contains("or take a layout"), "{error}");
}

// Windows

#[test]
fn words_at_a_windows_border_follow_the_choice() {
    // The border lies at 0.96 s; the word has three tokens from frame 11 on.
    let corpus = Corpus::codes(1).words(json!([["internationalisation", [0.9, 1.3], "SPEAKER_MAIN"]]));
    let mut options = from_codes(layout(&["main"], &["main"]));
    options.window = Some("0.96".parse().unwrap());
    let mut run = |border| {
        options.border = border;
        let rows: Vec<_> = corpus.segments(&options).iter().flat_map(|segment| row(segment, 0)).collect();
        let info = Dataset::open(&corpus.at("out")).unwrap().info().clone();
        assert_eq!(info.options["border"], serde_json::to_value(border).unwrap());
        (rows.into_iter().filter(|id| ![0, 3].contains(id)).count() as u64, corpus.events())
    };
    let tokens =
        Tokenizer::from_bytes(&fs::read(model()).unwrap()).unwrap().encode("internationalisation").len() as u64;
    assert!(tokens > 1);
    assert_eq!(run(Border::Start), (1, vec![(EventKind::Cut, tokens - 1), (EventKind::CrossesWindow, 0)]));
    assert_eq!(run(Border::Drop), (0, vec![(EventKind::Dropped, tokens)]));
    assert_eq!(run(Border::Split), (tokens, vec![(EventKind::Split, tokens - 1), (EventKind::CrossesWindow, 0)]));
    options.hop = Some("0.8".parse().unwrap());
    options.border = Border::Split;
    let error = corpus.prep(&options).unwrap_err().to_string();
    assert_eq!(
        error,
        "hop is 10 frames in windows of 12, expected that of the window, where words are split at its border"
    );
}

#[test]
fn words_that_no_row_holds_are_not_dropped_at_borders() {
    let words = json!([["internationalisation", [0.9, 1.3], "SPEAKER_MAIN"], ["no", [0.9, 1.3], "SPEAKER_OTHER"]]);
    let corpus = Corpus::codes(1).words(words);
    let mut options = from_codes(layout(&["main"], &["main"]));
    (options.window, options.border) = (Some("0.96".parse().unwrap()), Border::Drop);
    let mut run = |rule| {
        options.rule = Rule::Kyutai(rule);
        let said = corpus.segments(&options).remove(0).words.into_iter().map(|word| word.word.text).collect::<Vec<_>>();
        let dropped = corpus.events().into_iter().filter(|(kind, _)| *kind == EventKind::Dropped).count();
        let others = corpus.events().into_iter().filter(|(kind, _)| *kind == EventKind::OtherSpeaker).count();
        (said, dropped, others)
    };
    assert_eq!(run(KyutaiRule { keep_main_only: true, ..KyutaiRule::default() }), (vec!["no".to_owned()], 1, 1));
    assert_eq!(run(KyutaiRule::default()), (vec![], 2, 0), "the rule writes everybody's words");
    options.rule = Rule::Moshi;
    assert_eq!(corpus.segments(&options)[0].words.len(), 1);
}

// Rules

#[test]
fn choices_about_speakers_in_one_row_are_refused_where_each_has_a_row() {
    let mut options = from_codes(layout(&["main", "other"], &["main", "other"]));
    let marked = KyutaiRule { turn_markers: Some(TurnMarkers { bos: 1, eos: 2 }), ..KyutaiRule::default() };
    let kept = KyutaiRule { keep_main_only: true, ..KyutaiRule::default() };
    for (rule, found) in [(marked, "turn markers"), (kept, "the main speaker's words only")] {
        options.rule = Rule::Kyutai(rule);
        let error = Corpus::codes(2).words(json!([])).prep(&options).unwrap_err().to_string();
        let expected = "expected none of that: layout small has 2 text rows, one a speaker";
        assert_eq!(error, format!("choice of the rule kyutai is {found}, {expected}"));
    }
    options.layout = layout(&["main", "other"], &["main"]);
    assert_eq!(Corpus::codes(2).words(json!([])).segments(&options).len(), 1);
}

#[test]
fn rules_write_their_rows_and_are_recorded() {
    let alignments = json!([["one", [0.2, 0.4], "SPEAKER_MAIN"], ["internationalisation", [0.9, 1.6], "SPEAKER_MAIN"]]);
    let corpus = Corpus::codes(1).words(alignments);
    let layout = layout(&["main"], &["main"]);
    let tokenizer = Tokenizer::from_bytes(&fs::read(model()).unwrap()).unwrap();
    let rules = [
        Rule::Moshi,
        Rule::Kyutai(KyutaiRule { keep_and_shift: true, ..KyutaiRule::default() }),
        Rule::Jmoshi(JmoshiRule::default()),
    ];
    for rule in rules {
        let mut options = from_codes(layout.clone());
        options.rule = rule;
        let segment = corpus.segments(&options).remove(0);
        let text = TextStream::of(&layout, "SPEAKER_MAIN").unwrap();
        let words = segment.words.iter().map(|word| word.word.clone()).collect();
        let alone = rule.place(rule.tokenize(words, &tokenizer).unwrap(), &text, 25).unwrap();
        assert_eq!(row(&segment, 0), alone.tokens, "{}", rule.name());
        let recorded = Dataset::open(&corpus.at("out")).unwrap().info().options.clone();
        assert_eq!(recorded["rule"], rule.name());
        let mut form = recorded["rule_options"].clone();
        form["rule"] = recorded["rule"].clone();
        assert_eq!(serde_json::from_value::<Rule>(form).unwrap(), rule);

        // Under jmoshi windows are cut out of the one row.
        options.window = Some("0.96".parse().unwrap());
        let rows: Vec<_> = corpus.segments(&options).iter().flat_map(|segment| row(segment, 0)).collect();
        assert_eq!(rows == alone.tokens, rule.places_whole(), "{}", rule.name());
    }
    let mut options = from_codes(layout);
    (options.rule, options.border) = (Rule::Jmoshi(JmoshiRule::default()), Border::Drop);
    let error = corpus.prep(&options).unwrap_err().to_string();
    assert!(error.contains("the rule jmoshi makes one row of the recording, and cuts it"), "{error}");
}

#[test]
fn the_bytes_depend_on_neither_threads_nor_the_time_of_day() {
    let mut corpus = Corpus::codes(1);
    (0..9).for_each(|n| corpus.add_codes(&format!("r{n}"), 1));
    for name in corpus.names.clone() {
        let words =
            json!({"alignments": [["yes", [0.2, 0.4], "A"], ["no", [0.9, 1.2], "B"]], "regions": [[0.1, 1.5, 3]]});
        corpus = corpus
            .file(&format!("{name}.json"), words)
            .file(&format!("{name}.rttm"), RTTM.replace(" a ", &format!(" {name} ")));
    }
    let mut options = from_codes(layout(&["main", "other"], &["main", "other"]));
    options.speakers = Speakers::new("A");
    (options.diarised, options.border) = (Some(Unheard::Absent), Border::Split);
    options.window = Some("0.96".parse().unwrap());
    let one = corpus.prep(&options).unwrap();
    let files = || {
        ["part-00000.parquet", "events.jsonl", "dataset.json"]
            .map(|name| fs::read(corpus.at("out").join(name)).unwrap())
    };
    let bytes = files();
    options.jobs = 3;
    assert_eq!(corpus.prep(&options).unwrap(), one);
    assert_eq!(files(), bytes);
    assert_eq!((one.counts.recordings, one.counts.segments), (10, 30));
    assert!(options.layout.streams().iter().filter(|stream| stream.kind == Kind::Text).count() == 2);
}
