//! What training backends must pass: the reference backend does, and wrong ones do not.

mod common;
#[path = "common/losses.rs"]
mod losses;
#[path = "backend_contract/wrong.rs"]
mod wrong;

use std::collections::BTreeSet;

use common::strategies::{codes_of, layouts_of};
use ndarray::{Array2, Axis};
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::backend::contract::{LAWS, Law, recorded};
use roundelay::backend::{BatchSpec, Reference, ReferenceOptions, Report, StreamLoss, TrainBackend, Upload};
use roundelay::batch::{Clip, Collate, TrainBatch};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Result, Start};
use wrong::{Fault, Wrong};

fn reference(spec: &BatchSpec, seed: u64) -> Result<Reference> {
    Reference::new(spec, ReferenceOptions { seed, width: 8, ..ReferenceOptions::default() })
}

#[test]
fn the_reference_backend_keeps_every_law() {
    for law in Law::<Reference>::all() {
        (law.check)(&reference).unwrap_or_else(|found| panic!("{}: {found}", law.name));
        println!("{} holds", law.name);
    }
    assert_eq!(LAWS.len(), 23);
}

#[test]
fn the_reference_backend_gives_recorded_losses() {
    assert_eq!(recorded(reference, &losses::recorded()), losses::RECORDED);
}

#[test]
#[should_panic(expected = "case07: loss is")]
fn a_loss_that_was_not_recorded_is_noticed() {
    let mut cases = losses::recorded();
    cases[7].loss *= 1.0001;
    recorded(reference, &cases);
}

/// Names of laws that a wrong backend breaks.
fn broken(fault: Fault) -> BTreeSet<&'static str> {
    let make = |spec: &BatchSpec, seed: u64| Wrong::new(reference(spec, seed)?, spec, fault);
    let broken = Law::all().into_iter().filter(|law| (law.check)(&make).is_err());
    broken.map(|law| law.name).collect()
}

#[test]
fn every_wrong_backend_breaks_its_law_and_every_law_can_be_broken() {
    let mut unbroken: BTreeSet<_> = LAWS.iter().copied().collect();
    for (fault, law) in Fault::ALL {
        let broken = broken(fault);
        println!("{fault:?} breaks {broken:?}");
        assert!(broken.contains(law), "{fault:?} does not break {law}");
        unbroken.retain(|law| !broken.contains(law));
    }
    assert_eq!(broken(Fault::None), BTreeSet::new());
    assert_eq!(unbroken, BTreeSet::new(), "laws that no wrong backend breaks");
}

/// Codes of clips, each by its length and a seed.
fn codes(layout: &Layout, clips: &[(usize, u64)]) -> Vec<Array2<i32>> {
    let of = |&(frames, seed): &(usize, u64)| codes_of(layout, 1, frames, seed).0.index_axis_move(Axis(0), 0);
    clips.iter().map(|clip| of(clip).mapv(|code| code.max(-1) as i32)).collect()
}

fn batch(layout: &Layout, clips: &[(usize, u64)]) -> TrainBatch {
    let delay = Delay::new(layout, Extent::Extend, Start::Initial);
    let collate = Collate::new(layout.clone(), Policy::named("moshi").unwrap(), delay).unwrap();
    let codes = codes(layout, clips);
    let row = |codes| [Clip { id: "clip", index: 0, codes: Frames(codes), regions: &[] }];
    let rows: Vec<_> = codes.iter().map(|codes| row(codes.view())).collect();
    let mut batch = TrainBatch::default();
    collate.batch(&rows, None, &mut batch).unwrap();
    batch
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs()
}

fn alike(found: &StreamLoss, expected: &StreamLoss) -> bool {
    let labels = [(found.tokens, expected.tokens), (found.pads, expected.pads)];
    let labels =
        labels.iter().all(|(found, expected)| found.count == expected.count && close(found.nats, expected.nats));
    labels && close(found.loss, expected.loss)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Rows evaluated one by one, and added, give the batch's report: every row is in exactly one part.
    #[test]
    fn parts_of_any_batch_add_up(
        layout in layouts_of(1..=4, 0..=4),
        clips in vec((0..6_usize, any::<u64>()), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = batch(&layout, &clips);
        let (rows, _, steps) = batch.shape();
        let cut = cut.index(rows + 1);
        let spec = BatchSpec::new(&layout, rows, steps);
        let mut reference = Reference::new(&spec, ReferenceOptions { width: 2, ..ReferenceOptions::default() }).unwrap();
        let mut upload = reference.uploader().unwrap();
        let mut evaluate = |batch: &TrainBatch| reference.evaluate(&upload.upload(batch).unwrap()).unwrap();
        let (whole, mut sum) = (evaluate(&batch), Report::default());
        let parts = [batch.part(0..cut), batch.part(cut..rows)];
        parts.iter().for_each(|part| sum.add(&evaluate(part)));
        prop_assert!(close(sum.loss, whole.loss), "{} and {}", sum.loss, whole.loss);
        prop_assert!(sum.streams.iter().zip(&whole.streams).all(|(sum, whole)| alike(sum, whole)));
        let live = batch.weights.0.iter().filter(|weight| **weight > 0.0).count() as u64;
        let counted: u64 = sum.streams.iter().map(|stream| stream.tokens.count + stream.pads.count).sum();
        prop_assert_eq!(counted, live);
        let together: Vec<_> = parts.iter().flat_map(|part| part.rows.clone()).collect();
        prop_assert_eq!(together, batch.rows);
    }
}
