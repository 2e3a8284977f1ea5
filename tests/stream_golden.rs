//! Kyutai's generation loop, step by step, against what its own code gave (`fixtures/README.md` says how it was
//! recorded).

mod common;

use common::{Recorded, Tensors};
use ndarray::{ArrayD, Axis};
use roundelay::delay::{KyutaiLine, KyutaiOptions};
use roundelay::{ErrorKind, FrameRate, Frames, Kind, Layout, Steps, Stream};
use serde_json::Value;

/// What the recordings hold where the peer gave nothing.
const NOTHING: i64 = -99;

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// Text, then audio of as many levels as there are streams: only delays, initial ids and cardinalities matter here.
fn layout(params: &Value) -> Layout {
    let streams = params["delays"].as_array().unwrap().iter().enumerate().map(|(k, delay)| {
        let cardinality = number(&params[if k == 0 { "text_card" } else { "card" }]) as u32;
        Stream {
            name: format!("s{k}"),
            kind: [Kind::Text, Kind::Semantic, Kind::Acoustic][k.min(2)],
            speaker: "main".into(),
            level: k.checked_sub(1),
            cardinality,
            delay: number(delay),
            initial: cardinality,
            pad: if k == 0 { 3 } else { cardinality },
            end_pad: (k == 0).then_some(0),
            bos: None,
            eos: None,
            phase: None,
            trained: true,
        }
    });
    Layout::new("recorded", FrameRate::new(25, 2).unwrap(), streams.collect()).unwrap()
}

fn options(params: &Value) -> KyutaiOptions {
    let out_of_sync = params["support_out_of_sync"].as_bool().unwrap();
    KyutaiOptions { dep_q: Some(number(&params["dep_q"])), out_of_sync, guidance: false }
}

/// What was recorded of one run, and the line that must give the same.
struct Run<'a> {
    tensors: &'a Tensors<'a>,
    case: &'a Value,
    line: KyutaiLine<i64>,
    layout: Layout,
    steps: usize,
    checked: Checked,
}

/// How many steps each recorded output was compared in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Checked {
    input: usize,
    frames: usize,
    none: usize,
    depth: usize,
}

impl<'a> Run<'a> {
    fn new(tensors: &'a Tensors<'a>, case: &'a Value, batch: usize) -> Self {
        let params = &case["params"];
        let layout = layout(params);
        let line = KyutaiLine::new(&layout, batch, options(params)).unwrap();
        Run { tensors, case, line, layout, steps: number(&params["steps"]), checked: Checked::default() }
    }

    fn name(&self) -> &str {
        self.case["name"].as_str().unwrap()
    }

    fn has(&self, tensor: &str) -> bool {
        self.case["tensors"].get(tensor).is_some()
    }

    fn key(&self, tensor: &str) -> String {
        format!("{}/{tensor}", self.name())
    }

    /// One step of a recorded tensor, row after row; nothing where the run has no such tensor.
    fn at(&self, tensor: &str, step: usize) -> Vec<i64> {
        let read = || -> ArrayD<i64> { self.tensors.i64(&self.key(tensor)) };
        if self.has(tensor) { read().index_axis(Axis(0), step).iter().copied().collect() } else { Vec::new() }
    }

    fn flags(&self, tensor: &str, step: usize) -> Vec<bool> {
        self.tensors.bool(&self.key(tensor)).index_axis(Axis(0), step).iter().copied().collect()
    }

    /// Compares what the model reads and the frame that comes out.
    fn step(&mut self, s: usize, [input, none]: [&str; 2]) {
        let (batch, streams) = (self.line.batch(), self.layout.streams().len());
        let at = format!("{} {}, step {s}", self.name(), self.case["params"]["label"]);
        let mut read = vec![0; batch * streams];
        self.line.input(Frames(&self.at("user", s)), Steps(&mut read)).unwrap();
        assert_eq!(read, self.at(input, s), "{at}: input");
        self.checked.input += 1;

        let (text, audio, expected) = (self.at("text", s), self.at("audio", s), self.at("out", s));
        let mut frame = vec![NOTHING; expected.len()];
        let whole = self.line.output(Steps(&text), Steps(&audio), Frames(&mut frame)).unwrap();
        let recorded_none = self.tensors.bool(&self.key(none))[[s]] == (none == "out_none");
        assert_eq!(whole, !recorded_none, "{at}: none");
        assert_eq!(frame, expected, "{at}: out");
        *(if whole { &mut self.checked.frames } else { &mut self.checked.none }) += 1;
    }

    /// Resets and pauses that the caller made before a step.
    fn prepare(&mut self, s: usize) {
        if self.has("exec_mask") {
            self.line.set_active(&self.flags("exec_mask", s)).unwrap();
        }
        if self.has("reset_before") {
            let reset = self.flags("reset_before", s);
            let rows: Vec<_> = (0..reset.len()).filter(|&row| reset[row]).collect();
            rows.into_iter().for_each(|row| self.line.reset(row).unwrap());
        }
    }

    fn check_offsets(&self, s: usize) {
        let offsets: Vec<_> = self.line.offsets().iter().map(|&offset| offset as i64).collect();
        assert_eq!(offsets, self.at("offsets", s), "{}, step {s}: offsets", self.name());
    }

    /// What the depth model read, except in steps where the caller replaced its work and it read nothing.
    fn check_depth(&mut self, s: usize) {
        let expected = self.at("dep_input", s);
        if expected.is_empty() || expected.iter().all(|&token| token == NOTHING) {
            return;
        }
        let mut depth = vec![0; expected.len()];
        let (text, sampled) = (self.at("text", s), self.at("audio_sampled", s));
        self.line.depth_input(Steps(&text), Steps(&sampled), Steps(&mut depth)).unwrap();
        assert_eq!(depth, expected, "{}, step {s}: dep_input", self.name());
        self.checked.depth += 1;
    }
}

fn recorded() -> Recorded {
    let cases = "beecc80e91ca08263ef2c90c4439889ce23c570eb8b104b6133e1fbf54b454d5";
    Recorded::read("moshi/stream", [cases, "6ff3701a4ee4358fcda0984f2de5002873fac653bcc7b45c7b57d9bb80f0c271"])
}

#[test]
fn moshi_stream() {
    let recorded = recorded();
    let tensors = recorded.tensors();
    let (mut runs, mut checked) = (0, Checked::default());
    for case in recorded.all() {
        let mut run = Run::new(&tensors, case, number(&case["params"]["B"]));
        assert_eq!(run.line.user_streams(), number(&case["params"]["user_streams_needed"]), "{}", run.name());
        for s in 0..run.steps {
            run.prepare(s);
            run.step(s, ["input", "out_none"]);
            run.check_offsets(s);
            run.check_depth(s);
        }
        runs += 1;
        checked.input += run.checked.input;
        checked.frames += run.checked.frames;
        checked.none += run.checked.none;
        checked.depth += run.checked.depth;
    }
    assert_eq!(runs, 13);
    // One run has no audio of its own, and in 4 steps of another the caller replaced all of it: no depth input there.
    assert_eq!(checked, Checked { input: 294, frames: 273, none: 21, depth: 270 });
}

/// What the peer refuses, and that it drops extra streams of the user's from the end.
#[test]
fn moshi_stream_errors() {
    let recorded = recorded();
    let case = recorded.all().iter().find(|case| case["name"] == "case07").unwrap();
    let layout = layout(&case["params"]);
    let line = || KyutaiLine::<i64>::new(&layout, 1, options(&case["params"])).unwrap();
    let mut input = [0; 5];
    let too_few = line().input(Frames(&[1]), Steps(&mut input)).unwrap_err();
    assert!(matches!(too_few.kind(), ErrorKind::StreamCount { found: 1, expected: 2 }), "{too_few}");
    assert!(line().input(Frames(&[1, 2, 3, 4]), Steps(&mut input)).is_ok());
    assert!(line().input(Frames(&[-2, 1]), Steps(&mut input)).is_err());
    assert!(line().input(Frames(&[1, 33]), Steps(&mut input)).is_err());
    assert!(line().output(Steps(&[0]), Steps(&[0, 0]), Frames(&mut [0; 3])).is_err());
}

#[test]
fn hf_moshi_lm_gen() {
    let recorded = common::published();
    let tensors = recorded.tensors();
    let (mut runs, mut checked) = (0, Checked::default());
    for case in recorded.of("moshi_lm_gen") {
        let batch = number(&case["tensors"]["text"]["shape"][1]);
        let mut run = Run::new(&tensors, case, batch);
        (0..run.steps).for_each(|s| run.step(s, ["fed", "has_out"]));
        runs += 1;
        checked.input += run.checked.input;
        checked.frames += run.checked.frames;
        checked.none += run.checked.none;
    }
    assert_eq!(runs, 2);
    assert_eq!(checked, Checked { input: 19, frames: 16, none: 3, depth: 0 });
}
