//! The grid of streams and steps, cell by cell, without colours.
//!
//! ```text
//!  step        0      1      2      3
//!  text     E0     w6312  P3     p3          w word, P pad, E end of pad, p tail fill
//!  main.0   i2048  s417   s23    s1001       i head fill, s semantic
//! ```

use ndarray::{Array2, ArrayView2, Ix2};

use crate::delay::{Fills, Sequencer};
use crate::error::Result;
use crate::stream::{Frames, Kind, Layout, Stream};
use crate::token::{ABSENT, UNGENERATED};
use crate::weights::Policy;

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
    /// What the token is, as a letter of the [legend](Cell::LEGEND).
    pub letter: char,
    /// The id.
    pub token: i64,
    /// Its loss weight, before any normalisation.
    pub weight: f32,
}

impl Cell {
    /// The legend of the letters.
    pub const LEGEND: [(char, &'static str); 12] = [
        ('w', "word"),
        ('P', "pad"),
        ('E', "end of pad"),
        ('s', "semantic"),
        ('a', "acoustic"),
        ('b', "begin"),
        ('e', "end"),
        ('i', "head fill"),
        ('n', "fill between"),
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
    /// Draws what `sequencer` makes of `codes`, with the weights of `policy`.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]`.
    /// # Errors
    /// As [`Sequencer::build`].
    pub fn new(
        layout: &Layout,
        sequencer: &impl Sequencer,
        policy: &Policy,
        codes: &Frames<ArrayView2<i64>>,
    ) -> Result<Self> {
        let tokens = sequencer.build(codes)?.tokens.0;
        let raw = Policy { normalize: crate::weights::Normalize::None, ..policy.clone() };
        let weights = raw.weigh::<_, _, Ix2>(layout, sequencer, codes)?.steps.0;
        let streams = layout.streams();
        let letters = Array2::from_shape_fn(codes.0.dim(), |(k, t)| letter(&streams[k], codes.0[(k, t)]));
        let letters = sequencer.shift(&Frames(letters), |_| FILLS)?.0;
        let cell = |at| Cell { letter: letters[at], token: tokens[at], weight: weights[at] };
        let rows = streams.iter().enumerate().map(|(k, stream)| Row {
            name: stream.name.clone(),
            cells: (0..tokens.ncols()).map(|s| cell((k, s))).collect(),
        });
        Ok(Picture { rows: rows.collect(), steps: tokens.ncols() })
    }
}

const FILLS: Fills<char> = Fills { head: 'i', between: 'n', tail: 'p', bos: 'b', eos: 'e' };

/// What a code is.
fn letter(stream: &Stream, code: i64) -> char {
    match code {
        ABSENT => '-',
        UNGENERATED => '?',
        _ if stream.kind == Kind::Semantic => 's',
        _ if stream.kind == Kind::Acoustic => 'a',
        _ if code == i64::from(stream.pad) => 'P',
        _ if stream.end_pad.map(i64::from) == Some(code) => 'E',
        _ => 'w',
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::delay::{Bracket, Pattern};
    use crate::{Delay, Extent, Start};

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

    #[test]
    fn fills_are_told_apart() {
        let letters = |layout: &Layout, sequencer: &Delay| {
            let codes = Array2::from_elem((layout.streams().len(), 2), 4);
            let picture = Picture::new(layout, sequencer, &Policy::named("moshi").unwrap(), &Frames(codes.view()));
            let letters = |row: Row| row.cells.iter().map(|cell| cell.letter).collect::<String>();
            picture.unwrap().rows.into_iter().map(letters).collect::<Vec<_>>()
        };
        let layout = Layout::preset("musicgen").unwrap();
        let bracketed = Layout::preset("higgs-v2").unwrap();
        let delay = Delay::new(&bracketed, Extent::Truncate, Start::None).bracketed(&bracketed, Bracket::BOTH).unwrap();
        assert_eq!(letters(&bracketed, &delay)[..5], ["baae", "ibaa", "iiba", "iiib", "iiii"]);
        let delay = Delay::new(&layout, Extent::Extend, Start::None);
        assert_eq!(letters(&layout, &delay), ["aappp", "iaapp", "iiaap", "iiiaa"]);
    }

    #[test]
    fn a_pattern_has_fills_between() {
        let layout = Layout::preset("delay-1").unwrap();
        let plan = "flatten".parse::<Pattern>().unwrap().plan(&layout, 2, Extent::Extend, Start::None).unwrap();
        let codes = arr2(&[[1, 2], [1, 2], [1, 2]]);
        let picture = Picture::new(&layout, &plan, &Policy::named("moshi").unwrap(), &Frames(codes.view())).unwrap();
        let letters: Vec<String> =
            picture.rows.iter().map(|row| row.cells.iter().map(|cell| cell.letter).collect()).collect();
        assert_eq!(letters, ["wnnwpp", "isnnsp", "iianna"]);
    }
}
