//! The steps of a sequence, and which codes each one holds.

use crate::error::{Error, Result};
use crate::stream::MAX_STREAMS;

/// Codes and steps that an order may have: a bound on what an option can make us allocate.
pub(super) const MAX_CELLS: usize = 1 << 24;

/// For every step the codes that stand there, as (frame, stream).
///
/// ```text
/// delays 0 1, T = 2       step       0        1              2
///  a0 a1  .               codes   (0, 0)   (1, 0) (0, 1)   (2, 0) (1, 1)
///   . b0 b1               start   0        1               3              5
/// ```
/// Codes past the last frame, such as (2, 0) here, are named but never copied. They tell how far a pattern runs ahead.
///
/// # Examples
/// ```
/// use roundelay::delay::Order;
/// let zigzag = Order::new(2, 2, &[vec![(0, 0)], vec![(0, 1)], vec![(1, 1)], vec![(1, 0)]])?;
/// assert_eq!(zigzag.steps(), 4);
/// assert_eq!(zigzag.codes(2).collect::<Vec<_>>(), [(1, 1)]);
/// let back = Order::new(1, 2, &[vec![(1, 0)], vec![(0, 0)]]).unwrap_err();
/// assert_eq!(back.to_string(), "stream 0: frame at step 1 is 0, expected a later one than 1");
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    streams: usize,
    frames: usize,
    /// Where each step's codes begin, and the end of the last one's.
    starts: Vec<u32>,
    /// (frame, stream), each below `MAX_CELLS`.
    codes: Vec<(u32, u32)>,
}

impl Order {
    /// Takes an order of one's own, which names every code of every stream.
    ///
    /// # Errors
    /// `Invalid` if there are not 1 to 1024 streams, if there is no such stream, if a stream's frames do not rise from
    /// step to step, if a step holds two codes of one stream, or, naming stream and frame, if a code stands in no
    /// step. `OverLimit` for more than 2^24 codes, frames or steps.
    pub fn new(streams: usize, frames: usize, steps: &[Vec<(usize, usize)>]) -> Result<Self> {
        check_streams(streams)?;
        let latest = steps.iter().flatten().map(|&(t, _)| t).max().unwrap_or(0);
        let codes = steps.iter().map(Vec::len).sum();
        for (what, found) in [("frames", frames.max(latest)), ("steps", steps.len()), ("codes", codes)] {
            if found > MAX_CELLS {
                return Err(Error::over_limit(format!("number of {what} of the order"), found, MAX_CELLS));
            }
        }
        let mut last: Vec<Option<(usize, usize)>> = vec![None; streams];
        let mut order = OrderBuilder::new(streams, frames, steps.len());
        for (s, codes) in steps.iter().enumerate() {
            codes.iter().try_for_each(|&(t, k)| check_code(s, t, k, &mut last))?;
            order.step(codes.iter().copied());
        }
        check_whole(streams, frames, steps)?;
        Ok(order.finish())
    }

    /// Streams that it is for.
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// Frames that it is for.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.starts.len() - 1
    }

    /// The (frame, stream) of each code at step `s`.
    ///
    /// # Panics
    /// If there is no step `s`.
    pub fn codes(&self, s: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.codes[self.starts[s] as usize..self.starts[s + 1] as usize].iter().map(|&(t, k)| (t as usize, k as usize))
    }

    /// The codes of all steps.
    pub fn to_vec(&self) -> Vec<Vec<(usize, usize)>> {
        (0..self.steps()).map(|s| self.codes(s).collect()).collect()
    }

    /// Frames by which the most forward stream runs past the end.
    ///
    /// Not the largest delay: where all streams have the same one, none runs ahead of the others.
    ///
    /// # Source
    /// audiocraft `Pattern.max_delay`.
    pub fn overrun(&self) -> usize {
        let reach = self.codes.iter().map(|&(t, _)| t as usize + 1).max().unwrap_or(0);
        reach.saturating_sub(self.frames)
    }

    /// Steps before a stream that runs ahead has come to its end: those that truncation keeps.
    pub fn valid_steps(&self) -> usize {
        self.steps().saturating_sub(self.overrun())
    }

    /// True if the first step holds no code.
    pub fn starts_empty(&self) -> bool {
        self.starts.len() > 1 && self.starts[1] == 0
    }

    /// The first steps.
    pub(in crate::delay) fn cut(mut self, steps: usize) -> Self {
        self.starts.truncate(steps + 1);
        self.codes.truncate(self.starts[self.steps()] as usize);
        self
    }

    /// All but the first step, which is empty.
    pub(in crate::delay) fn behind_first(mut self) -> Self {
        self.starts.remove(0);
        self
    }
}

/// Checks a number of streams.
pub(super) fn check_streams(streams: usize) -> Result<()> {
    match (1..=MAX_STREAMS).contains(&streams) {
        true => Ok(()),
        false => Err(Error::invalid("number of streams", streams, format!("1 to {MAX_STREAMS}"))),
    }
}

/// Checks that streams whose frames rise leave out none below `frames`.
fn check_whole(streams: usize, frames: usize, steps: &[Vec<(usize, usize)>]) -> Result<()> {
    let missing = |k: usize, t: usize| Err(Error::invalid("code", "in no step", "in one").in_stream(k).at_frame(t));
    let mut next = vec![0; streams];
    for &(t, k) in steps.iter().flatten() {
        if next[k] < t.min(frames) {
            return missing(k, next[k]);
        }
        next[k] = t + 1;
    }
    match next.iter().position(|&next| next < frames) {
        Some(k) => missing(k, next[k]),
        None => Ok(()),
    }
}

/// Checks a code against what its stream had before.
fn check_code(s: usize, t: usize, k: usize, last: &mut [Option<(usize, usize)>]) -> Result<()> {
    let streams = last.len();
    let Some(last) = last.get_mut(k) else {
        return Err(Error::invalid(format!("stream at step {s}"), k, format!("one below {streams}")));
    };
    match last.replace((s, t)) {
        Some((step, _)) if step == s => {
            Err(Error::invalid(format!("number of codes at step {s}"), 2, "at most one").in_stream(k))
        }
        Some((_, before)) if before >= t => {
            let expected = format!("a later one than {before}");
            Err(Error::invalid(format!("frame at step {s}"), t, expected).in_stream(k))
        }
        _ => Ok(()),
    }
}

/// Takes down one step after another.
pub(super) struct OrderBuilder(Order);

impl OrderBuilder {
    pub fn new(streams: usize, frames: usize, steps: usize) -> Self {
        let mut starts = Vec::with_capacity(steps + 1);
        starts.push(0);
        OrderBuilder(Order { streams, frames, starts, codes: Vec::new() })
    }

    pub fn step(&mut self, codes: impl IntoIterator<Item = (usize, usize)>) {
        self.0.codes.extend(codes.into_iter().map(|(t, k)| (t as u32, k as u32)));
        self.0.starts.push(self.0.codes.len() as u32);
    }

    pub fn finish(self) -> Order {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_go_back_or_double_are_refused() {
        let refused = |steps: &[Vec<(usize, usize)>]| Order::new(2, 3, steps).unwrap_err().to_string();
        assert_eq!(refused(&[vec![(0, 2)]]), "stream at step 0 is 2, expected one below 2");
        assert_eq!(
            refused(&[vec![(0, 1)], vec![(0, 1)]]),
            "stream 1: frame at step 1 is 0, expected a later one than 0"
        );
        assert_eq!(refused(&[vec![(0, 1), (1, 1)]]), "stream 1: number of codes at step 0 is 2, expected at most one");
        assert!(refused(&[vec![(1 << 25, 1)]]).contains("over the limit of 16777216"));
    }

    #[test]
    fn an_order_knows_what_is_valid() {
        let order = Order::new(2, 1, &[vec![], vec![(0, 0)], vec![(1, 0), (0, 1)]]).unwrap();
        assert_eq!((order.overrun(), order.valid_steps(), order.starts_empty()), (1, 2, true));
        assert_eq!(order.clone().cut(2).to_vec(), [vec![], vec![(0, 0)]]);
        assert_eq!(order.behind_first().to_vec(), [vec![(0, 0)], vec![(1, 0), (0, 1)]]);
        let none = Order::new(1, 0, &[]).unwrap();
        assert_eq!((none.steps(), none.overrun(), none.valid_steps(), none.starts_empty()), (0, 0, 0, false));
    }

    #[test]
    fn orders_without_streams_or_with_too_many_are_refused() {
        for streams in [0, MAX_STREAMS + 1, usize::MAX] {
            let error = Order::new(streams, 2, &[]).unwrap_err().to_string();
            assert_eq!(error, format!("number of streams is {streams}, expected 1 to 1024"));
        }
        assert!(Order::new(MAX_STREAMS, 0, &[]).is_ok());
    }

    #[test]
    fn orders_that_leave_a_code_out_are_refused() {
        let refused = |steps: &[Vec<(usize, usize)>]| Order::new(2, 3, steps).unwrap_err().to_string();
        let both = |t| vec![(t, 0), (t, 1)];
        let missing = |k, t| format!("stream {k}, frame {t}: code is in no step, expected in one");
        assert_eq!(refused(&[]), missing(0, 0));
        assert_eq!(refused(&[both(1), both(2)]), missing(0, 0));
        assert_eq!(refused(&[both(0), vec![(1, 0)], both(2)]), missing(1, 1));
        assert_eq!(refused(&[both(0), both(1), vec![(2, 0), (5, 1)]]), missing(1, 2));
        assert_eq!(refused(&[both(0), both(1), vec![(2, 1)]]), missing(0, 2));
        // Past the last frame they may stand or not.
        let order = Order::new(2, 3, &[both(0), both(1), both(2), vec![(5, 1)], vec![(7, 1)]]).unwrap();
        assert_eq!(order.overrun(), 5);
    }

    #[test]
    fn every_pattern_passes_the_check_of_an_own_order() {
        let patterns = [
            "parallel",
            "delay:delays=0,0,2,9;flatten-first=3",
            "flatten:flattening=0,2,2,5;delays=1,2,2,4",
            "coarse-first:delays=1,2,2",
            "musiclm",
        ];
        for pattern in patterns {
            let pattern: super::super::Pattern = pattern.parse().unwrap();
            for frames in 0..20 {
                let order = pattern.order(4, frames, crate::Start::Initial).unwrap();
                assert_eq!(Order::new(4, frames, &order.to_vec()).unwrap(), order);
            }
        }
    }
}
