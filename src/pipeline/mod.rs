//! The flow over values, without files: a recording's codes and words become segments, and come back.
//!
//! ```text
//! codes [C,Q,T] ─┬─ rows of the layout ──────┬─ cut into windows ─> Segment { codes [K,T], words, regions }
//! words ─────────┴─ a text row per speaker ──┘
//! ```

mod codes;
mod flatten;
mod heard;
mod kyutai;
mod segments;
mod speakers;
mod texts;
mod view;

pub use codes::{audio_codes, check_codebooks, codebooks_read, decode, encode, rates, silence_frames};
pub use flatten::{Flatten, Unflattened};
pub use heard::{Heard, Unheard};
pub use kyutai::{KyutaiWindow, first_not_before};
pub use segments::{Prepare, Recording};
pub use speakers::Speakers;
pub use texts::text_streams;
pub use view::{Look, SliceText, View, ViewOptions, check_swap};
