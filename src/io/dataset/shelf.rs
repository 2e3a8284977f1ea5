//! The parts of a dataset, the last used of them open.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::cache::lock;
use super::{DatasetInfo, INFO_FILE, LAYOUT_FILE};
use crate::error::{Error, Result};
use crate::io::jmoshi::JmoshiReader;
use crate::io::parts::{PartReader, RowGroups};
use crate::stream::Layout;

/// Parts open at once: systems allow some hundreds of files.
const OPEN: usize = 64;

pub(super) struct Shelf {
    paths: Vec<PathBuf>,
    rows: Vec<u64>,
    layout: Layout,
    /// Whether they are files of J-Moshi's.
    pub jmoshi: bool,
    /// The last used is last.
    open: Mutex<VecDeque<(usize, Arc<dyn RowGroups>)>>,
}

impl Shelf {
    pub fn new(folder: &Path, layout: &Layout, info: &DatasetInfo) -> Self {
        Shelf {
            paths: info.parts.iter().map(|part| folder.join(&part.name)).collect(),
            rows: info.parts.iter().map(|part| part.rows).collect(),
            layout: layout.clone(),
            jmoshi: false,
            open: Mutex::default(),
        }
    }

    pub fn path(&self, part: usize) -> &Path {
        &self.paths[part]
    }

    /// A part, opened if it is not.
    pub fn part(&self, part: usize) -> Result<Arc<dyn RowGroups>> {
        if let Some(reader) = self.opened(part) {
            return Ok(reader);
        }
        // Two threads may open it both, which is no harm.
        let reader: Arc<dyn RowGroups> = match self.jmoshi {
            true => Arc::new(JmoshiReader::open(self.path(part))?),
            false => Arc::new(self.open(part)?),
        };
        let mut open = lock(&self.open);
        open.push_back((part, reader.clone()));
        if open.len() > OPEN {
            open.pop_front();
        }
        Ok(reader)
    }

    fn opened(&self, part: usize) -> Option<Arc<dyn RowGroups>> {
        let mut open = lock(&self.open);
        let at = open.iter().position(|(other, _)| *other == part)?;
        let entry = open.remove(at)?;
        let reader = entry.1.clone();
        open.push_back(entry);
        Some(reader)
    }

    /// Opens a part, and sees that it is of this dataset.
    fn open(&self, part: usize) -> Result<PartReader> {
        let path = self.path(part);
        let reader = PartReader::open(path)?;
        if *reader.layout() != self.layout {
            let expected = format!("that of {LAYOUT_FILE}, {:?}", self.layout.name());
            return Err(Error::invalid("layout", format!("another, {:?}", reader.layout().name()), expected)
                .in_file(path.display()));
        }
        if reader.rows() != self.rows[part] {
            let expected = format!("{}, as in {INFO_FILE}", self.rows[part]);
            return Err(Error::invalid("number of segments", reader.rows(), expected).in_file(path.display()));
        }
        Ok(reader)
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("paths", &self.paths).finish_non_exhaustive()
    }
}
