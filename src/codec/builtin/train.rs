//! Training of the tables: features of much speech to a basis and eight codebooks.
//!
//! ```text
//! features [n, F] --mean, weight--> principal directions --> vectors [n, D]
//! vectors, some --k-means--> table 0 --residual--k-means--> table 1 ...               start
//! vectors, shuffled, batch by batch: every table follows by EMA, dead codes revived   epochs
//! all codes found anew with a beam; each table averaged over what the others leave    passes
//! ```

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use crate::codebook::{
    Alone, Draws, ResidualQuantizer, ResidualTrainer, ResidualTraining, SeededDraws, Usage, average, without_others,
};
use crate::error::{Error, Result};

use super::bands::BANDS;
use super::tables::Tables;
use super::{CODEBOOKS, CODES, FEATURES, PITCH, VOICING, analysis};

/// Vectors of the batch on which the tables start.
const FIRST: usize = 1 << 16;
/// Vectors of every further batch: several for each code.
const BATCH: usize = 1 << 13;

/// Rounds at the end, each of a search of all codes, in which codes that nobody uses are given vectors.
const SETTLING: usize = 3;

/// How the tables are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Dimensions that are kept of the features. Default 64; each costs 16 KiB in the file.
    pub dimensions: usize,
    /// How often all vectors go by while the tables follow them. Default 4.
    pub epochs: usize,
    /// Passes with a beam after that. Default 2; each costs about as much as four epochs.
    pub passes: usize,
    /// Ways kept while searching in those passes. Default 4.
    pub beam: usize,
    /// How much an error of the pitch's logarithm weighs against one of a band's. Default 16: where harmonics lie
    /// is most of what a listener and a spectrum notice.
    pub pitch_weight: f32,
    /// The same for the voicing. Default 3.
    pub voicing_weight: f32,
    /// Seed of all draws. Default 0.
    pub seed: u64,
}

impl Default for Training {
    fn default() -> Self {
        Training { dimensions: 64, epochs: 4, passes: 2, beam: 4, pitch_weight: 16.0, voicing_weight: 3.0, seed: 0 }
    }
}

/// The features of one recording, to be put together with those of others for [`Training::run`].
///
/// # Shapes
/// Returns `[frames, features]`.
pub fn features(samples: &[f32]) -> Array2<f32> {
    analysis::analyse(samples)
}

impl Training {
    /// Trains tables, telling `report` in a line what each step came to.
    ///
    /// # Shapes
    /// `features` is `[n, features]`, rows of [`features`].
    /// # Errors
    /// `Invalid` if there are no more rows than codes in a codebook, if they have another width, or if more
    /// dimensions are asked for than there are features.
    pub fn run(&self, features: ArrayView2<'_, f32>, report: &mut dyn FnMut(&str)) -> Result<Tables> {
        self.check(features)?;
        let mean = features.mean_axis(Axis(0)).expect("there are rows");
        let weight = self.weights();
        let weighted = (&features - &mean) * &weight;
        let basis = principal(weighted.view(), self.dimensions);
        let data = Data { vectors: weighted.dot(&basis.t()), whole: mean_square(&weighted) };
        let lost = 1.0 - data.share(&data.vectors);
        report(&format!("{} frames; the basis leaves {lost:.4} of the variance", data.vectors.nrows()));
        drop(weighted);
        let mut draws = SeededDraws::new(self.seed);
        let mut levels = self.follow(&data, &mut draws, report)?;
        for pass in 1..=self.passes {
            self.pass(&mut levels, &data, pass, &mut draws, report);
        }
        let mut settling = 0..SETTLING;
        loop {
            let tables = Tables::pack(mean.clone(), weight.clone(), &basis, &levels);
            let codes = tables.quantizer.encode_beam(data.vectors.view(), self.beam);
            let error = data.error(&tables.quantizer, &codes);
            report(&format!("packed: error {error:.5}; {}", usage(codes.view())));
            if settling.next().is_none() || revive(&mut levels, &data, codes.view(), &mut draws) == 0 {
                return Ok(tables);
            }
        }
    }

    fn check(&self, features: ArrayView2<'_, f32>) -> Result<()> {
        if features.ncols() != FEATURES {
            return Err(Error::invalid("features of a frame", features.ncols(), FEATURES));
        }
        if features.nrows() <= CODES {
            let seconds = |frames: usize| frames as f64 * super::FRAME as f64 / f64::from(super::SAMPLE_RATE);
            let found = format!("{:.2} s ({} frames)", seconds(features.nrows()), features.nrows());
            let expected = format!("more than {:.2} s ({CODES} frames), and better hours", seconds(CODES));
            return Err(Error::invalid("speech to train on", found, expected));
        }
        if !(1..=FEATURES).contains(&self.dimensions) {
            return Err(Error::invalid("dimensions", self.dimensions, format!("1 to {FEATURES}")));
        }
        if self.beam == 0 {
            return Err(Error::invalid("ways kept while searching", 0, "at least 1"));
        }
        if let Some(weight) = [self.pitch_weight, self.voicing_weight].iter().find(|w| !(w.is_finite() && **w > 0.0)) {
            return Err(Error::invalid("weight of a feature", weight, "a number above 0"));
        }
        Ok(())
    }

    /// What an error in each feature counts. Bands above 6 kHz count less: they tell fricatives apart, which takes
    /// little.
    fn weights(&self) -> Array1<f32> {
        Array1::from_shape_fn(FEATURES, |index| match index {
            PITCH..VOICING => self.pitch_weight,
            VOICING.. => self.voicing_weight,
            _ if index % BANDS >= BANDS - 5 => 0.5,
            _ => 1.0,
        })
    }

    /// Starts the tables on some vectors, and lets them follow all.
    fn follow(&self, data: &Data, draws: &mut SeededDraws, report: &mut dyn FnMut(&str)) -> Result<Vec<Array2<f32>>> {
        let rows = data.vectors.nrows();
        let training =
            ResidualTraining { levels: CODEBOOKS, codes: CODES, seed: self.seed, ..ResidualTraining::default() };
        let first = data.vectors.select(Axis(0), &draws.rows(rows, FIRST.min(rows)));
        let mut trainer = ResidualTrainer::new(&training, first.view(), &mut Alone)?;
        report(&format!("start: tables from {} vectors", first.nrows()));
        for epoch in 1..=self.epochs {
            let order = draws.rows(rows, rows);
            let (mut left, mut revived) = (0.0, 0);
            for rows in order.chunks(BATCH) {
                let steps = trainer.step(data.vectors.select(Axis(0), rows).view(), &mut Alone)?;
                left += steps.last().map_or(0.0, |step| step.error) * rows.len() as f64;
                revived += steps.iter().map(|step| step.revived.len()).sum::<usize>();
            }
            let error = left / rows as f64 * self.dimensions as f64 / data.whole;
            report(&format!("epoch {epoch}: error {error:.5}; {revived} dead codes revived"));
        }
        Ok(trainer.levels().iter().map(|level| level.codes().table().to_owned()).collect())
    }

    /// Finds all codes anew with a beam and averages each table in turn over what the others leave.
    fn pass(
        &self,
        levels: &mut [Array2<f32>],
        data: &Data,
        pass: usize,
        draws: &mut SeededDraws,
        report: &mut dyn FnMut(&str),
    ) {
        let mut quantizer = ResidualQuantizer::new(levels.to_vec());
        let codes = quantizer.encode_beam(data.vectors.view(), self.beam);
        let before = data.error(&quantizer, &codes);
        for level in 0..levels.len() {
            let target = without_others(&quantizer, data.vectors.view(), codes.view(), level);
            let row: Vec<usize> = codes.row(level).iter().map(|&code| code as usize).collect();
            average(target.view(), &row, &mut levels[level]);
            quantizer = ResidualQuantizer::new(levels.to_vec());
        }
        let after = data.error(&quantizer, &codes);
        let revived = revive(levels, data, codes.view(), draws);
        report(&format!(
            "pass {pass}: error {before:.5}, with the tables moved {after:.5}; {revived} dead codes revived"
        ));
    }
}

/// Gives codes that nobody uses what the levels before leave of vectors drawn at random, so that the search meets
/// them on its way, and returns how many those were.
fn revive(levels: &mut [Array2<f32>], data: &Data, codes: ArrayView2<'_, i32>, draws: &mut SeededDraws) -> usize {
    let quantizer = ResidualQuantizer::new(levels.to_vec());
    let mut revived = 0;
    for (level, table) in levels.iter_mut().enumerate() {
        let usage = used(codes.row(level));
        let dead: Vec<usize> = (0..CODES).filter(|&code| usage.counts()[code] == 0).collect();
        let rows = draws.rows(data.vectors.nrows(), dead.len());
        let before = quantizer.decode(codes.slice(s![..level, ..]).select(Axis(1), &rows).view());
        let left = data.vectors.select(Axis(0), &rows) - before;
        dead.iter().zip(left.rows()).for_each(|(&code, left)| table.row_mut(code).assign(&left));
        revived += dead.len();
    }
    revived
}

/// What is trained on.
struct Data {
    vectors: Array2<f32>,
    /// Mean squared length of the weighted features, which all errors are given as shares of.
    whole: f64,
}

impl Data {
    fn share(&self, rows: &Array2<f32>) -> f64 {
        mean_square(rows) / self.whole
    }

    fn error(&self, quantizer: &ResidualQuantizer, codes: &Array2<i32>) -> f64 {
        self.share(&(&self.vectors - &quantizer.decode(codes.view())))
    }
}

/// The perplexity of each level: how many equally frequent codes would say as much; and how many codes nobody used.
fn usage(codes: ArrayView2<'_, i32>) -> String {
    let usages = codes.rows().into_iter().map(used);
    let (perplexity, dead): (Vec<_>, Vec<_>) =
        usages.map(|usage| (format!("{:.0}", usage.perplexity()), CODES - usage.used())).unzip();
    format!("perplexity {}; {} dead codes", perplexity.join(" "), dead.iter().sum::<usize>())
}

/// How one level's codes are used.
fn used(row: ArrayView1<'_, i32>) -> Usage {
    let mut usage = Usage::new(CODES);
    row.iter().for_each(|&code| usage.add(code as usize));
    usage
}

/// Mean squared length of the rows.
fn mean_square(rows: &Array2<f32>) -> f64 {
    rows.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / rows.nrows() as f64
}

/// The `count` directions of largest variance, one in a row, largest first.
///
/// # Shapes
/// `centred` is `[n, d]` with mean 0; returns `[count, d]`.
fn principal(centred: ArrayView2<'_, f32>, count: usize) -> Array2<f32> {
    let mut covariance = Array2::<f64>::zeros((centred.ncols(), centred.ncols()));
    // In parts, as a sum of 10^5 products in f32 would lose digits.
    for part in centred.axis_chunks_iter(Axis(0), 1024) {
        covariance += &part.t().dot(&part).mapv(f64::from);
    }
    let (values, vectors) = eigen(covariance);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    vectors.select(Axis(1), &order[..count]).t().mapv(|value| value as f32).as_standard_layout().into_owned()
}

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations.
fn eigen(mut matrix: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = matrix.nrows();
    let mut vectors = Array2::eye(n);
    let size: f64 = matrix.iter().map(|value| value * value).sum();
    for _sweep in 0..30 {
        let outside: f64 = matrix.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, value)| value * value).sum();
        if outside <= size * 1e-20 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    (matrix.diag().to_vec(), vectors)
}

/// Turns the plane of `p` and `q` so that their covariance becomes 0.
fn rotate(matrix: &mut Array2<f64>, vectors: &mut Array2<f64>, p: usize, q: usize) {
    if matrix[[p, q]] == 0.0 {
        return;
    }
    let theta = (matrix[[q, q]] - matrix[[p, p]]) / (2.0 * matrix[[p, q]]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (t * t + 1.0).sqrt();
    let sine = t * cosine;
    for k in 0..matrix.nrows() {
        let (a, b) = (matrix[[k, p]], matrix[[k, q]]);
        (matrix[[k, p]], matrix[[k, q]]) = (cosine * a - sine * b, sine * a + cosine * b);
        let (a, b) = (vectors[[k, p]], vectors[[k, q]]);
        (vectors[[k, p]], vectors[[k, q]]) = (cosine * a - sine * b, sine * a + cosine * b);
    }
    for k in 0..matrix.nrows() {
        let (a, b) = (matrix[[p, k]], matrix[[q, k]]);
        (matrix[[p, k]], matrix[[q, k]]) = (cosine * a - sine * b, sine * a + cosine * b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn eigenvectors_diagonalise() {
        let matrix = array![[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 1.0]];
        let (values, vectors) = eigen(matrix.clone());
        let back = vectors.dot(&Array2::from_diag(&Array1::from(values))).dot(&vectors.t());
        assert!((back - matrix).iter().all(|value: &f64| value.abs() < 1e-9));
    }

    #[test]
    fn principal_directions_come_largest_first() {
        let x = array![[3.0f32, 0.1, 0.0], [-3.0, -0.1, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]];
        let basis = principal(x.view(), 2);
        assert!(basis[[0, 0]].abs() > 0.99 && basis[[1, 1]].abs() > 0.99);
    }

    #[test]
    fn too_few_frames_are_refused() {
        let error = Training::default().run(Array2::zeros((10, FEATURES)).view(), &mut |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "speech to train on is 0.80 s (10 frames), expected more than 163.84 s (2048 frames), and better hours"
        );
    }

    #[test]
    fn weights_cover_every_kind_of_feature() {
        let weights = Training::default().weights();
        assert_eq!((weights[0], weights[BANDS - 1], weights[PITCH], weights[FEATURES - 1]), (1.0, 0.5, 16.0, 3.0));
    }
}
