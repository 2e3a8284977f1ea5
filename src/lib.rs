//! roundelay turns multi-stream codec data into training sequences for Moshi-like speech models, and back, exactly.
//!
//! ```text
//! recordings          layout                    pattern                 loss                batch
//! wav + words  ->  codes [K,T], text row  ->  sequence [K,S], mask -> weights [K,S] -> training batch [B,K,S]
//!                                                  |
//! wav + words  <-  codes [K,T]            <-  undo [K,S] -> [K,T]   <-  generated tokens
//! ```

pub mod batch;
pub mod codebook;
pub mod codec;
pub mod delay;
mod error;
#[cfg(feature = "io")]
pub mod io;
pub mod pipeline;
pub mod report;
pub mod stream;
pub mod tally;
pub mod text;
pub mod token;
mod units;
pub mod weights;
pub mod window;

pub use delay::{Delay, Extent, Start};
pub use error::{Error, ErrorKind, Position, Result};
pub use stream::{Frames, Kind, Layout, Steps, Stream};
pub use units::{FrameRate, Seconds};
pub use weights::{Normalize, Policy, Reason, Weights};
