//! How a generated sequence ends: the first stream chooses when, the others follow at their delays.
//!
//! ```text
//! step              e     e+1   e+2   e+3
//! delay 0      ..   end   p     p     p
//! delay 1      ..   b     end   p     p         each code that was begun is finished in every stream
//! delay 2      ..   c     c     end   p         p pad
//! ```

use std::cmp::Ordering;

use super::{check_rows, fit};
use crate::delay::{Bracket, Fills};
use crate::error::{Error, Result};
use crate::stream::{Layout, Steps};
use crate::token::Token;

/// How the other streams follow the one that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EndRule {
    /// Each ends exactly its delay after the leader; pads follow.
    #[default]
    Staircase,
    /// The same ends, but behind its own a stream is free again: transformers' Dia.
    Free,
    /// All are free again when as many steps as the largest delay have passed, so that the streams of that delay never
    /// get their end: nari-labs' Dia.
    Countdown,
    /// All but the leader end one step late, so that undoing leaves a last frame whose first code is an end: Higgs
    /// Audio, both of Boson AI and of transformers.
    Late,
    /// Nothing is forced; each may end once the one before has, at once or much later: Parler.
    InTurn,
}

/// The ends of one row while it is generated, a step at a time.
///
/// The leader is the first stream of the least delay. It alone may choose to end, except under [`EndRule::InTurn`].
///
/// # Examples
/// ```
/// use roundelay::delay::{EndRule, Ending};
/// use roundelay::{Layout, Steps};
///
/// let layout = Layout::preset("dia")?; // delays 0 8 9 .. 15, end 1024, pad 1025
/// let mut ending = Ending::new(&layout, EndRule::Staircase)?;
/// let mut tokens = [1024, 1, 2, 3, 4, 5, 6, 7, 8];
/// ending.apply(Steps(&mut tokens))?; // the leader ends
/// assert_eq!(ending.end_of(1), Some(8));
/// for _ in 1..=8 {
///     tokens.fill(500);
///     ending.apply(Steps(&mut tokens))?;
/// }
/// assert_eq!(tokens, [1025, 1024, 500, 500, 500, 500, 500, 500, 500]);
/// assert!(!ending.is_over());
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// nari-labs dia `dia/model.py`, `generate`; transformers `generation/logits_process.py`,
/// `DiaEOSDelayPatternLogitsProcessor`; Higgs Audio `modeling_higgs_audio.py`, `_sample_audio_tokens`; parler-tts
/// `logits_processors.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    streams: Vec<Follower>,
    leader: usize,
    rule: EndRule,
    /// Steps so far.
    steps: usize,
    /// The leader is made to end here at the latest.
    latest: Option<usize>,
    /// When the leader ended, where the others follow it.
    ended: Option<usize>,
    /// When each stream ended so far, where they end in turn.
    turns: Vec<usize>,
}

/// When a stream ends after the leader, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Follower {
    delay: usize,
    eos: i64,
    pad: i64,
}

impl Ending {
    /// Takes delays, ends and pads from the layout.
    ///
    /// # Errors
    /// `Invalid`, naming the first stream whose layout has no `eos`.
    pub fn new(layout: &Layout, rule: EndRule) -> Result<Self> {
        Bracket { bos: false, eos: true }.check(layout)?;
        let streams = layout.streams();
        let least = streams.iter().map(|stream| stream.delay).min().unwrap_or(0);
        let leader = streams.iter().position(|stream| stream.delay == least).unwrap_or(0);
        let follower = |stream| {
            let Fills { eos, tail: pad, .. } = Fills::of(stream);
            Follower { delay: stream.delay - least, eos, pad }
        };
        let turns = Vec::with_capacity(streams.len());
        let streams = streams.iter().map(follower).collect();
        Ok(Ending { streams, leader, rule, steps: 0, latest: None, ended: None, turns })
    }

    /// The same for at most `steps` steps: the leader is made to end in time for all others.
    ///
    /// # Errors
    /// `Invalid` if the ends alone take more steps; `Unsupported` under [`EndRule::InTurn`], which forces nothing.
    pub fn within(self, steps: usize) -> Result<Self> {
        if self.rule == EndRule::InTurn {
            return Err(Error::unsupported("a limit of steps", "ends in turn are never forced"));
        }
        let span = self.span();
        let latest = steps.checked_sub(span + 1);
        let latest = latest.ok_or_else(|| Error::invalid("steps", steps, format!("at least {}", span + 1)))?;
        Ok(Ending { latest: Some(latest), ..self })
    }

    /// Whether stream `k` may choose its end at the next step; where not, a sampler leaves the id out.
    ///
    /// # Panics
    /// If there is no stream `k`.
    pub fn may_end(&self, k: usize) -> bool {
        match self.rule {
            EndRule::InTurn => k <= self.turns.len(),
            EndRule::Free | EndRule::Countdown => k == self.leader,
            EndRule::Staircase | EndRule::Late => k == self.leader && self.ended.is_none(),
        }
    }

    /// The step of stream `k`'s end, counted from the first [`Ending::apply`]; none before that is settled.
    ///
    /// # Panics
    /// If there is no stream `k`.
    pub fn end_of(&self, k: usize) -> Option<usize> {
        let follows = self.follows(k);
        match self.rule {
            EndRule::InTurn => self.turns.get(k).copied(),
            _ => Some(self.ended? + follows?),
        }
    }

    /// Whether every end that the rule gives has been written.
    pub fn is_over(&self) -> bool {
        match self.rule {
            EndRule::InTurn => self.turns.len() == self.streams.len(),
            _ => self.ended.is_some_and(|ended| self.steps > ended + self.span()),
        }
    }

    /// Takes what the model chose for the next step, one token a stream, and writes the ends and pads that must be.
    ///
    /// # Errors
    /// `Invalid` if a stream chose its end where it may not, if the number of streams differs, or if an id does not fit
    /// the token type. All is then as it was before.
    pub fn apply<A: Token>(&mut self, tokens: Steps<&mut [A]>) -> Result<()> {
        let tokens = tokens.0;
        check_rows("tokens of the step", tokens.len(), self.streams.len())?;
        let ended = self.ended.or(self.leader_ends(tokens).then_some(self.steps));
        // Every token is settled once before any is written.
        tokens.iter().enumerate().try_for_each(|(k, &token)| self.settle(k, token, ended).map(drop))?;
        for (k, token) in tokens.iter_mut().enumerate() {
            *token = self.settle(k, *token, ended)?;
        }
        if self.rule == EndRule::InTurn && self.turns.len() < tokens.len() {
            let next = self.turns.len();
            self.turns.extend(self.chose_end(next, tokens[next]).then_some(self.steps));
        }
        self.ended = ended;
        self.steps += 1;
        Ok(())
    }

    /// Steps from the leader's end to the last that is written.
    fn span(&self) -> usize {
        let largest = self.streams.iter().map(|stream| stream.delay).max().unwrap_or(0);
        match self.rule {
            EndRule::Countdown => largest.max(1) - 1,
            EndRule::Late if self.streams.len() > 1 => largest + 1,
            _ => largest,
        }
    }

    /// Steps from the leader's end to stream `k`'s; none if it never gets one.
    fn follows(&self, k: usize) -> Option<usize> {
        let delay = self.streams[k].delay;
        match self.rule {
            EndRule::Countdown if delay > self.span() => None,
            EndRule::Late if k != self.leader => Some(delay + 1),
            _ => Some(delay),
        }
    }

    fn chose_end<A: Token>(&self, k: usize, token: A) -> bool {
        token.into() == self.streams[k].eos
    }

    /// Whether the leader ends with the next step, by choice or because it must, and the others follow.
    fn leader_ends<A: Token>(&self, tokens: &[A]) -> bool {
        let chose = self.chose_end(self.leader, tokens[self.leader]);
        self.rule != EndRule::InTurn && (chose || self.latest == Some(self.steps))
    }

    /// What stream `k` holds at the next step, the leader having ended at step `ended`.
    fn settle<A: Token>(&self, k: usize, token: A, ended: Option<usize>) -> Result<A> {
        match ended.and_then(|ended| self.forced(k, ended)) {
            Some(id) => fit(id, k),
            None if self.chose_end(k, token) && !self.may_end(k) => {
                let expected = "a code: the stream may not choose to end here";
                Err(Error::invalid("token", token.into(), expected).in_stream(k))
            }
            None => Ok(token),
        }
    }

    /// The id that stream `k` must hold at the next step.
    fn forced(&self, k: usize, ended: usize) -> Option<i64> {
        let (stream, end) = (self.streams[k], ended + self.follows(k)?);
        let free = match self.rule {
            EndRule::Free => self.steps > end,
            EndRule::Countdown => self.steps > ended + self.span(),
            _ => false,
        };
        match self.steps.cmp(&end) {
            _ if free => None,
            Ordering::Less => None,
            Ordering::Equal => Some(stream.eos),
            Ordering::Greater => Some(stream.pad),
        }
    }
}
