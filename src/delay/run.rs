//! Stretches of a stream: which steps its frames take.
//!
//! ```text
//! columns          b  c0 c1 c2 c3  e         codes between their bracket, where there is one
//!                  └──────────────────┐
//! steps      h  h  b  c0 c1 c2 c3  e  t      one run: step 2, column 0, stride 1
//! steps      h  c0 n  c1 n  c2 n  c3  t      one run: step 1, column 0, stride 2
//!
//! h head fill, n fill in between, t tail fill, b and e begin and end of the stream
//! ```
//!
//! Every operation on a grid is one of two walks along a row's pieces: [`place`] to steps, [`take`] back to frames.

use std::ops::Range;
use std::slice;

use super::Sequencer;

/// A stretch of one stream: columns `column..column + len` at steps `step`, `step + stride` and so on.
///
/// A column is a frame, counted from the bracket's first column where the sequencer has a [`Bracket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Step of the first column.
    pub step: usize,
    /// First column.
    pub column: usize,
    /// Number of columns.
    pub len: usize,
    /// Steps from one column to the next, at least 1.
    pub stride: usize,
}

/// The runs of one stream, in ascending steps: a closed form, or a compiled list.
#[derive(Debug, Clone)]
pub enum Runs<'a> {
    /// One run, or none any more.
    One(Option<Run>),
    /// As they were compiled.
    Many(slice::Iter<'a, Run>),
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        match self {
            Runs::One(run) => run.take(),
            Runs::Many(runs) => runs.next().copied(),
        }
    }
}

/// Columns that a family adds to each stream before the shift: its own begin in front, its own end behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bracket {
    /// A column of each stream's `bos`.
    pub bos: bool,
    /// A column of each stream's `eos`.
    pub eos: bool,
}

impl Bracket {
    /// Both columns, as Higgs Audio and Dia are trained.
    pub const BOTH: Bracket = Bracket { bos: true, eos: true };

    /// Columns of `frames` frames and their bracket.
    pub fn columns(self, frames: usize) -> usize {
        frames + self.width()
    }

    /// Columns that are added.
    pub fn width(self) -> usize {
        usize::from(self.bos) + usize::from(self.eos)
    }
}

/// What stands where a stream has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fills<A = i64> {
    /// Before the stream's first column.
    pub head: A,
    /// Between its columns, where a pattern leaves steps free.
    pub between: A,
    /// After its last column.
    pub tail: A,
    /// In the bracket's first column.
    pub bos: A,
    /// In its last.
    pub eos: A,
}

impl<A: Copy> Fills<A> {
    /// Two fills: the second one also in between. A bracket's columns count as head and as tail.
    pub fn edges(head: A, tail: A) -> Self {
        Fills { head, between: tail, tail, bos: head, eos: tail }
    }

    /// The same everywhere.
    pub fn all(fill: A) -> Self {
        Fills::edges(fill, fill)
    }

    /// Each fill in another form.
    pub fn try_map<B, E>(self, map: impl Fn(A) -> Result<B, E>) -> Result<Fills<B>, E> {
        Ok(Fills {
            head: map(self.head)?,
            between: map(self.between)?,
            tail: map(self.tail)?,
            bos: map(self.bos)?,
            eos: map(self.eos)?,
        })
    }
}

impl Run {
    /// The step behind the last one.
    fn end(self) -> usize {
        self.step + self.len.saturating_sub(1) * self.stride + usize::from(self.len > 0)
    }
}

/// A run in a window of a sequence, apart from its bracket's columns.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Steps from the first column to the last, which lie behind those of the piece before; to the window's borders
    /// where the run goes on beyond them.
    steps: Range<usize>,
    /// Step of the first code.
    step: usize,
    stride: usize,
    /// Frames of the codes.
    pub frames: Range<usize>,
    /// Steps of the bracket's columns.
    bos: Option<usize>,
    pub eos: Option<usize>,
}

impl Piece {
    /// What is left of a run in a window of steps, and of its columns below `columns`.
    fn cut(run: Run, window: &Range<usize>, bracket: Bracket, columns: usize) -> Self {
        let columns_in = |steps: usize| steps.div_ceil(run.stride);
        // Columns that there are: codes may be shorter than what the runs were made for.
        let len = run.len.min(columns.saturating_sub(run.column));
        let passed = columns_in(window.start.saturating_sub(run.step)).min(len);
        let step = (run.step + passed * run.stride).saturating_sub(window.start).min(window.len());
        let column = (run.column + passed).min(columns);
        let left = len - passed;
        let room = columns_in(window.len() - step);
        let run = Run { step, column, len: left.min(room), stride: run.stride };
        let first = if passed > 0 { 0 } else { step };
        let steps = match left {
            // A run that lies before the window takes no step of it: what follows is a gap, or the tail.
            0 if passed > 0 => 0..0,
            _ => first..if left > room { window.len() } else { run.end() },
        };
        Piece::of(run, steps, bracket, columns)
    }

    fn of(run: Run, steps: Range<usize>, bracket: Bracket, columns: usize) -> Self {
        let bos = (bracket.bos && run.len > 0 && run.column == 0).then_some(run.step);
        let eos = (bracket.eos && run.len > 0 && run.column + run.len == columns).then(|| run.end() - 1);
        let inside = run.len - usize::from(bos.is_some()) - usize::from(eos.is_some());
        let step = run.step + usize::from(bos.is_some()) * run.stride;
        let first = (run.column + usize::from(bos.is_some())).saturating_sub(usize::from(bracket.bos));
        let first = first.min(columns - bracket.width());
        Piece { steps, step, stride: run.stride, frames: first..first + inside, bos, eos }
    }
}

/// The way of every stream through a window of a sequence: worked out once, walked for every row of a batch.
#[derive(Debug)]
pub(crate) struct Tracks {
    pieces: Vec<Piece>,
    /// Where each stream's pieces end.
    ends: Vec<usize>,
}

impl Tracks {
    /// Of `frames` frames in the `window` of steps.
    pub fn new(sequencer: &(impl Sequencer + ?Sized), frames: usize, window: Range<usize>) -> Self {
        let (bracket, streams) = (sequencer.bracket(), sequencer.stream_count());
        let columns = bracket.columns(frames);
        let mut tracks = Tracks { pieces: Vec::with_capacity(streams), ends: Vec::with_capacity(streams) };
        for k in 0..streams {
            let pieces = sequencer.runs(k, frames).map(|run| Piece::cut(run, &window, bracket, columns));
            tracks.pieces.extend(pieces);
            tracks.ends.push(tracks.pieces.len());
        }
        tracks
    }

    /// The pieces of stream `k`.
    pub fn of(&self, k: usize) -> &[Piece] {
        let first = if k == 0 { 0 } else { self.ends[k - 1] };
        &self.pieces[first..self.ends[k]]
    }
}

/// Writes the steps of a window: what `write` makes of stretches of codes, and fills.
pub(crate) fn place<A, B: Copy>(
    pieces: &[Piece],
    codes: &[A],
    steps: &mut [B],
    fills: &Fills<B>,
    write: impl Fn(&[A], &mut [B]),
) {
    let (mut written, mut gap) = (0, fills.head);
    for piece in pieces {
        steps[written..piece.steps.start].fill(gap);
        if piece.stride > 1 {
            steps[piece.steps.clone()].fill(fills.between);
        }
        piece.bos.into_iter().for_each(|step| steps[step] = fills.bos);
        piece.eos.into_iter().for_each(|step| steps[step] = fills.eos);
        let (codes, to) = (&codes[piece.frames.clone()], &mut steps[piece.step.min(piece.steps.end)..]);
        match piece.stride {
            1 => write(codes, &mut to[..codes.len()]),
            stride => {
                let cells = to.iter_mut().step_by(stride).zip(codes);
                cells.for_each(|(to, code)| write(slice::from_ref(code), slice::from_mut(to)));
            }
        }
        (written, gap) = (piece.steps.end, fills.between);
    }
    steps[written..].fill(fills.tail);
}

/// Writes the frames: what `write` makes of stretches of steps, `fill` elsewhere. A cell is `width` values long.
pub(crate) fn take<A, B: Copy>(
    pieces: &[Piece],
    steps: &[A],
    frames: &mut [B],
    width: usize,
    fill: B,
    write: impl Fn(&[A], &mut [B]),
) {
    let mut written = 0;
    for piece in pieces.iter().filter(|piece| !piece.frames.is_empty()) {
        let (first, last) = (piece.frames.start * width, piece.frames.end * width);
        frames[written..first].fill(fill);
        let (steps, frames) = (&steps[piece.step * width..], &mut frames[first..last]);
        match piece.stride {
            1 => write(&steps[..frames.len()], frames),
            stride if width == 1 => {
                let cells = steps.iter().step_by(stride).zip(frames);
                cells.for_each(|(cell, to)| write(slice::from_ref(cell), slice::from_mut(to)));
            }
            stride => {
                let cells = steps.chunks(width * stride).map(|cells| &cells[..width]);
                cells.zip(frames.chunks_mut(width)).for_each(|(cell, to)| write(cell, to));
            }
        }
        written = last;
    }
    frames[written..].fill(fill);
}
