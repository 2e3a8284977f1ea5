//! A small RQ-transformer of the Moshi kind, trained with burn.
//!
//! ```text
//!              step 0    step 1    step 2
//! temporal     x0 ─────> x1 ─────> x2          x: sum of the embeddings of all streams; absent ones add nothing
//!              │         │         │
//! text         t1        t2        t3          said of the next column, which is the target of this step
//! depth        a1 b1 c1  a2 b2 c2  a3 b3 c3    a from x and t, b from x, t and a, c from all of these
//! ```
//! Texts are said from x alone; an audio stream is told what was said before it in the layout's order. Of a packed row's segments none sees another, and each
//! counts its places from 0. Embeddings, heads and projections are each stream's own; the layers of the depth transformer
//! are shared by its streams, unlike Moshi's.
//!
//! It is an example of real use, not a framework: all in f32, attention without a memory of keys and values. On a
//! processor the same calls give the same numbers, to the bit, on any number of threads. On a GPU they do not: there, sums
//! are added in an order of their own.
//!
//! # Source
//! Moshi paper, on the RQ-Transformer; moshi `models/lm.py`, `forward_text` and `forward_depformer`.

mod attention;
mod batch;
mod device;
mod forward;
mod generate;
mod logits;
mod loss;
mod model;
mod optimise;
mod options;
mod state;
mod train;

pub use batch::{Batch, Uploader};
pub use device::{Device, Found};
pub use logits::{LogitModel, LogitOptions};
pub use options::Options;
pub use train::BurnBackend;

/// Training on the processor.
pub type Cpu = burn::backend::Autodiff<burn::backend::Flex>;

/// Training on NVIDIA's devices.
#[cfg(feature = "cuda")]
pub type Gpu = burn::backend::Autodiff<burn::backend::Cuda>;
