//! Column chunks with their levels, and the rows in them.
//!
//! ```text
//! tokens of two words of one row, then a row without words:  [[5 6] []]  []
//! values  5 6            def  2 2 1 0      2 a token, 1 a word without any, 0 a row without words
//!                        rep  0 2 1 0      0 a new row, 1 a new word, 2 one more token of the same
//! ```

use crate::error::{Error, Result};

/// The values of one column of a row group, with levels unless the column is flat and never null.
#[derive(Debug)]
pub(in crate::io) struct Column<V> {
    pub values: Vec<V>,
    pub def: Vec<i16>,
    pub rep: Vec<i16>,
    /// Where reading is: index of the next level, and of the next value.
    at: (usize, usize),
}

impl<V> Default for Column<V> {
    fn default() -> Self {
        Column { values: Vec::new(), def: Vec::new(), rep: Vec::new(), at: (0, 0) }
    }
}

impl<V> Column<V> {
    /// Adds the row's value to a flat column.
    pub fn push(&mut self, value: V) {
        self.values.push(value);
    }

    /// Adds the row's list; `None` is a null element. Lists may also be of the fields of a struct.
    pub fn push_list(&mut self, list: impl IntoIterator<Item = Option<V>>, max_def: i16) {
        let before = self.def.len();
        for (i, value) in list.into_iter().enumerate() {
            self.push_level(if value.is_some() { max_def } else { max_def - 1 }, i16::from(i > 0));
            self.values.extend(value);
        }
        if self.def.len() == before {
            self.push_level(0, 0);
        }
    }

    /// Adds the row's list of lists.
    pub fn push_lists<L: IntoIterator<Item = V>>(&mut self, lists: impl IntoIterator<Item = L>) {
        let before = self.def.len();
        for (i, list) in lists.into_iter().enumerate() {
            let (outer, start) = (i16::from(i > 0), self.def.len());
            for value in list {
                self.push_level(2, if self.def.len() == start { outer } else { 2 });
                self.values.push(value);
            }
            if self.def.len() == start {
                self.push_level(1, outer);
            }
        }
        if self.def.len() == before {
            self.push_level(0, 0);
        }
    }

    fn push_level(&mut self, def: i16, rep: i16) {
        self.def.push(def);
        self.rep.push(rep);
    }
}

impl<V> Column<V> {
    /// The next row's value of a flat column.
    pub fn next(&mut self) -> Result<&V> {
        let value = self.values.get(self.at.1).ok_or_else(too_few)?;
        self.at.1 += 1;
        Ok(value)
    }

    /// The next row's list whose elements are never null.
    pub fn next_list(&mut self) -> Result<&[V]> {
        let (levels, start) = (self.row()?, self.at.1);
        let (def, rep) = (&self.def[levels.clone()], &self.rep[levels]);
        let count = if def[0] == 0 { 0 } else { def.len() };
        // A list without elements has one level, too.
        if def.len() != count.max(1)
            || def.iter().any(|&def| def != i16::from(count > 0))
            || rep[1..].iter().any(|&rep| rep != 1)
        {
            return Err(disorder());
        }
        self.at.1 += count;
        self.values.get(start..self.at.1).ok_or_else(too_few)
    }

    /// The next row's list whose elements may be null.
    pub fn next_sparse_list(&mut self) -> Result<Vec<Option<V>>>
    where
        V: Copy,
    {
        let levels = self.row()?;
        if self.def[levels.start] == 0 {
            return if levels.len() == 1 { Ok(Vec::new()) } else { Err(disorder()) };
        }
        let mut element = |i| match (self.def[i], self.rep[i]) {
            (2, 0..=1) => self.next().map(|value| Some(*value)),
            (1, 0..=1) => Ok(None),
            _ => Err(disorder()),
        };
        levels.map(&mut element).collect()
    }

    /// The levels of the next row: from a repetition level of 0 to the next one.
    fn row(&mut self) -> Result<std::ops::Range<usize>> {
        let start = self.at.0;
        if self.rep.get(start) != Some(&0) || self.def.len() != self.rep.len() {
            return Err(too_few());
        }
        let end = self.rep[start + 1..].iter().position(|&rep| rep == 0).map_or(self.rep.len(), |n| start + 1 + n);
        self.at.0 = end;
        Ok(start..end)
    }
}

fn too_few() -> Error {
    Error::malformed("part", "a column has fewer rows than its row group")
}

fn disorder() -> Error {
    Error::malformed("part", "the levels of a column do not nest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_picture() {
        let mut column = Column::default();
        column.push_lists([vec![5, 6], vec![]]);
        column.push_lists(Vec::<Vec<i32>>::new());
        assert_eq!((&column.def[..], &column.rep[..]), (&[2, 2, 1, 0][..], &[0, 2, 1, 0][..]));
    }

    #[test]
    fn lists_come_back() {
        let (mut full, mut sparse) = (Column::default(), Column::default());
        full.push_list([Some(5), Some(6)], 1);
        full.push_list([], 1);
        assert_eq!(full.next_list().unwrap(), [5, 6]);
        assert_eq!(full.next_list().unwrap(), [0; 0]);
        sparse.push_list([None, Some(6)], 2);
        sparse.push_list([], 2);
        assert_eq!(
            (sparse.next_sparse_list().unwrap(), sparse.next_sparse_list().unwrap()),
            (vec![None, Some(6)], vec![])
        );
        assert!(full.next_list().is_err() && sparse.next_sparse_list().is_err());
    }

    #[test]
    fn levels_that_do_not_nest_are_errors() {
        let column =
            |def: &[i16], rep: &[i16]| Column { def: def.into(), rep: rep.into(), values: vec![1; 9], at: (0, 0) };
        for (def, rep) in [(&[0, 1][..], &[0, 1][..]), (&[1, 1], &[0, 2]), (&[3], &[0]), (&[], &[]), (&[1], &[1])] {
            assert!(column(def, rep).next_list().is_err(), "{def:?} {rep:?}");
            assert!(column(def, rep).next_sparse_list().is_err(), "{def:?} {rep:?}");
        }
        assert!(column(&[1; 10], &[&[0][..], &[1; 9]].concat()).next_list().is_err());
    }
}
