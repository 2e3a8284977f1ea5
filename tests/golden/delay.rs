//! The delay and the weights against what the peers' own code gave (`fixtures/README.md` says how it was recorded).

use ndarray::{Array2, Array3, Axis, Ix2, Ix3, Ix4, s};
use roundelay::delay::jmoshi_labels;
use roundelay::window::EvenSplit;
use roundelay::{Delay, Extent, FrameRate, Frames, Kind, Layout, Normalize, Policy, Sequencer, Start, Steps, Stream};
use serde_json::Value;

use crate::common::{self, Tensors};

/// Text first, then audio; a stream per level of one speaker, as only delays and fills matter here.
fn layout(delays: &Value, initial: impl Fn(usize) -> u32, text_pad: u32, trained: usize) -> Layout {
    let streams = delays.as_array().unwrap().iter().enumerate().map(|(k, delay)| Stream {
        name: format!("s{k}"),
        kind: [Kind::Text, Kind::Semantic, Kind::Acoustic][k.min(2)],
        speaker: "main".into(),
        level: k.checked_sub(1),
        cardinality: initial(k),
        delay: delay.as_u64().unwrap() as usize,
        initial: initial(k),
        pad: if k == 0 { text_pad } else { initial(k) },
        end_pad: (k == 0).then_some(0),
        bos: None,
        eos: None,
        phase: None,
        trained: k <= trained,
    });
    Layout::new("recorded", FrameRate::new(25, 2).unwrap(), streams.collect()).unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn moshi_delay() {
    let recorded = common::moshi_delay();
    let tensors = recorded.tensors();
    let (mut run, mut with_logits) = (0, 0);
    for case in recorded.all() {
        assert_eq!(case["kind"], "forward_path");
        let params = &case["params"];
        let ids = [number(&params["text_initial"]) as u32, number(&params["audio_initial"]) as u32];
        let layout = layout(&params["delays"], |k| ids[k.min(1)], 3, number(&params["dep_q"]));
        let key = |name: &str| format!("{}/{name}", case["name"].as_str().unwrap());
        check_sequence(&layout, &tensors, key);
        check_masks(&layout, &tensors, key);
        if case["tensors"].get("logits").is_some() {
            check_logits(&layout, &tensors, key);
            with_logits += 1;
        }
        run += 1;
    }
    assert_eq!((run, with_logits), (20, 7));
}

fn grid(tensors: &Tensors, key: String) -> Array3<i64> {
    tensors.i64(&key).into_dimensionality().unwrap()
}

/// `delayed`, `delayed_full`, its input and target halves, and the way back.
fn check_sequence(layout: &Layout, tensors: &Tensors, key: impl Fn(&str) -> String) {
    let codes = Frames(grid(tensors, key("codes")));
    let plain = Delay::new(layout, Extent::Truncate, Start::None);
    let full = Delay::new(layout, Extent::Truncate, Start::Initial).build(&codes).unwrap().tokens;
    assert_eq!(plain.build(&codes).unwrap().tokens.0, grid(tensors, key("delayed")), "{}", key("delayed"));
    assert_eq!(full.0, grid(tensors, key("delayed_full")), "{}", key("delayed_full"));
    let frames = codes.0.len_of(Axis(2));
    let target = full.0.slice(s![.., .., 1..]);
    assert_eq!(full.0.slice(s![.., .., ..frames]), grid(tensors, key("model_input")));
    assert_eq!(target, grid(tensors, key("target")));
    let initial = Delay::new(layout, Extent::Truncate, Start::Initial);
    let training = Policy::named("moshi").unwrap().training(layout, &initial, &codes).unwrap();
    assert_eq!((training.input().0, training.target().0), (grid(tensors, key("model_input")).view(), target));
    let undone = plain.undo(&Steps(target), -7).unwrap();
    assert_eq!(undone.codes.0, grid(tensors, key("undelayed_target")), "{}", key("undelayed_target"));
    assert_eq!(undone.mask.0.into_dyn(), tensors.bool(&key("undelayed_mask")), "{}", key("undelayed_mask"));
    let payload = tensors.f32(&key("payload")).into_dimensionality::<Ix4>().unwrap();
    let undone = plain.unshift(&Steps(payload), Axis(1), f32::NAN).unwrap();
    assert!(same_floats(undone.0.iter(), tensors.f32(&key("undelayed_payload")).iter()), "{}", key("payload"));
}

/// Positions that count are those that weigh something, where everything weighs 1.
fn check_masks(layout: &Layout, tensors: &Tensors, key: impl Fn(&str) -> String) {
    let ones = Policy {
        text_pad: 1.0,
        semantic: 1.0,
        acoustic: 1.0,
        normalize: Normalize::None,
        ..Policy::named("moshi").unwrap()
    };
    let delay = Delay::new(layout, Extent::Truncate, Start::None);
    let codes = Frames(grid(tensors, key("codes")));
    let counts = ones.weigh(layout, &delay, &codes).unwrap().frames.0.mapv(|weight| weight > 0.0);
    let (text, audio) = counts.view().split_at(Axis(1), 1);
    assert_eq!(text.into_dyn(), tensors.bool(&key("text_mask")), "{}", key("text_mask"));
    let mask = tensors.bool(&key("audio_mask"));
    let (trained, rest) = audio.split_at(Axis(1), mask.len_of(Axis(1)));
    assert_eq!(trained.into_dyn(), mask, "{}", key("audio_mask"));
    assert!(!rest.iter().any(|&counts| counts), "{}: untrained streams count", key("audio_mask"));
}

/// The model's raw logits belong to the first `dep_q` audio streams and to text.
fn check_logits(layout: &Layout, tensors: &Tensors, key: impl Fn(&str) -> String) {
    for (raw, known, first) in [("logits_raw", "logits", 1), ("text_logits_raw", "text_logits", 0)] {
        let raw = tensors.f32(&key(raw)).into_dimensionality::<Ix4>().unwrap();
        let streams = layout.streams()[first..first + raw.len_of(Axis(1))].to_vec();
        let part = Layout::new("part", layout.frame_rate(), streams).unwrap();
        let delay = Delay::new(&part, Extent::Truncate, Start::None);
        let logits = delay.unshift(&Steps(raw), Axis(1), f32::NAN).unwrap();
        assert!(same_floats(logits.0.iter(), tensors.f32(&key(known)).iter()), "{}", key(known));
    }
}

fn same_floats<'a>(a: impl ExactSizeIterator<Item = &'a f32>, b: impl ExactSizeIterator<Item = &'a f32>) -> bool {
    a.len() == b.len() && a.zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

#[test]
fn jmoshi_sequences_chunks_labels_and_batches() {
    let recorded = common::jmoshi();
    let tensors = recorded.tensors();
    let (mut sequences, mut chunks, mut batches) = (0, 0, 0);
    for case in recorded.all() {
        let initial = |k: usize| number(&case["initial"][k]) as u32;
        let layout = layout(&case["delays"], initial, number(&case["pad"][0]) as u32, usize::MAX);
        let key = |name: &str| format!("{}/{name}", case["id"].as_str().unwrap());
        let lengths = case["lengths"].as_array().unwrap().len();
        let built: Vec<_> =
            (0..lengths).map(|i| check_extended(&layout, &tensors, |name| key(&format!("{name}{i}")))).collect();
        sequences += built.len();
        let parts: Vec<_> = built.iter().flat_map(|sequence| even_parts(case, sequence)).collect();
        assert_eq!(parts.len(), number(&case["chunks"]), "{}", key("chunks"));
        chunks += parts.len();
        check_batch(case, &layout, &tensors, &parts);
        batches += 1;
    }
    assert_eq!((sequences, chunks, batches), (24, 36, 8));
}

/// `delayed` and the way back.
fn check_extended(layout: &Layout, tensors: &Tensors, key: impl Fn(&str) -> String) -> Array2<i64> {
    let two = |name: &str| tensors.i64(&key(name)).into_dimensionality::<Ix2>().unwrap();
    let extend = |start| Delay::new(layout, Extent::Extend, start);
    let codes = Frames(two("codes"));
    let built = extend(Start::Initial).build(&codes).unwrap().tokens;
    assert_eq!(built.0, two("delayed"), "{}", key("delayed"));
    let peer = tensors.i64(&key("undelayed")).into_dimensionality::<Ix3>().unwrap();
    let undone = extend(Start::None).undo(&Steps(built.0.slice(s![.., 1..])), -1).unwrap();
    assert_eq!(undone.codes.0, peer.index_axis(Axis(0), 0), "{}", key("undelayed"));
    assert_eq!(extend(Start::Initial).undo(&built, -1).unwrap().codes, codes);
    built.0
}

/// A sequence cut as the case asks for it.
fn even_parts(case: &Value, sequence: &Array2<i64>) -> Vec<Array2<i64>> {
    let length = |name: &str, absent: usize| case[name].as_u64().map_or(absent, |length| length as usize);
    let split = EvenSplit::new(length("max_length", usize::MAX), length("min_length", 0)).unwrap();
    split.spans(sequence.ncols()).map(|span| sequence.slice(s![.., span]).to_owned()).collect()
}

/// `chunk`, `labels`, and both of them as batches with what training takes from them.
fn check_batch(case: &Value, layout: &Layout, tensors: &Tensors, chunks: &[Array2<i64>]) {
    let key = |name: &str| format!("{}/{name}", case["id"].as_str().unwrap());
    let ignore = case["zero"].as_i64().unwrap();
    let labels = |chunk: &Array2<i64>| jmoshi_labels(layout, &Steps(chunk.view()), ignore).unwrap().0;
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.view().into_dyn(), tensors.i64(&key(&format!("chunk{i}"))), "{}", key("chunk"));
        assert_eq!(labels(chunk).into_dyn(), tensors.i64(&key(&format!("labels{i}"))), "{}", key("labels"));
    }
    let input = padded(chunks, ignore);
    assert_eq!(input.view().into_dyn(), tensors.i64(&key("batch_input_ids")), "{}", key("batch_input_ids"));
    let labels = padded(&chunks.iter().map(labels).collect::<Vec<_>>(), ignore);
    assert_eq!(labels.view().into_dyn(), tensors.i64(&key("batch_labels")), "{}", key("batch_labels"));
    // The peer's mask is -1 on padding, where 0 is meant.
    let ones: Vec<_> = chunks.iter().map(|chunk| Array2::ones((1, chunk.ncols()))).collect();
    let attention = padded(&ones, -1).index_axis_move(Axis(1), 0);
    assert_eq!(attention.into_dyn(), tensors.i64(&key("batch_attention")), "{}", key("batch_attention"));

    let speakers_codebooks = number(&case["codebooks_per_speaker"]);
    let trained = if case["model_user_stream"] == true { layout.streams().len() - 1 } else { speakers_codebooks };
    let text = labels.slice(s![.., 0, 1..]).into_dyn();
    assert_eq!(text, tensors.i64(&key("text_labels")), "{}", key("text_labels"));
    let audio = labels.slice(s![.., 1..=trained, 1..]).permuted_axes([0, 2, 1]).into_dyn();
    assert_eq!(audio, tensors.i64(&key("audio_labels")), "{}", key("audio_labels"));
}

/// Grids of different lengths as one batch, filled on the right.
fn padded(grids: &[Array2<i64>], fill: i64) -> Array3<i64> {
    let longest = grids.iter().map(Array2::ncols).max().unwrap();
    let mut batch = Array3::from_elem((grids.len(), grids[0].nrows(), longest), fill);
    for (mut row, grid) in batch.outer_iter_mut().zip(grids) {
        row.slice_mut(s![.., ..grid.ncols()]).assign(grid);
    }
    batch
}
