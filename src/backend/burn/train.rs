//! The backend: a model, its optimiser's state, and steps.

use std::io::{Read, Write};

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use super::batch::{Batch, Labelled, Live, Uploader};
use super::forward::{depth, temporal};
use super::loss::{Slopes, cost, report};
use super::model::{Model, Part, Parts, Said};
use super::optimise::{Step, Trained, norm};
use super::{Options, state};
use crate::backend::report::check_parts;
use crate::backend::{BatchSpec, Report, TrainBackend};
use crate::error::{Error, Result};

/// A matrix without gradients.
pub(super) type Plain<B> = Tensor<<B as AutodiffBackend>::InnerBackend, 2>;

/// Trains a model of the Moshi kind on a device of burn's.
///
/// # Examples
/// ```
/// use roundelay::backend::burn::{BurnBackend, Cpu, Options};
/// use roundelay::backend::{BatchSpec, TrainBackend, Upload};
/// use roundelay::batch::{Clip, Collate, TrainBatch};
/// use roundelay::{Delay, Extent, Frames, Layout, Policy, Start};
///
/// let layout = Layout::preset("delay-1")?;
/// let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
/// let codes = ndarray::arr2(&[[9, 3, 8], [1, 2, 3], [5, 6, 7]]);
/// let clip = Clip { id: "a", index: 0, codes: Frames(codes.view()), regions: &[] };
/// let mut batch = TrainBatch::default();
/// Collate::new(layout.clone(), Policy::named("moshi")?, delay)?.batch(&[vec![clip]], None, &mut batch)?;
///
/// let options = Options { width: 8, heads: 2, layers: 1, depth_width: 4, depth_layers: 1, ..Options::default() };
/// let mut model = BurnBackend::<Cpu>::new(&BatchSpec::new(&layout, 1, 8), &options, &Default::default())?;
/// let batch = [model.uploader()?.upload(&batch)?];
/// let first = model.step(&batch)?.loss;
/// (0..20).try_for_each(|_| model.step(&batch).map(drop))?;
/// assert!(model.evaluate(&batch[0])?.loss < first / 2.0);
/// # Ok::<(), roundelay::Error>(())
/// ```
pub struct BurnBackend<B: AutodiffBackend> {
    pub(super) spec: BatchSpec,
    pub(super) options: Options,
    pub(super) device: B::Device,
    /// Where each part stands in the lists.
    pub(super) model: Model<usize>,
    pub(super) parts: Vec<Part>,
    pub(super) trained: Vec<Trained<B::InnerBackend>>,
    /// Steps taken.
    pub(super) step: u64,
}

/// What a batch's way through the model gives.
struct Way<B: AutodiffBackend> {
    report: Report,
    /// By part; none where the part has no share in the loss.
    gradients: Vec<Option<Plain<B>>>,
}

/// A list of labels with what they are said from.
struct Heard<'a, B: Backend> {
    hidden: Tensor<B, 2>,
    heads: &'a [usize],
    labelled: &'a Labelled<B>,
}

impl<B: AutodiffBackend> BurnBackend<B> {
    /// A new model, drawn by the options' seed.
    ///
    /// # Errors
    /// `Invalid` for options that make no model; `OverLimit` for more than 2^31 numbers.
    pub fn new(spec: &BatchSpec, options: &Options, device: &B::Device) -> Result<Self> {
        let (model, parts) = Parts::of(spec, options)?;
        let tensor = |(numbers, part): (Vec<f32>, &Part)| {
            Trained::new(Tensor::from_data(TensorData::new(numbers, part.shape), device))
        };
        let trained = Parts::numbers(&parts, options.seed).zip(&parts).map(tensor).collect();
        let (spec, options, device) = (spec.clone(), options.clone(), device.clone());
        Ok(BurnBackend { spec, options, device, model, parts, trained, step: 0 })
    }

    /// How many numbers are trained.
    pub fn numbers(&self) -> usize {
        self.parts.iter().map(|part| part.shape[0] * part.shape[1]).sum()
    }

    /// Steps that the model has taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// For this backend, or for the one inside that knows of no gradients.
    pub(super) fn upload<C: Backend<Device = B::Device>>(&self) -> Uploader<C> {
        Uploader {
            spec: self.spec.clone(),
            said: Said::of(&self.spec),
            head: self.options.width / self.options.heads,
            device: self.device.clone(),
        }
    }

    /// The model's numbers.
    pub(super) fn tensors(&self) -> Vec<Plain<B>> {
        self.trained.iter().map(|part| part.numbers.clone()).collect()
    }

    /// What the labels of a batch are said from: texts, then audio.
    fn hear<'a, C: Backend>(&'a self, tensors: &[Tensor<C, 2>], live: &'a Live<C>) -> Vec<Heard<'a, C>> {
        let model = self.model.map(&mut |&part| tensors[part].clone());
        let steps = temporal(&model, &live.read, &self.options);
        let text = live.text.as_ref().map(|text| Heard {
            hidden: steps.clone().select(0, text.cells.clone()),
            heads: &self.model.text,
            labelled: text,
        });
        let audio = live.audio.as_ref().zip(model.depth.as_ref()).zip(self.model.depth.as_ref());
        let audio = audio.map(|((audio, parts), places)| {
            let steps = steps.select(0, audio.cells.clone());
            let hidden = depth(parts, &audio.sequence, steps, &audio.told, &self.options);
            Heard { hidden: hidden.select(0, audio.said.cells.clone()), heads: &places.heads, labelled: &audio.said }
        });
        text.into_iter().chain(audio).collect()
    }

    fn way(&self, batch: &Batch<B>) -> Result<Way<B>> {
        let mut gradients = vec![None; self.parts.len()];
        let Some(live) = &batch.live else {
            return Ok(Way { report: report(batch.streams, &[], &[]), gradients });
        };
        let watched = |numbers| Tensor::from_inner(numbers).require_grad();
        let tensors: Vec<_> = self.tensors().into_iter().map(watched).collect();
        let (mut nats, mut towards) = (Vec::new(), Vec::new());
        for heard in self.hear(&tensors, live) {
            let (costs, slopes) = self.say(&heard, &mut gradients);
            nats.extend(costs);
            towards.push((heard.hidden * Tensor::from_inner(slopes)).sum());
        }
        // A loss whose slope at the hidden numbers is that of the heads.
        if let Some(loss) = towards.into_iter().reduce(|sum, part| sum + part) {
            let mut found = loss.backward();
            for (gradient, tensor) in gradients.iter_mut().zip(&tensors) {
                *gradient = gradient.take().or_else(|| tensor.grad_remove(&mut found));
            }
        }
        let nats = read(Tensor::cat(nats, 0).flatten::<1>(0, 1))?;
        Ok(Way { report: report(batch.streams, &batch.labels, &nats), gradients })
    }

    /// What the labels of a batch cost, without a way back.
    fn costs(&self, batch: &Batch<B>) -> Result<Vec<f32>> {
        let Some(live) = &batch.live else { return Ok(Vec::new()) };
        let (tensors, live) = (self.tensors(), live.inner());
        let heard = self.hear(&tensors, &live);
        let costs = heard.iter().flat_map(|heard| {
            heard.labelled.of.iter().map(|of| {
                let hidden = heard.hidden.clone().slice_dim(0, of.cells.clone());
                cost(hidden.matmul(tensors[heard.heads[of.head]].clone()), of.ids.clone()).nats
            })
        });
        read(Tensor::cat(costs.collect(), 0).flatten::<1>(0, 1))
    }

    /// What the labels cost, head by head, and the slopes: of the heads among all gradients, of hidden numbers as the
    /// result.
    fn say(&self, heard: &Heard<B>, gradients: &mut [Option<Plain<B>>]) -> (Vec<Plain<B>>, Plain<B>) {
        let hidden = heard.hidden.clone().inner();
        let (mut nats, mut of_hidden) = (Vec::new(), Vec::new());
        for of in &heard.labelled.of {
            let (part, targets) = (heard.heads[of.head], of.ids.clone().inner());
            let (head, hidden) = (self.trained[part].numbers.clone(), hidden.clone().slice_dim(0, of.cells.clone()));
            let cost = cost(hidden.clone().matmul(head.clone()), targets);
            nats.push(cost.nats.clone());
            let Slopes { hidden, head } = cost.slopes(hidden, head, of.weights.clone().inner());
            gradients[part] = Some(head);
            of_hidden.push(hidden);
        }
        (nats, Tensor::cat(of_hidden, 0))
    }

    fn move_by(&mut self, gradients: Vec<Option<Plain<B>>>, norm: f64) {
        let step = Step::new(&self.options, self.step, norm);
        let parts = std::mem::take(&mut self.trained).into_iter().zip(gradients).zip(&self.parts);
        self.trained = parts.map(|((trained, gradient), part)| trained.step(gradient, &step, part.decays())).collect();
    }
}

/// A tensor's numbers, once the device has them.
pub(super) fn read<B: burn::tensor::backend::Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    let lost = |e: &dyn std::fmt::Debug| Error::io("read from the device", std::io::Error::other(format!("{e:?}")));
    let data = tensor.try_into_data().map_err(|e| lost(&e))?;
    data.convert::<f32>().into_vec().map_err(|e| lost(&e))
}

impl<B: AutodiffBackend> TrainBackend for BurnBackend<B> {
    type Batch = Batch<B>;
    type Upload = Uploader<B>;

    fn uploader(&mut self) -> Result<Uploader<B>> {
        Ok(self.upload())
    }

    /// A step in which nothing weighs anything is counted and leaves the model as it is.
    fn step(&mut self, parts: &[Batch<B>]) -> Result<Report> {
        check_parts(parts)?;
        let mut all = Way::<B> { report: report(self.spec.streams.len(), &[], &[]), gradients: Vec::new() };
        for part in parts {
            let way = self.way(part)?;
            all.report.add(&way.report);
            all.gradients.resize(self.parts.len(), None);
            for (sum, gradient) in all.gradients.iter_mut().zip(way.gradients) {
                *sum = match (sum.take(), gradient) {
                    (Some(sum), Some(gradient)) => Some(sum + gradient),
                    (sum, gradient) => sum.or(gradient),
                };
            }
        }
        let norm = norm(&all.gradients)?;
        all.report.gradient_norm = Some(norm);
        all.report.check(&self.spec)?;
        self.step += 1;
        if all.gradients.iter().any(Option::is_some) {
            self.move_by(all.gradients, norm);
        }
        all.report.step = self.step;
        Ok(all.report)
    }

    fn evaluate(&mut self, batch: &Batch<B>) -> Result<Report> {
        Ok(Report { step: self.step, ..report(batch.streams, &batch.labels, &self.costs(batch)?) })
    }

    fn save(&mut self, to: &mut dyn Write) -> Result<()> {
        state::save(self, to)
    }

    fn load(&mut self, from: &mut dyn Read) -> Result<()> {
        state::load(self, from)
    }
}

#[cfg(feature = "testing")]
impl<B: AutodiffBackend> crate::backend::contract::Score for BurnBackend<B> {
    fn score(&mut self, batch: &Batch<B>, logits: &[ndarray::Array3<f32>]) -> Result<Report> {
        let mut nats = Vec::new();
        for labels in batch.labels.chunk_by(|a, b| a.stream == b.stream) {
            let logits = &logits[labels[0].stream];
            let outputs = logits.dim().2;
            let rows = labels.iter().flat_map(|label| logits.slice(ndarray::s![label.at[0], label.at[1], ..]));
            let data = TensorData::new(rows.copied().collect::<Vec<f32>>(), [labels.len(), outputs]);
            let logits = Tensor::<B::InnerBackend, 2>::from_data(data, &self.device);
            nats.extend(read(cost(logits, super::batch::targets(labels, &self.device)).nats)?);
        }
        Ok(Report { step: self.step, ..report(batch.streams, &batch.labels, &nats) })
    }
}
