//! Goes over rows on several threads.

use std::ops::Range;
use std::sync::Mutex;
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

/// Rows of a sample that lie together, at most: of 64 numbers each a page, since what costs is to leap, not to read.
const TOGETHER: usize = 64;

/// Rows that a sample has at most, for each query. Where K is so much smaller than N, it does without.
const LARGEST: usize = 100_000;

/// A sample is at most one row in so many: what it saves would otherwise be less than what it costs.
const SPARSE: usize = 16;

/// How a task is sampled: of every `TOGETHER` x `share` rows the first ones, one in `share`.
#[derive(Clone, Copy)]
struct Sampling {
    /// Rows for each that is taken.
    share: usize,
}

impl Sampling {
    fn of(k: usize) -> Self {
        Sampling { share: k / SAMPLED }
    }

    /// What is scored of these rows.
    fn parts(self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let stride = self.share * TOGETHER;
        let end = rows.end;
        rows.step_by(stride).map(move |start| start..start + stride.min(end - start).div_ceil(self.share))
    }

    /// For each query how many rows it has, and how many of them a sample.
    fn counts(self, tasks: &[Task], queries: usize) -> Vec<[usize; 2]> {
        let mut counts = vec![[0; 2]; queries];
        for task in tasks {
            let sampled: usize = self.parts(task.rows.clone()).map(|rows| rows.len()).sum();
            for &query in &task.queries {
                counts[query as usize][0] += task.rows.len();
                counts[query as usize][1] += sampled;
            }
        }
        counts
    }
}

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
        let parts = self.on_threads(tasks.len(), || self.work(tasks, &next, &floors));
        let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); self.queries.len()];
        for part in parts {
            entries.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
        }
        self.settle(entries, guesses)
    }

    fn judge(&self, query: usize) -> Judge<'_> {
        Judge { vectors: self.vectors, ids: self.ids, query: &self.queries[query], k: self.k }
    }

    /// The fast score that somewhat more than K rows are likely to reach, for each query; minus infinity where a sample
    /// would be too large for what it tells.
    fn guesses(&self, tasks: &[Task]) -> Vec<f32> {
        let mut guesses = vec![f32::NEG_INFINITY; self.queries.len()];
        if self.k < SAMPLED * SPARSE {
            return guesses;
        }
        let sampling = Sampling::of(self.k);
        let counts = sampling.counts(tasks, self.queries.len());
        let worth = |&query: &u32| {
            let [rows, sampled] = counts[query as usize];
            sampled <= LARGEST.min(rows / SPARSE)
        };
        let queries: Vec<u32> = (0..self.queries.len() as u32).filter(worth).collect();
        if queries.is_empty() {
            return guesses;
        }
        let tasks: Vec<Task> = tasks.iter().map(|task| task.only(&queries)).collect();
        let next = AtomicUsize::new(0);
        let parts = self.on_threads(tasks.len(), || self.sample(&tasks, &next, sampling));
        for query in queries.into_iter().map(|query| query as usize) {
            let scores = parts.iter().flat_map(|part| &part[query]).copied().collect();
            guesses[query] = guess(scores, self.k, counts[query][0]);
        }
        guesses
    }

    /// One thread: scores of a few rows here and there.
    fn sample(&self, tasks: &[Task], next: &AtomicUsize, sampling: Sampling) -> Vec<Vec<f32>> {
        let mut all = vec![Vec::new(); self.queries.len()];
        let (mut room, mut scores) = (Vec::new(), [0.0; TOGETHER]);
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            for rows in sampling.parts(task.rows.clone()).filter(|_| !task.queries.is_empty()) {
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
        let queries = entries.len();
        let waiting = Mutex::new(entries.into_iter().enumerate());
        let parts = self.on_threads(queries, || {
            let mut found = Vec::new();
            loop {
                let next = waiting.lock().expect("nobody panics in there").next();
                let Some((query, entries)) = next else { return found };
                found.push((query, self.judge(query).settle(entries, guesses[query])));
            }
        });
        let mut found: Vec<_> = parts.into_iter().flatten().collect();
        found.sort_by_key(|(query, _)| *query);
        found.into_iter().map(|(_, hits)| hits).collect()
    }

    /// Runs the same on as many threads as there are pieces of work, of which this one is the first; on fewer if the
    /// system has no more.
    fn on_threads<T: Send>(&self, pieces: usize, run: impl Fn() -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let start = |_| thread::Builder::new().spawn_scoped(scope, &run).ok();
            let others: Vec<_> = (1..self.threads.min(pieces)).map_while(start).collect();
            let mut parts = vec![run()];
            parts.extend(others.into_iter().map(|other| other.join().expect("the search of a thread ends")));
            parts
        })
    }
}

/// Which score of a sample the K-th best of so many rows is hardly below.
fn guess(mut sample: Vec<f32>, k: usize, rows: usize) -> f32 {
    let expected = k as f64 * sample.len() as f64 / rows as f64;
    // Standard deviations of such a count, were its rows drawn one by one; neighbours of a cluster are alike.
    let rank = (expected + 6.0 * expected.sqrt()) as usize;
    match rank < sample.len() {
        true => *sample.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1,
        false => f32::NEG_INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::search::vectors::Values;

    fn task(rows: Range<usize>) -> Task {
        Task { rows, queries: vec![0] }
    }

    #[test]
    fn samples_are_a_share_of_every_task() {
        let pieces: Vec<Task> = (0..100).map(|piece| task(piece * 4096..(piece + 1) * 4096)).collect();
        for (k, sampled) in [(1024, 25_600), (8192, 3200), (12_000, 2200)] {
            assert_eq!(Sampling::of(k).counts(&pieces, 1), [[409_600, sampled]]);
        }
        // Clusters of a few rows: one of each.
        let clusters: Vec<Task> = (0..100).map(|cluster| task(cluster * 9..(cluster + 1) * 9)).collect();
        assert_eq!(Sampling::of(8192).counts(&clusters, 1), [[900, 100]]);
        let parts: Vec<_> = Sampling::of(1024).parts(5..2000).collect();
        assert_eq!(parts, [5..69, 1029..1090]);
    }

    #[test]
    fn whom_a_sample_misleads_is_searched_for_again() {
        // High where the sample looks: of each piece the first 22.
        let values: Vec<f32> = (0..30_000).map(|row| if row % 4096 < 22 { 9.0 } else { row as f32 / 1e5 }).collect();
        let vectors = Vectors::new(Values::F32(&values), 1).unwrap();
        let queries = [1.0, -1.0, 1.0].map(|query| Query::new(0, &[query], &vectors).unwrap());
        let scan = Scan { vectors: &vectors, ids: None, queries: &queries, k: 12_000, threads: 2 };
        let pieces = (0..8).map(|piece| piece * 4096..30_000.min((piece + 1) * 4096));
        let tasks: Vec<Task> = pieces.map(|rows| Task { rows, queries: vec![0, 1, 2] }).collect();
        let first = scan.pass(&tasks, &scan.guesses(&tasks));
        assert_eq!(first.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        assert!(scan.run(&tasks).iter().all(|hits| hits.len() == 12_000));
    }

    #[test]
    fn no_guess_is_made_where_a_sample_would_be_large() {
        let values = vec![1.0; 200_000];
        let vectors = Vectors::new(Values::F32(&values), 1).unwrap();
        let queries = [Query::new(0, &[1.0], &vectors).unwrap()];
        let (pieces, clusters) = ([task(0..200_000)], (0..20_000).map(|c| task(c * 10..(c + 1) * 10)));
        let clusters: Vec<Task> = clusters.collect();
        for (k, tasks, guess) in [(1023, &pieces[..], false), (1024, &pieces[..], true), (8192, &clusters[..], false)] {
            let scan = Scan { vectors: &vectors, ids: None, queries: &queries, k, threads: 1 };
            assert_eq!(scan.guesses(tasks)[0].is_finite(), guess, "{k}");
        }
    }
}
