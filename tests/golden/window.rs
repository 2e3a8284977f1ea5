//! moshi-finetune's training windows: what it cuts of codes and words, where windows begin, and batches of them.

use ndarray::{Array2, Axis, Ix3};
use roundelay::pipeline::{KyutaiWindow, first_not_before};
use roundelay::text::{KyutaiRule, Rule, Tokenizer, TurnMarkers, Word};
use roundelay::{Frames, Kind, Layout, Seconds, Stream};
use serde_json::Value;

use crate::common::{self, Recorded, Tensors};

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Text, then the codebooks of each channel: `main`, and `other` if there are two.
pub fn layout(params: &Value, channels: usize, codebooks: usize, delays: impl Fn(usize) -> usize) -> Layout {
    let text = Stream {
        name: "text".into(),
        kind: Kind::Text,
        speaker: "main".into(),
        level: None,
        cardinality: params["text_card"].as_u64().unwrap_or(32_000) as u32,
        delay: delays(0),
        initial: params["text_card"].as_u64().unwrap_or(32_000) as u32,
        pad: number(&params["options"]["text_padding"]) as u32,
        end_pad: Some(number(&params["options"]["end_of_text_padding"]) as u32),
        bos: None,
        eos: None,
        phase: None,
        trained: true,
    };
    let audio = |k: usize| {
        let (speaker, level) = (["main", "other"][k / codebooks], k % codebooks);
        Stream {
            name: format!("{speaker}.{level}"),
            kind: if level == 0 { Kind::Semantic } else { Kind::Acoustic },
            speaker: speaker.into(),
            level: Some(level),
            cardinality: 2048,
            delay: delays(k + 1),
            initial: 2048,
            pad: 2048,
            end_pad: None,
            trained: k < codebooks,
            ..text.clone()
        }
    };
    let streams = std::iter::once(text.clone()).chain((0..channels * codebooks).map(audio)).collect();
    Layout::new("recorded", params["frame_rate"].to_string().parse().unwrap(), streams).unwrap()
}

pub fn tokenizer() -> Tokenizer {
    Tokenizer::from_bytes(&std::fs::read(common::fixture("tokenizers/mistral_v1_32k_bpe.model")).unwrap()).unwrap()
}

/// The options of a case, with the peer's slip of taking frames for seconds.
fn rule(options: &Value, tokenizer: &Tokenizer) -> KyutaiRule {
    let markers = || TurnMarkers { bos: tokenizer.bos().unwrap(), eos: tokenizer.eos().unwrap() };
    KyutaiRule {
        in_word_padding: options["in_word_padding"].as_i64().map(|id| id as i32),
        keep_main_only: options["keep_main_only"] == true,
        turn_markers: (options["use_bos_eos"] == true).then(markers),
        keep_and_shift: options["keep_and_shift"] == true,
        audio_delay: float(&options["audio_delay"]),
        frames_as_seconds: true,
    }
}

pub fn words(file: &Value) -> Vec<Word> {
    let time = |value: &Value| Seconds::from_f64(float(value)).unwrap();
    let word = |word: &Value| {
        let text = |i: usize| word[i].as_str().unwrap();
        Word::new(text(0), time(&word[1][0]), time(&word[1][1]), text(2))
    };
    file["alignments"].as_array().unwrap().iter().map(word).collect()
}

/// One window `[stream, time]`, and the number of words in it.
pub fn rows(
    layout: &Layout,
    window: KyutaiWindow,
    file: &Value,
    params: &Value,
    codes: ndarray::ArrayD<i64>,
    tokenizer: &Tokenizer,
) -> (Array2<i64>, usize) {
    let rule = rule(&params["options"], tokenizer);
    let inside = window.words(&words(file)).unwrap();
    let count = inside.len();
    let inside = Rule::Kyutai(rule).tokenize(inside, tokenizer).unwrap();
    let codes = Frames(codes.into_dimensionality::<Ix3>().unwrap().mapv(|code| code as i32));
    let label = params["options"]["main_speaker_label"].as_str().unwrap();
    let (rows, _) = window.rows(layout, rule, label, &codes, Some(inside)).unwrap();
    (rows.0.mapv(i64::from), count)
}

#[test]
fn moshi_window() {
    let cases = "c67703504b91cb736b9d2fe6442a15dd4c5853985cda496f9af42a06d5642fe8";
    let tensors = "2e68284104f852e525f8a2ca5ab8cff552daa203b08be0c9d186a3f7d8a1e314";
    let recorded = Recorded::read("moshi/window", [cases, tensors]);
    let files = &common::json(&common::recorded("reference/moshi/window.json", cases))["files"];
    let (tensors, tokenizer) = (recorded.tensors(), tokenizer());
    let mut run = [0; 4];
    for case in recorded.all() {
        let kind = match case["kind"].as_str().unwrap() {
            "window" => {
                let file = &files[case["params"]["file"].as_str().unwrap()];
                check_window(case, file, &tensors, &tokenizer);
                0
            }
            "chunking" => check_chunks(case),
            "dicho" => check_search(case),
            "collate" => check_batch(case, &tensors),
            other => panic!("{other}"),
        };
        run[kind] += 1;
    }
    assert_eq!(run, [17, 3, 1, 1]);
}

fn check_window(case: &Value, file: &Value, tensors: &Tensors, tokenizer: &Tokenizer) {
    let (params, expect) = (&case["params"], &case["expect"]);
    let name = case["name"].as_str().unwrap();
    let layout = layout(params, number(&params["channels"]), number(&params["num_codebooks"]), |_| 0);
    let window = KyutaiWindow { start: float(&params["start_sec"]), duration: float(&params["duration_sec"]) };
    assert_eq!(window.frames(layout.frame_rate()), number(&expect["num_audio_frames"]), "{name}");
    let codes = tensors.i64(&format!("{name}/mimi_codes"));
    let heard = number(&expect["this_num_audio_frames"]);
    assert_eq!(codes.len_of(Axis(2)).min(window.frames(layout.frame_rate())), heard, "{name}");
    let places = KyutaiRule::frames(heard as f64, layout.frame_rate());
    assert_eq!(places, number(&expect["text_stream_length_before_fit"]), "{name}");

    let (rows, count) = rows(&layout, window, file, params, codes, tokenizer);
    let range: Vec<_> = expect["alignment_range"].as_array().unwrap().iter().map(number).collect();
    let starts: Vec<_> = words(file).iter().map(|word| word.start.to_f64()).collect();
    assert_eq!((first_not_before(&starts, window.start), count), (range[0], range[1] - range[0]), "{name}");
    assert_eq!(rows.insert_axis(Axis(0)).into_dyn(), tensors.i64(&format!("{name}/codes")), "{name}");
    #[cfg(feature = "io")]
    {
        let format = roundelay::io::WordsFormat::MoshiFinetune;
        let read = roundelay::io::parse_words(&file.to_string(), format).unwrap();
        let conditions = read.conditions.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        assert_eq!((read.words.unwrap(), conditions), (words(file), expect["condition_attributes"].clone()), "{name}");
    }
}

/// Windows of each recording, dealt out by number.
fn check_chunks(case: &Value) -> usize {
    let params = &case["params"];
    let rows = params["rows"].as_array().unwrap().iter();
    let own = rows.skip(number(&params["rank"])).step_by(number(&params["world_size"]));
    let windows = own.flat_map(|row| {
        let over = KyutaiWindow::over(float(&row["duration"]), float(&params["duration_sec"])).unwrap();
        over.map(|window| (row["path"].as_str().unwrap(), window.start))
    });
    let expected = case["expect"]["chunks"].as_array().unwrap().iter();
    let expected: Vec<_> = expected.map(|chunk| (chunk[0].as_str().unwrap(), float(&chunk[1]))).collect();
    assert_eq!(windows.collect::<Vec<_>>(), expected, "{}", case["name"]);
    1
}

fn check_search(case: &Value) -> usize {
    let floats = |name: &str| case["params"][name].as_array().unwrap().iter().map(float).collect::<Vec<_>>();
    let starts = floats("starts");
    let found: Vec<_> = floats("values").into_iter().map(|value| first_not_before(&starts, value)).collect();
    let expected: Vec<_> = case["expect"]["indices"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(found, expected, "{}", case["name"]);
    2
}

/// Batches are windows one after another.
fn check_batch(case: &Value, tensors: &Tensors) -> usize {
    let key = |name: &str| format!("{}/{name}", case["name"].as_str().unwrap());
    let parts: Vec<_> = (0..number(&case["params"]["n"])).map(|i| tensors.i64(&key(&format!("in{i}")))).collect();
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    assert_eq!(ndarray::concatenate(Axis(0), &views).unwrap(), tensors.i64(&key("codes")), "{}", case["name"]);
    3
}
