//! Laws of packed rows: what goes in comes out, nothing is learned across a border, and the loss is that of single rows.

mod common;
#[path = "common/policies.rs"]
mod policies;

use common::strategies::{codes_of, layouts_of};
use ndarray::{Array2, Axis, s};
use policies::{regions, weighed};
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::batch::{Clip, Collate, Packing, TrainBatch, Width};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Sequencer, Start};

fn codes(layout: &Layout, lengths: &[(u32, u64)]) -> Vec<Array2<i32>> {
    let of = |&(frames, seed): &(u32, u64)| codes_of(layout, 1, frames as usize, seed).0.index_axis_move(Axis(0), 0);
    lengths.iter().map(of).map(|codes| codes.mapv(|code| code as i32)).collect()
}

/// A loss of one number for each target: anything that depends on the id alone.
fn loss(batch: &TrainBatch) -> f64 {
    let of = |(&weight, &id): (&f32, &i32)| f64::from(weight) * f64::from(id.rem_euclid(97) + 1);
    batch.weights.0.iter().zip(&batch.target.0).map(of).sum()
}

fn extents() -> impl Strategy<Value = Extent> {
    prop_oneof![Just(Extent::Extend), Just(Extent::Truncate)]
}

/// Packs codes into rows of a batch and gives the batch with the number of each clip.
fn packed(
    collate: &Collate<Delay>,
    clips: &[Clip],
    lengths: &[u32],
    steps: usize,
) -> Result<(TrainBatch, Vec<Vec<usize>>), TestCaseError> {
    let packing = Packing::of(collate.sequencer(), steps).unwrap();
    let numbers = packing.rows(lengths).unwrap();
    let rows: Vec<Vec<Clip>> = numbers.iter().map(|row| row.iter().map(|&number| clips[number]).collect()).collect();
    let mut batch = TrainBatch::default();
    collate.batch(&rows, Some(Width::Steps(packing.steps)), &mut batch).unwrap();
    let mut seen: Vec<usize> = numbers.concat();
    seen.sort_unstable();
    prop_assert!(seen.into_iter().eq(0..clips.len()));
    Ok((batch, numbers))
}

proptest! {
    #[test]
    fn packed_segments_come_back_and_weigh_as_if_alone(
        (layout, policy) in weighed(layouts_of(1..=6, 0..=9)), extent in extents(),
        lengths in vec((0..40_u32, any::<u64>().no_shrink()), 0..12), more in 0..100_usize,
        regions in vec(regions(), 0..3),
    ) {
        let delay = Delay::new(&layout, extent, Start::Initial);
        let collate = Collate::new(layout.clone(), policy, delay.clone()).unwrap();
        let codes = codes(&layout, &lengths);
        let ids: Vec<String> = (0..codes.len()).map(|number| format!("{number}")).collect();
        let clip = |number: usize| Clip {
            id: &ids[number], index: number as u64, codes: Frames(codes[number].view()), regions: &regions[..regions.len().min(number)],
        };
        let clips: Vec<Clip> = (0..codes.len()).map(clip).collect();
        let frames: Vec<u32> = lengths.iter().map(|&(frames, _)| frames).collect();
        let (batch, numbers) = packed(&collate, &clips, &frames, 50 + more)?;
        let mut alone = TrainBatch::default();
        let singles: Vec<[Clip; 1]> = clips.iter().map(|&clip| [clip]).collect();
        collate.batch(&singles, None, &mut alone).unwrap();

        let ids = batch.segment_ids();
        for (row, numbers) in numbers.iter().enumerate() {
            let undone = batch.undo(&delay, row).unwrap();
            prop_assert_eq!(undone.len(), numbers.len());
            for ((place, &number), (placed, undone)) in numbers.iter().enumerate().zip(batch.rows[row].iter().zip(undone)) {
                for ((at, &code), (&back, &known)) in codes[number].indexed_iter()
                    .zip(undone.codes.0.iter().zip(&undone.mask.0)) {
                    let held = delay.step_of(at.0, at.1, codes[number].ncols()).unwrap().is_some();
                    prop_assert_eq!((known, back), (held, if held { code } else { -1 }));
                }
                prop_assert_eq!(undone.codes.0.dim(), codes[number].dim());
                let (start, columns) = (placed.steps.start, placed.steps.len());
                let last = place + 1 == numbers.len();
                let inside = ids.slice(s![row, start..start + columns - usize::from(last)]);
                prop_assert!(inside.iter().all(|&id| id == place as i32));
                if start > 0 {
                    // The initial column as a target.
                    prop_assert!(batch.weights.0.slice(s![row, .., start - 1]).iter().all(|&weight| weight == 0.0));
                }
                let said = batch.weights.0.slice(s![row, .., start..start + columns - 1]);
                let expected = alone.weights.0.slice(s![number, .., ..columns - 1]);
                prop_assert!(said.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs()));
            }
        }
        prop_assert!((loss(&batch) - loss(&alone)).abs() <= 1e-6 * loss(&batch).abs());
        for (a, b) in [(batch.sums.text, alone.sums.text), (batch.sums.audio, alone.sums.audio)] {
            prop_assert!((a - b).abs() <= 1e-9 * a.abs());
        }
    }
}

#[test]
fn rows_filled_to_the_last_column_are_taken() {
    let layout = Layout::preset("delay-1").unwrap();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let collate = Collate::new(layout.clone(), Policy::default(), delay).unwrap();
    let codes = codes(&layout, &[(4, 1), (3, 2)]);
    let clips: Vec<Clip> = codes
        .iter()
        .zip(["a", "b"])
        .map(|(codes, id)| Clip { id, index: 0, codes: Frames(codes.view()), regions: &[] })
        .collect();
    // 6 and 5 columns, read in 10 steps; one step less takes two rows.
    let (batch, numbers) = packed(&collate, &clips, &[4, 3], 10).unwrap();
    assert_eq!((numbers, batch.shape()), (vec![vec![0, 1]], (1, 3, 10)));
    assert_eq!(batch.segment_ids().row(0).to_vec(), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(batch.places().row(0).to_vec(), [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]);
    assert!(batch.reasons.0.iter().all(|&reason| reason != 5) || codes.iter().flatten().any(|&code| code < 0));
    assert_eq!(packed(&collate, &clips, &[4, 3], 9).unwrap().1, [[0], [1]]);
}
