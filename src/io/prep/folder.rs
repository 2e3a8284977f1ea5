//! The folder of a run: what is done, and who is at it.
//!
//! ```text
//! layout.json  part-00000.parquet  ..  .prep/plan.json          what is being made of what
//!                                      .prep/lock               held by the one run that may write
//!                                      .prep/part-00000.json    a record for each finished part
//! ```
//!
//! `.prep` goes once `dataset.json` is there.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::io::dataset::{
    CARD_FILE, Counts, Dataset, DatasetInfo, EVENTS_FILE, INDEX_FILE, INFO_FILE, LAYOUT_FILE, REJECTS_FILE, Reject,
    card, verify_part,
};
use crate::io::files::{self, Sealed};
use crate::io::parts::PartSummary;
use crate::io::shard::ShardPart;
use crate::stream::{Kind, Layout};
use crate::tally::{Event, Tally};

const WORK: &str = ".prep";

/// Bytes of a record: the events of a part's recordings.
const MAX_JSON: u64 = 1 << 32;

/// A dataset's folder that this run alone writes to.
pub(in crate::io) struct Folder {
    path: PathBuf,
    layout: Layout,
    /// Held until the run ends, however it ends: the system lets go of a dead process's locks.
    _lock: File,
}

/// What is to be done in a folder.
pub(in crate::io) enum Claim {
    ToDo(Folder),
    /// The same run was killed just before its last step.
    Done(Box<DatasetInfo>),
}

/// All that the dataset's description needs of a part.
#[derive(Default, Serialize, Deserialize)]
pub(in crate::io) struct PartRecord {
    /// None if no recording could be used.
    pub part: Option<PartSummary>,
    pub counts: Counts,
    pub events: Vec<Event>,
    pub rejects: Vec<Reject>,
}

impl PartRecord {
    pub fn count(&mut self, segment: &Segment, layout: &Layout) {
        self.counts.segments += 1;
        self.counts.frames += segment.codes.0.ncols() as u64;
        self.counts.seconds = self.counts.seconds + segment.duration;
        let rows = layout.streams().iter().zip(segment.codes.0.outer_iter());
        for (stream, row) in rows.filter(|(stream, _)| stream.kind == Kind::Text) {
            self.counts.text_pads += row.iter().filter(|&&id| i64::from(id) == i64::from(stream.pad)).count() as u64;
        }
    }

    /// Adds what is known of part `n`.
    pub fn add_to(self, n: usize, info: &mut DatasetInfo) {
        info.counts = info.counts.clone() + &self.counts;
        if let Some(shard) = &mut info.shard {
            shard.parts.push(ShardPart { part: n, events: self.events.len() as u64, counts: self.counts });
        }
        info.events.merge(&self.events.iter().collect::<Tally>());
        info.parts.extend(self.part);
    }
}

impl Folder {
    /// Takes a new or empty folder, or one where the same plan was broken off.
    pub fn claim(path: &Path, plan: &Value, layout: &Layout) -> Result<Claim> {
        let work = path.join(WORK);
        let plan_path = work.join("plan.json");
        // Before anything is made, so that a foreign folder stays as it is; and again once nobody else can change it.
        check_folder(path, &plan_path, plan)?;
        make(&work)?;
        let folder = Folder { path: path.to_owned(), layout: layout.clone(), _lock: files::lock(&work.join("lock"))? };
        check_folder(path, &plan_path, plan)?;
        files::remove_leftovers(path)?;
        files::remove_leftovers(&work)?;
        if !plan_path.exists() {
            remove_empty(path)?;
        } else if path.join(INFO_FILE).exists() {
            let info = Dataset::open(path)?.info().clone();
            folder.clear()?;
            return Ok(Claim::Done(Box::new(info)));
        }
        files::write_json_atomic(&plan_path, plan)?;
        files::write_atomic(&path.join(LAYOUT_FILE), layout.to_json().as_bytes())?;
        Ok(Claim::ToDo(folder))
    }

    /// The file of part `n`.
    pub fn part(&self, n: usize) -> PathBuf {
        self.path.join(DatasetInfo::part_name(n))
    }

    fn record_path(&self, n: usize) -> PathBuf {
        record_path(&self.path, n)
    }

    /// The record of a part that is done, if it is and the part is still as it was written.
    pub fn finished(&self, n: usize) -> Result<Option<PartRecord>> {
        if !self.record_path(n).exists() {
            return Ok(None);
        }
        let record = self.record(n)?;
        let whole = record.part.as_ref().is_none_or(|part| verify_part(&self.part(n), part).is_ok());
        Ok(whole.then_some(record))
    }

    /// The record of a part that is done.
    pub fn record(&self, n: usize) -> Result<PartRecord> {
        record(&self.path, n)
    }

    /// Says that part `n` is done.
    pub fn write_record(&self, n: usize, record: &PartRecord) -> Result<()> {
        files::write_json_atomic(&self.record_path(n), record)
    }

    /// Writes the ledger, the rejects, the card and, last, the description that makes the folder a dataset.
    pub fn finish(self, info: &DatasetInfo, parts: &[usize]) -> Result<()> {
        let events = |n: &usize| lines(&self.record(*n)?.events);
        let rejects = |n: &usize| lines(&self.record(*n)?.rejects);
        self.finish_with(info, &mut parts.iter().map(events), &mut parts.iter().map(rejects))
    }

    /// As [`finish`](Self::finish), with the lines from elsewhere, a few at a time.
    pub fn finish_with(&self, info: &DatasetInfo, events: &mut Lines<'_>, rejects: &mut Lines<'_>) -> Result<()> {
        self.write_lines(EVENTS_FILE, events)?;
        self.write_lines(REJECTS_FILE, rejects)?;
        files::write_atomic(&self.path.join(CARD_FILE), card(info, &self.layout).as_bytes())?;
        files::write_json_atomic(&self.path.join(INFO_FILE), info)?;
        self.clear()
    }

    fn write_lines(&self, name: &str, lines: &mut Lines<'_>) -> Result<()> {
        let path = self.path.join(name);
        let mut file = Sealed::create(&path)?;
        for lines in lines {
            file.write_all(lines?.as_bytes()).map_err(|e| Error::io("write the file", e).in_file(path.display()))?;
        }
        file.seal().map(drop)
    }

    /// Removes the records, the plan last: what is left of a killed clearing is still this run's.
    fn clear(&self) -> Result<()> {
        let work = self.path.join(WORK);
        let failed = |e| Error::io("remove the run's records", e).in_file(work.display());
        for n in recorded(&self.path)? {
            fs::remove_file(self.record_path(n)).map_err(failed)?;
        }
        for name in ["lock", "plan.json"].map(|name| work.join(name)).iter().filter(|path| path.exists()) {
            fs::remove_file(name).map_err(failed)?;
        }
        fs::remove_dir(&work).map_err(failed)
    }
}

/// Text that ends with a line's end, or is empty.
pub(in crate::io) type Lines<'a> = dyn Iterator<Item = Result<String>> + 'a;

fn record_path(folder: &Path, n: usize) -> PathBuf {
    folder.join(WORK).join(format!("part-{n:05}.json"))
}

/// The record of part `n` of an unfinished run.
pub(in crate::io) fn record(folder: &Path, n: usize) -> Result<PartRecord> {
    let path = record_path(folder, n);
    let record = serde_json::from_slice(&files::read(&path, "record of a part", MAX_JSON)?);
    record.map_err(|e| Error::malformed("record of a part", e).in_file(path.display()))
}

/// Numbers of the parts of an unfinished run that are done, in order.
pub(in crate::io) fn recorded(folder: &Path) -> Result<Vec<usize>> {
    let work = folder.join(WORK);
    let failed = |e| Error::io("list the run's records", e).in_file(work.display());
    let number = |name: &str| name.strip_prefix("part-")?.strip_suffix(".json")?.parse::<usize>().ok();
    let mut parts = Vec::new();
    for entry in fs::read_dir(&work).map_err(failed)? {
        parts.extend(entry.map_err(failed)?.file_name().to_str().and_then(number));
    }
    parts.sort_unstable();
    Ok(parts)
}

/// Whether a run is at work in a folder, or was killed there.
pub(in crate::io) fn is_unfinished(folder: &Path) -> bool {
    folder.join(WORK).is_dir()
}

fn lines<T: Serialize>(values: &[T]) -> Result<String> {
    let mut text = String::new();
    for value in values {
        text += &serde_json::to_string(value).map_err(|e| Error::malformed("event", e))?;
        text.push('\n');
    }
    Ok(text)
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io("make the folder", e).in_file(path.display()))
}

/// Sees that a folder is new, empty, or of this same plan.
fn check_folder(path: &Path, plan_path: &Path, plan: &Value) -> Result<()> {
    if plan_path.exists() {
        return check_plan(plan_path, plan);
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("open the output folder", e).in_file(path.display())),
    };
    if path.join(INFO_FILE).exists() {
        // What a run leaves that was killed in the very last step of clearing.
        _ = fs::remove_dir(path.join(WORK));
    }
    // A run that was killed before it wrote its plan leaves no more than its own folder.
    let foreign = entries.flatten().any(|entry| entry.file_name() != WORK);
    let found = match (path.join(INFO_FILE).exists(), foreign) {
        (true, _) if is_empty(path) => return Ok(()),
        (true, _) => "the folder of a finished dataset",
        (false, true) => "a folder with other files",
        (false, false) => return Ok(()),
    };
    let expected = "a new or empty folder, or one where this same run was broken off";
    Err(Error::invalid("output folder", found, expected).in_file(path.display()))
}

/// Whether a folder holds a dataset without a segment: what a run leaves of which no recording could be used.
fn is_empty(path: &Path) -> bool {
    let info = files::read(&path.join(INFO_FILE), "dataset description", MAX_JSON);
    let info = info.ok().and_then(|info| serde_json::from_slice::<DatasetInfo>(&info).ok());
    info.is_some_and(|info| info.counts.segments == 0 && info.parts.is_empty())
}

/// Removes such a dataset, its description last, so that what a killed removal leaves is still one.
fn remove_empty(path: &Path) -> Result<()> {
    for file in [INDEX_FILE, LAYOUT_FILE, EVENTS_FILE, REJECTS_FILE, CARD_FILE, INFO_FILE].map(|name| path.join(name)) {
        if file.exists() {
            fs::remove_file(&file).map_err(|e| Error::io("remove the file", e).in_file(file.display()))?;
        }
    }
    Ok(())
}

fn check_plan(path: &Path, plan: &Value) -> Result<()> {
    let found: Value = serde_json::from_slice(&files::read(path, "plan of the unfinished run", MAX_JSON)?)
        .map_err(|e| Error::malformed("plan of the unfinished run", e).in_file(path.display()))?;
    if found == *plan {
        return Ok(());
    }
    let expected = "the same input, tool version and options; or another folder";
    Err(Error::invalid("unfinished run in the output folder", "another one", expected).in_file(path.display()))
}
