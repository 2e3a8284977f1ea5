//! Laws of collation: a batch is what each clip gives by itself, put together by hand and divided at the end.

mod common;
#[path = "common/policies.rs"]
mod policies;

use common::strategies::{codes_of, extents, layouts_of, patterns};
use ndarray::{Array2, Array3, ArrayView2, Axis, Slice, s};
use policies::{regions, weighed};
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::batch::{Clip, Collate, TrainBatch, Width};
use roundelay::delay::{Bracket, Plan};
use roundelay::weights::{Example, PadIds, Region, Sums, Weighing};
use roundelay::{Delay, Extent, Frames, Kind, Layout, Normalize, Policy, Reason, Seconds, Sequencer, Start, Steps};

/// A clip that lives by itself: how long, of which codes, which example, and its regions.
type Made = (usize, u64, u64, Vec<Region>);

fn rows(frames: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Made>>> {
    let clip = (frames, any::<u64>().no_shrink(), any::<u64>(), vec(regions(), 0..3));
    vec(vec(clip, 0..4), 0..4)
}

struct Owned {
    id: String,
    index: u64,
    codes: Array2<i32>,
    regions: Vec<Region>,
}

/// Codes of every clip; a text row of mostly pads as they are in speech.
fn owned(layout: &Layout, rows: &[Vec<Made>]) -> Vec<Vec<Owned>> {
    let of_clip = |row: usize, number: usize, (frames, seed, index, regions): &Made| {
        let codes = codes_of(layout, 1, *frames, *seed).0.index_axis_move(Axis(0), 0);
        let mut codes = codes.mapv(|code| code as i32);
        let text = layout.streams().iter().position(|stream| stream.kind == Kind::Text);
        for (t, code) in text.map(|k| codes.row_mut(k)).iter_mut().flatten().enumerate() {
            let stream = &layout.streams()[text.unwrap()];
            match t % 4 {
                0 | 1 => *code = stream.pad as i32,
                2 if *code % 2 == 0 => *code = stream.end_pad.unwrap() as i32,
                _ => {}
            }
        }
        Owned { id: format!("{row}.{number}"), index: *index, codes, regions: regions.clone() }
    };
    let of_row = |(row, clips): (usize, &Vec<Made>)| {
        clips.iter().enumerate().map(|(number, clip)| of_clip(row, number, clip)).collect()
    };
    rows.iter().enumerate().map(of_row).collect()
}

fn clip(owned: &Owned) -> Clip<'_> {
    Clip { id: &owned.id, index: owned.index, codes: Frames(owned.codes.view()), regions: &owned.regions }
}

fn clips(rows: &[Vec<Owned>]) -> Vec<Vec<Clip<'_>>> {
    rows.iter().map(|row| row.iter().map(clip).collect()).collect()
}

/// A row of one batch, in columns of its sequence.
struct Row {
    tokens: Array2<i32>,
    weights: Array2<f32>,
    reasons: Array2<u8>,
    numbers: Vec<i32>,
    places: Vec<i32>,
}

fn join<A: Clone>(parts: &[ArrayView2<A>], streams: usize) -> Array2<A> {
    match parts {
        [] => Array2::from_shape_vec((streams, 0), vec![]).unwrap(),
        parts => ndarray::concatenate(Axis(1), parts).unwrap(),
    }
}

/// A row clip by clip, with raw weights, and their sums.
fn slow_row(layout: &Layout, raw: &Policy, sequencer: &impl Sequencer, clips: &[Clip]) -> (Row, Sums) {
    let streams = layout.streams().len();
    let (mut tokens, mut weights, mut reasons) = (vec![], vec![], vec![]);
    let (mut sums, mut numbers, mut places) = (Sums::default(), vec![], vec![]);
    for (number, clip) in clips.iter().enumerate() {
        let examples = [Example { index: clip.index, regions: clip.regions }];
        let weighing = Weighing { examples: &examples, ..Weighing::new(raw, layout) };
        let weighed = weighing.weigh(sequencer, &clip.codes).unwrap();
        let training = weighing.training(sequencer, &clip.codes).unwrap();
        let built = sequencer.build(&clip.codes).unwrap().tokens.0;
        let columns = built.len_of(Axis(1));
        if columns > 0 {
            // The training view is the same sequence without its first or its last column.
            assert_eq!(training.target().0, built.slice(s![.., 1..]));
            assert_eq!(training.weights.0, weighed.steps.0.slice(s![.., 1..]));
        }
        sums.add(&training.sums);
        tokens.push(built);
        weights.push(weighed.steps.0);
        reasons.push(weighed.step_reasons.0);
        numbers.extend(std::iter::repeat_n(number as i32, columns));
        places.extend(0..columns as i32);
    }
    fn views<A>(parts: &[Array2<A>]) -> Vec<ArrayView2<'_, A>> {
        parts.iter().map(|part| part.view()).collect()
    }
    let row = Row {
        tokens: join(&views(&tokens), streams),
        weights: join(&views(&weights), streams),
        reasons: join(&views(&reasons), streams),
        numbers,
        places,
    };
    (row, sums)
}

/// What a weight of a target is divided by.
fn divisor(layout: &Layout, policy: &Policy, sums: &Sums, (k, id, reason): (usize, i32, u8)) -> f64 {
    let stream = &layout.streams()[k];
    let end_pad = policy.pad_ids == PadIds::PadAndEndPad;
    let pad = match Reason::of(reason).unwrap() {
        Reason::Pad => true,
        Reason::EndPad => end_pad,
        Reason::Tail => id as u32 == stream.pad || stream.end_pad == Some(id as u32) && end_pad,
        _ => false,
    };
    let sum = match policy.normalize {
        Normalize::None => 1.0,
        _ if stream.kind != Kind::Text => sums.audio,
        Normalize::Modality => sums.text,
        Normalize::Class if pad => sums.pads / f64::from(policy.text_pad),
        Normalize::Class => sums.words,
    };
    if sum > 0.0 { sum } else { 1.0 }
}

/// The whole batch by hand.
fn slow(
    layout: &Layout,
    policy: &Policy,
    sequencer: &impl Sequencer,
    rows: &[Vec<Clip>],
    steps: usize,
) -> (TrainBatch, Array2<i32>, Array2<i32>) {
    let raw = Policy { normalize: Normalize::None, ..policy.clone() };
    let shape = (rows.len(), layout.streams().len(), steps);
    let mut batch = TrainBatch {
        input: Steps(Array3::from_elem(shape, -1)),
        target: Steps(Array3::from_elem(shape, -1)),
        weights: Steps(Array3::zeros(shape)),
        reasons: Steps(Array3::from_elem(shape, Reason::Absent as u8)),
        ..TrainBatch::default()
    };
    let mut numbers = Array2::from_elem((shape.0, steps), -1);
    let mut places = Array2::zeros((shape.0, steps));
    let rows: Vec<_> = rows.iter().map(|row| slow_row(layout, &raw, sequencer, row)).collect();
    rows.iter().for_each(|(_, sums)| batch.sums.add(sums));
    for (b, (row, _)) in rows.iter().enumerate() {
        for s in 0..row.numbers.len().saturating_sub(1) {
            (numbers[[b, s]], places[[b, s]]) = (row.numbers[s], row.places[s]);
            for k in 0..shape.1 {
                let (said, reason) = (row.tokens[[k, s + 1]], row.reasons[[k, s + 1]]);
                batch.input.0[[b, k, s]] = row.tokens[[k, s]];
                batch.target.0[[b, k, s]] = said;
                batch.reasons.0[[b, k, s]] = reason;
                let weight = f64::from(row.weights[[k, s + 1]]);
                batch.weights.0[[b, k, s]] = (weight / divisor(layout, policy, &batch.sums, (k, said, reason))) as f32;
            }
        }
    }
    (batch, numbers, places)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn same_sums(a: &Sums, b: &Sums) -> bool {
    close(a.text, b.text) && close(a.audio, b.audio) && close(a.words, b.words) && close(a.pads, b.pads)
}

/// A batch that holds something else, of another shape.
fn used(layout: &Layout, sequencer: &(impl Sequencer + Clone), frames: usize) -> TrainBatch {
    let collate = Collate::new(layout.clone(), Policy::default(), sequencer.clone()).unwrap();
    let codes = Array2::from_elem((layout.streams().len(), frames), 1);
    let mut batch = TrainBatch::default();
    let clip = Clip { id: "before", index: 9, codes: Frames(codes.view()), regions: &[] };
    collate.batch(&[vec![clip], vec![clip]], None, &mut batch).unwrap();
    batch
}

fn packable(sequencer: &impl Sequencer) -> bool {
    (0..sequencer.stream_count()).all(|k| sequencer.step_of(k, 0, 1).unwrap() != Some(0))
}

/// Holds a batch against the twin, and its rows in another order.
fn check(
    layout: &Layout,
    sequencer: &(impl Sequencer + Clone),
    policy: &Policy,
    mut rows: Vec<Vec<Owned>>,
    more: Option<usize>,
) -> Result<(), TestCaseError> {
    let collate = Collate::new(layout.clone(), policy.clone(), sequencer.clone()).unwrap();
    if !packable(sequencer) && rows.iter().any(|row| row.len() > 1) {
        let refused = collate.batch(&clips(&rows), None, &mut TrainBatch::default()).unwrap_err();
        prop_assert!(refused.to_string().contains("packing is not supported"));
        rows.iter_mut().for_each(|row| row.truncate(1));
    }
    let clips = clips(&rows);
    let columns = |row: &Vec<Clip>| row.iter().map(|c| sequencer.steps(c.codes.0.ncols()).unwrap()).sum::<usize>();
    let needed = clips.iter().map(columns).max().unwrap_or(0).saturating_sub(1);
    let steps = needed + more.unwrap_or(0);
    let mut batch = used(layout, sequencer, steps % 11);
    collate.batch(&clips, more.map(|_| Width::Steps(steps)), &mut batch).unwrap();
    let (expected, numbers, places) = slow(layout, policy, sequencer, &clips, steps);
    prop_assert_eq!(&batch.input, &expected.input);
    prop_assert_eq!(&batch.target, &expected.target);
    prop_assert_eq!(&batch.reasons, &expected.reasons);
    prop_assert!(same_sums(&batch.sums, &expected.sums), "{:?} {:?}", batch.sums, expected.sums);
    for ((at, &weight), &slow) in batch.weights.0.indexed_iter().zip(&expected.weights.0) {
        prop_assert!(close(weight.into(), slow.into()), "{at:?}: {weight} {slow}");
    }
    prop_assert_eq!(batch.segment_ids(), numbers);
    prop_assert_eq!(batch.places(), places);
    check_rows(&batch, &rows)?;
    check_order(&collate, &clips, &batch)?;
    if needed > 0 {
        let longest = clips.iter().filter(|row| columns(row) == needed + 1).map(|row| row.last().unwrap().id);
        let refused = collate.batch(&clips, Some(Width::Steps(needed - 1)), &mut batch).unwrap_err();
        let named = refused.position().recording.clone().unwrap();
        prop_assert!(longest.clone().any(|id| id == named), "{}", refused);
    }
    Ok(())
}

fn check_rows(batch: &TrainBatch, rows: &[Vec<Owned>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(batch.rows.len(), rows.len());
    for (placed, row) in batch.rows.iter().zip(rows) {
        prop_assert_eq!(placed.len(), row.len());
        let mut end = 0;
        for (placed, owned) in placed.iter().zip(row) {
            prop_assert_eq!((&placed.id, placed.index, placed.frames), (&owned.id, owned.index, owned.codes.ncols()));
            prop_assert_eq!(placed.steps.start, end);
            end = placed.steps.end;
        }
    }
    Ok(())
}

fn every_third<'a>(clip: &'a Clip, spread: &'a Array2<i32>) -> Clip<'a> {
    Clip { id: clip.id, index: clip.index, codes: Frames(spread.slice(s![.., ..;3])), regions: clip.regions }
}

/// Permuted rows are a permuted batch, and gaps between a clip's cells make no difference.
fn check_order(
    collate: &Collate<impl Sequencer>,
    clips: &[Vec<Clip>],
    batch: &TrainBatch,
) -> Result<(), TestCaseError> {
    let spread = |clip: &Clip| {
        let (streams, frames) = clip.codes.0.dim();
        Array2::from_shape_fn((streams, 3 * frames), |(k, t)| clip.codes.0[[k, t / 3]] + (t % 3) as i32)
    };
    let spread: Vec<Vec<_>> = clips.iter().map(|row| row.iter().map(spread).collect()).collect();
    let strided = clips.iter().zip(&spread).map(|(row, spread)| {
        row.iter().zip(spread).map(|(clip, spread)| every_third(clip, spread)).collect::<Vec<Clip>>()
    });
    let turned: Vec<_> = strided.rev().collect();
    let mut other = TrainBatch::default();
    collate.batch(&turned, Some(Width::Steps(batch.shape().2)), &mut other).unwrap();
    let reversed = Slice::new(0, None, -1);
    prop_assert_eq!(&other.input.0, batch.input.0.slice_axis(Axis(0), reversed));
    prop_assert_eq!(&other.target.0, batch.target.0.slice_axis(Axis(0), reversed));
    prop_assert_eq!(&other.reasons.0, batch.reasons.0.slice_axis(Axis(0), reversed));
    let weights = batch.weights.0.slice_axis(Axis(0), reversed);
    prop_assert!(other.weights.0.iter().zip(weights).all(|(&a, &b)| close(a.into(), b.into())));
    prop_assert!(other.rows.iter().eq(batch.rows.iter().rev()));
    Ok(())
}

proptest! {
    #[test]
    fn a_batch_is_its_clips_put_together(
        (layout, policy) in weighed(layouts_of(1..=8, 0..=12)), (extent, start) in extents(), rows in rows(0..40),
        more in prop::option::of(0..20_usize), bracket: (bool, bool),
    ) {
        let delay = Delay::new(&layout, extent, start);
        let bracket = Bracket { bos: bracket.0, eos: bracket.1 };
        let delay = delay.clone().bracketed(&layout, bracket).unwrap_or(delay);
        check(&layout, &delay, &policy, owned(&layout, &rows), more)?;
    }

    #[test]
    fn a_batch_of_a_pattern_is_too(
        (layout, policy) in weighed(layouts_of(6..=6, 0..=3)), pattern in patterns(6), (extent, start) in extents(),
        rows in rows(1..12), more in prop::option::of(0..20_usize),
    ) {
        let plan = pattern.plan(&layout, 11, extent, start).unwrap();
        check(&layout, &plan, &policy, owned(&layout, &rows), more)?;
        check(&layout, &Plan::of_delay(&layout, 11, extent, start).unwrap(), &policy, owned(&layout, &rows), more)?;
    }
}

#[test]
fn rows_that_nothing_is_in_weigh_nothing() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    for policy in Policy::NAMES {
        let collate = Collate::new(layout.clone(), Policy::named(policy).unwrap(), delay.clone()).unwrap();
        let mut batch = used(&layout, &delay, 9);
        collate.batch(&[vec![], Vec::<Clip>::new()], Some(Width::Frames(20)), &mut batch).unwrap();
        assert_eq!(batch.shape(), (2, 17, 21));
        assert!(batch.input.0.iter().chain(&batch.target.0).all(|&id| id == -1));
        assert!(batch.weights.0.iter().all(|&weight| weight == 0.0));
        assert!(batch.reasons.0.iter().all(|&reason| reason == Reason::Absent as u8));
        assert_eq!((batch.sums, batch.rows.clone()), (Sums::default(), vec![vec![], vec![]]));
        assert!(batch.segment_ids().iter().all(|&id| id == -1));
        assert!(batch.undo(&delay, 1).unwrap().is_empty() && batch.undo(&delay, 2).is_err());
    }
}

#[test]
fn the_memory_is_kept() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let collate = Collate::new(layout.clone(), Policy::default(), delay).unwrap();
    let codes = Array2::from_elem((17, 100), 5);
    let mut batch = TrainBatch::default();
    let mut starts = std::collections::BTreeSet::new();
    for frames in [100, 50, 99, 1, 100] {
        let codes = Frames(codes.slice(s![.., ..frames]));
        let clip = Clip { id: "a", index: 0, codes, regions: &[] };
        collate.batch(&[vec![clip], vec![clip]], None, &mut batch).unwrap();
        starts.insert([
            batch.input.0.as_ptr() as usize,
            batch.target.0.as_ptr() as usize,
            batch.weights.0.as_ptr() as usize,
        ]);
    }
    assert_eq!(starts.len(), 1);
}

#[test]
fn clips_that_do_not_go_together_are_refused_by_name() {
    let layout = Layout::preset("delay-1").unwrap();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let collate = Collate::new(layout.clone(), Policy::default(), delay.clone()).unwrap();
    let (three, four) = (Array2::from_elem((3, 5), 1), Array2::from_elem((4, 5), 1));
    let refusal = |codes: &Array2<i32>, regions: &[Region], width| {
        let clip = Clip { id: "a.wav@20", index: 0, codes: Frames(codes.view()), regions };
        collate.batch(&[[clip]], width, &mut TrainBatch::default()).unwrap_err().to_string()
    };
    assert_eq!(refusal(&four, &[], None), "recording \"a.wav@20\": the grid has 4 streams, expected 3");
    assert_eq!(
        refusal(&three, &[], Some(Width::Frames(4))),
        "recording \"a.wav@20\": steps of the row is 6, expected at most 5, as the batch has"
    );
    let second = |s: f64| Seconds::from_f64(s).unwrap();
    let turned = Region { start: second(2.0), end: second(1.0), weight: 1.0 };
    assert!(refusal(&three, &[turned], None).starts_with("recording \"a.wav@20\": end of the region is"));
    let huge = Region { start: second(0.0), end: second(9.0), weight: f32::MAX };
    assert!(refusal(&three, &[huge], None).starts_with("sum of the weights is inf"));
    let other = Layout::preset("musicgen").unwrap();
    assert!(Collate::new(other, Policy::default(), delay.clone()).is_err());
    let unknown = Policy::from_json(r#"{"streams": {"main.9": 2}}"#).unwrap();
    assert!(Collate::new(layout, unknown, delay).is_err());
}
