//! The manifest in parts.
//!
//! ```text
//! recordings   a b c d | e f g h | i j      as many as a part holds, fewer where they are long
//! part            0         1       2
//! ```

use std::path::{Path, PathBuf};

use super::PrepOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::io::dataset::Reject;
use crate::io::manifest::{Manifest, ManifestEntry};
use crate::io::shard::{Shard, deal};
use crate::units::Seconds;

/// A part ends once the manifest says that so many hours are in it: recordings may be hours long, and what a killed run
/// loses is a part.
const PART_HOURS: u64 = 8;

/// A recording that could not be used, by its place in the manifest, or its entry with the file it means.
pub(super) type Entry = std::result::Result<(ManifestEntry, PathBuf), Reject>;

/// The entries of each part, in order. Bad lines are rejects; only a failing disk ends it early.
pub(super) struct Entries {
    manifest: Manifest,
    root: PathBuf,
    recordings: usize,
}

impl Entries {
    pub fn open(manifest: &Path, options: &PrepOptions) -> Result<Self> {
        let root = manifest.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Entries { manifest: Manifest::open(manifest)?, root, recordings: options.part_recordings.max(1) })
    }

    fn entry(&self, line: Result<ManifestEntry>) -> Result<Entry> {
        match line {
            Ok(entry) => {
                let path = self.manifest.locate(&entry.path);
                Ok(Ok((entry, path)))
            }
            Err(error) if matches!(error.kind(), ErrorKind::Io { .. }) => Err(error),
            Err(error) => Ok(Err(Reject {
                recording: String::new(),
                line: error.position().line.unwrap_or(0),
                reason: error.relative_to(&self.root).to_string(),
            })),
        }
    }

    fn part(&mut self) -> Result<Vec<Entry>> {
        let (mut entries, mut seconds) = (Vec::new(), Seconds::ZERO);
        while entries.len() < self.recordings && seconds < Seconds::of_samples(PART_HOURS * 3600, 1) {
            let Some(line) = self.manifest.next() else { break };
            let entry = self.entry(line)?;
            seconds = seconds + duration(&entry).unwrap_or(Seconds::ZERO);
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl Iterator for Entries {
    type Item = Result<Vec<Entry>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.part().map(|entries| Some(entries).filter(|entries| !entries.is_empty())).transpose()
    }
}

fn duration(entry: &Entry) -> Option<Seconds> {
    entry.as_ref().ok().and_then(|(entry, _)| entry.duration)
}

/// What the manifest says of each part, read beforehand.
pub(super) struct Survey(Vec<Load>);

/// What a part will take, as far as is known.
#[derive(Default)]
struct Load {
    seconds: f64,
    timed: u64,
    untimed: u64,
    /// Lines that could not be read.
    bad: u64,
}

impl Survey {
    /// # Errors
    /// `Io`; `Invalid` if there is no recording.
    pub fn read(manifest: &Path, options: &PrepOptions) -> Result<Self> {
        let loads = Entries::open(manifest, options)?.map(|entries| entries.map(|entries| Load::of(&entries)));
        let loads: Vec<_> = loads.collect::<Result<_>>()?;
        match loads.is_empty() {
            true => Err(Error::invalid("number of recordings in the manifest", 0, "at least 1")),
            false => Ok(Survey(loads)),
        }
    }

    /// Numbers of the parts of a shard, or of all.
    pub fn parts(&self, shard: Option<Shard>) -> Vec<usize> {
        let Some(shard) = shard else { return (0..self.0.len()).collect() };
        let owners = deal(self.loads(), shard.count());
        (0..owners.len()).filter(|&part| owners[part] == shard.index()).collect()
    }

    /// Lines of these parts.
    pub fn lines(&self, parts: &[usize]) -> u64 {
        parts.iter().map(|&part| self.0[part].lines()).sum()
    }

    /// Seconds of each part. A recording that nobody timed counts as the mean of the others, and as one second if there
    /// are none.
    fn loads(&self) -> impl Iterator<Item = f64> + '_ {
        let timed: u64 = self.0.iter().map(|load| load.timed).sum();
        let mean = if timed > 0 { self.0.iter().map(|load| load.seconds).sum::<f64>() / timed as f64 } else { 1.0 };
        self.0.iter().map(move |load| load.seconds + mean * load.untimed as f64)
    }
}

impl Load {
    fn of(entries: &[Entry]) -> Self {
        let mut load = Load::default();
        for entry in entries {
            match (entry, duration(entry)) {
                (Err(_), _) => load.bad += 1,
                (Ok(_), None) => load.untimed += 1,
                (Ok(_), Some(seconds)) => {
                    load.timed += 1;
                    load.seconds += seconds.to_f64();
                }
            }
        }
        load
    }

    fn lines(&self) -> u64 {
        self.timed + self.untimed + self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::CodeSource;
    use crate::stream::Layout;

    fn survey(lines: &[&str], recordings: usize) -> Survey {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        let mut options =
            PrepOptions::new(Layout::preset("delay-1").unwrap(), None, CodeSource::Files { suffix: None });
        options.part_recordings = recordings;
        Survey::read(&path, &options).unwrap()
    }

    #[test]
    fn what_is_not_timed_counts_as_the_mean() {
        let lines = [r#"{"path":"a","duration":2}"#, r#"{"path":"b"}"#, "bad", r#"{"path":"c","duration":4.5}"#];
        let survey = survey(&lines, 2);
        assert_eq!(survey.loads().collect::<Vec<_>>(), [2.0 + 3.25, 4.5]);
        assert_eq!((survey.lines(&[0, 1]), survey.lines(&[1]), survey.parts(None)), (4, 2, vec![0, 1]));
        let shard = |text: &str| survey.parts(Some(text.parse().unwrap()));
        assert_eq!((shard("0/3"), shard("1/3"), shard("2/3")), (vec![0], vec![1], vec![]));
    }

    #[test]
    fn without_times_recordings_are_counted() {
        let survey = survey(&[r#"{"path":"a"}"#, r#"{"path":"b"}"#, r#"{"path":"c"}"#], 2);
        assert_eq!(survey.loads().collect::<Vec<_>>(), [2.0, 1.0]);
    }

    #[test]
    fn long_recordings_end_a_part_early() {
        let lines: Vec<_> = (0..5).map(|n| format!(r#"{{"path":"{n}","duration":14400}}"#)).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(survey(&lines, 256).loads().collect::<Vec<_>>(), [28_800.0, 28_800.0, 14_400.0]);
    }
}
