//! Those of the rows seen so far that may be among the best K.
//!
//! ```text
//! fast scores of a block --above the floor?--> scores, room for 4 K --full?--> the best K stay, the floor rises
//! ```

use std::array::from_fn;
use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicI32};

use super::query::Query;
use super::vectors::Vectors;

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
        let [hit] = self.hits([row]);
        hit
    }

    fn hits<const R: usize>(&self, rows: [u32; R]) -> [Hit; R] {
        let scores = self.vectors.scores(rows.map(|row| row as usize), &self.query.weights);
        from_fn(|place| {
            let row = rows[place];
            let id = self.ids.map_or(row, |ids| ids[row as usize]);
            // 0 and -0 are equals.
            Hit { score: scores[place] + 0.0, id, row }
        })
    }

    /// Adds these rows with their scores: several at a time, as each sum has to wait for its last addition.
    fn score(&self, rows: &[u32], hits: &mut Vec<Hit>) {
        let (eights, rest) = rows.as_chunks::<8>();
        hits.extend(eights.iter().flat_map(|eight| self.hits(*eight)));
        hits.extend(rest.iter().map(|&row| self.hit(row)));
    }

    /// Forgets all but the best K, and returns the fast score below which no other row is among them, if there are so
    /// many at all.
    fn cut(&self, hits: &mut Vec<Hit>) -> Option<f32> {
        if hits.len() < self.k {
            return None;
        }
        let (_, kth, _) = hits.select_nth_unstable_by(self.k - 1, Hit::order);
        let floor = self.query.floor(kth.score);
        hits.truncate(self.k);
        Some(floor)
    }

    /// The best K of these in order; none if a row below the guess could be one of them.
    pub fn settle(&self, mut hits: Vec<Hit>, guess: f32) -> Option<Vec<Hit>> {
        let floor = self.cut(&mut hits);
        if guess > f32::NEG_INFINITY && floor.is_none_or(|floor| floor < guess) {
            return None;
        }
        hits.sort_unstable_by(Hit::order);
        Some(hits)
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

    pub fn raise(&self, floor: f32) {
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

/// What one thread found for one query.
#[derive(Debug)]
pub(super) struct Keeper {
    hits: Vec<Hit>,
    limit: usize,
    /// Rows of the block at hand.
    rows: Vec<u32>,
}

/// Scores that are compared at a time.
const CHUNK: usize = 16;

impl Keeper {
    pub fn new(k: usize) -> Self {
        Keeper { hits: Vec::new(), limit: (4 * k).max(1024), rows: Vec::new() }
    }

    /// Takes the fast scores of rows from `first` on, while the rows themselves are still at hand.
    pub fn take(&mut self, first: usize, scores: &[f32], judge: &Judge<'_>, shared: &Floor) {
        let floor = shared.get();
        let (chunks, rest) = scores.as_chunks::<CHUNK>();
        for (number, chunk) in chunks.iter().enumerate() {
            if chunk.iter().fold(false, |any, &score| any | (score >= floor)) {
                self.note(first + number * CHUNK, chunk, floor);
            }
        }
        self.note(first + chunks.len() * CHUNK, rest, floor);
        judge.score(&self.rows, &mut self.hits);
        self.rows.clear();
        if self.hits.len() > self.limit
            && let Some(floor) = judge.cut(&mut self.hits)
        {
            shared.raise(floor);
        }
    }

    fn note(&mut self, first: usize, scores: &[f32], floor: f32) {
        self.rows.extend(scores.iter().zip(first as u32..).filter(|(score, _)| **score >= floor).map(|(_, row)| row));
    }

    pub fn into_hits(self) -> Vec<Hit> {
        self.hits
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
