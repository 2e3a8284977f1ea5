//! Parler: MusicGen's template with two fills, and labels with ends.

use ndarray::{Array2, Array3, Axis, s};
use roundelay::delay::{Bracket, EndRule, Ending, Template, compact};
use roundelay::token::UNGENERATED;
use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start, Steps};

use super::musicgen::{apply, check_template, is_short};
use super::{Case, Ids, Op, layout, numbers, turn};

pub const OPS: &[Op] = &[
    ("parler_build", 5, build),
    ("parler_apply", 10, apply),
    ("parler_revert", 10, revert),
    ("parler_labels", 3, labels),
    ("parler_eos_rule", 1, eos_rule),
];

pub fn layout_of(case: &Case) -> Layout {
    let delays: Vec<_> = (0..case.number("num_codebooks")).collect();
    let (bos, pad) = (case.id("bos_token_id"), case.id("pad_token_id"));
    layout("parler-tts", &delays, &Ids { initial: bos, pad, bos: Some(bos), eos: Some(pad) })
}

fn delay(case: &Case) -> Delay {
    Delay::new(&layout_of(case), Extent::Extend, Start::Initial)
}

fn build(case: &Case) {
    check_template(case, &delay(case));
}

/// The peer keeps what its mask, made anew for the actual length, leaves open.
fn revert(case: &Case) {
    let (delay, streams) = (delay(case), case.number("num_codebooks"));
    let applied = Steps(case.unfolded("applied", streams));
    let (batch, _, steps) = applied.0.dim();
    let empty = Frames(Array3::<i64>::zeros((batch, streams, 0)));
    let template = Template::open_if_short(&delay, &empty, steps).unwrap();
    let keep = Steps(template.tokens().0.mapv(|id| id == UNGENERATED));
    assert_eq!(
        keep.0.clone().into_dyn(),
        case.flags("keep").into_shape_with_order((batch, streams, steps)).unwrap().into_dyn()
    );

    assert_eq!(compact(&applied, &keep).unwrap().0, case.grid("codes"), "{}: by mask", case.name());
    if !is_short(&applied, &delay) {
        assert_eq!(delay.undo(&applied, -1).unwrap().codes.0, case.grid("codes"), "{}: by position", case.name());
    }
}

/// One sample's labels by the peer's rule: what is open behind the codes becomes an end, and the first column goes.
fn labels_of_peer(delay: &Delay, codes: &Frames<Array2<i64>>, eos: i64) -> Array2<i64> {
    let (streams, time) = codes.0.dim();
    let template = Template::open_if_short(delay, codes, time + 1 + streams).unwrap();
    template.tokens().0.mapv(|id| if id == UNGENERATED { eos } else { id }).slice_move(s![.., 1..])
}

fn labels(case: &Case) {
    let (bos, eos) = (case.id("bos_token_id"), case.id("eos_token_id"));
    let (layout, lengths) = (layout_of(case), numbers(case.param("lengths")));
    let peer = delay(case);
    let ours = delay(case).bracketed(&layout, Bracket { bos: false, eos: true }).unwrap();
    let batch = turn(case.grid("labels"));
    let mut seen = Array3::from_elem(batch.dim(), -100);
    for (i, time) in lengths.iter().enumerate() {
        let codes = Frames(case.row(&format!("codes{i}")));
        let labels = labels_of_peer(&peer, &codes, eos);
        assert_eq!(labels, case.row(&format!("labels{i}")), "{}: labels of {i}", case.name());
        seen.slice_mut(s![i, .., ..labels.ncols()]).assign(&labels);
        // Clips of fewer than K - 2 frames are all ends there.
        if time + 2 >= layout.streams().len() {
            let built = ours.build(&codes).unwrap().tokens.0;
            assert_eq!(built.slice(s![.., 1..]), labels, "{}: our tokens of {i}", case.name());
            check_loss(case, i, &ours.labels(&codes, -100).unwrap().0.slice_move(s![.., 1..]));
        } else {
            assert!(labels.iter().all(|&id| id == eos), "{}", case.name());
        }
    }
    assert_eq!(seen, batch, "{}: batch", case.name());
    check_batch(case, &batch, [bos, eos]);
}

/// Where the peer's loss looks at one sample, our labels hold the same; elsewhere they hold nothing.
fn check_loss(case: &Case, i: usize, ours: &Array2<i64>) {
    let looks = turn(case.flags("loss_mask").into_dimensionality().unwrap());
    let batch = turn(case.grid("loss_labels"));
    let (looks, theirs) = (looks.index_axis(Axis(0), i), batch.index_axis(Axis(0), i));
    for ((at, &looks), &theirs) in looks.indexed_iter().zip(theirs) {
        let ours = ours.get(at).copied().unwrap_or(-100);
        assert_eq!(ours, if looks { theirs } else { -100 }, "{}: loss of {i} at {at:?}", case.name());
    }
    assert!(ours.rows().into_iter().all(|row| row.iter().filter(|&&id| id == case.id("eos_token_id")).count() == 1));
}

/// The peer's inputs and loss by ids: a start column in front; no loss on begins or behind an end.
fn check_batch(case: &Case, labels: &Array3<i64>, [bos, eos]: [i64; 2]) {
    let filled = labels.mapv(|id| if id == -100 { eos } else { id });
    let start = Array3::from_elem((labels.dim().0, labels.dim().1, 1), case.id("decoder_start_token_id"));
    let input = ndarray::concatenate![Axis(2), start, filled.slice(s![.., .., ..-1])];
    assert_eq!(input, turn(case.grid("decoder_input_ids")), "{}: inputs", case.name());
    let loss = labels.mapv(|id| if id == bos { -100 } else { id });
    assert_eq!(loss, turn(case.grid("loss_labels")), "{}: loss labels", case.name());
    let looks = ndarray::Zip::from(&loss).and(&input).map_collect(|&label, &input| label != -100 && input != eos);
    assert_eq!(looks, turn(case.flags("loss_mask").into_dimensionality().unwrap()), "{}: loss mask", case.name());
}

fn eos_rule(case: &Case) {
    let eos = case.id("eos_token_id");
    let ids = Ids { initial: eos + 1, pad: eos, bos: Some(eos + 1), eos: Some(eos) };
    let layout = layout("parler-tts", &[0, 1, 2, 3], &ids);
    let (tokens, allowed) = (case.grid("tokens"), case.flags("allowed"));
    let first = case.ids("first_unfinished");
    let mut ends = 0;
    for row in 0..case.number("batch") {
        let mut ending = Ending::new(&layout, EndRule::InTurn).unwrap();
        for step in 0..case.number("steps") {
            let may: Vec<_> = (0..4).map(|k| ending.may_end(k)).collect();
            let expected: Vec<_> = (0..4).map(|k| allowed[[step, row, k]]).collect();
            assert_eq!(may, expected, "row {row}, step {step}");
            assert_eq!(may.iter().filter(|may| **may).count() as i64 - 1, first[[step, row]]);
            let mut next = tokens.slice(s![step, row, ..]).to_vec();
            ending.apply(Steps(&mut next)).unwrap();
            assert_eq!(next, tokens.slice(s![step, row, ..]).to_vec(), "nothing is forced");
        }
        ends += (0..4).filter(|&k| ending.end_of(k).is_some()).count();
    }
    assert_eq!(ends, 8);
}
