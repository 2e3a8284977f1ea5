//! `stats DIR`: how long a dataset is, who speaks how much in it, what that makes of its text, and how its codes are used

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use roundelay::Seconds;
use roundelay::batch::{self, Segment};
use roundelay::io::Dataset;
use roundelay::report::{Conversation, Statistics, TokenCounts, TokenStatistics};
use serde::Serialize;

use crate::failure::Outcome;
use crate::input::each_segment;

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
    /// Seconds from which on a run of one code counts as stuck
    #[arg(long, value_name = "S", default_value = "1")]
    stuck: Seconds,
    /// Codes that occur less than this share of an even share count as dead
    #[arg(long, value_name = "P", default_value = "0.01")]
    dead_share: f64,
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

/// All figures, as one object of JSON.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    conversation: Statistics,
    #[serde(flatten)]
    tokens: TokenStatistics,
}

/// What is counted.
struct Counts {
    conversation: Conversation,
    tokens: TokenCounts,
}

impl Args {
    pub fn run(self) -> Outcome {
        let found = self.count()?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let json = serde_json::to_string_pretty(&found).map_err(std::io::Error::from)?;
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{}\n\n{}", found.conversation, found.tokens)?;
        }
        Ok(())
    }

    fn count(&self) -> roundelay::Result<Found> {
        let dataset = Dataset::open(&self.folder)?;
        let mut counts = self.nothing(&dataset)?;
        each_segment(&dataset, |segment| self.add(&segment, &mut counts))?;
        let mut conversation = counts.conversation.statistics();
        conversation.events = Some(dataset.info().events.clone());
        Ok(Found { conversation, tokens: counts.tokens.statistics() })
    }

    fn nothing(&self, dataset: &Dataset) -> roundelay::Result<Counts> {
        let conversation = Conversation::new(dataset.layout()).with_silence(self.unit_silence)?;
        let tokens = TokenCounts::new(dataset.layout()).with_stuck(self.stuck)?.with_dead_share(self.dead_share)?;
        let by_moshi = is_by_rule_moshi(dataset);
        Ok(Counts { conversation: if by_moshi { conversation.with_lateness() } else { conversation }, tokens })
    }

    fn add(&self, segment: &Segment, counts: &mut Counts) -> roundelay::Result<()> {
        if self.split.is_some_and(|split| !split.holds(segment.split)) {
            return Ok(());
        }
        counts.conversation.add(segment)?;
        counts.tokens.add(segment)
    }
}

/// Whether words stand where they are said or later, as no other rule has it.
fn is_by_rule_moshi(dataset: &Dataset) -> bool {
    dataset.info().options.get("rule").and_then(|rule| rule.as_str()) == Some("moshi")
}
