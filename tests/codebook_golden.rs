//! Codebooks against what five peers' own code gave (`fixtures/README.md`).
//!
//! Of the recorded kinds three are run here. The others (`ema_step`, `laplace_smoothing`, `esm_init`, `esm_encode`)
//! are about training with a network, which this crate does not do.

mod common;

use std::collections::BTreeMap;

use common::{Recorded, Tensors};
use ndarray::{Array2, ArrayD, Axis, Ix1, Ix2, Ix3, Zip, s};
use roundelay::codebook::{ResidualQuantizer, Usage, refine};
use serde_json::Value;

fn read() -> Recorded {
    let cases = "bd000da85b76b2867182fe974a5b0d1679bcce7e0985d4a8a1275a57c9277942";
    Recorded::read("codebook/codebook", [cases, "b653411eab703fe5173725d81f167e91379fd7e5a24138167bfb5cba263293e2"])
}

fn key(case: &Value, name: &str) -> String {
    format!("{}/{name}", case["name"].as_str().unwrap())
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn floats(tensors: &Tensors<'_>, case: &Value, name: &str) -> Array2<f32> {
    tensors.f32(&key(case, name)).into_dimensionality::<Ix2>().unwrap()
}

fn integers(tensors: &Tensors<'_>, case: &Value, name: &str) -> Vec<usize> {
    tensors.i64(&key(case, name)).iter().map(|&value| value as usize).collect()
}

fn assert_close(found: &ArrayD<f32>, expected: &ArrayD<f32>, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    Zip::from(found).and(expected).for_each(|a, b| assert!((a - b).abs() <= 2e-6 + 2e-6 * b.abs(), "{what}: {a}, {b}"));
}

#[test]
fn residual_quantizer_gives_the_peers_codes() {
    let recorded = read();
    let tensors = recorded.tensors();
    let cases: Vec<_> = recorded.of("rvq_encode").collect();
    for case in &cases {
        let books = tensors.f32(&key(case, "codebooks")).into_dimensionality::<Ix3>().unwrap();
        let levels = case["params"]["n_q"].as_u64().map_or(books.len_of(Axis(0)), |n_q| n_q as usize);
        let stack = books.outer_iter().take(levels).map(|book| book.to_owned()).collect();
        let quantizer = ResidualQuantizer::new(stack);
        let x = floats(&tensors, case, "x");
        let codes = quantizer.encode(x.view());
        let expected = tensors.i64(&key(case, "codes")).into_dimensionality::<Ix2>().unwrap();
        assert_eq!(codes.mapv(i64::from), expected, "{}", case["name"]);
        assert_eq!(quantizer.encode_beam(x.view(), 1), codes);

        let partial = tensors.f32(&key(case, "partial_sums")).into_dimensionality::<Ix3>().unwrap();
        for level in 0..levels {
            let sum = quantizer.decode(codes.slice(s![..=level, ..]));
            assert_close(&sum.into_dyn(), &partial.index_axis(Axis(0), level).to_owned().into_dyn(), "partial sum");
        }
        let decoded = quantizer.decode(codes.view());
        assert_close(&decoded.clone().into_dyn(), &tensors.f32(&key(case, "quantized")), "quantized");
        let mse = (&x - &decoded).mapv(|value| f64::from(value).powi(2)).mean().unwrap();
        assert!((mse - case["expect"]["mse"].as_f64().unwrap()).abs() < 1e-6);
    }
    assert_eq!(cases.len(), 3);
}

#[test]
fn usage_is_that_of_the_definition() {
    let recorded = read();
    let tensors = recorded.tensors();
    let cases: Vec<_> = recorded.of("usage").collect();
    for case in &cases {
        let mut usage = Usage::new(number(&case["params"]["n_codes"]));
        integers(&tensors, case, "codes").into_iter().for_each(|code| usage.add(code));
        let counts: Vec<f64> = usage.counts().iter().map(|&count| count as f64).collect();
        let expected = tensors.f64(&key(case, "counts")).into_dimensionality::<Ix1>().unwrap();
        assert_eq!(counts, expected.to_vec(), "{}", case["name"]);
        assert_eq!(usage.used(), number(&case["expect"]["used"]));
        let found = [
            ("usage", usage.share_used()),
            ("entropy", usage.entropy()),
            ("perplexity", usage.perplexity()),
            ("normalized_entropy", usage.normalized_entropy()),
            ("max_share", usage.max_share()),
        ];
        for (name, found) in found {
            let expected = case["expect"][name].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{name}: {found}, {expected}");
        }
    }
    assert_eq!(cases.len(), 2);
}

#[test]
fn k_means_gives_the_peers_means() {
    let recorded = read();
    let tensors = recorded.tensors();
    let mut run = BTreeMap::new();
    for case in recorded.of("kmeans") {
        let x = floats(&tensors, case, "x");
        let start = x.select(Axis(0), &integers(&tensors, case, "init_indices"));
        let peer = case["peer"].as_str().unwrap();
        // moshi revives an empty cluster with a row that was drawn; the two others keep its mean.
        let revived = (peer == "moshi")
            .then(|| tensors.i64(&key(case, "resample_indices")).into_dimensionality::<Ix2>().unwrap());
        let revive = |round, cluster| revived.as_ref().map(|rows| rows[[round, cluster]] as usize);
        let clusters = refine(x.view(), start, number(&case["params"]["iters"]), revive);
        let least = usize::from(peer == "moshi");
        let sizes: Vec<usize> = clusters.sizes.iter().map(|&size| size.max(least)).collect();
        assert_eq!(sizes, integers(&tensors, case, "bins"), "{} {peer}", case["name"]);
        assert_close(&clusters.means.into_dyn(), &tensors.f32(&key(case, "means")), peer);
        *run.entry(peer).or_insert(0) += 1;
    }
    assert_eq!(run, BTreeMap::from([("audiocraft", 2), ("moshi", 2), ("vector-quantize-pytorch", 1)]));
}
