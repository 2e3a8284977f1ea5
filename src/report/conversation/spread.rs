//! How lengths are spread, in memory that does not grow with their number.
//!
//! ```text
//! bin      0   1   2  ..  2047  2048  2050  ..  4094  4096  4100  ..     one unit wide below 2048, then at most
//! holds    0   1   2      2047  2048  2050      4094  4096  4100         a thousandth of what it holds
//!                               2049  2051      4095  4097  4101
//!                                                     4098  4102
//!                                                     4099  4103
//! ```

use std::collections::BTreeMap;

use crate::units::{FrameRate, Seconds};

/// Bits of a value that its bin keeps.
const PRECISION: u32 = 11;

/// Whole numbers, counted by size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bins(BTreeMap<u64, u64>);

impl Bins {
    pub fn add(&mut self, value: u64) {
        *self.0.entry(edge(value)).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Bins) {
        for (&edge, count) in &other.0 {
            *self.0.entry(edge).or_default() += count;
        }
    }

    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The beginning of the bin that holds the value of the middle; of two in the middle, the smaller one.
    pub fn median(&self) -> Option<u64> {
        let middle = self.count().div_ceil(2);
        let mut seen = 0;
        self.0.iter().find_map(|(&edge, &count)| {
            seen += count;
            (seen >= middle).then_some(edge)
        })
    }

    /// Values by doubling: 0, 1, from 2 on, from 4 on, and so on: where each class begins, and its number. Classes without
    /// values are left out.
    pub fn classes(&self) -> Vec<(u64, u64)> {
        let mut classes = BTreeMap::new();
        for (&edge, count) in &self.0 {
            *classes.entry(edge.checked_ilog2().map_or(0, |power| 1 << power)).or_default() += count;
        }
        classes.into_iter().collect()
    }
}

/// Where a value's bin begins.
fn edge(value: u64) -> u64 {
    let dropped = (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION);
    value >> dropped << dropped
}

/// Lengths of time: their number, sum, least and largest exactly, and how they are spread to the millisecond below two
/// seconds, to a thousandth above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    total: Seconds,
    ends: Option<(Seconds, Seconds)>,
    milliseconds: Bins,
}

impl Spread {
    /// Counts one length, which is not below 0.
    pub fn add(&mut self, length: Seconds) {
        self.total = self.total + length;
        let (least, most) = self.ends.unwrap_or((length, length));
        self.ends = Some((least.min(length), most.max(length)));
        self.milliseconds.add(u64::try_from(clock().floor(length)).unwrap_or(0));
    }

    /// Adds the lengths of another: merging in any order gives the same.
    pub fn merge(&mut self, other: &Spread) {
        self.total = self.total + other.total;
        self.milliseconds.merge(&other.milliseconds);
        self.ends = match (self.ends, other.ends) {
            (Some(mine), Some(others)) => Some((mine.0.min(others.0), mine.1.max(others.1))),
            (mine, others) => mine.or(others),
        };
    }

    /// How many lengths there are.
    pub fn count(&self) -> u64 {
        self.milliseconds.count()
    }

    /// Their sum.
    pub fn total(&self) -> Seconds {
        self.total
    }

    /// The shortest one.
    pub fn least(&self) -> Option<Seconds> {
        self.ends.map(|(least, _)| least)
    }

    /// The longest one.
    pub fn most(&self) -> Option<Seconds> {
        self.ends.map(|(_, most)| most)
    }

    /// The one in the middle, of two the shorter, rounded down to its bin.
    pub fn median(&self) -> Option<Seconds> {
        let (least, most) = self.ends?;
        Some(clock().start_of(self.milliseconds.median()? as usize).clamp(least, most))
    }

    /// How many lengths are below 0.125 s, from there to 0.25 s, 0.5 s, 1 s, and so on by doubling: where each class
    /// begins, and its number. Classes without lengths are left out.
    pub fn histogram(&self) -> Vec<(Seconds, u64)> {
        let mut classes = BTreeMap::new();
        for (&edge, count) in &self.milliseconds.0 {
            // Powers of two times 125 are edges of bins, so no bin lies in two classes.
            let class = (edge / 125).checked_ilog2().map_or(0, |power| 125 << power);
            *classes.entry(class).or_default() += count;
        }
        classes.into_iter().map(|(edge, count)| (clock().start_of(edge as usize), count)).collect()
    }
}

/// A frame of one millisecond.
fn clock() -> FrameRate {
    FrameRate::new(1000, 1).expect("a thousand frames in one second are a rate")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn milliseconds(values: &[u64]) -> Spread {
        let mut spread = Spread::default();
        values.iter().for_each(|value| spread.add(clock().start_of(*value as usize)));
        spread
    }

    fn seconds(text: &str) -> Seconds {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_of_a_hand_made_list() {
        let spread = milliseconds(&[300, 124, 125, 4000, 999]);
        assert_eq!((spread.count(), spread.total(), spread.median()), (5, seconds("5.548"), Some(seconds("0.3"))));
        assert_eq!((spread.least(), spread.most()), (Some(seconds("0.124")), Some(seconds("4"))));
        let classes = [("0", 1), ("0.125", 1), ("0.25", 1), ("0.5", 1), ("4", 1)];
        assert_eq!(spread.histogram(), classes.map(|(from, count)| (seconds(from), count)));
        assert_eq!(milliseconds(&[7, 5]).median(), Some(seconds("0.005")), "of two in the middle the shorter one");
    }

    #[test]
    fn classes_double() {
        let mut bins = Bins::default();
        [0, 1, 2, 3, 4, 5000, 4096, 8191].into_iter().for_each(|value| bins.add(value));
        assert_eq!(bins.classes(), [(0, 1), (1, 1), (2, 2), (4, 1), (4096, 3)]);
    }

    #[test]
    fn nothing_has_no_median() {
        let none = Spread::default();
        assert_eq!((none.count(), none.total(), none.median(), none.most()), (0, Seconds::ZERO, None, None));
        assert!(none.histogram().is_empty());
    }

    #[test]
    fn less_than_a_millisecond_is_not_lost() {
        let mut spread = Spread::default();
        spread.add(seconds("0.0004"));
        assert_eq!((spread.median(), spread.total()), (Some(seconds("0.0004")), seconds("0.0004")));
    }

    #[test]
    fn bins_are_those_of_the_picture() {
        let found = [0, 2047, 2048, 2049, 4095, 4096, 4099, 4103].map(edge);
        assert_eq!(found, [0, 2047, 2048, 2048, 4094, 4096, 4096, 4100]);
        assert_eq!(edge(u64::MAX), u64::MAX << 53);
    }

    proptest! {
        #[test]
        fn the_median_is_that_of_the_sorted_list_to_a_thousandth(values in prop::collection::vec(0..10_000_000u64, 1..60)) {
            let mut sorted = values.clone();
            sorted.sort();
            let exact = sorted[(sorted.len() - 1) / 2];
            let found = clock().floor(milliseconds(&values).median().unwrap()) as u64;
            prop_assert!(found <= exact && exact - found <= exact / 1024, "{} for {}", found, exact);
            prop_assert!(exact >= 2048 || found == exact);
        }

        #[test]
        fn merging_equals_adding_all(
            a in prop::collection::vec(0..100_000u64, 0..20),
            b in prop::collection::vec(0..100_000u64, 0..20),
        ) {
            let (whole, mut merged) = (milliseconds(&[a.clone(), b.clone()].concat()), milliseconds(&b));
            merged.merge(&milliseconds(&a));
            prop_assert_eq!(&merged, &whole);
            for (from, count) in whole.histogram() {
                let from = clock().floor(from) as u64;
                let class = from..if from == 0 { 125 } else { 2 * from };
                prop_assert_eq!(a.iter().chain(&b).filter(|length| class.contains(length)).count() as u64, count);
            }
            prop_assert_eq!(whole.histogram().iter().map(|(_, count)| count).sum::<u64>(), whole.count());
        }
    }
}
