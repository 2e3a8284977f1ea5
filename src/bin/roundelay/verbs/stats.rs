//! `stats DIR`: who speaks how much in a dataset, and what that makes of its text

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use roundelay::Seconds;
use roundelay::batch;
use roundelay::io::Dataset;
use roundelay::report::{Conversation, Statistics};

use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only the segments of one side of the split; events are still those of the whole dataset
    #[arg(long, value_enum, value_name = "SPLIT")]
    split: Option<Split>,
    /// Silence in seconds that a unit of speech may have inside
    #[arg(long, value_name = "S", default_value = "0.2")]
    unit_silence: Seconds,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(ValueEnum, Clone, Copy)]
enum Split {
    /// For training on
    Train,
    /// For measuring by
    Valid,
}

impl Split {
    fn holds(self, split: batch::Split) -> bool {
        match self {
            Split::Train => split == batch::Split::Train,
            Split::Valid => split == batch::Split::Valid,
        }
    }
}

impl Args {
    pub fn run(self) -> Outcome {
        let statistics = self.count()?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let json = serde_json::to_string_pretty(&statistics).map_err(std::io::Error::from)?;
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{statistics}")?;
        }
        Ok(())
    }

    /// Goes through the segments one by one, so that memory does not grow with their number.
    fn count(&self) -> roundelay::Result<Statistics> {
        let dataset = Dataset::open(&self.folder)?;
        let mut conversation = Conversation::new(dataset.layout()).with_silence(self.unit_silence)?;
        if is_by_rule_moshi(&dataset) {
            conversation = conversation.with_lateness();
        }
        for segment in dataset.segments() {
            let segment = segment?;
            if self.split.is_none_or(|split| split.holds(segment.split)) {
                conversation.add(&segment)?;
            }
        }
        let mut statistics = conversation.statistics();
        statistics.events = Some(dataset.info().events.clone());
        Ok(statistics)
    }
}

/// Whether words stand where they are said or later, as no other rule has it.
fn is_by_rule_moshi(dataset: &Dataset) -> bool {
    dataset.info().options.get("rule").and_then(|rule| rule.as_str()) == Some("moshi")
}
