//! A clip as Dia is trained on it: begin and end around each stream, then delays of up to 15 frames.

use ndarray::Array2;
use roundelay::delay::Bracket;
use roundelay::report::Picture;
use roundelay::{Delay, Extent, Frames, Layout, Policy, Result, Sequencer, Start};

/// Lays the clip out, takes it back, and draws it.
pub fn drawn() -> Result<String> {
    let layout = Layout::preset("dia")?;
    let codes = Frames(Array2::from_shape_fn((9, 5), |(k, t)| (100 * k + t) as i64));

    let delay = Delay::new(&layout, Extent::Extend, Start::None).bracketed(&layout, Bracket::BOTH)?;
    let built = delay.build(&codes)?;
    assert_eq!(delay.undo(&built.tokens, -1)?.codes, codes);

    // The loss sees the codes and one end of each stream, and no fill.
    let labels = delay.labels(&codes, -100)?.0;
    let end = layout.streams()[0].eos.map(i64::from);
    for row in labels.rows() {
        assert_eq!(row.iter().filter(|&&id| id != -100).count(), 5 + 1);
        assert_eq!(row.iter().filter(|&&id| Some(id) == end).count(), 1);
    }
    let picture = Picture::new(&layout, &delay, &Policy::named("moshi")?, &Frames(codes.0.view()))?;
    Ok(picture.to_string())
}

fn main() -> Result<()> {
    print!("{}", drawn()?);
    Ok(())
}
