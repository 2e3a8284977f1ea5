//! Trainers behind a pipe: all laws, and everything that a trainer may do wrong.

#[path = "backend_process/child.rs"]
mod child;
mod common;
#[path = "common/losses.rs"]
mod losses;
#[path = "backend_process/worlds.rs"]
mod worlds;

use std::io::{Write, pipe};
use std::thread;
use std::time::Duration;

use roundelay::Result;
use roundelay::backend::contract::{LAWS, Law, recorded};
use roundelay::backend::{
    BatchSpec, Feeder, Process, Reference, ReferenceOptions, Source, TrainBackend, Upload, serve_scoring,
};
use roundelay::batch::TrainBatch;
use serde_json::{Value, json};
use worlds::{Somebody, batch, canned, in_time, message, report, said, silent, spec};

fn reference(spec: &BatchSpec, options: &Value) -> Result<Reference> {
    let seed = options["seed"].as_u64().unwrap();
    Reference::new(spec, ReferenceOptions { seed, width: 8, ..ReferenceOptions::default() })
}

/// The reference backend on a thread of its own.
fn behind_a_pipe(spec: &BatchSpec, seed: u64) -> Result<Process> {
    let ((messages, to), (from, answers)) = (pipe().unwrap(), pipe().unwrap());
    thread::spawn(move || serve_scoring(reference, messages, answers));
    Process::start((from, to), Somebody, spec, &json!({ "seed": seed }))
}

#[test]
fn every_law_holds_behind_a_pipe() {
    for law in Law::<Process>::all() {
        (law.check)(&behind_a_pipe).unwrap_or_else(|found| panic!("{}: {found}", law.name));
    }
    assert_eq!(LAWS.len(), 23);
}

#[test]
fn recorded_losses_come_through_a_pipe() {
    assert_eq!(recorded(behind_a_pipe, &losses::recorded()), losses::RECORDED);
}

#[test]
fn a_pipe_changes_nothing() {
    let mut behind = behind_a_pipe(&spec(), 3).unwrap();
    let mut plain = reference(&spec(), &json!({ "seed": 3 })).unwrap();
    let (mut upload, batches) = (behind.uploader().unwrap(), [batch(&[5, 9, 2]), batch(&[40]), batch(&[1, 1])]);
    for (step, host) in batches.iter().cycle().take(7).enumerate() {
        let uploaded = upload.upload(host).unwrap();
        assert_eq!(behind.evaluate(&uploaded).unwrap(), plain.evaluate(host).unwrap(), "step {step}");
        assert_eq!(behind.step(&[uploaded]).unwrap(), plain.step(std::slice::from_ref(host)).unwrap(), "step {step}");
    }
    let [mut through, mut direct] = [Vec::new(), Vec::new()];
    behind.save(&mut through).unwrap();
    plain.save(&mut direct).unwrap();
    assert_eq!(through, direct);
    assert!(direct.len() > 1 << 16, "{} bytes fit a pipe's buffer", direct.len());
}

/// As many batches of the same kind.
struct Same(usize, TrainBatch);

impl Source for Same {
    fn next(&mut self) -> Option<Result<&TrainBatch>> {
        self.0 = self.0.checked_sub(1)?;
        Some(Ok(&self.1))
    }
}

/// Does one thing after another and reads nothing meanwhile; its state is larger than a pipe's buffer.
fn slow(mut messages: impl std::io::Read, mut answers: impl Write) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(message) = message(&mut messages) {
        let said = said(&message);
        seen.push(said["do"].as_str().unwrap().to_owned());
        thread::sleep(Duration::from_millis(15));
        let state = vec![7; 1 << 20];
        match seen.last().unwrap().as_str() {
            "start" => writeln!(answers, r#"{{"protocol": 1}}"#).unwrap(),
            "step" => writeln!(answers, "{}", report("0")).unwrap(),
            "save" => {
                writeln!(answers, r#"{{"bytes": {}}}"#, state.len()).unwrap();
                answers.write_all(&state).unwrap();
            }
            _ => (),
        }
    }
    seen
}

#[test]
fn nobody_waits_for_ever_where_batches_are_larger_than_the_pipe() {
    let seen = in_time(60, || {
        let ((messages, to), (from, answers)) = (pipe().unwrap(), pipe().unwrap());
        let trainer = thread::spawn(move || slow(messages, answers));
        let mut process = Process::start((from, to), Somebody, &spec(), &Value::Null).unwrap();
        let host = silent(&[900; 8]);
        assert!(host.input.0.len() * 13 > 4 << 16, "{} cells fit a pipe's buffer", host.input.0.len());
        let mut feeder = Feeder::new(Same(12, host), process.uploader().unwrap(), 3).unwrap();
        while let Some(fed) = feeder.next() {
            process.step(&fed.unwrap().parts).unwrap();
            let mut state = Vec::new();
            process.save(&mut state).unwrap();
            assert_eq!(state, [7; 1 << 20]);
        }
        drop((feeder, process));
        trainer.join().unwrap()
    });
    let count = |what: &str| seen.iter().filter(|seen| *seen == what).count();
    assert_eq!(["start", "batch", "step", "save"].map(count), [1, 36, 12, 12]);
}

#[test]
fn messages_are_those_that_are_documented() {
    let answers =
        [r#"{"protocol": 1, "about": {"device": "abacus"}}"#, &report("0"), &report("0"), r#"{"loaded": true}"#];
    let (process, written) = canned(answers.join("\n").as_bytes());
    let mut process = process.unwrap();
    assert_eq!(process.about()["device"], "abacus");
    let mut upload = process.uploader().unwrap();
    let parts = [silent(&[2, 3]), silent(&[1])].map(|host| upload.upload(&host).unwrap());
    process.step(&parts).unwrap();
    drop(parts);
    let last = upload.upload(&silent(&[4])).unwrap();
    process.evaluate(&last).unwrap();
    process.load(&mut &b"a state"[..]).unwrap();

    let bytes = written.0.lock().unwrap().clone();
    let mut from = &bytes[..];
    let messages: Vec<_> = std::iter::from_fn(|| message(&mut from)).collect();
    let streams = serde_json::to_value(&spec().streams).unwrap();
    let spec = json!({"streams": streams, "rows": 64, "steps": 1000});
    let expected = [
        json!({"do": "start", "protocol": 1, "spec": spec, "options": null}),
        json!({"do": "batch", "number": 0, "segments": [["clip"], ["clip"]]}),
        json!({"do": "batch", "number": 1, "segments": [["clip"]]}),
        json!({"do": "step", "batches": [0, 1]}),
        json!({"do": "batch", "number": 2, "segments": [["clip"]], "forget": [0, 1]}),
        json!({"do": "evaluate", "batch": 2}),
        json!({"do": "load"}),
    ];
    assert_eq!(messages.iter().map(|message| said(message)).collect::<Vec<_>>(), expected);
    let tensors = safetensors::SafeTensors::deserialize(&messages[1]).unwrap();
    let found = |name: &str| {
        let tensor = tensors.tensor(name).unwrap();
        (format!("{:?}", tensor.dtype()), tensor.shape().to_vec())
    };
    for (name, dtype, shape) in [
        ("input", "I32", &[2, 3, 4][..]),
        ("target", "I32", &[2, 3, 4]),
        ("weights", "F32", &[2, 3, 4]),
        ("reasons", "U8", &[2, 3, 4]),
        ("segment_ids", "I32", &[2, 4]),
        ("places", "I32", &[2, 4]),
    ] {
        assert_eq!(found(name), (dtype.to_owned(), shape.to_vec()), "{name}");
    }
    assert_eq!(tensors.len(), 6);
    let tensors = safetensors::SafeTensors::deserialize(&messages[6]).unwrap();
    assert_eq!(tensors.tensor("checkpoint").unwrap().data(), b"a state");
}

/// What a step is told by a trainer that answers it so.
fn step_error(answer: &str) -> String {
    let (process, _) = canned(format!("{{\"protocol\": 1}}\n{answer}").as_bytes());
    let mut process = process.unwrap();
    let part = process.uploader().unwrap().upload(&silent(&[2, 3])).unwrap();
    process.step(&[part]).unwrap_err().to_string()
}

#[test]
fn answers_that_cannot_be_are_refused() {
    let two = report("0").replace(r#""streams": [{"#, r#""streams": [], "s": [{"#);
    let miscounted = report("0").replacen(r#""count": 0"#, r#""count": 5"#, 1);
    let long = "x".repeat(100);
    for (answer, error) in [
        (report("null").as_str(), "stream text: loss is NaN, expected a finite number"),
        (
            &report("0").replace(r#""step": 1"#, r#""step": 1, "gradient_norm": null"#),
            "norm of the gradient is NaN, expected a finite number",
        ),
        (r#"{"error": "CUDA out of memory"}"#, "cannot have the trainer take a step: CUDA out of memory"),
        ("", "cannot have the trainer take a step: nobody is there"),
        (
            "Loading the model\n",
            "the trainer's answer to `step` is ill-formed: expected value at line 1 column 1: `Loading the model`",
        ),
        (
            &long,
            &format!(
                "the trainer's answer to `step` is ill-formed: expected value at line 1 column 1: `{}`..",
                &long[..80]
            ),
        ),
        (
            r#"{"report": {"step": 1, "loss": NaN, "streams": []}}"#,
            "the trainer's answer to `step` is ill-formed: expected value at line 1 column 32: \
             `{\\\"report\\\": {\\\"step\\\": 1, \\\"loss\\\": NaN, \\\"streams\\\": []}}`",
        ),
        (r#"{"loaded": true}"#, "the trainer's answer to `step` is ill-formed: there is no `report` in it"),
        (&two, "the trainer's answer to `step` is ill-formed: its report has 0 streams, expected 3"),
        (&miscounted, "stream text: number of tokens that the trainer counted is 5, expected 0"),
    ] {
        assert_eq!(step_error(answer), error, "{answer}");
    }
}

#[test]
fn behind_garbage_nothing_more_is_believed() {
    let (process, _) = canned(format!("{{\"protocol\": 1}}\ngarbage\n{}\n", report("0")).as_bytes());
    let mut process = process.unwrap();
    let part = process.uploader().unwrap().upload(&silent(&[2])).unwrap();
    let error = "the trainer's answer to `evaluate` is ill-formed: expected value at line 1 column 1: `garbage`";
    assert_eq!(process.evaluate(&part).unwrap_err().to_string(), error);
    assert_eq!(process.step(&[part]).unwrap_err().to_string(), error);
}

#[test]
fn an_evaluation_that_is_no_number_is_reported_as_it_is() {
    let (process, _) = canned(format!("{{\"protocol\": 1}}\n{}\n", report("null")).as_bytes());
    let mut process = process.unwrap();
    let part = process.uploader().unwrap().upload(&silent(&[2])).unwrap();
    assert!(process.evaluate(&part).unwrap().loss.is_nan());
}

#[test]
fn other_protocols_are_refused() {
    for (answer, error) in [
        (r#"{"protocol": 2}"#, "the trainer's protocol 2 is not supported: 1 is"),
        ("{}", "the trainer's answer to `start` is ill-formed: there is no `protocol` in it"),
        (r#"{"error": "17 streams are too many"}"#, "cannot start the trainer: 17 streams are too many"),
        ("", "cannot start the trainer: nobody is there"),
    ] {
        assert_eq!(canned(answer.as_bytes()).0.unwrap_err().to_string(), error);
    }
}

#[test]
fn batches_of_another_trainer_are_refused() {
    let [mut one, mut two] = [1, 2].map(|seed| behind_a_pipe(&spec(), seed).unwrap());
    let batch = one.uploader().unwrap().upload(&batch(&[3])).unwrap();
    let error = "batch is another trainer's, expected one that was given to this trainer";
    assert_eq!(two.evaluate(&batch).unwrap_err().to_string(), error);
    assert!(one.evaluate(&batch).is_ok());
}

/// A disk that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_state_that_cannot_be_written_is_read_to_its_end() {
    let mut process = behind_a_pipe(&spec(), 5).unwrap();
    let error = process.save(&mut Full).unwrap_err().to_string();
    assert_eq!(error, "cannot write the checkpoint: no storage space");
    let mut state = Vec::new();
    process.save(&mut state).unwrap();
    process.load(&mut &state[..]).unwrap();
}

#[test]
fn a_trainer_that_ends_in_its_state_is_noticed() {
    let (process, _) = canned(b"{\"protocol\": 1}\n{\"bytes\": 100}\nnot as many");
    let error = process.unwrap().save(&mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "cannot have the trainer save its state: nobody is there");
}

#[test]
fn serving_goes_on_behind_refusals() {
    let mut process = behind_a_pipe(&spec(), 5).unwrap();
    let error = process.load(&mut &b"no state"[..]).unwrap_err().to_string();
    assert!(error.starts_with("cannot have the trainer load a state: checkpoint is ill-formed"), "{error}");
    let part = process.uploader().unwrap().upload(&batch(&[3])).unwrap();
    assert!(process.step(&[part]).unwrap().loss > 0.0);
    let error = Process::start(canned_pipe(), Somebody, &spec(), &json!({ "seed": "x" }));
    assert!(error.is_err());
}

/// A pipe to a trainer that has ended.
fn canned_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let ((messages, to), (from, answers)) = (pipe().unwrap(), pipe().unwrap());
    drop((messages, answers));
    (from, to)
}
