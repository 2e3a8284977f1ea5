//! Laws of discrete flow matching: where the solver ends, how often it is where, and the loss against its definition.

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis, arr1};
use proptest::collection::hash_set;
use proptest::prelude::*;
use roundelay::flow::{
    DivergenceFree, Euler, EulerOptions, FlowBatch, Jump, MixturePath, Outputs, Polynomial, Reduction, Scheduler,
    SeededUniforms, SquaredCosine, softmax,
};
use roundelay::vocab::{Joint, Part};

/// Any scheduler of a mixture path.
fn schedulers() -> impl Strategy<Value = Scheduled> {
    prop_oneof![(0.3..4.0_f64).prop_map(Scheduled::Polynomial), Just(Scheduled::SquaredCosine)]
}

#[derive(Debug, Clone, Copy)]
enum Scheduled {
    Polynomial(f64),
    SquaredCosine,
}

impl Scheduled {
    fn path(self) -> MixturePath<Box<dyn Scheduler>> {
        let scheduler: Box<dyn Scheduler> = match self {
            Scheduled::Polynomial(n) => Box::new(Polynomial::new(n).unwrap()),
            Scheduled::SquaredCosine => Box::new(SquaredCosine),
        };
        MixturePath::new(scheduler).unwrap()
    }
}

/// A source and a target that share some ids, all or none.
fn vocabularies() -> impl Strategy<Value = Joint> {
    let ids = || hash_set(0..20_u32, 1..12).prop_map(|ids| ids.into_iter().collect::<Vec<_>>()).prop_shuffle();
    let map = |name: &'static str| ids().prop_map(move |ids| Part::map(name, ids).unwrap());
    let any = (map("source"), map("target")).prop_map(|(source, target)| Joint::new(vec![source, target]).unwrap());
    let sizes = (1..12_usize, 1..12_usize);
    prop_oneof![any, sizes.prop_map(|(s, t)| Joint::disjoint(&[("source", s), ("target", t)]).unwrap())]
}

/// Numbers that look random and are not: a model's output for a time and tokens.
fn noise(seed: u64, t: f64, x: ArrayView2<'_, i64>, size: usize) -> Array3<f64> {
    Array3::from_shape_fn((x.nrows(), x.ncols(), size), |(b, n, j)| {
        let mix = seed ^ t.to_bits() ^ ((x[(b, n)] as u64) << 20) ^ ((n as u64) << 8) ^ (j as u64);
        (mix.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / 1e7
    })
}

fn tokens(part: &Part, seed: u64, batch: usize, length: usize) -> Array2<i64> {
    let id = |(b, n): (usize, usize)| {
        (seed.wrapping_mul(31).wrapping_add(7 * b as u64 + n as u64) >> 3) % part.size() as u64
    };
    Array2::from_shape_fn((batch, length), |at| i64::from(part.joint(id(at) as u32).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn at_the_end_every_token_is_of_the_target_however_the_model_leaks(
        joint in vocabularies(),
        scheduled in schedulers(),
        (step, middle, exact) in (0.02..0.9_f64, 0.1..0.9_f64, any::<bool>()),
        seed in any::<u64>(),
        (batch, length) in (1..4_usize, 0..6_usize),
    ) {
        let (source, target) = (joint.part("source").unwrap(), joint.part("target").unwrap());
        let path = scheduled.path();
        let options = || EulerOptions {
            step_size: Some(step),
            time_grid: vec![0.0, middle, 1.0],
            jump: if exact { Jump::Exact } else { Jump::Euler },
            intermediates: true,
            ..EulerOptions::default()
        };
        let x_0 = tokens(source, seed, batch, length);
        let solved = |outputs: Outputs<'_>| {
            let model = |t, x: ArrayView2<'_, i64>| {
                let wide = noise(seed, t, x, joint.size());
                match outputs {
                    // All ids get something, whatever they are.
                    Outputs::Joint(_) => Ok(wide + 1e-3),
                    Outputs::Target(_) => target.narrow(&(wide + 1e-3)),
                }
            };
            Euler::new(&path, options()).solve(outputs, x_0.view(), model, &mut SeededUniforms::new(seed)).unwrap()
        };
        let solution = solved(Outputs::Joint(target));
        prop_assert!(target.decode(&solution.tokens).is_ok());
        prop_assert_eq!(&solution, &solved(Outputs::Joint(target)), "the same seed, the same tokens");
        prop_assert_eq!(&solution, &solved(Outputs::Target(target)), "whatever is left out was not drawn");
        prop_assert_eq!(solution.states.len(), 3);
        prop_assert_eq!(&solution.states[0].1, &x_0);
        let known = |id: &i64| source.local(*id as u32).is_some() || target.local(*id as u32).is_some();
        prop_assert!(solution.states.iter().all(|(_, state)| state.iter().all(known)));
    }

    #[test]
    fn the_path_goes_from_source_to_target(joint in vocabularies(), scheduled in schedulers(), seed in any::<u64>()) {
        let path = scheduled.path();
        let [x_0, x_1] = ["source", "target"].map(|part| tokens(joint.part(part).unwrap(), seed, 3, 40));
        let x_t = path.sample(&x_0, &x_1, &[0.0, 0.5, 1.0], &mut SeededUniforms::new(seed)).unwrap();
        prop_assert_eq!(x_t.row(0), x_0.row(0));
        prop_assert_eq!(x_t.row(2), x_1.row(2));
        prop_assert!(x_t.iter().zip(&x_0).zip(&x_1).all(|((t, zero), one)| t == zero || t == one));
    }

    #[test]
    fn the_loss_is_the_divergence_of_the_velocities(
        joint in vocabularies(),
        scheduled in schedulers(),
        (seed, time) in (any::<u64>(), 0.05..0.95_f64),
    ) {
        let path = scheduled.path();
        let target = joint.part("target").unwrap();
        let [x_0, x_1] = ["source", "target"].map(|part| tokens(joint.part(part).unwrap(), seed, 2, 4));
        let times = [time, 0.5 * time];
        let x_t = path.sample(&x_0, &x_1, &times, &mut SeededUniforms::new(seed)).unwrap();
        let logits = noise(seed, time, x_t.view(), joint.size()) * 3.0;
        let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times: &times };
        let loss = path.generalized_kl(Outputs::Joint(target), &logits, batch).unwrap();

        let velocity = |p: &Array3<f64>| path.posterior_to_velocity(p, &x_t, &times).unwrap();
        let predicted = velocity(&softmax(&logits).unwrap());
        let known = Array3::from_shape_fn(logits.dim(), |(b, n, j)| f64::from(u8::from(x_1[(b, n)] == j as i64)));
        let known = velocity(&known);
        for ((b, n), &loss) in loss.positions.indexed_iter() {
            let others = (0..joint.size()).filter(|&j| j as i64 != x_t[(b, n)]);
            let one = |j: usize| {
                let (u, v) = (known[(b, n, j)], predicted[(b, n, j)]);
                v - u + if u > 0.0 { u * (u / v).ln() } else { 0.0 }
            };
            let slow: f64 = others.map(one).sum();
            prop_assert!((loss - slow).abs() <= 1e-9 * (1.0 + slow.abs()), "{loss}, {slow}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences(
        joint in vocabularies(),
        scheduled in schedulers(),
        (seed, time, sum) in (any::<u64>(), 0.05..0.95_f64, any::<bool>()),
    ) {
        let path = scheduled.path();
        let target = joint.part("target").unwrap();
        let [x_0, mut x_1] = ["source", "target"].map(|part| tokens(joint.part(part).unwrap(), seed, 2, 3));
        let times = [time, 0.9 * time];
        let mut x_t = path.sample(&x_0, &x_1, &times, &mut SeededUniforms::new(seed)).unwrap();
        // One that does not count.
        (x_1[(0, 1)], x_t[(0, 1)]) = (-1, -1);
        let reduction = if sum { Reduction::Sum } else { Reduction::Mean };
        for outputs in [Outputs::Joint(target), Outputs::Target(target)] {
            let logits = noise(seed, time, x_t.view(), outputs.size()) * 3.0;
            let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times: &times };
            let value = |logits: &Array3<f64>| {
                path.generalized_kl(outputs, logits, batch).unwrap().reduced(reduction).sum()
            };
            let (loss, gradient) = path.generalized_kl_gradient(outputs, &logits, batch, reduction).unwrap();
            prop_assert_eq!(loss.reduced(reduction).sum(), value(&logits));
            for (at, &found) in gradient.indexed_iter() {
                let moved = |by: f64| {
                    let mut logits = logits.clone();
                    logits[at] += by;
                    value(&logits)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                prop_assert!((found - slope).abs() <= 1e-6 * (1.0 + loss.sum().abs()), "{at:?}: {found}, {slope}");
            }
            let all = gradient.sum_axis(Axis(2));
            prop_assert!(all.iter().all(|sum| sum.abs() < 1e-9 * (1.0 + loss.sum().abs())), "a shift of all logits is none");
        }
    }
}

/// Everything below is held at this level: of so many fair samples one is refused.
const LEVEL: f64 = 1e-4;

/// The probability that counts drawn fairly are as far from these shares as the counts are, or farther.
fn chi_squared(counts: &[f64], shares: &[f64]) -> f64 {
    let total: f64 = counts.iter().sum();
    assert!(counts.iter().zip(shares).all(|(&count, &share)| share > 0.0 || count == 0.0), "what cannot be is");
    let there = counts.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    assert!(there.clone().all(|(_, share)| share * total > 5.0), "enough of each is expected");
    let distance: f64 = there.clone().map(|(count, share)| (count - share * total).powi(2) / (share * total)).sum();
    upper_gamma(0.5 * (there.count() as f64 - 1.0), 0.5 * distance)
}

/// The upper incomplete gamma function as a share of the whole, by its series.
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x > 10.0 * a + 200.0 {
        return 0.0;
    }
    let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
    while term > sum * 1e-16 {
        n += 1.0;
        term *= x / n;
        sum += term;
    }
    1.0 - (a * x.ln() - x - log_gamma(a)).exp() * sum
}

/// The logarithm of the gamma function for halves, step by step.
fn log_gamma(a: f64) -> f64 {
    let first = if a.fract() == 0.0 { 1.0 } else { 0.5 };
    let steps = ((a - first).round()) as usize;
    let start = if first == 1.0 { 0.0 } else { 0.5 * std::f64::consts::PI.ln() };
    start + (0..steps).map(|n| (first + n as f64).ln()).sum::<f64>()
}

#[test]
fn chi_squared_is_what_tables_say() {
    // 0.05 of the distribution with 1, 4 and 10 degrees lies above these.
    for (degrees, bar) in [(1.0, 3.841459), (4.0, 9.487729), (10.0, 18.307038)] {
        assert!((upper_gamma(0.5 * degrees, 0.5 * bar) - 0.05).abs() < 1e-6);
    }
}

/// Source 0 1 2 and target 2 3 4, drawn by these shares: 2 is both.
const SOURCE: [f64; 5] = [0.5, 0.2, 0.3, 0.0, 0.0];
const TARGET: [f64; 5] = [0.0, 0.0, 0.25, 0.15, 0.6];

fn small() -> Joint {
    Joint::new(vec![Part::range("source", 0, 3).unwrap(), Part::range("target", 2, 3).unwrap()]).unwrap()
}

/// What x_1 is, given x_t: for a source and a target that have nothing to do with each other.
fn posterior(path: &MixturePath<impl Scheduler>, t: f64, x: i64) -> [f64; 5] {
    let (alpha, sigma) = (path.scheduler().alpha(t), path.scheduler().sigma(t));
    let kept = sigma * SOURCE[x as usize];
    let shares: [f64; 5] = std::array::from_fn(|one| TARGET[one] * (kept + if one as i64 == x { alpha } else { 0.0 }));
    let sum: f64 = shares.iter().sum();
    shares.map(|share| share / sum)
}

fn sources(count: usize, length: usize, seed: u64) -> Array2<i64> {
    let mut draws = SeededUniforms::new(seed);
    let mut one = || roundelay::flow::Uniforms::next(&mut draws);
    Array2::from_shape_fn((count, length), |_| {
        let number = one();
        (number >= 0.5) as i64 + (number >= 0.7) as i64
    })
}

fn counted(state: ArrayView1<'_, i64>) -> Vec<f64> {
    (0..5).map(|id| state.iter().filter(|&&token| token == id).count() as f64).collect()
}

/// How a position's distribution goes on within a step, by the rates of the definition: the slow way.
fn next(path: &MixturePath<impl Scheduler>, now: &Array1<f64>, (t, h): (f64, f64), strength: f64) -> Array1<f64> {
    let mut then = Array1::zeros(5);
    let (c, alpha, d_alpha) = (path.scheduler().rate(t), path.scheduler().alpha(t), path.scheduler().d_alpha(t));
    for (x, &share) in now.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        for (one, p) in posterior(path, t, x as i64).into_iter().enumerate().filter(|(_, p)| *p > 0.0) {
            let rate = |j: usize| match j == x {
                true => 0.0,
                false => {
                    let free = if strength > 0.0 { strength * d_alpha / alpha * SOURCE[j] } else { 0.0 };
                    free + if j == one { (1.0 + strength) * c } else { 0.0 }
                }
            };
            let all: f64 = (0..5).map(rate).sum();
            let stay = (-h * all).exp();
            then[x] += share * p * stay;
            (0..5).filter(|&j| rate(j) > 0.0).for_each(|j| then[j] += share * p * (1.0 - stay) * rate(j) / all);
        }
    }
    then
}

/// The solver's states at the grid, for many positions that have nothing to do with each other.
fn sampled(
    path: &MixturePath<impl Scheduler>,
    options: EulerOptions,
    x_0: &Array2<i64>,
    seed: u64,
) -> Vec<(f64, Array2<i64>)> {
    let joint = small();
    let model = |t, x: ArrayView2<'_, i64>| {
        let posteriors: Vec<[f64; 5]> = (0..5).map(|id| posterior(path, t, id)).collect();
        Ok(Array3::from_shape_fn((x.nrows(), x.ncols(), 5), |(b, n, j)| posteriors[x[(b, n)] as usize][j]))
    };
    let options = EulerOptions { intermediates: true, ..options };
    let outputs = Outputs::Joint(joint.part("target").unwrap());
    Euler::new(path, options).solve(outputs, x_0.view(), model, &mut SeededUniforms::new(seed)).unwrap().states
}

#[test]
fn the_solver_is_where_its_steps_say() {
    for (n, scheduled) in
        [Scheduled::Polynomial(1.0), Scheduled::Polynomial(2.0), Scheduled::SquaredCosine].into_iter().enumerate()
    {
        let path = scheduled.path();
        let time_grid: Vec<f64> = vec![0.05, 0.3, 0.5, 0.8, 1.0];
        let options = EulerOptions { step_size: None, time_grid: time_grid.clone(), ..EulerOptions::default() };
        let states = sampled(&path, options, &sources(1, 40_000, n as u64), 10 + n as u64);
        let mut expected = arr1(&SOURCE);
        for (step, t) in time_grid.windows(2).enumerate() {
            expected = match step {
                // What has not jumped before jumps now.
                3 => (0..5)
                    .fold(Array1::zeros(5), |sum, x| sum + arr1(&posterior(&path, t[0], x)) * expected[x as usize]),
                _ => next(&path, &expected, (t[0], t[1] - t[0]), 0.0),
            };
            let p = chi_squared(&counted(states[step + 1].1.row(0)), expected.as_slice().unwrap());
            assert!(p > LEVEL, "{scheduled:?} at {}: {p}", t[1]);
        }
    }
}

#[test]
fn exact_jumps_are_on_the_path_at_all_times_however_long_the_steps() {
    for (n, scheduled) in
        [Scheduled::Polynomial(0.5), Scheduled::Polynomial(3.0), Scheduled::SquaredCosine].into_iter().enumerate()
    {
        let path = scheduled.path();
        let on_path = |t: f64| -> Vec<f64> {
            let (alpha, sigma) = (path.scheduler().alpha(t), path.scheduler().sigma(t));
            SOURCE.iter().zip(TARGET).map(|(source, target)| sigma * source + alpha * target).collect()
        };
        let of = |jump, seed| {
            let options =
                EulerOptions { step_size: None, time_grid: vec![0.0, 0.4, 0.7, 1.0], jump, ..EulerOptions::default() };
            let states = sampled(&path, options, &sources(1, 40_000, seed), 20 + seed);
            let on_path = states[1..].iter().map(|(t, x)| chi_squared(&counted(x.row(0)), &on_path(*t)));
            on_path.collect::<Vec<_>>()
        };
        let exact = of(Jump::Exact, n as u64);
        assert!(exact.iter().all(|&p| p > LEVEL), "{scheduled:?}: {exact:?}");
        let euler = of(Jump::Euler, n as u64);
        match path.scheduler().rate(0.0).is_infinite() {
            true => assert!(euler[0] > LEVEL, "an infinite rate is taken as it is: {euler:?}"),
            false => assert!(euler[0] < 1e-9, "steps this long are not Euler's: {euler:?}"),
        }
        assert!(euler[1] < 1e-9, "steps this long are not Euler's: {euler:?}");
    }
}

#[test]
fn the_divergence_free_term_draws_all_anew_from_the_source_at_first() {
    let path = MixturePath::new(Polynomial::LINEAR).unwrap();
    // What was drawn by the source's shares stays so; what was none of it becomes so.
    for (n, x_0) in
        [sources(1, 40_000, 6), Array2::zeros((1, 40_000)), Array2::from_elem((1, 40_000), 1)].into_iter().enumerate()
    {
        let free = DivergenceFree::new(SOURCE.to_vec(), |_| 0.5).unwrap();
        let time_grid = vec![0.0, 0.25, 1.0];
        let options =
            EulerOptions { step_size: None, time_grid, divergence_free: Some(free), ..EulerOptions::default() };
        let states = sampled(&path, options, &x_0, 30 + n as u64);
        let p = chi_squared(&counted(states[1].1.row(0)), &SOURCE);
        assert!(p > LEVEL, "{n}: {p}");
    }
}

#[test]
fn the_divergence_free_term_moves_tokens_and_not_their_distribution() {
    let path = MixturePath::new(Polynomial::LINEAR).unwrap();
    let (h, strength) = (0.01, 2.0);
    let free = DivergenceFree::new(SOURCE.to_vec(), move |_| strength).unwrap();
    let time_grid = vec![0.1, 0.5, 0.9];
    let options =
        EulerOptions { step_size: Some(h), time_grid, divergence_free: Some(free), ..EulerOptions::default() };
    // At 0.1 on the path: a tenth is target.
    let mut x_0 = sources(1, 20_000, 3);
    let target = sources(1, 20_000, 4).mapv(|id| [4, 3, 2][id as usize]);
    x_0.iter_mut().zip(&target).step_by(10).for_each(|(x, &one)| *x = one);
    let start = counted(x_0.row(0));
    let mut expected = arr1(&start) / 20_000.0;
    let states = sampled(&path, options, &x_0, 5);
    for step in 0..40 {
        expected = next(&path, &expected, (0.1 + h * f64::from(step), h), strength);
    }
    let middle = states[1].1.row(0);
    let p = chi_squared(&counted(middle), expected.as_slice().unwrap());
    assert!(p > LEVEL, "{p}");
    let moved = middle.iter().zip(x_0.row(0)).filter(|(now, before)| now != before && **now < 2).count();
    assert!(moved > 500, "without the term none goes back to the source: {moved}");

    // The term itself leaves the path's distribution alone, but for the length of the steps.
    let off = |h: f64, strength: f64| {
        let steps = (0.4 / h).round() as usize;
        let at = |t: f64| arr1(&SOURCE) * (1.0 - t) + arr1(&TARGET) * t;
        let end = (0..steps).fold(at(0.1), |now, n| next(&path, &now, (0.1 + h * n as f64, h), strength));
        (end - at(0.5)).mapv(f64::abs).sum()
    };
    for strength in [0.0, 2.0] {
        let (coarse, fine) = (off(0.01, strength), off(0.001, strength));
        assert!(coarse < 0.03 && fine < 0.12 * coarse, "{strength}: {coarse}, {fine}");
    }
}

/// Two positions whose targets go together: a model that knows the posterior of each alone.
#[test]
fn two_positions_that_go_together_do_so_the_better_the_shorter_the_steps() {
    let path = MixturePath::new(Polynomial::LINEAR).unwrap();
    let joint = Joint::disjoint(&[("source", 2), ("target", 2)]).unwrap();
    let target = joint.part("target").unwrap();
    // Equal nine times of ten.
    let pair = |a: usize, b: usize| if a == b { 0.45 } else { 0.05 };
    let model = |t: f64, x: ArrayView2<'_, i64>| {
        let seen = |token: i64, one: usize| {
            (1.0 - t) * if token < 2 { 0.5 } else { 0.0 } + if token == one as i64 + 2 { t } else { 0.0 }
        };
        let of = |b: usize, n: usize, one: usize| -> f64 {
            (0..2).map(|other| pair(one, other) * seen(x[(b, n)], one) * seen(x[(b, 1 - n)], other)).sum()
        };
        Ok(Array3::from_shape_fn((x.nrows(), 2, 2), |(b, n, one)| of(b, n, one)))
    };
    let x_0 = Array2::from_shape_fn((30_000, 2), |(b, n)| ((b >> n) & 1) as i64);
    let off = |steps: f64| {
        let options = EulerOptions { step_size: Some(1.0 / steps), ..EulerOptions::default() };
        let solution =
            Euler::new(&path, options).solve(Outputs::Target(target), x_0.view(), model, &mut SeededUniforms::new(9));
        let tokens = solution.unwrap().tokens;
        let equal = tokens.outer_iter().filter(|row| row[0] == row[1]).count() as f64;
        (tokens.iter().filter(|&&token| token == 2).count() as f64, equal / 30_000.0)
    };
    // With two steps the positions are drawn at once, more often than not: they do not see each other.
    let [two, sixteen, many] = [2.0, 16.0, 128.0].map(off);
    assert!(two.1 < 0.75 && two.1 < sixteen.1 && sixteen.1 < 0.89, "{two:?} {sixteen:?}");
    assert!((many.1 - 0.9).abs() < 0.01, "{many:?}");
    for (first, _) in [two, sixteen, many] {
        assert!((first / 60_000.0 - 0.5).abs() < 0.02, "each alone is as it should be: {first}");
    }
}
