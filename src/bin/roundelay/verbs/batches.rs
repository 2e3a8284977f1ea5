//! `batches DIR..`: how a corpus is trained on; with `-o OUT` one batch of it: `input`, `target`, `weights`, `reasons`,
//! `segment_ids`, `places`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use roundelay::batch::{self, Collate, Crop, OrderOptions, Packing, Place, Position};
use roundelay::io::{Dataset, Loaded, Loader, LoaderOptions, tensors};
use roundelay::pipeline;
use roundelay::tally::Tally;
use roundelay::text::Augmented;
use roundelay::weights::Sums;
use roundelay::{Delay, Error, FrameRate, Layout, Seconds};
use serde::Serialize;

use crate::args::AugmentArgs;
use crate::failure::{Failure, Outcome, note};
use crate::verbs::weights::PolicyArgs;

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folders, all of one layout
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// How often an epoch goes through each folder, in their order; 1 unless told
    #[arg(long, value_name = "X,..", value_delimiter = ',')]
    source_weights: Vec<f64>,
    #[command(flatten)]
    order: OrderArgs,
    /// The side of the split that is read
    #[arg(long, value_enum, value_name = "SPLIT", default_value_t = Split::Train)]
    split: Split,
    /// Everything exactly once, unshuffled
    #[arg(long)]
    evaluation: bool,
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
    /// Epoch that is told of, or that the batch is of
    #[arg(long, value_name = "N", default_value_t = 0)]
    epoch: u64,
    /// Step of the batch, from 0
    #[arg(long, value_name = "N", default_value_t = 0, requires = "output")]
    step: u64,
    /// Go on at a position: the JSON of one, or a file of it
    #[arg(long, value_name = "P", conflicts_with_all = ["epoch", "step"])]
    position: Option<String>,
    /// File for one batch, `.safetensors`
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How an epoch is put in order.
#[derive(clap::Args)]
struct OrderArgs {
    /// Rows of one rank at each step
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch: usize,
    /// Ranks that train together
    #[arg(long, value_name = "N", default_value_t = 1)]
    world: usize,
    /// Which of the ranks this is, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    rank: usize,
    /// Seed of all draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Segments at most in the pool that is mixed and sorted by length at once
    #[arg(long, value_name = "N", default_value_t = 16384)]
    pool: usize,
    /// Leave batches as they are drawn: lengths are not brought together
    #[arg(long)]
    no_length_pools: bool,
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
enum Split {
    /// For training on
    Train,
    /// For measuring by
    Valid,
    /// Both
    All,
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
            world: self.world,
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
        })
    }
}

/// What `batches` tells of an epoch.
#[derive(Serialize)]
struct Told {
    segments: u64,
    epoch: u64,
    steps: u64,
    rows: usize,
    world: usize,
    pool: usize,
    padding: f64,
    padding_as_drawn: f64,
    position: Position,
}

/// What `batches` tells of a batch beside its tensors.
#[derive(Serialize)]
struct Made {
    place: Place,
    /// Where the run goes on.
    next: Position,
    sums: Sums,
    /// Cells of absence, of all cells of one stream.
    padding: f64,
    rows: Vec<Vec<Example>>,
    tally: Tally,
}

#[derive(Serialize)]
struct Example {
    id: String,
    folder: PathBuf,
    /// Frames of the segment.
    frames: std::ops::Range<usize>,
    /// Columns of the row's sequence.
    steps: std::ops::Range<usize>,
    swapped: bool,
    augmented: Vec<Augmented>,
}

impl Args {
    pub fn run(self) -> Outcome {
        let loader = self.loader()?;
        let at = self.place(&loader)?;
        match &self.output {
            Some(output) => self.one(&loader, at, output),
            None => self.tell(&loader, at),
        }
    }

    fn loader(&self) -> Result<Loader<Delay>, Failure> {
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
            order: self.order.options(layout.frame_rate(), &delay)?,
            rank: self.order.rank,
            split: match self.split {
                Split::Train => Some(batch::Split::Train),
                Split::Valid => Some(batch::Split::Valid),
                Split::All => None,
            },
            evaluation: self.evaluation,
            text: match self.text {
                SliceText::Cut => pipeline::SliceText::Cut,
                SliceText::Start => pipeline::SliceText::Start,
                SliceText::Drop => pipeline::SliceText::Drop,
            },
            augment: self.augment.augment(self.order.seed),
            cache: self.cache.saturating_mul(1 << 20),
        };
        let collate = Collate::new(layout, self.policy.policy(self.order.seed)?, delay)?;
        Ok(Loader::new(datasets, collate, options)?)
    }

    fn delay(&self, layout: &Layout) -> Delay {
        let extent = match self.extent {
            Extent::Extend => roundelay::Extent::Extend,
            Extent::Truncate => roundelay::Extent::Truncate,
        };
        Delay::new(layout, extent, roundelay::Start::Initial)
    }

    fn place(&self, loader: &Loader<Delay>) -> Result<Place, Error> {
        let Some(given) = &self.position else { return Ok(Place { epoch: self.epoch, step: self.step }) };
        let text = match given.trim_start().starts_with('{') {
            true => given.clone(),
            false => crate::args::read_text(Path::new(given), "position")?,
        };
        let position = serde_json::from_str(&text).map_err(|e| Error::malformed("position", e))?;
        loader.order().seek(&position)
    }

    fn tell(&self, loader: &Loader<Delay>, at: Place) -> Outcome {
        let (order, epoch) = (loader.order(), at.epoch);
        let plain = OrderOptions { pooling: false, packing: None, ..order.options().clone() };
        let told = Told {
            segments: order.items(epoch)?,
            epoch,
            steps: order.steps(epoch)?,
            rows: self.order.batch,
            world: self.order.world,
            pool: order.options().pool,
            padding: order.padding(epoch)?.share(),
            padding_as_drawn: loader.order_of(plain)?.padding(epoch)?.share(),
            position: order.position(at),
        };
        // A pool holds a global batch at least; of a corpus of few batches none is better.
        let better = told.segments / 8;
        let holds_all = !self.order.no_length_pools && told.pool as u64 >= told.segments && !self.evaluation;
        if holds_all && better >= (told.rows * told.world) as u64 {
            note(format!(
                "one pool holds the whole epoch: near lengths share a batch in each; --pool {better} or less mixes \
                 better and pads more"
            ));
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&told).map_err(std::io::Error::from)?)?;
            return Ok(());
        }
        writeln!(out, "epoch {:<8}{} segments or views of them", told.epoch, told.segments)?;
        writeln!(out, "steps         {} of {} rows on each of {} ranks", told.steps, told.rows, told.world)?;
        writeln!(out, "pool          {}", told.pool)?;
        writeln!(out, "padding       {:.2} % of cells", 100.0 * told.padding)?;
        writeln!(
            out,
            "  as drawn    {:.2} %, a segment to a row and without length pools",
            100.0 * told.padding_as_drawn
        )?;
        let position = serde_json::to_string(&told.position).map_err(std::io::Error::from)?;
        writeln!(out, "position      {position}")?;
        Ok(())
    }

    fn one(&self, loader: &Loader<Delay>, at: Place, output: &Path) -> Outcome {
        let mut loaded = Loaded::default();
        loader.batch(at, &mut loaded)?;
        let order = loader.order();
        let next = order.position(order.after(at, 1)?.unwrap_or(at));
        let ids = loaded.batch.segment_ids();
        let absent = ids.iter().filter(|&&id| id < 0).count();
        let made = Made {
            place: at,
            next,
            sums: loaded.batch.sums,
            padding: absent as f64 / ids.len().max(1) as f64,
            rows: self.examples(&loaded),
            tally: std::mem::take(&mut loaded.tally),
        };
        let places = loaded.batch.places();
        let batch = loaded.batch;
        let tensors = [
            ("input", batch.input.0.mapv(i64::from).into()),
            ("target", batch.target.0.mapv(i64::from).into()),
            ("weights", batch.weights.0.into()),
            ("reasons", batch.reasons.0.into()),
            ("places", places.mapv(i64::from).into()),
            ("segment_ids", ids.mapv(i64::from).into()),
        ];
        tensors::write(output, &tensors)?;
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&made).map_err(std::io::Error::from)?)?;
        Ok(())
    }

    fn examples(&self, loaded: &Loaded) -> Vec<Vec<Example>> {
        let rows = loaded.batch.rows.iter().zip(&loaded.made);
        let example = |(placed, made): (&batch::Placed, &roundelay::io::Made)| Example {
            id: placed.id.clone(),
            folder: self.folders[made.dataset].clone(),
            frames: made.frames.clone(),
            steps: placed.steps.clone(),
            swapped: made.swapped,
            augmented: made.augmented.clone(),
        };
        rows.map(|(placed, made)| placed.iter().zip(made).map(example).collect()).collect()
    }
}
