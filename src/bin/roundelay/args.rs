//! Options that several verbs take.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use roundelay::codec::{Builtin, Codec};
use roundelay::text::Tokenizer;
use roundelay::{Error, Layout, Result};

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
