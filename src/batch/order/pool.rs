//! A pool: items mixed, brought together by length, and cut into global batches.
//!
//! ```text
//! gathered     7 3 9 8 2 5 4      lengths of what the pool holds
//! shuffled     5 9 2 8 3 7 4
//! sorted       9 8 7 | 5 4 3 | 2      the longest first, so that a batch that is not full is the shortest one
//! shuffled     5 4 3 | 2 - - | 9 8 7
//! ```

use std::ops::Range;

use super::OrderOptions;
use super::lane::{Item, Purpose, Seat};
use super::permutation::{Permutation, mix};
use super::{Planned, Shuffle, Width};
use crate::batch::Packing;

/// The rows of one pool, and the global batches that they are cut into.
#[derive(Debug)]
pub(super) struct Pool {
    items: Vec<Item>,
    frames: Vec<usize>,
    /// Items of each row.
    rows: Vec<Range<usize>>,
    /// Rows of each batch, in the order in which they come; none where rows are packed.
    batches: Vec<Range<usize>>,
}

impl Pool {
    /// Of what was gathered for pool `number` of an epoch.
    pub fn new(seats: &[Seat], options: &OrderOptions, epoch: u64, number: u64) -> Self {
        let key = |purpose: Purpose| mix(&[options.seed, purpose as u64, epoch, number]);
        let order = sorted(seats, options, key(Purpose::Pool));
        let turn = |of: Vec<Range<usize>>| match options.shuffle {
            Shuffle::Stored => of,
            _ => shuffled(&of, key(Purpose::Batches)),
        };
        let (order, rows, batches) = match options.packing {
            None => {
                let batches = turn(cut(seats.len(), options.rows()).collect());
                (order, (0..seats.len()).map(|row| row..row + 1).collect(), batches)
            }
            // Packed rows are of one length: any of them may share a batch.
            Some(packing) => {
                let rows = packing.assign(order.iter().map(|&place| seats[place].frames));
                let (order, rows) = together(rows, &order);
                (order, turn(rows), Vec::new())
            }
        };
        let (items, frames) = order.iter().map(|&place| (seats[place].item, seats[place].frames)).unzip();
        Pool { items, frames, rows, batches }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The items of one row.
    pub fn row(&self, number: usize) -> Vec<Item> {
        self.items[self.rows[number].clone()].to_vec()
    }

    /// Rows `first`, `first + step` and so on of a batch, as if it were full.
    pub fn batch(&self, number: usize, all: usize, (first, step): (usize, usize)) -> Planned {
        let rows = self.batches[number].clone();
        let items = |row: usize| if rows.start + row < rows.end { self.row(rows.start + row) } else { Vec::new() };
        Planned { width: Width::Frames(self.longest(&rows)), rows: (first..all).step_by(step).map(items).collect() }
    }

    /// Frames of the longest row of a batch.
    fn longest(&self, rows: &Range<usize>) -> usize {
        // Each row is one item.
        self.frames[rows.clone()].iter().copied().max().unwrap_or(0)
    }

    /// Frames of all items, and of all rows in the shape of their batches.
    pub fn frames(&self, all: usize) -> (u64, u64) {
        let cells = self.batches.iter().map(|rows| self.longest(rows) * all).sum::<usize>();
        (self.frames.iter().sum::<usize>() as u64, cells as u64)
    }

    /// Steps of packed rows that hold something.
    pub fn packed(&self, packing: Packing) -> u64 {
        self.rows.iter().map(|row| packing.live(&self.frames[row.clone()]) as u64).sum()
    }
}

/// Places of what was gathered: mixed, and the longest first where lengths are to be alike.
fn sorted(seats: &[Seat], options: &OrderOptions, key: u64) -> Vec<usize> {
    let mixed: Vec<usize> = match options.shuffle {
        Shuffle::Stored => (0..seats.len()).collect(),
        _ => {
            let order = Permutation::new(seats.len() as u64, key);
            (0..seats.len()).map(|place| order.at(place as u64) as usize).collect()
        }
    };
    if !options.pooling && options.packing.is_none() {
        return mixed;
    }
    // Length and mixed place in one number, which sorts faster than a pair.
    let pair = |(place, &seat): (usize, &usize)| (u64::from(u32::MAX) - seats[seat].frames as u64) << 32 | place as u64;
    let mut pairs: Vec<u64> = mixed.iter().enumerate().map(pair).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|pair| mixed[pair as u32 as usize]).collect()
}

/// Brings the items of each row together; within a row they stand in the order in which they were gathered.
fn together(rows: Vec<usize>, order: &[usize]) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut of_rows: Vec<Vec<usize>> = vec![Vec::new(); rows.iter().max().map_or(0, |most| most + 1)];
    rows.into_iter().zip(order).for_each(|(row, &place)| of_rows[row].push(place));
    of_rows.iter_mut().for_each(|row| row.sort_unstable());
    let mut end = 0;
    let ranges = of_rows.iter().map(|row| {
        end += row.len();
        end - row.len()..end
    });
    let ranges = ranges.collect();
    (of_rows.concat(), ranges)
}

/// Ranges of `size`, the last one as short as it has to be.
fn cut(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size).map(move |first| first..len.min(first + size))
}

fn shuffled(of: &[Range<usize>], key: u64) -> Vec<Range<usize>> {
    let order = Permutation::new(of.len() as u64, key);
    (0..of.len() as u64).map(|turn| of[order.at(turn) as usize].clone()).collect()
}
