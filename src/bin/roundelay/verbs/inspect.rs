//! `inspect DIR`: what is in a dataset

use std::io::Write;
use std::path::PathBuf;

use roundelay::io::Dataset;
use roundelay::report::Summary;

use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// List the segments as well: id, start, seconds, frames, words
    #[arg(long)]
    segments: bool,
    /// Print `dataset.json` instead, checked
    #[arg(long, conflicts_with = "segments")]
    json: bool,
}

impl Args {
    pub fn run(self) -> Outcome {
        let dataset = Dataset::open(&self.folder)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let json = serde_json::to_string_pretty(dataset.info()).map_err(std::io::Error::from)?;
            writeln!(out, "{json}")?;
            return Ok(());
        }
        writeln!(out, "{}", Summary { info: dataset.info(), layout: dataset.layout() })?;
        if self.segments {
            writeln!(out, "\nid\tstart\tseconds\tframes\twords")?;
            for segment in dataset.segments() {
                let segment = segment?;
                let (frames, words) = (segment.codes.0.ncols(), segment.words.len());
                let id = segment.id.escape_debug();
                writeln!(out, "{id}\t{}\t{}\t{frames}\t{words}", segment.start, segment.duration)?;
            }
        }
        Ok(())
    }
}
