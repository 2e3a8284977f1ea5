//! `align WORDS --tokenizer M --frames N`: words to a text row

use std::io::Write;
use std::path::PathBuf;

use ndarray::Array1;
use roundelay::io::{WordsFormat, read_words, tensors};
use roundelay::tally::{Event, EventKind};
use roundelay::text::{Augmented, PlacedWord, Rule, TextRow, TextStream, Tokenizer, Word, tokenize};
use roundelay::{Error, FrameRate, Kind, Layout, Stream};

use crate::args::{self, AugmentArgs, RuleArgs};
use crate::failure::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Words with times: moshi-finetune's, J-Moshi's or WhisperX's JSON, TextGrid, CTM, Lhotse cuts
    #[arg(value_name = "WORDS")]
    words: PathBuf,
    /// Which of them it is [default: by extension and content]
    #[arg(long, value_name = "F")]
    words_format: Option<WordsFormat>,
    /// SentencePiece model; not needed if every word brings its ids
    #[arg(long, value_name = "M")]
    tokenizer: Option<PathBuf>,
    /// Length of the row
    #[arg(long, value_name = "N")]
    frames: usize,
    /// Preset name, layout file or Kyutai's config.json, for the text stream's ids
    #[arg(long, value_name = "L", default_value = "moshi-7b")]
    layout: String,
    /// Which text stream, where the layout has several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Frames a second instead of the layout's
    #[arg(long, value_name = "R")]
    frame_rate: Option<FrameRate>,
    #[command(flatten)]
    rule: RuleArgs,
    /// The speaker whose words are written
    #[arg(long, value_name = "NAME", default_value = "SPEAKER_MAIN")]
    main_speaker: String,
    #[command(flatten)]
    augment: AugmentArgs,
    /// Of the text's draws; the words file's name is the example's
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write the row here as `tokens` (.safetensors) instead of printing it with the events
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

/// Longer rows are typing errors, and would be allocated: a month of frames at 12.5 Hz.
const MAX_FRAMES: usize = 1 << 25;

#[derive(serde::Serialize)]
struct Printed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<&'a [i32]>,
    events: &'a [Event],
    #[serde(skip_serializing_if = "Option::is_none")]
    augmented: Option<Augmented>,
}

impl Args {
    pub fn run(self) -> Outcome {
        if self.frames > MAX_FRAMES {
            return Err(Error::over_limit("number of frames", self.frames, MAX_FRAMES).into());
        }
        let layout = args::layout(&self.layout)?;
        let tokenizer = self.tokenizer.as_deref().map(args::tokenizer).transpose()?;
        let rule = self.rule.rule(tokenizer.as_ref())?;
        let text = self.text(&layout)?;
        // Options are looked at first, whatever the file says.
        self.place(rule, Vec::new(), &text)?;
        let (row, augmented) = match read_words(&self.words, self.words_format)?.words {
            Some(words) => {
                let words = self.tokenized(rule, words, tokenizer.as_ref())?;
                self.place(rule, words, &text).map_err(|e| e.in_file(self.words.display()))?
            }
            // Nobody knows what was said: nothing is there to be placed, dropped or moved.
            None => (TextRow::unknown(self.frames), None),
        };
        let mut events = row.events();
        if row.collisions > 0 {
            events.push(Event::new(EventKind::Collision, row.collisions as u64));
        }
        let tokens = self.output.is_none().then_some(row.tokens.as_slice());
        let json = serde_json::to_string(&Printed { tokens, events: &events, augmented });
        if let Some(path) = &self.output {
            tensors::write(path, &[("tokens", Array1::from_iter(row.tokens.iter().map(|&id| i64::from(id))).into())])?;
        }
        writeln!(std::io::stdout().lock(), "{}", json.map_err(std::io::Error::from)?)?;
        Ok(())
    }

    fn text<'a>(&'a self, layout: &'a Layout) -> Result<TextStream<'a>, Failure> {
        let texts = layout.streams().iter().filter(|stream| stream.kind == Kind::Text);
        let names: Vec<_> = texts.map(|stream| stream.name.as_str()).collect();
        let text = match &self.stream {
            None if names.len() > 1 => {
                return Err(Failure::Usage(format!("--stream chooses one of the text streams: {}", names.join(", "))));
            }
            None => TextStream::of(layout, &self.main_speaker)?,
            Some(name) => TextStream::new(layout, stream(layout, name)?, &self.main_speaker),
        };
        Ok(TextStream { frame_rate: self.frame_rate.unwrap_or(text.frame_rate), ..text })
    }

    fn tokenized(
        &self,
        rule: Rule,
        words: Vec<Word>,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Vec<PlacedWord>, Failure> {
        match tokenizer {
            Some(tokenizer) => Ok(rule.tokenize(words, tokenizer)?),
            None if words.iter().all(|word| word.ids.is_some()) => Ok(tokenize(words, |_| Ok(Vec::new()))?),
            None => Err(Failure::Usage("words without ids of their own need --tokenizer".into())),
        }
    }

    fn place(
        &self,
        rule: Rule,
        words: Vec<PlacedWord>,
        text: &TextStream,
    ) -> roundelay::Result<(TextRow, Option<Augmented>)> {
        let Some(augment) = self.augment.augment(self.seed) else {
            return Ok((rule.place(words, text, self.frames)?, None));
        };
        let drawn = augment.draw(&self.words.file_name().unwrap_or_default().to_string_lossy())?;
        let (row, augmented) = drawn.place(rule, words, text, self.frames)?;
        Ok((row, Some(augmented)))
    }
}

fn stream<'a>(layout: &'a Layout, name: &str) -> roundelay::Result<&'a Stream> {
    let names = || layout.streams().iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = layout.streams().iter().find(|stream| stream.name == name);
    found.ok_or_else(|| Error::invalid("stream", name, format!("one of {}", names())))
}
