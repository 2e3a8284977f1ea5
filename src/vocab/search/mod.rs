//! Search: the K of N word vectors with the largest inner product, for each query.
//!
//! ```text
//! queries [Q, D]     vectors [N, D]   f32, f16 or i8
//!      |                  |
//!      +--- fast scores, a block at a time ---> those that may be among the best ---> scored again in f64 ---> [Q, K]
//!                                               at most a rounding error below the K-th
//!
//! clusters    rows  | 0 .. 7 | 7 .. 12 | 12 .. 30 |      rows that lie together, each with a centroid [C, D]
//!             exact search reads all of them, approximate search the `probes` with the best centroids
//! ```
//!
//! Fast scores are rounded: of i8 vectors they are whole numbers (the query is rounded to 16 bits), of the others sums in
//! f32. How far they can be from the truth is known before, and whatever comes within that reach of the K-th best is
//! scored again. So the answer is that of a plain loop in f64 over all rows, whatever the processor, the number of threads
//! and the order of the rows: best first, and of equals the lower id.

mod index;
mod keep;
mod kernel;
mod query;
mod scan;
mod vectors;

pub use index::{Clustered, Found, Index, unit_rows};
pub use vectors::{Values, Vectors};

#[cfg(feature = "io")]
pub(crate) use vectors::{LONGEST, bad_value, is_good};
