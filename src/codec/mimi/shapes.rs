//! Names and shapes of the tensors in a file of Mimi's weights.
//!
//! ```text
//! encoder.model.N               convolutions, 24,000 samples a second down to 25
//! encoder_transformer           8 layers
//! downsample                    25 a second down to 12.5
//! quantizer.rvq_first           codebook 0
//! quantizer.rvq_rest            codebooks 1..
//! upsample, decoder_transformer, decoder.model.N       the same way back
//! ```

use moshi::mimi::Config;

use super::{CODES, MOST_CODEBOOKS};

/// What the file must hold under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// One tensor.
    Tensor(String, Vec<usize>),
    /// A convolution's kernels, as `weight_v` of this shape with their lengths in `weight_g`, or as one `weight`.
    Kernels(String, [usize; 3]),
}

/// Width of the vectors that the codebooks hold.
const CODE_WIDTH: usize = 256;

/// All entries that a network with so many codebooks reads.
pub(super) fn entries(config: &Config, codebooks: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    encoder(config, &mut entries);
    decoder(config, &mut entries);
    for side in ["encoder_transformer", "decoder_transformer"] {
        transformer(config, side, &mut entries);
    }
    let width = config.seanet.dimension;
    entries.push(tensor("downsample.conv.conv.conv.weight", &[width, width, 4]));
    entries.push(tensor("upsample.convtr.convtr.convtr.weight", &[width, 1, 4]));
    stack("quantizer.rvq_first", 1, width, &mut entries);
    stack("quantizer.rvq_rest", codebooks - 1, width, &mut entries);
    entries
}

/// Codebooks that a file with these names has, as far as they follow each other.
pub(super) fn codebooks(has: impl Fn(&str) -> bool) -> usize {
    let rest = (0..MOST_CODEBOOKS - 1).take_while(|level| has(&table("quantizer.rvq_rest", *level))).count();
    1 + rest
}

/// The name of a level's sums of vectors.
fn table(stack: &str, level: usize) -> String {
    format!("{stack}.vq.layers.{level}._codebook.embedding_sum")
}

fn tensor(name: impl Into<String>, shape: &[usize]) -> Entry {
    Entry::Tensor(name.into(), shape.to_vec())
}

/// A convolution whose kernels are split into direction and length.
fn convolution(name: &str, shape: [usize; 3], bias: usize, entries: &mut Vec<Entry>) {
    entries.push(Entry::Kernels(name.to_owned(), shape));
    entries.push(tensor(format!("{name}.bias"), &[bias]));
}

fn residual(name: &str, width: usize, entries: &mut Vec<Entry>) {
    let hidden = width / 2;
    convolution(&format!("{name}.block.1.conv.conv"), [hidden, width, 3], hidden, entries);
    convolution(&format!("{name}.block.3.conv.conv"), [width, hidden, 1], width, entries);
}

fn encoder(config: &Config, entries: &mut Vec<Entry>) {
    let mut width = config.seanet.n_filters;
    convolution("encoder.model.0.conv.conv", [width, 1, 7], width, entries);
    let mut place = 1;
    for ratio in config.seanet.ratios.iter().rev() {
        residual(&format!("encoder.model.{place}"), width, entries);
        let name = format!("encoder.model.{}.conv.conv", place + 2);
        convolution(&name, [2 * width, width, 2 * ratio], 2 * width, entries);
        (place, width) = (place + 3, 2 * width);
    }
    let last = config.seanet.dimension;
    convolution(&format!("encoder.model.{}.conv.conv", place + 1), [last, width, 3], last, entries);
}

fn decoder(config: &Config, entries: &mut Vec<Entry>) {
    let mut width = config.seanet.n_filters << config.seanet.ratios.len();
    convolution("decoder.model.0.conv.conv", [width, config.seanet.dimension, 7], width, entries);
    let mut place = 2;
    for ratio in &config.seanet.ratios {
        let half = width / 2;
        convolution(&format!("decoder.model.{place}.convtr.convtr"), [width, half, 2 * ratio], half, entries);
        residual(&format!("decoder.model.{}", place + 1), half, entries);
        (place, width) = (place + 3, half);
    }
    convolution(&format!("decoder.model.{place}.conv.conv"), [1, width, 3], 1, entries);
}

fn transformer(config: &Config, side: &str, entries: &mut Vec<Entry>) {
    let (width, hidden) = (config.transformer.d_model, config.transformer.dim_feedforward);
    for layer in 0..config.transformer.num_layers {
        let mut add = |name: &str, shape: &[usize]| {
            entries.push(tensor(format!("{side}.transformer.layers.{layer}.{name}"), shape));
        };
        add("self_attn.in_proj_weight", &[3 * width, width]);
        add("self_attn.out_proj.weight", &[width, width]);
        add("linear1.weight", &[hidden, width]);
        add("linear2.weight", &[width, hidden]);
        for name in ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"] {
            add(name, &[width]);
        }
        for name in ["layer_scale_1.scale", "layer_scale_2.scale"] {
            add(name, &[width]);
        }
    }
}

fn stack(name: &str, levels: usize, width: usize, entries: &mut Vec<Entry>) {
    entries.push(tensor(format!("{name}.input_proj.weight"), &[CODE_WIDTH, width, 1]));
    entries.push(tensor(format!("{name}.output_proj.weight"), &[width, CODE_WIDTH, 1]));
    for level in 0..levels {
        let codebook = format!("{name}.vq.layers.{level}._codebook");
        entries.push(tensor(format!("{codebook}._initialized"), &[1]));
        entries.push(tensor(format!("{codebook}.cluster_usage"), &[CODES]));
        entries.push(tensor(table(name, level), &[CODES, CODE_WIDTH]));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn they_are_those_of_the_published_file() {
        let listed = include_str!("../../../fixtures/mimi/shapes.json");
        let listed: BTreeMap<String, Vec<usize>> = serde_json::from_str(listed).unwrap();
        let mut named = BTreeMap::new();
        for entry in entries(&Config::v0_1(None), 8) {
            match entry {
                Entry::Tensor(name, shape) => named.insert(name, shape),
                Entry::Kernels(name, shape) => {
                    named.insert(format!("{name}.weight_g"), vec![shape[0], 1, 1]);
                    named.insert(format!("{name}.weight_v"), shape.to_vec())
                }
            };
        }
        assert_eq!(named.len(), 274);
        assert_eq!(named, listed);
        assert_eq!(codebooks(|name| listed.contains_key(name)), 8);
        assert_eq!(codebooks(|_| true), MOST_CODEBOOKS);
    }
}
