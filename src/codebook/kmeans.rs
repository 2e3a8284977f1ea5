//! k-means: moves the codes of one table to where the data is.
//!
//! ```text
//! start     rows at random, or each far from those before (k-means++)
//! round     assign every vector to its nearest mean; move each mean to the average of its vectors
//! ```

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Fixed, largest_of_all, squared_distance};
use super::collective::{Alone, Collective, Digest, gather};
use super::draws::{Draws, SeededDraws};
use super::nearest::Codes;
use crate::error::{Error, Result};

/// What k-means gives.
#[derive(Debug, Clone)]
pub struct Clusters {
    /// The means, `[clusters, d]`.
    pub means: Array2<f32>,
    /// How many vectors each cluster took in the last round (0 for an empty one).
    pub sizes: Vec<usize>,
}

/// Where the first means are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At vectors drawn without repeats while there are enough of them.
    #[default]
    Random,
    /// At vectors drawn one after another, each with a chance by the square of its distance from those before
    /// (k-means++). Starts from lower errors; costs at most as much as a round of k-means with a plain loop, and less the
    /// more the vectors lie in groups.
    PlusPlus,
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
    /// Where the first means are. Default random.
    pub start: Start,
}

impl Default for KMeans {
    fn default() -> Self {
        KMeans { clusters: 2048, rounds: 20, seed: 0, start: Start::Random }
    }
}

impl KMeans {
    /// Clusters `vectors`, and gives an empty cluster a random row, so that no code stays dead while data is left.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`.
    ///
    /// # Errors
    /// `Invalid` if there is no vector, no cluster is asked for, or a value is not a number up to 1e15.
    ///
    /// # Examples
    /// ```
    /// use ndarray::array;
    /// use roundelay::codebook::KMeans;
    ///
    /// let x = array![[0.0], [0.2], [9.0], [9.2]];
    /// let mut means = KMeans { clusters: 2, ..KMeans::default() }.fit(x.view())?.means.into_raw_vec_and_offset().0;
    /// means.sort_by(f32::total_cmp);
    /// assert_eq!(means, [0.1, 9.1]);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn fit(&self, vectors: ArrayView2<'_, f32>) -> Result<Clusters> {
        self.fit_with(vectors, &mut Alone)
    }

    /// Clusters the vectors of all workers: the same means, to the last bit, as one worker finds that has them all, in
    /// the order of the ranks. `sizes` are over all workers.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), if workers ask for different things, and that of the collective.
    pub fn fit_with(&self, vectors: ArrayView2<'_, f32>, workers: &mut dyn Collective) -> Result<Clusters> {
        let width = vectors.ncols();
        let batch = Batch::new(vectors.into(), width, Digest::of(&(self, width)), workers)?;
        if self.clusters == 0 {
            return Err(Error::invalid("number of clusters", 0, "at least 1"));
        }
        let mut draws = SeededDraws::new(self.seed);
        let means = match self.start {
            Start::Random => batch.fetch(&draws.rows(batch.len(), self.clusters), workers)?,
            Start::PlusPlus => plus_plus(&batch, self.clusters, &mut draws, workers)?,
        };
        let mut clusters = Clusters { means, sizes: vec![0; self.clusters] };
        for _ in 0..self.rounds {
            clusters.round(&batch, &mut draws, workers)?;
        }
        Ok(clusters)
    }
}

impl Clusters {
    /// Assigns and averages once, and gives empty clusters random rows.
    fn round(&mut self, batch: &Batch<'_>, draws: &mut SeededDraws, workers: &mut dyn Collective) -> Result<()> {
        let totals = batch.totals(&Codes::new(self.means.clone()), workers)?;
        self.sizes = totals.sizes.iter().map(|&size| size as usize).collect();
        divide(totals.sums.view(), &self.sizes, &mut self.means);
        let empty: Vec<usize> = (0..self.sizes.len()).filter(|&cluster| self.sizes[cluster] == 0).collect();
        let rows = batch.fetch(&draws.rows(batch.len(), empty.len()), workers)?;
        empty.iter().zip(rows.rows()).for_each(|(&cluster, row)| self.means.row_mut(cluster).assign(&row));
        Ok(())
    }
}

/// Draws rows one after another, each with a chance by its squared distance from the nearest one before.
///
/// # Source
/// D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
fn plus_plus(
    batch: &Batch<'_>,
    count: usize,
    draws: &mut SeededDraws,
    workers: &mut dyn Collective,
) -> Result<Array2<f32>> {
    let first = draws.below(batch.len() as u64) as usize;
    let mut means = batch.fetch(&[first], workers)?;
    let mut near = Near::new(batch, &means);
    // Distances only fall: what the first need is enough for all.
    let fixed = Fixed::new(largest_of_all(&near.distances, workers)?, batch.len());
    for _ in 1..count {
        let mean = far(batch, &near.distances, fixed, draws, workers)?;
        near.approach(batch, &means, &mean);
        means.append(Axis(0), mean.view()).expect("rows of one width");
    }
    Ok(means)
}

/// The mean that is nearest to each own row.
struct Near {
    means: Vec<usize>,
    /// Its squared distance.
    distances: Vec<f32>,
}

impl Near {
    fn new(batch: &Batch<'_>, mean: &Array2<f32>) -> Self {
        let distances: Vec<f32> =
            batch.own().rows().into_iter().map(|row| squared_distance(row, mean.row(0))).collect();
        Near { means: vec![0; distances.len()], distances }
    }

    /// Takes one more mean into account, besides those before.
    fn approach(&mut self, batch: &Batch<'_>, before: &Array2<f32>, mean: &Array2<f32>) {
        let gaps: Vec<f32> = before.rows().into_iter().map(|other| squared_distance(other, mean.row(0))).collect();
        let own = batch.own();
        let rows = self.means.iter_mut().zip(&mut self.distances).zip(own.rows());
        for ((nearest, distance), row) in rows {
            // A mean that is twice as far from the nearest one as that is from here is not nearer: three sides of a
            // triangle.
            if gaps[*nearest] >= 4.0 * *distance {
                continue;
            }
            let found = squared_distance(row, mean.row(0));
            if found < *distance {
                (*nearest, *distance) = (before.nrows(), found);
            }
        }
    }
}

/// Draws one row of all workers by the distances; any row where all distances are 0.
fn far(
    batch: &Batch<'_>,
    distances: &[f32],
    fixed: Fixed,
    draws: &mut SeededDraws,
    workers: &mut dyn Collective,
) -> Result<Array2<f32>> {
    // Rounding must not make a row impossible, nor one possible that is there already.
    let weight = |&distance: &f32| if distance > 0.0 { fixed.of(distance).max(1) } else { 0 };
    let own: i64 = distances.iter().map(weight).sum();
    let all = gather(workers, [own])?;
    let total: i64 = all.iter().flatten().sum();
    if total == 0 {
        let row = draws.below(batch.len() as u64) as usize;
        return batch.fetch(&[row], workers);
    }
    let mut target = draws.below(total as u64) as i64;
    let owner = pass(all.iter().map(|&[weight]| weight), &mut target);
    let mut mean = Array2::zeros((1, batch.own().ncols()));
    if owner == workers.rank() {
        let row = pass(distances.iter().map(weight), &mut target);
        mean.row_mut(0).assign(&batch.own().row(row));
    }
    workers.broadcast(owner, mean.as_slice_mut().expect("a new array is contiguous"))?;
    Ok(mean)
}

/// Which of the weights, laid end to end, `target` falls on; leaves how far within it.
fn pass(weights: impl Iterator<Item = i64>, target: &mut i64) -> usize {
    for (place, weight) in weights.enumerate() {
        if *target < weight {
            return place;
        }
        *target -= weight;
    }
    unreachable!("the target is below the sum of the weights")
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
    divide(sums.view(), &sizes, means);
    sizes
}

/// Puts the means of sums in place, where there is anything to be averaged.
fn divide(sums: ArrayView2<'_, f64>, sizes: &[usize], means: &mut Array2<f32>) {
    for ((mut mean, sum), &size) in means.rows_mut().into_iter().zip(sums.rows()).zip(sizes) {
        if size > 0 {
            mean.zip_mut_with(&sum, |mean, sum| *mean = (sum / size as f64) as f32);
        }
    }
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
        for start in [Start::Random, Start::PlusPlus] {
            let fit = |seed| KMeans { clusters: 9, rounds: 4, seed, start }.fit(x.view()).unwrap().means;
            assert_eq!(fit(1), fit(1));
            assert_ne!(fit(1), fit(2));
        }
    }

    #[test]
    fn more_clusters_than_vectors_is_allowed() {
        let x = array![[0.0f32, 1.0], [2.0, 3.0]];
        for start in [Start::Random, Start::PlusPlus] {
            let fitted = KMeans { clusters: 5, rounds: 3, seed: 0, start }.fit(x.view()).unwrap();
            assert_eq!(fitted.means.dim(), (5, 2));
            assert_eq!(fitted.sizes.iter().sum::<usize>(), 2);
        }
    }

    #[test]
    fn what_cannot_be_clustered_is_an_error() {
        let fit =
            |x: Array2<f32>, clusters| KMeans { clusters, ..KMeans::default() }.fit(x.view()).unwrap_err().to_string();
        assert_eq!(fit(array![[0.0]], 0), "number of clusters is 0, expected at least 1");
        assert_eq!(fit(Array2::zeros((0, 2)), 1), "number of vectors of all workers is 0, expected at least 1");
        let expected = "value 1 of vector 1 is NaN, expected a number up to 1e15 in size";
        assert_eq!(fit(array![[0.0, 1.0], [2.0, f32::NAN]], 1), expected);
    }
}
