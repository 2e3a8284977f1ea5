//! Measures how far the sound that codec `builtin` gives back is from what it was given, for one table or several.
//!
//! ```text
//! cargo run --release --example codec_distance -- [--tables FILE].. WAVS..
//! ```
//!
//! The first column is the table that comes with the crate, the others those of the files. Each channel is coded by
//! itself.
//!
//! Log-spectral distance, after A. Gray and J. Markel, "Distance measures for speech processing", 1976 (d2, with the
//! gain left in), taken frame by frame and averaged:
//!
//! ```text
//! P[t, k] = |STFT of the recording|^2 / sum of the squared window + 1e-8     Q the same of what comes back
//! d[t]    = sqrt(mean over k of (10 log10 P[t, k] / Q[t, k])^2)              1024 samples, Hann, every 256
//! LSD     = mean of d[t] over the frames in which the recording has at least -60 dB (mean over k of P above 1e-6)
//! ```
//!
//! Band distance: root mean square, in dB, of the log band powers that the codec measures in what comes back against
//! those of the recording, where those are above -60 dB. Perplexity: of the codes of each level.

use std::error::Error;
use std::f32::consts::{LN_10, TAU};
use std::path::Path;
use std::sync::Arc;

use ndarray::s;
use realfft::{RealFftPlanner, RealToComplex};
use roundelay::Frames;
use roundelay::codebook::Usage;
use roundelay::codec::builtin::{SAMPLE_RATE, features};
use roundelay::codec::{Builtin, Codec};
use roundelay::io::{open_builtin, read_audio};

/// Samples of a window.
const SIZE: usize = 1024;
/// Samples from one window to the next.
const HOP: usize = 256;
/// Power density that is added before logarithms.
const FLOOR: f32 = 1e-8;
/// Power density from which on there is sound.
const SOUND: f32 = 1e-6;
/// Bands of all sub-frames, at the front of a frame's features.
const BANDS: usize = 256;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let (mut codecs, mut sounds) = (vec![("embedded".to_owned(), Builtin::new())], Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--tables" {
            let path = arguments.next().ok_or("--tables needs a file")?;
            codecs.push((path.clone(), open_builtin(Path::new(&path))?));
        } else {
            sounds.extend(read_audio(Path::new(&argument))?.resampled(SAMPLE_RATE)?.channels);
        }
    }
    if sounds.is_empty() {
        return Err("usage: codec_distance [--tables FILE].. WAVS..".into());
    }
    println!("| tables | log-spectral distance | band distance | perplexity of each level | dead codes |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, codec) in &codecs {
        let found = Distance::of(codec, &sounds)?;
        let perplexity: Vec<String> = found.usage.iter().map(|usage| format!("{:.0}", usage.perplexity())).collect();
        let dead: usize = found.usage.iter().map(|usage| usage.counts().len() - usage.used()).sum();
        let (spectral, bands) = (found.spectral.mean(), found.bands.mean().sqrt());
        println!("| {name} | {spectral:.3} dB | {bands:.3} dB | {} | {dead} |", perplexity.join(" "));
    }
    Ok(())
}

/// A sum and how many it is of.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// What is measured over all sounds.
struct Distance {
    spectral: Mean,
    /// Of the squares.
    bands: Mean,
    usage: Vec<Usage>,
}

impl Distance {
    fn of(codec: &Builtin, sounds: &[Vec<f32>]) -> Outcome<Self> {
        let spec = codec.spec();
        let usage = vec![Usage::new(spec.cardinality); spec.codebooks];
        let mut found = Distance { spectral: Mean::default(), bands: Mean::default(), usage };
        let stft = Stft::new();
        for sound in sounds {
            let codes = codec.encode(sound)?.0;
            for (usage, row) in found.usage.iter_mut().zip(codes.rows()) {
                row.iter().for_each(|&code| usage.add(code as usize));
            }
            let back = codec.decode(Frames(codes.view()))?;
            found.add_bands(sound, &back[..sound.len()]);
            (0..(sound.len() + 1).saturating_sub(SIZE)).step_by(HOP).for_each(|at| {
                let [before, after] = [sound, &back].map(|samples| stft.density(samples, at));
                if before.iter().sum::<f32>() / before.len() as f32 > SOUND {
                    found.spectral.add(log_distance(&before, &after));
                }
            });
        }
        Ok(found)
    }

    fn add_bands(&mut self, sound: &[f32], back: &[f32]) {
        let [sound, back] = [sound, back].map(features);
        for (&before, &after) in sound.slice(s![.., ..BANDS]).iter().zip(back.slice(s![.., ..BANDS])) {
            if before > (SOUND + FLOOR).ln() {
                self.bands.add(f64::from((before - after) * 10.0 / LN_10).powi(2));
            }
        }
    }
}

/// Root mean square over the frequencies, in dB.
fn log_distance(before: &[f32], after: &[f32]) -> f64 {
    let square = |(p, q): (&f32, &f32)| f64::from(10.0 * ((p + FLOOR) / (q + FLOOR)).log10()).powi(2);
    (before.iter().zip(after).map(square).sum::<f64>() / before.len() as f64).sqrt()
}

/// Short spectra.
struct Stft {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    energy: f32,
}

impl Stft {
    fn new() -> Self {
        let window: Vec<f32> = (0..SIZE).map(|n| 0.5 - 0.5 * (TAU * n as f32 / SIZE as f32).cos()).collect();
        let energy = window.iter().map(|w| w * w).sum();
        Stft { transform: RealFftPlanner::new().plan_fft_forward(SIZE), window, energy }
    }

    /// Power density of the samples from `at` on, 1 for white noise of variance 1.
    fn density(&self, samples: &[f32], at: usize) -> Vec<f32> {
        let sample = |n| samples.get(at + n).copied().unwrap_or(0.0);
        let mut time: Vec<f32> = self.window.iter().enumerate().map(|(n, w)| w * sample(n)).collect();
        let mut spectrum = self.transform.make_output_vec();
        self.transform.process(&mut time, &mut spectrum).expect("buffers made by the transform fit it");
        spectrum.iter().map(|value| value.norm_sqr() / self.energy).collect()
    }
}
