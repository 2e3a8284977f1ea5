//! The command line, run as a process on real recordings and on broken ones.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::fixture;
use common::program::{fails, path, roundelay, succeeds, text};
use ndarray::{Array2, Array3, ArrayD};
use roundelay::io::{Dataset, tensors};
use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start};
use serde_json::{Value, json};

fn tokenizer() -> String {
    path(&fixture("tokenizers/mistral_v1_32k_bpe.model")).to_owned()
}

/// A folder with recordings of its own, and where its dataset goes.
struct Corpus {
    folder: tempfile::TempDir,
    lines: Vec<String>,
}

impl Corpus {
    fn new() -> Self {
        Corpus { folder: tempfile::tempdir().unwrap(), lines: Vec::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a manifest line.
    fn line(&mut self, line: impl ToString) -> &mut Self {
        self.lines.push(line.to_string());
        self
    }

    /// Adds a second of sound, as WAV.
    fn wav(&mut self, name: &str) -> &mut Self {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 24_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(self.at(name), spec).unwrap();
        (0..24_000).for_each(|n| writer.write_sample((n % 200) as i16 * 50).unwrap());
        writer.finalize().unwrap();
        self.line(json!({"path": name, "duration": 1.0}))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.at(name), content).unwrap();
        self
    }

    fn words(&self, name: &str, alignments: Value) -> &Self {
        self.file(name, json!({ "alignments": alignments }).to_string())
    }

    fn prep(&self, more: &[&str]) -> Output {
        fs::write(self.at("data.jsonl"), self.lines.join("\n")).unwrap();
        let (manifest, out, tokenizer) = (self.at("data.jsonl"), self.at("out"), tokenizer());
        let mut arguments = vec!["prep", path(&manifest), "-o", path(&out), "--tokenizer", &tokenizer];
        arguments.extend(more);
        roundelay(&arguments)
    }

    fn dataset(&self) -> Dataset {
        Dataset::open(&self.at("out")).unwrap()
    }

    fn jsonl(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.at("out").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The reason why the only recording was rejected, after a good one went through.
fn reject_reason(spoil: impl Fn(&mut Corpus), more: &[&str]) -> String {
    let mut corpus = Corpus::new();
    corpus.wav("good.wav").words("good.json", json!([["good", [0.2, 0.5], "SPEAKER_MAIN"]]));
    good_codes(&corpus);
    spoil(&mut corpus);
    let output = corpus.prep(more);
    assert_eq!(output.status.code(), Some(0), "the run goes on: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("1 recordings could not be used"));
    let rejects = corpus.jsonl("rejects.jsonl");
    assert_eq!((rejects.len(), corpus.dataset().segments().count()), (1, 1));

    fs::remove_dir_all(corpus.at("out")).unwrap();
    let strict = corpus.prep(&[more, &["--strict"]].concat());
    assert_eq!(strict.status.code(), Some(1), "strict: {}", text(&strict.stderr));
    rejects[0]["reason"].as_str().unwrap().to_owned()
}

fn good_codes(corpus: &Corpus) {
    write_codes(corpus, "good.safetensors", &[("audio_codes", Array3::zeros((1, 8, 13)).into_dyn())]);
}

fn write_codes(corpus: &Corpus, name: &str, codes: &[(&str, ArrayD<i64>)]) {
    let tensors: Vec<_> = codes.iter().map(|(name, codes)| (*name, codes.clone().into())).collect();
    tensors::write(&corpus.at(name), &tensors).unwrap();
}

#[test]
fn the_shipped_recordings_become_a_dataset_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, out) = (fixture("recordings/data.jsonl"), folder.path().join("dataset"));
    succeeds(&["prep", path(&manifest), "-o", path(&out), "--tokenizer", &tokenizer(), "--strict"]);
    let inspected = succeeds(&["inspect", path(&out)]);
    for part in ["recordings  5 in 5 segments", "hours       0.0150", "frames      675", "pad share", "other_speaker"] {
        assert!(inspected.contains(part), "{part}: {inspected}");
    }

    let dataset = Dataset::open(&out).unwrap();
    for segment in dataset.segments().map(Result::unwrap) {
        let recording = fixture("recordings").join(&segment.path);
        let words: Value = serde_json::from_slice(&fs::read(recording.with_extension("json")).unwrap()).unwrap();
        let back = succeeds(&["words", path(&out), "--segment", &segment.id]);
        assert_eq!(serde_json::from_str::<Value>(&back).unwrap()["alignments"], words["alignments"], "{}", segment.id);

        let wav = folder.path().join("back.wav");
        succeeds(&["decode", path(&out), "--segment", &segment.id, "-o", path(&wav)]);
        let back = hound::WavReader::open(&wav).unwrap();
        assert_eq!((back.spec().channels, back.duration() as usize), (2, 1920 * segment.codes.0.ncols()));
    }
}

/// Six hundred recordings with codes and words: three parts. Lengths are no multiples of a frame, nor of any decimal.
fn large_corpus() -> Corpus {
    let mut corpus = Corpus::new();
    for n in 0..600 {
        let (name, frames) = (format!("r{n:03}"), 12 + n % 5);
        let codes = Array3::from_shape_fn((1, 8, frames), |(_, q, t)| ((n * 31 + q * 7 + t) % 2048) as i64);
        write_codes(&corpus, &format!("{name}.safetensors"), &[("audio_codes", codes.into_dyn())]);
        corpus.words(&format!("{name}.json"), json!([["word", [0.0, 0.5], "SPEAKER_MAIN"], ["", [0.1, 0.2], "x"]]));
        corpus.line(json!({"path": format!("{name}.wav"), "duration": frames as f64 * 0.08 - 1.0 / 44_100.0}));
    }
    corpus.line("not JSON");
    corpus
}

impl Corpus {
    /// The dataset of the large corpus, which is then removed.
    fn whole(&self, more: &[&str]) -> Vec<(String, Vec<u8>)> {
        let output = self.prep(&[&["--codec", "codes"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let files = folder_bytes(&self.at("out"));
        fs::remove_dir_all(self.at("out")).unwrap();
        files
    }

    /// Starts a run and kills it as soon as `.prep/part-00000.json` says that the first part is done.
    fn killed(&self) {
        for _ in 0..50 {
            let (manifest, out, tokenizer) = (self.at("data.jsonl"), self.at("out"), tokenizer());
            let arguments = ["prep", path(&manifest), "-o", path(&out), "--tokenizer", &tokenizer, "--codec", "codes"];
            let mut run = Command::new(env!("CARGO_BIN_EXE_roundelay")).args(arguments).spawn().unwrap();
            while !out.join(".prep/part-00000.json").exists() && run.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            run.kill().unwrap();
            run.wait().unwrap();
            if !out.join("dataset.json").exists() {
                return;
            }
            fs::remove_dir_all(out).unwrap();
        }
        panic!("every run was finished before it could be killed");
    }
}

#[test]
fn jobs_and_interruptions_do_not_change_a_byte() {
    let corpus = large_corpus();
    let (one, two) = (corpus.whole(&["--jobs", "1"]), corpus.whole(&["--jobs", "2"]));
    assert_eq!(
        one.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        [
            "README.md",
            "dataset.json",
            "events.jsonl",
            "layout.json",
            "part-00000.parquet",
            "part-00001.parquet",
            "part-00002.parquet",
            "rejects.jsonl"
        ]
    );
    assert!(one == two, "the output depends on --jobs");

    corpus.killed();
    assert!(fails(1, &["inspect", path(&corpus.at("out"))]).contains("unfinished"));
    assert!(corpus.whole(&[]) == one, "the resumed run differs");

    corpus.killed();
    fs::remove_file(corpus.at("out/part-00000.parquet")).unwrap();
    assert!(corpus.whole(&[]) == one, "a part that was lost is not made again");
}

#[test]
fn an_unfinished_run_is_continued_by_the_same_run_only() {
    let corpus = large_corpus();
    corpus.file("mine.json", Layout::preset("moshi-7b").unwrap().to_json());
    let refused = |more: &[&str], expected: &str| {
        let output = corpus.prep(&[&["--codec", "codes"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{more:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    };
    corpus.whole(&[]);
    corpus.killed();
    refused(&["--window", "0.4"], "unfinished run");
    // Another layout of the same name.
    let other = Layout::preset("moshi-7b").unwrap().to_json().replacen("\"delay\":1", "\"delay\":2", 1);
    corpus.file("moshi-7b.json", other);
    refused(&["--layout", path(&corpus.at("moshi-7b.json"))], "unfinished run");
    let lock = fs::File::open(corpus.at("out/.prep/lock")).unwrap();
    lock.try_lock().unwrap();
    refused(&[], "in use by another run");
    drop(lock);

    fs::remove_file(corpus.at("out/.prep/plan.json")).unwrap();
    refused(&[], "a folder with other files");
    fs::remove_dir_all(corpus.at("out")).unwrap();
    fs::create_dir_all(corpus.at("out/.prep")).unwrap();
    assert_eq!(corpus.prep(&["--codec", "codes"]).status.code(), Some(0), "killed before its plan was written");
    fs::create_dir(corpus.at("out/.prep")).unwrap();
    refused(&[], "finished dataset");
}

#[test]
fn the_codec_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let run = |jobs: &str| {
        let (manifest, out) = (fixture("recordings/data.jsonl"), folder.path().join(jobs));
        let window = ["--window", "5", "--jobs", jobs];
        let arguments = ["prep", path(&manifest), "-o", path(&out), "--tokenizer", &tokenizer()];
        succeeds(&[&arguments[..], &window].concat());
        folder_bytes(&out)
    };
    assert!(run("1") == run("2"));
}

fn folder_bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&p).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn recordings_that_cannot_be_used_are_rejected_with_the_reason() {
    let words = || json!([["hi", [0.2, 0.5], "SPEAKER_MAIN"]]);
    let with_words = |corpus: &mut Corpus, bytes: Option<Vec<u8>>| {
        corpus.line(json!({"path": "bad.wav"})).words("bad.json", words());
        if let Some(bytes) = bytes {
            corpus.file("bad.wav", bytes);
        }
    };
    let good_wav = |corpus: &Corpus| fs::read(corpus.at("good.wav")).unwrap();
    type Spoil<'a> = Box<dyn Fn(&mut Corpus) + 'a>;
    let cases: Vec<(Spoil, &str)> = vec![
        (Box::new(|c| with_words(c, None)), "cannot open"),
        (Box::new(|c| with_words(c, Some(b"no sound".to_vec()))), "ill-formed"),
        (Box::new(|c| with_words(c, Some(good_wav(c)[..20_000].to_vec()))), "24000"),
        (
            Box::new(|c| {
                let mut wav = good_wav(c);
                wav[24..28].fill(0);
                with_words(c, Some(wav));
            }),
            "sample rate is 0",
        ),
        (
            Box::new(|c| {
                c.wav("bad.wav");
            }),
            "bad.json",
        ),
        (
            Box::new(|c| {
                c.wav("bad.wav").file("bad.json", "{\"alignments\": [[\"a\", [0.1,\nNaN], \"SPEAKER_MAIN\"]]}");
            }),
            "bad.json:2",
        ),
        (
            Box::new(|c| {
                c.line("{\"path\": ");
            }),
            "data.jsonl:2",
        ),
        (
            Box::new(|c| {
                c.line("{\"path\": \"good.wav\"}");
            }),
            "good.wav",
        ),
        (
            Box::new(|c| {
                c.wav("bad.wav").words("bad.json", json!([["a", [0.1], "x"]]));
            }),
            "bad.json:1",
        ),
    ];
    for (spoil, expected) in cases {
        let reason = reject_reason(spoil, &[]);
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

#[test]
fn codes_that_do_not_fit_the_layout_are_rejected_with_the_reason() {
    let bad = |codes: Vec<(&'static str, ArrayD<i64>)>| {
        move |corpus: &mut Corpus| {
            corpus.line(json!({"path": "bad.wav", "duration": 1.0})).words("bad.json", json!([]));
            write_codes(corpus, "bad.safetensors", &codes);
        }
    };
    let zeros = |c, q, t| Array3::<i64>::zeros((c, q, t)).into_dyn();
    let mut high = zeros(1, 8, 13);
    high[[0, 3, 7]] = 2048;
    let cases = [
        (bad(vec![("audio_codes", high)]), "stream main.3, frame 7: code is 2048, expected 0..2048"),
        (bad(vec![("audio_codes", zeros(1, 4, 13))]), "number of codebooks is 4, expected at least 8"),
        (bad(vec![("codes", Array2::zeros((12, 13)).into_dyn())]), "number of codebooks is 12, expected 8"),
        (bad(vec![("audio_codes", zeros(1, 8, 25))]), "number of frames is 25, expected 13 for 1 s"),
        (bad(vec![("codes", Array2::zeros((24, 13)).into_dyn())]), "number of codebooks is 24, expected 8 for one"),
        (bad(vec![("audio_codes", zeros(0, 8, 13))]), "number of channels is 0"),
        (bad(vec![("audio_codes", zeros(1, 8, 13) - 2)]), "code is -2, expected a code"),
        (bad(vec![("other", zeros(1, 8, 13))]), "other"),
        (
            bad(vec![("A", Array2::zeros((8, 13)).into_dyn()), ("B", Array2::zeros((8, 12)).into_dyn())]),
            "shape of B is [8, 12], expected [8, 13], as A has",
        ),
    ];
    for (spoil, expected) in cases {
        let reason = reject_reason(spoil, &["--codec", "codes"]);
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

#[test]
fn frames_without_codes_are_counted() {
    let mut corpus = Corpus::new();
    let mut codes = Array3::<i64>::zeros((1, 8, 13)).into_dyn();
    codes.slice_mut(ndarray::s![.., .., 11..]).fill(-1);
    write_codes(&corpus, "a.safetensors", &[("audio_codes", codes)]);
    corpus.line(json!({"path": "a.wav"})).words("a.json", json!([["hi", [0.2, 0.5], "SPEAKER_MAIN"]]));
    assert_eq!(corpus.prep(&["--codec", "codes"]).status.code(), Some(0));
    assert_eq!(corpus.jsonl("events.jsonl"), [json!({"event": "absent", "recording": "a.wav", "amount": 2})]);

    let error = fails(1, &["decode", path(&corpus.at("out")), "--segment", "a.wav", "-o", path(&corpus.at("a.wav"))]);
    assert!(error.contains("codec of the dataset is codes, expected builtin-1-"), "{error}");
}

#[test]
fn words_that_do_not_fit_are_events() {
    let mut corpus = Corpus::new();
    corpus.wav("a.wav").words(
        "a.json",
        json!([
            ["backwards", [0.4, 0.3], "SPEAKER_MAIN"],
            ["overlapping", [0.41, 0.8], "SPEAKER_MAIN"],
            [" ", [0.5, 0.6], "SPEAKER_MAIN"],
            ["yes", [0.5, 0.6], "SPEAKER_OTHER"],
            ["late", [7.5, 8.0], "SPEAKER_MAIN"]
        ]),
    );
    let output = corpus.prep(&["--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let events = corpus.jsonl("events.jsonl");
    let told: Vec<_> = events.iter().map(|e| (e["event"].as_str().unwrap(), e["word"].as_str().unwrap())).collect();
    let expected = [
        ("no_duration", "backwards"),
        ("late", "overlapping"),
        ("empty", " "),
        ("other_speaker", "yes"),
        ("cut", "late"),
    ];
    assert_eq!(told, expected);
    assert!(events.iter().all(|event| event["recording"] == "a.wav"));
}

#[test]
fn codes_are_found_in_every_form() {
    let mut corpus = Corpus::new();
    let all = Array2::from_shape_fn((16, 13), |(k, t)| (100 * k + t) as i64);
    let (a, b) = all.view().split_at(ndarray::Axis(0), 8);
    let forms = [
        ("x", vec![("audio_codes", all.clone().into_shape_with_order((2, 8, 13)).unwrap().into_dyn())]),
        ("y", vec![("codes", all.clone().into_dyn())]),
        ("z", vec![("A", a.to_owned().into_dyn()), ("B", b.to_owned().into_dyn())]),
    ];
    for (name, codes) in forms {
        write_codes(&corpus, &format!("{name}.safetensors"), &codes);
        corpus.line(json!({ "path": format!("{name}.wav") })).words(&format!("{name}.json"), json!([]));
    }
    let output = corpus.prep(&["--codec", "codes", "--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for segment in corpus.dataset().segments().map(Result::unwrap) {
        assert_eq!(segment.codes.0.slice(ndarray::s![1.., ..]).mapv(i64::from), all, "{}", segment.id);
    }

    let (manifest, out) = (fixture("recordings/data.jsonl"), corpus.at("mimi"));
    let arguments = ["prep", path(&manifest), "-o", path(&out), "--tokenizer", &tokenizer(), "--strict"];
    let codec = ["--codec", "codes", "--codes-suffix", ".mimi_synthetic.npy"];
    assert!(succeeds(&[&arguments[..], &codec].concat()).contains("frames      675"));
}

#[test]
fn codes_at_several_rates_come_in_as_phases_and_go_out_as_one_row() {
    let prepare = |levels: &[(&str, ArrayD<i64>)]| {
        let mut corpus = Corpus::new();
        write_codes(&corpus, "x.safetensors", levels);
        corpus.line(json!({ "path": "x.wav" })).words("x.json", json!([]));
        let output = corpus.prep(&["--codec", "codes", "--layout", "orpheus"]);
        (corpus, output)
    };
    // A batch of one, as SNAC's encoder gives it: 1 : 2 : 4 codes a frame.
    let level = |l: usize, length: usize| {
        let codes = Array2::from_shape_fn((1, length), |(_, n)| (1000 * l + n) as i64);
        (["codes_0", "codes_1", "codes_2"][l], codes.into_dyn())
    };
    let (corpus, output) = prepare(&[level(0, 5), level(1, 10), level(2, 20)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let segment = corpus.dataset().segments().next().unwrap().unwrap();
    let expected = Array2::from_shape_fn((7, 5), |(k, t)| {
        let (l, phase, rate) = [(0, 0, 1), (1, 0, 2), (1, 1, 2), (2, 0, 4), (2, 1, 4), (2, 2, 4), (2, 3, 4)][k];
        1000 * l + rate * t as i32 + phase
    });
    assert_eq!(segment.codes.0, expected);
    let (out, row) = (corpus.at("out"), corpus.at("row.safetensors"));
    succeeds(&["verify", path(&out)]);
    succeeds(&["build", path(&out), "--segment", "x.wav", "-o", path(&row), "--pattern", "multi-rate"]);
    assert_eq!(tensors::read(&row, "tokens").unwrap().shape(), [7, 35]);
    let audio = roundelay::pipeline::audio_codes(corpus.dataset().layout(), &Frames(segment.codes.0.view())).unwrap();
    assert_eq!(audio.0.index_axis(ndarray::Axis(0), 0), expected);

    for (levels, reason) in [
        (vec![level(0, 5), level(1, 10)], "number of levels is 2, expected 3, as layout orpheus reads"),
        (
            vec![level(0, 5), level(1, 10), level(2, 19)],
            "shape of codes_2 is [1, 19], expected [1, 20], 4 codes a frame",
        ),
        (
            vec![level(0, 5), level(1, 11), level(2, 20)],
            "shape of codes_1 is [1, 11], expected [1, 10], 2 codes a frame",
        ),
    ] {
        let rejects = prepare(&levels).0.jsonl("rejects.jsonl");
        let found = rejects[0]["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{found}");
    }

    let mut corpus = Corpus::new();
    corpus.wav("x.wav").words("x.json", json!([]));
    let refused = text(&corpus.prep(&["--layout", "orpheus"]).stderr).to_owned();
    assert!(refused.contains("stream main.1.0: a stream with a phase is not supported"), "{refused}");
}

#[test]
fn build_undo_and_weights_go_through_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let layout = Layout::preset("moshi-7b").unwrap();
    let codes = Array2::from_shape_fn((17, 9), |(k, t)| (k * 10 + t) as i64);
    tensors::write(&at("codes.safetensors"), &[("codes", codes.clone().into())]).unwrap();
    for (extent, start, delay) in [
        ("extend", "none", Delay::new(&layout, Extent::Extend, Start::None)),
        ("truncate", "initial", Delay::new(&layout, Extent::Truncate, Start::Initial)),
    ] {
        let shift = ["--layout", "moshi-7b", "--extent", extent, "--start", start];
        let call = |verb: &str, input: &str, output: &str| {
            succeeds(&[&[verb, path(&at(input)), "-o", path(&at(output))], &shift[..]].concat())
        };
        call("build", "codes.safetensors", "tokens.safetensors");
        let built = delay.build(&Frames(codes.view())).unwrap();
        let file = at("tokens.safetensors");
        assert_eq!(tensors::read(&file, "tokens").unwrap(), built.tokens.0.into_dyn());
        assert_eq!(tensors::read(&file, "mask").unwrap(), built.mask.0.mapv(i64::from).into_dyn());
        call("undo", "tokens.safetensors", "back.safetensors");
        let back = tensors::read(&at("back.safetensors"), "codes").unwrap();
        let known = tensors::read(&at("back.safetensors"), "mask").unwrap();
        assert!(back.iter().zip(&known).zip(&codes).all(|((&b, &k), &c)| b == if k == 1 { c } else { -1 }));
        call("weights", "codes.safetensors", "weights.safetensors");
        assert_eq!(
            tensors::names(&at("weights.safetensors")).unwrap(),
            ["reasons", "sequence_reasons", "sequence_weights", "weights"]
        );
    }
    let error =
        fails(1, &["build", path(&at("codes.safetensors")), "-o", path(&at("x.safetensors")), "--layout", "delay-1"]);
    assert!(error.contains("the grid has 17 streams, expected 3") && error.contains("codes.safetensors"), "{error}");
    assert!(!at("x.safetensors").exists());
}

#[test]
fn a_wrong_command_is_told_from_wrong_data() {
    assert!(fails(2, &["prep"]).contains("MANIFEST"));
    assert!(fails(2, &["prep", "m", "-o", "d", "--window", "soon"]).contains("a decimal number of seconds"));
    assert!(
        fails(2, &["weights", "x", "-o", "y", "--layout", "moshi-7b", "--policy", "mosh"]).contains("one of moshi")
    );
    assert!(fails(1, &["layouts", "moshi-8b"]).contains("one of moshi-7b"));
    assert!(fails(1, &["inspect", "/nowhere"]).contains("/nowhere"));
    let full = Command::new(env!("CARGO_BIN_EXE_roundelay")).arg("layouts").stdout(full_disk()).output().unwrap();
    assert_eq!(full.status.code(), Some(1), "{}", text(&full.stderr));
    assert!(succeeds(&["layouts"]).contains("delay-1: 3 streams at 12.5 Hz"));
    let printed = succeeds(&["layouts", "moshi-7b"]);
    assert_eq!(Layout::from_json(&printed).unwrap(), Layout::preset("moshi-7b").unwrap());
}

/// A device that takes nothing.
fn full_disk() -> fs::File {
    fs::File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn prep_refuses_what_can_never_work() {
    let mut corpus = Corpus::new();
    corpus.wav("a.wav").words("a.json", json!([["hi", [0.2, 0.5], "SPEAKER_MAIN"]]));
    let refused = |more: &[&str], expected: &str| {
        let output = corpus.prep(more);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{more:?}: {error}");
        assert!(error.contains(expected), "{expected}: {error}");
    };
    let many = Layout::preset("moshi-7b").unwrap().to_json().replace("\"level\":7", "\"level\":31");
    corpus
        .file("many.json", many)
        .file("fast.json", Layout::preset("moshi-7b").unwrap().to_json().replace("12.5", "25"));
    refused(&["--layout", path(&corpus.at("many.json"))], "number of codebooks is 8, expected at least 32");
    refused(&["--layout", path(&corpus.at("fast.json"))], "frame rate of the layout is 25, expected 12.5");
    refused(&["--window", "0"], "window is 0, expected a positive number of seconds");
    assert!(!corpus.at("out").exists(), "a refused run leaves nothing");

    corpus.file("no.model", b"no tokenizer").file("out", b"");
    let (manifest, out) = (corpus.at("data.jsonl"), corpus.at("d"));
    let model = |model: &str| fails(1, &["prep", path(&manifest), "-o", path(&out), "--tokenizer", model]);
    assert!(model(path(&corpus.at("no.model"))).contains("no.model"));
    assert!(fails(1, &["prep", path(&manifest), "-o", path(&out)]).contains("tokenizer is missing"));
    fs::remove_file(corpus.at("out")).unwrap();

    assert_eq!(corpus.prep(&[]).status.code(), Some(0));
    refused(&[], "expected a new or empty folder");
    let empty = corpus.at("empty.jsonl");
    corpus.file("empty.jsonl", "\n").file("d", b"a file, not a folder");
    let none = fails(1, &["prep", path(&empty), "-o", path(&corpus.at("e")), "--tokenizer", &tokenizer()]);
    assert!(none.contains("number of recordings in the manifest is 0"), "{none}");
    assert!(
        fails(1, &["prep", "/dev/null", "-o", path(&corpus.at("e")), "--tokenizer", &tokenizer()]).contains("pipe")
    );
    assert!(fails(1, &["prep", path(&manifest), "-o", path(&out), "--tokenizer", &tokenizer()]).contains("folder"));
}

#[test]
fn align_prints_tokens_and_events() {
    let words = fixture("recordings/wav/mary_bobby_stereo.json");
    let (words, tokenizer) = (path(&words), tokenizer());
    let printed = succeeds(&["align", words, "--tokenizer", &tokenizer, "--frames", "14"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["tokens"], json!([3, 3, 0, 290, 628, 3, 3, 0, 12183, 3, 3, 0, 272, 18566]));
    assert_eq!(printed["events"].as_array().unwrap().len(), 4);

    let folder = tempfile::tempdir().unwrap();
    let row = folder.path().join("row.safetensors");
    succeeds(&["align", words, "--tokenizer", &tokenizer, "--frames", "35", "-o", path(&row)]);
    let back = succeeds(&["words", path(&row), "--tokenizer", &tokenizer]);
    let back: Value = serde_json::from_str(&back).unwrap();
    let texts: Vec<_> = back["alignments"].as_array().unwrap().iter().map(|word| word[0].as_str().unwrap()).collect();
    assert_eq!(texts, ["mary", "rolled", "the", "barrel"]);
}

#[test]
fn show_tells_cells_apart_by_letter() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("codes.npy");
    let codes = ndarray::arr2(&[[0, 650, 3], [5, 6, 7], [8, -1, 9]]);
    fs::write(&file, npy(&codes)).unwrap();
    let shown = succeeds(&["show", path(&file), "--layout", "delay-1", "--start", "initial", "--width", "60"]);
    let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines.contains(&"text i32000 E0 w650 P3 p3".to_owned()), "{shown}");
    assert!(lines.contains(&"main.1 i2048 i2048 a8 - a9".to_owned()), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours in a pipe");
    let shown = succeeds(&["show", path(&file), "--layout", "delay-1", "--weights"]);
    assert!(shown.contains("s100") && shown.contains("P0.5"), "{shown}");
}

/// The NumPy format, written by hand: header, then little-endian numbers.
fn npy(codes: &Array2<i64>) -> Vec<u8> {
    let shape = codes.dim();
    let mut header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({}, {}), }}", shape.0, shape.1);
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    codes.iter().for_each(|code| bytes.extend(code.to_le_bytes()));
    bytes
}
