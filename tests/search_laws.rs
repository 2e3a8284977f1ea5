//! Laws of search: whatever the numbers, the blocks, the threads and the clusters, the answer is that of a plain loop.

use std::collections::BTreeSet;

use half::f16;
use ndarray::{Array2, Axis};
use proptest::collection::vec;
use proptest::prelude::*;
use roundelay::ErrorKind;
use roundelay::vocab::search::{Clustered, Found, Index, Values, Vectors, unit_rows};

/// A table in one of the three forms, and all that a plain loop needs.
#[derive(Debug, Clone)]
enum Table {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I8(Vec<i8>, Vec<f32>),
}

#[derive(Debug, Clone)]
struct Drawn {
    table: Table,
    rows: usize,
    queries: Array2<f32>,
    /// Numbers that the number of results, of threads and of probes are made of.
    k: usize,
    threads: usize,
    /// The cluster of each row, and each cluster's centroid.
    homes: Vec<u32>,
    centroids: Array2<f32>,
}

impl Drawn {
    fn dimension(&self) -> usize {
        self.queries.ncols()
    }

    fn vectors(&self) -> Vectors<'_> {
        let values = match &self.table {
            Table::F32(values) => Values::F32(values),
            Table::F16(values) => Values::F16(values),
            Table::I8(values, scales) => Values::I8 { values, scales },
        };
        Vectors::new(values, self.dimension()).unwrap()
    }

    /// The same rows in another order.
    fn reordered(&self, order: &[u32]) -> Drawn {
        let d = self.dimension();
        let row = |&row: &u32| row as usize * d..(row as usize + 1) * d;
        let table = match &self.table {
            Table::F32(all) => Table::F32(order.iter().flat_map(|r| all[row(r)].to_vec()).collect()),
            Table::F16(all) => Table::F16(order.iter().flat_map(|r| all[row(r)].to_vec()).collect()),
            Table::I8(all, scales) => {
                Table::I8(order.iter().flat_map(|r| all[row(r)].to_vec()).collect(), scales.clone())
            }
        };
        Drawn { table, ..self.clone() }
    }

    /// The score as it is defined.
    fn score(&self, query: usize, row: usize) -> f64 {
        let mut sum = 0.0;
        for k in 0..self.dimension() {
            let (q, place) = (f64::from(self.queries[[query, k]]), row * self.dimension() + k);
            sum += match &self.table {
                Table::F32(values) => q * f64::from(values[place]),
                Table::F16(values) => q * f64::from(values[place]),
                Table::I8(values, scales) => q * f64::from(scales[k]) * f64::from(values[place]),
            };
        }
        sum + 0.0
    }

    /// All of them, sorted.
    fn slow(&self) -> Found {
        let mut ids = Array2::zeros((self.queries.nrows(), self.k));
        let mut scores = Array2::zeros(ids.dim());
        for query in 0..self.queries.nrows() {
            let mut all: Vec<(f64, u32)> = (0..self.rows).map(|row| (self.score(query, row), row as u32)).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (place, &(score, id)) in all.iter().take(self.k).enumerate() {
                (ids[[query, place]], scores[[query, place]]) = (id, score);
            }
        }
        Found { ids, scores }
    }

    /// Rows in the order of their clusters.
    fn clustered(&self) -> (Drawn, Vec<u64>, Vec<u32>, Vec<u32>) {
        let mut ids: Vec<u32> = (0..self.rows as u32).collect();
        ids.sort_by_key(|&id| (self.homes[id as usize], id));
        let mut places = vec![0; self.rows];
        ids.iter().enumerate().for_each(|(row, &id)| places[id as usize] = row as u32);
        let ends = 0..self.centroids.nrows() as u32;
        let offsets = std::iter::once(0)
            .chain(ends.map(|cluster| self.homes.iter().filter(|&&home| home <= cluster).count() as u64))
            .collect();
        (self.reordered(&ids), offsets, ids, places)
    }

    fn in_clusters<T>(&self, run: impl FnOnce(Index<'_>) -> T) -> T {
        let (table, offsets, ids, places) = self.clustered();
        let centroids = Values::F32(self.centroids.as_slice().unwrap());
        let centroids = Vectors::new(centroids, self.dimension()).unwrap();
        let clusters = Clustered { centroids, offsets: &offsets, ids: &ids, places: &places };
        run(Index::clustered(table.vectors(), clusters).unwrap())
    }
}

/// Few different numbers, so that many scores are equal; or any.
fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        vec((-2i8..=2).prop_map(f32::from), count),
        vec(-1.0f32..1.0, count),
        vec(prop_oneof![Just(0.0f32), Just(-0.0), -1e15f32..1e15, -1e-40f32..1e-40, -1.0f32..1.0], count),
    ]
}

fn table(count: usize, dimension: usize) -> impl Strategy<Value = Table> {
    let scales = vec(prop_oneof![Just(0.0f32), Just(1.0), 1e-3f32..10.0], dimension);
    let few = (vec(-2i8..=2, count), Just(vec![0.5; dimension]));
    prop_oneof![
        values(count).prop_map(Table::F32),
        vec(-6e4f32..6e4, count).prop_map(|all| Table::F16(all.into_iter().map(f16::from_f32).collect())),
        vec((-3i8..=3).prop_map(|x| f16::from_f32(x.into())), count).prop_map(Table::F16),
        (vec(any::<i8>(), count), scales).prop_map(|(values, scales)| Table::I8(values, scales)),
        few.prop_map(|(values, scales)| Table::I8(values, scales)),
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let rows = prop_oneof![1usize..40, 200usize..1200];
    (rows, 1usize..40, 1usize..5, 1usize..7).prop_flat_map(|(rows, dimension, queries, clusters)| {
        let homes = vec(0..clusters as u32, rows);
        let drawn = (
            table(rows * dimension, dimension),
            values(queries * dimension),
            values(clusters * dimension),
            homes,
            prop_oneof![1..=rows, 1..=rows.min(9), Just(rows)],
            1usize..4,
        );
        drawn.prop_map(move |(table, all, centroids, homes, k, threads)| Drawn {
            table,
            rows,
            queries: Array2::from_shape_vec((queries, dimension), all).unwrap(),
            k,
            threads,
            homes,
            centroids: Array2::from_shape_vec((clusters, dimension), centroids).unwrap(),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn exact_search_is_a_plain_loop(drawn in drawn()) {
        let found = Index::new(drawn.vectors()).exact(drawn.queries.view(), drawn.k, drawn.threads).unwrap();
        prop_assert_eq!(&found, &drawn.slow());
        let one = Index::new(drawn.vectors()).exact(drawn.queries.view(), drawn.k, 1).unwrap();
        prop_assert_eq!(found, one);
    }

    #[test]
    fn clusters_change_nothing_when_all_are_searched(drawn in drawn()) {
        let slow = drawn.slow();
        drawn.in_clusters(|index| {
            prop_assert_eq!(&index.exact(drawn.queries.view(), drawn.k, drawn.threads).unwrap(), &slow);
            let all = index.approximate(drawn.queries.view(), drawn.k, index.clusters(), drawn.threads).unwrap();
            prop_assert_eq!(&all, &slow);
            Ok(())
        })?;
    }

    #[test]
    fn few_probes_find_the_best_of_their_clusters(drawn in drawn(), probes in 1usize..8) {
        drawn.in_clusters(|index| {
            let found = index.approximate(drawn.queries.view(), drawn.k, probes, drawn.threads).unwrap();
            let alone = drawn.queries.axis_chunks_iter(Axis(0), 1).map(|query| {
                index.approximate(query, drawn.k, probes, 1).unwrap().ids
            });
            for (query, (ids, alone)) in found.ids.rows().into_iter().zip(alone).enumerate() {
                prop_assert_eq!(ids, alone.row(0), "the batch changes nothing");
                // Clusters by their centroids, as many as are asked for, then as many as it takes.
                let centroids = Drawn {
                    table: Table::F32(drawn.centroids.as_slice().unwrap().to_vec()),
                    rows: drawn.centroids.nrows(),
                    k: drawn.centroids.nrows(),
                    ..drawn.clone()
                };
                let ranked = centroids.slow().ids.row(query).to_vec();
                let within = |count: usize| -> BTreeSet<u32> {
                    let homes = drawn.homes.iter().zip(0u32..);
                    homes.filter(|(home, _)| ranked[..count].contains(home)).map(|(_, id)| id).collect()
                };
                let mut count = probes.min(ranked.len());
                while within(count).len() < drawn.k {
                    count = (count * 2).min(ranked.len());
                }
                let all = Drawn { k: drawn.rows, ..drawn.clone() }.slow().ids.row(query).to_vec();
                let rows = within(count);
                let best: Vec<u32> = all.into_iter().filter(|id| rows.contains(id)).take(drawn.k).collect();
                prop_assert_eq!(ids.to_vec(), best);
            }
            Ok(())
        })?;
    }

    #[test]
    fn labels_are_always_in_and_the_rest_is_the_best(drawn in drawn(), labels in vec(any::<prop::sample::Index>(), 0..12)) {
        let labels: Vec<u32> = labels.iter().map(|label| label.index(drawn.rows) as u32).collect();
        let distinct: BTreeSet<u32> = labels.iter().copied().collect();
        let lists = vec![labels.clone(); drawn.queries.nrows()];
        let slow = Drawn { k: drawn.rows, ..drawn.clone() }.slow();
        drawn.in_clusters(|index| {
            for found in [
                index.exact(drawn.queries.view(), drawn.k, drawn.threads).unwrap(),
                index.approximate(drawn.queries.view(), drawn.k, 1, drawn.threads).unwrap(),
            ] {
                let forced = index.with_labels(&found, drawn.queries.view(), &lists);
                if distinct.len() > drawn.k {
                    prop_assert!(forced.is_err());
                    continue;
                }
                let forced = forced.unwrap();
                for query in 0..drawn.queries.nrows() {
                    let ids = forced.ids.row(query).to_vec();
                    let set: BTreeSet<u32> = ids.iter().copied().collect();
                    prop_assert_eq!(set.len(), drawn.k);
                    prop_assert!(distinct.is_subset(&set));
                    let others = found.ids.row(query).to_vec().into_iter().filter(|id| !distinct.contains(id));
                    let kept: BTreeSet<u32> = others.take(drawn.k - distinct.len()).collect();
                    prop_assert_eq!(&set - &distinct, kept);
                    // In the order of all.
                    let order: Vec<u32> = slow.ids.row(query).iter().copied().filter(|id| set.contains(id)).collect();
                    prop_assert_eq!(ids, order);
                    for (place, &id) in forced.ids.row(query).iter().enumerate() {
                        prop_assert_eq!(forced.scores[[query, place]], drawn.score(query, id as usize));
                    }
                }
            }
            Ok(())
        })?;
    }
}

proptest! {
    #[test]
    fn vectors_are_gathered_by_their_ids(drawn in drawn(), ids in vec(any::<prop::sample::Index>(), 0..12)) {
        let ids: Vec<u32> = ids.iter().map(|id| id.index(drawn.rows) as u32).collect();
        let gathered = Index::new(drawn.vectors()).gather(&ids).unwrap();
        prop_assert_eq!(gathered.dim(), (ids.len(), drawn.dimension()));
        for (&id, gathered) in ids.iter().zip(gathered.rows()) {
            for (k, &number) in gathered.iter().enumerate() {
                let place = id as usize * drawn.dimension() + k;
                prop_assert_eq!(number, match &drawn.table {
                    Table::F32(values) => values[place],
                    Table::F16(values) => values[place].to_f32(),
                    Table::I8(values, scales) => f32::from(values[place]) * scales[k],
                });
            }
        }
        prop_assert_eq!(drawn.in_clusters(|index| index.gather(&ids).unwrap()), gathered);
    }
}

/// Enough rows for many pieces, blocks and cuts.
#[test]
fn many_rows_on_any_number_of_threads_are_a_plain_loop() {
    let (rows, dimension) = (30_000, 24);
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut run = 0;
    for spread in [2, 250] {
        let values: Vec<i8> = (0..rows * dimension).map(|_| (draw() % spread) as i8).collect();
        let table = Table::I8(values, (0..dimension).map(|k| 0.5 + k as f32 / 64.0).collect());
        let queries = Array2::from_shape_simple_fn((35, dimension), || draw() as f32 / 2e9 - 0.5);
        let drawn = Drawn {
            table,
            rows,
            queries,
            k: 1500,
            threads: 1,
            homes: vec![0; rows],
            centroids: Array2::zeros((1, dimension)),
        };
        let slow = drawn.slow();
        for threads in [1, 2, 5, 100_000] {
            let found = Index::new(drawn.vectors()).exact(drawn.queries.view(), drawn.k, threads).unwrap();
            assert!(found == slow, "{threads} threads");
            run += 1;
        }
    }
    // A sample that misleads: the rows that it takes, of each piece the first 22, are better than all others. They are
    // worse for the query in the middle, which is not searched for again.
    let high = |row: usize| if row % 4096 < 22 { 1000.0 } else { 0.0 };
    let table = Table::F32((0..rows).map(|row| high(row) + (row * 7919 % rows) as f32 / rows as f32).collect());
    let (queries, centroids) = (ndarray::array![[1.0], [-1.0], [2.0]], Array2::zeros((1, 1)));
    let misled = Drawn { table, rows, queries, k: 12_000, threads: 2, homes: vec![0; rows], centroids };
    for threads in [1, 2] {
        assert!(Index::new(misled.vectors()).exact(misled.queries.view(), misled.k, threads).unwrap() == misled.slow());
        run += 1;
    }
    // All rows alike: nothing but the id tells them apart.
    let table = Table::F32(vec![1.0; rows]);
    let (queries, centroids) = (Array2::ones((1, 1)), Array2::zeros((1, 1)));
    let alike = Drawn { table, rows, queries, k: 300, threads: 2, homes: vec![0; rows], centroids };
    let found = Index::new(alike.vectors()).exact(alike.queries.view(), 300, 2).unwrap();
    assert_eq!(found.ids.row(0).to_vec(), (0..300).collect::<Vec<u32>>());
    assert_eq!(run, 10);
}

#[test]
fn cosine_is_the_inner_product_of_units() {
    let rows = ndarray::array![[3.0f32, 4.0], [0.0, 0.0], [-1.0, 0.0]];
    let units = unit_rows(rows.view()).unwrap();
    assert_eq!(units, ndarray::array![[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]]);
    let index = Index::new(Vectors::new(Values::F32(units.as_slice().unwrap()), 2).unwrap()).with_cosine();
    let found = index.exact(ndarray::array![[-70.0, 0.0]].view(), 3, 1).unwrap();
    assert_eq!(found.ids, ndarray::array![[2, 1, 0]]);
    assert!((found.scores[[0, 2]] + 0.6).abs() < 1e-7 && found.scores[[0, 0]] == 1.0);
}

/// What an error says.
fn told<T: std::fmt::Debug>(result: Result<T, roundelay::Error>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid { .. } | ErrorKind::Malformed { .. }), "{error}");
    error.to_string()
}

#[test]
fn what_does_not_fit_is_named() {
    let numbers = [1.0f32, 2.0, 3.0, 4.0];
    let vectors = Vectors::new(Values::F32(&numbers), 2).unwrap();
    let index = Index::new(vectors);
    let query = ndarray::array![[1.0f32, 1.0]];
    for (found, words) in [
        (told(Vectors::new(Values::F32(&[]), 2)), "none"),
        (told(Vectors::new(Values::F32(&numbers), 0)), "no dimension"),
        (told(Vectors::new(Values::F32(&numbers), 3)), "a multiple of the 3 dimensions"),
        (told(Vectors::new(Values::F32(&[1.0, f32::NAN]), 1)), "dimension 0 of vector 1"),
        (told(Vectors::new(Values::F16(&[f16::ONE, f16::INFINITY]), 2)), "dimension 1 of vector 0"),
        (told(Vectors::new(Values::I8 { values: &[1, 2], scales: &[1.0] }, 2)), "number of scales"),
        (told(Vectors::new(Values::I8 { values: &[1, 2], scales: &[1.0, -1.0] }, 2)), "scale of dimension 1"),
        (told(Vectors::trusted(Values::F32(&numbers), 2, f64::NAN)), "longest"),
        (told(index.exact(query.view(), 0, 1)), "1 to 2"),
        (told(index.exact(query.view(), 3, 1)), "number of vectors to find"),
        (told(index.exact(query.view(), 1, 0)), "number of threads"),
        (told(index.approximate(query.view(), 1, 0, 1)), "number of probes"),
        (told(index.exact(ndarray::array![[1.0]].view(), 1, 1)), "dimensions of the queries"),
        (told(index.exact(ndarray::array![[1.0, f32::NAN]].view(), 1, 1)), "dimension 1 of vector 0"),
    ] {
        assert!(found.contains(words), "{found}, not {words}");
    }
    let found = index.exact(query.view(), 1, 1).unwrap();
    assert!(told(index.with_labels(&found, query.view(), &[vec![2]])).contains("an id below 2"));
    assert!(told(index.with_labels(&found, query.view(), &[vec![0, 1]])).contains("number of labels"));
    assert!(told(index.with_labels(&found, query.view(), &[])).contains("as labels"));
}

#[test]
fn damaged_clusters_are_named() {
    let numbers = [1.0f32, 2.0, 3.0, 4.0];
    let vectors = Vectors::new(Values::F32(&numbers), 1).unwrap();
    let of = |numbers: &'static [f32]| Vectors::new(Values::F32(numbers), 1).unwrap();
    let good = Clustered { centroids: of(&[1.5, 3.5]), offsets: &[0, 2, 4], ids: &[3, 1, 0, 2], places: &[2, 1, 3, 0] };
    let query = ndarray::array![[1.0f32]];
    let index = Index::clustered(vectors, good).unwrap();
    assert_eq!(index.approximate(query.view(), 2, 1, 1).unwrap().ids, ndarray::array![[2, 0]]);
    let one = index.approximate(query.view(), 1, 1, 1).unwrap();
    assert_eq!(index.with_labels(&one, query.view(), &[vec![3]]).unwrap().ids, ndarray::array![[3]]);
    for (clusters, words) in [
        (Clustered { offsets: &[0, 3, 2], ..good }, "offsets"),
        (Clustered { offsets: &[0, 3, 2, 4], centroids: of(&[0.0; 3]), ..good }, "offsets"),
        (Clustered { offsets: &[], ..good }, "centroids"),
        (Clustered { centroids: of(&[1.0]), ..good }, "centroids"),
        (Clustered { ids: &[0, 1, 2], ..good }, "number of ids"),
        (Clustered { places: &[0, 1, 2], ..good }, "number of places"),
    ] {
        let found = told(Index::clustered(vectors, clusters));
        assert!(found.contains(words), "{found}, not {words}");
    }
    let search = |clusters| Index::clustered(vectors, clusters).unwrap();
    let wild = search(Clustered { ids: &[3, 1, 9, 7], ..good });
    assert!(told(wild.exact(query.view(), 4, 1)).contains("has id"));
    let lost = search(Clustered { places: &[2, 1, 3, 9], ..good });
    assert!(told(lost.with_labels(&one, query.view(), &[vec![3]])).contains("id 3 is not in row 9"));
    assert!(told(lost.gather(&[0, 3])).contains("id 3 is not in row 9"));
    assert!(told(index.gather(&[4])).contains("an id below 4"));
    let twice = search(Clustered { ids: &[3, 3, 0, 2], ..good });
    let found = twice.exact(query.view(), 4, 1).unwrap();
    assert!(told(twice.with_labels(&found, query.view(), &[vec![3]])).contains("twice among the 4 best"));
    let nans = [f32::NAN, 1.0];
    let trusted = Index::new(Vectors::trusted(Values::F32(&nans), 1, 1.0).unwrap());
    assert!(told(trusted.exact(query.view(), 2, 1)).contains("only 1 of the 2 best"));
}
