//! Codebooks against what five peers' own code gave (`fixtures/README.md` says how it was recorded).
//!
//! Four peers' training steps run through one step of ours with four rules; what the peers drew at random is handed in
//! as recorded.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayD, Axis, Ix2, Ix3, Zip, s};
use roundelay::codebook::{
    Alone, Draws, EmaCodebook, EmaParts, EmaRule, EmaStep, Metric, ResidualQuantizer, RevivedState, Smoothing,
    Threshold, Usage, refine,
};
use serde_json::Value;

use crate::common::{Recorded, Tensors};

#[test]
fn every_recorded_case() {
    let cases = "bd000da85b76b2867182fe974a5b0d1679bcce7e0985d4a8a1275a57c9277942";
    let tensors = "b653411eab703fe5173725d81f167e91379fd7e5a24138167bfb5cba263293e2";
    let recorded = Recorded::read("codebook/codebook", [cases, tensors]);
    let tensors = recorded.tensors();
    let mut run = BTreeMap::new();
    for value in recorded.all() {
        let case = Case { value, tensors: &tensors };
        let (op, peer) = (value["op"].as_str().unwrap(), value["peer"].as_str().unwrap());
        match op {
            "usage" => case.usage(),
            "laplace_smoothing" => case.laplace_smoothing(),
            "ema_step" => case.ema_step(peer),
            "kmeans" => case.k_means(peer),
            "esm_init" => case.esm_init(),
            "esm_encode" => case.esm_encode(),
            "rvq_encode" => case.rvq_encode(),
            "error" => case.training_that_fails_there(),
            other => panic!("{other} is not known"),
        }
        *run.entry((op, peer)).or_insert(0) += 1;
    }
    let expected = [
        (("ema_step", "TATS"), 4),
        (("ema_step", "audiocraft"), 6),
        (("ema_step", "moshi"), 8),
        (("ema_step", "vector-quantize-pytorch"), 7),
        (("error", "esm"), 2),
        (("esm_encode", "esm"), 2),
        (("esm_init", "esm"), 2),
        (("kmeans", "audiocraft"), 2),
        (("kmeans", "moshi"), 2),
        (("kmeans", "vector-quantize-pytorch"), 1),
        (("laplace_smoothing", "audiocraft"), 1),
        (("rvq_encode", "audiocraft"), 2),
        (("rvq_encode", "moshi"), 1),
        (("usage", "numpy definition"), 2),
    ];
    assert_eq!(run, BTreeMap::from(expected));
    assert_eq!(run.values().sum::<usize>(), 42);
}

/// What a peer drew, in the place of draws of our own.
struct Drawn {
    rows: Option<Vec<usize>>,
    noise: Option<Array2<f32>>,
    asked: usize,
}

impl Draws for Drawn {
    fn rows(&mut self, _n: usize, count: usize) -> Vec<usize> {
        self.asked += 1;
        let rows = self.rows.clone().expect("the peer drew as well");
        assert_eq!(rows.len(), count, "as many draws as the peer's");
        rows
    }

    fn noise(&mut self, row: usize, width: usize) -> Vec<f32> {
        let noise = self.noise.as_ref().expect("the peer drew noise as well").row(row);
        assert_eq!(noise.len(), width);
        noise.to_vec()
    }
}

struct Case<'a> {
    value: &'a Value,
    tensors: &'a Tensors<'a>,
}

impl Case<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.value["name"].as_str().unwrap())
    }

    fn has(&self, name: &str) -> bool {
        self.value["tensors"].get(name).is_some()
    }

    fn param(&self, name: &str) -> f64 {
        self.value["params"][name].as_f64().unwrap_or_else(|| panic!("{name}"))
    }

    fn expected(&self, name: &str) -> f64 {
        self.value["expect"][name].as_f64().unwrap_or_else(|| panic!("{name}"))
    }

    fn flag(&self, name: &str) -> bool {
        self.value["params"][name].as_bool().unwrap()
    }

    fn floats(&self, name: &str) -> ArrayD<f32> {
        self.tensors.f32(&self.key(name))
    }

    /// Rows of vectors, however many axes they are spread over.
    fn rows(&self, name: &str) -> Array2<f32> {
        let values = self.floats(name);
        let width = values.len_of(Axis(values.ndim() - 1));
        let count = values.len() / width;
        values.into_shape_with_order((count, width)).unwrap()
    }

    fn list(&self, name: &str) -> Vec<f32> {
        self.floats(name).into_raw_vec_and_offset().0
    }

    fn integers(&self, name: &str) -> Vec<usize> {
        self.tensors.i64(&self.key(name)).iter().map(|&value| value as usize).collect()
    }

    fn drawn(&self) -> Drawn {
        Drawn {
            rows: self.has("draw_indices").then(|| self.integers("draw_indices")),
            noise: self.has("noise").then(|| self.rows("noise")),
            asked: 0,
        }
    }

    fn close(&self, found: &Array2<f32>, name: &str) {
        let expected = self.rows(name);
        assert_eq!(found.dim(), expected.dim(), "{} {name}", self.value["name"]);
        Zip::from(found).and(&expected).for_each(|&a, &b| self.near(a.into(), b.into(), name));
    }

    fn near(&self, found: f64, expected: f64, name: &str) {
        let room = 2e-6 + 2e-6 * expected.abs();
        assert!((found - expected).abs() <= room, "{} {name}: {found}, not {expected}", self.value["name"]);
    }

    fn usage(&self) {
        let mut usage = Usage::new(self.param("n_codes") as usize);
        self.integers("codes").into_iter().for_each(|code| usage.add(code));
        let counts: Vec<f64> = usage.counts().iter().map(|&count| count as f64).collect();
        assert_eq!(counts, self.tensors.f64(&self.key("counts")).into_raw_vec_and_offset().0);
        let found = [
            ("used", usage.used() as f64),
            ("usage", usage.share_used()),
            ("entropy", usage.entropy()),
            ("perplexity", usage.perplexity()),
            ("normalized_entropy", usage.normalized_entropy()),
            ("max_share", usage.max_share()),
        ];
        for (name, found) in found {
            let expected = self.expected(name);
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{name}: {found}, {expected}");
        }
        self.near(usage.entropy(), self.tensors.f64(&self.key("moshi_entropy"))[[0]], "moshi_entropy");
    }

    fn laplace_smoothing(&self) {
        let sizes = self.list("cluster_size");
        assert_eq!(sizes.len(), self.param("n") as usize);
        let total: f64 = sizes.iter().map(|&size| f64::from(size)).sum();
        let divisors = Smoothing::Laplace(self.param("epsilon")).divisors(&sizes);
        let smoothed = self.list("smoothed").into_iter().zip(self.list("times_sum"));
        for (divisor, (smoothed, times_sum)) in divisors.into_iter().zip(smoothed) {
            self.near(divisor / total, smoothed.into(), "smoothed");
            self.near(divisor, times_sum.into(), "times_sum");
        }
    }

    /// The peer's rule with this case's numbers.
    fn rule(&self, peer: &str) -> EmaRule {
        let (mut rule, threshold) = match peer {
            "audiocraft" => (EmaRule::audiocraft(), "threshold_ema_dead_code"),
            "vector-quantize-pytorch" => (EmaRule::lucidrains(), "threshold_ema_dead_code"),
            "moshi" => (EmaRule::moshi(), "threshold_usage_ratio"),
            "TATS" => (EmaRule::tats(), "restart_thres"),
            other => panic!("{other} is not known"),
        };
        rule.decay = self.param("decay");
        let epsilon = self.param("epsilon");
        let revival = rule.revival.as_mut().unwrap();
        (revival.threshold, rule.smoothing) = match peer {
            "moshi" => (Threshold::Ratio(self.param(threshold)), Smoothing::AtLeast(epsilon)),
            _ => (Threshold::Count(self.param(threshold)), Smoothing::Laplace(epsilon)),
        };
        match peer {
            "moshi" => {
                revival.every = self.param("check_unused_every") as u64;
                revival.state = RevivedState::Ratio(self.param("replaced_usage_ratio"));
            }
            "vector-quantize-pytorch" => {
                revival.state = RevivedState::Size(self.param("reset_cluster_size"));
                rule.metric = if self.flag("use_cosine_sim") { Metric::Cosine } else { Metric::Euclidean };
            }
            "TATS" if self.flag("no_random_restart") => rule.revival = None,
            _ => {}
        }
        rule
    }

    /// The state before the step, under the peer's names.
    fn before(&self, peer: &str, rule: EmaRule) -> EmaCodebook {
        let [table, sizes, sums] = names(peer).map(|name| format!("{name}_before"));
        let steps = match peer {
            // The peer counts down to the step at which it checks.
            "moshi" => self.param("check_unused_every") - self.param("steps_until_check_before"),
            _ => 0.0,
        };
        let parts = EmaParts {
            table: self.rows(&table),
            sizes: self.list(&sizes),
            sums: self.rows(&sums),
            steps: steps as u64,
        };
        EmaCodebook::from_parts(parts, rule).unwrap()
    }

    /// Makes the step with a rule and returns it with the codebook after it.
    fn step(&self, peer: &str, rule: EmaRule) -> (EmaStep, EmaCodebook, usize) {
        let mut codebook = self.before(peer, rule);
        let x = self.rows("x");
        let masked = self.value["params"]["masked_tail"].as_u64().unwrap_or(0) as usize;
        let counted = x.slice(s![..x.nrows() - masked, ..]);
        let mut draws = self.drawn();
        let mut step = codebook.step(counted, &mut draws, &mut Alone).unwrap();
        // Rows that do not count get codes all the same.
        step.codes.extend(step.before.nearest(x.slice(s![x.nrows() - masked.., ..])));
        (step, codebook, draws.asked)
    }

    fn state(&self, peer: &str, parts: &EmaParts, when: &str) {
        let [table, sizes, sums] = names(peer).map(|name| format!("{name}_{when}"));
        self.close(&parts.table, &table);
        self.close(&parts.sums, &sums);
        for (&found, expected) in parts.sizes.iter().zip(self.list(&sizes)) {
            self.near(found.into(), expected.into(), &sizes);
        }
    }

    fn ema_step(&self, peer: &str) {
        let rule = self.rule(peer);
        let (step, codebook, asked) = self.step(peer, rule);
        assert_eq!(step.codes, self.integers("codes"), "{}", self.value["name"]);
        if self.has("quantized") {
            self.close(&step.quantized(), "quantized");
        }
        self.state(peer, &codebook.parts(), "after");
        self.check_revived(peer, rule, &step, asked);
        match peer {
            "audiocraft" => self.check_moment_between(&step),
            "vector-quantize-pytorch" => {
                let (_, without, _) = self.step(peer, EmaRule { revival: None, ..rule });
                self.state(peer, &without.parts(), "after_ema");
            }
            "moshi" => self.check_moshi(rule, &step, &codebook),
            _ => self.check_tats(&step),
        }
    }

    /// The dead codes are the peer's, and each has the vector that the peer gave it.
    fn check_revived(&self, peer: &str, rule: EmaRule, step: &EmaStep, asked: usize) {
        let revived: Vec<usize> = step.revived.iter().map(|revived| revived.code).collect();
        let dead: Vec<usize> = match self.has("dead") {
            true => {
                self.tensors.bool(&self.key("dead")).iter().enumerate().filter(|dead| *dead.1).map(|d| d.0).collect()
            }
            false => Vec::new(),
        };
        // Nobody looks for dead codes where that is switched off; TATS still notes which they would be.
        let expected = if rule.revival.is_some() { dead } else { Vec::new() };
        assert_eq!(revived, expected, "{} dead codes of {peer}", self.value["name"]);
        assert_eq!(asked, usize::from(!revived.is_empty()), "one draw where a code is dead");
    }

    /// What audiocraft's table is for a moment: the replaced vectors, which do not survive the step.
    fn check_moment_between(&self, step: &EmaStep) {
        if !self.has("embed_after_replacement") {
            assert!(step.revived.is_empty());
            return;
        }
        let (x, mut table) = (self.rows("x"), step.before.table().to_owned());
        step.revived.iter().for_each(|revived| table.row_mut(revived.code).assign(&x.row(revived.row)));
        self.close(&table, "embed_after_replacement");
    }

    fn check_moshi(&self, rule: EmaRule, step: &EmaStep, codebook: &EmaCodebook) {
        let codes = codebook.codes().len() as f64;
        self.near(step.revived.len() as f64 / codes, self.expected("expired"), "expired");
        self.near(codebook.usage().normalized_entropy(), self.expected("normalized_entropy"), "normalized_entropy");
        assert_eq!(self.has("cluster_usage_replaced"), self.value["expect"]["checked"].as_bool().unwrap());
        if self.has("cluster_usage_replaced") {
            // With a decay of 1 nothing but the replacement is left of a step.
            let parts = self.step("moshi", EmaRule { decay: 1.0, ..rule }).1.parts();
            self.close(&parts.sums, "embedding_sum_replaced");
            for (&found, expected) in parts.sizes.iter().zip(self.list("cluster_usage_replaced")) {
                self.near(found.into(), expected.into(), "cluster_usage_replaced");
            }
        }
    }

    fn check_tats(&self, step: &EmaStep) {
        self.near(0.25 * step.error, self.expected("commitment_loss"), "commitment_loss");
        // TATS adds a little to each share before its logarithm.
        let shares = step.counts.counts().iter().map(|&count| count as f64 / step.codes.len() as f64);
        let entropy = -shares.map(|p| p * (p + 1e-10).ln()).sum::<f64>();
        self.near(entropy.exp(), self.expected("perplexity"), "perplexity");
        self.near(step.counts.perplexity(), self.expected("perplexity"), "perplexity");
    }

    fn k_means(&self, peer: &str) {
        let x = self.rows("x");
        let start = x.select(Axis(0), &self.integers("init_indices"));
        // moshi revives an empty cluster with a row that was drawn; the two others keep its mean.
        let drawn = (peer == "moshi")
            .then(|| self.tensors.i64(&self.key("resample_indices")).into_dimensionality::<Ix2>().unwrap());
        let revive = |round, cluster| drawn.as_ref().map(|rows| rows[[round, cluster]] as usize);
        let clusters = refine(x.view(), start, self.param("iters") as usize, revive);
        let least = usize::from(peer == "moshi");
        let sizes: Vec<usize> = clusters.sizes.iter().map(|&size| size.max(least)).collect();
        assert_eq!(sizes, self.integers("bins"), "{} {peer}", self.value["name"]);
        self.close(&clusters.means, "means");
    }

    fn esm_init(&self) {
        let (z, codes) = (self.rows("z"), self.param("n_codes") as usize);
        let mut draws = self.drawn();
        let codebook = EmaCodebook::drawn(z.view(), codes, EmaRule::tats(), &mut draws, &mut Alone).unwrap();
        let parts = codebook.parts();
        self.close(&parts.table, "embeddings");
        self.close(&parts.sums, "z_avg");
        assert_eq!(parts.sizes, self.list("N"));
        assert_eq!((draws.asked, draws.noise.is_some()), (1, self.flag("tiled")));
    }

    fn esm_encode(&self) {
        let (z, table) = (self.rows("z"), self.rows("embeddings"));
        let mut codebook = EmaCodebook::new(table.clone(), EmaRule { revival: None, ..EmaRule::tats() }).unwrap();
        let step = codebook.step(z.view(), &mut self.drawn(), &mut Alone).unwrap();
        assert_eq!(step.codes, self.integers("codes"));
        self.close(&(&z + (step.quantized() - &z)), "straight_through");
        self.near(0.25 * step.error, self.expected("commitment_loss"), "commitment_loss");
        self.close(&self.rows("soft_weights").dot(&step.before.table()), "soft_lookup");
    }

    /// Where esm's code cannot be trained, the rule that it has the options of can.
    fn training_that_fails_there(&self) {
        assert_eq!(self.value["params"]["id"], "train_forward");
        assert_eq!(self.value["expect"]["raises"], "AssertionError");
        let z = Array2::from_shape_fn((20, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f32);
        let mut draws = Drawn { rows: Some((0..6).collect()), noise: None, asked: 0 };
        let mut codebook = EmaCodebook::drawn(z.view(), 6, EmaRule::tats(), &mut draws, &mut Alone).unwrap();
        let before = codebook.parts();
        let step = codebook.step(z.view(), &mut draws, &mut Alone).unwrap();
        assert!(step.error > 0.0 && codebook.parts() != before);
    }

    fn rvq_encode(&self) {
        let books = self.floats("codebooks").into_dimensionality::<Ix3>().unwrap();
        let levels = self.value["params"]["n_q"].as_u64().map_or(books.len_of(Axis(0)), |n_q| n_q as usize);
        let quantizer = ResidualQuantizer::new(books.outer_iter().take(levels).map(|book| book.to_owned()).collect());
        let x = self.rows("x");
        let codes = quantizer.encode(x.view());
        let expected = self.tensors.i64(&self.key("codes")).into_dimensionality::<Ix2>().unwrap();
        assert_eq!(codes.mapv(i64::from), expected, "{}", self.value["name"]);
        assert_eq!(quantizer.encode_beam(x.view(), 1), codes);
        let partial = self.floats("partial_sums").into_dimensionality::<Ix3>().unwrap();
        for level in 0..levels {
            let sum = quantizer.decode(codes.slice(s![..=level, ..]));
            Zip::from(&sum).and(partial.index_axis(Axis(0), level)).for_each(|&a, &b| {
                self.near(a.into(), b.into(), "partial_sums");
            });
        }
        let decoded = quantizer.decode(codes.view());
        self.close(&decoded, "quantized");
        let mse = (&x - &decoded).mapv(|value| f64::from(value).powi(2)).mean().unwrap();
        self.near(mse, self.expected("mse"), "mse");
    }
}

/// Table, sizes and sums, as the peer names them.
fn names(peer: &str) -> [&'static str; 3] {
    match peer {
        "moshi" => ["embedding", "cluster_usage", "embedding_sum"],
        _ => ["embed", "cluster_size", "embed_avg"],
    }
}
