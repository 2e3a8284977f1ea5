//! Dia: the shift and its two ways back, prompts, training rows and cuts; nari-labs and transformers.

use ndarray::{Array2, Array3, Axis, s};
use roundelay::delay::{Bracket, Stray, Template, undo_repeating};
use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start, Steps};

use super::{Case, Ids, Op, codes_within, layout, numbers, template_of, turn, with_open};

pub const OPS: &[Op] = &[
    ("dia_delay", 4, delay),
    ("dia_revert", 8, revert),
    ("dia_hf_revert", 4, hf_revert),
    ("dia_prompt", 2, prompt),
    ("dia_hf_processor", 4, processor),
    ("dia_hf_decode", 3, decode),
    ("dia_hf_delay_mask", 2, delay_mask),
];

/// The recorded ids, and the published ones where a case has none.
pub fn layout_of(case: &Case) -> Layout {
    let id = |param, default| case.param(param).as_i64().unwrap_or(default);
    let (bos, eos) = (id("bos", 1026), id("eos", 1024));
    let delays = numbers(case.param("delays"));
    layout("dia", &delays, &Ids { initial: bos, pad: id("pad", 1025), bos: Some(bos), eos: Some(eos) })
}

/// The peers keep the length; who wants the tail adds frames before.
fn shift(case: &Case) -> Delay {
    Delay::new(&layout_of(case), Extent::Truncate, Start::None)
}

/// Each cell's own time.
fn times(like: &Array3<i64>) -> Array3<i64> {
    Array3::from_shape_fn(like.dim(), |(_, _, t)| t as i64)
}

/// What the peer gathers, as times: `[batch * time * stream, (batch, time, stream)]` as `[batch, stream, time]`.
fn gathered(case: &Case) -> Array3<i64> {
    let (batch, streams, time) = case.turned("t_idx").dim();
    let times = case.row("gather").column(1).to_owned();
    turn(times.into_shape_with_order((batch, time, streams)).unwrap())
}

fn delay(case: &Case) {
    let (codes, delay) = (case.turned("codes"), shift(case));
    let built = delay.build(&Frames(codes.view())).unwrap();
    assert_eq!(built.tokens.0, case.turned("delayed"), "{}", case.name());
    assert_eq!(built.mask.0, case.turned("t_idx").mapv(|t| t >= 0), "{}: mask", case.name());
    let from = delay.build(&Frames(times(&codes))).unwrap().tokens.0;
    for ((&known, &from), &theirs) in built.mask.0.iter().zip(&from).zip(&gathered(case)) {
        assert!(!known || from == theirs, "{}: {from}, {theirs}", case.name());
    }
}

/// nari-labs' way repeats the last step; ours gives the same codes where the sequence has them.
fn revert(case: &Case) {
    let (delayed, delay) = (Steps(case.turned("delayed")), shift(case));
    let (pad, limit) = (case.id("pad"), case.number("T"));
    let undone = undo_repeating(&delay, &delayed, limit, pad).unwrap();
    assert_eq!(undone.0, case.turned("reverted"), "{}", case.name());
    let from = undo_repeating(&delay, &Steps(times(&delayed.0)), usize::MAX, pad).unwrap();
    assert_eq!(from.0, case.turned("t_idx"), "{}: times", case.name());
    let ours = delay.undo(&delayed, pad).unwrap();
    for (((&known, &from), &ours), &theirs) in ours.mask.0.iter().zip(&from.0).zip(&ours.codes.0).zip(&undone.0) {
        assert!(!known || from as usize >= limit || ours == theirs, "{}", case.name());
    }
}

fn hf_revert(case: &Case) {
    let (delayed, delay) = (Steps(case.turned("delayed")), shift(case));
    let undone = delay.undo(&delayed, case.id("pad")).unwrap();
    assert_eq!(undone.codes.0, case.turned("reverted"), "{}", case.name());
    let (from, steps) = (case.turned("t_idx"), delayed.0.len_of(Axis(2)) as i64);
    assert_eq!(undone.mask.0, from.mapv(|t| t < steps), "{}: mask", case.name());
    let last = delay.undo(&Steps(times(&delayed.0)), steps - 1).unwrap().codes.0;
    assert_eq!(last, from.mapv(|t| t.min(steps - 1)), "{}: times", case.name());
    assert_eq!(last, gathered(case), "{}: gathered", case.name());
}

/// One template a row: what the prompt leaves open, over the longest prompt and the largest delay. That is one step
/// too few, so that the stream of the largest delay loses the last token of the longest prompt.
pub fn prompts(case: &Case, prompts: &[Option<Array2<i64>>]) -> Vec<Template<ndarray::Ix2>> {
    let layout = layout_of(case);
    let begin = Bracket { bos: true, eos: false };
    let delay = Delay::new(&layout, Extent::Truncate, Start::None).bracketed(&layout, begin).unwrap();
    let longest = prompts.iter().flatten().map(|prompt| prompt.ncols()).max().unwrap_or(0);
    let none = Array2::zeros((layout.streams().len(), 0));
    let prompts = prompts.iter().map(|prompt| Frames(prompt.as_ref().unwrap_or(&none).view()));
    prompts.map(|prompt| Template::new(&delay, &prompt, longest + layout.max_delay()).unwrap()).collect()
}

/// Recorded as `[time, stream]`, for those rows that have one.
pub fn recorded_prompts(case: &Case) -> Vec<Option<Array2<i64>>> {
    let rows = case.param("prompt_lengths").as_array().unwrap().len();
    let prompt =
        |row: usize| case.has(&format!("prompt{row}")).then(|| case.row(&format!("prompt{row}")).reversed_axes());
    (0..rows).map(prompt).collect()
}

fn prompt(case: &Case) {
    let templates = prompts(case, &recorded_prompts(case));
    let rows: Vec<_> = templates.iter().map(|template| template.tokens().0.view()).collect();
    let delayed = with_open(&ndarray::stack(Axis(0), &rows).unwrap(), -1);
    assert_eq!(delayed, case.turned("delayed"), "{}", case.name());
    let first: Vec<_> = templates.iter().map(|template| template.first_open().unwrap()).collect();
    assert_eq!(first, numbers(case.expect("prefill_steps")), "{}", case.name());
}

/// One row of the processor's: begin, codes, an end in training, and all of the shift.
struct Row {
    tokens: Array2<i64>,
    labels: Array2<i64>,
}

fn row(case: &Case, i: usize) -> Row {
    let layout = layout_of(case);
    let bracket = Bracket { bos: true, eos: !case.param("generation").as_bool().unwrap() };
    let delay = Delay::new(&layout, Extent::Extend, Start::None).bracketed(&layout, bracket).unwrap();
    let codes = match case.param("lengths").is_null() {
        true => Frames(Array2::zeros((layout.streams().len(), 0))),
        false => Frames(case.row(&format!("codes{i}"))),
    };
    Row { tokens: delay.build(&codes).unwrap().tokens.0, labels: delay.labels(&codes, -100).unwrap().0 }
}

/// Shorter rows are filled at their left.
fn fill_left(row: &Array2<i64>, steps: usize, fill: i64) -> Array2<i64> {
    let left = Array2::from_elem((row.nrows(), steps - row.ncols()), fill);
    ndarray::concatenate![Axis(1), left, *row]
}

fn processor(case: &Case) {
    let rows: Vec<_> = (0..case.number("batch")).map(|i| row(case, i)).collect();
    let longest = rows.iter().map(|row| row.tokens.ncols()).max().unwrap();
    let with_labels = case.param("output_labels").as_bool().unwrap();
    // For training, the input goes without its last step and the labels without their first.
    let shown = longest - usize::from(with_labels);
    let (input, shows) = (case.turned("decoder_input_ids"), case.row("decoder_attention_mask"));
    for (i, row) in rows.iter().enumerate() {
        let filled = fill_left(&row.tokens, longest, case.id("bos"));
        assert_eq!(filled.slice(s![.., ..shown]), input.index_axis(Axis(0), i), "{}: row {i}", case.name());
        let hidden = longest - row.tokens.ncols();
        let expected: Vec<_> = (0..shown).map(|step| i64::from(step >= hidden)).collect();
        assert_eq!(shows.row(i).to_vec(), expected, "{}: row {i}", case.name());
    }
    if with_labels {
        let labels = case.unfolded("labels", rows[0].labels.nrows());
        for (i, row) in rows.iter().enumerate() {
            let filled = fill_left(&row.labels, longest, -100);
            assert_eq!(filled.slice(s![.., 1..]), labels.index_axis(Axis(0), i), "{}: labels of {i}", case.name());
        }
    } else if let Some(prompt) = case.expect("audio_prompt_len").as_u64() {
        assert_eq!(longest - layout_of(case).max_delay(), prompt as usize, "{}", case.name());
    }
}

fn decode(case: &Case) {
    let (layout, tokens) = (layout_of(case), case.turned("decoder_input_ids"));
    let skip = case.param("audio_prompt_len").as_u64().unwrap_or(0) as usize;
    for (i, row) in tokens.outer_iter().enumerate() {
        for extent in [Extent::Truncate, Extent::Extend] {
            let codes = codes_within(&Delay::new(&layout, extent, Start::None), row.to_owned(), skip);
            let codes = Stray::Refuse.settle(&layout, codes).unwrap();
            assert_eq!(codes.0, case.row(&format!("codes{i}")), "{}: row {i}, {extent:?}", case.name());
        }
    }
}

fn delay_mask(case: &Case) {
    let template = template_of(case.turned("delay_mask"), case.id("pad"));
    let output = template.apply(&Steps(case.turned("input_ids"))).unwrap();
    assert_eq!(output.0, case.turned("output_ids"), "{}", case.name());
}
