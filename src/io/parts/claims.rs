//! What a part claims, held against what it has before anything is made of it.
//!
//! ```text
//! header 3 values, 9 bytes out of 5 | 5 bytes | header ..    the pages of a column chunk
//! ```
//!
//! A run of a thousand million levels takes a few bytes in a file, so memory is bounded for each row group as a whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::{MAX_GROUP_SIZE, MAX_SEGMENT_SIZE, MAX_WORDS, thrift};
use crate::error::{Error, Result};

/// The emptiest row counts as one of the writer's tokens.
const MAX_ROWS: u64 = MAX_GROUP_SIZE as u64;

/// Bytes that the values and levels of a row group take in memory: what the writer keeps to.
pub(in crate::io) const MAX_GROUP_BYTES: u64 = 3 << 29;
/// Bytes for each token that the writer counts: most for an empty row, which is at least two tokens, and empty words.
pub(super) const BYTES_PER_TOKEN: u64 = 150;
/// Dictionaries end at a mebibyte; of strings of one letter that are 8 in memory, and more for the other columns.
const DICTIONARIES: u64 = 17 << 23;
/// A full group and the largest segment after it: tokens of 8 bytes, and words.
const WRITTEN: u64 = BYTES_PER_TOKEN * (MAX_GROUP_SIZE + MAX_WORDS) as u64 + 8 * MAX_SEGMENT_SIZE as u64 + DICTIONARIES;
const _: () = assert!(WRITTEN <= MAX_GROUP_BYTES, "what is written can be read");

/// Snappy makes 64 bytes of 3, and no more.
const MAX_EXPANSION: u64 = 22;

/// Checks the footer, if there is one: the Parquet crate says what is wrong with a file that has none.
pub(super) fn check_footer(mut file: &File, size: u64) -> Result<()> {
    const TAIL: u64 = 8;
    let Some(end) = size.checked_sub(TAIL) else { return Ok(()) };
    let mut tail = [0; TAIL as usize];
    file.seek(SeekFrom::Start(end)).and_then(|_| file.read_exact(&mut tail)).map_err(refused)?;
    let [length @ .., b'P', b'A', b'R', b'1'] = tail else { return Ok(()) };
    let length = u32::from_le_bytes(length).into();
    let Some(start) = end.checked_sub(length) else { return Ok(()) };
    file.seek(SeekFrom::Start(start)).map_err(refused)?;
    thrift::check_footer(&mut BufReader::new(file), length)
}

/// Checks that no row group has too many rows, and that every column chunk lies within the file.
pub(super) fn check_ranges(metadata: &ParquetMetaData, size: u64) -> Result<()> {
    for group in metadata.row_groups() {
        if !(0..=MAX_ROWS as i64).contains(&group.num_rows()) {
            return Err(Error::over_limit("number of rows of a row group", group.num_rows(), MAX_ROWS));
        }
        for column in group.columns() {
            if column.compressed_size() > MAX_GROUP_BYTES as i64 {
                let what = format!("size of column {}", column.column_path());
                return Err(Error::over_limit(what, column.compressed_size(), MAX_GROUP_BYTES));
            }
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

/// Levels and values that the pages of a column chunk claim, each page no larger than it can become.
pub(super) fn values_of(mut bytes: &[u8], column: &ColumnChunkMetaData) -> Result<u64> {
    let past_end = || Error::malformed("part", format!("a page of column {} ends after it", column.column_path()));
    let mut values = 0;
    while !bytes.is_empty() {
        let left = bytes.len() as u64;
        let page = thrift::page_header(&mut bytes, left)?;
        let most = page.packed * MAX_EXPANSION;
        if page.unpacked > most {
            let what = format!("size of a page of column {}", column.column_path());
            return Err(Error::over_limit(what, page.unpacked, format!("{most}, out of {} bytes", page.packed)));
        }
        bytes = bytes.get(page.packed as usize..).ok_or_else(past_end)?;
        values += page.values;
    }
    Ok(values)
}

fn refused(error: std::io::Error) -> Error {
    Error::io("read the part", error)
}
