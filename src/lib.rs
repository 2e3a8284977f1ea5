//! roundelay turns multi-stream codec data into training sequences for Moshi-like speech models, and back, exactly.
//!
//! ```text
//! recordings          layout                    pattern                 loss                batch
//! wav + words  ->  codes [K,T], text row  ->  sequence [K,S], mask -> weights [K,S] -> training batch [B,K,S]
//!                                                  |
//! wav + words  <-  codes [K,T]            <-  undo [K,S] -> [K,T]   <-  generated tokens
//! ```
//!
//! Axes are `[batch, stream, time]`, with T frames before the delay and S steps after it. Grids of frames and grids of
//! steps are two types ([`Frames`], [`Steps`]), so a delay cannot be applied twice.
//!
//! # Example
//! ```
//! use ndarray::arr2;
//! use roundelay::{Delay, Extent, Frames, Layout, Policy, Sequencer, Start};
//!
//! let layout = Layout::preset("delay-1")?; // text, one semantic and one acoustic stream; delays 0 1 1
//! let codes = Frames(arr2(&[[0, 650, 3], [417, 23, 1001], [12, 99, 7]]));
//!
//! let delay = Delay::new(&layout, Extent::Extend, Start::None);
//! let built = delay.build(&codes)?;
//! assert_eq!(built.tokens.0, arr2(&[[0, 650, 3, 3], [2048, 417, 23, 1001], [2048, 12, 99, 7]]));
//!
//! let weights = Policy::named("moshi")?.weigh(&layout, &delay, &codes)?;
//! assert_eq!(weights.step_reasons.0.row(0).to_vec(), [2, 0, 1, 4]); // end of pad, token, pad, tail
//!
//! assert_eq!(delay.undo(&built.tokens, -1)?.codes, codes);
//! # Ok::<(), roundelay::Error>(())
//! ```
//!
//! # Modules, in the order of the data
//! [`stream`] says what the rows are; [`text`] places words; [`codec`] and [`codebook`] give codes; [`window`] cuts;
//! [`vocab`] joins vocabularies and picks a few thousand of millions of words; [`flow`] is flow matching on them;
//! [`delay`] shifts; [`weights`] weighs; [`batch`] holds examples; [`backend`] trains on them; [`pipeline`] is the flow
//! from end to end;
//! `io` (feature `io`) opens files; [`report`] shows what is there; [`tally`] counts what did not go straight through;
//! `strategies` (feature `proptest`) draws layouts and codes at random, for property tests.

// `strategies` names the crate as its users do: the crate's own tests include that file.
#[cfg(feature = "proptest")]
extern crate self as roundelay;

pub mod backend;
pub mod batch;
pub mod codebook;
pub mod codec;
pub mod delay;
mod error;
pub mod flow;
#[cfg(feature = "io")]
pub mod io;
pub mod pipeline;
pub mod report;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod stream;
pub mod tally;
pub mod text;
pub mod token;
mod units;
pub mod vocab;
pub mod weights;
mod wide;
pub mod window;

pub use delay::{Delay, Extent, Sequencer, Start};
pub use error::{Error, ErrorKind, Position, Result};
pub use stream::{Frames, Kind, Layout, Steps, Stream};
pub use units::{FrameRate, Seconds};
pub use weights::{Normalize, Policy, Reason, Weights};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
