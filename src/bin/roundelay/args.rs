//! Options that several verbs take.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use roundelay::codec::{Builtin, Codec};
use roundelay::text::Tokenizer;
use roundelay::{Delay, Error, Layout, Result};

/// How frames become steps.
#[derive(Args, Clone, Copy)]
pub struct ShiftArgs {
    /// Whether the sequence grows by the largest delay, or loses the tails
    #[arg(long, value_enum, default_value_t = Extent::Extend)]
    extent: Extent,
    /// What comes before the first step: nothing, or one column of initial ids
    #[arg(long, value_enum, default_value_t = Start::None)]
    start: Start,
}

impl ShiftArgs {
    pub fn delay(self, layout: &Layout) -> Delay {
        let extent = match self.extent {
            Extent::Extend => roundelay::Extent::Extend,
            Extent::Truncate => roundelay::Extent::Truncate,
        };
        let start = match self.start {
            Start::None => roundelay::Start::None,
            Start::Initial => roundelay::Start::Initial,
        };
        Delay::new(layout, extent, start)
    }
}

#[derive(ValueEnum, Clone, Copy)]
enum Extent {
    Extend,
    Truncate,
}

#[derive(ValueEnum, Clone, Copy)]
enum Start {
    None,
    Initial,
}

/// A rule for words on the frame grid.
#[derive(ValueEnum, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The Moshi paper's, made complete: nothing is lost before the end
    Moshi,
}

impl From<Rule> for roundelay::text::Rule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Moshi => roundelay::text::Rule::Moshi,
        }
    }
}

/// A layout by a preset's name, or from a file.
pub fn layout(name: &str) -> Result<Layout> {
    let path = Path::new(name);
    let preset = Layout::presets().any(|preset| preset == name);
    if preset || (path.extension().is_none() && !path.exists()) {
        return Layout::preset(name);
    }
    let text = read(path)?;
    let text = String::from_utf8(text).map_err(|e| Error::malformed("layout", e).in_file(name))?;
    Layout::from_json(&text).map_err(|e| e.in_file(name))
}

/// A SentencePiece model from a file.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    Tokenizer::from_bytes(&read(path)?).map_err(|e| e.in_file(path.display()))
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
