//! Tensors in files: `.safetensors` read and written, `.npz` and `.npy` read.
//!
//! Ids are read from any integer type as i64. A file is opened by its extension, only the tensor asked for is read,
//! and no more is allocated than the file holds.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::files::{self, Sealed};
use super::npy;
use crate::error::{Error, Result};

/// Elements of one tensor; out of a compressed file there are fewer.
const MAX_ELEMENTS: u64 = 1 << 30;
/// The limit that the safetensors crate has as well.
const MAX_HEADER: u64 = 100_000_000;

/// A tensor to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// Token ids.
    I64(ArrayD<i64>),
    /// Masks and reasons.
    U8(ArrayD<u8>),
    /// Weights.
    F32(ArrayD<f32>),
    /// Values that are summed.
    F64(ArrayD<f64>),
}

macro_rules! tensor_from {
    ($($element:ty => $variant:ident),*) => {$(
        impl<D: ndarray::Dimension> From<ndarray::Array<$element, D>> for Tensor {
            fn from(array: ndarray::Array<$element, D>) -> Self {
                Tensor::$variant(array.into_dyn())
            }
        }
    )*};
}
tensor_from!(i64 => I64, u8 => U8, f32 => F32, f64 => F64);

impl Tensor {
    fn dtype(&self) -> Dtype {
        match self {
            Tensor::I64(_) => Dtype::I64,
            Tensor::U8(_) => Dtype::U8,
            Tensor::F32(_) => Dtype::F32,
            Tensor::F64(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Tensor::I64(array) => array.shape(),
            Tensor::U8(array) => array.shape(),
            Tensor::F32(array) => array.shape(),
            Tensor::F64(array) => array.shape(),
        }
    }

    /// Row-major, little-endian.
    fn write_to(&self, sink: &mut impl Write) -> std::io::Result<()> {
        match self {
            Tensor::I64(array) => array.iter().try_for_each(|x| sink.write_all(&x.to_le_bytes())),
            Tensor::U8(array) => array.iter().try_for_each(|x| sink.write_all(&[*x])),
            Tensor::F32(array) => array.iter().try_for_each(|x| sink.write_all(&x.to_le_bytes())),
            Tensor::F64(array) => array.iter().try_for_each(|x| sink.write_all(&x.to_le_bytes())),
        }
    }
}

/// Names of the tensors in a file, sorted; none for `.npy`, which has none.
///
/// # Errors
/// `Io`, `Malformed`, or `Unsupported` for an extension that is none of the three.
pub fn names(path: &Path) -> Result<Vec<String>> {
    Source::open(path).map(|source| source.names()).map_err(|e| e.in_file(path.display()))
}

/// Reads ids by name. An `.npy` file has no names, so any matches.
///
/// # Errors
/// `Io`, `Malformed`, `Unsupported`; `Invalid` with the names there are if this one is missing, and with the type if
/// it is not an integer.
pub fn read(path: &Path, name: &str) -> Result<ArrayD<i64>> {
    read_first_of(path, &[name]).map(|(_, tensor)| tensor)
}

/// Reads the first of these names that the file holds, and says which it was.
///
/// # Errors
/// As [`read`].
pub fn read_first_of(path: &Path, names: &[&str]) -> Result<(String, ArrayD<i64>)> {
    let found = |(name, raw): (String, Raw)| Ok((name.clone(), raw.integers(&name)?));
    Source::open(path).and_then(|s| s.read(names)).and_then(found).map_err(|e| e.in_file(path.display()))
}

/// Reads numbers by name from f32 or f64, the latter rounded.
///
/// # Errors
/// As [`read`], with the type if it is neither.
pub fn read_f32(path: &Path, name: &str) -> Result<ArrayD<f32>> {
    let found = |(name, raw): (String, Raw)| raw.floats(&name);
    Source::open(path).and_then(|s| s.read(&[name])).and_then(found).map_err(|e| e.in_file(path.display()))
}

/// Writes `.safetensors` through a temporary file; the same tensors in any order give the same bytes.
///
/// # Errors
/// `Io`; `Invalid` if a name comes twice or is `__metadata__`; `Unsupported` for another extension.
pub fn write(path: &Path, tensors: &[(&str, Tensor)]) -> Result<()> {
    write_sorted(path, tensors).map_err(|e| e.in_file(path.display()))
}

fn write_sorted(path: &Path, tensors: &[(&str, Tensor)]) -> Result<()> {
    if extension(path) != "safetensors" {
        return Err(Error::unsupported("writing tensors to this extension", ".safetensors is"));
    }
    let header = header_of(&mut tensors.iter().collect::<Vec<_>>())?;
    let failed = |e| Error::io("write the file", e);
    let mut sink = std::io::BufWriter::with_capacity(1 << 18, Sealed::create(path)?);
    sink.write_all(&header.bytes).map_err(failed)?;
    for tensor in header.order {
        tensor.write_to(&mut sink).map_err(failed)?;
    }
    sink.into_inner().map_err(|e| failed(e.into_error()))?.seal().map(drop)
}

struct Header<'a> {
    bytes: Vec<u8>,
    order: Vec<&'a Tensor>,
}

/// The header with the tensors in the order of their data: widest elements first, as the format aligns them, then by
/// name.
fn header_of<'a>(tensors: &mut [&'a (&str, Tensor)]) -> Result<Header<'a>> {
    tensors.sort_by_key(|(name, tensor)| (std::cmp::Reverse(tensor.dtype().bitsize()), *name));
    let mut entries = Vec::new();
    let mut at = 0;
    for (k, (name, tensor)) in tensors.iter().enumerate() {
        if *name == "__metadata__" || tensors[..k].iter().any(|(other, _)| other == name) {
            return Err(Error::invalid("tensor name", name, "a name that is neither taken nor __metadata__"));
        }
        let end = at + tensor.shape().iter().product::<usize>() * tensor.dtype().bitsize() / 8;
        let info = TensorInfo { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), data_offsets: (at, end) };
        entries.push(((*name).to_owned(), info));
        at = end;
    }
    let metadata = Metadata::new(None, entries).map_err(malformed)?;
    let mut json = serde_json::to_vec(&metadata).map_err(malformed)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    Ok(Header { bytes, order: tensors.iter().map(|(_, tensor)| tensor).collect() })
}

/// An opened file, its directory read.
enum Source {
    Safetensors { file: File, start: u64, metadata: Metadata },
    Npz(Box<zip::ZipArchive<BufReader<File>>>),
    Npy(File),
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let extension = extension(path);
        if !["safetensors", "npz", "npy"].contains(&extension.as_str()) {
            let found = if extension.is_empty() { "no extension".into() } else { format!("extension .{extension}") };
            return Err(Error::unsupported(format!("a tensor file with {found}"), ".safetensors, .npz and .npy are"));
        }
        let file = files::open(path)?;
        match extension.as_str() {
            "safetensors" => Source::safetensors(file),
            "npz" => zip::ZipArchive::new(BufReader::new(file))
                .map(|archive| Source::Npz(Box::new(archive)))
                .map_err(|e| Error::malformed(".npz file", e)),
            _ => Ok(Source::Npy(file)),
        }
    }

    fn safetensors(mut file: File) -> Result<Self> {
        let failed = |e| Error::io("read the file", e);
        let size = file.metadata().map_err(failed)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| malformed("cut short within its header"))?;
        let header = u64::from_le_bytes(length);
        if header > MAX_HEADER.min(size.saturating_sub(8)) {
            return Err(malformed(format!("its header claims {header} bytes of a file of {size}")));
        }
        let mut json = vec![0; header as usize];
        file.read_exact(&mut json).map_err(failed)?;
        // Checks that the tensors lie end to end and that each is as long as its shape says.
        let metadata: Metadata = serde_json::from_slice(&json).map_err(malformed)?;
        let (start, data) = (8 + header, metadata.data_len() as u64);
        if start.checked_add(data) != Some(size) {
            return Err(malformed(format!("cut short or too long: {} of {data} bytes of data", size - start)));
        }
        Ok(Source::Safetensors { file, start, metadata })
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Source::Safetensors { metadata, .. } => metadata.tensors().into_keys().collect(),
            Source::Npz(archive) => {
                archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name).to_owned()).collect()
            }
            Source::Npy(_) => Vec::new(),
        };
        names.sort();
        names
    }

    fn read(mut self, wanted: &[&str]) -> Result<(String, Raw)> {
        let there = self.names();
        let name = match &self {
            Source::Npy(_) => wanted.first(),
            _ => wanted.iter().find(|name| there.iter().any(|other| other == *name)),
        };
        let name = name.copied().ok_or_else(|| missing(wanted, &there))?;
        Ok((name.to_owned(), self.read_raw(name)?))
    }

    fn read_raw(&mut self, name: &str) -> Result<Raw> {
        match self {
            Source::Safetensors { file, start, metadata } => {
                let info = metadata.info(name).ok_or_else(|| missing(&[name], &[]))?;
                read_slice(file, *start, info)
            }
            Source::Npz(archive) => {
                let stored = if archive.index_for_name(name).is_some() { name } else { &format!("{name}.npy") };
                let entry = archive.by_name(stored).map_err(|e| Error::malformed(".npz file", e))?;
                npy::read(entry, None)
            }
            Source::Npy(file) => {
                let size = file.metadata().map_err(|e| Error::io("read the file", e))?.len();
                npy::read(BufReader::new(file), Some(size))
            }
        }
    }
}

fn read_slice(file: &mut File, start: u64, info: &TensorInfo) -> Result<Raw> {
    let failed = |e| Error::io("read the tensor", e);
    let length = byte_len(&info.shape, info.dtype, u64::MAX)?;
    file.seek(SeekFrom::Start(start + info.data_offsets.0 as u64)).map_err(failed)?;
    let mut data = vec![0; length as usize];
    file.read_exact(&mut data).map_err(failed)?;
    Ok(Raw { dtype: info.dtype, big_endian: false, fortran: false, shape: info.shape.clone(), data })
}

fn missing(wanted: &[&str], there: &[String]) -> Error {
    /// A checkpoint has hundreds.
    const SHOWN: usize = 20;
    let wanted = wanted.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    let more = if there.len() > SHOWN { format!(" and {} more", there.len() - SHOWN) } else { String::new() };
    let there = there.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let there = if there.is_empty() { "no tensor" } else { &there };
    Error::invalid(format!("tensor {wanted}"), "missing", format!("a name that the file holds: {there}{more}"))
}

/// A tensor as it lies in its file.
#[derive(Debug)]
pub(super) struct Raw {
    pub dtype: Dtype,
    pub big_endian: bool,
    pub fortran: bool,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// Bytes of a tensor, which must be within the limits.
pub(super) fn byte_len(shape: &[usize], dtype: Dtype, limit: u64) -> Result<u64> {
    // An axis of 0 empties the tensor, and must not hide another of 2^40: the delay adds steps to none.
    let (zeros, axes): (Vec<_>, Vec<_>) = shape.iter().partition(|axis| **axis == 0);
    let product = axes.into_iter().try_fold(1u64, |product, &axis| product.checked_mul(axis as u64));
    let elements = product.filter(|&n| n <= MAX_ELEMENTS).map(|n| if zeros.is_empty() { n } else { 0 });
    let elements = elements.ok_or_else(|| {
        let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        Error::over_limit("number of elements of a tensor", shape, MAX_ELEMENTS)
    })?;
    match elements * dtype.bitsize() as u64 / 8 {
        bytes if bytes <= limit => Ok(bytes),
        bytes => Err(malformed(format!("its shape needs {bytes} bytes, the file has {limit}"))),
    }
}

impl Raw {
    fn integers(self, name: &str) -> Result<ArrayD<i64>> {
        let values = match self.dtype {
            Dtype::BOOL => self.each(|[x]: [u8; 1]| i64::from(x != 0)),
            Dtype::I8 => self.each(|x| i8::from_le_bytes(x).into()),
            Dtype::U8 => self.each(|x| u8::from_le_bytes(x).into()),
            Dtype::I16 => self.each(|x| i16::from_le_bytes(x).into()),
            Dtype::U16 => self.each(|x| u16::from_le_bytes(x).into()),
            Dtype::I32 => self.each(|x| i32::from_le_bytes(x).into()),
            Dtype::U32 => self.each(|x| u32::from_le_bytes(x).into()),
            Dtype::I64 => self.each(i64::from_le_bytes),
            Dtype::U64 => {
                let values = self.each(u64::from_le_bytes);
                let fits = |&x: &u64| i64::try_from(x).map_err(|_| Error::invalid("id", x, format!("<= {}", i64::MAX)));
                values.iter().map(fits).collect::<Result<_>>()?
            }
            other => return Err(wrong_type(name, other, "an integer type")),
        };
        self.shaped(values)
    }

    fn floats(self, name: &str) -> Result<ArrayD<f32>> {
        let values = match self.dtype {
            Dtype::F32 => self.each(f32::from_le_bytes),
            Dtype::F64 => self.each(|x| f64::from_le_bytes(x) as f32),
            other => return Err(wrong_type(name, other, "F32 or F64")),
        };
        self.shaped(values)
    }

    fn each<const N: usize, T>(&self, from_le: impl Fn([u8; N]) -> T) -> Vec<T> {
        let element = |mut bytes: [u8; N]| {
            if self.big_endian {
                bytes.reverse();
            }
            from_le(bytes)
        };
        self.data.as_chunks::<N>().0.iter().map(|&bytes| element(bytes)).collect()
    }

    fn shaped<T: Clone>(&self, values: Vec<T>) -> Result<ArrayD<T>> {
        let shape = IxDyn(&self.shape).set_f(self.fortran);
        let array = ArrayD::from_shape_vec(shape, values).map_err(malformed)?;
        Ok(if self.fortran { array.as_standard_layout().into_owned() } else { array })
    }
}

fn wrong_type(name: &str, found: Dtype, expected: &str) -> Error {
    Error::invalid(format!("type of tensor `{name}`"), format!("{found:?}"), expected)
}

fn malformed(detail: impl std::fmt::Display) -> Error {
    Error::malformed("tensor file", detail)
}

pub(super) fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}
