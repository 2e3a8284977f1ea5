//! What is in a grid or a dataset, for people to look at.

mod drawing;
mod picture;
#[cfg(feature = "io")]
mod summary;

pub use drawing::Drawing;
pub use picture::{Cell, Picture, Row};
#[cfg(feature = "io")]
pub use summary::Summary;
