//! The map of a normaliser: strings of characters, and what is written in their place.
//!
//! ```text
//! size of the trie │ trie, 32 bits a unit │ normalised strings, each ended by a NUL
//! 00 04 00 00      │ ...                  │ f i 00  1 / 4 00 ...
//!
//! unit   31 ... 10   9      8      7 ... 0          leaf  1 in bit 31, below it where the string begins
//!        offset      x 256  leaf?  label
//! ```
//!
//! # Source
//! SentencePiece `normalizer.cc`, `DecodePrecompiledCharsMap` and `NormalizePrefix`; darts-clone `darts.h`.

use std::fmt;

use super::proto::malformed;
use crate::error::{Error, Result};

/// Bound on what one string of characters can become. The longest of NFKC, for U+FDFA, has 33 bytes.
const MAX_NORMALISED: usize = 1024;
/// Bound on how far a damaged trie can be walked.
const MAX_KEY: usize = 1024;

/// A trie as one array: the child of a unit by a byte lies at its offset, each but the lowest bit of the byte flipped in.
pub(super) struct Charsmap {
    units: Box<[u32]>,
    normalised: Box<str>,
}

impl Charsmap {
    /// Splits the bytes of a map and checks what can be checked without walking through all keys.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (size, rest) = bytes.split_first_chunk().ok_or_else(|| broken("it has no size"))?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, strings) = rest.split_at_checked(size).ok_or_else(|| broken("its trie is cut off"))?;
        if size == 0 || !size.is_multiple_of(1024) {
            return Err(broken(format_args!("its trie has {size} bytes, which is no multiple of 1024")));
        }
        let normalised = str::from_utf8(strings).map_err(broken)?;
        if !normalised.ends_with('\0') {
            return Err(broken("its last string has no end"));
        }
        let longest = normalised.split('\0').map(str::len).max().unwrap_or(0);
        if longest > MAX_NORMALISED {
            return Err(Error::over_limit("length of a normalised string", longest, MAX_NORMALISED));
        }
        let units = trie.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        Ok(Charsmap { units, normalised: normalised.into() })
    }

    /// The longest key that `text` begins with: its length, and what is written in its place.
    ///
    /// Damaged maps can point anywhere; what points outside, or into a character, is no key.
    pub(super) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let keys = self.keys(text.as_bytes()).filter(|&(length, _)| text.is_char_boundary(length));
        let (length, string) = keys.last()?;
        let (string, _) = self.normalised.get(string..)?.split_once('\0')?;
        Some((length, string))
    }

    /// Keys that `text` begins with, shortest first, as length and where the string for it begins.
    fn keys(&self, text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        let mut at = self.units.first().map_or(0, |&root| offset(root));
        let walk = text.iter().take(MAX_KEY).map_while(move |&byte| {
            at ^= u32::from(byte);
            let unit = self.unit(at).filter(|unit| unit & LABEL == u32::from(byte))?;
            at ^= offset(unit);
            Some((unit & HAS_LEAF != 0).then_some(at))
        });
        let leaf = |at| Some((self.unit(at)? & !LEAF) as usize);
        walk.enumerate().filter_map(move |(index, at)| Some((index + 1, leaf(at?)?)))
    }

    fn unit(&self, at: u32) -> Option<u32> {
        self.units.get(at as usize).copied()
    }
}

const HAS_LEAF: u32 = 1 << 8;
const LEAF: u32 = 1 << 31;
/// A leaf has no label: with its highest bit it is equal to no byte.
const LABEL: u32 = LEAF | 0xff;

fn offset(unit: u32) -> u32 {
    (unit >> 10) << ((unit & 1 << 9) >> 6)
}

fn broken(detail: impl fmt::Display) -> Error {
    malformed(format_args!("the map of its normaliser is broken: {detail}"))
}

impl fmt::Debug for Charsmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charsmap({} units, {} bytes of strings)", self.units.len(), self.normalised.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of a map. A node has 256 units to itself, its leaf first, so keys must not hold a NUL.
    fn write(keys: &[(String, String)]) -> Vec<u8> {
        let mut units = vec![0u32; 256];
        let mut strings = Vec::new();
        for (key, string) in keys {
            let mut unit = 0;
            for byte in key.bytes() {
                let block = unit ^ offset(units[unit]) as usize;
                let child = block + usize::from(byte);
                if units[child] == 0 {
                    units[child] = ((child ^ units.len()) as u32) << 10 | u32::from(byte);
                    units.extend([0; 256]);
                }
                unit = child;
            }
            let leaf = unit ^ offset(units[unit]) as usize;
            units[unit] |= HAS_LEAF;
            units[leaf] = LEAF | strings.len() as u32;
            strings.extend([string.as_bytes(), b"\0"].concat());
        }
        let size = (units.len() as u32 * 4).to_le_bytes();
        [&size[..], &*units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(), &strings].concat()
    }

    proptest! {
        #[test]
        fn the_longest_key_is_that_of_a_search_through_all(
            keys in prop::collection::btree_map("[ab\u{e9}\u{1f600}]{1,4}", "[xy ]{0,3}", 1..12), text in "[abc\u{e9}\u{1f600}]{0,6}",
        ) {
            let keys: Vec<_> = keys.into_iter().collect();
            let map = Charsmap::read(&write(&keys)).unwrap();
            let begun = keys.iter().filter(|(key, _)| text.starts_with(&**key)).max_by_key(|(key, _)| key.len());
            prop_assert_eq!(map.longest(&text), begun.map(|(key, string)| (key.len(), &**string)));
        }
    }
}
