//! `subvocab recall STORE QUERIES`: what few clusters hold, and what they save

use std::io::Write;
use std::time::Instant;

use roundelay::io::Store;
use roundelay::vocab::search::Found;
use roundelay::{Error, Result};
use serde::Serialize;

use super::QueryArgs;
use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    query: QueryArgs,
    /// Numbers of clusters to try [default: powers of 2]
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    probes: Option<Vec<usize>>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One number of clusters.
#[derive(Serialize)]
struct Tried {
    probes: usize,
    /// Share of the best words that is found.
    recall: f64,
    milliseconds: f64,
}

impl Args {
    pub fn run(self) -> Outcome {
        let store = Store::open(&self.query.store)?;
        let (index, queries, threads) = (store.index(), self.query.queries()?, self.query.threads.count());
        let (k, named) = (self.query.k, |e: Error| e.in_file(self.query.store.display()));
        // What was never read is read from the disk now, and not while others are timed.
        index.exact(queries.view(), k, threads).map_err(named)?;
        let (exact, milliseconds) = timed(|| index.exact(queries.view(), k, threads)).map_err(named)?;
        let mut all = vec![Tried { probes: index.clusters(), recall: 1.0, milliseconds }];
        let powers = || std::iter::successors(Some(1), |probes| Some(probes * 2));
        let probes = self.probes.unwrap_or_else(|| powers().take_while(|&probes| probes < index.clusters()).collect());
        for probes in probes {
            let (found, milliseconds) =
                timed(|| index.approximate(queries.view(), k, probes, threads)).map_err(named)?;
            all.push(Tried { probes, recall: exact.recall(&found), milliseconds });
        }
        all.sort_by_key(|tried| tried.probes);
        tell(&all, self.json)
    }
}

fn timed(search: impl FnOnce() -> Result<Found>) -> Result<(Found, f64)> {
    let begun = Instant::now();
    Ok((search()?, begun.elapsed().as_secs_f64() * 1e3))
}

fn tell(all: &[Tried], as_json: bool) -> Outcome {
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(all).map_err(std::io::Error::from)?)?;
        return Ok(());
    }
    writeln!(out, "{:>8} {:>8} {:>10}", "probes", "recall", "ms")?;
    for tried in all {
        writeln!(out, "{:>8} {:>8.4} {:>10.2}", tried.probes, tried.recall, tried.milliseconds)?;
    }
    Ok(())
}
