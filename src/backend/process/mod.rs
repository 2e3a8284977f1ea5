//! A trainer in any language, behind a pipe.
//!
//! ```text
//! feeder's thread   batch 1   batch 2          batch 3                      into the pipe, one whole message at a time
//! caller                 step 1 ·············> report   step 2 ·······>     waits for answers, and for nothing else
//! trainer           reads 1   reads 2, steps on 1   reads 3, steps on 2     reads ahead
//! ```
//!
//! Nobody waits for ever while everybody keeps the rules: the trainer writes only what it was asked for, and whoever
//! asks reads the answer before it asks again. A trainer that does not read ahead holds up the feeder, not the caller.

mod frame;
mod message;
mod serve;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use self::frame::FrameWriter;
use self::message::{Answer, Ask, Message, PROTOCOL};
use super::report::check_parts;
use super::{BatchSpec, Report, TrainBackend, Upload};
use crate::batch::TrainBatch;
use crate::error::{Error, Result};

pub use serve::serve;
#[cfg(feature = "testing")]
pub use serve::serve_scoring;

/// Longer lines are no answers.
const MOST_LINE: u64 = 1 << 20;
/// How much of what is no answer an error shows.
const SHOWN: usize = 80;
/// A state passes in pieces of this size.
const PIECE: usize = 1 << 20;

/// What stands behind the pipe, as far as the host can know more of it than its answers.
///
/// A deadline is kept there too: to wait for an answer is to read, and whoever hands in the pipe can end that.
pub trait Trainer: Send {
    /// Why it does not go on, asked when it has closed the pipe: how it ended, and its last words.
    fn fate(&mut self) -> String;
}

/// Trains in another process, or wherever the pipe leads: `docs/format.md` says what is spoken there.
///
/// `io` starts such processes. [`serve`] makes a trainer of any backend.
///
/// # Examples
/// ```
/// use std::io::pipe;
/// use ndarray::arr2;
/// use roundelay::backend::{BatchSpec, Process, Reference, ReferenceOptions, TrainBackend, Trainer, Upload, serve};
/// use roundelay::batch::{Clip, Collate, TrainBatch};
/// use roundelay::{Delay, Extent, Frames, Layout, Policy, Start};
///
/// struct Thread;
/// impl Trainer for Thread {
///     fn fate(&mut self) -> String {
///         "the thread ended".into()
///     }
/// }
///
/// let ((messages, to), (from, answers)) = (pipe().unwrap(), pipe().unwrap());
/// let make = |spec: &BatchSpec, _: &serde_json::Value| Reference::new(spec, ReferenceOptions::default());
/// std::thread::spawn(move || serve(make, messages, answers));
///
/// let layout = Layout::preset("delay-1")?;
/// let spec = BatchSpec::new(&layout, 8, 100);
/// let mut trainer = Process::start((from, to), Thread, &spec, &serde_json::json!({}))?;
///
/// let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
/// let (codes, mut batch) = (arr2(&[[9, 3], [1, 2], [5, 6]]), TrainBatch::default());
/// let clip = Clip { id: "a", index: 0, codes: Frames(codes.view()), regions: &[] };
/// Collate::new(layout, Policy::named("moshi")?, delay)?.batch(&[vec![clip]], None, &mut batch)?;
/// let batch = [trainer.uploader()?.upload(&batch)?];
/// let first = trainer.step(&batch)?;
/// assert!(trainer.step(&batch)?.loss < first.loss);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug)]
pub struct Process {
    answers: Answers,
    link: Arc<Link>,
    about: Value,
    /// What an answer was that cannot have been one: nobody knows what the next line answers.
    broken: Option<[String; 2]>,
}

/// What several threads share: the way to the trainer.
struct Link {
    spec: BatchSpec,
    // Closed before the trainer is let go: that is what tells it to end.
    messages: Mutex<Box<dyn Write + Send>>,
    trainer: Mutex<Box<dyn Trainer>>,
    /// Of the next batch.
    number: AtomicU64,
    /// Batches that nobody holds any more, to be said with the next message.
    forgotten: Mutex<Vec<u64>>,
}

impl Process {
    /// Greets the trainer at the other ends of a pipe, whose answers are read and whose messages are written, and has it
    /// build its model. The options are its own, and go through as they are.
    ///
    /// # Errors
    /// `Io` if it ends or refuses, with its words; `Malformed` or `Unsupported` if it answers something else.
    pub fn start<R, W>(
        (answers, messages): (R, W),
        trainer: impl Trainer + 'static,
        spec: &BatchSpec,
        options: &Value,
    ) -> Result<Self>
    where
        R: Read + Send + 'static,
        W: Write + Send + 'static,
    {
        let link = Link {
            spec: spec.clone(),
            messages: Mutex::new(Box::new(messages)),
            trainer: Mutex::new(Box::new(trainer)),
            number: AtomicU64::new(0),
            forgotten: Mutex::default(),
        };
        let answers = Answers(BufReader::with_capacity(1 << 16, Box::new(answers)));
        let mut process = Process { answers, link: Arc::new(link), about: Value::Null, broken: None };
        let ask = Ask::Start { protocol: PROTOCOL, spec: Cow::Borrowed(spec), options: options.clone() };
        let answer = process.ask(&ask, &mut FrameWriter::default())?;
        let protocol = process.expect(answer.protocol, &ask, "protocol")?;
        if protocol != PROTOCOL {
            return Err(Error::unsupported(format!("the trainer's protocol {protocol}"), format!("{PROTOCOL} is")));
        }
        process.about = answer.about;
        Ok(process)
    }

    /// What the trainer said of itself, for whoever keeps a record of a run; null if nothing.
    pub fn about(&self) -> &Value {
        &self.about
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, ask: &Ask, tensors: &mut FrameWriter) -> Result<Answer> {
        if let Some([what, detail]) = &self.broken {
            return Err(Error::malformed(what, detail));
        }
        let sent = self.link.send(ask, tensors);
        // Who takes no more messages may have said why.
        let answer = self.answer(ask)?;
        sent.map(|()| answer)
    }

    fn answer(&mut self, ask: &Ask) -> Result<Answer> {
        let mut line = Vec::new();
        let read = self.answers.0.by_ref().take(MOST_LINE).read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() {
            return Err(self.link.gone(ask));
        }
        let answer: Answer = match serde_json::from_slice(&line) {
            Ok(answer) => answer,
            Err(error) => return Err(self.garbage(ask, format!("{error}: {}", shown(&line)))),
        };
        match answer.error {
            Some(words) => Err(Error::io(ask.doing(), io::Error::other(words))),
            None => Ok(answer),
        }
    }

    /// After this nothing can be asked any more.
    fn garbage(&mut self, ask: &Ask, detail: String) -> Error {
        let broken = [format!("the trainer's answer to `{}`", ask.name()), detail];
        let [what, detail] = &*self.broken.insert(broken);
        Error::malformed(what, detail)
    }

    fn expect<T>(&mut self, part: Option<T>, ask: &Ask, key: &str) -> Result<T> {
        part.ok_or_else(|| self.garbage(ask, format!("there is no `{key}` in it")))
    }

    fn report(&mut self, ask: &Ask, tensors: &mut FrameWriter, of: &[&ProcessBatch]) -> Result<Report> {
        if of.iter().any(|batch| !Arc::ptr_eq(&batch.link, &self.link)) {
            return Err(Error::invalid("batch", "another trainer's", "one that was given to this trainer"));
        }
        let answer = self.ask(ask, tensors)?;
        let report = self.expect(answer.report, ask, "report")?;
        let expected = self.link.spec.streams.len();
        if report.streams.len() != expected {
            let found = report.streams.len();
            return Err(self.garbage(ask, format!("its report has {found} streams, expected {expected}")));
        }
        self.link.check_labels(&report, of)?;
        Ok(report)
    }
}

impl TrainBackend for Process {
    type Batch = ProcessBatch;
    type Upload = ProcessUpload;

    fn uploader(&mut self) -> Result<ProcessUpload> {
        Ok(ProcessUpload { link: Arc::clone(&self.link), frame: FrameWriter::default() })
    }

    fn step(&mut self, parts: &[ProcessBatch]) -> Result<Report> {
        check_parts(parts)?;
        let ask = Ask::Step { batches: parts.iter().map(|batch| batch.number).collect() };
        let report = self.report(&ask, &mut FrameWriter::default(), &parts.iter().collect::<Vec<_>>())?;
        report.check(&self.link.spec)?;
        Ok(report)
    }

    fn evaluate(&mut self, batch: &ProcessBatch) -> Result<Report> {
        self.report(&Ask::Evaluate { batch: batch.number }, &mut FrameWriter::default(), &[batch])
    }

    fn save(&mut self, to: &mut dyn Write) -> Result<()> {
        let answer = self.ask(&Ask::Save, &mut FrameWriter::default())?;
        let mut left = self.expect(answer.bytes, &Ask::Save, "bytes")?;
        let (mut piece, mut written) = (vec![0; PIECE], Ok(()));
        while left > 0 {
            let most = left.min(PIECE as u64) as usize;
            let read = self.answers.0.read(&mut piece[..most]).unwrap_or(0);
            if read == 0 {
                return Err(self.link.gone(&Ask::Save));
            }
            left -= read as u64;
            // What cannot be written is read all the same: the next answer comes behind it.
            written = written.and_then(|()| to.write_all(&piece[..read]));
        }
        written.map_err(|e| Error::io("write the checkpoint", e))
    }

    fn load(&mut self, from: &mut dyn Read) -> Result<()> {
        let mut state = Vec::new();
        from.read_to_end(&mut state).map_err(|e| Error::io("read the checkpoint", e))?;
        let mut tensors = FrameWriter::default();
        tensors.add("checkpoint", &ndarray::ArrayView1::from(&state));
        let answer = self.ask(&Ask::Load, &mut tensors)?;
        match self.expect(answer.loaded, &Ask::Load, "loaded")? {
            true => Ok(()),
            false => Err(self.garbage(&Ask::Load, "`loaded` is false".into())),
        }
    }
}

#[cfg(feature = "testing")]
impl super::contract::Score for Process {
    fn score(&mut self, batch: &ProcessBatch, logits: &[ndarray::Array3<f32>]) -> Result<Report> {
        let mut tensors = FrameWriter::default();
        let streams = logits.iter().zip(&self.link.spec.streams).enumerate();
        for (k, (logits, _)) in streams.filter(|(_, (_, stream))| stream.trained) {
            tensors.add(&format!("logits.{k}"), logits);
        }
        self.report(&Ask::Score { batch: batch.number }, &mut tensors, &[batch])
    }
}

impl Link {
    /// Writes a message, whole. It may block until the trainer reads.
    fn send(&self, ask: &Ask, tensors: &mut FrameWriter) -> Result<()> {
        let written = self.write(ask, tensors);
        tensors.clear();
        written.map_err(|_| self.gone(ask))
    }

    fn write(&self, ask: &Ask, tensors: &mut FrameWriter) -> io::Result<()> {
        let message = Message { ask, forget: std::mem::take(&mut *held(&self.forgotten)) };
        let (head, data) = tensors.finish(serde_json::to_string(&message)?);
        let mut messages = held(&self.messages);
        messages.write_all(&head)?;
        messages.write_all(data)?;
        messages.flush()
    }

    fn gone(&self, ask: &Ask) -> Error {
        Error::io(ask.doing(), io::Error::other(held(&self.trainer).fate()))
    }

    /// Both sides must have counted the same labels: a trainer that overlooks some learns something else.
    fn check_labels(&self, report: &Report, of: &[&ProcessBatch]) -> Result<()> {
        let mut expected = Report::default();
        of.iter().for_each(|batch| expected.add(&batch.labels));
        let streams = self.spec.streams.iter().zip(&report.streams).zip(&expected.streams);
        for ((stream, found), expected) in streams {
            for (what, found, expected) in
                [("tokens", found.tokens, expected.tokens), ("pads", found.pads, expected.pads)]
            {
                if found.count != expected.count {
                    let what = format!("number of {what} that the trainer counted");
                    return Err(Error::invalid(what, found.count, expected.count).in_stream(&stream.name));
                }
            }
        }
        Ok(())
    }
}

/// A batch that the trainer holds; let go, it is forgotten there.
#[derive(Debug)]
pub struct ProcessBatch {
    number: u64,
    /// How many labels it has; no losses.
    labels: Report,
    link: Arc<Link>,
}

impl Drop for ProcessBatch {
    // Said with the next message: nobody waits for a pipe to let go of a batch.
    fn drop(&mut self) {
        held(&self.link.forgotten).push(self.number);
    }
}

/// Writes batches into the pipe. The trainer says what is wrong with them when it is to use them.
#[derive(Debug)]
pub struct ProcessUpload {
    link: Arc<Link>,
    frame: FrameWriter,
}

impl Upload for ProcessUpload {
    type Batch = ProcessBatch;

    fn upload(&mut self, batch: &TrainBatch) -> Result<ProcessBatch> {
        self.link.spec.check(batch)?;
        let number = self.link.number.fetch_add(1, Ordering::Relaxed);
        let segments = batch.rows.iter().map(|row| row.iter().map(|placed| placed.id.clone()).collect()).collect();
        self.frame.add("input", &batch.input.0).add("target", &batch.target.0).add("weights", &batch.weights.0);
        self.frame.add("segment_ids", &batch.segment_ids()).add("places", &batch.places());
        self.frame.add("reasons", &batch.reasons.0);
        self.link.send(&Ask::Batch { number, segments }, &mut self.frame)?;
        Ok(ProcessBatch { number, labels: Report::of(batch, |_, _, _| 0.0), link: Arc::clone(&self.link) })
    }
}

/// What the trainer writes, line by line.
struct Answers(BufReader<Box<dyn Read + Send>>);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answers").finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Nothing that is held is left half changed, whoever panicked meanwhile.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The begin of what was no answer.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let more = if line.len() > SHOWN { ".." } else { "" };
    format!("`{}`{more}", text.trim_end().escape_debug())
}
