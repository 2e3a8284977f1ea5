//! What codecs ask of samples and codes, whichever they are.

use ndarray::{ArrayView1, Axis};

use crate::error::{Error, Result};

/// The code of a frame that is not there.
pub(super) const ABSENT: i32 = -1;
/// Samples over which sound fades next to a silent frame: 2.5 ms at 24 kHz, enough not to click.
const FADE: usize = 60;

/// Checks that samples are finite; `frame` is the number of samples in one.
pub(super) fn check_samples(samples: &[f32], frame: usize) -> Result<()> {
    match samples.iter().position(|sample| !sample.is_finite()) {
        None => Ok(()),
        Some(place) => {
            let error = Error::invalid(format!("sample {place}"), samples[place], "a finite number");
            Err(error.at_frame(place / frame))
        }
    }
}

/// Levels of frame `frame` before the first that is absent, behind which there must be no other.
pub(super) fn known_levels(codes: ArrayView1<'_, i32>, cardinality: usize, frame: usize) -> Result<usize> {
    let known = codes.iter().position(|&code| code == ABSENT).unwrap_or(codes.len());
    let (kept, rest) = codes.split_at(Axis(0), known);
    let gap = rest.iter().any(|&code| code != ABSENT).then_some(known);
    let outside = kept.iter().position(|&code| usize::try_from(code).map_or(true, |code| code >= cardinality));
    match outside.or(gap) {
        None => Ok(known),
        Some(level) => {
            let expected = format!("0..{cardinality}, or {ABSENT} from some level on");
            Err(Error::invalid(format!("code of level {level}"), codes[level], expected).at_frame(frame))
        }
    }
}

/// Clears frame `frame` of so many samples, and fades its neighbours out before and in after it.
pub(super) fn silence(samples: &mut [f32], frame: usize, length: usize) {
    let (start, end) = (frame * length, (frame + 1) * length);
    samples[start..end].fill(0.0);
    for n in 0..FADE {
        let gain = (n as f32 + 0.5) / FADE as f32;
        if let Some(before) = (start > n).then(|| &mut samples[start - 1 - n]) {
            *before *= gain;
        }
        if let Some(after) = samples.get_mut(end + n) {
            *after *= gain;
        }
    }
}
