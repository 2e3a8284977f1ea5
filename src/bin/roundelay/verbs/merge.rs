//! `merge DIR.. -o DIR`: several datasets as one

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use indicatif::ProgressBar;
use roundelay::io::{Dataset, merge};
use roundelay::report::Summary;

use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folders, in the order of the result; all shards of a manifest become what one run would have written
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Folder to write: new, empty, or of this same merge broken off
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

impl Args {
    pub fn run(self) -> Outcome {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        let merged = merge(&self.folders, &self.output, &mut |counts| {
            if let Some(bar) = &bar {
                bar.set_message(format!("{} segments", counts.segments));
                bar.tick();
            }
            Ok(())
        });
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        merged?;
        let dataset = Dataset::open(&self.output)?;
        writeln!(anstream::stdout(), "{}", Summary { info: dataset.info(), layout: dataset.layout() })?;
        Ok(())
    }
}
