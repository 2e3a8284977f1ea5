//! The frequency bands in which the codec sees a spectrum.

use super::SAMPLE_RATE;

/// Bands of a spectrum.
pub(super) const BANDS: usize = 32;

/// Centre of the lowest band, in Hz.
const LOWEST: f32 = 100.0;

/// Centre of the highest band, in Hz.
const HIGHEST: f32 = 10_500.0;

/// Power density added before the logarithm: 80 dB below a full-scale square wave spread over all
/// frequencies. What is quieter is not worth bits, and digital silence stays finite.
const FLOOR: f32 = 1e-8;

/// Mel scale as speech recognisers use it (O'Shaughnessy 1987).
fn mel(hertz: f32) -> f32 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

/// Where `hertz` lies among the band centres: 0 at the lowest, `BANDS - 1` at the highest.
fn position(hertz: f32) -> f32 {
    (mel(hertz) - mel(LOWEST)) / (mel(HIGHEST) - mel(LOWEST)) * (BANDS - 1) as f32
}

/// Power density beyond any sound: what overflowed (infinite, or not a number) counts as this.
const CEILING: f32 = 1e6;

/// Logarithm of a power density, with the floor; always finite.
pub(super) fn log_power(power: f32) -> f32 {
    (power.min(CEILING) + FLOOR).ln()
}

/// The inverse of [`log_power`], never negative.
pub(super) fn power(log: f32) -> f32 {
    (log.min(5.0).exp() - FLOOR).max(0.0)
}

/// Linear weights between a spectrum's bins and the bands.
///
/// ```text
/// band    0    1    2         every bin lies between two centres and belongs to both in part;
///         /\  /\  /\          below the first and above the last centre it belongs to one
///        /  \/  \/  \
/// bins  ||||||||||||||
/// ```
#[derive(Debug, Clone)]
pub(super) struct Bands {
    /// For each bin the band below it, and the share (0..=1) of the band above.
    place: Vec<(usize, f32)>,
    /// Summed weight of each band.
    total: [f32; BANDS],
}

impl Bands {
    /// For spectra of a transform over `size` samples, `size / 2 + 1` bins.
    pub(super) fn new(size: usize) -> Self {
        let place: Vec<_> = (0..=size / 2).map(|bin| split(bin as f32 * SAMPLE_RATE as f32 / size as f32)).collect();
        let mut bands = Bands { place, total: [0.0; BANDS] };
        bands.total = bands.sum(|_| 1.0);
        bands
    }

    /// Mean power density of each band.
    pub(super) fn average(&self, density: &[f32]) -> [f32; BANDS] {
        let mut mean = self.sum(|bin| density[bin]);
        mean.iter_mut().zip(self.total).for_each(|(sum, total)| *sum /= total);
        mean
    }

    /// Weighted sum of `value(bin)` in each band.
    fn sum(&self, value: impl Fn(usize) -> f32) -> [f32; BANDS] {
        let mut sums = [0.0; BANDS];
        for (bin, &(band, share)) in self.place.iter().enumerate() {
            let value = value(bin);
            sums[band] += value * (1.0 - share);
            sums[(band + 1).min(BANDS - 1)] += value * share;
        }
        sums
    }

    /// The logarithm at a bin, linear between the band centres.
    pub(super) fn at_bin(&self, logs: &[f32], bin: usize) -> f32 {
        let (band, share) = self.place[bin];
        between(logs, band, share)
    }
}

/// The logarithm at `hertz`, linear between the band centres.
pub(super) fn at_frequency(logs: &[f32], hertz: f32) -> f32 {
    let (band, share) = split(hertz);
    between(logs, band, share)
}

fn between(logs: &[f32], band: usize, share: f32) -> f32 {
    logs[band] * (1.0 - share) + logs[(band + 1).min(BANDS - 1)] * share
}

/// The band below `hertz` and the share of the band above.
fn split(hertz: f32) -> (usize, f32) {
    let position = position(hertz).clamp(0.0, (BANDS - 1) as f32);
    (position as usize, position.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_spectrum_has_the_same_mean_in_every_band() {
        let bands = Bands::new(2048);
        assert!(bands.average(&[0.25; 1025]).iter().all(|mean| (mean - 0.25).abs() < 1e-5));
    }

    #[test]
    fn power_undoes_log_power() {
        for value in [0.0, 1e-9, 1e-6, 0.01, 1.0, 100.0] {
            assert!((power(log_power(value)) - value).abs() <= 1e-9 + value * 1e-5);
        }
        assert_eq!(log_power(f32::NAN), log_power(f32::INFINITY));
        assert!(log_power(f32::NAN).is_finite());
    }
}
