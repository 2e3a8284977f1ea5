//! Weights and losses against moshi-finetune's, whose logits were recorded with them.

use ndarray::{Array3, ArrayD, Axis, Ix3, IxDyn, s};
use roundelay::weights::{Class, PadIds, Weights};
use roundelay::{Delay, Extent, FrameRate, Frames, Kind, Layout, Normalize, Policy, Reason, Start, Stream};
use serde_json::Value;

use crate::common::{Recorded, Tensors};

fn recorded() -> Recorded {
    let cases = "1afe07c4adb5fd28c4873e5759a1f6bc33e655f2725edc51b229a54bf61b6659";
    Recorded::read("moshi/loss", [cases, "55527a6d942d1c564c67207330b2841f17a4d0e8467841d62a49ab92af61193a"])
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn float(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn stream(kind: Kind, level: Option<usize>, cardinality: usize, delay: usize, trained: bool) -> Stream {
    Stream {
        name: level.map_or("text".into(), |level| format!("main.{level}")),
        kind,
        speaker: "main".into(),
        level,
        cardinality: cardinality as u32,
        delay,
        initial: cardinality as u32,
        pad: if kind == Kind::Text { 3 } else { cardinality as u32 },
        end_pad: (kind == Kind::Text).then_some(0),
        bos: None,
        eos: None,
        phase: None,
        trained,
    }
}

fn audio(level: usize, card: usize, delay: usize, trained: bool) -> Stream {
    stream([Kind::Semantic, Kind::Acoustic][level.min(1)], Some(level), card, delay, trained)
}

fn layout(streams: Vec<Stream>) -> Layout {
    Layout::new("recorded", FrameRate::new(25, 2).unwrap(), streams).unwrap()
}

/// The peer's options as a policy; none if it has no ids for text.
fn policy(params: &Value) -> Option<Policy> {
    let mut policy = Policy { semantic: float(&params["first_codebook_weight_multiplier"]), ..kyutai() };
    if params["mode"] == "audio" {
        return Some(policy);
    }
    let ids: Vec<usize> = params["text_padding_ids"].as_array()?.iter().map(number).collect();
    policy.text_pad = float(&params["text_padding_weight"]);
    match ids[..] {
        [0, 3] => policy.pad_ids = PadIds::PadAndEndPad,
        [3] => policy.pad_ids = PadIds::Pad,
        // No id is a pad: all weigh alike.
        [] => policy.text_pad = 1.0,
        _ => panic!("pads {ids:?}"),
    }
    Some(policy)
}

fn kyutai() -> Policy {
    Policy::named("kyutai").unwrap()
}

fn weigh(policy: &Policy, layout: &Layout, codes: Array3<i64>) -> Weights<Ix3> {
    let delay = Delay::new(layout, Extent::Truncate, Start::None);
    policy.weigh(layout, &delay, &Frames(codes)).unwrap()
}

/// Weights before any normalisation.
fn raw(policy: &Policy) -> Policy {
    Policy { normalize: Normalize::None, ..policy.clone() }
}

/// Cross-entropy of each position, slowly: the logarithm of the sum of exponentials, less the target's logit.
fn cross_entropy(logits: &ArrayD<f32>, targets: &Array3<i64>) -> Array3<f64> {
    Array3::from_shape_fn(targets.dim(), |(b, k, t)| {
        let row: Vec<f64> = (0..logits.shape()[3]).map(|id| logits[IxDyn(&[b, k, t, id])].into()).collect();
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|logit| (logit - top).exp()).sum();
        top + sum.ln() - row[targets[[b, k, t]].max(0) as usize]
    })
}

/// Sum of weight x cross-entropy; what weighs nothing is not looked at.
fn loss(weights: ndarray::ArrayView3<f32>, entropy: &Array3<f64>) -> f64 {
    let cells = weights.into_iter().zip(entropy).filter(|(weight, _)| **weight > 0.0);
    cells.map(|(&weight, entropy)| f64::from(weight) * entropy).sum()
}

fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-5 * theirs.abs(), "{what}: {ours} and {theirs}");
}

#[test]
fn moshi_loss_weights_and_losses() {
    let recorded = recorded();
    let tensors = recorded.tensors();
    let (mut finite, mut empty, mut refused) = (0, 0, 0);
    for case in recorded.all().iter().filter(|case| case["kind"] == "loss") {
        let (params, key) = (&case["params"], |name: &str| format!("{}/{name}", case["name"].as_str().unwrap()));
        let three = |name: &str| tensors.i64(&key(name)).into_dimensionality::<Ix3>().unwrap();
        let (target, mask) = (three("target"), tensors.bool(&key("mask")).into_dimensionality::<Ix3>().unwrap());
        let card = number(&params["card"]);
        let streams = match params["mode"] == "text" {
            true => vec![stream(Kind::Text, None, card, 0, true)],
            false => (0..number(&params["K"])).map(|level| audio(level, card, 0, true)).collect(),
        };
        let layout = layout(streams);
        let codes = Array3::from_shape_fn(target.dim(), |at| if mask[at] { target[at] } else { -1 });
        let Some(policy) = policy(params) else {
            // The peer refuses text without ids; a policy always says which ids are pads.
            assert_eq!(case["expect"]["error"], "AssertionError");
            assert!(Policy::from_json(r#"{"pad_ids": null}"#).is_err());
            refused += 1;
            continue;
        };
        let weights = weigh(&raw(&policy), &layout, codes.clone());
        let theirs = tensors.f32(&key("weights"));
        if case["expect"].get("error").is_some() {
            // The peer gives a target of -1 a weight and fails on it; here it is absent.
            let cells = weights.frames.0.iter().zip(&theirs).zip(weights.frame_reasons.0.iter().zip(&codes));
            for ((&weight, &theirs), (&reason, &code)) in cells {
                assert_eq!(weight, if code < 0 { 0.0 } else { theirs });
                assert_eq!(reason == Reason::Absent as u8, code < 0);
            }
            assert!(codes.iter().zip(&mask).any(|(&code, &mask)| mask && code < 0));
            refused += 1;
            continue;
        }
        assert_eq!(weights.frames.0.view().into_dyn(), theirs, "{}", key("weights"));
        let sum = weights.sums.text + weights.sums.audio;
        assert_eq!(sum, f64::from(tensors.f32(&key("weight_sum"))[0]), "{}", key("weight_sum"));

        let normalized = weigh(&policy, &layout, codes);
        let entropy = cross_entropy(&tensors.f32(&key("logits")), &target);
        let ours = loss(normalized.frames.0.view(), &entropy);
        let nothing = policy.nothing_to_learn(&layout, &normalized.sums);
        if case["expect"]["loss_is_nan"] == true {
            assert!(tensors.f64(&key("loss_f64"))[0].is_nan());
            let class = if params["mode"] == "text" { Class::Words } else { Class::Audio };
            assert_eq!((ours, nothing), (0.0, vec![class]), "{}", key("loss"));
            empty += 1;
        } else {
            assert_close(ours, tensors.f64(&key("loss_f64"))[0], &key("loss_f64"));
            assert_close(ours, tensors.f32(&key("loss"))[0].into(), &key("loss"));
            assert_eq!(nothing, []);
            finite += 1;
        }
    }
    assert_eq!((finite, empty, refused), (10, 2, 2));
}

/// Codes with their delays to both losses, and the mean over microbatches.
#[test]
fn moshi_loss_end_to_end() {
    let recorded = recorded();
    let tensors = recorded.tensors();
    let mut run = (0, 0);
    for case in recorded.all().iter().filter(|case| case["kind"] == "end_to_end") {
        let params = &case["params"];
        let delays = params["delays"].as_array().unwrap().iter().map(number);
        let (card, trained) = (number(&params["card"]), number(&params["dep_q"]));
        let streams = delays.enumerate().map(|(k, delay)| match k {
            0 => stream(Kind::Text, None, number(&params["text_card"]), delay, true),
            k => audio(k - 1, card, delay, k <= trained),
        });
        let (layout, policy) = (layout(streams.collect()), policy(params).unwrap());
        let count = number(&params["num_microbatches"]);
        let losses = (0..count).map(|i| {
            let key = |name: &str| format!("{}/mb{i}_{name}", case["name"].as_str().unwrap());
            microbatch(&layout, &policy, &tensors, trained, key)
        });
        let mean = losses.sum::<f64>() / count as f64;
        let theirs = tensors.f32(&format!("{}/step_loss", case["name"].as_str().unwrap()))[0];
        assert_close(mean, theirs.into(), "step_loss");
        run = (run.0 + 1, run.1 + count);
    }
    assert_eq!(run, (2, 3));
}

fn microbatch(
    layout: &Layout,
    policy: &Policy,
    tensors: &Tensors,
    trained: usize,
    key: impl Fn(&str) -> String,
) -> f64 {
    let codes = tensors.i64(&key("codes")).into_dimensionality::<Ix3>().unwrap();
    let weights = weigh(&raw(policy), layout, codes.clone()).frames.0;
    let (text, audio) = (weights.slice(s![.., ..1, ..]), weights.slice(s![.., 1..=trained, ..]));
    assert_eq!(text.into_dyn(), tensors.f32(&key("text_weights")), "{}", key("text_weights"));
    assert_eq!(audio.into_dyn(), tensors.f32(&key("audio_weights")), "{}", key("audio_weights"));
    assert_eq!(weights.slice(s![.., trained + 1.., ..]).sum(), 0.0);

    let weights = weigh(policy, layout, codes.clone()).frames.0;
    let part = |logits: &str, first: usize, loss_name: &str| {
        let logits = tensors.f32(&key(logits));
        let streams = s![.., first..first + logits.len_of(Axis(1)), ..];
        let ours = loss(weights.slice(streams), &cross_entropy(&logits, &codes.slice(streams).to_owned()));
        assert_close(ours, tensors.f32(&key(loss_name))[0].into(), &key(loss_name));
        ours
    };
    let sum = part("text_logits", 0, "text_loss") + part("logits", 1, "audio_loss");
    assert_close(sum, tensors.f32(&key("loss"))[0].into(), &key("loss"));
    sum
}
