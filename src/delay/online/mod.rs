//! One column at a time: what generation and live audio need.
//!
//! ```text
//! DelayLine                                   UndelayLine
//! frame  0   1   2   3   flush                step    0   1   2   3   4
//!        t1  t2  t3  t4            in                 t1  t2  t3  t4  P
//!        s1  s2  s3  s4                               I   s1  s2  s3  s4
//!        |   |   |   |   |                            |   |   |   |   |
//! step   0   1   2   3   4                    frame   -   0   1   2   3
//!        t1  t2  t3  t4  P         out                    t1  t2  t3  t4
//!        I   s1  s2  s3  s4                               s1  s2  s3  s4
//!
//! delays 0 1; I the stream's initial id, P its pad id
//! ```
//!
//! Both lines give, column by column, exactly what [`Delay::build`] and [`Delay::undo`] give on the whole, for a
//! [`Delay`] without a bracket. The begin and the end of a bracketed family are columns like any other: fed with the
//! codes, they come out as [`Delay::bracketed`] builds them, and with the frames on the way back.
//! A line holds a batch of conversations, its rows, and each row goes its own way: see [`Act`]. Where a row gives
//! nothing (it pauses, or its first frame is not complete yet), its cells in the caller's buffer stay as they are.
//! After the line is made, no call allocates memory.
//!
//! [`KyutaiLine`] is the loop of Kyutai's own generation, which differs from both.
//!
//! [`Delay`]: crate::Delay
//! [`Delay::bracketed`]: crate::Delay::bracketed
//! [`Delay::build`]: crate::Sequencer::build
//! [`Delay::undo`]: crate::Sequencer::undo

mod kyutai;
mod line;
mod ring;
mod rows;
mod undelay;

pub use kyutai::{KyutaiLine, KyutaiOptions};
pub use line::DelayLine;
pub use undelay::UndelayLine;

use crate::error::{Error, Result};
use crate::stream::{Layout, Stream};
use crate::token::Token;

/// What one row of the batch does in a step.
///
/// ```text
/// start --Take--> taking --Flush--> ending --last Flush--> ended
///                 ^    |            ^    |
///                 +Take+            +Flush+          Pause changes nothing; a reset leads to the start from anywhere
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Act {
    /// Takes the row's column.
    #[default]
    Take,
    /// The row has had its last column: gives one more of its tail. The column that is handed in is not looked at.
    Flush,
    /// Stays as it is. The column that is handed in is not looked at.
    Pause,
}

/// One id of each stream, in the line's own type.
fn ids<A: Token>(layout: &Layout, id: impl Fn(&Stream) -> u32) -> Result<Vec<A>> {
    let fit = |stream: &Stream| {
        let id = i64::from(id(stream));
        let misfit = |_| Error::invalid("fill", id, format!("an id that fits {}", A::NAME)).in_stream(&stream.name);
        A::try_from(id).map_err(misfit)
    };
    layout.streams().iter().map(fit).collect()
}
