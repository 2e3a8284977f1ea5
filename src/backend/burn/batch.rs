//! A batch on the device: what is read everywhere, and what is said only where it weighs something.
//!
//! ```text
//! weights  text   1 . 1 .       text    cells 0 2           rows x steps
//!          main.0 . 1 . .       audio   steps 1 3           cells 0 (main.0 of the first of them), 3
//!          main.1 . . . 1
//! ```

use std::ops::Range;

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};

use super::attention::Sequence;
use super::model::Said;
use crate::backend::{BatchSpec, Upload};
use crate::batch::TrainBatch;
use crate::error::Result;

/// A batch, and what it weighs.
#[derive(Debug)]
pub struct Batch<B: Backend> {
    /// None where nothing weighs anything: there is no loss then.
    pub(super) live: Option<Live<B>>,
    /// In the order of the losses: stream by stream, texts first.
    pub(super) labels: Vec<Label>,
    /// Streams of the grid.
    pub(super) streams: usize,
}

/// What of a batch a model goes through.
#[derive(Debug)]
pub(super) struct Live<B: Backend> {
    pub(super) read: Read<B>,
    pub(super) text: Option<Labelled<B>>,
    pub(super) audio: Option<Steps<B>>,
}

/// What the temporal transformer reads.
#[derive(Debug)]
pub(super) struct Read<B: Backend> {
    pub(super) inputs: Vec<Ids<B>>,
    pub(super) sequence: Sequence<B>,
}

/// Steps in which audio is said.
#[derive(Debug)]
pub(super) struct Steps<B: Backend> {
    pub(super) cells: Tensor<B, 1, Int>,
    pub(super) told: Vec<Told<B>>,
    pub(super) sequence: Sequence<B>,
    pub(super) said: Labelled<B>,
}

/// Cells with labels, and the labels.
#[derive(Debug)]
pub(super) struct Labelled<B: Backend> {
    pub(super) cells: Tensor<B, 1, Int>,
    pub(super) of: Vec<Targets<B>>,
}

/// A stream's labels.
#[derive(Debug)]
pub(super) struct Targets<B: Backend> {
    /// Which of the heads says them.
    pub(super) head: usize,
    /// Which of the cells they are.
    pub(super) cells: Range<usize>,
    /// `[label, 1]`
    pub(super) ids: Tensor<B, 2, Int>,
    /// `[label, 1]`
    pub(super) weights: Tensor<B, 2>,
}

/// What one stream said, and which stream of audio is told it.
pub(super) type Told<B> = (usize, Ids<B>);

/// Ids that are read.
#[derive(Debug, Clone)]
pub(super) struct Ids<B: Backend> {
    /// 0 where there is none.
    pub(super) ids: Tensor<B, 1, Int>,
    /// 1, or 0 where there is none: `[id, 1]`.
    pub(super) present: Tensor<B, 2>,
}

impl<B: Backend> Ids<B> {
    /// Ids of which those below `end` are read, and others are as good as absent.
    pub(super) fn new(ids: impl Iterator<Item = i32>, end: usize, device: &B::Device) -> Self {
        let read = |id: i32| if usize::try_from(id).is_ok_and(|id| id < end) { (id, 1.0) } else { (0, 0.0) };
        let (ids, present): (Vec<i32>, Vec<f32>) = ids.map(read).unzip();
        Ids { present: column(present, device), ids: vector(ids, device) }
    }
}

impl<B: AutodiffBackend> Live<B> {
    /// The same without what gradients take: burn would remember every step of the way until one is taken.
    pub(super) fn inner(&self) -> Live<B::InnerBackend> {
        let read =
            Read { inputs: self.read.inputs.iter().map(Ids::inner).collect(), sequence: self.read.sequence.inner() };
        Live { read, text: self.text.as_ref().map(Labelled::inner), audio: self.audio.as_ref().map(Steps::inner) }
    }
}

impl<B: AutodiffBackend> Steps<B> {
    fn inner(&self) -> Steps<B::InnerBackend> {
        Steps {
            cells: self.cells.clone().inner(),
            told: self.told.iter().map(|(to, ids)| (*to, ids.inner())).collect(),
            sequence: self.sequence.inner(),
            said: self.said.inner(),
        }
    }
}

impl<B: AutodiffBackend> Labelled<B> {
    fn inner(&self) -> Labelled<B::InnerBackend> {
        let inner = |of: &Targets<B>| Targets {
            head: of.head,
            cells: of.cells.clone(),
            ids: of.ids.clone().inner(),
            weights: of.weights.clone().inner(),
        };
        Labelled { cells: self.cells.clone().inner(), of: self.of.iter().map(inner).collect() }
    }
}

impl<B: AutodiffBackend> Ids<B> {
    fn inner(&self) -> Ids<B::InnerBackend> {
        Ids { ids: self.ids.clone().inner(), present: self.present.clone().inner() }
    }
}

/// A label on the host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) stream: usize,
    /// Row and step.
    pub(super) at: [usize; 2],
    pub(super) target: i32,
    pub(super) weight: f32,
    pub(super) reason: u8,
}

/// Takes batches to the device.
#[derive(Debug, Clone)]
pub struct Uploader<B: Backend> {
    pub(super) spec: BatchSpec,
    pub(super) said: Said,
    /// Numbers of a head of attention.
    pub(super) head: usize,
    pub(super) device: B::Device,
}

impl<B: Backend> Upload for Uploader<B> {
    type Batch = Batch<B>;

    fn upload(&mut self, batch: &TrainBatch) -> Result<Batch<B>> {
        self.spec.check(batch)?;
        let labels: Vec<Label> = self.said.all().flat_map(|k| labels(batch, k)).collect();
        let live = (!labels.is_empty()).then(|| self.live(batch, &labels));
        Ok(Batch { live, labels, streams: self.spec.streams.len() })
    }
}

impl<B: Backend> Uploader<B> {
    fn live(&self, batch: &TrainBatch, labels: &[Label]) -> Live<B> {
        let (text, audio) = labels.split_at(labels.partition_point(|label| self.said.text.contains(&label.stream)));
        let (rows, _, steps) = batch.shape();
        let (segments, places) = (batch.segment_ids().into_iter().collect(), batch.places());
        Live {
            read: self.read([rows, steps], segments, &places.into_iter().collect::<Vec<_>>(), |k| {
                batch.input.0.index_axis(ndarray::Axis(1), k).into_iter().copied()
            }),
            text: self.labelled(text, &self.said.text, |label| label.at[0] * steps + label.at[1]),
            audio: (!audio.is_empty()).then(|| {
                let mut live: Vec<_> = audio.iter().map(|label| label.at).collect();
                live.sort_unstable();
                live.dedup();
                self.steps(batch, &live, audio)
            }),
        }
    }

    /// What is read, with the ids of each stream row by row.
    pub(super) fn read<I: Iterator<Item = i32>>(
        &self,
        shape: [usize; 2],
        segments: Vec<i32>,
        places: &[i32],
        ids: impl Fn(usize) -> I,
    ) -> Read<B> {
        let inputs = self.spec.streams.iter().enumerate();
        Read {
            inputs: inputs.map(|(k, stream)| Ids::new(ids(k), stream.inputs, &self.device)).collect(),
            sequence: Sequence::packed(shape, segments, places, self.head, &self.device),
        }
    }

    fn steps(&self, batch: &TrainBatch, live: &[[usize; 2]], labels: &[Label]) -> Steps<B> {
        let (steps, streams) = (batch.shape().2, self.said.audio.len());
        let target = |k: usize| live.iter().map(move |&[row, step]| batch.target.0[[row, k, step]]);
        let place = |label: &Label| {
            let step = live.binary_search(&label.at).expect("steps with labels are live");
            let stream = self.said.audio.iter().position(|&k| k == label.stream);
            step * streams + stream.expect("labels are of streams that are said")
        };
        let cells = live.iter().map(|&[row, step]| (row * steps + step) as i32).collect();
        Steps {
            cells: vector(cells, &self.device),
            told: self.told(target),
            sequence: Sequence::plain(live.len(), streams, &self.device),
            said: self.labelled(labels, &self.said.audio, place).expect("there are labels"),
        }
    }

    /// What a step's streams are told of those before them.
    pub(super) fn told<I: Iterator<Item = i32>>(&self, ids: impl Fn(usize) -> I) -> Vec<Told<B>> {
        self.said.told().map(|(k, to)| (to, Ids::new(ids(k), self.spec.streams[k].inputs, &self.device))).collect()
    }

    /// Labels of some streams, each in its cell; none of none.
    fn labelled(&self, labels: &[Label], heads: &[usize], cell: impl Fn(&Label) -> usize) -> Option<Labelled<B>> {
        let cells = labels.iter().map(|label| cell(label) as i32).collect();
        let (mut end, mut of) = (0, Vec::new());
        for part in labels.chunk_by(|a, b| a.stream == b.stream) {
            end += part.len();
            of.push(Targets {
                head: heads.iter().position(|&k| k == part[0].stream).expect("labels are of streams that are said"),
                cells: end - part.len()..end,
                ids: targets(part, &self.device),
                weights: column(part.iter().map(|label| label.weight).collect(), &self.device),
            });
        }
        (end > 0).then(|| Labelled { cells: vector(cells, &self.device), of })
    }
}

/// A stream's cells that weigh something.
fn labels(batch: &TrainBatch, k: usize) -> impl Iterator<Item = Label> {
    let at = ndarray::s![.., k, ..];
    let (weights, targets) = (batch.weights.0.slice(at), batch.target.0.slice(at));
    let cells = weights.into_iter().zip(targets).zip(batch.reasons.0.slice(at)).enumerate();
    let steps = batch.shape().2;
    cells.filter(|(_, ((weight, _), _))| **weight > 0.0).map(move |(cell, ((&weight, &target), &reason))| Label {
        stream: k,
        at: [cell / steps, cell % steps],
        target,
        weight,
        reason,
    })
}

/// What labels say: `[label, 1]`.
pub(super) fn targets<B: Backend>(labels: &[Label], device: &B::Device) -> Tensor<B, 2, Int> {
    let targets: Vec<i32> = labels.iter().map(|label| label.target).collect();
    Tensor::from_data(TensorData::new(targets, [labels.len(), 1]), device)
}

fn vector<B: Backend>(ids: Vec<i32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}

fn column<B: Backend>(numbers: Vec<f32>, device: &B::Device) -> Tensor<B, 2> {
    let count = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [count, 1]), device)
}
