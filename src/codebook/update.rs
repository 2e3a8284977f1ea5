//! k-means: moves the codes of one table to where the data is.

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::nearest::Codes;

/// What k-means gives.
#[derive(Debug, Clone)]
pub struct Clusters {
    /// The means, `[clusters, d]`.
    pub means: Array2<f32>,
    /// How many vectors each cluster took in the last round (0 for an empty one).
    pub sizes: Vec<usize>,
}

/// How many clusters to look for, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KMeans {
    /// How many codes the table is to have.
    pub clusters: usize,
    /// Rounds of assigning and averaging. Default 20; each costs one search of all vectors.
    pub rounds: usize,
    /// Seed of the first means and of the vectors that revive empty clusters. Default 0.
    pub seed: u64,
}

impl Default for KMeans {
    fn default() -> Self {
        KMeans { clusters: 2048, rounds: 20, seed: 0 }
    }
}

impl KMeans {
    /// Clusters `vectors`: starts from rows drawn without repeats while there are enough of them,
    /// and gives an empty cluster a random row, so that no code stays dead while data is left.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]` with n > 0.
    ///
    /// # Panics
    /// If there is no vector, or no cluster is asked for.
    ///
    /// # Examples
    /// ```
    /// use ndarray::array;
    /// use roundelay::codebook::KMeans;
    ///
    /// let x = array![[0.0], [0.2], [9.0], [9.2]];
    /// let mut means = KMeans { clusters: 2, ..KMeans::default() }.fit(x.view()).means.into_raw_vec_and_offset().0;
    /// means.sort_by(f32::total_cmp);
    /// assert_eq!(means, [0.1, 9.1]);
    /// ```
    pub fn fit(&self, vectors: ArrayView2<'_, f32>) -> Clusters {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let rows = first_rows(&mut rng, vectors.nrows(), self.clusters);
        let start = vectors.select(Axis(0), &rows);
        refine(vectors, start, self.rounds, |_, _| Some(rng.random_range(0..vectors.nrows())))
    }
}

/// `count` rows of `n`: all different while there are enough, otherwise drawn with repeats.
fn first_rows(rng: &mut ChaCha8Rng, n: usize, count: usize) -> Vec<usize> {
    if n < count {
        return (0..count).map(|_| rng.random_range(0..n)).collect();
    }
    let mut rows: Vec<usize> = (0..n).collect();
    rows.shuffle(rng);
    rows.truncate(count);
    rows
}

/// Runs `rounds` of assigning each vector to its nearest mean and averaging, from `start`.
///
/// `revive(round, cluster)` is asked about every empty cluster: the row whose vector it is to take,
/// or `None` to keep the old mean.
///
/// # Shapes
/// `vectors` is `[n, d]`, `start` is `[clusters, d]`.
///
/// # Panics
/// If the widths differ, `start` is empty, or `revive` names a row that is not there.
///
/// # Source
/// audiocraft and vector-quantize-pytorch keep the old mean of an empty cluster, moshi revives it;
/// `reference/codebook`, kind `kmeans`.
pub fn refine(
    vectors: ArrayView2<'_, f32>,
    start: Array2<f32>,
    rounds: usize,
    mut revive: impl FnMut(usize, usize) -> Option<usize>,
) -> Clusters {
    let mut clusters = Clusters { sizes: vec![0; start.nrows()], means: start };
    for round in 0..rounds {
        let codes = Codes::new(clusters.means.clone()).nearest(vectors);
        clusters.sizes = average(vectors, &codes, &mut clusters.means);
        for cluster in 0..clusters.sizes.len() {
            if clusters.sizes[cluster] == 0
                && let Some(row) = revive(round, cluster)
            {
                clusters.means.row_mut(cluster).assign(&vectors.row(row));
            }
        }
    }
    clusters
}

/// Moves each mean to the average of the vectors assigned to it and returns how many those were.
/// A mean with none stays. Sums run in f64 and in row order, so the result does not depend on how
/// the vectors were split.
///
/// # Shapes
/// `vectors` is `[n, d]`, `codes` has n entries, `means` is `[clusters, d]`.
///
/// # Panics
/// If the shapes do not agree or a code is not below the number of clusters.
pub fn average(vectors: ArrayView2<'_, f32>, codes: &[usize], means: &mut Array2<f32>) -> Vec<usize> {
    assert_eq!(vectors.nrows(), codes.len(), "one code for each vector");
    let mut sums = Array2::<f64>::zeros(means.raw_dim());
    let mut sizes = vec![0usize; means.nrows()];
    for (vector, &code) in vectors.rows().into_iter().zip(codes) {
        sizes[code] += 1;
        sums.row_mut(code).zip_mut_with(&vector, |sum, &value| *sum += f64::from(value));
    }
    for (code, &size) in sizes.iter().enumerate().filter(|&(_, &size)| size > 0) {
        let mean = sums.row(code).mapv(|sum| (sum / size as f64) as f32);
        means.row_mut(code).assign(&mean);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn empty_cluster_takes_the_row_that_revives_it() {
        let x = array![[0.0f32], [1.0], [2.0]];
        let kept = refine(x.view(), array![[1.0], [50.0]], 1, |_, _| None);
        assert_eq!((kept.means, kept.sizes), (array![[1.0], [50.0]], vec![3, 0]));
        let revived = refine(x.view(), array![[1.0], [50.0]], 1, |_, _| Some(2));
        assert_eq!(revived.means, array![[1.0], [2.0]]);
    }

    #[test]
    fn same_seed_gives_same_means_and_another_seed_others() {
        let x = Array2::from_shape_fn((200, 3), |(i, j)| ((i * 37 + j * 11) % 101) as f32);
        let fit = |seed| KMeans { clusters: 9, rounds: 4, seed }.fit(x.view()).means;
        assert_eq!(fit(1), fit(1));
        assert_ne!(fit(1), fit(2));
    }

    #[test]
    fn more_clusters_than_vectors_is_allowed() {
        let x = array![[0.0f32, 1.0], [2.0, 3.0]];
        let fitted = KMeans { clusters: 5, rounds: 3, seed: 0 }.fit(x.view());
        assert_eq!(fitted.means.dim(), (5, 2));
        assert_eq!(fitted.sizes.iter().sum::<usize>(), 2);
    }
}
