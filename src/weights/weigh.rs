//! Weights and reasons of every position, in frames and in steps.
//!
//! ```text
//! row of codes  ->  weights in frames  ->  weights in steps       what a code weighs goes where the code goes
//!                   reasons in frames  ->  reasons in steps
//! ```

use ndarray::{Array, ArrayBase, ArrayView3, ArrayViewMut, ArrayViewMut3, Axis, Data, Dimension};

use super::example::{Example, Factors};
use super::scale::{Row, Scales, Walk};
use super::{Policy, Reason, Sums};
use crate::delay::{Piece, Sequencer, Tracks, check_shape, check_streams};
use crate::error::Result;
use crate::stream::rows::{each_row, read_rows};
use crate::stream::{Frames, Layout, Steps, batched, batched_mut};
use crate::token::{Token, all_present};

/// A policy over a layout, with what is known of a batch's examples.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::weights::{Example, Region, Weighing};
/// use roundelay::{Delay, Extent, Frames, Layout, Policy, Seconds, Start};
///
/// let (layout, policy) = (Layout::preset("delay-1")?, Policy::from_json(r#"{"normalize": "none"}"#)?);
/// let delay = Delay::new(&layout, Extent::Extend, Start::None);
/// let loud = Region { start: Seconds::from_f64(0.1)?, end: Seconds::from_f64(0.16)?, weight: 2.0 };
/// let examples = [Example { index: 0, regions: &[loud] }];
/// let weighing = Weighing { examples: &examples, ..Weighing::new(&policy, &layout) };
///
/// let weights = weighing.weigh(&delay, &Frames(arr2(&[[9, 3], [1, 2], [5, 6]])))?;
/// assert_eq!(weights.steps.0, arr2(&[[1.0, 1.0, 0.0], [0.0, 100.0, 200.0], [0.0, 1.0, 2.0]]));
/// assert_eq!(weights.frame_reasons.0, arr2(&[[0, 129], [0, 128], [0, 128]])); // token, pad; bit 7 in the region
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Weighing<'a> {
    /// What tokens weigh.
    pub policy: &'a Policy,
    /// The rows of the codes.
    pub layout: &'a Layout,
    /// One for each example of the batch. None at all: they are without regions, and their index is their place.
    pub examples: &'a [Example<'a>],
}

/// Weights and reasons in both frames of reference. Multiplied with the cross-entropies and summed, either gives the
/// loss. What is learned without being a code exists in steps only: the end column of a bracket and, where the policy
/// says so, the tail; neither if the stream's last code is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights<D: Dimension> {
    /// `[.., stream, time]` over T frames.
    pub frames: Frames<Array<f32, D>>,
    /// [`Reason`] numbers over T frames, with the bit of a region.
    pub frame_reasons: Frames<Array<u8, D>>,
    /// `[.., stream, time]` over S steps.
    pub steps: Steps<Array<f32, D>>,
    /// [`Reason`] numbers over S steps, with the bit of a region.
    pub step_reasons: Steps<Array<u8, D>>,
    /// What a normalisation divided by.
    pub sums: Sums,
}

/// The caller's memory for those of [`Weights`] that are wanted.
///
/// # Examples
/// ```
/// use ndarray::{Array2, arr2};
/// use roundelay::weights::WeightsViews;
/// use roundelay::{Delay, Extent, Frames, Layout, Policy, Start, Steps};
///
/// let (layout, policy) = (Layout::preset("delay-1")?, Policy::from_json(r#"{"normalize": "none"}"#)?);
/// let delay = Delay::new(&layout, Extent::Extend, Start::None);
/// let mut steps = Array2::zeros((3, 3));
/// let views = WeightsViews { steps: Some(Steps(steps.view_mut())), ..WeightsViews::default() };
/// let sums = policy.weigh_into(&layout, &delay, &Frames(arr2(&[[9, 3], [1, 2], [5, 6]])), views)?;
/// assert_eq!(steps, arr2(&[[1.0, 0.5, 0.0], [0.0, 100.0, 100.0], [0.0, 1.0, 1.0]]));
/// assert_eq!(sums.text, 1.5);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct WeightsViews<'a, D: Dimension> {
    /// `[.., stream, time]` over T frames.
    pub frames: Option<Frames<ArrayViewMut<'a, f32, D>>>,
    /// Over T frames.
    pub frame_reasons: Option<Frames<ArrayViewMut<'a, u8, D>>>,
    /// `[.., stream, time]` over S steps.
    pub steps: Option<Steps<ArrayViewMut<'a, f32, D>>>,
    /// Over S steps.
    pub step_reasons: Option<Steps<ArrayViewMut<'a, u8, D>>>,
}

impl Policy {
    /// Weighs every position of `codes` and of the sequence that `sequencer` makes of them.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames. Sums are over all of it.
    /// # Errors
    /// `StreamCount`, or `Invalid` for the number of axes, a weight that is no factor or a stream that there is not.
    /// # Source
    /// Moshi paper (arXiv 2410.00037); moshi-finetune `compute_loss_with_mask`, which gives NaN where a modality has
    /// nothing to learn.
    pub fn weigh<A: Token, S, D>(
        &self,
        layout: &Layout,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<Weights<D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        Weighing::new(self, layout).weigh(sequencer, codes)
    }

    /// [`Policy::weigh`] into the caller's memory: frames of the codes' shape, steps of what
    /// [`Sequencer::shape_in_steps`] gives. Every cell is written. Steps without reasons are what a loss needs.
    ///
    /// # Errors
    /// As `weigh`; `Invalid` if a view has another shape.
    pub fn weigh_into<A: Token, S, D>(
        &self,
        layout: &Layout,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
        views: WeightsViews<D>,
    ) -> Result<Sums>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        Weighing::new(self, layout).weigh_into(sequencer, codes, views)
    }
}

impl<'a> Weighing<'a> {
    /// Examples without regions, by their place in the batch.
    pub fn new(policy: &'a Policy, layout: &'a Layout) -> Self {
        Weighing { policy, layout, examples: &[] }
    }

    /// [`Policy::weigh`] with the examples' regions and draws.
    ///
    /// # Shapes
    /// As there; a grid without a batch is one example.
    /// # Errors
    /// As there; `Invalid` for a region that is none, or another number of examples than in the codes.
    pub fn weigh<A: Token, S, D>(
        &self,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<Weights<D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        let (shape, in_steps) = (codes.0.raw_dim(), sequencer.shape_in_steps(codes)?);
        let mut frames = Array::zeros(shape.clone());
        let mut frame_reasons = Array::zeros(shape);
        let mut steps = Array::zeros(in_steps.clone());
        let mut step_reasons = Array::zeros(in_steps);
        let views = WeightsViews {
            frames: Some(Frames(frames.view_mut())),
            frame_reasons: Some(Frames(frame_reasons.view_mut())),
            steps: Some(Steps(steps.view_mut())),
            step_reasons: Some(Steps(step_reasons.view_mut())),
        };
        let sums = self.weigh_into(sequencer, codes, views)?;
        Ok(Weights {
            frames: Frames(frames),
            frame_reasons: Frames(frame_reasons),
            steps: Steps(steps),
            step_reasons: Steps(step_reasons),
            sums,
        })
    }

    /// [`Weighing::weigh`] into the caller's memory, as [`Policy::weigh_into`].
    ///
    /// # Errors
    /// As `weigh`; `Invalid` if a view has another shape.
    pub fn weigh_into<A: Token, S, D>(
        &self,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
        views: WeightsViews<D>,
    ) -> Result<Sums>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        check_streams(sequencer, self.layout.streams().len())?;
        views.check(&codes.0.raw_dim(), &sequencer.shape_in_steps(codes)?)?;
        let codes = batched(&codes.0)?;
        let (frames, steps) = (codes.len_of(TIME), sequencer.steps(codes.len_of(TIME))?);
        let tracks = Tracks::new(sequencer, frames, 0..steps);
        let factors = self.factors(codes.len_of(Axis(0)), frames)?;
        let mut scales = Scales::new(self.policy, self.layout, sequencer, Walk { tracks: &tracks, frames, steps })?;
        // Of a stream that weighs nothing, only reasons say whether a code is absent.
        let with_reasons = views.frame_reasons.is_some() || views.step_reasons.is_some();
        let mut of_row = factors_by_row(&factors, scales.streams.len());
        read_rows(codes, |k, row| {
            let present = !with_reasons && scales.streams[k].is_nothing() || all_present(row);
            scales.count(k, row, present, of_row(), &tracks);
        });
        let scales = scales.normalized(self.policy)?;
        Weighed { codes, scales: &scales, tracks: &tracks, factors: &factors }.write(views)?;
        Ok(scales.sums)
    }
}

impl<D: Dimension> WeightsViews<'_, D> {
    fn check(&self, frames: &D, steps: &D) -> Result<()> {
        self.frames.iter().try_for_each(|view| check_shape("frames", frames, &view.0))?;
        self.frame_reasons.iter().try_for_each(|view| check_shape("frame_reasons", frames, &view.0))?;
        self.steps.iter().try_for_each(|view| check_shape("steps", steps, &view.0))?;
        self.step_reasons.iter().try_for_each(|view| check_shape("step_reasons", steps, &view.0))
    }
}

/// A batch once its sums are known.
struct Weighed<'a, A> {
    codes: ArrayView3<'a, A>,
    scales: &'a Scales,
    tracks: &'a Tracks,
    factors: &'a [Factors],
}

impl<A: Token> Weighed<'_, A> {
    fn write<D: Dimension>(self, views: WeightsViews<D>) -> Result<()> {
        let Weighed { codes, scales, tracks, factors } = self;
        if let Some(Frames(view)) = views.frames {
            scales.each_row(codes, batched_mut(view)?, factors, |k, row, to| {
                scales.streams[k].weigh(row, to);
                each_cut(tracks.of(k), to, |cut| cut.fill(0.0));
            });
        }
        if let Some(Frames(view)) = views.frame_reasons {
            scales.each_row(codes, batched_mut(view)?, factors, |k, row, to| {
                scales.streams[k].mark(row, to);
                each_cut(tracks.of(k), to, mark_cut);
            });
        }
        if let Some(Steps(view)) = views.steps {
            scales.write_weights(codes, batched_mut(view)?, tracks, factors);
        }
        if let Some(Steps(view)) = views.step_reasons {
            let mut spare = Vec::new();
            scales.each_row(codes, batched_mut(view)?, factors, |k, row, to| {
                scales.streams[k].place_reasons(tracks.of(k), row, to, &mut spare);
            });
        }
        Ok(())
    }
}

impl Scales {
    /// Writes the weights of a batch in steps.
    pub fn write_weights<A: Token>(
        &self,
        codes: ArrayView3<A>,
        weights: ArrayViewMut3<f32>,
        tracks: &Tracks,
        factors: &[Factors],
    ) {
        let mut spare = Vec::new();
        self.each_row(codes, weights, factors, |k, row, to| {
            self.streams[k].place_weights(tracks.of(k), row, to, &mut spare);
        });
    }

    /// Calls `work` on each row of a batch that was counted, with its index of stream and the row to write.
    fn each_row<A: Token, B: Copy>(
        &self,
        codes: ArrayView3<A>,
        to: ArrayViewMut3<B>,
        factors: &[Factors],
        mut work: impl FnMut(usize, Row<A>, &mut [B]),
    ) {
        let (mut present, mut factors) = (self.present.iter(), factors_by_row(factors, self.streams.len()));
        each_row(codes, to, |k, codes, to| {
            let present = present.next() == Some(&true);
            work(k, Row { codes, present, factors: factors() }, to);
        });
    }
}

/// Gives, row by row of a batch, the factors of the example.
fn factors_by_row<'a>(factors: &'a [Factors], streams: usize) -> impl FnMut() -> &'a Factors {
    let mut row = 0;
    move || {
        row += 1;
        &factors[(row - 1) / streams]
    }
}

/// Calls `work` on the frames of a row that the sequence does not hold.
fn each_cut<B>(pieces: &[Piece], frames: &mut [B], work: impl Fn(&mut [B])) {
    let mut kept = 0;
    for piece in pieces.iter().filter(|piece| !piece.frames.is_empty()) {
        work(&mut frames[kept..piece.frames.start]);
        kept = piece.frames.end;
    }
    work(&mut frames[kept..]);
}

fn mark_cut(reasons: &mut [u8]) {
    let there = reasons.iter_mut().filter(|reason| Reason::of(**reason) != Some(Reason::Absent));
    there.for_each(|reason| *reason = Reason::Tail as u8 | *reason & Reason::REGION);
}

/// The time axis of a batch.
pub(super) const TIME: Axis = Axis(2);

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;
    use crate::delay::Bracket;
    use crate::weights::Normalize;
    use crate::{Delay, Extent, Start};

    fn layout() -> Layout {
        Layout::preset("delay-1").unwrap()
    }

    fn weigh(policy: &Policy, extent: Extent, codes: &Array2<i64>) -> Weights<ndarray::Ix2> {
        policy.weigh(&layout(), &Delay::new(&layout(), extent, Start::None), &Frames(codes.view())).unwrap()
    }

    fn raw() -> Policy {
        Policy { normalize: Normalize::None, ..Policy::named("moshi").unwrap() }
    }

    #[test]
    fn pads_weigh_half_and_fills_nothing() {
        let weights = weigh(&raw(), Extent::Extend, &arr2(&[[3, 0, 7], [1, 2048, 2], [-1, -2, 5]]));
        assert_eq!(weights.frames.0, arr2(&[[0.5, 0.5, 1.0], [100.0, 100.0, 100.0], [0.0, 0.0, 1.0]]));
        assert_eq!(weights.frame_reasons.0, arr2(&[[1, 2, 0], [0, 0, 0], [5, 5, 0]]));
        assert_eq!(weights.steps.0, arr2(&[[0.5, 0.5, 1.0, 0.0], [0.0, 100.0, 100.0, 100.0], [0.0, 0.0, 0.0, 1.0]]));
        assert_eq!(weights.step_reasons.0, arr2(&[[1, 2, 0, 4], [3, 0, 0, 0], [3, 5, 5, 0]]));
        assert_eq!(weights.sums, Sums { text: 2.0, audio: 301.0, words: 1.0, pads: 1.0 });
    }

    #[test]
    fn an_end_is_learned_unless_the_code_before_it_is_absent() {
        let layout =
            Layout::from_json(&layout().to_json().replace("\"initial\"", "\"bos\":7,\"eos\":8,\"initial\"")).unwrap();
        let delay = Delay::new(&layout, Extent::Extend, Start::None).bracketed(&layout, Bracket::BOTH).unwrap();
        let codes = Frames(arr2(&[[5, 3], [1, 2], [3, -1]]));
        let weights = raw().weigh(&layout, &delay, &codes).unwrap();
        assert_eq!(weights.steps.0.row(0).to_vec(), [0.0, 1.0, 0.5, 1.0, 0.0]);
        assert_eq!(weights.steps.0.row(1).to_vec(), [0.0, 0.0, 100.0, 100.0, 100.0]);
        assert_eq!(weights.steps.0.row(2).to_vec(), [0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(weights.step_reasons.0, arr2(&[[3, 0, 1, 0, 4], [3, 3, 0, 0, 0], [3, 3, 0, 5, 5]]));
        assert_eq!(weights.sums, Sums { text: 2.5, audio: 301.0, words: 2.0, pads: 0.5 });
        assert_eq!(delay.labels(&codes, -100).unwrap().0.row(2).to_vec(), [-100, -100, 3, -100, -100]);
    }

    #[test]
    fn a_sequencer_of_another_layout_is_refused() {
        let (other, codes) = (Layout::preset("musicgen").unwrap(), Frames(Array2::<i64>::zeros((3, 2))));
        let delay = Delay::new(&other, Extent::Extend, Start::Initial);
        let error = raw().weigh(&layout(), &delay, &codes).unwrap_err();
        assert_eq!(error.to_string(), "the grid has 3 streams, expected 4");
        assert!(raw().training(&layout(), &delay, &codes).is_err());
    }

    #[test]
    fn what_truncation_cuts_weighs_nothing_in_either_frame() {
        let weights = weigh(&raw(), Extent::Truncate, &arr2(&[[5, 6], [1, 2], [3, -1]]));
        assert_eq!(weights.frames.0, arr2(&[[1.0, 1.0], [100.0, 0.0], [1.0, 0.0]]));
        assert_eq!(weights.frame_reasons.0, arr2(&[[0, 0], [0, 4], [0, 5]]));
        assert_eq!(weights.frames.0.sum(), weights.steps.0.sum());
    }

    #[test]
    fn each_modality_sums_to_one_or_to_nothing() {
        let codes = arr2(&[[5, 3], [1, 2], [3, 4]]);
        let policy = Policy::named("moshi").unwrap();
        let weights = weigh(&policy, Extent::Extend, &codes);
        assert!((weights.frames.0.row(0).sum() - 1.0).abs() < 1e-6);
        assert!((weights.frames.0.sum() - 2.0).abs() < 1e-6);
        let weights = weigh(&policy, Extent::Extend, &arr2(&[[-1, -1], [1, 2], [3, 4]]));
        assert_eq!(weights.sums.text, 0.0);
        assert!((weights.frames.0.sum() - 1.0).abs() < 1e-6);
    }
}
