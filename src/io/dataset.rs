//! A dataset's folder: parts in order, the layout, and what is known of the whole.
//!
//! ```text
//! layout.json  part-00000.parquet  part-00001.parquet  ..  events.jsonl  rejects.jsonl  dataset.json
//! └─ first                                                                  last: its presence ends the run ─┘
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::parts::{FORMAT_VERSION, PartReader, PartSummary, check_version};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::stream::Layout;
use crate::tally::Tally;
use crate::units::Seconds;

/// File in the dataset's folder: the layout of every part.
pub const LAYOUT_FILE: &str = "layout.json";
/// File in the dataset's folder: [`DatasetInfo`].
pub const INFO_FILE: &str = "dataset.json";
/// File in the dataset's folder: the ledger, one [`Event`](crate::tally::Event) a line.
pub const EVENTS_FILE: &str = "events.jsonl";
/// File in the dataset's folder: one [`Reject`] a line.
pub const REJECTS_FILE: &str = "rejects.jsonl";

/// Bytes of a JSON file in the folder; a million parts fit.
const MAX_JSON: u64 = 1 << 28;

/// What `dataset.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Version of the format: [`FORMAT_VERSION`].
    pub format: u32,
    /// What wrote the dataset, as `roundelay 0.1.0`.
    pub tool: String,
    /// Name of the layout in `layout.json`.
    pub layout: String,
    /// Where the codes come from.
    pub codec: Identity,
    /// Where the text ids come from; none if the dataset has no words.
    pub tokenizer: Option<Identity>,
    /// The options that change what is written.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Sizes.
    pub counts: Counts,
    /// Events of all recordings, by kind.
    pub events: Tally,
    /// The parts, in order.
    pub parts: Vec<PartSummary>,
}

/// A thing by its name and, where it is a file or has tables, by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What it is called, without folders.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Sizes of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Recordings that gave at least one segment.
    pub recordings: u64,
    /// Rows of all parts.
    pub segments: u64,
    /// Frames of all segments.
    pub frames: u64,
    /// Length of all segments.
    pub seconds: Seconds,
    /// Frames of the text row that hold its pad.
    pub text_pads: u64,
    /// Recordings that could not be used.
    pub rejects: u64,
}

impl std::ops::Add<&Counts> for Counts {
    type Output = Counts;

    fn add(self, other: &Counts) -> Counts {
        Counts {
            recordings: self.recordings + other.recordings,
            segments: self.segments + other.segments,
            frames: self.frames + other.frames,
            seconds: self.seconds + other.seconds,
            text_pads: self.text_pads + other.text_pads,
            rejects: self.rejects + other.rejects,
        }
    }
}

/// A recording that could not be used: a line of `rejects.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The recording, as the manifest names it; empty if its line could not be read.
    pub recording: String,
    /// Line in the manifest, from 1.
    pub line: usize,
    /// The error's message.
    pub reason: String,
}

impl DatasetInfo {
    /// Begins the description of a dataset that this version of the crate writes.
    pub fn new(layout: &Layout, codec: Identity, tokenizer: Option<Identity>) -> Self {
        DatasetInfo {
            format: FORMAT_VERSION,
            tool: concat!("roundelay ", env!("CARGO_PKG_VERSION")).to_owned(),
            layout: layout.name().to_owned(),
            codec,
            tokenizer,
            options: serde_json::Map::new(),
            counts: Counts::default(),
            events: Tally::default(),
            parts: Vec::new(),
        }
    }

    /// Name of part `n`: `part-00000.parquet`.
    pub fn part_name(n: usize) -> String {
        format!("part-{n:05}.parquet")
    }
}

/// A finished dataset.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    layout: Layout,
    info: DatasetInfo,
}

impl Dataset {
    /// Opens a folder that `roundelay prep` has finished. Parts are opened as they are read.
    ///
    /// # Errors
    /// `Io`; `Invalid` if the folder holds no dataset, or an unfinished one; `Unsupported` if its format is newer;
    /// `Malformed` if a file is damaged or two contradict each other.
    pub fn open(folder: &Path) -> Result<Self> {
        let info_path = folder.join(INFO_FILE);
        if !info_path.exists() {
            return Err(no_dataset(folder));
        }
        let info = read_info(&info_path).map_err(|e| e.in_file(info_path.display()))?;
        let layout_path = folder.join(LAYOUT_FILE);
        let layout = Layout::from_json(&files::read_text(&layout_path, "layout", MAX_JSON)?)
            .map_err(|e| e.in_file(layout_path.display()))?;
        if layout.name() != info.layout {
            let expected = format!("{:?}, as in {INFO_FILE}", info.layout);
            return Err(Error::invalid("name of the layout", layout.name(), expected).in_file(layout_path.display()));
        }
        Ok(Dataset { folder: folder.to_owned(), layout, info })
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

    /// All segments, part after part; ends after an error.
    pub fn segments(&self) -> Segments<'_> {
        Segments { dataset: self, next_part: 0, reader: None }
    }

    /// The segment of an id.
    ///
    /// # Errors
    /// `Invalid` if there is none, else as [`PartReader::open`].
    pub fn segment(&self, id: &str) -> Result<Segment> {
        for part in &self.info.parts {
            if let Some(segment) = self.open_part(part)?.find(id)? {
                return Ok(segment);
            }
        }
        let expected = format!("the id of one of its {} segments", self.info.counts.segments);
        Err(Error::invalid("segment", format!("{id:?}"), expected).in_file(self.folder.display()))
    }

    /// Opens a part, and sees that it is of this dataset.
    fn open_part(&self, part: &PartSummary) -> Result<PartReader> {
        let path = self.part_path(part);
        let reader = PartReader::open(&path)?;
        if *reader.layout() != self.layout {
            let expected = format!("that of {LAYOUT_FILE}, {:?}", self.layout.name());
            return Err(Error::invalid("layout", format!("another, {:?}", reader.layout().name()), expected)
                .in_file(path.display()));
        }
        if reader.rows() != part.rows {
            let expected = format!("{}, as in {INFO_FILE}", part.rows);
            return Err(Error::invalid("number of segments", reader.rows(), expected).in_file(path.display()));
        }
        Ok(reader)
    }
}

/// The segments of a [`Dataset`].
pub struct Segments<'a> {
    dataset: &'a Dataset,
    next_part: usize,
    reader: Option<PartReader>,
}

impl Iterator for Segments<'_> {
    type Item = Result<Segment>;

    fn next(&mut self) -> Option<Self::Item> {
        let parts = &self.dataset.info.parts;
        loop {
            let next = match &mut self.reader {
                Some(reader) => reader.next(),
                None => match self.dataset.open_part(parts.get(self.next_part)?) {
                    Ok(reader) => {
                        self.reader = Some(reader);
                        self.next_part += 1;
                        continue;
                    }
                    Err(e) => Some(Err(e)),
                },
            };
            match next {
                Some(Ok(segment)) => return Some(Ok(segment)),
                Some(Err(e)) => {
                    (self.reader, self.next_part) = (None, parts.len());
                    return Some(Err(e));
                }
                None => self.reader = None,
            }
        }
    }
}

/// The version is read before the rest, which another version may have changed.
fn read_info(path: &Path) -> Result<DatasetInfo> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let malformed = |e: serde_json::Error| Error::malformed("dataset description", &e).on_line(e.line().max(1));
    let text = files::read_text(path, "dataset description", MAX_JSON)?;
    check_version(serde_json::from_str::<Version>(&text).map_err(malformed)?.format)?;
    let info: DatasetInfo = serde_json::from_str(&text).map_err(malformed)?;
    for part in &info.parts {
        // A name that leads out of the folder would have us read any file of the user's.
        if part.name.is_empty() || part.name.starts_with('.') || part.name.contains(['/', '\\', ':']) {
            return Err(Error::invalid("name of a part", format!("{:?}", part.name), "a file name without folders"));
        }
    }
    Ok(info)
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

/// Checks one file of a dataset against its checksum.
///
/// # Errors
/// `Io`; `Invalid` with both sums.
pub fn verify_part(path: &Path, part: &PartSummary) -> Result<()> {
    match files::sha256_of_file(path)? {
        sha256 if sha256 == part.sha256 => Ok(()),
        other => Err(Error::invalid("SHA-256", other, &part.sha256).in_file(path.display())),
    }
}
