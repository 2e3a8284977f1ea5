//! `stats` as a process: figures that can be counted by hand, as a table and as JSON.
#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::fixture;
use common::program::{fails, path, succeeds};
use roundelay::io::Dataset;
use serde_json::{Value, json};

/// The dataset of the shipped recordings, one of them held out.
struct Prepared {
    _folder: tempfile::TempDir,
    dataset: PathBuf,
}

const HELD_OUT: &str = "wav/mary_bobby_stereo.wav";

impl Prepared {
    fn new(more: &[&str]) -> Self {
        let lines = fs::read_to_string(fixture("recordings/data.jsonl")).unwrap();
        let lines = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let split = if line["path"] == HELD_OUT { "valid" } else { "train" };
            line["path"] = json!(fixture("recordings").join(line["path"].as_str().unwrap()));
            line["split"] = json!(split);
            line.to_string() + "\n"
        });
        Self::of(tempfile::tempdir().unwrap(), &lines.collect::<String>(), more)
    }

    fn of(folder: tempfile::TempDir, lines: &str, more: &[&str]) -> Self {
        let (manifest, dataset) = (folder.path().join("data.jsonl"), folder.path().join("dataset"));
        fs::write(&manifest, lines).unwrap();
        let tokenizer = fixture("tokenizers/mistral_v1_32k_bpe.model");
        let arguments = ["prep", path(&manifest), "-o", path(&dataset), "--tokenizer", path(&tokenizer)];
        succeeds(&[&arguments[..], more].concat());
        Prepared { _folder: folder, dataset }
    }

    fn json(&self, more: &[&str]) -> Value {
        json_of(&self.dataset, more)
    }

    /// The amounts of one kind of event in the ledger, smallest first, with their words.
    fn ledger(&self, kind: &str) -> Vec<(u64, String)> {
        let ledger = fs::read_to_string(self.dataset.join("events.jsonl")).unwrap();
        let events = ledger.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let event = |e: Value| (e["amount"].as_u64().unwrap(), e["word"].as_str().unwrap().to_owned());
        let mut events: Vec<_> = events.filter(|e| e["event"] == kind).map(event).collect();
        events.sort();
        events
    }
}

fn json_of(dataset: &Path, more: &[&str]) -> Value {
    serde_json::from_str(&succeeds(&[&["stats", path(dataset), "--json"], more].concat())).unwrap()
}

/// Number, sum, least, median, most.
fn lengths(of: &Value) -> [Value; 5] {
    ["count", "seconds", "least", "median", "most"].map(|field| of[field].clone())
}

#[test]
fn figures_of_the_shipped_recordings() {
    let prepared = Prepared::new(&[]);
    let found = prepared.json(&[]);
    assert_eq!((&found["frames"], &found["unit_silence"]), (&json!(675), &json!(0.2)));
    assert_eq!(lengths(&found["segments"]), [json!(5), json!(54.0), json!(2.8), json!(12.64), json!(16.88)]);
    assert_eq!(found["segments"]["histogram"], json!([[2.0, 1], [4.0, 1], [8.0, 2], [16.0, 1]]));

    // Counted in the words files, on a raster of one millisecond.
    let (all, main, other) = (&found["all"], &found["speakers"]["SPEAKER_MAIN"], &found["speakers"]["SPEAKER_OTHER"]);
    assert_eq!(found["speakers"].as_object().unwrap().len(), 2);
    assert_eq!([all, main, other].map(|s| s["words"].as_u64()), [Some(147), Some(111), Some(36)]);
    assert_eq!([all, main, other].map(|s| s["speech_seconds"].as_f64()), [Some(46.865), Some(38.103), Some(11.843)]);
    assert_eq!(main["speech_share"], json!(38.103 / 54.0));
    assert_eq!(main["words_per_second_of_speech"], json!(111.0 / 38.103));
    assert_eq!(lengths(&all["turns"]), [json!(16), json!(53.019), json!(0.477), json!(2.53), json!(12.11)]);
    assert_eq!(lengths(&all["units"]), [json!(19), json!(50.895), json!(0.396), json!(1.69), json!(6.59)]);
    assert_eq!(lengths(&all["pauses"]), [json!(3), json!(2.124), json!(0.315), json!(0.339), json!(1.47)]);
    assert_eq!(lengths(&all["gaps"]), [json!(5), json!(1.939), json!(0.112), json!(0.24), json!(0.95)]);
    assert_eq!(lengths(&all["overlaps"]), [json!(6), json!(3.081), json!(0.141), json!(0.343), json!(1.39)]);
    assert_eq!([main, other].map(|s| s["turns"]["count"].as_u64()), [Some(10), Some(6)]);
    assert_eq!([main, other].map(|s| s["gaps"]["count"].as_u64()), [Some(2), Some(3)]);
    assert_eq!([main, other].map(|s| s["pauses"]["count"].as_u64()), [Some(3), Some(0)]);
}

#[test]
fn figures_of_the_text_row_are_those_of_summary_and_ledger() {
    let prepared = Prepared::new(&[]);
    let found = prepared.json(&[]);
    let late: Vec<u64> = prepared.ledger("late").into_iter().map(|(frames, _)| frames).collect();
    let row = &found["all"]["in_row"];
    assert_eq!((&row["words"], &found["speakers"]["SPEAKER_OTHER"]["in_row"]["words"]), (&json!(111), &json!(0)));
    assert_eq!(late, [1, 1, 1]);
    assert_eq!([&row["late_median_frames"], &row["late_most_frames"]], [1, 1]);
    assert_eq!(found["events"]["late"], json!({"events": 3, "amount": 3}));
    assert_eq!((&found["events"]["cut"], &found["events"]["collision"]), (&Value::Null, &Value::Null));

    let info: Value = serde_json::from_str(&succeeds(&["inspect", path(&prepared.dataset), "--json"])).unwrap();
    assert_eq!(found["events"], info["events"]);
    let text = &found["text"][0];
    assert_eq!(
        (&text["stream"], &text["frames"], &text["pads"]),
        (&json!("text"), &json!(675), &info["counts"]["text_pads"])
    );
    assert_eq!(text["pad_share"], json!(text["pads"].as_f64().unwrap() / 675.0));
    assert_eq!(text["tokens"], found["speakers"]["SPEAKER_MAIN"]["tokens"], "no token is cut");
}

#[test]
fn crowded_words_are_late_and_cut_as_the_ledger_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("recordings").join(HELD_OUT), folder.path().join("a.wav")).unwrap();
    // Twenty words in 2 s, of more tokens than the 35 frames hold.
    let words: Vec<Value> = (0..20)
        .map(|n| json!([format!("unforeseeable{n}"), [n as f64 / 10.0, n as f64 / 10.0 + 0.1], "SPEAKER_MAIN"]))
        .collect();
    fs::write(folder.path().join("a.json"), json!({ "alignments": words }).to_string()).unwrap();
    let prepared = Prepared::of(folder, &json!({"path": "a.wav", "duration": 2.8}).to_string(), &[]);

    let segment = Dataset::open(&prepared.dataset).unwrap().segment("a.wav").unwrap();
    let in_row: Vec<String> =
        segment.words.into_iter().filter(|word| word.frame.is_some()).map(|word| word.word.text).collect();
    assert!(in_row.len() < 20, "some words find no room");
    let [late, cut] = ["late", "cut"].map(|kind| {
        let mut events = prepared.ledger(kind);
        events.retain(|(_, word)| in_row.contains(word));
        events.into_iter().map(|(amount, _)| amount).collect::<Vec<_>>()
    });
    let found = prepared.json(&[]);
    let (row, events) = (&found["all"]["in_row"], &found["events"]);
    assert!(late.len() > 3 && late[0] < late[late.len() - 1] && !cut.is_empty(), "{late:?} {cut:?}");
    assert_eq!(row["words"], in_row.len());
    let [median, most] = [late[(late.len() - 1) / 2], late[late.len() - 1]];
    assert_eq!([&row["late_median_frames"], &row["late_most_frames"]], [median, most]);
    for kind in ["late", "cut"] {
        let all: Vec<u64> = prepared.ledger(kind).into_iter().map(|(amount, _)| amount).collect();
        assert_eq!(events[kind], json!({"events": all.len(), "amount": all.iter().sum::<u64>()}), "{kind}");
    }
}

#[test]
fn words_that_another_rule_moves_are_not_late_and_those_that_go_on_are_not_cut() {
    let moved = Prepared::new(&["--rule", "kyutai", "--audio-delay", "0.5"]);
    let spread = Prepared::new(&["--rule", "jmoshi", "--window", "2"]);
    let split = Prepared::new(&["--window", "2", "--border", "split"]);
    for (prepared, is_moshi) in [(&moved, false), (&spread, false), (&split, true)] {
        let (found, table) = (prepared.json(&[]), succeeds(&["stats", path(&prepared.dataset)]));
        let row = &found["all"]["in_row"];
        assert!(row["words"].as_u64() > Some(100), "{row}");
        assert_eq!(["late_median_frames", "late_most_frames"].map(|field| row[field].is_u64()), [is_moshi; 2]);
        assert_eq!(table.contains("late, median"), is_moshi, "{table}");
        for kind in ["late", "cut", "split"] {
            assert_eq!(found["events"][kind]["events"].as_u64().unwrap_or(0), prepared.ledger(kind).len() as u64);
        }
    }
    let found = split.json(&["--split", "valid"]);
    assert!(found["events"]["split"]["events"].as_u64() > Some(0) && found["events"]["cut"].is_null(), "{found}");
    assert_eq!(found["events"], split.json(&[])["events"], "of the whole dataset");
}

#[test]
fn the_table_holds_the_same_figures_with_their_units() {
    let prepared = Prepared::new(&[]);
    let table = succeeds(&["stats", path(&prepared.dataset)]);
    let lines: Vec<String> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "segments 5, 54.00 s together, 675 frames",
        "lengths 2.80 s to 16.88 s, median 12.64 s",
        "all SPEAKER_MAIN SPEAKER_OTHER",
        "words 147 111 36",
        "a second of speech 3.14 2.91 3.04",
        "speech 46.87 s 38.10 s 11.84 s",
        "of all time 86.8 % 70.6 % 21.9 %",
        "turns 16 10 6",
        "gaps 5 2 3",
        "overlaps 6 6 6",
        "together 3.08 s 3.08 s 3.08 s",
        "words in a text row 111 111 0",
        "late, most 1 frame 1 frame -",
        "events of the whole dataset number together",
        "late 3 3 frames",
        "cut 0 0 tokens",
    ];
    for line in expected {
        assert!(lines.contains(&line.to_owned()), "{line}: {table}");
    }
    let inspected = succeeds(&["inspect", path(&prepared.dataset)]);
    let share = inspected.lines().find_map(|line| line.strip_prefix("pad share   ")).unwrap();
    let pads = lines.iter().find(|line| line.starts_with("text 675 ")).unwrap().split(' ').nth(4).unwrap();
    assert_eq!(share, format!("{pads} % of text frames"), "{table}");
    assert!(!table.contains('\u{1b}'), "colours in a pipe");
}

#[test]
fn windows_count_each_word_once_and_sides_of_the_split_make_the_whole() {
    let prepared = Prepared::new(&["--window", "4"]);
    let [all, train, valid] = [&[][..], &["--split", "train"], &["--split", "valid"]].map(|more| prepared.json(more));
    // 7.12, 12.64, 2.8, 14.56 and 16.88 s are 2, 4, 1, 4 and 5 windows of 4 s.
    assert_eq!(
        (&all["segments"]["count"], &all["frames"], &all["all"]["words"]),
        (&json!(16), &json!(675), &json!(147))
    );
    assert_eq!(
        (&valid["segments"]["count"], &valid["frames"], &valid["all"]["words"]),
        (&json!(1), &json!(35), &json!(8))
    );
    for field in ["/segments/count", "/frames", "/all/words", "/all/turns/count", "/text/0/pads"] {
        let count = |found: &Value| found.pointer(field).and_then(Value::as_u64).unwrap();
        assert_eq!(count(&all), count(&train) + count(&valid), "{field}");
    }
    let units = |silence: &str| prepared.json(&["--unit-silence", silence])["all"]["units"]["count"].as_u64().unwrap();
    assert!(units("0") > units("0.2") && units("0.2") > units("3"));
}

#[test]
fn figures_of_the_codes_are_those_of_the_segments() {
    let prepared = Prepared::new(&[]);
    let found = prepared.json(&[]);
    let dataset = Dataset::open(&prepared.dataset).unwrap();
    let segments: Vec<_> = dataset.segments().map(Result::unwrap).collect();
    let streams = found["streams"].as_array().unwrap();
    assert_eq!(streams.len(), dataset.layout().streams().len());
    for (k, stream) in streams.iter().enumerate() {
        let rows: Vec<Vec<i32>> = segments.iter().map(|segment| segment.codes.0.row(k).to_vec()).collect();
        let count = |pairs: &mut dyn Iterator<Item = (i32, i32)>| {
            let mut counts = BTreeMap::new();
            pairs.filter(|(a, b)| *a >= 0 && *b >= 0).for_each(|pair| *counts.entry(pair).or_insert(0.0) += 1.0);
            counts
        };
        let bits = |counts: &BTreeMap<(i32, i32), f64>| {
            let all: f64 = counts.values().sum();
            let of = |a: i32| counts.range((a, 0)..(a + 1, 0)).map(|(_, n)| n).sum::<f64>();
            counts.iter().map(|((a, _), n)| -n / all * (n / of(*a)).log2()).sum::<f64>()
        };
        let codes = count(&mut rows.iter().flatten().map(|&code| (0, code)));
        let pairs = count(&mut rows.iter().flat_map(|row| row.windows(2).map(|pair| (pair[0], pair[1]))));
        let near = |field: &str, expected: f64| {
            let value = stream[field].as_f64().unwrap_or(0.0);
            assert!((value - expected).abs() < 1e-9 * expected.max(1.0), "{field} of stream {k}: {value}, {expected}");
        };
        near("used", codes.len() as f64);
        near("tokens", codes.values().sum());
        near("entropy_bits", bits(&codes));
        near("pair_entropy_bits", bits(&pairs));
        near("pairs", pairs.values().sum());
        near("repeats", pairs.iter().filter(|((a, b), _)| a == b).map(|(_, n)| n).sum());
        near("pairs_sample", 1.0);
    }
    assert_eq!(streams[0]["pad_share"], found["text"][0]["pad_share"]);
    let (train, valid) = (&found["splits"]["train"], &found["splits"]["valid"]);
    assert_eq!([train, valid].map(|side| side["segments"]["count"].as_u64()), [Some(4), Some(1)]);
    assert_eq!([train, valid].map(|side| side["hours"].as_f64()), [Some(51.2 / 3600.0), Some(2.8 / 3600.0)]);
    assert_eq!((&train["frames"]["sum"], &valid["frames"]["histogram"]), (&json!(640), &json!([[32, 1]])));
}

#[test]
fn stuck_and_dead_codes_are_told_by_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let silence = (0..3 * 24_000).map(|_| 0.0).collect();
    roundelay::io::write_wav(&folder.path().join("a.wav"), 24_000, &[silence]).unwrap();
    fs::write(folder.path().join("a.json"), r#"{"alignments": []}"#).unwrap();
    let prepared = Prepared::of(folder, &json!({"path": "a.wav"}).to_string(), &[]);
    let stream = |more: &[&str]| prepared.json(more)["streams"][1].clone();
    let found = stream(&[]);
    assert_eq!((&found["stuck"], &found["used"], &found["entropy_bits"]), (&json!(1), &json!(1), &json!(0.0)));
    let cardinality = found["cardinality"].as_u64().unwrap();
    assert_eq!(found["dead"], json!(cardinality - 1));
    assert_eq!((&found["longest_run"]["segment"], &found["longest_run"]["frames"]), (&json!("a.wav"), &json!(38)));
    assert_eq!(stream(&["--stuck", "3.1"])["stuck"], 0);
    let table = succeeds(&["stats", path(&prepared.dataset)]);
    assert!(table.contains("for 3.04 s in \"a.wav\" from frame 0 on"), "{table}");
    assert!(
        table.lines().any(|line| line
            .split_whitespace()
            .eq(["train", "1", "0.00", "38", "3.00", "s", "3.00", "s", "3.00", "s"])),
        "{table}"
    );
    let wrong = fails(1, &["stats", path(&prepared.dataset), "--stuck", "0"]);
    assert!(wrong.contains("length of a run that is stuck is 0, expected more than 0 s"), "{wrong}");
    let wrong = fails(1, &["stats", path(&prepared.dataset), "--dead-share", "2"]);
    assert!(wrong.contains("share below which a code is dead is 2, expected a number from 0 to 1"), "{wrong}");
}

#[test]
fn what_is_no_dataset_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(fails(1, &["stats", "/nowhere"]).contains("/nowhere: cannot open the dataset's folder"));
    assert!(fails(1, &["stats", path(folder.path())]).contains("dataset is no dataset, expected a folder"));
    assert!(fails(2, &["stats"]).contains("<DIR>"));
    assert!(fails(2, &["stats", "x", "--split", "test"]).contains("train, valid"));

    let prepared = Prepared::new(&["--window", "8"]);
    let wrong = fails(1, &["stats", path(&prepared.dataset), "--unit-silence=-1"]);
    assert!(wrong.contains("silence inside a unit is -1, expected 0 s or more"), "{wrong}");
    assert!(fails(2, &["stats", "x", "--unit-silence", "long"]).contains("decimal number of seconds"));
    fs::write(prepared.dataset.join("part-00000.parquet"), "no part").unwrap();
    let damaged = fails(1, &["stats", path(&prepared.dataset), "--json"]);
    assert!(damaged.contains("part-00000.parquet") && damaged.contains("ill-formed"), "{damaged}");
}
