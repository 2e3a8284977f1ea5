//! Times the search for the nearest codes and the bare matrix product of its size: the Rust side of `scripts/nearest-speed`.
//!
//! ```text
//! nearest_speed D VECTORS.f32 TABLE.f32 CODES.u32      files of raw numbers, little-endian; CODES is written
//! a line on standard input  ->  {"product": s, "product in blocks": s, "nearest": s}
//! ```

use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::Instant;
use std::{env, fs};

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, s};
use roundelay::codebook::Codes;

/// Rows of a product whose scores stay in a near cache.
const BLOCK: usize = 256;

fn read(path: &str, columns: usize) -> Result<Array2<f32>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Ok(Array2::from_shape_vec((values.len() / columns, columns), values)?)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [width, vectors, table, out] = arguments.as_slice() else {
        return Err("usage: nearest_speed D VECTORS.f32 TABLE.f32 CODES.u32".into());
    };
    let width = width.parse()?;
    let (vectors, table) = (read(vectors, width)?, read(table, width)?);
    let transposed = table.t().as_standard_layout().into_owned();
    let codes = Codes::new(table);
    let mut scores = Array2::zeros((vectors.nrows(), codes.len()));
    let mut found = Vec::new();
    for _ in stdin().lock().lines() {
        let product = seconds(|| general_mat_mul(1.0, &vectors, &transposed, 0.0, &mut scores));
        let blocks = seconds(|| {
            for rows in vectors.axis_chunks_iter(Axis(0), BLOCK) {
                general_mat_mul(1.0, &rows, &transposed, 0.0, &mut scores.slice_mut(s![..rows.nrows(), ..]));
            }
        });
        let nearest = seconds(|| found = codes.nearest(vectors.view()));
        println!("{{\"product\": {product}, \"product in blocks\": {blocks}, \"nearest\": {nearest}}}");
    }
    let bytes: Vec<u8> = found.iter().flat_map(|&code| (code as u32).to_le_bytes()).collect();
    Ok(fs::write(out, bytes)?)
}
