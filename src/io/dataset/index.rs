//! What is known of each segment without decoding it, and how it is kept beside the dataset.
//!
//! ```text
//! index.bin   RLINDEX1  stamp  n g b  frames   ends     order    valid  blocks          ids       sum
//! bytes       8         32     8 8 8  4 n      8 n      4 n      n / 8  (4 + 4) g       b         8
//!                                     length   of ids   by id    bits   part, segments  one text
//! ```
//!
//! Numbers are little-endian. The stamp says what the index was made of; one of something else, a damaged one, and one
//! that contradicts `dataset.json` are made anew.

use std::ops::Range;

use crate::batch::Split;
use crate::error::{Error, Result};
use crate::io::parts::Head;

const MAGIC: &[u8; 8] = b"RLINDEX1";
const HEADER: usize = 64;
const SUM: usize = 8;

/// Every segment's length, split and id, and the row group that holds it.
///
/// Segments are numbered in the order of parts and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    frames: Vec<u32>,
    /// Where the id of each ends in `ids`.
    ends: Vec<u64>,
    /// Segments by id; of equal ids the first comes first.
    order: Vec<u32>,
    /// A bit for each segment that is held out.
    valid: Vec<u8>,
    blocks: Vec<Range<usize>>,
    places: Vec<Place>,
    ids: String,
}

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub part: usize,
    /// Row group within the part.
    pub group: usize,
}

impl Index {
    /// Number of segments.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Frames of each segment.
    pub fn frames(&self) -> &[u32] {
        &self.frames
    }

    /// On which side of the split a segment is.
    ///
    /// # Panics
    /// If there is no such segment, as all that take a segment's number here.
    pub fn split(&self, segment: usize) -> Split {
        assert!(segment < self.len(), "segment {segment} of {}", self.len());
        if self.valid[segment / 8] >> (segment % 8) & 1 == 1 { Split::Valid } else { Split::Train }
    }

    /// The id of a segment.
    pub fn id(&self, segment: usize) -> &str {
        let start = segment.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start as usize..self.ends[segment] as usize]
    }

    /// The number of the segment of an id; the first, if there are several.
    pub fn number(&self, id: &str) -> Option<usize> {
        let at = self.order.partition_point(|&segment| self.id(segment as usize) < id);
        let segment = *self.order.get(at)? as usize;
        (self.id(segment) == id).then_some(segment)
    }

    /// The segments of each row group: what is read and decoded together. A group without any has an empty range.
    pub fn blocks(&self) -> &[Range<usize>] {
        &self.blocks
    }

    /// The block that holds a segment.
    pub fn block_of(&self, segment: usize) -> usize {
        self.blocks.partition_point(|block| block.end <= segment)
    }

    pub(super) fn place(&self, block: usize) -> Place {
        self.places[block]
    }

    /// Brings together what all row groups of all parts say.
    pub(super) fn build(parts: Vec<Vec<Vec<Head>>>) -> Result<Self> {
        let (mut index, mut blocks) = (Index::empty(), Vec::new());
        for (part, groups) in parts.into_iter().enumerate() {
            for group in groups {
                blocks.push((part as u32, group.len() as u32));
                group.into_iter().for_each(|head| index.push(&head));
            }
        }
        let count = index.len();
        let count = u32::try_from(count).map_err(|_| Error::over_limit("number of segments", count, u32::MAX))?;
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_unstable_by_key(|&segment| (index.id(segment as usize), segment));
        index.order = order;
        index.set_blocks(&blocks);
        Ok(index)
    }

    fn empty() -> Self {
        Index {
            frames: Vec::new(),
            ends: Vec::new(),
            order: Vec::new(),
            valid: Vec::new(),
            blocks: Vec::new(),
            places: Vec::new(),
            ids: String::new(),
        }
    }

    fn push(&mut self, head: &Head) {
        let bit = self.len() % 8;
        if bit == 0 {
            self.valid.push(0);
        }
        if let (Split::Valid, Some(bits)) = (head.split, self.valid.last_mut()) {
            *bits |= 1 << bit;
        }
        self.frames.push(head.frames);
        self.ids.push_str(&head.id);
        self.ends.push(self.ids.len() as u64);
    }

    /// Part and number of segments of each block, in order of the parts.
    fn set_blocks(&mut self, blocks: &[(u32, u32)]) {
        let mut end = 0;
        for &(part, rows) in blocks {
            let (part, start) = (part as usize, end);
            let group = self.places.last().filter(|last| last.part == part).map_or(0, |last| last.group + 1);
            end += rows as usize;
            self.blocks.push(start..end);
            self.places.push(Place { part, group });
        }
    }

    /// The file's bytes, for what has this stamp.
    pub(super) fn to_bytes(&self, stamp: &[u8; 32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 17 * self.len() + 8 * self.blocks.len() + self.ids.len() + SUM);
        bytes.extend(MAGIC);
        bytes.extend(stamp);
        let counts = [self.len(), self.blocks.len(), self.ids.len()];
        bytes.extend(counts.into_iter().flat_map(|n| (n as u64).to_le_bytes()));
        bytes.extend(self.frames.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(self.ends.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(self.order.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(&self.valid);
        for (place, block) in self.places.iter().zip(&self.blocks) {
            bytes.extend([place.part as u32, block.len() as u32].into_iter().flat_map(u32::to_le_bytes));
        }
        bytes.extend(self.ids.as_bytes());
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// The index that these bytes hold; none if they are damaged, or not of what has this stamp and parts of so many
    /// segments.
    pub(super) fn from_bytes(bytes: &[u8], stamp: &[u8; 32], rows: &[u64]) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk()?;
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let known = header.starts_with(MAGIC) && header[8..40] == *stamp;
        if !known || checksum(bytes) != u64::from_le_bytes(*sum) {
            return None;
        }
        let counts: Vec<usize> =
            words(&header[40..], u64::from_le_bytes).map(|n| n.try_into().ok()).collect::<Option<_>>()?;
        let index = Index::parse(rest, counts.try_into().ok()?)?;
        (index.is_sound() && index.rows_of(rows.len()).as_deref() == Some(rows)).then_some(index)
    }

    fn parse(bytes: &[u8], [segments, blocks, ids]: [usize; 3]) -> Option<Self> {
        let mut rest = bytes;
        let mut take = |count: usize, size: usize| rest.split_off(..count.checked_mul(size)?);
        let frames = words(take(segments, 4)?, u32::from_le_bytes).collect();
        let ends = words(take(segments, 8)?, u64::from_le_bytes).collect();
        let order = words(take(segments, 4)?, u32::from_le_bytes).collect();
        let valid = take(segments.div_ceil(8), 1)?.to_vec();
        let blocks = take(blocks, 8)?;
        let ids = std::str::from_utf8(take(ids, 1)?).ok()?.to_owned();
        let mut index = Index { frames, ends, order, valid, ids, ..Index::empty() };
        index.set_blocks(&pairs(blocks));
        rest.is_empty().then_some(index)
    }

    /// Whether nothing in it leads outside: a checksum keeps no one from writing nonsense.
    fn is_sound(&self) -> bool {
        let ends = self.ends.iter().all(|&end| self.ids.is_char_boundary(end as usize)) && self.ends.is_sorted();
        let whole = self.ends.last().map_or(0, |&end| end) == self.ids.len() as u64;
        let known = self.order.iter().all(|&segment| (segment as usize) < self.len());
        let covered = self.blocks.last().map_or(0, |block| block.end) == self.len();
        ends && whole && known && covered && self.places.is_sorted_by_key(|place| place.part)
    }

    /// Segments of each of so many parts; none if there are more parts.
    fn rows_of(&self, parts: usize) -> Option<Vec<u64>> {
        let mut rows = vec![0; parts];
        for (place, block) in self.places.iter().zip(&self.blocks) {
            *rows.get_mut(place.part)? += block.len() as u64;
        }
        Some(rows)
    }
}

fn words<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| read(*chunk))
}

fn pairs(bytes: &[u8]) -> Vec<(u32, u32)> {
    let numbers: Vec<u32> = words(bytes, u32::from_le_bytes).collect();
    numbers.as_chunks::<2>().0.iter().map(|&[part, rows]| (part, rows)).collect()
}

/// A sum that a change of any one word of eight bytes changes; the last is filled with zeros.
fn checksum(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let add =
        |sum: u64, word: [u8; 8]| (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    add(chunks.iter().fold(bytes.len() as u64, |sum, word| add(sum, *word)), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(id: &str, frames: u32, split: Split) -> Head {
        Head { id: id.into(), frames, split }
    }

    /// Two parts: two groups, then an empty one and one more.
    fn sample() -> Index {
        let (train, valid) = (Split::Train, Split::Valid);
        let first = vec![vec![head("b", 4, train), head("ä", 0, valid)], vec![head("", 7, valid)]];
        let second = vec![vec![], vec![head("a", 1, train), head("b", 2, train)]];
        Index::build(vec![first, second]).unwrap()
    }

    #[test]
    fn an_index_knows_each_segment_and_its_place() {
        let index = sample();
        assert_eq!((index.len(), index.frames()), (5, &[4, 0, 7, 1, 2][..]));
        assert_eq!((0..5).map(|n| index.id(n)).collect::<Vec<_>>(), ["b", "ä", "", "a", "b"]);
        assert_eq!(
            ["b", "ä", "", "a", "c", "ä\0"].map(|id| index.number(id)),
            [Some(0), Some(1), Some(2), Some(3), None, None]
        );
        assert_eq!((0..5).filter(|&n| index.split(n) == Split::Valid).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(index.blocks(), [0..2, 2..3, 3..3, 3..5]);
        assert_eq!([0, 1, 2, 3, 4].map(|n| index.block_of(n)), [0, 0, 1, 3, 3]);
        assert_eq!(index.place(3), Place { part: 1, group: 1 });
    }

    #[test]
    fn an_index_comes_back_from_its_bytes_and_from_no_others() {
        let (index, stamp) = (sample(), [7; 32]);
        let bytes = index.to_bytes(&stamp);
        let read = |bytes: &[u8]| Index::from_bytes(bytes, &stamp, &[3, 2]);
        assert_eq!(read(&bytes), Some(index.clone()));
        assert_eq!(Index::from_bytes(&bytes, &[8; 32], &[3, 2]), None);
        for rows in [&[3][..], &[3, 2, 1], &[2, 3], &[]] {
            assert_eq!(Index::from_bytes(&bytes, &stamp, rows), None, "{rows:?}");
        }
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(read(&damaged), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn nonsense_with_a_right_sum_is_no_index_or_leads_nowhere() {
        let stamp = [7; 32];
        let bytes = sample().to_bytes(&stamp);
        let (end, mut refused) = (bytes.len() - SUM, 0);
        for at in 40..end {
            for byte in [0, 1, 2, 255] {
                let mut other = bytes[..end].to_vec();
                other[at] = byte;
                other.extend(checksum(&other).to_le_bytes());
                let Some(index) = Index::from_bytes(&other, &stamp, &[3, 2]) else {
                    refused += 1;
                    continue;
                };
                (0..index.len()).for_each(|n| _ = (index.id(n), index.split(n), index.place(index.block_of(n))));
                assert!(index.number("b").is_none_or(|n| n < 5));
            }
        }
        assert!(refused > 200, "{refused}");
    }

    #[test]
    fn a_dataset_without_segments_has_an_index() {
        for parts in [vec![], vec![vec![vec![]]]] {
            let index = Index::build(parts.clone()).unwrap();
            assert!(index.is_empty() && index.number("").is_none());
            let bytes = index.to_bytes(&[0; 32]);
            assert_eq!(Index::from_bytes(&bytes, &[0; 32], &vec![0; parts.len()]), Some(index));
        }
    }
}
