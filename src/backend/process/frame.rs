//! A message to the trainer: a length, and a safetensors file whose metadata says what to do.
//!
//! ```text
//! 8 bytes     length of all that follows                      little-endian, as everything here
//! 8 bytes     length of the header ┐
//! header      {"__metadata__": {"message": "{\"do\":\"batch\", ..}"}, "input": {"dtype": "I32", ..}, ..}
//! data        tensors one after another, without gaps         └ a safetensors file
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};

use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The limit that the safetensors crate has as well.
const MOST_HEADER: u64 = 100_000_000;
/// What a tensor's name cannot be.
const METADATA: &str = "__metadata__";

/// A number that tensors are made of.
pub(super) trait Element: Copy {
    const DTYPE: &'static str;
    const SIZE: usize;
    fn put(self, to: &mut [u8]);
    fn get(from: &[u8]) -> Self;
}

macro_rules! element {
    ($($number:ty => $name:literal),*) => {$(
        impl Element for $number {
            const DTYPE: &'static str = $name;
            const SIZE: usize = size_of::<$number>();
            #[inline]
            fn put(self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_le_bytes());
            }
            fn get(from: &[u8]) -> Self {
                <$number>::from_le_bytes(from.try_into().expect("as many bytes as the number has"))
            }
        }
    )*};
}
element!(i32 => "I32", f32 => "F32", u8 => "U8");

/// Makes messages in memory that it uses again.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    header: BTreeMap<String, Entry>,
    data: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Metadata,
    #[serde(flatten)]
    tensors: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    message: String,
}

impl FrameWriter {
    /// Adds a tensor. Those of wider numbers come first, so that every one is aligned.
    pub fn add<A: Element, S, D>(&mut self, name: &str, tensor: &ArrayBase<S, D>) -> &mut Self
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        debug_assert!(name != METADATA && !self.header.contains_key(name), "{name} is taken");
        let tensor = tensor.as_standard_layout();
        let numbers = tensor.as_slice().expect("it is in standard layout");
        let begin = self.data.len();
        let end = begin + numbers.len() * A::SIZE;
        self.data.resize(end, 0);
        self.data[begin..].chunks_exact_mut(A::SIZE).zip(numbers).for_each(|(to, number)| number.put(to));
        let entry = Entry { dtype: A::DTYPE.into(), shape: tensor.shape().to_vec(), data_offsets: [begin, end] };
        self.header.insert(name.to_owned(), entry);
        self
    }

    /// What stands before the data, and the data; `clear` then makes it fit for the next message.
    pub fn finish(&mut self, message: String) -> (Vec<u8>, &[u8]) {
        let header = Header { metadata: Metadata { message }, tensors: std::mem::take(&mut self.header) };
        let mut header = serde_json::to_vec(&header).expect("text and numbers can be written");
        header.resize(header.len().next_multiple_of(8), b' ');
        let lengths = [(8 + header.len() + self.data.len()) as u64, header.len() as u64];
        let head = lengths.into_iter().flat_map(u64::to_le_bytes).chain(header).collect();
        (head, &self.data)
    }

    pub fn clear(&mut self) {
        self.header.clear();
        self.data.clear();
    }
}

/// A message as the trainer reads it.
#[derive(Debug)]
pub(super) struct Frame {
    pub message: String,
    tensors: BTreeMap<String, Entry>,
    bytes: Vec<u8>,
    /// Where in them the tensors begin.
    data: usize,
}

impl Frame {
    /// The next message; none at the end. Memory grows with what is really there.
    pub fn read(from: &mut impl Read) -> Result<Option<Self>> {
        let mut length = [0; 8];
        if !read_or_end(from, &mut length).map_err(|e| Error::io("read a message", e))? {
            return Ok(None);
        }
        let bytes = bytes(from, u64::from_le_bytes(length))?;
        let (length, rest) = bytes.split_first_chunk().ok_or_else(|| malformed("it has no header"))?;
        let length = u64::from_le_bytes(*length);
        if length > MOST_HEADER.min(rest.len() as u64) {
            return Err(malformed(format!("its header claims {length} bytes of {}", rest.len())));
        }
        let length = length as usize;
        let Header { metadata, tensors } = serde_json::from_slice(&rest[..length]).map_err(malformed)?;
        Ok(Some(Frame { message: metadata.message, tensors, data: 8 + length, bytes }))
    }

    /// A tensor by its name, which must be of this type.
    pub fn tensor<A: Element, D: Dimension>(&self, name: &str) -> Result<ndarray::Array<A, D>> {
        let bad = |detail: String| malformed(format!("tensor `{name}`: {detail}"));
        let entry = self.tensors.get(name).ok_or_else(|| bad("it is missing".into()))?;
        let [begin, end] = entry.data_offsets;
        let size = entry.shape.iter().try_fold(A::SIZE, |size, axis| size.checked_mul(*axis));
        let data =
            self.bytes[self.data..].get(begin..end).filter(|data| Some(data.len()) == size && entry.dtype == A::DTYPE);
        let data = data.ok_or_else(|| bad(format!("it is no {}, or its place does not fit its shape", A::DTYPE)))?;
        let numbers = data.chunks_exact(A::SIZE).map(A::get).collect();
        let array = ArrayD::from_shape_vec(IxDyn(&entry.shape), numbers).map_err(|e| bad(e.to_string()))?;
        array.into_dimensionality().map_err(|e| bad(e.to_string()))
    }
}

/// Fills the buffer; false where nothing comes any more.
fn read_or_end(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let first = loop {
        match from.read(&mut buffer[..1]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
            first => break first?,
        }
    };
    if first == 0 {
        return Ok(false);
    }
    from.read_exact(&mut buffer[1..]).map(|()| true)
}

fn bytes(from: &mut impl Read, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(count).read_to_end(&mut bytes).map_err(|e| Error::io("read a message", e))?;
    match bytes.len() as u64 == count {
        true => Ok(bytes),
        false => Err(malformed(format!("it ends after {} bytes of {count}", bytes.len()))),
    }
}

pub(super) fn malformed(detail: impl std::fmt::Display) -> Error {
    Error::malformed("message to the trainer", detail)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Array3, arr2};

    use super::*;

    fn written(writer: &mut FrameWriter, message: &str) -> Vec<u8> {
        let (head, data) = writer.finish(message.into());
        let frame = [&head, data].concat();
        writer.clear();
        frame
    }

    fn example() -> Vec<u8> {
        let mut writer = FrameWriter::default();
        writer.add("ids", &arr2(&[[1, -1, i32::MAX]])).add("w", &arr2(&[[0.5f32], [f32::MIN]]));
        writer.add("none", &Array3::<i32>::zeros((2, 0, 4))).add("r", &Array1::from(vec![7u8, 255, 0]));
        written(&mut writer, r#"{"do": "it"}"#)
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = [example(), written(&mut FrameWriter::default(), "second")].concat();
        let mut from = &bytes[..];
        let frame = Frame::read(&mut from).unwrap().unwrap();
        assert_eq!(frame.message, r#"{"do": "it"}"#);
        assert_eq!(frame.tensor::<i32, _>("ids").unwrap(), arr2(&[[1, -1, i32::MAX]]));
        assert_eq!(frame.tensor::<f32, _>("w").unwrap(), arr2(&[[0.5], [f32::MIN]]));
        assert_eq!(frame.tensor::<i32, _>("none").unwrap(), Array3::<i32>::zeros((2, 0, 4)));
        assert_eq!(frame.tensor::<u8, _>("r").unwrap(), Array1::from(vec![7, 255, 0]));
        assert_eq!(Frame::read(&mut from).unwrap().unwrap().message, "second");
        assert!(Frame::read(&mut from).unwrap().is_none());
    }

    #[test]
    fn rows_that_do_not_lie_in_order_are_written_in_order() {
        let mut writer = FrameWriter::default();
        writer.add("a", &arr2(&[[1, 2, 3], [4, 5, 6]]).t());
        let bytes = written(&mut writer, "");
        let read: Array2<i32> = Frame::read(&mut &bytes[..]).unwrap().unwrap().tensor("a").unwrap();
        assert_eq!(read, arr2(&[[1, 4], [2, 5], [3, 6]]));
    }

    #[test]
    fn the_crate_of_that_name_reads_it() {
        let bytes = example();
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), bytes.len() as u64 - 8);
        let theirs = safetensors::SafeTensors::deserialize(&bytes[8..]).unwrap();
        assert_eq!(theirs.len(), 4);
        assert_eq!(theirs.tensor("w").unwrap().data(), [0.5, f32::MIN].map(f32::to_le_bytes).concat());
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes[8..]).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["message"], r#"{"do": "it"}"#);
    }

    #[test]
    fn no_cut_and_no_claim_is_believed() {
        let bytes = example();
        for end in 1..bytes.len() {
            assert!(Frame::read(&mut &bytes[..end]).is_err(), "cut off at {end}");
        }
        for (at, claim) in [(0, u64::MAX), (8, u64::MAX), (0, 4), (8, 1 << 40)] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            assert!(Frame::read(&mut &bytes[..]).is_err(), "{claim} at {at}");
        }
        let frame = Frame::read(&mut &bytes[..]).unwrap().unwrap();
        for (name, error) in [("x", "it is missing"), ("w", "it is no I32, or its place does not fit its shape")] {
            let found = frame.tensor::<i32, ndarray::Ix2>(name).unwrap_err().to_string();
            assert_eq!(found, format!("message to the trainer is ill-formed: tensor `{name}`: {error}"));
        }
        assert!(frame.tensor::<i32, ndarray::Ix1>("ids").is_err());
    }
}
