//! `export DIR -o OUT --format F`: a dataset in another form

use std::io::Write;
use std::path::PathBuf;

use roundelay::io::{Dataset, JmoshiCounts, export_jmoshi};

use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Folder to write to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// J-Moshi's Parquet: `train.parquet` and `valid.parquet` of dialogue_id, A (main speaker) and B
    Jmoshi,
}

impl Args {
    pub fn run(self) -> Outcome {
        let dataset = Dataset::open(&self.folder)?;
        match self.format {
            Format::Jmoshi => {
                let counts = export_jmoshi(&dataset, &self.output)?;
                write!(anstream::stdout(), "{}", told(&counts))?;
            }
        }
        Ok(())
    }
}

fn told(counts: &JmoshiCounts) -> String {
    let mut text = format!(
        "wrote {} dialogues to train.parquet and {} to valid.parquet, {} frames\n",
        counts.train, counts.valid, counts.frames
    );
    for (count, what) in [
        (
            counts.without_text_of_b,
            "dialogues whose text of B is pads alone, as the layout has no such row: train on A",
        ),
        (counts.words, "words' times not written; their tokens are in the text"),
        (counts.regions, "regions with a weight not written"),
        (counts.meta, "segments' metadata not written"),
    ] {
        if count > 0 {
            text += &format!("{count} {what}\n");
        }
    }
    text
}
