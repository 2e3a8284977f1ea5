//! Several datasets as one.
//!
//! ```text
//! a  shard 0/2   part-00000  part-00002               ->  part-00000  part-00001  part-00002    as of one run
//! b  shard 1/2   part-00001
//!
//! c              part-00000  part-00001               ->  part-00000  part-00001
//! d              part-00000                           ->  part-00002                            renamed
//! ```
//!
//! Parts are copied as they are and checked on the way; a merge that is broken off is continued by the same call.

mod ids;
mod inputs;
mod ledger;

use std::path::{Path, PathBuf};

use self::inputs::{Input, Part};
use self::ledger::Ledger;
use super::dataset::{Counts, DatasetInfo, EVENTS_FILE, REJECTS_FILE};
use super::files::{self, Sealed};
use super::parts::PartSummary;
use super::prep::folder::{Claim, Folder, PartRecord};
use crate::error::{Error, Result};
use crate::tally::Tally;

/// Joins the datasets of these folders in `output`, in their order; the shards of one manifest become what one run would
/// have written, to the byte. Tells of each part as it is
/// copied; an error of `progress` breaks the merge off.
///
/// # Errors
/// `Invalid` if the datasets differ in layout, codec, tokenizer or options, if two of them hold a segment of the same id,
/// if a shard is missing or given twice, or if a file is not what its checksum says; as [`prep`](super::prep()) for the
/// output folder; `Io`.
pub fn merge(
    folders: &[PathBuf],
    output: &Path,
    progress: &mut dyn FnMut(&Counts) -> Result<()>,
) -> Result<DatasetInfo> {
    let inputs = folders.iter().map(|folder| Input::open(folder)).collect::<Result<Vec<_>>>()?;
    let (first, others) = inputs.split_first().ok_or_else(|| Error::invalid("number of datasets", 0, "at least 1"))?;
    others.iter().try_for_each(|other| first.check_alike(other))?;
    inputs.iter().try_for_each(|input| input.check_is_not(output))?;
    let parts = inputs::joined(&inputs)?;
    ids::check(&inputs)?;
    let plan = serde_json::json!({ "merge": inputs.iter().map(|input| &input.sha256).collect::<Vec<_>>() });
    let folder = match Folder::claim(output, &plan, first.dataset.layout())? {
        Claim::ToDo(folder) => folder,
        Claim::Done(info) => return Ok(*info),
    };
    let mut info = describe(&inputs, &parts);
    let mut counts = Counts::default();
    for part in &parts {
        let Some((old, new)) = &part.file else { continue };
        if folder.finished(part.number)?.is_none() {
            let summary = copy(&inputs[part.input].dataset.part_path(old), &folder.part(part.number), old)?;
            folder.write_record(part.number, &PartRecord { part: Some(summary), ..PartRecord::default() })?;
        }
        counts.segments += old.rows;
        counts.frames += old.frames;
        progress(&counts)?;
        info.parts.push(PartSummary { name: new.clone(), ..old.clone() });
    }
    let lines = |name| Ledger::new(name, &inputs, &parts);
    folder.finish_with(&info, &mut lines(EVENTS_FILE), &mut lines(REJECTS_FILE))?;
    Ok(info)
}

/// The description of the whole, as yet without its parts.
fn describe(inputs: &[Input], parts: &[Part]) -> DatasetInfo {
    let infos = || inputs.iter().map(|input| input.dataset.info());
    let first = inputs[0].dataset.info();
    let mut info = DatasetInfo::new(inputs[0].dataset.layout(), first.codec.clone(), first.tokenizer.clone());
    info.options = first.options.clone();
    if infos().all(|other| other.tool == first.tool) {
        info.tool = first.tool.clone();
    }
    // By parts: sums of shards would be rounded once more.
    info.counts = parts.iter().fold(Counts::default(), |sum, part| sum + &part.counts);
    info.events = infos().fold(Tally::default(), |mut sum, info| {
        sum.merge(&info.events);
        sum
    });
    info
}

/// Copies a part, which gets its name only if it is what its dataset says.
fn copy(from: &Path, to: &Path, part: &PartSummary) -> Result<PartSummary> {
    let mut source = files::open(from)?;
    let mut file = Sealed::create(to)?;
    std::io::copy(&mut source, &mut file).map_err(|e| Error::io("copy the part", e).in_file(from.display()))?;
    let sha256 = file.sha256();
    if sha256 != part.sha256 {
        return Err(Error::invalid("SHA-256", sha256, &part.sha256).in_file(from.display()));
    }
    file.seal()?;
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(PartSummary { name, ..part.clone() })
}
