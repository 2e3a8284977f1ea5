//! What is in a grid or a dataset, for people to look at.

mod aligned;
mod codebook;
mod conversation;
#[cfg(feature = "io")]
mod curve;
mod drawing;
mod picture;
#[cfg(feature = "io")]
mod summary;
mod tokens;

pub use codebook::{CodeUse, CodebookCounts, CodebookStatistics, CodebookUse, UseFigures};
pub use conversation::{Conversation, InRow, Lengths, SpeakerStatistics, Statistics, TextStatistics};
#[cfg(feature = "io")]
pub use curve::Curve;
pub use drawing::Drawing;
pub use picture::{Cell, Picture, Row};
#[cfg(feature = "io")]
pub use summary::Summary;
pub use tokens::{FrameLengths, LongestRun, SplitStatistics, StreamStatistics, TokenCounts, TokenStatistics};
