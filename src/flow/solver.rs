//! From source tokens to target tokens, step by step.
//!
//! ```text
//! x_t [B, d]  --model-->  posterior [B, d, V]  --draw-->  x_1 [B, d]     jump to x_1 with probability
//!     ^                                                     |            1 - exp(-length x rate)
//!     +---------------- jumped, or stayed ------------------+            the last step: always
//! ```

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, Axis};

use super::draws::{Uniforms, draw};
use super::grid::{Step, steps};
use super::outputs::Outputs;
use super::path::MixturePath;
use super::scheduler::Scheduler;
use crate::error::{Error, Result};
use crate::vocab::Real;

/// How a solver steps.
pub struct EulerOptions {
    /// Length of a step; without one, the steps are those of the grid. 0.05 by default.
    ///
    /// Each step costs one run of the model.
    pub step_size: Option<f64>,
    /// First and last time, and times between at which the state is wanted; 0 and 1 by default.
    pub time_grid: Vec<f64>,
    /// How likely a jump is; [`Jump::Euler`] by default.
    pub jump: Jump,
    /// Movement that leaves the distribution as it is; none by default.
    pub divergence_free: Option<DivergenceFree>,
    /// Whether to return the states at the times of the grid; false by default.
    pub intermediates: bool,
}

impl Default for EulerOptions {
    fn default() -> Self {
        EulerOptions {
            step_size: Some(0.05),
            time_grid: vec![0.0, 1.0],
            jump: Jump::default(),
            divergence_free: None,
            intermediates: false,
        }
    }
}

/// How likely a position is to jump within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jump {
    /// As if the rate stayed what it is at the step's begin: 1 - exp(-length x rate). What flow_matching does. Where that
    /// rate is infinite, as for [`Polynomial`](super::Polynomial) with n below 1 at t = 0, it is as [`Jump::Exact`].
    #[default]
    Euler,
    /// As the path itself does: 1 - sigma(end) / sigma(begin). With a posterior that does not change, no step is too
    /// long.
    Exact,
}

/// Movement that adds to the path's own, here and back again, and leaves the distribution at each time as it is: what
/// was drawn wrongly can be mended.
///
/// It holds for a source that is drawn from one distribution, the same for each position and whatever the target. A
/// source that comes with its target, as in a translation, is lost by it: at time 0 its rate is infinite, and all
/// positions are drawn anew.
pub struct DivergenceFree {
    source: Vec<f64>,
    strength: Box<dyn Fn(f64) -> f64 + Send + Sync>,
}

impl DivergenceFree {
    /// Takes the source's distribution over all joint ids, and the term's strength at each time.
    ///
    /// # Errors
    /// `Invalid` if the distribution is empty, has a share below 0, or does not add up to 1.
    pub fn new(source: Vec<f64>, strength: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Result<Self> {
        let sum: f64 = source.iter().sum();
        match source.iter().all(|&share| share >= 0.0) && (sum - 1.0).abs() < 1e-3 {
            true => Ok(DivergenceFree { source, strength: Box::new(strength) }),
            false => {
                let found = format!("{} numbers with sum {sum}", source.len());
                Err(Error::invalid("source distribution", found, "numbers of 0 or more with sum 1"))
            }
        }
    }

    fn check(&self, joint: usize) -> Result<()> {
        match self.source.len() == joint {
            true => Ok(()),
            false => Err(Error::invalid("length of the source distribution", self.source.len(), joint)),
        }
    }

    /// How likely an id is to be jumped to, for each unit of the source's share; and how much more likely x_1 is.
    fn rates(&self, scheduler: &impl Scheduler, t: f64) -> Result<(f64, f64)> {
        let strength = (self.strength)(t);
        if !(strength >= 0.0 && strength.is_finite()) {
            return Err(Error::invalid(format!("divergence-free strength at time {t}"), strength, "0 or more"));
        }
        if strength == 0.0 {
            return Ok((0.0, 0.0));
        }
        let alpha = scheduler.alpha(t);
        let source = if alpha > 0.0 { scheduler.d_alpha(t) / alpha } else { f64::INFINITY };
        Ok((strength * source, strength * scheduler.rate(t)))
    }
}

/// Where a solver came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// Joint ids, all of the target but for absent ones (-1), `[batch, position]`.
    pub tokens: Array2<i64>,
    /// Times of the grid and the states there, the first and the last among them; none unless they were asked for.
    pub states: Vec<(f64, Array2<i64>)>,
    /// How often the model was run.
    pub steps: usize,
}

/// The Euler solver of a mixture path.
///
/// # Examples
/// A model that knows the answer, and leaks a little into the source:
/// ```
/// use ndarray::{Array3, arr2};
/// use roundelay::flow::{Euler, EulerOptions, MixturePath, Outputs, Polynomial, SeededUniforms};
/// use roundelay::vocab::Joint;
///
/// let joint = Joint::disjoint(&[("source", 3), ("target", 2)])?;
/// let target = joint.part("target")?;
/// let path = MixturePath::new(Polynomial::new(2.0)?)?;
/// let euler = Euler::new(&path, EulerOptions { step_size: Some(0.25), ..EulerOptions::default() });
/// let x_0 = arr2(&[[0, 1, 2]]);
/// let solution = euler.solve(
///     Outputs::Joint(target),
///     x_0.view(),
///     |_, _| Ok(Array3::from_shape_fn((1, 3, 5), |(_, n, j)| [0.1, 0.1, 0.1, 0.7, 0.0][(j + 4 * (n % 2)) % 5])),
///     &mut SeededUniforms::new(5),
/// )?;
/// assert_eq!(solution.steps, 4);
/// assert_eq!(target.decode(&solution.tokens)?, arr2(&[[0, 1, 0]]));
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// flow_matching `solver/discrete_solver.py`, `MixtureDiscreteEulerSolver`.
pub struct Euler<'a, S> {
    path: &'a MixturePath<S>,
    options: EulerOptions,
}

/// What all positions of a step share.
struct Rates {
    /// How likely a position is to jump, but for the divergence-free term: -log of the probability to stay.
    path: f64,
    /// The divergence-free term's, for the whole step: of an id by its share of the source, and of x_1.
    free: (f64, f64),
}

impl<'a, S: Scheduler> Euler<'a, S> {
    /// Sets up a solver.
    pub fn new(path: &'a MixturePath<S>, options: EulerOptions) -> Self {
        Euler { path, options }
    }

    /// The steps that it makes, each of which runs the model once.
    ///
    /// # Errors
    /// `Invalid` if the grid has less than two points, if they do not rise or leave 0 to 1, or if the step size is not
    /// at least 0.000002 and below the grid's length.
    pub fn steps(&self) -> Result<Vec<Step>> {
        steps(&self.options.time_grid, self.options.step_size)
    }

    /// The probability that a position jumps within a step, if another token is drawn for it; without the
    /// divergence-free term. 1 at the last step.
    ///
    /// # Errors
    /// As [`Euler::steps`].
    pub fn jump_probabilities(&self) -> Result<Vec<f64>> {
        let steps = self.steps()?;
        let last = steps.len() - 1;
        Ok(steps.iter().enumerate().map(|(n, step)| if n == last { 1.0 } else { leaving(self.mass(step)) }).collect())
    }

    /// Goes from source tokens to target tokens. At the last step every position takes what was drawn for it, whatever
    /// the last time. Only ids of the target are ever drawn for x_1: what the model gives to others is left out.
    ///
    /// `model` gives the posterior: for a time and tokens `[batch, position]` the probabilities of what each position
    /// will be at time 1, `[batch, position, ids]`, in any scale. A source that is a condition is the closure's own.
    ///
    /// Absent tokens (-1) stay absent from the first time to the last. Numbers are drawn in this order: at each step one for each position, for x_1; then,
    /// but for the last step, one for each position, for the jump; then, with a divergence-free term, one for each
    /// position that jumps.
    ///
    /// # Shapes
    /// `x_0` is `[batch, position]`, joint ids, as is the solution.
    /// # Errors
    /// As [`Euler::steps`]; also `Invalid`, with the position in row-major order, for tokens that are no joint ids, and
    /// where the model gives no probability to the target, a negative one, or none that is a number; and whatever error
    /// the model gives.
    pub fn solve<F: Real>(
        &self,
        outputs: Outputs<'_>,
        x_0: ArrayView2<'_, i64>,
        mut model: impl FnMut(f64, ArrayView2<'_, i64>) -> Result<Array3<F>>,
        draws: &mut impl Uniforms,
    ) -> Result<Solution> {
        let steps = self.steps()?;
        if let Some(free) = &self.options.divergence_free {
            free.check(outputs.target().joint_size())?;
        }
        x_0.iter().enumerate().try_for_each(|(at, &id)| outputs.token("x_0", at, id).map(|_| ()))?;
        let (mut x_t, mut states) = (x_0.to_owned(), Vec::new());
        let mut keep = |x: &Array2<i64>| {
            if self.options.intermediates {
                states.push(x.clone());
            }
        };
        keep(&x_t);
        for (n, step) in steps.iter().enumerate() {
            let posterior = model(step.time, x_t.view())?;
            outputs.check("the posterior", posterior.shape(), x_t.shape())?;
            let x_1 = drawn(outputs, posterior.view(), x_t.view(), draws)?;
            if n + 1 == steps.len() {
                x_t = x_1;
            } else {
                self.jump(step, &mut x_t, &x_1, draws)?;
            }
            if step.to_grid {
                keep(&x_t);
            }
        }
        let states = self.options.time_grid.iter().copied().zip(states).collect();
        Ok(Solution { tokens: x_t, states, steps: steps.len() })
    }

    /// -log of the probability to stay within a step.
    fn mass(&self, step: &Step) -> f64 {
        let scheduler = self.path.scheduler();
        let rate = scheduler.rate(step.time);
        match self.options.jump {
            Jump::Euler if rate.is_finite() => step.length * rate,
            _ => {
                let (begin, end) = (scheduler.sigma(step.time), scheduler.sigma(step.time + step.length));
                // What is past its time has nothing left to stay.
                if end > 0.0 { (begin / end).ln() } else { f64::INFINITY }
            }
        }
    }

    fn rates(&self, step: &Step) -> Result<Rates> {
        let free = match &self.options.divergence_free {
            Some(free) => free.rates(self.path.scheduler(), step.time)?,
            None => (0.0, 0.0),
        };
        Ok(Rates { path: self.mass(step), free: (step.length * free.0, step.length * free.1) })
    }

    fn jump(&self, step: &Step, x_t: &mut Array2<i64>, x_1: &Array2<i64>, draws: &mut impl Uniforms) -> Result<()> {
        let rates = self.rates(step)?;
        let source = match &self.options.divergence_free {
            Some(free) if rates.free.0 > 0.0 => &free.source[..],
            _ => &[],
        };
        let uniforms: Vec<f64> = x_t.iter().map(|_| draws.next()).collect();
        for ((x_t, &x_1), uniform) in x_t.iter_mut().zip(x_1).zip(uniforms).filter(|((x_t, _), _)| **x_t >= 0) {
            if uniform < leaving(rates.leave(*x_t, x_1, source)) {
                *x_t = rates.land(*x_t, x_1, source, draws);
            }
        }
        Ok(())
    }
}

/// The probability to leave, from -log of that to stay.
fn leaving(mass: f64) -> f64 {
    0.0 - (-mass).exp_m1()
}

impl Rates {
    fn to_target(&self, x_t: i64, x_1: i64) -> f64 {
        if x_t == x_1 { 0.0 } else { self.path + self.free.1 }
    }

    /// -log of the probability to stay.
    fn leave(&self, x_t: i64, x_1: i64, source: &[f64]) -> f64 {
        let others = 1.0 - source.get(x_t as usize).copied().unwrap_or(1.0);
        self.to_target(x_t, x_1) + if others > 0.0 { self.free.0 * others } else { 0.0 }
    }

    /// Where a jump goes: to x_1, or to a token of the source by its share.
    fn land(&self, x_t: i64, x_1: i64, source: &[f64], draws: &mut impl Uniforms) -> i64 {
        if source.is_empty() {
            return x_1;
        }
        // A rate that is infinite leaves nothing to the others, and nothing of where the position was: it is drawn from
        // the whole source, out of which it may well be what it was.
        let endless = self.free.0.is_infinite();
        let (of_source, of_target) = if endless { (1.0, 0.0) } else { (self.free.0, self.to_target(x_t, x_1)) };
        let shares = source.iter().enumerate().map(|(id, share)| (id as i64, of_source * share));
        let shares = shares.filter(|(id, _)| endless || *id != x_t).chain([(x_1, of_target)]);
        draw(shares, draws.next()).unwrap_or(x_1)
    }
}

/// Draws a target token for each position.
fn drawn<F: Real>(
    outputs: Outputs<'_>,
    posterior: ArrayView3<'_, F>,
    x_t: ArrayView2<'_, i64>,
    draws: &mut impl Uniforms,
) -> Result<Array2<i64>> {
    let mut x_1 = x_t.to_owned();
    for ((at, x_1), row) in x_1.iter_mut().enumerate().zip(posterior.lanes(Axis(2))) {
        let uniform = draws.next();
        if *x_1 >= 0 {
            *x_1 = one_drawn(outputs, row, at, uniform)?;
        }
    }
    Ok(x_1)
}

fn one_drawn<F: Real>(outputs: Outputs<'_>, row: ArrayView1<'_, F>, at: usize, uniform: f64) -> Result<i64> {
    let wrong = row.iter().map(|&p| p.into()).find(|p: &f64| !(*p >= 0.0 && p.is_finite()));
    if let Some(wrong) = wrong {
        return Err(Error::invalid(format!("probability at position {at}"), wrong, "0 or more"));
    }
    let weights = outputs.of_target().map(|(id, place)| (i64::from(id), row[place].into()));
    draw(weights, uniform).ok_or_else(|| {
        let what = format!("probability of part {} at position {at}", outputs.target().name());
        Error::invalid(what, 0, "more than 0")
    })
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::super::{Polynomial, SeededUniforms};
    use super::*;
    use crate::vocab::Joint;

    fn solved(options: EulerOptions, posterior: Vec<f32>) -> Result<Solution> {
        let joint = Joint::disjoint(&[("source", 2), ("target", 2)]).unwrap();
        let path = MixturePath::new(Polynomial::LINEAR).unwrap();
        let model = |_, x: ArrayView2<i64>| {
            let size = posterior.len();
            Ok(Array3::from_shape_fn((x.nrows(), x.ncols(), size), |(.., j)| posterior[j]))
        };
        let x_0 = arr2(&[[0, 1, -1], [1, 2, 0]]);
        Euler::new(&path, options).solve(
            Outputs::Joint(joint.part("target")?),
            x_0.view(),
            model,
            &mut SeededUniforms::new(1),
        )
    }

    #[test]
    fn models_that_give_the_target_nothing_are_refused() {
        let refused =
            |posterior: [f32; 4]| solved(EulerOptions::default(), posterior.to_vec()).unwrap_err().to_string();
        let nothing = refused([0.5, 0.5, 0.0, 0.0]);
        assert_eq!(nothing, "probability of part target at position 0 is 0, expected more than 0");
        assert_eq!(refused([0.5, 0.5, -0.5, 0.5]), "probability at position 0 is -0.5, expected 0 or more");
        assert_eq!(refused([0.5, f32::NAN, 0.5, 0.5]), "probability at position 0 is NaN, expected 0 or more");
        let short = solved(EulerOptions::default(), vec![1.0; 3]).unwrap_err().to_string();
        assert_eq!(short, "shape of the posterior is [2, 3, 3], expected [2, 3, 4]");
    }

    #[test]
    fn states_are_those_of_the_grid_and_absent_tokens_stay() {
        let time_grid = vec![0.0, 0.3, 0.5, 1.0];
        let options = EulerOptions { step_size: Some(0.25), time_grid, intermediates: true, ..EulerOptions::default() };
        let solution = solved(options, vec![0.9, 0.0, 0.1, 0.0]).unwrap();
        assert_eq!(solution.tokens, arr2(&[[2, 2, -1], [2, 2, 2]]));
        assert_eq!(solution.states.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [0.0, 0.3, 0.5, 1.0]);
        assert_eq!(solution.steps, 5);
        assert_eq!(solution.states[0].1, arr2(&[[0, 1, -1], [1, 2, 0]]));
        assert_eq!(solution.states[3].1, solution.tokens);
    }

    #[test]
    fn the_divergence_free_term_needs_the_source_of_this_vocabulary() {
        let with = |source: Vec<f64>, strength: f64| {
            let free = DivergenceFree::new(source, move |_| strength)?;
            solved(EulerOptions { divergence_free: Some(free), ..EulerOptions::default() }, vec![0.0, 0.0, 1.0, 1.0])
        };
        let refused = |source, strength| with(source, strength).unwrap_err().to_string();
        let none = "source distribution is 0 numbers with sum 0, expected numbers of 0 or more with sum 1";
        assert_eq!(refused(vec![], 1.0).replace("-0", "0"), none);
        assert!(refused(vec![1.5, -0.5], 1.0).starts_with("source distribution is 2 numbers"));
        assert_eq!(refused(vec![0.5; 2], 1.0), "length of the source distribution is 2, expected 4");
        let strength = refused(vec![0.25; 4], -1.0);
        assert_eq!(strength, "divergence-free strength at time 0 is -1, expected 0 or more");
        let solution = with(vec![0.5, 0.5, 0.0, 0.0], 3.0).unwrap();
        assert!(solution.tokens.iter().all(|id| [-1, 2, 3].contains(id)));
    }
}
