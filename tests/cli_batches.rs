//! `batches` as a process: what a trainer would read, step by step, and where it goes on.
#![cfg(feature = "cli")]

mod common;
#[path = "common/corpus.rs"]
mod corpus;

use std::path::Path;

use common::program::{fails, path, roundelay, succeeds, text};
use corpus::Corpus;
use ndarray::{ArrayD, Axis};
use roundelay::io::{Dataset, tensors};
use serde_json::Value;

fn tensor(file: &Path, name: &str) -> ArrayD<i64> {
    tensors::read(file, name).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Forty short recordings of two speakers, prepared.
fn prepared() -> (Corpus, std::path::PathBuf) {
    let corpus = Corpus::new(40);
    corpus.prep("dataset", &corpus.options());
    let dataset = corpus.at("dataset");
    (corpus, dataset)
}

#[test]
fn an_epoch_is_told_and_its_batches_hold_every_segment_once() {
    let (corpus, dataset) = prepared();
    let options = ["--batch", "3", "--world", "2", "--seed", "7"];
    let batches = |more: &[&str]| succeeds(&[&["batches", path(&dataset)][..], &options, more].concat());
    let plan = json(&batches(&["--json"]));
    let segments = Dataset::open(&dataset).unwrap().info().counts.segments;
    assert_eq!((plan["segments"].as_u64(), plan["steps"].as_u64()), (Some(segments), Some(segments.div_ceil(6))));
    assert!(plan["padding"].as_f64() < plan["padding_as_drawn"].as_f64(), "{plan}");
    let told = batches(&[]);
    assert!(told.contains(&format!("steps         {} of 3 rows on each of 2 ranks", plan["steps"])), "{told}");

    let noted = |more: &[&str]| {
        let output = roundelay(&[&["batches", path(&dataset)][..], more].concat());
        text(&output.stderr).contains("one pool holds the whole epoch")
    };
    assert!(noted(&["--batch", "2"]) && !noted(&["--batch", "20"]) && !noted(&["--batch", "2", "--pool", "4"]));

    let out = corpus.at("batch.safetensors");
    let (mut ids, mut position) = (Vec::new(), plan["position"].to_string());
    for step in 0..plan["steps"].as_u64().unwrap() {
        let mut next = String::new();
        for rank in ["0", "1"] {
            let made = json(&batches(&["--rank", rank, "--position", &position, "-o", path(&out)]));
            assert_eq!(made["place"], serde_json::json!({"epoch": 0, "step": step}));
            let rows = made["rows"].as_array().unwrap();
            ids.extend(
                rows.iter().flat_map(|row| row.as_array().unwrap()).map(|e| e["id"].as_str().unwrap().to_owned()),
            );
            let [input, target] = ["input", "target"].map(|name| tensor(&out, name));
            let said = target.slice_axis(Axis(2), (..-1).into());
            let read = input.slice_axis(Axis(2), (1..).into());
            let alike = said.iter().zip(read).filter(|(said, read)| **said != -1 && said != read).count();
            // Only the last step of a shorter row is said and not read.
            assert!(alike <= 3 * 17, "{alike}");
            assert_eq!(tensor(&out, "segment_ids").shape(), [3, input.shape()[2]]);
            next = made["next"].to_string();
        }
        position = next;
    }
    ids.sort_unstable();
    assert_eq!(ids.len() as u64, segments);
    ids.dedup();
    assert_eq!(ids.len() as u64, segments);
    let next = json(&position);
    assert_eq!((next["epoch"].as_u64(), next["step"].as_u64()), (Some(1), Some(0)));
}

#[test]
fn rows_are_packed_cropped_and_seen_from_both_sides() {
    let (corpus, dataset) = prepared();
    let out = corpus.at("batch.safetensors");
    let batches = |more: &[&str]| succeeds(&[&["batches", path(&dataset)][..], more].concat());
    let packed = json(&batches(&["--pack", "30", "--batch", "2", "-o", path(&out)]));
    assert_eq!(tensor(&out, "input").shape(), [2, 17, 376]);
    assert!(packed["rows"][0].as_array().unwrap().len() > 2 && packed["padding"].as_f64() < Some(0.2), "{packed}");

    let segments = Dataset::open(&dataset).unwrap().info().counts.segments;
    let plan = json(&batches(&["--both-sides", "--crop", "2", "--json"]));
    assert_eq!(plan["segments"].as_u64(), Some(2 * segments));
    let made = json(&batches(&["--both-sides", "--crop", "2", "--drop-text", "0.5", "-o", path(&out)]));
    let examples: Vec<&Value> =
        made["rows"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).collect();
    let frames = |e: &Value| e["frames"]["end"].as_u64().unwrap() - e["frames"]["start"].as_u64().unwrap();
    assert!(examples.len() == 16 && examples.iter().all(|e| frames(e) == 25));
    assert!(examples.iter().any(|e| e["swapped"] == true) && examples.iter().any(|e| e["swapped"] == false));
    assert!(examples.iter().any(|e| e["augmented"][0]["dropped"].as_u64() > Some(0)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (corpus, dataset) = prepared();
    let refusal = |more: &[&str], status| fails(status, &[&["batches", path(&dataset)][..], more].concat());
    let out = corpus.at("batch.safetensors");
    assert!(refusal(&["--source-weights", "1,2"], 2).contains("--source-weights has 2 numbers for 1 folders"));
    assert!(refusal(&["--rank", "2", "--world", "2"], 1).contains("rank is 2, expected below 2"));
    assert!(refusal(&["--pack", "1"], 1).contains("expected at most"), "segments longer than a row");
    assert!(refusal(&["--split", "valid"], 1).contains("number of segments (valid) is 0"));
    assert!(refusal(&["--step", "1000", "-o", path(&out)], 1).contains("step is 1000, expected below"));
    let position = json(&succeeds(&["batches", path(&dataset), "--json"]))["position"].to_string();
    let other = refusal(&["--seed", "1", "--position", &position], 1);
    assert!(other.contains("check seed, pool (which a cache bounds), pooling, shuffle, crop"), "{other}");
    let rows = refusal(&["--batch", "5", "--world", "3", "--position", &position], 1);
    assert!(rows.contains("16, as where the run stopped, which 3 ranks cannot share evenly"), "{rows}");
    assert!(refusal(&["--position", "{}"], 1).contains("position is ill-formed"));
    assert!(!out.exists());
}
