//! The main job: a manifest of recordings becomes a dataset folder.
//!
//! ```text
//! data.jsonl   a.wav b.wav | c.wav d.wav | ..        recordings, in the manifest's order
//!                  |             |
//!              part-00000    part-00001              a part holds a fixed number of them
//! ```
//!
//! What a part holds depends on the manifest and the options alone, not on the number of threads and not on how often
//! the run was broken off: a run that finds finished parts of the same plan goes on behind them.

mod beside;
mod folder;
mod job;
mod options;
mod source;

use std::path::{Path, PathBuf};

use self::folder::Folder;
use self::job::Job;
pub use self::options::PrepOptions;
pub use self::source::CodeSource;
use super::dataset::{Counts, DatasetInfo, Reject};
use super::files;
use super::manifest::{Manifest, ManifestEntry};
use crate::error::{Error, Result};
use crate::stream::Layout;

/// Recordings in a part. Part of the format of an unfinished run: another number gives other parts.
const PART_RECORDINGS: usize = 256;

/// Prepares every recording of a manifest into `folder`, and tells the counts so far after each few.
///
/// A recording that cannot be used is a line in `rejects.jsonl` and the run goes on.
///
/// # Errors
/// `Invalid` if the folder holds anything but an unfinished run of the same manifest and options, or if options do not
/// fit together; `Io` if the manifest cannot be read or the dataset not be written.
pub fn prep(
    manifest: &Path,
    folder: &Path,
    options: &PrepOptions,
    progress: &mut dyn FnMut(&Counts),
) -> Result<DatasetInfo> {
    let root = manifest.parent().unwrap_or(Path::new(""));
    let job = Job::new(options, root)?;
    let mut info = job.info()?;
    let mut lines = Manifest::open(manifest)?;
    let mut entries = next_entries(&mut lines, root)?;
    if entries.is_empty() {
        return Err(Error::invalid("number of recordings in the manifest", 0, "at least 1"));
    }
    let plan = Plan { manifest: files::sha256_of_file(manifest)?, layout: &options.layout, info: &info };
    let plan = serde_json::to_value(plan).map_err(|e| Error::malformed("plan", e))?;
    let folder = match Folder::claim(folder, &plan, &options.layout)? {
        folder::Claim::ToDo(folder) => folder,
        folder::Claim::Done(info) => return Ok(*info),
    };
    for n in 0.. {
        if entries.is_empty() {
            break;
        }
        if folder.finished(n)?.is_none() {
            job.part(&folder, n, &entries, &info.counts, progress)?;
        }
        // Taken from the disk in either case, so that a resumed run adds up the very same numbers.
        folder.record(n)?.add_to(&mut info);
        progress(&info.counts);
        entries = next_entries(&mut lines, root)?;
    }
    folder.finish(&info)?;
    Ok(info)
}

/// What an unfinished run must share with the one that goes on.
#[derive(serde::Serialize)]
struct Plan<'a> {
    manifest: String,
    layout: &'a Layout,
    info: &'a DatasetInfo,
}

/// A recording that could not be used, by its place in the manifest, or its entry with the file it means.
type Entry = std::result::Result<(ManifestEntry, PathBuf), Reject>;

/// Entries of the next part. Bad lines are rejects; only a failing disk ends the run.
fn next_entries(manifest: &mut Manifest, root: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while entries.len() < PART_RECORDINGS {
        match manifest.next() {
            None => break,
            Some(Ok(entry)) => {
                let path = manifest.locate(&entry.path);
                entries.push(Ok((entry, path)));
            }
            Some(Err(error)) if matches!(error.kind(), crate::ErrorKind::Io { .. }) => return Err(error),
            Some(Err(error)) => entries.push(Err(Reject {
                recording: String::new(),
                line: error.position().line.unwrap_or(0),
                reason: error.relative_to(root).to_string(),
            })),
        }
    }
    Ok(entries)
}
