//! What a training step reads.
//!
//! ```text
//! tokens     i  a0 a1 a2 p          the sequence
//! input      i  a0 a1 a2            its steps ..S-1: what the model reads
//! target        a0 a1 a2 p          its steps 1..: what it should say
//! mask          1  1  1  0          where the target is a code
//! weights       1  1  1  0          what it counts in the loss
//! ```
//!
//! One look at a row's codes writes its ids and counts what it weighs. Weights come behind, as a normalisation divides by
//! all of it; they look at the codes again only in text, in rows with absent codes and where frames have factors of their
//! own. The mask looks at none.

use std::cell::Cell;

use ndarray::{Array, ArrayBase, ArrayView, ArrayView3, ArrayViewMut, ArrayViewMut3, Axis, Data, Dimension, Slice};

use super::example::Factors;
use super::scale::{Scales, Walk};
use super::weigh::TIME;
use super::{Policy, Sums, Weighing};
use crate::delay::{Fills, Sequencer, Tracks, check_shape, check_streams, fills_as, misfit, place};
use crate::error::Result;
use crate::stream::rows::{alike, as_slice, on_slice};
use crate::stream::{Frames, Layout, Steps, batched, batched_mut};
use crate::token::{Token, convert_seen};

/// A batch as a training step reads it: input and target are the same sequence, one step apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Training<B, D: Dimension> {
    /// The sequence, `[.., stream, time]` over S steps.
    pub tokens: Steps<Array<B, D>>,
    /// True where the target comes from the codes; over S-1 steps.
    pub mask: Steps<Array<bool, D>>,
    /// What each target weighs in the loss; over S-1 steps.
    pub weights: Steps<Array<f32, D>>,
    /// What a normalisation divided by.
    pub sums: Sums,
}

/// The caller's memory for a [`Training`].
#[derive(Debug)]
pub struct TrainingViews<'a, B, D: Dimension> {
    /// The sequence, over S steps.
    pub tokens: Steps<ArrayViewMut<'a, B, D>>,
    /// True where the target comes from the codes; over S-1 steps. It is that of any codes of this shape: a loop over
    /// batches needs it once, if at all, as what is not learned weighs nothing.
    pub mask: Option<Steps<ArrayViewMut<'a, bool, D>>>,
    /// What each target weighs in the loss; over S-1 steps.
    pub weights: Steps<ArrayViewMut<'a, f32, D>>,
}

impl<B, D: Dimension> Training<B, D> {
    /// What the model reads: the sequence without its last step.
    pub fn input(&self) -> Steps<ArrayView<'_, B, D>> {
        let last = self.mask.0.shape().last().copied().unwrap_or(0);
        self.steps(Slice::from(..last))
    }

    /// What it should say: the sequence without its first step.
    pub fn target(&self) -> Steps<ArrayView<'_, B, D>> {
        let steps = self.tokens.0.shape().last().copied().unwrap_or(0);
        self.steps(Slice::from(steps.min(1)..))
    }

    fn steps(&self, steps: Slice) -> Steps<ArrayView<'_, B, D>> {
        Steps(self.tokens.0.slice_axis(Axis(self.tokens.0.ndim() - 1), steps))
    }
}

impl Policy {
    /// Input, target, mask and weights of a batch.
    ///
    /// Targets are weighed as in [`Policy::weigh`]. Give the sequencer an initial column
    /// ([`Start::Initial`](crate::Start::Initial)): without it the first step is read and never said, and is in no sum.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames; each result is the same over steps.
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

    /// [`Policy::training`] into the caller's memory, of the shapes that [`training_shapes`] gives. Every cell is written.
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
        let [whole, shape] = training_shapes(sequencer, codes)?;
        let mut tokens = Array::from_elem(whole, A::wrap(0));
        let mut mask = Array::from_elem(shape.clone(), false);
        let mut weights = Array::zeros(shape);
        let views = TrainingViews {
            tokens: Steps(tokens.view_mut()),
            mask: Some(Steps(mask.view_mut())),
            weights: Steps(weights.view_mut()),
        };
        let sums = self.training_into(sequencer, codes, views)?;
        Ok(Training { tokens: Steps(tokens), mask: Steps(mask), weights: Steps(weights), sums })
    }

    /// [`Weighing::training`] into the caller's memory, as [`Policy::training_into`].
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
        let [whole, shape] = training_shapes(sequencer, codes)?;
        check_shape("tokens", &whole, &views.tokens.0)?;
        let mask = views.mask.map(|mask| mask.0);
        mask.iter().try_for_each(|mask| check_shape("mask", &shape, mask))?;
        check_shape("weights", &shape, &views.weights.0)?;
        let codes = batched(&codes.0)?;
        let (frames, steps) = (codes.len_of(TIME), shape[shape.ndim() - 1]);
        // Of the sequence, and of what is said of it.
        let all = whole[whole.ndim() - 1];
        let [tracks, said] = [0..all, all.min(1)..all].map(|window| Tracks::new(sequencer, frames, window));
        let factors = self.factors(codes.len_of(Axis(0)), frames)?;
        let mut scales = Scales::new(self.policy, self.layout, sequencer, Walk { tracks: &said, frames, steps })?;
        let (tokens, fills) = (batched_mut(views.tokens.0)?, fills_as::<B>(sequencer)?);
        let fits = write_ids(codes, tokens, [&tracks, &said], &fills, (&mut scales, &factors));
        let scales = scales.normalized(self.policy)?;
        scales.write_weights(codes, batched_mut(views.weights.0)?, &said, &factors);
        if let Some(mask) = mask {
            alike(codes, batched_mut(mask)?, |k, codes, steps| {
                place(said.of(k), codes, steps, &Fills::all(false), |_, known| known.fill(true));
            });
        }
        if fits { Ok(scales.sums) } else { Err(misfit::<A, B>(codes)) }
    }
}

/// The shapes of a [`Training`] of these codes: that of its tokens, and that of its mask and weights.
///
/// # Errors
/// As [`Sequencer::shape_in_steps`].
pub fn training_shapes<S: Data, D: Dimension>(
    sequencer: &impl Sequencer,
    codes: &Frames<ArrayBase<S, D>>,
) -> Result<[D; 2]> {
    let whole = sequencer.shape_in_steps(codes)?;
    let (time, mut shape) = (whole.ndim() - 1, whole.clone());
    shape[time] = shape[time].saturating_sub(1);
    Ok([whole, shape])
}

/// The ids of each row, and its part in the sums, while its codes are at hand. False if an id does not fit.
fn write_ids<A: Token, B: Token>(
    codes: ArrayView3<A>,
    mut tokens: ArrayViewMut3<B>,
    [tracks, said]: [&Tracks; 2],
    fills: &[Fills<B>],
    (scales, factors): (&mut Scales, &[Factors]),
) -> bool {
    let (mut spare, fits, signs) = (Vec::new(), Cell::new(true), Cell::new(0));
    let write = |codes: &[A], to: &mut [B]| {
        let (fit, seen) = convert_seen(codes, to);
        fits.set(fits.get() & fit);
        signs.set(signs.get() | seen);
    };
    for ((codes, mut tokens), factors) in codes.outer_iter().zip(tokens.outer_iter_mut()).zip(factors) {
        for (k, (codes, tokens)) in codes.outer_iter().zip(tokens.outer_iter_mut()).enumerate() {
            let codes = as_slice(codes, &mut spare);
            on_slice(tokens, |to| place(tracks.of(k), codes, to, &fills[k], write));
            // What the sequence does not hold is not weighed, absent or not.
            scales.count(k, codes, signs.take() >= 0, factors, said);
        }
    }
    fits.get()
}
