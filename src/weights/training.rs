//! What a training step reads.
//!
//! ```text
//! sequence   i  a0 a1 a2 p
//! input      i  a0 a1 a2            steps ..S-1: what the model reads
//! target     a0 a1 a2 p             steps 1..: what it should say
//! mask       1  1  1  0             where the target is a code
//! weights    1  1  1  0             what it counts in the loss
//! ```
//!
//! One look at a row's codes writes its ids and counts what it weighs. Weights come behind, as a normalisation divides by
//! all of it; they look at the codes again only in text, in rows with absent codes and where frames have factors of their
//! own. The mask looks at none.

use std::cell::Cell;

use ndarray::{Array, ArrayBase, ArrayView3, ArrayViewMut, ArrayViewMut3, Axis, Data, Dimension};

use super::example::Factors;
use super::scale::{Scales, Walk};
use super::weigh::{TIME, each_rows};
use super::{Policy, Sums, Weighing};
use crate::delay::{Fills, Sequencer, Tracks, check_shape, check_streams, fills_as, misfit, place};
use crate::error::Result;
use crate::stream::rows::{alike, as_slice, each_row, on_slice};
use crate::stream::{Frames, Layout, Steps, batched, batched_mut};
use crate::token::{Token, convert};

/// A batch as a training step reads it, all `[.., stream, time]` over S-1 steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Training<B, D: Dimension> {
    /// The sequence without its last step.
    pub input: Steps<Array<B, D>>,
    /// The sequence without its first step.
    pub target: Steps<Array<B, D>>,
    /// True where the target comes from the codes.
    pub mask: Steps<Array<bool, D>>,
    /// What each target weighs in the loss.
    pub weights: Steps<Array<f32, D>>,
    /// What a normalisation divided by.
    pub sums: Sums,
}

/// The caller's memory for a [`Training`].
#[derive(Debug)]
pub struct TrainingViews<'a, B, D: Dimension> {
    /// The sequence without its last step.
    pub input: Steps<ArrayViewMut<'a, B, D>>,
    /// The sequence without its first step.
    pub target: Steps<ArrayViewMut<'a, B, D>>,
    /// True where the target comes from the codes.
    pub mask: Steps<ArrayViewMut<'a, bool, D>>,
    /// What each target weighs in the loss.
    pub weights: Steps<ArrayViewMut<'a, f32, D>>,
}

impl Policy {
    /// Input, target, mask and weights of a batch, without the sequence in between.
    ///
    /// Targets are weighed as in [`Policy::weigh`]. Give the sequencer an initial column
    /// ([`Start::Initial`](crate::Start::Initial)): without it the first step is read and never said, and is in no sum.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames; each result is the same over S-1 steps.
    /// # Errors
    /// As [`Sequencer::build`] and [`Policy::weigh`].
    pub fn training<A: Token, S, D>(
        &self,
        layout: &Layout,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<Training<A, D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        Weighing::new(self, layout).training(sequencer, codes)
    }

    /// [`Policy::training`] into the caller's memory.
    ///
    /// # Errors
    /// As `training`; `Invalid` if a view has another shape, or an id does not fit (the views then hold part of a result).
    pub fn training_into<A: Token, B: Token, S, D>(
        &self,
        layout: &Layout,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
        views: TrainingViews<B, D>,
    ) -> Result<Sums>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        Weighing::new(self, layout).training_into(sequencer, codes, views)
    }
}

impl Weighing<'_> {
    /// [`Policy::training`] with the examples' regions and draws.
    ///
    /// # Errors
    /// As [`Sequencer::build`] and [`Weighing::weigh`].
    pub fn training<A: Token, S, D>(
        &self,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<Training<A, D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let shape = training_shape(sequencer, codes)?;
        let mut input = Array::from_elem(shape.clone(), A::wrap(0));
        let mut target = Array::from_elem(shape.clone(), A::wrap(0));
        let mut mask = Array::from_elem(shape.clone(), false);
        let mut weights = Array::zeros(shape);
        let views = TrainingViews {
            input: Steps(input.view_mut()),
            target: Steps(target.view_mut()),
            mask: Steps(mask.view_mut()),
            weights: Steps(weights.view_mut()),
        };
        let sums = self.training_into(sequencer, codes, views)?;
        Ok(Training { input: Steps(input), target: Steps(target), mask: Steps(mask), weights: Steps(weights), sums })
    }

    /// [`Weighing::training`] into the caller's memory.
    ///
    /// # Errors
    /// As `training`; `Invalid` if a view has another shape, or an id does not fit (the views then hold part of a result).
    pub fn training_into<A: Token, B: Token, S, D>(
        &self,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
        views: TrainingViews<B, D>,
    ) -> Result<Sums>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        check_streams(sequencer, self.layout.streams().len())?;
        let shape = training_shape(sequencer, codes)?;
        check_shape("input", &shape, &views.input.0)?;
        check_shape("target", &shape, &views.target.0)?;
        check_shape("mask", &shape, &views.mask.0)?;
        check_shape("weights", &shape, &views.weights.0)?;
        let codes = batched(&codes.0)?;
        self.layout.check_streams(codes.len_of(Axis(1)))?;
        let (frames, steps) = (codes.len_of(TIME), shape[shape.ndim() - 1]);
        // Input and target are windows of the same sequence.
        let [read, said] = [0..steps, 1..1 + steps].map(|window| Tracks::new(sequencer, frames, window));
        let factors = self.factors(codes.len_of(Axis(0)), frames)?;
        let mut scales = Scales::new(self.policy, self.layout, sequencer, Walk { tracks: &said, frames, steps })?;
        let ids = (batched_mut(views.input.0)?, batched_mut(views.target.0)?);
        let whole = write_ids(codes, ids, [&read, &said], &fills_as::<B>(sequencer)?, (&mut scales, &factors));
        let scales = scales.normalized(self.policy)?;
        write_weights(codes, batched_mut(views.weights.0)?, &said, &scales, &factors);
        alike(codes, batched_mut(views.mask.0)?, |k, codes, steps| {
            place(said.of(k), codes, steps, &Fills::all(false), |_, known| known.fill(true));
        });
        if whole { Ok(scales.sums) } else { Err(misfit::<A, B>(codes)) }
    }
}

/// The codes' shape over all steps but one.
fn training_shape<D: Dimension>(sequencer: &impl Sequencer, codes: &Frames<ArrayBase<impl Data, D>>) -> Result<D> {
    let mut shape = codes.0.raw_dim();
    let time = batched(&codes.0)?.ndim().min(shape.ndim()) - 1;
    shape[time] = sequencer.steps(shape[time])?.saturating_sub(1);
    Ok(shape)
}

/// Input and target of each row, and its part in the sums, while its codes are at hand. False if an id does not fit.
fn write_ids<A: Token, B: Token>(
    codes: ArrayView3<A>,
    (mut input, mut target): (ArrayViewMut3<B>, ArrayViewMut3<B>),
    [read, said]: [&Tracks; 2],
    fills: &[Fills<B>],
    (scales, factors): (&mut Scales, &[Factors]),
) -> bool {
    let (mut spare, whole) = (Vec::new(), Cell::new(true));
    let write = |codes: &[A], to: &mut [B]| whole.set(whole.get() & convert(codes, to));
    let examples = codes.outer_iter().zip(input.outer_iter_mut()).zip(target.outer_iter_mut());
    for (((codes, mut input), mut target), factors) in examples.zip(factors) {
        let rows = codes.outer_iter().zip(input.outer_iter_mut()).zip(target.outer_iter_mut());
        for (k, ((codes, input), target)) in rows.enumerate() {
            let codes = as_slice(codes, &mut spare);
            on_slice(input, |to| place(read.of(k), codes, to, &fills[k], write));
            on_slice(target, |to| place(said.of(k), codes, to, &fills[k], write));
            scales.count(k, codes, factors, said);
        }
    }
    whole.get()
}

/// Weights of each row, once the sums are known.
fn write_weights<A: Token>(
    codes: ArrayView3<A>,
    weights: ArrayViewMut3<f32>,
    said: &Tracks,
    scales: &Scales,
    factors: &[Factors],
) {
    let (mut present, mut factors) = (scales.present.iter(), each_rows(factors, scales.streams.len()));
    let mut in_frames = Vec::new();
    each_row(codes, weights, |k, codes, steps| {
        let full = present.next() == Some(&true);
        scales.streams[k].place_weights(said.of(k), codes, full, factors(), steps, &mut in_frames);
    });
}
