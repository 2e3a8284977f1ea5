//! Writes a file of Mimi's weights with seeded numbers, to try everything around the codec without the published one:
//!
//! ```text
//! cargo run --release --example mimi_weights -- OUT.safetensors [SEED]
//! ```

use std::error::Error;
use std::{env, fs};

#[path = "../tests/common/mimi.rs"]
mod mimi;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (path, seed) = match arguments.as_slice() {
        [path] => (path, 0),
        [path, seed] => (path, seed.parse()?),
        _ => return Err("usage: mimi_weights OUT.safetensors [SEED]".into()),
    };
    fs::write(path, mimi::weights(seed))?;
    println!("{path}: names and shapes are Mimi's, numbers are drawn; it turns sound to codes, and codes to noise");
    Ok(())
}
