//! Footers and page headers, in Thrift's compact encoding, checked before the Parquet crate reads them.
//!
//! ```text
//! 15 04              field 1, an i32: 2                      15: one on from the field before, and of type 5
//! 19 fc 1d ..        field 2, a list of 29 structs           fc: many, of type 12; 1d: so many
//! 48 07 segment ..   field 4 of the first, bytes: a name     00 ends a struct
//! ```
//!
//! The crate takes a field for what its number says, whatever type is written there, makes room for the children that a
//! schema claims and the bytes that a page claims, and descends as deep as the schema goes: a few bytes can end the
//! process. Here a field that it knows must have its own type, so that both see the same numbers.
//!
//! # Source
//! Thrift `doc/specs/thrift-compact-protocol.md`; parquet-format 2.12 `parquet.thrift`; parquet 60.1
//! `parquet_thrift.rs`, `schema/types.rs` (`schema_from_array_helper`).

use std::io::{self, ErrorKind, Read, Take};

use Type::{Any, Binary, Bool, F64, I8, I16, I32, I64, Kept, List, Nodes, Struct};

use crate::error::{Error, Result};

/// Columns and groups of a schema, through which the crate recurses; a part has 36.
const MAX_NODES: u64 = 256;
const MAX_DEPTH: u8 = 32;
const MAX_PAGE_HEADER: u64 = 1 << 16;

/// What is to be written in a field.
#[derive(Clone, Copy)]
enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    F64,
    Binary,
    List(&'static Type),
    /// The list of the schema's nodes.
    Nodes(&'static Type),
    /// Fields in order, from number 1.
    Struct(&'static [Type]),
    /// An i32 that is not negative; the largest is kept in this place.
    Kept(usize),
    /// Anything: the crate does not look at it either.
    Any,
}

const CHILDREN: usize = 0;
const FOOTER: Type =
    Struct(&[I32, Nodes(&NODE), I64, List(&ROW_GROUP), List(&KEY_VALUE), Binary, List(&Struct(&[EMPTY; 3]))]);
const NODE: Type = Struct(&[I32, I32, I32, Binary, Kept(CHILDREN), I32, I32, I32, I32, LOGICAL_TYPE]);
const LOGICAL_TYPE: Type = Struct(&[
    EMPTY, EMPTY, EMPTY, EMPTY, DECIMAL, EMPTY, TIME, TIME, Any, INTEGER, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, VARIANT,
    GEOGRAPHY, GEOGRAPHY, EMPTY,
]);
const EMPTY: Type = Struct(&[]);
const DECIMAL: Type = Struct(&[I32, I32]);
const TIME: Type = Struct(&[Bool, Struct(&[EMPTY; 3])]);
const INTEGER: Type = Struct(&[I8, Bool]);
const VARIANT: Type = Struct(&[I8]);
const GEOGRAPHY: Type = Struct(&[Binary, I32]);
const ROW_GROUP: Type = Struct(&[List(&COLUMN_CHUNK), I64, I64, List(&Struct(&[I32, Bool, Bool])), I64, I64, I16]);
const COLUMN_CHUNK: Type = Struct(&[Binary, I64, COLUMN, I64, I32, I64, I32]);
const COLUMN: Type = Struct(&[
    I32,
    List(&I32),
    List(&Binary),
    I32,
    I64,
    I64,
    I64,
    List(&KEY_VALUE),
    I64,
    I64,
    I64,
    STATISTICS,
    List(&Struct(&[I32; 3])),
    I64,
    I32,
    SIZES,
    GEO_STATISTICS,
]);
const KEY_VALUE: Type = Struct(&[Binary, Binary]);
const STATISTICS: Type = Struct(&[Binary, Binary, I64, I64, Binary, Binary, Bool, Bool, I64]);
const SIZES: Type = Struct(&[I64, List(&I64), List(&I64)]);
const GEO_STATISTICS: Type = Struct(&[Struct(&[F64; 8]), List(&I32)]);

const UNPACKED: usize = 0;
const PACKED: usize = 1;
const VALUES: usize = 2;
const PAGE: Type = Struct(&[I32, Kept(UNPACKED), Kept(PACKED), I32, DATA_PAGE, EMPTY, DICTIONARY, DATA_PAGE_2]);
const DATA_PAGE: Type = Struct(&[Kept(VALUES), I32, I32, I32, Any]);
const DICTIONARY: Type = Struct(&[Kept(VALUES), I32, Bool]);
const DATA_PAGE_2: Type = Struct(&[Kept(VALUES), I32, I32, I32, I32, I32, Bool, Any]);

/// What the header of a page claims.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub length: u64,
    /// Bytes of the page after the header.
    pub packed: u64,
    /// Bytes of the page once it is decompressed.
    pub unpacked: u64,
    /// Levels, or values of a dictionary.
    pub values: u64,
}

/// Checks a footer, of which there are so many bytes.
pub(super) fn check_footer(bytes: &mut impl Read, length: u64) -> Result<()> {
    let mut walker = Walker { bytes: bytes.take(length), kept: [0; 3] };
    walker.value(12, &FOOTER, 0)?;
    check_nodes("children of a group in the schema", walker.kept[CHILDREN])
}

/// Reads the header of a page, which ends before so many bytes are over.
pub(super) fn page_header(bytes: &mut impl Read, left: u64) -> Result<PageHeader> {
    let most = left.min(MAX_PAGE_HEADER);
    let mut walker = Walker { bytes: bytes.take(most), kept: [0; 3] };
    walker.value(12, &PAGE, 0)?;
    let [unpacked, packed, values] = walker.kept;
    Ok(PageHeader { length: most - walker.bytes.limit(), packed, unpacked, values })
}

/// Reads on through what was written, keeping the numbers that are asked for.
struct Walker<R> {
    bytes: Take<R>,
    kept: [u64; 3],
}

impl<R: Read> Walker<R> {
    fn value(&mut self, written: u8, expected: &Type, depth: u8) -> Result<()> {
        match (written, expected) {
            // Its value is in its type.
            (1 | 2, Bool | Any) => Ok(()),
            (3, I8 | Any) => self.byte().map(drop),
            (4, I16 | Any) | (5, I32 | Any) | (6, I64 | Any) => self.number().map(drop),
            (5, Kept(place)) => self.keep(*place),
            (7, F64 | Any) => self.skip(8),
            (8, Binary | Any) => self.varint().and_then(|length| self.skip(length)),
            (9, List(element)) => self.list(element, u64::MAX, depth),
            (9, Nodes(node)) => self.list(node, MAX_NODES, depth),
            (9, Any) => self.list(&Any, u64::MAX, depth),
            (12, Struct(fields)) => self.fields(fields, depth),
            (12, Any) => self.fields(&[], depth),
            _ => Err(damaged(format!("a field of type {written} where Parquet has another"))),
        }
    }

    fn fields(&mut self, known: &[Type], depth: u8) -> Result<()> {
        let depth = deeper(depth)?;
        let mut field = 0;
        loop {
            let head = self.byte()?;
            if head & 15 == 0 {
                return Ok(());
            }
            let next = if head >> 4 == 0 { self.number()? } else { field + i64::from(head >> 4) };
            // The crate lets the last of two win, and cuts a number to 16 bits.
            if next <= field || next > i16::MAX.into() {
                return Err(damaged("fields that are not in order"));
            }
            field = next;
            self.value(head & 15, known.get(field as usize - 1).unwrap_or(&Any), depth)?;
        }
    }

    fn list(&mut self, element: &Type, most: u64, depth: u8) -> Result<()> {
        let (depth, head) = (deeper(depth)?, self.byte()?);
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        if count > most {
            return check_nodes("columns and groups in the schema", count);
        }
        // Of booleans, which Parquet has no list of, the crate passes over any number without taking a byte.
        if head != 0 && head & 15 < 3 {
            return Err(damaged("a list of booleans"));
        }
        (0..count).try_for_each(|_| self.value(head & 15, element, depth))
    }

    fn keep(&mut self, place: usize) -> Result<()> {
        let number = self.number()?;
        let number = i32::try_from(number).ok().and_then(|number| u64::try_from(number).ok());
        let number = number.ok_or_else(|| damaged("a count that is negative or beyond 32 bits"))?;
        self.kept[place] = self.kept[place].max(number);
        Ok(())
    }

    fn number(&mut self) -> Result<i64> {
        self.varint().map(|n| (n >> 1) as i64 ^ -((n & 1) as i64))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(damaged("a number of more than ten bytes"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte).map_err(refused)?;
        Ok(byte[0])
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        match io::copy(&mut self.bytes.by_ref().take(length), &mut io::sink()).map_err(refused)? {
            passed if passed == length => Ok(()),
            _ => Err(refused(ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn deeper(depth: u8) -> Result<u8> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(damaged("too many structs within each other")) }
}

fn check_nodes(what: &str, found: u64) -> Result<()> {
    if found <= MAX_NODES { Ok(()) } else { Err(Error::over_limit(format!("number of {what}"), found, MAX_NODES)) }
}

fn refused(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => damaged("cut short"),
        _ => Error::io("read the part", error),
    }
}

fn damaged(found: impl std::fmt::Display) -> Error {
    Error::malformed("part", format!("{found} in its metadata"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(bytes: &[u8]) -> String {
        check_footer(&mut &*bytes, bytes.len() as u64).map_or_else(|e| e.to_string(), |()| "accepted".into())
    }

    #[test]
    fn a_page_header_says_what_it_claims() {
        // Type 0, 9 bytes out of 5, and a data page of 3 values.
        let bytes = [0x15, 0, 0x15, 18, 0x15, 10, 0x2c, 0x15, 6, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0, 77];
        let header = PageHeader { length: 17, packed: 5, unpacked: 9, values: 3 };
        assert_eq!(page_header(&mut &bytes[..], 100).unwrap(), header);
        for most in 0..17 {
            let error = page_header(&mut &bytes[..], most).unwrap_err().to_string();
            assert!(error.contains("cut short in its metadata"), "{most}: {error}");
        }
        let negative = [0x15, 0, 0x15, 17];
        assert!(page_header(&mut &negative[..], 100).unwrap_err().to_string().contains("a count that is negative"));
    }

    #[test]
    fn what_the_crate_would_read_otherwise_is_refused() {
        let unknown = |value: &[u8]| footer(&[&[0x09 | 0xf0][..], value, &[0]].concat());
        assert_eq!(unknown(&[0x35, 2, 4, 6]), "accepted");
        assert!(unknown(&[0xf1, 0xff, 0xff, 0xff, 0xff, 7]).contains("a list of booleans"));
        assert!(unknown(&[0x19; 100]).contains("too many structs within each other"));
        assert!(footer(&[0x18, 1, 7]).contains("a field of type 8 where Parquet has another"));
        assert!(footer(&[0x15, 4, 0x05, 2, 4, 0]).contains("fields that are not in order"));
        assert!(footer(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).contains("ten bytes"));
    }

    #[test]
    fn a_schema_is_neither_long_nor_does_it_claim_so() {
        let node = |children: &[u8]| [&[0x48, 1, b'a', 0x15][..], children, &[0]].concat();
        let schema = |head: &[u8], nodes: &[u8]| footer(&[&[0x29][..], head, nodes, &[0]].concat());
        assert_eq!(schema(&[0x1c], &node(&[2])), "accepted");
        assert_eq!(schema(&[0xfc, 0x80, 2], &node(&[2]).repeat(256)), "accepted");
        assert!(
            schema(&[0xfc, 0x81, 2], &[]).contains("columns and groups in the schema is 257, over the limit of 256")
        );
        assert!(schema(&[0x1c], &node(&[0x82, 4])).contains("schema is 257, over the limit of 256"));
    }
}
