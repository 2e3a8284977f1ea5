//! Features to samples: harmonics of the pitch and shaped noise, overlapped every 10 ms.
//!
//! ```text
//! sub-frame     0     1     2
//! window      /   \ /   \                20 ms each, 10 ms apart, adding up to 1
//!                 /   \ /   \
//! per window  harmonics k f0 with amplitudes from the bands, and noise shaped by the bands;
//!             at each frequency the voicing says how much of either
//! ```

use std::sync::Arc;

use ndarray::ArrayView1;
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::bands::{BANDS, Bands, at_frequency, power};
use super::{FRAME, PITCH, SAMPLE_RATE, SUB, SUBS, VOICING};

/// Samples of a window.
const WINDOW: usize = 2 * SUB;

/// Samples of a transform.
const SIZE: usize = 1024;

/// Harmonics above this are left to the noise, in Hz.
const HIGHEST_HARMONIC: f32 = 8000.0;

/// What one sub-frame sounds like.
struct Sound<'a> {
    logs: &'a [f32],
    f0: f32,
    voicing: f32,
}

impl Sound<'_> {
    /// The share of power at `hertz` that is periodic, 0 to 1: from all of it at low frequencies
    /// to none above a border that rises with the voicing.
    fn periodic(&self, hertz: f32) -> f32 {
        if self.voicing < 0.15 {
            return 0.0;
        }
        let border = 500.0 + 6500.0 * self.voicing;
        1.0 / (1.0 + ((hertz - border) / 400.0).exp())
    }
}

/// Turns features back to sound, frame by frame from the first to the last.
pub(super) struct Synthesis {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    bands: Bands,
    /// Square root of a Hann window.
    window: Vec<f32>,
    /// Phase of the pitch at the middle of the last sub-frame, in radians, and its frequency.
    phase: f64,
    last_f0: f32,
    output: Vec<f32>,
}

impl Synthesis {
    /// For `frames` frames.
    pub(super) fn new(frames: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let root = |n: usize| (std::f32::consts::PI * (n as f32 + 0.5) / WINDOW as f32).sin();
        Synthesis {
            forward: planner.plan_fft_forward(SIZE),
            inverse: planner.plan_fft_inverse(SIZE),
            bands: Bands::new(SIZE),
            window: (0..WINDOW).map(root).collect(),
            phase: 0.0,
            last_f0: 0.0,
            // Half a window stands out on either side of the sub-frames.
            output: vec![0.0; frames * FRAME + SUB],
        }
    }

    /// Adds frame number `frame`. Frames come in rising order; one that is left out is silent.
    pub(super) fn add(&mut self, frame: usize, features: ArrayView1<'_, f32>) {
        let features = features.as_slice().expect("a row of a row-major matrix is contiguous");
        for sub in 0..SUBS {
            let sound = Sound {
                logs: &features[sub * BANDS..(sub + 1) * BANDS],
                f0: features[PITCH + sub].exp().clamp(55.0, 450.0),
                voicing: features[VOICING + sub].clamp(0.0, 1.0),
            };
            let index = frame * SUBS + sub;
            self.turn(sound.f0);
            self.harmonics(index, &sound);
            self.noise(index, &sound);
        }
    }

    /// The samples, `frames * 1920`.
    pub(super) fn finish(mut self) -> Vec<f32> {
        self.output.truncate(self.output.len() - SUB / 2);
        self.output.drain(..SUB / 2);
        self.output
    }

    /// Moves the phase on by one sub-frame.
    fn turn(&mut self, f0: f32) {
        let mean = if self.last_f0 > 0.0 { 0.5 * (self.last_f0 + f0) } else { f0 };
        let step = f64::from(mean) * SUB as f64 / f64::from(SAMPLE_RATE);
        self.phase = (self.phase + step).fract();
        self.last_f0 = f0;
    }

    /// Adds the harmonics of one window.
    fn harmonics(&mut self, index: usize, sound: &Sound<'_>) {
        if sound.periodic(sound.f0) < 0.01 {
            return;
        }
        let phases = self.minimum_phase(sound.logs);
        let count = (HIGHEST_HARMONIC / sound.f0) as usize;
        let mut state = Vec::with_capacity(count);
        let mut turn = Vec::with_capacity(count);
        for k in 1..=count {
            let hertz = sound.f0 * k as f32;
            // A harmonic stands for a strip of the spectrum as wide as the pitch.
            let strip = 4.0 * sound.f0 / SAMPLE_RATE as f32;
            let amplitude = (strip * power(at_frequency(sound.logs, hertz)) * sound.periodic(hertz)).sqrt();
            let middle = std::f64::consts::TAU * (self.phase * k as f64).fract() + f64::from(phase_at(&phases, hertz));
            let angle = std::f64::consts::TAU * f64::from(hertz) / f64::from(SAMPLE_RATE);
            let first = middle - angle * (WINDOW as f64 / 2.0 - 0.5);
            state.push(Complex32::from_polar(amplitude, (first % std::f64::consts::TAU) as f32));
            turn.push(Complex32::from_polar(1.0, angle as f32));
        }
        for (n, &root) in self.window.iter().enumerate() {
            let mut sum = 0.0;
            for (state, turn) in state.iter_mut().zip(&turn) {
                sum += state.re;
                *state *= turn;
            }
            self.output[index * SUB + n] += sum * root * root;
        }
    }

    /// Adds the noise of one window: white noise, the same at the same place in every run, through
    /// the shape of the bands.
    fn noise(&mut self, index: usize, sound: &Sound<'_>) {
        let mut time = vec![0.0; SIZE];
        for (n, (value, root)) in time.iter_mut().zip(&self.window).enumerate() {
            *value = white((index * SUB + n) as u64) * root;
        }
        let mut spectrum = self.forward.make_output_vec();
        self.forward.process(&mut time, &mut spectrum).expect("buffers of the transform's size");
        for (bin, value) in spectrum.iter_mut().enumerate() {
            let hertz = bin as f32 * SAMPLE_RATE as f32 / SIZE as f32;
            let share = 1.0 - sound.periodic(hertz);
            *value *= (power(self.bands.at_bin(sound.logs, bin)) * share).sqrt() / SIZE as f32;
        }
        spectrum[0] = Complex32::ZERO;
        spectrum[SIZE / 2] = Complex32::ZERO;
        self.inverse.process(&mut spectrum, &mut time).expect("real ends and buffers of the transform's size");
        for (n, (value, root)) in time.iter().zip(&self.window).enumerate() {
            self.output[index * SUB + n] += value * root;
        }
    }

    /// The phase of the filter with the bands' amplitudes and the least delay, at each bin; harmonics
    /// that all peak together would buzz.
    fn minimum_phase(&self, logs: &[f32]) -> Vec<f32> {
        let mut spectrum: Vec<Complex32> =
            (0..=SIZE / 2).map(|bin| Complex32::new(0.5 * self.bands.at_bin(logs, bin), 0.0)).collect();
        let mut cepstrum = vec![0.0; SIZE];
        self.inverse.process(&mut spectrum, &mut cepstrum).expect("a real spectrum of the transform's size");
        for value in &mut cepstrum[1..SIZE / 2] {
            *value *= 2.0;
        }
        cepstrum[SIZE / 2 + 1..].fill(0.0);
        self.forward.process(&mut cepstrum, &mut spectrum).expect("buffers of the transform's size");
        spectrum.iter().map(|value| value.im / SIZE as f32).collect()
    }
}

/// The phase at `hertz`, linear between bins.
fn phase_at(phases: &[f32], hertz: f32) -> f32 {
    let position = hertz * SIZE as f32 / SAMPLE_RATE as f32;
    let bin = (position as usize).min(phases.len() - 2);
    let share = position - bin as f32;
    phases[bin] * (1.0 - share) + phases[bin + 1] * share
}

/// White noise of variance 1 as a function of the place, uniform between -sqrt 3 and sqrt 3.
///
/// # Source
/// SplitMix64's mixing function (S. Vigna, public domain).
fn white(place: u64) -> f32 {
    let mut bits = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let unit = (bits >> 40) as f32 / (1u64 << 24) as f32;
    (2.0 * unit - 1.0) * 3.0f32.sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::pitch::track;
    use super::*;
    use crate::codec::builtin::FEATURES;
    use crate::codec::builtin::analysis::analyse;
    use crate::codec::builtin::bands::log_power;
    use ndarray::{Array1, s};

    /// Ten frames of one sound with flat bands.
    fn steady(power: f32, f0: f32, voicing: f32) -> Vec<f32> {
        let mut features = Array1::from_elem(FEATURES, log_power(power));
        features.slice_mut(s![PITCH..VOICING]).fill(f0.ln());
        features.slice_mut(s![VOICING..]).fill(voicing);
        let mut synthesis = Synthesis::new(10);
        (0..10).for_each(|frame| synthesis.add(frame, features.view()));
        synthesis.finish()
    }

    #[test]
    fn sound_has_the_power_it_was_told() {
        for (f0, voicing) in [(100.0, 0.0), (100.0, 1.0), (240.0, 1.0), (150.0, 0.5)] {
            let samples = steady(0.01, f0, voicing);
            let power = samples[FRAME..9 * FRAME].iter().map(|v| v * v).sum::<f32>() / (8 * FRAME) as f32;
            assert!((0.008..0.0125).contains(&power), "{power} at {f0} Hz, voicing {voicing}");
        }
    }

    #[test]
    fn voice_has_the_pitch_it_was_told() {
        for f0 in [80.0, 120.0, 250.0] {
            for pitch in &track(&steady(0.01, f0, 1.0), 80)[8..72] {
                assert!((pitch.f0 / f0 - 1.0).abs() < 0.03 && pitch.voicing > 0.8, "{pitch:?}, told {f0} Hz");
            }
        }
    }

    #[test]
    fn bands_come_back_from_the_sound() {
        let samples = steady(0.01, 140.0, 1.0);
        let features = analyse(&samples);
        for (index, log) in features.slice(s![2..8, ..PITCH]).indexed_iter() {
            let decibels = (log - log_power(0.01)) * 10.0 / std::f32::consts::LN_10;
            assert!(decibels.abs() < 9.0, "{index:?}: {decibels} dB off");
        }
        let mean = features.slice(s![2..8, ..PITCH]).mapv(|log| log - log_power(0.01)).mean().unwrap();
        assert!(mean.abs() < 0.25, "{mean}");
    }

    #[test]
    fn noise_is_white_and_of_variance_one() {
        let values: Vec<f32> = (0..100_000).map(white).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let power = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        let next = values.windows(2).map(|pair| pair[0] * pair[1]).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02 && (power - 1.0).abs() < 0.02 && next.abs() < 0.02, "{mean} {power} {next}");
    }
}
