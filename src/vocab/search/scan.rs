//! Goes over rows on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use super::keep::{Floor, Hit, Judge, Keeper};
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
const SAMPLED: usize = 32;

/// Rows of a sample that lie together, at most: what costs is to leap, not to read, but neighbours are alike.
const TOGETHER: usize = 32;

/// Rows that a sample has at most, for each query. Where K is so much smaller than N, it does without.
const LARGEST: usize = 100_000;

/// A sample is at most one row in so many: what it saves would otherwise be less than what it costs.
const SPARSE: usize = 16;

/// Which rows of a task are scored: of every `together` x `share` rows the first ones, one in `share`.
#[derive(Clone, Copy)]
struct Sampling {
    /// Rows that lie together, at most a block.
    together: usize,
    /// Rows for each that is taken.
    share: usize,
}

impl Sampling {
    const ALL: Self = Sampling { together: BLOCK, share: 1 };

    /// A few for a search of the K best.
    fn of(k: usize) -> Self {
        Sampling { together: TOGETHER, share: k / SAMPLED }
    }

    /// What is scored of these rows.
    fn parts(self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let stride = self.share * self.together;
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
        let first = self.pass(tasks, true);
        let again: Vec<u32> = (0u32..).zip(&first).filter(|(_, hits)| hits.is_none()).map(|(query, _)| query).collect();
        if again.is_empty() {
            return first.into_iter().flatten().collect();
        }
        let tasks: Vec<Task> = tasks.iter().map(|task| task.only(&again)).collect();
        let second = self.pass(&tasks, false);
        first.into_iter().zip(second).filter_map(|(first, second)| first.or(second)).collect()
    }

    /// Goes over all rows once; no answer where the guess was too high.
    fn pass(&self, tasks: &[Task], guessing: bool) -> Vec<Option<Vec<Hit>>> {
        let floors = self.floors();
        let (guesses, asked) = (OnceLock::new(), AtomicBool::new(!guessing));
        let next = AtomicUsize::new(0);
        let parts = self.on_threads(tasks.len(), || {
            // The others need not wait for it: they keep more until they hear of it.
            if !asked.swap(true, Ordering::Relaxed) {
                let found = self.guesses(tasks);
                floors.iter().zip(&found).for_each(|(floor, &guess)| floor.raise(guess));
                guesses.set(found).expect("one thread guesses");
            }
            self.work(tasks, Sampling::ALL, &next, &floors)
        });
        let guesses = guesses.into_inner().unwrap_or_else(|| vec![f32::NEG_INFINITY; self.queries.len()]);
        let mut hits = vec![Vec::new(); self.queries.len()];
        for part in parts {
            hits.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
        }
        self.settle(hits, &guesses)
    }

    fn floors(&self) -> Vec<Floor> {
        self.queries.iter().map(|_| Floor::new(f32::NEG_INFINITY)).collect()
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
        let ranks: Vec<usize> = counts.iter().map(|&[rows, sampled]| rank(self.k, rows, sampled)).collect();
        let most = queries.iter().map(|&query| ranks[query as usize]).max().unwrap_or(0);
        let sample = Scan { k: most + 1, ..*self };
        let hits = sample.work(&tasks, sampling, &AtomicUsize::new(0), &self.floors());
        for (query, mut hits) in hits.into_iter().enumerate().filter(|(query, hits)| ranks[*query] < hits.len()) {
            let (_, hit, _) = hits.select_nth_unstable_by(ranks[query], Hit::order);
            guesses[query] = self.queries[query].floor(hit.score);
        }
        guesses
    }

    /// One thread: takes tasks while there are any.
    fn work(&self, tasks: &[Task], sampling: Sampling, next: &AtomicUsize, floors: &[Floor]) -> Vec<Vec<Hit>> {
        let mut keepers: Vec<Keeper> = self.queries.iter().map(|_| Keeper::new(self.k)).collect();
        let (mut room, mut scores) = (Vec::new(), [0.0; BLOCK]);
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            for rows in sampling.parts(task.rows.clone()).filter(|_| !task.queries.is_empty()) {
                let (first, scores) = (rows.start, &mut scores[..rows.len()]);
                let block = Block::new(self.vectors, rows, &mut room);
                for query in task.queries.iter().map(|&query| query as usize) {
                    block.scores(&self.queries[query], scores);
                    keepers[query].take(first, scores, &self.judge(query), &floors[query]);
                }
            }
        }
        keepers.into_iter().map(Keeper::into_hits).collect()
    }

    /// Puts what was kept in order, query by query.
    fn settle(&self, hits: Vec<Vec<Hit>>, guesses: &[f32]) -> Vec<Option<Vec<Hit>>> {
        let queries = hits.len();
        let waiting = Mutex::new(hits.into_iter().enumerate());
        let parts = self.on_threads(queries, || {
            let mut found = Vec::new();
            loop {
                let next = waiting.lock().expect("nobody panics in there").next();
                let Some((query, hits)) = next else { return found };
                found.push((query, self.judge(query).settle(hits, guesses[query])));
            }
        });
        let mut found: Vec<_> = parts.into_iter().flatten().collect();
        found.sort_by_key(|(query, _)| *query);
        found.into_iter().map(|(_, hits)| hits).collect()
    }

    /// Runs the same on as many threads as there are pieces of work, on fewer if the system has no more.
    fn on_threads<T: Send>(&self, pieces: usize, run: impl Fn() -> T + Sync) -> Vec<T> {
        let threads = self.threads.min(pieces);
        if threads < 2 {
            return vec![run()];
        }
        thread::scope(|scope| {
            // This thread does not work: one that it has just started could have to wait for its core, milliseconds long.
            let start = |_| thread::Builder::new().spawn_scoped(scope, &run).ok();
            let started: Vec<_> = (0..threads).map_while(start).collect();
            if started.is_empty() {
                return vec![run()];
            }
            started.into_iter().map(|thread| thread.join().expect("the search of a thread ends")).collect()
        })
    }
}

/// Which score of a sample, counted from the best, the K-th best of so many rows is hardly below.
fn rank(k: usize, rows: usize, sampled: usize) -> usize {
    let expected = k as f64 * sampled as f64 / rows as f64;
    // Standard deviations of such a count, were its rows drawn one by one; neighbours of a cluster are alike.
    (expected + 6.0 * expected.sqrt()) as usize
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
        for (k, sampled) in [(1024, 12_800), (8192, 1600), (12_000, 1100)] {
            assert_eq!(Sampling::of(k).counts(&pieces, 1), [[409_600, sampled]]);
        }
        // Clusters of a few rows: one of each.
        let clusters: Vec<Task> = (0..100).map(|cluster| task(cluster * 9..(cluster + 1) * 9)).collect();
        assert_eq!(Sampling::of(8192).counts(&clusters, 1), [[900, 100]]);
        let parts: Vec<_> = Sampling::of(1024).parts(5..2000).collect();
        assert_eq!(parts, [5..37, 1029..1060]);
    }

    #[test]
    fn whom_a_sample_misleads_is_searched_for_again() {
        // High where the sample looks: of each piece the first 11.
        let values: Vec<f32> = (0..30_000).map(|row| if row % 4096 < 11 { 9.0 } else { row as f32 / 1e5 }).collect();
        let vectors = Vectors::new(Values::F32(&values), 1).unwrap();
        let queries = [1.0, -1.0, 1.0].map(|query| Query::new(0, &[query], &vectors).unwrap());
        let scan = Scan { vectors: &vectors, ids: None, queries: &queries, k: 12_000, threads: 2 };
        let pieces = (0..8).map(|piece| piece * 4096..30_000.min((piece + 1) * 4096));
        let tasks: Vec<Task> = pieces.map(|rows| Task { rows, queries: vec![0, 1, 2] }).collect();
        let first = scan.pass(&tasks, true);
        assert_eq!(first.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        for (hits, sign) in scan.run(&tasks).iter().zip([1.0, -1.0, 1.0]) {
            let mut best: Vec<u32> = (0..30_000).collect();
            best.sort_by(|&a, &b| (sign * values[b as usize]).total_cmp(&(sign * values[a as usize])).then(a.cmp(&b)));
            assert!(hits.iter().map(|hit| hit.row).eq(best.into_iter().take(12_000)));
        }
    }

    #[test]
    fn no_guess_is_made_where_a_sample_would_be_large() {
        let values = vec![1.0; 200_000];
        let vectors = Vectors::new(Values::F32(&values), 1).unwrap();
        let queries = [Query::new(0, &[1.0], &vectors).unwrap()];
        let (pieces, clusters) = ([task(0..200_000)], (0..20_000).map(|c| task(c * 10..(c + 1) * 10)));
        let clusters: Vec<Task> = clusters.collect();
        for (k, tasks, guess) in [(511, &pieces[..], false), (512, &pieces[..], true), (8192, &clusters[..], false)] {
            let scan = Scan { vectors: &vectors, ids: None, queries: &queries, k, threads: 1 };
            assert_eq!(scan.guesses(tasks)[0].is_finite(), guess, "{k}");
        }
    }
}
