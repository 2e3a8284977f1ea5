//! One source in passes: which item stands at which place of its endless row.
//!
//! ```text
//! blocks        [0 1 2)[3 4)[5 6 7)
//! pass 0         4 3 | 7 5 6 | 1 0 2         blocks in a drawn order, items within each in another
//! pass 1         0 2 1 | 6 7 5 | 3 4
//! ```

use std::ops::Range;

use super::permutation::{Permutation, mix};
use super::views::{Cut, Views};
use super::{OrderOptions, Shuffle, Source};
use crate::error::Result;

/// What a row is filled with: one view of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// Number of the source.
    pub source: u32,
    /// Number of the segment in it.
    pub segment: u32,
    /// Which of its views it is: [`Order::cut`](super::Order::cut) says which frames.
    pub view: u32,
    /// How often the source was gone through before: draws that are to differ each time depend on it. With weight 1 it is
    /// the epoch.
    pub pass: u64,
}

/// A source, ready to be looked up.
#[derive(Debug)]
pub(super) struct Lane {
    number: u32,
    views: Views,
    weight: f64,
    /// In views.
    blocks: Vec<Range<usize>>,
}

/// What an item of a pool is and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub item: Item,
    pub frames: usize,
}

/// What a number is drawn for: one drawing does not change another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Pass,
    Block,
    Crop,
    Pool,
    Batches,
}

impl Lane {
    pub fn new(number: usize, source: &Source, options: &OrderOptions) -> Result<Self> {
        source.check()?;
        let views = Views::new(source.lengths.clone(), options.crop, options.both_sides)?;
        let in_views = |block: &Range<usize>| views.first(block.start)..views.first(block.end);
        let blocks = match options.shuffle {
            Shuffle::Blocks => source.blocks.iter().map(in_views).collect(),
            _ => Vec::new(),
        };
        Ok(Lane { number: number as u32, views, weight: source.weight, blocks })
    }

    /// The places of an epoch.
    pub fn slice(&self, epoch: u64) -> Result<Range<u64>> {
        super::shares::slice(self.weight, self.views.len(), epoch)
    }

    /// Whether any epoch has items of it.
    pub fn is_live(&self) -> bool {
        self.weight > 0.0 && self.views.len() > 0
    }

    /// The longest view and its segment.
    pub fn longest(&self) -> Option<(usize, usize)> {
        self.views.longest()
    }

    /// The frames of an item.
    pub fn cut(&self, item: Item, seed: u64) -> Cut {
        let (segment, view) = (item.segment as usize, item.view as usize);
        let key = [seed, Purpose::Crop as u64, item.source.into(), item.segment.into(), item.view.into(), item.pass];
        self.views.cut(segment, view, &key)
    }

    /// Adds what stands at some places of the endless row.
    pub fn gather(&self, places: Range<u64>, options: &OrderOptions, seats: &mut Vec<Seat>) {
        let len = self.views.len() as u64;
        let mut first = places.start;
        while first < places.end {
            let (pass, end) = (first / len, places.end.min((first / len + 1) * len));
            let within = first - pass * len..end - pass * len;
            self.of_pass(pass, within, options, |view| seats.push(self.seat(view as usize, pass)));
            first = end;
        }
    }

    fn seat(&self, view: usize, pass: u64) -> Seat {
        let (segment, view) = self.views.find(view);
        let item = Item { source: self.number, segment: segment as u32, view: view as u32, pass };
        Seat { item, frames: self.views.frames(segment, view) }
    }

    /// Calls `take` with the views at some places of one pass.
    fn of_pass(&self, pass: u64, places: Range<u64>, options: &OrderOptions, take: impl FnMut(u64)) {
        let key = mix(&[options.seed, Purpose::Pass as u64, self.number.into(), pass]);
        match options.shuffle {
            Shuffle::Stored => places.for_each(take),
            Shuffle::Blocks if !self.blocks.is_empty() => self.by_blocks(key, places, take),
            _ => {
                let order = Permutation::new(self.views.len() as u64, key);
                places.map(|place| order.at(place)).for_each(take);
            }
        }
    }

    fn by_blocks(&self, key: u64, places: Range<u64>, mut take: impl FnMut(u64)) {
        let order = Permutation::new(self.blocks.len() as u64, key);
        let mut first = 0;
        for turn in 0..self.blocks.len() as u64 {
            let number = order.at(turn);
            let block = &self.blocks[number as usize];
            let end = first + block.len() as u64;
            let part = places.start.max(first)..places.end.min(end);
            if !part.is_empty() {
                let within = Permutation::new(block.len() as u64, mix(&[key, Purpose::Block as u64, number]));
                part.for_each(|place| take(block.start as u64 + within.at(place - first)));
            }
            if end >= places.end {
                return;
            }
            first = end;
        }
    }
}
