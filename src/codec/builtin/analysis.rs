//! Samples to features: what of a sound is coded.
//!
//! ```text
//! frame (80 ms)        8 sub-frames of 10 ms
//!                        0      1    ..   7
//! feature [sub][band]  32 log   32   ..  32     log power density in each band
//!         [256 + sub]    f      f    ..   f     log of the pitch in Hz
//!         [264 + sub]    v      v    ..   v     voicing, 0 to 1
//! ```

use std::sync::Arc;

use ndarray::Array2;
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::bands::{BANDS, Bands, log_power};
use super::pitch::{Pitch, track};
use super::{FEATURES, FRAME, PITCH, SAMPLE_RATE, SUB, SUBS, VOICING};

/// Samples of a transform; holds three periods of the lowest pitch.
const SIZE: usize = 2048;

/// Window over unvoiced sound, in samples: 20 ms.
const UNVOICED: f32 = 480.0;

/// Below this the spectrum is taken as that of noise.
const LEAST_VOICING: f32 = 0.2;

/// The features of every frame; the last one is filled up with zeros.
///
/// # Shapes
/// Returns `[frames, FEATURES]`, where frames is `samples.len() / 1920` rounded up.
pub(super) fn analyse(samples: &[f32]) -> Array2<f32> {
    let frames = samples.len().div_ceil(FRAME);
    let mut features = Array2::zeros((frames, FEATURES));
    let mut spectrum = Spectrum::new();
    for (index, pitch) in track(samples, frames * SUBS).into_iter().enumerate() {
        let (frame, sub) = (index / SUBS, index % SUBS);
        let bands = spectrum.bands(samples, (index * SUB + SUB / 2) as isize, pitch);
        for (band, power) in bands.into_iter().enumerate() {
            features[[frame, sub * BANDS + band]] = log_power(power);
        }
        features[[frame, PITCH + sub]] = pitch.f0.ln();
        features[[frame, VOICING + sub]] = pitch.voicing;
    }
    features
}

/// Measures spectra; holds the transform and its buffers.
struct Spectrum {
    transform: Arc<dyn RealToComplex<f32>>,
    time: Vec<f32>,
    frequency: Vec<Complex32>,
    scratch: Vec<Complex32>,
    density: Vec<f32>,
    bands: Bands,
}

impl Spectrum {
    fn new() -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(SIZE);
        Spectrum {
            time: vec![0.0; SIZE],
            frequency: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            density: vec![0.0; SIZE / 2 + 1],
            bands: Bands::new(SIZE),
            transform,
        }
    }

    /// Power density of each band around the sample `centre`: 1 for white noise of variance 1.
    ///
    /// A voiced sound is seen through three periods and then smoothed over two thirds of the pitch,
    /// which leaves neither the harmonics nor the moment within the period to be seen.
    ///
    /// # Source
    /// M. Morise, "CheapTrick, a spectral envelope estimator for high-quality speech synthesis",
    /// 2015: its window and its first smoothing.
    fn bands(&mut self, samples: &[f32], centre: isize, pitch: Pitch) -> [f32; BANDS] {
        let voiced = pitch.voicing > LEAST_VOICING;
        let length = if voiced { 3.0 * SAMPLE_RATE as f32 / pitch.f0 } else { UNVOICED };
        self.measure(samples, centre, length as isize);
        if voiced {
            smooth(&mut self.density, pitch.f0 * 2.0 / 3.0 * SIZE as f32 / SAMPLE_RATE as f32);
        }
        self.bands.average(&self.density)
    }

    /// Fills `density` from a Hann window of `length` samples.
    fn measure(&mut self, samples: &[f32], centre: isize, length: isize) {
        let length = length.min(SIZE as isize - 2);
        self.time.fill(0.0);
        let mut energy = 0.0;
        for (at, value) in self.time.iter_mut().enumerate().take(length as usize) {
            let turn = std::f32::consts::TAU * (at as f32 + 0.5) / length as f32;
            let window = 0.5 - 0.5 * turn.cos();
            energy += window * window;
            let index = usize::try_from(centre - length / 2 + at as isize).ok();
            *value = window * index.and_then(|index| samples.get(index)).copied().unwrap_or(0.0);
        }
        self.transform
            .process_with_scratch(&mut self.time, &mut self.frequency, &mut self.scratch)
            .expect("buffers made by the transform fit it");
        for (density, value) in self.density.iter_mut().zip(&self.frequency) {
            *density = value.norm_sqr() / energy;
        }
    }
}

/// Averages over `width` bins around each bin. The spectrum goes on mirrored at both ends.
fn smooth(density: &mut [f32], width: f32) {
    let last = density.len() as isize - 1;
    let reach = (width / 2.0 + 1.0).ceil() as isize;
    let mirrored = |at: isize| density[(last - (last - at.abs()).abs()) as usize];
    let mut sums = Vec::with_capacity(density.len() + 2 * reach as usize + 1);
    sums.push(0.0f64);
    for at in -reach..=last + reach {
        sums.push(sums[sums.len() - 1] + f64::from(mirrored(at)));
    }
    // `upto(x)` is the area left of x, where bin b covers b - 0.5 .. b + 0.5.
    let upto = |x: f32| {
        let x = x + 0.5 + reach as f32;
        let whole = (x as usize).min(sums.len() - 2);
        sums[whole] + (sums[whole + 1] - sums[whole]) * f64::from(x - whole as f32)
    };
    for (at, value) in density.iter_mut().enumerate() {
        let area = upto(at as f32 + width / 2.0) - upto(at as f32 - width / 2.0);
        *value = (area / f64::from(width)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn noise(seed: u64, amplitude: f32) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..10 * FRAME).map(|_| amplitude * rng.random_range(-1.0f32..1.0)).collect()
    }

    /// The average power density of a frame's bands, in all frames that see no edge.
    fn level(samples: &[f32]) -> f32 {
        let features = analyse(samples);
        let inner = 1..features.nrows() - 1;
        features.slice(s![inner, ..PITCH]).mapv(f32::exp).mean().unwrap()
    }

    #[test]
    fn white_noise_of_variance_one_has_density_one() {
        let level = level(&noise(1, 3.0f32.sqrt()));
        assert!((0.9..1.1).contains(&level), "{level}");
    }

    #[test]
    fn ten_times_the_amplitude_is_a_hundred_times_the_power() {
        let ratio = level(&noise(2, 0.5)) / level(&noise(2, 0.05));
        assert!((99.0..101.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn smoothing_by_sums_is_the_average_over_the_width() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let density: Vec<f32> = (0..40).map(|_| rng.random_range(0.0..1.0)).collect();
        for width in [0.7f32, 1.0, 3.5, 9.2] {
            let mut smoothed = density.clone();
            smooth(&mut smoothed, width);
            for (bin, found) in smoothed.into_iter().enumerate() {
                let expected = naive(&density, bin, width);
                assert!((found - expected).abs() < 2e-3, "bin {bin}, width {width}: {found}, {expected}");
            }
        }
    }

    /// The average of many points of the step function, mirrored at both ends.
    fn naive(density: &[f32], bin: usize, width: f32) -> f32 {
        let points = 4000;
        let last = density.len() as isize - 1;
        let value = |x: f32| density[(last - (last - (x.round() as isize).abs()).abs()) as usize];
        let at = |n| bin as f32 + width * ((n as f32 + 0.5) / points as f32 - 0.5);
        (0..points).map(|n| value(at(n))).sum::<f32>() / points as f32
    }
}
