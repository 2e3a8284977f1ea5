//! `prep MANIFEST -o DIR`: the main job

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use roundelay::io::{CodeSource, PrepOptions, PrepProgress, Shard, ValidShare, WordsFormat, prep};
use roundelay::pipeline::Speakers;
use roundelay::report::Summary;
use roundelay::tally::EventKind;
use roundelay::text::{Rule, Tokenizer};
use roundelay::{Kind, Layout, Seconds, pipeline, window};

use crate::args::{self, CodecName, CodecOptions, RuleArgs, WholeArg};
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
    #[command(flatten)]
    codec_options: CodecOptions,
    #[command(flatten)]
    whole: WholeArg,
    /// With --codec codes: what follows the recording's name, as .mimi.npy [default: .safetensors, .npz or .npy]
    #[arg(long, value_name = "S")]
    codes_suffix: Option<String>,
    /// What follows the recording's name in its words' file, as .words.json [default: .json, .TextGrid, .ctm or .jsonl]
    #[arg(long, value_name = "S")]
    words_suffix: Option<String>,
    /// The words' format: moshi-finetune, jmoshi, whisperx, textgrid, ctm or lhotse [default: by extension and content]
    #[arg(long, value_name = "F")]
    words_format: Option<WordsFormat>,
    #[command(flatten)]
    rule: RuleArgs,
    /// The label of the layout's main speaker in words and speaker segments
    #[arg(long, value_name = "NAME", default_value = "SPEAKER_MAIN")]
    main_speaker: String,
    /// The label of another speaker of the layout, as other=B; once for each [default: the only other label]
    #[arg(long, value_name = "SPEAKER=NAME", value_parser = speaker)]
    speaker: Vec<(String, String)>,
    /// Tell the speakers of a recording of one channel apart by the .rttm file beside it
    #[arg(long, value_enum, value_name = "U")]
    diarised: Option<Unheard>,
    /// Cut recordings into windows of so many seconds, rounded up to whole frames
    #[arg(long, value_name = "SECONDS")]
    window: Option<Seconds>,
    /// From one window's start to the next one's [default: the window]
    #[arg(long, value_name = "SECONDS", requires = "window")]
    hop: Option<Seconds>,
    /// What becomes of words that a window's border cuts
    #[arg(long, value_enum, value_name = "B", default_value_t = Border::Start)]
    border: Border,
    /// Hold out this share of the recordings, 0 to 1, by path; the manifest's `split` goes before it
    #[arg(long, value_name = "SHARE")]
    valid: Option<f64>,
    /// Another seed holds out others
    #[arg(long, value_name = "N", default_value_t = 0, requires = "valid")]
    valid_seed: u64,
    /// Only share I of N of the manifest, I from 0: for N jobs, whose folders `merge` joins to what one job would write
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Recordings in a part; one also ends after 8 hours by the manifest
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    part_recordings: u32,
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
    /// Kyutai's Mimi; needs --codec-weights
    Mimi,
    /// Codes already made, from a file beside the recording
    Codes,
}

#[derive(ValueEnum, Clone, Copy, PartialEq)]
enum Border {
    /// They belong to the window in which they start, and what does not fit is cut
    Start,
    /// They are left out
    Drop,
    /// What does not fit goes on in the next window
    Split,
}

impl From<Border> for window::Border {
    fn from(border: Border) -> Self {
        match border {
            Border::Start => window::Border::Start,
            Border::Drop => window::Border::Drop,
            Border::Split => window::Border::Split,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq)]
enum Unheard {
    /// A speaker's streams hold the codes of silence where the speaker is not heard; needs a codec
    Silence,
    /// They hold no codes there
    Absent,
}

impl From<Unheard> for pipeline::Unheard {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Silence => pipeline::Unheard::Silence,
            Unheard::Absent => pipeline::Unheard::Absent,
        }
    }
}

fn speaker(text: &str) -> Result<(String, String), String> {
    let (speaker, label) = text.split_once('=').ok_or("it is a speaker of the layout, =, and a label, as other=B")?;
    Ok((speaker.to_owned(), label.to_owned()))
}

impl Args {
    pub fn run(self) -> Outcome {
        let options = self.options()?;
        let mut progress = Progress::new();
        let info = prep(&self.manifest, &self.output, &options, &mut |now| {
            progress.show(now);
            Ok(())
        });
        progress.end();
        let info = info?;
        writeln!(anstream::stdout(), "{}", Summary { info: &info, layout: &options.layout })?;
        let counts = &info.counts;
        let texts = options.layout.streams().iter().filter(|stream| stream.kind == Kind::Text).count() as u64;
        let wordless = counts.recordings > 0 && texts > 0 && counts.text_pads == texts * counts.frames;
        // Recordings may hold no words at all; words of others alone are most often another label.
        let mistaken = wordless && info.events.get(EventKind::OtherSpeaker).events > 0;
        if mistaken {
            note(format!("only words of other speakers: is no speaker called {:?}?", self.main_speaker));
        }
        let reasons = self.output.join(roundelay::io::REJECTS_FILE);
        let said = |what: &str| format!("{what}; {} says why", reasons.display());
        match (counts.recordings, counts.rejects) {
            (_, 0) if mistaken && self.strict => Err(Failure::Incomplete("no word was written".into())),
            (_, 0) => Ok(()),
            (0, n) => {
                let reason = said(&format!("none of the {n} recordings could be used"));
                Err(Failure::Incomplete(format!("{reason}, and the next run may write to the same folder")))
            }
            (_, n) if self.strict => Err(Failure::Incomplete(said(&format!("{n} recordings could not be used")))),
            (_, n) => {
                note(said(&format!("{n} recordings could not be used")));
                Ok(())
            }
        }
    }

    /// Says what a user may not expect of the choices made.
    fn note_choices(&self, layout: &Layout, rule: Rule) {
        if matches!(rule, Rule::Kyutai(rule) if !rule.keep_main_only) {
            note("words of all speakers go into one row; --keep-main-only leaves the others' out");
        }
        let lag = layout.text_lag().filter(|lag| *lag > Seconds::ZERO);
        if let (Some(lag), Some(_), Border::Start) = (lag, self.window, self.border) {
            note(format!(
                "text trails by {lag} s: words said that shortly before a window's end are cut; --border split keeps them"
            ));
        }
    }

    fn speakers(&self) -> Result<Speakers, Failure> {
        let mut speakers = Speakers::new(&self.main_speaker);
        for (speaker, label) in &self.speaker {
            if speakers.others().contains_key(speaker) {
                return Err(Failure::Usage(format!("--speaker {speaker} is given twice")));
            }
            speakers = speakers.with(speaker, label);
        }
        Ok(speakers)
    }

    fn codes(&self) -> Result<CodeSource, Failure> {
        let codec = match (self.codec, &self.codes_suffix) {
            (Codec::Codes, suffix) => {
                self.codec_options.check_unused(&self.whole)?;
                return Ok(CodeSource::Files { suffix: suffix.clone() });
            }
            (_, Some(_)) => return Err(Failure::Usage("--codes-suffix goes with --codec codes".into())),
            (Codec::Builtin, None) => CodecName::Builtin,
            (Codec::Mimi, None) => CodecName::Mimi,
        };
        Ok(CodeSource::Codec(self.codec_options.encoder(codec, &self.whole)?))
    }

    fn options(&self) -> Result<PrepOptions, Failure> {
        let codes = self.codes()?;
        let tokenizer = self.tokenizer.as_deref().map(args::tokenizer).transpose()?;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let layout = args::layout(&self.layout)?;
        if let Some(tokenizer) = &tokenizer {
            note_tokenizer(&layout, tokenizer);
        }
        let rule = self.rule.rule(tokenizer.as_ref())?;
        self.note_choices(&layout, rule);
        Ok(PrepOptions {
            layout,
            tokenizer: self.tokenizer.clone(),
            codes,
            rule,
            speakers: self.speakers()?,
            window: self.window,
            hop: self.hop,
            border: self.border.into(),
            words_suffix: self.words_suffix.clone(),
            words_format: self.words_format,
            diarised: self.diarised.map(Into::into),
            valid: self.valid.map(|share| ValidShare { share, seed: self.valid_seed }),
            part_recordings: self.part_recordings as usize,
            shard: self.shard,
            jobs: self.jobs.map_or_else(cores, usize::from),
        })
    }
}

/// Says where a tokenizer may be another model's, and which words will look like silence.
fn note_tokenizer(layout: &Layout, tokenizer: &Tokenizer) {
    let texts = layout.streams().iter().filter(|stream| stream.kind == Kind::Text);
    for text in texts.clone().filter(|text| tokenizer.len() < text.cardinality as usize) {
        let (pieces, ids) = (tokenizer.len(), text.cardinality);
        note(format!("the tokenizer has {pieces} pieces, and the stream {} room for {ids} ids", text.name));
    }
    let mut pads: Vec<_> =
        texts.flat_map(|text| [Some(text.pad), text.end_pad]).flatten().map(|id| id as i32).collect();
    pads.sort_unstable();
    pads.dedup();
    // Only a NUL becomes that byte, and nobody says one.
    let met = tokenizer.collisions(&pads).into_iter().filter(|(_, piece)| *piece != "<0x00>");
    let pieces: Vec<_> = met.map(|(id, piece)| format!("{id} ({piece})")).collect();
    if !pieces.is_empty() {
        let pieces = pieces.join(" and ");
        note(format!(
            "the tokenizer has pieces with the ids of the layout's pads, {pieces}: words with them are counted"
        ));
    }
}

/// A bar on a terminal, and a plain line now and then otherwise.
struct Progress {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(10);

    fn new() -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} recordings, {elapsed} of about {duration}, {msg}");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Progress { bar, last: Instant::now() }
    }

    fn show(&mut self, now: &PrepProgress) {
        let PrepProgress { counts, lines } = now;
        let done = counts.recordings + counts.rejects;
        let hours = format!("{:.2} h of sound, {} rejects", counts.seconds.to_f64() / 3600.0, counts.rejects);
        match &self.bar {
            Some(bar) => {
                bar.set_length(*lines);
                bar.set_position(done);
                bar.set_message(hours);
            }
            None if self.last.elapsed() >= Self::EVERY => {
                self.last = Instant::now();
                let _ = writeln!(anstream::stderr(), "{done}/{lines} recordings, {hours}");
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
