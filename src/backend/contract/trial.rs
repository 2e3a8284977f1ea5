//! A backend with what brings batches to it, as laws use it.

use ndarray::Array3;

use super::{Make, Score};
use crate::backend::{BatchSpec, Report, Upload};
use crate::batch::TrainBatch;
use crate::error::Result;

pub(super) struct Trial<B: Score> {
    pub backend: B,
    pub upload: B::Upload,
}

impl<B: Score> Trial<B> {
    pub fn new(make: Make<B>, spec: &BatchSpec) -> Result<Self> {
        Self::seeded(make, spec, 7)
    }

    pub fn seeded(make: Make<B>, spec: &BatchSpec, seed: u64) -> Result<Self> {
        let mut backend = make(spec, seed)?;
        let upload = backend.uploader()?;
        Ok(Trial { backend, upload })
    }

    pub fn evaluate(&mut self, batch: &TrainBatch) -> Result<Report> {
        let batch = self.upload.upload(batch)?;
        self.backend.evaluate(&batch)
    }

    pub fn step(&mut self, parts: &[&TrainBatch]) -> Result<Report> {
        let parts = parts.iter().map(|part| self.upload.upload(part)).collect::<Result<Vec<_>>>()?;
        self.backend.step(&parts)
    }

    pub fn score(&mut self, batch: &TrainBatch, logits: &[Array3<f32>]) -> Result<Report> {
        let batch = self.upload.upload(batch)?;
        self.backend.score(&batch, logits)
    }

    pub fn saved(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.backend.save(&mut bytes)?;
        Ok(bytes)
    }

    pub fn load(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.backend.load(&mut bytes)
    }
}
