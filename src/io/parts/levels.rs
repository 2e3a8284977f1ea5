//! Runs of small numbers, as Parquet writes levels and places in a dictionary.
//!
//! ```text
//! 05 e4 e4      2 x 8 numbers of 2 bits: 0 1 2 3, four times     low bit of the first number 1: packed, in eights
//! c4 13 02      1250 times the number 2                          0: one number, repeated
//! ```
//!
//! # Source
//! parquet-format `Encodings.md`, RLE/bit-packing hybrid.

use crate::error::{Error, Result};

/// Reads runs of numbers of a width.
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    width: u32,
    run: Run<'a>,
}

#[derive(Clone, Copy)]
enum Run<'a> {
    Same {
        number: u32,
        left: u64,
    },
    /// Numbers packed in these bytes, of which so many bits have been read.
    Packed {
        bytes: &'a [u8],
        at: u64,
    },
}

impl<'a> Runs<'a> {
    /// Numbers of so many bits, at most 32.
    pub fn new(bytes: &'a [u8], width: u32) -> Self {
        Runs { bytes, width: width.min(32), run: Run::Same { number: 0, left: 0 } }
    }

    /// Levels up to this one.
    pub fn of_levels(bytes: &'a [u8], largest: i16) -> Self {
        Runs::new(bytes, u16::BITS - largest.unsigned_abs().leading_zeros())
    }

    /// The next number, and how often it comes: at least once, and at most so often.
    pub fn next(&mut self, most: u64) -> Result<(u32, u64)> {
        loop {
            match &mut self.run {
                Run::Same { number, left } if *left > 0 => {
                    let count = most.min(*left);
                    *left -= count;
                    return Ok((*number, count));
                }
                Run::Packed { bytes, at } if *at + u64::from(self.width) <= 8 * bytes.len() as u64 => {
                    let number = bits(bytes, *at, self.width);
                    *at += u64::from(self.width);
                    return Ok((number, 1));
                }
                _ => self.run = self.next_run()?,
            }
        }
    }

    fn next_run(&mut self) -> Result<Run<'a>> {
        let head = varint(&mut self.bytes)?;
        let count = head >> 1;
        if self.width == 0 {
            return Ok(Run::Same { number: 0, left: count.saturating_mul(if head & 1 == 1 { 8 } else { 1 }) });
        }
        if head & 1 == 0 {
            let bytes = take(&mut self.bytes, self.width.div_ceil(8).into())?;
            return Ok(Run::Same { number: bits(bytes, 0, self.width), left: count });
        }
        // Of the last eight, those that are not needed may be missing.
        let length = count.saturating_mul(self.width.into()).min(self.bytes.len() as u64);
        if length == 0 {
            return Err(ended());
        }
        Ok(Run::Packed { bytes: take(&mut self.bytes, length)?, at: 0 })
    }
}

/// So many bits, at most 32, from this bit on, all of which are there.
fn bits(bytes: &[u8], at: u64, width: u32) -> u32 {
    let bytes = &bytes[(at / 8) as usize..];
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    (u64::from_le_bytes(word) >> (at % 8)) as u32 & mask(width)
}

/// The lowest bits of a number.
pub(super) fn mask(width: u32) -> u32 {
    ((1u64 << width) - 1) as u32
}

/// A number of seven bits a byte, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(bytes, 1)? else { return Err(ended()) };
        number |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(number);
        }
    }
    Err(Error::malformed("part", "a number of more than ten bytes in a page"))
}

/// The next bytes.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: u64) -> Result<&'a [u8]> {
    let count = usize::try_from(count).map_err(|_| ended())?;
    bytes.split_off(..count).ok_or_else(ended)
}

pub(super) fn ended() -> Error {
    Error::malformed("part", "a page is shorter than it says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], width: u32) -> Vec<(u32, u64)> {
        let mut runs = Runs::new(bytes, width);
        std::iter::from_fn(|| runs.next(1000).ok()).take(2000).collect()
    }

    #[test]
    fn runs_are_those_of_the_picture() {
        assert_eq!(
            all(&[5, 0xe4, 0xe4, 0xe4, 0xe4], 2),
            [0, 1, 2, 3].repeat(4).into_iter().map(|n| (n, 1)).collect::<Vec<_>>()
        );
        assert_eq!(all(&[0xc4, 0x13, 2], 2), [(2, 1000), (2, 250)]);
        assert_eq!(all(&[4, 1, 2, 6, 2, 1], 10), [(513, 2), (258, 3)]);
        // Of no width, as places in a dictionary of one: 3, then 8 times 2.
        assert_eq!(all(&[6, 5], 0), [(0, 3), (0, 16)]);
    }

    #[test]
    fn widths_follow_the_largest_level() {
        for (largest, width) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 3), (8, 4)] {
            assert_eq!(Runs::of_levels(&[], largest).width, width, "{largest}");
        }
    }

    #[test]
    fn what_ends_too_early_is_an_error() {
        for bytes in [&[][..], &[3], &[4], &[0x80], &[0xff; 11]] {
            assert!(Runs::new(bytes, 2).next(1).is_err(), "{bytes:?}");
        }
        // Empty runs take a byte or two each, so they end.
        assert!(all(&[0, 0, 0, 0, 4, 1], 2) == [(1, 2)]);
    }
}
