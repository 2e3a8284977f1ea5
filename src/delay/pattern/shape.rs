//! A pattern with its numbers filled in for a number of streams: lengths in closed form, and the order of steps.

use super::order::{MAX_CELLS, Order, OrderBuilder, check_streams};
use super::phases::in_time;
use super::text::list;
use super::{Delays, Pattern};
use crate::delay::{Extent, Start};
use crate::error::{Error, Result};
use crate::stream::{Layout, MAX_DELAY};

/// What is known of the streams.
pub(super) enum Rows<'a> {
    Count(usize),
    Of(&'a Layout),
}

/// Who is where, for any number of frames.
pub(in crate::delay) struct Shape {
    streams: usize,
    /// Empty steps in front.
    lead: usize,
    body: Body,
}

enum Body {
    /// A step for each frame, each stream later by its delay; a step for each code of the first `flat` frames.
    Delay { delays: Vec<usize>, flat: usize },
    /// In each frame so many empty steps, then one for each group.
    Flatten { gaps: usize, groups: Vec<Group> },
    /// Stream 0, then the others with their delays.
    CoarseFirst { delays: Vec<usize> },
    /// So many streams flattened, then as many more.
    Blocks { size: usize },
}

/// Streams that share an inner step.
#[derive(Clone)]
struct Group {
    streams: Vec<usize>,
    delay: usize,
}

impl Shape {
    pub(super) fn new(pattern: &Pattern, rows: &Rows<'_>, start: Start) -> Result<Self> {
        let streams = rows.count();
        check_streams(streams)?;
        Ok(Shape { streams, lead: lead(pattern, start), body: Body::new(pattern, rows)? })
    }

    /// The order with a stream's delays as the layout has them.
    pub fn of_delay(layout: &Layout, start: Start) -> Self {
        let delays: Vec<usize> = layout.streams().iter().map(|stream| stream.delay).collect();
        Shape {
            streams: delays.len(),
            lead: usize::from(start == Start::Initial),
            body: Body::Delay { delays, flat: 0 },
        }
    }

    /// Steps of the whole order; at most `usize::MAX`, as all sums here.
    fn steps(&self, frames: usize) -> usize {
        let longest = frames.saturating_add(self.body.delays().1);
        let body = match &self.body {
            Body::Delay { flat, .. } => {
                frames.min(*flat).saturating_mul(self.streams).saturating_add(longest.saturating_sub(*flat))
            }
            Body::Flatten { gaps, groups } => {
                let kept = |group: &Group| longest - group.delay;
                groups.iter().map(kept).fold(longest.saturating_mul(*gaps), usize::saturating_add)
            }
            Body::CoarseFirst { .. } => frames.saturating_add(longest),
            Body::Blocks { .. } => frames.saturating_mul(self.streams),
        };
        body.saturating_add(self.lead)
    }

    /// Frames that the order names, those past the end among them.
    fn reach(&self, frames: usize) -> usize {
        let (least, most) = self.body.delays();
        let reach = frames.saturating_add(most - least);
        match &self.body {
            Body::Delay { flat, .. } if reach <= *flat => frames,
            Body::Blocks { .. } => frames,
            _ => reach,
        }
    }

    fn length(&self, frames: usize, extent: Extent) -> usize {
        let steps = self.steps(frames);
        match extent {
            Extent::Extend => steps,
            Extent::Truncate => steps.saturating_sub(self.reach(frames) - frames),
        }
    }

    /// The frames that give so many steps, of which there must be one number.
    ///
    /// The whole order grows with each frame, so that one is found by halving. What is cut off is at most the largest
    /// delay: the numbers that can give a cut length follow closely.
    pub fn frames_of(&self, steps: usize, extent: Extent) -> Result<usize> {
        if steps > MAX_CELLS {
            return Err(Error::over_limit("number of steps of the pattern", steps, MAX_CELLS));
        }
        let (mut low, mut high) = (0, steps.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.steps(middle) < steps { low = middle + 1 } else { high = middle }
        }
        let longest = steps.saturating_add(self.body.delays().1);
        let near = (low..).take_while(|&frames| self.steps(frames) <= longest);
        let fitting: Vec<usize> = near.filter(|&frames| self.length(frames, extent) == steps).take(2).collect();
        match fitting[..] {
            [frames] => Ok(frames),
            [] => Err(Error::invalid("number of steps", steps, "one that this pattern gives")),
            _ => Err(Error::invalid("number of steps", steps, "one that only one number of frames gives")),
        }
    }

    /// Lays everything out.
    pub fn order(&self, frames: usize) -> Result<Order> {
        let cells = frames.saturating_add(self.body.delays().1).saturating_mul(self.streams);
        for (what, found) in [("number of codes", cells), ("number of steps", self.steps(frames))] {
            if found > MAX_CELLS {
                return Err(Error::over_limit(format!("{what} of the pattern"), found, MAX_CELLS));
            }
        }
        let mut order = OrderBuilder::new(self.streams, frames, self.steps(frames));
        (0..self.lead).for_each(|_| order.step([]));
        self.body.lay_out(frames, self.streams, &mut order);
        Ok(order.finish())
    }
}

impl Body {
    fn new(pattern: &Pattern, rows: &Rows<'_>) -> Result<Self> {
        let streams = rows.count();
        match pattern {
            Pattern::Parallel { .. } => Ok(Body::Delay { delays: vec![0; streams], flat: 0 }),
            Pattern::Delay { delays, flatten_first, .. } => {
                Ok(Body::Delay { delays: rows.delays(delays, 0)?, flat: *flatten_first })
            }
            Pattern::Flatten { flattening, delays } => {
                let inner = flattening.clone().unwrap_or_else(|| (0..streams).collect());
                Body::flatten(&inner, &rows.delays(delays, 0)?)
            }
            Pattern::PartialFlatten { delays } => {
                let inner: Vec<usize> = (0..streams).map(|k| k.min(1)).collect();
                Body::flatten(&inner, &rows.delays(delays, 0)?)
            }
            Pattern::CoarseFirst { .. } if streams < 2 => {
                Err(Error::invalid("number of streams", streams, "2 or more for coarse-first"))
            }
            Pattern::CoarseFirst { delays } => Ok(Body::CoarseFirst { delays: rows.delays(delays, 1)? }),
            Pattern::Musiclm { group_by } => match *group_by > 0 && streams.is_multiple_of(*group_by) {
                true => Ok(Body::Blocks { size: *group_by }),
                false => {
                    let expected = format!("a divisor of {streams}, the number of streams");
                    Err(Error::invalid("group-by", group_by, expected))
                }
            },
            Pattern::MultiRate { delays } => rows.multi_rate(delays),
        }
    }

    /// Groups streams by their inner step.
    fn flatten(inner: &[usize], delays: &[usize]) -> Result<Self> {
        check_length("number of inner steps", inner.len(), delays.len())?;
        check_rising("flattening", inner, "numbers that never fall")?;
        let mut groups: Vec<Group> = Vec::new();
        for (k, &delay) in delays.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if inner[k] == inner[k - 1] => {
                    check_same_delay(k, delay, group.delay)?;
                    group.streams.push(k);
                }
                _ => groups.push(Group { streams: vec![k], delay }),
            }
        }
        // Inner steps have the bound of delays: both are empty steps that an option can make us allocate.
        let inner_steps = inner.last().map_or(0, |last| last.saturating_add(1));
        if inner_steps > MAX_DELAY {
            return Err(Error::over_limit("number of inner steps", inner_steps, MAX_DELAY));
        }
        Ok(Body::groups(inner_steps - groups.len(), groups))
    }

    /// Of groups that meet in a frame, those with the oldest codes come first.
    ///
    /// audiocraft gets there by sorting all steps by frame and then by their lists of codes. As every frame has the
    /// same groups, one order serves all frames, and empty steps, which sort lowest, stand in front.
    fn groups(gaps: usize, mut groups: Vec<Group>) -> Self {
        groups.sort_by_key(|group| std::cmp::Reverse(group.delay));
        Body::Flatten { gaps, groups }
    }

    /// The least and the largest delay.
    fn delays(&self) -> (usize, usize) {
        let (least, most) = match self {
            Body::Delay { delays, .. } | Body::CoarseFirst { delays } => (delays.iter().min(), delays.iter().max()),
            Body::Flatten { groups, .. } => {
                (groups.iter().map(|group| &group.delay).min(), groups.iter().map(|group| &group.delay).max())
            }
            Body::Blocks { .. } => (None, None),
        };
        (least.copied().unwrap_or(0), most.copied().unwrap_or(0))
    }

    fn lay_out(&self, frames: usize, streams: usize, order: &mut OrderBuilder) {
        let longest = frames + self.delays().1;
        match self {
            Body::Delay { delays, flat } => {
                for t in 0..frames.min(*flat) {
                    (0..streams).for_each(|k| order.step([(t, k)]));
                }
                (*flat..longest).for_each(|t| order.step(delayed(t, 0, delays).filter(|(t, _)| t >= flat)));
            }
            Body::Flatten { gaps, groups } => {
                for t in 0..longest {
                    (0..*gaps).for_each(|_| order.step([]));
                    for group in groups.iter().filter(|group| group.delay <= t) {
                        order.step(group.streams.iter().map(|&k| (t - group.delay, k)));
                    }
                }
            }
            Body::CoarseFirst { delays } => {
                (0..frames).for_each(|t| order.step([(t, 0)]));
                (0..longest).for_each(|t| order.step(delayed(t, 1, delays)));
            }
            Body::Blocks { size } => {
                for first in (0..streams).step_by(*size) {
                    for t in 0..frames {
                        (first..first + size).for_each(|k| order.step([(t, k)]));
                    }
                }
            }
        }
    }
}

/// The codes that a plain delay has at time `t`, of streams from `first` on.
fn delayed(t: usize, first: usize, delays: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let frame = move |(k, &delay): (usize, &usize)| Some((t.checked_sub(delay)?, first + k));
    delays.iter().enumerate().filter_map(frame)
}

/// Empty steps in front of the first code.
fn lead(pattern: &Pattern, start: Start) -> usize {
    let start = usize::from(start == Start::Initial);
    match pattern {
        Pattern::Parallel { empty_initial } | Pattern::Delay { empty_initial, .. } => {
            usize::try_from(*empty_initial).map_or(0, |empty| empty.saturating_add(start))
        }
        _ => start,
    }
}

impl Rows<'_> {
    fn count(&self) -> usize {
        match self {
            Rows::Count(streams) => *streams,
            Rows::Of(layout) => layout.streams().len(),
        }
    }

    /// One delay for each stream from `first` on.
    fn delays(&self, delays: &Delays, first: usize) -> Result<Vec<usize>> {
        let streams = self.count() - first;
        match (delays, self) {
            (Delays::None, _) => Ok(vec![0; streams]),
            (Delays::Staircase, _) => Ok((0..streams).collect()),
            (Delays::Layout, Rows::Of(layout)) => {
                Ok(layout.streams().iter().skip(first).map(|stream| stream.delay).collect())
            }
            (Delays::Layout, Rows::Count(_)) => {
                Err(Error::invalid("delays", delays, "none, staircase or a list where there is no layout"))
            }
            (Delays::Each(delays), _) => {
                check_length("number of delays", delays.len(), streams)?;
                check_rising("delays", delays, "numbers that never fall, or `layout` for the layout's as they are")?;
                match delays.last() {
                    Some(&most) if most > MAX_DELAY => {
                        Err(Error::invalid("delay", most, format!("0 to {MAX_DELAY} frames")))
                    }
                    _ => Ok(delays.clone()),
                }
            }
        }
    }

    /// A step for each stream, in the order of time within the frame.
    fn multi_rate(&self, delays: &Delays) -> Result<Body> {
        let Rows::Of(layout) = self else {
            return Err(Error::invalid("layout", "missing", "one: it holds the streams' phases"));
        };
        let delays = self.delays(delays, 0)?;
        let group = |k: usize| Group { streams: vec![k], delay: delays[k] };
        Ok(Body::groups(0, in_time(layout)?.into_iter().map(group).collect()))
    }
}

fn check_length(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::invalid(what, found, expected)) }
}

fn check_rising(what: &str, numbers: &[usize], expected: &str) -> Result<()> {
    if numbers.is_sorted() { Ok(()) } else { Err(Error::invalid(what, list(numbers), expected)) }
}

/// Streams at one inner step arrive together.
fn check_same_delay(k: usize, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => {
            let expected = format!("{expected}, as of stream {} at the same inner step", k - 1);
            Err(Error::invalid("delay", found, expected).in_stream(k))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pattern: &str, streams: usize) -> Shape {
        Shape::new(&pattern.parse().unwrap(), &Rows::Count(streams), Start::None).unwrap()
    }

    #[test]
    fn lengths_are_those_of_the_order() {
        let patterns = [
            "parallel:empty-initial=2",
            "delay:delays=1,3,3,7",
            "delay:delays=0,0,2,9;flatten-first=3",
            "delay:delays=1,1,2,9;flatten-first=8",
            "flatten:flattening=0,2,2,5;delays=1,2,2,4",
            "partial-flatten:delays=1,3,3,3",
            "coarse-first:delays=1,2,2",
            "musiclm",
        ];
        for pattern in patterns {
            let shape = shape(pattern, 4);
            for frames in 0..20 {
                let order = shape.order(frames).unwrap();
                let reach = order.to_vec().into_iter().flatten().map(|(t, _)| t + 1).max().unwrap_or(0);
                assert_eq!(shape.steps(frames), order.steps(), "{pattern}, {frames} frames");
                assert_eq!(shape.reach(frames), reach, "{pattern}, {frames} frames");
            }
        }
    }

    #[test]
    fn frames_are_found_from_steps() {
        let shape = shape("flatten:flattening=0,1,1;delays=0,2,2", 3);
        for frames in 0..40 {
            for extent in [Extent::Extend, Extent::Truncate] {
                assert_eq!(shape.frames_of(shape.length(frames, extent), extent).unwrap(), frames);
            }
        }
        let refused = |steps| shape.frames_of(steps, Extent::Extend).unwrap_err().to_string();
        assert_eq!(refused(3), "number of steps is 3, expected one that this pattern gives");
        assert!(refused(1).contains("is 1") && refused(usize::MAX).contains("over the limit"));
    }

    #[test]
    fn a_length_that_two_numbers_give_is_refused() {
        // From 11 frames on the delayed streams' ten steps run past the flattened part, and are cut.
        let shape = shape("delay:delays=0,10;flatten-first=20", 2);
        let lengths = [8, 10, 11, 12, 13].map(|frames| shape.length(frames, Extent::Truncate));
        assert_eq!(lengths, [16, 20, 13, 16, 19]);
        let error = shape.frames_of(16, Extent::Truncate).unwrap_err().to_string();
        assert_eq!(error, "number of steps is 16, expected one that only one number of frames gives");
        assert_eq!(shape.frames_of(19, Extent::Truncate).unwrap(), 13);
    }
}
