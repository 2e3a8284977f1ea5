//! Laws that hold for every layout, length and content.

mod common;

use common::strategies::{codes_of, extents, layouts};
use ndarray::{Array3, Axis, s};
use proptest::prelude::*;
use roundelay::delay::{Bracket, Fills};
use roundelay::{Delay, Extent, Frames, Layout, Normalize, Policy, Sequencer, Start, Steps};

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
        layout in layouts(), extent in extents().prop_map(|(extent, _)| extent), frames in 0..=60usize, seed: u64,
        normalize: bool, bos: bool, eos: bool,
    ) {
        let codes = codes_of(&layout, 2, frames, seed);
        let has = |id: fn(&roundelay::Stream) -> Option<u32>| layout.streams().iter().all(|stream| id(stream).is_some());
        let bracket = Bracket { bos: bos && has(|s| s.bos), eos: eos && has(|s| s.eos) };
        let delay = Delay::new(&layout, extent, Start::Initial).bracketed(&layout, bracket).unwrap();
        let normalize = if normalize { Normalize::Modality } else { Normalize::None };
        let policy = Policy { normalize, ..Policy::named("moshi").unwrap() };
        let (built, weights) = (delay.build(&codes).unwrap(), policy.weigh(&layout, &delay, &codes).unwrap());
        let training = policy.training(&layout, &delay, &codes).unwrap();
        let last = built.tokens.0.len_of(Axis(2)) - 1;
        prop_assert_eq!(training.input.0, built.tokens.0.slice(s![.., .., ..last]));
        prop_assert_eq!(training.target.0, built.tokens.0.slice(s![.., .., 1..]));
        prop_assert_eq!(training.mask.0, built.mask.0.slice(s![.., .., 1..]));
        prop_assert_eq!(training.weights.0, weights.steps.0.slice(s![.., .., 1..]));
        prop_assert_eq!(training.sums, weights.sums);
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
