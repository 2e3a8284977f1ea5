//! What a segment must be, beyond what its reader sees to.

use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::stream::Layout;
use crate::token::UNGENERATED;
use crate::units::Seconds;

/// Frames by which a length in seconds may be another: codecs pad and round at the end.
const TOLERANCE: u64 = 2;

/// Everything that is wrong with a segment.
pub(super) fn check(segment: &Segment, layout: &Layout) -> Vec<Error> {
    let checks = [generated(segment, layout), times(segment, layout), meta(segment), words(segment)];
    let regions = segment.regions.iter().map(|region| region.validate());
    checks.into_iter().chain(regions).filter_map(Result::err).collect()
}

/// Slots that a model is to fill are for sequences: codes are there, or absent.
fn generated(segment: &Segment, layout: &Layout) -> Result<()> {
    match segment.codes.0.indexed_iter().find(|(_, code)| i64::from(**code) == UNGENERATED) {
        None => Ok(()),
        Some(((k, t), code)) => Err(Error::invalid("code", code, "no slot for a model to fill")
            .in_stream(&layout.streams()[k].name)
            .at_frame(t)),
    }
}

fn times(segment: &Segment, layout: &Layout) -> Result<()> {
    if segment.start < Seconds::ZERO {
        return Err(Error::invalid("start_sec", segment.start, "0 or more"));
    }
    let (frames, rate) = (segment.codes.0.ncols(), layout.frame_rate());
    match rate.ceil(segment.duration).abs_diff(frames as i64) <= TOLERANCE {
        true => Ok(()),
        false => {
            let expected = format!("about {}, as {frames} frames take", rate.start_of(frames));
            Err(Error::invalid("duration_sec", segment.duration, expected))
        }
    }
}

fn meta(segment: &Segment) -> Result<()> {
    let object = serde_json::from_str::<serde_json::Map<_, _>>(&segment.meta);
    object.map(drop).map_err(|e| Error::malformed("meta", e))
}

fn words(segment: &Segment) -> Result<()> {
    let frames = segment.codes.0.ncols();
    match segment.words.iter().find(|word| word.frame.is_some_and(|frame| frame >= frames)) {
        None => Ok(()),
        Some(word) => {
            let what = format!("frame of the word {:?}", word.word.text);
            Err(Error::invalid(what, word.frame.unwrap_or_default(), format!("below {frames}")))
        }
    }
}
