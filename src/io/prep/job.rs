//! What all recordings of a run share, and the making of one part.

use std::path::Path;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::folder::{Folder, PartRecord};
use super::source::Voices;
use super::{Entry, PrepOptions, beside};
use crate::batch::{Segment, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::io::dataset::{Counts, DatasetInfo, Identity, Reject};
use crate::io::files;
use crate::io::manifest::ManifestEntry;
use crate::io::parts::PartWriter;
use crate::pipeline::{Prepare, Recording};
use crate::tally::Event;
use crate::text::{PlacedWord, Tokenizer, Word, tokenize};

/// What all recordings share.
pub(super) struct Job<'a> {
    options: &'a PrepOptions,
    manifest: &'a Path,
    /// The manifest's folder: messages that are written name files from here on, wherever the corpus lies.
    root: &'a Path,
    tokenizer: Option<(Identity, Tokenizer)>,
    prepare: Prepare<'a>,
    pool: ThreadPool,
}

type Prepared = (Vec<Segment>, Vec<Event>);

impl<'a> Job<'a> {
    pub fn new(options: &'a PrepOptions, manifest: &'a Path) -> Result<Self> {
        let root = manifest.parent().unwrap_or(Path::new(""));
        let prepare = options.prepare()?;
        let pool = ThreadPoolBuilder::new().num_threads(options.jobs).build();
        let pool = pool.map_err(|e| Error::io("start threads", std::io::Error::other(e)))?;
        Ok(Job { options, manifest, root, tokenizer: options.open_tokenizer()?, prepare, pool })
    }

    pub fn info(&self) -> Result<DatasetInfo> {
        let tokenizer = self.tokenizer.as_ref().map(|(identity, _)| identity.clone());
        let mut info = DatasetInfo::new(&self.options.layout, self.options.codes.identity(), tokenizer);
        info.options = self.options.record()?;
        Ok(info)
    }

    /// Prepares and writes one part.
    pub fn part(
        &self,
        folder: &Folder,
        n: usize,
        entries: &[Entry],
        progress: &mut dyn FnMut(&Counts) -> Result<()>,
    ) -> Result<()> {
        let mut record = PartRecord::default();
        let mut writer = PartWriter::create(&folder.part(n), &self.options.layout)?;
        // A few for each thread at a time: enough to keep all busy, and no more sound in memory than that.
        for entries in entries.chunks(4 * self.options.jobs.max(1)) {
            let prepare = || entries.par_iter().map(|entry| self.entry(entry)).collect();
            let prepared: Vec<_> = self.pool.install(prepare);
            for prepared in prepared {
                self.write(prepared?, &mut writer, &mut record)?;
            }
            progress(&record.counts)?;
        }
        // Where the disk with the corpus is gone, nothing was wrong with the recordings.
        if record.counts.rejects > 0 {
            files::open(self.manifest)?;
        }
        // A part without rows is dropped, and its temporary file with it.
        if record.counts.segments > 0 {
            record.part = Some(writer.finish()?);
        }
        folder.write_record(n, &record)
    }

    fn write(
        &self,
        prepared: std::result::Result<Prepared, Reject>,
        writer: &mut PartWriter,
        record: &mut PartRecord,
    ) -> Result<()> {
        match prepared {
            Err(reject) => {
                record.counts.rejects += 1;
                record.rejects.push(reject);
            }
            Ok((segments, events)) => {
                record.counts.recordings += 1;
                for segment in &segments {
                    writer.write(segment)?;
                    record.count(segment, &self.options.layout);
                }
                record.events.extend(events);
            }
        }
        Ok(())
    }

    /// What a recording gives. An error is one of the machine, which would hit the next recording as well.
    fn entry(&self, entry: &Entry) -> Result<std::result::Result<Prepared, Reject>> {
        let (entry, path) = match entry {
            Ok(entry) => entry,
            Err(reject) => return Ok(Err(reject.clone())),
        };
        match self.recording(entry, path) {
            Ok(prepared) => Ok(Ok(prepared)),
            Err(error) if is_of_machine(&error) => Err(error),
            Err(error) => Ok(Err(Reject {
                recording: entry.path.clone(),
                line: entry.line,
                reason: error.relative_to(self.root).to_string(),
            })),
        }
    }

    fn recording(&self, entry: &ManifestEntry, path: &Path) -> Result<Prepared> {
        let layout = &self.options.layout;
        let transcript = beside::transcript(path, self.options, self.tokenizer.is_some())?;
        let words = transcript.words.map(|words| self.tokenize(words)).transpose()?;
        let speakers = entry.speakers(&self.options.speakers);
        let unheard = self.options.diarised;
        let voices = unheard.map(|unheard| Voices { recording: path, speakers: &speakers, unheard });
        let coded = self.options.codes.codes(path, layout, entry.duration, voices.as_ref())?;
        let recording = Recording {
            path: entry.path.clone(),
            codes: coded.codes,
            heard: coded.heard,
            words,
            regions: transcript.regions,
            duration: coded.duration,
            split: entry.split.unwrap_or_else(|| self.split(&entry.path)),
            meta: beside::meta(&entry.meta, transcript.conditions.as_deref())?,
        };
        let prepare = Prepare { speakers: &speakers, ..self.prepare };
        let (segments, events) = prepare.segments(&recording)?;
        let before = coded.events.into_iter().map(|event| Event { recording: entry.path.clone(), ..event });
        Ok((segments, before.chain(events).collect()))
    }

    fn split(&self, path: &str) -> Split {
        match self.options.valid.is_some_and(|valid| valid.holds(path)) {
            true => Split::Valid,
            false => Split::Train,
        }
    }

    fn tokenize(&self, words: Vec<Word>) -> Result<Vec<PlacedWord>> {
        match &self.tokenizer {
            Some((_, tokenizer)) => self.options.rule.tokenize(words, tokenizer),
            None => tokenize(words, |_| Ok(Vec::new())),
        }
    }
}

/// Whether the system has run out of something, or a server has gone: not the recording's fault.
fn is_of_machine(error: &Error) -> bool {
    use std::io::ErrorKind::{NotConnected, OutOfMemory, StaleNetworkFileHandle, TimedOut};
    let ErrorKind::Io { source, .. } = error.kind() else { return false };
    // Too many open files, in the system or the process, has no kind of its own.
    let files = cfg!(unix) && matches!(source.raw_os_error(), Some(23 | 24));
    files || matches!(source.kind(), NotConnected | OutOfMemory | StaleNetworkFileHandle | TimedOut)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_hit_the_next_recording_ends_the_run() {
        let is_of_machine = |number| is_of_machine(&Error::io("x", std::io::Error::from_raw_os_error(number)));
        // No memory, too many open files in the system and in the process, a server that is gone.
        assert!([12, 23, 24].into_iter().all(is_of_machine));
        assert!(!cfg!(target_os = "linux") || [107, 110, 116].into_iter().all(is_of_machine));
        // No such file, a bad sector, no permission, a folder.
        assert!(![2, 5, 13, 21].into_iter().any(is_of_machine));
    }
}
