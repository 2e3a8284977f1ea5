//! Tables as a safetensors file: a length, a header in JSON, and the numbers.
//!
//! ```text
//! 8 bytes        header's length                                    all little-endian
//! header         {"__metadata__": {..}, "model.0.read": {"dtype": "F64", "shape": [9, 8], "data_offsets": [0, 576]}, ..}
//! data           tensors in the order of their names, without gaps
//! ```
//!
//! The core of this crate is built without the crate of that name, and needs a small part of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Longer headers are not read: ours have some hundred bytes for each stream.
const MOST_HEADER: u64 = 1 << 24;
const METADATA: &str = "__metadata__";

/// What is written and read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct File {
    pub metadata: BTreeMap<String, String>,
    pub tensors: BTreeMap<String, Array2<f64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: [usize; 2],
    data_offsets: [usize; 2],
}

impl File {
    /// The same content gives the same bytes.
    pub fn write(&self, to: &mut dyn Write) -> Result<()> {
        let header = self.header().map_err(malformed)?;
        let numbers = self.tensors.values().flatten().flat_map(|x| x.to_le_bytes());
        let bytes: Vec<u8> = (header.len() as u64).to_le_bytes().into_iter().chain(header).chain(numbers).collect();
        to.write_all(&bytes).map_err(|e| Error::io("write the checkpoint", e))
    }

    fn header(&self) -> serde_json::Result<Vec<u8>> {
        let mut entries = BTreeMap::from([(METADATA, serde_json::to_value(&self.metadata)?)]);
        let mut at = 0;
        for (name, tensor) in &self.tensors {
            let (begin, shape) = (at, tensor.dim().into());
            at += 8 * tensor.len();
            let entry = Entry { dtype: "F64".into(), shape, data_offsets: [begin, at] };
            entries.insert(name, serde_json::to_value(entry)?);
        }
        let mut header = serde_json::to_vec(&entries)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok(header)
    }

    /// Reads what [`File::write`] wrote: no more than it says, and no other kinds of tensors.
    pub fn read(from: &mut dyn Read) -> Result<Self> {
        let length = bytes(from, 8)?.try_into().map(u64::from_le_bytes).expect("8 bytes were read");
        if length > MOST_HEADER {
            return Err(malformed(format!("its header has {length} bytes, over the limit of {MOST_HEADER}")));
        }
        let header = bytes(from, length)?;
        let mut entries: BTreeMap<String, Value> = serde_json::from_slice(&header).map_err(malformed)?;
        let metadata = entries.remove(METADATA).unwrap_or_else(|| Value::Object(Default::default()));
        let metadata = serde_json::from_value(metadata).map_err(malformed)?;
        let tensors = tensors(entries, from)?;
        let mut behind = [0];
        match from.read(&mut behind).map_err(|e| Error::io("read the checkpoint", e))? {
            0 => Ok(File { metadata, tensors }),
            _ => Err(malformed("there are bytes behind its last tensor")),
        }
    }
}

fn tensors(entries: BTreeMap<String, Value>, from: &mut dyn Read) -> Result<BTreeMap<String, Array2<f64>>> {
    let mut at = 0;
    let mut read = |(name, entry): (String, Value)| {
        let bad = |detail: String| malformed(format!("tensor `{name}`: {detail}"));
        let entry: Entry = serde_json::from_value(entry).map_err(|e| bad(e.to_string()))?;
        let [rows, columns] = entry.shape;
        let size = rows.checked_mul(columns).and_then(|n| n.checked_mul(8));
        let end = size.and_then(|size| size.checked_add(at));
        if entry.dtype != "F64" || Some(entry.data_offsets) != end.map(|end| [at, end]) {
            return Err(bad("it is no F64, or its place does not follow from its shape".into()));
        }
        let data = bytes(from, (entry.data_offsets[1] - at) as u64)?;
        at = entry.data_offsets[1];
        let numbers = data.as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).collect();
        let tensor = Array2::from_shape_vec((rows, columns), numbers).map_err(|e| bad(e.to_string()))?;
        Ok((name, tensor))
    };
    entries.into_iter().map(&mut read).collect()
}

/// So many bytes; memory grows with what is really there.
fn bytes(from: &mut dyn Read, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(count).read_to_end(&mut bytes).map_err(|e| Error::io("read the checkpoint", e))?;
    match bytes.len() as u64 == count {
        true => Ok(bytes),
        false => Err(malformed(format!("it ends after {} bytes of {count}", bytes.len()))),
    }
}

pub(super) fn malformed(detail: impl std::fmt::Display) -> Error {
    Error::malformed("checkpoint", detail)
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    fn file() -> File {
        File {
            metadata: BTreeMap::from([("step".into(), "3".into())]),
            tensors: BTreeMap::from([
                ("b.1".into(), Array2::zeros((0, 4))),
                ("a".into(), arr2(&[[1.5, -2.0, f64::MIN]])),
            ]),
        }
    }

    fn written(file: &File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(File::read(&mut &written(&file())[..]).unwrap(), file());
        assert_eq!(File::read(&mut &written(&File::default())[..]).unwrap(), File::default());
    }

    #[test]
    fn the_crate_of_that_name_reads_it_and_is_read() {
        let bytes = written(&file());
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.tensor("a").unwrap().shape(), [1, 3]);
        let data: Vec<u8> = [1.5, -2.0, f64::MIN].iter().flat_map(|x: &f64| x.to_le_bytes()).collect();
        assert_eq!(theirs.tensor("a").unwrap().data(), data);
        let metadata = Some([("step".to_owned(), "3".to_owned())].into());
        let tensors = theirs.tensors();
        assert_eq!(File::read(&mut &safetensors::serialize(tensors, metadata).unwrap()[..]).unwrap(), file());
    }

    #[test]
    fn no_damage_is_overlooked() {
        let bytes = written(&file());
        for end in 0..bytes.len() {
            assert!(File::read(&mut &bytes[..end]).is_err(), "cut off at {end}");
        }
        assert!(File::read(&mut &[&bytes[..], b"x"].concat()[..]).is_err());
        let numbers = bytes.len() - 24;
        for at in 0..numbers {
            let mut damaged = bytes.clone();
            damaged[at] = damaged[at].wrapping_add(64);
            let read = File::read(&mut &damaged[..]);
            assert!(read.is_err() || read.unwrap() != file() || damaged[at] == b' ' + 64, "byte {at}");
        }
    }

    #[test]
    fn sizes_beyond_all_memory_are_errors() {
        let header = |shape: &str, offsets: &str| {
            let json = format!(r#"{{"a": {{"dtype": "F64", "shape": {shape}, "data_offsets": {offsets}}}}}"#);
            [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat()
        };
        for (shape, offsets) in [
            ("[4294967296, 4294967296]", "[0, 0]"),
            ("[1099511627776, 1]", "[0, 8796093022208]"),
            ("[1, 1]", "[8, 16]"),
            ("[1, 1]", "[8, 0]"),
            ("[1]", "[0, 8]"),
            ("[-1, 1]", "[0, 8]"),
        ] {
            let error = File::read(&mut &header(shape, offsets)[..]).unwrap_err();
            assert!(error.to_string().starts_with("checkpoint is ill-formed: "), "{error}");
        }
        assert!(File::read(&mut &u64::MAX.to_le_bytes()[..]).is_err());
    }
}
