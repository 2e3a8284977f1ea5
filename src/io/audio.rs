//! Recordings: samples of each channel, read from files and brought to another rate.

use std::path::Path;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use super::tensors::extension;
use super::wav;
use crate::error::{Error, Result};
use crate::units::Seconds;

pub use super::wav::write_wav;

/// Sample rates that are resampled, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// Samples that the resampling filter reaches over, at least.
const FILTER: usize = 1024;

/// A recording in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// Samples a second.
    pub sample_rate: u32,
    /// `[channel][time]`, all of one length; full scale is -1 to 1.
    pub channels: Vec<Vec<f32>>,
}

impl Audio {
    /// Samples of each channel.
    pub fn len(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// True if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its length.
    pub fn duration(&self) -> Seconds {
        Seconds::of_samples(self.len() as u64, self.sample_rate)
    }

    /// The same recording at another rate; as it is if it has that rate.
    ///
    /// # Errors
    /// As [`resample`].
    pub fn resampled(mut self, sample_rate: u32) -> Result<Audio> {
        if self.sample_rate != sample_rate {
            for channel in &mut self.channels {
                *channel = resample(channel, self.sample_rate, sample_rate)?;
            }
            self.sample_rate = sample_rate;
        }
        Ok(self)
    }
}

/// Reads a recording whole: WAV, and FLAC and OGG (Vorbis) with the feature `symphonia`.
///
/// # Errors
/// `Io`; `Malformed` if it is not what its extension says, or cut short; `Unsupported` for other kinds of files;
/// `Invalid` for no channels, a rate of 0, or a sample that is no number.
pub fn read_audio(path: &Path) -> Result<Audio> {
    let audio = match extension(path).as_str() {
        "wav" | "wave" => wav::read(path),
        kind @ ("flac" | "ogg" | "oga") => read_compressed(path, kind),
        other => {
            let what =
                if other.is_empty() { "a recording without extension".into() } else { format!("a .{other} recording") };
            Err(Error::unsupported(what, ".wav is, and .flac and .ogg with the feature symphonia"))
        }
    };
    audio.map_err(|e| e.in_file(path.display()))
}

#[cfg(feature = "symphonia")]
fn read_compressed(path: &Path, kind: &str) -> Result<Audio> {
    super::compressed::read(path, kind)
}

#[cfg(not(feature = "symphonia"))]
fn read_compressed(_: &Path, kind: &str) -> Result<Audio> {
    Err(Error::unsupported(
        format!("a .{kind} recording"),
        "build roundelay with the feature symphonia, or convert it to WAV",
    ))
}

/// Brings one channel from a rate to another.
///
/// Sample n of the result is the instant n / `to`: the filter's delay is taken out, and the length is
/// ceil(length x `to` / `from`). Before its beginning and after its end the recording counts as silence. The filter
/// passes what both rates can hold, up to a narrow band below the lower one's limit.
///
/// # Errors
/// `Unsupported` for rates under 1 kHz or over 768 kHz.
///
/// # Examples
/// ```
/// let second = vec![0.25; 44_100];
/// let resampled = roundelay::io::resample(&second, 44_100, 24_000)?;
/// assert_eq!(resampled.len(), 24_000);
/// assert!((resampled[12_000] - 0.25).abs() < 1e-4);
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    if let Some(rate) = [from, to].into_iter().find(|rate| !RATES.contains(rate)) {
        let bounds = format!("{} to {} Hz are", RATES.start(), RATES.end());
        return Err(Error::unsupported(format!("resampling at {rate} Hz"), bounds));
    }
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    run(samples, from, to).map_err(|e| Error::malformed("recording to resample", e))
}

fn run(samples: &[f32], from: u32, to: u32) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error>> {
    let length = (samples.len() as u128 * u128::from(to)).div_ceil(from.into()) as usize;
    // In doubles, for the float arithmetic of one processor differs from another's; rounded, hardly ever.
    let mut resampler = resampler(from, to)?;
    let mut input = vec![0.0; resampler.input_frames_next()];
    let mut output = vec![0.0; resampler.output_frames_next()];
    let mut delay = resampler.output_delay();
    let mut resampled = Vec::with_capacity(length + output.len());
    let mut chunks = samples.chunks(input.len());
    while resampled.len() < length {
        let chunk = chunks.next().unwrap_or_default();
        input.fill(0.0);
        input.iter_mut().zip(chunk).for_each(|(x, &sample)| *x = f64::from(sample));
        let (frames_in, frames_out) = (input.len(), output.len());
        let source = InterleavedSlice::new(&input, 1, frames_in)?;
        let mut sink = InterleavedSlice::new_mut(&mut output, 1, frames_out)?;
        resampler.process_into_buffer(&source, &mut sink, None)?;
        let skipped = delay.min(frames_out);
        delay -= skipped;
        resampled.extend(output[skipped..].iter().map(|&sample| sample as f32));
    }
    resampled.truncate(length);
    Ok(resampled)
}

/// A resampler whose blocks hold an even number of samples on both sides: the delay is half a block, and of an odd
/// block it would be half a sample more than the whole number that is taken out.
fn resampler(from: u32, to: u32) -> std::result::Result<Fft<f64>, rubato::ResamplerConstructionError> {
    let (from, to) = (from as usize, to as usize);
    let least = 2 * from / greatest_common_divisor(from, to);
    let chunk = FILTER.next_multiple_of(least);
    Fft::new_custom(from, to, chunk, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
