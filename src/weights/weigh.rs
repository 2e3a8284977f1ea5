//! Weights and reasons of every position, in frames and in steps.
//!
//! ```text
//! row of codes  ->  weights in frames  ->  weights in steps       what a code weighs goes where the code goes
//!                   reasons in frames  ->  reasons in steps
//! ```

use ndarray::{Array, ArrayBase, Axis, Data, Dimension};

use super::example::{Example, Factors};
use super::scale::{Scale, Scales, Walk};
use super::{Policy, Reason, Sums};
use crate::delay::{Sequencer, Tracks, check_streams, ends, place};
use crate::error::Result;
use crate::stream::rows::read_rows;
use crate::stream::{Frames, Layout, Steps, batched};
use crate::token::Token;

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
        check_streams(sequencer, self.layout.streams().len())?;
        let (grid, shape) = (batched(&codes.0)?, codes.0.raw_dim());
        self.layout.check_streams(grid.len_of(Axis(1)))?;
        let (frames, steps) = (grid.len_of(TIME), sequencer.steps(grid.len_of(TIME))?);
        let tracks = Tracks::new(sequencer, frames, 0..steps);
        let factors = self.factors(grid.len_of(Axis(0)), frames)?;
        let mut scales = Scales::new(self.policy, self.layout, sequencer, Walk { tracks: &tracks, frames, steps })?;
        let mut of_row = each_rows(&factors, scales.streams.len());
        read_rows(grid, |k, row| scales.count(k, row, of_row(), &tracks));
        let scales = scales.normalized(self.policy)?;
        let mut sheets = Sheets::new(grid.len_of(Axis(0)) * grid.len_of(Axis(1)), frames, steps);
        let (mut of_row, mut present) = (each_rows(&factors, scales.streams.len()), scales.present.iter());
        read_rows(grid, |k, row| {
            sheets.add(&scales.streams[k], row, present.next() == Some(&true), of_row(), (&tracks, k));
        });
        Ok(sheets.shaped(shape, steps, scales.sums))
    }
}

/// Gives, row by row of a batch, the factors of the example.
pub(super) fn each_rows<'a>(factors: &'a [Factors], streams: usize) -> impl FnMut() -> &'a Factors {
    let mut row = 0;
    move || {
        row += 1;
        &factors[(row - 1) / streams]
    }
}

/// The time axis of a batch.
pub(super) const TIME: Axis = Axis(2);

/// Four grids that grow row by row, so that a row is in the cache until all of it is written.
struct Sheets {
    frames: Sheet<f32>,
    frame_reasons: Sheet<u8>,
    steps: Sheet<f32>,
    step_reasons: Sheet<u8>,
}

impl Sheets {
    fn new(rows: usize, frames: usize, steps: usize) -> Self {
        Sheets {
            frames: Sheet::new(rows, frames),
            frame_reasons: Sheet::new(rows, frames),
            steps: Sheet::new(rows, steps),
            step_reasons: Sheet::new(rows, steps),
        }
    }

    /// Writes one row of each.
    fn add<A: Token>(
        &mut self,
        scale: &Scale,
        codes: &[A],
        full: bool,
        factors: &Factors,
        (tracks, k): (&Tracks, usize),
    ) {
        let (weights, reasons) = (self.frames.next(), self.frame_reasons.next());
        scale.weigh(codes, weights, full);
        factors.scale(scale.depth, weights);
        scale.mark(codes, reasons, full);
        factors.mark(scale.depth, reasons);
        let (pieces, ends) = (tracks.of(k), ends(codes));
        place(pieces, weights, self.steps.next(), &scale.fills(ends), |from, to| to.copy_from_slice(from));
        place(pieces, reasons, self.step_reasons.next(), &scale.fill_reasons(ends), |from, to| {
            to.copy_from_slice(from)
        });
        let mut kept = 0;
        let stretches = pieces.iter().map(|piece| piece.frames.clone()).filter(|frames| !frames.is_empty());
        for frames in stretches.chain(std::iter::once(codes.len()..codes.len())) {
            cut(&mut weights[kept..frames.start], &mut reasons[kept..frames.start]);
            kept = frames.end;
        }
    }

    fn shaped<D: Dimension>(self, frames: D, steps: usize, sums: Sums) -> Weights<D> {
        let mut in_steps = frames.clone();
        in_steps[frames.ndim() - 1] = steps;
        Weights {
            frames: Frames(self.frames.shaped(frames.clone())),
            frame_reasons: Frames(self.frame_reasons.shaped(frames)),
            steps: Steps(self.steps.shaped(in_steps.clone())),
            step_reasons: Steps(self.step_reasons.shaped(in_steps)),
            sums,
        }
    }
}

/// Frames that the sequence does not hold.
fn cut(weights: &mut [f32], reasons: &mut [u8]) {
    weights.fill(0.0);
    let there = reasons.iter_mut().filter(|reason| Reason::of(**reason) != Some(Reason::Absent));
    there.for_each(|reason| *reason = Reason::Tail as u8 | *reason & Reason::REGION);
}

struct Sheet<B> {
    cells: Vec<B>,
    width: usize,
}

impl<B: Copy + Default> Sheet<B> {
    fn new(rows: usize, width: usize) -> Self {
        Sheet { cells: Vec::with_capacity(rows * width), width }
    }

    fn next(&mut self) -> &mut [B] {
        let from = self.cells.len();
        self.cells.resize(from + self.width, B::default());
        &mut self.cells[from..]
    }

    fn shaped<D: Dimension>(self, shape: D) -> Array<B, D> {
        Array::from_shape_vec(shape, self.cells).expect("a row was written for each row of the codes")
    }
}

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
