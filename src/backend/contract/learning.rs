//! What steps do to a model.

use super::batches::World;
use super::trial::Trial;
use super::{Found, Make, Score, alike, close, holds};
use crate::backend::Upload;
use crate::batch::TrainBatch;

/// Without it what is learned depends on the device's memory.
pub(super) fn a_step_on_parts_is_the_step_on_the_whole<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let batch = world.batch(&[&[0], &[5, 1], &[], &[3]])?;
        for cut in [1, 2] {
            let [mut whole, mut parts] = [Trial::new(make, &world.spec)?, Trial::new(make, &world.spec)?];
            for _ in 0..2 {
                let found = parts.step(&[&batch.part(0..cut), &batch.part(cut..4)])?;
                alike(&found, &whole.step(&[&batch])?)?;
                alike(&parts.evaluate(&batch)?, &whole.evaluate(&batch)?)?;
            }
        }
    }
    Ok(())
}

/// Without it a curve's points are of other models than it says.
pub(super) fn a_step_reports_the_loss_before_it<B: Score>(make: Make<B>) -> Found {
    let world = World::one_side()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let batch = world.batch(&[&[0], &[3]])?;
    for step in 0..3 {
        let (before, report) = (trial.evaluate(&batch)?, trial.step(&[&batch])?);
        alike(&report, &before)?;
        let steps = (before.step, report.step);
        holds(steps == (step, step + 1), || format!("steps are {steps:?}, expected {step} and {}", step + 1))?;
    }
    Ok(())
}

/// Without it the model has been trained on what it is measured by.
pub(super) fn evaluation_leaves_the_model_alone<B: Score>(make: Make<B>) -> Found {
    let world = World::one_side()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let (batch, other) = (world.batch(&[&[0], &[3]])?, world.batch(&[&[1, 2]])?);
    trial.step(&[&batch])?;
    let (before, report) = (trial.saved()?, trial.evaluate(&other)?);
    trial.score(&batch, &world.logits(&batch))?;
    holds(trial.evaluate(&other)? == report, || "two evaluations of a batch differ".into())?;
    holds(trial.saved()? == before, || "an evaluation has changed the model".into())
}

/// Without it a batch that waits is trained on with the next one's numbers.
pub(super) fn uploaded_batches_stay_as_they_are<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let kinds = [&[&[0][..], &[3]][..], &[&[1], &[2]], &[&[4, 0], &[], &[5]]];
    let (upload, mut host) = (&mut trial.upload, TrainBatch::default());
    let uploaded = std::thread::scope(|scope| {
        let upload = scope.spawn(|| {
            let each = |rows: &&[&[u64]]| {
                world.fill(rows, None, &mut host)?;
                upload.upload(&host)
            };
            kinds.iter().map(each).collect::<crate::error::Result<Vec<_>>>()
        });
        upload.join().expect("what fails in a law panics in it")
    })?;
    for i in [2, 0, 1, 0] {
        let found = trial.backend.evaluate(&uploaded[i])?;
        alike(&found, &trial.evaluate(&world.batch(kinds[i])?)?)?;
    }
    Ok(())
}

/// Without it nothing is learned.
pub(super) fn steps_make_the_loss_smaller<B: Score>(make: Make<B>) -> Found {
    let world = World::one_side()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let batch = world.batch(&[&[0], &[3]])?;
    let before = trial.evaluate(&batch)?.loss;
    for _ in 0..20 {
        trial.step(&[&batch])?;
    }
    let after = trial.evaluate(&batch)?.loss;
    holds(after < before, || format!("the loss is {after} after 20 steps on one batch, and was {before}"))
}

/// Without it an empty batch, at the end of an epoch say, spoils the model.
pub(super) fn nothing_to_learn_is_no_lesson<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let probe = world.batch(&[&[0], &[3]])?;
        let mut silent = probe.clone();
        silent.weights.0.fill(0.0);
        for nothing in [silent, world.absent(3)?] {
            let mut trial = Trial::new(make, &world.spec)?;
            let before = trial.evaluate(&probe)?;
            let report = trial.step(&[&nothing])?;
            let found = (report.loss, report.gradient_norm.unwrap_or(0.0));
            holds(found == (0.0, 0.0), || format!("loss and norm of the gradient are {found:?}, expected 0"))?;
            // Weights that decay do so all the same.
            let after = trial.evaluate(&probe)?;
            holds((after.loss - before.loss).abs() <= 1e-3 * before.loss, || {
                format!("a step on nothing takes the loss from {} to {}", before.loss, after.loss)
            })?;
            close(trial.step(&[&probe])?.loss, after.loss, "loss of the step behind")?;
        }
    }
    Ok(())
}
