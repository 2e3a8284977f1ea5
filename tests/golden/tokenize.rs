//! Tokenizers against what SentencePiece 0.2.0 and moshi-finetune gave for the same texts.

use std::collections::BTreeMap;
use std::fs;

use roundelay::Seconds;
use roundelay::text::{Tokenizer, Word, tokenize};
use serde::Deserialize;

use crate::common;

const BPE: &[u8] = include_bytes!("../../fixtures/tokenizers/mistral_v1_32k_bpe.model");
const UNIGRAM: &[u8] = include_bytes!("../../fixtures/tokenizers/small_unigram_2000.model");
const RULES: &[u8] = include_bytes!("../../fixtures/tokenizers/rules_bpe.model");

#[derive(Deserialize)]
struct Family {
    tokenizer: Facts,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Facts {
    vocab: usize,
    bos: i32,
    eos: i32,
    unk: i32,
    newline_piece: i32,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    params: Params,
    expect: Expected,
}

#[derive(Deserialize)]
struct Params {
    text: String,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<i32>,
    ids_bos: Vec<i32>,
    stripped_ids: Vec<i32>,
}

/// Checks every case of a recorded file and returns how many there were.
fn check(tokenizer: &Tokenizer, name: &str, sha256: &str) -> usize {
    let family: Family = serde_json::from_slice(&common::recorded(name, sha256)).unwrap();
    let facts = &family.tokenizer;
    assert_eq!(tokenizer.len(), facts.vocab);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.unk()), (Some(facts.bos), Some(facts.eos), facts.unk));
    assert_eq!(tokenizer.encode("\n").last(), Some(&facts.newline_piece));
    for Case { name, params, expect } in &family.cases {
        let ids = tokenizer.encode_lines(&params.text).unwrap();
        assert_eq!(ids, expect.ids, "{name}: {:?}", params.text);
        let with_bos: Vec<_> = tokenizer.bos().into_iter().chain(ids).collect();
        assert_eq!(with_bos, expect.ids_bos, "{name}");
        assert_eq!(stripped_ids(tokenizer, &params.text), expect.stripped_ids, "{name} stripped: {:?}", params.text);
    }
    family.cases.len()
}

fn stripped_ids(tokenizer: &Tokenizer, text: &str) -> Vec<i32> {
    let word = Word::new(text, Seconds::ZERO, Seconds::ZERO, "");
    tokenize(vec![word], |text| tokenizer.encode_lines(text)).unwrap().remove(0).tokens
}

#[test]
fn bpe_gives_the_recorded_ids() {
    let sha256 = "826790829dc6be9eecbf13e5e0c6c4f46902ca991a0097aead165d1f23cdf9a4";
    let tokenizer = Tokenizer::from_bytes(BPE).unwrap();
    assert_eq!(check(&tokenizer, "reference/moshi/tokenize.json", sha256), 75);
}

#[test]
fn unigram_gives_the_recorded_ids() {
    let sha256 = "a9acd6bae025ece4971f7f5f9089e98524097c0c82db9675788aadd356a49cc7";
    let tokenizer = Tokenizer::from_bytes(UNIGRAM).unwrap();
    assert_eq!(check(&tokenizer, "reference/moshi/tokenize_unigram.json", sha256), 75);
}

/// What `fixtures/tokenizers/make.py` wrote down.
#[derive(Deserialize)]
struct Normalised {
    models: BTreeMap<String, Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<i32>,
    decoded: String,
}

#[test]
fn normalisers_and_denormalisers_give_the_recorded_ids_and_texts() {
    let sha256 = "d7f564e7f18813efdf6fa1c8efa19c97471eee0d860b299956acacdc63fcca84";
    let recorded: Normalised = serde_json::from_slice(&common::recorded("tokenizers/normalised.json", sha256)).unwrap();
    let mut cases = BTreeMap::new();
    for (name, rows) in &recorded.models {
        let tokenizer = Tokenizer::from_bytes(&fs::read(common::fixture("tokenizers").join(name)).unwrap()).unwrap();
        for Row { text, ids, decoded } in rows {
            assert_eq!(tokenizer.encode(text), *ids, "{name}: {text:?}");
            assert_eq!(tokenizer.decode(ids).unwrap(), *decoded, "{name}: {text:?}");
        }
        cases.insert(&**name, rows.len());
    }
    let expected = [("demo_8k_unigram.model", 62), ("rules_bpe.model", 62), ("rules_unigram.model", 62)];
    assert_eq!(cases, BTreeMap::from(expected));
}

#[test]
fn the_text_pad_of_moshi_is_a_byte_in_one_and_special_in_the_other() {
    let (bpe, unigram) = (Tokenizer::from_bytes(BPE).unwrap(), Tokenizer::from_bytes(UNIGRAM).unwrap());
    assert_eq!(bpe.piece(3), Some("<0x00>"));
    assert!(bpe.is_text(3) && !unigram.is_text(3));
    assert!(!bpe.is_text(0) && !bpe.is_text(1) && bpe.is_control(1) && bpe.is_text(6312) && !bpe.is_text(32_000));
    assert!(bpe.begins_word(6312) && !bpe.begins_word(28709) && !bpe.begins_word(-1));
    assert_eq!(bpe.collisions(&[3, 0, 32_000]), [(3, "<0x00>")]);
    assert_eq!(unigram.collisions(&[3, 0]), []);
}

#[test]
fn every_cut_or_bent_model_is_an_answer_and_no_panic() {
    for (model, step) in [(UNIGRAM, 61), (RULES, 3)] {
        for length in (0..model.len()).step_by(step) {
            let _ = Tokenizer::from_bytes(&model[..length]);
        }
        let mut bent = model.to_vec();
        for at in (0..model.len()).step_by(step) {
            bent[at] ^= 1 << (at % 8);
            if let Ok(tokenizer) = Tokenizer::from_bytes(&bent) {
                let ids = tokenizer.encode("Any text  at all: é\u{1F600}\nABC ½½ e\u{301}ﬁ… O K");
                let _ = tokenizer.decode(&ids).unwrap();
            }
            bent[at] = model[at];
        }
    }
}
