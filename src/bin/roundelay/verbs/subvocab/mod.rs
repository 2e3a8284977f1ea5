//! `subvocab`: the best few thousand of millions of words

mod build;
mod query;
mod recall;

use std::path::PathBuf;

use clap::Subcommand;
use ndarray::{Array2, Ix2};
use roundelay::Error;
use roundelay::io::tensors;

use crate::failure::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes a store of word vectors, in clusters, to be searched where it lies
    Build(build::Args),
    /// Finds the best words for each query
    Query(query::Args),
    /// Tells which share of the best words few clusters hold, and what it saves
    Recall(recall::Args),
}

impl Args {
    pub fn run(self) -> Outcome {
        match self.verb {
            Verb::Build(args) => args.run(),
            Verb::Query(args) => args.run(),
            Verb::Recall(args) => args.run(),
        }
    }
}

/// How many threads work.
#[derive(clap::Args)]
struct ThreadArgs {
    /// Threads: results are the same for any number [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl ThreadArgs {
    fn count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// What is looked for.
#[derive(clap::Args)]
struct QueryArgs {
    /// Store that `subvocab build` wrote
    #[arg(value_name = "STORE")]
    store: PathBuf,
    /// Queries, `[queries, dimension]` in f32 or f64: `.safetensors`, `.npz` (tensor `queries`) or `.npy`
    #[arg(value_name = "QUERIES")]
    queries: PathBuf,
    /// How many words to find for each query
    #[arg(short, long, value_name = "K", default_value_t = 8192)]
    k: usize,
    #[command(flatten)]
    threads: ThreadArgs,
}

impl QueryArgs {
    fn queries(&self) -> Result<Array2<f32>, Failure> {
        let queries = tensors::read_f32(&self.queries, "queries")?;
        let found = format!("{:?}", queries.shape());
        let grid = queries.into_dimensionality::<Ix2>();
        let error =
            |_| Error::invalid("shape of the queries", found, "[queries, dimension]").in_file(self.queries.display());
        let grid = grid.map_err(error)?;
        if grid.is_empty() {
            return Err(Error::invalid("queries", "none", "at least one").in_file(self.queries.display()).into());
        }
        Ok(grid)
    }
}
