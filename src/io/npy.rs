//! The header of NumPy's `.npy`, alone or inside an `.npz`.
//!
//! ```text
//! \x93NUMPY 1 0 | length | {'descr': '<i2', 'fortran_order': False, 'shape': (17, 125), }\n | data
//! ```
//!
//! Read here and not by the crate ndarray-npy, which allocates whatever the shape claims before it has seen any data,
//! and parses the header with a recursion that a long header can overflow.

use std::io::Read;

use safetensors::Dtype;

use super::tensors::Raw;
use crate::error::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const MAX_HEADER: u64 = 1 << 16;
/// NumPy itself allows 64 axes.
const MAX_AXES: usize = 64;

/// Elements out of a compressed file, whose bytes are no measure: deflate makes a thousand out of one.
const MAX_UNPACKED: u64 = 1 << 27;

/// Reads one array out of a file of this size; of an unknown one if it is compressed.
pub(super) fn read(mut reader: impl Read, size: Option<u64>) -> Result<Raw> {
    let header = read_header(&mut reader)?;
    let (dtype, big_endian) = element(literal(&header, "descr")?)?;
    let fortran = match literal(&header, "fortran_order")? {
        value if value.starts_with("True") => true,
        value if value.starts_with("False") => false,
        _ => return Err(bad("fortran_order is neither True nor False")),
    };
    let shape = shape(literal(&header, "shape")?)?;
    let bytes = super::tensors::byte_len(&shape, dtype, size.unwrap_or(u64::MAX))?;
    let width = (dtype.bitsize() / 8) as u64;
    let most = if size.is_some() { bytes } else { bytes.min(MAX_UNPACKED * width) };
    let mut data = Vec::new();
    let got = reader.take(most).read_to_end(&mut data).map_err(|e| Error::io("read the array", e))? as u64;
    match got {
        _ if got == bytes => Ok(Raw { dtype, big_endian, fortran, shape, data }),
        _ if got < most => Err(bad(format!("cut short: {got} of {bytes} bytes of data"))),
        _ => Err(Error::over_limit("number of elements of a compressed tensor", bytes / width, MAX_UNPACKED)),
    }
}

fn read_header(reader: &mut impl Read) -> Result<String> {
    let mut start = [0; 8];
    exact(reader, &mut start)?;
    if start[..6] != *MAGIC {
        return Err(bad("it does not begin as an .npy file does"));
    }
    let mut length = [0; 4];
    let field = if start[6] == 1 { 2 } else { 4 };
    exact(reader, &mut length[..field])?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > MAX_HEADER {
        return Err(Error::over_limit("length of the .npy header", length, MAX_HEADER));
    }
    let mut header = vec![0; length as usize];
    exact(reader, &mut header)?;
    String::from_utf8(header).map_err(bad)
}

fn exact(reader: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    reader.read_exact(buffer).map_err(|_| bad("cut short within its header"))
}

/// What follows a key in the header's Python literal, which is flat and has no other strings than keys and dtype.
fn literal<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    ['\'', '"']
        .iter()
        .find_map(|quote| header.split_once(&format!("{quote}{key}{quote}")))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .ok_or_else(|| bad(format!("the header has no {key}")))
}

fn element(value: &str) -> Result<(Dtype, bool)> {
    let unsupported =
        || Error::unsupported(format!("NumPy dtype {}", abridged(value)), "integers, bool, f4 and f8 are");
    let quote = value.chars().next().filter(|c| ['\'', '"'].contains(c)).ok_or_else(unsupported)?;
    let name = value[1..].split(quote).next().unwrap_or_default();
    let dtype = match name.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => Dtype::BOOL,
        "i1" => Dtype::I8,
        "u1" => Dtype::U8,
        "i2" => Dtype::I16,
        "u2" => Dtype::U16,
        "i4" => Dtype::I32,
        "u4" => Dtype::U32,
        "i8" => Dtype::I64,
        "u8" => Dtype::U64,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        _ => return Err(unsupported()),
    };
    Ok((dtype, name.starts_with('>')))
}

fn shape(value: &str) -> Result<Vec<usize>> {
    let wrong = || bad(format!("shape {} is no tuple of lengths", abridged(value)));
    let inside = value.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(wrong)?.0;
    let axes = inside.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    let shape: Vec<usize> = axes.map(|axis| axis.parse().map_err(|_| wrong())).collect::<Result<_>>()?;
    if shape.len() > MAX_AXES {
        return Err(Error::over_limit("number of axes", shape.len(), MAX_AXES));
    }
    Ok(shape)
}

fn abridged(value: &str) -> String {
    value.chars().take(40).collect()
}

fn bad(detail: impl std::fmt::Display) -> Error {
    Error::malformed(".npy array", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn headers_of_every_writer_are_read() {
        for header in [
            "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 2), }  \n",
            "{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<i2\"}",
        ] {
            let raw = read(&file(header, &[1, 0, 2, 0])[..], Some(1 << 20)).unwrap();
            assert_eq!((raw.dtype, raw.shape), (Dtype::I16, vec![1, 2]));
        }
    }

    #[test]
    fn headers_that_lie_are_errors() {
        let text = |header: &str, data: &[u8]| read(&file(header, data)[..], Some(1 << 20)).unwrap_err().to_string();
        let with_shape = |shape: &str| format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        assert!(text(&with_shape("(3,)"), &[1]).contains("1 of 3 bytes"));
        assert!(text(&with_shape("(1099511627776,)"), &[1]).contains("limit"));
        assert!(text(&with_shape("(18446744073709551615, 18446744073709551615)"), &[]).contains("limit"));
        assert!(text(&with_shape("(-1,)"), &[]).contains("no tuple"));
        assert!(text(&with_shape("((((((("), &[]).contains("no tuple"));
        assert!(text("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': ()}", &[]).contains("not supported"));
        assert!(text("{'descr': '|O', 'fortran_order': False, 'shape': ()}", &[]).contains("|O"));
        assert!(text("{}", &[]).contains("no descr"));
        assert!(read(&b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], Some(9)).unwrap_err().to_string().contains("limit"));
        assert!(read(&b"PK"[..], Some(9)).is_err());
    }

    #[test]
    fn a_compressed_array_ends_at_the_limit_however_much_there_is() {
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (134217729,)}";
        let bytes = file(header, &[]);
        let endless = || bytes.chain(std::io::repeat(0));
        assert_eq!(
            read(endless(), None).unwrap_err().to_string(),
            "number of elements of a compressed tensor is 134217729, over the limit of 134217728"
        );
        let error = read(&bytes[..], None).unwrap_err().to_string();
        assert!(error.contains("cut short: 0 of 134217729 bytes"), "{error}");
    }
}
