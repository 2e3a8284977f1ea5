//! Parts: the Parquet files of a dataset, one row a segment.
//!
//! ```text
//! id     codes                       words                                   a column chunk of `codes`
//! "a@0"  [[3 0 812], [5 6 7], ..]    [{text: "no", .., tokens: [812]}, ..]   values  3 0 812 5 6 7 ..
//! "a@3"  [[3 3 3],   [8 9 1], ..]    []                                      rep     0 2 2   1 2 2 ..
//! ```
//!
//! Written and read through Parquet's column interface, without Arrow: two levels of nesting by hand are little code,
//! and Arrow quadruples the build. The specification is docs/format.md.

mod chunk;
mod claims;
mod columns;
mod group;
mod integers;
mod levels;
mod lists;
mod pages;
mod reader;
mod thrift;
mod writer;

use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{SchemaDescriptor, TypePtr};
use serde::{Deserialize, Serialize};

use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::stream::Layout;

pub(super) use chunk::read_at;
pub(super) use claims::MAX_GROUP_BYTES;
pub(super) use columns::Column;
pub(super) use group::{grid, put, text};
pub(super) use lists::{Depth, Lists};
pub(super) use pages::Columns;
pub use reader::PartReader;
pub(super) use reader::{check_version, read_metadata};
pub use writer::PartWriter;

/// Version of the dataset format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 1;

const DOING: &str = "read the part";

const FORMAT_KEY: &str = "roundelay.format";
const LAYOUT_KEY: &str = "roundelay.layout";

/// A row group is written once it holds this many tokens (and bytes of text): what is decoded to find one segment.
pub(super) const GROUP_SIZE: usize = 256 << 10;
/// The same, at most.
const MAX_GROUP_SIZE: usize = 4 << 20;
/// What one segment may hold; a row group is then at most both together.
const MAX_SEGMENT_SIZE: usize = 64 << 20;
/// Words and regions of one segment, which take much more memory than tokens: four days of speech without a pause.
const MAX_WORDS: usize = 1 << 20;

/// What a part holds; an entry of `dataset.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    /// File name within the dataset's folder.
    pub name: String,
    /// Segments.
    pub rows: u64,
    /// Frames of all segments.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// What the small columns say of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub id: String,
    pub frames: u32,
    pub split: Split,
}

/// A file of segments in row groups, which several threads may read at once.
pub(super) trait RowGroups: Send + Sync {
    /// Row groups in the file.
    fn groups(&self) -> usize;
    /// What is known of each segment of a row group without decoding it.
    fn heads(&self, group: usize) -> Result<Vec<Head>>;
    /// The segments of a row group, with their words or without.
    fn segments(&self, group: usize, words: bool) -> Result<Vec<Segment>>;
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bits of the smallest signed integer that holds every data id of the layout, and -1.
fn code_bits(layout: &Layout) -> u32 {
    let largest = layout.streams().iter().map(|s| s.cardinality - 1).max().unwrap_or(0);
    [8, 16].into_iter().find(|bits| largest < 1 << (bits - 1)).unwrap_or(32)
}

/// The columns, in the order in which they are written and read.
fn schema(bits: u32) -> TypePtr {
    let text = format!(
        "message segment {{
            REQUIRED BYTE_ARRAY id (STRING);
            REQUIRED BYTE_ARRAY path (STRING);
            REQUIRED DOUBLE start_sec;
            REQUIRED DOUBLE duration_sec;
            REQUIRED INT32 num_frames;
            REQUIRED GROUP codes (LIST) {{
                REPEATED GROUP list {{
                    REQUIRED GROUP element (LIST) {{
                        REPEATED GROUP list {{ REQUIRED INT32 element (INTEGER({bits},true)); }}
                    }}
                }}
            }}
            REQUIRED GROUP words (LIST) {{
                REPEATED GROUP list {{
                    REQUIRED GROUP element {{
                        REQUIRED BYTE_ARRAY text (STRING);
                        REQUIRED DOUBLE start;
                        REQUIRED DOUBLE end;
                        REQUIRED BYTE_ARRAY speaker (STRING);
                        OPTIONAL INT32 frame;
                        REQUIRED GROUP tokens (LIST) {{
                            REPEATED GROUP list {{ REQUIRED INT32 element; }}
                        }}
                    }}
                }}
            }}
            REQUIRED GROUP regions (LIST) {{
                REPEATED GROUP list {{
                    REQUIRED GROUP element {{ REQUIRED DOUBLE start; REQUIRED DOUBLE end; REQUIRED FLOAT weight; }}
                }}
            }}
            REQUIRED BYTE_ARRAY split (STRING);
            REQUIRED BYTE_ARRAY meta (STRING);
        }}"
    );
    Arc::new(parse_message_type(&text).expect("the schema above is well-formed"))
}

/// Checks that a file's columns are those above.
fn check_schema(found: &SchemaDescriptor, bits: u32) -> Result<()> {
    let expected = SchemaDescriptor::new(schema(bits));
    for column in expected.columns() {
        let name = || format!("column {}", column.path());
        let other = found.columns().iter().find(|other| other.path() == column.path());
        let other = other.ok_or_else(|| Error::invalid(name(), "missing", "in every part"))?;
        if other.self_type() != column.self_type() || levels(other) != levels(column) {
            return Err(Error::invalid(name(), describe(other), describe(column)));
        }
    }
    let same_order = found.columns().iter().map(|c| c.path()).eq(expected.columns().iter().map(|c| c.path()));
    if !same_order {
        return Err(Error::invalid("order of the columns", "another", "that of docs/format.md"));
    }
    Ok(())
}

fn levels(column: &parquet::schema::types::ColumnDescPtr) -> (i16, i16) {
    (column.max_def_level(), column.max_rep_level())
}

fn describe(column: &parquet::schema::types::ColumnDescPtr) -> String {
    let logical = column.logical_type_ref().map(|t| format!(" {t:?}")).unwrap_or_default();
    let (def, rep) = levels(column);
    format!("{}{logical}, levels {def} and {rep}", column.physical_type())
}

/// Errors of the Parquet crate: the system's refusals apart from what is wrong in the file.
pub(super) fn failed(doing: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::io(doing, *source),
            Err(source) => Error::malformed("part", source),
        },
        other => Error::malformed("part", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_take_the_smallest_signed_width() {
        let bits = |name: &str| code_bits(&Layout::preset(name).unwrap());
        assert_eq!((bits("moshi-7b"), bits("delay-1")), (16, 16));
        let with = |cardinality: u32| {
            let preset = Layout::preset("delay-1").unwrap();
            let mut streams = preset.streams().to_vec();
            streams.iter_mut().for_each(|s| s.cardinality = cardinality);
            code_bits(&Layout::new("x", preset.frame_rate(), streams).unwrap())
        };
        assert_eq!((with(1), with(128), with(129)), (8, 8, 16));
        assert_eq!((with(32768), with(32769), with(i32::MAX as u32)), (16, 32, 32));
    }

    #[test]
    fn a_schema_is_itself_and_no_other() {
        assert!(check_schema(&SchemaDescriptor::new(schema(16)), 16).is_ok());
        let error = check_schema(&SchemaDescriptor::new(schema(32)), 16).unwrap_err().to_string();
        assert!(error.starts_with("column \"codes.list.element.list.element\" is INT32"), "{error}");
    }
}
