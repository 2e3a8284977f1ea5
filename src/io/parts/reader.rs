//! Segments out of a part.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArrayType, DataType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::ColumnDescPtr;

use super::claims::{MAX_GROUP_BYTES, check_footer, check_ranges, values_of};
use super::columns::Column;
use super::group::{Group, ID, NUM_FRAMES};
use super::{FORMAT_KEY, FORMAT_VERSION, LAYOUT_KEY};
use super::{check_schema, code_bits, failed};
use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::io::files;
use crate::stream::Layout;

const DOING: &str = "read the part";

/// Reads the segments of a part in order, one row group in memory at a time.
///
/// After an error it ends.
pub struct PartReader {
    path: PathBuf,
    bytes: File,
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
        let refused = |e| Error::io(DOING, e);
        let (size, bytes) = (file.metadata().map_err(refused)?.len(), file.try_clone().map_err(refused)?);
        check_footer(&bytes, size)?;
        let file = guarded(|| SerializedFileReader::new(file)).map_err(|e| failed(DOING, e))?;
        let layout = check_metadata(file.metadata())?;
        check_ranges(file.metadata(), size)?;
        Ok(PartReader { path: path.to_owned(), bytes, file, layout, next_group: 0, group: None })
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
            let counts = self.columns(g).and_then(|mut columns| columns.read::<Int32Type>(NUM_FRAMES));
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
        let ids = self.columns(g)?.read::<ByteArrayType>(ID)?;
        let Some(row) = ids.values.iter().position(|other| other.data() == id.as_bytes()) else {
            return Ok(None);
        };
        let mut group = Group::read(&mut self.columns(g)?)?;
        (0..row).try_for_each(|_| group.segment(&self.layout).map(drop))?;
        group.segment(&self.layout).map(Some)
    }

    fn columns(&self, g: usize) -> Result<Columns<'_>> {
        let group = self.file.get_row_group(g).map_err(|e| failed(DOING, e))?;
        Ok(Columns { group, bytes: &self.bytes, left: MAX_GROUP_BYTES })
    }

    /// Reads a row group with this much room, and returns how much of it was taken.
    #[cfg(test)]
    pub(super) fn room(&self, g: usize, left: u64) -> Result<u64> {
        let mut columns = Columns { left, ..self.columns(g)? };
        Group::read(&mut columns)?;
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
            if self.next_group == self.file.num_row_groups() {
                return Ok(None);
            }
            // The old group goes before the next is read: two would be twice the memory.
            self.group = None;
            let group = Group::read(&mut self.columns(self.next_group)?)?;
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

/// The columns of a row group, which share its limit.
pub(super) struct Columns<'a> {
    group: Box<dyn RowGroupReader + 'a>,
    bytes: &'a File,
    /// Bytes of memory left for those that are yet to be read.
    left: u64,
}

impl Columns<'_> {
    pub fn rows(&self) -> usize {
        self.group.metadata().num_rows() as usize
    }

    /// Decodes one column whole.
    pub fn read<T: DataType>(&mut self, index: usize) -> Result<Column<T::T>> {
        let column = self.group.metadata().column(index).column_descr_ptr();
        let name = column.path().string();
        let claimed = self.admit::<T>(index)?;
        guarded(|| self.decode::<T>(column, index, claimed)).map_err(|e| match e {
            ParquetError::External(_) => failed(DOING, e),
            e => Error::malformed(format!("column {name} of the part"), e),
        })
    }

    /// Takes the room that a column claims, and returns the number of its levels and values.
    fn admit<T: DataType>(&mut self, index: usize) -> Result<u64> {
        let chunk = self.group.metadata().column(index);
        let levels = if chunk.column_descr().max_def_level() > 0 { 2 * size_of::<i16>() } else { 0 };
        let claimed = values_of(self.bytes, chunk)?;
        let room = claimed.saturating_mul((size_of::<T::T>() + levels) as u64);
        self.left = self.left.checked_sub(room).ok_or_else(|| {
            let found = format!("at least {}", (MAX_GROUP_BYTES - self.left).saturating_add(room));
            Error::over_limit("bytes that the row group takes in memory", found, MAX_GROUP_BYTES)
        })?;
        Ok(claimed)
    }

    fn decode<T: DataType>(
        &self,
        column: ColumnDescPtr,
        index: usize,
        claimed: u64,
    ) -> parquet::errors::Result<Column<T::T>> {
        let rows = self.rows();
        let pages = Bounded { pages: self.group.get_column_page_reader(index)?, left: claimed, dictionary: false };
        let mut reader = ColumnReaderImpl::<T>::new(column, Box::new(pages));
        let mut read = Column::default();
        let (records, ..) = reader.read_records(rows, Some(&mut read.def), Some(&mut read.rep), &mut read.values)?;
        match records == rows {
            true => Ok(read),
            false => Err(ParquetError::General(format!("{records} rows of {rows}"))),
        }
    }
}

/// Runs the Parquet crate over bytes from a stranger. It asserts, here and there, what a damaged page breaks; what it
/// was working on is given up with the error, so no half-changed state is seen.
fn guarded<T>(decode: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(ParquetError::General("its bytes contradict each other".into())))
}

/// Pages, up to the number of levels and values that room was taken for.
struct Bounded {
    pages: Box<dyn PageReader>,
    left: u64,
    dictionary: bool,
}

impl Bounded {
    fn admit(&mut self, page: Page) -> parquet::errors::Result<Page> {
        use parquet::basic::Encoding::{DELTA_BINARY_PACKED, PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY};
        let more = || ParquetError::General("more values than its headers claim".into());
        self.left = self.left.checked_sub(page.num_values().into()).ok_or_else(more)?;
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
