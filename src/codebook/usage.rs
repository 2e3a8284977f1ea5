//! How a codebook is used: counts, moving averages of counts, and what they come to.
//!
//! ```text
//! codes    2 0 2 2            counts   1 0 3 0      used 2 of 4, most used 2, least used 1
//!
//! counts of a step            0 4 0 0
//! average, decay 0.9          0.9 * [1 0 3 0] + 0.1 * [0 4 0 0] = [0.9 0.4 2.7 0]
//! ```

use std::iter::Sum;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Below which use a code counts as dead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// Fewer occurrences than this.
    Count(f64),
    /// A smaller share of all occurrences than this. A codebook of 4096 codes may call a share of 1e-5 dead.
    Share(f64),
    /// A smaller part than this of what each code would have if all were used alike. Unlike a count, it does not depend
    /// on the size of the batches; unlike a share, it does not depend on that of the codebook.
    Ratio(f64),
}

impl Threshold {
    /// The use below which a code is dead, where all `codes` codes have `total` together.
    pub fn floor(self, total: f64, codes: usize) -> f64 {
        match self {
            Threshold::Count(count) => count,
            Threshold::Share(share) => share * total,
            Threshold::Ratio(ratio) => ratio * total / codes.max(1) as f64,
        }
    }

    /// Refuses what is not a number of 0 or more.
    pub(super) fn check(self) -> Result<()> {
        let (Threshold::Count(value) | Threshold::Share(value) | Threshold::Ratio(value)) = self;
        check_number("threshold of dead codes", value)
    }
}

/// Refuses what is not a number of 0 or more.
pub(super) fn check_number(what: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(Error::invalid(what, value, "a number of 0 or more")) }
}

/// What a code's use is counted in: occurrences (`u64`) or a moving average of them (`f64`).
pub trait Count: Copy + Default + PartialOrd + Sum + std::fmt::Display + sealed::Sealed {
    /// The count as a number.
    fn value(self) -> f64;

    /// All of them together, `None` where that is no count: a sum that is too large, or one below 0.
    fn total(counts: &[Self]) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for f64 {}
}

impl Count for u64 {
    fn value(self) -> f64 {
        self as f64
    }

    fn total(counts: &[Self]) -> Option<Self> {
        counts.iter().try_fold(0u64, |total, &count| total.checked_add(count))
    }
}

impl Count for f64 {
    fn value(self) -> f64 {
        self
    }

    fn total(counts: &[Self]) -> Option<Self> {
        let total = counts.iter().sum::<f64>();
        (total.is_finite() && counts.iter().all(|&count| count >= 0.0)).then_some(total)
    }
}

/// How often each code of one codebook occurs. As JSON it is the list of counts.
///
/// # Examples
/// ```
/// use roundelay::codebook::{Threshold, Usage};
///
/// let mut usage = Usage::new(4);
/// for code in [2, 0, 2, 2] {
///     usage.add(code);
/// }
/// assert_eq!(usage.counts(), [1, 0, 3, 0]);
/// assert_eq!((usage.used(), usage.share_used(), usage.max_share()), (2, 0.5, 0.75));
/// assert_eq!((usage.least(), usage.most()), (Some((1, 0)), Some((2, 3))));
/// assert_eq!((usage.mean(), usage.deviation(), usage.gini()), (1.0, 1.5f64.sqrt(), 0.625));
/// assert_eq!(usage.dead(Threshold::Share(0.3)), [0, 1, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<C>",
    into = "Vec<C>",
    bound(serialize = "C: Count + Serialize", deserialize = "C: Count + Deserialize<'de>")
)]
pub struct Usage<C = u64> {
    counts: Vec<C>,
    total: C,
}

impl Usage {
    /// Nothing counted yet, for a codebook of `cardinality` codes.
    pub fn new(cardinality: usize) -> Self {
        Usage { counts: vec![0; cardinality], total: 0 }
    }

    /// Counts one occurrence.
    ///
    /// # Panics
    /// If `code` is not below the cardinality.
    pub fn add(&mut self, code: usize) {
        self.counts[code] += 1;
        self.total += 1;
    }

    /// Adds what another count of the same codebook saw.
    ///
    /// # Panics
    /// If the cardinalities differ.
    pub fn merge(&mut self, other: &Usage) {
        assert_eq!(self.counts.len(), other.counts.len(), "counts of the same codebook");
        self.total += other.total;
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }
}

impl<C: Count> Usage<C> {
    /// The use of each code, counted elsewhere.
    ///
    /// # Errors
    /// `Invalid` if a count is below 0 or not finite, or all together are too many to count.
    pub fn from_counts(counts: Vec<C>) -> Result<Self> {
        match C::total(&counts) {
            Some(total) => Ok(Usage { counts, total }),
            None => {
                let sum: f64 = counts.iter().map(|count| count.value()).sum();
                Err(Error::invalid("sum of the counts of a codebook", sum, "counts of 0 or more that can be added"))
            }
        }
    }

    /// How often each code occurred.
    pub fn counts(&self) -> &[C] {
        &self.counts
    }

    /// How many codes were counted in all.
    pub fn total(&self) -> C {
        self.total
    }

    /// How many codes occurred at all.
    pub fn used(&self) -> usize {
        self.values().filter(|&count| count > 0.0).count()
    }

    /// The share of codes that occurred, 0 for a codebook without codes.
    pub fn share_used(&self) -> f64 {
        self.used() as f64 / self.counts.len().max(1) as f64
    }

    /// Entropy of the frequencies in nats, 0 where nothing was counted.
    pub fn entropy(&self) -> f64 {
        let total = self.total.value();
        let shares = self.values().filter(|&count| count > 0.0).map(|count| count / total);
        // A share can be too small for a number; it then adds nothing.
        -shares.filter(|&share| share > 0.0).map(|p| p * p.ln()).sum::<f64>() + 0.0
    }

    /// `exp(entropy)`: how many equally frequent codes would have the same entropy.
    pub fn perplexity(&self) -> f64 {
        self.entropy().exp()
    }

    /// Entropy as a share of the largest possible, `ln(cardinality)`; 0 for fewer than two codes.
    pub fn normalized_entropy(&self) -> f64 {
        if self.counts.len() < 2 {
            return 0.0;
        }
        self.entropy() / (self.counts.len() as f64).ln()
    }

    /// The share of the most frequent code, 0 where nothing was counted.
    pub fn max_share(&self) -> f64 {
        self.most().filter(|(_, most)| most.value() > 0.0).map_or(0.0, |(_, most)| most.value() / self.total.value())
    }

    /// The mean count of a code, 0 for a codebook without codes.
    pub fn mean(&self) -> f64 {
        self.total.value() / self.counts.len().max(1) as f64
    }

    /// Standard deviation of the counts around their mean, over all codes (divided by their number).
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.values().map(|count| (count - mean).powi(2)).sum();
        (squares / self.counts.len().max(1) as f64).sqrt()
    }

    /// How unequal the counts are: 0 where all codes occur alike, near 1 where one code has everything, 0 where nothing
    /// was counted.
    ///
    /// It is half the mean difference of two codes' counts as a share of the mean count.
    pub fn gini(&self) -> f64 {
        let (n, total) = (self.counts.len() as f64, self.total.value());
        if total <= 0.0 {
            return 0.0;
        }
        let mut sorted: Vec<f64> = self.values().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        // In order, the code of rank r (from 1) is above r - 1 codes and below n - r.
        let signed: f64 = sorted.iter().zip(1..).map(|(count, rank)| (2.0 * f64::from(rank) - n - 1.0) * count).sum();
        signed / (n * total)
    }

    /// The code that occurs least and how often, the first of equals; `None` for a codebook without codes.
    pub fn least(&self) -> Option<(usize, C)> {
        self.extreme(|count, best| count < best)
    }

    /// The code that occurs most and how often, the first of equals; `None` for a codebook without codes.
    pub fn most(&self) -> Option<(usize, C)> {
        self.extreme(|count, best| count > best)
    }

    /// The codes whose use is below a threshold, in order.
    ///
    /// Where nothing was counted no code is below a share or a ratio.
    pub fn dead(&self, threshold: Threshold) -> Vec<usize> {
        let floor = threshold.floor(self.total.value(), self.counts.len());
        self.values().enumerate().filter(|&(_, count)| count < floor).map(|(code, _)| code).collect()
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.counts.iter().map(|count| count.value())
    }

    /// The first code of which `better` says so against all before it.
    fn extreme(&self, better: impl Fn(C, C) -> bool) -> Option<(usize, C)> {
        let codes = self.counts.iter().copied().enumerate();
        codes.reduce(|best, code| if better(code.1, best.1) { code } else { best })
    }
}

impl<C: Count> TryFrom<Vec<C>> for Usage<C> {
    type Error = Error;

    fn try_from(counts: Vec<C>) -> Result<Self> {
        Usage::from_counts(counts)
    }
}

impl<C> From<Usage<C>> for Vec<C> {
    fn from(usage: Usage<C>) -> Self {
        usage.counts
    }
}

/// A moving average of how a codebook is used: what is long ago fades.
///
/// # Examples
/// ```
/// use roundelay::codebook::{Usage, UsageEma};
///
/// let mut average = UsageEma::new(3, 0.75)?;
/// average.step(&Usage::from_counts(vec![4, 0, 8])?);
/// assert_eq!(average.usage().counts(), [1.0, 0.0, 2.0]);
/// average.step(&Usage::from_counts(vec![0, 4, 0])?);
/// assert_eq!(average.usage().counts(), [0.75, 1.0, 1.5]);
/// assert_eq!(average.usage().most(), Some((2, 1.5)));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept")]
pub struct UsageEma {
    decay: f64,
    usage: Usage<f64>,
}

/// What is read, before it is checked.
#[derive(Deserialize)]
struct Kept {
    decay: f64,
    usage: Usage<f64>,
}

impl TryFrom<Kept> for UsageEma {
    type Error = Error;

    fn try_from(Kept { decay, usage }: Kept) -> Result<Self> {
        check_decay(decay).map(|()| UsageEma { decay, usage })
    }
}

impl UsageEma {
    /// Nothing seen yet. Each step keeps the share `decay` of what was there.
    ///
    /// # Errors
    /// `Invalid` if `decay` is not from 0 to 1.
    pub fn new(cardinality: usize, decay: f64) -> Result<Self> {
        check_decay(decay)?;
        Ok(UsageEma { decay, usage: Usage { counts: vec![0.0; cardinality], total: 0.0 } })
    }

    /// Takes in what a step counted.
    ///
    /// # Panics
    /// If the cardinalities differ.
    pub fn step(&mut self, counted: &Usage) {
        assert_eq!(self.usage.counts.len(), counted.counts.len(), "counts of the same codebook");
        for (average, &count) in self.usage.counts.iter_mut().zip(&counted.counts) {
            *average = moved(*average, count as f64, self.decay);
        }
        self.usage.total = self.usage.counts.iter().sum();
    }

    /// The average, with its figures.
    pub fn usage(&self) -> &Usage<f64> {
        &self.usage
    }
}

/// A moving average with a new value taken in.
pub(super) fn moved(average: f64, new: f64, decay: f64) -> f64 {
    decay * average + (1.0 - decay) * new
}

pub(super) fn check_decay(decay: f64) -> Result<()> {
    if (0.0..=1.0).contains(&decay) { Ok(()) } else { Err(Error::invalid("decay", decay, "a number from 0 to 1")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counted_gives_zeros_not_nan() {
        let usage = Usage::new(8);
        assert_eq!((usage.entropy(), usage.perplexity(), usage.max_share(), usage.used()), (0.0, 1.0, 0.0, 0));
        assert_eq!((usage.gini(), usage.mean(), usage.deviation()), (0.0, 0.0, 0.0));
        let none = Usage::new(0);
        assert_eq!((none.gini(), none.mean(), none.deviation(), none.least()), (0.0, 0.0, 0.0, None));
    }

    #[test]
    fn counts_are_read_back_and_checked() {
        let usage = Usage::from_counts(vec![3u64, 0, 1]).unwrap();
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(text, "[3,0,1]");
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
        assert!(serde_json::from_str::<Usage<f64>>("[1.0,-0.5]").is_err());
        assert!(Usage::from_counts(vec![u64::MAX, 1]).is_err());
        assert!(UsageEma::new(3, 1.5).is_err());
    }
}
