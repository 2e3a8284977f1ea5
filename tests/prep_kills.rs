//! `prep` killed at random moments, on a full disk and over broken files: what it leaves is whole as far as it goes, and
//! the same command ends with the bytes of a run that nothing disturbed.
//!
//! ROUNDELAY_KILLS and ROUNDELAY_KILL_SEED set how often and when; `scripts/kill-prep` does.
#![cfg(all(feature = "cli", unix))]

mod common;
#[path = "common/corpus.rs"]
mod corpus;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::program::{path, text};
use corpus::{Corpus, assert_same, draw};
use roundelay::io::{Dataset, verify};

/// Recordings in a part, for 20 parts and one with the rest.
const RECORDINGS: usize = 240;
const IN_PART: &str = "12";

struct Runs {
    corpus: Corpus,
    tokenizer: PathBuf,
}

impl Runs {
    fn new(recordings: usize) -> Self {
        Runs { corpus: Corpus::new(recordings), tokenizer: corpus::tokenizer() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.corpus.at(name)
    }

    fn arguments(&self, out: &Path) -> Vec<String> {
        let manifest = self.corpus.manifest();
        let words = ["prep", path(&manifest), "-o", path(out), "--tokenizer", path(&self.tokenizer)];
        let rest = ["--codec", "codes", "--jobs", "2", "--part-recordings", IN_PART];
        words.into_iter().chain(rest).map(str::to_owned).collect()
    }

    fn command(&self, out: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay"));
        command.args(self.arguments(out)).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, out: &Path) -> Output {
        self.command(out).output().unwrap()
    }

    /// Runs to the end.
    fn finish(&self, out: &Path) {
        let output = self.run(out);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }

    /// Runs and kills after a time; false if the run was through before.
    fn kill(&self, out: &Path, after: Duration) -> bool {
        let mut run = self.command(out).spawn().unwrap();
        std::thread::sleep(after);
        run.kill().unwrap();
        !run.wait().unwrap().success()
    }
}

/// Whether the writing of a part was broken off: its temporary file is there, and so many parts have no record.
fn in_the_middle_of_a_part(out: &Path, parts: usize) -> bool {
    let count = |folder: &Path, start: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_str().unwrap().starts_with(start)).count()
    };
    count(out, ".roundelay-") > 0 && count(&out.join(".prep"), "part-") < parts
}

/// Nothing that a kill leaves is broken.
fn check(out: &Path) {
    match verify(out) {
        Ok(verified) => assert_eq!(verified.defects, [], "{} parts", verified.parts),
        Err(error) => assert!(!out.join(".prep").exists(), "killed before it began, {error}"),
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn a_run_killed_at_any_moment_is_resumed_to_the_same_bytes() {
    let runs = Runs::new(RECORDINGS);
    let whole = runs.at("whole");
    let start = Instant::now();
    runs.finish(&whole);
    let time = start.elapsed();
    let parts = Dataset::open(&whole).unwrap().info().parts.len();
    assert!(parts >= 20, "{parts} parts");

    let (kills, seed) = (setting("ROUNDELAY_KILLS", 10), setting("ROUNDELAY_KILL_SEED", 0));
    let (mut inside, mut outside, mut early) = (0, 0, 0);
    for n in 0.. {
        if inside + outside >= kills {
            break;
        }
        assert!(n < 10 * kills + 10, "{early} of {n} runs were through before they were killed");
        let out = runs.at("out");
        let after = |salt| time.mul_f64((draw(n, seed as u64 + salt) % 10_000) as f64 / 10_000.0);
        if !runs.kill(&out, after(1)) {
            early += 1;
        } else if in_the_middle_of_a_part(&out, parts) {
            inside += 1;
        } else if 5 * (outside + 1) <= 2 * kills {
            outside += 1;
        }
        check(&out);
        // One in three is killed once more while it goes on.
        if n % 3 == 0 && !out.join("dataset.json").exists() {
            runs.kill(&out, after(2));
            check(&out);
        }
        if !out.join("dataset.json").exists() || out.join(".prep").exists() {
            runs.finish(&out);
        }
        assert_same(&out, &whole);
        fs::remove_dir_all(&out).unwrap();
    }
    println!("{inside} kills in the middle of a part, {outside} elsewhere, {early} runs were through, {parts} parts");
    assert!(5 * inside >= 3 * kills && inside + outside == kills);
}

#[test]
fn a_full_disk_ends_the_run_and_room_lets_it_go_on() {
    let runs = Runs::new(60);
    let (whole, out) = (runs.at("whole"), runs.at("out"));
    runs.finish(&whole);
    let largest = Dataset::open(&whole).unwrap().info().parts.iter().map(|part| part.bytes).max().unwrap();
    // The largest part has no room. The signal for it is as good as a full disk once nobody dies of it.
    let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", (largest - 1) / 1024);
    let mut command = Command::new("bash");
    command.args(["-c", &limit, env!("CARGO_BIN_EXE_roundelay")]).args(runs.arguments(&out));
    for _ in 0..2 {
        let output = command.output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("cannot write the part: ") && error.contains("File too large"), "{error}");
        let left: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with(".roundelay-")), "{left:?}");
        let verified = verify(&out).unwrap();
        assert!(!verified.finished && verified.defects.is_empty(), "{:?}", verified.defects);
    }
    runs.finish(&out);
    assert_same(&out, &whole);
}

#[test]
fn broken_recordings_are_rejects_and_the_rest_is_whole() {
    let runs = Runs::new(30);
    let codes = |n: usize| runs.at(&format!("{n}.safetensors"));
    let bytes = fs::read(codes(3)).unwrap();
    fs::write(codes(3), &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(codes(4)).unwrap();
    fs::create_dir(codes(4)).unwrap();
    fs::remove_file(runs.at("5.json")).unwrap();
    fs::remove_file(codes(6)).unwrap();
    let out = runs.at("out");
    runs.finish(&out);
    let rejects = fs::read_to_string(out.join("rejects.jsonl")).unwrap();
    for (recording, reason) in [
        ("3.wav", "3.safetensors"),
        ("4.wav", "4.safetensors: cannot open the file: is a directory"),
        ("5.wav", "5.wav: words is missing"),
        ("6.wav", "6.wav: file of codes is missing"),
    ] {
        let line = rejects.lines().find(|line| line.contains(recording)).unwrap();
        assert!(line.contains(reason), "{line}");
    }
    let verified = verify(&out).unwrap();
    assert!(verified.finished && verified.defects.is_empty() && verified.segments == 30 - 4 - 2, "{verified:?}");
}

#[test]
fn a_run_without_a_usable_recording_does_not_block_the_next() {
    let runs = Runs::new(20);
    let (whole, out) = (runs.at("whole"), runs.at("out"));
    runs.finish(&whole);
    let output = runs.command(&out).args(["--codes-suffix", ".mimi.npy"]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("none of the 21 recordings could be used; "), "{error}");
    assert!(error.contains("rejects.jsonl says why, and the next run may write to the same folder"), "{error}");
    assert_eq!(verify(&out).unwrap().defects, []);
    assert_eq!(fs::read_to_string(out.join("rejects.jsonl")).unwrap().lines().count(), 21);
    runs.finish(&out);
    assert_same(&out, &whole);
    let error = text(&runs.run(&out).stderr);
    assert!(error.contains("the folder of a finished dataset"), "a dataset with segments stays: {error}");
}

#[test]
fn a_manifest_that_changes_meanwhile_is_noticed() {
    let corpus = Corpus::new(20);
    let mut changed = false;
    let result = roundelay::io::prep(&corpus.manifest(), &corpus.at("out"), &corpus.options(), &mut |_| {
        let mut text = fs::read_to_string(corpus.manifest()).unwrap();
        if !std::mem::replace(&mut changed, true) {
            text.push('\n');
            fs::write(corpus.manifest(), text).unwrap();
        }
        Ok(())
    });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("manifest is another one than at the start, expected no change while it is"), "{error}");
}
