//! Options that several verbs take.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use roundelay::codec::{Builtin, Codec};
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
    /// `builtin` is embedded, for trying things out
    #[arg(long, value_enum, value_name = "C", default_value_t = CodecName::Builtin)]
    codec: CodecName,
}

#[derive(ValueEnum, Clone, Copy, PartialEq)]
pub enum CodecName {
    /// Embedded; 24 kHz, 12.5 frames a second, 8 codebooks
    Builtin,
}

impl CodecArg {
    pub fn codec(&self) -> Box<dyn Codec> {
        match self.codec {
            CodecName::Builtin => Box::new(Builtin::new()),
        }
    }
}
