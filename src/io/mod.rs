//! Files in and out: the only place that opens any.
//!
//! Files are data from strangers: a reader checks what a file claims against its size before it allocates, and every
//! error names the file. What is written appears under its name whole or not at all.

mod audio;
#[cfg(feature = "symphonia")]
mod compressed;
mod dataset;
mod files;
mod manifest;
mod npy;
mod parts;
mod prep;
pub mod tensors;
mod wav;
mod words;

pub use audio::{Audio, read_audio, resample, write_wav};
pub use dataset::{Counts, Dataset, DatasetInfo, Identity, Reject, Segments, verify_part};
pub use dataset::{EVENTS_FILE, INFO_FILE, LAYOUT_FILE, REJECTS_FILE};
pub use files::{remove_leftovers, sha256_of_file, write_atomic, write_json_atomic};
pub use manifest::{Manifest, ManifestEntry};
pub use parts::{FORMAT_VERSION, PartReader, PartSummary, PartWriter};
pub use prep::{CodeSource, PrepOptions, prep};
pub use words::{Transcript, WordsFormat, parse_words, parse_words_for, read_words, words_text};
pub use words::{parse_regions, parse_segments, read_regions, read_segments};
