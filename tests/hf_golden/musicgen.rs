//! MusicGen and MusicGen-Melody, mono and stereo: transformers.

use ndarray::{Array3, s};
use roundelay::delay::{Template, compact};
use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start, Steps};

use super::{Case, Ids, Op, layout, template_of, turn, with_open};

pub const OPS: &[Op] = &[
    ("musicgen_build", 12, build),
    ("musicgen_apply", 22, apply),
    ("musicgen_revert", 12, revert),
    ("musicgen_generate", 2, generate),
    ("musicgen_shift_right", 1, shift_right),
];

pub fn layout_of(case: &Case) -> Layout {
    let channels = case.number("audio_channels");
    let delays: Vec<_> = (0..case.number("num_codebooks")).map(|k| k / channels).collect();
    let pad = case.id("pad_token_id");
    layout(["musicgen", "musicgen-stereo"][channels - 1], &delays, &Ids { initial: pad, pad, ..Ids::default() })
}

fn delay(case: &Case) -> Delay {
    Delay::new(&layout_of(case), Extent::Extend, Start::Initial)
}

fn build(case: &Case) {
    check_template(case, &delay(case));
}

/// A prompt's first column is the peers' begin, which the start column of the template stands for.
pub fn check_template(case: &Case, delay: &Delay) {
    let input = case.unfolded("input_ids", case.number("num_codebooks"));
    let prompt = Frames(input.slice(s![.., .., 1..]));
    let template = Template::open_if_short(delay, &prompt, case.number("max_length")).unwrap();
    let mask = case.unfolded("mask", case.number("num_codebooks"));
    assert_eq!(with_open(&template.tokens().0, -1), mask, "{}: mask", case.name());

    let output = template.apply(&Steps(input)).unwrap();
    assert_eq!(output.0, case.unfolded("output_ids", case.number("num_codebooks")), "{}: ids", case.name());
    // Where nothing or everything is open, the peers go by the prompt's columns.
    let first = template.first_open().filter(|&step| step > 0).unwrap_or(case.number("prompt_len"));
    assert_eq!(first, super::number(case.expect("first_start_id")), "{}: first step", case.name());
}

pub fn apply(case: &Case) {
    let unfolded = |tensor| case.unfolded(tensor, case.number("num_codebooks"));
    let applied = template_of(unfolded("mask"), -1).apply(&Steps(unfolded("raw"))).unwrap();
    assert_eq!(applied.0, unfolded("applied"), "{}", case.name());
}

fn revert(case: &Case) {
    let applied = Steps(case.unfolded("applied", case.number("num_codebooks")));
    check_undone(case, &delay(case), &applied, &case.grid("codes"));
}

/// By the peer's rule always; by position where the peer did delay.
fn check_undone(case: &Case, delay: &Delay, applied: &Steps<Array3<i64>>, codes: &Array3<i64>) {
    let pad = case.id("pad_token_id");
    let by_value = compact(applied, &Steps(applied.0.mapv(|id| id != pad))).unwrap();
    assert_eq!(&by_value.0, codes, "{}: by value", case.name());
    if !is_short(applied, delay) {
        assert_eq!(&delay.undo(applied, -1).unwrap().codes.0, codes, "{}: by position", case.name());
    }
}

/// Whether the peers leave a sequence undelayed: then their template has no fill in any cell.
pub fn is_short(tokens: &Steps<Array3<i64>>, delay: &Delay) -> bool {
    let (batch, streams, steps) = tokens.0.dim();
    let empty = Frames(Array3::<i64>::zeros((batch, streams, 0)));
    Template::open_if_short(delay, &empty, steps).unwrap().first_open() == Some(0)
}

fn generate(case: &Case) {
    check_mask(case, &delay(case));
    apply(case);
    let applied = Steps(case.unfolded("applied", case.number("num_codebooks")));
    check_undone(case, &delay(case), &applied, &case.grid("codes"));
}

fn check_mask(case: &Case, delay: &Delay) {
    let streams = case.number("num_codebooks");
    let prompt = case.unfolded("input_ids", streams);
    let prompt = Frames(prompt.slice(s![.., .., 1..]));
    let template = Template::new(delay, &prompt, case.number("max_length")).unwrap();
    assert_eq!(with_open(&template.tokens().0, -1), case.unfolded("mask", streams), "{}: mask", case.name());
}

/// Labels are delayed already; the model's input is one column of fills and all of them but the last.
fn shift_right(case: &Case) {
    let pad = case.id("pad_token_id");
    let labels = turn(case.grid("labels")).mapv(|id| if id == -100 { pad } else { id });
    let layout =
        layout("musicgen", &[0; 4], &Ids { initial: case.id("decoder_start_token_id"), pad, ..Ids::default() });
    let built = Delay::new(&layout, Extent::Truncate, Start::Initial).build(&Frames(labels)).unwrap();
    let input = built.tokens.0.slice_move(s![.., .., ..-1]);
    assert_eq!(input, case.grid("decoder_input_ids"), "{}", case.name());
}
