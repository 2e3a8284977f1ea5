//! The figures, as they are given out.

use std::f64::consts::LN_2;

use serde::Serialize;

use super::StreamUse;
use crate::codebook::{Count, Threshold, Usage};

/// How the codebooks of datasets are used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CodebookStatistics {
    /// The layout's name.
    pub layout: String,
    /// Whose codes they are.
    pub codec: String,
    /// How many segments were counted.
    pub segments: u64,
    /// Below which use a code is dead.
    pub dead: Threshold,
    /// The share that the moving averages keep at each segment, if there are any.
    pub ema_decay: Option<f64>,
    /// One for each stream of codes, or for each level.
    pub codebooks: Vec<CodebookUse>,
}

/// How one codebook is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CodebookUse {
    /// The stream's name, or the level's.
    pub codebook: String,
    /// Codes that there are.
    pub cardinality: usize,
    /// Cells without a code.
    pub absent: u64,
    /// Of all that was counted.
    #[serde(flatten)]
    pub counted: UseFigures<u64>,
    /// Of the moving average over the segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<UseFigures<f64>>,
}

/// What counts, or averages of them, come to. Where there is none, figures that need one are none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UseFigures<C> {
    /// All of them together.
    pub total: C,
    /// Codes that occur at all.
    pub used: usize,
    /// Codes below the threshold.
    pub dead: Option<usize>,
    /// How many equally frequent codes would have the same entropy.
    pub perplexity: Option<f64>,
    /// Of the codes as they occur.
    pub entropy_bits: Option<f64>,
    /// How unequal the counts are, from 0 to 1.
    pub gini: Option<f64>,
    /// Of the counts, over all codes.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The code that occurs least; the first of equals.
    pub least: Option<CodeUse<C>>,
    /// The code that occurs most; the first of equals.
    pub most: Option<CodeUse<C>>,
}

/// A code, and how often it occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CodeUse<C> {
    /// The code.
    pub code: usize,
    /// Its count.
    pub count: C,
}

impl CodebookUse {
    pub(super) fn of(stream: &StreamUse, average: Option<&Usage<f64>>, dead: Threshold) -> Self {
        CodebookUse {
            codebook: stream.stream.clone(),
            cardinality: stream.counts.counts().len(),
            absent: stream.absent,
            counted: UseFigures::of(&stream.counts, dead),
            ema: average.map(|average| UseFigures::of(average, dead)),
        }
    }
}

impl<C: Count> UseFigures<C> {
    fn of(usage: &Usage<C>, dead: Threshold) -> Self {
        let some = usage.total().value() > 0.0;
        let code_use = |(code, count)| CodeUse { code, count };
        UseFigures {
            total: usage.total(),
            used: usage.used(),
            dead: some.then(|| usage.dead(dead).len()),
            perplexity: some.then(|| usage.perplexity()),
            entropy_bits: some.then(|| usage.entropy() / LN_2),
            gini: some.then(|| usage.gini()),
            mean: usage.mean(),
            deviation: usage.deviation(),
            least: usage.least().filter(|_| some).map(code_use),
            most: usage.most().filter(|_| some).map(code_use),
        }
    }
}
