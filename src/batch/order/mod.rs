//! The order in which a corpus is trained on: drawn by a seed, alike on every rank, found again at any step.
//!
//! ```text
//! source     | 3 1 4 0 2 | 2 0 3 1 4 | ..       passes: each is a permutation that nobody writes down
//! epoch      [-----------)                      of weight 1; with weight .5 it is half a pass
//! pools      [-------)[--)                      runs of the epoch: items are mixed, then sorted by length
//! batches    [==][==] [==)                      global batches, cut in a pool and then mixed
//! ranks       01  01   01                       rank r of n takes rows r, r + n, ..
//! ```
//!
//! **A global batch** is what all ranks do at one step: `batch` rows on each of `world` ranks. All of its rows have one
//! shape, that of the longest, so ranks never wait for each other in vain; where the corpus gives out, rows are absent.
//! Every rank works out the same plan and takes its part. So each view is seen exactly once an epoch over all ranks (at
//! weight 1), and every rank has as many steps.
//!
//! **A pool** is a run of the epoch of some thousand items. Batches of random lengths are a third padding or more; in a
//! pool, items that are alike share a batch, and the batches come in a random order. What mixes is the pool, so it should
//! hold many batches. The first and longest batch pads most: the more rows a global batch has beside its pool, the more
//! is padded ([`Order::padding`] tells).
//!
//! **A block** is what is read at once, a row group of a dataset. With [`Shuffle::Blocks`] a pass goes through blocks in a
//! random order, and a pool is a run of such blocks, so that each block is read once or twice a pass. Two items of one
//! block are therefore seen close to each other, at most two pools apart; otherwise all is random.
//! [`Shuffle::Full`] has no such ties, and reads a block for each item.
//!
//! **Several sources** are merged evenly: each pool holds each source's share of the epoch.
//!
//! Nothing of the corpus's size is kept but its lengths (and, with windows, one number a segment). A [`Position`] names a
//! step and the hash of what the order is made from; a run resumes at it in constant time, also on another number of
//! ranks as long as a global batch has as many rows. With packing, how many rows an epoch's pools give is known only once
//! all have been packed: that is done once an epoch, when it is first asked for.
//!
//! # Examples
//! ```
//! use roundelay::batch::{Order, OrderOptions, Place, Source, Width};
//!
//! let source = Source::new(vec![50, 20, 80, 30, 60]);
//! let order = Order::new(vec![source], OrderOptions { batch: 1, world: 2, ..OrderOptions::default() })?;
//! assert_eq!(order.steps(0)?, 3);
//! let batch = order.batch(Place { epoch: 0, step: 0 })?;
//! assert_eq!(batch.rows.len(), 2);
//!
//! let width = |step| order.batch(Place { epoch: 0, step }).map(|batch| batch.width);
//! let mut widths = [width(0)?, width(1)?, width(2)?];
//! widths.sort_by_key(|width| match width { Width::Frames(frames) | Width::Steps(frames) => *frames });
//! assert_eq!(widths, [Width::Frames(20), Width::Frames(50), Width::Frames(80)]); // in an order of the seed's
//! assert_eq!(order.padding(0)?.share(), 1.0 - 240.0 / 300.0); // 80 60, 50 30, 20 and an absent row
//! # Ok::<(), roundelay::Error>(())
//! ```

mod lane;
mod options;
mod permutation;
mod pool;
mod position;
mod shares;
#[cfg(test)]
mod twin;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use lane::Item;
use lane::{Lane, Seat};
pub use options::{OrderOptions, Shuffle, Source};
use pool::Pool;
use position::Plan;
pub use position::{Place, Position};
pub use views::{Crop, Cut};

use super::Packing;
use crate::error::{Error, Result};

/// A seeded plan of batches over any number of sources. Made from lengths alone; safe to ask from many threads.
#[derive(Debug)]
pub struct Order {
    lanes: Vec<Lane>,
    options: OrderOptions,
    plan: Plan,
    kept: Mutex<Kept>,
}

/// One global batch, or one rank's part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The shape that all rows have.
    pub width: Width,
    /// Items of each row, one unless rows are packed. A row without items is absent: it weighs nothing.
    pub rows: Vec<Vec<Item>>,
}

/// How long the rows of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// As long as a segment of so many frames becomes.
    Frames(usize),
    /// So many steps of input and of target.
    Steps(usize),
}

/// How much of an epoch's batches holds something, in frames of one stream; packed: in steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Padding {
    /// Cells of items.
    pub live: u64,
    /// Cells of all rows, absent ones among them.
    pub cells: u64,
}

impl Padding {
    /// What is padding, 0 to 1.
    pub fn share(self) -> f64 {
        if self.cells == 0 { 0.0 } else { 1.0 - self.live as f64 / self.cells as f64 }
    }
}

/// What was worked out lately.
#[derive(Debug, Default)]
struct Kept {
    /// By epoch and number.
    pools: VecDeque<((u64, u64), Arc<Pool>)>,
    /// Where the rows of each pool end, by epoch: needed only with packing.
    ends: BTreeMap<u64, Arc<[u64]>>,
}

/// Pools that are kept: workers ahead of each other are in two at most.
const KEPT_POOLS: usize = 2;

impl Order {
    /// An order for training.
    ///
    /// # Errors
    /// `Invalid` for an option that makes no sense, for blocks that do not cover their source, or where a view does not
    /// fit a packed row; `OverLimit` for more than 2^32 views in a source.
    pub fn new(sources: Vec<Source>, options: OrderOptions) -> Result<Self> {
        options.check()?;
        let lane = |(number, source)| Lane::new(number, source, &options);
        let lanes = sources.iter().enumerate().map(lane).collect::<Result<Vec<_>>>()?;
        if let Some(packing) = options.packing {
            for (number, lane) in lanes.iter().enumerate() {
                let fits = |(frames, segment)| packing.check(frames).map_err(|e| e.in_recording(name(number, segment)));
                lane.longest().map_or(Ok(()), fits)?;
            }
        }
        let plan = Plan::new(&sources, &options);
        Ok(Order { lanes, options, plan, kept: Mutex::default() })
    }

    /// An order for measuring: everything exactly once an epoch as it is stored, whatever the sources' weights, and
    /// nothing shuffled. With `pooling` each pool is sorted by length, longest first, which pads less.
    ///
    /// # Errors
    /// As [`Order::new`].
    pub fn evaluation(sources: Vec<Source>, options: OrderOptions) -> Result<Self> {
        let whole = |source| Source { weight: 1.0, ..source };
        let options = OrderOptions { shuffle: Shuffle::Stored, ..options };
        Order::new(sources.into_iter().map(whole).collect(), options)
    }

    /// What the order was made with.
    pub fn options(&self) -> &OrderOptions {
        &self.options
    }

    /// The largest shape that a batch of any epoch has.
    pub fn widest(&self) -> Width {
        match self.options.packing {
            Some(packing) => Width::Steps(packing.steps),
            None => {
                Width::Frames(self.lanes.iter().filter_map(Lane::longest).map(|(frames, _)| frames).max().unwrap_or(0))
            }
        }
    }

    /// Items of an epoch.
    ///
    /// # Errors
    /// `OverLimit` for an epoch that nobody reaches.
    pub fn items(&self, epoch: u64) -> Result<u64> {
        Ok(self.lens(epoch)?.iter().sum())
    }

    /// Steps of an epoch, of every rank alike.
    ///
    /// # Errors
    /// As [`Order::items`].
    pub fn steps(&self, epoch: u64) -> Result<u64> {
        let rows = match self.options.packing {
            None => self.items(epoch)?,
            Some(_) => self.ends(epoch)?.last().copied().unwrap_or(0),
        };
        Ok(rows.div_ceil(self.options.rows() as u64))
    }

    /// The global batch of a step.
    ///
    /// # Errors
    /// `Invalid` if the epoch has no such step.
    pub fn batch(&self, at: Place) -> Result<Planned> {
        self.rows(at, (0, 1))
    }

    /// One rank's part of a step: rows `rank`, `rank + world` and so on.
    ///
    /// # Errors
    /// As [`Order::batch`]; `Invalid` if there is no such rank.
    pub fn of_rank(&self, at: Place, rank: usize) -> Result<Planned> {
        let world = self.options.world;
        match rank < world {
            true => self.rows(at, (rank, world)),
            false => Err(Error::invalid("rank", rank, format!("below {world}, the number of ranks"))),
        }
    }

    fn rows(&self, at: Place, every: (usize, usize)) -> Result<Planned> {
        let steps = self.steps(at.epoch)?;
        if at.step >= steps {
            return Err(Error::invalid("step", at.step, format!("below {steps}, the steps of epoch {}", at.epoch)));
        }
        if let Some(packing) = self.options.packing {
            return self.packed(at, packing, every);
        }
        let batches = self.pool_size() / self.options.rows() as u64;
        let (pool, number) = (at.step / batches, at.step % batches);
        Ok(self.pool(at.epoch, pool)?.batch(number as usize, self.options.rows(), every))
    }

    /// Packed rows: those of all pools, one behind the other.
    fn packed(&self, at: Place, packing: Packing, (first, step): (usize, usize)) -> Result<Planned> {
        let (ends, all) = (self.ends(at.epoch)?, self.options.rows());
        let row = |row: usize| {
            let row = at.step * all as u64 + row as u64;
            let pool = ends.partition_point(|&end| end <= row);
            let before = if pool == 0 { 0 } else { ends[pool - 1] };
            match pool < ends.len() {
                true => Ok(self.pool(at.epoch, pool as u64)?.row((row - before) as usize)),
                false => Ok(Vec::new()),
            }
        };
        let rows = (first..all).step_by(step).map(row).collect::<Result<_>>()?;
        Ok(Planned { width: Width::Steps(packing.steps), rows })
    }

    /// The frames of an item.
    ///
    /// # Panics
    /// If the item is of no source or segment of this order.
    pub fn cut(&self, item: Item) -> Cut {
        self.lanes[item.source as usize].cut(item, self.options.seed)
    }

    /// The place so many steps behind another one, in later epochs too; none if nothing comes any more.
    ///
    /// `after(at, 0)` is `at` itself, or the first step of the next epoch where `at` is behind the last of its own.
    ///
    /// # Errors
    /// As [`Order::items`].
    pub fn after(&self, at: Place, steps: u64) -> Result<Option<Place>> {
        let (mut epoch, mut step) = (at.epoch, at.step.saturating_add(steps));
        if !self.lanes.iter().any(Lane::is_live) {
            return Ok(None);
        }
        loop {
            match self.steps(epoch)? {
                steps if step < steps => return Ok(Some(Place { epoch, step })),
                steps => (epoch, step) = (epoch + 1, step - steps),
            }
        }
    }

    /// What to keep in order to go on at `at`.
    pub fn position(&self, at: Place) -> Position {
        self.plan.position(at, self.options.rows())
    }

    /// The step of a position that this or another run kept.
    ///
    /// # Errors
    /// `Invalid` if the position is of another order: it says which part to check. A global batch must have as many rows;
    /// how many ranks share them makes no difference.
    pub fn seek(&self, position: &Position) -> Result<Place> {
        self.plan.check(position, &self.options)?;
        let (at, steps) = (Place { epoch: position.epoch, step: position.step }, self.steps(position.epoch)?);
        match at.step <= steps {
            true => Ok(at),
            false => Err(Error::invalid("step", at.step, format!("at most {steps}, the steps of epoch {}", at.epoch))),
        }
    }

    /// How much an epoch pads. Every pool is worked out for it.
    ///
    /// # Errors
    /// As [`Order::items`].
    pub fn padding(&self, epoch: u64) -> Result<Padding> {
        let mut padding = Padding::default();
        for number in 0..self.pools(epoch)? {
            let pool = self.made(epoch, number)?;
            let (live, cells) = match self.options.packing {
                None => pool.frames(self.options.rows()),
                Some(packing) => (pool.packed(packing), 0),
            };
            padding = Padding { live: padding.live + live, cells: padding.cells + cells };
        }
        if let Some(packing) = self.options.packing {
            padding.cells = self.steps(epoch)? * (self.options.rows() * packing.steps) as u64;
        }
        Ok(padding)
    }

    /// Items of each source in an epoch.
    fn lens(&self, epoch: u64) -> Result<Vec<u64>> {
        self.lanes.iter().map(|lane| lane.slice(epoch).map(|slice| slice.end - slice.start)).collect()
    }

    /// Items of a pool.
    fn pool_size(&self) -> u64 {
        let (rows, pool) = (self.options.rows(), self.options.pool);
        // Whole batches, so that only the last pool has one that is not full.
        (rows * (pool / rows).max(1)) as u64
    }

    fn pools(&self, epoch: u64) -> Result<u64> {
        Ok(self.items(epoch)?.div_ceil(self.pool_size()))
    }

    /// Where the rows of each pool of an epoch end.
    fn ends(&self, epoch: u64) -> Result<Arc<[u64]>> {
        let mut kept = self.kept();
        if let Some(ends) = kept.ends.get(&epoch) {
            return Ok(ends.clone());
        }
        let mut end = 0;
        let ends = (0..self.pools(epoch)?).map(|number| {
            end += self.made(epoch, number)?.rows() as u64;
            Ok(end)
        });
        let ends: Arc<[u64]> = ends.collect::<Result<_>>()?;
        kept.ends.insert(epoch, ends.clone());
        Ok(ends)
    }

    /// A pool, worked out once by whoever needs it first.
    fn pool(&self, epoch: u64, number: u64) -> Result<Arc<Pool>> {
        let mut kept = self.kept();
        if let Some((_, pool)) = kept.pools.iter().find(|(of, _)| *of == (epoch, number)) {
            return Ok(pool.clone());
        }
        let pool = Arc::new(self.made(epoch, number)?);
        kept.pools.truncate(KEPT_POOLS - 1);
        kept.pools.push_front(((epoch, number), pool.clone()));
        Ok(pool)
    }

    fn made(&self, epoch: u64, number: u64) -> Result<Pool> {
        Ok(Pool::new(&self.seats(epoch, number)?, &self.options, epoch, number))
    }

    /// What a pool holds.
    fn seats(&self, epoch: u64, number: u64) -> Result<Vec<Seat>> {
        let (lens, size) = (self.lens(epoch)?, self.pool_size());
        let all: u64 = lens.iter().sum();
        let [first, end] = [number * size, ((number + 1) * size).min(all)].map(|place| self.shares(&lens, place));
        let mut seats = Vec::with_capacity((((number + 1) * size).min(all) - number * size) as usize);
        for (lane, (first, end)) in self.lanes.iter().zip(first.into_iter().zip(end)) {
            let start = lane.slice(epoch)?.start;
            lane.gather(Range { start: start + first, end: start + end }, &self.options, &mut seats);
        }
        Ok(seats)
    }

    fn shares(&self, lens: &[u64], place: u64) -> Vec<u64> {
        match self.options.shuffle {
            Shuffle::Stored => shares::one_by_one(lens, place),
            _ => shares::merged(lens, place),
        }
    }

    /// A panic elsewhere leaves what is kept as it was: whole pools.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(source: usize, segment: usize) -> String {
    format!("segment {segment} of source {source}")
}
