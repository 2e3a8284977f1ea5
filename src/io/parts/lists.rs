//! A column of lists of lists of integers: codes, as lengths and all their values.
//!
//! ```text
//! [[3 0 812] [5 6 7]]  [[3] []]     rows     2 2
//!                                   lengths  3 3  1 0
//!                                   values   3 0 812 5 6 7  3
//! ```
//!
//! Rows of codes are long, so their levels come in runs: a level is looked at once for its run, and not once a value.

use std::ops::Range;

use parquet::basic::Encoding;
use parquet::column::page::Page;

use super::integers::{Integers, PACK};
use super::levels::{Runs, ended, take};
use crate::error::{Error, Result};

/// What the definition levels of a column say.
#[derive(Debug, Clone, Copy)]
pub(in crate::io) struct Depth {
    pub value: i16,
    pub empty_list: i16,
    pub empty_row: i16,
}

impl Depth {
    /// That of lists of which nothing can be null.
    pub const FULL: Depth = Depth { value: 2, empty_list: 1, empty_row: 0 };
}

/// Lists of lists of a row group.
#[derive(Debug, Default)]
pub(in crate::io) struct Lists {
    values: Vec<i32>,
    /// Values of each inner list.
    lengths: Vec<u32>,
    /// Inner lists of each row.
    rows: Vec<u32>,
    /// Where reading is: row, list and value.
    at: (usize, usize, usize),
}

impl Lists {
    /// The values of the next row, one list after another, and the length of each.
    pub fn next(&mut self) -> Result<(&[i32], &[u32])> {
        let (row, list, value) = self.at;
        let lists = *self.rows.get(row).ok_or_else(|| disorder("fewer rows than its row group"))? as usize;
        let lengths = &self.lengths[list..list + lists];
        let values: Range<usize> = value..value + lengths.iter().map(|&length| length as usize).sum::<usize>();
        self.at = (row + 1, list + lists, values.end);
        Ok((&self.values[values], lengths))
    }
}

/// Brings together the pages of a column.
pub(super) struct Reader {
    lists: Lists,
    integers: Integers,
    depth: Depth,
    /// Rows of the row group.
    rows: usize,
    /// Whether one more value would belong to the list that was last.
    open: bool,
}

impl Reader {
    /// For so many rows, which hold at most so many values, each of 4 or 8 bytes in the file.
    pub fn new(depth: Depth, rows: usize, values: usize, size: usize) -> Self {
        let lists = Lists { values: Vec::with_capacity(values + PACK), ..Lists::default() };
        Reader { lists, integers: Integers { size, dictionary: Vec::new() }, depth, rows, open: false }
    }

    /// Adds a page.
    pub fn add(&mut self, page: &Page) -> Result<()> {
        let (bytes, count) = (&page.buffer()[..], page.num_values());
        match page {
            Page::DictionaryPage { .. } => self.integers.set_dictionary(bytes, count as usize),
            Page::DataPage { encoding, def_level_encoding, rep_level_encoding, .. } => {
                if [*def_level_encoding, *rep_level_encoding] != [Encoding::RLE; 2] {
                    return Err(disorder("levels that are not in runs"));
                }
                let mut bytes = bytes;
                let (rep, def) = (prefixed(&mut bytes)?, prefixed(&mut bytes)?);
                self.data(*encoding, rep, def, bytes, count)
            }
            Page::DataPageV2 { encoding, rep_levels_byte_len, def_levels_byte_len, .. } => {
                let mut bytes = bytes;
                let rep = take(&mut bytes, u64::from(*rep_levels_byte_len))?;
                let def = take(&mut bytes, u64::from(*def_levels_byte_len))?;
                self.data(*encoding, rep, def, bytes, count)
            }
        }
    }

    fn data(&mut self, encoding: Encoding, rep: &[u8], def: &[u8], bytes: &[u8], count: u32) -> Result<()> {
        let (mut reps, mut defs) = (Runs::of_levels(rep, 2), Runs::of_levels(def, self.depth.value));
        let (mut rep, mut def, mut left, mut values) = ((0, 0), (0, 0), u64::from(count), 0);
        while left > 0 {
            if rep.1 == 0 {
                rep = reps.next(left)?;
            }
            if def.1 == 0 {
                def = defs.next(left)?;
            }
            let both = rep.1.min(def.1);
            values += self.levels(rep.0, def.0 as i16, both as usize)?;
            (rep.1, def.1, left) = (rep.1 - both, def.1 - both, left - both);
        }
        self.integers.read(encoding, bytes, values, &mut self.lists.values)
    }

    /// Adds equal levels, so many, and returns the number of values that they bring.
    fn levels(&mut self, rep: u32, def: i16, count: usize) -> Result<usize> {
        let (lists, full) = (&mut self.lists, def == self.depth.value);
        match (rep, lists.rows.last_mut(), lists.lengths.last_mut()) {
            (2, Some(_), Some(last)) if full && self.open => *last += count as u32,
            (1, Some(row), _) if *row > 0 && (full || def == self.depth.empty_list) => {
                *row += count as u32;
                lists.lengths.extend(std::iter::repeat_n(u32::from(full), count));
            }
            (0, ..) if full || [self.depth.empty_list, self.depth.empty_row].contains(&def) => {
                if count > self.rows - lists.rows.len() {
                    return Err(disorder("more rows than its row group"));
                }
                let empty = def == self.depth.empty_row;
                lists.rows.extend(std::iter::repeat_n(u32::from(!empty), count));
                lists.lengths.extend(std::iter::repeat_n(u32::from(full), if empty { 0 } else { count }));
            }
            (0..=2, ..) if (0..self.depth.value).contains(&def) => {
                return Err(disorder("a null, or lists out of order"));
            }
            _ => return Err(disorder("levels that do not nest")),
        }
        self.open = full;
        Ok(if full { count } else { 0 })
    }

    /// The lists, of which every page was added.
    pub fn finish(self) -> Result<Lists> {
        match self.lists.rows.len() == self.rows {
            true => Ok(self.lists),
            false => Err(disorder("fewer rows than its row group")),
        }
    }
}

/// Levels with their length in front.
fn prefixed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = take(bytes, 4)?.try_into().map_err(|_| ended())?;
    take(bytes, u32::from_le_bytes(length).into())
}

fn disorder(found: &str) -> Error {
    Error::malformed("part", format!("a column has {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds levels one by one.
    fn lists(levels: &[(u32, i16)], depth: Depth, rows: usize) -> Result<Lists> {
        let mut reader = Reader::new(depth, rows, 0, 4);
        for &(rep, def) in levels {
            let count = reader.levels(rep, def, 1)?;
            reader.lists.values.extend((0..count).map(|_| 7));
        }
        reader.finish()
    }

    #[test]
    fn levels_make_the_lists_that_they_stand_for() {
        let levels = [(0, 2), (2, 2), (1, 1), (0, 0), (0, 1), (1, 2), (1, 2), (2, 2)];
        let mut read = lists(&levels, Depth::FULL, 3).unwrap();
        assert_eq!(read.next().unwrap(), (&[7, 7][..], &[2, 0][..]));
        assert_eq!(read.next().unwrap(), (&[][..], &[][..]));
        assert_eq!(read.next().unwrap(), (&[7, 7, 7][..], &[0, 1, 2][..]));
        assert!(read.next().is_err());
    }

    #[test]
    fn levels_that_do_not_nest_are_errors() {
        let nullable = Depth { value: 5, empty_list: 3, empty_row: 1 };
        assert!(lists(&[(0, 5), (2, 5), (1, 3), (0, 1)], nullable, 2).is_ok());
        for def in [0, 2, 4] {
            assert!(lists(&[(0, def)], nullable, 1).is_err(), "null at {def}");
        }
        for levels in [
            &[(2, 2)][..],
            &[(1, 2)],
            &[(0, 2), (2, 1)],
            &[(0, 2), (1, 0)],
            &[(0, 0), (1, 2)],
            &[(0, 1), (2, 2)],
            &[(0, 2), (0, 0), (2, 2)],
            &[(0, 2), (3, 2)],
            &[(0, 3)],
            &[(0, 2), (0, 2), (0, 2)],
            &[(0, 2)],
        ] {
            assert!(lists(levels, Depth::FULL, 2).is_err(), "{levels:?}");
        }
    }
}
