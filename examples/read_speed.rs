//! Times shuffled batches of a dataset: the Rust side of `scripts/read-speed`.
//!
//! ```text
//! read_speed DIR BATCH THREADS EPOCHS  ->  {"epochs": [{"batches": 44, "seconds": 0.09}, ..], "weight": 252.0}
//! ```

use std::env;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use roundelay::batch::{Ahead, Collate, OrderOptions, Place};
use roundelay::io::{Batches, Dataset, Loader, LoaderOptions};
use roundelay::{Delay, Extent, Policy, Start};

/// The next batch, a few of whose weights are looked at.
fn looked_at(batches: &mut Batches<Delay>) -> Result<f64, Box<dyn Error>> {
    let loaded = batches.next().ok_or("the epochs have ended early")??;
    Ok(loaded.batch.weights.0.iter().step_by(997).map(|&weight| f64::from(weight)).sum())
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |at: usize| env::args().nth(at).ok_or("DIR BATCH THREADS EPOCHS");
    let dataset = Dataset::open(Path::new(&argument(1)?))?;
    let layout = dataset.layout().clone();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let order = OrderOptions { batch: argument(2)?.parse()?, ..OrderOptions::default() };
    let collate = Collate::new(layout, Policy::named("moshi")?, delay)?;
    let loader = Loader::new(vec![(dataset, 1.0)], collate, LoaderOptions { order, ..LoaderOptions::default() })?;

    // From the first batch on, as for everybody else: starting costs others more.
    let epochs: u64 = argument(4)?.parse()?;
    let ahead = Ahead { threads: argument(3)?.parse()?, depth: 4 };
    let mut batches = loader.batches(Place::default(), Some(epochs), ahead)?;
    let mut weight = looked_at(&mut batches)?;
    let mut told = Vec::new();
    for epoch in 0..epochs {
        let (steps, begun) = (loader.order().steps(epoch)? - u64::from(epoch == 0), Instant::now());
        for _ in 0..steps {
            weight += looked_at(&mut batches)?;
        }
        told.push(serde_json::json!({"batches": steps, "seconds": begun.elapsed().as_secs_f64()}));
    }
    println!("{}", serde_json::json!({"epochs": told, "weight": weight}));
    Ok(())
}
