//! A table, its clusters where it has some, and what is found in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};

use super::keep::{Hit, Judge};
use super::kernel::BLOCK;
use super::query::Query;
use super::scan::{Scan, Task};
use super::vectors::Vectors;
use crate::error::{Error, Result};

/// Rows that a thread takes at a time, at most: to go from one place to another costs, too.
const PIECE: usize = 131_072;

/// Pieces for each thread, if they are smaller than that.
const PIECES: usize = 8;

/// Every so-many-th piece is searched first: a sample of all rows raises the floor early.
const STRIDE: usize = 16;

/// Queries that are searched for together.
const GROUP: usize = 32;

/// The best K vectors of each query: best first, of equals the lower id.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// `[queries, K]`.
    pub ids: Array2<u32>,
    /// `[queries, K]`: the sum of products in f64, in the order of the dimensions.
    pub scores: Array2<f64>,
}

impl Found {
    fn new(hits: &[Vec<Hit>], k: usize) -> Self {
        let ids = Array2::from_shape_fn((hits.len(), k), |(query, place)| hits[query][place].id);
        let scores = Array2::from_shape_fn((hits.len(), k), |(query, place)| hits[query][place].score);
        Found { ids, scores }
    }

    /// Which share of these ids another search has found as well, over all queries.
    ///
    /// # Panics
    /// If the other has another number of queries.
    pub fn recall(&self, other: &Found) -> f64 {
        assert_eq!(self.ids.nrows(), other.ids.nrows(), "the same queries");
        let rows = self.ids.rows().into_iter().zip(other.ids.rows());
        let shared = |(mine, theirs): (ndarray::ArrayView1<'_, u32>, ndarray::ArrayView1<'_, u32>)| {
            let theirs: BTreeSet<u32> = theirs.iter().copied().collect();
            mine.iter().filter(|id| theirs.contains(id)).count()
        };
        rows.map(shared).sum::<usize>() as f64 / self.ids.len() as f64
    }
}

/// How the rows of a table lie together.
///
/// # Shapes
/// `centroids` are C vectors of the same dimension; `offsets` has C + 1 row numbers, from 0 to N: the rows of cluster c are
/// `offsets[c]..offsets[c + 1]`. `ids` and `places` have N numbers and undo each other: row r is the vector of id
/// `ids[r]`, and that of id i is in row `places[i]`.
#[derive(Debug, Clone, Copy)]
pub struct Clustered<'a> {
    /// The middle of each cluster.
    pub centroids: Vectors<'a>,
    /// Where clusters begin and end.
    pub offsets: &'a [u64],
    /// The id of each row.
    pub ids: &'a [u32],
    /// The row of each id.
    pub places: &'a [u32],
}

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub struct Index<'a> {
    vectors: Vectors<'a>,
    clusters: Option<Clustered<'a>>,
    cosine: bool,
}

impl<'a> Index<'a> {
    /// A table whose ids are its rows.
    pub fn new(vectors: Vectors<'a>) -> Self {
        Index { vectors, clusters: None, cosine: false }
    }

    /// A table in clusters.
    ///
    /// # Errors
    /// `Invalid` if the lengths do not fit each other, or the offsets do not rise from 0 to the number of rows. Ids and
    /// places are looked at when they are used.
    pub fn clustered(vectors: Vectors<'a>, clusters: Clustered<'a>) -> Result<Self> {
        for (what, found) in [("ids", clusters.ids.len()), ("places", clusters.places.len())] {
            if found != vectors.len() {
                return Err(Error::invalid(format!("number of {what}"), found, vectors.len()));
            }
        }
        let count = clusters.offsets.len().saturating_sub(1);
        let found = [clusters.centroids.len(), clusters.centroids.dimension()];
        if found != [count, vectors.dimension()] {
            let [expected, found] =
                [[count, vectors.dimension()], found].map(|[rows, columns]| format!("{rows} x {columns}"));
            return Err(Error::invalid("shape of the centroids", found, expected));
        }
        let ends = (clusters.offsets[0], clusters.offsets[count]);
        if ends != (0, vectors.len() as u64) || !clusters.offsets.is_sorted() {
            let found = format!("{} to {}", ends.0, ends.1);
            return Err(Error::invalid(
                "offsets of the clusters",
                found,
                format!("rising from 0 to {}", vectors.len()),
            ));
        }
        Ok(Index { vectors, clusters: Some(clusters), cosine: false })
    }

    /// Scores are cosines: queries are made as long as 1. The vectors are already, as [`unit_rows`] makes them.
    pub fn with_cosine(self) -> Self {
        Index { cosine: true, ..self }
    }

    /// The table.
    pub fn vectors(&self) -> &Vectors<'a> {
        &self.vectors
    }

    /// How many clusters there are; 1 if they were never told apart.
    pub fn clusters(&self) -> usize {
        self.clusters.map_or(1, |clusters| clusters.offsets.len() - 1)
    }

    /// The best `k` of all vectors, on so many threads, the answer being the same for any number of them.
    ///
    /// # Shapes
    /// `queries` is `[queries, dimension]`; returns `[queries, k]`.
    ///
    /// # Errors
    /// `Invalid` if the queries have another dimension or hold what is no number up to 1e15, if `k` is 0 or there are
    /// fewer vectors, or if there is no thread; `Malformed` if the ids of a damaged table are out of bounds.
    pub fn exact(&self, queries: ArrayView2<'_, f32>, k: usize, threads: usize) -> Result<Found> {
        let tasks = |queries: usize| pieces(self.vectors.len(), threads, (0..queries as u32).collect());
        self.search(queries, k, threads, |group| Ok(tasks(group.nrows())))
    }

    /// The best `k` of the clusters with the `probes` best centroids, and of as many more as it takes to have `k`
    /// vectors at all. With all clusters it is the answer of [`exact`](Self::exact).
    ///
    /// # Shapes
    /// As [`exact`](Self::exact).
    ///
    /// # Errors
    /// As [`exact`](Self::exact); `Invalid` if `probes` is 0.
    pub fn approximate(&self, queries: ArrayView2<'_, f32>, k: usize, probes: usize, threads: usize) -> Result<Found> {
        if probes == 0 {
            return Err(Error::invalid("number of probes", 0, "at least 1"));
        }
        let Some(clusters) = self.clusters else { return self.exact(queries, k, threads) };
        let centroids = Index::new(clusters.centroids);
        self.search(queries, k, threads, |group| {
            let ranked = |query: ArrayView2<'_, f32>| probed(&centroids, clusters.offsets, query, k, probes);
            let ranked = group.axis_chunks_iter(Axis(0), 1).map(ranked).collect::<Result<Vec<_>>>()?;
            Ok(visits(clusters.offsets, &ranked))
        })
    }

    fn search(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        threads: usize,
        plan: impl Fn(ArrayView2<'_, f32>) -> Result<Vec<Task>>,
    ) -> Result<Found> {
        self.check(&queries, k, threads)?;
        let queries = self.ready(queries)?;
        let ids = self.clusters.map(|clusters| clusters.ids);
        let mut hits = Vec::with_capacity(queries.nrows());
        for group in queries.axis_chunks_iter(Axis(0), GROUP) {
            let prepared = self.prepared(group, hits.len())?;
            let scan = Scan { vectors: &self.vectors, ids, queries: &prepared, k, threads };
            hits.extend(scan.run(&plan(group)?));
        }
        hits.iter().try_for_each(|hits| self.check_hits(hits, k))?;
        Ok(Found::new(&hits, k))
    }

    fn check(&self, queries: &ArrayView2<'_, f32>, k: usize, threads: usize) -> Result<()> {
        if queries.ncols() != self.vectors.dimension() {
            return Err(Error::invalid("dimensions of the queries", queries.ncols(), self.vectors.dimension()));
        }
        if k == 0 || k > self.vectors.len() {
            let expected = format!("1 to {}, as many vectors as there are", self.vectors.len());
            return Err(Error::invalid("number of vectors to find", k, expected));
        }
        if threads == 0 {
            return Err(Error::invalid("number of threads", 0, "at least 1"));
        }
        Ok(())
    }

    /// Queries as they are multiplied with the vectors.
    fn ready(&self, queries: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        if self.cosine { unit_rows(queries).map_err(|e| e.in_stream("queries")) } else { Ok(queries.to_owned()) }
    }

    fn prepared(&self, queries: ArrayView2<'_, f32>, first: usize) -> Result<Vec<Query>> {
        let rows = queries.rows().into_iter().zip(first..);
        rows.map(|(row, number)| Query::new(number, &row.to_vec(), &self.vectors)).collect()
    }

    /// What only a damaged table leads to.
    fn check_hits(&self, hits: &[Hit], k: usize) -> Result<()> {
        if hits.len() < k {
            let detail = format!("only {} of the {k} best are numbers", hits.len());
            return Err(Error::malformed("table of vectors", detail));
        }
        match hits.iter().find(|hit| hit.id as usize >= self.vectors.len()) {
            None => Ok(()),
            Some(hit) => Err(Error::malformed("ids of the vectors", format!("row {} has id {}", hit.row, hit.id))),
        }
    }

    /// The same with the labels of each query among the K: those that were missing take the places of the last that are
    /// no labels. Order and scores are as in any search.
    ///
    /// # Shapes
    /// `labels` has a list for each query, of ids; repeats count once.
    ///
    /// # Errors
    /// `Invalid` if there is a list too many or too few, an id that no vector has, or a query with more than K labels;
    /// `Malformed` if the ids of a damaged table repeat or are not where they should be.
    ///
    /// # Examples
    /// ```
    /// use roundelay::vocab::search::{Index, Values, Vectors};
    ///
    /// let words = [0.0, 1.0, 2.0, 3.0, 4.0];
    /// let index = Index::new(Vectors::new(Values::F32(&words), 1)?);
    /// let queries = ndarray::array![[1.0]];
    /// let found = index.exact(queries.view(), 3, 1)?;
    /// assert_eq!(index.with_labels(&found, queries.view(), &[vec![1, 4]])?.ids, ndarray::array![[4, 3, 1]]);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn with_labels(&self, found: &Found, queries: ArrayView2<'_, f32>, labels: &[Vec<u32>]) -> Result<Found> {
        let k = found.ids.ncols();
        self.check(&queries, k, 1)?;
        if (found.ids.nrows(), queries.nrows()) != (labels.len(), labels.len()) {
            let counts = format!("{} and {}", found.ids.nrows(), queries.nrows());
            return Err(Error::invalid("queries found, and queries", counts, format!("{}, as labels", labels.len())));
        }
        let prepared = self.prepared(self.ready(queries)?.view(), 0)?;
        let of = |number: usize| {
            let forced = self.forced(found, number, &prepared[number], &labels[number]);
            forced.map_err(|e| e.in_stream(format!("query {number}")))
        };
        let hits = (0..labels.len()).map(of).collect::<Result<Vec<_>>>()?;
        Ok(Found::new(&hits, k))
    }

    fn forced(&self, found: &Found, number: usize, query: &Query, labels: &[u32]) -> Result<Vec<Hit>> {
        let k = found.ids.ncols();
        let labels: BTreeSet<u32> = labels.iter().copied().collect();
        if labels.len() > k {
            return Err(Error::invalid("number of labels", labels.len(), format!("at most the {k} that are found")));
        }
        let judge = Judge { vectors: &self.vectors, ids: None, query, k };
        let mut hits = Vec::with_capacity(k);
        for &id in &labels {
            hits.push(Hit { id, ..judge.hit(self.row_of(id)?) });
        }
        let others = found.ids.row(number).into_iter().zip(found.scores.row(number));
        let others = others.filter(|(id, _)| !labels.contains(id));
        hits.extend(others.take(k - labels.len()).map(|(&id, &score)| Hit { score, id, row: 0 }));
        if hits.len() < k {
            return Err(Error::malformed("ids of the vectors", format!("an id is twice among the {k} best")));
        }
        hits.sort_unstable_by(Hit::order);
        Ok(hits)
    }

    /// The vectors of these ids, in their order: what a step on some of the words takes out of a table that may be larger
    /// than memory. They are as they are stored: rounded, and as long as 1 where scores are cosines.
    ///
    /// # Shapes
    /// Returns `[ids, dimension]`; ids may repeat.
    ///
    /// # Errors
    /// `Invalid` for an id that no vector has; `Malformed` if the ids of a damaged table are not where they should be.
    ///
    /// # Examples
    /// ```
    /// use roundelay::vocab::search::{Index, Values, Vectors};
    ///
    /// let words = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    /// let index = Index::new(Vectors::new(Values::F32(&words), 2)?);
    /// assert_eq!(index.gather(&[2, 0])?, ndarray::array![[4.0, 5.0], [0.0, 1.0]]);
    /// assert!(index.gather(&[3]).is_err());
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn gather(&self, ids: &[u32]) -> Result<Array2<f32>> {
        let mut gathered = Array2::zeros((ids.len(), self.vectors.dimension()));
        for (&id, mut numbers) in ids.iter().zip(gathered.rows_mut()) {
            let numbers = numbers.as_slice_mut().expect("rows of a new array are contiguous");
            self.vectors.copy_row(self.row_of(id)? as usize, numbers);
        }
        Ok(gathered)
    }

    /// Where the vector of an id lies.
    fn row_of(&self, id: u32) -> Result<u32> {
        if id as usize >= self.vectors.len() {
            return Err(Error::invalid("id of a vector", id, format!("an id below {}", self.vectors.len())));
        }
        let Some(clusters) = self.clusters else { return Ok(id) };
        let row = clusters.places[id as usize];
        match clusters.ids.get(row as usize) {
            Some(&back) if back == id => Ok(row),
            _ => Err(Error::malformed("places of the vectors", format!("id {id} is not in row {row}"))),
        }
    }
}

/// The clusters to look into, best first.
fn probed(
    centroids: &Index<'_>,
    offsets: &[u64],
    query: ArrayView2<'_, f32>,
    k: usize,
    probes: usize,
) -> Result<Vec<u32>> {
    let all = centroids.vectors.len();
    let mut probes = probes.min(all);
    loop {
        let ranked = centroids.exact(query, probes, 1)?.ids.into_raw_vec_and_offset().0;
        let sizes = ranked.iter().map(|&cluster| size(offsets, cluster));
        let sums = sizes.scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        });
        if sums.last().is_some_and(|sum| sum >= k) || probes == all {
            return Ok(ranked);
        }
        probes = (probes * 2).min(all);
    }
}

fn size(offsets: &[u64], cluster: u32) -> usize {
    (offsets[cluster as usize + 1] - offsets[cluster as usize]) as usize
}

/// Each cluster once, for all queries that look into it; early where it is near the best of one.
fn visits(offsets: &[u64], ranked: &[Vec<u32>]) -> Vec<Task> {
    let mut clusters: BTreeMap<u32, (usize, Vec<u32>)> = BTreeMap::new();
    for (query, ranked) in ranked.iter().enumerate() {
        for (rank, &cluster) in ranked.iter().enumerate() {
            let (best, queries) = clusters.entry(cluster).or_insert((rank, Vec::new()));
            *best = rank.min(*best);
            queries.push(query as u32);
        }
    }
    let mut order: Vec<_> = clusters.into_iter().collect();
    order.sort_by_key(|(cluster, (rank, _))| (*rank, *cluster));
    let tasks = order.into_iter().flat_map(|(cluster, (_, queries))| {
        let rows = offsets[cluster as usize] as usize..offsets[cluster as usize + 1] as usize;
        split(rows, PIECE).map(move |rows| Task { rows, queries: queries.clone() })
    });
    tasks.collect()
}

fn split(rows: Range<usize>, piece: usize) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(piece).map(move |start| start..end.min(start + piece))
}

/// All rows for all queries, a sample of them first.
fn pieces(rows: usize, threads: usize, queries: Vec<u32>) -> Vec<Task> {
    let piece = (rows / threads / PIECES).next_multiple_of(BLOCK).clamp(BLOCK, PIECE);
    let all: Vec<_> = split(0..rows, piece).collect();
    let sample = all.iter().step_by(STRIDE);
    let rest = all.iter().enumerate().filter(|(number, _)| number % STRIDE != 0).map(|(_, rows)| rows);
    sample.chain(rest).map(|rows| Task { rows: rows.clone(), queries: queries.clone() }).collect()
}

/// Rows made as long as 1, so that inner products are cosines; rows of zeros stay.
///
/// # Errors
/// `Invalid` if a value is not a number up to 1e15.
pub fn unit_rows(vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let mut units = vectors.as_standard_layout().into_owned();
    for (number, mut row) in units.rows_mut().into_iter().enumerate() {
        if let Some(place) = row.iter().position(|&value| !super::vectors::is_good(value)) {
            return Err(super::vectors::bad_value(number, place, row[place]));
        }
        let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.mapv_inplace(|value| (f64::from(value) / length) as f32);
        }
    }
    Ok(units)
}
