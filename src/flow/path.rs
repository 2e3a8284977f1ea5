//! The mixture path: at time t each position is still its source token, or already its target token.
//!
//! ```text
//! t = 0      s s s s s s
//! t = 0.5    s T s T T s      each position T with probability alpha(t)
//! t = 1      T T T T T T
//! ```

use ndarray::{Array, ArrayBase, Data, Dimension};

use super::draws::Uniforms;
use super::scheduler::Scheduler;
use crate::error::{Error, Result};
use crate::token::Token;

/// Times at which a scheduler is looked at.
const LOOKS: u32 = 64;

/// A path from source to target tokens.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::flow::{MixturePath, Polynomial, SeededUniforms};
///
/// let path = MixturePath::new(Polynomial::new(2.0)?)?;
/// let (x_0, x_1) = (arr2(&[[0, 1, 2], [0, 1, 2]]), arr2(&[[7, 8, 9], [7, 8, 9]]));
/// let x_t = path.sample(&x_0, &x_1, &[0.0, 1.0], &mut SeededUniforms::new(3))?;
/// assert_eq!(x_t, arr2(&[[0, 1, 2], [7, 8, 9]]));
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// Gat et al., Discrete Flow Matching (arXiv 2407.15595), section 2; flow_matching `path/mixture.py`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixturePath<S> {
    scheduler: S,
}

impl<S: Scheduler> MixturePath<S> {
    /// Takes a scheduler whose shares add up to 1, from all source at t = 0 to all target at t = 1.
    ///
    /// # Errors
    /// `Invalid`, naming the share and the time, for any other one.
    pub fn new(scheduler: S) -> Result<Self> {
        let ends = [(0.0, 0.0), (1.0, 1.0)];
        let wrong = |found: f64, expected: f64| (found - expected).abs().partial_cmp(&1e-6).is_none_or(|o| o.is_gt());
        for (t, expected) in ends {
            if wrong(scheduler.alpha(t), expected) {
                return Err(Error::invalid(format!("alpha at time {t}"), scheduler.alpha(t), expected));
            }
        }
        let mut before = 0.0;
        for t in (0..=LOOKS).map(|n| f64::from(n) / f64::from(LOOKS)) {
            let (alpha, sum) = (scheduler.alpha(t), scheduler.alpha(t) + scheduler.sigma(t));
            if wrong(sum, 1.0) {
                return Err(Error::invalid(format!("alpha + sigma at time {t}"), sum, "1 on a mixture path"));
            }
            if alpha < before {
                return Err(Error::invalid(format!("alpha at time {t}"), alpha, format!("{before} or more")));
            }
            before = alpha;
        }
        Ok(MixturePath { scheduler })
    }

    /// The scheduler.
    pub fn scheduler(&self) -> &S {
        &self.scheduler
    }

    /// Draws x_t: a position keeps its source token where its number is below sigma(t).
    ///
    /// # Shapes
    /// `x_0` and `x_1` are `[batch, ..]`, alike, `times` `[batch]`; returns the same as `x_0`. One number is drawn for
    /// each position, in row-major order.
    /// # Errors
    /// `Invalid` if the shapes do not go together, or a time is not in 0 to 1.
    pub fn sample<A: Token, D: Dimension>(
        &self,
        x_0: &ArrayBase<impl Data<Elem = A>, D>,
        x_1: &ArrayBase<impl Data<Elem = A>, D>,
        times: &[f64],
        draws: &mut impl Uniforms,
    ) -> Result<Array<A, D>> {
        check_shape("x_1", x_1.shape(), x_0.shape())?;
        check_times(times, x_0.shape())?;
        let each = x_0.len() / times.len().max(1);
        let sigma: Vec<f64> = times.iter().map(|&t| self.scheduler.sigma(t)).collect();
        let mixed = x_0.iter().zip(x_1).enumerate();
        let mixed = mixed.map(|(at, (&x_0, &x_1))| if draws.next() < sigma[at / each] { x_0 } else { x_1 });
        Ok(Array::from_shape_vec(x_0.raw_dim(), mixed.collect()).expect("as many as there were"))
    }

    /// Draws a time for each example, evenly from 0 to `most`.
    ///
    /// The loss is infinite at t = 1: with a `most` a little below it, such as 0.999, it is not.
    ///
    /// # Errors
    /// `Invalid` if `most` is not in 0 to 1.
    pub fn times(&self, batch: usize, most: f64, draws: &mut impl Uniforms) -> Result<Vec<f64>> {
        match (0.0..=1.0).contains(&most) {
            true => Ok((0..batch).map(|_| most * draws.next()).collect()),
            false => Err(Error::invalid("latest time", most, "0 to 1")),
        }
    }
}

/// Checks that two shapes are one.
pub(super) fn check_shape(what: &str, found: &[usize], expected: &[usize]) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::invalid(format!("shape of {what}"), format!("{found:?}"), format!("{expected:?}"))),
    }
}

/// Checks that there is a time for each example.
pub(super) fn check_times(times: &[f64], shape: &[usize]) -> Result<()> {
    let batch = shape.first().copied().unwrap_or(0);
    if shape.is_empty() || times.len() != batch {
        return Err(Error::invalid("number of times", times.len(), format!("{batch}, one for each example")));
    }
    match times.iter().position(|t| !(0.0..=1.0).contains(t)) {
        Some(n) => Err(Error::invalid(format!("time of example {n}"), times[n], "0 to 1")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array0, Array2, arr1, arr2};

    use super::super::{Cosine, LinearVp, Polynomial, SeededUniforms, SquaredCosine, Vp};
    use super::*;

    #[test]
    fn schedulers_that_do_not_mix_are_refused() {
        let refused = |scheduler: Box<dyn Scheduler>| MixturePath::new(scheduler).err().map(|e| e.to_string());
        assert_eq!(refused(Box::new(SquaredCosine)), None);
        let cosine = refused(Box::new(Cosine)).unwrap();
        assert!(
            cosine.starts_with("alpha + sigma at time 0.015625 is 1.02") && cosine.ends_with("mixture path"),
            "{cosine}"
        );
        assert!(refused(Box::new(LinearVp)).unwrap().starts_with("alpha + sigma at time"));
        assert!(refused(Box::<Vp>::default()).unwrap().starts_with("alpha at time 0 is 0.00"));
        struct Back;
        impl Scheduler for Back {
            fn alpha(&self, t: f64) -> f64 {
                t - 0.3 * (2.0 * std::f64::consts::PI * t).sin()
            }
            fn d_alpha(&self, _: f64) -> f64 {
                f64::NAN
            }
        }
        assert!(refused(Box::new(Back)).unwrap().contains("or more"));
    }

    #[test]
    fn a_position_is_target_as_often_as_alpha_says() {
        let path = MixturePath::new(Polynomial::new(2.0).unwrap()).unwrap();
        let (x_0, x_1) = (Array2::zeros((3, 20_000)), Array2::ones((3, 20_000)));
        let x_t: Array2<i32> = path.sample(&x_0, &x_1, &[0.25, 0.5, 0.9], &mut SeededUniforms::new(1)).unwrap();
        for (row, alpha) in x_t.outer_iter().zip([0.0625, 0.25, 0.81]) {
            let share = f64::from(row.sum()) / 20_000.0;
            assert!((share - alpha).abs() < 0.015, "{share}, {alpha}");
        }
    }

    #[test]
    fn shapes_and_times_that_do_not_go_together_are_refused() {
        let path = MixturePath::new(Polynomial::LINEAR).unwrap();
        let mut draws = || 0.5;
        let sample = |x_0: &Array2<i64>, x_1: &Array2<i64>, times: &[f64]| {
            path.sample(x_0, x_1, times, &mut || 0.5).unwrap_err().to_string()
        };
        let (two, three) = (Array2::zeros((2, 3)), Array2::zeros((3, 3)));
        assert_eq!(sample(&two, &three, &[0.5; 2]), "shape of x_1 is [3, 3], expected [2, 3]");
        assert_eq!(sample(&two, &two, &[0.5; 4]), "number of times is 4, expected 2, one for each example");
        assert_eq!(sample(&two, &two, &[0.5, 1.1]), "time of example 1 is 1.1, expected 0 to 1");
        assert_eq!(sample(&two, &two, &[f64::NAN, 1.0]), "time of example 0 is NaN, expected 0 to 1");
        let none = Array0::from_elem((), 1);
        assert!(path.sample(&none, &none, &[], &mut draws).is_err());
        assert_eq!(path.sample(&arr1(&[1]), &arr1(&[2]), &[0.6], &mut draws).unwrap(), arr1(&[2]));
        assert_eq!(path.times(2, 0.5, &mut draws).unwrap(), [0.25, 0.25]);
        assert!(path.times(2, 1.5, &mut draws).is_err());
        assert_eq!(path.sample(&arr2(&[[0_u8; 0]; 2]), &arr2(&[[0; 0]; 2]), &[0.0; 2], &mut draws).unwrap().len(), 0);
    }
}
