//! Times the search for the best of many vectors: the Rust side of `scripts/search-speed`.
//!
//! ```text
//! search_speed VECTORS.safetensors STORE QUERIES.safetensors ROWS THREADS      STORE is built of the first ROWS, or
//!                                                                     is there if ROWS is 0
//! {"read": true}                                                      a line on standard input, and its answer:
//! {"queries": 16, "from": 0, "k": 8192}                               {"seconds": s}
//! {"queries": 16, "from": 0, "k": 8192, "memory": true}               {"before": bytes, "peak": bytes}
//! {"queries": 64, "from": 0, "k": 8192, "recall": 0.95}               {"probes": p, "recall": r}
//! {"queries": 1, "from": 5, "k": 8192, "probes": p, "ids": PATH}      {"seconds": s}, the ids in a file
//! ```

use std::error::Error;
use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use ndarray::{Array2, ArrayView2, Ix2, s};
use roundelay::io::{BuildOptions, Store, TensorRows, VectorSource, build_store, tensors};
use roundelay::vocab::search::{Found, Index, Values};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The first of all vectors.
struct First<'a>(&'a TensorRows, usize);

impl VectorSource for First<'_> {
    fn vectors(&self) -> usize {
        self.1
    }

    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn read(&self, first: usize, rows: &mut [f32]) -> roundelay::Result<()> {
        self.0.read(first, rows)
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [vectors, store, queries, rows, threads] = arguments.as_slice() else {
        return Err("usage: search_speed VECTORS STORE QUERIES ROWS THREADS".into());
    };
    let (store, threads) = (Path::new(store), threads.parse()?);
    let rows = rows.parse()?;
    if rows > 0 {
        build(&TensorRows::open(Path::new(vectors), None)?, store, rows, threads)?;
    }
    let queries = tensors::read_f32(Path::new(queries), "queries")?.into_dimensionality::<Ix2>()?;
    let store = Store::open(store)?;
    let bench = Bench { index: store.index(), queries, threads };
    for line in stdin().lock().lines() {
        println!("{}", bench.answer(&serde_json::from_str(&line?)?)?);
    }
    Ok(())
}

fn build(vectors: &TensorRows, store: &Path, rows: usize, threads: usize) -> Outcome<()> {
    let options = BuildOptions { threads, ..BuildOptions::default() };
    let begun = Instant::now();
    let built = build_store(&First(vectors, rows), store, &options)?;
    let [clustering, assigning, writing] =
        [built.clustering, built.assigning, built.writing].map(|part| part.as_secs_f64());
    println!(
        "{}",
        json!({
            "seconds": begun.elapsed().as_secs_f64(), "clustering": clustering, "assigning": assigning,
            "writing": writing, "bytes": built.bytes, "clusters": built.clusters,
            "largest": built.largest_cluster, "peak": memory("VmHWM")?,
        })
    );
    Ok(())
}

/// Bytes of this process: `RssAnon` are its own, without those of files that are mapped, and `VmHWM` the most that it ever
/// held with them.
fn memory(name: &str) -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    let kilo: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilo * 1024)
}

/// The most memory of its own that the process is seen with while this runs: a look each millisecond, as the system
/// counts no peak of it.
fn watched<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(memory("RssAnon").unwrap_or(0));
                thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let done = run();
        over.store(true, Ordering::Relaxed);
        (done, looks.join().expect("looking ends"))
    })
}

struct Bench<'a> {
    index: Index<'a>,
    queries: Array2<f32>,
    threads: usize,
}

impl Bench<'_> {
    fn answer(&self, asked: &Value) -> Outcome<Value> {
        if asked["read"] == true {
            let begun = Instant::now();
            let sum = self.read()?;
            return Ok(json!({ "seconds": begun.elapsed().as_secs_f64(), "sum": sum }));
        }
        let number = |name: &str| asked[name].as_u64().ok_or(name.to_owned()).map(|number| number as usize);
        let (from, k) = (number("from")?, number("k")?);
        let queries = self.queries.slice(s![from..from + number("queries")?, ..]);
        if let Some(least) = asked["recall"].as_f64() {
            return self.tune(queries, k, least);
        }
        if asked["memory"] == true {
            let before = memory("RssAnon")?;
            let (found, peak) = watched(|| self.index.exact(queries, k, self.threads));
            return found.map(|_| json!({ "before": before, "peak": peak })).map_err(Into::into);
        }
        let begun = Instant::now();
        let found = match number("probes") {
            Ok(probes) => self.index.approximate(queries, k, probes, self.threads)?,
            Err(_) => self.index.exact(queries, k, self.threads)?,
        };
        let seconds = begun.elapsed().as_secs_f64();
        if let Some(path) = asked["ids"].as_str() {
            tensors::write(Path::new(path), &[("ids", found.ids.mapv(i64::from).into())])?;
        }
        Ok(json!({ "seconds": seconds }))
    }

    /// The sum of all vectors as words: what it takes to have read them once.
    fn read(&self) -> Outcome<u64> {
        let Values::I8 { values, .. } = self.index.vectors().values() else { return Err("a store of i8".into()) };
        let (_, words, _) = bytemuck::pod_align_to::<i8, u64>(values);
        let part = words.len().div_ceil(self.threads);
        Ok(thread::scope(|scope| {
            let sum = |words: &[u64]| words.iter().fold(0u64, |sum, &word| sum.wrapping_add(word));
            let handles: Vec<_> = words.chunks(part).map(|words| scope.spawn(move || sum(words))).collect();
            handles.into_iter().map(|handle| handle.join().expect("a sum ends")).fold(0, u64::wrapping_add)
        }))
    }

    /// The fewest probes with at least this recall in the mean over the queries.
    fn tune(&self, queries: ArrayView2<'_, f32>, k: usize, least: f64) -> Outcome<Value> {
        let exact = self.index.exact(queries, k, self.threads)?;
        let recall = |probes: usize| -> roundelay::Result<f64> {
            let found: Found = self.index.approximate(queries, k, probes, self.threads)?;
            Ok(found.recall(&exact))
        };
        let (mut low, mut high) = (0, self.index.clusters());
        while low + 1 < high {
            let middle = low.midpoint(high);
            if recall(middle)? >= least { high = middle } else { low = middle }
        }
        Ok(json!({ "probes": high, "recall": recall(high)? }))
    }
}
