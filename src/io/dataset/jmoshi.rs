//! J-Moshi's Parquet, seen as a dataset: its files are the parts.

use std::path::{Path, PathBuf};

use super::{Counts, Dataset, DatasetInfo, INDEX_FILE, Identity, LAYOUT_FILE};
use crate::error::{Error, Result};
use crate::io::files;
use crate::io::jmoshi::{JmoshiReader, is_jmoshi, layout};
use crate::io::parts::PartSummary;

/// The files that a path stands for: itself, or those of a folder. None if they are another thing.
pub(super) fn files_of(path: &Path) -> Option<Vec<PathBuf>> {
    let mut files = vec![path.to_owned()];
    if !path.is_file() {
        let entries = std::fs::read_dir(path).ok()?;
        files = entries.flatten().map(|entry| entry.path()).filter(|path| is_parquet(path)).collect();
        files.sort();
    }
    let known = !path.join(LAYOUT_FILE).exists() && is_jmoshi(files.first()?);
    known.then_some(files)
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet") && path.is_file()
}

/// Opens such files. Their lengths are known from the index, which is made at once.
pub(super) fn open(path: &Path, files: &[PathBuf]) -> Result<Dataset> {
    let (folder, index_name) = match path.is_file() {
        true => (path.parent().unwrap_or(Path::new("")), format!("{}.{INDEX_FILE}", name_of(path)?)),
        false => (path, INDEX_FILE.to_owned()),
    };
    let mut info = DatasetInfo::new(&layout(), Identity { name: "unknown".to_owned(), sha256: None }, None);
    info.tool = "nu-dialogue/moshi-finetune".to_owned();
    let mut stamp = Vec::new();
    for file in files {
        let (reader, name) = (JmoshiReader::open(file)?, name_of(file)?.to_owned());
        stamp.extend(name.bytes());
        stamp.extend(reader.stamp()?);
        info.parts.push(PartSummary {
            name,
            rows: reader.rows(),
            frames: 0,
            bytes: reader.bytes()?,
            sha256: String::new(),
        });
    }
    let mut dataset = Dataset::new(folder, layout(), info, files::sha256(&stamp));
    (dataset.index_path, dataset.shelf.jmoshi) = (folder.join(index_name), true);
    count(&mut dataset)?;
    Ok(dataset)
}

/// Fills in what the index knows.
fn count(dataset: &mut Dataset) -> Result<()> {
    let index = dataset.index()?;
    let mut frames = vec![0; dataset.info.parts.len()];
    for (n, block) in index.blocks().iter().enumerate() {
        frames[index.place(n).part] += index.frames()[block.clone()].iter().map(|&n| u64::from(n)).sum::<u64>();
    }
    let (segments, total) = (index.len() as u64, frames.iter().sum());
    for (part, frames) in dataset.info.parts.iter_mut().zip(frames) {
        part.frames = frames;
    }
    let seconds = dataset.layout.frame_rate().start_of(total as usize);
    dataset.info.counts = Counts { recordings: segments, segments, frames: total, seconds, ..Counts::default() };
    Ok(())
}

fn name_of(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| Error::invalid("file name", format!("{path:?}"), "one in Unicode"))
}
