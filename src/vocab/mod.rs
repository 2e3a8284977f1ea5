//! Vocabularies: many as one, and a few thousand words out of millions.
//!
//! ```text
//! joint    text 0..35000 | audio 0..512  ->  0..35512                    and back
//! search   query [D], words [N, D]       ->  the K best of N             exact, or in a few clusters
//! subset   K ids of N, labels [B]        ->  labels in 0..K, logits [B, K], a loss that stands for all N
//! ```

mod joint;
pub mod search;
pub mod subset;

pub use joint::{Joint, Part, Real};
