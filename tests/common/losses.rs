//! Logits and labels whose losses other projects' code gave, for every backend's tests.

use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3, Ix4, stack};
use roundelay::backend::contract::Recorded;
use roundelay::backend::{BatchSpec, StreamSpec};
use roundelay::batch::{Placed, TrainBatch};
use roundelay::weights::Sums;
use roundelay::{Kind, Reason, Steps};

use crate::common::{self, Tensors};

/// moshi-finetune's 10 means, 2 of nothing and 3 microbatches; J-Moshi's 8 batches.
pub const RECORDED: usize = 10 + 2 + 3 + 8;

/// A stream that is said.
struct Said {
    /// `[batch, time, outputs]`
    logits: Array3<f32>,
    /// `[batch, time]`
    labels: Array2<i64>,
    weights: Array2<f32>,
}

pub fn recorded() -> Vec<Recorded> {
    let mut cases = moshi();
    cases.extend(jmoshi());
    assert_eq!(cases.len(), RECORDED);
    cases
}

fn moshi() -> Vec<Recorded> {
    let cases = "1afe07c4adb5fd28c4873e5759a1f6bc33e655f2725edc51b229a54bf61b6659";
    let tensors = "55527a6d942d1c564c67207330b2841f17a4d0e8467841d62a49ab92af61193a";
    let recorded = common::Recorded::read("moshi/loss", [cases, tensors]);
    let (tensors, mut cases) = (recorded.tensors(), Vec::new());
    for case in recorded.all() {
        let name = case["name"].as_str().unwrap();
        let key = |tensor: &str| format!("{name}/{tensor}");
        if let Some(count) = case["params"]["num_microbatches"].as_u64() {
            cases.extend((0..count).map(|i| microbatch(&tensors, format!("{name}/mb{i}"))));
        } else if case["expect"].get("error").is_none() {
            let weights = tensors.f32(&key("weights"));
            let streams = said(tensors.f32(&key("logits")), tensors.i64(&key("target")), weights);
            let loss = tensors.f64(&key("loss_f64"))[0];
            // Of nothing the peer's mean is 0/0.
            assert_eq!(loss.is_nan(), case["expect"]["loss_is_nan"] == true, "{name}");
            cases.push(self::case(name, streams, if loss.is_nan() { 0.0 } else { loss }));
        }
    }
    cases
}

fn microbatch(tensors: &Tensors, name: String) -> Recorded {
    let key = |tensor: &str| format!("{name}_{tensor}");
    let codes = tensors.i64(&key("codes"));
    let part = |logits: &str, weights: &str, first: usize| {
        let (logits, weights) = (tensors.f32(&key(logits)), tensors.f32(&key(weights)));
        let labels = codes.slice_axis(Axis(1), (first..first + logits.shape()[1]).into()).into_owned();
        said(logits, labels, weights)
    };
    let mut streams = part("text_logits", "text_weights", 0);
    streams.extend(part("logits", "audio_weights", 1));
    case(&name, streams, tensors.f32(&key("loss"))[0].into())
}

/// Streams of one modality, whose weights are divided by their sum.
fn said(logits: ArrayD<f32>, labels: ArrayD<i64>, weights: ArrayD<f32>) -> Vec<Said> {
    let logits = logits.into_dimensionality::<Ix4>().unwrap();
    let labels = labels.into_dimensionality::<Ix3>().unwrap();
    let weights = weights.into_dimensionality::<Ix3>().unwrap();
    let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let share = |weight: &f32| if sum > 0.0 { (f64::from(*weight) / sum) as f32 } else { 0.0 };
    let stream = |k| Said {
        logits: logits.index_axis(Axis(1), k).to_owned(),
        labels: labels.index_axis(Axis(1), k).to_owned(),
        weights: weights.index_axis(Axis(1), k).map(share),
    };
    (0..logits.len_of(Axis(1))).map(stream).collect()
}

fn jmoshi() -> Vec<Recorded> {
    let recorded = common::jmoshi();
    let tensors = recorded.tensors();
    let cases = recorded.all().iter().map(|case| {
        let name = case["id"].as_str().unwrap();
        let key = |tensor: &str| format!("{name}/{tensor}");
        let text = Said {
            logits: tensors.f32(&key("loss_text_logits")).into_dimensionality::<Ix3>().unwrap(),
            labels: tensors.i64(&key("loss_text_labels")).into_dimensionality::<Ix2>().unwrap(),
            weights: narrowed(tensors.f64(&key("weights_text"))).into_dimensionality::<Ix2>().unwrap(),
        };
        let logits = tensors.f32(&key("loss_audio_logits")).into_dimensionality::<Ix4>().unwrap();
        let labels = tensors.i64(&key("loss_audio_labels")).into_dimensionality::<Ix3>().unwrap();
        let weights = narrowed(tensors.f64(&key("weights_audio"))).into_dimensionality::<Ix3>().unwrap();
        let audio = (0..logits.len_of(Axis(2))).map(|k| Said {
            logits: logits.index_axis(Axis(2), k).to_owned(),
            labels: labels.index_axis(Axis(2), k).to_owned(),
            weights: weights.index_axis(Axis(2), k).to_owned(),
        });
        self::case(name, [text].into_iter().chain(audio).collect(), case["loss"].as_f64().unwrap())
    });
    cases.collect()
}

fn narrowed(weights: ArrayD<f64>) -> ArrayD<f32> {
    weights.mapv(|weight| weight as f32)
}

fn case(name: &str, streams: Vec<Said>, loss: f64) -> Recorded {
    let (rows, steps) = streams[0].labels.dim();
    let grid = |of: fn(&Said) -> ndarray::ArrayView2<i64>| {
        let views: Vec<_> = streams.iter().map(of).collect();
        stack(Axis(1), &views).unwrap().mapv(|id| id as i32)
    };
    let target = grid(|stream| stream.labels.view());
    let weights: Vec<_> = streams.iter().map(|stream| stream.weights.view()).collect();
    let weights = stack(Axis(1), &weights).unwrap();
    let reason = |weight: &f32| if *weight > 0.0 { Reason::Token as u8 } else { Reason::Absent as u8 };
    let placed =
        |row: usize| vec![Placed { id: format!("row {row}"), index: row as u64, steps: 0..steps + 1, frames: steps }];
    let batch = TrainBatch {
        input: Steps(target.mapv(|_| -1)),
        reasons: Steps(weights.map(reason)),
        target: Steps(target),
        weights: Steps(weights),
        sums: Sums::default(),
        rows: (0..rows).map(placed).collect(),
    };
    let spec = BatchSpec { streams: streams.iter().enumerate().map(stream_spec).collect(), rows, steps };
    let logits = streams.into_iter().map(|stream| stream.logits).collect();
    Recorded { name: name.to_owned(), spec, batch, logits, loss }
}

fn stream_spec((k, stream): (usize, &Said)) -> StreamSpec {
    let outputs = stream.logits.dim().2;
    StreamSpec { name: format!("s{k}"), kind: Kind::Acoustic, inputs: outputs + 1, outputs, trained: true }
}
