//! What is in a grid or a dataset, for people to look at.

mod conversation;
mod drawing;
mod picture;
#[cfg(feature = "io")]
mod summary;

pub use conversation::{Conversation, InRow, Lengths, SpeakerStatistics, Statistics, TextStatistics};
pub use drawing::Drawing;
pub use picture::{Cell, Picture, Row};
#[cfg(feature = "io")]
pub use summary::Summary;
