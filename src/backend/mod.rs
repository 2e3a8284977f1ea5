//! Where training batches go: a model on some device, behind a trait.
//!
//! ```text
//! Source ── TrainBatch ──> Upload ── Batch ──> TrainBackend
//! host, a Loader say       feeder's thread     step n, while batch n+1 is on its way; a Report for each
//! ```
//!
//! A backend minimises the sum of weight x cross-entropy over all positions of a batch, and nothing else: weights come
//! divided already ([`Normalize`](crate::Normalize)). What it must do beyond that is a suite of tests, `contract`
//! (feature `testing`), which every backend here passes: [`Reference`], small and obvious; [`Process`], a trainer in any
//! language behind a pipe; `burn` (feature `burn`), a small model of the Moshi kind on processor or GPU.
//!
//! # Examples
//! A clip is learned by heart, and said again from its first frame:
//!
//! ```
//! use ndarray::{Array2, arr2, s};
//! use roundelay::backend::{BatchSpec, Reference, ReferenceOptions, Sampler, Sampling, TrainBackend, Upload, fill};
//! use roundelay::batch::{Clip, Collate, TrainBatch};
//! use roundelay::{Delay, Extent, Frames, Layout, Policy, Start};
//!
//! let layout = Layout::preset("delay-1")?;
//! let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
//! let collate = Collate::new(layout.clone(), Policy::named("moshi")?, delay)?;
//! let codes = arr2(&[[0, 650, 3, 3], [417, 23, 1001, 5], [12, 99, 7, 2000]]);
//! let clip = Clip { id: "clip", index: 0, codes: Frames(codes.view()), regions: &[] };
//! let mut batch = TrainBatch::default();
//! collate.batch(&[[clip]], None, &mut batch)?;
//!
//! let (rows, _, steps) = batch.shape();
//! let options = ReferenceOptions { width: 8, learning_rate: 0.1, ..ReferenceOptions::default() };
//! let mut model = Reference::new(&BatchSpec::new(&layout, rows, steps), options)?;
//! let uploaded = model.uploader()?.upload(&batch)?;
//! let first = model.step(std::slice::from_ref(&uploaded))?;
//! for _ in 0..40 {
//!     model.step(std::slice::from_ref(&uploaded))?;
//! }
//! let last = model.evaluate(&uploaded)?;
//! assert!(first.loss > 10.0 && last.loss < 0.5, "{} to {}", first.loss, last.loss);
//!
//! let mut prompt = codes.clone();
//! prompt.slice_mut(s![.., 1..]).fill(-2);
//! let (mut sampler, mut said) = (Sampler::new(Sampling::default())?, Vec::new());
//! let keep = |frame: &[i32]| {
//!     said.extend_from_slice(frame);
//!     Ok(())
//! };
//! fill(&mut model, &layout, Frames(prompt.view()), |_, logits| sampler.choose(logits), keep)?;
//! assert_eq!(Array2::from_shape_vec((4, 3), said).expect("four frames").t(), codes);
//! # Ok::<(), roundelay::Error>(())
//! ```

#[cfg(feature = "burn")]
pub mod burn;
#[cfg(feature = "testing")]
pub mod contract;
mod feed;
mod generate;
mod logits;
mod process;
mod reference;
mod report;
mod spec;

use std::io::{Read, Write};

use crate::batch::TrainBatch;
use crate::error::Result;

pub use feed::{Fed, Feeder, Source};
pub use generate::{Generate, Sampler, Sampling, fill};
pub use logits::{LogitBackend, LogitInput, LogitSpec};
#[cfg(feature = "testing")]
pub use process::serve_scoring;
pub use process::{Process, ProcessBatch, ProcessUpload, Trainer, serve};
pub use reference::{Reference, ReferenceOptions};
pub use report::{Labels, Report, StreamLoss};
pub use spec::{BatchSpec, StreamSpec};

/// Trains a model on batches.
///
/// Five methods: batches get to the device by an [`Upload`] of their own, so that it can work on another thread; a step
/// takes several batches, so that what does not fit the device at once still is one step; and a run can be broken off
/// and gone on with.
///
/// # Laws
/// Those of the contract suite: what weighs 0 adds nothing, rows count alike in any order, a step on parts is the step
/// on the whole, and the same calls give the same model, to the bit (on a GPU, as near as its sums are).
pub trait TrainBackend {
    /// A batch on the device.
    type Batch: Send;
    /// What brings batches there.
    type Upload: Upload<Batch = Self::Batch> + Send + 'static;

    /// What brings batches to the device, for the thread that will feed them.
    ///
    /// # Errors
    /// If the device is not to be had any more.
    fn uploader(&mut self) -> Result<Self::Upload>;

    /// One optimisation step on the sum of the losses of all parts.
    ///
    /// # Errors
    /// `Invalid` if there is no part, or if the loss or the gradient is no finite number: the model is then as before the step. Those of the device.
    fn step(&mut self, parts: &[Self::Batch]) -> Result<Report>;

    /// The loss of a batch; the model stays as it is.
    ///
    /// # Errors
    /// Those of the device. A loss that is no number is reported as it is.
    fn evaluate(&mut self, batch: &Self::Batch) -> Result<Report>;

    /// Writes all that a run needs to go on: the model, the optimiser's state and the number of steps, as safetensors.
    ///
    /// # Errors
    /// `Invalid` if a number of the state is not finite: no run could go on from it. Those of the device and of the writer.
    fn save(&mut self, to: &mut dyn Write) -> Result<()>;

    /// Takes the state that [`TrainBackend::save`] wrote.
    ///
    /// # Errors
    /// `Malformed` or `Invalid` if it is of another model, with the tensor and both shapes: the model is then as before.
    fn load(&mut self, from: &mut dyn Read) -> Result<()>;
}

/// Takes batches from the host to where they are trained on.
pub trait Upload {
    /// A batch there.
    type Batch;

    /// Takes a batch there; the host's memory can be used again at once.
    ///
    /// # Errors
    /// As [`BatchSpec::check`], which it calls first; those of the device.
    fn upload(&mut self, batch: &TrainBatch) -> Result<Self::Batch>;
}
