//! Laws that hold for every general pattern, layout, length and content.

mod common;

use common::strategies::{extents, multi_rate_layouts, patterns};
use ndarray::{Array2, Array3, Axis, s, stack};
use proptest::prelude::*;
use roundelay::delay::{Delays, Fills, Pattern, Plan, Sequencer, join_phases, split_phases};
use roundelay::{Delay, Extent, Frames, Layout, Start, Steps};

#[derive(Debug, Clone)]
struct Case {
    layout: Layout,
    pattern: Pattern,
    frames: usize,
    extent: Extent,
    start: Start,
}

impl Case {
    fn streams(&self) -> usize {
        self.layout.streams().len()
    }

    fn plan(&self) -> Plan {
        self.pattern.plan(&self.layout, self.frames, self.extent, self.start).unwrap()
    }

    /// The same order with fills that tell head, gap and tail apart.
    fn told_apart(&self) -> Plan {
        let order = self.pattern.order_of(&self.layout, self.frames, self.start).unwrap();
        Plan::new(order, self.extent, vec![FILLS; self.streams()]).unwrap()
    }

    /// Each stream's delay in frames; for `first`, only of the streams from there on.
    fn delays(&self, delays: &Delays, first: usize) -> Vec<usize> {
        let count = self.streams() - first;
        match delays {
            Delays::None => vec![0; count],
            Delays::Staircase => (0..count).collect(),
            Delays::Layout => self.layout.streams()[first..].iter().map(|stream| stream.delay).collect(),
            Delays::Each(delays) => delays.clone(),
        }
    }

    /// Empty steps in front of the pattern.
    fn lead(&self) -> usize {
        let start = usize::from(self.start == Start::Initial);
        match self.pattern {
            Pattern::Parallel { empty_initial } | Pattern::Delay { empty_initial, .. } if empty_initial < 0 => 0,
            Pattern::Parallel { empty_initial } | Pattern::Delay { empty_initial, .. } => {
                start + empty_initial as usize
            }
            _ => start,
        }
    }
}

/// No stream of these layouts and patterns is later than this.
const MOST_DELAY: usize = 18;

const FILLS: Fills = Fills { head: -10, between: -11, tail: -12, bos: -13, eos: -14 };

fn cases() -> impl Strategy<Value = Case> {
    let layout = multi_rate_layouts().prop_flat_map(|layout| (patterns(layout.streams().len()), Just(layout)));
    (layout, 0..60_usize, extents()).prop_map(|((pattern, layout), frames, (extent, start))| Case {
        layout,
        pattern,
        frames,
        extent,
        start,
    })
}

/// Codes that are all different.
fn codes(streams: usize, frames: usize) -> Frames<Array3<i64>> {
    Frames(Array3::from_shape_fn((2, streams, frames), |(b, k, t)| (b * 1_000_000 + k * 1000 + t) as i64))
}

type Code = (usize, usize);

/// Steps as the definitions give them: each one with its place in time, sorted.
fn order_slowly(case: &Case) -> Vec<Vec<Code>> {
    let (frames, streams) = (case.frames, case.streams());
    let mut steps = vec![Vec::new(); case.lead()];
    match &case.pattern {
        Pattern::Parallel { .. } => steps.extend((0..frames).map(|t| (0..streams).map(|k| (t, k)).collect())),
        Pattern::Delay { delays, flatten_first, .. } => {
            let delays = case.delays(delays, 0);
            let flat = (0..frames.min(*flatten_first)).flat_map(|t| (0..streams).map(move |k| vec![(t, k)]));
            steps.extend(flat);
            steps.extend((*flatten_first..frames + most(&delays)).map(|s| column(s, 0, &delays, *flatten_first)));
        }
        Pattern::Flatten { flattening, delays } => {
            let inner = flattening.clone().unwrap_or_else(|| (0..streams).collect());
            steps.extend(unrolled(frames, &inner, &case.delays(delays, 0)));
        }
        Pattern::PartialFlatten { delays } => {
            let inner: Vec<usize> = (0..streams).map(|k| usize::from(k > 0)).collect();
            steps.extend(unrolled(frames, &inner, &case.delays(delays, 0)));
        }
        Pattern::CoarseFirst { delays } => {
            let delays = case.delays(delays, 1);
            steps.extend((0..frames).map(|t| vec![(t, 0)]));
            steps.extend((0..frames + most(&delays)).map(|s| column(s, 1, &delays, 0)));
        }
        Pattern::Musiclm { group_by } => {
            let mut codes: Vec<Code> = (0..frames).flat_map(|t| (0..streams).map(move |k| (t, k))).collect();
            codes.sort_by_key(|&(t, k)| (k / group_by, t, k));
            steps.extend(codes.into_iter().map(|code| vec![code]));
        }
        Pattern::MultiRate { delays } => steps.extend(by_time(case, &case.delays(delays, 0))),
    }
    steps
}

fn most(delays: &[usize]) -> usize {
    delays.iter().copied().max().unwrap_or(0)
}

/// The codes of a plain delay at one step, of frames from `from` on.
fn column(s: usize, first: usize, delays: &[usize], from: usize) -> Vec<Code> {
    let codes = delays.iter().enumerate().filter(|&(_, &delay)| s >= delay + from);
    codes.map(|(k, &delay)| (s - delay, first + k)).collect()
}

/// The peer's definition: every inner step of every frame with its frame, sorted by that and then by its codes.
fn unrolled(frames: usize, inner: &[usize], delays: &[usize]) -> Vec<Vec<Code>> {
    let longest = frames + most(delays);
    let mut steps: Vec<(usize, Vec<Code>)> = Vec::new();
    for t in 0..longest {
        for step in 0..=most(inner) {
            let streams: Vec<usize> = (0..inner.len()).filter(|&k| inner[k] == step).collect();
            let key = t + streams.first().map_or(0, |&k| delays[k]);
            steps.push((key, streams.into_iter().map(|k| (t, k)).collect()));
        }
    }
    steps.retain(|(key, _)| *key < longest);
    steps.sort();
    steps.into_iter().map(|(_, codes)| codes).collect()
}

/// Codes by frame, the oldest first, and then by the time within the frame in twelfths, which 1 to 4 phases divide.
fn by_time(case: &Case, delays: &[usize]) -> Vec<Vec<Code>> {
    let (streams, longest) = (case.layout.streams(), case.frames + most(delays));
    let mut codes: Vec<_> = Vec::new();
    for (k, stream) in streams.iter().enumerate() {
        let rate = streams.iter().filter(|other| other.level == stream.level).count();
        let begin = 12 / rate * stream.phase.unwrap();
        codes.extend((0..longest - delays[k]).map(|t| ((t + delays[k], t, begin, rate, stream.level), (t, k))));
    }
    codes.sort();
    codes.into_iter().map(|(_, code)| vec![code]).collect()
}

/// Steps of the whole sequence, and frames that it runs past the end.
fn lengths(case: &Case) -> (usize, usize) {
    let (frames, streams) = (case.frames, case.streams());
    let spread = |delays: &[usize]| most(delays) - delays.iter().copied().min().unwrap_or(0);
    let (steps, overrun) = match &case.pattern {
        Pattern::Parallel { .. } => (frames, 0),
        Pattern::Delay { delays, flatten_first, .. } => {
            let delays = case.delays(delays, 0);
            let delayed = (frames + most(&delays)).saturating_sub(*flatten_first);
            let beyond = frames + spread(&delays) > *flatten_first;
            (streams * frames.min(*flatten_first) + delayed, if beyond { spread(&delays) } else { 0 })
        }
        Pattern::Flatten { flattening, delays } => {
            let (delays, all) = (case.delays(delays, 0), (0..streams).collect::<Vec<_>>());
            let inner = flattening.as_ref().unwrap_or(&all);
            // An inner step without streams counts as one without delay.
            let delay = |step| inner.iter().position(|&other| other == step).map_or(0, |k| delays[k]);
            let steps = (0..=most(inner)).map(|step| frames + most(&delays) - delay(step)).sum();
            (steps, spread(&delays))
        }
        Pattern::PartialFlatten { delays } => {
            let delays = case.delays(delays, 0);
            (if streams == 1 { frames } else { 2 * frames + spread(&delays) }, spread(&delays))
        }
        Pattern::CoarseFirst { delays } => {
            let delays = case.delays(delays, 1);
            (2 * frames + most(&delays), spread(&delays))
        }
        Pattern::Musiclm { .. } => (streams * frames, 0),
        Pattern::MultiRate { delays } => {
            let delays = case.delays(delays, 0);
            (delays.iter().map(|delay| frames + most(&delays) - delay).sum(), spread(&delays))
        }
    };
    (case.lead() + steps, overrun)
}

/// Steps of the case's sequence for another number of frames, cut if the case cuts.
fn length(case: &Case, frames: usize) -> usize {
    let (whole, overrun) = lengths(&Case { frames, ..case.clone() });
    if case.extent == Extent::Extend { whole } else { whole.saturating_sub(overrun) }
}

/// The slow, obvious twin of build: asks of each cell which code stands there.
fn build_slowly(plan: &Plan, frames: usize, codes: &Array3<i64>) -> (Array3<i64>, Array3<bool>) {
    let steps = plan.order().to_vec();
    let of = |k: usize, s: usize| steps[s].iter().find(|&&(_, stream)| stream == k).map(|&(t, _)| t);
    let kept = |k: usize, s: usize| of(k, s).filter(|&t| t < frames);
    let cell = |k: usize, s: usize| match kept(k, s) {
        Some(t) => Ok(t),
        None if (0..=s).all(|before| of(k, before).is_none()) => Err(FILLS.head),
        None if (s..steps.len()).all(|after| kept(k, after).is_none()) => Err(FILLS.tail),
        None => Err(FILLS.between),
    };
    let shape = (codes.len_of(Axis(0)), codes.len_of(Axis(1)), steps.len());
    let tokens = Array3::from_shape_fn(shape, |(b, k, s)| cell(k, s).map_or_else(|fill| fill, |t| codes[(b, k, t)]));
    (tokens, Array3::from_shape_fn(shape, |(_, k, s)| cell(k, s).is_ok()))
}

proptest! {
    #[test]
    fn orders_follow_their_definition(case in cases()) {
        let order = case.pattern.order_of(&case.layout, case.frames, case.start).unwrap();
        prop_assert_eq!(order.to_vec(), order_slowly(&case));
    }

    #[test]
    fn lengths_follow_the_formula(case in cases()) {
        let (whole, overrun) = lengths(&case);
        let order = case.pattern.order_of(&case.layout, case.frames, case.start).unwrap();
        prop_assert_eq!((order.steps(), order.overrun()), (whole, overrun));
        let expected = length(&case, case.frames);
        let plan = case.plan();
        prop_assert_eq!(plan.steps(case.frames).unwrap(), expected);
        prop_assert_eq!(plan.frames(expected).unwrap(), case.frames);

        let frames = case.pattern.frames_of(expected, &case.layout, case.extent, case.start);
        // Each frame gives a step or more, and no more are cut than the largest delay.
        let candidates = 0..=expected + MOST_DELAY;
        let fitting: Vec<usize> = candidates.filter(|&frames| length(&case, frames) == expected).collect();
        match frames {
            Ok(frames) => prop_assert_eq!((frames, fitting), (case.frames, vec![frames])),
            // Only a flattened beginning can make two lengths meet once they are cut.
            Err(error) => {
                let flattened = matches!(case.pattern, Pattern::Delay { flatten_first: 1.., .. });
                prop_assert!(flattened, "{}", error);
                prop_assert!(case.extent == Extent::Truncate && fitting.len() > 1, "{}: {:?}", error, fitting);
                prop_assert!(error.to_string().ends_with("expected one that only one number of frames gives"));
            }
        }
    }

    #[test]
    fn build_is_the_slow_twin(case in cases(), fewer in 0..60_usize) {
        let plan = case.told_apart();
        for frames in [case.frames, fewer.min(case.frames)] {
            let codes = codes(case.streams(), frames);
            let built = plan.build(&codes).unwrap();
            let (tokens, mask) = build_slowly(&plan, frames, &codes.0);
            prop_assert_eq!(&built.tokens.0, &tokens);
            prop_assert_eq!(&built.mask.0, &mask);
            for ((_, k, s), &known) in mask.indexed_iter() {
                let frame = plan.frame_at(k, s).filter(|&t| t < frames);
                prop_assert_eq!(frame.is_some(), known);
                if let Some(t) = frame {
                    prop_assert_eq!(plan.step_of(k, t, case.frames).unwrap(), Some(s));
                }
            }
        }
    }

    #[test]
    fn every_code_appears_exactly_once_in_extend(case in cases()) {
        let plan = Case { extent: Extent::Extend, ..case.clone() }.plan();
        let codes = codes(case.streams(), case.frames);
        let built = plan.build(&codes).unwrap();
        let cells = built.tokens.0.iter().zip(&built.mask.0);
        let mut found: Vec<i64> = cells.filter(|&(_, &known)| known).map(|(&code, _)| code).collect();
        found.sort_unstable();
        prop_assert_eq!(found, codes.0.iter().copied().collect::<Vec<_>>());
        let undone = plan.undo(&built.tokens, -1).unwrap();
        prop_assert_eq!(undone.codes, codes);
        prop_assert!(undone.mask.0.iter().all(|&known| known));
    }

    #[test]
    fn undo_after_build_is_the_identity_where_the_mask_is_true(case in cases(), less in 0..20_usize) {
        let plan = case.plan();
        let codes = codes(case.streams(), case.frames);
        let built = plan.build(&codes).unwrap();
        let steps = built.tokens.0.len_of(Axis(2)).saturating_sub(less);
        let reached = Steps(built.tokens.0.slice(s![.., .., ..steps]));
        let undone = plan.undo(&reached, -5).unwrap();
        let mut known = 0;
        for ((at, &code), &mask) in undone.codes.0.indexed_iter().zip(&undone.mask.0) {
            prop_assert_eq!(code, if mask { codes.0[at] } else { -5 });
            known += usize::from(mask);
        }
        prop_assert_eq!(known, built.mask.0.slice(s![.., .., ..steps]).iter().filter(|&&known| known).count());
    }

    #[test]
    fn logits_come_apart_class_by_class(case in cases(), start in any::<bool>()) {
        let plan = if start { case.plan() } else { case.plan().without_start() };
        let steps = plan.steps(case.frames).unwrap();
        let class = |c: i64| codes(case.streams(), steps).0.mapv(|value| 3 * value + c);
        let logits = stack![Axis(3), class(0), class(1), class(2)];
        let undone = plan.unshift(&Steps(logits), Axis(1), -1).unwrap();
        for c in 0..3 {
            let alone = plan.undo(&Steps(class(c)), -1).unwrap();
            prop_assert_eq!(undone.0.index_axis(Axis(3), c as usize), alone.codes.0);
        }
    }

    #[test]
    fn a_models_output_lines_up_with_the_sequence_a_step_later(case in cases()) {
        let plan = case.plan();
        let built = plan.build(&codes(case.streams(), case.frames)).unwrap().tokens.0;
        let first = usize::from(plan.order().starts_empty());
        let predicted = Steps(built.slice(s![.., .., first..]));
        let undone = plan.clone().without_start().undo(&predicted, -1).unwrap();
        prop_assert_eq!(undone, plan.undo(&Steps(built), -1).unwrap());
    }

    #[test]
    fn the_plan_of_a_delay_is_the_delay(layout in multi_rate_layouts(), frames in 0..60_usize, (extent, start) in extents()) {
        let (delay, codes) = (Delay::new(&layout, extent, start), codes(layout.streams().len(), frames));
        let expected = delay.build(&codes).unwrap();
        let plan = Plan::of_delay(&layout, frames, extent, start).unwrap();
        prop_assert_eq!(&plan.build(&codes).unwrap(), &expected);
        prop_assert_eq!(plan.undo(&expected.tokens, -1).unwrap(), delay.undo(&expected.tokens, -1).unwrap());

        let undelayed = layout.streams().iter().any(|stream| stream.delay == 0);
        if extent == Extent::Extend || undelayed {
            let plan = "delay".parse::<Pattern>().unwrap().plan(&layout, frames, extent, start).unwrap();
            prop_assert_eq!(plan.build(&codes).unwrap(), expected);
        }
    }

    #[test]
    fn text_and_json_bring_a_pattern_back(case in cases()) {
        prop_assert_eq!(&case.pattern.to_string().parse::<Pattern>().unwrap(), &case.pattern);
        prop_assert_eq!(&Pattern::from_json(&case.pattern.to_json()).unwrap(), &case.pattern);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(delay|flatten|musiclm|multi-rate|)(:[a-z-]{0,12}=?[0-9,;=-]{0,30})?") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert_eq!(&pattern.to_string().parse::<Pattern>().unwrap(), &pattern);
            // Refused or not, it ends without a panic.
            let _ = pattern.order(3, 5, Start::Initial);
        }
    }

    #[test]
    fn phases_split_and_join(n in 1..9_usize, frames in 0..20_usize) {
        let phases = Array2::from_shape_fn((n, frames), |(phase, t)| t * n + phase);
        let row = join_phases(phases.view());
        prop_assert_eq!(row.to_vec(), (0..n * frames).collect::<Vec<_>>());
        prop_assert_eq!(split_phases(row.view(), n).unwrap(), phases);
    }
}
