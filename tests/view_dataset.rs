//! Views of the segments of a prepared dataset: placed anew by what `dataset.json` says, they are what `prep` writes.
#![cfg(feature = "io")]

mod common;

use std::fs;
use std::path::Path;

use common::fixture;
use ndarray::Array3;
use roundelay::batch::Segment;
use roundelay::io::{CodeSource, Dataset, Placing, PrepOptions, prep, tensors};
use roundelay::pipeline::{Look, SliceText, Speakers, ViewOptions};
use roundelay::text::{KyutaiRule, Rule, TurnMarkers};
use roundelay::window::{Border, Window};
use roundelay::{Layout, Seconds};
use serde_json::json;

/// Two recordings of 50 frames (4 s) in which two people speak.
fn corpus(folder: &Path) {
    for name in ["a", "b"] {
        let codes = Array3::from_shape_fn((2, 8, 50), |(c, q, t)| (1000 * c + 100 * q + t) as i64);
        tensors::write(&folder.join(format!("{name}.safetensors")), &[("audio_codes", codes.into())]).unwrap();
        let word = |text: &str, start: f64, end: f64, who: &str| json!([text, [start, end], who]);
        let words = [
            word("hello", 0.1, 0.5, "agent"),
            word("hi", 0.7, 0.8, "caller"),
            word("extraordinarily", 1.1, 1.9, "agent"),
            word("so", 1.95, 2.1, "agent"),
            word("yes", 2.5, 3.3, "caller"),
        ];
        fs::write(folder.join(format!("{name}.json")), json!({ "alignments": words }).to_string()).unwrap();
    }
    fs::write(folder.join("data.jsonl"), "{\"path\": \"a.wav\"}\n{\"path\": \"b.wav\"}\n").unwrap();
}

fn segments(folder: &Path, name: &str, options: &PrepOptions) -> (Dataset, Vec<Segment>) {
    let out = folder.join(name);
    assert_eq!(prep(&folder.join("data.jsonl"), &out, options, &mut |_| Ok(())).unwrap().counts.rejects, 0);
    let dataset = Dataset::open(&out).unwrap();
    let segments = dataset.segments().map(Result::unwrap).collect();
    (dataset, segments)
}

#[test]
fn slices_of_recordings_are_the_windows_that_prep_writes() {
    let markers = KyutaiRule { turn_markers: Some(TurnMarkers { bos: 5, eos: 6 }), ..KyutaiRule::default() };
    let late = KyutaiRule { keep_and_shift: true, audio_delay: -0.24, ..KyutaiRule::default() };
    let mut compared = 0;
    for rule in [Rule::Moshi, Rule::Kyutai(markers), Rule::Kyutai(late)] {
        for (border, text) in
            [(Border::Start, SliceText::Start), (Border::Drop, SliceText::Drop), (Border::Split, SliceText::Cut)]
        {
            let folder = tempfile::tempdir().unwrap();
            corpus(folder.path());
            let layout = Layout::preset("moshi-7b").unwrap();
            let model = fixture("tokenizers/mistral_v1_32k_bpe.model");
            let mut options = PrepOptions::new(layout, Some(model), CodeSource::Files { suffix: None });
            (options.rule, options.speakers) = (rule, Speakers::new("agent").with("other", "caller"));
            let (dataset, whole) = segments(folder.path(), "whole", &options);
            let placing = Placing::of(&dataset.info().options).unwrap();
            assert_eq!((placing.rule, &placing.speakers, placing.border), (rule, &options.speakers, Border::Start));

            (options.window, options.border) = (Some("1.28".parse::<Seconds>().unwrap()), border);
            let (dataset, windows) = segments(folder.path(), "windows", &options);
            assert_eq!(Placing::of(&dataset.info().options).unwrap().border, border);
            let options = ViewOptions { text, ..ViewOptions::new(dataset.layout(), placing.rule, &placing.speakers) };
            let mut windows = windows.into_iter();
            for segment in &whole {
                for frames in Window::new(16, 16).unwrap().spans(50) {
                    let look = Look { frames: Some(frames), ..Look::default() };
                    let window = windows.next().unwrap();
                    let view = options.view(segment, &look).unwrap().segment;
                    assert_eq!(view, Segment { id: segment.id.clone(), ..window }, "{rule:?} {border:?}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 9 * 2 * 4);
}
