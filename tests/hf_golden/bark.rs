//! Bark: two codebooks in one vocabulary, frame after frame.

use ndarray::{Array1, Axis};
use roundelay::Start;
use roundelay::delay::Pattern;

use super::{Case, Op, number};

pub const OPS: &[Op] = &[("bark_coarse_history", 1, coarse_history)];

fn coarse_history(case: &Case) {
    let (semantic, coarse) = (case.ids("semantic_prompt"), case.row("coarse_prompt"));
    let (streams, frames) = coarse.dim();
    let offset = |k: usize| case.id("semantic_vocab_size") + k as i64 * case.id("codebook_size");
    let flatten: Pattern = "flatten".parse().unwrap();
    let steps = flatten.order(streams, frames, Start::None).unwrap().to_vec();
    let flat: Array1<i64> = steps.iter().flatten().map(|&(t, k)| coarse[(k, t)] + offset(k)).collect();

    let ratio = number_of(case, "semantic_to_coarse_ratio");
    let most = (case.number("max_coarse_history") as f64 / ratio) as usize;
    let kept = most.min(semantic.len() / 2 * 2).min((flat.len() as f64 / ratio) as usize);
    let tail = (kept as f64 * ratio).round() as usize;
    let flat = flat.slice(ndarray::s![flat.len() - tail..flat.len() - 2]);
    let semantic = semantic.slice(ndarray::s![semantic.len() - kept..]);
    for row in 0..number(case.param("batch")) {
        assert_eq!(flat.into_dyn(), case.ids("x_coarse").index_axis(Axis(0), row), "{}", case.name());
        assert_eq!(semantic.into_dyn(), case.ids("x_semantic").index_axis(Axis(0), row), "{}", case.name());
    }
}

fn number_of(case: &Case, param: &str) -> f64 {
    case.param(param).as_f64().unwrap()
}
