//! A permutation that is never written down: any place is looked up by itself.
//!
//! ```text
//! place     0  1  2  3  4            16 numbers of 4 bits, mixed by a Feistel network:    (l, r) -> (r, l ^ f(r))
//! at        3  0  4  1  2            what lands at 5 or above is mixed again until it lies below
//! ```

/// A seeded permutation of `0..len`.
#[derive(Debug, Clone)]
pub(super) struct Permutation {
    len: u64,
    /// Bits of the half that is mixed into, by turns.
    bits: [u32; 2],
    keys: [u64; ROUNDS],
}

/// An even number, so that the halves end as they began.
const ROUNDS: usize = 8;

/// Fewer bits leave too few networks to choose from.
const LEAST_BITS: u32 = 6;

impl Permutation {
    /// Of so many places; every key gives another one.
    pub fn new(len: u64, key: u64) -> Self {
        let all = (u64::BITS - len.saturating_sub(1).leading_zeros()).max(LEAST_BITS);
        let keys = std::array::from_fn(|round| mix(&[key, round as u64]));
        Permutation { len, bits: [all / 2, all - all / 2], keys }
    }

    /// What stands at a place.
    pub fn at(&self, place: u64) -> u64 {
        debug_assert!(place < self.len);
        // A permutation of the larger range leads back below `len`, as it does for the place itself in the end.
        let mut number = self.network(place);
        while number >= self.len {
            number = self.network(number);
        }
        number
    }

    fn network(&self, number: u64) -> u64 {
        let [high, low] = self.bits;
        let (mut left, mut right) = (number >> low, number & mask(low));
        for (round, key) in self.keys.iter().enumerate() {
            let width = if round % 2 == 0 { high } else { low };
            (left, right) = (right, left ^ (finish(right ^ key) & mask(width)));
        }
        left << low | right
    }
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// One number out of several: another number anywhere gives another one.
pub(super) fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9E37_79B9_7F4A_7C15, |state, &word| {
        finish((state ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_add(state.rotate_left(17))
    })
}

/// Spreads every bit over all of them.
///
/// # Source
/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014), Stafford's variant 13.
fn finish(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

/// A number below `below`, drawn by `words`.
pub(super) fn draw(words: &[u64], below: u64) -> u64 {
    ((u128::from(mix(words)) * u128::from(below)) >> u64::BITS) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(len: u64, key: u64) -> Vec<u64> {
        let permutation = Permutation::new(len, key);
        (0..len).map(|place| permutation.at(place)).collect()
    }

    #[test]
    fn every_number_stands_at_one_place() {
        for len in (0..140).chain([255, 256, 257, 4095, 4097, 100_003]) {
            let mut sorted = all(len, len ^ 77);
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..len), "{len}");
        }
        assert_ne!(all(100, 1), all(100, 2));
        let large = Permutation::new(u64::from(u32::MAX), 5);
        assert!((0..1000).all(|place| large.at(place) < u64::from(u32::MAX)));
    }

    #[test]
    fn no_place_prefers_a_number() {
        // 24 orders of four: each is as likely as any. Six deviations of 1000 in 24000 draws are 186.
        let mut orders = std::collections::BTreeMap::new();
        (0..24_000).for_each(|key| *orders.entry(all(4, key)).or_insert(0) += 1);
        assert_eq!(orders.len(), 24);
        assert!(orders.values().all(|&count: &i32| count.abs_diff(1000) < 186), "{orders:?}");
        // Of 100 places over 10,000 keys, each pair of place and number comes 100 times; six deviations are 60.
        let mut pairs = vec![0_u32; 100 * 100];
        for key in 0..10_000 {
            all(100, key).iter().enumerate().for_each(|(place, &number)| pairs[place * 100 + number as usize] += 1);
        }
        assert!(pairs.iter().all(|count| count.abs_diff(100) < 60));
    }

    #[test]
    fn draws_spread_over_their_range() {
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|seed| counts[draw(&[seed, 3], 7) as usize] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 560), "{counts:?}");
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
        assert_ne!(mix(&[1]), mix(&[1, 0]));
    }
}
