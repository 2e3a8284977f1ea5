//! What model families do around the shift: prompts of a fixed length, ends in turn, and what was generated.
//!
//! ```text
//! template       b  a0 .  .  .  .  p     what is given and what is open (.)      Template
//!                b  b  b0 .  .  .  .
//! ending         b  a0 a1 a2 e  p  p     stream 0 ends, the others in turn       Ending
//!                b  b  b0 b1 b2 e  p
//! content           a0 a1 a2             frames between begin and end            content
//!                   b0 b1 b2
//! ```
//!
//! The shift itself, its fills and its bracket are [`Delay`](super::Delay) for every family. Where a peer differs in a
//! way that loses or misplaces something, its way has a name here and is never the default: `docs/compare.md` lists them.

mod content;
mod ending;
mod peers;
mod template;

pub use content::{Stray, content};
pub use ending::{EndRule, Ending};
pub use peers::{compact, undo_repeating};
pub use template::Template;

use crate::error::{Error, Result};
use crate::token::Token;

/// An id of the layout's as a token of the caller's type.
fn fit<A: Token>(id: i64, k: usize) -> Result<A> {
    A::try_from(id).map_err(|_| Error::invalid("token", id, format!("an id that fits {}", A::NAME)).in_stream(k))
}

/// Checks that one step has one token for each of `expected` rows.
fn check_rows(what: &str, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::invalid(what, found, expected)),
    }
}
