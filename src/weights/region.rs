//! Spans of time that count for more or for less.

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// A span of time whose loss weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// First instant.
    pub start: Seconds,
    /// Instant after the last.
    pub end: Seconds,
    /// Factor, finite and not negative.
    pub weight: f32,
}
