//! `codebook stats DIR..`: how every codebook of datasets is used

use std::io::Write;
use std::path::{Path, PathBuf};

use roundelay::codebook::Threshold;
use roundelay::io::{Dataset, Identity, write_atomic};
use roundelay::report::CodebookCounts;
use roundelay::{Error, Result};

use crate::args;
use crate::failure::{Failure, Outcome};
use crate::input::each_segment;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folders, and files of counts that --counts wrote: all of one layout and codec
    #[arg(value_name = "DIR", required = true)]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    dead: DeadArgs,
    /// Count streams of one level as one codebook, whoever speaks
    #[arg(long)]
    by_level: bool,
    /// Also keep a moving average over the segments, of which this share stays at each
    #[arg(long, value_name = "DECAY", value_parser = share, conflicts_with_all = ["by_level", "counts"])]
    ema: Option<f64>,
    /// Write the counts to a file, `.json`, to be added up with others
    #[arg(long, value_name = "OUT")]
    counts: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Which codes are dead.
#[derive(clap::Args)]
#[group(multiple = false)]
struct DeadArgs {
    /// Codes that occur less than so many times are dead
    #[arg(long, value_name = "N", value_parser = amount)]
    dead_count: Option<f64>,
    /// Codes with less than this share of all are dead
    #[arg(long, value_name = "P", value_parser = share)]
    dead_share: Option<f64>,
    /// Codes that occur less than this part of the mean count are dead [default: 0.01]
    #[arg(long, value_name = "R", value_parser = amount)]
    dead_ratio: Option<f64>,
}

impl DeadArgs {
    fn threshold(&self) -> Threshold {
        let count = self.dead_count.map(Threshold::Count);
        let share = self.dead_share.map(Threshold::Share);
        count.or(share).unwrap_or(Threshold::Ratio(self.dead_ratio.unwrap_or(0.01)))
    }
}

fn amount(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "it is a number of 0 or more".to_owned())
}

fn share(text: &str) -> std::result::Result<f64, String> {
    amount(text).ok().filter(|share| *share <= 1.0).ok_or_else(|| "it is a number from 0 to 1".to_owned())
}

impl Args {
    pub fn run(self) -> Outcome {
        self.check_counts()?;
        let counts = self.count()?;
        if let Some(path) = &self.counts {
            write_atomic(path, (serde_json::to_string(&counts).map_err(std::io::Error::from)? + "\n").as_bytes())?;
        }
        let dead = self.dead.threshold();
        let found = if self.by_level { counts.statistics_by_level(dead) } else { counts.statistics(dead) };
        let mut out = std::io::stdout().lock();
        if self.json {
            let json = serde_json::to_string_pretty(&found).map_err(std::io::Error::from)?;
            writeln!(out, "{json}")?;
        } else {
            writeln!(out, "{found}")?;
        }
        Ok(())
    }

    /// What could not be written, or not be read again, is better known before all is counted.
    fn check_counts(&self) -> Outcome {
        let Some(path) = &self.counts else { return Ok(()) };
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        if path.extension().is_none_or(|extension| extension != "json") || path.is_dir() {
            return Err(Failure::Usage(format!("--counts writes a file .json, and {} is none", path.display())));
        }
        if folder.is_some_and(|folder| !folder.is_dir()) {
            let error = Error::invalid("folder of the counts", "missing", "a folder that is there");
            return Err(error.in_file(path.display()).into());
        }
        Ok(())
    }

    /// Goes through all inputs once, in their order.
    fn count(&self) -> std::result::Result<CodebookCounts, Failure> {
        if let (Some(_), Some(file)) = (self.ema, self.inputs.iter().find(|path| is_counts(path))) {
            let file = file.display();
            return Err(Failure::Usage(format!("--ema goes over segments, and {file} has counts alone")));
        }
        let mut all: Option<CodebookCounts> = None;
        for path in &self.inputs {
            all = Some(self.with(all, path).map_err(|e| e.in_file(path.display()))?);
        }
        all.ok_or_else(|| Failure::Usage("there is nothing to count".into()))
    }

    /// The counts with those of one more input.
    fn with(&self, all: Option<CodebookCounts>, path: &Path) -> Result<CodebookCounts> {
        if is_counts(path) {
            let more = read_counts(path)?;
            return match all {
                None => Ok(more),
                Some(mut all) => all.merge(&more).map(|()| all),
            };
        }
        let dataset = Dataset::open(path)?.without_words();
        let empty = CodebookCounts::new(dataset.layout(), &codec_of(&dataset.info().codec))?;
        let mut counts = match (all, self.ema) {
            (Some(all), _) => all,
            (None, Some(decay)) => empty.clone().with_average(decay)?,
            (None, None) => empty.clone(),
        };
        counts.check_alike(&empty)?;
        each_segment(&dataset, |segment| counts.add(&segment))?;
        Ok(counts)
    }
}

/// Whether an input is a file of counts and no dataset, of which some are files as well.
fn is_counts(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json") && !path.is_dir()
}

fn read_counts(path: &Path) -> Result<CodebookCounts> {
    let text = args::read_text(path, "file of counts")?;
    serde_json::from_str(&text).map_err(|e| Error::malformed("file of counts", e))
}

/// A codec's name, and the hash of its weights where it has any.
fn codec_of(codec: &Identity) -> String {
    match &codec.sha256 {
        Some(sha256) => format!("{} {sha256}", codec.name),
        None => codec.name.clone(),
    }
}
