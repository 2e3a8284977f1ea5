//! `build`, `undo`, `weights` and `show` as a process: against what the peers gave, and with general patterns.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::program::{fails, path, succeeds};
use ndarray::{Array2, ArrayD, Axis, IxDyn};
use roundelay::delay::Pattern;
use roundelay::io::tensors;
use roundelay::{Extent, Frames, Layout, Sequencer, Start};
use serde_json::{Value, json};

/// A folder for the files of one test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file of text and returns its path.
    fn text(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.at(name), text).unwrap();
        path(&self.at(name)).to_owned()
    }

    /// Writes a tensor, runs `build` or `undo` on it and returns what came out with its mask.
    fn run(&self, verb: &str, tensor: &ArrayD<i64>, options: &[&str]) -> (ArrayD<i64>, ArrayD<i64>) {
        let (from, to) = if verb == "build" { ("codes", "tokens") } else { ("tokens", "codes") };
        let (input, output) = (self.at("in.safetensors"), self.at("out.safetensors"));
        tensors::write(&input, &[(from, tensor.clone().into())]).unwrap();
        succeeds(&[&[verb, path(&input), "-o", path(&output)], options].concat());
        (tensors::read(&output, to).unwrap(), tensors::read(&output, "mask").unwrap())
    }

    /// Runs `undo` on a sequence and checks that the known codes are these.
    fn comes_back(&self, tokens: &ArrayD<i64>, codes: &ArrayD<i64>, options: &[&str]) -> usize {
        let (back, known) = self.run("undo", tokens, options);
        assert_eq!(back.shape(), codes.shape());
        assert!(back.iter().zip(&known).zip(codes).all(|((&b, &k), &c)| b == if k == 1 { c } else { -1 }));
        known.iter().filter(|&&known| known == 0).count()
    }
}

/// A layout file as a person would write it: text first, then audio.
fn by_hand(delays: &Value, initial: &Value, pad: &Value) -> String {
    let id = |ids: &Value, k: usize| ids[k].as_u64().unwrap();
    let streams = delays.as_array().unwrap().iter().enumerate().map(|(k, delay)| {
        let ids = (id(initial, k), id(pad, k));
        match k {
            0 => json!({"name": "text", "kind": "text", "speaker": "main", "cardinality": ids.0, "delay": delay,
                        "initial": ids.0, "pad": ids.1, "end_pad": 0, "trained": true}),
            _ => json!({"name": format!("audio.{k}"), "kind": "acoustic", "speaker": "main", "level": k - 1,
                        "cardinality": ids.0, "delay": delay, "initial": ids.0, "pad": ids.1, "trained": true}),
        }
    });
    json!({"name": "by-hand", "frame_rate": 12.5, "streams": streams.collect::<Vec<_>>()}).to_string()
}

#[test]
fn truncated_with_the_initial_column_is_what_moshi_trains_on() {
    let recorded = common::moshi_delay();
    let (tensors, files) = (recorded.tensors(), Files::new());
    let mut run = 0;
    for case in recorded.all() {
        let (params, name) = (&case["params"], case["name"].as_str().unwrap());
        let per_stream = |text: &Value, audio: &Value| {
            let count = params["delays"].as_array().unwrap().len();
            json!((0..count).map(|k| if k == 0 { text } else { audio }).collect::<Vec<_>>())
        };
        let initial = per_stream(&params["text_initial"], &params["audio_initial"]);
        let layout = by_hand(&params["delays"], &initial, &per_stream(&json!(3), &params["audio_initial"]));
        let layout = files.text("layout.json", layout);
        let options = ["--layout", &layout, "--extent", "truncate", "--start", "initial"];
        let codes = tensors.i64(&format!("{name}/codes"));
        let (tokens, _) = files.run("build", &codes, &options);
        assert_eq!(tokens, tensors.i64(&format!("{name}/delayed_full")), "{name}");

        let delays = params["delays"].as_array().unwrap().iter().map(|delay| delay.as_u64().unwrap() as usize);
        let frames = codes.len_of(Axis(2));
        let cut = codes.len_of(Axis(0)) * delays.map(|delay| delay.min(frames)).sum::<usize>();
        assert_eq!(files.comes_back(&tokens, &codes, &options), cut, "{name}");
        run += 1;
    }
    assert_eq!(run, 20);
}

#[test]
fn extended_with_the_initial_column_is_what_jmoshi_trains_on() {
    let recorded = common::jmoshi();
    let (tensors, files) = (recorded.tensors(), Files::new());
    let (mut run, mut preset) = (0, 0);
    for case in recorded.all() {
        let layout = match case["layout"].as_str().unwrap() {
            "moshi_7b" => "j-moshi".to_owned(),
            _ => files.text("layout.json", by_hand(&case["delays"], &case["initial"], &case["pad"])),
        };
        let options = ["--layout", &layout, "--extent", "extend", "--start", "initial"];
        for i in 0..case["lengths"].as_array().unwrap().len() {
            let key = |name: &str| format!("{}/{name}{i}", case["id"].as_str().unwrap());
            let codes = tensors.i64(&key("codes"));
            let (tokens, _) = files.run("build", &codes, &options);
            assert_eq!(tokens, tensors.i64(&key("delayed")), "{}", key("delayed"));
            assert_eq!(files.comes_back(&tokens, &codes, &options), 0, "{}", key("codes"));
            run += 1;
            preset += usize::from(layout == "j-moshi");
        }
    }
    assert_eq!((run, preset), (24, 6));
}

#[test]
fn general_patterns_go_through_files() {
    let files = Files::new();
    let layout = Layout::preset("orpheus").unwrap();
    let codes = ArrayD::from_shape_fn(IxDyn(&[2, 7, 5]), |at| (100 * at[0] + 10 * at[1] + at[2]) as i64);
    let patterns = [
        "parallel",
        "delay",
        "flatten:flattening=0,1,1,2,2,4,4;delays=0,1,1,3,3,3,3",
        "partial-flatten",
        "coarse-first",
        "musiclm:group-by=7",
        "multi-rate",
    ];
    let mut run = 0;
    for (words, extent) in patterns.iter().flat_map(|&words| [(words, "extend"), (words, "truncate")]) {
        let pattern: Pattern = words.parse().unwrap();
        let kept = if extent == "extend" { Extent::Extend } else { Extent::Truncate };
        let plan = pattern.plan(&layout, 5, kept, Start::Initial).unwrap();
        let built = plan.build(&Frames(codes.view())).unwrap();
        let file = files.text("pattern.json", pattern.to_json());
        for given in [words, &file] {
            let options = ["--layout", "orpheus", "--extent", extent, "--start", "initial", "--pattern", given];
            let (tokens, mask) = files.run("build", &codes, &options);
            assert_eq!((&tokens, mask), (&built.tokens.0, built.mask.0.mapv(i64::from)), "{given}");
            let cut = built.mask.0.iter().filter(|&&known| known).count();
            assert_eq!(files.comes_back(&tokens, &codes, &options), codes.len() - cut, "{given}");
            run += 1;
        }
    }
    assert_eq!(run, 28);

    let weights = files.at("weights.safetensors");
    tensors::write(&files.at("in.safetensors"), &[("codes", codes.into())]).unwrap();
    let options = ["--layout", "orpheus", "--pattern", "multi-rate"];
    succeeds(&[&["weights", path(&files.at("in.safetensors")), "-o", path(&weights)], &options[..]].concat());
    assert_eq!(tensors::read_f32(&weights, "sequence_weights").unwrap().shape(), [2, 7, 35]);
}

#[test]
fn brackets_go_through_files() {
    let files = Files::new();
    let codes = Array2::from_shape_fn((8, 3), |(k, t)| (10 * k + t) as i64).into_dyn();
    for (bracket, first, width) in [("none", 0, 0), ("bos", 1024, 1), ("eos", 0, 1), ("both", 1024, 2)] {
        let options = ["--layout", "higgs-v2", "--bracket", bracket];
        let (tokens, _) = files.run("build", &codes, &options);
        assert_eq!((tokens.shape(), tokens[[0, 0]]), (&[8, 3 + 7 + width][..], first), "{bracket}");
        assert_eq!(files.comes_back(&tokens, &codes, &options), 0);

        let options = [&options[..], &["--pattern", "flatten", "--extent", "truncate"]].concat();
        let (tokens, mask) = files.run("build", &codes, &options);
        assert_eq!((tokens.shape(), mask.sum()), (&[8, 8 * (3 + width)][..], 8 * 3), "{bracket}");
        assert_eq!(files.comes_back(&tokens, &codes, &options), 0);
    }
    let input = files.at("in.safetensors");
    tensors::write(&input, &[("codes", Array2::<i64>::zeros((17, 3)).into())]).unwrap();
    let build = ["build", path(&input), "-o", "x.safetensors", "--layout", "moshi-7b", "--bracket", "both"];
    assert!(fails(1, &build).contains("stream text: bos is missing, expected an id for every stream"));
}

#[test]
fn bad_patterns_are_told_apart() {
    let files = Files::new();
    let codes = files.at("codes.safetensors");
    tensors::write(&codes, &[("codes", Array2::<i64>::zeros((3, 4)).into())]).unwrap();
    let build = |pattern: &str, status: i32| {
        fails(status, &["build", path(&codes), "-o", "x.safetensors", "--layout", "delay-1", "--pattern", pattern])
    };
    assert!(build("zigzag", 2).contains("expected parallel, delay, flatten, partial-flatten, coarse-first, musiclm"));
    assert!(build("flatten:delay=1", 2).contains("option of pattern flatten is delay, expected flattening or delays"));
    let file = files.text("pattern.json", "{\"pattern\": \"delay\",\n \"dealys\": []}");
    assert!(build(&file, 1).contains("pattern.json: pattern is ill-formed: unknown field `dealys`"));
    let file = files.text("pattern.json", "{\"pattern\": \"delay\",\n \"delays\" [0]}");
    assert!(build(&file, 1).contains("pattern.json:2: pattern is ill-formed: expected `:`"));
    assert!(build(path(&files.at("none.json")), 1).contains("none.json: cannot read the file"));
    assert!(build("delay:delays=0,1", 1).contains("number of delays is 2, expected 3"));

    let tokens = files.at("tokens.safetensors");
    tensors::write(&tokens, &[("tokens", Array2::<i64>::zeros((3, 4)).into())]).unwrap();
    let undo = ["undo", path(&tokens), "-o", "x.safetensors", "--layout", "delay-1", "--pattern", "flatten"];
    assert!(fails(1, &undo).contains("tokens.safetensors: number of steps is 4, expected one that this pattern gives"));
    let shown = succeeds(&["show", path(&codes), "--layout", "delay-1", "--pattern", "flatten"]);
    assert!(shown.starts_with("3 streams, 12 steps"), "{shown}");
}
