//! What a stream is: the layout names the rows of a grid, and a grid says whether it counts frames or steps.

mod describe;
mod form;
mod grid;
mod kyutai;
mod layout;
mod preset;
pub(crate) mod rows;

pub use grid::{Frames, Steps, batched, batched_mut};
pub use layout::{Kind, Layout, Stream};
pub(crate) use layout::{MAX_DELAY, MAX_STREAMS};
