//! Which recording, in a file that tells of several.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// How many recordings are named where one is to be chosen.
const NAMED: usize = 5;

/// What a file says, by recording.
pub struct Recordings<'a, T> {
    what: &'static str,
    found: BTreeMap<Cow<'a, str>, Vec<T>>,
}

impl<'a, T> Recordings<'a, T> {
    pub fn new(what: &'static str) -> Self {
        Recordings { what, found: BTreeMap::new() }
    }

    /// What is said of a recording.
    pub fn of(&mut self, name: impl Into<Cow<'a, str>>) -> &mut Vec<T> {
        self.found.entry(name.into()).or_default()
    }

    /// What is said of the recording with this name, or of the only one.
    pub fn choose(mut self, name: Option<&str>) -> Result<Vec<T>> {
        if let Some(said) = name.and_then(|name| self.found.remove(name)) {
            return Ok(said);
        }
        match self.found.len() {
            0 => Ok(Vec::new()),
            1 => Ok(self.found.into_values().next().unwrap_or_default()),
            count => Err(self.refused(name, count)),
        }
    }

    fn refused(&self, name: Option<&str>, count: usize) -> Error {
        let names: Vec<_> = self.found.keys().take(NAMED).map(|name| &**name).collect();
        let more = if count > NAMED { ", .." } else { "" };
        let one = name.map_or("one, or the name of one".to_owned(), |name| format!("one named {name:?}"));
        Error::malformed(
            self.what,
            format!("it tells of {count} recordings ({}{more}), expected {one}", names.join(", ")),
        )
    }
}
