//! Checks a file of weights before the network is made of it.
//!
//! Moshi's crate takes tensors by name and trusts what is in them. A file that is cut, damaged or another model's is
//! told apart here, by the name of the first tensor that does not fit.

use moshi::mimi::Config;
use safetensors::{Dtype, SafeTensors};

use super::MOST_CODEBOOKS;
use super::shapes::{Entry, codebooks, entries};
use crate::error::{Error, Result};

const WHAT: &str = "file of Mimi's weights";

/// Checks that the file has all that a network with so many codebooks reads.
///
/// # Errors
/// `Malformed` if it is no whole safetensors file, or is another model's; `Invalid` for a tensor that is missing or has
/// another shape, for numbers that are not finite, and for more codebooks than the file has; `Unsupported` for numbers
/// other than 32-bit floats.
pub(super) fn check(bytes: &[u8], config: &Config, asked: usize) -> Result<()> {
    if !(1..=MOST_CODEBOOKS).contains(&asked) {
        return Err(Error::invalid("number of codebooks", asked, format!("1 to {MOST_CODEBOOKS}")));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::malformed(WHAT, e))?;
    check_kind(&file)?;
    let has = |name: &str| file.tensor(name).is_ok();
    let there = codebooks(has);
    if asked > there {
        return Err(Error::invalid("number of codebooks", asked, format!("at most {there}, which the file has")));
    }
    for entry in entries(config, asked) {
        match entry {
            Entry::Tensor(name, shape) => check_tensor(&file, &name, &shape)?,
            Entry::Kernels(name, shape) if has(&format!("{name}.weight")) => {
                check_tensor(&file, &format!("{name}.weight"), &shape)?;
            }
            Entry::Kernels(name, shape) => check_kernels(&file, &name, shape)?,
        }
    }
    Ok(())
}

/// Tells another model's file from one where a tensor is missing.
fn check_kind(file: &SafeTensors<'_>) -> Result<()> {
    let names = file.names();
    let ours = ["encoder.model.", "decoder.model.", "quantizer.rvq_"];
    if ours.iter().all(|begin| names.iter().any(|name| name.starts_with(begin))) {
        return Ok(());
    }
    let first = names.iter().min().map_or(String::new(), |name| format!(", the first of them {name}"));
    let detail =
        format!("it has {} tensors{first}, and not Mimi's: it is another model's, or another form", names.len());
    Err(Error::malformed(WHAT, detail))
}

/// Kernels are divided by their length, which must not be nothing.
fn check_kernels(file: &SafeTensors<'_>, name: &str, shape: [usize; 3]) -> Result<()> {
    let directions = format!("{name}.weight_v");
    check_tensor(file, &format!("{name}.weight_g"), &[shape[0], 1, 1])?;
    check_tensor(file, &directions, &shape)?;
    let data = file.tensor(&directions).map_err(|e| Error::malformed(WHAT, e))?.data();
    let row = 4 * shape[1] * shape[2];
    match data.chunks_exact(row).position(|row| floats(row).all(|value| value == 0.0)) {
        Some(row) => Err(Error::invalid(format!("row {row} of tensor {directions}"), "all zeros", "a direction")),
        None => Ok(()),
    }
}

fn check_tensor(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<()> {
    let Ok(tensor) = file.tensor(name) else {
        return Err(Error::invalid(format!("tensor {name}"), "missing", format!("one of shape {shape:?}")));
    };
    if tensor.shape() != shape {
        let found = format!("{:?}", tensor.shape());
        return Err(Error::invalid(format!("shape of tensor {name}"), found, format!("{shape:?}")));
    }
    if tensor.dtype() != Dtype::F32 {
        let found = format!("tensor {name} of type {}", tensor.dtype());
        return Err(Error::unsupported(found, "weights are 32-bit floats, F32"));
    }
    match floats(tensor.data()).enumerate().find(|(_, value)| !value.is_finite()) {
        Some((place, value)) => {
            Err(Error::invalid(format!("value {place} of tensor {name}"), value, "a finite number"))
        }
        None => Ok(()),
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
