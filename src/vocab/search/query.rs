//! A query, in the form in which each kind of vectors is searched fastest.

use super::vectors::{Values, Vectors, bad_value, is_good};
use crate::error::Result;

/// One query for one table.
#[derive(Debug)]
pub(super) struct Query {
    /// What each number of a row is multiplied with: the query, times the scales where there are any.
    pub weights: Vec<f64>,
    pub fast: Fast,
    /// A fast score times this is near the score.
    unit: f64,
    /// How far a fast score can be from the score, in such units.
    margin: f64,
}

/// What fast scores are made of.
#[derive(Debug)]
pub(super) enum Fast {
    /// For rows of i8. No sum of products with them leaves 31 bits.
    Whole(Vec<i16>),
    /// For rows of f32.
    Float(Vec<f32>),
}

impl Query {
    /// The query in row `number` of those that were given.
    pub fn new(number: usize, query: &[f32], vectors: &Vectors<'_>) -> Result<Self> {
        if let Some(place) = query.iter().position(|&value| !is_good(value)) {
            return Err(bad_value(number, place, query[place]).in_stream("queries"));
        }
        Ok(match vectors.values() {
            Values::I8 { scales, .. } => {
                let weights = query.iter().zip(scales).map(|(&q, &scale)| f64::from(q) * f64::from(scale)).collect();
                Query::whole(weights)
            }
            _ => Query::float(query, vectors.longest()),
        })
    }

    /// Rounds to whole numbers as large as sums in 31 bits allow. What rounding moves is known, number by number, and no
    /// i8 is larger than 128.
    fn whole(weights: Vec<f64>) -> Self {
        let bound = ((1 << 24) / weights.len() - 1).min(32767) as f64;
        let largest = weights.iter().fold(0.0f64, |largest, weight| largest.max(weight.abs()));
        let unit = if largest > 0.0 { largest / bound } else { 1.0 };
        let rounded: Vec<i16> = weights.iter().map(|weight| (weight / unit).round() as i16).collect();
        let moved: f64 = weights.iter().zip(&rounded).map(|(w, &r)| (w / unit - f64::from(r)).abs()).sum();
        let total: f64 = rounded.iter().map(|&r| f64::from(r).abs()).sum();
        // Sums beyond 24 bits are rounded on their way to f32.
        let margin = 128.0 * (moved * 1.000_001 + total * f64::from(f32::EPSILON)) + 1e-3;
        Query { weights, fast: Fast::Whole(rounded), unit, margin }
    }

    /// D products, summed in f32 in whatever order, are off by at most D roundings of the sum of their sizes, which is at
    /// most the product of both lengths.
    fn float(query: &[f32], longest: f64) -> Self {
        let weights: Vec<f64> = query.iter().map(|&q| q.into()).collect();
        let length = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
        let steps = (weights.len() + 2) as f64 * f64::from(f32::EPSILON);
        // The last is for products too small for an f32.
        let margin = steps * length * longest + weights.len() as f64 * f64::from(f32::MIN_POSITIVE);
        Query { weights, fast: Fast::Float(query.to_vec()), unit: 1.0, margin }
    }

    /// The fast score below which nothing can be among the best K, if the K-th best of some rows has this score.
    pub fn floor(&self, kth: f64) -> f32 {
        // An f32 that is less.
        ((kth / self.unit - self.margin) as f32).next_down().next_down()
    }
}
