//! `align` as a process: the peers' rules give the peers' rows, option by option.
#![cfg(feature = "cli")]

mod common;

use std::fs;

use common::program::{fails, path, succeeds};
use common::{fixture, json, recorded};
use serde_json::{Value, json};

/// Moshi's text stream with other ids for silence.
fn layout(pad: &Value, end_pad: &Value) -> String {
    let text = json!({"name": "text", "kind": "text", "speaker": "main", "cardinality": 32000, "delay": 0,
                      "initial": 32000, "pad": pad, "end_pad": end_pad, "trained": true});
    json!({"name": "text", "frame_rate": 12.5, "streams": [text]}).to_string()
}

/// Runs `align` on a file of words and returns what it prints.
fn align(words: &Value, options: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.json");
    fs::write(&file, words.to_string()).unwrap();
    let tokenizer = fixture("tokenizers/mistral_v1_32k_bpe.model");
    let printed = succeeds(&[&["align", path(&file), "--tokenizer", path(&tokenizer)], options].concat());
    json(printed.as_bytes())
}

#[test]
fn the_kyutai_rule_gives_the_recorded_rows() {
    let sha256 = "aa73ae9fd44b1299b034f6f3a14bbf143b25d0da898b69bedf97672d2f41ff67";
    let family = json(&recorded("reference/moshi/interleave.json", sha256));
    let folder = tempfile::tempdir().unwrap();
    let mut run = 0;
    for case in family["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == "prepare_item") {
        let (params, expect) = (&case["params"], &case["expect"]);
        let options = &params["options"];
        let rate = options["audio_frame_rate"].as_f64().unwrap();
        let frames = (params["segment_duration"].as_f64().unwrap() * rate).ceil();
        let file = folder.path().join("layout.json");
        fs::write(&file, layout(&options["text_padding"], &options["end_of_text_padding"])).unwrap();
        let speaker = params["main_speaker"].as_str().or(options["main_speaker_label"].as_str()).unwrap();
        let (rate, frames) = (rate.to_string(), frames.to_string());
        let (delay, padding) = (options["audio_delay"].to_string(), options["in_word_padding"].to_string());
        let mut arguments = vec!["--rule", "kyutai", "--layout", path(&file), "--main-speaker", speaker];
        arguments.extend(["--frame-rate", &rate, "--frames", &frames, "--audio-delay", &delay]);
        let switches = [
            ("keep_main_only", "--keep-main-only"),
            ("use_bos_eos", "--use-bos-eos"),
            ("keep_and_shift", "--keep-and-shift"),
        ];
        arguments.extend(switches.into_iter().filter(|(name, _)| options[name] == true).map(|(_, switch)| switch));
        if !options["in_word_padding"].is_null() {
            arguments.extend(["--in-word-padding", &padding]);
        }
        let printed = align(&json!({"alignments": params["alignments"]}), &arguments);
        // Here an absent token is always -1.
        let absent = |id: &Value| if *id == options["zero_padding"] { json!(-1) } else { id.clone() };
        let tokens: Vec<_> = expect["tokens"].as_array().unwrap().iter().map(absent).collect();
        assert_eq!(printed["tokens"], json!(tokens), "{} {}", case["name"], params["label"]);
        run += 1;
    }
    assert_eq!(run, 81);
}

#[test]
fn the_jmoshi_rule_gives_the_recorded_rows() {
    let sha256 = "18a79aa973fe339c999aaa8a53607d17e91214ad48c1d988b5dd6a7fb485f653";
    let cases = json(&recorded("reference/jmoshi/text.json", sha256));
    let (mut run, mut joined) = (0, 0);
    for case in cases.as_array().unwrap() {
        let frames = case["ids"].as_array().unwrap().len().to_string();
        let mut arguments = vec!["--rule", "jmoshi", "--main-speaker", "A", "--frames", &frames];
        if case["no_whitespace_before_word"] == true {
            arguments.push("--no-whitespace-before-word");
            joined += 1;
        }
        let printed = align(&case["words"], &arguments);
        assert_eq!(printed["tokens"], case["ids"], "case {run}");
        let cut = printed["events"].as_array().unwrap().iter().any(|event| event["event"] == "cut");
        assert_eq!(cut, case["warning"] == true, "case {run}: {}", printed["events"]);
        run += 1;
    }
    assert_eq!((run, joined), (40, 10));
}

#[test]
fn an_option_of_another_rule_is_a_wrong_usage() {
    let words = fixture("recordings/wav/mary_bobby_stereo.json");
    let tokenizer = fixture("tokenizers/mistral_v1_32k_bpe.model");
    let run = ["align", path(&words), "--tokenizer", path(&tokenizer), "--frames", "20"];
    for (options, expected) in [
        (&["--keep-main-only"][..], "--keep-main-only goes with --rule kyutai"),
        (&["--audio-delay", "-0.5", "--rule", "jmoshi"], "--audio-delay goes with --rule kyutai"),
        (&["--no-whitespace-before-word", "--rule", "kyutai"], "--no-whitespace-before-word goes with --rule jmoshi"),
    ] {
        let message = fails(2, &[&run, options].concat());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn words_given_by_ids_come_back_as_ids_and_unknown_text_as_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tokenizer = fixture("tokenizers/mistral_v1_32k_bpe.model");
    let given = json!([[[6312, 28709], [1.0, 1.3], "SPEAKER_MAIN"]]);
    fs::copy(fixture("recordings/wav/mary_bobby_stereo.wav"), at("ids.wav")).unwrap();
    fs::copy(fixture("recordings/wav/mary_bobby_stereo.wav"), at("null.wav")).unwrap();
    fs::write(at("ids.json"), json!({"alignments": given}).to_string()).unwrap();
    fs::write(at("null.json"), json!({"alignments": null}).to_string()).unwrap();
    fs::write(at("data.jsonl"), "{\"path\": \"ids.wav\"}\n{\"path\": \"null.wav\"}\n").unwrap();
    succeeds(&["prep", path(&at("data.jsonl")), "-o", path(&at("d")), "--tokenizer", path(&tokenizer)]);
    let words = |id: &str| json(succeeds(&["words", path(&at("d")), "--segment", id]).as_bytes())["alignments"].clone();
    assert_eq!(words("ids.wav"), given);
    assert_eq!(words("null.wav"), Value::Null);
}

#[test]
fn events_are_told_where_the_row_goes_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let row = folder.path().join("row.safetensors");
    let words = json!({"alignments": [["hello", [0.1, 0.5], "SPEAKER_MAIN"]]});
    let printed = align(&words, &["--frames", "2", "--drop-text", "1", "-o", path(&row)]);
    assert_eq!(printed["events"][0]["event"], "cut");
    assert_eq!((&printed["augmented"]["dropped"], &printed["tokens"]), (&json!(2), &Value::Null));
}
