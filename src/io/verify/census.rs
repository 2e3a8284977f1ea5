//! What can only be said of all segments together.

use std::collections::{HashMap, HashSet};

use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::io::dataset::Counts;
use crate::io::files;
use crate::io::prep::folder::PartRecord;
use crate::stream::Layout;

/// Segments so far: ids and recordings by 96 bits of a hash, as there may be millions.
#[derive(Default)]
pub(super) struct Census {
    ids: HashSet<[u32; 3]>,
    recordings: HashMap<[u32; 3], Split>,
    sums: PartRecord,
}

impl Census {
    /// Sums over all segments.
    pub fn counts(&self) -> &Counts {
        &self.sums.counts
    }

    /// Recordings that have a segment.
    pub fn recordings(&self) -> u64 {
        self.recordings.len() as u64
    }

    /// Adds a segment, and says what it contradicts.
    pub fn add(&mut self, segment: &Segment, layout: &Layout) -> Vec<Error> {
        self.sums.count(segment, layout);
        let id = match self.ids.insert(files::short_hash(&segment.id)) {
            true => Ok(()),
            false => Err(Error::invalid("id", "another segment's as well", "one of its own")),
        };
        [id, self.check_side(segment)].into_iter().filter_map(Result::err).collect()
    }

    /// Checks that all segments of a recording are on one side of the split.
    fn check_side(&mut self, segment: &Segment) -> Result<()> {
        let first = *self.recordings.entry(files::short_hash(&segment.path)).or_insert(segment.split);
        match first == segment.split {
            true => Ok(()),
            false => Err(Error::invalid(
                "split",
                format!("{:?}", segment.split).to_lowercase(),
                "that of the recording's other segments",
            )),
        }
    }
}
