//! What batches will be like, said before the first one.

use serde::{Deserialize, Serialize};

use crate::batch::{Placed, TrainBatch};
use crate::error::{Error, Result};
use crate::stream::{Kind, Layout, Stream};
use crate::token::ABSENT;

/// The streams of a run's batches and the most that one of them holds: a model is built by it, and batches are held
/// against it.
///
/// # Examples
/// ```
/// use roundelay::Layout;
/// use roundelay::backend::BatchSpec;
/// let spec = BatchSpec::new(&Layout::preset("moshi-7b")?, 4, 250);
/// assert_eq!((spec.streams[0].inputs, spec.streams[0].outputs), (32001, 32000));
/// assert_eq!((spec.streams[1].inputs, spec.streams[1].outputs), (2049, 2048));
/// assert_eq!(spec.streams.iter().filter(|stream| stream.trained).count(), 9);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// The rows of the grid, in their order.
    pub streams: Vec<StreamSpec>,
    /// Most rows of a batch.
    pub rows: usize,
    /// Most steps of a batch.
    pub steps: usize,
}

/// What a model needs to know of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// The layout's name of it; errors and reports use it.
    pub name: String,
    /// Text, semantic or acoustic.
    pub kind: Kind,
    /// Ids `0..inputs` are read, special ones among them, and -1, which has no embedding.
    pub inputs: usize,
    /// Ids `0..outputs` are said: codes, the end of the stream where it has one, and pads that may be learned behind it.
    pub outputs: usize,
    /// Whether the model says it at all.
    pub trained: bool,
}

impl StreamSpec {
    fn new(stream: &Stream) -> Self {
        // A tail of pads below the initial id can be learned.
        let tail = (stream.pad < stream.initial).then_some(stream.pad);
        let said = [stream.cardinality].into_iter().chain(stream.eos.into_iter().chain(tail).map(|id| id + 1)).max();
        let read = [stream.initial, stream.pad].into_iter().chain(stream.end_pad).chain(stream.bos).map(|id| id + 1);
        let outputs = said.unwrap_or(0);
        StreamSpec {
            name: stream.name.clone(),
            kind: stream.kind,
            inputs: read.max().unwrap_or(0).max(outputs) as usize,
            outputs: outputs as usize,
            trained: stream.trained,
        }
    }
}

impl BatchSpec {
    /// Of a layout's batches of at most so many rows and steps.
    pub fn new(layout: &Layout, rows: usize, steps: usize) -> Self {
        BatchSpec { streams: layout.streams().iter().map(StreamSpec::new).collect(), rows, steps }
    }

    /// Holds a batch against it, so that no wrong id reaches a device.
    ///
    /// # Errors
    /// `StreamCount`; `OverLimit` for too many rows or steps; `Invalid` for grids of unlike shapes and, with stream, step and the row's segment, for an id
    /// that the stream does not read, a weight that is negative or no number, a target with a weight that the stream does
    /// not say, or a weight where nothing is trained.
    pub fn check(&self, batch: &TrainBatch) -> Result<()> {
        let (rows, streams, steps) = batch.shape();
        if streams != self.streams.len() {
            return Err(crate::ErrorKind::StreamCount { found: streams, expected: self.streams.len() }.into());
        }
        check_shapes(batch)?;
        for (what, found, most) in [("rows of the batch", rows, self.rows), ("steps of the batch", steps, self.steps)] {
            if found > most {
                return Err(Error::over_limit(what, found, most));
            }
        }
        for row in 0..rows {
            for k in 0..streams {
                self.check_cells(batch, row, k).map_err(|e| named(e.in_stream(&self.streams[k].name), batch, row))?;
            }
        }
        Ok(())
    }

    fn check_cells(&self, batch: &TrainBatch, row: usize, k: usize) -> Result<()> {
        let (stream, at) = (&self.streams[k], ndarray::s![row, k, ..]);
        let (input, target, weights) = (batch.input.0.slice(at), batch.target.0.slice(at), batch.weights.0.slice(at));
        for (step, ((&input, &target), &weight)) in input.iter().zip(target).zip(weights).enumerate() {
            stream.check_cell(input, target, weight).map_err(|e| e.at_frame(step))?;
        }
        Ok(())
    }
}

impl StreamSpec {
    fn check_cell(&self, input: i32, target: i32, weight: f32) -> Result<()> {
        let below = |id: i32, end: usize| usize::try_from(id).is_ok_and(|id| id < end);
        if i64::from(input) != ABSENT && !below(input, self.inputs) {
            return Err(Error::invalid("input", input, format!("-1 or 0..{}", self.inputs)));
        }
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(Error::invalid("weight", weight, "a finite number that is not negative"));
        }
        if weight > 0.0 && !self.trained {
            return Err(Error::invalid("weight", weight, "0 in a stream that is not trained"));
        }
        if weight > 0.0 && !below(target, self.outputs) {
            return Err(Error::invalid("target with a weight", target, format!("0..{}", self.outputs)));
        }
        Ok(())
    }
}

/// A batch that was put together by hand may have grids of unlike shapes.
fn check_shapes(batch: &TrainBatch) -> Result<()> {
    let (TrainBatch { target, weights, reasons, .. }, shape) = (batch, batch.shape());
    let grids = [("target", target.0.dim()), ("weights", weights.0.dim()), ("reasons", reasons.0.dim())];
    if let Some((name, found)) = grids.into_iter().find(|(_, found)| *found != shape) {
        let [found, expected] = [format!("{found:?}"), format!("{shape:?}, the input's")];
        return Err(Error::invalid(format!("shape of the {name}"), found, expected));
    }
    if batch.rows.len() != shape.0 {
        return Err(Error::invalid("rows with segments", batch.rows.len(), format!("{}, the input's", shape.0)));
    }
    batch.rows.iter().try_for_each(|row| check_places(row, shape.2 + 1))
}

/// Segments follow each other within the row's columns.
fn check_places(row: &[Placed], columns: usize) -> Result<()> {
    let mut end = 0;
    for placed in row {
        let steps = &placed.steps;
        if steps.start < end || steps.end < steps.start || steps.end > columns {
            let error =
                Error::invalid("columns of the segment", format!("{steps:?}"), format!("within {end}..{columns}"));
            return Err(error.in_recording(&placed.id));
        }
        end = steps.end;
    }
    Ok(())
}

/// Names the row's segments.
fn named(error: Error, batch: &TrainBatch, row: usize) -> Error {
    match batch.rows.get(row).and_then(|row| row.first()) {
        Some(first) => error.in_recording(&first.id),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::stream::Steps;

    #[test]
    fn grids_of_unlike_shapes_are_refused() {
        let spec = BatchSpec::new(&Layout::preset("delay-1").unwrap(), 4, 9);
        let mut batch = TrainBatch {
            input: Steps(Array3::zeros((2, 3, 5))),
            target: Steps(Array3::zeros((2, 3, 5))),
            weights: Steps(Array3::zeros((2, 3, 5))),
            reasons: Steps(Array3::zeros((2, 3, 5))),
            rows: vec![Vec::new(); 2],
            ..TrainBatch::default()
        };
        spec.check(&batch).unwrap();
        batch.rows.pop();
        let found = spec.check(&batch).unwrap_err().to_string();
        assert_eq!(found, "rows with segments is 1, expected 2, the input's");
        batch.weights = Steps(Array3::zeros((2, 3, 4)));
        let found = spec.check(&batch).unwrap_err().to_string();
        assert_eq!(found, "shape of the weights is (2, 3, 4), expected (2, 3, 5), the input's");
    }
}
