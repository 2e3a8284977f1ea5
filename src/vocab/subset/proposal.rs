//! What ids are drawn from, and how likely each is.

use super::draws::{gumbel, largest, uniform};
use super::remap::check_words;
use crate::error::{Error, Result};

/// A distribution over words from which negatives are drawn.
///
/// ```text
/// uniform      q_k = 1 / N
/// log uniform  q_k = ln((k + 2) / (k + 1)) / ln(N + 1)     for ids by falling frequency: near 1 / k, as Zipf's law has it
/// unigram      q_k = count_k ^ alpha / sum                 0.75 is usual for alpha
/// ```
/// The first two need no table, however many words there are.
///
/// # Examples
/// ```
/// use roundelay::vocab::subset::{Proposal, Uniforms};
/// let words = Proposal::unigram(&[8, 1, 0, 1], 1.0)?;
/// assert_eq!(words.probability(0), 0.8);
/// let drawn = words.draw(1000, &mut Uniforms::new(3))?;
/// assert!(drawn.iter().all(|&id| id != 2));
/// assert!((750..850).contains(&drawn.iter().filter(|&&id| id == 0).count()));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    words: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Uniform,
    LogUniform,
    /// Probabilities, and their running sums.
    Listed {
        each: Vec<f64>,
        up_to: Vec<f64>,
    },
}

impl Proposal {
    /// All words alike.
    ///
    /// # Errors
    /// `Invalid` for no word; `OverLimit` for more than 2^32.
    pub fn uniform(words: usize) -> Result<Self> {
        Self::of(words, Kind::Uniform)
    }

    /// Words by their rank: ids are sorted by falling frequency.
    ///
    /// # Errors
    /// `Invalid` for no word; `OverLimit` for more than 2^32.
    pub fn log_uniform(words: usize) -> Result<Self> {
        Self::of(words, Kind::LogUniform)
    }

    /// Words by their counts, flattened by an exponent.
    ///
    /// # Errors
    /// As [`Proposal::listed`].
    pub fn unigram(counts: &[u64], alpha: f64) -> Result<Self> {
        // A count of 0 is never drawn, even to the power of 0.
        let weight = |&count: &u64| if count == 0 { 0.0 } else { (count as f64).powf(alpha) };
        Self::listed(&counts.iter().map(weight).collect::<Vec<_>>())
    }

    /// Words by weights, whatever their sum.
    ///
    /// # Errors
    /// `Invalid` for a weight that is negative or no number, or if they add up to nothing or to infinity; `OverLimit` for
    /// more than 2^32 words.
    pub fn listed(weights: &[f64]) -> Result<Self> {
        if let Some((id, weight)) = weights.iter().enumerate().find(|(_, weight)| weight.is_nan() || **weight < 0.0) {
            return Err(Error::invalid(format!("weight of word {id}"), weight, "a number that is not negative"));
        }
        let sum: f64 = weights.iter().sum();
        if !(sum > 0.0 && sum.is_finite()) {
            return Err(Error::invalid("sum of weights", sum, "a finite number above 0"));
        }
        let each: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
        let up_to = each.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        Self::of(weights.len(), Kind::Listed { up_to: up_to.collect(), each })
    }

    fn of(words: usize, kind: Kind) -> Result<Self> {
        check_words(words)?;
        match words {
            0 => Err(Error::invalid("number of words", 0, "at least 1")),
            words => Ok(Proposal { words, kind }),
        }
    }

    /// How many words there are.
    pub fn words(&self) -> usize {
        self.words
    }

    /// How likely one draw is this id; 0 for what is no word.
    pub fn probability(&self, id: u32) -> f64 {
        let (rank, words) = (f64::from(id), self.words as f64);
        match &self.kind {
            _ if id as usize >= self.words => 0.0,
            Kind::Uniform => 1.0 / words,
            Kind::LogUniform => (1.0 / (rank + 1.0)).ln_1p() / words.ln_1p(),
            Kind::Listed { each, .. } => each[id as usize],
        }
    }

    /// Draws with replacement: for each number u the first id up to which the probabilities add up to more than u.
    ///
    /// # Errors
    /// `Invalid` if there are fewer than `count` numbers, or one is not from 0 to 1.
    pub fn draw(&self, count: usize, draws: &mut dyn Iterator<Item = f64>) -> Result<Vec<u32>> {
        (0..count).map(|_| Ok(self.at(uniform(draws)?) as u32)).collect()
    }

    fn at(&self, drawn: f64) -> usize {
        let words = self.words as f64;
        let id = match &self.kind {
            Kind::Uniform => (drawn * words) as usize,
            // The probabilities of 0..=k add up to ln(k + 2) / ln(N + 1).
            Kind::LogUniform => ((words + 1.0).powf(drawn) as usize).saturating_sub(1),
            Kind::Listed { up_to, .. } => {
                let aim = drawn * up_to[self.words - 1];
                up_to.partition_point(|&sum| sum <= aim)
            }
        };
        id.min(self.words - 1)
    }

    /// Draws without replacement, the likeliest to be drawn first: the `count` largest of `ln q - ln(-ln u)`, one number
    /// u for each word.
    ///
    /// # Errors
    /// `Invalid` if fewer than `count` words are likely at all, or as [`Proposal::draw`] for a number for each word.
    pub fn draw_distinct(&self, count: usize, draws: &mut dyn Iterator<Item = f64>) -> Result<Vec<u32>> {
        let keys = self.keys(draws)?;
        let possible = keys.iter().filter(|&&key| key > f64::NEG_INFINITY).count();
        match count > possible {
            true => Err(Error::invalid("number of distinct draws", count, format!("at most {possible}"))),
            false => Ok(largest(&keys, count).into_iter().map(|id| id as u32).collect()),
        }
    }

    /// The keys of all words in [`Proposal::draw_distinct`]: minus infinity for those that are never drawn.
    ///
    /// # Errors
    /// `Invalid` for too few numbers, or one that is not from 0 to 1.
    pub fn keys(&self, draws: &mut dyn Iterator<Item = f64>) -> Result<Vec<f64>> {
        let key = |id: usize| Ok(self.probability(id as u32).ln() + gumbel(uniform(draws)?));
        (0..self.words).map(key).collect()
    }
}
