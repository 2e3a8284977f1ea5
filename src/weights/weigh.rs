//! Rules and positions to weights and reasons.

use ndarray::{Array, Array3, ArrayBase, Axis, Data, Dimension, Zip};

use super::{Normalize, PadIds, Policy};
use crate::delay::{Delay, Extent};
use crate::error::Result;
use crate::stream::{Frames, Kind, Layout, Steps, Stream, batched};
use crate::token::Token;

/// Why a position weighs what it weighs. Where several hold, the first of this order does: absent, head, tail,
/// untrained, end-of-pad, pad, token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A text token or a code.
    Token = 0,
    /// Text: nothing is being said.
    Pad = 1,
    /// Text: the step just before a word begins.
    EndPad = 2,
    /// Filled before the stream's first token.
    Head = 3,
    /// Filled after its last, or, in frames, cut off by truncation.
    Tail = 4,
    /// No token here.
    Absent = 5,
    /// A stream that the loss does not see.
    Untrained = 6,
}

impl Reason {
    /// All reasons, by their number.
    pub const ALL: [Reason; 7] =
        [Reason::Token, Reason::Pad, Reason::EndPad, Reason::Head, Reason::Tail, Reason::Absent, Reason::Untrained];

    /// The name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Token => "token",
            Reason::Pad => "pad",
            Reason::EndPad => "end_pad",
            Reason::Head => "head",
            Reason::Tail => "tail",
            Reason::Absent => "absent",
            Reason::Untrained => "untrained",
        }
    }
}

/// Weights and reasons in both frames of reference. Multiplied with the cross-entropies and summed, either gives the
/// loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights<D: Dimension> {
    /// `[.., stream, time]` over T frames.
    pub frames: Frames<Array<f32, D>>,
    /// [`Reason`] numbers over T frames.
    pub frame_reasons: Frames<Array<u8, D>>,
    /// `[.., stream, time]` over S steps.
    pub steps: Steps<Array<f32, D>>,
    /// [`Reason`] numbers over S steps.
    pub step_reasons: Steps<Array<u8, D>>,
    /// What a normalisation divided by.
    pub sums: Sums,
}

/// Sums of the raw weights. A sum of 0 means that the modality has nothing to learn here: it adds 0 to the loss.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// Over text streams.
    pub text: f64,
    /// Over semantic and acoustic streams.
    pub audio: f64,
}

impl Policy {
    /// Weighs every position of `codes` and of the sequence that `delay` makes of them.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames. Sums are over all of it.
    /// # Errors
    /// `StreamCount`, or `Invalid` for the number of axes or a weight that is no factor.
    /// # Source
    /// Moshi paper (arXiv 2410.00037); moshi-finetune `compute_loss_with_mask`, which gives NaN where a modality has
    /// nothing to learn.
    pub fn weigh<A: Token, S, D>(
        &self,
        layout: &Layout,
        delay: &Delay,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<Weights<D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        self.validate()?;
        let dim = codes.0.raw_dim();
        let codes = batched(&codes.0)?;
        layout.check_streams(codes.len_of(STREAM))?;
        let shape = codes.raw_dim();
        let (mut weights, mut reasons) = (Array3::zeros(shape), Array3::zeros(shape));
        let mut sums = Sums::default();
        for (k, stream) in layout.streams().iter().enumerate() {
            let mut weights = weights.index_axis_mut(STREAM, k);
            let cut_from = first_cut(delay, stream, codes.len_of(Axis(2)));
            let cells = Zip::indexed(codes.index_axis(STREAM, k));
            cells.and(&mut weights).and(reasons.index_axis_mut(STREAM, k)).for_each(|(_, t), &code, weight, number| {
                let reason = reason(stream, code.into(), t >= cut_from);
                (*weight, *number) = (self.weight(stream.kind, reason), reason as u8);
            });
            *sums.of(stream.kind) += weights.iter().map(|&w| f64::from(w)).sum::<f64>();
        }
        self.divide(layout, &mut weights, &mut sums);
        let (frames, frame_reasons) = (Frames(shaped(weights, &dim)), Frames(shaped(reasons, &dim)));
        let steps = delay.shift(&frames, |_| (0.0, 0.0))?;
        let step_reasons = delay.shift(&frame_reasons, |_| (Reason::Head as u8, Reason::Tail as u8))?;
        Ok(Weights { frames, frame_reasons, steps, step_reasons, sums })
    }

    /// Raw weight of a position.
    fn weight(&self, kind: Kind, reason: Reason) -> f32 {
        match (reason, kind) {
            (Reason::Pad, _) => self.text_pad,
            (Reason::EndPad, _) if self.pad_ids == PadIds::PadAndEndPad => self.text_pad,
            (Reason::EndPad | Reason::Token, Kind::Text) => 1.0,
            (Reason::Token, Kind::Semantic) => self.semantic,
            (Reason::Token, Kind::Acoustic) => self.acoustic,
            _ => 0.0,
        }
    }

    fn divide(&self, layout: &Layout, weights: &mut Array3<f32>, sums: &mut Sums) {
        if self.normalize == Normalize::None {
            return;
        }
        for (stream, mut row) in layout.streams().iter().zip(weights.axis_iter_mut(STREAM)) {
            let sum = *sums.of(stream.kind);
            if sum > 0.0 {
                row.mapv_inplace(|weight| (f64::from(weight) / sum) as f32);
            }
        }
    }
}

/// The streams' axis of a batch.
const STREAM: Axis = Axis(1);

/// A batch in the shape that its codes came in.
fn shaped<A, D: Dimension>(batch: Array3<A>, dim: &D) -> Array<A, D> {
    batch.into_shape_with_order(dim.clone()).expect("a batch of one in front changes no size")
}

impl Sums {
    fn of(&mut self, kind: Kind) -> &mut f64 {
        if kind.is_audio() { &mut self.audio } else { &mut self.text }
    }
}

/// The first frame of a stream that truncation cuts off.
fn first_cut(delay: &Delay, stream: &Stream, frames: usize) -> usize {
    match delay.extent() {
        Extent::Extend => frames,
        Extent::Truncate => frames.saturating_sub(stream.delay),
    }
}

fn reason(stream: &Stream, code: i64, cut: bool) -> Reason {
    let text = stream.kind == Kind::Text;
    match code {
        // Absent and ungenerated.
        ..0 => Reason::Absent,
        _ if cut => Reason::Tail,
        _ if !stream.trained => Reason::Untrained,
        _ if text && stream.end_pad.map(i64::from) == Some(code) => Reason::EndPad,
        _ if text && i64::from(stream.pad) == code => Reason::Pad,
        _ => Reason::Token,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;
    use crate::Start;

    fn layout() -> Layout {
        Layout::preset("delay-1").unwrap()
    }

    fn weigh(policy: Policy, extent: Extent, codes: &Array2<i64>) -> Weights<ndarray::Ix2> {
        policy.weigh(&layout(), &Delay::new(&layout(), extent, Start::None), &Frames(codes.view())).unwrap()
    }

    fn raw() -> Policy {
        Policy { normalize: Normalize::None, ..Policy::named("moshi").unwrap() }
    }

    #[test]
    fn pads_weigh_half_and_fills_nothing() {
        let weights = weigh(raw(), Extent::Extend, &arr2(&[[3, 0, 7], [1, 2048, 2], [-1, -2, 5]]));
        assert_eq!(weights.frames.0, arr2(&[[0.5, 0.5, 1.0], [100.0, 100.0, 100.0], [0.0, 0.0, 1.0]]));
        assert_eq!(weights.frame_reasons.0, arr2(&[[1, 2, 0], [0, 0, 0], [5, 5, 0]]));
        assert_eq!(weights.steps.0, arr2(&[[0.5, 0.5, 1.0, 0.0], [0.0, 100.0, 100.0, 100.0], [0.0, 0.0, 0.0, 1.0]]));
        assert_eq!(weights.step_reasons.0, arr2(&[[1, 2, 0, 4], [3, 0, 0, 0], [3, 5, 5, 0]]));
        assert_eq!(weights.sums, Sums { text: 2.0, audio: 301.0 });
    }

    #[test]
    fn what_truncation_cuts_weighs_nothing_in_either_frame() {
        let weights = weigh(raw(), Extent::Truncate, &arr2(&[[5, 6], [1, 2], [3, -1]]));
        assert_eq!(weights.frames.0, arr2(&[[1.0, 1.0], [100.0, 0.0], [1.0, 0.0]]));
        assert_eq!(weights.frame_reasons.0, arr2(&[[0, 0], [0, 4], [0, 5]]));
        assert_eq!(weights.frames.0.sum(), weights.steps.0.sum());
    }

    #[test]
    fn each_modality_sums_to_one_or_to_nothing() {
        let codes = arr2(&[[5, 3], [1, 2], [3, 4]]);
        let policy = Policy::named("moshi").unwrap();
        let weights = weigh(policy, Extent::Extend, &codes);
        assert!((weights.frames.0.row(0).sum() - 1.0).abs() < 1e-6);
        assert!((weights.frames.0.sum() - 2.0).abs() < 1e-6);
        let weights = weigh(policy, Extent::Extend, &arr2(&[[-1, -1], [1, 2], [3, 4]]));
        assert_eq!(weights.sums.text, 0.0);
        assert!((weights.frames.0.sum() - 1.0).abs() < 1e-6);
    }
}
