//! Who speaks when, where nobody says which words.

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// A span in which one speaker is heard, as diarisation gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerSegment {
    /// First instant.
    pub start: Seconds,
    /// Instant after the last.
    pub end: Seconds,
    /// Who speaks.
    pub speaker: String,
}
