//! A training run in a folder, to be broken off at any moment and gone on with.
//!
//! ```text
//! run.json                          what is trained, on what, by what: the same for the whole run
//! layout.json                       of what it reads and says
//! curve.jsonl                       a Point for each step and each evaluation
//! checkpoint.json                   the last checkpoint: its step, its file and where the order of batches goes on
//! checkpoint-00000400.safetensors   all that the backend needs to go on
//! lock                              held by the one process that may write
//! ```
//!
//! A checkpoint counts once `checkpoint.json` names it. Lines of the curve behind it are taken back when the run goes on,
//! so that a run that was broken off leaves the same files as one that was not.

mod curve;
mod training;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{self, Sealed};
use super::{LAYOUT_FILE, remove_leftovers, write_atomic, write_json_atomic};
use crate::backend::TrainBackend;
use crate::batch::Position;
use crate::error::{Error, Result};
use crate::stream::Layout;

pub use curve::Point;
pub use training::{Data, Schedule};

const PLAN_FILE: &str = "run.json";
const CURVE_FILE: &str = "curve.jsonl";
const CHECKPOINT_FILE: &str = "checkpoint.json";

/// Bytes of a plan or a description; larger ones are no such thing.
const MAX_JSON: u64 = 1 << 24;

/// A run's folder that this process alone writes to.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    last: Option<Checkpoint>,
    /// The step that was begun last.
    begun: u64,
    _lock: File,
}

/// What a run goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Optimisation steps that it has behind it.
    pub step: u64,
    /// Where the order of batches goes on.
    pub position: Position,
    /// Name of the backend's file.
    pub file: String,
    /// Its hash, in hexadecimal.
    pub sha256: String,
}

impl Run {
    /// Makes the folder, or goes on with what it holds.
    ///
    /// `plan` is all that decides what comes out, as the caller writes it down.
    ///
    /// # Errors
    /// `Invalid` if the folder holds something else, a run of another plan (with the first key that differs), or is in use;
    /// `Io`.
    pub fn open(folder: &Path, layout: &Layout, plan: &Value) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| Error::io("create the run's folder", e).in_file(folder.display()))?;
        check_ours(folder)?;
        let lock = files::lock(&folder.join("lock"))?;
        check_ours(folder)?;
        remove_leftovers(folder)?;
        let last = checkpoint(folder)?;
        // Before the first checkpoint nothing is there to go on with: a command that was wrong may be mended.
        match last {
            Some(_) => check_plan(&folder.join(PLAN_FILE), plan)?,
            None => write_json_atomic(&folder.join(PLAN_FILE), plan)?,
        }
        write_atomic(&folder.join(LAYOUT_FILE), layout.to_json().as_bytes())?;
        remove_others(folder, last.as_ref())?;
        let begun = last.as_ref().map_or(0, |last| last.step);
        Ok(Run { folder: folder.to_owned(), last, begun, _lock: lock })
    }

    /// What the run goes on from; none before its first checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// The number of the step that was begun last, from 1: where an error came from.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// All points so far.
    ///
    /// # Errors
    /// `Malformed`, with the line; `Io`.
    pub fn curve(&self) -> Result<Vec<Point>> {
        curve::read(&self.folder.join(CURVE_FILE))
    }

    /// Has a backend take the state of the last checkpoint.
    ///
    /// # Errors
    /// As [`load_checkpoint`].
    pub fn load(&self, backend: &mut impl TrainBackend) -> Result<()> {
        self.last.as_ref().map_or(Ok(()), |last| load_checkpoint(&self.folder, last, backend))
    }

    /// Keeps a backend's state, and drops the checkpoint before the last.
    fn save(&mut self, backend: &mut impl TrainBackend, step: u64, position: Position) -> Result<()> {
        let file = format!("checkpoint-{step:08}.safetensors");
        let mut sealed = Sealed::create(&self.folder.join(&file))?;
        backend.save(&mut sealed)?;
        let checkpoint = Checkpoint { step, position, sha256: sealed.seal()?.sha256, file };
        write_json_atomic(&self.folder.join(CHECKPOINT_FILE), &checkpoint)?;
        self.last = Some(checkpoint);
        remove_others(&self.folder, self.last.as_ref())
    }
}

/// The plan, the layout and the last checkpoint of a run that this process does not write to.
///
/// # Errors
/// `Invalid` if there is no checkpoint yet; `Malformed`; `Io`.
pub fn read_run(folder: &Path) -> Result<(Value, Layout, Checkpoint)> {
    let plan = read_json(&folder.join(PLAN_FILE), "run")?;
    let path = folder.join(LAYOUT_FILE);
    let text = files::read_text(&path, "layout", MAX_JSON)?;
    let layout = Layout::from_json(&text).map_err(|e| e.in_file(path.display()))?;
    let last = checkpoint(folder)?;
    let missing = || Error::invalid("number of checkpoints", 0, "at least 1").in_file(folder.display());
    Ok((plan, layout, last.ok_or_else(missing)?))
}

/// Has a backend take a checkpoint's state.
///
/// # Errors
/// `Invalid` if the file is not as it was written; those of [`TrainBackend::load`], with the file; `Io`.
pub fn load_checkpoint(folder: &Path, checkpoint: &Checkpoint, backend: &mut impl TrainBackend) -> Result<()> {
    let path = folder.join(&checkpoint.file);
    let found = files::sha256_of_file(&path)?;
    if found != checkpoint.sha256 {
        return Err(Error::invalid("SHA-256 of the checkpoint", found, &checkpoint.sha256).in_file(path.display()));
    }
    backend.load(&mut BufReader::new(files::open(&path)?)).map_err(|e| e.in_file(path.display()))
}

/// Whether [`Run::save`] gives such names.
fn is_checkpoint(name: &str) -> bool {
    let number = name.strip_prefix("checkpoint-").and_then(|name| name.strip_suffix(".safetensors"));
    number.is_some_and(|number| number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Removes the checkpoints that are not the last: one before it, or one behind it that was not named yet.
fn remove_others(folder: &Path, last: Option<&Checkpoint>) -> Result<()> {
    let failed = |e| Error::io("remove old checkpoints", e).in_file(folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let kept = last.is_some_and(|last| name == last.file.as_str());
        if !kept && name.to_str().is_some_and(is_checkpoint) {
            fs::remove_file(folder.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}

fn checkpoint(folder: &Path) -> Result<Option<Checkpoint>> {
    let path = folder.join(CHECKPOINT_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let found: Checkpoint = serde_json::from_value(read_json(&path, "checkpoint")?)
        .map_err(|e| Error::malformed("checkpoint", e).in_file(path.display()))?;
    // It is joined to the folder's path.
    match Path::new(&found.file).file_name().is_some_and(|name| name == found.file.as_str()) {
        true => Ok(Some(found)),
        false => Err(Error::invalid("file of the checkpoint", found.file, "a plain name").in_file(path.display())),
    }
}

fn read_json(path: &Path, what: &str) -> Result<Value> {
    let text = files::read_text(path, what, MAX_JSON)?;
    serde_json::from_str(&text).map_err(|e| Error::malformed(what, e).in_file(path.display()))
}

/// What is there already is a run's, or the folder is empty. Looked at before anything is written, and again once nobody
/// else can.
fn check_ours(folder: &Path) -> Result<()> {
    if folder.join(PLAN_FILE).exists() {
        return Ok(());
    }
    let failed = |e| Error::io("read the run's folder", e).in_file(folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // What a run leaves that was killed before it wrote its plan.
        if name != LAYOUT_FILE && name != "lock" && !name.to_str().is_some_and(files::is_leftover) {
            let expected = "an empty folder, or one that holds a run";
            return Err(Error::invalid("run's folder", name.display(), expected).in_file(folder.display()));
        }
    }
    Ok(())
}

fn check_plan(path: &Path, plan: &Value) -> Result<()> {
    let found = read_json(path, "run")?;
    match difference(&found, plan) {
        None => Ok(()),
        Some((key, found, given)) => {
            let expected = format!("{given}, as this command has it; another folder begins another run");
            Err(Error::invalid(format!("the run's {key}"), found, expected).in_file(path.display()))
        }
    }
}

/// The first key at which two values differ, and what they have there.
fn difference(a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    let (Some(left), Some(right)) = (a.as_object(), b.as_object()) else {
        return (a != b).then(|| (String::new(), a.clone(), b.clone()));
    };
    let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
    let at = |map: &serde_json::Map<String, Value>, key| map.get(key).cloned().unwrap_or(Value::Null);
    keys.into_iter().find_map(|key| {
        let (inner, found, given) = difference(&at(left, key), &at(right, key))?;
        Some((if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") }, found, given))
    })
}
