//! Discrete flow matching against what Meta's flow_matching gave (`fixtures/README.md` says how it was recorded).
//!
//! All that the peer drew is handed in as recorded: the tokens on the way and at the end are the peer's, one by one.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Axis, Ix1, Ix2, Ix3, Ix4, s};
use roundelay::flow::{
    Cosine, DivergenceFree, Euler, EulerOptions, FlowBatch, LinearVp, MixturePath, Outputs, Polynomial, Reduction,
    Scheduler, Solution, Vp, softmax,
};
use roundelay::vocab::{Joint, Part};
use serde_json::Value;

use crate::common::{Recorded, Tensors};

#[test]
fn every_recorded_case() {
    let cases = "7e4347880cd8c451110c5e882bc22335c319fdba90d7e9653d7a434ecf8be3f7";
    let tensors = "68df65726376d807a8b510495b88c00fc827cf19aa77d380a6e0eba16267998c";
    let recorded = Recorded::read("flow/flow", [cases, tensors]);
    let tensors = recorded.tensors();
    let mut run = BTreeMap::new();
    for value in recorded.all() {
        let (case, op) = (Case { value, tensors: &tensors }, value["op"].as_str().unwrap());
        match op {
            "scheduler" => case.scheduler_values(),
            "path_sample" => case.path_sample(),
            "generalized_kl" => case.generalized_kl(),
            "posterior_to_velocity" => case.posterior_to_velocity(),
            "euler_solver" => case.euler_solver(),
            "error" => case.refusal(),
            other => panic!("{other} is not known"),
        }
        *run.entry(op).or_insert(0) += 1;
    }
    let expected = [
        ("error", 8),
        ("euler_solver", 8),
        ("generalized_kl", 23),
        ("path_sample", 9),
        ("posterior_to_velocity", 7),
        ("scheduler", 16),
    ];
    assert_eq!(run, BTreeMap::from(expected));
    assert_eq!(run.values().sum::<i32>(), 71);
}

struct Case<'a> {
    value: &'a Value,
    tensors: &'a Tensors<'a>,
}

impl Case<'_> {
    fn name(&self) -> &str {
        self.value["name"].as_str().unwrap()
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }

    fn has(&self, name: &str) -> bool {
        self.value["tensors"].get(name).is_some()
    }

    fn number(&self, name: &str) -> usize {
        self.value["params"][name].as_u64().unwrap() as usize
    }

    /// Numbers of either width.
    fn floats(&self, name: &str) -> ArrayD<f64> {
        match self.value["tensors"][name]["dtype"].as_str().unwrap() {
            "F32" => self.tensors.f32(&self.key(name)).mapv(f64::from),
            "F64" => self.tensors.f64(&self.key(name)),
            other => panic!("{other}"),
        }
    }

    fn list(&self, name: &str) -> Vec<f64> {
        self.floats(name).into_raw_vec_and_offset().0
    }

    fn tokens(&self, name: &str) -> Array2<i64> {
        self.tensors.i64(&self.key(name)).into_dimensionality().unwrap()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.tensors.i64(&self.key(name)).iter().map(|&id| id as u32).collect()
    }

    fn double(&self) -> bool {
        self.value["params"]["dtype"] == "float64"
    }

    fn scheduler(&self) -> Box<dyn Scheduler> {
        let scheduler = &self.value["params"]["scheduler"];
        match scheduler["kind"].as_str().unwrap() {
            "polynomial" => Box::new(Polynomial::new(scheduler["n"].as_f64().unwrap()).unwrap()),
            "condot" => Box::new(Polynomial::LINEAR),
            "vp" => Box::new(Vp::default()),
            "linear_vp" => Box::new(LinearVp),
            "cosine" => Box::new(Cosine),
            other => panic!("{other} is not known"),
        }
    }

    fn path(&self) -> MixturePath<Box<dyn Scheduler>> {
        MixturePath::new(self.scheduler()).unwrap()
    }

    fn joint(&self) -> Joint {
        let parts = [("source", "src_to_joint", "S"), ("target", "tgt_to_joint", "V")].map(|(name, map, size)| {
            let part = Part::map(name, self.ids(map)).unwrap();
            assert_eq!(part.size(), self.number(size));
            part
        });
        let joint = Joint::new(parts.into()).unwrap();
        assert_eq!(joint.size(), self.number("J"));
        assert_eq!(joint.size(), self.constructed().size(), "{}", self.name());
        joint
    }

    /// The same vocabulary, where it is one of those that have a constructor.
    fn constructed(&self) -> Joint {
        let (source, target) = (self.number("S"), self.number("V"));
        let parts = [("source", source), ("target", target)];
        let joint = match self.value["params"]["vocab"].as_str().unwrap() {
            "identical_12" => Joint::shared(&parts).unwrap(),
            "overlap_10_9" => {
                let parts = [("source", self.ids("src_to_joint")), ("target", self.ids("tgt_to_joint"))];
                Joint::new(parts.map(|(name, ids)| Part::map(name, ids).unwrap()).into()).unwrap()
            }
            _ => Joint::disjoint(&parts).unwrap(),
        };
        for (part, map) in [("source", "src_to_joint"), ("target", "tgt_to_joint")] {
            let part = joint.part(part).unwrap();
            let ids: Vec<u32> = (0..part.size() as u32).map(|id| part.joint(id).unwrap()).collect();
            assert_eq!(ids, self.ids(map), "{}", self.name());
        }
        joint
    }

    /// Relative and absolute room for what the peer computed; `lost` is by how much more digits it may have lost, which
    /// are never more than leave a hundredth. What is infinite must be so here.
    #[track_caller]
    fn near(&self, found: f64, expected: f64, lost: f64, what: &str) {
        let unit = if self.double() { 1e-13 } else { 2e-6 };
        assert!(!expected.is_nan(), "{} {what}", self.name());
        let room = (unit * (1.0 + lost)).min(0.01) * expected.abs() + unit;
        let near = found == expected || expected.is_finite() && (found - expected).abs() <= room;
        assert!(near, "{} {what}: {found}, not {expected}, {room}", self.name());
    }

    fn all_near(&self, found: &ArrayD<f64>, name: &str, lost: impl Fn(usize) -> f64) {
        let expected = self.floats(name);
        assert_eq!(found.shape(), expected.shape(), "{} {name}", self.name());
        let each = found.len() / found.len_of(Axis(0)).max(1);
        for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
            self.near(found, expected, lost(at / each), name);
        }
    }

    fn scheduler_values(&self) {
        let (scheduler, times) = (self.scheduler(), Array1::from_vec(self.list("t")));
        let convex = MixturePath::new(&scheduler).is_ok();
        assert_eq!(convex, self.has("kappa_inverse"), "{}", self.name());
        // What is lost of 1 - alpha^2, whose root other numbers are divided by; on a mixture path none is.
        let lost = |n: usize| if convex { 0.0 } else { 0.1 / scheduler.sigma(times[n]).powi(2).max(1e-12) };
        let of = |f: &dyn Fn(f64) -> f64| times.mapv(f).into_dyn();
        self.all_near(&of(&|t| scheduler.alpha(t)), "alpha", |_| 0.0);
        self.all_near(&of(&|t| scheduler.sigma(t)), "sigma", lost);
        self.all_near(&of(&|t| scheduler.d_alpha(t)), "d_alpha", |_| 0.0);
        self.all_near(&of(&|t| scheduler.d_sigma(t)), "d_sigma", lost);
        if convex {
            self.all_near(&of(&|x| scheduler.inverse(x)), "kappa_inverse", |_| 0.0);
        }
    }

    fn path_sample(&self) {
        let (joint, path, times) = (self.joint(), self.path(), self.list("t"));
        let [x_0, x_1] =
            [("source", "source_local", "x_0"), ("target", "target_local", "x_1")].map(|(part, own, x)| {
                let x_joint = joint.part(part).unwrap().encode(&self.tokens(own)).unwrap();
                assert_eq!(x_joint, self.tokens(x));
                x_joint
            });
        for (&t, &sigma) in times.iter().zip(&self.list("sigma_t")) {
            self.near(path.scheduler().sigma(t), sigma, 0.0, "sigma_t");
        }
        let mut draws = self.list("u").into_iter();
        let x_t = path.sample(&x_0, &x_1, &times, &mut || draws.next().unwrap()).unwrap();
        assert_eq!(x_t, self.tokens("x_t"), "{}", self.name());
        assert_eq!(draws.next(), None);
        let keep = self.tensors.bool(&self.key("keep_source")).into_dimensionality::<Ix2>().unwrap();
        let kept = ndarray::Zip::from(&x_0).and(&x_1).and(&keep);
        assert_eq!(kept.map_collect(|&x_0, &x_1, &keep| if keep { x_0 } else { x_1 }), x_t);
    }

    /// How many digits more single precision may lose: those of 1 - alpha.
    fn lost(&self) -> impl Fn(usize) -> f64 {
        let sigma: Vec<f64> = self.list("t").iter().map(|&t| self.scheduler().sigma(t)).collect();
        move |n| 0.1 / sigma[n].max(1e-9)
    }

    fn generalized_kl(&self) {
        let (joint, path) = (self.joint(), self.path());
        let target = joint.part("target").unwrap();
        let (x_1, x_t, times) = (self.tokens("x_1"), self.tokens("x_t"), self.list("t"));
        let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times: &times };
        let logits: Array3<f64> = self.floats("logits").into_dimensionality::<Ix3>().unwrap();
        let outputs = Outputs::Joint(target);
        let (loss, gradient) = path.generalized_kl_gradient(outputs, &logits, batch, Reduction::Mean).unwrap();
        assert_eq!(path.generalized_kl(outputs, &logits, batch).unwrap(), loss);
        let (lost, worst) = (self.lost(), (0..times.len()).map(self.lost()).fold(0.0, f64::max));
        self.all_near(&loss.reduced(Reduction::None), "loss_none", &lost);
        self.near(loss.mean(), self.list("loss_mean")[0], worst, "loss_mean");
        self.near(loss.sum(), self.list("loss_sum")[0], worst, "loss_sum");
        if self.has("grad_of_mean") {
            self.all_near(&gradient.clone().into_dyn(), "grad_of_mean", &lost);
        } else {
            assert!(times.contains(&1.0) && loss.mean().is_infinite() || joint.size() == 401, "{}", self.name());
        }
        if self.value["params"]["source_logits_masked"] == true {
            // The target's logits alone say the same.
            let narrow = target.narrow(&logits).unwrap();
            assert_eq!(target.widen(&narrow).unwrap(), logits);
            let of_target =
                path.generalized_kl_gradient(Outputs::Target(target), &narrow, batch, Reduction::Mean).unwrap();
            let room = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-12 * a.abs().max(1.0);
            assert!(of_target.0.positions.iter().zip(&loss.positions).all(|(&a, &b)| room(a, b)));
            let wide = target.widen_with(&of_target.1, 0.0).unwrap();
            assert!(wide.iter().zip(&gradient).all(|(&a, &b)| room(a, b)), "{}", self.name());
        }
    }

    fn posterior_to_velocity(&self) {
        let (x_t, times) = (self.tokens("x_t"), self.list("t"));
        let logits: Array3<f64> = self.floats("logits").into_dimensionality().unwrap();
        let velocity = self.path().posterior_to_velocity(&softmax(&logits).unwrap(), &x_t, &times).unwrap();
        self.all_near(&velocity.into_dyn(), "velocity", self.lost());
    }

    fn euler_options(&self) -> EulerOptions {
        let params = &self.value["params"];
        assert_eq!(params["div_free"], 0.0);
        let time_grid = params["time_grid"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
        EulerOptions {
            step_size: params["step_size"].as_f64(),
            time_grid,
            intermediates: params["return_intermediates"].as_bool().unwrap(),
            ..EulerOptions::default()
        }
    }

    /// The recorded draws in the order in which they are asked for.
    fn solver_draws(&self, p1t: &Array4<f64>, target: &Part) -> Vec<f64> {
        let x_1: Array3<i64> = self.tensors.i64(&self.key("x_1")).into_dimensionality().unwrap();
        let of_x_1 = match self.has("u_x1") {
            true => self.floats("u_x1").into_dimensionality::<Ix3>().unwrap(),
            // The peer's own sampler: any number that falls on what it drew.
            false => {
                Array3::from_shape_fn(x_1.dim(), |(n, b, d)| within(p1t.slice(s![n, b, d, ..]), x_1[(n, b, d)], target))
            }
        };
        let jumps = self.has("u_jump").then(|| self.floats("u_jump").into_dimensionality::<Ix3>().unwrap());
        let step = |n: usize| {
            let jumps =
                jumps.iter().flat_map(move |jumps| jumps.outer_iter().skip(n).take(1).flat_map(|step| step.to_owned()));
            of_x_1.index_axis(Axis(0), n).iter().copied().chain(jumps).collect::<Vec<_>>()
        };
        (0..of_x_1.dim().0).flat_map(step).collect()
    }

    fn euler_solver(&self) {
        let (joint, path) = (self.joint(), self.path());
        let (target, euler) = (joint.part("target").unwrap(), Euler::new(&path, self.euler_options()));
        let p1t: Array4<f64> = self.floats("p1t").into_dimensionality::<Ix4>().unwrap();
        self.check_steps(&euler);
        let draws = self.solver_draws(&p1t, target);
        let states: Array3<i64> = self.tensors.i64(&self.key("x_t")).into_dimensionality().unwrap();
        for outputs in [Outputs::Target(target), Outputs::Joint(target)] {
            let (mut n, mut draws) = (0, draws.iter().copied());
            let model = |_, x_t: ndarray::ArrayView2<'_, i64>| {
                assert_eq!(x_t, states.index_axis(Axis(0), n), "{} step {n}", self.name());
                let p = p1t.index_axis(Axis(0), n).to_owned();
                n += 1;
                match outputs {
                    Outputs::Target(_) => Ok(p),
                    Outputs::Joint(_) => target.widen_with(&p, 0.25),
                }
            };
            let solution =
                euler.solve(outputs, self.tokens("x_init").view(), model, &mut || draws.next().unwrap()).unwrap();
            assert_eq!(draws.next(), None, "{}", self.name());
            self.check_solution(&solution, target);
        }
        self.check_transition(&euler, &p1t, target);
    }

    fn check_steps(&self, euler: &Euler<'_, Box<dyn Scheduler>>) {
        let (steps, probabilities) = (euler.steps().unwrap(), euler.jump_probabilities().unwrap());
        assert_eq!(steps.len() as u64, self.value["expect"]["n_steps"].as_u64().unwrap());
        let of = |found: Vec<f64>, name: &str| {
            assert_eq!(found.len(), self.list(name).len());
            found.iter().zip(self.list(name)).for_each(|(&found, expected)| self.near(found, expected, 0.0, name));
        };
        of(steps.iter().map(|step| step.time).collect(), "t_steps");
        of(steps.iter().map(|step| step.length).collect(), "h_steps");
        of(steps.iter().map(|step| self.scheduler().rate(step.time)).collect(), "jump_coefficient");
        of(probabilities, "jump_probability");
    }

    fn check_solution(&self, solution: &Solution, target: &Part) {
        let expected = self.tensors.i64(&self.key("result"));
        match self.value["params"]["return_intermediates"].as_bool().unwrap() {
            true => {
                let states: Vec<_> = solution.states.iter().map(|(_, state)| state.view()).collect();
                assert_eq!(ndarray::stack(Axis(0), &states).unwrap().into_dyn(), expected, "{}", self.name());
            }
            false => assert_eq!(solution.tokens.clone().into_dyn(), expected, "{}", self.name()),
        }
        assert_eq!(self.value["expect"]["final_all_in_target"], true);
        assert!(target.decode(&solution.tokens).is_ok());
    }

    /// The next state's distribution, with what is drawn averaged out.
    fn check_transition(&self, euler: &Euler<'_, Box<dyn Scheduler>>, p1t: &Array4<f64>, target: &Part) {
        if !self.has("transition") {
            assert_eq!(self.number("J"), 401);
            return;
        }
        let states: Array3<i64> = self.tensors.i64(&self.key("x_t")).into_dimensionality().unwrap();
        let jumps = euler.jump_probabilities().unwrap();
        let mut transition = target.widen_with(p1t, 0.0).unwrap();
        for ((n, b, d), &state) in states.indexed_iter() {
            let mut row = transition.slice_mut(s![n, b, d, ..]);
            row *= jumps[n];
            row[state as usize] += 1.0 - jumps[n];
        }
        self.all_near(&transition.into_dyn(), "transition", |_| 0.0);
    }

    fn refusal(&self) {
        let joint = Joint::disjoint(&[("source", 4), ("target", 3)]).unwrap();
        let target = joint.part("target").unwrap();
        let path = MixturePath::new(Polynomial::LINEAR).unwrap();
        let solve = |options| {
            let x_0 = Array2::zeros((1, 2));
            let model = |_, _: ndarray::ArrayView2<'_, i64>| Ok(Array3::<f32>::ones((1, 2, 3)));
            Euler::new(&path, options).solve(Outputs::Target(target), x_0.view(), model, &mut || 0.5).map(|_| ())
        };
        let free = |source| {
            DivergenceFree::new(source, |_| 1.0)
                .and_then(|free| solve(EulerOptions { divergence_free: Some(free), ..EulerOptions::default() }))
        };
        let sample = |x_1: usize, times: &[f64]| {
            path.sample(&Array2::<i64>::zeros((2, 3)), &Array2::zeros((x_1, 3)), times, &mut || 0.5).map(|_| ())
        };
        let (refused, reason) = match self.value["params"]["id"].as_str().unwrap() {
            "vp_scheduler_in_mixture" => (MixturePath::new(Vp::default()).map(|_| ()), "alpha at time 0 is 0.00"),
            "n_not_positive" => (Polynomial::new(0.0).map(|_| ()), "degree of the scheduler is 0, expected"),
            "bad_reduction" => ("max".parse::<Reduction>().map(|_| ()), "reduction is max, expected none, mean or sum"),
            "step_too_large" => {
                (solve(EulerOptions { step_size: Some(1.0), ..EulerOptions::default() }), "step size is 1, expected")
            }
            "div_free_without_p" => (free(Vec::new()), "source distribution is 0 numbers"),
            "wrong_p_shape" => (free(vec![1.0 / 6.0; 6]), "length of the source distribution is 6, expected 7"),
            "batch_mismatch" => (sample(3, &[0.5; 2]), "shape of x_1 is [3, 3], expected [2, 3]"),
            // Times of another shape than [batch] are no slice; what is left is a wrong number of them.
            "t_not_vector" => {
                assert!(Array2::<f64>::zeros((2, 1)).into_dimensionality::<Ix1>().is_err());
                (sample(2, &[0.5; 1]), "number of times is 1, expected 2")
            }
            other => panic!("{other} is not known"),
        };
        let error = refused.unwrap_err().to_string();
        assert!(error.starts_with(reason), "{}: {error}", self.name());
    }
}

/// A number whose share of the probabilities, in joint order, falls into the middle of that of `x_1`.
fn within(p: ndarray::ArrayView1<'_, f64>, x_1: i64, target: &Part) -> f64 {
    let before =
        |joint| target.in_joint_order().filter(|&(id, _)| id < joint).map(|(_, own)| p[own as usize]).sum::<f64>();
    let (low, high) = (before(x_1 as u32), before(x_1 as u32 + 1));
    assert!(high > low, "what was drawn has a probability");
    0.5 * (low + high) / p.sum()
}
