//! How a codebook is used: counts, share of codes in use, entropy.

/// How often each code of one codebook occurs.
///
/// ```text
/// codes   2 0 2 2          counts  1 0 3 0     used 2 of 4
/// ```
///
/// # Examples
/// ```
/// use roundelay::codebook::Usage;
///
/// let mut usage = Usage::new(4);
/// for code in [2, 0, 2, 2] {
///     usage.add(code);
/// }
/// assert_eq!(usage.counts(), [1, 0, 3, 0]);
/// assert_eq!((usage.used(), usage.share_used(), usage.max_share()), (2, 0.5, 0.75));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    counts: Vec<u64>,
    total: u64,
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

    /// How often each code occurred.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many codes were counted in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many codes occurred at all.
    pub fn used(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count()
    }

    /// The share of codes that occurred, 0 for a codebook without codes.
    pub fn share_used(&self) -> f64 {
        self.used() as f64 / self.counts.len().max(1) as f64
    }

    /// Entropy of the frequencies in nats, 0 where nothing was counted.
    pub fn entropy(&self) -> f64 {
        let total = self.total as f64;
        let share = |&count: &u64| count as f64 / total;
        -self.counts.iter().filter(|&&count| count > 0).map(share).map(|p| p * p.ln()).sum::<f64>() + 0.0
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
        self.counts.iter().max().map_or(0.0, |&most| most as f64 / self.total.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counted_gives_zeros_not_nan() {
        let usage = Usage::new(8);
        assert_eq!((usage.entropy(), usage.perplexity(), usage.max_share(), usage.used()), (0.0, 1.0, 0.0, 0));
    }

    #[test]
    fn merged_counts_are_those_of_the_whole() {
        let count = |codes: &[usize]| {
            let mut usage = Usage::new(5);
            codes.iter().for_each(|&code| usage.add(code));
            usage
        };
        let mut left = count(&[0, 4, 4]);
        left.merge(&count(&[1, 4]));
        assert_eq!(left, count(&[0, 4, 4, 1, 4]));
    }
}
