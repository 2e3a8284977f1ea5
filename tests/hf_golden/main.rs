//! Delay patterns of published models against what their own code gave (`fixtures/README.md`).
//!
//! The peers' plumbing is done here: axes turned, rows of a batch padded and joined. What is a rule of the field is
//! the library's: the shift, fills, brackets, templates, ends, cuts.

#[path = "../common/mod.rs"]
mod common;

mod bark;
mod dia;
mod dia_ends;
mod higgs;
mod moshi;
mod musicgen;
mod parler;

use common::Tensors;
use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3};
use roundelay::delay::{Template, content};
use roundelay::token::UNGENERATED;
use roundelay::{Frames, Layout, Sequencer, Steps};
use serde_json::Value;

/// One operation, in how many cases it was recorded, and what each must hold to.
type Op = (&'static str, usize, fn(&Case));

/// Run step by step in `stream_golden.rs`.
const ELSEWHERE: [(&str, usize); 1] = [("moshi_lm_gen", 2)];

const FAMILIES: [&[Op]; 7] = [musicgen::OPS, parler::OPS, dia::OPS, dia_ends::OPS, higgs::OPS, moshi::OPS, bark::OPS];

/// Runs every case of a family's operations, of which there must be as many as are stated.
fn run(ops: &[Op]) {
    let recorded = common::published();
    let tensors = recorded.tensors();
    for (op, cases, check) in ops {
        let run = recorded.of(op).map(|value| check(&Case { value, tensors: &tensors })).count();
        assert_eq!(run, *cases, "{op}");
    }
}

#[test]
fn musicgen() {
    run(musicgen::OPS);
}

#[test]
fn parler() {
    run(parler::OPS);
}

#[test]
fn dia() {
    run(dia::OPS);
    run(dia_ends::OPS);
}

#[test]
fn higgs() {
    run(higgs::OPS);
}

#[test]
fn moshi() {
    run(moshi::OPS);
}

#[test]
fn bark() {
    run(bark::OPS);
}

#[test]
fn no_recorded_case_is_left_out() {
    let recorded = common::published();
    let here = FAMILIES.into_iter().flatten().map(|(op, cases, _)| (*op, *cases));
    let mut total = 0;
    for (op, cases) in here.chain(ELSEWHERE) {
        assert_eq!(recorded.of(op).count(), cases, "{op}");
        total += cases;
    }
    assert_eq!(total, 157);
    assert_eq!(recorded.all().len(), total);
}

/// One case: parameters and tensors.
struct Case<'a> {
    value: &'a Value,
    tensors: &'a Tensors<'a>,
}

impl Case<'_> {
    fn name(&self) -> &str {
        self.value["name"].as_str().unwrap()
    }

    fn param(&self, name: &str) -> &Value {
        &self.value["params"][name]
    }

    fn expect(&self, name: &str) -> &Value {
        &self.value["expect"][name]
    }

    fn has(&self, tensor: &str) -> bool {
        self.value["tensors"].get(tensor).is_some()
    }

    fn key(&self, tensor: &str) -> String {
        format!("{}/{tensor}", self.name())
    }

    fn number(&self, param: &str) -> usize {
        number(self.param(param))
    }

    fn id(&self, param: &str) -> i64 {
        self.param(param).as_i64().unwrap()
    }

    fn ids(&self, tensor: &str) -> ArrayD<i64> {
        self.tensors.i64(&self.key(tensor))
    }

    fn flags(&self, tensor: &str) -> ArrayD<bool> {
        self.tensors.bool(&self.key(tensor))
    }

    fn floats(&self, tensor: &str) -> ArrayD<f32> {
        self.tensors.f32(&self.key(tensor))
    }

    /// Recorded as `[stream, time]`.
    fn row(&self, tensor: &str) -> Array2<i64> {
        self.ids(tensor).into_dimensionality::<Ix2>().unwrap()
    }

    /// Recorded as `[batch, stream, time]`.
    fn grid(&self, tensor: &str) -> Array3<i64> {
        self.ids(tensor).into_dimensionality::<Ix3>().unwrap()
    }

    /// Recorded as `[batch, time, stream]`.
    fn turned(&self, tensor: &str) -> Array3<i64> {
        turn(self.grid(tensor))
    }

    /// Recorded as `[batch * stream, time]`.
    fn unfolded(&self, tensor: &str, streams: usize) -> Array3<i64> {
        let ids = self.ids(tensor);
        let (rows, time) = (ids.len_of(Axis(0)), ids.len_of(Axis(1)));
        ids.into_shape_with_order((rows / streams, streams, time)).unwrap()
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// `[batch, time, stream]` to `[batch, stream, time]`, or back.
fn turn<A: Clone>(grid: Array3<A>) -> Array3<A> {
    grid.permuted_axes([0, 2, 1]).as_standard_layout().into_owned()
}

/// A stream's ids in a family.
#[derive(Default)]
struct Ids {
    initial: i64,
    pad: i64,
    bos: Option<i64>,
    eos: Option<i64>,
}

/// The preset with other delays and ids, as recordings also have fewer streams, or small ids; else the preset.
fn layout(preset: &str, delays: &[usize], ids: &Ids) -> Layout {
    let layout = Layout::preset(preset).unwrap();
    let id = |id: i64| u32::try_from(id).unwrap();
    let streams = delays.iter().enumerate().map(|(k, &delay)| roundelay::Stream {
        name: format!("s{k}"),
        speaker: format!("speaker of {k}"),
        delay,
        initial: id(ids.initial),
        pad: id(ids.pad),
        bos: ids.bos.map(id),
        eos: ids.eos.map(id),
        ..layout.streams()[0].clone()
    });
    let made = Layout::new(preset, layout.frame_rate(), streams.collect()).unwrap();
    if facts(&made) == facts(&layout) { layout } else { made }
}

type Facts = (usize, u32, u32, Option<u32>, Option<u32>);

fn facts(layout: &Layout) -> Vec<Facts> {
    layout.streams().iter().map(|s| (s.delay, s.initial, s.pad, s.bos, s.eos)).collect()
}

/// At the published size the preset itself runs, so that its own numbers are compared.
#[test]
fn the_recorded_numbers_are_those_of_the_presets() {
    let recorded = common::published();
    let tensors = recorded.tensors();
    let ops = [
        ("musicgen_build", musicgen::layout_of as fn(&Case) -> Layout, ["musicgen", "musicgen-stereo"].as_slice()),
        ("parler_build", parler::layout_of, &["parler-tts"]),
        ("dia_hf_processor", dia::layout_of, &["dia"]),
        ("higgs_collate", higgs::layout_of, &["higgs-v2"]),
    ];
    for (op, layout_of, presets) in ops {
        let layouts: Vec<_> = recorded.of(op).map(|value| layout_of(&Case { value, tensors: &tensors })).collect();
        for preset in presets {
            assert!(layouts.contains(&Layout::preset(preset).unwrap()), "{op} at no size of {preset}");
        }
    }
}

/// A template as the peers write it, with `open` where a token is to be generated.
fn with_open(template: &Array3<i64>, open: i64) -> Array3<i64> {
    template.mapv(|id| if id == UNGENERATED { open } else { id })
}

/// A peer's template, whose open cells hold `open`.
fn template_of(cells: Array3<i64>, open: i64) -> Template<Ix3> {
    Template::of(Steps(cells.mapv(|id| if id == open { UNGENERATED } else { id }))).unwrap()
}

/// The codes between begin and end of one row of generated tokens, without the first `skip` frames.
fn codes_within(sequencer: &impl Sequencer, tokens: Array2<i64>, skip: usize) -> Frames<Array2<i64>> {
    let tokens = Steps(tokens);
    let frames = content(sequencer, &tokens).unwrap();
    let codes = sequencer.undo(&tokens, -1).unwrap().codes.0;
    Frames(codes.slice_move(ndarray::s![.., frames.start.max(skip)..frames.end]))
}
