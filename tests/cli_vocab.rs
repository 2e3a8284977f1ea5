//! `vocab` as a process: sizes and ranges, and codes there and back in one row.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::program::{fails, path, succeeds};
use ndarray::{Array2, Array3, ArrayD, IxDyn, arr1, arr2};
use roundelay::io::tensors::{self, Tensor};
use serde_json::{Value, json};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, all: &[(&str, ArrayD<i64>)]) -> PathBuf {
        let all: Vec<(&str, Tensor)> = all.iter().map(|(name, ids)| (*name, ids.clone().into())).collect();
        tensors::write(&self.at(name), &all).unwrap();
        self.at(name)
    }
}

fn shown(vocab: &str) -> Value {
    serde_json::from_str(&succeeds(&["vocab", "show", vocab, "--json"])).unwrap()
}

#[test]
fn presets_are_listed_and_shown() {
    assert_eq!(succeeds(&["vocab", "show"]), "orpheus: 156938 ids, 15 parts\nbark: 12096 ids, 5 parts\n");
    let bark = shown("bark");
    assert_eq!((&bark["size"], &bark["of_no_part"], &bark["shared"]), (&json!(12096), &json!(46), &json!([])));
    assert_eq!(bark["parts"][2], json!({"name": "main.1", "size": 1024, "first": 11024, "last": 12047, "range": true}));
    let table = succeeds(&["vocab", "show", "bark"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["part", "size", "first", "last"]);
    assert_eq!(lines[1], ["semantic", "10000", "0", "9999"]);
    assert_eq!(table.lines().last(), Some("12096 joint ids, 46 of them of no part"));
}

#[test]
fn vocabularies_are_made_of_parts() {
    let files = Files::new();
    let made = |options: &[&str]| {
        let file = files.at("made.json");
        succeeds(&[&["vocab", "make", "-o", path(&file)], options].concat());
        shown(path(&file))
    };
    let disjoint = made(&["--part", "source=35000", "--part", "target=512"]);
    assert_eq!((&disjoint["size"], &disjoint["parts"][1]["first"]), (&json!(35_512), &json!(35_000)));
    assert_eq!(made(&["--part", "source=35000", "--part", "target=35000"])["size"], 70_000);
    let shared = made(&["--part", "source=35000", "--part", "target=512", "--shared"]);
    assert_eq!((&shared["size"], &shared["shared"][0]["ids"]), (&json!(35_000), &json!(512)));
    let overlap = made(&["--part", "source=10", "--part", "target=6..15", "--size", "20"]);
    assert_eq!((&overlap["size"], &overlap["of_no_part"]), (&json!(20), &json!(5)));
    assert_eq!(overlap["shared"], json!([{"parts": ["source", "target"], "ids": 4}]));
    // Behind all that went before, not behind the last one alone.
    let behind = made(&["--part", "a=10", "--part", "b=2..5", "--part", "c=3"]);
    assert_eq!((&behind["parts"][2]["first"], &behind["size"]), (&json!(10), &json!(13)));
    assert_eq!((&behind["parts"][1]["last"], &behind["of_no_part"]), (&json!(4), &json!(0)));
    let layout = made(&["--part", "words=50", "--layout", "csm"]);
    assert_eq!(
        layout["parts"].as_array().unwrap().len(),
        1 + roundelay::Layout::preset("csm").unwrap().streams().len()
    );
    let printed = succeeds(&["vocab", "make", "--part", "a=2"]);
    assert_eq!(printed, "{\n  \"size\": 2,\n  \"parts\": [\n    {\"name\":\"a\",\"size\":2}\n  ]\n}\n");

    // Parts as large as they may be cost no more than small ones.
    let large = files.at("large.json");
    fs::write(
        &large,
        r#"{"parts": [{"name": "a", "size": 2147483648}, {"name": "b", "first": 1, "size": 2147483647}]}"#,
    )
    .unwrap();
    let parts = shown(path(&large));
    assert_eq!((&parts["shared"][0]["ids"], &parts["of_no_part"]), (&json!(2_147_483_647_u32), &json!(0)));
    assert_eq!(parts["parts"][1]["last"], 2_147_483_647_u32);
    assert!(succeeds(&["vocab", "show", path(&large)]).contains("a and b share 2147483647 ids"));

    // Ids in any order, by hand.
    let by_hand = files.at("map.json");
    fs::write(&by_hand, r#"{"parts": [{"name": "a", "size": 4}, {"name": "b", "ids": [9, 2, 5]}]}"#).unwrap();
    let map = shown(path(&by_hand));
    assert_eq!(map["parts"][1], json!({"name": "b", "size": 3, "first": 2, "last": 9, "range": false}));
    assert!(succeeds(&["vocab", "show", path(&by_hand)]).contains("a and b share 1 ids"));
}

#[test]
fn orpheus_codes_there_and_back() {
    let files = Files::new();
    let codes = Array3::from_shape_fn((2, 7, 3), |(b, k, t)| (100 * b + 10 * k + t) as i64).into_dyn();
    let input = files.write("codes.safetensors", &[("codes", codes.clone())]);
    let (row, back) = (files.at("row.safetensors"), files.at("back.safetensors"));
    succeeds(&["vocab", "encode", path(&input), "-o", path(&row), "--preset", "orpheus"]);
    let tokens = tensors::read(&row, "tokens").unwrap();
    assert_eq!(tokens.shape(), [2, 23]);
    // Begin of speech, then the second slot of the first frame: stream main.1.0 behind 4096 ids of the first slot.
    assert_eq!((tokens[[0, 0]], tokens[[1, 2]], tokens[[1, 22]]), (128_257, 128_266 + 4096 + 110, 128_258));
    succeeds(&["vocab", "decode", path(&row), "-o", path(&back), "--preset", "orpheus"]);
    assert_eq!(tensors::read(&back, "codes").unwrap(), codes);
}

#[test]
fn bark_has_its_semantic_row_in_front() {
    let files = Files::new();
    let (codes, semantic) = (arr2(&[[1, 2], [1001, 1002]]).into_dyn(), arr1(&[17, 9_999, 3]).into_dyn());
    let input = files.write("in.safetensors", &[("codes", codes.clone()), ("semantic", semantic.clone())]);
    let (row, back) = (files.at("row.safetensors"), files.at("back.safetensors"));
    for (options, begin) in [(&[][..], &[][..]), (&["--front", "semantic,coarse_infer"], &[12_050])] {
        let preset = [&["--preset", "bark"], options].concat();
        succeeds(&[&["vocab", "encode", path(&input), "-o", path(&row)], &preset[..]].concat());
        let expected: Vec<i64> = [&[17, 9_999, 3], begin, &[10_001, 12_025, 10_002, 12_026]].concat();
        assert_eq!(tensors::read(&row, "tokens").unwrap(), arr1(&expected).into_dyn());
        succeeds(&[&["vocab", "decode", path(&row), "-o", path(&back)], &preset[..]].concat());
        assert_eq!(tensors::read(&back, "codes").unwrap(), codes);
        assert_eq!(tensors::read(&back, "semantic").unwrap(), semantic);
    }
}

#[test]
fn any_layout_with_any_pattern() {
    let files = Files::new();
    let codes = Array2::from_shape_fn((4, 5), |(k, t)| if t == 3 { -1 } else { (k * 7 + t) as i64 }).into_dyn();
    let input = files.write("in.safetensors", &[("codes", codes.clone())]);
    let (vocab, row, back) = (files.at("v.json"), files.at("row.safetensors"), files.at("back.safetensors"));
    succeeds(&["vocab", "make", "--part", "begin=1", "--layout", "musicgen", "--part", "end=1", "-o", path(&vocab)]);
    let own = ["--vocab", path(&vocab), "--front", "begin", "--behind", "end", "--pattern", "musiclm"];
    for options in [&[][..], &own] {
        let options = [&["--layout", "musicgen"], options].concat();
        succeeds(&[&["vocab", "encode", path(&input), "-o", path(&row)], &options[..]].concat());
        let length = if options.len() > 2 { 22 } else { 20 };
        assert_eq!(tensors::read(&row, "tokens").unwrap().len(), length);
        succeeds(&[&["vocab", "decode", path(&row), "-o", path(&back)], &options[..]].concat());
        assert_eq!(tensors::read(&back, "codes").unwrap(), codes);
    }
}

#[test]
fn wrong_calls_say_what_would_do() {
    let usage = |arguments: &[&str]| fails(2, &[&["vocab"], arguments].concat());
    assert!(usage(&["encode", "in.npy", "-o", "out.safetensors"]).contains("a row needs --preset, or --layout"));
    let twice = ["decode", "in.npy", "-o", "o.safetensors", "--preset", "bark", "--layout", "bark"];
    assert!(usage(&twice).contains("cannot be used with"));
    assert!(usage(&["make"]).contains("--part"));
    assert!(usage(&["make", "--part", "text"]).contains("NAME=SIZE"));
    assert!(usage(&["make", "--part", "text=many"]).contains("is no number of ids"));
    assert!(usage(&["make", "--part", "text=5..2"]).contains("ends before it begins"));
    assert!(usage(&["make", "--part", "a=5..7", "--shared"]).contains("--shared puts each part at 0"));
    assert!(usage(&["show", "--json"]).contains("<V>"));
}

#[test]
fn wrong_input_is_named() {
    let files = Files::new();
    let refused = |arguments: &[&str]| fails(1, &[&["vocab"], arguments].concat());
    assert!(refused(&["show", "bork"]).contains("joint vocabulary is \"bork\", expected one of orpheus, bark"));
    let broken = files.at("broken.json");
    fs::write(&broken, "{\n\"parts\": 1}").unwrap();
    assert!(refused(&["show", path(&broken)]).contains("broken.json:2: joint vocabulary is ill-formed"));
    assert!(refused(&["show", "nowhere.json"]).contains("nowhere.json"));
    assert!(refused(&["make", "--part", "a=2", "--part", "a=3"]).contains("name of the part is a"));
    assert!(refused(&["make", "--part", "a=0"]).contains("part a: size is 0"));
    assert!(refused(&["make", "--part", "a=9", "--size", "8"]).contains("joint id is 8 in part a"));
    assert!(refused(&["make", "--part", "a=3000000000"]).contains("over the limit"));

    let out = files.at("out.safetensors");
    let encode =
        |input: &PathBuf, options: &[&str]| refused(&[&["encode", path(input), "-o", path(&out)], options].concat());
    let codes = files.write("codes.safetensors", &[("codes", arr2(&[[1, 2], [3, 1024]]).into_dyn())]);
    let wrong = encode(&codes, &["--preset", "bark", "--front", ""]);
    assert!(wrong.contains("part is \"\""), "{wrong}");
    assert!(encode(&codes, &["--preset", "bark"]).contains("semantic"), "the row in front is missing");
    let wrong = encode(&codes, &["--layout", "bark"]);
    assert!(wrong.contains("codes.safetensors: part main.1: id at position 1 is 1024, expected 0..1024"), "{wrong}");
    assert!(encode(&codes, &["--preset", "orpheus"]).contains("the grid has 2 streams, expected 7"));
    assert!(encode(&codes, &["--preset", "moshi"]).contains("expected one of orpheus, orpheus:turn, bark"));
    assert!(encode(&codes, &["--layout", "bark", "--vocab", "orpheus"]).contains("main.1"), "no part for a stream");
    assert!(encode(&codes, &["--layout", "bark", "--pattern", "coarse-first:delays=1,2"]).contains("number of delays"));

    let decode = |tokens: ArrayD<i64>, options: &[&str]| {
        let input = files.write("tokens.safetensors", &[("tokens", tokens)]);
        refused(&[&["decode", path(&input), "-o", path(&out)], options].concat())
    };
    let row = |ids: &[i64]| arr1(ids).into_dyn();
    let speech = decode(row(&[128_257, 128_266, 128_258]), &["--preset", "orpheus"]);
    assert!(
        speech.contains("tokens.safetensors: number of codes in the row is 1, expected a multiple of the 7"),
        "{speech}"
    );
    let order = decode(row(&[17, 11_024, 10_000]), &["--preset", "bark"]);
    assert!(order.contains("stream main.0, frame 0: id 1 of the row is 11024, expected one of part main.0"), "{order}");
    let axes = decode(ArrayD::zeros(IxDyn(&[1, 1, 2])), &["--layout", "bark"]);
    assert!(axes.contains("number of axes of the row is 3"), "{axes}");
    assert!(!out.exists());
}
