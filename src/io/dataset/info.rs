//! `dataset.json`: what is known of the whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::MAX_JSON;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::io::files;
use crate::io::parts::{FORMAT_VERSION, PartSummary, check_version};
use crate::io::shard::ShardInfo;
use crate::stream::Layout;
use crate::tally::Tally;
use crate::units::Seconds;

/// What `dataset.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Version of the format: [`FORMAT_VERSION`].
    pub format: u32,
    /// What wrote the dataset, as `roundelay 0.1.0`.
    pub tool: String,
    /// Name of the layout in `layout.json`.
    pub layout: String,
    /// Where the codes come from.
    pub codec: Identity,
    /// Where the text ids come from; none if the dataset has no words.
    pub tokenizer: Option<Identity>,
    /// The options that change what is written.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Sizes.
    pub counts: Counts,
    /// Events of all recordings, by kind.
    pub events: Tally,
    /// The parts, in order.
    pub parts: Vec<PartSummary>,
    /// Which share of a manifest it holds, if not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardInfo>,
}

/// A thing by its name and, where it is a file or has tables, by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What it is called, without folders.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Sizes of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Recordings that gave at least one segment.
    pub recordings: u64,
    /// Rows of all parts.
    pub segments: u64,
    /// Frames of all segments.
    pub frames: u64,
    /// Length of all segments.
    pub seconds: Seconds,
    /// Frames of the text row that hold its pad.
    pub text_pads: u64,
    /// Recordings that could not be used.
    pub rejects: u64,
}

impl Identity {
    /// That of a codec, by its weights or tables.
    pub fn of_codec(codec: &dyn Codec) -> Self {
        Identity { name: codec.spec().identity.clone(), sha256: codec.sha256().map(str::to_owned) }
    }
}

impl std::ops::Add<&Counts> for Counts {
    type Output = Counts;

    fn add(self, other: &Counts) -> Counts {
        Counts {
            recordings: self.recordings + other.recordings,
            segments: self.segments + other.segments,
            frames: self.frames + other.frames,
            seconds: self.seconds + other.seconds,
            text_pads: self.text_pads + other.text_pads,
            rejects: self.rejects + other.rejects,
        }
    }
}

/// A recording that could not be used: a line of `rejects.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The recording, as the manifest names it; empty if its line could not be read.
    pub recording: String,
    /// Line in the manifest, from 1.
    pub line: usize,
    /// The error's message.
    pub reason: String,
}

impl DatasetInfo {
    /// Begins the description of a dataset that this version of the crate writes.
    pub fn new(layout: &Layout, codec: Identity, tokenizer: Option<Identity>) -> Self {
        DatasetInfo {
            format: FORMAT_VERSION,
            tool: concat!("roundelay ", env!("CARGO_PKG_VERSION")).to_owned(),
            layout: layout.name().to_owned(),
            codec,
            tokenizer,
            options: serde_json::Map::new(),
            counts: Counts::default(),
            events: Tally::default(),
            parts: Vec::new(),
            shard: None,
        }
    }

    /// Name of part `n`: `part-00000.parquet`.
    pub fn part_name(n: usize) -> String {
        format!("part-{n:05}.parquet")
    }
}

/// The description and the SHA-256 of its text. The version is read before the rest, which another version may have
/// changed.
pub(super) fn read_info(path: &Path) -> Result<(DatasetInfo, [u8; 32])> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let malformed = |e: serde_json::Error| Error::malformed("dataset description", &e).on_line(e.line().max(1));
    let text = files::read_text(path, "dataset description", MAX_JSON)?;
    check_version(serde_json::from_str::<Version>(&text).map_err(malformed)?.format)?;
    let info: DatasetInfo = serde_json::from_str(&text).map_err(malformed)?;
    for part in &info.parts {
        // A name that leads out of the folder would have us read any file of the user's.
        if part.name.is_empty() || part.name.starts_with('.') || part.name.contains(['/', '\\', ':']) {
            return Err(Error::invalid("name of a part", format!("{:?}", part.name), "a file name without folders"));
        }
    }
    Ok((info, files::sha256(text.as_bytes())))
}

/// Checks one file of a dataset against its checksum.
///
/// # Errors
/// `Io`; `Invalid` with both sums.
pub fn verify_part(path: &Path, part: &PartSummary) -> Result<()> {
    match files::sha256_of_file(path)? {
        sha256 if sha256 == part.sha256 => Ok(()),
        other => Err(Error::invalid("SHA-256", other, &part.sha256).in_file(path.display())),
    }
}
