//! The Kyutai rule against what moshi-finetune's interleaver gave for the same words.

use roundelay::tally::EventKind;
use roundelay::text::{KyutaiRule, Rule, TextRow, TextStream, Tokenizer, TurnMarkers, Word};
use roundelay::{FrameRate, Layout, Seconds};
use serde::Deserialize;

use crate::common;

const BPE: &[u8] = include_bytes!("../../fixtures/tokenizers/mistral_v1_32k_bpe.model");
const SHA256: &str = "aa73ae9fd44b1299b034f6f3a14bbf143b25d0da898b69bedf97672d2f41ff67";

#[derive(Deserialize)]
struct Family {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    kind: String,
    params: Params,
    expect: Expected,
}

#[derive(Deserialize)]
struct Params {
    options: Options,
    segment_duration: f64,
    main_speaker: Option<String>,
    alignments: Option<Vec<(String, [f64; 2], String)>>,
    tokenized: Option<Vec<Tokenized>>,
}

/// Ids, times and speaker.
type Tokenized = (Vec<i32>, [f64; 2], String);

#[derive(Deserialize)]
struct Options {
    audio_frame_rate: f64,
    text_padding: u32,
    end_of_text_padding: u32,
    zero_padding: i32,
    in_word_padding: Option<i32>,
    keep_main_only: bool,
    main_speaker_label: String,
    use_bos_eos: bool,
    keep_and_shift: bool,
    audio_delay: f64,
}

#[derive(Deserialize)]
struct Expected {
    tokenized_sorted: Option<Vec<Tokenized>>,
    kept: Option<Vec<Tokenized>>,
    length: usize,
    tokens: Vec<i32>,
}

impl Params {
    fn rule(&self, tokenizer: &Tokenizer) -> KyutaiRule {
        let Options { in_word_padding, keep_main_only, keep_and_shift, audio_delay, .. } = self.options;
        let markers = TurnMarkers { bos: tokenizer.bos().unwrap(), eos: tokenizer.eos().unwrap() };
        let turn_markers = self.options.use_bos_eos.then_some(markers);
        KyutaiRule {
            in_word_padding,
            keep_main_only,
            turn_markers,
            keep_and_shift,
            audio_delay,
            frames_as_seconds: false,
        }
    }

    fn rate(&self) -> FrameRate {
        self.options.audio_frame_rate.to_string().parse().unwrap()
    }

    fn frames(&self) -> usize {
        KyutaiRule::frames(self.segment_duration, self.rate())
    }

    fn place(&self, words: Vec<Word>, tokenizer: &Tokenizer) -> TextRow {
        let layout = Layout::preset("moshi-7b").unwrap();
        let mut stream = layout.streams()[0].clone();
        (stream.pad, stream.end_pad) = (self.options.text_padding, Some(self.options.end_of_text_padding));
        let speaker = self.main_speaker.as_ref().unwrap_or(&self.options.main_speaker_label);
        let text = TextStream { stream: &stream, frame_rate: self.rate(), speaker, lag: Seconds::ZERO };
        let rule = Rule::Kyutai(self.rule(tokenizer));
        rule.place(rule.tokenize(words, tokenizer).unwrap(), &text, self.frames()).unwrap()
    }
}

fn seconds(time: f64) -> Seconds {
    Seconds::from_f64(time).unwrap()
}

fn word((text, [start, end], speaker): &(String, [f64; 2], String)) -> Word {
    Word::new(text, seconds(*start), seconds(*end), speaker)
}

/// A word for the step after short words were left out: a duration too small for any frame to tell keeps it in.
fn direct((ids, [start, end], speaker): &Tokenized) -> Word {
    Word { ids: Some(ids.clone()), ..Word::new("", seconds(*start), seconds(end.max(start.next_up())), speaker) }
}

/// The ids of the words that the rule did not leave out, with the marker that the peer has put in front.
fn kept(row: &TextRow, rule: &KyutaiRule, kept: &[Tokenized]) -> Vec<Vec<i32>> {
    let left_out = |kind| matches!(kind, EventKind::Dropped | EventKind::OtherSpeaker);
    let mut out = row.notes.iter().filter(|note| left_out(note.event)).map(|note| note.word).peekable();
    let words = row.words.iter().enumerate().filter(|(index, _)| out.next_if_eq(index).is_none());
    let mut found: Vec<_> = words.map(|(_, word)| word.tokens.clone()).collect();
    assert!(out.next().is_none());
    for (ids, (expected, ..)) in found.iter_mut().zip(kept) {
        let marker = rule.turn_markers.filter(|_| expected.len() > ids.len());
        let marker =
            marker.filter(|markers| expected.starts_with(&[markers.bos]) || expected.starts_with(&[markers.eos]));
        ids.splice(0..0, marker.map(|_| expected[0]));
    }
    found
}

fn check(case: &Case, tokenizer: &Tokenizer) {
    let Case { params, expect, name, .. } = case;
    let expected = |&id: &i32| if id == params.options.zero_padding { -1 } else { id };
    let expected: Vec<_> = expect.tokens.iter().map(expected).collect();
    let words: Option<Vec<_>> = match &params.tokenized {
        Some(tokenized) => Some(tokenized.iter().map(direct).collect()),
        None => params.alignments.as_ref().map(|words| words.iter().map(word).collect()),
    };
    let row = words.map_or_else(|| TextRow::unknown(params.frames()), |words| params.place(words, tokenizer));
    assert_eq!(row.tokens.len(), expect.length, "{name}");
    assert_eq!(row.tokens, expected, "{name}");
    if let Some(sorted) = &expect.tokenized_sorted {
        let tokens: Vec<_> = row.words.iter().map(|word| (word.tokens.clone(), word.word.start)).collect();
        assert_eq!(
            tokens,
            sorted.iter().map(|(ids, [start, _], _)| (ids.clone(), seconds(*start))).collect::<Vec<_>>()
        );
    }
    if let Some(words) = &expect.kept {
        let ids: Vec<_> = words.iter().map(|(ids, ..)| ids.clone()).collect();
        assert_eq!(kept(&row, &params.rule(tokenizer), words), ids, "{name}");
    }
}

#[test]
fn the_kyutai_rule_writes_the_recorded_rows() {
    let family: Family = serde_json::from_slice(&common::recorded("reference/moshi/interleave.json", SHA256)).unwrap();
    let tokenizer = Tokenizer::from_bytes(BPE).unwrap();
    let mut seen = [0, 0];
    for case in &family.cases {
        check(case, &tokenizer);
        seen[usize::from(case.kind == "build_token_stream")] += 1;
    }
    assert_eq!((family.cases.len(), seen), (83, [81, 2]));
}

#[test]
fn a_row_of_frames_taken_for_seconds_goes_on_after_the_sound() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let text = TextStream::of(&layout, "A").unwrap();
    let row = |heard, frames, frames_as_seconds, start: f64| {
        let rule = Rule::Kyutai(KyutaiRule { frames_as_seconds, ..KyutaiRule::default() });
        let word = Word { ids: Some(vec![10, 11]), ..Word::new("w", seconds(start), seconds(start + 1.0), "A") };
        let words = roundelay::text::tokenize(vec![word], |_| unreachable!()).unwrap();
        rule.place_in_window(words, &text, heard, frames).unwrap()
    };
    assert_eq!(row(2, 6, false, 0.1).tokens, [0, 10, -1, -1, -1, -1]);
    assert_eq!(row(2, 6, true, 0.1).tokens, [0, 10, 11, 3, 3, 3]);
    assert_eq!(row(1, 15, true, 0.9).tokens, [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 10, 11, -1, -1]);
    // A word in the first frame that is cut off leaves its end of pad.
    let cut = row(2, 6, true, 0.48);
    assert_eq!(
        (cut.tokens.as_slice(), cut.notes[0].event, cut.notes[0].amount),
        (&[3, 3, 3, 3, 3, 0][..], EventKind::Cut, 2)
    );
    assert_eq!(row(6, 6, false, 0.48).tokens, [3; 6]);
}
