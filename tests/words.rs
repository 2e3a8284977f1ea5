//! Words with times, from every form that is read: whole files give the recordings' words, damaged ones say what and where.
#![cfg(feature = "io")]

use std::fs;
use std::path::{Path, PathBuf};

use roundelay::io::{WordsFormat, parse_regions, parse_segments, parse_words, parse_words_for};
use roundelay::io::{read_regions, read_segments, read_words, words_text};
use roundelay::text::Word;
use roundelay::{FrameRate, Result};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn text(name: &str) -> String {
    words_text(fs::read(fixture(name)).unwrap()).unwrap()
}

fn words(name: &str, format: Option<WordsFormat>) -> Vec<Word> {
    read_words(&fixture(name), format).unwrap().words.unwrap()
}

/// Words of a recording, as its own file of words has them.
fn recorded(name: &str) -> Vec<Word> {
    words(&format!("recordings/wav/{name}.json"), Some(WordsFormat::MoshiFinetune))
}

fn renamed(mut words: Vec<Word>, names: &[(&str, &str)]) -> Vec<Word> {
    for word in &mut words {
        let name = names.iter().find(|(from, _)| *from == word.speaker);
        word.speaker = name.unwrap_or_else(|| panic!("{} is not expected", word.speaker)).1.to_owned();
    }
    words
}

/// By speaker, as files of a tier or a supervision for each speaker have them.
fn by_speaker(mut words: Vec<Word>) -> Vec<Word> {
    words.sort_by(|a, b| a.speaker.cmp(&b.speaker));
    words
}

fn shown(words: &[Word]) -> Vec<(&str, String, String, &str)> {
    words.iter().map(|word| (&*word.text, word.start.to_string(), word.end.to_string(), &*word.speaker)).collect()
}

/// Each edit of a fixture is refused with a message that begins so.
fn damaged(name: &str, edits: &[(&str, &str, &str)], read: impl Fn(&str) -> Result<()>) {
    let whole = text(name);
    read(&whole).unwrap();
    assert!(edits.len() >= 10, "{} damaged versions of {name}", edits.len());
    let mut wrong = Vec::new();
    for (from, to, expected) in edits {
        assert!(whole.contains(from), "{name} has no {from}");
        match read(&whole.replacen(from, to, 1)) {
            Ok(()) => wrong.push(format!("{from} -> {to}\n  was accepted\n  expected {expected}")),
            Err(error) if error.to_string().starts_with(expected) => {}
            Err(error) => wrong.push(format!("{from} -> {to}\n  found    {error}\n  expected {expected}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn damaged_words(name: &str, format: WordsFormat, edits: &[(&str, &str, &str)]) {
    damaged(name, edits, |text| parse_words(text, format).map(drop));
}

#[test]
fn moshi_finetune_gives_ids_regions_and_conditions() {
    let transcript = read_words(&fixture("words/weighted.json"), None).unwrap();
    let words = transcript.words.unwrap();
    assert_eq!(
        shown(&words),
        [
            ("He", "0.21".into(), "0.34".into(), "SPEAKER_MAIN"),
            ("", "0.34".into(), "0.56".into(), "SPEAKER_MAIN"),
            ("Go", "2.98".into(), "3.18".into(), "SPEAKER_OTHER"),
        ]
    );
    assert_eq!(words.iter().map(|word| word.ids.as_deref()).collect::<Vec<_>>(), [None, Some(&[403, 28709][..]), None]);
    let regions: Vec<_> =
        transcript.regions.iter().map(|r| (r.start.to_string(), r.end.to_string(), r.weight)).collect();
    assert_eq!(regions, [("0".into(), "2".into(), 1.0), ("2.98".into(), "3.18".into(), 0.5)]);
    assert_eq!(transcript.conditions.as_deref(), Some("{\"mood\": [\"calm\", null]}"));
}

#[test]
fn null_says_that_nobody_knows_what_was_said() {
    let parse = |text| parse_words(text, WordsFormat::MoshiFinetune).unwrap();
    assert_eq!(parse("{\"alignments\": null}").words, None);
    assert_eq!(parse("\u{feff}{\"alignments\": [], \"regions\": []}").words, Some(vec![]));
    assert_eq!(parse("{\"text_conditions\": null, \"alignments\": [], \"duration\": [1]}").conditions, None);
}

#[test]
fn more_digits_than_a_double_holds_are_kept() {
    let rate = FrameRate::new(25, 2).unwrap();
    let file = text("words/weighted.json")
        .replace("0.21", "0.079999999999999999999")
        .replace("2.98", "0.0800000000000000000001");
    let words = parse_words(&file, WordsFormat::MoshiFinetune).unwrap().words.unwrap();
    assert_eq!((rate.floor(words[0].start), rate.floor(words[2].start)), (0, 1));
    // In doubles 0.1 + 0.2 is past 0.3.
    let ctm = parse_words("a 1 0.1 0.2 b", WordsFormat::Ctm).unwrap().words.unwrap();
    assert_eq!(shown(&ctm), [("b", "0.1".into(), "0.3".into(), "1")]);
}

#[test]
fn jmoshi_has_both_speakers_in_one_list() {
    let expected = renamed(recorded("mary_bobby_stereo"), &[("SPEAKER_MAIN", "A"), ("SPEAKER_OTHER", "B")]);
    assert_eq!(words("words/mary_bobby_stereo.jmoshi.json", None), expected);
}

#[test]
fn whisperx_gives_words_with_their_own_speaker_or_their_segments() {
    let mut expected = recorded("librivox_mono");
    for (at, word) in expected.iter_mut().enumerate() {
        word.speaker = if at < 9 { "SPEAKER_00" } else { "SPEAKER_01" }.to_owned();
    }
    assert_eq!(words("words/librivox_mono.whisperx.json", None), expected);
    let whisper = r#"{"text": " Ja,", "segments": [{"text": " Ja,", "words": [{"word": " Ja,", "start": 1, "end": 2.50}]},
                      {"text": " ", "words": []}], "language": "de"}"#;
    let read = parse_words(whisper, WordsFormat::Whisperx).unwrap().words.unwrap();
    assert_eq!(shown(&read), [("Ja,", "1".into(), "2.5".into(), "SPEAKER_MAIN")]);
    let flat = parse_words(r#"{"word_segments": [{"word": "a", "start": 0, "end": 1}]}"#, WordsFormat::Whisperx);
    assert_eq!(flat.unwrap().words.unwrap().len(), 1);
}

#[test]
fn textgrids_short_and_long_give_the_same_words() {
    let expected = [
        ("mary", "0.3154201182247563".into(), "0.6755499913498981".into(), "SPEAKER_MAIN"),
        ("rolled", "0.6755499913498981".into(), "0.9839070294779999".into(), "SPEAKER_MAIN"),
        ("the", "0.9839070294779999".into(), "1.063725623583".into(), "SPEAKER_MAIN"),
        ("barrel", "1.063725623583".into(), "1.5182538944627297".into(), "SPEAKER_MAIN"),
    ];
    assert_eq!(shown(&words("words/mary.TextGrid", None)), expected);
    assert_eq!(shown(&words("words/mary_long_utf16.TextGrid", None)), expected);
}

#[test]
fn textgrids_have_a_tier_of_words_for_each_speaker() {
    assert_eq!(words("words/real_dialogue_stereo.TextGrid", None), by_speaker(recorded("real_dialogue_stereo")));
}

#[test]
fn a_lone_tier_of_another_name_holds_words_if_each_label_is_one() {
    let tier = |labels: &str, count: usize| {
        format!(
            "\"ooTextFile\" \"TextGrid\" 0 1 <exists> 1 ! no \"comment\"\n\"IntervalTier\" \"any\" 0 1 {count} {labels}"
        )
    };
    let parse = |labels: &str, count| parse_words(&tier(labels, count), WordsFormat::TextGrid);
    let read = parse("0 .5 \"a \"\"b\"\"\" .5 .6 \"sil\" .6 .7 \"spn\" .7 .7 \" c\n\" .7 1e0 \"<eps>\"", 5);
    assert!(
        read.unwrap_err().to_string().contains("tier \"any\" holds \"a \\\"\\\"b\\\"\\\"\", which is more than a word")
    );
    let read = parse("0 .5 \"\"\"b\"\"\" .5 .6 \"sil\" .6 .7 \"spn\" .7 .7 \" c\n\" .7 1e0 \"<eps>\"", 5).unwrap();
    assert_eq!(read.words.unwrap().iter().map(|word| word.text.clone()).collect::<Vec<_>>(), ["\"b\"", "spn", "c"]);
    assert_eq!(parse("", 0).unwrap().words, Some(vec![]));
}

#[test]
fn textgrids_without_a_tier_of_words_list_what_they_have() {
    let error = read_words(&fixture("words/bobby_elan.TextGrid"), None).unwrap_err().to_string();
    let expected =
        "its tiers of intervals are \"\\\"word\\\"\", \"phrase\", expected one named \"words\" or \"SPEAKER - words\"";
    assert!(error.ends_with(expected), "{error}");
    let renamed = text("words/bobby_elan.TextGrid").replace("\"\"\"word\"\"\"", "\"words\"");
    let words = parse_words(&renamed, WordsFormat::TextGrid).unwrap().words.unwrap();
    let texts: Vec<_> = words.iter().map(|word| &*word.text).collect();
    assert_eq!(texts, ["\"\"\"BOBBY\"\"\"\nNoun", "RIPPED\nVerb", "THE\nDeterminer", "LEDGER\nNoun"]);
}

#[test]
fn ctm_gives_the_words_of_the_recording_that_is_asked_for() {
    let text = text("words/two_recordings.ctm");
    let of = |recording| parse_words_for(recording, &text, WordsFormat::Ctm).unwrap().words.unwrap();
    assert_eq!(of("librivox_mono"), renamed(recorded("librivox_mono"), &[("SPEAKER_MAIN", "1")]));
    let speakers = [("SPEAKER_MAIN", "A"), ("SPEAKER_OTHER", "B")];
    assert_eq!(of("real_dialogue_stereo"), renamed(recorded("real_dialogue_stereo"), &speakers));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("librivox_mono.ctm");
    fs::write(&path, &text).unwrap();
    assert_eq!(read_words(&path, None).unwrap().words.unwrap(), of("librivox_mono"));
}

#[test]
fn one_recording_alone_may_have_another_name() {
    let read = |text| parse_words_for("c", text, WordsFormat::Ctm).unwrap().words.unwrap();
    assert_eq!(shown(&read(";; x\n\na 1 0 1 <eps>\r\na\t1 -1 1.5  b NA\n")), [("b", "-1".into(), "0.5".into(), "1")]);
    assert_eq!(read(";; x\na 1 0 1 <eps>"), []);
    let (text, many) = ("a 1 0 1 w\nb 1 0 1 w", "f 1 0 1 w\ne 1 0 1 w\nd 1 0 1 w\nc 1 0 1 w\nb 1 0 1 w\na 1 0 1 w");
    let refusal = |name, text| parse_words_for(name, text, WordsFormat::Ctm).unwrap_err().to_string();
    assert_eq!(refusal("c", text), "CTM file is ill-formed: it tells of 2 recordings (a, b), expected one named \"c\"");
    assert_eq!(
        refusal("x", many),
        "CTM file is ill-formed: it tells of 6 recordings (a, b, c, d, e, ..), expected one named \"x\""
    );
    let unnamed = parse_words(text, WordsFormat::Ctm).unwrap_err().to_string();
    assert_eq!(unnamed, "CTM file is ill-formed: it tells of 2 recordings (a, b), expected one, or the name of one");
}

#[test]
fn files_without_a_line_are_refused_and_empty_lists_are_not() {
    for text in ["", "\n \r\n"] {
        for (what, format) in [("CTM", WordsFormat::Ctm), ("Lhotse", WordsFormat::Lhotse)] {
            let refusal = parse_words(text, format).unwrap_err().to_string();
            assert_eq!(refusal, format!("{what} file is ill-formed: it has no words"));
        }
    }
    assert!(parse_words(";; x\n", WordsFormat::Ctm).is_err());
    assert_eq!(parse_words("[]", WordsFormat::Lhotse).unwrap().words, Some(Vec::new()));
    for text in ["", ";; x", "SPKR-INFO a 1 <NA> <NA> <NA> unknown A <NA>"] {
        let refusal = parse_segments(text, None).unwrap_err().to_string();
        assert_eq!(refusal, "RTTM file is ill-formed: it has no segments");
    }
}

#[test]
fn lhotse_cuts_give_words_by_recording() {
    let text = text("words/cuts.jsonl");
    let of = |recording, text: &str| parse_words_for(recording, text, WordsFormat::Lhotse).unwrap().words.unwrap();
    assert_eq!(of("librivox_mono", &text), renamed(recorded("librivox_mono"), &[("SPEAKER_MAIN", "reader")]));
    // No speaker is named: the first channel is the main one.
    let dialogue = of("real_dialogue_stereo", &text);
    assert_eq!(dialogue, by_speaker(recorded("real_dialogue_stereo")));
    // As one list, and twice, as cuts that overlap have it.
    let list = format!("[{}]", text.lines().chain(text.lines()).collect::<Vec<_>>().join(",\n"));
    assert_eq!(of("real_dialogue_stereo", &list), dialogue);
}

/// A word's time is of the recording, also where the cut does not begin with it.
#[test]
fn lhotse_supervisions_move_with_their_cut_and_words_do_not() {
    let supervision = |start: &str| {
        format!(
            r#"{{"id": "s", "recording_id": "r", "start": {start}, "duration": 1, "channel": [2, 3], "text": "a b",
           "alignment": {{"phone": 1, "word": [["", 2, 0.1, null], ["a", 2.1, 0.2], ["b", 2.3, 0.5, 0.9]]}}}}"#
        )
        .replace('\n', " ")
    };
    let cut = format!(r#"{{"id": "c", "start": 1.5, "duration": 9, "supervisions": [{}]}}"#, supervision("0.5"));
    let expected = [("a", "2.1".into(), "2.3".into(), "channel 2"), ("b", "2.3".into(), "2.8".into(), "channel 2")];
    for text in [&cut, &supervision("2")] {
        let words = parse_words(text, WordsFormat::Lhotse).unwrap().words.unwrap();
        assert_eq!(shown(&words), expected);
    }
    let refusal = parse_words(&supervision("0"), WordsFormat::Lhotse).unwrap_err().to_string();
    let expected = "line 1: Lhotse file is ill-formed: alignment.word[0][1] is 2, expected a time of the recording, within its supervision (0 to 1)";
    assert_eq!(refusal, expected);
}

#[test]
fn rttm_gives_spans_of_speakers() {
    let segments = read_segments(&fixture("words/real_dialogue_stereo.rttm")).unwrap();
    let shown: Vec<_> = segments.iter().map(|s| (s.start.to_string(), s.end.to_string(), &*s.speaker)).collect();
    let span = |start: &str, end: &str, speaker| (start.to_owned(), end.to_owned(), speaker);
    let expected = [
        span("0.21", "2.74", "SPEAKER_MAIN"),
        span("2.98", "4.67", "SPEAKER_OTHER"),
        span("5.62", "10.65", "SPEAKER_MAIN"),
        span("9.26", "10.92", "SPEAKER_OTHER"),
        span("11.41", "14.22", "SPEAKER_MAIN"),
    ];
    assert_eq!(shown, expected);
    let nine = parse_segments("SPEAKER a 1 0 1 <NA> <NA> b <NA>\nSPEAKER b 1 0 1 <NA> <NA> c 0.5", Some("b")).unwrap();
    assert_eq!(nine[0].speaker, "c");
}

#[test]
fn regions_may_stand_in_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.regions.json");
    fs::write(&path, "[[0, 2.50, 10], [1, 3, 0]]").unwrap();
    let regions = read_regions(&path).unwrap();
    assert_eq!((regions.len(), regions[0].end.to_string(), regions[0].weight), (2, "2.5".to_owned(), 10.0));
    fs::write(&path, "[[0, 2.50, 10],\n [1, 3, -1]]").unwrap();
    let error = read_regions(&path).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "a.regions.json:2: file of regions is ill-formed: [1][2] is -1, expected a finite number, 0 or more"
        ),
        "{error}"
    );
}

#[test]
fn regions_and_segments_may_begin_with_a_mark() {
    assert_eq!(parse_regions("\u{feff}[[0, 1, 2]]").unwrap().len(), 1);
    assert_eq!(parse_segments("\u{feff}SPEAKER a 1 0 1 - - b - -", None).unwrap().len(), 1);
}

#[test]
fn files_are_named_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    assert!(read_words(&path, None).unwrap_err().to_string().contains("a.json: cannot read the words: "));
    let cases: [(&[u8], &str); 6] = [
        (b"{\n\"\xff", "a.json:2: words file is ill-formed: it is not UTF-8"),
        (b"\xff\xfe{\0\n\0\x00\xd8", "a.json:2: words file is ill-formed: it is not UTF-16"),
        (b"\xfe\xff\0{\0", "a.json:1: words file is ill-formed: it is not UTF-16"),
        (b"\x1f\x8b\x08", "a.json: a compressed words file is not supported: decompress it first, as with gunzip"),
        (
            b"ooBinaryFile\x08TextGrid",
            "a.json: a binary TextGrid is not supported: save it as text, in Praat by Save > Save as text file",
        ),
        (b"{\"alignments\": [\n7]}", "alignments[0] is 7, expected [word, [start, end], speaker]"),
    ];
    for (bytes, expected) in cases {
        fs::write(&path, bytes).unwrap();
        let error = read_words(&path, None).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn long_values_are_shortened_and_deep_ones_do_no_harm() {
    let deep = format!("[{}{}]", "[".repeat(200_000), "]".repeat(200_000));
    let moshi = format!("{{\"alignments\": {deep}}}");
    let long = text("words/weighted.json").replace("0.21", &"9".repeat(10_000));
    let cases = [
        (moshi, WordsFormat::MoshiFinetune),
        (long, WordsFormat::MoshiFinetune),
        (deep.clone(), WordsFormat::Jmoshi),
        (deep.clone(), WordsFormat::Lhotse),
        (format!("{{\"segments\": {deep}}}"), WordsFormat::Whisperx),
        ("a ".repeat(100_000), WordsFormat::Ctm),
        (
            text("words/mary.TextGrid").replace("\"IntervalTier\"", &format!("\"{}\"", "x".repeat(10_000))),
            WordsFormat::TextGrid,
        ),
    ];
    for (text, format) in cases {
        let refusal = parse_words(&text, format).unwrap_err().to_string();
        assert!(refusal.len() < 300, "{format}: {refusal}");
    }
}

#[test]
fn the_first_of_many_values_that_are_no_words_is_named() {
    let words = |entry: &str| format!("{{\"alignments\": [{}{entry}]}}", "[\"\", [0, 1], \"\"],\n".repeat(1000));
    let parse = |text: &str| parse_words(text, WordsFormat::MoshiFinetune);
    assert_eq!(parse(&words("[\"a\", [2, 3], \"b\"]")).unwrap().words.unwrap().len(), 1001);
    let refusal = |entry: &str| parse(&words(entry)).unwrap_err().to_string();
    let place = |entry: &str| refusal(entry).split(" is ").take(2).collect::<Vec<_>>().join(" is ");
    assert_eq!(place(&vec!["0"; 1 << 20].join(",")), "line 1001: words file is ill-formed: alignments[1000]");
    assert_eq!(place("[0, 0, 0]"), "line 1001: words file is ill-formed: alignments[1000][1]");
    let many = format!("[[{}0]]", "0,".repeat(1 << 20));
    assert_eq!(place(&many), "line 1001: words file is ill-formed: alignments[1000]");
    assert_eq!(place("[\"\", [0, \"1\"], \"\"]"), "line 1001: words file is ill-formed: alignments[1000][1][1]");
}

#[test]
fn times_that_nobody_knows_name_the_tools_that_make_them() {
    for span in ["[null, 0.5]", "[0.1, null]", "null"] {
        let text = format!("{{\"alignments\": [[\"He\", {span}, \"A\"]]}}");
        let refusal = parse_words(&text, WordsFormat::MoshiFinetune).unwrap_err().to_string();
        let expected =
            "line 1: text without times of its words is not supported: alignments[0] (\"He\") lacks its start";
        assert!(refusal.starts_with(expected) && refusal.contains("mfa align"), "{refusal}");
    }
}

#[test]
fn damaged_moshi_finetune() {
    damaged_words(
        "words/weighted.json",
        WordsFormat::MoshiFinetune,
        &[
            ("0.34]", "NaN]", "line 3: words file is ill-formed: NaN is no time, and no JSON either"),
            (
                "2.98, 3.18]",
                "2.98, -Infinity]",
                "line 5: words file is ill-formed: Infinity is no time, and no JSON either",
            ),
            ("\"alignments\"", "\"words\"", "line 1: words file is ill-formed: it has no \"alignments\""),
            (
                "0.34]",
                "0.34, 1]",
                "line 3: words file is ill-formed: alignments[0][1] is [0.21, 0.34, 1], expected [start, end]",
            ),
            (
                "\"SPEAKER_OTHER\"",
                "null",
                "line 5: words file is ill-formed: alignments[2][2] is null, expected a string",
            ),
            ("\"He\"", "7", "line 3: words file is ill-formed: alignments[0][0] is 7, expected a string"),
            (
                "2.98",
                "\"2.98\"",
                "line 5: words file is ill-formed: alignments[2][1][0] is \"2.98\", expected a number of seconds",
            ),
            (
                "0.34",
                "1e99",
                "line 3: alignments[0][1][1] is 1e99, expected between -1000000000000 and 1000000000000 seconds",
            ),
            (
                "[\"He\", [0.21, 0.34], \"SPEAKER_MAIN\"]",
                "{\"word\": 1}",
                "line 3: words file is ill-formed: alignments[0] is {\"word\": 1}, expected [word, [start, end], spea",
            ),
            (
                "\"SPEAKER_MAIN\"]",
                "\"SPEAKER_MAIN\"",
                "line 7: words file is ill-formed: expected `,` or `]` at column 12",
            ),
            ("2.98", "02.98", "line 5: words file is ill-formed: invalid number at column 14"),
            (
                "calm",
                "ca\nlm",
                "line 8: words file is ill-formed: control character (\\u0000-\\u001F) found while parsing a string a",
            ),
            (
                "28709",
                "-1",
                "line 4: words file is ill-formed: alignments[1][0][1] is -1, expected a token id, 0 or more",
            ),
            (
                "28709",
                "2147483648",
                "line 4: words file is ill-formed: alignments[1][0][1] is 2147483648, expected a token id, 0 or more",
            ),
            (
                "403",
                "[4]",
                "line 4: words file is ill-formed: alignments[1][0][0] is [4], expected a token id, 0 or more",
            ),
            (
                "[0, 2.0, 1]",
                "[2, 2.0, 1]",
                "line 7: words file is ill-formed: regions[0] is [2, 2.0, 1], expected its end after its start",
            ),
            (
                "0.5]]",
                "1e39]]",
                "line 7: words file is ill-formed: regions[1][2] is 1e39, expected a finite number, 0 or more",
            ),
            (
                "0.5]]",
                "null]]",
                "line 7: words file is ill-formed: regions[1][2] is null, expected a finite number, 0 or more",
            ),
            (
                "[2.98, 3.180, 0.5]",
                "[2.98, 3.180]",
                "line 7: words file is ill-formed: regions[1] is [2.98, 3.180], expected [start, end, weight]",
            ),
            ("\"regions\"", "\"alignments\"", "line 1: words file is ill-formed: it has \"alignments\" twice"),
            ("}\n}", "}}, 1", "line 8: words file is ill-formed: trailing characters at column 47"),
            ("{\n", "[{\n", "line 10: words file is ill-formed: EOF while parsing a list at column 0"),
        ],
    );
}

#[test]
fn damaged_jmoshi() {
    damaged_words(
        "words/mary_bobby_stereo.jmoshi.json",
        WordsFormat::Jmoshi,
        &[
            (
                "\"start\": 0.315, ",
                "",
                "line 2: text without times of its words is not supported: [0] (\"mary\") lacks its start or end; whi",
            ),
            (
                "\"end\": 0.984",
                "\"end\": null",
                "line 3: text without times of its words is not supported: [1] (\"rolled\") lacks its start or end; w",
            ),
            ("\"speaker\": \"B\", ", "", "line 6: J-Moshi file is ill-formed: [4] has no \"speaker\""),
            ("\"word\": \"the\"", "\"text\": \"the\"", "line 4: J-Moshi file is ill-formed: [2] has no \"word\""),
            (
                "\"word\": \"the\"",
                "\"word\": [\"the\"]",
                "line 4: J-Moshi file is ill-formed: [2].word is [\"the\"], expected a string",
            ),
            (
                "0.984",
                "\"0.984\"",
                "line 3: J-Moshi file is ill-formed: [1].end is \"0.984\", expected a number of seconds",
            ),
            ("0.984", "NaN", "line 3: J-Moshi file is ill-formed: NaN is no time, and no JSON either"),
            ("0.984", "1e13", "line 3: [1].end is 1e13, expected between -1000000000000 and 1000000000000 seconds"),
            ("\"end\": 0.676", "\"start\": 0.676", "line 2: J-Moshi file is ill-formed: [0] has \"start\" twice"),
            ("},\n", "}\n", "line 3: J-Moshi file is ill-formed: expected `,` or `]` at column 3"),
            ("[\n", "{\"words\": [\n", "line 11: J-Moshi file is ill-formed: EOF while parsing an object at column 0"),
            (
                "{\"speaker\": \"A\", \"word\": \"mary\", \"start\": 0.315, \"end\": 0.676}",
                "[\"mary\", [0.315, 0.676], \"A\"]",
                "line 2: J-Moshi file is ill-formed: [0] is [\"mary\", [0.315, 0.676], \"A\"], expected an object",
            ),
            ("\n]", "\n", "line 11: J-Moshi file is ill-formed: EOF while parsing a list at column 0"),
        ],
    );
}

#[test]
fn damaged_whisperx() {
    damaged_words(
        "words/librivox_mono.whisperx.json",
        WordsFormat::Whisperx,
        &[
            (
                "\"start\": 0.37, \"end\": 0.63, ",
                "",
                "line 1: text without times of its words is not supported: segments[0].words[1] (\"Mr.\") lacks its s",
            ),
            (
                "\"end\": 0.63, ",
                "",
                "line 1: text without times of its words is not supported: segments[0].words[1] (\"Mr.\") lacks its s",
            ),
            (
                "\"start\": 0.37",
                "\"start\": NaN",
                "line 1: WhisperX file is ill-formed: NaN is no time, and no JSON either",
            ),
            (
                "\"words\"",
                "\"tokens\"",
                "line 1: text without times of its words is not supported: segments[0] has no \"words\" (whisper writ",
            ),
            (
                "\"words\": [{",
                "\"words\": [], \"x\": [{",
                "line 1: text without times of its words is not supported: segments[0] has no \"words\" (whisper writ",
            ),
            (
                "\"segments\"",
                "\"parts\": 1, \"word_segments\": 1, \"x\"",
                "line 1: WhisperX file is ill-formed: it has \"word_segments\" twice",
            ),
            ("\"word\": \"And\", ", "", "line 1: WhisperX file is ill-formed: segments[0].words[0] has no \"word\""),
            (
                "\"word\": \"And\"",
                "\"word\": 7",
                "line 1: WhisperX file is ill-formed: segments[0].words[0].word is 7, expected a string",
            ),
            (
                "\"speaker\": \"SPEAKER_00\"",
                "\"speaker\": 0",
                "line 1: WhisperX file is ill-formed: segments[0].words[0].speaker is 0, expected a string",
            ),
            (
                "\"start\": 0.37",
                "\"start\": true",
                "line 1: WhisperX file is ill-formed: segments[0].words[1].start is true, expected a number of second",
            ),
            (
                "\"text\": \" And",
                "\"text\": 0, \"x\": \" And",
                "line 1: WhisperX file is ill-formed: segments[0].text is 0, expected a string",
            ),
            ("\"language\"", "language", "line 1: WhisperX file is ill-formed: key must be a string at column 3476"),
            (
                "\"segments\": [",
                "\"segments\": [7, ",
                "line 1: WhisperX file is ill-formed: segments[0] is 7, expected an object",
            ),
        ],
    );
}

#[test]
fn damaged_textgrid() {
    damaged_words(
        "words/mary.TextGrid",
        WordsFormat::TextGrid,
        &[
            ("ooTextFile", "ooTextFil", "TextGrid is ill-formed: it does not begin with \"ooTextFile\" \"TextGrid\""),
            (
                "\"TextGrid\"",
                "\"PitchTier\"",
                "TextGrid is ill-formed: it does not begin with \"ooTextFile\" \"TextGrid\"",
            ),
            (
                "File type = \"ooTextFile\"",
                "\"Praat chronological TextGrid text file\"",
                "a chronological TextGrid is not supported: save it as text file, long or short",
            ),
            ("<exists>", "<absent>", "line 6: TextGrid is ill-formed: tiers is <absent>, expected <exists>"),
            (
                "\"IntervalTier\"",
                "\"SpectrumTier\"",
                "line 8: TextGrid is ill-formed: class of a tier is \"SpectrumTier\", expected \"IntervalTier\" or \"",
            ),
            (
                "\r\n16\r\n",
                "\r\n17\r\n",
                "line 61: TextGrid is ill-formed: xmin of the interval is \"IntervalTier\", expected a number of seco",
            ),
            (
                "\r\n16\r\n",
                "\r\n15\r\n",
                "line 58: TextGrid is ill-formed: class of a tier is 1.5182538944627297, expected \"IntervalTier\" or",
            ),
            (
                "\r\n16\r\n",
                "\r\n1.5\r\n",
                "line 12: TextGrid is ill-formed: size of the tier is 1.5, expected a whole number",
            ),
            (
                "\r\n16\r\n",
                "\r\n99999999999999999999\r\n",
                "line 12: TextGrid is ill-formed: size of the tier is 99999999999999999999, expected a whole number",
            ),
            ("<exists>\r\n3", "<exists>\r\n4", "line 97: TextGrid is ill-formed: it ends before the class of a tier"),
            (
                "<exists>\r\n3",
                "<exists>\r\n2",
                "line 84: TextGrid is ill-formed: what follows the last tier is \"TextTier\", expected the end of the",
            ),
            (
                "\"mary\"",
                "\"mary",
                "line 84: TextGrid is ill-formed: xmin of the interval is \"TextTier\", expected a number of seconds",
            ),
            (
                "\"mary\"",
                "mary",
                "line 72: TextGrid is ill-formed: text of the interval is 0.6755499913498981, expected text in quotes",
            ),
            (
                "\"word\"",
                "\"other\"",
                "TextGrid is ill-formed: its tiers of intervals are \"phone\", \"other\", expected one named \"words",
            ),
            (
                "\"phone\"",
                "\"Words\"",
                "line 62: TextGrid is ill-formed: two tiers hold the words of SPEAKER_MAIN, expected one named \"word",
            ),
            (
                "0.38526757369599995\r\n\"m\"",
                "0.38s\r\n\"m\"",
                "line 17: xmax of the interval is 0.38s, expected a decimal number of seconds",
            ),
            (
                "0.38526757369599995\r\n\"m\"",
                "0.1\r\n\"m\"",
                "line 17: xmax of the interval is 0.1, expected 0.3154201182247563 or later",
            ),
            (
                "1.869687",
                "1e400",
                "line 5: xmax of the file is 1e400, expected between -1000000000000 and 1000000000000 seconds",
            ),
        ],
    );
}

#[test]
fn damaged_ctm() {
    damaged(
        "words/two_recordings.ctm",
        &[
            ("0.20 0.17", "0.20", "line 3: duration is And, expected a decimal number of seconds"),
            ("0.20 0.17", "x 0.17", "line 3: start is x, expected a decimal number of seconds"),
            ("0.20 0.17", "0.20 0,17", "line 3: duration is 0,17, expected a decimal number of seconds"),
            ("0.20 0.17", "0.20 -0.17", "line 3: duration is -0.17, expected 0 or more"),
            (
                "0.20 0.17",
                "0.20 1e13",
                "line 3: duration is 1e13, expected between -1000000000000 and 1000000000000 seconds",
            ),
            ("And 0.95", "And high", "line 3: confidence is high, expected a number"),
            (
                "And 0.95",
                "And 0.95 lex",
                "line 3: CTM file is ill-formed: it says librivox_mono 1 0.20 0.17 And 0.95 lex, expected recording c",
            ),
            (
                "0.20 0.17 And 0.95",
                "* * <ALT_BEGIN>",
                "line 3: a CTM file with alternatives is not supported: keep one of them",
            ),
            ("0.20 0.17", "NaN 0.17", "line 3: start is NaN, expected a decimal number of seconds"),
            (
                ";; written",
                "; written",
                "line 1: CTM file is ill-formed: it says ; written to the description of CTM that comes with sclite, ",
            ),
            ("And 0.95", "And 0.9.5", "line 3: confidence is 0.9.5, expected a number"),
        ],
        |text| parse_words_for("librivox_mono", text, WordsFormat::Ctm).map(drop),
    );
}

#[test]
fn damaged_lhotse() {
    damaged(
        "words/cuts.jsonl",
        &[
            (
                "\"alignment\"",
                "\"alignments\"",
                "line 1: text without times of its words is not supported: supervisions[0] has text and no alignment ",
            ),
            (
                "\"word\"",
                "\"subword\"",
                "line 1: text without times of its words is not supported: supervisions[0] has text and no alignment ",
            ),
            (
                "[\"And\", 0.2, 0.17, null]",
                "[\"And\", 0.2]",
                "line 1: Lhotse file is ill-formed: supervisions[0].alignment.word[0] is [\"And\", 0.2], expected [sy",
            ),
            (
                "[\"And\", 0.2, 0.17, null]",
                "{\"symbol\": \"And\"}",
                "line 1: Lhotse file is ill-formed: supervisions[0].alignment.word[0] is {\"symbol\": \"And\"}, expec",
            ),
            (
                "[\"And\", 0.2, 0.17, null]",
                "[\"And\", 0.2, -0.17, null]",
                "line 1: Lhotse file is ill-formed: supervisions[0].alignment.word[0][2] is -0.17, expected a duratio",
            ),
            (
                "[\"And\", 0.2, 0.17, null]",
                "[\"And\", 7.2, 0.17, null]",
                "line 1: Lhotse file is ill-formed: supervisions[0].alignment.word[0][1] is 7.2, expected a time of t",
            ),
            (
                "[\"And\", 0.2, 0.17, null]",
                "[1, 0.2, 0.17, null]",
                "line 1: Lhotse file is ill-formed: supervisions[0].alignment.word[0][0] is 1, expected a string",
            ),
            ("\"start\": 0,", "", "line 1: Lhotse file is ill-formed: it has no \"start\""),
            ("\"supervisions\"", "\"segments\"", "line 1: Lhotse file is ill-formed: it has no \"supervisions\""),
            (
                "\"recording_id\": \"librivox_mono\", ",
                "",
                "line 1: Lhotse file is ill-formed: supervisions[0] has no \"recording_id\"",
            ),
            (
                "\"duration\": 6.59",
                "\"duration\": \"6.59\"",
                "line 1: Lhotse file is ill-formed: supervisions[0].duration is \"6.59\", expected a number of second",
            ),
            (
                "\"channel\": 1",
                "\"channel\": \"B\"",
                "line 2: Lhotse file is ill-formed: supervisions[1].channel is \"B\", expected the number of a channe",
            ),
            (
                "\"id\": \"dialogue-other\"",
                "\"id\": \"dialogue-main\"",
                "line 2: Lhotse file is ill-formed: supervision \"dialogue-main\" is there twice, with other words",
            ),
            (
                "\"supervisions\": [",
                "\"tracks\": [], \"supervisions\": [",
                "line 1: a cut mixed of several is not supported: save the cuts before mixing",
            ),
            ("}\n{", "\n{", "line 1: Lhotse file is ill-formed: EOF while parsing an object at column 1222"),
            (
                "\"speaker\": \"reader\"",
                "\"speaker\": 3",
                "line 1: Lhotse file is ill-formed: supervisions[0].speaker is 3, expected a string",
            ),
        ],
        |text| parse_words_for("librivox_mono", text, WordsFormat::Lhotse).map(drop),
    );
}

#[test]
fn damaged_rttm() {
    damaged(
        "words/real_dialogue_stereo.rttm",
        &[
            ("0.210 2.530", "0.210", "line 3: duration is <NA>, expected a decimal number of seconds"),
            ("0.210 2.530", "0.210 -2.530", "line 3: duration is -2.530, expected 0 or more"),
            ("0.210 2.530", "<NA> 2.530", "line 3: start is <NA>, expected a decimal number of seconds"),
            ("0.210 2.530", "0.210 2.5.30", "line 3: duration is 2.5.30, expected a decimal number of seconds"),
            (
                "0.210 2.530",
                "0.210 2530000000000",
                "line 3: duration is 2530000000000, expected between -1000000000000 and 1000000000000 seconds",
            ),
            (
                "SPEAKER real",
                "SPEAKERS real",
                "line 3: RTTM file is ill-formed: it says SPEAKERS real_dialogue_stereo 1 0.210 2.530 <NA> <NA> SPEAK",
            ),
            (
                "SPEAKER real",
                "END real",
                "line 3: RTTM file is ill-formed: it says END real_dialogue_stereo 1 0.210 2.530 <NA> <NA> SPEAKER_MA",
            ),
            (
                "SPKR-INFO",
                "# SPKR-INFO",
                "line 1: RTTM file is ill-formed: it says # SPKR-INFO real_dialogue_stereo 1 <NA> <NA> <NA> unknown S",
            ),
            (
                "SPEAKER_MAIN <NA> <NA>\nSPEAKER",
                "SPEAKER_MAIN\nSPEAKER",
                "line 3: RTTM file is ill-formed: it says SPEAKER real_dialogue_stereo 1 0.210 2.530 <NA> <NA> SPEAKE",
            ),
            (
                "0.210 2.530",
                "0.210 2.530 1 2 3",
                "line 3: RTTM file is ill-formed: it says SPEAKER real_dialogue_stereo 1 0.210 2.530 1 2 3 <NA> <NA> ",
            ),
            (
                "SPEAKER real_dialogue_stereo 1 0.210",
                "SPEAKER other 1 0.210",
                "RTTM file is ill-formed: it tells of 2 recordings (other, real_dialogue_stereo), expected one, or th",
            ),
        ],
        |text| parse_segments(text, None).map(drop),
    );
}
