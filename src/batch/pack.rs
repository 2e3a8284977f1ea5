//! Several short segments in one row.
//!
//! ```text
//! row of 11 columns    i a a a a p | i b b p | -          i initial column, p what the delays add, - absent
//!                      └─ 4 + 2 ─┘  └ 2 + 2 ┘
//! input                i a a a a p   i b b p              as many steps as a row has columns, less one
//! target               a a a a p i   b b p                i, the next one's initial column, weighs nothing
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::delay::Sequencer;
use crate::error::{Error, Result};

/// How segments are packed: each goes to the row that it fills best, the longest first.
///
/// # Examples
/// ```
/// use roundelay::batch::Packing;
/// use roundelay::{Delay, Extent, Layout, Start};
/// let layout = Layout::preset("delay-1")?;
/// let packing = Packing::of(&Delay::new(&layout, Extent::Extend, Start::Initial), 100)?;
/// assert_eq!((packing.steps, packing.overhead), (100, 2)); // an initial column, and one step of delay
/// assert_eq!(packing.rows(&[60, 30, 50, 40, 10])?, [vec![0, 1], vec![2, 3], vec![4]]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packing {
    /// Steps of a row, as the model reads it. Its sequence is one column longer: input leaves out the last, target the
    /// first.
    pub steps: usize,
    /// Columns that a segment takes beside its frames: its initial column, its delays, its bracket.
    pub overhead: usize,
}

impl Packing {
    /// Rows of so many steps, of what a sequencer makes of segments.
    ///
    /// # Errors
    /// `Unsupported` if a segment's first column holds codes, which would be learned across a border, or if its columns
    /// are not its frames and a fixed number more.
    pub fn of(sequencer: &impl Sequencer, steps: usize) -> Result<Self> {
        let overhead = sequencer.steps(0)?;
        if sequencer.steps(1)? != overhead + 1 {
            return Err(Error::unsupported("packing", "sequences of frames and a fixed number of columns more"));
        }
        check_first(sequencer)?;
        Ok(Packing { steps, overhead })
    }

    /// Puts segments of such lengths into rows, in frames; the segments of each row by their number.
    ///
    /// # Errors
    /// `Invalid` if one is longer than a row.
    pub fn rows(&self, lengths: &[u32]) -> Result<Vec<Vec<usize>>> {
        lengths.iter().try_for_each(|&frames| self.check(frames as usize))?;
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&number| std::cmp::Reverse(lengths[number]));
        let rows = self.assign(order.iter().map(|&number| lengths[number] as usize));
        let mut packed = vec![Vec::new(); rows.iter().max().map_or(0, |most| most + 1)];
        rows.into_iter().zip(order).for_each(|(row, number)| packed[row].push(number));
        Ok(packed)
    }

    /// Checks that a segment fits a row.
    pub(super) fn check(&self, frames: usize) -> Result<()> {
        match frames + self.overhead <= self.steps + 1 {
            true => Ok(()),
            false => Err(Error::invalid(
                "length of the segment",
                format!("{frames} frames"),
                format!(
                    "at most {} in a row of {} steps; crop it",
                    (self.steps + 1).saturating_sub(self.overhead),
                    self.steps
                ),
            )),
        }
    }

    /// The row of each length that fits one: that with the least room, the earlier of equals, or a new one.
    pub(super) fn assign(&self, lengths: impl Iterator<Item = usize>) -> Vec<usize> {
        let (mut rooms, mut count) = (BTreeSet::new(), 0);
        let place = |frames: usize| {
            let columns = frames + self.overhead;
            let (room, row) = rooms.range((columns, 0)..).next().copied().unwrap_or((self.steps + 1, count));
            rooms.remove(&(room, row));
            rooms.insert((room - columns, row));
            count = count.max(row + 1);
            row
        };
        lengths.map(place).collect()
    }

    /// Steps of a row that hold something.
    pub(super) fn live(&self, lengths: &[usize]) -> usize {
        lengths.iter().map(|frames| frames + self.overhead).sum::<usize>().saturating_sub(1)
    }
}

/// Checks that no stream has a code in the first column: what is said there would follow from another segment.
pub(super) fn check_first(sequencer: &impl Sequencer) -> Result<()> {
    for k in 0..sequencer.stream_count() {
        if sequencer.step_of(k, 0, 1)? == Some(0) {
            return Err(Error::unsupported("packing", "sequences that begin with an initial column").in_stream(k));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delay, Extent, Layout, Start};

    /// Row by row, looking at all of them.
    fn twin(packing: Packing, lengths: &[usize]) -> Vec<usize> {
        let mut rooms: Vec<usize> = Vec::new();
        let mut place = |&frames: &usize| {
            let columns = frames + packing.overhead;
            let fits = (0..rooms.len()).filter(|&row| rooms[row] >= columns);
            let row = fits.min_by_key(|&row| (rooms[row], row)).unwrap_or(rooms.len());
            if row == rooms.len() {
                rooms.push(packing.steps + 1);
            }
            rooms[row] -= columns;
            row
        };
        lengths.iter().map(&mut place).collect()
    }

    #[test]
    fn each_goes_where_it_leaves_least() {
        let packing = Packing { steps: 40, overhead: 3 };
        for seed in 0..200_usize {
            let lengths: Vec<usize> = (0..seed).map(|i| (i * 7919 + seed * 31) % 39).collect();
            let rows = packing.assign(lengths.iter().copied());
            assert_eq!(rows, twin(packing, &lengths));
            let mut columns = vec![0; seed + 1];
            rows.iter().zip(&lengths).for_each(|(&row, frames)| columns[row] += frames + 3);
            assert!(columns.iter().all(|&columns| columns <= 41));
        }
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        let layout = Layout::preset("delay-1").unwrap();
        let delay = |start| Delay::new(&layout, Extent::Extend, start);
        let error = Packing::of(&delay(Start::None), 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stream 0: packing is not supported: sequences that begin with an initial column"
        );
        let packing = Packing::of(&delay(Start::Initial), 100).unwrap();
        assert!(packing.check(99).is_ok());
        let error = packing.rows(&[5, 100]).unwrap_err().to_string();
        assert_eq!(error, "length of the segment is 100 frames, expected at most 99 in a row of 100 steps; crop it");
    }
}
