//! Whether the ledger adds up to what the description says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::same;
use crate::error::{Error, Result};
use crate::io::dataset::{DatasetInfo, EVENTS_FILE, INFO_FILE, REJECTS_FILE, Reject};
use crate::io::files;
use crate::tally::{Count, EventKind};

/// Bytes of one line, so that a file without line ends is not read into memory whole.
const MAX_LINE: u64 = 1 << 24;

/// Kinds of a later version are none of ours.
#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    amount: u64,
}

/// Everything that is wrong with the ledger and the rejects.
pub(super) fn check(folder: &Path, info: &DatasetInfo) -> Vec<Error> {
    let events = events(folder, info).unwrap_or_else(|error| vec![error]);
    let rejects = rejects(folder, info).err();
    let shard = shard(info).err();
    events.into_iter().chain(rejects).chain(shard).collect()
}

fn events(folder: &Path, info: &DatasetInfo) -> Result<Vec<Error>> {
    let mut found: BTreeMap<String, Count> = BTreeMap::new();
    let mut lines = 0;
    each(&folder.join(EVENTS_FILE), "event", |line: Line| {
        lines += 1;
        let count = found.entry(line.event).or_default();
        count.events += 1;
        count.amount = count.amount.saturating_add(line.amount);
    })?;
    let mut wrong = Vec::new();
    for kind in EventKind::ALL {
        let (said, found) = (info.events.get(kind), found.get(kind.name()).copied().unwrap_or_default());
        wrong.extend(same(format!("events.{}.events", kind.name()), said.events, found.events).err());
        wrong.extend(same(format!("events.{}.amount", kind.name()), said.amount, found.amount).err());
    }
    if let Some(shard) = &info.shard {
        let said = shard.parts.iter().map(|part| part.events).sum();
        wrong.extend(same("events of the shard's parts", said, lines).err());
    }
    Ok(wrong.into_iter().map(|error| error.in_file(INFO_FILE)).collect())
}

fn rejects(folder: &Path, info: &DatasetInfo) -> Result<()> {
    let mut lines = 0;
    each(&folder.join(REJECTS_FILE), "reject", |_: Reject| lines += 1)?;
    same("counts.rejects", info.counts.rejects, lines).map_err(|e| e.in_file(INFO_FILE))
}

/// Checks that a shard's parts are those of the folder and have its segments.
fn shard(info: &DatasetInfo) -> Result<()> {
    let Some(shard) = &info.shard else { return Ok(()) };
    let filled = shard.parts.iter().filter(|part| part.counts.segments > 0);
    let names = filled.map(|part| (DatasetInfo::part_name(part.part), part.counts.segments));
    match names.eq(info.parts.iter().map(|part| (part.name.clone(), part.rows))) {
        true => Ok(()),
        false => Err(Error::invalid("parts of the shard", "others", "those of the folder").in_file(INFO_FILE)),
    }
}

/// Reads a file of JSON lines.
fn each<T: DeserializeOwned>(path: &Path, what: &str, mut take: impl FnMut(T)) -> Result<()> {
    let mut lines = BufReader::new(files::open(path)?);
    let mut text = Vec::new();
    for n in 1.. {
        text.clear();
        let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
        if read.map_err(|e| Error::io("read the file", e).in_file(path.display()))? == 0 {
            break;
        }
        let value = serde_json::from_slice(&text);
        take(value.map_err(|e| Error::malformed(what, e).on_line(n).in_file(path.display()))?);
    }
    Ok(())
}
