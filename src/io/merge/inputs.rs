//! The datasets that are joined: whether they go together, and the order of their parts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::dataset::{Counts, Dataset, DatasetInfo, INFO_FILE, Identity};
use crate::io::files;
use crate::io::parts::PartSummary;
use crate::io::shard::{Shard, ShardInfo, ShardPart};

/// One of the datasets.
pub(super) struct Input {
    pub folder: PathBuf,
    pub dataset: Dataset,
    /// Of its description, which has the checksums of all the rest.
    pub sha256: String,
}

impl Input {
    pub fn open(folder: &Path) -> Result<Self> {
        let dataset = Dataset::open(folder)?;
        Ok(Input { folder: folder.to_owned(), dataset, sha256: files::sha256_of_file(&folder.join(INFO_FILE))? })
    }

    /// Checks that both were made in the same way.
    pub fn check_alike(&self, other: &Input) -> Result<()> {
        let (a, b) = (self.dataset.info(), other.dataset.info());
        let layout = match self.dataset.layout() == other.dataset.layout() {
            true => a.layout.clone(),
            false => format!("another, {}", b.layout),
        };
        let tokenizer = |info: &DatasetInfo| info.tokenizer.as_ref().map_or("none".to_owned(), said);
        let mut pairs = vec![
            ("layout".to_owned(), a.layout.clone(), layout),
            ("codec".to_owned(), said(&a.codec), said(&b.codec)),
            ("tokenizer".to_owned(), tokenizer(a), tokenizer(b)),
        ];
        // Where parts end and who is held out is told by the parts themselves; shards of one run must agree on it.
        let free = self.shard().is_none() && other.shard().is_none();
        let told = |key: &&String| !free || !["part_recordings", "valid"].contains(&key.as_str());
        let keys: BTreeSet<_> = a.options.keys().chain(b.options.keys()).filter(told).collect();
        let option =
            |info: &DatasetInfo, key: &str| info.options.get(key).map_or("none".to_owned(), ToString::to_string);
        pairs.extend(keys.into_iter().map(|key| (format!("option {key}"), option(a, key), option(b, key))));
        match pairs.into_iter().find(|(_, a, b)| a != b) {
            None => Ok(()),
            Some((what, a, b)) => {
                let expected = format!("that of {}, {a}", self.folder.display());
                Err(Error::invalid(what, b, expected).in_file(other.folder.display()))
            }
        }
    }

    pub fn check_is_not(&self, output: &Path) -> Result<()> {
        let same = matches!((self.folder.canonicalize(), output.canonicalize()), (Ok(a), Ok(b)) if a == b);
        match same {
            true => Err(Error::invalid("output folder", "one of the datasets", "another").in_file(output.display())),
            false => Ok(()),
        }
    }

    fn shard(&self) -> Option<&ShardInfo> {
        self.dataset.info().shard.as_ref()
    }
}

fn said(identity: &Identity) -> String {
    let sha256 = identity.sha256.as_ref().map_or(String::new(), |sha256| format!(" with SHA-256 {sha256}"));
    format!("{}{sha256}", identity.name)
}

/// A part of the whole.
pub(super) struct Part {
    /// The dataset it is of.
    pub input: usize,
    /// Its number in the whole.
    pub number: usize,
    /// The file and its new name; none if the recordings of the part gave no segment.
    pub file: Option<(PartSummary, String)>,
    /// Sizes of what comes with it.
    pub counts: Counts,
    /// Lines that come with it; all that are left if not known.
    pub events: Option<u64>,
}

impl Part {
    pub fn rejects(&self) -> Option<u64> {
        self.events.map(|_| self.counts.rejects)
    }
}

/// All parts in their new order: datasets in the order given, and all shards of a manifest where the first of them is.
pub(super) fn joined(inputs: &[Input]) -> Result<Vec<Part>> {
    let mut manifests: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, input) in inputs.iter().enumerate() {
        if let Some(shard) = input.shard() {
            manifests.entry(&shard.manifest).or_default().push(n);
        }
    }
    let mut parts = Vec::new();
    let mut base = 0;
    for (n, input) in inputs.iter().enumerate() {
        base += match input.shard().map(|shard| &manifests[shard.manifest.as_str()]) {
            None => alone(inputs, n, base, &mut parts),
            Some(shards) if shards[0] == n => sharded(inputs, shards, base, &mut parts)?,
            Some(_) => 0,
        };
    }
    Ok(parts)
}

/// Adds the parts of a dataset that is no shard, and returns their number.
fn alone(inputs: &[Input], input: usize, base: usize, parts: &mut Vec<Part>) -> usize {
    let info = inputs[input].dataset.info();
    let file = |(i, part): (usize, &PartSummary)| Part {
        input,
        number: base + i,
        file: Some((part.clone(), DatasetInfo::part_name(base + i))),
        counts: Counts::default(),
        events: Some(0),
    };
    parts.extend(info.parts.iter().enumerate().map(file));
    // The ledger is not told apart by parts: all of it follows the last one.
    let number = base + info.parts.len();
    parts.push(Part { input, number, file: None, counts: info.counts.clone(), events: None });
    info.parts.len()
}

/// Adds the parts of all shards of a manifest, and returns their number.
fn sharded(inputs: &[Input], shards: &[usize], base: usize, parts: &mut Vec<Part>) -> Result<usize> {
    check_complete(inputs, shards)?;
    let mut found: Vec<(usize, &ShardPart)> = Vec::new();
    for &input in shards {
        found.extend(inputs[input].shard().iter().flat_map(|shard| &shard.parts).map(|part| (input, part)));
    }
    found.sort_by_key(|(_, part)| part.part);
    for (expected, (input, part)) in found.iter().enumerate() {
        if part.part != expected {
            let found = format!("part {} and no part {expected}", part.part);
            let error = Error::invalid("shards of a manifest", found, "every part once");
            return Err(error.in_file(inputs[*input].folder.display()));
        }
        let name = DatasetInfo::part_name(part.part);
        let file = inputs[*input].dataset.info().parts.iter().find(|summary| summary.name == name);
        let number = base + expected;
        parts.push(Part {
            input: *input,
            number,
            file: file.map(|summary| (summary.clone(), DatasetInfo::part_name(number))),
            counts: part.counts.clone(),
            events: Some(part.events),
        });
    }
    Ok(found.len())
}

/// Checks that every shard of a manifest is there, once.
fn check_complete(inputs: &[Input], shards: &[usize]) -> Result<()> {
    let mut there: Vec<(Shard, usize)> = Vec::new();
    there.extend(shards.iter().filter_map(|&n| Some((inputs[n].shard()?.shard, n))));
    there.sort_unstable();
    let (first, input) = there[0];
    let place = |e: Error, n: usize| e.in_file(inputs[n].folder.display());
    if let Some(twice) = there.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let found = format!("{} again", twice[1].0);
        let expected = format!("it once, as in {}", inputs[twice[0].1].folder.display());
        return Err(place(Error::invalid("shard", found, expected), twice[1].1));
    }
    if let Some((other, n)) = there.iter().find(|(shard, _)| shard.count() != first.count()) {
        let expected = format!("one of {}, as in {}", first.count(), inputs[input].folder.display());
        return Err(place(Error::invalid("shard", other, expected), *n));
    }
    let missing = (0..first.count()).find(|&index| there.get(index).is_none_or(|(shard, _)| shard.index() != index));
    match missing {
        None => Ok(()),
        Some(index) => {
            let found = format!("{} of {}", there.len(), first.count());
            let expected = format!("all of them: {index}/{} is missing", first.count());
            Err(place(Error::invalid("number of shards of a manifest", found, expected), input))
        }
    }
}
