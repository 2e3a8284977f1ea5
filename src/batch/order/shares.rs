//! Which places of its source's endless row an epoch takes, and how sources are merged in it.
//!
//! ```text
//! source of 4, weight 1.5     | 2 0 3 1 | 1 3 0 2 | 0 2 1 3 | ..      passes
//!                             [-----------)[----------)               epoch 0, epoch 1
//!
//! sources of 6 and 2          a a b a a a b a                         item i of n stands at (2 i + 1) / 2 n
//! ```

use std::ops::Range;

use crate::error::{Error, Result};

/// Epochs above this are refused: places are counted in 64 bits.
const MOST_EPOCHS: u64 = u32::MAX as u64;

/// The places of an epoch in the endless row of a source of `items` items.
///
/// # Errors
/// `OverLimit` for an epoch that nobody reaches.
pub(super) fn slice(weight: f64, items: usize, epoch: u64) -> Result<Range<u64>> {
    if epoch >= MOST_EPOCHS {
        return Err(Error::over_limit("epoch", epoch, MOST_EPOCHS - 1));
    }
    Ok(whole_part(weight, items as u64, epoch)..whole_part(weight, items as u64, epoch + 1))
}

/// floor(weight x items x epochs), exactly: the weight is the fraction that its bits say.
fn whole_part(weight: f64, items: u64, epochs: u64) -> u64 {
    let (bits, fraction) = (weight.to_bits(), (1 << 52) - 1);
    let (exponent, mantissa) = ((bits >> 52) as i32, bits & fraction);
    let (mantissa, exponent) = if exponent == 0 { (mantissa, 1) } else { (mantissa | 1 << 52, exponent) };
    // 53, 32 and 32 bits; weights are far below 2^52, so that there is a fraction to drop.
    let product = u128::from(mantissa) * u128::from(items) * u128::from(epochs);
    u32::try_from(1075 - exponent).ok().and_then(|shift| product.checked_shr(shift)).unwrap_or(0) as u64
}

/// How much of each source the first `place` items of an epoch are, of `lens` items in all.
///
/// Each source is spread evenly over the epoch; of items that stand at one point, the earlier source's comes first.
pub(super) fn merged(lens: &[u64], place: u64) -> Vec<u64> {
    let before = |point: u128| -> Vec<u64> { lens.iter().map(|&len| before(len, point)).collect() };
    let (mut below, mut above) = (0, POINTS + 1);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        let few = before(middle).iter().sum::<u64>() <= place;
        (below, above) = if few { (middle, above) } else { (below, middle) };
    }
    let mut counts = before(below);
    let mut left = place - counts.iter().sum::<u64>();
    for (count, next) in counts.iter_mut().zip(before(below + 1)) {
        let taken = left.min(next - *count);
        (*count, left) = (*count + taken, left - taken);
    }
    counts
}

/// How much of each source the first `place` items are where one source comes behind the other.
pub(super) fn one_by_one(lens: &[u64], place: u64) -> Vec<u64> {
    let mut left = place;
    let take = |&len: &u64| {
        let taken = left.min(len);
        left -= taken;
        taken
    };
    lens.iter().map(take).collect()
}

/// The epoch as a line of so many points: fine enough that no two items of a source, at most 2^52, share one.
const POINTS: u128 = 1 << 65;

/// Items of a source of `len` before a point of the epoch.
fn before(len: u64, point: u128) -> u64 {
    // Item i is at floor((2 i + 1) 2^64 / len): below the point if 2 i + 1 < point len / 2^64.
    let odd = (point * u128::from(len)).div_ceil(POINTS / 2);
    ((odd / 2) as u64).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_each_other_without_a_gap() {
        for (weight, items) in
            [(1.0, 7), (0.5, 7), (2.5, 3), (0.1, 10), (1e-9, 1000), (0.0, 5), (1.0 / 3.0, 1), (1e6, 9)]
        {
            let mut end = 0;
            for epoch in 0..100 {
                let slice = slice(weight, items, epoch).unwrap();
                assert_eq!(slice.start, end);
                end = slice.end;
            }
            let expected = weight * items as f64 * 100.0;
            assert!((end as f64) <= expected && end as f64 > expected - 1.01, "{weight} {items} {end}");
        }
        assert_eq!(slice(1.0, 5, u64::from(u32::MAX) - 1).unwrap().start, 5 * (u64::from(u32::MAX) - 1));
        assert!(slice(1.0, 5, u64::from(u32::MAX)).is_err());
        // A tenth as a double lies above 0.1: ten epochs of it are a whole pass.
        assert_eq!(slice(0.1, 10, 9).unwrap(), 9..10);
        assert_eq!(whole_part(f64::MIN_POSITIVE / 4.0, 1 << 31, 1 << 31), 0);
    }

    #[test]
    fn merging_is_sorting_by_the_point() {
        for lens in [vec![6, 2], vec![0, 0], vec![5], vec![3, 3, 3], vec![1, 100, 7, 0, 13], vec![40, 1, 1]] {
            let point = |len: u64, i: u64| u128::from(2 * i + 1) * (1 << 64) / u128::from(len);
            let items = lens.iter().enumerate().flat_map(|(s, &len)| (0..len).map(move |i| (point(len, i), s)));
            let mut items: Vec<_> = items.collect();
            items.sort_unstable();
            let mut counts = vec![0; lens.len()];
            for (place, (_, source)) in items.iter().enumerate() {
                assert_eq!(merged(&lens, place as u64), counts, "{lens:?} {place}");
                counts[*source] += 1;
            }
            assert_eq!((merged(&lens, items.len() as u64), &counts), (lens.clone(), &lens));
        }
        assert_eq!(one_by_one(&[3, 0, 4], 5), [3, 0, 2]);
    }

    #[test]
    fn large_sources_are_merged_too() {
        let lens = [1 << 52, 1, 1 << 40];
        let counts = merged(&lens, lens.iter().sum::<u64>() / 2);
        assert_eq!(counts.iter().sum::<u64>(), lens.iter().sum::<u64>() / 2);
        assert!(counts[0].abs_diff(1 << 51) < 2 && counts[2].abs_diff(1 << 39) < 2, "{counts:?}");
    }
}
