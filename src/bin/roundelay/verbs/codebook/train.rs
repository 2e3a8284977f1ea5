//! `codebook train WAVS.. -o CODEBOOK`: tables of one's own for the codec `builtin`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use roundelay::codec::builtin::{SAMPLE_RATE, Training, features};
use roundelay::io::{Manifest, read_audio, write_atomic};
use roundelay::{Error, Result};

use crate::failure::{Failure, Outcome, note};

#[derive(clap::Args)]
pub struct Args {
    /// Recordings, folders of them (links to folders are passed over), or manifests (.jsonl): speech of any sample rate,
    /// each channel by itself; its features are held in memory, 50 to 100 MB for each hour
    #[arg(value_name = "WAVS", required = true)]
    inputs: Vec<PathBuf>,
    /// File of tables to write, which --codec builtin takes with --codec-weights
    #[arg(short, long, value_name = "CODEBOOK")]
    output: PathBuf,
    /// Seed of all draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How often all of the speech goes by while the tables follow it
    #[arg(long, value_name = "N", default_value_t = Training::default().epochs)]
    epochs: usize,
    /// Passes after that, in which codes are searched for with a beam
    #[arg(long, value_name = "N", default_value_t = Training::default().passes)]
    passes: usize,
}

/// Frames from which on each code of a table is the average of a score of them.
const ENOUGH: usize = 20 * 2048;

impl Args {
    pub fn run(self) -> Outcome {
        self.check_output()?;
        let recordings = self.recordings()?;
        let parts = analysed(&recordings)?;
        let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.view()).collect();
        if views.is_empty() {
            let folders = self.inputs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::invalid("recordings", "none", "WAV files").in_file(folders).into());
        }
        let whole = concatenate(Axis(0), &views).expect("features of one width");
        drop(parts);
        let training = Training { seed: self.seed, epochs: self.epochs, passes: self.passes, ..Training::default() };
        let tables = training.run(whole.view(), &mut say)?;
        if whole.nrows() < ENOUGH {
            note(format!("{} frames of 80 ms are few: from {ENOUGH} on it sounds better", whole.nrows()));
        }
        write_atomic(&self.output, tables.as_bytes())?;
        say(&format!("{}: {} bytes", self.output.display(), tables.as_bytes().len()));
        Ok(())
    }

    /// What would fail only after all of the training is better known before.
    fn check_output(&self) -> Outcome {
        let folder = self.output.parent().filter(|folder| *folder != Path::new(""));
        if self.output.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
            let error = Error::invalid("output", "a folder, or a file in none", "a file in a folder that is there");
            return Err(error.in_file(self.output.display()).into());
        }
        Ok(())
    }

    /// All recordings, those of a folder in the order of their paths.
    fn recordings(&self) -> std::result::Result<Vec<PathBuf>, Failure> {
        let mut found = Vec::new();
        for path in &self.inputs {
            match path.extension().is_some_and(|extension| extension == "jsonl") {
                true => manifest(path, &mut found)?,
                false if path.is_dir() => folder(path, &mut found)?,
                false => found.push(path.clone()),
            }
        }
        Ok(found)
    }
}

fn manifest(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut manifest = Manifest::open(path)?;
    while let Some(entry) = manifest.next() {
        found.push(manifest.locate(&entry?.path));
    }
    Ok(())
}

/// The recordings in a folder and the folders in it.
fn folder(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |e| Error::io("read the folder", e).in_file(path.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A link to a folder may lead back to where it lies.
        entries.push((entry.path(), entry.file_type().map_err(failed)?.is_dir()));
    }
    entries.sort();
    for (path, is_folder) in entries {
        match is_folder {
            true => folder(&path, found)?,
            false if is_recording(&path) => found.push(path),
            false => {}
        }
    }
    Ok(())
}

fn is_recording(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["wav", "wave", "flac", "ogg", "oga"].contains(&extension.to_ascii_lowercase().as_str())
}

/// Features of all channels, in the order of the recordings however many threads there are.
fn analysed(recordings: &[PathBuf]) -> Result<Vec<Array2<f32>>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (mut parts, mut said) = (Vec::new(), Instant::now());
    for some in recordings.chunks(threads) {
        std::thread::scope(|scope| {
            let work: Vec<_> = some.iter().map(|path| scope.spawn(|| channels(path))).collect();
            work.into_iter().try_for_each(|work| {
                parts.extend(work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
                Ok::<_, Error>(())
            })
        })?;
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            say(&format!("{:.2} hours analysed", hours(&parts)));
        }
    }
    say(&format!("{} recordings, {:.2} hours", recordings.len(), hours(&parts)));
    Ok(parts)
}

fn hours(parts: &[Array2<f32>]) -> f64 {
    parts.iter().map(|part| part.nrows()).sum::<usize>() as f64 * 0.08 / 3600.0
}

fn channels(path: &Path) -> Result<Vec<Array2<f32>>> {
    let audio = read_audio(path)?.resampled(SAMPLE_RATE).map_err(|e| e.in_file(path.display()))?;
    Ok(audio.channels.iter().map(|channel| features(channel)).collect())
}

/// A line of progress; nobody has to read it.
fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
