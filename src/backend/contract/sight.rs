//! What a prediction may depend on: earlier steps of its segment, and earlier streams of its step.

use super::batches::{World, scramble, silence};
use super::trial::Trial;
use super::{Found, Make, Score, alike};
use crate::batch::TrainBatch;

/// Scrambles some cells that weigh nothing any more: what is left of the loss stays.
fn unseen<B: Score>(
    trial: &mut Trial<B>,
    world: &World,
    batch: &TrainBatch,
    at: impl Fn(usize, usize, usize) -> bool,
) -> Found {
    let mut batch = batch.clone();
    silence(&mut batch, &at);
    let expected = trial.evaluate(&batch)?;
    scramble(&mut batch, &world.spec, &at);
    alike(&trial.evaluate(&batch)?, &expected)
}

/// Without it a model that reads what it should say looks perfect in training, and can say nothing.
pub(super) fn steps_do_not_see_later_ones<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let mut trial = Trial::new(make, &world.spec)?;
        let batch = world.batch(&[&[3], &[0, 1]])?;
        for first in 1..batch.shape().2 {
            unseen(&mut trial, &world, &batch, |_, _, step| step >= first)?;
        }
    }
    Ok(())
}

/// Without it a stream is told what is said after it, which it cannot be when it says it.
pub(super) fn streams_do_not_see_later_ones<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let mut batch = world.batch(&[&[3], &[0, 1]])?;
    for first in (1..batch.shape().1).rev() {
        // Inputs are of earlier steps, and may be seen.
        silence(&mut batch, |_, k, _| k >= first);
        let expected = trial.evaluate(&batch)?;
        let (input, mut other) = (batch.input.clone(), batch.clone());
        scramble(&mut other, &world.spec, |_, k, _| k >= first);
        other.input = input;
        alike(&trial.evaluate(&other)?, &expected)?;
    }
    Ok(())
}

/// Without it what comes out of packing depends on the neighbours, and a conversation goes on in a stranger's.
pub(super) fn segments_do_not_see_each_other<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let mut trial = Trial::new(make, &world.spec)?;
        let batch = world.batch(&[&[3, 0, 4], &[2]])?;
        let segments = batch.segment_ids();
        for hidden in 0..3 {
            unseen(&mut trial, &world, &batch, |row, _, step| row == 0 && segments[[row, step]] == hidden)?;
        }
    }
    Ok(())
}
