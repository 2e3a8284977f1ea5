//! Segments out of a part.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArrayType, DataType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;

use super::columns::Column;
use super::group::{Group, ID, NUM_FRAMES};
use super::{FORMAT_KEY, FORMAT_VERSION, GROUP_SIZE, LAYOUT_KEY, MAX_SEGMENT_SIZE};
use super::{check_schema, code_bits, failed};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::io::files;
use crate::stream::Layout;

const DOING: &str = "read the part";
/// Levels that one column of one row group may hold: what the writer keeps to, with room for one level a list.
const MAX_LEVELS: u64 = (GROUP_SIZE + MAX_SEGMENT_SIZE) as u64;

/// Reads the segments of a part in order, one row group in memory at a time.
///
/// After an error it ends.
pub struct PartReader {
    path: PathBuf,
    file: SerializedFileReader<File>,
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
        let size = file.metadata().map_err(|e| Error::io(DOING, e))?.len();
        let file = guarded(|| SerializedFileReader::new(file)).map_err(|e| failed(DOING, e))?;
        let layout = check_metadata(file.metadata())?;
        check_ranges(file.metadata(), size)?;
        Ok(PartReader { path: path.to_owned(), file, layout, next_group: 0, group: None })
    }

    /// The layout that the part was written with.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Segments in the part.
    pub fn rows(&self) -> u64 {
        self.file.metadata().row_groups().iter().map(|group| group.num_rows() as u64).sum()
    }

    /// Frames of all segments.
    ///
    /// # Errors
    /// `Io`, `Malformed`.
    pub fn frames(&self) -> Result<u64> {
        let mut frames = 0;
        for g in 0..self.file.num_row_groups() {
            let counts = self.group_reader(g).and_then(|group| read_column::<Int32Type>(&*group, NUM_FRAMES));
            frames += counts.map_err(|e| self.place(e))?.values.into_iter().map(|n| n.max(0) as u64).sum::<u64>();
        }
        Ok(frames)
    }

    /// The segment of this id, decoding only the row group that holds it; `None` if there is none.
    ///
    /// # Errors
    /// `Io`, `Malformed`, `Invalid`.
    pub fn find(&self, id: &str) -> Result<Option<Segment>> {
        for g in 0..self.file.num_row_groups() {
            let found = self.find_in(g, id).map_err(|e| self.place(e))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_in(&self, g: usize, id: &str) -> Result<Option<Segment>> {
        let ids = read_column::<ByteArrayType>(&*self.group_reader(g)?, ID)?;
        let Some(row) = ids.values.iter().position(|other| other.data() == id.as_bytes()) else {
            return Ok(None);
        };
        let mut group = Group::read(&*self.group_reader(g)?)?;
        (0..row).try_for_each(|_| group.segment(&self.layout).map(drop))?;
        group.segment(&self.layout).map(Some)
    }

    fn group_reader(&self, g: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        self.file.get_row_group(g).map_err(|e| failed(DOING, e))
    }

    fn place(&self, error: Error) -> Error {
        error.in_file(self.path.display())
    }

    fn advance(&mut self) -> Result<Option<Segment>> {
        loop {
            if let Some(group) = self.group.as_mut().filter(|group| group.rows > 0) {
                return group.segment(&self.layout).map(Some);
            }
            if self.next_group == self.file.num_row_groups() {
                return Ok(None);
            }
            // The old group goes before the next is read: two would be twice the memory.
            self.group = None;
            let group = Group::read(&*self.group_reader(self.next_group)?)?;
            self.group = Some(group);
            self.next_group += 1;
        }
    }
}

impl Iterator for PartReader {
    type Item = Result<Segment>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().map_err(|e| self.place(e));
        if next.is_err() {
            self.group = None;
            self.next_group = self.file.num_row_groups();
        }
        next.transpose()
    }
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

/// Checks what the Parquet crate takes on trust: that every column chunk lies within the file, and is not too long.
fn check_ranges(metadata: &ParquetMetaData, size: u64) -> Result<()> {
    for group in metadata.row_groups() {
        if group.num_rows() < 0 || group.num_rows() as u64 > MAX_LEVELS {
            return Err(Error::over_limit("number of rows of a row group", group.num_rows(), MAX_LEVELS));
        }
        for column in group.columns() {
            if !within(column, size) {
                return Err(Error::malformed(
                    "part",
                    format!("column {} is not within the file", column.column_path()),
                ));
            }
        }
    }
    Ok(())
}

fn within(column: &ColumnChunkMetaData, size: u64) -> bool {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let ends = [start, column.data_page_offset()].map(|at| u64::try_from(at).is_ok_and(|at| at <= size));
    let end = start.checked_add(column.compressed_size()).and_then(|end| u64::try_from(end).ok());
    ends == [true; 2] && column.compressed_size() >= 0 && end.is_some_and(|end| end <= size)
}

/// Decodes one column of a row group whole.
pub(super) fn read_column<T: DataType>(group: &dyn RowGroupReader, index: usize) -> Result<Column<T::T>> {
    let column = group.metadata().column(index).column_descr_ptr();
    let (rows, name) = (group.metadata().num_rows() as usize, column.path().string());
    let decode = || {
        let pages = Bounded { pages: group.get_column_page_reader(index)?, left: MAX_LEVELS, dictionary: false };
        let mut reader = ColumnReaderImpl::<T>::new(column, Box::new(pages));
        let mut read = Column::default();
        let (records, ..) = reader.read_records(rows, Some(&mut read.def), Some(&mut read.rep), &mut read.values)?;
        match records == rows {
            true => Ok(read),
            false => Err(ParquetError::General(format!("{records} rows of {rows}"))),
        }
    };
    guarded(decode).map_err(|e| match e {
        ParquetError::External(_) => failed(DOING, e),
        e => Error::malformed(format!("column {name} of the part"), e),
    })
}

/// Runs the Parquet crate over bytes from a stranger. It asserts, here and there, what a damaged page breaks; what it
/// was working on is given up with the error, so no half-changed state is seen.
fn guarded<T>(decode: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(ParquetError::General("its bytes contradict each other".into())))
}

/// Pages, up to a number of levels: a run of billions takes a few bytes in a file.
struct Bounded {
    pages: Box<dyn PageReader>,
    left: u64,
    dictionary: bool,
}

impl Bounded {
    fn admit(&mut self, page: Page) -> parquet::errors::Result<Page> {
        use parquet::basic::Encoding::{DELTA_BINARY_PACKED, PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY};
        self.left = self.left.checked_sub(page.num_values().into()).ok_or_else(|| {
            ParquetError::General(format!("more than {MAX_LEVELS} values, the limit for a row group"))
        })?;
        match (&page, page.encoding()) {
            // No value takes less than four bytes, so a dictionary cannot claim more room than it brings.
            (Page::DictionaryPage { buf, num_values, .. }, PLAIN | PLAIN_DICTIONARY)
                if *num_values as usize <= buf.len() / 4 =>
            {
                self.dictionary = true;
            }
            (Page::DataPage { .. } | Page::DataPageV2 { .. }, PLAIN | DELTA_BINARY_PACKED) => {}
            (Page::DataPage { .. } | Page::DataPageV2 { .. }, PLAIN_DICTIONARY | RLE_DICTIONARY) if self.dictionary => {
            }
            (_, encoding) => return Err(ParquetError::General(format!("encoding {encoding} where it cannot be"))),
        }
        Ok(page)
    }
}

impl Iterator for Bounded {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Bounded {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|page| self.admit(page)).transpose()
    }

    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> parquet::errors::Result<bool> {
        self.pages.at_record_boundary()
    }
}
