//! Options that several verbs take.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use roundelay::codec::Codec;
use roundelay::io::{Dataset, Identity, open_builtin};
use roundelay::text::{Augment, JmoshiRule, KyutaiRule, Rule, ShiftRange, TextDrop, Tokenizer, TurnMarkers};
use roundelay::{Error, Layout, Result, Seconds};

use crate::failure::Failure;

/// How words go on the grid.
#[derive(Args)]
pub struct RuleArgs {
    /// How words go on the grid
    #[arg(long = "rule", value_name = "R", value_enum, default_value_t = RuleName::Moshi)]
    name: RuleName,
    /// With kyutai: leave the words of others out
    #[arg(long)]
    keep_main_only: bool,
    /// With kyutai: the tokenizer's BOS where the main speaker begins to talk, its EOS where another does
    #[arg(long)]
    use_bos_eos: bool,
    /// With kyutai: finish a word before the next begins, instead of breaking it off
    #[arg(long)]
    keep_and_shift: bool,
    /// With kyutai: seconds by which text leads audio; below 0 it trails
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    audio_delay: Option<f64>,
    /// With kyutai: the pad while a word is being said
    #[arg(long, value_name = "ID")]
    in_word_padding: Option<i32>,
    /// With jmoshi: join words directly, as in languages without spaces
    #[arg(long)]
    no_whitespace_before_word: bool,
}

/// A rule for words on the frame grid.
#[derive(ValueEnum, Clone, Copy, PartialEq)]
enum RuleName {
    /// The Moshi paper's, made complete: nothing is lost before the end
    Moshi,
    /// That of Kyutai's moshi-finetune, to the last bit
    Kyutai,
    /// That of nu-dialogue's moshi-finetune: tokens are spread over a word's characters
    Jmoshi,
}

impl RuleArgs {
    /// The rule with its options; some are ids of the tokenizer.
    pub fn rule(&self, tokenizer: Option<&Tokenizer>) -> std::result::Result<Rule, Failure> {
        self.check_options()?;
        Ok(match self.name {
            RuleName::Moshi => Rule::Moshi,
            RuleName::Kyutai => Rule::Kyutai(KyutaiRule {
                in_word_padding: self.in_word_padding,
                keep_main_only: self.keep_main_only,
                turn_markers: self.use_bos_eos.then(|| turn_markers(tokenizer)).transpose()?,
                keep_and_shift: self.keep_and_shift,
                audio_delay: self.audio_delay.unwrap_or(0.0),
                // Rows end with the sound here; only in windows of a fixed length would it show.
                frames_as_seconds: false,
            }),
            RuleName::Jmoshi => Rule::Jmoshi(JmoshiRule { whitespace_before_word: !self.no_whitespace_before_word }),
        })
    }

    /// An option that its rule does not have would be lost in silence.
    fn check_options(&self) -> std::result::Result<(), Failure> {
        let kyutai = [
            ("keep-main-only", self.keep_main_only),
            ("use-bos-eos", self.use_bos_eos),
            ("keep-and-shift", self.keep_and_shift),
            ("audio-delay", self.audio_delay.is_some()),
            ("in-word-padding", self.in_word_padding.is_some()),
        ];
        let jmoshi = [("no-whitespace-before-word", self.no_whitespace_before_word)];
        let rules = [(RuleName::Kyutai, "kyutai", &kyutai[..]), (RuleName::Jmoshi, "jmoshi", &jmoshi)];
        for (_, rule, options) in rules.into_iter().filter(|(name, ..)| *name != self.name) {
            if let Some((option, _)) = options.iter().find(|(_, given)| *given) {
                return Err(Failure::Usage(format!("--{option} goes with --rule {rule}")));
            }
        }
        Ok(())
    }
}

fn turn_markers(tokenizer: Option<&Tokenizer>) -> Result<TurnMarkers> {
    let markers = tokenizer.and_then(|t| Some(TurnMarkers { bos: t.bos()?, eos: t.eos()? }));
    markers.ok_or_else(|| Error::unsupported("turn markers", "the tokenizer has no pieces for begin and end"))
}

/// Text that is dropped or moved on purpose.
#[derive(Args)]
pub struct AugmentArgs {
    /// Leave text out with this probability: its cells become absent
    #[arg(long, value_name = "P")]
    drop_text: Option<f64>,
    /// What is left out or kept as one
    #[arg(long, value_enum, value_name = "UNIT", default_value_t = Unit::Example, requires = "drop_text")]
    drop_unit: Unit,
    /// Move the text by up to so many seconds, earlier or later
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    shift_text: Option<Seconds>,
}

#[derive(ValueEnum, Clone, Copy)]
enum Unit {
    /// The whole row
    Example,
    /// Each token of a word by itself; pads stay
    Lexical,
    /// Every position by itself
    Position,
}

impl AugmentArgs {
    /// What is to be done to the text, if anything.
    pub fn augment(&self, seed: u64) -> Option<Augment> {
        let unit = match self.drop_unit {
            Unit::Example => roundelay::text::Unit::Example,
            Unit::Lexical => roundelay::text::Unit::Lexical,
            Unit::Position => roundelay::text::Unit::Position,
        };
        let drop = self.drop_text.map(|probability| TextDrop { probability, unit });
        let shift = self.shift_text.map(|most| ShiftRange { least: Seconds::ZERO - most, most });
        (drop.is_some() || shift.is_some()).then_some(Augment { drop, shift, seed })
    }
}

/// A layout by a preset's name, or from a file: a layout, or Kyutai's `config.json`.
pub fn layout(name: &str) -> Result<Layout> {
    let (preset, path) = (Layout::preset(name), Path::new(name));
    if preset.is_ok() || !is_file(path) {
        return preset;
    }
    Layout::read(&read_text(path, "layout")?).map_err(|e| e.in_file(name))
}

/// Whether what is no name we know is meant as a file.
pub fn is_file(path: &Path) -> bool {
    // Names of models have dots, too: an extension alone does not make a file.
    path.exists() || path.components().count() > 1 || path.extension().is_some_and(|e| e == "json")
}

/// A SentencePiece model from a file.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    Tokenizer::from_bytes(&read(path)?).map_err(|e| e.in_file(path.display()))
}

/// A file of text; `what` it should be is for the error.
pub fn read_text(path: &Path, what: &str) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|e| Error::malformed(what, e).in_file(path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io("read the file", e).in_file(path.display()))
}

/// Where a result goes.
#[derive(Args)]
pub struct OutputArg {
    /// File to write, `.safetensors`
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
}

/// Which codec.
#[derive(Args)]
pub struct CodecArg {
    /// `builtin` is embedded, for trying things out; `mimi` needs --codec-weights
    #[arg(long, value_enum, value_name = "C", default_value_t = CodecName::Builtin)]
    codec: CodecName,
    #[command(flatten)]
    options: CodecOptions,
}

#[derive(ValueEnum, Clone, Copy, PartialEq)]
pub enum CodecName {
    /// Embedded; 24 kHz, 12.5 frames a second, 8 codebooks
    Builtin,
    /// Kyutai's Mimi; 24 kHz, 12.5 frames a second, up to 32 codebooks
    Mimi,
}

/// What a codec takes beside its name.
#[derive(Args)]
pub struct CodecOptions {
    /// With mimi: its weights, `.safetensors`; with builtin: tables of your own [default: those that come with it]
    #[arg(long, value_name = "FILE")]
    codec_weights: Option<PathBuf>,
    /// With mimi: codebooks, 1 to 32 [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    codebooks: Option<u8>,
}

/// How mimi encodes.
#[derive(Args)]
pub struct WholeArg {
    /// With mimi: encode a recording at once and not frame by frame; up to 5 minutes; some codes differ after 10 s
    #[arg(long)]
    codec_whole: bool,
}

impl CodecArg {
    /// The codec, to decode.
    pub fn open(&self) -> std::result::Result<Box<dyn Codec>, Failure> {
        self.options.open(self.codec, false)
    }

    /// The codec, to encode.
    pub fn encoder(&self, whole: &WholeArg) -> std::result::Result<Box<dyn Codec>, Failure> {
        self.options.encoder(self.codec, whole)
    }
}

impl CodecOptions {
    /// The codec of this name, to encode.
    pub fn encoder(&self, codec: CodecName, whole: &WholeArg) -> std::result::Result<Box<dyn Codec>, Failure> {
        self.open(codec, whole.codec_whole)
    }

    /// Checks that nothing was given that only a codec takes.
    pub fn check_unused(&self, whole: &WholeArg) -> std::result::Result<(), Failure> {
        match self.codec_weights.is_some() {
            true => Err(Failure::Usage("--codec-weights goes with --codec mimi or builtin".into())),
            false => self.check_not_mimi(whole.codec_whole),
        }
    }

    fn check_not_mimi(&self, whole: bool) -> std::result::Result<(), Failure> {
        let given = [("codebooks", self.codebooks.is_some()), ("codec-whole", whole)];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Failure::Usage(format!("--{option} goes with --codec mimi"))),
            None => Ok(()),
        }
    }

    fn open(&self, codec: CodecName, whole: bool) -> std::result::Result<Box<dyn Codec>, Failure> {
        match (codec, &self.codec_weights) {
            (CodecName::Mimi, Some(weights)) => mimi(weights, self.codebooks, whole),
            (CodecName::Mimi, None) => Err(Failure::Usage("--codec mimi needs --codec-weights FILE".into())),
            (CodecName::Builtin, weights) => {
                self.check_not_mimi(whole)?;
                let tables = weights.as_deref().map(open_builtin).transpose()?;
                Ok(Box::new(tables.unwrap_or_default()))
            }
        }
    }
}

#[cfg(feature = "mimi")]
fn mimi(weights: &Path, codebooks: Option<u8>, whole: bool) -> std::result::Result<Box<dyn Codec>, Failure> {
    use roundelay::codec::mimi::{MimiOptions, Way};
    let mut options = MimiOptions::default();
    options.codebooks = codebooks.map_or(options.codebooks, usize::from);
    options.way = if whole { Way::Whole } else { Way::Streaming };
    Ok(Box::new(roundelay::io::open_mimi(weights, options)?))
}

#[cfg(not(feature = "mimi"))]
fn mimi(_: &Path, _: Option<u8>, _: bool) -> std::result::Result<Box<dyn Codec>, Failure> {
    Err(Failure::Usage("this roundelay was built without Mimi: build it with --features mimi".into()))
}

/// Refuses a dataset with codes of another codec, which would come out as noise; `or` says what else could be done.
pub fn check_codec(dataset: &Dataset, codec: &dyn Codec, or: &str) -> Result<()> {
    let (found, expected) = (&dataset.info().codec, Identity::of_codec(codec));
    if *found == expected {
        return Ok(());
    }
    // Names hold the begin of the sum; should that be all that is alike, the whole sums tell them apart.
    let said = |identity: &Identity| match (&identity.sha256, found.name == expected.name) {
        (Some(sha256), true) => format!("{} with SHA-256 {sha256}", identity.name),
        _ => identity.name.clone(),
    };
    Err(Error::invalid("codec of the dataset", said(found), format!("{}{or}", said(&expected))))
}
