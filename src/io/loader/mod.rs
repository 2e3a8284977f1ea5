//! A corpus as a trainer sees it: datasets in, training batches out, the same on every run and every rank.
//!
//! ```text
//! datasets -> lengths -> Order -> items of a step -> segments -> views -> Collate -> Loaded
//!             index.bin  seed     rank by rank       row groups,  cut, swapped,     [B, K, S]
//!                                                    cached       moved, dropped
//! ```

mod batches;
mod corpus;

use std::sync::Arc;

use serde::Serialize;

use crate::batch::{Clip, Collate, Item, Order, OrderOptions, Place, Planned, Segment, Split, TrainBatch};
use crate::delay::Sequencer;
use crate::error::{Error, Result};
use crate::io::Dataset;
use crate::pipeline::{Look, SliceText, View, check_swap};
use crate::tally::Tally;
use crate::text::{Augment, Augmented};

pub use batches::Batches;
use corpus::Corpus;

/// What is read, beside the order.
#[derive(Debug, Clone, Serialize)]
pub struct LoaderOptions {
    /// How the order is drawn. A pool holds at most as many segments as fit half of `cache`, so that each row group is
    /// decoded once while it is in use.
    pub order: OrderOptions,
    /// Which rank of `order.world` this is.
    pub rank: usize,
    /// The side of the split that is read; both if none.
    pub split: Option<Split>,
    /// Everything exactly once an epoch, unshuffled: see [`Order::evaluation`].
    pub evaluation: bool,
    /// What a crop's row of text is.
    pub text: SliceText,
    /// What is done to the text; it differs from pass to pass.
    pub augment: Option<Augment>,
    /// Bytes of decoded row groups that each dataset may keep. Pools depend on it, and are part of the plan.
    #[serde(skip)]
    pub cache: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            order: OrderOptions::default(),
            rank: 0,
            split: Some(Split::Train),
            evaluation: false,
            text: SliceText::Cut,
            augment: None,
            cache: 1 << 30,
        }
    }
}

/// A batch, and how its rows came to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// What the training step reads.
    pub batch: TrainBatch,
    /// The step that it is for.
    pub place: Place,
    /// What was done to each segment of each row, in the order of `batch.rows`.
    pub made: Vec<Vec<Made>>,
    /// What was left out or moved to make the rows: see [`View::tally`]. Words are in it only where they are read, which is
    /// where rows of text are made anew.
    pub tally: Tally,
}

/// How a segment was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Number of its dataset, in the order in which they were given.
    pub dataset: usize,
    /// Its frames in the batch.
    pub frames: std::ops::Range<usize>,
    /// Whether main and other speaker have changed places.
    pub swapped: bool,
    /// What was done to each row of text.
    pub augmented: Vec<Augmented>,
}

/// Reads batches of one corpus by their place; shared by threads, and cheap to clone.
///
/// # Examples
/// ```
/// use roundelay::batch::{Ahead, Collate, OrderOptions, Place};
/// use roundelay::io::{Dataset, Loaded, Loader, LoaderOptions};
/// # use roundelay::batch::{Segment, Split};
/// use roundelay::{Delay, Extent, Policy, Start};
/// # let folder = tempfile::tempdir().unwrap();
/// # let layout = roundelay::Layout::preset("delay-1")?;
/// # let mut writer = roundelay::io::PartWriter::create(&folder.path().join("part-00000.parquet"), &layout)?;
/// # for n in 0..3 {
/// #     writer.write(&Segment {
/// #         id: format!("{n}"), path: format!("{n}"), start: "0".parse()?, duration: "0.4".parse()?,
/// #         codes: roundelay::Frames(ndarray::Array2::from_elem((3, 5), n)), words: vec![], regions: vec![],
/// #         split: Split::Train, meta: String::new(),
/// #     })?;
/// # }
/// # let mut info = roundelay::io::DatasetInfo::new(&layout, roundelay::io::Identity { name: "codes".into(), sha256: None }, None);
/// # info.parts.push(writer.finish()?);
/// # info.counts.segments = 3;
/// # std::fs::write(folder.path().join("layout.json"), layout.to_json()).unwrap();
/// # roundelay::io::write_json_atomic(&folder.path().join("dataset.json"), &info)?;
///
/// let dataset = Dataset::open(folder.path())?; // three segments of five frames
/// let layout = dataset.layout().clone();
/// let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
/// let collate = Collate::new(layout, Policy::named("moshi")?, delay)?;
/// let order = OrderOptions { batch: 2, ..OrderOptions::default() };
/// let loader = Loader::new(vec![(dataset, 1.0)], collate, LoaderOptions { order, ..LoaderOptions::default() })?;
/// assert_eq!(loader.order().steps(0)?, 2);
///
/// let mut batches = loader.batches(Place::default(), Some(1), Ahead::default())?;
/// let mut rows = 0;
/// while let Some(loaded) = batches.next() {
///     rows += loaded?.batch.rows.iter().filter(|row| !row.is_empty()).count();
/// }
/// assert_eq!(rows, 3);
///
/// let mut again = Loaded::default();
/// loader.batch(Place { epoch: 0, step: 1 }, &mut again)?; // any step, at once
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug)]
pub struct Loader<S> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    corpus: Corpus,
    order: Order,
    collate: Collate<S>,
    options: LoaderOptions,
}

impl<S> Clone for Loader<S> {
    fn clone(&self) -> Self {
        Loader { shared: self.shared.clone() }
    }
}

impl<S: Sequencer> Loader<S> {
    /// Datasets with their weights: how often an epoch goes through each.
    ///
    /// # Errors
    /// `Invalid` if a dataset has another layout than the collation, or another codec or tokenizer than the first, if nothing is on the side of the split, or for options
    /// that make no sense; `Unsupported` if the speakers of the layout cannot change sides; those of [`Dataset::index`].
    pub fn new(datasets: Vec<(Dataset, f64)>, collate: Collate<S>, mut options: LoaderOptions) -> Result<Self> {
        let rank = options.rank;
        if rank >= options.order.world.max(1) {
            let expected = format!("below {}, the number of ranks", options.order.world);
            return Err(Error::invalid("rank", rank, expected));
        }
        if options.order.both_sides {
            check_swap(collate.layout())?;
        }
        let corpus = Corpus::new(datasets, collate.layout(), &options)?;
        options.order.pool = options.order.pool.min(corpus.pool(options.cache)?).max(1);
        let order = order_of(&corpus, &options, options.order.clone())?;
        if order.after(Place::default(), 0)?.is_none() {
            let side = options.split.map_or("in all", |split| split.name());
            return Err(Error::invalid(format!("number of segments ({side})"), 0, "at least 1"));
        }
        Ok(Loader { shared: Arc::new(Shared { corpus, order, collate, options }) })
    }

    /// The plan: steps, padding, positions.
    pub fn order(&self) -> &Order {
        &self.shared.order
    }

    /// The order that other options would give the same segments, to compare the two.
    ///
    /// # Errors
    /// As [`Order::new`].
    pub fn order_of(&self, options: OrderOptions) -> Result<Order> {
        order_of(&self.shared.corpus, &self.shared.options, options)
    }

    /// What is read: the options that were given, pools no larger than the cache has room for.
    pub fn options(&self) -> &LoaderOptions {
        &self.shared.options
    }

    /// What brings the rows together.
    pub fn collate(&self) -> &Collate<S> {
        &self.shared.collate
    }

    /// This rank's part of a step, in memory that is used again.
    ///
    /// # Errors
    /// `Invalid` if the epoch has no such step; those of reading, viewing and collating a segment, with its id. What `into`
    /// holds is then no batch.
    pub fn batch(&self, at: Place, into: &mut Loaded) -> Result<()> {
        self.shared.batch(at, into)
    }
}

fn order_of(corpus: &Corpus, options: &LoaderOptions, order: OrderOptions) -> Result<Order> {
    let new = if options.evaluation { Order::evaluation } else { Order::new };
    new(corpus.sources()?, order)
}

impl<S: Sequencer> Shared<S> {
    fn batch(&self, at: Place, into: &mut Loaded) -> Result<()> {
        let planned = self.order.of_rank(at, self.options.rank)?;
        let rows = self.rows(&planned)?;
        let clips: Vec<Vec<Clip>> = rows.iter().map(|row| row.iter().map(Seen::clip).collect()).collect();
        self.collate.batch(&clips, Some(planned.width), &mut into.batch)?;
        (into.place, into.tally) = (at, Tally::default());
        rows.iter().flatten().for_each(|seen| seen.tally(&mut into.tally));
        into.made = rows.into_iter().map(|row| row.into_iter().map(Seen::made).collect()).collect();
        Ok(())
    }

    fn rows(&self, planned: &Planned) -> Result<Vec<Vec<Seen>>> {
        let seen = |items: &Vec<Item>| items.iter().map(|&item| self.seen(item)).collect();
        planned.rows.iter().map(seen).collect()
    }

    /// Reads an item's segment and looks at it as the item wants.
    fn seen(&self, item: Item) -> Result<Seen> {
        let (segment, index) = self.corpus.segment(item)?;
        let (cut, dataset) = (self.order.cut(item), item.source as usize);
        let whole = cut.frames == (0..segment.codes.0.ncols());
        let view = match whole && !cut.swapped && self.options.augment.is_none() {
            true => None,
            false => {
                let frames = (!whole).then_some(cut.frames);
                let look = Look { index, frames, swapped: cut.swapped, epoch: item.pass };
                Some(self.corpus.view(dataset, &segment, &look, &self.options)?)
            }
        };
        Ok(Seen { dataset, index, segment, view })
    }
}

/// A segment on its way into a batch.
struct Seen {
    dataset: usize,
    index: u64,
    segment: Arc<Segment>,
    /// None where it is taken as it is.
    view: Option<View>,
}

impl Seen {
    fn clip(&self) -> Clip<'_> {
        let segment = self.view.as_ref().map_or(&*self.segment, |view| &view.segment);
        Clip {
            id: &segment.id,
            index: self.index,
            codes: crate::Frames(segment.codes.0.view()),
            regions: &segment.regions,
        }
    }

    fn tally(&self, sum: &mut Tally) {
        self.view.iter().for_each(|view| sum.merge(&view.tally));
    }

    fn made(self) -> Made {
        let whole = 0..self.segment.codes.0.ncols();
        match self.view {
            None => Made { dataset: self.dataset, frames: whole, swapped: false, augmented: Vec::new() },
            Some(View { frames, swapped, augmented, .. }) => Made { dataset: self.dataset, frames, swapped, augmented },
        }
    }
}
