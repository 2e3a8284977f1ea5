//! `batches DIR..`: how a corpus is trained on; with `-o OUT` one batch of it: `input`, `target`, `weights`, `reasons`,
//! `segment_ids`, `places`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use roundelay::batch::{self, OrderOptions, Place, Position};
use roundelay::io::{Loaded, Loader, tensors};
use roundelay::tally::Tally;
use roundelay::text::Augmented;
use roundelay::weights::Sums;
use roundelay::{Delay, Error};
use serde::Serialize;

use crate::failure::{Failure, Outcome, note};
use crate::reading::{Part, ReadArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    ranks: RankArgs,
    /// The side of the split that is read
    #[arg(long, value_enum, value_name = "SPLIT", default_value_t = Split::Train)]
    split: Split,
    /// Everything exactly once, unshuffled
    #[arg(long)]
    evaluation: bool,
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

/// Which rank reads.
#[derive(clap::Args)]
struct RankArgs {
    /// Ranks that train together
    #[arg(long, value_name = "N", default_value_t = 1)]
    world: usize,
    /// Which of the ranks this is, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    rank: usize,
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
        let split = match self.split {
            Split::Train => Some(batch::Split::Train),
            Split::Valid => Some(batch::Split::Valid),
            Split::All => None,
        };
        let RankArgs { world, rank } = self.ranks;
        self.read.loader(&Part { split, evaluation: self.evaluation, world, rank })
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
            rows: self.read.order.batch,
            world: self.ranks.world,
            pool: order.options().pool,
            padding: order.padding(epoch)?.share(),
            padding_as_drawn: loader.order_of(plain)?.padding(epoch)?.share(),
            position: order.position(at),
        };
        // A pool holds a global batch at least; of a corpus of few batches none is better.
        let better = told.segments / 8;
        let holds_all = !self.read.order.no_length_pools && told.pool as u64 >= told.segments && !self.evaluation;
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
            folder: self.read.folders[made.dataset].clone(),
            frames: made.frames.clone(),
            steps: placed.steps.clone(),
            swapped: made.swapped,
            augmented: made.augmented.clone(),
        };
        rows.map(|(placed, made)| placed.iter().zip(made).map(example).collect()).collect()
    }
}
