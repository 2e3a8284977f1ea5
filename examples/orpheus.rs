//! A clip as Orpheus writes it: SNAC's three levels run at 1 : 2 : 4, and its codes become one row of joint ids in the
//! order of time, between a start and an end of speech.

use ndarray::{Array1, Axis, concatenate, s};
use roundelay::delay::{join_phases, split_phases};
use roundelay::pipeline::Flatten;
use roundelay::report::Picture;
use roundelay::{Extent, Frames, Policy, Result, Start};

/// Writes the clip, reads it back, and draws it.
pub fn drawn() -> Result<String> {
    let orpheus = Flatten::preset("orpheus")?;
    // As SNAC gives them: 2, 4 and 8 codes for two frames.
    let levels = [1, 2, 4].map(|rate| Array1::from_iter((0..2 * rate).map(|n| (1000 * rate + n) as i64)));
    let phases = levels.iter().zip([1, 2, 4]).map(|(level, rate)| split_phases(level.view(), rate));
    let phases = phases.collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = phases.iter().map(|level| level.view()).collect();
    let codes = Frames(concatenate(Axis(0), &views).expect("phases of as many frames"));

    let row = orpheus.row(&codes, &[])?;
    let back = orpheus.codes(&row)?.codes;
    assert_eq!(back.0, codes.0.clone().into_dyn());
    let fine = codes.0.slice(s![3.., ..]);
    assert_eq!(join_phases(fine), levels[2]);

    let plan = orpheus.pattern().plan(orpheus.layout(), codes.0.ncols(), Extent::Extend, Start::None)?;
    let picture = Picture::new(orpheus.layout(), &plan, &Policy::named("moshi")?, &Frames(codes.0.view()))?;
    Ok(format!("{picture}\n{row}\n"))
}

fn main() -> Result<()> {
    print!("{}", drawn()?);
    Ok(())
}
