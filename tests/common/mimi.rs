//! Weights for Mimi: the names and shapes of the published file, with seeded numbers.
//!
//! ```text
//! length of the header, u64 | header, JSON: name -> type, shape, from..to | the tensors' numbers, one after another
//! ```
//!
//! They are not trained and the sound is noise, but codes differ from frame to frame as real ones do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A whole file of weights with 32 codebooks, 385 MB; the same bytes for the same seed.
pub fn weights(seed: u64) -> Vec<u8> {
    let mut shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(include_str!("../../fixtures/mimi/shapes.json")).expect("the fixture is JSON");
    // The list is of the 8 that Moshi reads.
    for level in 7..31 {
        for (name, shape) in
            [("_initialized", vec![1]), ("cluster_usage", vec![2048]), ("embedding_sum", vec![2048, 256])]
        {
            shapes.insert(format!("quantizer.rvq_rest.vq.layers.{level}._codebook.{name}"), shape);
        }
    }
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in &shapes {
        let start = data.len();
        fill(name, shape, seed, &mut data);
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    file(&Value::Object(header), &data)
}

/// A file of a header and numbers.
pub fn file(header: &Value, data: &[u8]) -> Vec<u8> {
    let mut header = header.to_string();
    // Numbers begin at a multiple of 8, as the format asks.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// One tensor's numbers: of the size that keeps what goes through a layer about as large as it was.
fn fill(name: &str, shape: &[usize], seed: u64, data: &mut Vec<u8>) {
    let count: usize = shape.iter().product();
    let is = |ending: &str| name.ends_with(ending);
    let constant = match () {
        () if is("_initialized") || is("cluster_usage") || is("weight_g") => Some(1.0),
        () if is(".scale") => Some(0.01),
        () if name.contains("norm") && is("weight") => Some(1.0),
        () => None,
    };
    let spread = match () {
        () if is("embedding_sum") => 0.5,
        () if is("bias") => 0.02,
        () => (shape[1..].iter().product::<usize>() as f32).sqrt().recip(),
    };
    let mut state = name
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let numbers = (0..count).map(|_| constant.unwrap_or_else(|| spread * draw(&mut state)));
    data.extend(numbers.flat_map(f32::to_le_bytes));
}

/// Evenly distributed, with mean 0 and deviation 1.
///
/// # Source
/// SplitMix64 (Steele, Lea and Flood 2014).
fn draw(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let even = ((bits ^ (bits >> 31)) >> 40) as f32 / (1u64 << 24) as f32;
    (even - 0.5) * 12f32.sqrt()
}
