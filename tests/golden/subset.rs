//! Subsets of words against what the formulas gave in torch and numpy (`fixtures/README.md` says how it was recorded).
//!
//! Logits are recorded for all words and gradients too; ours are over a subset, so both go through its map.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Ix1, Ix2, Zip};
use roundelay::vocab::subset::{
    Correction, Inclusion, Loss, Proposal, Sample, SampledSoftmax, Subset, forced_inclusion_softmax, full_softmax,
    subset_softmax,
};
use serde_json::Value;

use crate::common::{Recorded, Tensors};

#[test]
fn every_recorded_case_but_those_of_search() {
    let cases = "643067c14e54a31a0caba6f884d5fd02041d4e2098b6d4fecdfe41f5d0f5bdc7";
    let tensors = "809c3c8e4293770a3a5617cfc21cfc7ebbeb660a49bd56ccbb604e13f61248f9";
    let recorded = Recorded::read("subvocab/subvocab", [cases, tensors]);
    let tensors = recorded.tensors();
    let mut run = BTreeMap::new();
    for value in recorded.all() {
        let case = Case { value, tensors: &tensors };
        let op = value["op"].as_str().unwrap();
        match op {
            "proposal" => case.proposal(),
            "draw_with_replacement" => case.draw(),
            "draw_without_replacement" => case.draw_distinct(),
            "full_softmax" => case.full(),
            "subset_softmax" => case.subset(),
            "sampled_softmax" => case.sampled(),
            "forced_inclusion_softmax" => case.forced(),
            "topk_ip" => continue,
            other => panic!("{other} is not known"),
        }
        *run.entry(op).or_insert(0) += 1;
    }
    let expected = [
        ("draw_with_replacement", 1),
        ("draw_without_replacement", 1),
        ("forced_inclusion_softmax", 6),
        ("full_softmax", 3),
        ("proposal", 3),
        ("sampled_softmax", 15),
        ("subset_softmax", 3),
    ];
    assert_eq!(run, BTreeMap::from(expected));
}

struct Case<'a> {
    value: &'a Value,
    tensors: &'a Tensors<'a>,
}

impl Case<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.value["name"].as_str().unwrap())
    }

    fn count(&self, name: &str) -> usize {
        self.value["params"][name].as_u64().unwrap_or_else(|| panic!("{name}")) as usize
    }

    fn words(&self) -> usize {
        self.count("V")
    }

    fn list(&self, name: &str) -> Array1<f64> {
        self.tensors.f64(&self.key(name)).into_dimensionality::<Ix1>().unwrap()
    }

    fn matrix(&self, name: &str) -> Array2<f64> {
        self.tensors.f64(&self.key(name)).into_dimensionality::<Ix2>().unwrap()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.tensors.i64(&self.key(name)).iter().map(|&id| u32::try_from(id).unwrap()).collect()
    }

    fn labels(&self) -> Array1<i64> {
        self.tensors.i64(&self.key("labels")).into_dimensionality::<Ix1>().unwrap()
    }

    fn near(&self, found: f64, expected: f64, what: &str) {
        let same = found == expected || (found - expected).abs() <= 1e-13 * (1.0 + expected.abs());
        assert!(same, "{} {what}: {found} for {expected}", self.value["name"]);
    }

    fn all_near<D: ndarray::Dimension>(
        &self,
        found: ndarray::ArrayView<f64, D>,
        expected: ndarray::ArrayView<f64, D>,
        what: &str,
    ) {
        assert_eq!(found.shape(), expected.shape(), "{} {what}", self.value["name"]);
        Zip::from(found).and(expected).for_each(|&found, &expected| self.near(found, expected, what));
    }

    /// Losses, their mean and the gradient, which lies where the subset is.
    fn check(&self, loss: &Loss<f64>, subset: &Subset) {
        self.all_near(loss.rows.view(), self.list("loss").view(), "loss");
        self.near(loss.mean(), self.value["expect"]["loss_mean"].as_f64().unwrap(), "loss_mean");
        let gradient = subset.scatter(loss.gradient.view(), 0.0).unwrap();
        self.all_near(gradient.view(), self.matrix("grad_logits").view(), "grad_logits");
    }

    fn all(&self) -> Subset {
        Subset::new(0..self.words() as u32, self.words()).unwrap()
    }

    fn taken(&self, subset: &Subset) -> Array2<f64> {
        subset.take(self.matrix("logits").view()).unwrap()
    }

    fn label_positions(&self, subset: &Subset) {
        let found = subset.local(self.labels().view()).unwrap();
        assert_eq!(found.into_dyn(), self.tensors.i64(&self.key("label_position")));
    }

    fn proposal(&self) {
        let proposal = match self.value["params"]["kind"].as_str().unwrap() {
            "uniform" => Proposal::uniform(self.words()),
            "log_uniform" => Proposal::log_uniform(self.words()),
            _ => {
                let counts: Vec<u64> = self.ids("counts").into_iter().map(u64::from).collect();
                Proposal::unigram(&counts, self.value["params"]["alpha"].as_f64().unwrap())
            }
        }
        .unwrap();
        let found: Array1<f64> = (0..self.words() as u32).map(|id| proposal.probability(id)).collect();
        self.all_near(found.view(), self.list("q").view(), "q");
    }

    fn listed(&self) -> Proposal {
        Proposal::listed(self.list("q").as_slice().unwrap()).unwrap()
    }

    fn draw(&self) {
        let drawn = self.listed().draw(self.count("m"), &mut self.list("u").into_iter()).unwrap();
        assert_eq!(drawn, self.ids("ids"));
    }

    fn draw_distinct(&self) {
        let proposal = self.listed();
        let drawn = proposal.draw_distinct(self.count("m"), &mut self.list("u").into_iter()).unwrap();
        assert_eq!(drawn, self.ids("ids"));
        let keys = proposal.keys(&mut self.list("u").into_iter()).unwrap();
        self.all_near(Array1::from(keys).view(), self.list("keys").view(), "keys");
    }

    fn full(&self) {
        let logits = self.matrix("hidden").dot(&self.matrix("weight").t()) + &self.list("bias");
        self.all_near(logits.view(), self.matrix("logits").view(), "logits");
        self.check(&full_softmax(logits.view(), self.labels().view()).unwrap(), &self.all());
    }

    fn subset(&self) {
        let labels = self.labels();
        let ids = labels.iter().map(|&id| id as u32).chain(self.ids("sampled"));
        let subset = Subset::new(ids, self.words()).unwrap();
        assert_eq!(subset.ids(), self.ids("candidates"));
        self.label_positions(&subset);
        self.check(&subset_softmax(self.taken(&subset).view(), labels.view(), &subset).unwrap(), &subset);
    }

    fn sampled(&self) {
        let params = &self.value["params"];
        let rule = SampledSoftmax {
            correction: serde_json::from_value(params["correction"].clone()).unwrap(),
            correct_label: params["correct_label"].as_bool().unwrap(),
            remove_accidental_hits: params["remove_accidental_hits"].as_bool().unwrap(),
        };
        let (ids, labels, proposal) = (self.ids("sampled"), self.labels(), self.listed());
        let sample = Sample { ids: &ids, draws: self.count("m"), proposal: &proposal };
        let expected = self.list("expected_count");
        for (id, &count) in expected.iter().enumerate() {
            self.near(rule.correction.expected(&proposal, sample.draws, id as u32), count, "expected_count");
        }
        let subset = sample.subset(labels.view()).unwrap();
        let logits = self.taken(&subset);
        let corrected = rule.corrected(logits.view(), labels.view(), &subset, &sample).unwrap();
        self.all_near(corrected.view(), self.matrix("corrected").view(), "corrected");
        self.accidental_hits(&rule, &corrected, &ids);
        let loss = rule.loss(logits.view(), labels.view(), &subset, &sample).unwrap();
        self.check(&loss, &subset);
    }

    /// Negatives that are the row's label are those of the record, and are out just where they are to be.
    fn accidental_hits(&self, rule: &SampledSoftmax, corrected: &Array2<f64>, ids: &[u32]) {
        let hits = self.tensors.bool(&self.key("accidental_hit")).into_dimensionality::<Ix2>().unwrap();
        for ((row, column), &hit) in hits.indexed_iter() {
            assert_eq!(hit, i64::from(ids[column]) == self.labels()[row]);
            assert_eq!(hit && rule.remove_accidental_hits, corrected[[row, column + 1]] == f64::NEG_INFINITY);
        }
        let distinct = ids.is_sorted_by(|a, b| a < b);
        assert!(rule.correction != Correction::LogExpectedUnique || distinct);
    }

    fn forced(&self) {
        let (labels, logits) = (self.labels(), self.matrix("logits"));
        let drawn = Inclusion::new(&self.ids("forced"), &self.ids("random"), self.words()).unwrap();
        assert_eq!(drawn.subset().ids(), self.ids("candidates"));
        assert_eq!(self.ids("random").len(), self.count("n_random"));
        self.all_near(Array1::from(drawn.log().to_vec()).view(), self.list("log_inclusion").view(), "log_inclusion");
        let chance = self.value["params"]["inclusion_probability"].as_f64().unwrap();
        assert!(drawn.log().iter().any(|log| (log.exp() - chance).abs() < 1e-14));
        self.label_positions(drawn.subset());
        let taken = self.taken(drawn.subset());
        let corrected = &taken - &Array1::from(drawn.log().to_vec());
        self.all_near(corrected.view(), self.matrix("corrected").view(), "corrected");
        let loss = forced_inclusion_softmax(taken.view(), labels.view(), &drawn).unwrap();
        self.check(&loss, drawn.subset());
        if drawn.subset().len() == self.words() {
            assert_eq!(loss, full_softmax(logits.view(), labels.view()).unwrap(), "with everything drawn");
        }
    }
}
