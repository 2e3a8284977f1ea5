//! The rows of a batch as slices, whatever the strides of its views.

use ndarray::{ArrayView1, ArrayView3, ArrayViewMut1, ArrayViewMut3, Axis};

/// Calls `work` on each row with its index of stream.
pub(crate) fn read_rows<A: Copy>(from: ArrayView3<A>, mut work: impl FnMut(usize, &[A])) {
    let mut spare = Vec::new();
    for example in from.outer_iter() {
        for (k, row) in example.outer_iter().enumerate() {
            work(k, as_slice(row, &mut spare));
        }
    }
}

/// Calls `work` on each row of codes with its index of stream and the row to write, both as slices.
pub(crate) fn each_row<A: Copy, B: Copy>(
    from: ArrayView3<A>,
    mut to: ArrayViewMut3<B>,
    mut work: impl FnMut(usize, &[A], &mut [B]),
) {
    let mut spare = Vec::new();
    for (example, mut to) in from.outer_iter().zip(to.outer_iter_mut()) {
        for (k, (row, to)) in example.outer_iter().zip(to.outer_iter_mut()).enumerate() {
            let row = as_slice(row, &mut spare);
            on_slice(to, |to| work(k, row, to));
        }
    }
}

/// [`each_row`] for what is the same in every example of a batch: worked out once and copied.
pub(crate) fn alike<A: Copy, B: Copy>(
    from: ArrayView3<A>,
    to: ArrayViewMut3<B>,
    work: impl FnMut(usize, &[A], &mut [B]),
) {
    let (mut first, mut others) = to.split_at(Axis(0), 1.min(from.len_of(Axis(0))));
    each_row(from, first.view_mut(), work);
    for (first, mut other) in first.outer_iter().cycle().zip(others.outer_iter_mut()) {
        match (first.to_slice(), other.as_slice_mut()) {
            (Some(first), Some(other)) => other.copy_from_slice(first),
            _ => other.assign(&first),
        }
    }
}

/// A row without gaps between its cells; `spare` holds it where it has some.
pub(crate) fn as_slice<'a, A: Copy>(row: ArrayView1<'a, A>, spare: &'a mut Vec<A>) -> &'a [A] {
    match row.to_slice() {
        Some(row) => row,
        None => {
            spare.clear();
            spare.extend(row.iter().copied());
            spare
        }
    }
}

/// Lets `work` write to a row that may have gaps between its cells.
pub(crate) fn on_slice<B: Copy>(mut row: ArrayViewMut1<B>, work: impl FnOnce(&mut [B])) {
    if let Some(row) = row.as_slice_mut() {
        return work(row);
    }
    let mut own = row.to_vec();
    work(&mut own);
    row.iter_mut().zip(own).for_each(|(cell, value)| *cell = value);
}
