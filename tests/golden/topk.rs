//! The best of many by inner product, against faiss's flat index (`fixtures/README.md` says how it was recorded).

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayD, Ix2, s};
use roundelay::vocab::search::{Found, Index, Values, Vectors};
use serde_json::Value;

use crate::common::{Recorded, Tensors};

#[test]
fn every_recorded_case() {
    let cases = "643067c14e54a31a0caba6f884d5fd02041d4e2098b6d4fecdfe41f5d0f5bdc7";
    let tensors = "809c3c8e4293770a3a5617cfc21cfc7ebbeb660a49bd56ccbb604e13f61248f9";
    let recorded = Recorded::read("subvocab/subvocab", [cases, tensors]);
    let tensors = recorded.tensors();
    let (mut run, mut near) = (0, 0);
    for value in recorded.of("topk_ip") {
        assert_eq!(value["peer"], "faiss");
        near += Case { value, tensors: &tensors }.check();
        run += 1;
    }
    assert_eq!((run, near), (8, 87));
}

struct Case<'a> {
    value: &'a Value,
    tensors: &'a Tensors<'a>,
}

impl Case<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.value["name"].as_str().unwrap())
    }

    fn number(&self, name: &str) -> usize {
        self.value["params"][name].as_u64().unwrap_or_else(|| panic!("{name}")) as usize
    }

    fn square<T>(&self, values: ArrayD<T>) -> Array2<T> {
        values.into_dimensionality::<Ix2>().unwrap()
    }

    fn embeddings(&self) -> Array2<f32> {
        let (n, d) = (self.number("n"), self.number("d"));
        let mut rng = SplitMix(self.number("embedding_seed") as u64);
        let bits = self.number("bits");
        let mut rows = Array2::from_shape_simple_fn((n, d), || rng.element(bits));
        for copy in 0..self.number("duplicated_rows") {
            let row = rows.row(copy).to_owned();
            rows.row_mut(n / 2 + copy).assign(&row);
        }
        if self.value["params"]["normalized"] == true {
            rows.rows_mut().into_iter().for_each(|mut row| {
                let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                row.mapv_inplace(|x| (f64::from(x) / length) as f32);
            });
        }
        if self.value["params"]["stored"] == true {
            assert_eq!(rows, self.square(self.tensors.f32(&self.key("embeddings"))));
        }
        rows
    }

    fn check(&self) -> usize {
        let (k, rows) = (self.number("k"), self.embeddings());
        self.check_embeddings(&rows);
        let queries = self.square(self.tensors.f32(&self.key("queries")));
        let index = Index::new(Vectors::new(Values::F32(rows.as_slice().unwrap()), rows.ncols()).unwrap());
        let there = k.min(rows.nrows());
        let found = index.exact(queries.view(), there, 2).unwrap();
        if there < k {
            // The peer fills up with ids of -1; here it is an error.
            assert!(index.exact(queries.view(), k, 2).is_err());
            let ids = self.square(self.tensors.i64(&self.key("ids")));
            assert!(ids.slice(s![.., there..]).iter().all(|&id| id == -1));
        }
        self.check_found(&found)
    }

    fn check_embeddings(&self, rows: &Array2<f32>) {
        let expect = &self.value["expect"];
        let sum: f64 = rows.iter().map(|&x| f64::from(x)).sum();
        assert!((sum - expect["embedding_sum"].as_f64().unwrap()).abs() < 1e-9);
        let samples = expect["embedding_samples"].as_object().unwrap();
        assert_eq!(samples.len(), 6);
        for (place, value) in samples {
            let found = rows.as_slice().unwrap()[place.parse::<usize>().unwrap()];
            assert_eq!(f64::from(found), value.as_f64().unwrap());
        }
    }

    /// Ids are the peer's but where scores are nearly equal; there its order is not by id.
    fn check_found(&self, found: &Found) -> usize {
        let ids = self.square(self.tensors.i64(&self.key("ids")));
        let near = self.square(self.tensors.bool(&self.key("near_tie")));
        let exact = self.square(self.tensors.f64(&self.key("exact_scores")));
        let peers = self.square(self.tensors.f32(&self.key("scores")));
        let tolerance = self.value["params"]["near_tie_tolerance"].as_f64().unwrap();
        assert_eq!(found.scores.dim(), exact.dim());
        for ((query, place), &score) in found.scores.indexed_iter() {
            assert!((score - exact[[query, place]]).abs() <= 1e-12, "{}", self.value["name"]);
            assert!((score - f64::from(peers[[query, place]])).abs() <= tolerance, "{}", self.value["name"]);
            assert!(near[[query, place]] || i64::from(found.ids[[query, place]]) == ids[[query, place]]);
        }
        for (ids, scores) in found.ids.rows().into_iter().zip(found.scores.rows()) {
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "distinct");
            assert!(
                (1..ids.len())
                    .all(|k| scores[k - 1] > scores[k] || (scores[k - 1] == scores[k] && ids[k - 1] < ids[k]))
            );
        }
        let near = near.iter().filter(|&&near| near).count();
        assert_eq!(near as u64, self.value["expect"]["near_ties"].as_u64().unwrap());
        near
    }
}

struct SplitMix(u64);

impl SplitMix {
    fn element(&mut self, bits: usize) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let mixed = mixed ^ (mixed >> 31);
        let half = (1u64 << (bits - 1)) as f64;
        (((mixed >> (64 - bits)) as f64 - half) / half) as f32
    }
}
