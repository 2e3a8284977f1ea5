//! What a batch's loss is.

use ndarray::{Array3, s};

use super::batches::{World, silence};
use super::trial::Trial;
use super::{Found, Make, Score, alike, close, holds};
use crate::backend::report::is_token;
use crate::backend::{Report, StreamLoss};
use crate::batch::TrainBatch;

/// Without it a loss is no longer that of the papers: divided twice, of other labels, or infinite where logits are large.
pub(super) fn losses_are_weighted_cross_entropies<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let mut trial = Trial::new(make, &world.spec)?;
        for rows in [&[&[0][..], &[3], &[6]][..], &[&[1, 4], &[2]]] {
            let batch = world.batch(rows)?;
            let logits = world.logits(&batch);
            alike(&trial.score(&batch, &logits)?, &plain(&batch, &logits))?;
        }
    }
    Ok(())
}

/// The report that logits give, by the definition.
fn plain(batch: &TrainBatch, logits: &[Array3<f32>]) -> Report {
    let mut report = counted(batch);
    for ((row, k, step), &weight) in batch.weights.0.indexed_iter().filter(|(_, weight)| **weight > 0.0) {
        let logit = |id: usize| f64::from(logits[k][[row, step, id]]);
        let sum: f64 = (0..logits[k].dim().2).map(|id| logit(id).exp()).sum();
        let nats = sum.ln() - logit(batch.target.0[[row, k, step]] as usize);
        let stream = &mut report.streams[k];
        let labels = if is_token(batch.reasons.0[[row, k, step]]) { &mut stream.tokens } else { &mut stream.pads };
        labels.nats += nats;
        stream.loss += f64::from(weight) * nats;
        report.loss += f64::from(weight) * nats;
    }
    report
}

/// A report of a batch's labels, without their losses.
fn counted(batch: &TrainBatch) -> Report {
    let mut streams = vec![StreamLoss::default(); batch.shape().1];
    for ((cell, weight), reason) in batch.weights.0.indexed_iter().zip(&batch.reasons.0) {
        let stream = &mut streams[cell.1];
        let labels = if is_token(*reason) { &mut stream.tokens } else { &mut stream.pads };
        labels.count += u64::from(*weight > 0.0);
    }
    Report { streams, ..Report::default() }
}

/// Without it a model has seen the very label that it is asked for, and learns to copy it.
pub(super) fn chances_add_up_to_one<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let whole = world.batch(&[&[0]])?;
    for k in [0, 2, 4] {
        let weights = whole.weights.0.slice(s![0, k, ..]);
        let step = weights.iter().position(|weight| *weight > 0.0).ok_or("no label")?;
        let mut batch = whole.clone();
        silence(&mut batch, |_, stream, at| (stream, at) != (k, step));
        batch.weights.0[[0, k, step]] = 1.0;
        let mut chances = 0.0;
        for id in 0..world.spec.streams[k].outputs {
            batch.target.0[[0, k, step]] = id as i32;
            chances += (-trial.evaluate(&batch)?.loss).exp();
        }
        close(chances, 1.0, &format!("the sum of chances in stream {k}"))?;
    }
    Ok(())
}

/// Without it means over labels, and what the curves show, are wrong.
pub(super) fn labels_are_counted_exactly<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let mut trial = Trial::new(make, &world.spec)?;
        let batch = world.batch(&[&[0, 1], &[], &[3]])?;
        let expected = counted(&batch);
        for report in [trial.evaluate(&batch)?, trial.step(&[&batch.part(0..2), &batch.part(2..3)])?] {
            let counts = |report: &Report| {
                report.streams.iter().map(|stream| (stream.tokens.count, stream.pads.count)).collect::<Vec<_>>()
            };
            let (found, expected) = (counts(&report), counts(&expected));
            holds(found == expected, || format!("tokens and pads are {found:?}, expected {expected:?}"))?;
            close(report.streams.iter().map(|stream| stream.loss).sum(), report.loss, "sum of the streams' losses")?;
        }
    }
    Ok(())
}

/// Without it fills and absent tokens are learned, or their nonsense becomes the loss.
pub(super) fn what_weighs_nothing_adds_nothing<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let batch = world.batch(&[&[0], &[], &[3, 1]])?;
        let dead = |row, step| (0..batch.shape().1).all(|k| batch.weights.0[[row, k, step]] == 0.0);
        let mut garbled = batch.clone();
        for ((row, k, step), target) in garbled.target.0.indexed_iter_mut().filter(|(at, _)| dead(at.0, at.2)) {
            *target = [-1, i32::MAX, i32::MIN, world.spec.streams[k].outputs as i32][(row + k + step) % 4];
        }
        let [mut plain, mut other] = [Trial::new(make, &world.spec)?, Trial::new(make, &world.spec)?];
        alike(&other.evaluate(&garbled)?, &plain.evaluate(&batch)?)?;
        alike(&other.step(&[&garbled])?, &plain.step(&[&batch])?)?;
        alike(&other.evaluate(&batch)?, &plain.evaluate(&batch)?)?;

        let mut logits = world.logits(&batch);
        let expected = plain.score(&batch, &logits)?;
        for ((row, k, step), weight) in batch.weights.0.indexed_iter() {
            if *weight == 0.0 && world.spec.streams[k].trained {
                logits[k].slice_mut(s![row, step, ..]).fill(f32::NAN);
            }
        }
        alike(&plain.score(&batch, &logits)?, &expected)?;
    }
    Ok(())
}

/// Without it a class without labels spoils the loss of all others, or weights are divided anew.
pub(super) fn a_stream_without_weights_has_no_part<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let mut trial = Trial::new(make, &world.spec)?;
    let whole = world.batch(&[&[0], &[3]])?;
    let all = trial.evaluate(&whole)?;
    for k in 0..world.spec.streams.len() {
        let mut batch = whole.clone();
        silence(&mut batch, |_, stream, _| stream == k);
        let mut expected = all.clone();
        expected.loss -= expected.streams[k].loss;
        expected.streams[k] = StreamLoss::default();
        alike(&trial.evaluate(&batch)?, &expected)?;
    }
    Ok(())
}

/// Without it the order of a batch decides what is learned, and runs on other numbers of devices differ.
pub(super) fn rows_count_alike_in_any_order<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let mut trial = Trial::new(make, &world.spec)?;
        let expected = trial.evaluate(&world.batch(&[&[0], &[5, 1], &[], &[3]])?)?;
        for rows in [[&[3][..], &[0], &[5, 1], &[]], [&[], &[3], &[5, 1], &[0]]] {
            alike(&trial.evaluate(&world.batch(&rows)?)?, &expected)?;
        }
    }
    Ok(())
}

/// Without it what is measured over many batches depends on how they were cut.
pub(super) fn parts_add_up_to_the_whole<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let mut trial = Trial::new(make, &world.spec)?;
        let batch = world.batch(&[&[0], &[5, 1], &[], &[3]])?;
        let expected = trial.evaluate(&batch)?;
        for cut in 0..=4 {
            let mut sum = trial.evaluate(&batch.part(0..cut))?;
            sum.add(&trial.evaluate(&batch.part(cut..4))?);
            alike(&sum, &expected)?;
        }
    }
    Ok(())
}

/// Without it ranks cannot be given as many rows each, and shorter rows become silence.
pub(super) fn absent_rows_change_nothing<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let (with, without) = (world.batch(&[&[0], &[], &[3]])?, world.batch(&[&[0], &[3]])?);
        let absent = world.absent(2)?;
        let [mut one, mut two] = [Trial::new(make, &world.spec)?, Trial::new(make, &world.spec)?];
        alike(&one.evaluate(&with)?, &two.evaluate(&without)?)?;
        alike(&one.evaluate(&absent)?, &counted(&absent))?;
        alike(&one.step(&[&with, &absent])?, &two.step(&[&without])?)?;
        alike(&one.evaluate(&without)?, &two.evaluate(&without)?)?;
    }
    Ok(())
}

/// Without it packing, which saves the device's time, costs what is learned.
pub(super) fn packed_rows_are_worth_unpacked_ones<B: Score>(make: Make<B>) -> Found {
    for world in World::all()? {
        let (packed, unpacked) = (world.batch(&[&[0, 5], &[3]])?, world.batch(&[&[0], &[5], &[3]])?);
        let [mut one, mut two] = [Trial::new(make, &world.spec)?, Trial::new(make, &world.spec)?];
        alike(&one.evaluate(&packed)?, &two.evaluate(&unpacked)?)?;
        alike(&one.step(&[&packed])?, &two.step(&[&unpacked])?)?;
        alike(&one.evaluate(&packed)?, &two.evaluate(&unpacked)?)?;
    }
    Ok(())
}
