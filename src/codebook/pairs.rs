//! Which code follows which: pairs of codes, counted in memory that is taken once.
//!
//! ```text
//! codes    2 0 2 2 0            pairs   2->0 twice   0->2 once   2->2 once
//!
//! rank of a code     0 0 1 0 2 0 0 1 ..      by a hash: half the codes have rank 0, a quarter 1, an eighth 2
//! level 0            every pair is counted; when the table is full, the level rises:
//! level 1            pairs that begin with a code of rank 1 and above: about half of the codes
//! level 2            .. of rank 2 and above: about a quarter
//! ```

/// Counts pairs of codes until its table is full, then those that begin with one of a sample of the codes.
///
/// A code is in the sample or not by a hash of the code alone, and what is not in a smaller sample is dropped whole, so
/// every pair that is still counted was counted from the first on. The level depends only on which pairs there are:
/// counts in any order and grouping come to the same.
///
/// # Examples
/// ```
/// use roundelay::codebook::Pairs;
///
/// let mut pairs = Pairs::new(1000, &[]);
/// for (before, after) in [(2, 0), (0, 2), (2, 2), (2, 0)] {
///     pairs.add(before, after);
/// }
/// assert_eq!((pairs.total(), pairs.share_counted()), (4, 1.0));
/// // After 0 there is 2; after 2 there is 0 twice and 2 once.
/// let third = 1.0f64 / 3.0;
/// let expected = -0.75 * (2.0 * third * (2.0 * third).ln() + third * third.ln());
/// assert!((pairs.entropy().unwrap() - expected).abs() < 1e-12);
/// ```
/// # Source
/// P. Gibbons, "Distinct sampling for highly-accurate answers to distinct values queries and event reports", VLDB 2001:
/// samples by the trailing zeros of a hash, which are halved when there is no room.
#[derive(Debug, Clone)]
pub struct Pairs {
    slots: Vec<Slot>,
    filled: usize,
    limit: usize,
    /// Codes whose pairs are counted at every level.
    always: Vec<u32>,
    level: u32,
    total: u64,
}

/// A pair and how often it was seen.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u64,
    count: u64,
}

/// Pairs that are looked up together: their places fit in the smallest cache.
const CHUNK: usize = 256;
/// No pair: codes are below 2^31. Not zero, so that the table's memory is taken when it is made.
const EMPTY: u64 = u64::MAX;
/// A level at which no code is left in the sample but those that are always in it.
const LAST: u32 = 64;
/// A level at which not even those have room.
const OVERFLOW: u32 = LAST + 1;

fn key(before: u32, after: u32) -> u64 {
    u64::from(before) << 32 | u64::from(after)
}

/// The code that a pair begins with.
fn before(key: u64) -> u32 {
    (key >> 32) as u32
}

/// Scatters the bits of a number (the finish of SplitMix64).
fn scatter(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Pairs {
    /// Room for so many different pairs, at 32 to 64 bytes each. Pairs that begin with a code of `always` are counted at
    /// every level: name those that make up much of the whole, such as pads, which a sample should not hit or miss by
    /// chance.
    pub fn new(limit: usize, always: &[u32]) -> Self {
        let limit = limit.max(1);
        // Half full at most: beyond that a search in the table takes long.
        let slots = (2 * limit).next_power_of_two();
        let empty = Slot { key: EMPTY, count: 0 };
        Pairs { slots: vec![empty; slots], filled: 0, limit, always: always.to_vec(), level: 0, total: 0 }
    }

    /// Counts one pair of codes, each below 2^31.
    #[inline]
    pub fn add(&mut self, before: u32, after: u32) {
        self.total += 1;
        if self.level == 0 || self.rank(before) >= self.level {
            self.count(key(before, after), 1);
        }
    }

    /// Counts many pairs, which is faster than one by one.
    pub fn add_all(&mut self, pairs: &[(u32, u32)]) {
        let mut admitted = [0; CHUNK];
        for chunk in pairs.chunks(CHUNK) {
            self.total += chunk.len() as u64;
            let level = self.level;
            let mut count = 0;
            for &(before, after) in chunk {
                admitted[count] = key(before, after);
                count += usize::from(level == 0 || self.rank(before) >= level);
            }
            // The table is larger than the caches: looking at all places first lets memory answer many at once.
            let place = |key: &u64| scatter(*key) as usize & (self.slots.len() - 1);
            let looked = admitted[..count].iter().fold(0, |seen, key| seen ^ self.slots[place(key)].key);
            std::hint::black_box(looked);
            for &key in &admitted[..count] {
                if self.level == level || self.rank(before(key)) >= self.level {
                    self.count(key, 1);
                }
            }
        }
    }

    /// Adds what another count with the same room saw.
    ///
    /// # Panics
    /// If the room or the codes that are always counted differ.
    pub fn merge(&mut self, other: &Pairs) {
        assert_eq!((self.limit, &self.always), (other.limit, &other.always), "counts of the same kind");
        self.total += other.total;
        while self.level < other.level {
            self.rise();
        }
        for slot in other.slots.iter().filter(|slot| slot.key != EMPTY) {
            if self.rank(before(slot.key)) >= self.level {
                self.count(slot.key, slot.count);
            }
        }
    }

    /// How many pairs were seen in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The share of codes whose pairs are counted, besides those that always are: 1, a half, a quarter, and so on.
    pub fn sample(&self) -> f64 {
        if self.level < LAST { 0.5f64.powi(self.level as i32) } else { 0.0 }
    }

    /// The share of pairs that are counted, 1 where there are none.
    pub fn share_counted(&self) -> f64 {
        let counted = self.slots.iter().map(|slot| slot.count).sum::<u64>();
        if self.total == 0 { 1.0 } else { counted as f64 / self.total as f64 }
    }

    /// Entropy of a code when the one before is known, in nats; 0 where no pair was seen. It is that of the frequencies
    /// seen, which is too low where they are few.
    ///
    /// Where a sample is counted, the mean over the codes in it stands for the mean over those that are not; codes that
    /// are always counted stand for themselves. None if no code of the sample has occurred.
    pub fn entropy(&self) -> Option<f64> {
        let mut counted: Vec<_> = self.slots.iter().filter(|slot| slot.key != EMPTY).copied().collect();
        // In a fixed order, so that sums are the same to the last bit.
        counted.sort_unstable_by_key(|slot| slot.key);
        let (mut always, mut sample) = (Sum::default(), Sum::default());
        for after in counted.chunk_by(|a, b| before(a.key) == before(b.key)) {
            let is_always = self.always.contains(&before(after[0].key));
            if is_always { &mut always } else { &mut sample }.add(after);
        }
        let rest = self.total - always.pairs;
        if rest > 0 && sample.pairs == 0 {
            return None;
        }
        let scale = rest as f64 / sample.pairs.max(1) as f64;
        Some((always.nats + scale * sample.nats) / self.total.max(1) as f64)
    }

    /// The highest level at which a code's pairs are counted.
    fn rank(&self, code: u32) -> u32 {
        if self.always.contains(&code) {
            return LAST;
        }
        // At most 63 zeros: a hash of 0 has 64.
        scatter(code.into()).trailing_zeros().min(LAST - 1)
    }

    /// Counts a pair that the level admits.
    fn count(&mut self, key: u64, count: u64) {
        loop {
            let slot = self.slot_of(key);
            if self.slots[slot].key == key {
                self.slots[slot].count += count;
                return;
            }
            if self.filled < self.limit {
                self.slots[slot] = Slot { key, count };
                self.filled += 1;
                return;
            }
            self.rise();
            if self.rank(before(key)) < self.level {
                return;
            }
        }
    }

    /// Where a pair is, or may be put.
    #[inline]
    fn slot_of(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = scatter(key) as usize & mask;
        while self.slots[slot].key != key && self.slots[slot].key != EMPTY {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Drops the pairs that the next level does not admit.
    fn rise(&mut self) {
        self.level = (self.level + 1).min(OVERFLOW);
        let stays = |slot: &&Slot| slot.key != EMPTY && self.rank(before(slot.key)) >= self.level;
        let kept: Vec<_> = self.slots.iter().filter(stays).copied().collect();
        self.slots.fill(Slot { key: EMPTY, count: 0 });
        self.filled = kept.len();
        for kept in kept {
            let slot = self.slot_of(kept.key);
            self.slots[slot] = kept;
        }
    }
}

/// Counts of the same pairs in the same sample are equal, whatever order they were made in.
impl PartialEq for Pairs {
    fn eq(&self, other: &Self) -> bool {
        let same = |slot: &Slot| slot.key == EMPTY || other.slots[other.slot_of(slot.key)].count == slot.count;
        (self.limit, &self.always, self.level) == (other.limit, &other.always, other.level)
            && (self.total, self.filled) == (other.total, other.filled)
            && self.slots.iter().all(same)
    }
}

/// Pairs, and their number times the entropy of what follows.
#[derive(Default)]
struct Sum {
    pairs: u64,
    nats: f64,
}

impl Sum {
    /// Adds the pairs that begin with one code.
    fn add(&mut self, after: &[Slot]) {
        let pairs: u64 = after.iter().map(|slot| slot.count).sum();
        let n_log_n = |n: u64| n as f64 * (n as f64).ln();
        self.pairs += pairs;
        self.nats += n_log_n(pairs) - after.iter().map(|slot| n_log_n(slot.count)).sum::<f64>();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn counted(limit: usize, always: &[u32], pairs: &[(u32, u32)]) -> Pairs {
        let mut counts = Pairs::new(limit, always);
        pairs.iter().for_each(|&(before, after)| counts.add(before, after));
        counts
    }

    /// The first level with room for what it admits, and the entropy over that.
    fn slowly(limit: usize, always: &[u32], pairs: &[(u32, u32)]) -> (u32, Option<f64>) {
        let rank = |code: u32| match always.contains(&code) {
            true => LAST,
            false => scatter(code.into()).trailing_zeros().min(LAST - 1),
        };
        let mut tree: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
        for &(before, after) in pairs {
            *tree.entry(before).or_default().entry(after).or_default() += 1;
        }
        let room =
            |level: u32| tree.iter().filter(|(code, _)| rank(**code) >= level).map(|(_, a)| a.len()).sum::<usize>();
        let level = (0..=OVERFLOW).find(|&level| room(level) <= limit).unwrap();
        // The mean of each kind of code, by how often that kind occurs.
        let mean = |kind: &dyn Fn(u32) -> bool| {
            let (mut n, mut sum) = (0.0, 0.0);
            for (_, after) in tree.iter().filter(|(code, _)| rank(**code) >= level && kind(**code)) {
                let all: u64 = after.values().sum();
                let share = |&count: &u64| count as f64 / all as f64;
                n += all as f64;
                sum -= all as f64 * after.values().map(share).map(|p| p * p.ln()).sum::<f64>();
            }
            (n > 0.0).then(|| sum / n)
        };
        let part = |kind: &dyn Fn(u32) -> bool| match pairs.iter().filter(|(before, _)| kind(*before)).count() {
            0 => Some(0.0),
            n => mean(kind).map(|mean| mean * n as f64 / pairs.len() as f64),
        };
        let is_always = |code: u32| always.contains(&code) && level < OVERFLOW;
        let entropy = part(&is_always).zip(part(&|code| !is_always(code))).map(|(a, b)| a + b);
        (level, entropy)
    }

    /// Codes that follow each other with some preference: of 300, each with up to 20 after it.
    fn chain(length: usize, seed: u64) -> Vec<(u32, u32)> {
        let mut code = seed as u32 % 300;
        let step = |n: usize| {
            let drawn = scatter(seed << 32 | n as u64);
            let after = (u64::from(code) * 7 + (drawn % 20) * (drawn >> 32 & 1)) as u32 % 300;
            (std::mem::replace(&mut code, after), after)
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn a_sample_gives_nearly_the_entropy_of_all() {
        let pairs = chain(200_000, 3);
        let exact = counted(1 << 14, &[], &pairs);
        assert_eq!((exact.sample(), exact.share_counted()), (1.0, 1.0));
        let exact = exact.entropy().unwrap();
        for limit in [3000, 1500] {
            let sampled = counted(limit, &[], &pairs);
            assert!((0.1..=0.5).contains(&sampled.sample()), "{}", sampled.sample());
            let share = sampled.share_counted();
            assert!(share > 0.6 * sampled.sample() && share < 1.5 * sampled.sample(), "{share}");
            let entropy = sampled.entropy().unwrap();
            assert!((entropy - exact).abs() < 0.02 * exact, "{entropy} {exact}");
        }
    }

    #[test]
    fn codes_that_are_always_counted_stand_for_themselves() {
        // After 0 anything of ten, after the others the next one, for sure.
        let pairs: Vec<_> = (0..10_000u32).flat_map(|n| [(0, n % 10), (1 + n % 5000, 1 + (n + 1) % 5000)]).collect();
        let counts = counted(200, &[0], &pairs);
        assert!(counts.sample() < 0.1);
        assert!((counts.entropy().unwrap() - 0.5 * 10f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn nothing_and_too_much_are_told_apart() {
        assert_eq!((counted(4, &[], &[]).entropy(), counted(4, &[], &[]).share_counted()), (Some(0.0), 1.0));
        let overflow: Vec<_> = (0..9).map(|after| (7, after)).collect();
        let counts = counted(4, &[7], &overflow);
        assert_eq!((counts.entropy(), counts.share_counted(), counts.sample()), (None, 0.0, 0.0));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_slow_way_in_any_order_and_grouping(
            mut pairs in prop::collection::vec((0..40u32, 0..40u32), 0..600),
            limit in 1usize..200, always in prop::collection::vec(0..40u32, 0..3), cut in 0usize..600,
        ) {
            let counts = counted(limit, &always, &pairs);
            let (level, entropy) = slowly(limit, &always, &pairs);
            prop_assert_eq!(counts.level, level);
            let mut at_once = Pairs::new(limit, &always);
            at_once.add_all(&pairs);
            prop_assert_eq!(&at_once, &counts);
            match (counts.entropy(), entropy) {
                (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-9, "{} {}", fast, slow),
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
            let (first, second) = pairs.split_at(cut.min(pairs.len()));
            let mut merged = counted(limit, &always, second);
            merged.merge(&counted(limit, &always, first));
            prop_assert_eq!(&merged, &counts);
            pairs.sort();
            prop_assert_eq!(&counted(limit, &always, &pairs), &counts);
            prop_assert_eq!(merged.entropy(), counts.entropy());
        }
    }
}
