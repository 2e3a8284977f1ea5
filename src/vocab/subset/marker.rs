//! The token in a row that asks for a subset.
//!
//! ```text
//! position       0    1    2    3    4    5    6
//! row            a    b  [SUB]  c    d  [SUB]  e
//! query          -    -    0    0    0    1    1       whose subset the position's logits are over; - none yet
//! labels                  c    d  [SUB]  e   ..        what is said there: the next id
//! ```
//! The query is made of the hidden numbers at the marker, which have seen all before it; so the word right behind it is
//! already said from the subset. The last word said from a subset is the next marker, which therefore belongs to it.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};

use crate::token::Token;

/// A marker in a row, and where its query applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Row of the batch.
    pub row: usize,
    /// Where the marker stands: the hidden numbers there are the query.
    pub at: usize,
    /// Positions whose logits are over its subset.
    pub positions: Range<usize>,
}

impl Query {
    /// Labels that its subset must hold: what follows each of its positions, the next marker included. Absent ids are
    /// left out, and each is named once, in rising order.
    ///
    /// # Shapes
    /// `tokens` is the batch, `[B, T]`, that the query was found in.
    pub fn labels<T: Token>(&self, tokens: ArrayView2<T>) -> Vec<u32> {
        let row = tokens.index_axis(Axis(0), self.row);
        let said = row.iter().take(self.positions.end + 1).skip(self.positions.start + 1);
        let mut labels: Vec<u32> = said.filter_map(|&id| u32::try_from(id.into()).ok()).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

/// Finds the markers of a batch, row by row and from left to right.
///
/// # Shapes
/// `tokens` is `[B, T]`.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::vocab::subset::marker::{assign, queries};
///
/// let tokens = arr2(&[[4i32, 99, 7, 8, 99, 5], [1, 2, 3, 4, 5, 6]]);
/// let found = queries(tokens.view(), 99);
/// assert_eq!((found.len(), found[0].at, found[0].positions.clone()), (2, 1, 1..4));
/// assert_eq!(found[0].labels(tokens.view()), [7, 8, 99]);
/// assert_eq!(found[1].labels(tokens.view()), [5]);
/// assert_eq!(assign(&found, (2, 6)), arr2(&[[-1, 0, 0, 0, 1, 1], [-1; 6]]));
/// ```
pub fn queries<T: Token>(tokens: ArrayView2<T>, marker: i64) -> Vec<Query> {
    tokens.outer_iter().enumerate().flat_map(|(row, ids)| in_row(row, ids.iter().copied(), marker)).collect()
}

fn in_row<T: Token>(row: usize, ids: impl ExactSizeIterator<Item = T>, marker: i64) -> Vec<Query> {
    let end = ids.len();
    let marks = ids.enumerate().filter(|(_, id)| (*id).into() == marker).map(|(at, _)| at);
    let mut found: Vec<Query> = marks.map(|at| Query { row, at, positions: at..end }).collect();
    for next in 1..found.len() {
        found[next - 1].positions.end = found[next].at;
    }
    found
}

/// Which query is for each position; -1 where there is none yet.
///
/// # Shapes
/// Returns `[B, T]`, which is `shape`.
pub fn assign(queries: &[Query], shape: (usize, usize)) -> Array2<i32> {
    let mut whose = Array2::from_elem(shape, -1);
    for (number, query) in queries.iter().enumerate() {
        whose.row_mut(query.row).slice_mut(ndarray::s![query.positions.clone()]).fill(number as i32);
    }
    whose
}
