//! Makes a store out of a source.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::source::VectorSource;
use super::store::{About, Numbers, VERSION};
use super::writer::{Plan, Writer};
use crate::codebook::{Codes, Draws, KMeans, SeededDraws, threads};
use crate::error::{Error, Result};
use crate::vocab::search::{LONGEST, Values, Vectors, bad_value, is_good, unit_rows};

/// Rows that are read at a time.
const BLOCK: usize = 8192;

/// Sampled rows that a worker of k-means has at least: what it passes on takes as long.
const SHARE: usize = 256;

/// Numbers of clusters are kept in 16 bits.
const MOST_CLUSTERS: usize = 1 << 16;

/// How a store is made.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildOptions {
    /// How numbers are held. Default i8: a quarter of the memory and of the time of f32.
    pub numbers: Numbers,
    /// Whether scores are cosines: vectors are made as long as 1 first. Default no: inner products of them as they are.
    pub cosine: bool,
    /// How many clusters. Default the square root of the number of vectors; the time to build grows with it.
    pub clusters: Option<usize>,
    /// Vectors that k-means sees for each cluster. Default 64.
    pub sample: usize,
    /// Rounds of k-means. Default 10.
    pub rounds: usize,
    /// Seed of the sample and of k-means. Default 0.
    pub seed: u64,
    /// Threads, which change nothing but the time; no more than there is work for. Default 1.
    pub threads: usize,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            numbers: Numbers::I8,
            cosine: false,
            clusters: None,
            sample: 64,
            rounds: 10,
            seed: 0,
            threads: 1,
        }
    }
}

/// What was built.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Vectors.
    pub rows: usize,
    /// Clusters.
    pub clusters: usize,
    /// Vectors of the largest cluster.
    pub largest_cluster: usize,
    /// Size of the file.
    pub bytes: u64,
    /// Time for the centroids.
    pub clustering: Duration,
    /// Time to find each vector's centroid.
    pub assigning: Duration,
    /// Time to round and write the vectors.
    pub writing: Duration,
}

/// Writes a store: the same bytes for the same vectors and options, whatever the number of threads.
///
/// The file has its name when all of it is on the disk, and not before.
///
/// # Errors
/// `Invalid` if there is no vector, a value is not a number up to 1e15, or for f16 beyond 65504, or an option is out of
/// its bounds; `Io`; that of the source.
pub fn build_store(source: &dyn VectorSource, path: &Path, options: &BuildOptions) -> Result<Built> {
    let clusters = options.check(source)?;
    let threads = options.threads.min(source.vectors().div_ceil(BLOCK));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::io("start threads", std::io::Error::other(e)))?;
    let rows = Rows { source, cosine: options.cosine };

    let begun = Instant::now();
    let codes = Codes::new(centroids(&rows, clusters, options)?);
    let clustering = begun.elapsed();

    let begun = Instant::now();
    let mut homes = vec![0u16; source.vectors()];
    let reach = pool.install(|| assign(&rows, &codes, &mut homes))?;
    let assigning = begun.elapsed();

    let begun = Instant::now();
    let offsets = offsets(&homes, codes.len());
    let scales = reach.scales(options.numbers);
    let about =
        About { version: VERSION, numbers: options.numbers, cosine: options.cosine, longest: reach.longest(&scales) };
    let table = codes.table();
    let centroids = table.as_slice().expect("codes are row-major");
    let plan = Plan { about, dimension: source.dimension(), offsets: &offsets, centroids, scales: &scales };
    let bytes = write(&rows, &homes, path, &plan).map_err(|e| e.in_file(path.display()))?;
    let largest = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
    let (rows, clusters) = (source.vectors(), codes.len());
    Ok(Built { rows, clusters, largest_cluster: largest, bytes, clustering, assigning, writing: begun.elapsed() })
}

impl BuildOptions {
    /// Returns the number of clusters.
    fn check(&self, source: &dyn VectorSource) -> Result<usize> {
        let rows = source.vectors();
        if rows == 0 || source.dimension() == 0 {
            return Err(Error::invalid("vectors", format!("{rows} x {}", source.dimension()), "at least one number"));
        }
        if rows >= u32::MAX as usize || source.dimension() > 1 << 16 {
            let found = format!("{rows} x {}", source.dimension());
            return Err(Error::over_limit("shape of the vectors", found, format!("{} x {}", u32::MAX - 1, 1 << 16)));
        }
        let clusters = self.clusters.unwrap_or(rows.isqrt().min(MOST_CLUSTERS));
        let most = rows.min(MOST_CLUSTERS);
        if !(1..=most).contains(&clusters) {
            return Err(Error::invalid("number of clusters", clusters, format!("1 to {most} for {rows} vectors")));
        }
        for (what, found) in [("vectors of a sample for each cluster", self.sample), ("threads", self.threads)] {
            if found == 0 {
                return Err(Error::invalid(format!("number of {what}"), 0, "at least 1"));
            }
        }
        Ok(clusters)
    }
}

/// A source as it is stored but for rounding.
struct Rows<'a> {
    source: &'a dyn VectorSource,
    cosine: bool,
}

impl Rows<'_> {
    fn read(&self, first: usize, count: usize) -> Result<Array2<f32>> {
        let mut rows = Array2::zeros((count, self.source.dimension()));
        self.source.read(first, rows.as_slice_mut().expect("a new array is contiguous"))?;
        Ok(rows)
    }

    /// Rows that are known to be numbers.
    fn ready(&self, rows: Array2<f32>) -> Result<Array2<f32>> {
        if self.cosine { unit_rows(rows.view()) } else { Ok(rows) }
    }

    /// The block of this number; errors count rows from the first of all.
    fn block(&self, number: usize) -> Result<Array2<f32>> {
        let first = number * BLOCK;
        let rows = self.read(first, BLOCK.min(self.source.vectors() - first))?;
        if let Some(((row, column), &value)) = rows.indexed_iter().find(|(_, value)| !is_good(**value)) {
            return Err(bad_value(first + row, column, value));
        }
        self.ready(rows)
    }
}

/// k-means on a sample.
fn centroids(rows: &Rows<'_>, clusters: usize, options: &BuildOptions) -> Result<Array2<f32>> {
    let all = rows.source.vectors();
    let count = clusters.saturating_mul(options.sample).min(all);
    let mut drawn = SeededDraws::new(options.seed).rows(all, count);
    drawn.sort_unstable();
    let mut sample = Array2::zeros((count, rows.source.dimension()));
    for (row, mut place) in drawn.into_iter().zip(sample.rows_mut()) {
        rows.source.read(row, place.as_slice_mut().expect("a row of a row-major matrix is contiguous"))?;
        if let Some(column) = place.iter().position(|&value| !is_good(value)) {
            return Err(bad_value(row, column, place[column]));
        }
    }
    let sample = rows.ready(sample)?;
    let means = KMeans { clusters, rounds: options.rounds, seed: options.seed, ..KMeans::default() };
    on_workers(&means, sample.view(), options.threads.min(count.div_ceil(SHARE)))
}

/// The same means for any number of workers.
fn on_workers(means: &KMeans, sample: ArrayView2<'_, f32>, count: usize) -> Result<Array2<f32>> {
    thread::scope(|scope| {
        let part = sample.nrows().div_ceil(count);
        let ends =
            (0..count).map(|worker| (worker * part).min(sample.nrows())..((worker + 1) * part).min(sample.nrows()));
        let workers = threads(count).into_iter().zip(ends);
        let handles: Vec<_> = workers
            .map(|(mut worker, range)| {
                let part = sample.slice(s![range, ..]);
                let fit = move || means.fit_with(part, worker.as_mut());
                thread::Builder::new().spawn_scoped(scope, fit).map_err(|e| Error::io("start threads", e))
            })
            .collect::<Result<_>>()?;
        let fitted = handles.into_iter().map(|handle| handle.join().expect("k-means ends"));
        let fitted = fitted.collect::<Result<Vec<_>>>()?;
        Ok(fitted.into_iter().next().expect("at least one worker").means)
    })
}

/// How far numbers reach.
struct Reach {
    /// The largest size in each dimension.
    largest: Vec<f32>,
    longest: f64,
}

impl Reach {
    fn of(rows: ArrayView2<'_, f32>) -> Result<Self> {
        let mut largest = vec![0.0f32; rows.ncols()];
        for row in rows.rows() {
            largest.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(value.abs()));
        }
        let values = rows.as_slice().expect("blocks are row-major");
        Ok(Reach { largest, longest: Vectors::new(Values::F32(values), rows.ncols())?.longest() })
    }

    fn with(mut self, other: Reach) -> Self {
        self.largest.iter_mut().zip(other.largest).for_each(|(mine, theirs)| *mine = mine.max(theirs));
        Reach { longest: self.longest.max(other.longest), ..self }
    }

    fn scales(&self, numbers: Numbers) -> Vec<f32> {
        match numbers {
            Numbers::I8 => self.largest.iter().map(|largest| largest / 127.0).collect(),
            _ => Vec::new(),
        }
    }

    /// What no vector is longer than once it is rounded.
    fn longest(&self, scales: &[f32]) -> f64 {
        let moved: f64 = scales.iter().map(|&scale| f64::from(scale).powi(2)).sum::<f64>().sqrt();
        // Halves keep 11 bits, and 24 behind the point.
        let longest = self.longest * 1.001 + moved + 1e-7 * (self.largest.len() as f64).sqrt();
        longest.min(LONGEST)
    }
}

/// Finds the nearest centroid of every row.
fn assign(rows: &Rows<'_>, codes: &Codes, homes: &mut [u16]) -> Result<Reach> {
    let none = || Reach { largest: vec![0.0; codes.dimension()], longest: 0.0 };
    let blocks = homes.par_chunks_mut(BLOCK).enumerate().map(|(number, homes)| {
        let rows = rows.block(number)?;
        let nearest = codes.nearest(rows.view());
        homes.iter_mut().zip(nearest).for_each(|(home, code)| *home = code as u16);
        Reach::of(rows.view())
    });
    // The first of several errors, whichever thread was faster.
    let parts: Vec<Result<Reach>> = blocks.collect();
    parts.into_iter().try_fold(none(), |all, part| Ok(all.with(part?)))
}

fn offsets(homes: &[u16], clusters: usize) -> Vec<u64> {
    let mut offsets = vec![0u64; clusters + 1];
    homes.iter().for_each(|&home| offsets[usize::from(home) + 1] += 1);
    (1..offsets.len()).for_each(|cluster| offsets[cluster] += offsets[cluster - 1]);
    offsets
}

fn write(rows: &Rows<'_>, homes: &[u16], path: &Path, plan: &Plan<'_>) -> Result<u64> {
    let mut writer = Writer::create(path, plan)?;
    for (number, homes) in homes.chunks(BLOCK).enumerate() {
        let block = rows.block(number)?;
        writer.add(block.as_slice().expect("blocks are row-major"), homes)?;
    }
    writer.finish()
}
