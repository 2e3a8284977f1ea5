//! A `.safetensors` file as memory.

use std::collections::HashMap;
use std::path::Path;

use bytemuck::AnyBitPattern;
use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::io::files;

/// A mapped file, whose header is known to fit its length.
#[derive(Debug)]
pub struct Mapped {
    map: Mmap,
    start: usize,
    header: Metadata,
}

impl Mapped {
    #[allow(unsafe_code, reason = "a mapping is only as constant as its file")]
    pub fn open(path: &Path) -> Result<Self> {
        if cfg!(target_endian = "big") {
            return Err(Error::unsupported("mapping numbers on a big-endian machine", "little-endian ones are"));
        }
        let file = files::open(path)?;
        // SAFETY: it is only ever read. Whoever overwrites a file in place while it is mapped changes what is read, as
        // with any mapping; this crate replaces files by renaming.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map the file", e))?;
        let (length, header) = SafeTensors::read_metadata(&map).map_err(malformed)?;
        Ok(Mapped { start: 8 + length, header, map })
    }

    pub fn texts(&self) -> Option<&HashMap<String, String>> {
        self.header.metadata().as_ref()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.header.tensors().into_keys().collect();
        names.sort();
        names
    }

    pub fn info(&self, name: &str) -> Result<&TensorInfo> {
        let expected = || format!("one of {}", self.names().join(", "));
        self.header.info(name).ok_or_else(|| Error::invalid(format!("tensor `{name}`"), "missing", expected()))
    }

    /// The numbers of a tensor of this type.
    pub fn numbers<T: AnyBitPattern>(&self, name: &str, dtype: Dtype) -> Result<&[T]> {
        let info = self.info(name)?;
        if info.dtype != dtype {
            let found = format!("{:?}", info.dtype);
            return Err(Error::invalid(format!("type of tensor `{name}`"), found, format!("{dtype:?}")));
        }
        let (begin, end) = info.data_offsets;
        let bytes = &self.map[self.start + begin..self.start + end];
        bytemuck::try_cast_slice(bytes).map_err(|_| malformed(format!("tensor `{name}` is not aligned")))
    }
}

fn malformed(detail: impl std::fmt::Display) -> Error {
    Error::malformed("tensor file", detail)
}
