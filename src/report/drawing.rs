//! A picture as lines of text.
//!
//! ```text
//! step   0      1      2      3
//! said          hi                      words, where there are some
//! text   E0     w6312  P3     p3
//! main.0 i2048  s417   s23    s1001
//!
//! letter and id:  w word  P pad  E end of pad  s semantic  i head fill  p tail fill
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::picture::{Cell, Picture, Row};

/// How a picture is drawn; it is drawn by being displayed.
pub struct Drawing<'a> {
    /// What is drawn.
    pub picture: &'a Picture,
    /// Which steps; all by default.
    pub steps: Range<usize>,
    /// Columns of the page, beyond which steps go on below; 100 by default.
    pub width: usize,
    /// Whether cells show their loss weight in place of their token.
    pub weights: bool,
    /// Words above the steps where they begin.
    pub words: BTreeMap<usize, String>,
    /// Gives colour to a text that belongs to a letter; none by default.
    pub paint: &'a dyn Fn(char, &str) -> String,
}

impl<'a> Drawing<'a> {
    /// The whole picture, without colours.
    pub fn new(picture: &'a Picture) -> Self {
        let paint = &|_: char, text: &str| text.to_owned();
        Drawing { picture, steps: 0..picture.steps, width: 100, weights: false, words: BTreeMap::new(), paint }
    }

    fn label(&self, cell: &Cell) -> String {
        if self.weights { format!("{}{}", cell.letter, cell.weight) } else { cell.label() }
    }

    /// Cells that are drawn.
    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.picture.rows.iter().flat_map(|row| &row.cells[self.steps.clone()])
    }

    fn cell_width(&self) -> usize {
        let widest = self.cells().map(|cell| self.label(cell).len()).max().unwrap_or(0);
        widest.max(self.steps.end.to_string().len())
    }

    fn name_width(&self) -> usize {
        self.picture.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(4)
    }

    /// Some steps below each other, with a line for each stream.
    fn block(&self, f: &mut fmt::Formatter<'_>, steps: Range<usize>, names: usize, width: usize) -> fmt::Result {
        write!(f, "\n{:<names$}", "step")?;
        steps.clone().try_for_each(|step| write!(f, " {step:<width$}"))?;
        if !self.words.is_empty() {
            write!(f, "\n{:<names$} {}", "said", self.said(steps.clone(), width + 1))?;
        }
        for row in &self.picture.rows {
            write!(f, "\n{:<names$}", row.name)?;
            self.line(f, row, steps.clone(), width)?;
        }
        writeln!(f)
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, row: &Row, steps: Range<usize>, width: usize) -> fmt::Result {
        row.cells[steps].iter().try_for_each(|cell| {
            let text = format!("{:<width$}", self.label(cell));
            write!(f, " {}", (self.paint)(cell.letter, &text))
        })
    }

    /// Words at their steps, each cut where the next begins.
    fn said(&self, steps: Range<usize>, width: usize) -> String {
        let mut line = vec![' '; steps.len() * width];
        for (step, word) in self.words.range(steps.clone()) {
            let place = (step - steps.start) * width;
            line[place..].fill(' ');
            let letters = word.chars().filter(|c| !c.is_control());
            line[place..].iter_mut().zip(letters).for_each(|(cell, letter)| *cell = letter);
        }
        line.into_iter().collect::<String>().trim_end().to_owned()
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", if self.weights { "letter and weight:" } else { "letter and id:" })?;
        for (letter, meaning) in Cell::LEGEND {
            if self.cells().any(|cell| cell.letter == letter) {
                write!(f, "  {}", (self.paint)(letter, &format!("{letter} {meaning}")))?;
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} streams, {} steps", self.picture.rows.len(), self.picture.steps)?;
        let (names, width) = (self.name_width(), self.cell_width());
        let columns = (self.width.saturating_sub(names + 1) / (width + 1)).max(1);
        for first in self.steps.clone().step_by(columns) {
            self.block(f, first..self.steps.end.min(first + columns), names, width)?;
        }
        self.legend(f)
    }
}

/// The whole picture as text, without colours.
impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Drawing::new(self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::{Delay, Extent, Frames, Layout, Policy, Start};

    fn picture() -> Picture {
        let layout = Layout::preset("delay-1").unwrap();
        let delay = Delay::new(&layout, Extent::Extend, Start::None);
        let codes = arr2(&[[0, 77, 3], [5, -1, 6], [8, 7, 9]]);
        Picture::new(&layout, &delay, &Policy::named("moshi").unwrap(), &Frames(codes.view())).unwrap()
    }

    #[test]
    fn a_picture_is_drawn_with_the_letters_it_has() {
        let lines = [
            "3 streams, 4 steps",
            "",
            "step   0     1     2     3    ",
            "text   E0    w77   P3    p3   ",
            "main.0 i2048 s5    -     s6   ",
            "main.1 i2048 a8    a7    a9   ",
            "",
            "letter and id:  w word  P pad  E end of pad  s semantic  a acoustic  i head fill  p tail fill  - absent",
            "",
        ];
        assert_eq!(picture().to_string(), lines.join("\n"));
    }

    #[test]
    fn a_narrow_page_takes_several_blocks() {
        let picture = picture();
        let words = BTreeMap::from([(1, "hello there".to_owned()), (2, "you\n".to_owned())]);
        let paint = |letter: char, text: &str| if letter == 'w' { text.to_uppercase() } else { text.to_owned() };
        let drawing = Drawing { steps: 1..4, width: 19, weights: true, words, paint: &paint, ..Drawing::new(&picture) };
        let lines: Vec<_> = ["step   1    2   ", "said   helloyou", "text   W1   P0.5", "main.0 s100 -0  "].into();
        let drawn = drawing.to_string();
        assert!(lines.iter().all(|line| drawn.lines().any(|drawn| drawn == *line)), "{drawn}");
        assert!(drawn.contains("step   3   ") && drawn.contains("letter and weight:  W WORD  P pad"), "{drawn}");
    }
}
