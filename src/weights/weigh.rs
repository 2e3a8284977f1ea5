//! Rules and positions to weights and reasons.

use ndarray::{Array, ArrayBase, Axis, Data, Dimension};

use super::{Normalize, PadIds, Policy};
use crate::delay::{Fills, Sequencer, Tracks, check_streams, ends, place};
use crate::error::Result;
use crate::stream::rows::{each_row, read_rows};
use crate::stream::{Frames, Kind, Layout, Steps, Stream, batched, batched_mut};
use crate::token::{Token, all_present};

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
    /// Filled behind one of its codes, in a step that it leaves free or after the last; in frames, cut off by
    /// truncation.
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
/// loss; the end column of a bracket is learned too, unless the stream's last code is absent, and exists in steps only.
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
    /// Weighs every position of `codes` and of the sequence that `sequencer` makes of them.
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
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<Weights<D>>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        check_streams(sequencer, layout.streams().len())?;
        let grid = batched(&codes.0)?;
        let (frames, shape) = (grid.len_of(TIME), codes.0.raw_dim());
        let tracks = Tracks::new(sequencer, frames, 0..sequencer.steps(frames)?);
        let mut scales = self.scales(layout, grid.len_of(Axis(1)))?;
        read_rows(grid, |k, row| scales.count(k, row, &tracks));
        let Scales { streams: scales, sums, .. } = scales.normalized(self.normalize);
        let (mut weights, mut reasons) = (Array::zeros(shape.clone()), Array::zeros(shape.clone()));
        each_row(grid, batched_mut(weights.view_mut())?, |k, codes, weights| {
            for kept in tracks.of(k).iter().map(|piece| piece.frames.clone()) {
                scales[k].weigh(&codes[kept.clone()], &mut weights[kept], false);
            }
        });
        each_row(grid, batched_mut(reasons.view_mut())?, |k, codes, reasons| {
            mark(codes, reasons, |code| if code < 0 { Reason::Absent } else { Reason::Tail });
            for kept in tracks.of(k).iter().map(|piece| piece.frames.clone()) {
                mark(&codes[kept.clone()], &mut reasons[kept], |code| scales[k].reason(code));
            }
        });
        let mut in_steps = shape;
        in_steps[codes.0.ndim() - 1] = sequencer.steps(frames)?;
        let (mut step_weights, mut step_reasons) = (Array::zeros(in_steps.clone()), Array::zeros(in_steps));
        each_row(grid, batched_mut(step_weights.view_mut())?, |k, codes, steps| {
            let write = |codes: &[A], to: &mut [f32]| scales[k].weigh(codes, to, false);
            place(tracks.of(k), codes, steps, &scales[k].fills(ends(codes)), write);
        });
        each_row(grid, batched_mut(step_reasons.view_mut())?, |k, codes, steps| {
            let write = |codes: &[A], to: &mut [u8]| mark(codes, to, |code| scales[k].reason(code));
            place(tracks.of(k), codes, steps, &scales[k].fill_reasons(ends(codes)), write);
        });
        Ok(Weights {
            frames: Frames(weights),
            frame_reasons: Frames(reasons),
            steps: Steps(step_weights),
            step_reasons: Steps(step_reasons),
            sums,
        })
    }

    /// What each stream's cells weigh before any normalisation.
    pub(super) fn scales(&self, layout: &Layout, streams: usize) -> Result<Scales> {
        self.validate()?;
        layout.check_streams(streams)?;
        let streams = layout.streams().iter().map(|stream| self.scale(stream)).collect();
        Ok(Scales { streams, sums: Sums::default(), present: Vec::new() })
    }

    /// Raw weights of a stream.
    fn scale(&self, stream: &Stream) -> Scale {
        let seen = |weight| if stream.trained { weight } else { 0.0 };
        let token = seen(match stream.kind {
            Kind::Text => 1.0,
            Kind::Semantic => self.semantic,
            Kind::Acoustic => self.acoustic,
        });
        let pad = seen(self.text_pad);
        let end_pad = if self.pad_ids == PadIds::PadAndEndPad { pad } else { token };
        let text_id = |id: u32| if stream.kind == Kind::Text { i64::from(id) } else { NO_ID };
        let ids = (text_id(stream.pad), stream.end_pad.map_or(NO_ID, text_id));
        Scale { kind: stream.kind, trained: stream.trained, ids, token, pad, end_pad }
    }
}

/// What a batch weighs.
pub(super) struct Scales {
    /// Of each stream.
    pub streams: Vec<Scale>,
    pub sums: Sums,
    /// Of each row, whether no code of it is absent.
    pub present: Vec<bool>,
}

impl Scales {
    /// Adds a row of stream `k` to the sums, as far as it is in the sequence.
    pub fn count<A: Token>(&mut self, k: usize, row: &[A], tracks: &Tracks) {
        let (scale, full) = (&self.streams[k], all_present(row));
        self.present.push(full);
        for piece in tracks.of(k) {
            let end = if piece.eos.is_some() && ends(row) { f64::from(scale.token) } else { 0.0 };
            *self.sums.of(scale.kind) += scale.sum(&row[piece.frames.clone()], full) + end;
        }
    }

    /// Divides by the sums, once all rows are in them.
    pub fn normalized(mut self, normalize: Normalize) -> Self {
        if normalize != Normalize::None {
            let sums = &mut self.sums;
            self.streams.iter_mut().for_each(|scale| scale.divide(*sums.of(scale.kind)));
        }
        self
    }
}

/// What the cells of one stream weigh.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    kind: Kind,
    trained: bool,
    /// Of pad and of end-of-pad.
    ids: (i64, i64),
    token: f32,
    pad: f32,
    end_pad: f32,
}

/// No stream has this one.
const NO_ID: i64 = i64::MIN;

/// The time axis of a batch.
pub(super) const TIME: Axis = Axis(2);

impl Scale {
    fn divide(&mut self, sum: f64) {
        if sum > 0.0 {
            for weight in [&mut self.token, &mut self.pad, &mut self.end_pad] {
                *weight = (f64::from(*weight) / sum) as f32;
            }
        }
    }

    /// Weight of a text token.
    fn text_weight(&self, code: i64) -> f32 {
        // Every choice is a select, so that a row goes through without branches.
        let weight = if code == self.ids.0 { self.pad } else { self.token };
        let weight = if code == self.ids.1 { self.end_pad } else { weight };
        if code < 0 { 0.0 } else { weight }
    }

    /// Writes the weights of some codes, of which all may be known to be present.
    pub fn weigh<A: Token>(&self, codes: &[A], weights: &mut [f32], present: bool) {
        let cells = weights.iter_mut().zip(codes);
        match (self.kind.is_audio(), present) {
            (true, true) => weights.fill(self.token),
            (true, false) => cells.for_each(|(weight, &code)| *weight = if code.into() < 0 { 0.0 } else { self.token }),
            (false, _) => cells.for_each(|(weight, &code)| *weight = self.text_weight(code.into())),
        }
    }

    /// Sum of the weights of some codes: how many there are of each kind, times what it weighs.
    fn sum<A: Token>(&self, codes: &[A], present: bool) -> f64 {
        let present = if present { codes.len() } else { count(codes, |code| code >= 0) };
        if self.kind.is_audio() {
            return present as f64 * f64::from(self.token);
        }
        let (pads, end_pads) = (count(codes, |code| code == self.ids.0), count(codes, |code| code == self.ids.1));
        let weigh = |count: usize, weight: f32| count as f64 * f64::from(weight);
        weigh(present - pads - end_pads, self.token) + weigh(pads, self.pad) + weigh(end_pads, self.end_pad)
    }

    fn reason(&self, code: i64) -> Reason {
        match code {
            // Absent and ungenerated.
            ..0 => Reason::Absent,
            _ if !self.trained => Reason::Untrained,
            _ if code == self.ids.1 => Reason::EndPad,
            _ if code == self.ids.0 => Reason::Pad,
            _ => Reason::Token,
        }
    }

    /// Weights of cells without a code: the end of a stream is learned if it `ends`.
    pub fn fills(&self, ends: bool) -> Fills<f32> {
        Fills { eos: if ends { self.token } else { 0.0 }, ..Fills::all(0.0) }
    }

    fn fill_reasons(&self, ends: bool) -> Fills<u8> {
        let eos = match (ends, self.trained) {
            (false, _) => Reason::Absent,
            (true, false) => Reason::Untrained,
            (true, true) => Reason::Token,
        };
        Fills { eos: eos as u8, ..Fills::edges(Reason::Head as u8, Reason::Tail as u8) }
    }
}

fn count<A: Token>(codes: &[A], is: impl Fn(i64) -> bool) -> usize {
    codes.iter().map(|&code| usize::from(is(code.into()))).sum()
}

fn mark<A: Token>(codes: &[A], reasons: &mut [u8], reason: impl Fn(i64) -> Reason) {
    reasons.iter_mut().zip(codes).for_each(|(number, &code)| *number = reason(code.into()) as u8);
}

impl Sums {
    fn of(&mut self, kind: Kind) -> &mut f64 {
        if kind.is_audio() { &mut self.audio } else { &mut self.text }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;
    use crate::delay::Bracket;
    use crate::{Delay, Extent, Start};

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
        assert_eq!(weights.sums, Sums { text: 2.5, audio: 301.0 });
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
