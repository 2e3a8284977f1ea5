//! A clip as Orpheus writes it: SNAC's three levels run at 1 : 2 : 4, and its codes become one row of ids in the order
//! of time, between a start and an end of speech.

use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate, s};
use roundelay::delay::{Pattern, Plan, join_phases, split_phases};
use roundelay::report::Picture;
use roundelay::{Extent, Frames, Layout, Policy, Result, Sequencer, Start, Steps};

const START_OF_SPEECH: i64 = 128_257;
const END_OF_SPEECH: i64 = 128_258;
const FIRST_CODE: i64 = 128_266;
/// A slot of the frame has ids of its own.
const CODES: i64 = 4096;
const SLOTS: usize = 7;

/// Writes the clip, reads it back, and draws it.
pub fn drawn() -> Result<String> {
    let layout = Layout::preset("orpheus")?;
    // As SNAC gives them: 2, 4 and 8 codes for two frames.
    let levels = [1, 2, 4].map(|rate| Array1::from_iter((0..2 * rate).map(|n| (1000 * rate + n) as i64)));
    let phases = levels.iter().zip([1, 2, 4]).map(|(level, rate)| split_phases(level.view(), rate));
    let phases = phases.collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = phases.iter().map(|level| level.view()).collect();
    let codes = Frames(concatenate(Axis(0), &views).expect("phases of as many frames"));

    let plan = "multi-rate".parse::<Pattern>()?.plan(&layout, codes.0.ncols(), Extent::Extend, Start::None)?;
    let picture = Picture::new(&layout, &plan, &Policy::named("moshi")?, &Frames(codes.0.view()))?;
    let row = written(&plan, &plan.build(&codes)?.tokens);
    assert_eq!(plan.undo(&read(&plan, row.view()), -1)?.codes, codes);
    let fine = codes.0.slice(s![3.., ..]);
    assert_eq!(join_phases(fine), levels[2]);
    Ok(format!("{picture}\n{row}\n"))
}

/// The model's row: of each step the one code that it holds.
fn written(plan: &Plan, tokens: &Steps<Array2<i64>>) -> Array1<i64> {
    let id = |(s, k): (usize, usize)| tokens.0[(k, s)] + FIRST_CODE + CODES * (s % SLOTS) as i64;
    let ids = places(plan).map(id);
    [START_OF_SPEECH].into_iter().chain(ids).chain([END_OF_SPEECH]).collect()
}

/// The steps that a row was written from.
fn read(plan: &Plan, row: ArrayView1<i64>) -> Steps<Array2<i64>> {
    let mut tokens = Array2::from_elem((SLOTS, plan.order().steps()), -1);
    for (s, k) in places(plan) {
        tokens[(k, s)] = row[s + 1] - FIRST_CODE - CODES * (s % SLOTS) as i64;
    }
    Steps(tokens)
}

/// Each step with its stream.
fn places(plan: &Plan) -> impl Iterator<Item = (usize, usize)> {
    (0..plan.order().steps()).flat_map(|s| plan.order().codes(s).map(move |(_, k)| (s, k)))
}

fn main() -> Result<()> {
    print!("{}", drawn()?);
    Ok(())
}
