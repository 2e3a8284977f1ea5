//! Lines of the datasets' ledgers, in the order of the parts they are about.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::slice;

use super::inputs::{Input, Part};
use crate::error::{Error, Result};
use crate::io::dataset::EVENTS_FILE;
use crate::io::files;

/// Bytes of one line, so that a file without line ends is not read into memory whole.
const MAX_LINE: u64 = 1 << 24;

/// The lines of one of the ledger's files, one at a time. One file is open at a time: there may be thousands of shards.
pub(super) struct Ledger<'a> {
    name: &'static str,
    inputs: &'a [Input],
    parts: slice::Iter<'a, Part>,
    /// Where reading is in each dataset's file.
    at: Vec<u64>,
    open: Option<Open>,
}

struct Open {
    input: usize,
    lines: BufReader<File>,
    /// Lines to come; all there are if not known.
    left: Option<u64>,
}

impl<'a> Ledger<'a> {
    pub fn new(name: &'static str, inputs: &'a [Input], parts: &'a [Part]) -> Self {
        Ledger { name, inputs, parts: parts.iter(), at: vec![0; inputs.len()], open: None }
    }

    fn path(&self, input: usize) -> PathBuf {
        self.inputs[input].folder.join(self.name)
    }

    fn advance(&mut self) -> Result<Option<String>> {
        loop {
            if self.open.is_none() && !self.open_next()? {
                return self.check_ends().map(|()| None);
            }
            if let Some(line) = self.line()? {
                return Ok(Some(line));
            }
            self.open = None;
        }
    }

    /// Opens the file of the next part that brings lines; false if there is none.
    fn open_next(&mut self) -> Result<bool> {
        let name = self.name;
        let count = |part: &Part| if name == EVENTS_FILE { part.events } else { part.rejects() };
        let Some(part) = self.parts.by_ref().find(|part| count(part) != Some(0)) else { return Ok(false) };
        let path = self.path(part.input);
        let mut file = files::open(&path)?;
        file.seek(SeekFrom::Start(self.at[part.input])).map_err(|e| Error::io("read the ledger", e))?;
        self.open = Some(Open { input: part.input, lines: BufReader::new(file), left: count(part) });
        Ok(true)
    }

    /// Checks that no line is left: nobody would know what it is about.
    fn check_ends(&self) -> Result<()> {
        for (input, &at) in self.at.iter().enumerate() {
            let path = self.path(input);
            let length = files::open(&path)?.metadata().map_err(|e| Error::io("read the ledger", e))?.len();
            if length != at {
                let detail = "it has more lines than its parts have";
                return Err(Error::malformed("ledger", detail).in_file(path.display()));
            }
        }
        Ok(())
    }

    /// The next line of the open file; none if its share is through.
    fn line(&mut self) -> Result<Option<String>> {
        let Some(open) = self.open.as_mut().filter(|open| open.left != Some(0)) else { return Ok(None) };
        let (input, mut line) = (open.input, String::new());
        let read = open.lines.by_ref().take(MAX_LINE).read_line(&mut line);
        let wanted = open.left.map(|left| left - 1);
        open.left = wanted;
        let place = |e: Error| e.in_file(self.inputs[input].folder.join(self.name).display());
        read.map_err(|e| place(Error::io("read the ledger", e)))?;
        self.at[input] += line.len() as u64;
        match (line.ends_with('\n'), line.is_empty(), wanted) {
            (true, ..) => Ok(Some(line)),
            (false, true, None) => Ok(None),
            (false, true, Some(_)) => Err(place(Error::malformed("ledger", "it has fewer lines than its parts have"))),
            (false, false, _) => Err(place(Error::malformed("ledger", "a line has no end"))),
        }
    }
}

impl Iterator for Ledger<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
