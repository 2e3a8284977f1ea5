//! Vocabularies: many as one, and a few thousand words out of millions.
//!
//! ```text
//! joint    text 0..35000 | audio 0..512  ->  0..35512                    and back
//! ```

mod joint;

pub use joint::{Joint, Part, Real};
