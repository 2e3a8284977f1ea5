//! A clip as Higgs Audio v2 is trained on it: begin and end around each stream, then a staircase of delays.

use ndarray::{Array2, s};
use roundelay::delay::Bracket;
use roundelay::report::Picture;
use roundelay::{Delay, Extent, Frames, Layout, Policy, Result, Sequencer, Start};

/// Lays the clip out, takes it back, and draws it.
pub fn drawn() -> Result<String> {
    let layout = Layout::preset("higgs-v2")?;
    let codes = Frames(Array2::from_shape_fn((8, 4), |(k, t)| (100 * k + t) as i64));

    let delay = Delay::new(&layout, Extent::Extend, Start::None).bracketed(&layout, Bracket::BOTH)?;
    let built = delay.build(&codes)?;
    assert_eq!(delay.undo(&built.tokens, -1)?.codes, codes);

    // The begin column is what the model reads first: no other is needed in front.
    let steps = built.tokens.0.ncols();
    let (input, target) = (built.tokens.0.slice(s![.., ..steps - 1]), built.tokens.0.slice(s![.., 1..]));
    assert_eq!((input[(0, 0)], target[(0, 0)]), (1024, 0));

    let picture = Picture::new(&layout, &delay, &Policy::named("moshi")?, &Frames(codes.0.view()))?;
    Ok(picture.to_string())
}

fn main() -> Result<()> {
    print!("{}", drawn()?);
    Ok(())
}
