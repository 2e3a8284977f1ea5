//! The main job: a manifest of recordings becomes a dataset folder.
//!
//! ```text
//! data.jsonl   a.wav b.wav | c.wav d.wav | ..        recordings, in the manifest's order
//!                  |             |
//!              part-00000    part-00001              a part holds a fixed number of them
//! ```
//!
//! What a part holds depends on the manifest and the options alone, not on the number of threads, not on the shard and
//! not on how often the run was broken off: a run that finds finished parts of the same plan goes on behind them.

mod beside;
mod entries;
pub(super) mod folder;
mod job;
mod options;
mod source;

use std::path::Path;

use self::entries::{Entries, Entry, Survey};
use self::folder::{Claim, Folder};
use self::job::Job;
pub use self::options::{PrepOptions, ValidShare};
pub use self::source::CodeSource;
use super::dataset::{Counts, Dataset, DatasetInfo, INFO_FILE};
use super::files;
use super::shard::ShardInfo;
use crate::error::{Error, Result};
use crate::stream::Layout;
use crate::tally::Tally;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepProgress {
    /// Sizes so far.
    pub counts: Counts,
    /// Lines of the manifest that the run takes, bad ones included.
    pub lines: u64,
}

/// Prepares every recording of a manifest, or those of a shard, into `folder`, and tells the progress after each few; an
/// error of `progress` breaks the run off.
///
/// A recording that cannot be used is a line in `rejects.jsonl` and the run goes on. A shard that the same call has
/// finished stays as it is: jobs of an array, and tasks of a cluster, may be started again.
///
/// # Errors
/// `Invalid` if the folder holds anything but an unfinished run of the same manifest and options, or a dataset without
/// a segment, or if options do not fit together; `Io` if the manifest cannot be read any more, the system has run out of
/// something, or the dataset cannot be written: the same call then goes on where it stopped.
pub fn prep(
    manifest: &Path,
    folder: &Path,
    options: &PrepOptions,
    progress: &mut dyn FnMut(&PrepProgress) -> Result<()>,
) -> Result<DatasetInfo> {
    let job = Job::new(options, manifest)?;
    // Before it is read: a line that is added meanwhile makes another manifest of it.
    let sha256 = files::sha256_of_file(manifest)?;
    let survey = Survey::read(manifest, options)?;
    let parts = survey.parts(options.shard);
    let mut info = job.info()?;
    info.shard = options.shard.map(|shard| ShardInfo { shard, manifest: sha256.clone(), parts: Vec::new() });
    let plan = Plan { manifest: &sha256, layout: &options.layout, info: &info };
    if let Some(info) = finished_shard(folder, &plan)? {
        return Ok(info);
    }
    let plan = serde_json::to_value(plan).map_err(|e| Error::malformed("plan", e))?;
    let folder = match Folder::claim(folder, &plan, &options.layout)? {
        Claim::ToDo(folder) => folder,
        Claim::Done(info) => return Ok(*info),
    };
    let lines = survey.lines(&parts);
    let mut tell = |counts: Counts| progress(&PrepProgress { counts, lines });
    for (n, entries) in Entries::open(manifest, options)?.enumerate() {
        let entries = entries?;
        if parts.binary_search(&n).is_err() {
            continue;
        }
        if folder.finished(n)?.is_none() {
            job.part(&folder, n, &entries, &mut |counts| tell(info.counts.clone() + counts))?;
        }
        // Taken from the disk in either case, so that a resumed run adds up the very same numbers.
        folder.record(n)?.add_to(n, &mut info);
        tell(info.counts.clone())?;
    }
    check_same(manifest, &sha256)?;
    folder.finish(&info, &parts)?;
    Ok(info)
}

/// What an unfinished run must share with the one that goes on.
#[derive(serde::Serialize)]
struct Plan<'a> {
    manifest: &'a str,
    layout: &'a Layout,
    info: &'a DatasetInfo,
}

/// The description of the shard in a folder, if the same run has finished it. One without a segment is made again: its
/// recordings may be there by now.
fn finished_shard(folder: &Path, plan: &Plan) -> Result<Option<DatasetInfo>> {
    if plan.info.shard.is_none() || folder::is_unfinished(folder) || !folder.join(INFO_FILE).exists() {
        return Ok(None);
    }
    let dataset = Dataset::open(folder)?;
    let mut begun = DatasetInfo {
        counts: Counts::default(),
        events: Tally::default(),
        parts: Vec::new(),
        ..dataset.info().clone()
    };
    begun.shard.iter_mut().for_each(|shard| shard.parts.clear());
    if begun != *plan.info || dataset.layout() != plan.layout || dataset.info().counts.segments == 0 {
        return Ok(None);
    }
    for part in &dataset.info().parts {
        let path = dataset.part_path(part);
        if !std::fs::metadata(&path).is_ok_and(|file| file.len() == part.bytes) {
            let expected =
                format!("{} bytes, as dataset.json says: remove the folder, and make the shard again", part.bytes);
            return Err(Error::invalid("part", "missing, or of another size", expected).in_file(path.display()));
        }
    }
    Ok(Some(dataset.info().clone()))
}

/// It is read more than once.
fn check_same(manifest: &Path, sha256: &str) -> Result<()> {
    match files::sha256_of_file(manifest)? == sha256 {
        true => Ok(()),
        false => {
            Err(Error::invalid("manifest", "another one than at the start", "no change while it is being prepared")
                .in_file(manifest.display()))
        }
    }
}
