//! Shards: the parts of one manifest, dealt out to jobs that know nothing of each other.
//!
//! ```text
//! part       0  1  2  3  4  5
//! seconds    4  4  1  4  2  3      each goes to the shard with the least so far, the first of them if there are several
//! shard 0/2  0     2     4  5      4, 5, 7, 10
//! shard 1/2     1     3            4, 8
//! ```
//!
//! A part is the same file in a shard as in the run of the whole, so that merging only puts parts back in order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::dataset::Counts;
use crate::error::{Error, Result};

/// One of several jobs that share a manifest, written `0/3`.
///
/// # Examples
/// ```
/// use roundelay::io::Shard;
/// let shard: Shard = "2/3".parse()?;
/// assert_eq!((shard.index(), shard.count(), shard.to_string().as_str()), (2, 3, "2/3"));
/// assert!("3/3".parse::<Shard>().is_err());
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shard {
    count: usize,
    index: usize,
}

impl Shard {
    /// Shard `index`, from 0, of `count`.
    ///
    /// # Errors
    /// `Invalid` if there is no such shard.
    pub fn new(index: usize, count: usize) -> Result<Self> {
        match index < count {
            true => Ok(Shard { count, index }),
            false => Err(Error::invalid("shard", format!("{index}/{count}"), "0/n to n-1/n")),
        }
    }

    /// Which one, from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid("shard", format!("{text:?}"), "its number and how many there are, as 0/3");
        let (index, count) = text.split_once('/').ok_or_else(bad)?;
        Shard::new(index.parse().map_err(|_| bad())?, count.parse().map_err(|_| bad())?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Which share of a manifest a dataset holds: what merging needs to put the whole together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Which of how many.
    pub shard: Shard,
    /// SHA-256 of the manifest, in hexadecimal.
    pub manifest: String,
    /// Its parts of the manifest, in order, also those without a segment.
    pub parts: Vec<ShardPart>,
}

/// What one part of the manifest gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPart {
    /// Number of the part in the whole manifest, from 0.
    pub part: usize,
    /// Lines of the ledger that are about it.
    pub events: u64,
    /// Its sizes.
    pub counts: Counts,
}

/// The shard of each part: in order, each to the shard with the least so far.
pub(super) fn deal(loads: impl IntoIterator<Item = f64>, shards: usize) -> Vec<usize> {
    let loads: Vec<f64> = loads.into_iter().collect();
    // Shards beyond the number of parts get none.
    let mut sums = vec![0.0; shards.min(loads.len())];
    let least = |sums: &[f64]| (1..sums.len()).fold(0, |least, i| if sums[i] < sums[least] { i } else { least });
    let mut give = |load: f64| {
        let shard = least(&sums);
        sums[shard] += load;
        shard
    };
    loads.into_iter().map(&mut give).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_dealt_as_in_the_picture() {
        assert_eq!(deal([4.0, 4.0, 1.0, 4.0, 2.0, 3.0], 2), [0, 1, 0, 1, 0, 0]);
        assert_eq!(deal([1.0; 5], 3), [0, 1, 2, 0, 1]);
        assert_eq!(deal([], 3), [0; 0]);
    }

    #[test]
    fn no_two_shards_are_further_apart_than_the_longest_part() {
        let loads: Vec<f64> = (0..1000u32).map(|n| f64::from(n.wrapping_mul(2_654_435_761) >> 20)).collect();
        for shards in 1..=9 {
            let mut sums = vec![0.0; shards];
            deal(loads.iter().copied(), shards).into_iter().zip(&loads).for_each(|(shard, load)| sums[shard] += load);
            let (most, least) = sums.iter().fold((0.0f64, f64::MAX), |(most, least), &s| (most.max(s), least.min(s)));
            assert!(most - least <= 4096.0, "{sums:?}");
            assert_eq!(sums.iter().sum::<f64>(), loads.iter().sum::<f64>());
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "1/", "/2", "2/2", "0/0", "-1/2", "a/2", "0/2/3"] {
            assert!(text.parse::<Shard>().unwrap_err().to_string().starts_with("shard is "), "{text}");
        }
    }
}
