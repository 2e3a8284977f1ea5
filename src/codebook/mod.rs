//! Codebooks: finding the nearest code, training the table, stacking tables, counting use.
//!
//! ```text
//! x [n, d] --nearest--> codes [n]          one table [codes, d]
//!     |                   |
//!     +--- residual <- x - table[code]     and so on, level by level: codes [levels, n]
//! ```
//!
//! Everything works on arrays in memory, in a fixed order, with seeds: the same input gives the
//! same output whatever else the machine does.

mod nearest;
mod pairs;
mod residual;
mod update;
mod usage;

pub use nearest::Codes;
pub use pairs::Pairs;
pub use residual::{ResidualQuantizer, without_others};
pub use update::{Clusters, KMeans, average, refine};
pub use usage::Usage;
