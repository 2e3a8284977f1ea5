//! Segments out of J-Moshi's files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use parquet::basic::Type as Physical;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::Type;

use super::{CODEBOOKS, ID, ROWS, SPEAKERS, layout};
use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::io::files;
use crate::io::parts::{Columns, Depth, Head, Lists, MAX_GROUP_BYTES, RowGroups, grid, read_at, read_metadata, text};
use crate::stream::Layout;
use crate::units::Seconds;

/// What a value takes while its row group is decoded.
const BYTES_A_VALUE: u64 = 8;

/// Reads the dialogues of a file, `A` as the main speaker: its text and codebooks, and the codebooks of `B`.
///
/// The text of `B` has no row in the layout, and is not read.
pub(in crate::io) struct JmoshiReader {
    path: PathBuf,
    file: File,
    metadata: ParquetMetaData,
    layout: Layout,
    split: Split,
    id: usize,
    speakers: [(usize, Depth); 2],
}

impl JmoshiReader {
    /// # Errors
    /// `Io`; `Malformed` if it is damaged; `Invalid` if a column is missing or is another.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(path).map_err(|e| e.in_file(path.display()))
    }

    fn new(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        let metadata = read_metadata(&file)?;
        let (id, [a, b]) = (id_column(&metadata)?, SPEAKERS);
        let speakers = [lists_column(&metadata, a)?, lists_column(&metadata, b)?];
        check_groups(&metadata, &speakers)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let split = if name.starts_with("valid") { Split::Valid } else { Split::Train };
        Ok(JmoshiReader { path: path.to_owned(), file, metadata, layout: layout(), split, id, speakers })
    }

    /// What changes if the file does: its footer, which says where everything is, and holds extremes.
    pub fn stamp(&self) -> Result<Vec<u8>> {
        const TAIL: u64 = 8;
        let read = |length: u64, end: u64| {
            let start = end.checked_sub(length).ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut bytes = vec![0; length as usize];
            read_at(&self.file, &mut bytes, start).map(|()| bytes)
        };
        let stamp = || {
            let size = self.file.metadata()?.len();
            let tail = read(TAIL, size)?;
            let length = tail.iter().take(4).rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
            Ok([read(length, size - TAIL)?, size.to_le_bytes().to_vec()].concat())
        };
        stamp().map_err(|e: io::Error| Error::io("read the footer", e).in_file(self.path.display()))
    }

    /// Size of the file.
    pub fn bytes(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|e| Error::io("look at the file", e).in_file(self.path.display()))
    }

    /// Dialogues in the file.
    pub fn rows(&self) -> u64 {
        self.metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum()
    }

    fn columns(&self, group: usize) -> Result<Columns<'_>> {
        let groups = self.metadata.num_row_groups();
        match group < groups {
            true => Ok(Columns::new(self.metadata.row_group(group), &self.file)),
            false => Err(Error::invalid("row group", group, format!("one of its {groups}"))),
        }
    }

    fn ids(&self, columns: &mut Columns<'_>) -> Result<Vec<ByteArray>> {
        let ids = columns.read::<ByteArrayType>(self.id)?.values;
        match ids.len() == columns.rows() {
            true => Ok(ids),
            false => Err(Error::invalid(ID, "null", "a text for each dialogue")),
        }
    }

    fn heads_of(&self, group: usize) -> Result<Vec<Head>> {
        let mut columns = self.columns(group)?;
        let ids = self.ids(&mut columns)?;
        let (index, depth) = self.speakers[0];
        let mut main = columns.lists(index, depth)?;
        let head = |id: &ByteArray| {
            let frames = main.next()?.1.first().copied().unwrap_or(0);
            Ok(Head { id: text(id)?, frames, split: self.split })
        };
        ids.iter().map(head).collect()
    }

    fn segments_of(&self, group: usize) -> Result<Vec<Segment>> {
        let mut columns = self.columns(group)?;
        let ids = self.ids(&mut columns)?;
        let [mut a, mut b] = [Lists::default(), Lists::default()];
        for (lists, (index, depth)) in [&mut a, &mut b].into_iter().zip(self.speakers) {
            *lists = columns.lists(index, depth)?;
        }
        let segment = |id: &ByteArray| {
            let id = text(id)?;
            self.segment(&id, &mut a, &mut b).map_err(|e| e.in_recording(id))
        };
        ids.iter().map(segment).collect()
    }

    fn segment(&self, id: &str, a: &mut Lists, b: &mut Lists) -> Result<Segment> {
        let (main, frames) = rows_of(SPEAKERS[0], a, None)?;
        let (other, _) = rows_of(SPEAKERS[1], b, Some(frames))?;
        let mut codes = Vec::with_capacity((ROWS + CODEBOOKS) * frames);
        codes.extend_from_slice(main);
        codes.extend_from_slice(&other[frames..]);
        Ok(Segment {
            id: id.to_owned(),
            path: id.to_owned(),
            start: Seconds::ZERO,
            duration: self.layout.frame_rate().start_of(frames),
            codes: grid(codes, &self.layout)?,
            words: Vec::new(),
            regions: Vec::new(),
            split: self.split,
            meta: "{}".to_owned(),
        })
    }
}

/// Refuses row groups that would not fit in memory, as the tool that writes such files makes them of 100,000 dialogues.
fn check_groups(metadata: &ParquetMetaData, speakers: &[(usize, Depth); 2]) -> Result<()> {
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let values: i64 = speakers.iter().map(|&(index, _)| group.column(index).num_values()).sum();
        if u64::try_from(values).unwrap_or(0).saturating_mul(BYTES_A_VALUE) > MAX_GROUP_BYTES {
            let detail = "write the file anew in smaller ones, as pq.write_table(table, file, row_group_size=64) does";
            return Err(Error::unsupported(format!("row group {number} of {values} values"), detail));
        }
    }
    Ok(())
}

/// Whether a file has a column of dialogues' ids; what else is wrong with it is then said by the reader.
pub(in crate::io) fn is_jmoshi(path: &Path) -> bool {
    files::open(path).and_then(|file| read_metadata(&file)).is_ok_and(|metadata| id_column(&metadata).is_ok())
}

impl RowGroups for JmoshiReader {
    fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn heads(&self, group: usize) -> Result<Vec<Head>> {
        self.heads_of(group).map_err(|e| e.in_file(self.path.display()))
    }

    fn segments(&self, group: usize, _words: bool) -> Result<Vec<Segment>> {
        self.segments_of(group).map_err(|e| e.in_file(self.path.display()))
    }
}

/// A speaker's rows of one dialogue, and the frames of each, which may be known.
fn rows_of<'a>(speaker: &str, lists: &'a mut Lists, frames: Option<usize>) -> Result<(&'a [i32], usize)> {
    let (values, lengths) = lists.next()?;
    if lengths.len() != ROWS {
        let expected = format!("{ROWS}: text and {CODEBOOKS} codebooks");
        return Err(Error::invalid(format!("number of rows of {speaker}"), lengths.len(), expected));
    }
    let frames = frames.unwrap_or(lengths[0] as usize);
    match lengths.iter().find(|&&length| length as usize != frames) {
        None => Ok((values, frames)),
        Some(length) => Err(Error::invalid(
            format!("length of a row of {speaker}"),
            length,
            format!("{frames}, as of the text of A"),
        )),
    }
}

fn id_column(metadata: &ParquetMetaData) -> Result<usize> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let found = columns.iter().position(|c| c.path().parts() == [ID] && c.physical_type() == Physical::BYTE_ARRAY);
    found.ok_or_else(|| Error::invalid(format!("column {ID}"), "missing, or no text", "a text for each dialogue"))
}

/// The column of a speaker's codes, and what its levels say.
fn lists_column(metadata: &ParquetMetaData, speaker: &str) -> Result<(usize, Depth)> {
    let schema = metadata.file_metadata().schema_descr();
    let bad = |found: &str| Error::invalid(format!("column {speaker}"), found, "lists of lists of integers");
    let field = schema.root_schema().get_fields().iter().find(|field| field.name() == speaker);
    let depth = depth_of(field.ok_or_else(|| bad("missing"))?).ok_or_else(|| bad("something else"))?;
    let index = schema.columns().iter().position(|c| c.path().parts().first().is_some_and(|name| name == speaker));
    Ok((index.ok_or_else(|| bad("missing"))?, depth))
}

/// Levels of lists of lists of integers, any of which may be declared nullable, as pyarrow does; `None` if it is another
/// thing.
fn depth_of(field: &Type) -> Option<Depth> {
    let optional = |node: &Type| i16::from(node.is_optional());
    let list = lone_child(field)?;
    let element = lone_child(list)?;
    let inner = lone_child(element)?;
    let integer = lone_child(inner)?;
    let repeated = [field, list, element, inner, integer].map(|node| {
        node.get_basic_info().has_repetition()
            && node.get_basic_info().repetition() == parquet::basic::Repetition::REPEATED
    });
    let numbers = integer.is_primitive() && [Physical::INT32, Physical::INT64].contains(&integer.get_physical_type());
    let empty_row = optional(field);
    let empty_list = empty_row + 1 + optional(element);
    let depth = Depth { value: empty_list + 1 + optional(integer), empty_list, empty_row };
    (numbers && repeated == [false, true, false, true, false]).then_some(depth)
}

fn lone_child(node: &Type) -> Option<&Type> {
    match node {
        Type::GroupType { fields, .. } if fields.len() == 1 => Some(&fields[0]),
        _ => None,
    }
}
