//! Schedulers: how much of the target there is at each time.
//!
//! ```text
//! t        0      1/4     1/2     3/4     1
//! t        0     0.25    0.5     0.75     1     Polynomial, n = 1
//! t^2      0     0.06    0.25    0.56     1     Polynomial, n = 2: stays with the source longer
//! cosine   0     0.15    0.5     0.85     1     SquaredCosine
//! ```

use std::f64::consts::{FRAC_PI_2, PI};

use crate::error::{Error, Result};

/// Shares of target and source at a time: `alpha` goes from 0 to 1.
///
/// A mixture path asks for `alpha + sigma = 1`, which holds for schedulers of one's own unless they say otherwise.
///
/// # Examples
/// ```
/// use roundelay::flow::{MixturePath, Scheduler};
///
/// /// Waits for the first half.
/// struct Late;
///
/// impl Scheduler for Late {
///     fn alpha(&self, t: f64) -> f64 {
///         (2.0 * t - 1.0).max(0.0)
///     }
///     fn d_alpha(&self, t: f64) -> f64 {
///         if t < 0.5 { 0.0 } else { 2.0 }
///     }
/// }
/// assert!(MixturePath::new(Late).is_ok());
/// assert_eq!(Late.sigma(0.75), 0.5);
/// assert_eq!(Late.rate(0.75), 4.0);
/// assert!((Late.inverse(0.5) - 0.75).abs() < 1e-12);
/// ```
/// # Source
/// flow_matching `path/scheduler/scheduler.py`, whose `kappa_inverse` is [`Scheduler::inverse`].
pub trait Scheduler {
    /// The target's share at time t.
    fn alpha(&self, t: f64) -> f64;

    /// Its derivative.
    fn d_alpha(&self, t: f64) -> f64;

    /// The source's share. Worth an override where `1 - alpha` loses digits near t = 1.
    fn sigma(&self, t: f64) -> f64 {
        1.0 - self.alpha(t)
    }

    /// Its derivative.
    fn d_sigma(&self, t: f64) -> f64 {
        -self.d_alpha(t)
    }

    /// How often what is still source turns to target, per unit of time: `d_alpha / sigma`, infinite at t = 1.
    fn rate(&self, t: f64) -> f64 {
        let sigma = self.sigma(t);
        if sigma > 0.0 { self.d_alpha(t) / sigma } else { f64::INFINITY }
    }

    /// The time at which the target's share is `alpha`. Found by halving, unless overridden.
    fn inverse(&self, alpha: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        // Each round is one more bit; a double has no more than these.
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.alpha(middle) < alpha { low = middle } else { high = middle }
        }
        high
    }
}

impl<S: Scheduler + ?Sized> Scheduler for &S {
    fn alpha(&self, t: f64) -> f64 {
        (**self).alpha(t)
    }
    fn d_alpha(&self, t: f64) -> f64 {
        (**self).d_alpha(t)
    }
    fn sigma(&self, t: f64) -> f64 {
        (**self).sigma(t)
    }
    fn d_sigma(&self, t: f64) -> f64 {
        (**self).d_sigma(t)
    }
    fn rate(&self, t: f64) -> f64 {
        (**self).rate(t)
    }
    fn inverse(&self, alpha: f64) -> f64 {
        (**self).inverse(alpha)
    }
}

impl<S: Scheduler + ?Sized> Scheduler for Box<S> {
    fn alpha(&self, t: f64) -> f64 {
        (**self).alpha(t)
    }
    fn d_alpha(&self, t: f64) -> f64 {
        (**self).d_alpha(t)
    }
    fn sigma(&self, t: f64) -> f64 {
        (**self).sigma(t)
    }
    fn d_sigma(&self, t: f64) -> f64 {
        (**self).d_sigma(t)
    }
    fn rate(&self, t: f64) -> f64 {
        (**self).rate(t)
    }
    fn inverse(&self, alpha: f64) -> f64 {
        (**self).inverse(alpha)
    }
}

/// alpha = t^n. With n = 1 (`CondOT`) the share grows evenly.
///
/// Below n = 1 the derivative, and with it the loss, is infinite at t = 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polynomial {
    n: f64,
}

impl Polynomial {
    /// alpha = t.
    pub const LINEAR: Polynomial = Polynomial { n: 1.0 };

    /// alpha = t^n, for any n above 0, whole or not.
    ///
    /// # Errors
    /// `Invalid` for other numbers.
    pub fn new(n: f64) -> Result<Self> {
        match n > 0.0 && n.is_finite() {
            true => Ok(Polynomial { n }),
            false => Err(Error::invalid("degree of the scheduler", n, "a number above 0")),
        }
    }
}

impl Scheduler for Polynomial {
    fn alpha(&self, t: f64) -> f64 {
        t.powf(self.n)
    }

    fn d_alpha(&self, t: f64) -> f64 {
        self.n * t.powf(self.n - 1.0)
    }

    fn sigma(&self, t: f64) -> f64 {
        // All digits near t = 1; and no negative zero there, whose inverse would have the wrong sign.
        0.0 - (self.n * t.ln()).exp_m1()
    }

    fn inverse(&self, alpha: f64) -> f64 {
        alpha.powf(1.0 / self.n)
    }
}

/// alpha = 1 - cos^2(pi t / 2): slow at both ends. The cosine that a mixture path takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SquaredCosine;

impl Scheduler for SquaredCosine {
    fn alpha(&self, t: f64) -> f64 {
        (FRAC_PI_2 * t).sin().powi(2)
    }

    fn d_alpha(&self, t: f64) -> f64 {
        PI * (FRAC_PI_2 * t).sin() * (FRAC_PI_2 * (1.0 - t)).sin()
    }

    fn sigma(&self, t: f64) -> f64 {
        // The cosine as a sine from the other end, exactly 0 at t = 1.
        (FRAC_PI_2 * (1.0 - t)).sin().powi(2)
    }

    fn rate(&self, t: f64) -> f64 {
        // A factor of both is taken out: at t = 1 they are 0 and 0.
        PI * (FRAC_PI_2 * t).sin() / (FRAC_PI_2 * (1.0 - t)).sin()
    }

    fn inverse(&self, alpha: f64) -> f64 {
        alpha.sqrt().asin() / FRAC_PI_2
    }
}

/// alpha = sin(pi t / 2), sigma = cos(pi t / 2): for continuous paths, refused by [`MixturePath`](super::MixturePath).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cosine;

impl Scheduler for Cosine {
    fn alpha(&self, t: f64) -> f64 {
        (FRAC_PI_2 * t).sin()
    }

    fn d_alpha(&self, t: f64) -> f64 {
        FRAC_PI_2 * (FRAC_PI_2 * t).cos()
    }

    fn sigma(&self, t: f64) -> f64 {
        (FRAC_PI_2 * t).cos()
    }

    fn d_sigma(&self, t: f64) -> f64 {
        -FRAC_PI_2 * (FRAC_PI_2 * t).sin()
    }
}

/// alpha = t, sigma = sqrt(1 - t^2): as [`Cosine`], not for mixture paths.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinearVp;

impl Scheduler for LinearVp {
    fn alpha(&self, t: f64) -> f64 {
        t
    }

    fn d_alpha(&self, _: f64) -> f64 {
        1.0
    }

    fn sigma(&self, t: f64) -> f64 {
        ((1.0 - t) * (1.0 + t)).sqrt()
    }

    fn d_sigma(&self, t: f64) -> f64 {
        -t / self.sigma(t)
    }
}

/// The variance-preserving diffusion of noise between `least` and `most`: as [`Cosine`], not for mixture paths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vp {
    /// Noise per unit of time at t = 1; 0.1 by default.
    pub least: f64,
    /// Noise per unit of time at t = 0; 20 by default.
    pub most: f64,
}

impl Default for Vp {
    fn default() -> Self {
        Vp { least: 0.1, most: 20.0 }
    }
}

impl Vp {
    /// The noise from t to 1, and its derivative.
    fn noise(&self, t: f64) -> (f64, f64) {
        let (rest, more) = (1.0 - t, self.most - self.least);
        (0.5 * rest * rest * more + rest * self.least, -rest * more - self.least)
    }
}

impl Scheduler for Vp {
    fn alpha(&self, t: f64) -> f64 {
        (-0.5 * self.noise(t).0).exp()
    }

    fn d_alpha(&self, t: f64) -> f64 {
        -0.5 * self.noise(t).1 * self.alpha(t)
    }

    fn sigma(&self, t: f64) -> f64 {
        (0.0 - (-self.noise(t).0).exp_m1()).sqrt()
    }

    fn d_sigma(&self, t: f64) -> f64 {
        let (noise, d_noise) = self.noise(t);
        0.5 * d_noise * (-noise).exp() / self.sigma(t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convex() -> [Box<dyn Scheduler>; 4] {
        let polynomial = |n| Box::new(Polynomial::new(n).unwrap());
        [polynomial(0.5), polynomial(1.0), polynomial(2.7), Box::new(SquaredCosine)]
    }

    #[test]
    fn derivatives_are_those_of_the_shares() {
        for scheduler in convex().iter().chain([Box::new(Cosine) as Box<dyn Scheduler>, Box::new(Vp::default())].iter())
        {
            for t in [0.1, 0.35, 0.5, 0.8, 0.99] {
                let slope = |f: &dyn Fn(f64) -> f64| (f(t + 1e-6) - f(t - 1e-6)) / 2e-6;
                let (alpha, sigma) = (slope(&|t| scheduler.alpha(t)), slope(&|t| scheduler.sigma(t)));
                assert!((alpha - scheduler.d_alpha(t)).abs() < 1e-6, "{alpha}");
                assert!((sigma - scheduler.d_sigma(t)).abs() < 1e-6, "{sigma}");
            }
        }
    }

    #[test]
    fn shares_begin_and_end_and_are_inverted() {
        for scheduler in convex() {
            let ends = [0.0, 1.0].map(|t| (scheduler.alpha(t), scheduler.sigma(t)));
            assert_eq!(ends, [(0.0, 1.0), (1.0, 0.0)]);
            assert_eq!(scheduler.rate(1.0), f64::INFINITY);
            for t in [0.0, 0.2, 0.7, 1.0] {
                assert!((scheduler.inverse(scheduler.alpha(t)) - t).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn nothing_is_lost_near_the_end() {
        // 1 - (1 - e)^2 = 2 e - e^2, and cos^2 = (pi e / 2)^2 but for a part in 10^17.
        let e = 2_f64.powi(-40);
        assert_eq!(Polynomial::new(2.0).unwrap().sigma(1.0 - e), 2.0 * e - e * e);
        let cosine = SquaredCosine.sigma(1.0 - e) / (FRAC_PI_2 * e).powi(2);
        assert!((cosine - 1.0).abs() < 1e-15);
        assert!((SquaredCosine.rate(1.0 - e) * e / 2.0 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn degrees_that_are_none_are_refused() {
        for n in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Polynomial::new(n).unwrap_err().to_string();
            assert_eq!(error, format!("degree of the scheduler is {n}, expected a number above 0"));
        }
    }
}
