//! Examples, and how they are brought together for a training step.

mod example;

pub use example::{Segment, Split};
