//! Files in and out: the only place that opens any.
//!
//! Files are data from strangers: a reader checks what a file claims against its size before it allocates, and every
//! error names the file. What is written appears under its name whole or not at all.

mod audio;
#[cfg(any(feature = "builtin", feature = "mimi"))]
mod codec;
#[cfg(feature = "symphonia")]
mod compressed;
mod dataset;
mod files;
mod jmoshi;
mod loader;
mod manifest;
mod merge;
mod npy;
mod parts;
mod placing;
mod prep;
mod run;
mod shard;
pub mod tensors;
mod trainer;
mod vectors;
mod verify;
mod wav;
mod words;

pub use audio::{Audio, read_audio, resample, write_wav};
#[cfg(feature = "builtin")]
pub use codec::open_builtin;
#[cfg(feature = "mimi")]
pub use codec::open_mimi;
pub use dataset::{CARD_FILE, EVENTS_FILE, INDEX_FILE, INFO_FILE, LAYOUT_FILE, REJECTS_FILE};
pub use dataset::{Counts, Dataset, DatasetInfo, Identity, Index, Reject, Segments, verify_part};
pub use files::{remove_leftovers, sha256_of_file, write_atomic, write_json_atomic};
pub use jmoshi::{JmoshiCounts, export_jmoshi};
pub use loader::{Batches, Loaded, Loader, LoaderOptions, Made};
pub use manifest::{Manifest, ManifestEntry};
pub use merge::merge;
pub use parts::{FORMAT_VERSION, PartReader, PartSummary, PartWriter};
pub use placing::Placing;
pub use prep::{CodeSource, PrepOptions, PrepProgress, ValidShare, prep};
pub use run::{Checkpoint, Data, Point, Run, Schedule, load_checkpoint, read_run};
pub use shard::{Shard, ShardInfo, ShardPart};
pub use trainer::{TrainerCommand, spawn_trainer};
pub use vectors::{BuildOptions, Built, Numbers, Store, TensorRows, VectorSource, build_store};
pub use verify::{Defect, Verified, verify};
pub use words::{Transcript, WordsFormat, parse_words, parse_words_for, read_words, words_text};
pub use words::{parse_regions, parse_segments, read_regions, read_segments};
