//! Those of the rows seen so far that may be among the best K.
//!
//! ```text
//! scores of a block --above the floor?--> entries, room for 4 K --full?--> the K-th best is found, the floor rises,
//!                                                                          what is below it goes
//! ```

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicI32};

use super::query::Query;
use super::vectors::Vectors;

/// A row and its fast score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub score: f32,
    pub row: u32,
}

/// A row by its id, and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    pub score: f64,
    pub id: u32,
    pub row: u32,
}

impl Hit {
    /// Best first, of equals the lower id.
    pub fn order(a: &Hit, b: &Hit) -> Ordering {
        b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
    }
}

/// What it takes to score a row again.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub vectors: &'a Vectors<'a>,
    /// The id of each row; the row itself where there are none.
    pub ids: Option<&'a [u32]>,
    pub query: &'a Query,
    pub k: usize,
}

impl Judge<'_> {
    pub fn hit(&self, row: u32) -> Hit {
        let [score] = self.vectors.scores([row as usize], &self.query.weights);
        self.scored(row, score)
    }

    fn scored(&self, row: u32, score: f64) -> Hit {
        let id = self.ids.map_or(row, |ids| ids[row as usize]);
        // 0 and -0 are equals.
        Hit { score: score + 0.0, id, row }
    }

    /// All of these scored again: several at a time, as each sum has to wait for its last addition.
    fn hits(&self, entries: &[Entry]) -> Vec<Hit> {
        let (eights, rest) = entries.as_chunks::<8>();
        let mut hits = Vec::with_capacity(entries.len());
        for eight in eights {
            let scores = self.vectors.scores(eight.map(|entry| entry.row as usize), &self.query.weights);
            hits.extend(eight.iter().zip(scores).map(|(entry, score)| self.scored(entry.row, score)));
        }
        hits.extend(rest.iter().map(|entry| self.hit(entry.row)));
        hits
    }

    /// The best K of these rows, not in order.
    fn best(&self, entries: &[Entry]) -> Vec<Hit> {
        let mut hits = self.hits(entries);
        if hits.len() > self.k {
            hits.select_nth_unstable_by(self.k - 1, Hit::order);
            hits.truncate(self.k);
        }
        hits
    }

    /// The best K of these rows in order; none if a row below the guess could be one of them.
    pub fn settle(&self, mut entries: Vec<Entry>, guess: f32) -> Option<Vec<Hit>> {
        let floor = self.cut(&mut entries);
        if guess > f32::NEG_INFINITY && floor.is_none_or(|floor| floor < guess) {
            return None;
        }
        let mut hits = self.best(&entries);
        hits.sort_unstable_by(Hit::order);
        Some(hits)
    }

    /// Forgets the entries that others rule out, and returns the floor that shows it, if there are K at all.
    fn cut(&self, entries: &mut Vec<Entry>) -> Option<f32> {
        if entries.len() < self.k {
            return None;
        }
        let (_, kth, _) = entries.select_nth_unstable_by(self.k - 1, |a, b| b.score.total_cmp(&a.score));
        let floor = self.query.floor_of_fast(kth.score);
        entries.retain(|entry| entry.score >= floor);
        Some(floor)
    }
}

/// The floor that all threads know of, which only rises.
#[derive(Debug)]
pub(super) struct Floor(AtomicI32);

impl Floor {
    pub fn new(floor: f32) -> Self {
        Floor(AtomicI32::new(ordered(floor)))
    }

    fn get(&self) -> f32 {
        f32::from_bits(ordered_bits(self.0.load(atomic::Ordering::Relaxed)) as u32)
    }

    fn raise(&self, floor: f32) {
        self.0.fetch_max(ordered(floor), atomic::Ordering::Relaxed);
    }
}

/// Bits of floats as integers in the order of the floats.
fn ordered(value: f32) -> i32 {
    ordered_bits(value.to_bits() as i32)
}

/// Its own inverse.
fn ordered_bits(bits: i32) -> i32 {
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// Entries of one thread for one query.
#[derive(Debug)]
pub(super) struct Keeper {
    entries: Vec<Entry>,
    limit: usize,
}

/// Scores that are compared at a time.
const CHUNK: usize = 16;

impl Keeper {
    pub fn new(k: usize) -> Self {
        Keeper { entries: Vec::new(), limit: (4 * k).max(1024) }
    }

    /// Takes the scores of rows from `first` on.
    pub fn take(&mut self, first: usize, scores: &[f32], judge: &Judge<'_>, shared: &Floor) {
        let floor = shared.get();
        let (chunks, rest) = scores.as_chunks::<CHUNK>();
        for (number, chunk) in chunks.iter().enumerate() {
            if chunk.iter().fold(false, |any, &score| any | (score >= floor)) {
                self.push(first + number * CHUNK, chunk, floor);
            }
        }
        self.push(first + chunks.len() * CHUNK, rest, floor);
        if self.entries.len() > self.limit {
            self.shrink(judge, shared);
        }
    }

    fn push(&mut self, first: usize, scores: &[f32], floor: f32) {
        let rows = scores.iter().zip(first as u32..).filter(|(score, _)| **score >= floor);
        self.entries.extend(rows.map(|(&score, row)| Entry { score, row }));
    }

    fn shrink(&mut self, judge: &Judge<'_>, shared: &Floor) {
        if let Some(floor) = judge.cut(&mut self.entries) {
            shared.raise(floor);
        }
        // Many that are nearly equal: only their scores can tell.
        if self.entries.len() > self.limit / 2 {
            let best = judge.best(&self.entries);
            let kth = best.iter().max_by(|a, b| Hit::order(a, b)).expect("k is at least 1");
            shared.raise(judge.query.floor_of_score(kth.score));
            let rows: std::collections::HashSet<u32> = best.iter().map(|hit| hit.row).collect();
            self.entries.retain(|entry| rows.contains(&entry.row));
        }
    }

    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_bits_are_in_the_order_of_the_floats() {
        let values = [f32::NEG_INFINITY, -2.5, -1e-40, 0.0, 1e-40, 3.0, f32::INFINITY];
        assert!(values.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
        let floor = Floor::new(f32::NEG_INFINITY);
        for value in [-5.0, -7.0, 2.0, 1.0] {
            floor.raise(value);
        }
        assert_eq!(floor.get(), 2.0);
    }
}
