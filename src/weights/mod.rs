//! Loss weights: one factor a position, and the reason for it.
//!
//! ```text
//! codes in frames     t  P  P  E  t       weights     1  .5 .5 .5  1
//!                     s  s  s  s  -                 100 100 100 100 0     - absent
//! ```

mod policy;
mod region;
mod training;
mod weigh;

pub use policy::{Normalize, PadIds, Policy};
pub use region::Region;
pub use training::{Training, TrainingViews};
pub use weigh::{Reason, Sums, Weights};
use weigh::{Scales, TIME};
