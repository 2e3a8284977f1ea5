//! Where the weight of a corpus goes.
//!
//! ```text
//! batches    text    token 40.0   pad 18.5   ..      raw weights, added
//!            main.0  token 5200.0            ..
//! shares     text    24.6 %       11.4 %     ..      of what the normalisation makes of all of them
//! ```

use std::collections::BTreeMap;

use ndarray::{Array, ArrayBase, Axis, Data, Dimension};
use serde::{Deserialize, Serialize};

use super::scale::Scale;
use super::{Class, EndTokens, Normalize, Policy, Reason, Sums, Weighing};
use crate::delay::Sequencer;
use crate::error::{Error, Result};
use crate::stream::{Frames, Layout, Steps, Stream, batched};
use crate::token::Token;

/// Weights by reason and stream, over any number of batches as if they were one.
///
/// Steps are counted, fills among them. Which batches the examples came in makes no difference: it is raw weights that
/// are added, and shares are of what the policy's normalisation makes of all of them together.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::weights::{Reason, Summary, Weighing};
/// use roundelay::{Delay, Extent, Frames, Layout, Policy, Start};
///
/// let (layout, policy) = (Layout::preset("delay-1")?, Policy::named("moshi")?);
/// let mut summary = Summary::new(&policy, &layout)?;
/// let delay = Delay::new(&layout, Extent::Extend, Start::None);
/// let codes = Frames(arr2(&[[0, 650, 3, 3], [417, 23, 1, 5], [12, 99, 7, 5]]));
/// summary.add(&Weighing::new(&policy, &layout), &delay, &codes)?;
/// assert_eq!(format!("{:.3}", summary.pad_share.unwrap()), "0.600"); // three halves of two and a half
/// assert_eq!(summary.streams[1].reasons[&Reason::Head].cells, 1);
/// println!("{summary}");
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What tokens weigh.
    pub policy: Policy,
    /// Examples that were added.
    pub examples: u64,
    /// One for each stream of the layout.
    pub streams: Vec<StreamShare>,
    /// Sums of the raw weights.
    pub sums: Sums,
    /// Share of text pads in what text weighs in the loss, learned tails among them; none if text weighs nothing.
    pub pad_share: Option<f64>,
    /// Share of learned tails in all of the loss's weight. They exist in steps only: it is by so much that the sums over
    /// frames and over steps differ.
    pub learned_tails: f64,
    /// Classes that are to be learned and have nothing to learn: they add 0 to the loss.
    pub nothing_to_learn: Vec<Class>,
}

/// One stream of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamShare {
    /// The stream's name.
    pub name: String,
    /// False for text.
    pub audio: bool,
    /// Whether the loss sees it.
    pub trained: bool,
    /// By reason, as far as there are such cells.
    pub reasons: BTreeMap<Reason, Share>,
    /// Cells to which a weighted region applies.
    pub regions: u64,
    /// What learned tails count as.
    pub tails: Class,
    /// Live ends, if the stream has an end id.
    pub end: Option<EndTokens>,
}

/// Cells with one reason in one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub cells: u64,
    /// Sum of their raw weights.
    pub weight: f64,
    /// Their part in all of the loss's weight, 0 to 1.
    pub share: f64,
}

impl Summary {
    /// A summary of nothing yet.
    ///
    /// # Errors
    /// As [`Policy::check`].
    pub fn new(policy: &Policy, layout: &Layout) -> Result<Self> {
        policy.check(layout)?;
        let mut summary = Summary {
            policy: policy.clone(),
            examples: 0,
            streams: layout.streams().iter().map(StreamShare::of).collect(),
            sums: Sums::default(),
            pad_share: None,
            learned_tails: 0.0,
            nothing_to_learn: Vec::new(),
        };
        summary.settle();
        Ok(summary)
    }

    /// Adds a batch.
    ///
    /// # Shapes
    /// `codes` is `[stream, time]` or `[batch, stream, time]` over T frames.
    /// # Errors
    /// As [`Weighing::weigh`]; `Invalid` if the policy or the streams are not those of the summary.
    pub fn add<A: Token, S, D>(
        &mut self,
        weighing: &Weighing,
        sequencer: &impl Sequencer,
        codes: &Frames<ArrayBase<S, D>>,
    ) -> Result<()>
    where
        S: Data<Elem = A>,
        D: Dimension,
    {
        self.check(weighing.policy, weighing.layout.streams().iter().map(|stream| stream.name.as_str()))?;
        let raw = Policy { normalize: Normalize::None, ..weighing.policy.clone() };
        let weights = Weighing { policy: &raw, ..*weighing }.weigh(sequencer, codes)?;
        let mut tokens = Array::zeros(weights.steps.0.raw_dim());
        sequencer.build_into::<_, i64, _, _>(codes, Steps(tokens.view_mut()), None)?;
        let (tokens, steps, reasons) =
            (batched(&tokens)?, batched(&weights.steps.0)?, batched(&weights.step_reasons.0)?);
        for (k, stream) in self.streams.iter_mut().enumerate() {
            let (targets, steps) = (tokens.index_axis(Axis(1), k), steps.index_axis(Axis(1), k));
            stream.count(reasons.index_axis(Axis(1), k).iter().zip(steps));
            stream.tails = Scale::of(&raw, weighing.layout, k).class(sequencer.fills(k).tail);
            stream.end.iter_mut().for_each(|end| end.count(targets, steps));
        }
        self.examples += batched(&codes.0)?.len_of(Axis(0)) as u64;
        self.sums.add(&weights.sums);
        self.settle();
        Ok(())
    }

    /// Adds another summary: merging in any order gives the same, but for the rounding of sums.
    ///
    /// # Errors
    /// `Invalid` if its policy or its streams are others.
    pub fn merge(&mut self, other: &Summary) -> Result<()> {
        self.check(&other.policy, other.streams.iter().map(|stream| stream.name.as_str()))?;
        self.streams.iter_mut().zip(&other.streams).for_each(|(stream, other)| stream.merge(other));
        self.examples += other.examples;
        self.sums.add(&other.sums);
        self.settle();
        Ok(())
    }

    /// Trained streams with an end id of which no example has a live end: the model would never learn to stop.
    pub fn endless(&self) -> impl Iterator<Item = &StreamShare> {
        self.streams.iter().filter(|stream| stream.trained && stream.end.is_some_and(|end| end.live == 0))
    }

    fn check<'a>(&self, policy: &Policy, mut names: impl Iterator<Item = &'a str>) -> Result<()> {
        if *policy != self.policy {
            return Err(Error::invalid("policy", "another", "that of the summary"));
        }
        let own = self.streams.iter().map(|stream| stream.name.as_str());
        match own.eq(names.by_ref()) {
            true => Ok(()),
            false => Err(Error::invalid("streams", "others", "those of the summary")),
        }
    }

    /// Works out the shares of what has been added.
    fn settle(&mut self) {
        let (mut text, mut pads, mut tails, mut all) = (0.0, 0.0, 0.0, 0.0);
        for stream in &mut self.streams {
            let class = stream.classes(&self.policy);
            for (&reason, share) in &mut stream.reasons {
                let weight = share.weight / self.policy.divisor(class(reason), &self.sums);
                share.share = weight;
                all += weight;
                text += if class(reason) == Class::Audio { 0.0 } else { weight };
                pads += if class(reason) == Class::Pads { weight } else { 0.0 };
                tails += if reason == Reason::Tail { weight } else { 0.0 };
            }
        }
        let part = |weight: f64, of: f64| if of > 0.0 { weight / of } else { 0.0 };
        let shares = self.streams.iter_mut().flat_map(|stream| stream.reasons.values_mut());
        shares.for_each(|share| share.share = part(share.share, all));
        self.pad_share = (text > 0.0).then(|| pads / text);
        self.learned_tails = part(tails, all);
        let learned = |audio| self.streams.iter().any(|stream| stream.trained && stream.audio == audio);
        self.nothing_to_learn = self.policy.empty_classes([learned(false), learned(true)], &self.sums);
    }
}

impl StreamShare {
    fn of(stream: &Stream) -> Self {
        StreamShare {
            name: stream.name.clone(),
            audio: stream.kind.is_audio(),
            trained: stream.trained,
            reasons: BTreeMap::new(),
            regions: 0,
            tails: if stream.kind.is_audio() { Class::Audio } else { Class::Words },
            end: stream.eos.map(|id| EndTokens::of(stream, id)),
        }
    }

    fn count<'a>(&mut self, cells: impl Iterator<Item = (&'a u8, &'a f32)>) {
        let mut shares = [Share::default(); Reason::ALL.len()];
        for (&reason, &weight) in cells {
            self.regions += u64::from(reason & Reason::REGION != 0);
            let share = &mut shares[usize::from(reason & !Reason::REGION)];
            share.cells += 1;
            share.weight += f64::from(weight);
        }
        let some = Reason::ALL.into_iter().zip(shares).filter(|(_, share)| share.cells > 0);
        some.for_each(|(reason, share)| self.reasons.entry(reason).or_default().add(&share));
    }

    fn merge(&mut self, other: &StreamShare) {
        other.reasons.iter().for_each(|(&reason, share)| self.reasons.entry(reason).or_default().add(share));
        self.regions += other.regions;
        if let (Some(end), Some(other)) = (&mut self.end, other.end) {
            end.live += other.live;
        }
        if other.reasons.contains_key(&Reason::Tail) {
            self.tails = other.tails;
        }
    }

    /// What cells of each reason are divided with.
    fn classes(&self, policy: &Policy) -> impl Fn(Reason) -> Class + use<> {
        let (audio, tails, end_pads) = (self.audio, self.tails, policy.end_pad_class());
        move |reason| match reason {
            _ if audio => Class::Audio,
            Reason::Pad => Class::Pads,
            Reason::EndPad => end_pads,
            Reason::Tail => tails,
            _ => Class::Words,
        }
    }
}

impl Share {
    fn add(&mut self, other: &Share) {
        self.cells += other.cells;
        self.weight += other.weight;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::delay::Bracket;
    use crate::{Delay, Extent, Start};

    fn summary(policy: &str, layout: &Layout, delay: &Delay, codes: &Array2<i64>) -> Summary {
        let policy = Policy::named(policy).unwrap();
        let mut summary = Summary::new(&policy, layout).unwrap();
        summary.add(&Weighing::new(&policy, layout), delay, &Frames(codes.view())).unwrap();
        summary
    }

    #[test]
    fn trainers_disagree_on_what_half_a_pad_is() {
        let layout = Layout::preset("delay-1").unwrap();
        let delay = Delay::new(&layout, Extent::Truncate, Start::Initial);
        // 26 words and 48 pads.
        let codes = Array2::from_shape_fn((3, 74), |(k, t)| if k == 0 && t % 3 != 0 && t < 72 { 3 } else { 9 });
        let share = |policy| summary(policy, &layout, &delay, &codes).pad_share.unwrap();
        assert!((share("kyutai") - 0.48).abs() < 1e-12);
        assert!((share("jmoshi") - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn ends_that_truncation_cuts_are_found() {
        let layout = Layout::preset("higgs-v2").unwrap();
        let codes = Array2::zeros((8, 5));
        let endless = |extent| {
            let delay = Delay::new(&layout, extent, Start::Initial).bracketed(&layout, Bracket::BOTH).unwrap();
            summary("moshi", &layout, &delay, &codes).endless().count()
        };
        assert_eq!((endless(Extent::Extend), endless(Extent::Truncate)), (0, 7));
    }

    #[test]
    fn summaries_of_other_things_are_not_merged() {
        let of = |policy: &str, layout: &str| {
            let (policy, layout) = (Policy::named(policy).unwrap(), Layout::preset(layout).unwrap());
            Summary::new(&policy, &layout).unwrap()
        };
        let mut moshi = of("moshi", "delay-1");
        assert!(moshi.merge(&of("kyutai", "delay-1")).unwrap_err().to_string().starts_with("policy is another"));
        assert!(moshi.merge(&of("moshi", "csm")).unwrap_err().to_string().starts_with("streams is others"));
        assert!(moshi.merge(&of("moshi", "delay-1")).is_ok());
        assert_eq!(moshi.nothing_to_learn, [Class::Words, Class::Pads, Class::Audio]);
    }
}
