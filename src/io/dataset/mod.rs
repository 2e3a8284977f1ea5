//! A dataset's folder: parts in order, the layout, what is known of the whole, and its segments by number.
//!
//! ```text
//! layout.json  part-00000.parquet  part-00001.parquet  ..  events.jsonl  rejects.jsonl  README.md  dataset.json
//! └─ first                                                                             last: its presence ends the run ─┘
//!
//! part        0                   1              index.bin: length, split and id of each segment
//! row group   0      1     2      0      1       what is decoded together, and cached
//! segment     0 1 2  3 4   5 6 7  8 9   10 11    get(9)
//! ```

mod cache;
mod card;
mod index;
mod info;
mod jmoshi;
mod shelf;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use super::files;
use super::parts::{PartSummary, RowGroups};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::stream::Layout;
use cache::{Cache, lock};
use shelf::Shelf;

pub(super) use card::card;
pub use index::Index;
pub use info::{Counts, DatasetInfo, Identity, Reject, verify_part};

/// File in the dataset's folder: the layout of every part.
pub const LAYOUT_FILE: &str = "layout.json";
/// File in the dataset's folder: [`DatasetInfo`].
pub const INFO_FILE: &str = "dataset.json";
/// File in the dataset's folder: the ledger, one [`Event`](crate::tally::Event) a line.
pub const EVENTS_FILE: &str = "events.jsonl";
/// File in the dataset's folder: one [`Reject`] a line.
pub const REJECTS_FILE: &str = "rejects.jsonl";
/// File in the dataset's folder: the dataset card, for people and for Hugging Face's `datasets`.
pub const CARD_FILE: &str = "README.md";
/// File in the dataset's folder: the [`Index`], which a reader makes and may make again.
pub const INDEX_FILE: &str = "index.bin";

/// Bytes of a JSON file in the folder; a million parts fit.
const MAX_JSON: u64 = 1 << 28;
/// Bytes of decoded segments that are kept unless told otherwise.
const CACHE_BYTES: usize = 512 << 20;
/// Bytes of an index beside those of its segments, and for each of them: a longer one is made anew each time.
const INDEX_BYTES: (u64, u64) = (1 << 20, 1 << 10);

/// A finished dataset: its segments in order, or each by its number or id.
///
/// Several threads may read one.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    layout: Layout,
    info: DatasetInfo,
    shelf: Shelf,
    /// What the index is of: the SHA-256 of `dataset.json`.
    stamp: [u8; 32],
    index_path: PathBuf,
    index: OnceLock<Index>,
    /// Held while the index is made.
    indexing: Mutex<()>,
    cache: Cache,
    /// Whether segments come with their words.
    words: bool,
}

impl Dataset {
    /// Opens a folder that `roundelay prep` has finished. Parts are opened as they are read.
    ///
    /// Or a file, or a folder, of J-Moshi's Parquet: each dialogue is a segment of the layout `j-moshi` with `A` as the
    /// main speaker. Its index is made at once; there are no words, and the text of `B` has no row. Files whose name
    /// begins with `valid` are held out.
    ///
    /// # Errors
    /// `Io`; `Invalid` if the folder holds no dataset, or an unfinished one; `Unsupported` if its format is newer;
    /// `Malformed` if a file is damaged or two contradict each other.
    pub fn open(folder: &Path) -> Result<Self> {
        let info_path = folder.join(INFO_FILE);
        if !info_path.exists() {
            return jmoshi::files_of(folder)
                .map_or_else(|| Err(no_dataset(folder)), |files| jmoshi::open(folder, &files));
        }
        let (info, stamp) = info::read_info(&info_path).map_err(|e| e.in_file(info_path.display()))?;
        let layout_path = folder.join(LAYOUT_FILE);
        let layout = Layout::from_json(&files::read_text(&layout_path, "layout", MAX_JSON)?)
            .map_err(|e| e.in_file(layout_path.display()))?;
        if layout.name() != info.layout {
            let expected = format!("{:?}, as in {INFO_FILE}", info.layout);
            return Err(Error::invalid("name of the layout", layout.name(), expected).in_file(layout_path.display()));
        }
        Ok(Dataset::new(folder, layout, info, stamp))
    }

    fn new(folder: &Path, layout: Layout, info: DatasetInfo, stamp: [u8; 32]) -> Self {
        Dataset {
            folder: folder.to_owned(),
            shelf: Shelf::new(folder, &layout, &info),
            layout,
            info,
            stamp,
            index_path: folder.join(INDEX_FILE),
            index: OnceLock::new(),
            indexing: Mutex::new(()),
            cache: Cache::new(CACHE_BYTES),
            words: true,
        }
    }

    /// Keeps decoded row groups within so many bytes (512 MiB unless told), instead of those that are kept now.
    ///
    /// What [`Dataset::get`] has given stays with its owner, and does not count.
    pub fn with_cache(mut self, bytes: usize) -> Self {
        self.cache = Cache::new(bytes);
        self
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves words out: segments then have none. Where nothing asks for them, this saves half of the reading.
    pub fn without_words(mut self) -> Self {
        self.cache.clear();
        self.words = false;
        self
    }

    /// The layout of every segment.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What `dataset.json` says.
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// The file of one of [`DatasetInfo::parts`].
    pub fn part_path(&self, part: &PartSummary) -> PathBuf {
        self.folder.join(&part.name)
    }

    /// Lengths, splits and ids of all segments, and the row groups that hold them.
    ///
    /// At first need it is read from `index.bin`, or made from the small columns of the parts and written there; where
    /// that cannot be written, it is made again by the next to open the dataset.
    ///
    /// # Errors
    /// `Io`, `Malformed`, `Invalid`: of the parts.
    pub fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let _only = lock(&self.indexing);
        // Another thread may have made it meanwhile.
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = self.stored_index().map_or_else(|| self.make_index(), Ok)?;
        Ok(self.index.get_or_init(|| index))
    }

    fn stored_index(&self) -> Option<Index> {
        let rows: Vec<u64> = self.info.parts.iter().map(|part| part.rows).collect();
        let limit = INDEX_BYTES.0.saturating_add(INDEX_BYTES.1.saturating_mul(rows.iter().sum()));
        let bytes = files::read(&self.index_path, "index", limit).ok()?;
        Index::from_bytes(&bytes, &self.stamp, &rows)
    }

    fn make_index(&self) -> Result<Index> {
        let heads = |part| {
            let part = self.shelf.part(part)?;
            (0..part.groups()).map(|group| part.heads(group)).collect::<Result<_>>()
        };
        let index = Index::build(on_threads(self.info.parts.len(), heads)?)?;
        // A folder that is not ours to write to is no reason to fail.
        _ = files::write_atomic(&self.index_path, &index.to_bytes(&self.stamp));
        Ok(index)
    }

    /// A segment by its number, in the order of [`Dataset::segments`].
    ///
    /// Its row group is decoded whole and kept, so that its neighbours cost nothing more; of several threads that want
    /// one, the first decodes it.
    ///
    /// # Errors
    /// `Invalid` if there is none; `Io`, `Malformed`, `Invalid`: of the part, also if it contradicts the index.
    pub fn get(&self, segment: usize) -> Result<Arc<Segment>> {
        let index = self.index()?;
        if segment >= index.len() {
            let expected = format!("one of its {} segments", index.len());
            return Err(Error::invalid("number of a segment", segment, expected).in_file(self.folder.display()));
        }
        let block = index.block_of(segment);
        let segments = self.cache.get(block, || self.block(index, block))?;
        Ok(segments[segment - index.blocks()[block].start].clone())
    }

    /// Decodes a block, and sees that it is what the index says.
    fn block(&self, index: &Index, block: usize) -> Result<Vec<Segment>> {
        let (place, numbers) = (index.place(block), index.blocks()[block].clone());
        let segments = self.shelf.part(place.part)?.segments(place.group, self.words)?;
        let alike = |n: usize, segment: &Segment| {
            index.id(n) == segment.id && index.frames()[n] as usize == segment.codes.0.ncols()
        };
        match segments.len() == numbers.len() && numbers.zip(&segments).all(|(n, segment)| alike(n, segment)) {
            true => Ok(segments),
            false => Err(Error::malformed("part", format!("it is not that of {INDEX_FILE}"))
                .in_file(self.shelf.path(place.part).display())),
        }
    }

    /// The segment of an id.
    ///
    /// # Errors
    /// `Invalid` if there is none, else as [`Dataset::get`].
    pub fn segment(&self, id: &str) -> Result<Segment> {
        let index = self.index()?;
        let Some(number) = index.number(id) else {
            let expected = format!("the id of one of its {} segments", index.len());
            return Err(Error::invalid("segment", format!("{id:?}"), expected).in_file(self.folder.display()));
        };
        let block = index.block_of(number);
        Ok(self.block(index, block)?.swap_remove(number - index.blocks()[block].start))
    }

    /// All segments, part after part; ends after an error. Nothing of them is kept.
    pub fn segments(&self) -> Segments<'_> {
        Segments { dataset: self, next_part: 0, part: None, segments: Vec::new().into_iter() }
    }
}

/// Makes numbered things on all cores, in order. Not by rayon: a thread of it that waits takes up others' work, which may
/// want the very index that is being made.
fn on_threads<T: Send>(count: usize, make: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let numbers: Vec<usize> = (0..count).collect();
    let make = &make;
    std::thread::scope(|scope| {
        let work = |numbers: &[usize]| numbers.iter().map(|&number| make(number)).collect::<Result<Vec<T>>>();
        let share = count.div_ceil(threads).max(1);
        let shares: Vec<_> = numbers.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        let mut made = Vec::with_capacity(count);
        for share in shares {
            made.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(made)
    })
}

/// The segments of a [`Dataset`].
pub struct Segments<'a> {
    dataset: &'a Dataset,
    next_part: usize,
    /// The part that is being read, and its next row group.
    part: Option<(Arc<dyn RowGroups>, usize)>,
    segments: std::vec::IntoIter<Segment>,
}

impl Segments<'_> {
    fn advance(&mut self) -> Result<Option<Segment>> {
        loop {
            if let Some(segment) = self.segments.next() {
                return Ok(Some(segment));
            }
            match &mut self.part {
                Some((part, group)) if *group < part.groups() => {
                    self.segments = part.segments(*group, self.dataset.words)?.into_iter();
                    *group += 1;
                }
                _ if self.next_part == self.dataset.info.parts.len() => return Ok(None),
                part => {
                    *part = Some((self.dataset.shelf.part(self.next_part)?, 0));
                    self.next_part += 1;
                }
            }
        }
    }
}

impl Iterator for Segments<'_> {
    type Item = Result<Segment>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            (self.part, self.next_part) = (None, self.dataset.info.parts.len());
        }
        next.transpose()
    }
}

/// Why a folder without `dataset.json` is no dataset.
fn no_dataset(folder: &Path) -> Error {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => return Error::io("open the dataset's folder", e).in_file(folder.display()),
    };
    let parts = entries.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".parquet")).count();
    let (found, expected) = match (parts, folder.join(LAYOUT_FILE).exists()) {
        (0, false) => ("no dataset".into(), "a folder that roundelay prep has written"),
        (parts, _) => (
            format!("unfinished: {parts} parts and no {INFO_FILE}"),
            "a finished one; the same prep command goes on where it stopped",
        ),
    };
    Error::invalid("dataset", found, expected).in_file(folder.display())
}
