//! The trainer's side of the pipe, for any backend.
//!
//! ```text
//! messages ──> reads ahead, uploads ──> two at most ──> does what they say ──> answers
//!              a thread of its own                      the caller's
//! ```

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use ndarray::{Array2, Array3};
use serde_json::Value;

use super::frame::{Frame, malformed};
use super::message::{Answer, Ask, Message, PROTOCOL};
use crate::backend::{BatchSpec, Report, StreamSpec, TrainBackend, Upload};
use crate::batch::{Placed, TrainBatch};
use crate::error::{Error, Result};
use crate::stream::Steps;
use crate::weights::Sums;

/// Messages that are read before they are needed: a batch and what is to be done with it.
const AHEAD: usize = 2;

/// Makes a trainer of a backend: does what the messages say until there are no more, and writes the answers.
///
/// `make` builds the backend from what the host starts it with. Its errors, and the backend's, are answers; so are those
/// of a batch, once it is to be used.
///
/// # Examples
/// See [`Process`](super::Process), and `examples/reference_trainer.rs`.
/// # Errors
/// `Io` if the pipe breaks; `Malformed` for a message that is none.
pub fn serve<B: TrainBackend>(
    make: impl FnOnce(&BatchSpec, &Value) -> Result<B>,
    messages: impl Read + Send,
    answers: impl Write,
) -> Result<()> {
    run(make, messages, answers, |_, _, _| Err(malformed("`score` is for tests")))
}

/// [`serve`] for a backend that answers `score` as well.
///
/// # Errors
/// As `serve`.
#[cfg(feature = "testing")]
pub fn serve_scoring<B: crate::backend::contract::Score>(
    make: impl FnOnce(&BatchSpec, &Value) -> Result<B>,
    messages: impl Read + Send,
    answers: impl Write,
) -> Result<()> {
    run(make, messages, answers, |backend, batch, logits| backend.score(batch, logits))
}

fn run<B: TrainBackend>(
    make: impl FnOnce(&BatchSpec, &Value) -> Result<B>,
    mut messages: impl Read + Send,
    mut answers: impl Write,
    score: impl Fn(&mut B, &B::Batch, &[Array3<f32>]) -> Result<Report>,
) -> Result<()> {
    let Some(first) = Frame::read(&mut messages)? else { return Ok(()) };
    let (spec, options) = match message(&first)?.ask {
        Ask::Start { protocol: PROTOCOL, spec, options } => (spec.into_owned(), options),
        other => {
            let words = format!("the first message is `{}`, expected `start` of protocol {PROTOCOL}", other.name());
            return say(&mut answers, &Answer { error: Some(words), ..Answer::default() });
        }
    };
    let made = make(&spec, &options).and_then(|mut backend| Ok((backend.uploader()?, backend)));
    let (uploader, backend) = match made {
        Ok(made) => made,
        Err(error) => return say(&mut answers, &Answer::error(&error)),
    };
    say(&mut answers, &Answer { protocol: Some(PROTOCOL), ..Answer::default() })?;
    let mut served = Served { backend, score, spec: &spec, batches: BTreeMap::new() };
    thread::scope(|scope| {
        let (to, asked) = sync_channel(AHEAD);
        let reader = scope.spawn(move || read_ahead(messages, uploader, &to));
        let served = asked.iter().try_for_each(|asked| served.answer(asked, &mut answers));
        // A reader that waits for a place in the queue has none to wait for.
        drop(asked);
        let read = reader.join().unwrap_or_else(|_| Err(malformed("its reader panicked")));
        served.and(read)
    })
}

/// A message, and the batch that came with it.
struct Asked<B> {
    message: Message<Ask<'static>>,
    frame: Frame,
    batch: Option<Result<B>>,
}

fn read_ahead<U: Upload>(mut messages: impl Read, mut uploader: U, to: &SyncSender<Asked<U::Batch>>) -> Result<()> {
    while let Some(frame) = Frame::read(&mut messages)? {
        let message = message(&frame)?;
        let batch = match &message.ask {
            Ask::Batch { segments, .. } => Some(batch(&frame, segments).and_then(|batch| uploader.upload(&batch))),
            _ => None,
        };
        // Nobody listens any more: what went wrong is known there.
        if to.send(Asked { message, frame, batch }).is_err() {
            break;
        }
    }
    Ok(())
}

fn message(frame: &Frame) -> Result<Message<Ask<'static>>> {
    serde_json::from_str(&frame.message).map_err(malformed)
}

struct Served<'a, B: TrainBackend, S> {
    backend: B,
    score: S,
    spec: &'a BatchSpec,
    /// A batch that could not be taken is kept as its error.
    batches: BTreeMap<u64, Result<B::Batch>>,
}

impl<B: TrainBackend, S: Fn(&mut B, &B::Batch, &[Array3<f32>]) -> Result<Report>> Served<'_, B, S> {
    fn answer(&mut self, Asked { message, frame, batch }: Asked<B::Batch>, answers: &mut impl Write) -> Result<()> {
        message.forget.iter().for_each(|number| drop(self.batches.remove(number)));
        if let (Ask::Batch { number, .. }, Some(batch)) = (&message.ask, batch) {
            self.batches.insert(*number, batch);
            return Ok(());
        }
        let mut state = Vec::new();
        let answer = self.done(&message.ask, &frame, &mut state).unwrap_or_else(|error| Answer::error(&error));
        say(answers, &answer)?;
        answers.write_all(&state).and_then(|()| answers.flush()).map_err(unsaid)
    }

    fn done(&mut self, ask: &Ask, frame: &Frame, state: &mut Vec<u8>) -> Result<Answer> {
        match ask {
            Ask::Step { batches } => self.step(batches).map(Answer::report),
            Ask::Evaluate { batch } => {
                let batch = find(&self.batches, *batch)?;
                self.backend.evaluate(batch).map(Answer::report)
            }
            Ask::Score { batch } => {
                let (logits, batch) = (self.logits(frame)?, find(&self.batches, *batch)?);
                (self.score)(&mut self.backend, batch, &logits).map(Answer::report)
            }
            Ask::Save => {
                self.backend.save(state)?;
                Ok(Answer { bytes: Some(state.len() as u64), ..Answer::default() })
            }
            Ask::Load => {
                let state = frame.tensor::<u8, ndarray::Ix1>("checkpoint")?;
                self.backend.load(&mut state.to_vec().as_slice())?;
                Ok(Answer { loaded: Some(true), ..Answer::default() })
            }
            Ask::Start { .. } | Ask::Batch { .. } => Err(malformed(format!("no time for `{}`", ask.name()))),
        }
    }

    /// The logits of trained streams; the others have none.
    fn logits(&self, frame: &Frame) -> Result<Vec<Array3<f32>>> {
        let named = |(k, stream): (usize, &StreamSpec)| match stream.trained {
            true => frame.tensor(&format!("logits.{k}")),
            false => Ok(Array3::zeros((0, 0, 0))),
        };
        self.spec.streams.iter().enumerate().map(named).collect()
    }

    /// A step takes batches that lie side by side: they are taken out, and go back.
    fn step(&mut self, numbers: &[u64]) -> Result<Report> {
        numbers.iter().try_for_each(|number| find(&self.batches, *number).map(drop))?;
        let take = |number: &u64| Some((*number, self.batches.remove(number)?.ok()?));
        let (names, parts): (Vec<_>, Vec<_>) = numbers.iter().filter_map(take).unzip();
        let report = self.backend.step(&parts);
        self.batches.extend(names.into_iter().zip(parts.into_iter().map(Ok)));
        report
    }
}

fn find<T>(batches: &BTreeMap<u64, Result<T>>, number: u64) -> Result<&T> {
    match batches.get(&number) {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(error)) => Err(malformed(format!("batch {number}: {error}"))),
        None => Err(Error::invalid("batch", number, "one that is here")),
    }
}

/// The batch that a message brought.
fn batch(frame: &Frame, segments: &[Vec<String>]) -> Result<TrainBatch> {
    let [input, target] = ["input", "target"].map(|name| frame.tensor(name).map(Steps));
    let (segment_ids, input) = (frame.tensor("segment_ids")?, input?);
    Ok(TrainBatch {
        target: target?,
        weights: Steps(frame.tensor("weights")?),
        reasons: Steps(frame.tensor("reasons")?),
        sums: Sums::default(),
        rows: rows(&segment_ids, segments),
        input,
    })
}

/// Where each segment stands: its steps, and the one column more that a row's last has.
fn rows(ids: &Array2<i32>, segments: &[Vec<String>]) -> Vec<Vec<Placed>> {
    let row = |(ids, names): (ndarray::ArrayView1<i32>, &Vec<String>)| {
        let mut at = 0;
        let place = |(number, id): (usize, &String)| {
            let of = |found: &i32| usize::try_from(*found) == Ok(number);
            let begin = ids.iter().position(of).unwrap_or(at);
            let last = usize::from(number + 1 == names.len());
            at = begin + ids.iter().filter(|found| of(found)).count();
            Placed { id: id.clone(), index: 0, steps: begin..at + last, frames: 0 }
        };
        names.iter().enumerate().map(place).collect()
    };
    ids.outer_iter().zip(segments).map(row).collect()
}

impl Answer {
    fn error(error: &Error) -> Self {
        Answer { error: Some(error.to_string()), ..Answer::default() }
    }

    fn report(report: Report) -> Self {
        Answer { report: Some(report), ..Answer::default() }
    }
}

fn say(answers: &mut impl Write, answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(malformed)?;
    line.push(b'\n');
    answers.write_all(&line).and_then(|()| answers.flush()).map_err(unsaid)
}

fn unsaid(error: std::io::Error) -> Error {
    Error::io("answer the host", error)
}
