//! What the cells of each stream weigh, and how much that is together.
//!
//! ```text
//! stream    token   pad  end of pad  tail      sums      divided by
//! text         1     .5      .5       .5   ->  text       text            the policy says
//! main.0     100                               audio      audio
//! ```

use super::example::Factors;
use super::{Class, PadIds, Policy, Reason, SemanticStreams, Sums};
use crate::delay::{Fills, Piece, Sequencer, Tracks, ends, place};
use crate::error::Result;
use crate::stream::{Kind, Layout, Stream};
use crate::token::Token;
use crate::wide::wide;

/// What a batch weighs.
pub(super) struct Scales {
    /// Of each stream.
    pub streams: Vec<Scale>,
    pub sums: Sums,
    /// Of each row, as [`Row::present`].
    pub present: Vec<bool>,
}

/// A row of codes to be weighed.
#[derive(Clone, Copy)]
pub(super) struct Row<'a, A> {
    pub codes: &'a [A],
    /// Whether none of them is absent, as far as that shows in what is to be written.
    pub present: bool,
    /// Of the example.
    pub factors: &'a Factors,
}

/// What the cells of one stream weigh.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    audio: bool,
    trained: bool,
    /// Whether frames are drawn for it.
    pub depth: bool,
    /// Of pad and of end-of-pad.
    ids: (i64, i64),
    token: f32,
    pad: f32,
    end_pad: f32,
    end_pad_class: Class,
    tail: Tail,
}

/// Fills behind a stream's last code.
#[derive(Debug, Clone, Copy)]
struct Tail {
    /// 0 unless they are learned.
    weight: f32,
    class: Class,
    /// How many there are.
    steps: usize,
}

/// No stream has this one.
const NO_ID: i64 = i64::MIN;

impl Scales {
    /// Raw weights of a layout's streams, over the window of steps that `tracks` walks.
    pub fn new(policy: &Policy, layout: &Layout, sequencer: &impl Sequencer, walk: Walk) -> Result<Self> {
        policy.check(layout)?;
        Ok(Scales::of_checked(policy, layout, sequencer, walk))
    }

    /// [`Scales::new`] of a policy that is known to fit the layout.
    pub fn of_checked(policy: &Policy, layout: &Layout, sequencer: &impl Sequencer, walk: Walk) -> Self {
        let scale = |k: usize| {
            let scale = Scale::of(policy, layout, k);
            let tail = sequencer.fills(k).tail;
            let learned = policy.learned_tails && (0..i64::from(layout.streams()[k].initial)).contains(&tail);
            if learned { scale.with_tail(tail, walk.tail_steps(k)) } else { scale }
        };
        let streams = (0..layout.streams().len()).map(scale).collect();
        Scales { streams, sums: Sums::default(), present: Vec::new() }
    }

    /// Adds a row of stream `k` to the sums, as far as it is in the sequence; `present` as in [`Row`].
    pub fn count<A: Token>(&mut self, k: usize, row: &[A], present: bool, factors: &Factors, tracks: &Tracks) {
        let (scale, ends) = (&self.streams[k], ends(row));
        self.present.push(present);
        let factors = factors.of(scale.depth);
        for piece in tracks.of(k) {
            let factors = factors.get(piece.frames.clone()).unwrap_or_default();
            scale.count(&row[piece.frames.clone()], factors, present, &mut self.sums);
            if piece.eos.is_some() && ends {
                self.sums.count(scale.token_class(), scale.token.into());
            }
        }
        if ends {
            self.sums.count(scale.tail.class, scale.tail.steps as f64 * f64::from(scale.tail.weight));
        }
    }

    /// Divides by the sums, once all rows are in them.
    pub fn normalized(mut self, policy: &Policy) -> Result<Self> {
        let sums = self.sums;
        sums.check()?;
        self.divide(policy, &sums);
        Ok(self)
    }

    /// Divides by the sums of all that this is part of.
    pub fn divide(&mut self, policy: &Policy, sums: &Sums) {
        self.streams.iter_mut().for_each(|scale| scale.divide(|class| policy.divisor(class, sums)));
    }
}

/// Memory for a row in frames, kept from row to row.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(super) weights: Vec<f32>,
    pub(super) reasons: Vec<u8>,
}

/// A walk through a window of a sequence.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub tracks: &'a Tracks,
    pub frames: usize,
    /// Of the window.
    pub steps: usize,
}

impl Walk<'_> {
    /// Steps behind a stream's last column.
    fn tail_steps(self, k: usize) -> usize {
        let (codes, mut tail) = (vec![(); self.frames], vec![false; self.steps]);
        let fills = Fills { tail: true, ..Fills::all(false) };
        place(self.tracks.of(k), &codes, &mut tail, &fills, |_, to| to.fill(false));
        tail.iter().filter(|&&tail| tail).count()
    }
}

impl Policy {
    /// What a token of a stream weighs.
    fn token(&self, layout: &Layout, k: usize) -> f32 {
        let streams = layout.streams();
        let stream = &streams[k];
        let first = || streams.iter().position(|stream| stream.trained && stream.kind.is_audio());
        let semantic = match self.semantic_streams {
            SemanticStreams::All => stream.kind == Kind::Semantic,
            SemanticStreams::FirstAudio => first() == Some(k),
        };
        match self.streams.get(&stream.name) {
            _ if !stream.trained => 0.0,
            Some(&weight) => weight,
            None if stream.kind == Kind::Text => 1.0,
            None => {
                if semantic {
                    self.semantic
                } else {
                    self.acoustic
                }
            }
        }
    }

    /// What an end of pad counts as.
    pub(super) fn end_pad_class(&self) -> Class {
        if self.pad_ids == PadIds::PadAndEndPad { Class::Pads } else { Class::Words }
    }

    /// Whether frames are drawn for a stream.
    fn draws_for(&self, stream: &Stream) -> bool {
        self.depth_frames.is_some() && stream.kind == Kind::Acoustic && stream.level != Some(0)
    }
}

impl Scale {
    pub fn of(policy: &Policy, layout: &Layout, k: usize) -> Self {
        let (stream, token) = (&layout.streams()[k], policy.token(layout, k));
        let (audio, pad) = (stream.kind.is_audio(), policy.text_pad * token);
        let end_pad_class = policy.end_pad_class();
        let end_pad = if end_pad_class == Class::Pads { pad } else { token };
        let text_id = |id: u32| if audio { NO_ID } else { i64::from(id) };
        let ids = (text_id(stream.pad), stream.end_pad.map_or(NO_ID, text_id));
        let (trained, depth) = (stream.trained, policy.draws_for(stream));
        let tail = Tail { weight: 0.0, class: Class::Words, steps: 0 };
        Scale { audio, trained, depth, ids, token, pad, end_pad, end_pad_class, tail }
    }

    /// The same with learned tails of this id.
    fn with_tail(self, id: i64, steps: usize) -> Self {
        Scale { tail: Tail { weight: self.weight(id), class: self.class(id), steps }, ..self }
    }

    fn divide(&mut self, divisor: impl Fn(Class) -> f64) {
        let divide = |weight: f32, class: Class| (f64::from(weight) / divisor(class)) as f32;
        let class = self.token_class();
        self.token = divide(self.token, class);
        self.pad = divide(self.pad, Class::Pads);
        self.end_pad = divide(self.end_pad, self.end_pad_class);
        self.tail.weight = divide(self.tail.weight, self.tail.class);
    }

    fn token_class(&self) -> Class {
        if self.audio { Class::Audio } else { Class::Words }
    }

    /// The class of a code that is there, or of a learned fill.
    pub fn class(&self, code: i64) -> Class {
        match code {
            _ if self.audio => Class::Audio,
            code if code == self.ids.0 => Class::Pads,
            code if code == self.ids.1 => self.end_pad_class,
            _ => Class::Words,
        }
    }

    /// Weight of a code.
    fn weight(&self, code: i64) -> f32 {
        // By bits: a choice among fields would be compiled to a look-up for each code of a row.
        let only = |is: bool, weight: f32| weight.to_bits() & u32::from(is).wrapping_neg();
        let end_pad = code == self.ids.1;
        let pad = code == self.ids.0 && !end_pad;
        let weight = only(!pad & !end_pad, self.token) | only(pad, self.pad) | only(end_pad, self.end_pad);
        f32::from_bits(weight & u32::from(code >= 0).wrapping_neg())
    }

    /// Whether no code of the stream weighs anything.
    pub fn is_nothing(&self) -> bool {
        self.audio && self.token == 0.0
    }

    /// Writes the weights of some codes, of which all may be known to be present.
    fn weigh_codes<A: Token>(&self, codes: &[A], weights: &mut [f32], present: bool) {
        wide(|| match self.audio && present {
            true => weights.fill(self.token),
            false => weights.iter_mut().zip(codes).for_each(|(weight, &code)| *weight = self.weight(code.into())),
        })
    }

    /// Adds the weights of some codes: how many there are of each kind, times what it weighs; one by one where frames
    /// have factors.
    fn count<A: Token>(&self, codes: &[A], factors: &[f32], present: bool, sums: &mut Sums) {
        if !factors.is_empty() {
            let cells = codes.iter().map(|&code| code.into()).zip(factors);
            return cells
                .for_each(|(code, factor)| sums.count(self.class(code), f64::from(self.weight(code) * factor)));
        }
        let present = if present { codes.len() } else { count(codes, |code| code >= 0) };
        let mut add = |class, count: usize, weight: f32| sums.count(class, count as f64 * f64::from(weight));
        if self.audio {
            return add(Class::Audio, present, self.token);
        }
        let (pads, end_pads) = (count(codes, |code| code == self.ids.0), count(codes, |code| code == self.ids.1));
        add(Class::Words, present - pads - end_pads, self.token);
        add(Class::Pads, pads, self.pad);
        add(self.end_pad_class, end_pads, self.end_pad);
    }

    /// Writes the reasons of some codes, of which all may be known to be present.
    fn mark_codes<A: Token>(&self, codes: &[A], reasons: &mut [u8], present: bool) {
        let token = if self.trained { Reason::Token } else { Reason::Untrained } as u8;
        match self.audio || !self.trained {
            true if present => reasons.fill(token),
            plain => wide(|| {
                reasons.iter_mut().zip(codes).for_each(|(reason, &code)| {
                    let code = code.into();
                    let pad = if code == self.ids.0 { Reason::Pad as u8 } else { token };
                    let pad = if code == self.ids.1 { Reason::EndPad as u8 } else { pad };
                    let number = if plain { token } else { pad };
                    *reason = if code < 0 { Reason::Absent as u8 } else { number };
                });
            }),
        }
    }

    /// Writes a row's weights in frames.
    pub fn weigh<A: Token>(&self, row: Row<A>, frames: &mut [f32]) {
        self.weigh_codes(row.codes, frames, row.present);
        row.factors.scale(self.depth, frames);
    }

    /// Writes a row's reasons in frames.
    pub fn mark<A: Token>(&self, row: Row<A>, frames: &mut [u8]) {
        self.mark_codes(row.codes, frames, row.present);
        row.factors.mark(self.depth, frames);
    }

    /// Writes a row's weights in steps; they go by way of `spare` only where frames have factors.
    pub fn place_weights<A: Token>(&self, pieces: &[Piece], row: Row<A>, steps: &mut [f32], spare: &mut Vec<f32>) {
        let fills = self.fills(ends(row.codes));
        if row.factors.of(self.depth).is_empty() {
            return place(pieces, row.codes, steps, &fills, |codes, to| self.weigh_codes(codes, to, row.present));
        }
        spare.resize(row.codes.len(), 0.0);
        self.weigh(row, spare);
        place(pieces, spare, steps, &fills, |from, to| to.copy_from_slice(from));
    }

    /// Writes a row's reasons in steps, likewise.
    pub fn place_reasons<A: Token>(&self, pieces: &[Piece], row: Row<A>, steps: &mut [u8], spare: &mut Vec<u8>) {
        let fills = self.fill_reasons(ends(row.codes));
        if row.factors.of(self.depth).is_empty() {
            return place(pieces, row.codes, steps, &fills, |codes, to| self.mark_codes(codes, to, row.present));
        }
        spare.resize(row.codes.len(), 0);
        self.mark(row, spare);
        place(pieces, spare, steps, &fills, |from, to| to.copy_from_slice(from));
    }

    /// Weights of cells without a code: the end of a stream and its tail are learned if it `ends`.
    fn fills(&self, ends: bool) -> Fills<f32> {
        let learned = |weight| if ends { weight } else { 0.0 };
        Fills { eos: learned(self.token), tail: learned(self.tail.weight), ..Fills::all(0.0) }
    }

    /// Reasons of cells without a code.
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
    wide(|| codes.iter().map(|&code| usize::from(is(code.into()))).sum())
}
