//! A stereo clip as MusicGen reads it: left and right take turns, each codebook a step later than the one before.

use ndarray::Array3;
use roundelay::report::Picture;
use roundelay::{Delay, Extent, Frames, Layout, Policy, Result, Sequencer, Start};

/// Lays the clip out, takes it back, and draws it.
pub fn drawn() -> Result<String> {
    let layout = Layout::preset("musicgen-stereo")?;
    // As EnCodec gives it, `[channel, codebook, frame]`.
    let heard = Array3::from_shape_fn((2, 4, 6), |(channel, level, t)| (1000 * channel + 100 * level + t) as i64);
    let rows = heard.permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let codes = Frames(rows.into_shape_with_order((8, 6)).expect("as many codes as before"));

    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let built = delay.build(&codes)?;
    assert_eq!(delay.undo(&built.tokens, -1)?.codes, codes);

    let picture = Picture::new(&layout, &delay, &Policy::named("moshi")?, &Frames(codes.0.view()))?;
    Ok(picture.to_string())
}

fn main() -> Result<()> {
    print!("{}", drawn()?);
    Ok(())
}
