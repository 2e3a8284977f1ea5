//! The bytes of a column chunk, read at once and from where they lie: several threads may read one file.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::error::{Error, Result};

/// Reads a column chunk, which lies within the file.
pub(super) fn read(file: &File, column: &ColumnChunkMetaData) -> Result<Vec<u8>> {
    let (start, length) = column.byte_range();
    let mut bytes = vec![0; length as usize];
    read_at(file, &mut bytes, start).map_err(|e| Error::io("read the part", e))?;
    Ok(bytes)
}

/// The pages of a column chunk whose bytes these are.
pub(super) fn pages(
    bytes: Vec<u8>,
    column: &ColumnChunkMetaData,
    rows: usize,
) -> parquet::errors::Result<impl PageReader + use<>> {
    let (start, _) = column.byte_range();
    let from_start = |at: i64| at.saturating_sub(start as i64).max(0);
    let moved = column.clone().into_builder();
    let moved = moved.set_data_page_offset(from_start(column.data_page_offset()));
    let moved = moved.set_dictionary_page_offset(column.dictionary_page_offset().map(from_start)).build()?;
    // The crate reads from memory through a type of another crate's, which a page makes out of ours.
    let page = Page::DictionaryPage { buf: bytes.into(), num_values: 0, encoding: Encoding::PLAIN, is_sorted: false };
    SerializedPageReader::new(Arc::new(page.buffer().clone()), &moved, rows, None)
}

/// Fills the buffer with the file's bytes from there on.
#[cfg(unix)]
pub(in crate::io) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
pub(in crate::io) fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (bytes, at) = (&mut bytes[read..], at + read as u64),
        }
    }
    Ok(())
}
