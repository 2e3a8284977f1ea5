//! Datasets, and which of their segments are read.
//!
//! ```text
//! dataset            0 1 2 3 4 5 6        valid: 2 and 5
//! in the order       0 1 . 2 3 . 4        numbers of the train side
//! row groups        [0 1 2 3)[4 5 6)  ->  blocks [0 3)[3 5)
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::LoaderOptions;
use crate::batch::{Item, Segment, Source, Split};
use crate::error::{Error, Result};
use crate::io::{Dataset, Identity, Index, Placing};
use crate::pipeline::{Look, SliceText, Speakers, View, ViewOptions};
use crate::stream::Layout;
use crate::text::Rule;
use crate::window::Border;

/// Bytes of a segment's words and names, beside its codes: about a tenth where people speak.
const BESIDE_CODES: f64 = 1.25;

/// Where the number of a view begins in an example's: segments and passes stay below it for long.
const VIEW_BITS: u32 = 44;

#[derive(Debug)]
pub(super) struct Corpus {
    shelves: Vec<Shelf>,
    /// Segments of all datasets.
    segments: u64,
}

/// A dataset, and the segments of it that are read.
#[derive(Debug)]
struct Shelf {
    dataset: Dataset,
    weight: f64,
    /// Their numbers; none if all are read.
    numbers: Option<Vec<u32>>,
    placing: Placing,
    /// Segments of the datasets before this one.
    first: u64,
}

impl Corpus {
    pub fn new(datasets: Vec<(Dataset, f64)>, layout: &Layout, options: &LoaderOptions) -> Result<Self> {
        let mut corpus = Corpus { shelves: Vec::new(), segments: 0 };
        for (dataset, weight) in datasets {
            if let Some(first) = corpus.shelves.first() {
                check_alike(&first.dataset, &dataset).map_err(|e| e.in_file(dataset.folder().display()))?;
            }
            if dataset.layout() != layout {
                let found = format!("another, {:?}", dataset.layout().name());
                let expected = format!("that of the collation, {:?}", layout.name());
                return Err(Error::invalid("layout", found, expected).in_file(dataset.folder().display()));
            }
            let dataset = dataset.with_cache(options.cache);
            let dataset = if anew(options) { dataset } else { dataset.without_words() };
            let index = dataset.index()?;
            let numbers = options.split.and_then(|split| of_split(index, split));
            let first = corpus.segments;
            corpus.segments += index.len() as u64;
            let placing = placing(&dataset, options).map_err(|e| e.in_file(dataset.folder().display()))?;
            let shelf = Shelf { dataset, weight, numbers, placing, first };
            // What cannot be done to any segment is said before the first.
            shelf.options(options).check()?;
            corpus.shelves.push(shelf);
        }
        Ok(corpus)
    }

    pub fn sources(&self) -> Result<Vec<Source>> {
        self.shelves.iter().map(Shelf::source).collect()
    }

    /// Segments of usual length whose row groups fit half of a cache: while one pool is used the next is begun.
    pub fn pool(&self, cache: usize) -> Result<usize> {
        let (mut segments, mut cells) = (0, 0);
        for shelf in &self.shelves {
            let index = shelf.dataset.index()?;
            segments += index.len();
            let frames: u64 = index.frames().iter().map(|&frames| u64::from(frames)).sum();
            cells += frames * shelf.dataset.layout().streams().len() as u64;
        }
        let bytes = (cells * 4) as f64 * BESIDE_CODES / segments.max(1) as f64;
        Ok((cache as f64 / 2.0 / bytes.max(1.0)) as usize)
    }

    /// An item's segment, and which example of the corpus it is: segments are numbered through all datasets and passes,
    /// their views above that.
    pub fn segment(&self, item: Item) -> Result<(Arc<Segment>, u64)> {
        let shelf = &self.shelves[item.source as usize];
        let number = shelf.numbers.as_ref().map_or(item.segment, |numbers| numbers[item.segment as usize]);
        let index = item.pass.wrapping_mul(self.segments).wrapping_add(shelf.first + u64::from(number));
        let index = index.wrapping_add(u64::from(item.view) << VIEW_BITS);
        let segment = shelf.dataset.get(number as usize);
        let named = |e: Error| match shelf.dataset.index() {
            Ok(index) => e.in_recording(index.id(number as usize)),
            Err(_) => e,
        };
        Ok((segment.map_err(named)?, index))
    }

    /// Looks at a segment of a dataset.
    pub fn view(&self, dataset: usize, segment: &Segment, look: &Look, options: &LoaderOptions) -> Result<View> {
        let shelf = &self.shelves[dataset];
        let speakers = shelf.placing.speakers_of(segment)?;
        ViewOptions { speakers: &speakers, ..shelf.options(options) }.view(segment, look)
    }
}

impl Shelf {
    fn source(&self) -> Result<Source> {
        let index = self.dataset.index()?;
        let (lengths, blocks) = match &self.numbers {
            None => (index.frames().into(), index.blocks().to_vec()),
            Some(numbers) => {
                let lengths = numbers.iter().map(|&number| index.frames()[number as usize]).collect();
                (lengths, index.blocks().iter().map(|block| within(numbers, block)).collect())
            }
        };
        Ok(Source { lengths, blocks, weight: self.weight })
    }

    fn options(&self, options: &LoaderOptions) -> ViewOptions<'_> {
        let options_of = ViewOptions::new(self.dataset.layout(), self.placing.rule, &self.placing.speakers);
        ViewOptions { text: options.text, augment: options.augment, ..options_of }
    }
}

/// How the words of a dataset were placed. One that does not say is read all the same, unless rows are to be made anew.
fn placing(dataset: &Dataset, options: &LoaderOptions) -> Result<Placing> {
    match Placing::of(&dataset.info().options) {
        Err(_) if !anew(options) => {
            Ok(Placing { rule: Rule::default(), speakers: Speakers::default(), border: Border::default() })
        }
        placing => placing,
    }
}

/// Ids of two codecs or tokenizers in one batch would mean different things.
fn check_alike(first: &Dataset, other: &Dataset) -> Result<()> {
    let (a, b) = (first.info(), other.info());
    let name = |identity: &Option<Identity>| identity.as_ref().map_or("none".to_owned(), |i| i.name.clone());
    let expected = |what: &str| format!("that of {}, {what}", first.folder().display());
    if a.codec != b.codec {
        return Err(Error::invalid("codec", &b.codec.name, expected(&a.codec.name)));
    }
    if a.tokenizer != b.tokenizer {
        return Err(Error::invalid("tokenizer", name(&b.tokenizer), expected(&name(&a.tokenizer))));
    }
    Ok(())
}

/// Whether rows of text are made of words again; else nobody asks for the words.
fn anew(options: &LoaderOptions) -> bool {
    options.order.both_sides || options.augment.is_some() || options.text != SliceText::Cut
}

/// Numbers of the segments on one side; none if all are.
fn of_split(index: &Index, split: Split) -> Option<Vec<u32>> {
    let numbers: Vec<u32> = (0..index.len()).filter(|&n| index.split(n) == split).map(|n| n as u32).collect();
    (numbers.len() < index.len()).then_some(numbers)
}

/// Which of sorted numbers lie in a block.
fn within(numbers: &[u32], block: &Range<usize>) -> Range<usize> {
    let before = |end: usize| numbers.partition_point(|&number| (number as usize) < end);
    before(block.start)..before(block.end)
}
