//! Loss weights: one factor a position, and the reason for it.
//!
//! ```text
//! codes in frames     t  P  P  E  t       weights     1  .5 .5 .5  1
//!                     s  s  s  s  -                 100 100 100 100 0     - absent
//! a region x 2           └──┘                         1   1  1 .5  1
//!                                                   100 200 200 100 0
//! ```
//!
//! A [`Policy`] says what a token weighs. [`Policy::weigh`] and [`Policy::training`] are enough where every example
//! counts alike; [`Weighing`] also knows the examples: their [`Region`]s of time, and their index, which seeds the frames
//! that are drawn for the depth transformer. [`Summary`] tells where the weight of a corpus goes.

mod audit;
mod clip;
mod example;
mod policy;
mod reason;
mod region;
mod scale;
mod summary;
mod sums;
mod table;
mod training;
mod weigh;

pub use audit::EndTokens;
pub(crate) use clip::Counted;
pub use example::Example;
pub use policy::{DepthFrames, Normalize, PadIds, Policy, SemanticStreams};
pub use reason::Reason;
pub use region::Region;
pub(crate) use scale::Spare;
pub use summary::{Share, StreamShare, Summary};
pub use sums::{Class, Sums};
pub use training::{Training, TrainingViews, training_shapes};
pub use weigh::{Weighing, Weights, WeightsViews};
