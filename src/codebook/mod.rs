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

mod batch;
mod collective;
mod draws;
mod ema;
mod kmeans;
mod nearest;
mod pairs;
mod product;
mod residual;
mod rule;
mod train;
mod usage;

pub use collective::{Alone, Collective, Hub, Spoke, threads};
pub use draws::{Draws, SeededDraws};
pub use ema::{EmaCodebook, EmaParts, EmaStep, Revived};
pub use kmeans::{Clusters, KMeans, Start, average, refine};
pub use nearest::Codes;
pub use pairs::Pairs;
pub use residual::{ResidualQuantizer, without_others};
pub use rule::{Draw, EmaRule, Metric, Moment, Revival, RevivedState, Smoothing};
pub use train::{Dropout, ResidualTrainer, ResidualTraining};
pub use usage::{Count, Threshold, Usage, UsageEma};
