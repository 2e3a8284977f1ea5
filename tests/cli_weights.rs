//! `weights` as a process: policies, regions, draws, summaries and the audit of end tokens.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::fixture;
use common::program::{fails, path, roundelay, succeeds, text};
use ndarray::{Array2, ArrayD, arr2};
use roundelay::io::{Dataset, tensors};
use roundelay::weights::{DepthFrames, Example, Summary, Weighing};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Reason, Start};

/// A folder with `codes.safetensors` in it.
struct Files(tempfile::TempDir);

impl Files {
    fn new(codes: Array2<i64>) -> Self {
        let files = Files(tempfile::tempdir().unwrap());
        tensors::write(&files.at("codes.safetensors"), &[("codes", codes.into())]).unwrap();
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str, text: &str) -> String {
        fs::write(self.at(name), text).unwrap();
        path(&self.at(name)).to_owned()
    }

    /// What `weights` makes of the codes with these options.
    fn weigh(&self, options: &[&str]) -> (ArrayD<f32>, ArrayD<i64>) {
        let (codes, out) = (self.at("codes.safetensors"), self.at("out.safetensors"));
        succeeds(&[&["weights", path(&codes), "-o", path(&out)], options].concat());
        let weights = tensors::read_f32(&out, "sequence_weights").unwrap();
        (weights, tensors::read(&out, "sequence_reasons").unwrap())
    }

    fn summary(&self, options: &[&str]) -> Summary {
        let codes = self.at("codes.safetensors");
        serde_json::from_str(&succeeds(&[&["weights", path(&codes), "--json"], options].concat())).unwrap()
    }
}

fn codes() -> Array2<i64> {
    arr2(&[[0, 650, 3, 3], [417, 23, 1, 5], [12, 99, 7, 5]])
}

#[test]
fn a_policy_is_a_name_or_a_file_and_options_change_it() {
    let files = Files::new(codes());
    let policy = files.text("p.json", r#"{"normalize": "none", "streams": {"main.1": 3}, "pad_ids": "pad"}"#);
    let (weights, reasons) = files.weigh(&["--layout", "delay-1", "--policy", &policy, "--learned-tails"]);
    let expected: Array2<f32> =
        arr2(&[[1.0, 1.0, 0.5, 0.5, 0.5], [0.0, 100.0, 100.0, 100.0, 100.0], [0.0, 3.0, 3.0, 3.0, 3.0]]);
    assert_eq!(weights, expected.into_dyn());
    assert_eq!(reasons, arr2(&[[2, 0, 1, 1, 4], [3, 0, 0, 0, 0], [3, 0, 0, 0, 0]]).into_dyn());

    let named = files.summary(&["--layout", "delay-1", "--policy", "jmoshi", "--start", "initial"]);
    assert_eq!(named.policy, Policy::named("jmoshi").unwrap());
    assert_eq!(named.streams[0].reasons[&Reason::Tail].cells, 1);
    let class = files.summary(&["--layout", "delay-1", "--normalize", "class", "--semantic-weight", "7"]);
    assert_eq!((class.policy.semantic, class.pad_share), (7.0, Some(1.0 / 3.0)));

    let wrong = files.text("wrong.json", "{\n\"sematic\": 1}");
    let codes = files.at("codes.safetensors");
    let refused =
        |policy: &str| fails(1, &["weights", path(&codes), "--summary", "--layout", "delay-1", "--policy", policy]);
    assert!(refused(&wrong).contains("wrong.json:2: policy is ill-formed: unknown field `sematic`"));
    let unknown = files.text("unknown.json", r#"{"streams": {"main.2": 3}}"#);
    assert!(refused(&unknown).contains("expected a stream of the layout: text, main.0, main.1"));
}

#[test]
fn regions_and_draws_weigh_and_are_marked() {
    let files = Files::new(codes());
    let regions = files.text("r.json", "[[0.1, 0.3, 2.0], [0.25, 0.3, 0.5]]");
    let options = ["--layout", "delay-1", "--normalize", "none", "--regions", &regions];
    let (weights, reasons) = files.weigh(&options);
    let expected: Array2<f32> =
        arr2(&[[0.5, 2.0, 1.0, 0.25, 0.0], [0.0, 100.0, 200.0, 200.0, 50.0], [0.0, 1.0, 2.0, 2.0, 0.5]]);
    assert_eq!(weights, expected.into_dyn());
    let (in_region, token) = (128, 0);
    assert_eq!(
        reasons.iter().skip(5).copied().take(5).collect::<Vec<_>>(),
        [3, token, in_region, in_region, in_region]
    );

    let drawn = [&options[..2], &["--normalize", "none", "--depth-frames", "0.5", "--seed", "3"]].concat();
    let layout = Layout::preset("delay-1").unwrap();
    let depth_frames = Some(DepthFrames { share: 0.5, seed: 3 });
    let policy = Policy { depth_frames, normalize: roundelay::Normalize::None, ..Policy::default() };
    let delay = Delay::new(&layout, Extent::Extend, Start::None);
    let ours = policy.weigh(&layout, &delay, &Frames(codes())).unwrap();
    assert_eq!(files.weigh(&drawn).0, ours.steps.0.into_dyn());

    let codes = files.at("codes.safetensors");
    let call = ["weights", path(&codes), "--layout", "delay-1", "--summary"];
    let backwards = files.text("b.json", "[\n[0.5, 0.3, 2.0]]");
    assert!(fails(1, &[&call[..], &["--regions", &backwards]].concat()).contains("b.json:2"));
    assert!(
        fails(1, &[&call[..], &["--depth-frames", "1.5"]].concat())
            .contains("depth_frames.share is 1.5, expected 0 to 1")
    );
    assert!(fails(2, &[&call[..], &["--seed", "1"]].concat()).contains("--depth-frames"));
}

#[test]
fn a_summary_tells_where_the_weight_goes() {
    let files = Files::new(codes());
    let codes = files.at("codes.safetensors");
    let printed = succeeds(&["weights", path(&codes), "--layout", "delay-1", "--summary"]);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "share of the loss, %  token   pad  end_pad   all",
            "text                   20.0  20.0     10.0  50.0",
            "main.0                 49.5     .        .  49.5",
            "main.1                  0.5     .        .   0.5",
        ]
    );
    assert!(lines.contains(&"pads           60.0 % of what text weighs in the loss"), "{printed}");
    assert!(lines.contains(&"examples       1"), "{printed}");
    let nowhere = fails(2, &["weights", path(&codes), "--layout", "delay-1"]);
    assert!(nowhere.contains("give -o OUT for the weights, or --summary"), "{nowhere}");
}

#[test]
fn a_stream_that_never_ends_fails_under_strict() {
    let files = Files::new(Array2::from_shape_fn((8, 5), |(k, t)| (10 * k + t) as i64));
    let codes = files.at("codes.safetensors");
    let call = ["weights", path(&codes), "--layout", "higgs-v2", "--strict", "--bracket", "both"];
    assert_eq!(succeeds(&call), "");
    let cut = [&call[..], &["--extent", "truncate", "--summary"]].concat();
    let output = roundelay(&cut);
    assert_eq!(output.status.code(), Some(1));
    // The first stream has no delay, and so an end.
    let (error, printed) = (text(&output.stderr), text(&output.stdout));
    assert!(error.contains("no example has a live end in ") && !error.contains("audio.0"), "{error}");
    assert!(printed.contains("live in 0 of 1 examples"), "{printed}");
}

/// The shipped recordings, with a region of time beside one of them.
fn dataset(folder: &Path) -> PathBuf {
    for part in ["wav", "codes"] {
        fs::create_dir(folder.join(part)).unwrap();
        for entry in fs::read_dir(fixture("recordings").join(part)).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
        }
    }
    fs::copy(fixture("recordings/data.jsonl"), folder.join("data.jsonl")).unwrap();
    fs::write(folder.join("wav/mary_bobby_stereo.regions.json"), "[[1.0, 2.0, 0.5]]").unwrap();
    let (manifest, out) = (folder.join("data.jsonl"), folder.join("dataset"));
    let tokenizer = fixture("tokenizers/mistral_v1_32k_bpe.model");
    let codec = ["--codec", "codes", "--codes-suffix", ".mimi_synthetic.npy"];
    succeeds(&[&["prep", path(&manifest), "-o", path(&out), "--tokenizer", path(&tokenizer)], &codec[..]].concat());
    out
}

#[test]
fn a_dataset_is_summed_up_whole_with_its_regions() {
    let folder = tempfile::tempdir().unwrap();
    let out = dataset(folder.path());
    let call = ["weights", path(&out), "--json", "--depth-frames", "0.25", "--seed", "5"];
    let printed: Summary = serde_json::from_str(&succeeds(&call)).unwrap();

    let dataset = Dataset::open(&out).unwrap();
    let policy = Policy { depth_frames: Some(DepthFrames { share: 0.25, seed: 5 }), ..Policy::default() };
    let mut summary = Summary::new(&policy, dataset.layout()).unwrap();
    let delay = Delay::new(dataset.layout(), Extent::Extend, Start::None);
    for (index, segment) in dataset.segments().map(Result::unwrap).enumerate() {
        let examples = [Example { index: index as u64, regions: &segment.regions }];
        let weighing = Weighing { examples: &examples, ..Weighing::new(&policy, dataset.layout()) };
        summary.add(&weighing, &delay, &segment.codes).unwrap();

        let one = [&call[..], &["--segment", &segment.id]].concat();
        let one: Summary = serde_json::from_str(&succeeds(&one)).unwrap();
        let mut alone = Summary::new(&policy, dataset.layout()).unwrap();
        alone.add(&weighing, &delay, &segment.codes).unwrap();
        assert_eq!(one, alone, "{}", segment.id);
    }
    assert_eq!(printed, summary);
    assert_eq!((printed.examples, printed.streams[0].regions), (5, 13), "frames 12 to 24 of one recording");
    assert!(fails(2, &["weights", path(&out), "--summary", "--layout", "moshi-7b"]).contains("brings its own layout"));
    assert!(fails(2, &["weights", path(&out), "-o", "x.safetensors"]).contains("--segment"));
}
