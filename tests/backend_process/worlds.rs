//! Batches, and trainers that only say what they are told to.

use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ndarray::Array2;
use roundelay::backend::{BatchSpec, Process, Trainer};
use roundelay::batch::{Clip, Collate, TrainBatch};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Result, Start};
use serde_json::Value;

/// Rows of so many frames, in the layout with a text, a semantic and an acoustic stream.
pub fn batch(frames: &[usize]) -> TrainBatch {
    let layout = Layout::preset("delay-1").unwrap();
    let codes = |(row, &frames): (usize, &usize)| {
        Array2::from_shape_fn((3, frames), |(k, t)| ((row * 31 + k * 17 + t * 7) % 900) as i32 + 4)
    };
    let codes: Vec<_> = frames.iter().enumerate().map(codes).collect();
    let clip = |codes| vec![Clip { id: "clip", index: 0, codes, regions: &[] }];
    let rows: Vec<_> = codes.iter().map(|codes| clip(Frames(codes.view()))).collect();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let mut batch = TrainBatch::default();
    Collate::new(layout, Policy::named("moshi").unwrap(), delay).unwrap().batch(&rows, None, &mut batch).unwrap();
    batch
}

/// The same, with nothing to learn: any report of no labels fits it.
pub fn silent(frames: &[usize]) -> TrainBatch {
    let mut batch = batch(frames);
    batch.weights.0.fill(0.0);
    batch
}

pub fn spec() -> BatchSpec {
    BatchSpec::new(&Layout::preset("delay-1").unwrap(), 64, 1000)
}

/// What a trainer may say of a batch with nothing to learn.
pub fn report(loss: &str) -> String {
    let none = r#"{"count": 0, "nats": 0}"#;
    let stream = format!(r#"{{"loss": {loss}, "tokens": {none}, "pads": {none}}}"#);
    format!(r#"{{"report": {{"step": 1, "loss": {loss}, "streams": [{stream}, {stream}, {stream}]}}}}"#)
}

pub struct Somebody;

impl Trainer for Somebody {
    fn fate(&mut self) -> String {
        "nobody is there".into()
    }
}

/// What the host writes, for a look at it.
#[derive(Clone, Default)]
pub struct Written(pub Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A trainer whose answers are given from the begin.
pub fn canned(answers: &[u8]) -> (Result<Process>, Written) {
    let (written, answers) = (Written::default(), Cursor::new(answers.to_vec()));
    (Process::start((answers, written.clone()), Somebody, &spec(), &Value::Null), written)
}

/// The next message, whole; none at the end.
pub fn message(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 8];
    from.read_exact(&mut length).ok()?;
    let mut message = vec![0; u64::from_le_bytes(length) as usize];
    from.read_exact(&mut message).ok().map(|()| message)
}

/// What a message says, out of its header.
pub fn said(message: &[u8]) -> Value {
    let (_, header) = safetensors::SafeTensors::read_metadata(message).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["message"]).unwrap()
}

/// Fails where both sides wait for each other.
pub fn in_time<T: Send + 'static>(seconds: u64, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (to, done) = mpsc::channel();
    let thread = thread::spawn(move || to.send(run()).unwrap());
    match done.recv_timeout(Duration::from_secs(seconds)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing for {seconds} s"),
        done => {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done.unwrap()
        }
    }
}
