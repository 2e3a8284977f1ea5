//! The reference backend with one thing wrong.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ndarray::Array3;
use roundelay::backend::contract::Score;
use roundelay::backend::{BatchSpec, Reference, ReferenceOptions, Report, TrainBackend, Upload};
use roundelay::batch::TrainBatch;
use roundelay::{Error, Result};
use safetensors::SafeTensors;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    AveragesOverParts,
    ChecksNoBatch,
    CountsPadsAsTokens,
    CountsZeroWeights,
    DividesWeightsAgain,
    DrawsItsOwnSeed,
    EmptyClassIsNaN,
    ExponentialsOverflow,
    ForgetsMeans,
    ForgetsSteps,
    GoesOnWithNaN,
    LearnsFromEvaluations,
    LoadsHalf,
    LoadsNothing,
    LooksAhead,
    LooksOverBorders,
    MultipliesByZero,
    NeverLearns,
    OneSlotForAllBatches,
    ReportsTheLossBehindTheStep,
    SeesLaterStreams,
    WeighsFirstRowsMore,
}

use Fault::*;

impl Fault {
    /// With the law that it breaks before all others.
    pub const ALL: [(Fault, &str); 22] = [
        (AveragesOverParts, "a_step_on_parts_is_the_step_on_the_whole"),
        (ChecksNoBatch, "batches_of_another_kind_are_refused"),
        (CountsPadsAsTokens, "labels_are_counted_exactly"),
        (CountsZeroWeights, "nothing_to_learn_is_no_lesson"),
        (DividesWeightsAgain, "parts_add_up_to_the_whole"),
        (DrawsItsOwnSeed, "the_same_calls_give_the_same_model"),
        (EmptyClassIsNaN, "a_stream_without_weights_has_no_part"),
        (ExponentialsOverflow, "losses_are_weighted_cross_entropies"),
        (ForgetsMeans, "a_run_goes_on_from_its_checkpoint"),
        (ForgetsSteps, "a_run_goes_on_from_its_checkpoint"),
        (GoesOnWithNaN, "what_is_no_number_is_refused"),
        (LearnsFromEvaluations, "evaluation_leaves_the_model_alone"),
        (LoadsHalf, "damaged_checkpoints_are_refused"),
        (LoadsNothing, "damaged_checkpoints_are_refused"),
        (LooksAhead, "steps_do_not_see_later_ones"),
        (LooksOverBorders, "segments_do_not_see_each_other"),
        (MultipliesByZero, "what_weighs_nothing_adds_nothing"),
        (NeverLearns, "steps_make_the_loss_smaller"),
        (OneSlotForAllBatches, "uploaded_batches_stay_as_they_are"),
        (ReportsTheLossBehindTheStep, "a_step_reports_the_loss_before_it"),
        (SeesLaterStreams, "streams_do_not_see_later_ones"),
        (WeighsFirstRowsMore, "rows_count_alike_in_any_order"),
    ];
}

pub struct Wrong {
    right: Reference,
    spec: BatchSpec,
    fault: Fault,
}

impl Wrong {
    pub fn new(right: Reference, spec: &BatchSpec, fault: Fault) -> Result<Self> {
        static SEED: AtomicU64 = AtomicU64::new(100);
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let drawn = ReferenceOptions { seed, ..ReferenceOptions::default() };
        let right = if fault == DrawsItsOwnSeed { Reference::new(spec, drawn)? } else { right };
        Ok(Wrong { right, spec: spec.clone(), fault })
    }

    fn wrong_report(&self, mut report: Report, batch: &TrainBatch) -> Report {
        for (k, stream) in report.streams.iter_mut().enumerate() {
            let weights = batch.weights.0.index_axis(ndarray::Axis(1), k);
            match self.fault {
                CountsPadsAsTokens => stream.tokens.add(&std::mem::take(&mut stream.pads)),
                EmptyClassIsNaN if weights.sum() == 0.0 => (stream.loss, report.loss) = (f64::NAN, f64::NAN),
                _ => (),
            }
        }
        report
    }
}

type Slot = Arc<Mutex<TrainBatch>>;

pub struct WrongUpload {
    spec: BatchSpec,
    fault: Fault,
    slot: Slot,
}

impl Upload for WrongUpload {
    type Batch = Slot;

    fn upload(&mut self, batch: &TrainBatch) -> Result<Slot> {
        if self.fault != ChecksNoBatch {
            self.spec.check(batch)?;
        }
        if self.fault != OneSlotForAllBatches {
            self.slot = Slot::default();
        }
        *self.slot.lock().unwrap() = wrong_batch(batch, &self.spec, self.fault);
        Ok(self.slot.clone())
    }
}

fn wrong_batch(batch: &TrainBatch, spec: &BatchSpec, fault: Fault) -> TrainBatch {
    let mut wrong = batch.clone();
    let weights = &mut wrong.weights.0;
    match fault {
        CountsZeroWeights => weights.indexed_iter_mut().for_each(|((row, k, step), weight)| {
            let target = &mut wrong.target.0[[row, k, step]];
            if *weight == 0.0 && spec.streams[k].trained {
                *weight = 0.01;
                *target = target.rem_euclid(spec.streams[k].outputs as i32);
            }
        }),
        DividesWeightsAgain => *weights /= weights.sum().max(f32::MIN_POSITIVE),
        LooksAhead => wrong.input.0.indexed_iter_mut().for_each(|((row, k, step), id)| {
            *id = batch.input.0.get((row, k, step + 1)).copied().unwrap_or(-1);
        }),
        LooksOverBorders => wrong.rows.iter_mut().for_each(|row| {
            let end = row.last().map_or(0, |placed| placed.steps.end);
            row.truncate(1);
            row.iter_mut().for_each(|placed| placed.steps.end = end);
        }),
        SeesLaterStreams => {
            wrong.input.0.indexed_iter_mut().filter(|((_, k, _), _)| *k == 0).for_each(|((row, _, step), id)| {
                *id = batch.target.0[[row, 2, step]].clamp(-1, spec.streams[0].inputs as i32 - 1)
            })
        }
        WeighsFirstRowsMore => {
            weights.indexed_iter_mut().for_each(|((row, ..), weight)| *weight /= row as f32 + 1.0);
        }
        _ => (),
    }
    wrong
}

impl TrainBackend for Wrong {
    type Batch = Slot;
    type Upload = WrongUpload;

    fn uploader(&mut self) -> Result<WrongUpload> {
        Ok(WrongUpload { spec: self.spec.clone(), fault: self.fault, slot: Slot::default() })
    }

    fn step(&mut self, parts: &[Slot]) -> Result<Report> {
        let mut parts: Vec<TrainBatch> = parts.iter().map(|part| part.lock().unwrap().clone()).collect();
        if self.fault == AveragesOverParts {
            let count = parts.len() as f32;
            parts.iter_mut().for_each(|part| part.weights.0 /= count);
        }
        let before = self.right.clone();
        let report = match self.right.step(&parts) {
            Err(_) if self.fault == GoesOnWithNaN => Report { loss: f64::NAN, ..Report::default() },
            report => report?,
        };
        match self.fault {
            NeverLearns => self.right = before,
            ReportsTheLossBehindTheStep => return Ok(Report { step: report.step, ..self.right.evaluate(&parts[0])? }),
            _ => (),
        }
        Ok(parts.iter().fold(report, |report, part| self.wrong_report(report, part)))
    }

    fn evaluate(&mut self, batch: &Slot) -> Result<Report> {
        let batch = batch.lock().unwrap().clone();
        let report = self.right.evaluate(&batch)?;
        if self.fault == LearnsFromEvaluations {
            self.right.step(std::slice::from_ref(&batch))?;
        }
        Ok(self.wrong_report(report, &batch))
    }

    fn save(&mut self, to: &mut dyn Write) -> Result<()> {
        let mut bytes = Vec::new();
        self.right.save(&mut bytes)?;
        to.write_all(&self.wrong_checkpoint(bytes)).map_err(|e| Error::io("write", e))
    }

    fn load(&mut self, from: &mut dyn Read) -> Result<()> {
        let loaded = self.right.load(from);
        match self.fault {
            LoadsNothing => Ok(()),
            LoadsHalf if loaded.is_err() => {
                self.right = Reference::new(&self.spec, ReferenceOptions { width: 8, ..Default::default() })?;
                loaded
            }
            _ => loaded,
        }
    }
}

impl Wrong {
    fn wrong_checkpoint(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let data = 8 + header;
        match self.fault {
            ForgetsMeans => {
                for (_, info) in metadata.tensors().into_iter().filter(|(name, _)| name.starts_with("mean.")) {
                    bytes[data + info.data_offsets.0..data + info.data_offsets.1].fill(0);
                }
            }
            ForgetsSteps => {
                let steps = bytes.windows(9).position(|window| window == b"\"steps\":\"").unwrap() + 9;
                bytes[steps] = b'0';
            }
            _ => (),
        }
        bytes
    }
}

impl Score for Wrong {
    fn score(&mut self, batch: &Slot, logits: &[Array3<f32>]) -> Result<Report> {
        let batch = batch.lock().unwrap().clone();
        let mut logits = logits.to_vec();
        let overflows = |logit: f32| if logit.exp().is_finite() { logit } else { f32::INFINITY };
        if self.fault == ExponentialsOverflow {
            logits.iter_mut().for_each(|logits| logits.mapv_inplace(overflows));
        }
        let mut report = self.right.score(&batch, &logits)?;
        if self.fault == MultipliesByZero && logits.iter().flatten().any(|logit| logit.is_nan()) {
            report.loss = f64::NAN;
        }
        Ok(self.wrong_report(report, &batch))
    }
}
