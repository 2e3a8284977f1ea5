//! Laws that hold for every layout, length and content.

mod common;

use common::strategies::{codes_of, extents, layouts, layouts_of, patterns};
use ndarray::{Array3, Axis, s};
use proptest::prelude::*;
use roundelay::delay::{Bracket, Fills, Plan};
use roundelay::weights::TrainingViews;
use roundelay::{Delay, Extent, Frames, Kind, Layout, Normalize, Policy, Sequencer, Start, Steps};

/// The slow, obvious twin of build: asks of each cell which frame it holds.
fn build_slowly(layout: &Layout, extent: Extent, start: Start, codes: &Array3<i64>) -> (Array3<i64>, Array3<bool>) {
    let frames = codes.len_of(Axis(2)) as isize;
    let lead = isize::from(start == Start::Initial);
    let tail = if extent == Extent::Extend { layout.max_delay() as isize } else { 0 };
    let shape = (codes.len_of(Axis(0)), codes.len_of(Axis(1)), (frames + tail + lead) as usize);
    let frame_of = |k: usize, s: usize| s as isize - lead - layout.streams()[k].delay as isize;
    let tokens = Array3::from_shape_fn(shape, |(b, k, s)| match frame_of(k, s) {
        t if t < 0 => layout.streams()[k].initial.into(),
        t if t >= frames => layout.streams()[k].pad.into(),
        t => codes[[b, k, t as usize]],
    });
    (tokens, Array3::from_shape_fn(shape, |(_, k, s)| (0..frames).contains(&frame_of(k, s))))
}

/// Holds the training view against the sequence, its mask and its weights, made one by one.
fn check_training(
    layout: &Layout,
    sequencer: &impl Sequencer,
    codes: &Frames<Array3<i64>>,
) -> Result<(), TestCaseError> {
    let (built, raw) =
        (sequencer.build(codes).unwrap(), Policy { normalize: Normalize::None, ..Policy::named("moshi").unwrap() });
    let weights = raw.weigh(layout, sequencer, codes).unwrap();
    let training = raw.training(layout, sequencer, codes).unwrap();
    let last = built.tokens.0.len_of(Axis(2)).saturating_sub(1);
    let behind = |steps: usize| s![.., .., steps.min(1)..];
    let steps = built.tokens.0.len_of(Axis(2));
    prop_assert_eq!(&training.tokens.0, &built.tokens.0);
    prop_assert_eq!(training.input().0, built.tokens.0.slice(s![.., .., ..last]));
    prop_assert_eq!(training.target().0, built.tokens.0.slice(behind(steps)));
    prop_assert_eq!(training.mask.0, built.mask.0.slice(behind(steps)));
    prop_assert_eq!(&training.weights.0, &weights.steps.0.slice(behind(steps)));
    // The sums are of the targets: a sequence without an initial column loses its first step.
    let sum = |kinds: fn(Kind) -> bool| -> f64 {
        let rows = training.weights.0.axis_iter(Axis(1)).zip(layout.streams());
        rows.filter(|(_, stream)| kinds(stream.kind))
            .flat_map(|(row, _)| row.iter().map(|&w| f64::from(w)).collect::<Vec<_>>())
            .sum()
    };
    prop_assert_eq!((training.sums.text, training.sums.audio), (sum(|kind| kind == Kind::Text), sum(Kind::is_audio)));
    let normalized = Policy { normalize: Normalize::Modality, ..raw }.training(layout, sequencer, codes).unwrap();
    for (index, &weight) in normalized.weights.0.indexed_iter() {
        let sum = if layout.streams()[index.1].kind == Kind::Text { training.sums.text } else { training.sums.audio };
        let expected = f64::from(training.weights.0[index]) / if sum > 0.0 { sum } else { 1.0 };
        prop_assert_eq!(weight, expected as f32);
    }
    Ok(())
}

/// Nothing shows of what lay in the caller's memory before.
fn check_overwritten(
    layout: &Layout,
    sequencer: &impl Sequencer,
    codes: &Frames<Array3<i64>>,
) -> Result<(), TestCaseError> {
    const DIRT: i64 = 0x5555_5555_5555;
    let built = sequencer.build(codes).unwrap();
    let shape = sequencer.shape_in_steps(codes).unwrap();
    let (mut tokens, mut mask) = (Array3::from_elem(shape, DIRT), Array3::from_elem(shape, true));
    sequencer.build_into(codes, Steps(tokens.view_mut()), Some(Steps(mask.view_mut()))).unwrap();
    prop_assert_eq!((&tokens, &mask), (&built.tokens.0, &built.mask.0));

    let undone = sequencer.undo(&built.tokens, -1).unwrap();
    let shape = sequencer.shape_in_frames(&built.tokens).unwrap();
    let (mut back, mut mask) = (Array3::from_elem(shape, DIRT), Array3::from_elem(shape, true));
    sequencer.undo_into(&built.tokens, Frames(back.view_mut()), Some(Frames(mask.view_mut())), -1).unwrap();
    prop_assert_eq!((&back, &mask), (&undone.codes.0, &undone.mask.0));

    let policy = Policy::named("moshi").unwrap();
    let training = policy.training(layout, sequencer, codes).unwrap();
    tokens.fill(DIRT);
    let mut weights = Array3::from_elem(training.weights.0.raw_dim(), f32::NAN);
    let views = TrainingViews { tokens: Steps(tokens.view_mut()), mask: None, weights: Steps(weights.view_mut()) };
    let sums = policy.training_into(layout, sequencer, codes, views).unwrap();
    prop_assert_eq!((&tokens, &weights, sums), (&training.tokens.0, &training.weights.0, training.sums));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn build_equals_its_slow_twin(
        layout in layouts(), (extent, start) in extents(), batch in 1..3usize, frames in 0..=200usize, seed: u64,
    ) {
        let codes = codes_of(&layout, batch, frames, seed);
        let built = Delay::new(&layout, extent, start).build(&codes).unwrap();
        let (tokens, mask) = build_slowly(&layout, extent, start, &codes.0);
        prop_assert_eq!(built.tokens.0, tokens);
        prop_assert_eq!(built.mask.0, mask);
    }

    #[test]
    fn undo_after_build_is_the_identity_where_the_mask_is_true(
        layout in layouts(), (extent, start) in extents(), frames in 0..=200usize, seed: u64,
    ) {
        let codes = codes_of(&layout, 1, frames, seed);
        let delay = Delay::new(&layout, extent, start);
        let undone = delay.undo(&delay.build(&codes).unwrap().tokens, -1).unwrap();
        if extent == Extent::Extend {
            prop_assert_eq!(&undone.codes, &codes);
            prop_assert!(undone.mask.0.iter().all(|&known| known));
        }
        for ((at, &known), &code) in undone.mask.0.indexed_iter().zip(&undone.codes.0) {
            let cut = extent == Extent::Truncate && at.2 + layout.streams()[at.1].delay >= frames;
            prop_assert_eq!(known, !cut);
            prop_assert_eq!(code, if known { codes.0[at] } else { -1 });
        }
    }

    #[test]
    fn one_example_is_built_as_in_a_batch(
        layout in layouts(), (extent, start) in extents(), frames in 0..=60usize, seed: u64,
    ) {
        let codes = codes_of(&layout, 2, frames, seed);
        let delay = Delay::new(&layout, extent, start);
        let batch = delay.build(&codes).unwrap();
        let alone = delay.build(&Frames(codes.0.index_axis(Axis(0), 1))).unwrap();
        prop_assert_eq!(alone.tokens.0.view(), batch.tokens.0.index_axis(Axis(0), 1));
        let back = delay.undo(&Steps(alone.tokens.0.view()), -1).unwrap().codes.0;
        prop_assert_eq!(back, delay.undo(&batch.tokens, -1).unwrap().codes.0.index_axis_move(Axis(0), 1));
    }

    #[test]
    fn views_with_any_strides_give_the_same(layout in layouts(), frames in 0..=60usize, seed: u64) {
        let codes = codes_of(&layout, 2, 2 * frames, seed);
        let every_other = codes.0.slice(s![..;-1, .., ..;2]);
        let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
        let compact = delay.build(&Frames(every_other.to_owned())).unwrap();
        prop_assert_eq!(delay.build(&Frames(every_other)).unwrap(), compact);
    }

    #[test]
    fn both_frames_give_the_same_loss(
        layout in layouts(), (extent, start) in extents(), frames in 0..=60usize, seed: u64, normalize: bool,
    ) {
        let codes = codes_of(&layout, 2, frames, seed);
        let delay = Delay::new(&layout, extent, start);
        let normalize = if normalize { Normalize::Modality } else { Normalize::None };
        let policy = Policy { normalize, ..Policy::named("moshi").unwrap() };
        let weights = policy.weigh(&layout, &delay, &codes).unwrap();
        // Any loss a position will do; a fill's has no counterpart in frames and must weigh nothing.
        let loss = codes.0.mapv(|code| (code.rem_euclid(97) + 1) as f64);
        let step_loss = delay.shift(&Frames(loss.view()), |_| Fills::all(1e9)).unwrap().0;
        let dot = |weights: &Array3<f32>, loss: &Array3<f64>| -> f64 {
            weights.iter().zip(loss).map(|(&weight, loss)| f64::from(weight) * loss).sum()
        };
        let (in_frames, in_steps) = (dot(&weights.frames.0, &loss), dot(&weights.steps.0, &step_loss));
        prop_assert!((in_frames - in_steps).abs() <= 1e-9 * in_frames.abs().max(1.0), "{in_frames} {in_steps}");
    }

    #[test]
    fn the_training_view_is_the_sequence_and_its_weights(
        layout in layouts(), (extent, start) in extents(), frames in 0..=60usize, seed: u64, bos: bool, eos: bool,
    ) {
        let codes = codes_of(&layout, 2, frames, seed);
        let has = |id: fn(&roundelay::Stream) -> Option<u32>| layout.streams().iter().all(|stream| id(stream).is_some());
        let bracket = Bracket { bos: bos && has(|s| s.bos), eos: eos && has(|s| s.eos) };
        let delay = Delay::new(&layout, extent, start).bracketed(&layout, bracket).unwrap();
        check_training(&layout, &delay, &codes)?;
        check_overwritten(&layout, &delay, &codes)?;
    }

    #[test]
    fn the_training_view_of_a_pattern_is_its_sequence(
        layout in layouts_of(6..=6, 0..=3), pattern in patterns(6),
        (extent, start) in extents(), frames in 0..=20usize, seed: u64, without_start: bool,
    ) {
        // Fills that are all unlike tell a gap between codes from a head or a tail.
        let fills = Fills { head: 1 << 20, between: 1 << 21, tail: 1 << 22, bos: 0, eos: 0 };
        let Ok(order) = pattern.order_of(&layout, frames, start) else { return Ok(()) };
        let plan = Plan::new(order, extent, vec![fills; layout.streams().len()]).unwrap();
        let plan = if without_start { plan.without_start() } else { plan };
        let codes = codes_of(&layout, 2, frames, seed);
        check_training(&layout, &plan, &codes)?;
        check_overwritten(&layout, &plan, &codes)?;
    }

    #[test]
    fn views_with_any_strides_can_be_written(
        layout in layouts(), (extent, start) in extents(), frames in 0..=40usize, seed: u64,
    ) {
        let codes = codes_of(&layout, 3, frames, seed);
        let delay = Delay::new(&layout, extent, start);
        let built = delay.build(&codes).unwrap();
        let (batch, streams, steps) = built.tokens.0.dim();
        let (mut tokens, mut mask) =
            (Array3::<i32>::from_elem((2 * steps, batch, streams), -9), Array3::from_elem((streams, 3 * steps, batch), true));
        let (view, known) = (
            tokens.slice_mut(s![..;-2, .., ..]).permuted_axes([1, 2, 0]),
            mask.slice_mut(s![.., ..;3, ..]).permuted_axes([2, 0, 1]),
        );
        delay.build_into(&codes, Steps(view), Some(Steps(known))).unwrap();
        let (view, known) = (
            tokens.slice(s![..;-2, .., ..]).permuted_axes([1, 2, 0]),
            mask.slice(s![.., ..;3, ..]).permuted_axes([2, 0, 1]),
        );
        prop_assert_eq!(view.mapv(i64::from), built.tokens.0.view());
        prop_assert_eq!(known, built.mask.0.view());
        prop_assert!(tokens.slice(s![..;2, .., ..]).iter().all(|&id| id == -9), "written between its cells");

        let undone = delay.undo(&built.tokens, -1).unwrap();
        let (mut back, mut known) = (Array3::<i64>::zeros((batch, frames, streams)), Array3::from_elem((frames, streams, batch), true));
        let (view, mask) = (back.view_mut().permuted_axes([0, 2, 1]), known.view_mut().permuted_axes([2, 1, 0]));
        delay.undo_into(&Steps(built.tokens.0.view()), Frames(view), Some(Frames(mask)), -1).unwrap();
        prop_assert_eq!(back.permuted_axes([0, 2, 1]), undone.codes.0);
        prop_assert_eq!(known.permuted_axes([2, 1, 0]), undone.mask.0);
    }

    #[test]
    fn ids_that_fit_are_narrowed_and_others_named(layout in layouts(), frames in 1..=40usize, at in any::<prop::sample::Index>(), seed: u64) {
        let mut codes = codes_of(&layout, 2, frames, seed);
        let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
        let built = delay.build(&codes).unwrap();
        let (mut tokens, mut mask) = (Array3::<i16>::zeros(built.tokens.0.dim()), Array3::from_elem(built.tokens.0.dim(), false));
        delay.build_into(&codes, Steps(tokens.view_mut()), Some(Steps(mask.view_mut()))).unwrap();
        prop_assert_eq!(tokens.mapv(i64::from), built.tokens.0);
        prop_assert_eq!(mask, built.mask.0);
        let at = at.index(codes.0.len());
        *codes.0.iter_mut().nth(at).unwrap() = 1 << 15;
        let error = delay.build_into(&codes, Steps(tokens.view_mut()), None).unwrap_err();
        let (k, t) = (at / frames % layout.streams().len(), at % frames);
        prop_assert_eq!(error.to_string(), format!("stream {k}, frame {t}: token is 32768, expected an id that fits i16"));
    }

    #[test]
    fn weights_are_those_of_their_reasons(
        layout in layouts(), (extent, start) in extents(), frames in 0..=60usize, seed: u64,
    ) {
        let codes = codes_of(&layout, 2, frames, seed);
        let delay = Delay::new(&layout, extent, start);
        let policy = Policy { normalize: Normalize::None, ..Policy::named("moshi").unwrap() };
        let weights = policy.weigh(&layout, &delay, &codes).unwrap();
        let cells = weights.frames.0.indexed_iter().zip(&weights.frame_reasons.0).zip(&codes.0);
        for ((((_, k, t), &weight), &reason), &code) in cells {
            let (stream, cut) = (&layout.streams()[k], extent == Extent::Truncate);
            let expected = match code {
                ..0 => (5, 0.0),
                _ if cut && t + stream.delay >= frames => (4, 0.0),
                _ if !stream.trained => (6, 0.0),
                _ if stream.end_pad.map(i64::from) == Some(code) => (2, 0.5),
                _ if k == 0 && code == i64::from(stream.pad) => (1, 0.5),
                _ => (0, [1.0, 100.0, 1.0][k.min(2)]),
            };
            prop_assert_eq!((reason, weight), expected);
        }
    }
}
