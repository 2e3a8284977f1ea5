//! `train DIR.. -o RUN`: a small model, trained through a backend

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use roundelay::backend::TrainBackend;
use roundelay::batch::Split;
use roundelay::io::{Data, Point, Run, Schedule};
use roundelay::report::Curve;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome, note};
use crate::model::{Model, ModelArgs, With};
use crate::reading::{Part, ReadArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    read: ReadArgs,
    /// Folder of the run: new, empty, or of this same run broken off
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Steps in all, those of a run that is gone on with among them
    #[arg(long, value_name = "N", default_value_t = 1000)]
    steps: u64,
    /// Steps from one checkpoint to the next
    #[arg(long, value_name = "N", default_value_t = 100)]
    save_every: u64,
    /// Steps from one evaluation on the valid split to the next
    #[arg(long, value_name = "N", default_value_t = 100)]
    evaluate_every: u64,
    /// Rows that the device takes at once: larger batches go there in parts, and are one step all the same
    #[arg(long, value_name = "N")]
    part_rows: Option<usize>,
}

/// A run, ready for whichever backend trains it.
struct Training<'a> {
    run: &'a mut Run,
    data: &'a Data,
    schedule: Schedule,
}

impl With for Training<'_> {
    fn with<M: TrainBackend>(self, mut backend: M) -> Outcome
    where
        M::Batch: 'static,
    {
        let mut progress = Progress::new(self.schedule.steps);
        let result = self.run.train(&mut backend, self.data, &self.schedule, |point| progress.show(point));
        progress.end();
        result.map_err(|error| stopped(self.run, error))
    }
}

/// Says where the run stands, if it got anywhere.
fn stopped(run: &Run, error: roundelay::Error) -> Failure {
    let saved = run.checkpoint().map_or(0, |last| last.step);
    match run.begun() {
        step if step == saved => {}
        step if saved == 0 => note(format!("step {step} failed; there is no checkpoint yet")),
        step => note(format!(
            "step {step} failed; the checkpoint of step {saved} is whole, and the same command goes on from it"
        )),
    }
    error.into()
}

impl Args {
    pub fn run(self) -> Outcome {
        let data = self.data()?;
        let spec = data.spec()?;
        let model = self.model.model(self.read.order.seed)?;
        let layout = data.train.collate().layout();
        let mut run = Run::open(&self.output, layout, &self.plan(&model, &data)?)?;
        let schedule = Schedule {
            steps: self.steps,
            save_every: self.save_every,
            evaluate_every: self.evaluate_every,
            part_rows: self.part_rows.unwrap_or(usize::MAX),
            ..Schedule::default()
        };
        if let Some(last) = run.checkpoint() {
            match last.step < self.steps {
                true => note(format!("goes on from step {} of {}", last.step, self.steps)),
                false => {
                    note(format!("the run has {} steps already: --steps {} asks for no more", last.step, self.steps))
                }
            }
        }
        model.on(&spec, Training { run: &mut run, data: &data, schedule })?;
        let (step, curve) = (run.checkpoint().map_or(0, |last| last.step), run.curve()?);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{step} steps; cross-entropy of a label, nats")?;
        write!(out, "{}", Curve(&curve))?;
        Ok(())
    }

    fn data(&self) -> Result<Data, Failure> {
        let part = |split, evaluation| Part { split: Some(split), evaluation, world: 1, rank: 0 };
        let train = self.read.loader(&part(Split::Train, false))?;
        let valid = match self.read.holds(Split::Valid)? {
            true => Some(self.read.loader(&part(Split::Valid, true))?),
            false => None,
        };
        Ok(Data { train, valid })
    }

    /// All that decides what comes out.
    fn plan(&self, model: &Model, data: &Data) -> Result<Value, Failure> {
        let value = |value: serde_json::Result<Value>| value.map_err(|e| Failure::from(std::io::Error::from(e)));
        Ok(json!({
            "roundelay": env!("CARGO_PKG_VERSION"),
            "datasets": self.read.identities()?,
            "read": value(serde_json::to_value(data.train.options()))?,
            "policy": value(serde_json::to_value(data.train.collate().policy()))?,
            "extent": self.read.extent_name(),
            "part_rows": self.part_rows,
            "spec": value(serde_json::to_value(data.spec()?))?,
            "model": value(serde_json::to_value(model))?,
        }))
    }
}

/// A bar on a terminal, and a plain line now and then otherwise.
struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    last: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(10);

    fn new(steps: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {elapsed} of about {duration}, {msg}");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(steps));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Progress { bar, steps, last: Instant::now() }
    }

    fn show(&mut self, point: &Point) {
        if let Some(bar) = &self.bar {
            bar.set_position(point.step);
            bar.set_message(told(point));
        } else if self.last.elapsed() >= Self::EVERY || point.split == Split::Valid {
            self.last = Instant::now();
            let _ = writeln!(anstream::stderr(), "step {}/{}: {}", point.step, self.steps, told(point));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn told(point: &Point) -> String {
    let parts = [("loss", point.loss), ("words", point.words), ("pads", point.pads)];
    let codes = [("semantic", point.semantic), ("acoustic", point.acoustic)];
    let parts = parts.into_iter().chain(codes).filter_map(|(name, value)| Some(format!("{name} {:.4}", value?)));
    let split = if point.split == Split::Valid { "valid: " } else { "" };
    format!("{split}{}", parts.collect::<Vec<_>>().join(", "))
}
