//! `show IN --layout L`: the grid in the terminal

use std::io::Write;

use anstyle::{AnsiColor, Style};
use roundelay::report::{Drawing, Picture};
use roundelay::text::PlacedWord;
use roundelay::{Frames, Kind, Policy, Sequencer};

use crate::failure::Outcome;
use crate::input::{InputArgs, one_example};
use crate::shift::ShiftArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    shift: ShiftArgs,
    /// First step to draw
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: usize,
    /// Number of steps to draw
    #[arg(long, value_name = "N", default_value_t = 50)]
    steps: usize,
    /// Columns of the terminal [default: the terminal's, or 100]
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// Draw the loss weight of each cell instead of its token
    #[arg(long)]
    weights: bool,
}

impl Args {
    pub fn run(self) -> Outcome {
        let segment = self.input.in_dataset()?;
        let (layout, codes) = self.input.codes()?;
        let codes = one_example(codes).map_err(|e| self.input.named(e))?;
        let shift = self.shift.of_frames(&layout, codes.ncols())?;
        let picture = Picture::new(&layout, &shift, &Policy::named("moshi")?, &Frames(codes.view()))?;
        let words = segment.map_or(Vec::new(), |(_, segment)| segment.words);
        let text = layout.streams().iter().position(|stream| stream.kind == Kind::Text);
        let frames = codes.ncols();
        let step = |word: &PlacedWord| shift.step_of(text?, word.frame?, frames).ok().flatten();
        let words = words.iter().filter_map(|word| Some((step(word)?, word.word.text.clone())));
        let last = picture.steps.min(self.from.saturating_add(self.steps));
        let drawing = Drawing {
            steps: self.from.min(last)..last,
            width: self.width(),
            weights: self.weights,
            words: words.collect(),
            paint: &painted,
            ..Drawing::new(&picture)
        };
        Ok(write!(anstream::stdout().lock(), "{drawing}")?)
    }

    fn width(&self) -> usize {
        let terminal = || terminal_size::terminal_size().map_or(100, |(width, _)| width.0.into());
        self.width.unwrap_or_else(terminal)
    }
}

fn painted(letter: char, text: &str) -> String {
    let style = style(letter);
    format!("{style}{text}{style:#}")
}

/// Fills recede, words stand out.
fn style(letter: char) -> Style {
    match letter {
        'w' => AnsiColor::Green.on_default().bold(),
        'P' => AnsiColor::Blue.on_default(),
        'E' => AnsiColor::Yellow.on_default(),
        's' => AnsiColor::Magenta.on_default(),
        'a' => AnsiColor::Cyan.on_default(),
        'b' | 'e' => AnsiColor::Yellow.on_default().bold(),
        'i' | 'n' | 'p' => AnsiColor::BrightBlack.on_default().italic(),
        _ => AnsiColor::Red.on_default(),
    }
}
