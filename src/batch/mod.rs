//! Examples, and how they are brought together for a training step.
//!
//! ```text
//! lengths  ->  Order  ->  items of a step  ->  clips  ->  Collate  ->  TrainBatch [B, K, S]
//!              seed       rank by rank                    Prefetch makes the next ones meanwhile
//! ```

mod collate;
mod example;
mod order;
mod pack;
mod prefetch;
mod train;

pub use collate::{Clip, Collate};
pub use example::{Segment, Split};
pub use order::{Crop, Cut, Item, Order, OrderOptions, Padding, Place, Planned, Position, Shuffle, Source, Width};
pub use pack::Packing;
pub use prefetch::{Ahead, Prefetch};
pub use train::{Placed, TrainBatch};
