//! The slow, obvious step: plain lists, plain loops, 64 bits.

use ndarray::Array2;
use roundelay::codebook::{Draw, Draws, Metric, Moment, RevivedState, SeededDraws, Smoothing, Threshold};

use crate::drawn::Drawn;

/// A codebook in plain lists, moved with plain loops.
pub struct Slow {
    pub table: Vec<Vec<f64>>,
    pub sizes: Vec<f64>,
    pub sums: Vec<Vec<f64>>,
}

pub fn lists(matrix: &Array2<f32>) -> Vec<Vec<f64>> {
    matrix.rows().into_iter().map(|row| row.iter().map(|&value| f64::from(value)).collect()).collect()
}

pub fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
    row.iter().map(|value| value / length).collect()
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

impl Slow {
    pub fn step(&mut self, drawn: &Drawn, x: &[Vec<f64>], codes: &[usize]) -> Vec<(usize, usize)> {
        let (rule, mut draws) = (drawn.rule, SeededDraws::new(drawn.seed));
        let mut revived = self.revive(Moment::BeforeEma, drawn, x, &mut draws);
        for code in 0..self.sizes.len() {
            let own: Vec<&Vec<f64>> = x.iter().zip(codes).filter(|(_, c)| **c == code).map(|(row, _)| row).collect();
            // What is kept between steps is kept in 32 bits.
            self.sizes[code] =
                f64::from((rule.decay * self.sizes[code] + (1.0 - rule.decay) * own.len() as f64) as f32);
            for (index, sum) in self.sums[code].iter_mut().enumerate() {
                let new: f64 = own.iter().map(|row| row[index]).sum();
                *sum = rule.decay * *sum + (1.0 - rule.decay) * new;
            }
        }
        let (total, count) = (self.sizes.iter().sum::<f64>(), self.sizes.len() as f64);
        for code in 0..self.sizes.len() {
            let divisor = match rule.smoothing {
                Smoothing::Laplace(eps) => (self.sizes[code] + eps) / (total + count * eps) * total,
                Smoothing::AtLeast(least) => self.sizes[code].max(least),
            };
            if divisor > 0.0 {
                self.table[code] = self.sums[code].iter().map(|sum| sum / divisor).collect();
            }
            if rule.metric == Metric::Cosine {
                self.table[code] = unit(&self.table[code]);
            }
        }
        revived.extend(self.revive(Moment::AfterEma, drawn, x, &mut draws));
        revived
    }

    fn revive(
        &mut self,
        moment: Moment,
        drawn: &Drawn,
        x: &[Vec<f64>],
        draws: &mut SeededDraws,
    ) -> Vec<(usize, usize)> {
        let Some(revival) = drawn.rule.revival else { return Vec::new() };
        let (total, codes) = (self.sizes.iter().sum::<f64>(), self.sizes.len());
        let floor = match revival.threshold {
            Threshold::Count(count) => count,
            Threshold::Share(share) => share * total,
            Threshold::Ratio(ratio) => ratio * total / codes as f64,
        };
        let dead: Vec<usize> = (0..codes).filter(|&code| self.sizes[code] < floor).collect();
        if revival.moment != moment || !(drawn.parts.steps + 1).is_multiple_of(revival.every) || dead.is_empty() {
            return Vec::new();
        }
        let count = if revival.draw == Draw::EachCode { codes } else { dead.len() };
        let tiled = drawn.rule.noise > 0.0 && x.len() < count;
        let copies = if tiled { count.div_ceil(x.len()) } else { 1 };
        let rows = draws.rows(copies * x.len(), count);
        let mut vectors: Vec<Vec<f64>> = rows.iter().map(|row| x[row % x.len()].clone()).collect();
        for (vector, &row) in vectors.iter_mut().zip(&rows).filter(|_| tiled) {
            let width = vector.len();
            for (value, noise) in vector.iter_mut().zip(draws.noise(row, width)) {
                *value += f64::from(noise) * drawn.rule.noise / (width as f64).sqrt();
            }
            if drawn.rule.metric == Metric::Cosine {
                *vector = unit(vector);
            }
        }
        let size = match revival.state {
            RevivedState::Kept => None,
            RevivedState::Size(size) => Some(size),
            RevivedState::Ratio(ratio) => Some(ratio * total / codes as f64),
        };
        let mut revived = Vec::new();
        for (place, &code) in dead.iter().enumerate() {
            let place = if revival.draw == Draw::EachCode { code } else { place };
            self.table[code] = vectors[place].clone();
            if let Some(size) = size {
                self.sums[code] = vectors[place].iter().map(|value| value * size).collect();
                self.sizes[code] = f64::from(size as f32);
            }
            revived.push((code, rows[place] % x.len()));
        }
        revived
    }
}

pub fn assert_close(found: &Array2<f32>, expected: &[Vec<f64>], what: &str) {
    for (found, expected) in found.iter().zip(expected.iter().flatten()) {
        let room = 1e-4 + 1e-5 * expected.abs();
        assert!((f64::from(*found) - expected).abs() < room, "{what}: {found}, not {expected}");
    }
}
