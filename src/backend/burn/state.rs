//! A run's state as one safetensors file: three tensors for each part, and what they belong to.
//!
//! ```text
//! <part>  <part>.mean  <part>.square       __metadata__: model, a JSON object of format, step, options, streams
//! ```

use std::collections::HashMap;
use std::io::{Read, Write};

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::model::Part;
use super::optimise::Trained;
use super::train::read;
use super::{BurnBackend, Options};
use crate::backend::StreamSpec;
use crate::error::{Error, Result};

/// What the file says it is.
const FORMAT: &str = "roundelay burn model 1";

/// Where the metadata say what it is of.
const ABOUT: &str = "model";

/// How the tensors of a part are named.
const TENSORS: [&str; 3] = ["", ".mean", ".square"];

pub(super) fn save<B: AutodiffBackend>(from: &BurnBackend<B>, to: &mut dyn Write) -> Result<()> {
    let mut tensors = Vec::new();
    for (part, trained) in from.parts.iter().zip(&from.trained) {
        let [mean, square] = &trained.means;
        for (name, tensor) in TENSORS.iter().zip([&trained.numbers, mean, square]) {
            let (name, numbers) = (format!("{}{name}", part.name), read(tensor.clone())?);
            check_finite(&name, &numbers)?;
            let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
            tensors.push((name, part.shape.to_vec(), bytes));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view =
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor has as many numbers as its shape");
        (name, view)
    });
    let file = safetensors::serialize(views, Some(metadata(from))).map_err(|e| Error::malformed("checkpoint", e))?;
    to.write_all(&file).map_err(|e| Error::io("write the checkpoint", e))
}

/// What the tensors are of. One entry of the metadata: several would be written in any order.
#[derive(Serialize, Deserialize)]
struct About {
    format: String,
    step: u64,
    options: Options,
    streams: Vec<StreamSpec>,
}

fn metadata<B: AutodiffBackend>(of: &BurnBackend<B>) -> HashMap<String, String> {
    let (options, streams) = (of.options.clone(), of.spec.streams.clone());
    let about = About { format: FORMAT.into(), step: of.step, options, streams };
    HashMap::from([(ABOUT.into(), serde_json::to_string(&about).expect("plain data has a form in JSON"))])
}

/// Takes the state of a file; the model changes only when all of it has been read.
pub(super) fn load<B: AutodiffBackend>(to: &mut BurnBackend<B>, from: &mut dyn Read) -> Result<()> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(|e| Error::io("read the checkpoint", e))?;
    let broken = |e: safetensors::SafeTensorError| Error::malformed("checkpoint", e);
    let (_, head) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
    let step = check(to, head.metadata().as_ref())?;
    if file.len() != to.parts.len() * TENSORS.len() {
        return Err(Error::invalid("tensors of the checkpoint", file.len(), to.parts.len() * TENSORS.len()));
    }
    let trained = to.parts.iter().map(|part| {
        let [numbers, mean, square] = TENSORS.map(|name| tensor(&file, part, name, &to.device));
        Ok(Trained { numbers: numbers?, means: [mean?, square?] })
    });
    (to.trained, to.step) = (trained.collect::<Result<_>>()?, step);
    Ok(())
}

/// Holds what a file says of itself against the model; gives its number of steps.
fn check<B: AutodiffBackend>(of: &BurnBackend<B>, found: Option<&HashMap<String, String>>) -> Result<u64> {
    let about = found.and_then(|entries| entries.get(ABOUT));
    let about = about.ok_or_else(|| Error::malformed("checkpoint", format!("no {ABOUT} in its metadata")))?;
    let about: About = serde_json::from_str(about).map_err(|e| Error::malformed("checkpoint's metadata", e))?;
    if about.format != FORMAT {
        return Err(Error::invalid("format of the checkpoint", about.format, FORMAT));
    }
    let streams = &of.spec.streams;
    if let Some((found, expected)) = about.streams.iter().zip(streams).find(|(found, expected)| found != expected) {
        let error = Error::invalid("stream of the checkpoint", format!("{found:?}"), format!("{expected:?}"));
        return Err(error.in_stream(&expected.name));
    }
    // Beside streams, the only sizes that no tensor's shape tells.
    for (what, found, expected) in [
        ("streams of the checkpoint", about.streams.len(), streams.len()),
        ("heads of the checkpoint", about.options.heads, of.options.heads),
        ("depth_heads of the checkpoint", about.options.depth_heads, of.options.depth_heads),
    ] {
        if found != expected {
            return Err(Error::invalid(what, found, expected));
        }
    }
    Ok(about.step)
}

fn tensor<B: Backend>(file: &SafeTensors, part: &Part, name: &str, device: &B::Device) -> Result<Tensor<B, 2>> {
    let name = format!("{}{name}", part.name);
    let found = file.tensor(&name).map_err(|e| Error::malformed("checkpoint", e))?;
    if found.shape() != part.shape || found.dtype() != Dtype::F32 {
        let (found, expected) = (format!("{:?} {:?}", found.dtype(), found.shape()), format!("F32 {:?}", part.shape));
        return Err(Error::invalid(format!("tensor {name} of the checkpoint"), found, expected));
    }
    let (numbers, _) = found.data().as_chunks();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    check_finite(&name, &numbers)?;
    Ok(Tensor::from_data(TensorData::new(numbers, part.shape), device))
}

/// Nothing can be learned from a model that is lost: it is neither written over a better one nor read.
fn check_finite(name: &str, numbers: &[f32]) -> Result<()> {
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => {
            Err(Error::invalid(format!("number in tensor {name} of the checkpoint"), number, "a finite one"))
        }
        None => Ok(()),
    }
}
