//! The nearest code of a table for every row of a batch.

use ndarray::{Array2, ArrayView2};

use super::product::Panels;

/// A table of codes, with a copy of it that is laid out for searching.
///
/// ```text
/// table [codes, d]   row i is the vector of code i
/// ```
///
/// The nearest code by Euclidean distance is the one with the smallest `|c|^2 - 2 x.c`; the term
/// `|x|^2` is the same for all codes of a row and is left out. Of equally near codes the lowest
/// index wins.
#[derive(Debug, Clone)]
pub struct Codes {
    table: Array2<f32>,
    panels: Panels,
}

impl Codes {
    /// Keeps `table` `[codes, d]`.
    pub fn new(table: Array2<f32>) -> Self {
        // Whatever order it lies in: sums over a row then run the same way for all replicas.
        let table = if table.is_standard_layout() { table } else { table.as_standard_layout().into_owned() };
        let panels = Panels::new(table.view());
        Codes { table, panels }
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
        self.check(&vectors);
        let mut codes = vec![0; vectors.nrows()];
        self.panels.nearest(vectors, &mut codes);
        codes
    }

    /// Calls `each` once for every row, in order, with `|c|^2 - 2 x.c` of all codes.
    ///
    /// Adding the row's own `|x|^2` to a score gives the squared distance.
    pub(crate) fn scores(&self, vectors: ArrayView2<'_, f32>, each: impl FnMut(&[f32])) {
        self.check(&vectors);
        self.panels.scores(vectors, self.len(), each);
    }

    fn check(&self, vectors: &ArrayView2<'_, f32>) {
        assert!(!self.is_empty(), "a search needs at least one code");
        assert_eq!(vectors.ncols(), self.dimension(), "vectors as wide as the table");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayView1, Axis};
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
