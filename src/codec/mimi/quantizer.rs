//! Vectors <-> codes, level by level.
//!
//! ```text
//! vector [512] --rvq_first--> level 0                       the semantic one, by itself
//!              --rvq_rest---> level 1, then 2 of what it leaves, ..
//! ```
//!
//! The tables and the search are Moshi's; the stacks are laid out anew, as its own decode only whole stacks and here
//! levels may be absent from some level on.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Conv1d, VarBuilder, conv1d_no_bias};
use moshi::mimi::Config;
use moshi::quantization::EuclideanCodebook;

/// Both stacks.
#[derive(Debug, Clone)]
pub(super) struct Quantizer {
    first: Stack,
    rest: Stack,
}

/// Codebooks of which each codes what those before it left.
#[derive(Debug, Clone)]
struct Stack {
    input: Conv1d,
    output: Conv1d,
    codebooks: Vec<EuclideanCodebook>,
}

impl Quantizer {
    pub fn new(config: &Config, codebooks: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let first = Stack::new(config, 1, &vb.pp("rvq_first"))?;
        Ok(Quantizer { first, rest: Stack::new(config, codebooks - 1, &vb.pp("rvq_rest"))? })
    }

    /// # Shapes
    /// `[batch, 512, frame]` to one `[batch, frame]` a level.
    pub fn encode(&self, vectors: &Tensor) -> Result<Vec<Tensor>> {
        let mut codes = self.first.encode(vectors)?;
        if !self.rest.codebooks.is_empty() {
            codes.extend(self.rest.encode(vectors)?);
        }
        Ok(codes)
    }

    /// # Shapes
    /// Codes `[level, frame]`, of which those whose place in `known` `[level, frame, 1]` is 0 and not 1 do not count;
    /// to `[1, 512, frame]`. There is at least one level.
    pub fn decode(&self, codes: &Tensor, known: &Tensor) -> Result<Tensor> {
        let levels = codes.dim(0)?;
        let first = self.first.decode(&codes.narrow(0, 0, 1)?, &known.narrow(0, 0, 1)?)?;
        if levels == 1 {
            return Ok(first);
        }
        first + self.rest.decode(&codes.narrow(0, 1, levels - 1)?, &known.narrow(0, 1, levels - 1)?)?
    }
}

impl Stack {
    fn new(config: &Config, levels: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let (outer, inner) = (config.seanet.dimension, config.quantizer_dim);
        let codebook =
            |level| EuclideanCodebook::new(inner, config.quantizer_bins, vb.pp("vq.layers").pp(level).pp("_codebook"));
        Ok(Stack {
            input: conv1d_no_bias(outer, inner, 1, Default::default(), vb.pp("input_proj"))?,
            output: conv1d_no_bias(inner, outer, 1, Default::default(), vb.pp("output_proj"))?,
            codebooks: (0..levels).map(codebook).collect::<Result<_>>()?,
        })
    }

    fn encode(&self, vectors: &Tensor) -> Result<Vec<Tensor>> {
        let mut left = self.input.forward(vectors)?.transpose(1, 2)?.contiguous()?;
        let mut codes = Vec::with_capacity(self.codebooks.len());
        for codebook in &self.codebooks {
            let level = codebook.encode_slow(&left)?;
            left = (left - codebook.decode(&level)?)?;
            codes.push(level);
        }
        Ok(codes)
    }

    fn decode(&self, codes: &Tensor, known: &Tensor) -> Result<Tensor> {
        let level = |n: usize| self.codebooks[n].decode(&codes.get(n)?)?.broadcast_mul(&known.get(n)?);
        let mut sum = level(0)?;
        for n in 1..codes.dim(0)? {
            sum = (sum + level(n)?)?;
        }
        self.output.forward(&sum.t()?.unsqueeze(0)?)
    }
}
