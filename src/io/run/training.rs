//! The loop: batches to the device, a step each, now and then an evaluation and a checkpoint.

use super::curve::Curve;
use super::{CURVE_FILE, Point, Run};
use crate::backend::{BatchSpec, Fed, Feeder, Report, Source, TrainBackend};
use crate::batch::{Ahead, Place, Split, TrainBatch, Width};
use crate::delay::Delay;
use crate::error::{Error, Result};
use crate::io::{Batches, Loader};

/// What is trained and measured on.
#[derive(Debug)]
pub struct Data {
    /// Batches to train on.
    pub train: Loader<Delay>,
    /// Batches to measure by; an order for evaluation. None if nothing was kept apart.
    pub valid: Option<Loader<Delay>>,
}

/// How long to train, and what to do on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Steps in all, those of runs before among them; 1,000 by default.
    pub steps: u64,
    /// Steps from one checkpoint to the next; 100 by default. There is one after the last step too.
    pub save_every: u64,
    /// Steps from one evaluation to the next; 100 by default. There is one after the last step too.
    pub evaluate_every: u64,
    /// Rows that fit the device at once: larger batches go there in parts. No bound by default.
    pub part_rows: usize,
    /// How far and by how many threads batches are made ahead.
    pub ahead: Ahead,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule { steps: 1000, save_every: 100, evaluate_every: 100, part_rows: usize::MAX, ahead: Ahead::default() }
    }
}

impl Data {
    /// What every batch of both is like: the model is built by it.
    ///
    /// # Errors
    /// As [`Collate::steps`](crate::batch::Collate::steps).
    pub fn spec(&self) -> Result<BatchSpec> {
        let loaders = [Some(&self.train), self.valid.as_ref()];
        let widest = |loader: &Loader<Delay>| match loader.order().widest() {
            Width::Steps(steps) => Ok(steps),
            frames => loader.collate().steps(frames),
        };
        let steps = loaders.into_iter().flatten().map(widest).collect::<Result<Vec<_>>>()?;
        let rows = self.train.order().options().batch;
        Ok(BatchSpec::new(self.train.collate().layout(), rows, steps.into_iter().max().unwrap_or(0)))
    }
}

impl Source for Batches<Delay> {
    fn next(&mut self) -> Option<Result<&TrainBatch>> {
        Some(Batches::next(self)?.map(|loaded| &loaded.batch))
    }
}

impl Run {
    /// Trains until so many steps are done, from the last checkpoint on. `each` sees every point of the curve.
    ///
    /// # Errors
    /// `Invalid` if the loss of a step is no finite number or the backend has lost count of its steps, with the step and its
    /// segments; if the corpus is not that of the checkpoint; those of backend and loader. What the last checkpoint holds is
    /// not touched by any of them.
    pub fn train<B: TrainBackend>(
        &mut self,
        backend: &mut B,
        data: &Data,
        schedule: &Schedule,
        mut each: impl FnMut(&Point),
    ) -> Result<()>
    where
        B::Batch: 'static,
    {
        let (spec, order) = (data.spec()?, data.train.order());
        self.load(backend)?;
        let (begun, from) = match self.checkpoint() {
            None => (0, Place::default()),
            Some(last) => (last.step, order.seek(&last.position)?),
        };
        if begun >= schedule.steps {
            return Ok(());
        }
        let place = |steps: u64| order.after(from, steps).map(|place| place.unwrap_or(from));
        let mut curve = Curve::open(&self.folder.join(CURVE_FILE), begun, |step| due(step, schedule.evaluate_every))?;
        let mut tell = |curve: &mut Curve, point: Point| curve.write(&point).map(|()| each(&point));
        let batches = data.train.batches(from, None, schedule.ahead)?;
        let mut feeder = Feeder::new(batches, backend.uploader()?, schedule.part_rows)?;
        for step in begun + 1..=schedule.steps {
            self.begun = step;
            let fed = feeder.next().expect("an order without an end")?;
            let report = stepped(backend, &fed, &spec, step)?;
            let (now, last) = ((step, place(step - 1 - begun)?.epoch), step == schedule.steps);
            tell(&mut curve, Point::new(now, Split::Train, &spec, &report))?;
            if let Some(valid) = data.valid.as_ref().filter(|_| last || due(step, schedule.evaluate_every)) {
                tell(&mut curve, Point::new(now, Split::Valid, &spec, &evaluated(backend, valid, &spec, schedule)?))?;
            }
            if last || due(step, schedule.save_every) {
                curve.sync()?;
                self.save(backend, step, order.position(place(step - begun)?))?;
            }
        }
        Ok(())
    }
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// Takes a step and looks at what came of it.
fn stepped<B: TrainBackend>(backend: &mut B, fed: &Fed<B::Batch>, spec: &BatchSpec, step: u64) -> Result<Report> {
    let report = backend.step(&fed.parts).and_then(|report| match report.step == step {
        true => report.check(spec).map(|()| report),
        false => Err(Error::invalid("number of the step that the backend reports", report.step, step)),
    });
    report.map_err(|e| e.in_recording(fed.segments.join("\", \"")))
}

/// The loss on all that was kept apart.
fn evaluated<B: TrainBackend>(
    backend: &mut B,
    valid: &Loader<Delay>,
    spec: &BatchSpec,
    schedule: &Schedule,
) -> Result<Report>
where
    B::Batch: 'static,
{
    let batches = valid.batches(Place::default(), Some(1), schedule.ahead)?;
    let mut feeder = Feeder::new(batches, backend.uploader()?, schedule.part_rows)?;
    let mut sum = Report::default();
    while let Some(fed) = feeder.next() {
        for part in fed?.parts {
            sum.add(&backend.evaluate(&part)?);
        }
    }
    sum.check(spec)?;
    Ok(sum)
}
