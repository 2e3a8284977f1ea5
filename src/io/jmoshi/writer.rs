//! Segments into J-Moshi's files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use serde::Serialize;

use super::{ROWS, Rows, SPEAKERS, schema};
use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::io::files::Sealed;
use crate::io::parts::{Column, GROUP_SIZE, failed, put};
use crate::io::{Dataset, INFO_FILE};
use crate::stream::Layout;
use crate::token::UNGENERATED;

const DOING: &str = "write the dialogues";

/// What an export has written, and what it could not take along.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JmoshiCounts {
    /// Dialogues in `train.parquet`.
    pub train: u64,
    /// Dialogues in `valid.parquet`.
    pub valid: u64,
    /// Frames of all of them.
    pub frames: u64,
    /// Dialogues whose text of `B` is nothing but pads, as the layout has no row of it.
    pub without_text_of_b: u64,
    /// Words that were left out; their tokens are in the text.
    pub words: u64,
    /// Regions with a loss weight that were left out.
    pub regions: u64,
    /// Segments with metadata that were left out.
    pub meta: u64,
}

/// Writes a dataset as J-Moshi's Parquet: `train.parquet` and `valid.parquet` in a folder, each if it has segments.
///
/// The main speaker becomes `A`, the other `B`; a segment becomes a dialogue of its id.
///
/// # Errors
/// `Unsupported` if the layout's rows are not those of two speakers with eight codebooks; `Invalid` if a file is there
/// already, or a code is yet to be generated; `Io`.
pub fn export_jmoshi(dataset: &Dataset, folder: &Path) -> Result<JmoshiCounts> {
    let rows = Rows::of(dataset.layout())?;
    if folder.join(INFO_FILE).exists() {
        let error = Error::invalid("output folder", "the folder of a dataset", "another");
        return Err(error.in_file(folder.display()));
    }
    fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", e).in_file(folder.display()))?;
    let paths = ["train.parquet", "valid.parquet"].map(|name| folder.join(name));
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Err(Error::invalid("output", "there already", "a name that is free").in_file(path.display()));
    }
    let (mut counts, mut files) = (JmoshiCounts::default(), [None, None]);
    for segment in dataset.segments() {
        let segment = segment?;
        let side = usize::from(segment.split == Split::Valid);
        let file = match &mut files[side] {
            Some(file) => file,
            none => none.insert(Writer::create(&paths[side])?),
        };
        file.write(&segment, &rows, dataset.layout())
            .map_err(|e| e.in_recording(&segment.id).in_file(paths[side].display()))?;
        counts.add(&segment, &rows);
    }
    for (file, path) in files.into_iter().zip(&paths) {
        file.map_or(Ok(()), Writer::finish).map_err(|e| e.in_file(path.display()))?;
    }
    Ok(counts)
}

impl JmoshiCounts {
    fn add(&mut self, segment: &Segment, rows: &Rows) {
        *(if segment.split == Split::Valid { &mut self.valid } else { &mut self.train }) += 1;
        self.frames += segment.codes.0.ncols() as u64;
        self.without_text_of_b += u64::from(rows.other_text.is_none());
        self.words += segment.words.len() as u64;
        self.regions += segment.regions.len() as u64;
        self.meta += u64::from(segment.meta != "{}");
    }
}

/// A file that appears when it is finished.
struct Writer {
    file: SerializedFileWriter<Sealed>,
    ids: Column<ByteArray>,
    speakers: [Column<i32>; 2],
    tokens: usize,
}

impl Writer {
    fn create(path: &Path) -> Result<Self> {
        let file = SerializedFileWriter::new(Sealed::create(path)?, schema(), Arc::new(properties()));
        let file = file.map_err(|e| failed(DOING, e).in_file(path.display()))?;
        Ok(Writer { file, ids: Column::default(), speakers: Default::default(), tokens: 0 })
    }

    fn write(&mut self, segment: &Segment, rows: &Rows, layout: &Layout) -> Result<()> {
        let codes = &segment.codes.0;
        if codes.iter().any(|&code| i64::from(code) == UNGENERATED) {
            return Err(Error::invalid("code", UNGENERATED, "one that is there, or -1"));
        }
        let pads = vec![layout.streams()[rows.main[0]].pad as i32; codes.ncols()];
        let row = |row: usize| codes.row(row).to_vec();
        let text = rows.other_text.map_or(pads, row);
        self.ids.push(segment.id.as_str().into());
        self.speakers[0].push_lists(rows.main.map(row));
        self.speakers[1].push_lists(std::iter::once(text).chain(rows.other.map(row)));
        self.tokens += (2 * ROWS).max(2 * ROWS * codes.ncols());
        if self.tokens >= GROUP_SIZE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group().map_err(|e| failed(DOING, e))?;
        let mut write = || {
            put::<ByteArrayType>(&mut group, &self.ids)?;
            self.speakers.iter().try_for_each(|column| put::<Int32Type>(&mut group, column))
        };
        write().map_err(|e| failed(DOING, e))?;
        group.close().map_err(|e| failed(DOING, e))?;
        (self.ids, self.speakers, self.tokens) = (Column::default(), Default::default(), 0);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if self.tokens > 0 {
            self.flush()?;
        }
        self.file.into_inner().map_err(|e| failed(DOING, e))?.seal().map(drop)
    }
}

fn properties() -> WriterProperties {
    let codes =
        SPEAKERS.map(|name| ColumnPath::new([name, "list", "element", "list", "element"].map(str::to_owned).to_vec()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("roundelay".to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    let delta = |properties: parquet::file::properties::WriterPropertiesBuilder, column: ColumnPath| {
        let properties = properties.set_column_dictionary_enabled(column.clone(), false);
        properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
    };
    codes.into_iter().fold(properties, delta).build()
}
