//! `align WORDS --tokenizer M --frames N`: words to a text row

use std::io::Write;
use std::path::PathBuf;

use ndarray::Array1;
use roundelay::io::{read_words, tensors};
use roundelay::tally::Event;
use roundelay::text::{TextStream, tokenize};
use roundelay::{FrameRate, Layout};

use crate::args::{self, Rule};
use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Words with times, as moshi-finetune's JSON
    #[arg(value_name = "WORDS")]
    words: PathBuf,
    /// SentencePiece model
    #[arg(long, value_name = "M")]
    tokenizer: PathBuf,
    /// Length of the row
    #[arg(long, value_name = "N")]
    frames: usize,
    /// Preset name, layout file or Kyutai's config.json, for the text stream's ids
    #[arg(long, value_name = "L", default_value = "moshi-7b")]
    layout: String,
    /// Frames a second instead of the layout's
    #[arg(long, value_name = "R")]
    frame_rate: Option<FrameRate>,
    /// How words go on the grid
    #[arg(long, value_enum, default_value_t = Rule::Moshi)]
    rule: Rule,
    /// The speaker whose words are written
    #[arg(long, value_name = "NAME", default_value = "SPEAKER_MAIN")]
    main_speaker: String,
    /// Write the row here as `tokens` (.safetensors); the default is JSON on standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

/// Longer rows are typing errors, and would be allocated: a month of frames at 12.5 Hz.
const MAX_FRAMES: usize = 1 << 25;

#[derive(serde::Serialize)]
struct Printed<'a> {
    tokens: &'a [i32],
    events: &'a [Event],
}

impl Args {
    pub fn run(self) -> Outcome {
        if self.frames > MAX_FRAMES {
            return Err(roundelay::Error::over_limit("number of frames", self.frames, MAX_FRAMES).into());
        }
        let mut layout = args::layout(&self.layout)?;
        if let Some(rate) = self.frame_rate {
            layout = Layout::new(layout.name(), rate, layout.streams().to_vec())?;
        }
        let tokenizer = args::tokenizer(&self.tokenizer)?;
        let words =
            tokenize(read_words(&self.words, None)?.words.unwrap_or_default(), |text| tokenizer.encode_lines(text))?;
        let text = TextStream::of(&layout, &self.main_speaker)?;
        let placed = roundelay::text::Rule::from(self.rule).place(words, &text, self.frames);
        let row = placed.map_err(|e| e.in_file(self.words.display()))?;
        match self.output {
            Some(path) => tensors::write(&path, &[("tokens", Array1::from(row.tokens).mapv(i64::from).into())])?,
            None => {
                let printed = Printed { tokens: &row.tokens, events: &row.events };
                let json = serde_json::to_string(&printed).map_err(std::io::Error::from)?;
                writeln!(std::io::stdout().lock(), "{json}")?;
            }
        }
        Ok(())
    }
}
