//! Why a position weighs what it weighs.
//!
//! ```text
//! frame      0  1  2  3        reasons    2  0  1  1             2 end of pad, 0 token, 1 pad
//! text       E  t  P  P                      └──────┘ region
//!                                         2 128 129 129          bit 7: a region of time applies
//! ```

use serde::{Deserialize, Serialize};

/// Why a position weighs what it weighs. Where several hold, the first of this order does: absent, head, tail,
/// untrained, skipped, end-of-pad, pad, token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// A text token or a code.
    Token = 0,
    /// Text: nothing is being said.
    Pad = 1,
    /// Text: the step just before a word begins.
    EndPad = 2,
    /// Filled before the stream's first token.
    Head = 3,
    /// Filled behind one of its codes, in a step that it leaves free or after the last; in frames, cut off by
    /// truncation.
    Tail = 4,
    /// No token here.
    Absent = 5,
    /// A stream that the loss does not see.
    Untrained = 6,
    /// A code of the depth transformer's in a frame that was not drawn for it.
    Skipped = 7,
}

impl Reason {
    /// All reasons, by their number.
    pub const ALL: [Reason; 8] = [
        Reason::Token,
        Reason::Pad,
        Reason::EndPad,
        Reason::Head,
        Reason::Tail,
        Reason::Absent,
        Reason::Untrained,
        Reason::Skipped,
    ];

    /// Set beside the reason's number where a weighted region of time applies, whatever the reason.
    pub const REGION: u8 = 1 << 7;

    /// The reason of a number, with or without the [region's bit](Reason::REGION).
    ///
    /// # Examples
    /// ```
    /// use roundelay::Reason;
    /// assert_eq!(Reason::of(129), Some(Reason::Pad));
    /// assert_eq!(Reason::of(8), None);
    /// ```
    pub fn of(number: u8) -> Option<Reason> {
        Self::ALL.get(usize::from(number & !Self::REGION)).copied()
    }

    /// The name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Token => "token",
            Reason::Pad => "pad",
            Reason::EndPad => "end_pad",
            Reason::Head => "head",
            Reason::Tail => "tail",
            Reason::Absent => "absent",
            Reason::Untrained => "untrained",
            Reason::Skipped => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_that_files_hold() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Reason::of(number as u8 | Reason::REGION), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{}\"", reason.name()));
        }
    }
}
