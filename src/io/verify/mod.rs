//! Whether a dataset's folder is whole.
//!
//! ```text
//! dataset.json   parts: name, bytes, sha256, rows, frames     against the files, and every segment in them
//!                counts                                       against the sums over all segments
//!                events                                       against the lines of events.jsonl
//!                counts.rejects                               against the lines of rejects.jsonl
//! .prep          part-00000.json                              the same for parts of an unfinished run
//! ```

mod census;
mod ledger;
mod segment;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::census::Census;
use super::dataset::{Counts, Dataset, INFO_FILE, LAYOUT_FILE, verify_part};
use super::files;
use super::parts::{PartReader, PartSummary};
use super::prep::folder;
use crate::error::{Error, Result};
use crate::stream::Layout;

/// What is wrong with a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// The file, within the dataset's folder.
    pub file: String,
    /// What is wrong with it, and where.
    pub message: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// False if the run that makes the dataset is at work, or was broken off.
    pub finished: bool,
    /// Parts that were looked at.
    pub parts: usize,
    /// Segments that could be read.
    pub segments: u64,
    /// All that is wrong, in the order of parts.
    pub defects: Vec<Defect>,
}

/// Reads all of a dataset and names every defect: a file that is missing, superfluous or not what its checksum says, a
/// segment that is not as it should be, an id that comes twice, a recording on both sides of the split, a sum that is
/// another. Where a row group cannot be decoded, the first reason stands for all its segments.
///
/// Of an unfinished run's folder the parts that are there are checked. Files of other names are ignored, as readers
/// do, unless they are Parquet, which others' readers would take for parts.
///
/// # Errors
/// `Invalid` if the folder holds no dataset; `Io` if it cannot be listed.
pub fn verify(folder: &Path) -> Result<Verified> {
    let mut check = Check::new(folder);
    let finished = folder.join(INFO_FILE).exists();
    match finished {
        true => check.dataset()?,
        false if folder::is_unfinished(folder) => {
            let checked = check.unfinished();
            // The run has ended meanwhile, and taken its records along.
            if folder.join(INFO_FILE).exists() {
                return verify(folder);
            }
            checked?;
        }
        false => {
            Dataset::open(folder)?;
            let detail = format!("verify checks folders with {INFO_FILE}, as prep writes them");
            return Err(Error::unsupported("a dataset of another form", detail).in_file(folder.display()));
        }
    }
    let Check { parts, defects, census, .. } = check;
    Ok(Verified { finished, parts, segments: census.counts().segments, defects })
}

/// One check on its way.
struct Check<'a> {
    folder: &'a Path,
    census: Census,
    parts: usize,
    defects: Vec<Defect>,
    /// Whether every segment was read, so that sums mean something.
    whole: bool,
}

impl<'a> Check<'a> {
    fn new(folder: &'a Path) -> Self {
        Check { folder, census: Census::default(), parts: 0, defects: Vec::new(), whole: true }
    }

    /// Keeps an error as a defect of the file it names.
    fn tell(&mut self, error: Error) {
        let error = error.relative_to(self.folder);
        let file = error.position().file.clone().unwrap_or_default();
        self.defects.push(Defect { file, message: error.to_string() });
    }

    fn expect(&mut self, file: &str, result: Result<()>) {
        if let Err(error) = result {
            self.tell(error.in_file(file));
        }
    }

    fn dataset(&mut self) -> Result<()> {
        let dataset = match Dataset::open(self.folder) {
            Ok(dataset) => dataset,
            Err(error) => {
                self.tell(error);
                return Ok(());
            }
        };
        let info = dataset.info();
        let mut names = BTreeSet::new();
        for part in &info.parts {
            if names.insert(part.name.as_str()) {
                self.part(&dataset.part_path(part), part, dataset.layout());
            } else {
                let twice = Error::invalid("part", format!("{} again", part.name), "each once");
                self.expect(INFO_FILE, Err(twice));
            }
        }
        self.sums(&info.counts);
        let ledger = ledger::check(self.folder, info);
        ledger.into_iter().for_each(|error| self.tell(error));
        self.orphans(&names)
    }

    /// Compares what was counted with what the description says.
    fn sums(&mut self, said: &Counts) {
        if !self.whole {
            return;
        }
        let counts = self.census.counts();
        let numbers = [
            ("recordings", said.recordings, self.census.recordings()),
            ("segments", said.segments, counts.segments),
            ("frames", said.frames, counts.frames),
            ("text_pads", said.text_pads, counts.text_pads),
        ];
        let (seconds, found) = (said.seconds.to_f64(), counts.seconds.to_f64());
        for (name, said, found) in numbers {
            self.expect(INFO_FILE, same(format!("counts.{name}"), said, found));
        }
        // Sums of parts are rounded to doubles on the way.
        if (seconds - found).abs() > 1e-6 + 1e-9 * found {
            self.expect(INFO_FILE, same("counts.seconds", seconds, found));
        }
    }

    /// Names files that would be taken for parts, and those that killed writers left.
    fn orphans(&mut self, names: &BTreeSet<&str>) -> Result<()> {
        for name in list(self.folder)? {
            if name.ends_with(".parquet") && !names.contains(name.as_str()) {
                let error = Error::invalid("file", "a part that nobody knows", format!("one of those in {INFO_FILE}"));
                self.expect(&name, Err(error));
            } else if files::is_leftover(&name) {
                let error = Error::invalid("file", "left by a run that was killed", "none: it may be deleted");
                self.expect(&name, Err(error));
            }
        }
        Ok(())
    }

    /// Checks what an unfinished run has written. A part without a record was finished just before the run was broken
    /// off: it will be made again, and should be whole all the same.
    fn unfinished(&mut self) -> Result<()> {
        let layout = match self.layout() {
            Ok(layout) => layout,
            Err(error) => {
                self.tell(error);
                return Ok(());
            }
        };
        let mut names = BTreeSet::new();
        for n in folder::recorded(self.folder)? {
            match folder::record(self.folder, n) {
                Err(error) => self.tell(error),
                Ok(record) => {
                    let Some(part) = record.part else { continue };
                    let path = self.folder.join(&part.name);
                    match &layout {
                        Some(layout) => self.part(&path, &part, layout),
                        None => self.expect(LAYOUT_FILE, Err(Error::invalid("layout", "missing", "beside parts"))),
                    }
                    names.insert(part.name);
                }
            }
        }
        for name in list(self.folder)?.into_iter().filter(|name| name.ends_with(".parquet") && !names.contains(name)) {
            self.read(&self.folder.join(&name), layout.as_ref(), None);
        }
        Ok(())
    }

    /// The layout, which a run that has just begun has not written.
    fn layout(&self) -> Result<Option<Layout>> {
        let path = self.folder.join(LAYOUT_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text(&path, "layout", 1 << 28)?;
        Layout::from_json(&text).map(Some).map_err(|e| e.in_file(path.display()))
    }

    /// Checks a part that a description knows.
    fn part(&mut self, path: &Path, part: &PartSummary, layout: &Layout) {
        match path.metadata() {
            Err(error) => {
                self.whole = false;
                let error = match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        Error::invalid("part", "missing", format!("{} segments", part.rows))
                    }
                    _ => Error::io("open the file", error),
                };
                return self.tell(error.in_file(path.display()));
            }
            Ok(there) if there.len() != part.bytes => {
                let expected = format!("{}, as in {INFO_FILE}", part.bytes);
                self.expect(&part.name, Err(Error::invalid("size in bytes", there.len(), expected)));
            }
            Ok(_) => {}
        }
        if let Err(error) = verify_part(path, part) {
            self.tell(error);
        }
        self.read(path, Some(layout), Some(part));
    }

    /// Reads a part through.
    fn read(&mut self, path: &Path, layout: Option<&Layout>, part: Option<&PartSummary>) {
        self.parts += 1;
        let before = self.census.counts().clone();
        let readable = match PartReader::open(path) {
            Err(error) => {
                self.tell(error);
                false
            }
            Ok(reader) => {
                self.check_layout(path, reader.layout(), layout);
                (0..reader.groups()).filter(|&group| !self.group(&reader, path, group)).count() == 0
            }
        };
        self.whole &= readable;
        let Some(part) = part.filter(|_| readable) else { return };
        let counts = self.census.counts();
        let (rows, frames) = (counts.segments - before.segments, counts.frames - before.frames);
        self.expect(&part.name, same("number of segments", part.rows, rows));
        self.expect(&part.name, same("number of frames", part.frames, frames));
    }

    fn check_layout(&mut self, path: &Path, found: &Layout, expected: Option<&Layout>) {
        if let Some(expected) = expected.filter(|expected| **expected != *found) {
            let expected = format!("that of {LAYOUT_FILE}, {:?}", expected.name());
            let error = Error::invalid("layout", format!("another, {:?}", found.name()), expected);
            self.tell(error.in_file(path.display()));
        }
    }

    /// Reads a row group; false if it cannot be decoded.
    fn group(&mut self, reader: &PartReader, path: &Path, group: usize) -> bool {
        let segments = match reader.group(group) {
            Ok(segments) => segments,
            Err(error) => {
                self.tell(error);
                return false;
            }
        };
        for segment in segments {
            let mut errors = segment::check(&segment, reader.layout());
            errors.extend(self.census.add(&segment, reader.layout()));
            errors.into_iter().for_each(|e| self.tell(e.in_recording(&segment.id).in_file(path.display())));
        }
        true
    }
}

fn same<T: PartialEq + fmt::Display>(what: impl Into<String>, said: T, found: T) -> Result<()> {
    match said == found {
        true => Ok(()),
        false => Err(Error::invalid(what, said, format!("{found}, as there are"))),
    }
}

/// Names of the files in a folder, in order.
fn list(folder: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io("list the folder", e).in_file(folder.display());
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<PathBuf>>>();
    let mut names: Vec<_> =
        paths.map_err(failed)?.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect();
    names.sort_unstable();
    Ok(names)
}
