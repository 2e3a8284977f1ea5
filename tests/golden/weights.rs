//! Weights and losses against J-Moshi's, over its batches of chunks.

use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3, IxDyn, s};
use roundelay::weights::{PadIds, Sums, Weights};
use roundelay::{Delay, Extent, FrameRate, Frames, Kind, Layout, Normalize, Policy, Start, Stream};
use serde_json::Value;

use crate::common::{self, Tensors};

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// The case's streams; a speaker's first codebook is the semantic one.
fn layout(case: &Value, delays: impl Fn(usize) -> usize) -> Layout {
    let (count, levels) = (case["delays"].as_array().unwrap().len(), number(&case["codebooks_per_speaker"]));
    let stream = |k: usize| {
        let (speaker, level) = (k.saturating_sub(1) / levels, k.checked_sub(1).map(|k| k % levels));
        let initial = number(&case["initial"][k]) as u32;
        Stream {
            name: format!("s{k}"),
            kind: level.map_or(Kind::Text, |level| [Kind::Semantic, Kind::Acoustic][level.min(1)]),
            speaker: ["main", "other"][speaker].into(),
            level,
            cardinality: initial,
            delay: delays(k),
            initial,
            pad: number(&case["pad"][k]) as u32,
            end_pad: (k == 0).then_some(0),
            bos: None,
            eos: None,
            phase: None,
            trained: speaker == 0 || case["model_user_stream"] == true,
        }
    };
    Layout::new("recorded", FrameRate::new(25, 2).unwrap(), (0..count).map(stream).collect()).unwrap()
}

fn policy(case: &Value) -> Policy {
    let weight = |name: &str| case[name].as_f64().unwrap() as f32;
    let policy = Policy {
        text_pad: weight("text_padding_loss_weight"),
        semantic: weight("semantic_loss_weight"),
        acoustic: weight("acoustic_loss_weight"),
        ..Policy::named("jmoshi").unwrap()
    };
    assert_eq!(policy, Policy::named("jmoshi").unwrap(), "all were recorded with the same weights");
    assert_eq!((policy.pad_ids, policy.normalize, policy.learned_tails), (PadIds::Pad, Normalize::Class, true));
    policy
}

#[test]
fn jmoshi_weights_and_losses() {
    let recorded = common::jmoshi();
    let tensors = recorded.tensors();
    let (mut batches, mut losses, mut whole) = (0, 0, 0);
    for case in recorded.all() {
        let key = |name: &str| format!("{}/{name}", case["id"].as_str().unwrap());
        // Labels stand for themselves: what is ignored is absent, and nothing is left to shift.
        let (layout, policy) = (layout(case, |_| 0), policy(case));
        let labels = tensors.i64(&key("batch_labels")).into_dimensionality::<Ix3>().unwrap();
        let labels = Frames(labels.slice_move(s![.., .., 1..]));
        let delay = Delay::new(&layout, Extent::Truncate, Start::None);
        let weights = policy.weigh(&layout, &delay, &labels).unwrap();
        check_weights(&tensors, key, &weights.frames.0);
        assert_eq!(policy.nothing_to_learn(&layout, &weights.sums), []);
        batches += 1;
        if let Some(theirs) = case["loss"].as_f64() {
            let ours = loss(&tensors, key, &weights.frames.0);
            assert!((ours - theirs).abs() <= 1e-5 * theirs, "{}: {ours} and {theirs}", key("loss"));
            losses += 1;
        }
        if case["max_length"].is_null() {
            check_sequences(case, &policy, &tensors, key, &weights);
            whole += 1;
        }
    }
    assert_eq!((batches, losses, whole), (8, 8, 4));
}

/// `weights_text` and `weights_audio`, as exactly as 32 bits can say it.
fn check_weights(tensors: &Tensors, key: impl Fn(&str) -> String, ours: &Array3<f32>) {
    let text = tensors.f64(&key("weights_text")).mapv(|weight| weight as f32);
    assert_eq!(ours.index_axis(Axis(1), 0).into_dyn(), text, "{}", key("weights_text"));
    let audio = tensors.f64(&key("weights_audio")).mapv(|weight| weight as f32);
    let trained = audio.len_of(Axis(2));
    let part = ours.slice(s![.., 1..=trained, ..]).permuted_axes([0, 2, 1]);
    assert_eq!(part.into_dyn(), audio, "{}", key("weights_audio"));
    assert_eq!(ours.slice(s![.., trained + 1.., ..]).sum(), 0.0);
}

/// The same weights from codes: fills that are learned, and sums that are put together.
fn check_sequences(
    case: &Value,
    policy: &Policy,
    tensors: &Tensors,
    key: impl Fn(&str) -> String,
    batch: &Weights<Ix3>,
) {
    let layout = layout(case, |k| number(&case["delays"][k]));
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let raw = Policy { normalize: Normalize::None, ..policy.clone() };
    let mut sums = Sums::default();
    let parts: Vec<Array2<f32>> = (0..batch.frames.0.len_of(Axis(0)))
        .map(|i| {
            let codes = tensors.i64(&key(&format!("codes{i}"))).into_dimensionality::<Ix2>().unwrap();
            let training = raw.training(&layout, &delay, &Frames(codes)).unwrap();
            sums.add(&training.sums);
            training.weights.0
        })
        .collect();
    assert_eq!(sums, batch.sums, "{}", key("sums"));
    for (ours, batch) in parts.iter().zip(batch.frames.0.outer_iter()) {
        for ((k, s), &normalized) in batch.indexed_iter() {
            let weight = ours.get((k, s)).copied().unwrap_or(0.0);
            let sum = match (k, weight) {
                (0, 1.0) => sums.words,
                (0, _) => sums.pads / 0.5,
                _ => sums.audio,
            };
            assert_eq!((f64::from(weight) / sum) as f32, normalized, "{}: stream {k}, step {s}", key("codes"));
        }
    }
}

/// The dot product of weights and cross-entropies, from logits over small vocabularies.
fn loss(tensors: &Tensors, key: impl Fn(&str) -> String, weights: &Array3<f32>) -> f64 {
    let (text, audio) = (tensors.f32(&key("loss_text_logits")), tensors.f32(&key("loss_audio_logits")));
    let labels = [tensors.i64(&key("loss_text_labels")), tensors.i64(&key("loss_audio_labels"))];
    let mut sum = 0.0;
    for ((b, k, s), &weight) in weights.indexed_iter().filter(|(_, weight)| **weight > 0.0) {
        let (logits, label) = match k {
            0 => (row(&text, &[b, s]), labels[0][IxDyn(&[b, s])]),
            k => (row(&audio, &[b, s, k - 1]), labels[1][IxDyn(&[b, s, k - 1])]),
        };
        let all: f64 = logits.iter().map(|logit| logit.exp()).sum();
        sum += f64::from(weight) * (all.ln() - logits[usize::try_from(label).expect("what weighs has a label")]);
    }
    sum
}

fn row(logits: &ArrayD<f32>, at: &[usize]) -> Vec<f64> {
    let card = *logits.shape().last().unwrap();
    (0..card).map(|id| logits[IxDyn(&[at, &[id]].concat())].into()).collect()
}
