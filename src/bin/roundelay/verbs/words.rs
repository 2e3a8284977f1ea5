//! `words IN --tokenizer M`: a text row back to words

use std::io::Write;
use std::path::PathBuf;

use ndarray::ArrayD;
use roundelay::io::tensors;
use roundelay::text::{TextStream, Word, words_from_row};
use roundelay::{Error, Kind, Layout};

use crate::args;
use crate::failure::{Failure, Outcome};
use crate::input::InputArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// SentencePiece model; a dataset's segment needs none, as it keeps its words
    #[arg(long, value_name = "M")]
    tokenizer: Option<PathBuf>,
}

/// moshi-finetune's form, so that what is printed can be read again.
#[derive(serde::Serialize)]
struct Printed {
    alignments: Vec<(String, [roundelay::Seconds; 2], String)>,
}

impl Args {
    pub fn run(self) -> Outcome {
        let words = match (self.input.in_dataset()?, &self.tokenizer) {
            (Some((_, segment)), None) => segment.words.into_iter().map(|placed| placed.word).collect(),
            (Some((layout, segment)), Some(_)) => {
                let row = text_row(&layout, segment.codes.0.mapv(i64::from).into_dyn())?;
                self.read_row(&layout, &row)?
            }
            (None, _) => {
                let layout = args::layout(self.input.layout.as_deref().unwrap_or("moshi-7b"))?;
                let (name, grid) = tensors::read_first_of(&self.input.path, &["codes", "tokens"])?;
                if name == "tokens" && grid.ndim() > 1 {
                    let error = Error::unsupported("a delayed sequence", "take its delays out with `undo` first");
                    return Err(self.input.named(error).into());
                }
                let row = text_row(&layout, grid).map_err(|e| self.input.named(e))?;
                self.read_row(&layout, &row)?
            }
        };
        let alignments = words.into_iter().map(|w| (w.text, [w.start, w.end], w.speaker)).collect();
        let json = serde_json::to_string(&Printed { alignments }).map_err(std::io::Error::from)?;
        writeln!(std::io::stdout().lock(), "{json}")?;
        Ok(())
    }

    fn read_row(&self, layout: &Layout, row: &[i32]) -> Result<Vec<Word>, Failure> {
        let path = self.tokenizer.as_ref().ok_or_else(|| Failure::Usage("a text row needs --tokenizer".into()))?;
        let text = TextStream::of(layout, "SPEAKER_MAIN")?;
        Ok(words_from_row(row, &text, &args::tokenizer(path)?)?)
    }
}

/// The text row of a grid, or the row itself.
fn text_row(layout: &Layout, grid: ArrayD<i64>) -> roundelay::Result<Vec<i32>> {
    let row = match grid.ndim() {
        1 => grid,
        2 => {
            layout.check_streams(grid.shape()[0])?;
            let text = layout.streams().iter().position(|stream| stream.kind == Kind::Text);
            let k = text.ok_or_else(|| Error::unsupported("words", "the layout has no text stream"))?;
            grid.index_axis_move(ndarray::Axis(0), k)
        }
        axes => return Err(Error::invalid("number of axes", axes, "1, as [time], or 2, as [stream, time]")),
    };
    let id = |(t, &id): (usize, &i64)| {
        i32::try_from(id).map_err(|_| Error::invalid("token", id, "an id of 32 bits").at_frame(t))
    };
    row.iter().enumerate().map(id).collect()
}
