//! Moshi: kyutai's own code and transformers.

use ndarray::{Array3, Axis, Ix3, s};
use roundelay::delay::{Fills, Template, compact};
use roundelay::token::UNGENERATED;
use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start, Steps};

use super::{Case, Ids, Op, layout, numbers, template_of, with_open};

pub const OPS: &[Op] = &[
    ("moshi_delay", 4, delay),
    ("moshi_undelay", 8, undelay),
    ("moshi_tts_delayed", 4, tts_delayed),
    ("moshi_lm_forward", 2, lm_forward),
    ("moshi_hf_build", 3, hf_build),
    ("moshi_hf_undo", 3, hf_undo),
];

fn truncating(case: &Case) -> Delay {
    let layout = layout("musicgen", &numbers(case.param("delays")), &Ids::default());
    Delay::new(&layout, Extent::Truncate, Start::None)
}

/// Fills are recorded for every stream of every example.
fn delay(case: &Case) {
    let (codes, fills, delayed) = (case.grid("codes"), case.grid("padding"), case.grid("delayed"));
    for (row, codes) in codes.outer_iter().enumerate() {
        let shifted = truncating(case).shift(&Frames(codes), |k| Fills::all(fills[(row, k, 0)])).unwrap();
        assert_eq!(shifted.0, delayed.index_axis(Axis(0), row), "{}: row {row}", case.name());
    }
}

/// Of tokens, and of logits with NaN where there are none.
fn undelay(case: &Case) {
    let (delay, mask) = (truncating(case), case.flags("mask").into_dimensionality::<Ix3>().unwrap());
    if let Some(fill) = case.param("fill_value").as_i64() {
        let undone = delay.undo(&Steps(case.grid("delayed")), fill).unwrap();
        assert_eq!(undone.codes.0, case.grid("values"), "{}", case.name());
        assert_eq!(undone.mask.0, mask, "{}: mask", case.name());
        return;
    }
    assert_eq!(case.param("fill_value"), "nan");
    let undone = delay.unshift(&Steps(case.floats("delayed")), Axis(1), f32::NAN).unwrap();
    let bits = |values: &ndarray::ArrayD<f32>| values.mapv(|v| if v.is_nan() { None } else { Some(v) });
    assert_eq!(bits(&undone.0), bits(&case.floats("values")), "{}", case.name());
    let known = Array3::from_shape_fn(mask.dim(), |(b, k, t)| !undone.0[[b, k, t, 0]].is_nan());
    assert_eq!(known, mask, "{}: mask", case.name());
}

fn tts_delayed(case: &Case) {
    let layout = layout("musicgen", &numbers(case.param("delays")), &Ids::default());
    let delay = Delay::new(&layout, Extent::Extend, Start::None);
    let delayed = delay.shift(&Frames(case.row("codes")), |_| Fills::all(case.id("fill_value"))).unwrap();
    assert_eq!(delayed.0, case.row("delayed"), "{}", case.name());
}

/// The initial column and all but the last step go in; the steps behind the initial column are the target.
fn lm_forward(case: &Case) {
    let initial = |k: usize| case.id(if k == 0 { "text_card" } else { "card" });
    let layout = layout("musicgen", &numbers(case.param("delays")), &Ids::default());
    let delay = Delay::new(&layout, Extent::Truncate, Start::Initial);
    let codes = Frames(case.grid("codes"));
    let built = delay.shift(&codes, |k| Fills::all(initial(k))).unwrap().0;
    assert_eq!(built.slice(s![.., .., ..-1]), case.grid("main_input"), "{}: input", case.name());
    assert_eq!(built.slice(s![.., .., 1..]), case.grid("depformer_input"), "{}: depth", case.name());

    let undone = delay.undo(&Steps(built), -1).unwrap();
    assert!(
        undone.mask.0.iter().zip(&undone.codes.0).zip(&codes.0).all(|((&known, back), code)| !known || back == code)
    );
    let counts = ndarray::Zip::from(&undone.mask.0).and(&codes.0).map_collect(|&known, &code| known && code != -1);
    let audio = s![.., 1..=case.number("dep_q"), ..];
    assert_eq!(counts.slice(audio).into_dyn(), case.flags("mask"), "{}: mask", case.name());
    assert_eq!(counts.slice(s![.., ..1, ..]).into_dyn(), case.flags("text_mask"), "{}: text", case.name());
    let lost = undone.mask.0.mapv(|known| !known);
    assert_eq!(lost.slice(audio).into_dyn(), case.flags("logits_are_nan"), "{}: logits", case.name());
}

fn hf_layout(case: &Case, streams: usize) -> Layout {
    let delays: Vec<_> = (0..streams).map(|k| k.min(1)).collect();
    let (initial, pad) = (case.id("bos"), case.id("pad"));
    layout("musicgen", &delays, &Ids { initial, pad, ..Ids::default() })
}

fn hf_build(case: &Case) {
    let codes = case.grid("codes");
    let delay = Delay::new(&hf_layout(case, codes.len_of(Axis(1))), Extent::Extend, Start::None);
    let template = Template::new(&delay, &Frames(codes.view()), case.number("max_length")).unwrap();
    assert_eq!(with_open(&template.tokens().0, -1), case.grid("mask"), "{}", case.name());
    let output = template.apply(&Steps(codes)).unwrap();
    assert_eq!(output.0, case.grid("output_ids"), "{}", case.name());
}

/// The peer drops what its mask holds the special id for; that is by position too.
fn hf_undo(case: &Case) {
    let template = template_of(case.grid("mask"), -1);
    let applied = template.apply(&Steps(case.grid("raw"))).unwrap();
    assert_eq!(applied.0, case.grid("applied"), "{}", case.name());
    let keep = template.tokens().0.mapv(|id| id == UNGENERATED || id != case.id("bos"));
    assert_eq!(compact(&applied, &Steps(keep)).unwrap().0, case.grid("codes"), "{}: by mask", case.name());
    let delay = Delay::new(&hf_layout(case, applied.0.len_of(Axis(1))), Extent::Extend, Start::None);
    assert_eq!(delay.undo(&applied, -1).unwrap().codes.0, case.grid("codes"), "{}: by position", case.name());
}
