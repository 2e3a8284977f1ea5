//! Columns of a row group, from their pages: what a stranger's file can make of them is bounded.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::{Compression, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::claims::{MAX_GROUP_BYTES, values_of};
use super::columns::Column;
use super::lists::{self, Depth, Lists};
use super::{DOING, chunk, failed};
use crate::error::{Error, Result};

/// The columns of a row group, which share its limit.
pub(in crate::io) struct Columns<'a> {
    group: &'a RowGroupMetaData,
    file: &'a File,
    /// Bytes of memory left for those that are yet to be read.
    pub left: u64,
}

impl<'a> Columns<'a> {
    pub fn new(group: &'a RowGroupMetaData, file: &'a File) -> Self {
        Columns { group, file, left: MAX_GROUP_BYTES }
    }

    pub fn rows(&self) -> usize {
        self.group.num_rows() as usize
    }

    /// Decodes one column whole.
    pub fn read<T: DataType>(&mut self, index: usize) -> Result<Column<T::T>> {
        let bytes = self.bytes(index)?;
        let claimed = self.admit(index, &bytes, size_of::<T::T>())?;
        guarded(|| self.decode::<T>(index, bytes, claimed)).map_err(|e| self.refused(index, e))
    }

    /// Decodes a column of lists of lists of integers.
    pub fn lists(&mut self, index: usize, depth: Depth) -> Result<Lists> {
        let (rows, column) = (self.rows(), self.group.column(index));
        let bytes = self.bytes(index)?;
        // An inner list of one value takes as much again, as its levels do elsewhere.
        let claimed = self.admit(index, &bytes, size_of::<i32>())?;
        let size = if column.column_type() == Type::INT64 { size_of::<i64>() } else { size_of::<i32>() };
        let mut lists = lists::Reader::new(depth, rows, claimed as usize, size);
        let mut pages = self.pages(index, bytes, claimed).map_err(|e| self.refused(index, e))?;
        while let Some(page) = guarded(|| pages.get_next_page()).map_err(|e| self.refused(index, e))? {
            lists.add(&page)?;
        }
        lists.finish()
    }

    fn refused(&self, index: usize, error: ParquetError) -> Error {
        match error {
            ParquetError::External(_) => failed(DOING, error),
            e => Error::malformed(format!("column {} of the part", self.group.column(index).column_path().string()), e),
        }
    }

    /// Reads a column's bytes, if they are compressed in a way that can be undone.
    fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        let column = self.group.column(index);
        match column.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY => chunk::read(self.file, column),
            other => Err(Error::unsupported(
                format!("compression {other} of column {}", column.column_path().string()),
                "Snappy is read, pandas' own choice, and none",
            )),
        }
    }

    /// Takes the room that a column claims for values of this size, and returns the number of its levels and values.
    fn admit(&mut self, index: usize, bytes: &[u8], size: usize) -> Result<u64> {
        let chunk = self.group.column(index);
        let levels = if chunk.column_descr().max_def_level() > 0 { 2 * size_of::<i16>() } else { 0 };
        let claimed = values_of(bytes, chunk)?;
        let room = claimed.saturating_mul((size + levels) as u64);
        self.left = self.left.checked_sub(room).ok_or_else(|| {
            let found = format!("at least {}", (MAX_GROUP_BYTES - self.left).saturating_add(room));
            Error::over_limit("bytes that the row group takes in memory", found, MAX_GROUP_BYTES)
        })?;
        Ok(claimed)
    }

    fn pages(
        &self,
        index: usize,
        bytes: Vec<u8>,
        claimed: u64,
    ) -> parquet::errors::Result<Bounded<impl PageReader + use<>>> {
        let pages = chunk::pages(bytes, self.group.column(index), self.rows())?;
        Ok(Bounded { pages, left: claimed, dictionary: false })
    }

    fn decode<T: DataType>(&self, index: usize, bytes: Vec<u8>, claimed: u64) -> parquet::errors::Result<Column<T::T>> {
        let rows = self.rows();
        let pages = Box::new(self.pages(index, bytes, claimed)?);
        let mut reader = ColumnReaderImpl::<T>::new(self.group.column(index).column_descr_ptr(), pages);
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
pub(super) fn guarded<T>(decode: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(ParquetError::General("its bytes contradict each other".into())))
}

/// Pages, up to the number of levels and values that room was taken for.
struct Bounded<P> {
    pages: P,
    left: u64,
    dictionary: bool,
}

impl<P: PageReader> Bounded<P> {
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

impl<P: PageReader> Iterator for Bounded<P> {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for Bounded<P> {
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
