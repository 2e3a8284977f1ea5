//! Levels at several rates: a fast level's row of codes, and its phase streams at the coarse rate.
//!
//! ```text
//! level's row, n = 2          c0 c1 c2 c3 c4 c5         phase 0    c0 c2 c4
//!                                                 <->   phase 1    c1 c3 c5
//! coarse frames               |--0--|--1--|--2--|                   0  1  2
//! ```

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::stream::{Layout, Stream};

/// Splits the codes of a level that runs at `n` times the coarse rate into its phase streams.
///
/// # Shapes
/// `row` has n x T codes; returns `[phase, time]`, n x T.
/// # Errors
/// `Invalid` if the codes do not make up whole frames.
/// # Examples
/// ```
/// use ndarray::{arr1, arr2};
/// use roundelay::delay::{join_phases, split_phases};
/// let row = arr1(&[10, 11, 12, 13, 14, 15]);
/// let phases = split_phases(row.view(), 2)?;
/// assert_eq!(phases, arr2(&[[10, 12, 14], [11, 13, 15]]));
/// assert_eq!(join_phases(phases.view()), row);
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn split_phases<A: Copy>(row: ArrayView1<'_, A>, n: usize) -> Result<Array2<A>> {
    if n == 0 || !row.len().is_multiple_of(n) {
        return Err(Error::invalid("number of codes", row.len(), format!("a multiple of the {n} in a frame")));
    }
    Ok(Array2::from_shape_fn((n, row.len() / n), |(phase, t)| row[t * n + phase]))
}

/// Joins phase streams to their level's row of codes.
///
/// # Shapes
/// `phases` is `[phase, time]`, n x T; returns n x T codes.
pub fn join_phases<A: Copy>(phases: ArrayView2<'_, A>) -> Array1<A> {
    phases.axis_iter(Axis(1)).flat_map(|frame| frame.to_vec()).collect()
}

/// A layout's rows by the time at which their codes begin within the frame, the slower first.
///
/// # Errors
/// `Invalid` if a level's phases are not 0, 1, .., n-1.
pub(super) fn in_time(layout: &Layout) -> Result<Vec<usize>> {
    let streams = layout.streams();
    let rates = streams.iter().map(|stream| rate(stream, streams)).collect::<Result<Vec<_>>>()?;
    let phase = |k: usize| streams[k].phase.unwrap_or(0);
    let mut rows: Vec<usize> = (0..streams.len()).collect();
    // phase / rate, compared without dividing: both are below the number of streams.
    rows.sort_by(|&a, &b| {
        let begin = (phase(a) * rates[b]).cmp(&(phase(b) * rates[a]));
        begin.then(rates[a].cmp(&rates[b])).then(streams[a].level.cmp(&streams[b].level))
    });
    Ok(rows)
}

/// How many codes of this stream's level are in one coarse frame.
fn rate(stream: &Stream, streams: &[Stream]) -> Result<usize> {
    let level = |other: &&Stream| other.speaker == stream.speaker && other.level == stream.level;
    let mut phases: Vec<usize> = streams.iter().filter(level).map(|other| other.phase.unwrap_or(0)).collect();
    phases.sort_unstable();
    match phases.iter().enumerate().all(|(at, &phase)| at == phase) {
        true => Ok(phases.len()),
        false => {
            let found = super::text::list(&phases);
            let expected = format!("0 to {}, each once", phases.len() - 1);
            Err(Error::invalid("phases of its level", found, expected).in_stream(&stream.name))
        }
    }
}

#[cfg(test)]
pub(in crate::delay) mod tests {
    use super::*;
    use crate::{Extent, FrameRate, Kind, Start};

    /// A codec layout from (level, phase) pairs.
    pub fn layout(streams: &[(usize, Option<usize>)]) -> Layout {
        let stream = |&(level, phase): &(usize, Option<usize>)| Stream {
            name: format!("{level}.{phase:?}"),
            kind: if level == 0 && phase.is_none() { Kind::Semantic } else { Kind::Acoustic },
            speaker: "main".into(),
            level: Some(level),
            cardinality: 4096,
            delay: 0,
            initial: 4096,
            pad: 4097,
            end_pad: None,
            bos: None,
            eos: None,
            phase,
            trained: true,
        };
        let streams = streams.iter().map(stream).collect();
        Layout::new("codec", FrameRate::new(12, 1).unwrap(), streams).unwrap()
    }

    pub fn snac() -> Layout {
        let finest = (0..4).map(|phase| (2, Some(phase)));
        layout(&[(0, None), (1, Some(0)), (1, Some(1))].into_iter().chain(finest).collect::<Vec<_>>())
    }

    #[test]
    fn snac_comes_in_the_order_of_orpheus() {
        let layout = snac();
        let order = in_time(&layout).unwrap();
        let found = order.iter().map(|&k| (layout.streams()[k].level.unwrap(), layout.streams()[k].phase.unwrap_or(0)));
        assert_eq!(found.collect::<Vec<_>>(), [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (2, 2), (2, 3)]);
    }

    #[test]
    fn a_frame_of_snac_is_seven_steps() {
        let pattern: crate::delay::Pattern = "multi-rate".parse().unwrap();
        let order = pattern.order_of(&snac(), 2, Start::Initial).unwrap();
        let streams: Vec<_> = order.to_vec().into_iter().flatten().collect();
        let frame = |t| [0, 1, 3, 4, 2, 5, 6].map(|k| (t, k));
        assert_eq!(streams, [frame(0), frame(1)].concat());
        assert_eq!(pattern.frames_of(15, &snac(), Extent::Extend, Start::Initial).unwrap(), 2);
        assert!(pattern.frames_of(14, &snac(), Extent::Extend, Start::Initial).is_err());
    }

    #[test]
    fn levels_without_all_their_phases_are_refused() {
        let error = in_time(&layout(&[(0, None), (1, Some(0)), (1, Some(2))])).unwrap_err();
        assert_eq!(error.to_string(), "stream 1.Some(0): phases of its level is 0,2, expected 0 to 1, each once");
    }

    #[test]
    fn codes_that_leave_a_frame_unfinished_are_refused() {
        let row = Array1::<i64>::zeros(7);
        let error = split_phases(row.view(), 2).unwrap_err();
        assert_eq!(error.to_string(), "number of codes is 7, expected a multiple of the 2 in a frame");
        assert!(split_phases(row.view(), 0).is_err());
        assert_eq!(split_phases(row.slice(ndarray::s![..0]), 3).unwrap().dim(), (3, 0));
        assert_eq!(join_phases(Array2::<i64>::zeros((3, 0)).view()).len(), 0);
    }
}
