//! Goes over rows on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::keep::{Entry, Floor, Hit, Judge, Keeper};
use super::kernel::{BLOCK, Block};
use super::query::Query;
use super::vectors::Vectors;

/// Rows to score, and for which of the queries.
#[derive(Debug)]
pub(super) struct Task {
    pub rows: Range<usize>,
    pub queries: Vec<u32>,
}

impl Task {
    /// The same for those of its queries that are among these, which are sorted.
    fn only(&self, queries: &[u32]) -> Self {
        let queries = self.queries.iter().copied().filter(|query| queries.binary_search(query).is_ok()).collect();
        Task { rows: self.rows.clone(), queries }
    }
}

/// A search of one table for some queries.
pub(super) struct Scan<'a> {
    pub vectors: &'a Vectors<'a>,
    pub ids: Option<&'a [u32]>,
    pub queries: &'a [Query],
    pub k: usize,
    pub threads: usize,
}

/// Rows of the best K that a sample should hold.
const SAMPLED: usize = 64;

/// Rows of a sample that lie together: of 64 numbers each a page, since what costs is to leap, not to read.
const TOGETHER: usize = 64;

impl Scan<'_> {
    /// The best K rows of the tasks for each query, in order.
    ///
    /// Where K is large, a sample tells about how good the K-th best will be, so that few others are ever kept. A query
    /// for which that was too much is searched for again without.
    pub fn run(&self, tasks: &[Task]) -> Vec<Vec<Hit>> {
        let first = self.pass(tasks, &self.guesses(tasks));
        let again: Vec<u32> = (0u32..).zip(&first).filter(|(_, hits)| hits.is_none()).map(|(query, _)| query).collect();
        if again.is_empty() {
            return first.into_iter().flatten().collect();
        }
        let tasks: Vec<Task> = tasks.iter().map(|task| task.only(&again)).collect();
        let second = self.pass(&tasks, &vec![f32::NEG_INFINITY; self.queries.len()]);
        first.into_iter().zip(second).filter_map(|(first, second)| first.or(second)).collect()
    }

    /// Goes over all rows once; no answer where the guess was too high.
    fn pass(&self, tasks: &[Task], guesses: &[f32]) -> Vec<Option<Vec<Hit>>> {
        let floors: Vec<Floor> = guesses.iter().map(|&guess| Floor::new(guess)).collect();
        let next = AtomicUsize::new(0);
        let parts = on_threads(self.threads, || self.work(tasks, &next, &floors));
        let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); self.queries.len()];
        for part in parts {
            entries.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
        }
        self.settle(entries, guesses)
    }

    fn judge(&self, query: usize) -> Judge<'_> {
        Judge { vectors: self.vectors, ids: self.ids, query: &self.queries[query], k: self.k }
    }

    /// The fast score that somewhat more than K rows are likely to reach, for each query.
    fn guesses(&self, tasks: &[Task]) -> Vec<f32> {
        let stride = self.k / SAMPLED * TOGETHER;
        if stride <= TOGETHER {
            return vec![f32::NEG_INFINITY; self.queries.len()];
        }
        let next = AtomicUsize::new(0);
        let parts = on_threads(self.threads, || self.sample(tasks, &next, stride));
        let rows =
            |query: u32| tasks.iter().filter(|task| task.queries.contains(&query)).map(|task| task.rows.len()).sum();
        let guess = |query: u32| {
            let mut scores: Vec<f32> = parts.iter().flat_map(|part| &part[query as usize]).copied().collect();
            let rows: usize = rows(query);
            let expected = self.k as f64 * scores.len() as f64 / rows as f64;
            // Standard deviations of such a count, were its rows drawn one by one; neighbours of a cluster are alike.
            let rank = (expected + 6.0 * expected.sqrt()) as usize;
            match rank < scores.len() {
                true => *scores.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1,
                false => f32::NEG_INFINITY,
            }
        };
        (0..self.queries.len() as u32).map(guess).collect()
    }

    /// One thread: scores of a few rows here and there.
    fn sample(&self, tasks: &[Task], next: &AtomicUsize, stride: usize) -> Vec<Vec<f32>> {
        let mut all = vec![Vec::new(); self.queries.len()];
        let mut room = Vec::new();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            for start in task.rows.clone().step_by(stride) {
                let rows = start..task.rows.end.min(start + TOGETHER);
                let mut scores = [0.0; TOGETHER];
                let scores = &mut scores[..rows.len()];
                let block = Block::new(self.vectors, rows, &mut room);
                for &query in &task.queries {
                    block.scores(&self.queries[query as usize], scores);
                    all[query as usize].extend_from_slice(scores);
                }
            }
        }
        all
    }

    /// One thread: takes tasks while there are any.
    fn work(&self, tasks: &[Task], next: &AtomicUsize, floors: &[Floor]) -> Vec<Vec<Entry>> {
        let mut keepers: Vec<Keeper> = self.queries.iter().map(|_| Keeper::new(self.k)).collect();
        let (mut room, mut scores) = (Vec::new(), [0.0; BLOCK]);
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            for start in task.rows.clone().step_by(BLOCK) {
                let rows = start..task.rows.end.min(start + BLOCK);
                let scores = &mut scores[..rows.len()];
                let block = Block::new(self.vectors, rows, &mut room);
                for query in task.queries.iter().map(|&query| query as usize) {
                    block.scores(&self.queries[query], scores);
                    keepers[query].take(start, scores, &self.judge(query), &floors[query]);
                }
            }
        }
        keepers.into_iter().map(Keeper::into_entries).collect()
    }

    /// Scores what was kept again, query by query.
    fn settle(&self, entries: Vec<Vec<Entry>>, guesses: &[f32]) -> Vec<Option<Vec<Hit>>> {
        let next = AtomicUsize::new(0);
        let parts = on_threads(self.threads.min(entries.len()), || {
            let mut found = Vec::new();
            loop {
                let query = next.fetch_add(1, Ordering::Relaxed);
                let Some(entries) = entries.get(query) else { return found };
                found.push((query, self.judge(query).settle(entries.clone(), guesses[query])));
            }
        });
        let mut found: Vec<_> = parts.into_iter().flatten().collect();
        found.sort_by_key(|(query, _)| *query);
        found.into_iter().map(|(_, hits)| hits).collect()
    }
}

/// Runs the same on so many threads, of which this one is the first.
fn on_threads<T: Send>(threads: usize, run: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&run)).collect();
        let mut parts = vec![run()];
        parts.extend(others.into_iter().map(|other| other.join().expect("the search of a thread ends")));
        parts
    })
}
