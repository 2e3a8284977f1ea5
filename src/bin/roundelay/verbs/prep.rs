//! `prep MANIFEST -o DIR`: the main job

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use roundelay::Seconds;
use roundelay::codec::Builtin;
use roundelay::io::{CodeSource, Counts, Manifest, PrepOptions, prep};
use roundelay::report::Summary;

use crate::args::{self, Rule};
use crate::failure::{Failure, Outcome, note};

#[derive(clap::Args)]
pub struct Args {
    /// JSON lines, {"path": "a.wav", "duration": 12.3}, paths relative to it; words in a.json beside a.wav
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Folder to write: new, empty, or of this same run broken off
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Preset name, layout file or Kyutai's config.json
    #[arg(long, value_name = "L", default_value = "moshi-7b")]
    layout: String,
    /// SentencePiece model; needed if the layout has a text stream
    #[arg(long, value_name = "M")]
    tokenizer: Option<PathBuf>,
    /// Where codes come from
    #[arg(long, value_enum, value_name = "C", default_value_t = Codec::Builtin)]
    codec: Codec,
    /// With --codec codes: what follows the recording's name, as .mimi.npy [default: .safetensors, .npz or .npy]
    #[arg(long, value_name = "S")]
    codes_suffix: Option<String>,
    /// How words go on the grid
    #[arg(long, value_enum, default_value_t = Rule::Moshi)]
    rule: Rule,
    /// The speaker whose words are written
    #[arg(long, value_name = "NAME", default_value = "SPEAKER_MAIN")]
    main_speaker: String,
    /// Cut recordings into windows of so many seconds
    #[arg(long, value_name = "SECONDS")]
    window: Option<Seconds>,
    /// From one window's start to the next one's [default: the window]
    #[arg(long, value_name = "SECONDS", requires = "window")]
    hop: Option<Seconds>,
    /// Threads; the output does not depend on them [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Exit with status 1 if any recording could not be used
    #[arg(long)]
    strict: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq)]
enum Codec {
    /// The embedded codec, for trying things out: 24 kHz, 12.5 frames a second, 8 codebooks
    Builtin,
    /// Codes already made, from a file beside the recording
    Codes,
}

impl Args {
    pub fn run(self) -> Outcome {
        let options = self.options()?;
        let total = Manifest::open(&self.manifest)?.count() as u64;
        let mut progress = Progress::new(total);
        let info = prep(&self.manifest, &self.output, &options, &mut |counts| progress.show(counts));
        progress.end();
        let info = info?;
        writeln!(anstream::stdout(), "{}", Summary { info: &info, layout: &options.layout })?;
        let counts = &info.counts;
        if counts.recordings > 0 && counts.text_pads == counts.frames {
            note(format!("no word was written: is no speaker called {:?}?", self.main_speaker));
        }
        let reasons = self.output.join(roundelay::io::REJECTS_FILE);
        let rejected = |what: &str| format!("{what} could not be used; {} says why", reasons.display());
        match (counts.recordings, counts.rejects) {
            (_, 0) => Ok(()),
            (0, n) => Err(Failure::Incomplete(rejected(&format!("none of the {n} recordings")))),
            (_, n) if self.strict => Err(Failure::Incomplete(rejected(&format!("{n} recordings")))),
            (_, n) => {
                note(rejected(&format!("{n} recordings")));
                Ok(())
            }
        }
    }

    fn options(&self) -> Result<PrepOptions, Failure> {
        let codes = match (self.codec, &self.codes_suffix) {
            (Codec::Builtin, None) => CodeSource::Codec(Box::new(Builtin::new())),
            (Codec::Builtin, Some(_)) => return Err(Failure::Usage("--codes-suffix goes with --codec codes".into())),
            (Codec::Codes, suffix) => CodeSource::Files { suffix: suffix.clone() },
        };
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(PrepOptions {
            layout: args::layout(&self.layout)?,
            tokenizer: self.tokenizer.clone(),
            codes,
            rule: self.rule.into(),
            main_speaker: self.main_speaker.clone(),
            window: self.window,
            hop: self.hop,
            jobs: self.jobs.map_or_else(cores, usize::from),
        })
    }
}

/// A bar on a terminal, and a plain line now and then otherwise.
struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    last: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(10);

    fn new(total: u64) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} recordings, {elapsed} of about {duration}, {msg}");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(total));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Progress { bar, total, last: Instant::now() }
    }

    fn show(&mut self, counts: &Counts) {
        let done = counts.recordings + counts.rejects;
        let hours = format!("{:.2} h of sound, {} rejects", counts.seconds.to_f64() / 3600.0, counts.rejects);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(hours);
            }
            None if self.last.elapsed() >= Self::EVERY => {
                self.last = Instant::now();
                let _ = writeln!(anstream::stderr(), "{done}/{} recordings, {hours}", self.total);
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
