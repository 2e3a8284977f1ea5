//! `--codec mimi` as a process: sound to a dataset and back, and what does not go together.
#![cfg(feature = "cli")]

mod common;

use std::fs;

use common::fixture;
use common::program::{fails, path, succeeds};

#[test]
fn options_that_do_not_go_together_are_usage_errors() {
    let mary = fixture("recordings/wav/mary_bobby_stereo.wav");
    let (wav, manifest) = (path(&mary), fixture("recordings/two.jsonl"));
    let manifest = path(&manifest);
    let needs = "--codec mimi needs --codec-weights FILE";
    let cases: [(&[&str], &str); 9] = [
        (&["encode", wav, "-o", "x", "--codec", "mimi"], needs),
        (&["decode", wav, "-o", "x", "--codec", "mimi"], needs),
        (&["prep", manifest, "-o", "x", "--codec", "mimi"], needs),
        (&["encode", wav, "-o", "x", "--codebooks", "8"], "--codebooks goes with --codec mimi"),
        (&["encode", wav, "-o", "x", "--codec-whole"], "--codec-whole goes with --codec mimi"),
        (&["encode", wav, "-o", "x", "--codec", "mimi", "--codebooks", "33"], "33 is not in 1..=32"),
        (
            &["prep", manifest, "-o", "x", "--codec", "codes", "--codec-weights", "w"],
            "--codec-weights goes with --codec mimi or builtin",
        ),
        (&["prep", manifest, "-o", "x", "--codec", "codes", "--codebooks", "8"], "--codebooks goes with --codec mimi"),
        (
            &["prep", manifest, "-o", "x", "--codec", "mimi", "--codec-weights", "w", "--codes-suffix", ".npy"],
            "--codes-suffix goes with --codec codes",
        ),
    ];
    for (arguments, expected) in cases {
        let error = fails(2, arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[cfg(not(feature = "mimi"))]
#[test]
fn a_build_without_it_says_so() {
    let mary = fixture("recordings/wav/mary_bobby_stereo.wav");
    let error = fails(2, &["encode", path(&mary), "-o", "x", "--codec", "mimi", "--codec-weights", "w"]);
    assert!(error.contains("this roundelay was built without Mimi: build it with --features mimi"), "{error}");
}

#[test]
fn builtin_takes_tables_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mary = fixture("recordings/wav/mary_bobby_stereo.wav");
    let tables = include_bytes!("../src/codec/builtin/builtin.bin");
    fs::write(at("own.bin"), tables).unwrap();
    fs::write(at("cut.bin"), &tables[..tables.len() - 1]).unwrap();
    succeeds(&["encode", path(&mary), "-o", path(&at("a.safetensors"))]);
    let weights = at("own.bin");
    succeeds(&["encode", path(&mary), "-o", path(&at("b.safetensors")), "--codec-weights", path(&weights)]);
    assert_eq!(fs::read(at("a.safetensors")).unwrap(), fs::read(at("b.safetensors")).unwrap());
    let cut = at("cut.bin");
    let error = fails(1, &["encode", path(&mary), "-o", path(&at("c.safetensors")), "--codec-weights", path(&cut)]);
    assert!(error.contains("cut.bin: file of codec tables is ill-formed: "), "{error}");
}

#[cfg(feature = "mimi")]
#[path = "common/mimi.rs"]
mod mimi;

#[cfg(feature = "mimi")]
mod with_weights {
    use std::path::{Path, PathBuf};

    use ndarray::s;
    use roundelay::io::{Dataset, read_audio, sha256_of_file, tensors};
    use serde_json::json;

    use super::*;

    /// Recordings, weights of two seeds, and what is made of them.
    struct Corpus {
        folder: tempfile::TempDir,
        weights: [PathBuf; 2],
    }

    impl Corpus {
        fn new() -> Self {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let weights = [0, 1].map(|seed| folder.path().join(format!("{seed}.safetensors")));
            for (seed, path) in weights.iter().enumerate() {
                fs::write(path, mimi::weights(seed as u64)).unwrap();
            }
            for name in ["mary_bobby_stereo.wav", "mary_bobby_stereo.json"] {
                fs::copy(fixture("recordings/wav").join(name), folder.path().join(name)).unwrap();
            }
            fs::write(folder.path().join("one.jsonl"), r#"{"path": "mary_bobby_stereo.wav", "duration": 2.8}"#)
                .unwrap();
            Corpus { folder, weights }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn prep(&self, manifest: &Path, output: &str, weights: &Path, more: &[&str]) -> Dataset {
            let tokenizer = fixture("tokenizers/mistral_v1_32k_bpe.model");
            let output = self.at(output);
            let arguments = ["prep", path(manifest), "-o", path(&output), "--tokenizer", path(&tokenizer), "--strict"];
            succeeds(&[&arguments[..], &["--codec", "mimi", "--codec-weights", path(weights)], more].concat());
            Dataset::open(&output).unwrap()
        }

        /// A segment's sound, by a codec.
        fn decode(&self, dataset: &str, codec: &[&str]) -> (PathBuf, Vec<String>) {
            let (dataset, sound) = (self.at(dataset), self.at("sound.wav"));
            let arguments = ["decode", path(&dataset), "--segment", "mary_bobby_stereo.wav", "-o", path(&sound)];
            let all = [&arguments[..], codec].concat().iter().map(|argument| (*argument).to_owned()).collect();
            (sound, all)
        }
    }

    fn all(arguments: &[String]) -> Vec<&str> {
        arguments.iter().map(String::as_str).collect()
    }

    #[test]
    fn sound_becomes_a_dataset_and_sound_again() {
        let corpus = Corpus::new();
        let first = &corpus.weights[0];
        let two = fixture("recordings/two.jsonl");
        let dataset = corpus.prep(&two, "two", first, &["--jobs", "2"]);
        corpus.prep(&two, "alone", first, &["--jobs", "1"]);
        let part = |folder: &str| fs::read(corpus.at(folder).join("part-00000.parquet")).unwrap();
        assert!(part("two") == part("alone"), "the same on any number of threads");

        let sha256 = sha256_of_file(first).unwrap();
        let codec = json!({"name": format!("mimi-{}", &sha256[..8]), "sha256": sha256});
        assert_eq!(serde_json::to_value(&dataset.info().codec).unwrap(), codec);
        let made = json!({"way": "streaming", "codebooks": 8, "device": "cpu", "batch": "channels"});
        assert_eq!(dataset.info().options["codec"], made);
        assert_eq!(dataset.info().counts.frames, 89 + 35);

        let (mary, codes) = (fixture("recordings/wav/mary_bobby_stereo.wav"), corpus.at("codes.safetensors"));
        let mimi = ["--codec", "mimi", "--codec-weights", path(first)];
        succeeds(&[&["encode", path(&mary), "-o", path(&codes), "--codebooks", "10"], &mimi[..]].concat());
        let codes = tensors::read(&codes, "audio_codes").unwrap();
        assert_eq!(codes.shape(), [2, 10, 35]);
        let segment = dataset.segment("wav/mary_bobby_stereo.wav").unwrap().codes.0.mapv(i64::from).into_dyn();
        for channel in 0..2 {
            let rows = segment.slice(s![1 + 8 * channel..9 + 8 * channel, ..]);
            assert_eq!(rows, codes.slice(s![channel, ..8, ..]), "channel {channel}");
        }
    }

    #[test]
    fn codes_of_other_weights_are_refused() {
        let corpus = Corpus::new();
        let [first, second] = &corpus.weights;
        let one = corpus.at("one.jsonl");
        let named = |dataset: &Dataset| dataset.info().codec.name.clone();
        let name = named(&corpus.prep(&one, "a", first, &[]));
        let other = named(&corpus.prep(&one, "b", second, &[]));
        corpus.prep(&one, "whole", first, &["--codec-whole"]);
        assert_ne!(name, other);

        let (sound, arguments) = corpus.decode("a", &["--codec", "mimi", "--codec-weights", path(first)]);
        succeeds(&all(&arguments));
        let sound = read_audio(&sound).unwrap();
        assert_eq!((sound.channels.len(), sound.channels[0].len(), sound.sample_rate), (2, 35 * 1920, 24_000));
        assert!(sound.channels[0].iter().any(|&sample| sample != 0.0));
        let (_, arguments) = corpus.decode("a", &["--codec", "mimi", "--codec-weights", path(second)]);
        let error = fails(1, &all(&arguments));
        assert!(error.contains(&format!("codec of the dataset is {name}, expected {other}")), "{error}");
        let (_, arguments) = corpus.decode("a", &[]);
        let error = fails(1, &all(&arguments));
        assert!(error.contains(&format!("codec of the dataset is {name}, expected builtin-1-")), "{error}");

        let [a, b, whole, joined] = ["a", "b", "whole", "joined"].map(|name| corpus.at(name));
        let error = fails(1, &["merge", path(&a), path(&b), "-o", path(&joined)]);
        assert!(error.contains(&format!("codec is {other} with SHA-256 ")), "{error}");
        let error = fails(1, &["merge", path(&a), path(&whole), "-o", path(&joined)]);
        assert!(error.contains("option codec is {") && error.contains("\"way\":\"whole\""), "{error}");
        assert!(!joined.exists());

        let weights = corpus.at("cut.safetensors");
        fs::write(&weights, &fs::read(first).unwrap()[..1000]).unwrap();
        let (_, arguments) = corpus.decode("a", &["--codec", "mimi", "--codec-weights", path(&weights)]);
        let error = fails(1, &all(&arguments));
        assert!(error.contains("cut.safetensors: file of Mimi's weights is ill-formed: "), "{error}");
    }
}
