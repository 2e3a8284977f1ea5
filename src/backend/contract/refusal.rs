//! What a backend must not go on with.

use super::batches::World;
use super::checkpoint::Checkpoint;
use super::trial::Trial;
use super::{Found, Make, Score, alike, holds};
use crate::backend::Upload;
use crate::batch::{TrainBatch, Width};

/// Without it a device reads memory that is not a table's, or learns from what nobody meant.
pub(super) fn batches_of_another_kind_are_refused<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let batch = world.batch(&[&[0], &[3]])?;
    let expected = trial.evaluate(&batch)?;
    for (what, wrong) in kinds(&world)?.into_iter().chain(cells(&world, &batch)?) {
        holds(trial.upload.upload(&wrong).is_err(), || format!("a batch with {what} is taken"))?;
    }
    holds(trial.step(&[]).is_err(), || "a step on nothing is taken".into())?;
    alike(&trial.evaluate(&batch)?, &expected)
}

/// Batches of other shapes than the model's.
fn kinds(world: &World) -> crate::error::Result<Vec<(&'static str, TrainBatch)>> {
    let mut long = TrainBatch::default();
    world.fill(&[&[0]], Some(Width::Steps(world.spec.steps + 1)), &mut long)?;
    Ok(vec![
        ("other streams", World::one_side()?.batch(&[&[0]])?),
        ("too many rows", world.batch(&[&[0][..]; 5])?),
        ("too many steps", long),
    ])
}

/// A batch with one wrong cell, in a row and stream that are not the first.
fn cells(world: &World, batch: &TrainBatch) -> crate::error::Result<Vec<(&'static str, TrainBatch)>> {
    let (k, untrained) = (2, 3);
    let live =
        batch.weights.0.indexed_iter().find(|((row, stream, _), weight)| (*row, *stream) == (1, k) && **weight > 0.0);
    let step = live.map_or(0, |((_, _, step), _)| step);
    let changed = |change: &dyn Fn(&mut TrainBatch)| {
        let mut batch = batch.clone();
        change(&mut batch);
        batch
    };
    let input = |id: i32| changed(&|batch| batch.input.0[[1, k, step]] = id);
    let target = |id: i32| changed(&|batch| batch.target.0[[1, k, step]] = id);
    let weight = |stream: usize, weight: f32| changed(&|batch| batch.weights.0[[1, stream, step]] = weight);
    Ok(vec![
        ("an input beyond the last id", input(world.spec.streams[k].inputs as i32)),
        ("an input of -2", input(-2)),
        ("a target beyond the last id", target(world.spec.streams[k].outputs as i32)),
        ("a weight without a target", target(-1)),
        ("a weight of NaN", weight(k, f32::NAN)),
        ("an infinite weight", weight(k, f32::INFINITY)),
        ("a weight below 0", weight(k, -1.0)),
        ("a weight in a stream that is not trained", weight(untrained, 1.0)),
    ])
}

/// Without it one bad batch makes the model, and every checkpoint behind it, numbers no more.
pub(super) fn what_is_no_number_is_refused<B: Score>(make: Make<B>) -> Found {
    let world = World::one_side()?;
    let batch = world.batch(&[&[0], &[3]])?;
    let mut trial = Trial::new(make, &world.spec)?;
    trial.step(&[&batch])?;
    let (saved, probe) = (trial.saved()?, trial.evaluate(&batch)?);

    let mut logits = world.logits(&batch);
    logits.iter_mut().for_each(|logits| logits.fill(f32::NAN));
    let scored = trial.score(&batch, &logits);
    holds(scored.is_err() || scored.is_ok_and(|report| report.check(&world.spec).is_err()), || {
        "logits that are no numbers give a loss that is one".into()
    })?;

    // 64 bits hold what 32 do not: either may be.
    let mut heavy = batch.clone();
    heavy.weights.0.iter_mut().filter(|weight| **weight > 0.0).for_each(|weight| *weight = f32::MAX);
    refuses_or_reports(&mut trial, &world, &heavy)?;
    trial.load(&saved)?;

    let overgrown = Checkpoint::of(&saved)?.overgrown()?;
    match trial.load(&overgrown) {
        Ok(()) => refuses_or_reports(&mut trial, &world, &batch)?,
        Err(_) => holds(trial.saved()? == saved, || "a checkpoint that was refused has changed the model".into())?,
    }
    trial.load(&saved)?;
    holds(trial.evaluate(&batch)? == probe, || "the model is of no use behind what was refused".into())
}

/// Either the step is refused and the model as before, or its report is of numbers; a state that is saved behind it is
/// one to go on from.
fn refuses_or_reports<B: Score>(trial: &mut Trial<B>, world: &World, batch: &TrainBatch) -> Found {
    let before = trial.saved()?;
    match trial.step(&[batch]) {
        Ok(report) => {
            report.check(&world.spec)?;
            Ok(trial.saved().map_or(Ok(()), |bytes| trial.load(&bytes))?)
        }
        Err(_) => holds(trial.saved()? == before, || "a step that was refused has changed the model".into()),
    }
}
