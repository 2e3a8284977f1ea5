//! A store that is there.

use std::path::Path;

use half::f16;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::mapped::Mapped;
use crate::error::{Error, Result};
use crate::vocab::search::{Clustered, Index, Values, Vectors};

/// Under which key of the file's metadata a store describes itself.
pub(super) const KEY: &str = "roundelay_vectors";

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;

/// How a store holds its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    /// As they were: 4 bytes.
    F32,
    /// Rounded to 11 bits: 2 bytes.
    F16,
    /// Whole numbers from -127 to 127 times a scale that each dimension has: 1 byte.
    #[default]
    I8,
}

impl Numbers {
    pub(super) fn dtype(self) -> Dtype {
        match self {
            Numbers::F32 => Dtype::F32,
            Numbers::F16 => Dtype::F16,
            Numbers::I8 => Dtype::I8,
        }
    }
}

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub version: u32,
    pub numbers: Numbers,
    pub cosine: bool,
    /// No vector is longer.
    pub longest: f64,
}

/// A file of vectors, mapped.
#[derive(Debug)]
pub struct Store {
    file: Mapped,
    about: About,
    shape: [usize; 2],
    offsets: Vec<u64>,
    /// Empty where numbers have none.
    scales: Vec<f32>,
    /// Length of the longest centroid.
    farthest: f64,
}

impl Store {
    /// Maps a file that [`build_store`](super::build_store) has written. Its vectors are not read.
    ///
    /// # Errors
    /// `Io`; `Malformed` if it is damaged or cut short, or no store; `Unsupported` for one of another version; `Invalid`
    /// for tensors of other types or shapes than a store has.
    pub fn open(path: &Path) -> Result<Self> {
        Store::of(path).map_err(|e| e.in_file(path.display()))
    }

    fn of(path: &Path) -> Result<Self> {
        let file = Mapped::open(path)?;
        let text = file.texts().and_then(|texts| texts.get(KEY));
        let text = text.ok_or_else(|| Error::malformed("store of vectors", format!("its metadata has no `{KEY}`")))?;
        let about: About = serde_json::from_str(text).map_err(|e| Error::malformed("store of vectors", e))?;
        if about.version != VERSION {
            let found = format!("a store of version {}", about.version);
            return Err(Error::unsupported(found, format!("version {VERSION} is")));
        }
        let shape = match file.info("vectors")?.shape.as_slice() {
            &[rows, dimension] => [rows, dimension],
            other => return Err(Error::invalid("shape of tensor `vectors`", format!("{other:?}"), "[N, D]")),
        };
        // What decides whether it can be searched is copied: a mapped file can change.
        let scales = match about.numbers {
            Numbers::I8 => file.numbers("scales", Dtype::F32)?.to_vec(),
            _ => Vec::new(),
        };
        let offsets = file.numbers("offsets", Dtype::U64)?.to_vec();
        let centroids = Values::F32(file.numbers("centroids", Dtype::F32)?);
        let farthest = Vectors::new(centroids, shape[1]).map_err(|e| e.in_stream("centroids"))?.longest();
        let store = Store { file, about, shape, offsets, scales, farthest };
        store.assembled()?;
        Ok(store)
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.shape[0]
    }

    /// Never: a store has at least one vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of each vector.
    pub fn dimension(&self) -> usize {
        self.shape[1]
    }

    /// How they are held.
    pub fn numbers(&self) -> Numbers {
        self.about.numbers
    }

    /// Whether scores are cosines.
    pub fn is_cosine(&self) -> bool {
        self.about.cosine
    }

    /// What can be searched.
    pub fn index(&self) -> Index<'_> {
        self.assembled().expect("looked at when it was opened")
    }

    fn assembled(&self) -> Result<Index<'_>> {
        let file = &self.file;
        let values = match self.about.numbers {
            Numbers::F32 => Values::F32(file.numbers("vectors", Dtype::F32)?),
            Numbers::F16 => Values::F16(file.numbers::<f16>("vectors", Dtype::F16)?),
            Numbers::I8 => Values::I8 { values: file.numbers("vectors", Dtype::I8)?, scales: &self.scales },
        };
        let centroids = Values::F32(file.numbers("centroids", Dtype::F32)?);
        let clusters = Clustered {
            centroids: Vectors::trusted(centroids, self.dimension(), self.farthest)?,
            offsets: &self.offsets,
            ids: file.numbers("ids", Dtype::U32)?,
            places: file.numbers("places", Dtype::U32)?,
        };
        let index = Index::clustered(Vectors::trusted(values, self.dimension(), self.about.longest)?, clusters)?;
        Ok(if self.about.cosine { index.with_cosine() } else { index })
    }
}
