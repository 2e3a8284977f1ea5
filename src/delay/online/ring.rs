//! The last columns of every row, each stream read at its own lag.

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use crate::error::{Error, Result};

/// Tokens kept in all rows together: a bound on what a layout's delays can make us allocate.
const MAX_TOKENS: usize = 1 << 28;

/// Columns kept for each row of the batch, in a buffer four times as long.
///
/// ```text
/// slot     0    1    2    3    4    5    6    7       lags 0 and 1: one column is kept
/// holds   c8   c9   c3   c4   c5   c6   c7   c8
///               ^ newest
/// ```
///
/// A column is written behind the last one and its stream with lag n is read n slots before it, at a place that does
/// not depend on the step. At the end of the buffer the kept columns move to its beginning. A ring that wraps would
/// need half the memory, and a test for each token read.
#[derive(Debug, Clone)]
pub(super) struct Ring<A> {
    lags: Vec<usize>,
    /// Where each stream's token lies, counted from the oldest column kept.
    reads: Vec<usize>,
    /// Tokens in the columns that are kept besides the newest.
    kept: usize,
    /// Tokens in a row's buffer.
    size: usize,
    /// `[batch, slot, stream]`.
    tokens: Vec<A>,
    /// For each row, where its next column begins.
    next: Vec<usize>,
}

impl<A: Copy> Ring<A> {
    /// Rows with `fill`, one id for each stream, in every column.
    pub fn new(lags: Vec<usize>, batch: usize, fill: &[A]) -> Result<Self> {
        if batch == 0 {
            return Err(Error::invalid("batch", batch, "1 or more"));
        }
        let (streams, most) = (lags.len(), lags.iter().max().copied().unwrap_or(0));
        let slots = 4 * (most + 1);
        let all = slots.saturating_mul(streams.max(1)).saturating_mul(batch);
        if all > MAX_TOKENS {
            return Err(Error::over_limit("number of tokens kept between steps", all, MAX_TOKENS));
        }
        let reads = lags.iter().enumerate().map(|(k, lag)| (most - lag) * streams + k).collect();
        let (kept, size) = (most * streams, slots * streams);
        Ok(Ring { lags, reads, kept, size, tokens: fill.repeat(slots * batch), next: vec![kept; batch] })
    }

    pub fn streams(&self) -> usize {
        self.reads.len()
    }

    pub fn batch(&self) -> usize {
        self.next.len()
    }

    /// Takes a row's next column and gives what each stream held `lag` columns before it.
    pub fn take(&mut self, row: usize, column: &[A], out: &mut [A]) {
        let first = self.advance(row);
        let columns = &mut self.tokens[first..][..self.kept + self.reads.len()];
        columns[self.kept..].copy_from_slice(column);
        for (out, &read) in out.iter_mut().zip(&self.reads) {
            *out = columns[read];
        }
    }

    /// Takes many columns of a row at once; the first `skip` results are not written.
    ///
    /// # Shapes
    /// `[stream, time]`, both of one length.
    pub fn take_many(&mut self, row: usize, columns: ArrayView2<A>, mut out: ArrayViewMut2<A>, skip: usize) {
        let time = columns.ncols();
        for (k, &lag) in self.lags.iter().enumerate() {
            for t in skip..lag.min(time) {
                out[[k, t]] = self.past(row, k, lag - t);
            }
            let first = skip.max(lag);
            if first < time {
                let held = columns.row(k).split_at(Axis(0), first - lag).1.split_at(Axis(0), time - first).0;
                out.row_mut(k).split_at(Axis(0), first).1.assign(&held);
            }
        }
        let unread = time.saturating_sub(self.most());
        for column in columns.axis_iter(Axis(1)).skip(unread) {
            self.push(row, column.iter().copied());
        }
    }

    /// Takes a row's next column and gives nothing.
    pub fn push(&mut self, row: usize, column: impl Iterator<Item = A>) {
        let newest = self.advance(row) + self.kept;
        for (slot, token) in self.tokens[newest..].iter_mut().zip(column) {
            *slot = token;
        }
    }

    /// Forgets a row's newest column, as if it had not been taken.
    ///
    /// The column that fell out for it stays lost. Nothing but [`Ring::newest`] would read it.
    pub fn take_back(&mut self, row: usize) {
        self.next[row] -= self.streams();
    }

    /// What [`Ring::take`] would have given for the row's newest column.
    pub fn newest(&self, row: usize, out: &mut [A]) {
        for (k, (out, lag)) in out.iter_mut().zip(&self.lags).enumerate() {
            *out = self.past(row, k, lag + 1);
        }
    }

    /// Fills a row's columns anew.
    pub fn clear(&mut self, row: usize, fill: &[A]) {
        for _ in 0..self.most() {
            self.push(row, fill.iter().copied());
        }
    }

    /// The largest lag: columns that may yet be read.
    fn most(&self) -> usize {
        self.lags.iter().max().copied().unwrap_or(0)
    }

    /// Makes room for a row's next column and says where the oldest kept one begins.
    fn advance(&mut self, row: usize) -> usize {
        let (buffer, kept) = (row * self.size, self.kept);
        let mut at = self.next[row];
        if at == self.size {
            self.tokens.copy_within(buffer + at - kept..buffer + at, buffer);
            at = kept;
        }
        self.next[row] = at + self.reads.len();
        buffer + at - kept
    }

    /// What stream `k` held `age` columns before the next one: up to the largest lag, and one more after a column.
    fn past(&self, row: usize, k: usize, age: usize) -> A {
        self.tokens[row * self.size + self.next[row] - age * self.streams() + k]
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn the_memory_stays_where_it_is() {
        let mut ring = Ring::new(vec![0, 3, 1], 2, &[7, 8, 9]).unwrap();
        let place = |ring: &Ring<i64>| (ring.tokens.as_ptr(), ring.tokens.capacity(), ring.next.as_ptr());
        let before = place(&ring);
        let mut out = [0; 3];
        for step in 0..100 {
            ring.take(step % 2, &[1, 2, 3], &mut out);
            ring.push(1, [4, 5, 6].into_iter());
            ring.take_many(0, Array2::zeros((3, 7)).view(), Array2::zeros((3, 7)).view_mut(), 2);
            ring.clear(1, &[7, 8, 9]);
        }
        assert_eq!(place(&ring), before);
    }
}
