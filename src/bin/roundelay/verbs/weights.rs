//! `weights IN -o OUT --layout L --policy P`: `codes` -> `weights`, `reasons`, `sequence_weights`, `sequence_reasons`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use ndarray::Dimension;
use roundelay::io::{Dataset, read_regions, tensors};
use roundelay::weights::{DepthFrames, Example, Summary, Weighing, Weights};
use roundelay::{Error, Frames, Policy};

use crate::args;
use crate::failure::{Failure, Outcome, note};
use crate::input::{InputArgs, last_axis};
use crate::shift::ShiftArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// File to write, `.safetensors`; not needed for a summary
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    #[command(flatten)]
    shift: ShiftArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Seed of the frames' draws
    #[arg(long, value_name = "N", default_value_t = 0, requires = "depth_frames")]
    seed: u64,
    /// JSON list of `[start, end, weight]` for the one example, in seconds; a segment's own regions apply before them
    #[arg(long, value_name = "FILE")]
    regions: Option<PathBuf>,
    /// Print where the weight goes; a dataset folder without --segment is summed up whole
    #[arg(long)]
    summary: bool,
    /// Print that as JSON
    #[arg(long)]
    json: bool,
    /// Fail if a stream that is trained and has an end id ends in no example, as the loss sees it
    #[arg(long)]
    strict: bool,
}

/// A policy and what to change in it.
#[derive(clap::Args)]
pub struct PolicyArgs {
    /// Named weights to start from, moshi, kyutai or jmoshi, or a JSON file of them
    #[arg(long, value_name = "P", default_value = "moshi")]
    policy: PolicyArg,
    /// Weight of a text pad instead of the policy's
    #[arg(long, value_name = "X")]
    text_pad_weight: Option<f32>,
    /// Weight of a semantic code instead of the policy's
    #[arg(long, value_name = "X")]
    semantic_weight: Option<f32>,
    /// Weight of an acoustic code instead of the policy's
    #[arg(long, value_name = "X")]
    acoustic_weight: Option<f32>,
    /// What weights are divided by instead of the policy's choice
    #[arg(long, value_enum, value_name = "N")]
    normalize: Option<Normalize>,
    /// Learn the fills behind a stream's last code where their id is below the stream's initial one
    #[arg(long)]
    learned_tails: bool,
    /// Chance of each frame to be one in which acoustic codes are learned, 0 to 1
    #[arg(long, value_name = "SHARE")]
    depth_frames: Option<f64>,
}

/// A policy by name, or where it is written down.
#[derive(Clone)]
enum PolicyArg {
    Named(Policy),
    File(PathBuf),
}

impl FromStr for PolicyArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match Policy::named(text) {
            Err(_) if args::is_file(Path::new(text)) => Ok(PolicyArg::File(text.into())),
            policy => policy.map(PolicyArg::Named),
        }
    }
}

#[derive(ValueEnum, Clone, Copy)]
enum Normalize {
    /// Nothing
    None,
    /// Text and audio each by their own sum
    Modality,
    /// Words, pads and audio each by their own sum
    Class,
}

impl PolicyArgs {
    pub fn policy(&self, seed: u64) -> Result<Policy, Error> {
        let mut policy = match &self.policy {
            PolicyArg::Named(policy) => policy.clone(),
            PolicyArg::File(path) => {
                Policy::from_json(&args::read_text(path, "policy")?).map_err(|e| e.in_file(path.display()))?
            }
        };
        policy.text_pad = self.text_pad_weight.unwrap_or(policy.text_pad);
        policy.semantic = self.semantic_weight.unwrap_or(policy.semantic);
        policy.acoustic = self.acoustic_weight.unwrap_or(policy.acoustic);
        policy.normalize = match self.normalize {
            Some(Normalize::None) => roundelay::Normalize::None,
            Some(Normalize::Modality) => roundelay::Normalize::Modality,
            Some(Normalize::Class) => roundelay::Normalize::Class,
            None => policy.normalize,
        };
        policy.learned_tails |= self.learned_tails;
        let depth_frames = self.depth_frames.map(|share| DepthFrames { share, seed });
        policy.depth_frames = depth_frames.or(policy.depth_frames);
        Ok(policy)
    }
}

impl Args {
    pub fn run(self) -> Outcome {
        let policy = self.policy.policy(self.seed)?;
        let whole = self.input.path.is_dir() && self.input.segment.is_none();
        match &self.output {
            None if !self.sums_up() => Err(Failure::Usage("give -o OUT for the weights, or --summary".into())),
            None if whole => self.report(&self.of_dataset(&policy)?),
            output => self.of_input(&policy, output.as_deref()),
        }
    }

    fn sums_up(&self) -> bool {
        self.summary || self.json || self.strict
    }

    /// Weighs the tensor or the segment.
    fn of_input(&self, policy: &Policy, output: Option<&Path>) -> Outcome {
        let segment = self.input.in_dataset()?;
        let (layout, codes) = self.input.codes()?;
        let at = |e| self.input.named(e);
        let shift = self.shift.of_frames(&layout, last_axis(&codes))?;
        let codes = Frames(codes);
        layout.check_codes(&codes).map_err(at)?;
        let mut regions = segment.map_or(Vec::new(), |(_, segment)| segment.regions);
        regions.extend(self.regions.as_deref().map(read_regions).transpose()?.unwrap_or_default());
        let one = [Example { index: self.index(policy)?, regions: &regions }];
        let batch = codes.0.ndim() == 3 && regions.is_empty();
        let weighing = Weighing { examples: if batch { &[] } else { &one }, ..Weighing::new(policy, &layout) };
        if let Some(output) = output {
            let weights = weighing.weigh(&shift, &codes).map_err(at)?;
            for class in policy.nothing_to_learn(&layout, &weights.sums) {
                note(format!("nothing to learn in {}: 0 in the loss", class.name()));
            }
            write(output, weights)?;
        }
        if !self.sums_up() {
            return Ok(());
        }
        let mut summary = Summary::new(policy, &layout)?;
        summary.add(&weighing, &shift, &codes).map_err(at)?;
        self.report(&summary)
    }

    /// Weighs all segments, one after another.
    fn of_dataset(&self, policy: &Policy) -> Result<Summary, Failure> {
        if self.regions.is_some() || self.input.layout.is_some() {
            let message = "a whole dataset brings its own layout and regions: leave --layout and --regions out";
            return Err(Failure::Usage(message.into()));
        }
        let dataset = Dataset::open(&self.input.path)?;
        let layout = dataset.layout();
        let mut summary = Summary::new(policy, layout)?;
        for (index, segment) in dataset.segments().enumerate() {
            let segment = segment?;
            let examples = [Example { index: index as u64, regions: &segment.regions }];
            let weighing = Weighing { examples: &examples, ..Weighing::new(policy, layout) };
            let shift = self.shift.of_frames(layout, segment.codes.0.ncols())?;
            summary.add(&weighing, &shift, &segment.codes).map_err(|e| e.in_recording(&segment.id))?;
        }
        Ok(summary)
    }

    /// Which example of its dataset a segment is, where that makes a difference.
    fn index(&self, policy: &Policy) -> Result<u64, Error> {
        let (Some(id), Some(_)) = (&self.input.segment, policy.depth_frames) else { return Ok(0) };
        let dataset = Dataset::open(&self.input.path)?;
        let mut index = 0;
        for segment in dataset.segments() {
            if segment?.id == *id {
                break;
            }
            index += 1;
        }
        Ok(index)
    }

    fn report(&self, summary: &Summary) -> Outcome {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(summary).map_err(std::io::Error::from)?)?;
        } else if self.summary {
            write!(out, "{summary}")?;
        }
        if self.strict && summary.streams.iter().all(|stream| stream.end.is_none()) {
            note("no stream of the layout has an end id: there is nothing to audit");
        }
        let endless: Vec<_> = summary.endless().map(|stream| stream.name.as_str()).collect();
        match self.strict && !endless.is_empty() {
            true => Err(Failure::Incomplete(format!("no example has a live end in {}", endless.join(", ")))),
            false => Ok(()),
        }
    }
}

fn write<D: Dimension>(output: &Path, weights: Weights<D>) -> Outcome {
    let tensors = [
        ("weights", weights.frames.0.into()),
        ("reasons", weights.frame_reasons.0.into()),
        ("sequence_weights", weights.steps.0.into()),
        ("sequence_reasons", weights.step_reasons.0.into()),
    ];
    Ok(tensors::write(output, &tensors)?)
}
