//! Rows of a batch that wait, pause, end and reset each by itself: what both lines share.

use ndarray::{ArrayBase, ArrayView2, ArrayViewMut2, Axis, Data, DataMut, Ix2, Ix3};

use super::Act;
use super::ring::Ring;
use crate::error::{Error, ErrorKind, Result};

/// How many columns pass without effect, and how many more come out than go in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    /// Columns that a row takes without giving one.
    pub wait: usize,
    /// Columns that end a row, after its last token.
    pub tail: usize,
}

/// Rings, and how far each row is.
#[derive(Debug, Clone)]
pub(super) struct Rows<A> {
    ring: Ring<A>,
    /// What each stream gives before its first token.
    before: Vec<A>,
    /// What each stream takes after its last.
    after: Vec<A>,
    lengths: Lengths,
    /// Columns that each row takes until it has given its first, that one included.
    waits: Vec<usize>,
    /// Columns of its tail that each row has taken.
    flushed: Vec<usize>,
    /// Rows whose tail has begun.
    ending: usize,
    /// Tokens in a column of all rows.
    width: usize,
}

impl<A: Copy> Rows<A> {
    pub fn new(lags: Vec<usize>, lengths: Lengths, batch: usize, before: Vec<A>, after: Vec<A>) -> Result<Self> {
        let ring = Ring::new(lags, batch, &before)?;
        let (waits, flushed, width) = (vec![lengths.wait + 1; batch], vec![0; batch], batch * ring.streams());
        Ok(Rows { ring, before, after, lengths, waits, flushed, ending: 0, width })
    }

    pub fn batch(&self) -> usize {
        self.ring.batch()
    }

    pub fn tail(&self) -> usize {
        self.lengths.tail
    }

    pub fn waits(&self) -> &[usize] {
        &self.waits
    }

    /// Every row takes a column, `[batch, stream]`.
    pub fn step(&mut self, from: &[A], to: &mut [A]) -> Result<()> {
        self.check_column(from.len())?;
        self.check_column(to.len())?;
        if self.ending > 0 {
            (0..self.batch()).try_for_each(|row| self.check_act(row, Act::Take))?;
        }
        let streams = self.ring.streams();
        for row in 0..self.batch() {
            let cells = row * streams..(row + 1) * streams;
            self.take(row, Some(&from[cells.clone()]), &mut to[cells]);
        }
        Ok(())
    }

    /// Each row does what `acts` says of it.
    pub fn step_rows(&mut self, acts: &[Act], from: &[A], to: &mut [A]) -> Result<()> {
        self.check_column(from.len())?;
        self.check_column(to.len())?;
        check_batch("acts", acts.len(), self.batch())?;
        acts.iter().enumerate().try_for_each(|(row, &act)| self.check_act(row, act))?;
        let streams = self.ring.streams();
        for (row, act) in acts.iter().enumerate() {
            let cells = row * streams..(row + 1) * streams;
            match act {
                Act::Take => self.take(row, Some(&from[cells.clone()]), &mut to[cells]),
                Act::Flush => self.flush_row(row, &mut to[cells]),
                Act::Pause => {}
            }
        }
        Ok(())
    }

    /// Every row takes a column of its tail.
    pub fn flush(&mut self, to: &mut [A]) -> Result<()> {
        self.check_column(to.len())?;
        (0..self.batch()).try_for_each(|row| self.check_act(row, Act::Flush))?;
        let streams = self.ring.streams();
        for row in 0..self.batch() {
            self.flush_row(row, &mut to[row * streams..(row + 1) * streams]);
        }
        Ok(())
    }

    /// Every row takes as many columns as there are.
    pub fn prefill<S, M>(&mut self, from: &ArrayBase<S, Ix3>, to: &mut ArrayBase<M, Ix3>) -> Result<()>
    where
        S: Data<Elem = A>,
        M: DataMut<Elem = A>,
    {
        check_batch("rows", from.len_of(Axis(0)), self.batch())?;
        check_batch("rows", to.len_of(Axis(0)), self.batch())?;
        for row in 0..self.batch() {
            let (from, to) = (from.index_axis(Axis(0), row), to.index_axis_mut(Axis(0), row));
            self.check_prefill(row, &from, &to)?;
        }
        for (row, (from, to)) in from.outer_iter().zip(to.outer_iter_mut()).enumerate() {
            self.take_many(row, from, to);
        }
        Ok(())
    }

    /// One row takes as many columns as there are, `[stream, time]`.
    pub fn prefill_row(&mut self, row: usize, from: ArrayView2<A>, to: ArrayViewMut2<A>) -> Result<()> {
        check_row(row, self.batch())?;
        self.check_prefill(row, &from, &to)?;
        self.take_many(row, from, to);
        Ok(())
    }

    /// Starts a row anew.
    pub fn reset(&mut self, row: usize) -> Result<()> {
        check_row(row, self.batch())?;
        self.ring.clear(row, &self.before);
        self.ending -= usize::from(self.flushed[row] > 0);
        (self.waits[row], self.flushed[row]) = (self.lengths.wait + 1, 0);
        Ok(())
    }

    /// The row takes a column, or one of its tail where there is none.
    fn take(&mut self, row: usize, column: Option<&[A]>, to: &mut [A]) {
        let column = column.unwrap_or(&self.after);
        let wait = self.waits[row];
        self.waits[row] = wait.saturating_sub(1);
        match wait {
            0 | 1 => self.ring.take(row, column, to),
            _ => self.ring.push(row, column.iter().copied()),
        }
    }

    fn flush_row(&mut self, row: usize, to: &mut [A]) {
        self.ending += usize::from(self.flushed[row] == 0);
        self.flushed[row] += 1;
        self.take(row, None, to);
    }

    fn take_many(&mut self, row: usize, from: ArrayView2<A>, to: ArrayViewMut2<A>) {
        let (columns, wait) = (from.ncols(), self.waits[row]);
        self.waits[row] = wait.saturating_sub(columns);
        self.ring.take_many(row, from, to, columns.min(wait.saturating_sub(1)));
    }

    fn check_column(&self, found: usize) -> Result<()> {
        match found == self.width {
            true => Ok(()),
            false => Err(wrong_column(found, self.batch(), self.ring.streams())),
        }
    }

    fn check_act(&self, row: usize, act: Act) -> Result<()> {
        let flushed = self.flushed[row];
        match act {
            Act::Take if flushed > 0 => {
                Err(Error::invalid(format!("row {row}"), "at its tail", "a reset before it takes columns again"))
            }
            Act::Flush if flushed == self.tail() => {
                let expected = format!("at most {flushed} before a reset");
                Err(Error::invalid(format!("number of flushes of row {row}"), flushed + 1, expected))
            }
            _ => Ok(()),
        }
    }

    fn check_prefill<S, M>(&self, row: usize, from: &ArrayBase<S, Ix2>, to: &ArrayBase<M, Ix2>) -> Result<()>
    where
        S: Data<Elem = A>,
        M: Data<Elem = A>,
    {
        let expected = self.ring.streams();
        if let Some(&found) = [from.nrows(), to.nrows()].iter().find(|&&found| found != expected) {
            return Err(ErrorKind::StreamCount { found, expected }.into());
        }
        if to.ncols() != from.ncols() {
            let expected = format!("the {} that go in", from.ncols());
            return Err(Error::invalid("number of columns for the result", to.ncols(), expected));
        }
        self.check_act(row, Act::Take)
    }
}

/// Checks that there is one value for each row of the batch.
pub(super) fn check_batch(what: &str, found: usize, batch: usize) -> Result<()> {
    match found == batch {
        true => Ok(()),
        false => Err(Error::invalid(format!("number of {what}"), found, format!("{batch}, the batch"))),
    }
}

/// Checks that the batch has such a row.
pub(super) fn check_row(row: usize, batch: usize) -> Result<()> {
    match row < batch {
        true => Ok(()),
        false => Err(Error::invalid("row", row, format!("0..{batch}"))),
    }
}

#[cold]
pub(super) fn wrong_column(found: usize, batch: usize, streams: usize) -> Error {
    Error::invalid("length of a column", found, format!("{}, as [{batch}, {streams}]", batch * streams))
}
