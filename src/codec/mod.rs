//! Samples <-> codes.
//!
//! ```text
//!  |<- frame 0 (80 ms) ->|<- frame 1 ->|          samples, one channel, spec().sample_rate
//!  level 0      417            23
//!  level 1     1290          1802                 codes [Q, T], 0..cardinality
//!    ..
//! ```
//!
//! A codec hears one channel; who needs two calls it twice, or lets it hear both as a batch. `builtin` (feature
//! `builtin`) is embedded in the crate; `mimi` (feature `mimi`) is Kyutai's, with weights from a file.

#[cfg(feature = "builtin")]
pub mod builtin;
#[cfg(any(feature = "builtin", feature = "mimi"))]
mod frames;
#[cfg(feature = "mimi")]
pub mod mimi;

use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::stream::Frames;
use crate::units::FrameRate;

#[cfg(feature = "builtin")]
pub use builtin::Builtin;
#[cfg(feature = "mimi")]
pub use mimi::Mimi;

/// What a codec gives and takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecSpec {
    /// The codec's name, as on the command line.
    pub name: String,
    /// Samples a second, in and out.
    pub sample_rate: u32,
    /// Frames a second.
    pub frame_rate: FrameRate,
    /// Codebooks, the rows Q of the codes.
    pub codebooks: usize,
    /// Codes of each codebook; every code is in `0..cardinality`.
    pub cardinality: usize,
    /// Which weights or tables it has: codes of another identity mean other sounds.
    pub identity: String,
}

/// Turns samples to codes and back.
///
/// Two methods and the facts they go by: whoever has these can prepare a recording, and hear what became of it. The
/// others have an answer that does for a codec without files or choices.
pub trait Codec: Send + Sync {
    /// Its facts; the same at every call.
    fn spec(&self) -> &CodecSpec;

    /// SHA-256 of its weights' file, in hexadecimal, if it has one.
    fn sha256(&self) -> Option<&str> {
        None
    }

    /// The choices on which its codes depend, as a dataset records them; nothing where there is none.
    fn choices(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Codes of one channel.
    ///
    /// # Shapes
    /// Returns `[Q, T]`, T = samples / samples per frame, rounded up: the last frame is filled up with zeros.
    /// # Units
    /// Samples at `spec().sample_rate`, full scale is -1 to 1.
    /// # Errors
    /// `Invalid` for a sample that is not finite, with its place.
    fn encode(&self, samples: &[f32]) -> Result<Frames<Array2<i32>>>;

    /// Codes of several channels, each as if it were alone: one after another, unless a codec is faster with all.
    ///
    /// # Errors
    /// Those of [`encode`](Codec::encode).
    fn encode_all(&self, channels: &[&[f32]]) -> Result<Vec<Frames<Array2<i32>>>> {
        channels.iter().map(|samples| self.encode(samples)).collect()
    }

    /// Sound of codes.
    ///
    /// # Shapes
    /// `codes` is `[Q, T]`; returns T times the samples per frame.
    /// # Errors
    /// `Invalid` for a grid of more than Q rows, and for a code outside `0..cardinality`, with its level and frame. Levels
    /// from some level on may be missing or absent (-1); a frame without any is silence.
    fn decode(&self, codes: Frames<ArrayView2<'_, i32>>) -> Result<Vec<f32>>;
}
