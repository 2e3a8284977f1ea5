//! `codebook train` and `codebook stats` as processes: tables that the codec takes, and counts that can be checked by hand.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::fixture;
use common::program::{fails, path, roundelay, succeeds, text};
use roundelay::io::{Dataset, tensors};
use serde_json::{Value, json};

const TOKENIZER: &str = "tokenizers/mistral_v1_32k_bpe.model";

fn wavs() -> PathBuf {
    fixture("recordings/wav")
}

/// A manifest of the shipped recordings, so many times over, each time copied.
fn manifest(folder: &Path, times: usize) -> PathBuf {
    let mut lines = String::new();
    for time in 0..times {
        let copies = folder.join(time.to_string());
        fs::create_dir_all(&copies).unwrap();
        let mut names: Vec<_> = fs::read_dir(wavs()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "wav"));
        names.sort();
        assert_eq!(names.len(), 5);
        for name in names {
            fs::copy(wavs().join(&name), copies.join(&name)).unwrap();
            lines += &(json!({ "path": format!("{time}/{}", name.to_str().unwrap()) }).to_string() + "\n");
        }
    }
    let manifest = folder.join("data.jsonl");
    fs::write(&manifest, lines).unwrap();
    manifest
}

fn train(inputs: &[&str], output: &Path) -> String {
    let options = ["-o", path(output), "--epochs", "1", "--passes", "1", "--seed", "3"];
    let output = roundelay(&[&["codebook", "train"], inputs, &options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn trained_tables_are_the_same_each_time_and_the_codec_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let [tables, again] = ["a.bin", "b.bin"].map(|name| folder.path().join(name));
    let said = train(&[path(&wavs()), path(&wavs())], &tables);
    assert!(said.contains("10 recordings, 0.05 hours") && said.contains("dead codes"), "{said}");
    assert!(said.contains("note: 2") && said.contains("are few: from 40960 on"), "{said}");
    // The same sound in the same order, by another way and from other files.
    train(&[path(&manifest(folder.path(), 2))], &again);
    assert!(fs::read(&tables).unwrap() == fs::read(&again).unwrap(), "same input, same bytes");

    let recording = wavs().join("librivox_mono.wav");
    let [own, embedded, back] =
        ["own.safetensors", "codes.safetensors", "back.wav"].map(|name| folder.path().join(name));
    let with = ["--codec", "builtin", "--codec-weights", path(&tables)];
    succeeds(&[&["encode", path(&recording), "-o", path(&own)][..], &with].concat());
    succeeds(&["encode", path(&recording), "-o", path(&embedded)]);
    let [ours, theirs] = [&own, &embedded].map(|file| tensors::read(file, "audio_codes").unwrap());
    assert_eq!(ours.shape(), theirs.shape());
    assert_ne!(ours, theirs);
    succeeds(&[&["decode", path(&own), "-o", path(&back)][..], &with].concat());
    assert!(fs::metadata(&back).unwrap().len() > 100_000);
}

#[test]
fn what_cannot_be_trained_on_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.bin");
    let train = |input: &Path| {
        let output = roundelay(&["codebook", "train", path(input), "-o", path(&out)]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        // What was read before is told first.
        assert!(error.contains("error:") && !error.contains("panicked"), "{error}");
        error
    };

    let spec = hound::WavSpec { channels: 2, sample_rate: 44_100, ..spec() };
    let short = folder.path().join("short.wav");
    let mut writer = hound::WavWriter::create(&short, spec).unwrap();
    (0..2 * 44_100).for_each(|n| writer.write_sample((n % 300) as i16).unwrap());
    writer.finalize().unwrap();
    // 13 frames of each channel.
    let error = train(&short);
    let expected = "speech to train on is 2.08 s (26 frames), expected more than 163.84 s (2048 frames)";
    assert!(error.contains(expected), "{error}");

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("notes.txt"), "no sound").unwrap();
    assert!(train(&empty).contains("recordings is none"), "{}", train(&empty));
    assert!(train(&empty.join("notes.txt")).contains(".txt"), "{}", train(&empty.join("notes.txt")));
    assert!(train(&folder.path().join("nowhere.wav")).contains("nowhere.wav"));
    fs::write(empty.join("cut.wav"), &fs::read(wavs().join("librivox_mono.wav")).unwrap()[..30]).unwrap();
    assert!(train(&empty).contains("cut.wav"));
    let lines = folder.path().join("data.jsonl");
    fs::write(&lines, "{\"path\": \"gone.wav\"}\n").unwrap();
    assert!(train(&lines).contains("gone.wav"));
    fs::write(&lines, "{\"path\": 7}\n").unwrap();
    assert!(train(&lines).contains("data.jsonl:1:"));
    assert!(!out.exists());

    let nowhere = folder.path().join("no").join("out.bin");
    let error = fails(1, &["codebook", "train", path(&wavs()), "-o", path(&nowhere)]);
    assert!(error.contains("expected a file in a folder that is there"), "{error}");
    fails(2, &["codebook", "train", "-o", path(&out)]);
    fails(2, &["codebook", "train", path(&short)]);
}

fn spec() -> hound::WavSpec {
    hound::WavSpec { channels: 1, sample_rate: 24_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int }
}

/// The shipped recordings as one dataset, and as two shards.
struct Prepared {
    folder: tempfile::TempDir,
    whole: PathBuf,
    shards: [PathBuf; 2],
}

impl Prepared {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prep = |name: &str, more: &[&str]| {
            let (dataset, tokenizer) = (folder.path().join(name), fixture(TOKENIZER));
            let manifest = fixture("recordings/data.jsonl");
            let all = ["prep", path(&manifest), "-o", path(&dataset), "--tokenizer", path(&tokenizer)];
            // Shards are shares of the parts.
            succeeds(&[&all[..], &["--part-recordings", "2"], more].concat());
            dataset
        };
        let (whole, shards) =
            (prep("whole", &[]), ["0/2", "1/2"].map(|n| prep(&n.replace('/', "of"), &["--shard", n])));
        Prepared { whole, shards, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn stats(inputs: &[&Path], more: &[&str]) -> Value {
    let inputs: Vec<&str> = inputs.iter().map(|input| path(input)).collect();
    serde_json::from_str(&succeeds(&[&["codebook", "stats", "--json"], &inputs[..], more].concat())).unwrap()
}

/// How often each code stands in a row, segment by segment.
fn counted(dataset: &Path, row: usize) -> Vec<Vec<u64>> {
    let dataset = Dataset::open(dataset).unwrap();
    let segments = dataset.segments().map(|segment| {
        let mut counts = vec![0; 2048];
        segment
            .unwrap()
            .codes
            .0
            .row(row)
            .iter()
            .filter(|&&code| code >= 0)
            .for_each(|&code| counts[code as usize] += 1);
        counts
    });
    segments.collect()
}

#[test]
fn usage_of_a_dataset_is_that_of_its_parts_added_up() {
    let prepared = Prepared::new();
    let whole = stats(&[&prepared.whole], &[]);
    assert_eq!(
        (&whole["segments"], &whole["layout"], &whole["dead"]),
        (&json!(5), &json!("moshi-7b"), &json!({"ratio": 0.01}))
    );
    let codebooks = whole["codebooks"].as_array().unwrap();
    assert_eq!(codebooks.len(), 16);
    for (k, found) in codebooks.iter().enumerate() {
        let segments = counted(&prepared.whole, k + 1);
        let counts: Vec<u64> = (0..2048).map(|code| segments.iter().map(|segment| segment[code]).sum()).collect();
        let total: u64 = counts.iter().sum();
        let most = (0..2048).rev().max_by_key(|&code| counts[code]).unwrap();
        let least = (0..2048).find(|&code| counts[code] == 0).unwrap();
        assert_eq!((&found["total"], &found["absent"]), (&json!(total), &json!(675 - total)), "{}", found["codebook"]);
        assert_eq!(found["used"], json!(counts.iter().filter(|&&count| count > 0).count()));
        assert_eq!(found["most"], json!({"code": most, "count": counts[most]}));
        assert_eq!(found["least"], json!({"code": least, "count": 0}));
        let mean = total as f64 / 2048.0;
        assert_eq!(found["dead"], json!(counts.iter().filter(|&&count| (count as f64) < 0.01 * mean).count()));
        let squares: f64 = counts.iter().map(|&count| (count as f64 - mean).powi(2)).sum();
        assert!((found["deviation"].as_f64().unwrap() - (squares / 2048.0).sqrt()).abs() < 1e-9);
        let entropy: f64 =
            counts.iter().filter(|&&n| n > 0).map(|&n| n as f64 / total as f64).map(|p| -p * p.ln()).sum();
        assert!((found["perplexity"].as_f64().unwrap() / entropy.exp() - 1.0).abs() < 1e-9);
    }

    let [first, second] = [&prepared.shards[0], &prepared.shards[1]];
    assert_eq!([first, second].map(|shard| stats(&[shard], &[])["segments"].clone()), [json!(2), json!(3)]);
    assert_eq!(stats(&[first, second], &[]), whole);
    let (counts, sum) = (prepared.file("first.json"), prepared.file("sum.json"));
    stats(&[first], &["--counts", path(&counts)]);
    assert_eq!(stats(&[&counts, second], &["--counts", path(&sum)]), whole);
    assert_eq!(stats(&[second, &counts], &[]), whole);
    assert_eq!(stats(&[&sum], &[]), whole);

    let [main, other] = [1, 9].map(|row| counted(&prepared.whole, row).concat().iter().sum::<u64>());
    let by_level = stats(&[&prepared.whole], &["--by-level"]);
    assert_eq!(by_level["codebooks"].as_array().unwrap().len(), 8);
    let level = &by_level["codebooks"][0];
    assert_eq!((&level["codebook"], &level["total"]), (&json!("level 0"), &json!(main + other)));
}

#[test]
fn thresholds_and_moving_averages_are_those_asked_for() {
    let prepared = Prepared::new();
    let segments = counted(&prepared.whole, 1);
    let counts: Vec<u64> = (0..2048).map(|code| segments.iter().map(|segment| segment[code]).sum()).collect();
    let total: u64 = counts.iter().sum();
    let dead = |more: &[&str]| stats(&[&prepared.whole], more)["codebooks"][0]["dead"].clone();
    let below = |floor: f64| json!(counts.iter().filter(|&&count| (count as f64) < floor).count());
    assert_eq!(dead(&["--dead-count", "3"]), below(3.0));
    assert_eq!(dead(&["--dead-share", "0.005"]), below(0.005 * total as f64));
    assert_eq!(dead(&["--dead-ratio", "4"]), below(4.0 * total as f64 / 2048.0));

    let ema = stats(&[&prepared.whole], &["--ema", "0.5"]);
    let mut average = vec![0.0; 2048];
    for segment in &segments {
        average.iter_mut().zip(segment).for_each(|(average, &count)| *average = 0.5 * *average + 0.5 * count as f64);
    }
    let found = &ema["codebooks"][0]["ema"];
    assert_eq!((&ema["ema_decay"], found["total"].as_f64()), (&json!(0.5), Some(average.iter().sum())));
    assert_eq!(found["most"]["count"].as_f64(), average.iter().copied().reduce(f64::max));
    // The order of the segments is that of the datasets, of which one goes on where another ended.
    let [first, second] = [&prepared.shards[0], &prepared.shards[1]];
    assert_ne!(stats(&[first, second], &["--ema", "0.5"]), stats(&[second, first], &["--ema", "0.5"]));

    let table = succeeds(&["codebook", "stats", path(&prepared.whole), "--ema", "0.5"]);
    assert!(table.contains("5 segments of the layout moshi-7b, codes of builtin-1-"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with("main.0 ")).count(), 2, "{table}");
    assert!(table.contains("dead: below 0.01 of the mean") && !table.contains("text "), "{table}");
}

#[test]
fn what_cannot_be_counted_together_is_named() {
    let prepared = Prepared::new();
    let (whole, counts) = (path(&prepared.whole).to_owned(), prepared.file("counts.json"));
    succeeds(&["codebook", "stats", &whole, "--counts", path(&counts)]);
    let mut other: Value = serde_json::from_str(&fs::read_to_string(&counts).unwrap()).unwrap();
    other["codec"] = json!("mimi");
    let changed = prepared.file("changed.json");
    fs::write(&changed, other.to_string()).unwrap();
    let error = fails(1, &["codebook", "stats", &whole, path(&changed)]);
    assert!(error.contains("changed.json: codec is mimi, expected builtin-1-"), "{error}");
    let error = fails(1, &["codebook", "stats", path(&changed), &whole]);
    assert!(error.contains("whole: codec is builtin-1-"), "{error}");
    other["layout"]["name"] = json!("another");
    fs::write(&changed, other.to_string()).unwrap();
    let error = fails(1, &["codebook", "stats", &whole, path(&changed)]);
    assert!(error.contains("changed.json: layout is another, expected moshi-7b as before"), "{error}");
    other["streams"][3]["counts"] = json!([1]);
    fs::write(&changed, other.to_string()).unwrap();
    let error = fails(1, &["codebook", "stats", path(&changed)]);
    assert!(error.contains("changed.json: file of counts is ill-formed: streams of the counts is others"), "{error}");
    fs::write(&changed, "{").unwrap();
    fails(1, &["codebook", "stats", path(&changed)]);

    fails(1, &["codebook", "stats", path(&prepared.file("nowhere"))]);
    fails(2, &["codebook", "stats"]);
    let error = fails(2, &["codebook", "stats", path(&counts), "--ema", "0.5"]);
    assert!(error.contains("--ema goes over segments"), "{error}");
    for wrong in [
        &["--ema", "1.5"][..],
        &["--dead-share", "2"],
        &["--dead-count", "-1"],
        &["--dead-ratio", "x"],
        &["--dead-count", "1", "--dead-ratio", "0.1"],
        &["--ema", "0.5", "--by-level"],
        &["--ema", "0.5", "--counts", "a.json"],
    ] {
        fails(2, &[&["codebook", "stats", &whole][..], wrong].concat());
    }
}
