//! What verbs read that make training batches: datasets, in an order, looked at and weighed in a way.

use std::path::PathBuf;

use clap::ValueEnum;
use roundelay::batch::{self, Collate, Crop, OrderOptions, Packing, Split};
use roundelay::io::{Dataset, INFO_FILE, Loader, LoaderOptions, sha256_of_file};
use roundelay::pipeline;
use roundelay::{Delay, Error, FrameRate, Layout, Policy, Seconds};

use crate::args::AugmentArgs;
use crate::failure::Failure;
use crate::verbs::weights::PolicyArgs;

/// Datasets, and how batches are made of them.
#[derive(clap::Args)]
pub struct ReadArgs {
    /// Dataset folders, all of one layout
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// How often an epoch goes through each folder, in their order; 1 unless told
    #[arg(long, value_name = "X,..", value_delimiter = ',')]
    source_weights: Vec<f64>,
    #[command(flatten)]
    pub order: OrderArgs,
    /// A crop's row of text: cut as it stands, or made of the words that start in it, with or without those it cuts
    #[arg(long, value_enum, value_name = "TEXT", default_value_t = SliceText::Cut)]
    text: SliceText,
    #[command(flatten)]
    augment: AugmentArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Whether sequences grow by the largest delay, or lose the tails
    #[arg(long, value_enum, default_value_t = Extent::Extend)]
    extent: Extent,
    /// MiB of decoded row groups that each folder may keep; a pool holds no more than fits half of it
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    cache: usize,
}

/// Which part of the corpus is read.
pub struct Part {
    pub split: Option<Split>,
    /// Everything exactly once, unshuffled.
    pub evaluation: bool,
    pub world: usize,
    pub rank: usize,
}

/// How an epoch is put in order.
#[derive(clap::Args)]
pub struct OrderArgs {
    /// Rows of one rank at each step
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Seed of all draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Segments at most in the pool that is mixed and sorted by length at once
    #[arg(long, value_name = "N", default_value_t = 16384)]
    pool: usize,
    /// Leave batches as they are drawn: lengths are not brought together
    #[arg(long)]
    pub no_length_pools: bool,
    /// What is shuffled
    #[arg(long, value_enum, value_name = "SHUFFLE", default_value_t = Shuffle::Blocks)]
    shuffle: Shuffle,
    /// Seconds of a random crop of each segment, drawn anew each time
    #[arg(long, value_name = "S", conflicts_with = "window")]
    crop: Option<Seconds>,
    /// Seconds of windows that segments are cut into
    #[arg(long, value_name = "S")]
    window: Option<Seconds>,
    /// Seconds from one window's start to the next one's; the window's length unless given
    #[arg(long, value_name = "S", requires = "window")]
    hop: Option<Seconds>,
    /// Each segment also with main and other speaker swapped
    #[arg(long)]
    both_sides: bool,
    /// Seconds of rows that several segments are packed into: one segment of that length fits
    #[arg(long, value_name = "S")]
    pack: Option<Seconds>,
}

#[derive(ValueEnum, Clone, Copy)]
enum SliceText {
    Cut,
    Start,
    Drop,
}

#[derive(ValueEnum, Clone, Copy)]
enum Extent {
    Extend,
    Truncate,
}

#[derive(ValueEnum, Clone, Copy)]
enum Shuffle {
    /// Row groups, and what is in a pool
    Blocks,
    /// All segments, at the cost of reading a row group for each
    Full,
    /// Nothing
    Stored,
}

/// Rows that a segment of so many frames fills.
fn packing(delay: &Delay, frames: usize) -> Result<Packing, Error> {
    let packing = Packing::of(delay, frames)?;
    Ok(Packing { steps: (frames + packing.overhead).saturating_sub(1), ..packing })
}

impl OrderArgs {
    fn options(&self, rate: FrameRate, delay: &Delay) -> Result<OrderOptions, Error> {
        let frames = |time: Seconds| usize::try_from(rate.ceil(time)).unwrap_or(0);
        let crop = match (self.crop, self.window) {
            (Some(length), _) => Crop::Random { frames: frames(length) },
            (None, Some(window)) => Crop::Windows { frames: frames(window), hop: frames(self.hop.unwrap_or(window)) },
            (None, None) => Crop::Whole,
        };
        Ok(OrderOptions {
            seed: self.seed,
            batch: self.batch,
            pool: self.pool,
            pooling: !self.no_length_pools,
            shuffle: match self.shuffle {
                Shuffle::Blocks => batch::Shuffle::Blocks,
                Shuffle::Full => batch::Shuffle::Full,
                Shuffle::Stored => batch::Shuffle::Stored,
            },
            crop,
            both_sides: self.both_sides,
            packing: self.pack.map(|length| packing(delay, frames(length))).transpose()?,
            ..OrderOptions::default()
        })
    }
}

impl ReadArgs {
    /// The loader of a part of the corpus.
    pub fn loader(&self, part: &Part) -> Result<Loader<Delay>, Failure> {
        let weights = &self.source_weights;
        if !weights.is_empty() && weights.len() != self.folders.len() {
            let message = format!("--source-weights has {} numbers for {} folders", weights.len(), self.folders.len());
            return Err(Failure::Usage(message));
        }
        let open = |(number, folder): (usize, &PathBuf)| {
            Ok((Dataset::open(folder)?, weights.get(number).copied().unwrap_or(1.0)))
        };
        let datasets = self.folders.iter().enumerate().map(open).collect::<Result<Vec<_>, Error>>()?;
        let layout = datasets[0].0.layout().clone();
        let delay = self.delay(&layout);
        let options = LoaderOptions {
            order: OrderOptions { world: part.world, ..self.order.options(layout.frame_rate(), &delay)? },
            rank: part.rank,
            split: part.split,
            evaluation: part.evaluation,
            text: match self.text {
                SliceText::Cut => pipeline::SliceText::Cut,
                SliceText::Start => pipeline::SliceText::Start,
                SliceText::Drop => pipeline::SliceText::Drop,
            },
            augment: self.augment.augment(self.order.seed).filter(|_| !part.evaluation),
            cache: self.cache.saturating_mul(1 << 20),
        };
        let collate = Collate::new(layout, self.policy()?, delay)?;
        Ok(Loader::new(datasets, collate, options)?)
    }

    fn delay(&self, layout: &Layout) -> Delay {
        let extent = match self.extent {
            Extent::Extend => roundelay::Extent::Extend,
            Extent::Truncate => roundelay::Extent::Truncate,
        };
        Delay::new(layout, extent, roundelay::Start::Initial)
    }

    /// Whether any dataset has segments on a side of the split.
    pub fn holds(&self, split: Split) -> Result<bool, Failure> {
        for folder in &self.folders {
            let dataset = Dataset::open(folder)?;
            let index = dataset.index()?;
            if (0..index.len()).any(|segment| index.split(segment) == split) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What tells the datasets from others.
    pub fn identities(&self) -> Result<Vec<String>, Failure> {
        let identity = |folder: &PathBuf| match folder.is_dir() {
            true => sha256_of_file(&folder.join(INFO_FILE)),
            false => sha256_of_file(folder),
        };
        Ok(self.folders.iter().map(identity).collect::<Result<_, _>>()?)
    }

    /// How sequences end, in a word.
    pub fn extent_name(&self) -> String {
        self.extent.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What tokens weigh.
    pub fn policy(&self) -> Result<Policy, Error> {
        self.policy.policy(self.order.seed)
    }
}
