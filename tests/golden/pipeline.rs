//! moshi-finetune from a window to what its loss sees: batch, delayed sequences, masks and weights.

use ndarray::{Array3, Axis, s};
use roundelay::pipeline::KyutaiWindow;
use roundelay::{Delay, Extent, Frames, Layout, Normalize, Policy, Sequencer, Start};
use serde_json::Value;

use super::window::{layout, rows, tokenizer};
use crate::common::{self, Recorded, Tensors};

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn moshi_pipeline() {
    let cases = "5aa79bb9c13c6950d26dc696c0a871d32c69141b91b14188ebc03eadf0ff2c4c";
    let tensors = "8a215ceed2d81d95988cb2c636e7abf709d4fcca10bf55995f2a88616cec1117";
    let recorded = Recorded::read("moshi/pipeline", [cases, tensors]);
    let files = &common::json(&common::recorded("reference/moshi/pipeline.json", cases))["files"];
    let (tensors, tokenizer) = (recorded.tensors(), tokenizer());
    let (mut run, mut windows) = (0, 0);
    for case in recorded.all() {
        let params = &case["params"];
        let key = |name: &str| format!("{}/{name}", case["name"].as_str().unwrap());
        let delays = |k: usize| number(&params["delays"][k]);
        let layout = layout(params, 2, number(&params["dep_q"]), delays);
        assert_eq!(layout.streams().len(), 1 + number(&params["n_q"]));
        let batch: Vec<_> = (params["windows"].as_array().unwrap().iter().enumerate())
            .map(|(i, window)| {
                let file = &files[window[0].as_str().unwrap()];
                let [start, duration] = [&window[1], &params["duration_sec"]].map(|value| value.as_f64().unwrap());
                let codes = tensors.i64(&key(&format!("mimi_codes{i}")));
                rows(&layout, KyutaiWindow { start, duration }, file, params, codes, &tokenizer).0
            })
            .collect();
        let views: Vec<_> = batch.iter().map(|rows| rows.view()).collect();
        let codes = Frames(ndarray::stack(Axis(0), &views).unwrap());
        assert_eq!(codes.0.view().into_dyn(), tensors.i64(&key("codes")), "{}", key("codes"));
        check_sequences(&layout, &codes, &tensors, key);
        check_weights(case, &layout, &codes, &tensors, key);
        (run, windows) = (run + 1, windows + batch.len());
    }
    assert_eq!((run, windows), (3, 4));
}

fn check_sequences(layout: &Layout, codes: &Frames<Array3<i64>>, tensors: &Tensors, key: impl Fn(&str) -> String) {
    let sequence = Delay::new(layout, Extent::Truncate, Start::Initial).build(codes).unwrap().tokens.0;
    let frames = codes.0.len_of(Axis(2));
    assert_eq!(sequence.slice(s![.., .., ..frames]).into_dyn(), tensors.i64(&key("model_input")), "{}", key("input"));
    assert_eq!(sequence.slice(s![.., .., 1..]).into_dyn(), tensors.i64(&key("target")), "{}", key("target"));
}

/// Masks are where everything weighs something; the weights are raw, as the peer multiplies them.
fn check_weights(
    case: &Value,
    layout: &Layout,
    codes: &Frames<Array3<i64>>,
    tensors: &Tensors,
    key: impl Fn(&str) -> String,
) {
    let (params, expect) = (&case["params"], &case["expect"]);
    let weight = |name: &str| params[name].as_f64().unwrap() as f32;
    let kyutai = Policy { normalize: Normalize::None, acoustic: 1.0, ..Policy::named("kyutai").unwrap() };
    let policy = Policy {
        text_pad: weight("text_padding_weight"),
        semantic: weight("first_codebook_weight_multiplier"),
        ..kyutai.clone()
    };
    let delay = Delay::new(layout, Extent::Truncate, Start::None);
    let trained = 1 + number(&params["dep_q"]);
    let weigh = |policy: &Policy| policy.weigh(layout, &delay, codes).unwrap().frames.0;

    let ones = Policy { text_pad: 1.0, semantic: 1.0, ..kyutai };
    let mask = weigh(&ones).mapv(|weight| weight > 0.0);
    assert_eq!(mask.slice(s![.., ..1, ..]).into_dyn(), tensors.bool(&key("text_mask")), "{}", key("text_mask"));
    assert_eq!(
        mask.slice(s![.., 1..trained, ..]).into_dyn(),
        tensors.bool(&key("audio_mask")),
        "{}",
        key("audio_mask")
    );
    assert!(!mask.slice(s![.., trained.., ..]).iter().any(|&counts| counts), "untrained streams count");
    assert_eq!(mask.slice(s![.., ..trained, ..]).len(), number(&expect["n_batch_tokens"]));
    assert_eq!(mask.iter().filter(|&&counts| counts).count(), number(&expect["n_real_tokens"]));

    let weights = weigh(&policy);
    let (text, audio) = (weights.slice(s![.., ..1, ..]), weights.slice(s![.., 1..trained, ..]));
    assert_eq!(text.into_dyn(), tensors.f32(&key("text_weights")), "{}", key("text_weights"));
    assert_eq!(audio.into_dyn(), tensors.f32(&key("audio_weights")), "{}", key("audio_weights"));
    assert_eq!(f64::from(text.sum()), expect["text_weight_sum"].as_f64().unwrap());
    assert_eq!(f64::from(audio.sum()), expect["audio_weight_sum"].as_f64().unwrap());
}
