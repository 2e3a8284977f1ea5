//! `train` and `generate` as processes, with the reference backend: what they leave, broken off or not, and what they refuse.
#![cfg(feature = "cli")]

mod common;
#[path = "common/corpus.rs"]
mod corpus;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::program::{fails, path, roundelay, succeeds, text};
use corpus::{assert_same, draw, folder_bytes};
use ndarray::Array2;
use roundelay::batch::{Segment, Split};
use roundelay::io::{DatasetInfo, Identity, PartWriter, Point, tensors, write_json_atomic};
use roundelay::{Frames, Layout};

const LAYOUT: &str = r#"{"name": "tiny", "frame_rate": 12.5, "streams": [
    {"name": "text", "kind": "text", "speaker": "main", "cardinality": 20, "delay": 0, "initial": 20, "pad": 3, "end_pad": 0, "trained": true},
    {"name": "main.0", "kind": "semantic", "speaker": "main", "level": 0, "cardinality": 24, "delay": 0, "initial": 24, "pad": 24, "trained": true},
    {"name": "main.1", "kind": "acoustic", "speaker": "main", "level": 1, "cardinality": 24, "delay": 1, "initial": 24, "pad": 24, "trained": true},
    {"name": "other.0", "kind": "semantic", "speaker": "other", "level": 0, "cardinality": 24, "delay": 0, "initial": 24, "pad": 24, "trained": false}]}"#;

struct Runs {
    folder: tempfile::TempDir,
}

impl Runs {
    /// A dataset of so many segments to train on and two to measure by.
    fn new(segments: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (layout, dataset) = (Layout::from_json(LAYOUT).unwrap(), folder.path().join("dataset"));
        fs::create_dir(&dataset).unwrap();
        let mut writer = PartWriter::create(&dataset.join("part-00000.parquet"), &layout).unwrap();
        (0..segments + 2).for_each(|n| writer.write(&segment(n, n >= segments)).unwrap());
        let mut info = DatasetInfo::new(&layout, Identity { name: "drawn".into(), sha256: None }, None);
        info.parts.push(writer.finish().unwrap());
        info.counts.segments = segments as u64 + 2;
        fs::write(dataset.join("layout.json"), layout.to_json()).unwrap();
        write_json_atomic(&dataset.join("dataset.json"), &info).unwrap();
        Runs { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, run: &str, more: &[&str]) -> Vec<String> {
        let (dataset, run) = (self.at("dataset"), self.at(run));
        let words = ["train", path(&dataset), "-o", path(&run), "--batch", "4"];
        let backend = if more.contains(&"--trainer") { &[][..] } else { &["--backend", "reference"] };
        let rest = ["--set", "learning_rate=0.03", "--evaluate-every", "7"].iter().chain(backend).copied();
        words.into_iter().chain(rest).chain(more.iter().copied()).map(str::to_owned).collect()
    }

    fn train(&self, run: &str, more: &[&str]) -> String {
        let arguments = self.arguments(run, more);
        succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Standard error, notes before the error among it.
    fn fails(&self, run: &str, more: &[&str]) -> String {
        let arguments = self.arguments(run, more);
        let output = roundelay(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let told = text(&output.stderr);
        assert!(output.status.code() == Some(1) && !told.contains("panicked"), "{told}");
        told
    }

    fn curve(&self, run: &str) -> Vec<Point> {
        let text = fs::read_to_string(self.at(run).join("curve.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn segment(n: usize, valid: bool) -> Segment {
    let frames = 20 + n % 5;
    Segment {
        id: format!("{n}.wav"),
        path: format!("{n}.wav"),
        start: "0".parse().unwrap(),
        duration: format!("{}", frames as f64 * 0.08).parse().unwrap(),
        codes: Frames(Array2::from_shape_fn((4, frames), |(k, t)| (4 + draw(100 * n + t, k as u64) % 16) as i32)),
        words: vec![],
        regions: vec![],
        split: if valid { Split::Valid } else { Split::Train },
        meta: String::new(),
    }
}

#[test]
fn a_run_goes_down_and_speaks_what_it_learned() {
    let runs = Runs::new(2);
    let told = runs.train("run", &["--steps", "120"]);
    assert!(told.starts_with("120 steps; cross-entropy of a label, nats\nwords "), "{told}");
    let curve = runs.curve("run");
    let of = |split| curve.iter().filter(move |point| point.split == split).collect::<Vec<_>>();
    let (train, valid) = (of(Split::Train), of(Split::Valid));
    assert_eq!((train.len(), valid.len()), (120, 120 / 7 + 1));
    let last = train[119];
    assert_eq!((last.step, last.epoch, last.pads), (120, 119, None));
    assert!(last.semantic < train[0].semantic.map(|nats| nats / 10.0), "{last:?}");
    assert!(valid[0].loss.is_none() && valid[0].semantic > Some(0.0));

    let (run, dataset, codes) = (runs.at("run"), runs.at("dataset"), runs.at("codes.safetensors"));
    let words = ["generate", path(&run), path(&dataset), "--segment", "1.wav", "--codes", path(&codes)];
    let told = succeeds(&words);
    assert!(told.starts_with("codes   16 of 16 as in the segment, 100.0 %\ntext    8 of 8"), "{told}");
    assert_eq!(tensors::read(&codes, "codes").unwrap().mapv(|id| id as i32), segment(1, false).codes.0.into_dyn());

    let other = fails(1, &[&words[..], &["-o", "a.wav"]].concat());
    assert!(other.contains("codec of the dataset is drawn, expected builtin-1-1d5672c8, or --codes"), "{other}");
    let long = fails(1, &[&words[..], &["--prompt", "9"]].concat());
    assert!(
        long.contains("recording \"1.wav\": --prompt is 113 frames of the segment's 21, with --seconds for 21 in all"),
        "{long}"
    );
    let longer = succeeds(&[&words[..], &["--seconds", "4", "--temperature", "1", "--top-k", "3"]].concat());
    assert!(longer.contains("of 16 as in"), "{longer}");
    assert_eq!(tensors::read(&codes, "codes").unwrap().shape(), [4, 50]);
}

/// Killed at moments that are drawn, and gone on with until it is done.
#[test]
fn a_killed_run_ends_with_the_same_files() {
    let runs = Runs::new(9);
    let more = ["--steps", "90", "--save-every", "4"];
    runs.train("whole", &more);
    let mut killed = 0;
    for n in 0..200 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay"));
        let mut child =
            command.args(runs.arguments("killed", &more)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(10 + draw(n, 5) as u64 % 150));
        let done = child.try_wait().unwrap();
        if let Some(status) = done {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    println!("killed {killed} times");
    runs.train("killed", &more);
    assert!(killed > 0);
    assert_same(&runs.at("killed"), &runs.at("whole"));
    runs.train("killed", &more);
    assert_same(&runs.at("killed"), &runs.at("whole"));
}

#[test]
fn a_run_can_be_made_longer_and_its_batches_cut_into_parts() {
    let runs = Runs::new(9);
    runs.train("whole", &["--steps", "30"]);
    runs.train("longer", &["--steps", "10"]);
    runs.train("longer", &["--steps", "30"]);
    assert_same(&runs.at("longer"), &runs.at("whole"));

    runs.train("parts", &["--steps", "30", "--part-rows", "3"]);
    let near = |a: &Point, b: &Point| (a.loss.unwrap() - b.loss.unwrap()).abs() < 1e-9 * a.loss.unwrap();
    let [whole, parts] = ["whole", "parts"].map(|run| runs.curve(run));
    let train = |point: &&Point| point.split == Split::Train;
    assert!(whole.iter().filter(train).zip(parts.iter().filter(train)).all(|(a, b)| near(a, b)));
}

#[test]
fn another_plan_is_refused() {
    let runs = Runs::new(5);
    runs.train("run", &["--steps", "3"]);
    let before = folder_bytes(&runs.at("run"));
    let seed = runs.fails("run", &["--steps", "6", "--seed", "4"]);
    assert!(seed.contains("run.json: the run's model.options.seed is 0, expected 4, as this command has it"), "{seed}");
    let policy = runs.fails("run", &["--steps", "6", "--policy", "jmoshi"]);
    assert!(policy.contains("the run's policy."), "{policy}");
    assert_eq!(folder_bytes(&runs.at("run")), before);

    fs::create_dir(runs.at("full")).unwrap();
    fs::write(runs.at("full").join("notes.txt"), "mine").unwrap();
    let full = runs.fails("full", &["--steps", "1"]);
    assert!(full.contains("run's folder is notes.txt, expected an empty folder, or one that holds a run"), "{full}");

    fs::write(runs.at("run").join("checkpoint-00000003.safetensors"), "broken").unwrap();
    let broken = runs.fails("run", &["--steps", "6"]);
    assert!(!broken.contains("is whole"), "{broken}");
    assert!(broken.contains("checkpoint-00000003.safetensors: SHA-256 of the checkpoint is"), "{broken}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let runs = Runs::new(3);
    let usage = |more: &[&str]| {
        let arguments = runs.arguments("run", more);
        fails(2, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(usage(&["--set", "widht=3"]).contains("--set widht=3: unknown field `widht`"));
    assert!(usage(&["--set", "width"]).contains("expected KEY=VALUE"));
    assert!(runs.fails("run", &["--set", "width=0"]).contains("width is 0, expected 1 to 65536"));
    assert!(!runs.at("run").join("curve.jsonl").exists());
    let (dataset, none, p) = (runs.at("dataset"), runs.at("none"), runs.at("p"));
    let missing =
        fails(1, &["generate", path(&none), path(&dataset), "--segment", "1.wav", "--codes", "c.safetensors"]);
    assert!(missing.contains("run.json: cannot open the file"), "{missing}");
    let both = ["train", path(&dataset), "-o", path(&p), "--backend", "reference", "--trainer", "true"];
    assert!(fails(2, &both).contains("cannot be used with"));
}

/// A loss that is no number ends the run; what was saved before is whole.
#[test]
fn a_loss_that_is_no_number_leaves_the_last_checkpoint() {
    let runs = Runs::new(3);
    let more = ["--steps", "9", "--save-every", "1", "--set", "learning_rate=1e200"];
    let error = runs.fails("run", &more);
    let whole = "note: step 2 failed; the checkpoint of step 1 is whole, and the same command goes on from it";
    assert!(error.starts_with(whole), "{error}");
    assert!(error.contains("\"0.wav\", stream text: loss is NaN, expected a finite number"), "{error}");
    assert_eq!(runs.curve("run").iter().map(|point| point.step).collect::<Vec<_>>(), [1]);
    let [run, dataset, codes] = ["run", "dataset", "codes.safetensors"].map(|name| runs.at(name));
    succeeds(&["generate", path(&run), path(&dataset), "--segment", "1.wav", "--codes", path(&codes)]);
}

/// Its last words are told.
#[cfg(unix)]
#[test]
fn a_trainer_that_ends_is_an_error() {
    let runs = Runs::new(3);
    let script = runs.at("trainer.sh");
    fs::write(&script, "echo 'out of memory' >&2\nexit 3\n").unwrap();
    let trainer = format!("sh {}", path(&script));
    let error = runs.fails("run", &["--steps", "9", "--trainer", &trainer]);
    assert!(error.contains("out of memory"), "{error}");
    assert!(error.contains("status") && error.contains('3'), "{error}");
    let missing = runs.fails("none", &["--trainer", "no-such-program --at all"]);
    assert!(missing.contains("cannot start the trainer `no-such-program --at all`"), "{missing}");
}

/// The reference backend behind the pipe: broken off and gone on with, it ends with the same files.
#[test]
fn a_trainer_behind_a_pipe_trains_and_goes_on() {
    let trainer = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/reference_trainer");
    assert!(trainer.exists(), "{} is not there: cargo build --example reference_trainer", trainer.display());
    let trainer = format!("'{}'", trainer.display());
    let runs = Runs::new(5);
    runs.train("whole", &["--steps", "30", "--trainer", &trainer]);
    runs.train("broken", &["--steps", "13", "--save-every", "5", "--trainer", &trainer]);
    runs.train("broken", &["--steps", "30", "--trainer", &trainer]);
    assert_same(&runs.at("broken"), &runs.at("whole"));
    runs.train("here", &["--steps", "30"]);
    assert_eq!(runs.curve("whole"), runs.curve("here"));
}

/// What failed before its first checkpoint may be mended in the same folder.
#[test]
fn a_command_that_was_wrong_does_not_block_its_folder() {
    let runs = Runs::new(3);
    assert!(runs.fails("run", &["--set", "width=0"]).contains("width is 0"));
    runs.train("run", &["--steps", "2"]);
    let longer = runs.fails("run", &["--steps", "4", "--set", "width=8"]);
    assert!(longer.contains("the run's model.options.width is 16, expected 8"), "{longer}");
}
