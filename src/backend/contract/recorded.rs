//! Losses that other projects' code gave.

use ndarray::Array3;

use super::trial::Trial;
use super::{Score, close};
use crate::backend::BatchSpec;
use crate::batch::TrainBatch;
use crate::error::Result;

/// Logits and labels, and the loss that a peer gave for them.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// For messages.
    pub name: String,
    /// What the batch is of.
    pub spec: BatchSpec,
    /// Labels and weights; what the model reads does not matter.
    pub batch: TrainBatch,
    /// As in [`Score::score`].
    pub logits: Vec<Array3<f32>>,
    /// The peer's; 0 where it gives NaN, for a class without labels.
    pub loss: f64,
}

/// Compares a backend's losses with recorded ones, and returns how many there were.
///
/// # Panics
/// If one differs by more than 1e-5 of it, with the case's name.
pub fn recorded<B: Score>(make: impl Fn(&BatchSpec, u64) -> Result<B>, cases: &[Recorded]) -> usize {
    for case in cases {
        let mut trial = Trial::new(&make, &case.spec).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let report = trial.score(&case.batch, &case.logits).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        close(report.loss, case.loss, "loss").unwrap_or_else(|found| panic!("{}: {found}", case.name));
    }
    cases.len()
}
