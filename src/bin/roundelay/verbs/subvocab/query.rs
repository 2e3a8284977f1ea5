//! `subvocab query STORE QUERIES`: the best words for each query

use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::Ix2;
use roundelay::io::{Store, tensors};
use roundelay::vocab::search::Found;
use roundelay::{Error, ErrorKind, Result};
use serde_json::json;

use super::QueryArgs;
use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    query: QueryArgs,
    /// Look only into the clusters with the best centroids, so many of them [default: all, which is exact]
    #[arg(long, value_name = "N")]
    probes: Option<usize>,
    /// Words that must be found: tensor `labels`, `[queries, L]` of ids, -1 where there is none
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// File for `ids` and `scores`, `[queries, K]`, `.safetensors` [default: JSON on standard output]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

impl Args {
    pub fn run(self) -> Outcome {
        let store = Store::open(&self.query.store)?;
        let (index, queries, threads) = (store.index(), self.query.queries()?, self.query.threads.count());
        let found = match self.probes {
            Some(probes) => index.approximate(queries.view(), self.query.k, probes, threads),
            None => index.exact(queries.view(), self.query.k, threads),
        };
        let mut found = found.map_err(|e| e.in_file(self.query.store.display()))?;
        if let Some(path) = &self.labels {
            let labels = labels(path).map_err(|e| e.in_file(path.display()))?;
            let forced = index.with_labels(&found, queries.view(), &labels);
            found = forced.map_err(|e| match e.kind() {
                ErrorKind::Malformed { .. } => e.in_file(self.query.store.display()),
                _ => e.in_file(path.display()),
            })?;
        }
        self.tell(found)
    }

    fn tell(&self, found: Found) -> Outcome {
        let Some(path) = &self.output else {
            let rows = found.ids.rows().into_iter().zip(found.scores.rows());
            let rows = rows.map(|(ids, scores)| json!({ "ids": ids.to_vec(), "scores": scores.to_vec() }));
            let mut out = std::io::stdout().lock();
            for row in rows {
                writeln!(out, "{row}")?;
            }
            return Ok(());
        };
        let ids = found.ids.mapv(i64::from);
        Ok(tensors::write(path, &[("ids", ids.into()), ("scores", found.scores.into())])?)
    }
}

/// A list for each query, without what stands for none.
fn labels(path: &Path) -> Result<Vec<Vec<u32>>> {
    let labels = tensors::read(path, "labels")?;
    let found = format!("{:?}", labels.shape());
    let grid = labels.into_dimensionality::<Ix2>();
    let grid = grid.map_err(|_| Error::invalid("shape of the labels", found, "[queries, L]"))?;
    let id = |&id: &i64| u32::try_from(id).map_err(|_| Error::invalid("label", id, "an id, or -1 for none"));
    grid.rows().into_iter().map(|row| row.iter().filter(|&&id| id != -1).map(id).collect()).collect()
}
