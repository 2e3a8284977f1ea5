//! Stores of word vectors: made in a stream, searched where they lie.
//!
//! ```text
//! source [N, D] --a sample--> k-means --> centroids [C, D]
//!        |
//!        +--pass 1--> the nearest centroid of each row, the largest number of each dimension
//!        +--pass 2--> rows, rounded, each at its cluster's next place:
//!
//! .safetensors   offsets [C + 1] | centroids [C, D] | scales [D] | ids [N] | places [N] | vectors [N, D]
//! ```
//!
//! The file is mapped: a search reads what it needs, and the system keeps of it what memory has room for. Of a source no
//! more than a block is in memory at a time; of the N rows only the numbers of their clusters are, two bytes each.

mod build;
mod mapped;
mod source;
mod store;
mod writer;

pub use build::{BuildOptions, Built, build_store};
pub use source::{TensorRows, VectorSource};
pub use store::{Numbers, Store};
