//! Times shuffled batches of a dataset: the Rust side of `scripts/read-speed`.
//!
//! ```text
//! read_speed DIR BATCH THREADS EPOCHS  ->  {"batches": 126, "seconds": 0.41, "tokens": 43008000, "weight": 252.0}
//! ```

use std::env;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use roundelay::batch::{Ahead, Collate, OrderOptions, Place};
use roundelay::io::{Dataset, Loader, LoaderOptions};
use roundelay::{Delay, Extent, Policy, Start};

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |at: usize| env::args().nth(at).ok_or("DIR BATCH THREADS EPOCHS");
    let begun = Instant::now();
    let dataset = Dataset::open(Path::new(&argument(1)?))?;
    let layout = dataset.layout().clone();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let order = OrderOptions { batch: argument(2)?.parse()?, ..OrderOptions::default() };
    let collate = Collate::new(layout, Policy::named("moshi")?, delay)?;
    let loader = Loader::new(vec![(dataset, 1.0)], collate, LoaderOptions { order, ..LoaderOptions::default() })?;
    let opened = begun.elapsed();

    // Batches are counted from the first that is asked for, as for everybody else.
    let begun = Instant::now();
    let ahead = Ahead { threads: argument(3)?.parse()?, depth: 4 };
    let mut batches = loader.batches(Place::default(), Some(argument(4)?.parse()?), ahead)?;
    let (mut count, mut tokens, mut weight) = (0, 0, 0.0);
    while let Some(loaded) = batches.next() {
        let batch = &loaded?.batch;
        (count, tokens) = (count + 1, tokens + batch.input.0.len());
        weight += batch.weights.0.iter().step_by(997).map(|&weight| f64::from(weight)).sum::<f64>();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let told = serde_json::json!({
        "batches": count, "seconds": seconds, "tokens": tokens, "weight": weight, "opened": opened.as_secs_f64(),
    });
    println!("{told}");
    Ok(())
}
