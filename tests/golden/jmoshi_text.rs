//! The J-Moshi rule against what its own code gave for the same words.

use roundelay::tally::{EventKind, Tally};
use roundelay::text::{JmoshiRule, Rule, TextStream, Tokenizer, Word};
use roundelay::{FrameRate, Layout, Seconds};
use serde::Deserialize;

use crate::common;

const BPE: &[u8] = include_bytes!("../../fixtures/tokenizers/mistral_v1_32k_bpe.model");
const SHA256: &str = "18a79aa973fe339c999aaa8a53607d17e91214ad48c1d988b5dd6a7fb485f653";

#[derive(Deserialize)]
struct Case {
    words: Vec<Spoken>,
    no_whitespace_before_word: bool,
    text_padding_id: u32,
    end_of_text_padding_id: u32,
    frame_rate: f64,
    ids: Vec<i32>,
    /// Whether tokens found no frame.
    warning: bool,
}

#[derive(Deserialize)]
struct Spoken {
    speaker: String,
    word: String,
    start: f64,
    end: f64,
}

impl Case {
    fn words(&self) -> Vec<Word> {
        let seconds = |time| Seconds::from_f64(time).unwrap();
        self.words.iter().map(|w| Word::new(&w.word, seconds(w.start), seconds(w.end), &w.speaker)).collect()
    }
}

/// Checks that the row is the recorded one, cut or filled with pads to `frames`; returns what was told.
fn check(case: &Case, tokenizer: &Tokenizer, frames: usize) -> Tally {
    let layout = Layout::preset("j-moshi").unwrap();
    let mut stream = layout.streams()[0].clone();
    (stream.pad, stream.end_pad) = (case.text_padding_id, Some(case.end_of_text_padding_id));
    let frame_rate: FrameRate = case.frame_rate.to_string().parse().unwrap();
    let text = TextStream { stream: &stream, frame_rate, speaker: "A", lag: Seconds::ZERO };
    let rule = Rule::Jmoshi(JmoshiRule { whitespace_before_word: !case.no_whitespace_before_word });
    let row = rule.place(rule.tokenize(case.words(), tokenizer).unwrap(), &text, frames).unwrap();
    let mut expected = case.ids.clone();
    expected.resize(frames, case.text_padding_id as i32);
    assert_eq!(row.tokens, expected, "{frames} frames of {:?}", case.words());
    row.events().iter().collect()
}

#[test]
fn the_jmoshi_rule_writes_the_recorded_rows() {
    let cases: Vec<Case> = serde_json::from_slice(&common::recorded("reference/jmoshi/text.json", SHA256)).unwrap();
    let tokenizer = Tokenizer::from_bytes(BPE).unwrap();
    let (mut warnings, mut unknown) = (0, 0);
    for case in &cases {
        let told = check(case, &tokenizer, case.ids.len());
        assert_eq!(told.get(EventKind::Cut).events > 0, case.warning);
        for frames in [0, 1, case.ids.len() / 2, case.ids.len() - 1, case.ids.len() + 30] {
            check(case, &tokenizer, frames);
        }
        (warnings, unknown) = (warnings + usize::from(case.warning), unknown + told.get(EventKind::Unknown).amount);
    }
    // No recorded text has a character that the model spells in bytes.
    assert_eq!((cases.len(), warnings, unknown), (40, 1, 0));
}
