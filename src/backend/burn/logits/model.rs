//! The parts of the model, and the way through them.

use core::f32::consts::PI;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use ndarray::{Array3, ArrayView2, Axis};

use super::super::Options;
use super::super::attention::{Sequence, stack};
use super::super::batch::Ids;
use super::super::forward::embed;
use super::super::model::{Part, Parts, Stack};
use super::super::train::read;
use super::{LogitModel, Plain, Rows};
use crate::backend::{LogitInput, LogitSpec};
use crate::error::{Error, Result};

/// Half waves that a time is told in, from none to so many between 0 and 1: a line of them can be any smooth function.
const WAVES: usize = 16;

/// A part for each use of it.
pub(super) struct LogitParts<T> {
    /// Embeddings of what is read, channel by channel.
    inputs: Vec<T>,
    /// None where no time is told.
    times: Option<T>,
    stack: Stack<T>,
    pub(super) output: T,
}

impl LogitParts<usize> {
    /// The model of some channels and outputs, and its parts.
    pub(super) fn of(spec: &LogitSpec, options: &Options) -> Result<(Self, Vec<Part>)> {
        options.check()?;
        let mut sizes = spec.channels.iter().copied().chain([spec.outputs, spec.channels.len()]);
        if sizes.any(|size| size == 0 || size > i32::MAX as usize) {
            let found = format!("{:?} and {}", spec.channels, spec.outputs);
            return Err(Error::invalid("ids read and said", found, "a channel, and 1 to 2147483647 ids in each"));
        }
        let (mut parts, width) = (Parts::default(), options.width);
        let channels = spec.channels.iter().enumerate();
        let model = LogitParts {
            inputs: channels.map(|(c, &ids)| parts.table(format!("inputs.{c}"), ids, width)).collect(),
            times: spec.timed.then(|| parts.matrix("times".into(), WAVES, width, 1.0)),
            stack: parts.stack("layers", options.layers, width),
            output: parts.rows("output".into(), spec.outputs, width),
        };
        parts.check()?;
        Ok((model, parts.0))
    }
}

/// What logits came from.
pub(super) struct Kept<B: AutodiffBackend> {
    /// Of the logits.
    pub(super) shape: [usize; 3],
    /// By part; none for the output table, and for one of which nothing is read.
    pub(super) parts: Vec<Option<Taken<B>>>,
    /// `[batch x position, width]`
    pub(super) hidden: Tensor<B, 2>,
    /// Rows of the output table that logits were made by, and which they are; all without.
    pub(super) output: Plain<B>,
    pub(super) candidates: Option<Rows<B>>,
}

impl<B: AutodiffBackend> Kept<B> {
    pub(super) fn logits(&self) -> Result<Array3<f32>> {
        let logits = read(self.hidden.clone().inner().matmul(self.output.clone().transpose()))?;
        Ok(Array3::from_shape_vec(self.shape, logits).expect("a logit for each row of the output table"))
    }

    /// Lets go of the way. burn remembers it, watched or not, though nobody can ask for it any more, until a gradient is
    /// taken: here that of the last part, which has one row and is where the way ends.
    pub(super) fn forget(self) {
        let Kept { parts, hidden, .. } = self;
        drop(hidden);
        if let Some(last) = parts.into_iter().flatten().last() {
            last.numbers.require_grad().sum().backward();
        }
    }

    /// Which rows of each part were taken; none where it is all of them.
    pub(super) fn rows(self, output: usize) -> Vec<Option<Rows<B>>> {
        let mut rows: Vec<_> = self.parts.into_iter().map(|part| part.and_then(|part| part.rows)).collect();
        rows[output] = self.candidates;
        rows
    }
}

/// A part, or rows of it, as it went into the model.
#[derive(Clone)]
pub(super) struct Taken<B: AutodiffBackend> {
    pub(super) numbers: Tensor<B, 2>,
    rows: Option<Rows<B>>,
}

impl<B: AutodiffBackend> LogitModel<B> {
    /// From what goes in to the hidden numbers, which remember the way if they are `watched`.
    pub(super) fn way(&self, input: &LogitInput, shape: [usize; 3], watched: bool) -> Kept<B> {
        let [batch, positions, _] = shape;
        let mut parts = vec![None; self.parts.len()];
        let mut take = |part: usize, rows: Option<Rows<B>>| {
            let numbers = self.trained[part].numbers.clone();
            let numbers = rows.iter().fold(numbers, |numbers, rows| numbers.select(0, rows.clone()));
            let numbers = Tensor::from_inner(numbers);
            let numbers = if watched { numbers.require_grad() } else { numbers };
            parts[part].insert(Taken { numbers, rows }).numbers.clone()
        };
        let embedded = self.model.inputs.iter().zip(input.tokens.axis_iter(Axis(1))).filter_map(|(&table, ids)| {
            let (read, ids) = distinct::<B>(ids, &self.device)?;
            Some(embed(&take(table, Some(read)), &ids))
        });
        let nothing = || Tensor::zeros([batch * positions, self.options.width], &self.device);
        let mut x = embedded.reduce(|sum, channel| sum + channel).unwrap_or_else(nothing);
        if let Some((part, times)) = self.model.times.zip(input.times) {
            x = x + waves::<B>(times, positions, &self.device).matmul(take(part, None));
        }
        let layers = self.model.stack.map(&mut |&part| take(part, None));
        let head = self.options.width / self.options.heads;
        let sequence = Sequence::whole([batch, positions], self.causal, head, &self.device);
        let hidden = stack(&layers, &sequence, self.options.heads, x);
        let candidates = input.candidates.map(|ids| rows::<B>(ids.iter().copied(), &self.device));
        Kept { shape, parts, hidden, output: self.output(candidates.as_ref()), candidates }
    }
}

/// The rows of a table that some ids name, each once and in rising order, and the ids as places among these; none where no
/// id is there.
fn distinct<B: AutodiffBackend>(ids: ArrayView2<i32>, device: &B::Device) -> Option<(Rows<B>, Ids<B>)> {
    let mut read: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
    read.sort_unstable();
    read.dedup();
    let place = |&id: &i32| u32::try_from(id).map_or(-1, |id| read.partition_point(|&read| read < id) as i32);
    let places = Ids::new(ids.iter().map(place), read.len(), device);
    (!read.is_empty()).then(|| (rows::<B>(read.into_iter(), device), places))
}

pub(super) fn rows<B: AutodiffBackend>(ids: impl ExactSizeIterator<Item = u32>, device: &B::Device) -> Rows<B> {
    let count = ids.len();
    Tensor::<B::InnerBackend, 1, Int>::from_data(TensorData::new(ids.map(|id| id as i32).collect(), [count]), device)
}

/// Times as cosines of half waves, `[batch x position, waves]`.
fn waves<B: AutodiffBackend>(times: &[f32], positions: usize, device: &B::Device) -> Tensor<B, 2> {
    let wave = |time: f32| (0..WAVES).map(move |wave| (PI * wave as f32 * time).cos());
    let told = times.iter().flat_map(|&time| (0..positions).flat_map(move |_| wave(time))).collect();
    Tensor::from_data(TensorData::new(told, [times.len() * positions, WAVES]), device)
}
