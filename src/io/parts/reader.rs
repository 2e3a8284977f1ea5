//! Segments out of a part.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::data_type::{ByteArrayType, Int32Type};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::claims::{check_footer, check_ranges};
use super::group::{Group, ID, NUM_FRAMES, SPLIT, split, text};
use super::pages::{Columns, guarded};
use super::{DOING, check_schema, code_bits, failed};
use super::{FORMAT_KEY, FORMAT_VERSION, Head, LAYOUT_KEY, RowGroups};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::io::files;
use crate::stream::Layout;

/// Reads the segments of a part: in order, one row group in memory at a time, or the row group that is asked for.
///
/// In order it ends after an error. Row groups may be read by several threads at once.
pub struct PartReader {
    path: PathBuf,
    file: File,
    metadata: ParquetMetaData,
    layout: Layout,
    next_group: usize,
    group: Option<Group>,
}

impl PartReader {
    /// Opens a part and checks that it is one: its columns, its format's version, its layout.
    ///
    /// # Errors
    /// `Io`; `Malformed` if it is damaged or has no such metadata; `Unsupported` if its format is newer; `Invalid` with
    /// the first column that is not as it should be.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        Self::new(file, path).map_err(|e| e.in_file(path.display()))
    }

    fn new(file: File, path: &Path) -> Result<Self> {
        let metadata = read_metadata(&file)?;
        let layout = check_metadata(&metadata)?;
        Ok(PartReader { path: path.to_owned(), file, metadata, layout, next_group: 0, group: None })
    }

    /// The layout that the part was written with.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Segments in the part.
    pub fn rows(&self) -> u64 {
        self.metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum()
    }

    /// Frames of all segments.
    ///
    /// # Errors
    /// `Io`, `Malformed`.
    pub fn frames(&self) -> Result<u64> {
        let mut frames = 0;
        for g in 0..self.groups() {
            let counts = self.columns(g).read::<Int32Type>(NUM_FRAMES);
            frames += counts.map_err(|e| self.place(e))?.values.into_iter().map(|n| n.max(0) as u64).sum::<u64>();
        }
        Ok(frames)
    }

    /// Row groups of the part.
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// The segments of a row group.
    ///
    /// # Errors
    /// `Invalid` if there is no such group, or a segment is not as it should be; `Io`, `Malformed`.
    pub fn group(&self, group: usize) -> Result<Vec<Segment>> {
        self.segments(group, true)
    }

    fn segments_of(&self, group: usize, words: bool) -> Result<Vec<Segment>> {
        self.check_group(group)?;
        let mut columns = Group::read(&mut self.columns(group), words)?;
        (0..columns.rows).map(|_| columns.segment(&self.layout)).collect()
    }

    fn check_group(&self, group: usize) -> Result<()> {
        match group < self.groups() {
            true => Ok(()),
            false => Err(Error::invalid("row group", group, format!("one of its {}", self.groups()))),
        }
    }

    /// The segment of this id, decoding only the row group that holds it; `None` if there is none.
    ///
    /// # Errors
    /// `Io`, `Malformed`, `Invalid`.
    pub fn find(&self, id: &str) -> Result<Option<Segment>> {
        for g in 0..self.groups() {
            let found = self.find_in(g, id).map_err(|e| self.place(e))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_in(&self, g: usize, id: &str) -> Result<Option<Segment>> {
        let ids = self.columns(g).read::<ByteArrayType>(ID)?;
        let Some(row) = ids.values.iter().position(|other| other.data() == id.as_bytes()) else {
            return Ok(None);
        };
        let mut group = Group::read(&mut self.columns(g), true)?;
        (0..row).try_for_each(|_| group.segment(&self.layout).map(drop))?;
        group.segment(&self.layout).map(Some)
    }

    fn columns(&self, g: usize) -> Columns<'_> {
        Columns::new(self.metadata.row_group(g), &self.file)
    }

    fn heads_of(&self, group: usize) -> Result<Vec<Head>> {
        self.check_group(group)?;
        let mut columns = self.columns(group);
        let ids = columns.read::<ByteArrayType>(ID)?.values;
        let frames = columns.read::<Int32Type>(NUM_FRAMES)?.values;
        let splits = columns.read::<ByteArrayType>(SPLIT)?.values;
        let rows = ids.into_iter().zip(frames).zip(splits);
        rows.map(|((id, frames), side)| {
            let id = text(&id)?;
            let frames = u32::try_from(frames);
            let frames = frames.map_err(|_| Error::malformed("part", "num_frames is negative").in_recording(&id))?;
            Ok(Head { id, frames, split: split(&side)? })
        })
        .collect()
    }

    /// Reads a row group with this much room, and returns how much of it was taken.
    #[cfg(test)]
    pub(super) fn room(&self, g: usize, left: u64) -> Result<u64> {
        let mut columns = self.columns(g);
        columns.left = left;
        Group::read(&mut columns, true)?;
        Ok(left - columns.left)
    }

    fn place(&self, error: Error) -> Error {
        error.in_file(self.path.display())
    }

    fn advance(&mut self) -> Result<Option<Segment>> {
        loop {
            if let Some(group) = self.group.as_mut().filter(|group| group.rows > 0) {
                return group.segment(&self.layout).map(Some);
            }
            if self.next_group == self.groups() {
                return Ok(None);
            }
            // The old group goes before the next is read: two would be twice the memory.
            self.group = None;
            let group = Group::read(&mut self.columns(self.next_group), true)?;
            self.group = Some(group);
            self.next_group += 1;
        }
    }
}

impl RowGroups for PartReader {
    fn groups(&self) -> usize {
        self.groups()
    }

    fn heads(&self, group: usize) -> Result<Vec<Head>> {
        self.heads_of(group).map_err(|e| self.place(e))
    }

    fn segments(&self, group: usize, words: bool) -> Result<Vec<Segment>> {
        self.segments_of(group, words).map_err(|e| self.place(e))
    }
}

impl Iterator for PartReader {
    type Item = Result<Segment>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().map_err(|e| self.place(e));
        if next.is_err() {
            self.group = None;
            self.next_group = self.groups();
        }
        next.transpose()
    }
}

/// Reads the footer of a Parquet file: what it claims lies within the file.
pub(in crate::io) fn read_metadata(file: &File) -> Result<ParquetMetaData> {
    let size = file.metadata().map_err(|e| Error::io(DOING, e))?.len();
    check_footer(file, size)?;
    let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(file)).map_err(|e| failed(DOING, e))?;
    check_ranges(&metadata, size)?;
    Ok(metadata)
}

/// Version, then columns, then layout: the message of a file of another kind names the first that is wrong.
fn check_metadata(metadata: &ParquetMetaData) -> Result<Layout> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let value = |key: &str| pairs?.iter().find(|pair| pair.key == key)?.value.as_deref();
    let absent = |key: &str| Error::malformed("part", format!("it is Parquet, and has no {key} in its metadata"));
    let version = value(FORMAT_KEY).ok_or_else(|| absent(FORMAT_KEY))?;
    let version: u32 =
        version.parse().map_err(|_| Error::malformed("part", format!("its {FORMAT_KEY} is {version:?}, no number")))?;
    check_version(version)?;
    let layout = Layout::from_json(value(LAYOUT_KEY).ok_or_else(|| absent(LAYOUT_KEY))?)?;
    check_schema(metadata.file_metadata().schema_descr(), code_bits(&layout))?;
    Ok(layout)
}

/// Refuses formats that came after this one.
pub(in crate::io) fn check_version(version: u32) -> Result<()> {
    match version {
        1..=FORMAT_VERSION => Ok(()),
        _ => Err(Error::unsupported(
            format!("dataset format {version}"),
            format!("this version of roundelay reads formats up to {FORMAT_VERSION}"),
        )),
    }
}
