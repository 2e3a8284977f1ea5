//! The main job: a manifest of recordings becomes a dataset folder.
//!
//! ```text
//! data.jsonl   a.wav b.wav | c.wav d.wav | ..        recordings, in the manifest's order
//!                  |             |
//!              part-00000    part-00001              a part holds a fixed number of them
//! ```
//!
//! What a part holds depends on the manifest and the options alone, not on the number of threads and not on how often
//! the run was broken off: a run that finds finished parts of the same plan goes on behind them.

mod folder;
mod source;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use self::folder::{Folder, PartRecord};
pub use self::source::CodeSource;
use super::dataset::{Counts, DatasetInfo, Identity, Reject};
use super::files;
use super::manifest::{Manifest, ManifestEntry};
use super::parts::PartWriter;
use super::words::read_words;
use crate::batch::{Segment, Split};
use crate::error::{Error, Result};
use crate::pipeline::{Prepare, Recording, check_codebooks, check_layout};
use crate::stream::{Kind, Layout};
use crate::tally::{Event, EventKind};
use crate::text::{Rule, Tokenizer, Word, tokenize};
use crate::units::Seconds;
use crate::window::Window;

/// Recordings in a part. Part of the format of an unfinished run: another number gives other parts.
const PART_RECORDINGS: usize = 256;

/// Bytes of a tokenizer; the largest published are a few million.
const MAX_TOKENIZER: u64 = 1 << 28;

/// How to prepare.
pub struct PrepOptions {
    /// The rows to fill.
    pub layout: Layout,
    /// SentencePiece model; needed if the layout has a text stream.
    pub tokenizer: Option<PathBuf>,
    /// Where codes come from.
    pub codes: CodeSource,
    /// How words become a text row.
    pub rule: Rule,
    /// The label of the speaker whose words are written.
    pub main_speaker: String,
    /// Length of a segment; whole recordings if none.
    pub window: Option<Seconds>,
    /// From one segment's start to the next one's; the window if none.
    pub hop: Option<Seconds>,
    /// Threads; has no effect on what is written.
    pub jobs: usize,
}

/// Prepares every recording of a manifest into `folder`, and tells the counts so far after each few.
///
/// A recording that cannot be used is a line in `rejects.jsonl` and the run goes on.
///
/// # Errors
/// `Invalid` if the folder holds anything but an unfinished run of the same manifest and options, or if options do not
/// fit together; `Io` if the manifest cannot be read or the dataset not be written.
pub fn prep(
    manifest: &Path,
    folder: &Path,
    options: &PrepOptions,
    progress: &mut dyn FnMut(&Counts),
) -> Result<DatasetInfo> {
    let root = manifest.parent().unwrap_or(Path::new(""));
    let job = Job::new(options, root)?;
    let mut info = job.info();
    let mut lines = Manifest::open(manifest)?;
    let mut entries = next_entries(&mut lines, root)?;
    if entries.is_empty() {
        return Err(Error::invalid("number of recordings in the manifest", 0, "at least 1"));
    }
    let plan = Plan { manifest: files::sha256_of_file(manifest)?, layout: &options.layout, info: &info };
    let plan = serde_json::to_value(plan).map_err(|e| Error::malformed("plan", e))?;
    let folder = match Folder::claim(folder, &plan, &options.layout)? {
        folder::Claim::ToDo(folder) => folder,
        folder::Claim::Done(info) => return Ok(*info),
    };
    for n in 0.. {
        if entries.is_empty() {
            break;
        }
        if folder.finished(n)?.is_none() {
            job.part(&folder, n, &entries, &info.counts, progress)?;
        }
        // Taken from the disk in either case, so that a resumed run adds up the very same numbers.
        folder.record(n)?.add_to(&mut info);
        progress(&info.counts);
        entries = next_entries(&mut lines, root)?;
    }
    folder.finish(&info)?;
    Ok(info)
}

/// What an unfinished run must share with the one that goes on.
#[derive(serde::Serialize)]
struct Plan<'a> {
    manifest: String,
    layout: &'a Layout,
    info: &'a DatasetInfo,
}

/// A recording that could not be used, by its place in the manifest, or its entry with the file it means.
type Entry = std::result::Result<(ManifestEntry, PathBuf), Reject>;

/// Entries of the next part. Bad lines are rejects; only a failing disk ends the run.
fn next_entries(manifest: &mut Manifest, root: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while entries.len() < PART_RECORDINGS {
        match manifest.next() {
            None => break,
            Some(Ok(entry)) => {
                let path = manifest.locate(&entry.path);
                entries.push(Ok((entry, path)));
            }
            Some(Err(error)) if matches!(error.kind(), crate::ErrorKind::Io { .. }) => return Err(error),
            Some(Err(error)) => entries.push(Err(Reject {
                recording: String::new(),
                line: error.position().line.unwrap_or(0),
                reason: error.relative_to(root).to_string(),
            })),
        }
    }
    Ok(entries)
}

/// What all recordings share.
struct Job<'a> {
    options: &'a PrepOptions,
    /// The manifest's folder: messages that are written name files from here on, wherever the corpus lies.
    root: &'a Path,
    tokenizer: Option<(Identity, Tokenizer)>,
    window: Option<Window>,
    pool: ThreadPool,
}

type Prepared = (Vec<Segment>, Vec<Event>);

impl<'a> Job<'a> {
    fn new(options: &'a PrepOptions, root: &'a Path) -> Result<Self> {
        let layout = &options.layout;
        check_layout(layout)?;
        if let CodeSource::Codec(codec) = &options.codes {
            let spec = codec.spec();
            let by = |e: Error| e.in_recording(format!("codec {}", spec.name));
            check_codebooks(layout, spec.codebooks).map_err(by)?;
            if spec.frame_rate != layout.frame_rate() {
                let expected = format!("{}, as the codec {} gives", spec.frame_rate, spec.name);
                return Err(Error::invalid("frame rate of the layout", layout.frame_rate(), expected));
            }
        }
        let pool = ThreadPoolBuilder::new().num_threads(options.jobs).build();
        let pool = pool.map_err(|e| Error::io("start threads", std::io::Error::other(e)))?;
        Ok(Job { options, root, tokenizer: open_tokenizer(options)?, window: window(options)?, pool })
    }

    fn info(&self) -> DatasetInfo {
        let tokenizer = self.tokenizer.as_ref().map(|(identity, _)| identity.clone());
        let mut info = DatasetInfo::new(&self.options.layout, self.options.codes.identity(), tokenizer);
        let options = serde_json::json!({
            "rule": self.options.rule.name(),
            "main_speaker": self.options.main_speaker,
            "window": self.options.window,
            "hop": self.options.hop,
        });
        info.options = options.as_object().cloned().unwrap_or_default();
        info
    }

    /// Prepares and writes one part.
    fn part(
        &self,
        folder: &Folder,
        n: usize,
        entries: &[Entry],
        before: &Counts,
        progress: &mut (dyn FnMut(&Counts) + '_),
    ) -> Result<()> {
        let mut record = PartRecord::default();
        let mut writer = PartWriter::create(&folder.part(n), &self.options.layout)?;
        // A few for each thread at a time: enough to keep all busy, and no more sound in memory than that.
        for entries in entries.chunks(4 * self.options.jobs.max(1)) {
            let prepare = || entries.par_iter().map(|entry| self.entry(entry)).collect();
            let prepared: Vec<_> = self.pool.install(prepare);
            for prepared in prepared {
                self.write(prepared, &mut writer, &mut record)?;
            }
            progress(&(before.clone() + &record.counts));
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

    fn entry(&self, entry: &Entry) -> std::result::Result<Prepared, Reject> {
        let (entry, path) = entry.as_ref().map_err(Clone::clone)?;
        self.recording(entry, path).map_err(|error| Reject {
            recording: entry.path.clone(),
            line: entry.line,
            reason: error.relative_to(self.root).to_string(),
        })
    }

    fn recording(&self, entry: &ManifestEntry, path: &Path) -> Result<Prepared> {
        let layout = &self.options.layout;
        let words = self.words(path)?;
        let coded = self.options.codes.codes(path, layout, entry.duration)?;
        let recording = Recording {
            path: entry.path.clone(),
            codes: coded.codes,
            words,
            duration: coded.duration,
            split: entry.split.unwrap_or(Split::Train),
            meta: entry.meta.clone(),
        };
        let speaker = &self.options.main_speaker;
        let prepare = Prepare { layout, rule: self.options.rule, speaker, window: self.window };
        let (segments, mut events) = prepare.segments(&recording)?;
        if coded.difference > 0 {
            let event = Event::new(EventKind::Duration, coded.difference);
            events.insert(0, Event { recording: entry.path.clone(), ..event });
        }
        Ok((segments, events))
    }

    /// Words beside the recording; they may be missing only where the layout has no text.
    fn words(&self, recording: &Path) -> Result<Vec<crate::text::PlacedWord>> {
        let path = recording.with_extension("json");
        let words: Vec<Word> = match &self.tokenizer {
            None if path.try_exists().is_ok_and(|exists| !exists) => Vec::new(),
            _ => read_words(&path, None)?.words.unwrap_or_default(),
        };
        tokenize(words, |text| match &self.tokenizer {
            Some((_, tokenizer)) => tokenizer.encode_lines(text),
            None => Ok(Vec::new()),
        })
    }
}

fn open_tokenizer(options: &PrepOptions) -> Result<Option<(Identity, Tokenizer)>> {
    let text = options.layout.streams().iter().find(|stream| stream.kind == Kind::Text);
    let (text, path) = match (text, &options.tokenizer) {
        (None, _) => return Ok(None),
        (Some(text), Some(path)) => (text, path),
        (Some(_), None) => {
            return Err(Error::invalid(
                "tokenizer",
                "missing",
                "a SentencePiece model, as the layout has a text stream",
            ));
        }
    };
    let bytes = files::read(path, "tokenizer", MAX_TOKENIZER)?;
    let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| e.in_file(path.display()))?;
    if tokenizer.len() > text.cardinality as usize {
        let expected = format!("at most {}, the cardinality of the text stream", text.cardinality);
        return Err(Error::invalid("number of pieces", tokenizer.len(), expected).in_file(path.display()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some((Identity { name, sha256: Some(files::sha256_hex(&bytes)) }, tokenizer)))
}

fn window(options: &PrepOptions) -> Result<Option<Window>> {
    let rate = options.layout.frame_rate();
    let frames = |what: &str, length: Seconds| {
        usize::try_from(rate.ceil(length))
            .ok()
            .filter(|&frames| frames > 0)
            .ok_or_else(|| Error::invalid(what, length, "a positive number of seconds"))
    };
    match (options.window, options.hop) {
        (None, None) => Ok(None),
        (None, Some(hop)) => Err(Error::invalid("hop", hop, "none without a window")),
        (Some(size), hop) => Window::new(frames("window", size)?, frames("hop", hop.unwrap_or(size))?).map(Some),
    }
}
