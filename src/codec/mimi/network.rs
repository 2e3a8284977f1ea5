//! Mimi's two halves, out of Moshi's modules.
//!
//! ```text
//! 1920 samples -> SEANet -> 2 x [512] -> transformer -> 2 x [512] -> halved -> [512] -> codes     one frame
//!                                        sees 10 s back
//! 1920 samples <- SEANet <- 2 x [512] <- transformer <- 2 x [512] <- doubled <- [512] <- codes
//! ```
//!
//! All layers are causal and keep what they need of the past. Convolutions give the same however much they get at a time,
//! so they get [`CHUNK`] frames. The transformers do not: their cache holds 250 steps, those just added among them, so
//! that the first of many added at a time would see fewer. They get a frame at a time, as a live Moshi does, and codes do
//! not depend on the chunk.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use moshi::conv::{ConvDownsample1d, ConvTrUpsample1d};
use moshi::mimi::Config;
use moshi::seanet::{SeaNetDecoder, SeaNetEncoder};
use moshi::streaming::{StreamMask, StreamTensor, StreamingModule};
use moshi::transformer::Transformer;

use super::quantizer::Quantizer;

/// Frames that go through the convolutions at a time.
pub(super) const CHUNK: usize = 5;

/// Steps of the transformers in a frame.
const STEPS: usize = 2;

/// The network at rest: whoever uses a half clones it, which shares the weights.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub encoder: Encoder,
    pub decoder: Decoder,
    pub quantizer: Quantizer,
    pub device: Device,
}

#[derive(Debug, Clone)]
pub(super) struct Encoder {
    seanet: SeaNetEncoder,
    transformer: Transformer,
    downsample: ConvDownsample1d,
}

#[derive(Debug, Clone)]
pub(super) struct Decoder {
    upsample: ConvTrUpsample1d,
    transformer: Transformer,
    seanet: SeaNetDecoder,
}

impl Network {
    /// Of a file that was checked.
    pub fn new(bytes: &[u8], config: &Config, device: Device) -> Result<Self> {
        let vb = VarBuilder::from_slice_safetensors(bytes, DType::F32, &device)?;
        let width = config.seanet.dimension;
        let transformer = |name: &str| Transformer::new(None, width, &config.transformer, vb.pp(name));
        let encoder = Encoder {
            seanet: SeaNetEncoder::new(&config.seanet, vb.pp("encoder"))?,
            transformer: transformer("encoder_transformer")?,
            downsample: ConvDownsample1d::new(STEPS, width, true, true, vb.pp("downsample"))?,
        };
        let decoder = Decoder {
            upsample: ConvTrUpsample1d::new(STEPS, width, true, true, vb.pp("upsample"))?,
            transformer: transformer("decoder_transformer")?,
            seanet: SeaNetDecoder::new(&config.seanet, vb.pp("decoder"))?,
        };
        let quantizer = Quantizer::new(config, config.quantizer_n_q, &vb.pp("quantizer"))?;
        Ok(Network { encoder, decoder, quantizer, device })
    }
}

impl Encoder {
    /// The vectors of the next frames.
    ///
    /// # Shapes
    /// `[batch, 1, sample]`, whole frames, to `[batch, 512, frame]`.
    pub fn step(&mut self, sound: Tensor) -> Result<Tensor> {
        let features = self.seanet.step(&sound.into(), &StreamMask::empty())?;
        let features = attend(&mut self.transformer, &features)?;
        given(&self.downsample.step(&features, &StreamMask::empty())?)
    }

    /// The vectors of a recording at once.
    pub fn whole(&mut self, sound: &Tensor) -> Result<Tensor> {
        let features = self.seanet.forward(sound)?;
        self.downsample.forward(&self.transformer.forward(&features)?[0])
    }
}

impl Decoder {
    /// The sound of the next frames.
    ///
    /// # Shapes
    /// `[batch, 512, frame]` to `[batch, 1, sample]`.
    pub fn step(&mut self, vectors: Tensor) -> Result<Tensor> {
        let features = self.upsample.step(&vectors.into(), &StreamMask::empty())?;
        let features = attend(&mut self.transformer, &features)?;
        given(&self.seanet.step(&features, &StreamMask::empty())?)
    }
}

/// Through the transformer, a frame at a time.
fn attend(transformer: &mut Transformer, features: &StreamTensor) -> Result<StreamTensor> {
    let steps = features.seq_len(2)?;
    let frame = |start| given(&transformer.step(&features.narrow(2, start, STEPS)?, &StreamMask::empty())?);
    let frames = (0..steps).step_by(STEPS).map(frame).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&frames, 2)?.into())
}

/// Whole frames always give something.
fn given(tensor: &StreamTensor) -> Result<Tensor> {
    tensor.as_option().cloned().ok_or_else(|| candle_core::Error::msg("a layer held all of a frame back"))
}
