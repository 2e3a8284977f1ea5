//! Integers of a page, decoded in bulk.
//!
//! ```text
//! DELTA_BINARY_PACKED    128, 4, count, first | least, 4 widths | 32 numbers | 32 numbers | ..
//!                        each number, and the least of its block, is added to the one before
//! ```
//!
//! # Source
//! parquet-format `Encodings.md`: PLAIN, RLE_DICTIONARY, DELTA_BINARY_PACKED.

use parquet::basic::Encoding;

use super::levels::{Runs, ended, take, varint};
use crate::error::{Error, Result};

/// Numbers that are packed together.
pub(super) const PACK: usize = 32;
/// The bytes of so many numbers of 32 bits, and room to read the last as eight bytes.
const PADDED: usize = 4 * PACK + 8;

/// Integers of 32 or of 64 bits, all of which must fit into 32.
pub(super) struct Integers {
    /// Bytes of one: 4 or 8.
    pub size: usize,
    pub dictionary: Vec<i32>,
}

impl Integers {
    /// Takes the dictionary's page, which is plain.
    pub fn set_dictionary(&mut self, bytes: &[u8], count: usize) -> Result<()> {
        self.dictionary.clear();
        let mut dictionary = std::mem::take(&mut self.dictionary);
        self.plain(bytes, count, &mut dictionary)?;
        self.dictionary = dictionary;
        Ok(())
    }

    /// Adds so many integers of a page.
    pub fn read(&self, encoding: Encoding, bytes: &[u8], count: usize, to: &mut Vec<i32>) -> Result<()> {
        match encoding {
            _ if count == 0 => Ok(()),
            Encoding::PLAIN => self.plain(bytes, count, to),
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => self.looked_up(bytes, count, to),
            Encoding::DELTA_BINARY_PACKED if self.size == 4 => deltas(bytes, count, to),
            other => Err(Error::unsupported(
                format!("encoding {other} of integers of {} bits", 8 * self.size),
                "PLAIN and dictionaries are read, and DELTA_BINARY_PACKED of 32 bits",
            )),
        }
    }

    fn plain(&self, bytes: &[u8], count: usize, to: &mut Vec<i32>) -> Result<()> {
        let bytes = bytes.get(..count.saturating_mul(self.size)).ok_or_else(ended)?;
        if self.size == 4 {
            to.extend(bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)));
            return Ok(());
        }
        for bytes in bytes.as_chunks().0 {
            let number = i64::from_le_bytes(*bytes);
            let fits = i32::try_from(number);
            to.push(fits.map_err(|_| Error::invalid("integer", number, "one that fits into 32 bits"))?);
        }
        Ok(())
    }

    fn looked_up(&self, bytes: &[u8], count: usize, to: &mut Vec<i32>) -> Result<()> {
        let (&width, bytes) = bytes.split_first().ok_or_else(ended)?;
        let (mut runs, mut left) = (Runs::new(bytes, width.into()), count as u64);
        while left > 0 {
            let (place, run) = runs.next(left)?;
            let missing =
                || Error::malformed("part", format!("place {place} in a dictionary of {}", self.dictionary.len()));
            let number = *self.dictionary.get(place as usize).ok_or_else(missing)?;
            to.extend(std::iter::repeat_n(number, run as usize));
            left -= run;
        }
        Ok(())
    }
}

/// Adds so many integers that are written as differences.
fn deltas(mut bytes: &[u8], count: usize, to: &mut Vec<i32>) -> Result<()> {
    let (block, packs, total) = (varint(&mut bytes)?, varint(&mut bytes)?, varint(&mut bytes)?);
    let mut last = zigzag(varint(&mut bytes)?);
    let whole =
        packs > 0 && packs <= 1 << 16 && block.is_multiple_of(packs) && (block / packs).is_multiple_of(PACK as u64);
    if !whole || block == 0 || total != count as u64 {
        return Err(Error::malformed(
            "part",
            format!("{total} differences for {count} integers, {packs} times of {block}"),
        ));
    }
    let (start, end, pack) = (to.len(), to.len() + count, (block / packs) as usize);
    // Of the last numbers that are packed together, some may not be needed.
    to.resize(end + PACK, 0);
    to[start] = last;
    let mut at = start + 1;
    while at < end {
        let least = zigzag(varint(&mut bytes)?);
        for &width in take(&mut bytes, packs)? {
            for _ in 0..pack.min(end.saturating_sub(at)).div_ceil(PACK) {
                let numbers = to[at..].first_chunk_mut().ok_or_else(ended)?;
                last = packed(&mut bytes, width, (last, least), numbers)?;
                at += PACK;
            }
        }
    }
    to.truncate(end);
    Ok(())
}

fn zigzag(number: u64) -> i32 {
    ((number >> 1) as i64 ^ -((number & 1) as i64)) as i32
}

/// Reads the next pack, and returns its last number. Bytes that the last page has no more of are zeros.
fn packed(bytes: &mut &[u8], width: u8, (last, least): (i32, i32), to: &mut [i32; PACK]) -> Result<i32> {
    let unpack = UNPACK.get(usize::from(width));
    let unpack = unpack.ok_or_else(|| Error::malformed("part", format!("differences of {width} bits")))?;
    let length = PACK / 8 * usize::from(width);
    if let Some(padded) = bytes.first_chunk() {
        *bytes = &bytes[length..];
        return Ok(unpack(padded, last, least, to));
    }
    let mut padded = [0; PADDED];
    let there = take(bytes, length as u64)?;
    padded[..there.len()].copy_from_slice(there);
    Ok(unpack(&padded, last, least, to))
}

type Unpack = fn(&[u8; PADDED], i32, i32, &mut [i32; PACK]) -> i32;

macro_rules! each_width {
    ($($width:literal)*) => { [$(unpack::<$width>),*] };
}

/// One for each width: where every number lies is then known when it is compiled.
const UNPACK: [Unpack; 33] = each_width!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
);

fn unpack<const WIDTH: usize>(bytes: &[u8; PADDED], mut last: i32, least: i32, to: &mut [i32; PACK]) -> i32 {
    for (i, eight) in to.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        // Eight numbers take a whole number of bytes.
        let bytes = &bytes[i * WIDTH..][..WIDTH + 8];
        for (j, number) in eight.iter_mut().enumerate() {
            let (byte, bit) = (j * WIDTH / 8, j * WIDTH % 8);
            let word = bytes[byte..byte + 8].try_into().map_or(0, u64::from_le_bytes);
            let difference = ((word >> bit) & ((1 << WIDTH) - 1)) as u32 as i32;
            last = last.wrapping_add(difference.wrapping_add(least));
            *number = last;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of a pack, bit by bit.
    fn slowly(bytes: &[u8], width: usize) -> Vec<i32> {
        let bit = |at: usize| u32::from(bytes[at / 8] >> (at % 8) & 1);
        (0..PACK).map(|i| (0..width).map(|b| bit(i * width + b) << b).sum::<u32>() as i32).collect()
    }

    #[test]
    fn packs_of_every_width_are_unpacked() {
        for width in 0..=32 {
            let mut bytes: Vec<u8> = (0..4 * width).map(|i| (i * 151 + 77 * width) as u8).collect();
            let expected: Vec<i32> = slowly(&bytes, width)
                .into_iter()
                .scan(5i32, |last, number| {
                    *last = last.wrapping_add(number).wrapping_add(-3);
                    Some(*last)
                })
                .collect();
            // Alone at the end, and with more after it.
            for more in [0, 200] {
                bytes.resize(4 * width + more, 0xaa);
                let (mut rest, mut numbers) = (&bytes[..], [0; PACK]);
                let last = packed(&mut rest, width as u8, (5, -3), &mut numbers).unwrap();
                assert_eq!((&numbers[..], last), (&expected[..], expected[PACK - 1]), "{width}");
                assert_eq!(rest.len(), more);
            }
            if width > 0 {
                assert!(packed(&mut &bytes[..4 * width - 1], width as u8, (0, 0), &mut [0; PACK]).is_err());
            }
        }
        assert!(packed(&mut &[0; 200][..], 33, (0, 0), &mut [0; PACK]).is_err());
    }

    #[test]
    fn integers_come_from_plain_pages_and_dictionaries() {
        let mut integers = Integers { size: 8, dictionary: vec![] };
        let plain: Vec<u8> = [7i64, -1, 1 << 20].iter().flat_map(|n| n.to_le_bytes()).collect();
        integers.set_dictionary(&plain, 3).unwrap();
        let read = |encoding, bytes: &[u8], count| {
            let mut to = vec![];
            integers.read(encoding, bytes, count, &mut to).map(|()| to).map_err(|e| e.to_string())
        };
        assert_eq!(read(Encoding::PLAIN, &plain, 2).unwrap(), [7, -1]);
        assert_eq!(
            read(Encoding::RLE_DICTIONARY, &[2, 6, 2, 3, 0b100], 5).unwrap(),
            [1 << 20, 1 << 20, 1 << 20, 7, -1]
        );
        assert!(read(Encoding::RLE_DICTIONARY, &[2, 2, 3], 1).unwrap_err().contains("place 3 in a dictionary of 3"));
        assert!(read(Encoding::PLAIN, &plain, 4).unwrap_err().contains("shorter"));
        assert!(read(Encoding::PLAIN, &i64::MAX.to_le_bytes(), 1).unwrap_err().contains("fits into 32 bits"));
        assert!(read(Encoding::DELTA_BINARY_PACKED, &plain, 1).unwrap_err().contains("64 bits is not supported"));
    }

    #[test]
    fn differences_that_contradict_the_page_are_errors() {
        let read = |bytes: &[u8], count| deltas(bytes, count, &mut vec![]).map_err(|e| e.to_string());
        assert!(read(&[0x80, 1, 4, 1, 6], 1).is_ok());
        for (bytes, count) in [
            (&[0x80, 1, 4, 2, 6][..], 1),
            (&[0x80, 1, 0, 1, 6], 1),
            (&[0, 4, 1, 6], 1),
            (&[0x81, 1, 4, 1, 6], 1),
            (&[0x80, 1, 4, 2, 6], 2),
            (&[0x80, 1, 4, 2, 6, 0, 40, 0, 0, 0], 2),
            (&[0x80, 1, 4, 2, 6, 0, 8, 0, 0, 0], 2),
            (&[0x80, 1, 4, 2, 6, 0, 8, 0, 0, 0, 1, 2, 3], 2),
        ] {
            assert!(read(bytes, count).is_err(), "{bytes:?} {count}");
        }
        let mut to = vec![];
        deltas(&[&[0x80, 1, 4, 2, 6, 2, 8, 0, 0, 0, 5][..], &[0; 31]].concat(), 2, &mut to).unwrap();
        assert_eq!(to, [3, 9]);
    }
}
