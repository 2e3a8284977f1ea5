//! Trains the tables of the codec `builtin` on a folder of recordings.
//!
//! ```text
//! cargo run --release --example train_builtin -- FOLDER OUT.bin
//! ```
//!
//! The folder holds WAV files of 24 kHz and one channel; `scripts/train-builtin-codec` makes them. They are
//! taken in the order of their names, and all draws are seeded: the same folder gives the same tables.

use std::error::Error;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use roundelay::codec::builtin::{Training, features};
use roundelay::io::read_audio;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, out] = arguments.as_slice() else {
        return Err("usage: train_builtin FOLDER OUT.bin".into());
    };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    paths.sort();
    let parts: Vec<Array2<f32>> =
        paths.iter().map(|path| Ok(features(&read(path)?))).collect::<Result<_, Box<dyn Error>>>()?;
    let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.view()).collect();
    let tables = Training::default().run(concatenate(Axis(0), &views)?.view(), &mut |line| println!("{line}"))?;
    std::fs::write(out, tables.as_bytes())?;
    println!("{out}: {} bytes", tables.as_bytes().len());
    Ok(())
}

/// Samples of a recording, full scale -1 to 1.
fn read(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut audio = read_audio(path)?;
    if (audio.channels.len(), audio.sample_rate) != (1, 24_000) {
        let found = format!("{} of {} Hz", audio.channels.len(), audio.sample_rate);
        return Err(format!("{}: expected one channel of 24000 Hz, found {found}", path.display()).into());
    }
    Ok(audio.channels.remove(0))
}
