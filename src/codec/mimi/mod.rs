//! Mimi, Kyutai's neural codec, by their own crate `moshi`: speech at 1100 bit/s with 8 codebooks, 4400 with 32.
//!
//! ```text
//!              frame 0 (80 ms, 1920 samples)   frame 1      12.5 a second
//!  level 0            417                        23         the semantic codebook, a stack of its own
//!  level 1           1290                      1802         the acoustic ones: each codes what those from 1 on left
//!   ..                                                      codes 0..2048
//!  level 7 (..31)
//! ```
//!
//! # Weights
//! The file is the one that comes with Moshi's checkpoints as `tokenizer-e351c8d8-checkpoint125.safetensors`: of 32-bit
//! floats, 274 tensors with 8 codebooks, 346 with 32. Fewer codebooks than it has are the first of them. Kernels may be
//! split into direction and length or not.
//!
//! # Frames
//! T is exactly ceil(samples / 1920): the last frame is filled up with zeros, which are what a recording has after its
//! end. The crate alone does it in two other ways. Its whole-file path rounds up as well, but pads behind each
//! convolution and not in the sound, so that the last codes are not those of silence; its streaming path holds the rest
//! back and gives floor(samples / 1920). A recording that is filled up before has the same codes in both.
//!
//! # Streaming and whole
//! Encoding streams by default ([`Way`]): beside the samples themselves, memory does not grow with the recording. As long as the transformer sees all
//! from the beginning, 125 frames or 10 s, both ways give the same codes. After that the whole-file path looks 250
//! steps back and the streaming one 248 or 249, as the crate's cache has 250 places for the past and the two steps of a
//! frame; some codes differ then, more of them at deep levels. Streaming is what a live Moshi hears, whole what Kyutai's
//! trainers make of a recording, and a third faster. Decoding always streams.
//!
//! Either gives the codes and sound of Moshi's own modules, called as its programs call them, for any length, any number
//! of threads and with any channels beside; `tests/codec_mimi.rs` holds them against each other.

mod network;
mod quantizer;
mod shapes;
mod weights;

use candle_core::{Device, Tensor};
use moshi::mimi::Config;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut3, Axis, s};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::codec::{Codec, CodecSpec, frames};
use crate::error::{Error, Result};
use crate::stream::Frames;
use crate::units::FrameRate;

use network::{CHUNK, Network};

/// Samples a second.
const SAMPLE_RATE: u32 = 24_000;
/// Samples of a frame: 80 ms.
const FRAME: usize = 1920;
/// Codes of each level.
const CODES: usize = 2048;
/// Levels of the published file.
const MOST_CODEBOOKS: usize = 32;
/// Frames that are encoded at once in [`Way::Whole`]: attention to all of five minutes takes some gigabytes.
const MOST_WHOLE: usize = 3750;

/// How a recording is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Frame by frame, in bounded memory, as a live Moshi hears it.
    #[default]
    Streaming,
    /// All at once, up to five minutes; time and memory grow with the square of the length, to some gigabytes for each
    /// recording that is worked on.
    Whole,
}

/// What can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MimiOptions {
    /// Codebooks, 1 to 32; 8 by default, as Moshi has them.
    pub codebooks: usize,
    /// How recordings are encoded; streaming by default.
    pub way: Way,
}

impl Default for MimiOptions {
    fn default() -> Self {
        MimiOptions { codebooks: 8, way: Way::default() }
    }
}

/// Kyutai's codec.
///
/// It runs on the processor, or on the accelerator that the crate was built for (features `mimi-cuda`, `mimi-metal`).
/// The same build on the same machine gives the same codes, on any number of threads and with any channels beside;
/// another machine's arithmetic may turn a near tie the other way.
#[derive(Debug)]
pub struct Mimi {
    spec: CodecSpec,
    sha256: String,
    way: Way,
    network: Network,
}

impl Mimi {
    /// With the weights of a safetensors file.
    ///
    /// # Errors
    /// `Malformed` if it is no whole safetensors file, or is another model's; `Invalid` for a tensor that is missing or
    /// has another shape, for numbers that are not finite, and for more codebooks than the file has; `Unsupported` for
    /// numbers other than 32-bit floats, or without the accelerator that the crate was built for.
    pub fn new(weights: &[u8], options: MimiOptions) -> Result<Self> {
        let config = Config::v0_1(Some(options.codebooks));
        weights::check(weights, &config, options.codebooks)?;
        let sha256: String = Sha256::digest(weights).iter().map(|byte| format!("{byte:02x}")).collect();
        let spec = CodecSpec {
            name: "mimi".to_owned(),
            sample_rate: SAMPLE_RATE,
            frame_rate: FrameRate::new(25, 2).expect("12.5 is a positive fraction"),
            codebooks: options.codebooks,
            cardinality: CODES,
            identity: format!("mimi-{}", &sha256[..8]),
        };
        let network = Network::new(weights, &config, device()?).map_err(failed)?;
        Ok(Mimi { spec, sha256, way: options.way, network })
    }

    /// Codes of channels of one length.
    fn encode_batch(&self, channels: &[&[f32]]) -> Result<Array3<i32>> {
        let frames = channels[0].len().div_ceil(FRAME);
        let mut codes = Array3::zeros((channels.len(), self.spec.codebooks, frames));
        match self.way {
            Way::Streaming => {
                let mut encoder = self.network.encoder.clone();
                for start in (0..frames).step_by(CHUNK) {
                    let end = frames.min(start + CHUNK);
                    let vectors = self.sound(channels, start, end).and_then(|sound| encoder.step(sound));
                    self.quantize(vectors, codes.slice_mut(s![.., .., start..end]), start)?;
                }
            }
            Way::Whole if frames > MOST_WHOLE => {
                return Err(Error::over_limit("frames to be encoded as a whole", frames, MOST_WHOLE));
            }
            Way::Whole if frames > 0 => {
                let sound = self.sound(channels, 0, frames);
                let vectors = sound.and_then(|sound| self.network.encoder.clone().whole(&sound));
                self.quantize(vectors, codes.view_mut(), 0)?;
            }
            Way::Whole => {}
        }
        Ok(codes)
    }

    /// Frames `start..end` of all channels, with zeros after the end: `[channel, 1, sample]`.
    fn sound(&self, channels: &[&[f32]], start: usize, end: usize) -> candle_core::Result<Tensor> {
        let length = (end - start) * FRAME;
        let mut sound = Vec::with_capacity(channels.len() * length);
        for (n, samples) in channels.iter().enumerate() {
            sound.extend_from_slice(&samples[start * FRAME..samples.len().min(end * FRAME)]);
            sound.resize((n + 1) * length, 0.0);
        }
        Tensor::from_vec(sound, (channels.len(), 1, length), &self.network.device)
    }

    /// Writes the codes of vectors, `[channel, 512, frame]`, whose first is that of frame `start`.
    fn quantize(
        &self,
        vectors: candle_core::Result<Tensor>,
        mut codes: ArrayViewMut3<'_, i32>,
        start: usize,
    ) -> Result<()> {
        let vectors = vectors.map_err(failed)?;
        let sum = vectors.sum_all().and_then(|sum| sum.to_scalar::<f32>()).map_err(failed)?;
        check_sane(sum, start)?;
        let levels = self.network.quantizer.encode(&vectors).map_err(failed)?;
        for (n, level) in levels.iter().enumerate() {
            let rows = level.to_vec2::<u32>().map_err(failed)?;
            for (mut row, found) in codes.index_axis_mut(Axis(1), n).outer_iter_mut().zip(rows) {
                row.iter_mut().zip(found).for_each(|(code, found)| *code = found as i32);
            }
        }
        Ok(())
    }

    /// Vectors of frames, `[1, 512, frame]`; the first `known` levels of each frame count.
    fn vectors(&self, codes: ArrayView2<'_, i32>, known: &[usize]) -> candle_core::Result<Tensor> {
        let (levels, frames) = codes.dim();
        let device = &self.network.device;
        let ids: Vec<u32> = codes.iter().map(|&code| u32::try_from(code).unwrap_or(0)).collect();
        let counts = (0..levels).flat_map(|level| known.iter().map(move |&known| f32::from(u8::from(level < known))));
        let counts = Tensor::from_vec(counts.collect(), (levels, frames, 1), device)?;
        self.network.quantizer.decode(&Tensor::from_vec(ids, (levels, frames), device)?, &counts)
    }
}

impl Codec for Mimi {
    fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    fn sha256(&self) -> Option<&str> {
        Some(&self.sha256)
    }

    fn choices(&self) -> Map<String, Value> {
        let way = match self.way {
            Way::Streaming => "streaming",
            Way::Whole => "whole",
        };
        let device = match self.network.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        };
        let choices = [("way", json!(way)), ("codebooks", json!(self.spec.codebooks)), ("device", json!(device))];
        let batch = ("batch", json!(if self.way == Way::Whole { "channel" } else { "channels" }));
        choices.into_iter().chain([batch]).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn encode(&self, samples: &[f32]) -> Result<Frames<Array2<i32>>> {
        frames::check_samples(samples, FRAME)?;
        Ok(Frames(self.encode_batch(&[samples])?.index_axis_move(Axis(0), 0)))
    }

    fn encode_all(&self, channels: &[&[f32]]) -> Result<Vec<Frames<Array2<i32>>>> {
        let length = channels.first().map_or(0, |samples| samples.len());
        // As a whole, a batch would take the memory of all channels at once.
        let unlike = channels.iter().any(|samples| samples.len() != length);
        if channels.is_empty() || unlike || self.way == Way::Whole {
            return channels.iter().map(|samples| self.encode(samples)).collect();
        }
        channels.iter().try_for_each(|samples| frames::check_samples(samples, FRAME))?;
        let codes = self.encode_batch(channels)?;
        Ok(codes.outer_iter().map(|codes| Frames(codes.to_owned())).collect())
    }

    fn decode(&self, codes: Frames<ArrayView2<'_, i32>>) -> Result<Vec<f32>> {
        let codes = codes.0;
        let (levels, frames) = codes.dim();
        if levels > self.spec.codebooks {
            let most = format!("at most {}", self.spec.codebooks);
            return Err(Error::invalid("number of codebooks", levels, most));
        }
        let known =
            codes.columns().into_iter().enumerate().map(|(frame, column)| frames::known_levels(column, CODES, frame));
        let known = known.collect::<Result<Vec<_>>>()?;
        if levels == 0 {
            return Ok(vec![0.0; frames * FRAME]);
        }
        let mut decoder = self.network.decoder.clone();
        let mut samples = Vec::with_capacity(frames * FRAME);
        for start in (0..frames).step_by(CHUNK) {
            let end = frames.min(start + CHUNK);
            let vectors = self.vectors(codes.slice(s![.., start..end]), &known[start..end]);
            let sound = vectors.and_then(|vectors| decoder.step(vectors)?.flatten_all()?.to_vec1::<f32>());
            samples.extend(sound.map_err(failed)?);
            check_sane(samples[start * FRAME..].iter().sum(), start)?;
        }
        let silent = known.iter().enumerate().filter(|(_, known)| **known == 0);
        silent.for_each(|(frame, _)| frames::silence(&mut samples, frame, FRAME));
        Ok(samples)
    }
}

/// What the network runs on.
fn device() -> Result<Device> {
    let device = if cfg!(feature = "mimi-cuda") {
        Device::new_cuda(0)
    } else if cfg!(feature = "mimi-metal") {
        Device::new_metal(0)
    } else {
        Ok(Device::Cpu)
    };
    device.map_err(|e| Error::unsupported("the accelerator that Mimi was built for", e))
}

/// What the network could not do: weights and input were checked, so it is memory or the device.
fn failed(error: candle_core::Error) -> Error {
    Error::io("run Mimi's network", std::io::Error::other(error.to_string()))
}

/// Numbers may be finite in the file and no more after some layers.
fn check_sane(sum: f32, start: usize) -> Result<()> {
    match sum.is_finite() {
        true => Ok(()),
        false => {
            let expected = "a finite number: the weights or the samples are far from what Mimi was trained with";
            Err(Error::invalid("what Mimi's network gives", sum, expected).at_frame(start))
        }
    }
}
