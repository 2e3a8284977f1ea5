//! Laws of the weights, for every layout, shift, policy and set of regions: a slow, obvious twin works out each cell.

mod common;
#[path = "common/policies.rs"]
mod policies;

use common::strategies::{codes_of, extents, layouts, layouts_of, patterns};
use ndarray::{Array3, Axis, s};
use policies::{regions, weighed};
use proptest::collection::vec;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::delay::{Bracket, Fills, Plan};
use roundelay::weights::{
    DepthFrames, Example, PadIds, Region, SemanticStreams, Summary, Sums, Weighing, Weights, WeightsViews,
};
use roundelay::{Delay, Frames, Kind, Layout, Normalize, Policy, Reason, Seconds, Sequencer, Steps, Stream};

/// Where a step's cell comes from: a frame, or one of the fills.
const HEAD: i64 = -10;
const BETWEEN: i64 = -11;
const TAIL: i64 = -12;
const EOS: i64 = -14;
const SOURCES: Fills = Fills { head: HEAD, between: BETWEEN, tail: TAIL, bos: -13, eos: EOS };

type Examples = Vec<(u64, Vec<Region>)>;

fn examples() -> impl Strategy<Value = Examples> {
    vec((any::<u64>(), vec(regions(), 0..3)), 2)
}

/// Everything that decides what a cell weighs.
struct Twin<'a> {
    layout: &'a Layout,
    policy: &'a Policy,
    examples: &'a Examples,
    codes: &'a Array3<i64>,
    /// By example and frame.
    drawn: Vec<Vec<bool>>,
}

/// Words, pads or audio.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Words,
    Pads,
    Audio,
}

struct Cell {
    reason: u8,
    weight: f64,
    class: Class,
}

impl<'a> Twin<'a> {
    fn new(layout: &'a Layout, policy: &'a Policy, examples: &'a Examples, codes: &'a Array3<i64>) -> Self {
        let frames = codes.len_of(Axis(2));
        let draw = |(index, _): &(u64, Vec<Region>)| match policy.depth_frames {
            None => vec![true; frames],
            Some(DepthFrames { share, seed }) => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(*index);
                (0..frames).map(|_| rng.random_bool(share)).collect()
            }
        };
        Twin { layout, policy, examples, codes, drawn: examples.iter().map(draw).collect() }
    }

    /// What a token of the stream weighs.
    fn base(&self, k: usize) -> f64 {
        let audio = |stream: &Stream| stream.kind != Kind::Text;
        let stream = &self.layout.streams()[k];
        let first = self.layout.streams().iter().position(|stream| audio(stream) && stream.trained);
        let heavy = match self.policy.semantic_streams {
            SemanticStreams::All => stream.kind == Kind::Semantic,
            SemanticStreams::FirstAudio => first == Some(k),
        };
        let by_kind = if !audio(stream) {
            1.0
        } else if heavy {
            self.policy.semantic
        } else {
            self.policy.acoustic
        };
        f64::from(*self.policy.streams.get(&stream.name).unwrap_or(&by_kind))
    }

    /// Reason, weight and class of an id that is there, in a trained stream.
    fn id(&self, k: usize, id: i64) -> Cell {
        let (stream, base) = (&self.layout.streams()[k], self.base(k));
        let pad = base * f64::from(self.policy.text_pad);
        if stream.kind != Kind::Text {
            return Cell { reason: 0, weight: base, class: Class::Audio };
        }
        if stream.end_pad.map(i64::from) == Some(id) {
            return match self.policy.pad_ids {
                PadIds::Pad => Cell { reason: 2, weight: base, class: Class::Words },
                PadIds::PadAndEndPad => Cell { reason: 2, weight: pad, class: Class::Pads },
            };
        }
        match id == i64::from(stream.pad) {
            true => Cell { reason: 1, weight: pad, class: Class::Pads },
            false => Cell { reason: 0, weight: base, class: Class::Words },
        }
    }

    fn nothing(&self, reason: u8, k: usize) -> Cell {
        Cell { reason, weight: 0.0, class: self.id(k, i64::MAX).class }
    }

    /// The weight of the last region that touches a frame.
    fn region(&self, b: usize, t: usize) -> Option<f32> {
        let rate = self.layout.frame_rate();
        let touches = |region: &&Region| rate.floor(region.start) <= t as i64 && (t as i64) < rate.ceil(region.end);
        self.examples[b].1.iter().rev().find(touches).map(|region| region.weight)
    }

    /// A frame's code, which the sequence may hold or not.
    fn code(&self, (b, k, t): (usize, usize, usize), held: bool) -> Cell {
        let (stream, code) = (&self.layout.streams()[k], self.codes[[b, k, t]]);
        let depth = stream.kind == Kind::Acoustic && stream.level != Some(0);
        let mut cell = match code {
            ..0 => self.nothing(5, k),
            _ if !held => self.nothing(4, k),
            _ if !stream.trained => self.nothing(6, k),
            _ if depth && !self.drawn[b][t] => self.nothing(7, k),
            _ => self.id(k, code),
        };
        if let Some(weight) = self.region(b, t) {
            cell.reason |= 128;
            cell.weight *= f64::from(weight);
        }
        cell
    }

    /// A step's cell, by where it comes from.
    fn step(&self, (b, k): (usize, usize), source: i64, fills: Fills) -> Cell {
        let stream = &self.layout.streams()[k];
        let ends = self.codes.slice(s![b, k, ..]).last().is_none_or(|&code| code >= 0);
        match source {
            0.. => self.code((b, k, source as usize), true),
            TAIL if self.policy.learned_tails && stream.trained && ends && fills.tail < i64::from(stream.initial) => {
                Cell { reason: 4, ..self.id(k, fills.tail) }
            }
            TAIL | BETWEEN => self.nothing(4, k),
            EOS if !ends => self.nothing(5, k),
            EOS if !stream.trained => self.nothing(6, k),
            EOS => Cell { reason: 0, ..self.id(k, i64::MAX) },
            _ => self.nothing(3, k),
        }
    }

    fn divisor(&self, class: Class, sums: &Sums) -> f64 {
        let sum = match (self.policy.normalize, class) {
            (Normalize::None, _) => 1.0,
            (_, Class::Audio) => sums.audio,
            (Normalize::Modality, _) => sums.words + sums.pads,
            (Normalize::Class, Class::Words) => sums.words,
            (Normalize::Class, Class::Pads) => sums.pads / f64::from(self.policy.text_pad),
        };
        if sum > 0.0 { sum } else { 1.0 }
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn sums_of(cells: impl Iterator<Item = Cell>) -> Sums {
    let mut sums = Sums::default();
    for Cell { weight, class, .. } in cells {
        match class {
            Class::Words => sums.words += weight,
            Class::Pads => sums.pads += weight,
            Class::Audio => sums.audio += weight,
        }
    }
    sums
}

fn same_sums(ours: &Sums, slow: &Sums) -> bool {
    close(ours.words, slow.words)
        && close(ours.pads, slow.pads)
        && close(ours.audio, slow.audio)
        && close(ours.text, slow.words + slow.pads)
}

/// Where each step's cell comes from.
fn sources(sequencer: &impl Sequencer, codes: &Array3<i64>) -> Array3<i64> {
    let frames = Array3::from_shape_fn(codes.dim(), |(_, _, t)| t as i64);
    sequencer.shift(&Frames(frames), |_| SOURCES).unwrap().0
}

/// Holds weights, reasons, sums, the training view and the summary against the twin.
fn check(
    layout: &Layout,
    sequencer: &impl Sequencer,
    policy: &Policy,
    examples: &Examples,
    codes: &Frames<Array3<i64>>,
) -> Result<(), TestCaseError> {
    let known: Vec<Example> = examples.iter().map(|(index, regions)| Example { index: *index, regions }).collect();
    let weighing = Weighing { examples: &known, ..Weighing::new(policy, layout) };
    let weights = weighing.weigh(sequencer, codes).unwrap();
    let twin = Twin::new(layout, policy, examples, &codes.0);
    let sources = sources(sequencer, &codes.0);
    let cell = |(b, k, s): (usize, usize, usize)| twin.step((b, k), sources[[b, k, s]], sequencer.fills(k));

    let sums = sums_of(sources.indexed_iter().map(|(at, _)| cell(at)));
    prop_assert!(same_sums(&weights.sums, &sums), "{:?} {sums:?}", weights.sums);
    for (at, &weight) in weights.steps.0.indexed_iter() {
        let slow = cell(at);
        prop_assert_eq!(weights.step_reasons.0[at], slow.reason, "step {:?}", at);
        let normalized = slow.weight / twin.divisor(slow.class, &sums);
        prop_assert!(close(weight.into(), normalized), "step {at:?}: {weight} {normalized}");
    }
    for (at, &weight) in weights.frames.0.indexed_iter() {
        let held = sequencer.step_of(at.1, at.2, codes.0.len_of(Axis(2))).unwrap().is_some();
        let slow = twin.code(at, held);
        prop_assert_eq!(weights.frame_reasons.0[at], slow.reason, "frame {:?}", at);
        let normalized = slow.weight / twin.divisor(slow.class, &sums);
        prop_assert!(close(weight.into(), normalized), "frame {at:?}: {weight} {normalized}");
    }
    check_loss(&weights, &sources, codes)?;
    check_summary(&weighing, sequencer, codes, &weights, &sources)?;
    check_views(&weighing, sequencer, codes, &weights)?;

    let training = weighing.training(sequencer, codes).unwrap();
    let targets = |(b, k, s): (usize, usize, usize)| cell((b, k, s + 1));
    let sums = sums_of(training.weights.0.indexed_iter().map(|(at, _)| targets(at)));
    prop_assert!(same_sums(&training.sums, &sums), "{:?} {sums:?}", training.sums);
    for (at, &weight) in training.weights.0.indexed_iter() {
        let slow = targets(at);
        let normalized = slow.weight / twin.divisor(slow.class, &sums);
        prop_assert!(close(weight.into(), normalized), "target {at:?}: {weight} {normalized}");
    }
    Ok(())
}

/// Whichever parts are wanted, they are those of the whole, also in rows with gaps, and nothing shows of what lay in their
/// memory; views of another shape are refused.
fn check_views(
    weighing: &Weighing,
    sequencer: &impl Sequencer,
    codes: &Frames<Array3<i64>>,
    whole: &Weights<ndarray::Ix3>,
) -> Result<(), TestCaseError> {
    const DIRT: (f32, u8) = (-7.0, 77);
    for parts in 0..16 {
        let mut given = Parts::of(parts, (whole.frames.0.raw_dim(), whole.steps.0.raw_dim()), DIRT);
        prop_assert_eq!(weighing.weigh_into(sequencer, codes, given.views()).unwrap(), whole.sums);
        let Parts { frames, frame_reasons, steps, step_reasons } = given;
        prop_assert!(frames.is_none_or(|frames| frames == whole.frames.0));
        prop_assert!(frame_reasons.is_none_or(|reasons| reasons == whole.frame_reasons.0));
        prop_assert!(steps.is_none_or(|steps| steps == whole.steps.0));
        prop_assert!(step_reasons.is_none_or(|reasons| reasons == whole.step_reasons.0));
    }
    let longer = |array: &Array3<f32>| array.raw_dim() + ndarray::Ix3(0, 0, 1);
    for (part, name) in ["frames", "frame_reasons", "steps", "step_reasons"].into_iter().enumerate() {
        let mut given = Parts::of(1 << part, (longer(&whole.frames.0), longer(&whole.steps.0)), DIRT);
        let error = weighing.weigh_into(sequencer, codes, given.views()).unwrap_err().to_string();
        prop_assert!(error.starts_with(&format!("shape of the {name} is [")), "{error}");
    }
    Ok(())
}

/// Memory for some parts of the weights.
struct Parts {
    frames: Option<Array3<f32>>,
    frame_reasons: Option<Array3<u8>>,
    steps: Option<Array3<f32>>,
    step_reasons: Option<Array3<u8>>,
}

impl Parts {
    /// Those whose bits are set in `parts`, over frames and over steps.
    fn of(parts: u8, (in_frames, in_steps): (ndarray::Ix3, ndarray::Ix3), (weight, reason): (f32, u8)) -> Self {
        let wanted = |part: u8| parts >> part & 1 == 1;
        Parts {
            frames: wanted(0).then(|| with_gaps(in_frames, weight)),
            frame_reasons: wanted(1).then(|| with_gaps(in_frames, reason)),
            steps: wanted(2).then(|| with_gaps(in_steps, weight)),
            step_reasons: wanted(3).then(|| with_gaps(in_steps, reason)),
        }
    }

    fn views(&mut self) -> WeightsViews<'_, ndarray::Ix3> {
        WeightsViews {
            frames: self.frames.as_mut().map(|array| Frames(array.view_mut())),
            frame_reasons: self.frame_reasons.as_mut().map(|array| Frames(array.view_mut())),
            steps: self.steps.as_mut().map(|array| Steps(array.view_mut())),
            step_reasons: self.step_reasons.as_mut().map(|array| Steps(array.view_mut())),
        }
    }
}

/// Memory of this shape, a row of which lies scattered.
fn with_gaps<A: Clone>(shape: ndarray::Ix3, fill: A) -> Array3<A> {
    Array3::from_elem((shape[2], shape[0], shape[1]), fill).permuted_axes([1, 2, 0])
}

/// Both frames give the same loss, but for what is learned without being a code.
fn check_loss(
    weights: &Weights<ndarray::Ix3>,
    sources: &Array3<i64>,
    codes: &Frames<Array3<i64>>,
) -> Result<(), TestCaseError> {
    let loss = codes.0.mapv(|code| (code.rem_euclid(97) + 1) as f64);
    let mut in_steps = 0.0;
    for (((b, k, _), &source), &weight) in sources.indexed_iter().zip(&weights.steps.0) {
        in_steps += if source >= 0 { f64::from(weight) * loss[[b, k, source as usize]] } else { 0.0 };
    }
    let in_frames: f64 = weights.frames.0.iter().zip(&loss).map(|(&weight, loss)| f64::from(weight) * loss).sum();
    prop_assert!(close(in_frames, in_steps), "{in_frames} {in_steps}");
    Ok(())
}

/// The summary's numbers counted one by one, and the same from one example at a time.
fn check_summary(
    weighing: &Weighing,
    sequencer: &impl Sequencer,
    codes: &Frames<Array3<i64>>,
    weights: &Weights<ndarray::Ix3>,
    sources: &Array3<i64>,
) -> Result<(), TestCaseError> {
    let mut summary = Summary::new(weighing.policy, weighing.layout).unwrap();
    let mut merged = summary.clone();
    summary.add(weighing, sequencer, codes).unwrap();
    for (b, example) in codes.0.outer_iter().enumerate() {
        let mut part = Summary::new(weighing.policy, weighing.layout).unwrap();
        let one = Weighing { examples: &weighing.examples[b..b + 1], ..*weighing };
        part.add(&one, sequencer, &Frames(example)).unwrap();
        merged.merge(&part).unwrap();
    }
    prop_assert_eq!(merged.examples, 2);
    prop_assert_eq!(&serde_json::from_str::<Summary>(&serde_json::to_string(&summary).unwrap()).unwrap(), &summary);

    let part = |keep: &dyn Fn((usize, usize, usize)) -> bool| -> f64 {
        let cells = weights.steps.0.indexed_iter().filter(|(at, _)| keep(*at));
        cells.map(|(_, &weight)| f64::from(weight)).sum()
    };
    let all = part(&|_| true);
    let share = |weight: f64| if all > 0.0 { weight / all } else { 0.0 };
    let tails = share(part(&|at| sources[at] == TAIL));
    prop_assert!((summary.learned_tails - tails).abs() < 1e-6, "{} {tails}", summary.learned_tails);
    for (k, (stream, merged)) in summary.streams.iter().zip(&merged.streams).enumerate() {
        for reason in Reason::ALL {
            let here = |at: (usize, usize, usize)| at.1 == k && weights.step_reasons.0[at] & 127 == reason as u8;
            let cells = sources.indexed_iter().filter(|(at, _)| here(*at)).count() as u64;
            let ours = stream.reasons.get(&reason).copied().unwrap_or_default();
            prop_assert_eq!(ours.cells, cells);
            prop_assert!((ours.share - share(part(&here))).abs() < 1e-6, "{} {}", ours.share, share(part(&here)));
            let merged = merged.reasons.get(&reason).copied().unwrap_or_default();
            prop_assert!(merged.cells == cells && (merged.share - ours.share).abs() < 1e-9);
        }
        let marked = |at: (usize, usize, usize)| at.1 == k && weights.step_reasons.0[at] >= 128;
        prop_assert_eq!(stream.regions, sources.indexed_iter().filter(|(at, _)| marked(*at)).count() as u64);
        check_ends(k, stream.end.map(|end| end.live), weighing, sequencer, codes, weights)?;
        prop_assert_eq!(merged.end, stream.end);
    }
    Ok(())
}

fn check_ends(
    k: usize,
    live: Option<u64>,
    weighing: &Weighing,
    sequencer: &impl Sequencer,
    codes: &Frames<Array3<i64>>,
    weights: &Weights<ndarray::Ix3>,
) -> Result<(), TestCaseError> {
    let stream = &weighing.layout.streams()[k];
    let eos = stream.eos.map(i64::from);
    // An id that is a code as well ends a stream only where nothing is learned behind it.
    let last_only = stream.kind.is_audio() && eos.is_some_and(|eos| eos < i64::from(stream.cardinality));
    let tokens = sequencer.build(codes).unwrap().tokens.0;
    let is_live = |b: usize| {
        let cells = tokens.slice(s![b, k, ..]).into_iter().zip(weights.steps.0.slice(s![b, k, ..]));
        let learned: Vec<_> = cells.filter(|(_, weight)| **weight > 0.0).map(|(&token, _)| token).collect();
        match last_only {
            true => learned.last().copied() == eos,
            false => learned.iter().any(|&token| Some(token) == eos),
        }
    };
    let slow = eos.map(|_| (0..codes.0.len_of(Axis(0))).filter(|&b| is_live(b)).count() as u64);
    prop_assert_eq!(live, slow);
    Ok(())
}

fn bracket(layout: &Layout, bos: bool, eos: bool) -> Bracket {
    let has = |id: fn(&Stream) -> Option<u32>| layout.streams().iter().all(|stream| id(stream).is_some());
    Bracket { bos: bos && has(|s| s.bos), eos: eos && has(|s| s.eos) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn weights_of_a_delay_are_those_of_their_slow_twin(
        (layout, policy) in weighed(layouts()), (extent, start) in extents(), frames in 0..=60usize, seed: u64,
        bos: bool, eos: bool, examples in examples(),
    ) {
        let codes = codes_of(&layout, 2, frames, seed);
        let delay = Delay::new(&layout, extent, start).bracketed(&layout, bracket(&layout, bos, eos)).unwrap();
        check(&layout, &delay, &policy, &examples, &codes)?;
    }

    #[test]
    fn weights_of_a_pattern_are_those_of_their_slow_twin(
        (layout, policy) in weighed(layouts_of(6..=6, 0..=3)), pattern in patterns(6), (extent, start) in extents(),
        frames in 0..=20usize, spare in 0..3usize, seed: u64, bos: bool, eos: bool, examples in examples(), low: bool,
    ) {
        // Tails below every initial id, or above.
        let tail = if low { 0 } else { 1 << 22 };
        let fills = Fills { head: 1 << 20, between: 1 << 21, tail, bos: 1 << 23, eos: 1 << 24 };
        let Ok(order) = pattern.order_of(&layout, frames + spare + 2, start) else { return Ok(()) };
        let plan = Plan::new(order, extent, vec![fills; layout.streams().len()]).unwrap();
        let plan = plan.bracketed(&layout, bracket(&layout, bos, eos)).unwrap();
        check(&layout, &plan, &policy, &examples, &codes_of(&layout, 2, frames, seed))?;
    }

    #[test]
    fn draws_do_not_depend_on_the_batch(
        layout in layouts_of(3..=6, 0..=3), (extent, start) in extents(), frames in 1..=40usize, seed: u64,
    ) {
        let codes = codes_of(&layout, 3, frames, seed);
        let depth_frames = Some(DepthFrames { share: 0.5, seed });
        let policy = Policy { normalize: Normalize::None, depth_frames, ..Policy::default() };
        let delay = Delay::new(&layout, extent, start);
        let example = |index| Example { index, regions: &[] };
        let batch = Weighing { examples: &[4, 9, 7].map(example), ..Weighing::new(&policy, &layout) };
        let batch = batch.weigh(&delay, &codes).unwrap();
        for (b, index) in [(0, 4), (1, 9), (2, 7)] {
            let alone = Weighing { examples: &[example(index)], ..Weighing::new(&policy, &layout) };
            let alone = alone.weigh(&delay, &Frames(codes.0.index_axis(Axis(0), b))).unwrap();
            prop_assert_eq!(alone.steps.0.view(), batch.steps.0.index_axis(Axis(0), b));
            prop_assert_eq!(alone.frame_reasons.0.view(), batch.frame_reasons.0.index_axis(Axis(0), b));
        }
    }
}

#[test]
fn examples_and_regions_that_do_not_fit_are_refused() {
    let (layout, policy) = (Layout::preset("delay-1").unwrap(), Policy::default());
    let delay = Delay::new(&layout, roundelay::Extent::Extend, roundelay::Start::Initial);
    let codes = Frames(Array3::<i64>::zeros((2, 3, 4)));
    let refusal = |examples: &[Example]| {
        let weighing = Weighing { examples, ..Weighing::new(&policy, &layout) };
        let error = weighing.weigh(&delay, &codes).unwrap_err().to_string();
        assert_eq!(weighing.training(&delay, &codes).unwrap_err().to_string(), error);
        error
    };
    assert_eq!(refusal(&[Example::default()]), "number of examples is 1, expected 2, as in the codes");
    let second = |s: f64| Seconds::from_f64(s).unwrap();
    let regions = [Region { start: second(1.0), end: second(0.5), weight: 1.0 }];
    let wrong = [Example::default(), Example { index: 1, regions: &regions }];
    assert_eq!(refusal(&wrong), "end of the region is 0.5 s, expected after its start, 1 s");
    let unknown = Policy { streams: [("x".to_owned(), 1.0)].into(), ..Policy::default() };
    assert!(unknown.weigh(&layout, &delay, &codes).unwrap_err().to_string().starts_with("streams is \"x\""));
    let huge = Policy { semantic: f32::MAX, streams: [("main.1".to_owned(), f32::MAX)].into(), ..Policy::default() };
    let regions = [Region { start: second(0.0), end: second(0.5), weight: f32::MAX }];
    let examples = [Example { index: 0, regions: &regions }; 2];
    let weighing = Weighing { examples: &examples, ..Weighing::new(&huge, &layout) };
    assert_eq!(
        weighing.weigh(&delay, &codes).unwrap_err().to_string(),
        "sum of the weights is inf, expected a finite number"
    );
}
