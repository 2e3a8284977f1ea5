//! The grid of streams and steps, cell by cell, without colours.
//!
//! ```text
//!  step        0      1      2      3
//!  text     E0     w6312  P3     p3          w word, P pad, E end of pad, p tail fill
//!  main.0   i2048  s417   s23    s1001       i head fill, s semantic
//! ```

use ndarray::{ArrayView2, Ix2};

use crate::delay::Delay;
use crate::error::Result;
use crate::stream::{Frames, Kind, Layout, Stream};
use crate::weights::{Policy, Reason};

/// A sequence with the role and the weight of every cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// One for each stream.
    pub rows: Vec<Row>,
    /// Columns of every row.
    pub steps: usize,
}

/// One stream of a [`Picture`].
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The stream's name.
    pub name: String,
    /// One for each step.
    pub cells: Vec<Cell>,
}

/// One token of a [`Picture`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// What the token is, as a letter: `w` word, `s` semantic, `a` acoustic, `P` pad, `E` end of pad, `i` head fill,
    /// `p` tail fill, `-` absent, `?` ungenerated.
    pub letter: char,
    /// The id.
    pub token: i64,
    /// Its loss weight, before any normalisation.
    pub weight: f32,
}

impl Cell {
    /// The legend of the letters.
    pub const LEGEND: [(char, &'static str); 9] = [
        ('w', "word"),
        ('P', "pad"),
        ('E', "end of pad"),
        ('s', "semantic"),
        ('a', "acoustic"),
        ('i', "head fill"),
        ('p', "tail fill"),
        ('-', "absent"),
        ('?', "ungenerated"),
    ];

    /// Letter and id; the letter alone where there is no token.
    pub fn label(&self) -> String {
        if self.token < 0 { self.letter.to_string() } else { format!("{}{}", self.letter, self.token) }
    }
}

impl Picture {
    /// Draws what `delay` makes of `codes`, with the weights of `policy`.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]`.
    /// # Errors
    /// As [`Delay::build`].
    pub fn new(layout: &Layout, delay: &Delay, policy: &Policy, codes: &Frames<ArrayView2<i64>>) -> Result<Self> {
        let tokens = delay.build(codes)?.tokens.0;
        let raw = Policy { normalize: crate::weights::Normalize::None, ..*policy };
        let weights = raw.weigh::<_, _, Ix2>(layout, delay, codes)?;
        let cell = |stream: &Stream, (k, s): (usize, usize)| Cell {
            letter: letter(stream, tokens[(k, s)], weights.step_reasons.0[(k, s)]),
            token: tokens[(k, s)],
            weight: weights.steps.0[(k, s)],
        };
        let rows = layout.streams().iter().enumerate().map(|(k, stream)| Row {
            name: stream.name.clone(),
            cells: (0..tokens.ncols()).map(|s| cell(stream, (k, s))).collect(),
        });
        Ok(Picture { rows: rows.collect(), steps: tokens.ncols() })
    }
}

fn letter(stream: &Stream, token: i64, reason: u8) -> char {
    match token {
        -1 => '-',
        ..-1 => '?',
        _ if reason == Reason::Head as u8 => 'i',
        _ if reason == Reason::Tail as u8 => 'p',
        _ if stream.kind == Kind::Semantic => 's',
        _ if stream.kind == Kind::Acoustic => 'a',
        _ if token == i64::from(stream.pad) => 'P',
        _ if stream.end_pad.map(i64::from) == Some(token) => 'E',
        _ => 'w',
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::{Extent, Start};

    #[test]
    fn every_role_has_its_letter() {
        let layout = Layout::preset("delay-1").unwrap();
        let delay = Delay::new(&layout, Extent::Extend, Start::None);
        let codes = arr2(&[[0, 77, 3], [5, -1, 6], [8, -2, 9]]);
        let policy = Policy::named("moshi").unwrap();
        let picture = Picture::new(&layout, &delay, &policy, &Frames(codes.view())).unwrap();
        let rows: Vec<String> =
            picture.rows.iter().map(|r| r.cells.iter().map(Cell::label).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows, ["E0 w77 P3 p3", "i2048 s5 - s6", "i2048 a8 ? a9"]);
        assert_eq!(picture.rows[0].cells[0].weight, 0.5);
        assert_eq!(picture.rows[1].cells[1].weight, 100.0);
    }
}
