//! The file of tables: what training leaves and the codec reads.
//!
//! ```text
//! bytes                 all numbers little-endian
//! 8          magic "rndlcodc"
//! 4 x u32    version 1, features F, dimensions D, levels L, codes N    (5 numbers)
//! F x f32    mean of the features
//! F x f32    weight of each feature
//! D x F x f32  basis, one direction in a row
//! L times    D x f32 scale of each dimension, then N x D x i8 table
//! 4          checksum (FNV-1a, 32 bit) of everything before
//! ```
//!
//! vector = basis (weight * (features - mean)); the value of a table's cell is `scale * i8`.

use ndarray::{Array1, Array2, ArrayView1, Axis};

use crate::codebook::ResidualQuantizer;
use crate::error::{Error, Result};

use super::{CODEBOOKS, CODES, FEATURES};

const MAGIC: &[u8; 8] = b"rndlcodc";
const VERSION: u32 = 1;

/// No file of ours has more dimensions; bounds what a wrong header can make us allocate.
const MOST_DIMENSIONS: usize = 1024;

/// Everything the codec learned.
#[derive(Debug, Clone)]
pub struct Tables {
    pub(super) mean: Array1<f32>,
    pub(super) weight: Array1<f32>,
    /// `[dimensions, features]`, orthonormal rows.
    pub(super) basis: Array2<f32>,
    /// One table of `[codes, dimensions]` for each level.
    pub(super) quantizer: ResidualQuantizer,
    pub(super) checksum: u32,
    bytes: Vec<u8>,
}

impl Tables {
    /// Packs trained values; the codes are rounded to what the file can hold.
    ///
    /// # Panics
    /// If the shapes are not those of the codec: this is for training, which makes them.
    pub(super) fn pack(mean: Array1<f32>, weight: Array1<f32>, basis: &Array2<f32>, levels: &[Array2<f32>]) -> Self {
        let mut bytes = MAGIC.to_vec();
        for number in [VERSION as usize, FEATURES, basis.nrows(), levels.len(), levels[0].nrows()] {
            bytes.extend((number as u32).to_le_bytes());
        }
        for value in mean.iter().chain(&weight).chain(basis) {
            bytes.extend(value.to_le_bytes());
        }
        levels.iter().for_each(|level| pack_level(level, &mut bytes));
        bytes.extend(checksum(&bytes).to_le_bytes());
        Tables::parse(&bytes).expect("what was just packed can be read")
    }

    /// The file's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a file of tables.
    ///
    /// # Errors
    /// `Malformed` if it is not such a file, was cut or changed; `Unsupported` for another version or other sizes
    /// than this codec has.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { rest: bytes };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(malformed("it does not begin with the magic bytes"));
        }
        let found: Vec<usize> = (0..5).map(|_| reader.number()).collect::<Result<_>>()?;
        let dimensions = found[2];
        let expected = [VERSION as usize, FEATURES, dimensions.clamp(1, MOST_DIMENSIONS), CODEBOOKS, CODES];
        if found != expected {
            return Err(Error::unsupported("codec tables", format!("header is {found:?}, expected {expected:?}")));
        }
        let mean = Array1::from(reader.floats(FEATURES)?);
        let weight = Array1::from(reader.floats(FEATURES)?);
        let basis = shaped(reader.floats(dimensions * FEATURES)?, dimensions);
        let levels = (0..CODEBOOKS).map(|_| reader.level(dimensions)).collect::<Result<_>>()?;
        let checksum = reader.check(bytes)?;
        let quantizer = ResidualQuantizer::new(levels);
        Ok(Tables { mean, weight, basis, quantizer, checksum, bytes: bytes.to_vec() })
    }

    /// Features as a weighted vector along the basis.
    ///
    /// # Shapes
    /// `features` is `[n, features]`; returns `[n, dimensions]`.
    pub(super) fn project(&self, features: &Array2<f32>) -> Array2<f32> {
        ((features - &self.mean) * &self.weight).dot(&self.basis.t())
    }

    /// The features that a vector stands for.
    pub(super) fn unproject(&self, vector: ArrayView1<'_, f32>) -> Array1<f32> {
        vector.dot(&self.basis) / &self.weight + &self.mean
    }
}

/// One level: the largest value of each dimension becomes 127.
fn pack_level(level: &Array2<f32>, bytes: &mut Vec<u8>) {
    let largest = level.fold_axis(Axis(0), 1e-6f32, |most, value| most.max(value.abs()));
    let scale = largest.mapv(|most| most / 127.0);
    bytes.extend(scale.iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend((level / &scale).iter().map(|value| value.round() as i8 as u8));
}

/// Bytes that are still to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>> {
        let bytes = self.take(4 * count)?;
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(malformed("it holds a number that is not finite")),
        }
    }

    fn level(&mut self, dimensions: usize) -> Result<Array2<f32>> {
        let scale = Array1::from(self.floats(dimensions)?);
        let cells = self.take(CODES * dimensions)?.iter().map(|&byte| f32::from(byte as i8)).collect();
        Ok(shaped(cells, CODES) * &scale)
    }

    /// Compares the checksum at the end with that of `whole`, and sees that nothing follows.
    fn check(&mut self, whole: &[u8]) -> Result<u32> {
        let covered = whole.len() - self.rest.len();
        let stored = self.number()? as u32;
        if stored != checksum(&whole[..covered]) || !self.rest.is_empty() {
            return Err(malformed("its checksum does not fit"));
        }
        Ok(stored)
    }
}

fn malformed(detail: &str) -> Error {
    Error::malformed("file of codec tables", detail)
}

fn shaped(values: Vec<f32>, rows: usize) -> Array2<f32> {
    let columns = values.len() / rows;
    Array2::from_shape_vec((rows, columns), values).expect("as many values as were asked for")
}

/// FNV-1a, 32 bit: finds a cut or damaged file; no protection against a forger.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::builtin::EMBEDDED;
    use crate::error::ErrorKind;

    #[test]
    fn embedded_tables_are_whole() {
        let tables = Tables::parse(EMBEDDED).unwrap();
        assert_eq!(tables.as_bytes(), EMBEDDED);
        let product = tables.basis.dot(&tables.basis.t());
        for ((row, column), value) in product.indexed_iter() {
            assert!((value - f32::from(u8::from(row == column))).abs() < 1e-3, "the basis is orthonormal");
        }
    }

    #[test]
    fn cut_or_changed_tables_are_refused() {
        for length in [0, 7, 8, 27, 28, 5000, EMBEDDED.len() - 1] {
            assert!(matches!(Tables::parse(&EMBEDDED[..length]).unwrap_err().kind(), ErrorKind::Malformed { .. }));
        }
        let mut longer = EMBEDDED.to_vec();
        longer.push(0);
        assert!(Tables::parse(&longer).is_err());
        let mut changed = EMBEDDED.to_vec();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        assert!(matches!(Tables::parse(&changed).unwrap_err().kind(), ErrorKind::Malformed { .. }));
        changed[8] = 9;
        assert!(matches!(Tables::parse(&changed).unwrap_err().kind(), ErrorKind::Unsupported { .. }));
    }
}
