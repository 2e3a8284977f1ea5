//! Trainers that are programs.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use roundelay::Result;
use roundelay::backend::contract::{LAWS, Law, recorded};
use roundelay::backend::{BatchSpec, Process, TrainBackend, Upload};
use roundelay::io::{TrainerCommand, spawn_trainer};
use serde_json::{Value, json};

use super::losses;
use super::worlds::{canned, report, silent, spec};

/// Cargo puts examples beside tests.
fn reference_trainer() -> String {
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path: PathBuf = path.join("examples").join(format!("reference_trainer{}", env::consts::EXE_SUFFIX));
    let build = "cargo build --example reference_trainer --features testing";
    assert!(path.exists(), "{} is not there: {build}", path.display());
    format!("'{}'", path.display())
}

/// The trainer that `ROUNDELAY_TRAINER` names keeps every law: the reference trainer unless it is set, and any other
/// that somebody writes. `ROUNDELAY_LAW` picks laws by a part of their names.
#[test]
fn trainer_from_the_environment() {
    let line = env::var("ROUNDELAY_TRAINER").unwrap_or_else(|_| reference_trainer());
    let options = env::var("ROUNDELAY_TRAINER_OPTIONS").unwrap_or_else(|_| "{}".into());
    let (command, options) = (TrainerCommand::parse(&line).unwrap(), serde_json::from_str::<Value>(&options).unwrap());
    let make = |spec: &BatchSpec, seed: u64| -> Result<Process> {
        let mut options = options.clone();
        options["seed"] = json!(seed);
        spawn_trainer(&command, spec, &options)
    };
    let (picked, mut broken) = (env::var("ROUNDELAY_LAW").unwrap_or_default(), Vec::new());
    let laws = Law::<Process>::all().into_iter().filter(|law| picked.split(',').any(|part| law.name.contains(part)));
    for law in laws {
        let begun = Instant::now();
        let found = (law.check)(&make).err().map(|found| format!("{}: {found}", law.name));
        println!("{} {} in {:.1?}", law.name, if found.is_some() { "is broken" } else { "holds" }, begun.elapsed());
        broken.extend(found);
    }
    assert!(broken.is_empty(), "laws that do not hold:\n{}", broken.join("\n"));
    assert_eq!(LAWS.len(), 23);
    assert_eq!(recorded(make, &losses::recorded()), losses::RECORDED);
}

/// A script of the shell's as a trainer, which answers `start` unless it says something else first.
#[cfg(unix)]
mod scripts {
    use super::*;

    fn command(script: &str, deadline: u64) -> TrainerCommand {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        TrainerCommand { words, deadline: Duration::from_secs(deadline) }
    }

    fn start_error(script: &str, deadline: u64) -> String {
        spawn_trainer(&command(script, deadline), &spec(), &Value::Null).unwrap_err().to_string()
    }

    /// Bytes of the messages up to a step on one batch of two rows.
    fn bytes_of_a_step() -> usize {
        let (process, written) = canned(format!("{{\"protocol\": 1}}\n{}", report("0")).as_bytes());
        step(process.unwrap()).unwrap();
        written.0.lock().unwrap().len()
    }

    fn step(mut process: Process) -> Result<()> {
        let part = process.uploader()?.upload(&silent(&[2, 3]))?;
        process.step(&[part]).map(drop)
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let command = TrainerCommand::parse("./no-such-trainer --lr 1").unwrap();
        let error = spawn_trainer(&command, &spec(), &Value::Null).unwrap_err().to_string();
        let expected = "cannot start the trainer `./no-such-trainer --lr 1`: No such file or directory (os error 2)";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_trainer_that_ends_at_the_start_has_last_words() {
        let error = start_error("echo one >&2; echo two >&2; exit 3", 60);
        let script = "`sh -c 'echo one >&2; echo two >&2; exit 3'`";
        let expected = format!("cannot start the trainer: {script} ended with status 3; its last words:\n  one\n  two");
        assert_eq!(error, expected);
        let expected = "cannot start the trainer: `sh -c 'exit 0'` ended with status 0 without a word";
        assert_eq!(start_error("exit 0", 60), expected);
        let expected = "cannot start the trainer: `sh -c 'kill -9 $$'` was ended by signal: 9 (SIGKILL) without a word";
        assert_eq!(start_error("kill -9 $$", 60), expected);
    }

    #[test]
    fn a_trainer_that_refuses_is_quoted() {
        let error = start_error(r#"echo '{"error": "no GPU"}'; exit 1"#, 60);
        assert_eq!(error, "cannot start the trainer: no GPU");
    }

    #[test]
    fn a_trainer_that_ends_in_mid_step_has_last_words() {
        let bytes = bytes_of_a_step();
        let script = format!("echo '{{\"protocol\": 1}}'; head -c {bytes} > /dev/null; echo overheated >&2; exit 7");
        let error = step(spawn_trainer(&command(&script, 60), &spec(), &Value::Null).unwrap()).unwrap_err().to_string();
        let expected = format!(
            "cannot have the trainer take a step: `sh -c '{script}'` ended with status 7; its last words:\n  overheated"
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn a_trainer_that_ends_while_it_is_given_a_batch_has_last_words() {
        let start = canned(b"{\"protocol\": 1}").1.0.lock().unwrap().len();
        let script = format!("echo '{{\"protocol\": 1}}'; head -c {start} > /dev/null; echo enough >&2; exit 1");
        let mut process = spawn_trainer(&command(&script, 60), &spec(), &Value::Null).unwrap();
        let mut upload = process.uploader().unwrap();
        // As much as no pipe holds.
        let batch = silent(&[900; 8]);
        let error = std::iter::repeat_with(|| upload.upload(&batch)).take(20).find_map(|given| given.err());
        let expected = format!(
            "cannot give the trainer a batch: `sh -c '{script}'` ended with status 1; its last words:\n  enough"
        );
        assert_eq!(error.unwrap().to_string(), expected);
    }

    #[test]
    fn a_trainer_that_stalls_is_stopped() {
        let begun = Instant::now();
        let error = start_error("echo thinking >&2; exec sleep 100", 1);
        let script = "`sh -c 'echo thinking >&2; exec sleep 100'`";
        let expected = "did nothing for 1 s and was stopped; its last words:\n  thinking";
        assert_eq!(error, format!("cannot start the trainer: {script} {expected}"));
        assert!((1..30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_trainer_that_reads_nothing_is_stopped() {
        let script = "echo '{\"protocol\": 1}'; exec sleep 100";
        let mut process = spawn_trainer(&command(script, 1), &spec(), &Value::Null).unwrap();
        let error = process.uploader().unwrap().upload(&silent(&[900; 8])).unwrap_err().to_string();
        let expected = "did nothing for 1 s and was stopped without a word";
        assert_eq!(error, format!("cannot give the trainer a batch: `sh -c '{script}'` {expected}"));
    }

    #[test]
    fn what_a_stopped_trainer_leaves_behind_holds_nobody_up() {
        // The sleep is a process of its own, which has the pipes open.
        let (begun, script) = (Instant::now(), "sleep 40; true");
        let error = start_error(script, 1);
        let expected = "did nothing for 1 s and was stopped without a word";
        assert_eq!(error, format!("cannot start the trainer: `sh -c '{script}'` {expected}"));
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_trainer_that_prints_on_its_standard_output_is_quoted() {
        let error = start_error("echo 'Loading checkpoint shards: 100%'; cat > /dev/null", 60);
        let quoted = "`Loading checkpoint shards: 100%`";
        let expected =
            format!("the trainer's answer to `start` is ill-formed: expected value at line 1 column 1: {quoted}");
        assert_eq!(error, expected);
    }

    #[test]
    fn a_trainer_that_is_let_go_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ended");
        let script = format!("echo '{{\"protocol\": 1}}'; cat > /dev/null; touch '{}'", file.display());
        let process = spawn_trainer(&command(&script, 60), &spec(), &Value::Null).unwrap();
        assert!(!file.exists());
        drop(process);
        assert!(file.exists());
    }
}
