//! Two shipped clips learned by heart by burn's transformer, as README has it: killed on the way, and given back.
//!
//! Takes a minute or two in release, and is no test for a debug build.

mod common;
#[path = "common/corpus.rs"]
mod corpus;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::program::{path, succeeds};
use corpus::assert_same;
use ndarray::s;
use roundelay::io::{Dataset, Point, tensors};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn points(run: &Path) -> Vec<Point> {
    let text = fs::read_to_string(run.join("curve.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn two_clips_are_learned_by_heart_also_by_a_run_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let [dataset, whole, killed, codes, wav] =
        ["dataset", "whole", "killed", "codes.safetensors", "said.wav"].map(|name| folder.path().join(name));
    let (manifest, layout) = (fixture("recordings/two.jsonl"), fixture("layouts/config_moshi_8k.json"));
    let tokenizer = fixture("tokenizers/demo_8k_unigram.model");
    let prep = ["prep", path(&manifest), "-o", path(&dataset), "--layout", path(&layout), "--tokenizer"];
    succeeds(&[&prep[..], &[path(&tokenizer)]].concat());

    let train =
        |run| ["train", path(&dataset), "-o", path(run), "--batch", "2", "--steps", "120", "--save-every", "10"];
    succeeds(&train(&whole));
    let curve = points(&whole);
    let (first, last) = (&curve[0], &curve[119]);
    for (name, of) in [
        ("words", (|point| point.words) as fn(&Point) -> Option<f64>),
        ("semantic", |point| point.semantic),
        ("acoustic", |point| point.acoustic),
    ] {
        let [first, last] = [first, last].map(|point| of(point).unwrap());
        assert!(last < first / 10.0, "{name}: {first} at first, {last} at last");
    }

    kill_behind(25, &killed, &train(&killed));
    succeeds(&train(&killed));
    assert_same(&killed, &whole);

    for id in ["wav/librivox_mono.wav", "wav/mary_bobby_stereo.wav"] {
        let words = ["generate", path(&whole), path(&dataset), "--segment", id, "-o", path(&wav)];
        succeeds(&[&words[..], &["--codes", path(&codes), "--tokenizer", path(&tokenizer)]].concat());
        let segment = Dataset::open(&dataset).unwrap().segment(id).unwrap().codes.0;
        let said = tensors::read(&codes, "codes").unwrap();
        // Behind the prompt of 13 frames, the 8 audio streams that are trained.
        let said = said.slice(s![1..9, 13..]).mapv(|id| id as i32);
        let alike = said.iter().zip(segment.slice(s![1..9, 13..])).filter(|(a, b)| a == b).count();
        assert!(alike * 10 >= said.len() * 9, "{id}: {alike} of {} codes", said.len());
        assert!(fs::metadata(&wav).unwrap().len() > 44 + 2 * 1920 * segment.ncols() as u64, "{id}");
    }
}

/// Starts a run and kills it in the middle of a step, some steps on.
fn kill_behind(steps: u64, run: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay"));
    let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while points(run).last().is_none_or(|point| point.step < steps) {
        assert!(begun.elapsed() < Duration::from_secs(600), "no {steps} steps in ten minutes");
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
