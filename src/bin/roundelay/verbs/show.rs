//! `show IN --layout L`: the grid in the terminal

use std::collections::BTreeMap;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use roundelay::report::{Cell, Picture, Row};
use roundelay::text::PlacedWord;
use roundelay::{Frames, Kind, Policy};

use crate::args::ShiftArgs;
use crate::failure::Outcome;
use crate::input::{InputArgs, one_example};

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
        let delay = self.shift.delay(&layout);
        let picture = Picture::new(&layout, &delay, &Policy::named("moshi")?, &Frames(codes.view()))?;
        let words = segment.map_or(Vec::new(), |(_, segment)| segment.words);
        let text = layout.streams().iter().position(|stream| stream.kind == Kind::Text);
        let step = |word: &PlacedWord| Some(delay.step_of(text?, word.frame?));
        let words = words.iter().filter_map(|word| Some((step(word)?, word.word.text.clone())));
        self.print(&picture, &words.collect())
    }

    /// `words` by their step.
    fn print(&self, picture: &Picture, words: &BTreeMap<usize, String>) -> Outcome {
        let mut out = anstream::stdout().lock();
        let last = picture.steps.min(self.from.saturating_add(self.steps));
        writeln!(out, "{} streams, {} steps", picture.rows.len(), picture.steps)?;
        let name_width = picture.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(4);
        let cell_width = self.cell_width(picture, last);
        let columns = (self.width().saturating_sub(name_width + 1) / (cell_width + 1)).max(1);
        for first in (self.from..last).step_by(columns) {
            let steps = first..last.min(first + columns);
            write!(out, "\n{:<name_width$}", "step")?;
            steps.clone().try_for_each(|step| write!(out, " {step:<cell_width$}"))?;
            if !words.is_empty() {
                write!(out, "\n{:<name_width$} ", "said")?;
                write!(out, "{}", said(words, steps.clone(), cell_width + 1))?;
            }
            for row in &picture.rows {
                write!(out, "\n{:<name_width$}", row.name)?;
                self.print_cells(&mut out, row, steps.clone(), cell_width)?;
            }
            writeln!(out)?;
        }
        self.print_legend(&mut out)
    }

    fn print_cells(
        &self,
        out: &mut impl Write,
        row: &Row,
        steps: std::ops::Range<usize>,
        width: usize,
    ) -> std::io::Result<()> {
        row.cells[steps].iter().try_for_each(|cell| {
            let style = style(cell.letter);
            write!(out, " {style}{:<width$}{style:#}", self.label(cell))
        })
    }

    fn width(&self) -> usize {
        let terminal = || terminal_size::terminal_size().map_or(100, |(width, _)| width.0.into());
        self.width.unwrap_or_else(terminal)
    }

    fn label(&self, cell: &Cell) -> String {
        if self.weights { format!("{}{}", cell.letter, cell.weight) } else { cell.label() }
    }

    fn cell_width(&self, picture: &Picture, last: usize) -> usize {
        let cells = picture.rows.iter().flat_map(|row| &row.cells[self.from.min(last)..last]);
        cells.map(|cell| self.label(cell).len()).max().unwrap_or(0).max(last.to_string().len())
    }

    fn print_legend(&self, out: &mut impl Write) -> Outcome {
        write!(out, "\n{}", if self.weights { "letter and weight:" } else { "letter and id:" })?;
        for (letter, meaning) in Cell::LEGEND {
            let style = style(letter);
            write!(out, "  {style}{letter} {meaning}{style:#}")?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// Words at their steps, each cut where the next begins.
fn said(words: &BTreeMap<usize, String>, steps: std::ops::Range<usize>, width: usize) -> String {
    let mut line = vec![' '; steps.len() * width];
    for (step, word) in words.range(steps.clone()) {
        let place = (step - steps.start) * width;
        line[place..].fill(' ');
        line[place..]
            .iter_mut()
            .zip(word.chars().filter(|c| !c.is_control()))
            .for_each(|(cell, letter)| *cell = letter);
    }
    line.into_iter().collect::<String>().trim_end().to_owned()
}

/// Fills recede, words stand out.
fn style(letter: char) -> Style {
    match letter {
        'w' => AnsiColor::Green.on_default().bold(),
        'P' => AnsiColor::Blue.on_default(),
        'E' => AnsiColor::Yellow.on_default(),
        's' => AnsiColor::Magenta.on_default(),
        'a' => AnsiColor::Cyan.on_default(),
        'i' | 'p' => AnsiColor::BrightBlack.on_default().italic(),
        _ => AnsiColor::Red.on_default(),
    }
}
