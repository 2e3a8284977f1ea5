//! The nearest code of a table for every row of a batch, through one matrix product.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// Rows of one matrix product: the scores of a batch against 2048 codes then take 2 MiB.
const ROWS: usize = 256;

/// A table of codes with what a search needs, worked out once.
///
/// ```text
/// table [codes, d]   row i is the vector of code i
/// norms [codes]      |c|^2 of each row
/// ```
///
/// The nearest code by Euclidean distance is the one with the smallest `|c|^2 - 2 x.c`; the term
/// `|x|^2` is the same for all codes of a row and is left out. Of equally near codes the lowest
/// index wins.
#[derive(Debug, Clone)]
pub struct Codes {
    table: Array2<f32>,
    transposed: Array2<f32>,
    norms: Array1<f32>,
}

impl Codes {
    /// Keeps `table` `[codes, d]` with its norms.
    pub fn new(table: Array2<f32>) -> Self {
        let norms = table.map_axis(Axis(1), |row| row.dot(&row));
        let transposed = table.t().as_standard_layout().into_owned();
        Codes { table, transposed, norms }
    }

    /// The vectors, `[codes, d]`.
    pub fn table(&self) -> ArrayView2<'_, f32> {
        self.table.view()
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.table.nrows()
    }

    /// Whether there is no code at all.
    pub fn is_empty(&self) -> bool {
        self.table.nrows() == 0
    }

    /// The length of each vector.
    pub fn dimension(&self) -> usize {
        self.table.ncols()
    }

    /// The nearest code of each row.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`; returns n codes.
    ///
    /// # Panics
    /// If `vectors` has another width than the table, or the table has no code.
    pub fn nearest(&self, vectors: ArrayView2<'_, f32>) -> Vec<usize> {
        let mut codes = Vec::with_capacity(vectors.nrows());
        self.scores(vectors, |scores| codes.push(lowest(scores)));
        codes
    }

    /// Calls `each` once for every row, in order, with `|c|^2 - 2 x.c` of all codes.
    ///
    /// Adding the row's own `|x|^2` to a score gives the squared distance.
    pub(crate) fn scores(&self, vectors: ArrayView2<'_, f32>, mut each: impl FnMut(&[f32])) {
        assert!(!self.is_empty(), "a search needs at least one code");
        let mut scores = Array2::zeros((ROWS.min(vectors.nrows()), self.len()));
        for batch in vectors.axis_chunks_iter(Axis(0), ROWS) {
            let mut part = scores.slice_mut(s![..batch.nrows(), ..]);
            part.assign(&self.norms.view().insert_axis(Axis(0)));
            ndarray::linalg::general_mat_mul(-2.0, &batch, &self.transposed, 1.0, &mut part);
            for row in part.rows() {
                each(row.to_slice().expect("rows of a row-major matrix are contiguous"));
            }
        }
    }
}

/// The place of the smallest score; the first of equals.
fn lowest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate() {
        if score < scores[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayView1;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
    }

    fn naive(vector: ArrayView1<'_, f32>, table: ArrayView2<'_, f32>) -> usize {
        let mut best = (f64::INFINITY, 0);
        for (index, code) in table.rows().into_iter().enumerate() {
            let distance: f64 = vector.iter().zip(code).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            if distance < best.0 {
                best = (distance, index);
            }
        }
        best.1
    }

    #[test]
    fn matrix_product_finds_what_the_naive_loop_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (n, codes, d) in [(0, 3, 2), (1, 1, 1), (7, 5, 3), (300, 64, 8), (513, 33, 17)] {
            let vectors = random(&mut rng, n, d);
            let table = random(&mut rng, codes, d);
            let found = Codes::new(table.clone()).nearest(vectors.view());
            let expected: Vec<usize> = vectors.rows().into_iter().map(|v| naive(v, table.view())).collect();
            assert_eq!(found, expected, "{n} vectors, {codes} codes, {d} dimensions");
        }
    }

    #[test]
    fn lowest_index_wins_among_equal_codes() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let half = random(&mut rng, 37, 5);
        let table = ndarray::concatenate![Axis(0), half, half];
        let found = Codes::new(table).nearest(half.view());
        assert_eq!(found, (0..37).collect::<Vec<_>>());
    }
}
