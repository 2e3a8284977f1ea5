//! Laws of what families do around the shift: for every layout, length and content.

use ndarray::{Array2, Axis, s};
use proptest::prelude::*;
use roundelay::delay::{Bracket, EndRule, Ending, Pattern, Stray, Template, compact, content, undo_repeating};
use roundelay::token::UNGENERATED;
use roundelay::{Delay, Extent, FrameRate, Frames, Kind, Layout, Sequencer, Start, Steps, Stream};

/// Codes of every stream; above them its begin, end, pad and initial id.
const CARDINALITY: u32 = 100;
const BOS: i64 = 100;
const EOS: i64 = 101;
const PAD: i64 = 102;

fn layout(delays: &[usize]) -> Layout {
    let streams = delays.iter().enumerate().map(|(k, &delay)| Stream {
        name: format!("s{k}"),
        kind: Kind::Acoustic,
        speaker: "main".into(),
        level: Some(k),
        cardinality: CARDINALITY,
        delay,
        initial: CARDINALITY + 3,
        pad: PAD as u32,
        end_pad: None,
        bos: Some(BOS as u32),
        eos: Some(EOS as u32),
        phase: None,
        trained: true,
    });
    Layout::new("any", FrameRate::new(50, 1).unwrap(), streams.collect()).unwrap()
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop::collection::vec(0..=12usize, 1..=6).prop_map(|delays| layout(&delays))
}

fn brackets() -> impl Strategy<Value = Bracket> {
    (any::<bool>(), any::<bool>()).prop_map(|(bos, eos)| Bracket { bos, eos })
}

fn starts() -> impl Strategy<Value = Start> {
    prop_oneof![Just(Start::None), Just(Start::Initial)]
}

fn rules() -> impl Strategy<Value = EndRule> {
    prop_oneof![Just(EndRule::Staircase), Just(EndRule::Free), Just(EndRule::Countdown), Just(EndRule::Late)]
}

/// Codes of each stream in an order that repeats late.
fn codes(layout: &Layout, time: usize, seed: usize) -> Frames<Array2<i64>> {
    let code = |(k, t): (usize, usize)| ((seed % 97 + 31 * k + 7 * t) % CARDINALITY as usize) as i64;
    Frames(Array2::from_shape_fn((layout.streams().len(), time), code))
}

fn delay(layout: &Layout, extent: Extent, start: Start, bracket: Bracket) -> Delay {
    Delay::new(layout, extent, start).bracketed(layout, bracket).unwrap()
}

fn delays(layout: &Layout) -> Vec<usize> {
    layout.streams().iter().map(|stream| stream.delay).collect()
}

/// Delays after the stream that ends first, and which one that is.
fn after_leader(layout: &Layout) -> (Vec<usize>, usize) {
    let delays = delays(layout);
    let least = *delays.iter().min().unwrap();
    (delays.iter().map(|delay| delay - least).collect(), delays.iter().position(|&delay| delay == least).unwrap())
}

/// A row that a model generates in `steps` steps: its choices are `choice` of stream and step.
fn generate(layout: &Layout, ending: &mut Ending, steps: usize, choice: impl Fn(usize, usize) -> i64) -> Array2<i64> {
    let mut row = Array2::zeros((layout.streams().len(), steps));
    for step in 0..steps {
        let mut next: Vec<_> = (0..row.nrows()).map(|k| choice(k, step)).collect();
        ending.apply(Steps(&mut next)).unwrap();
        row.column_mut(step).iter_mut().zip(next).for_each(|(to, id)| *to = id);
    }
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn labels_hold_every_code_and_one_end_a_stream(
        layout in layouts(), start in starts(), bos: bool, time in 0..=40usize, seed: usize,
    ) {
        let (codes, delay) = (codes(&layout, time, seed), delay(&layout, Extent::Extend, start, Bracket { bos, eos: true }));
        let labels = delay.labels(&codes, -100).unwrap().0;
        let tokens = delay.build(&codes).unwrap().tokens.0;
        for (k, row) in labels.rows().into_iter().enumerate() {
            let kept: Vec<_> = row.iter().copied().filter(|&id| id != -100).collect();
            let mut expected = codes.0.row(k).to_vec();
            expected.push(EOS);
            prop_assert_eq!(kept, expected);
            let same = row.iter().zip(tokens.row(k)).all(|(&label, &token)| label == -100 || label == token);
            prop_assert!(same, "labels stand where the tokens are");
        }
    }

    #[test]
    fn a_template_has_the_prompt_where_build_puts_it_and_gives_it_back(
        layout in layouts(), start in starts(), bracket in brackets(),
        given in 0..=20usize, open in 0..=20usize, seed: usize,
    ) {
        let (prompt, delay) = (codes(&layout, given, seed), delay(&layout, Extent::Extend, start, bracket));
        let steps = delay.steps(given + open).unwrap();
        let template = Template::new(&delay, &prompt, steps).unwrap();
        let whole = delay.build(&codes(&layout, given + open, seed)).unwrap();
        let mut opened = 0;
        for ((k, step), &id) in template.tokens().0.indexed_iter() {
            let is_open = id == UNGENERATED;
            opened += usize::from(is_open);
            prop_assert!(is_open || id == whole.tokens.0[(k, step)]);
            prop_assert!(!is_open || whole.mask.0[(k, step)]);
        }
        prop_assert_eq!(opened, open * layout.streams().len());
        prop_assert_eq!(template.first_open(), (open > 0).then(|| {
            (0..layout.streams().len()).map(|k| delay.step_of(k, given, given + open).unwrap().unwrap()).min().unwrap()
        }));

        let chosen = Array2::from_shape_fn((layout.streams().len(), steps), |(k, s)| (1000 + 100 * k + s) as i64);
        let applied = template.apply(&Steps(chosen.view())).unwrap();
        let undone = delay.undo(&applied, -1).unwrap().codes.0;
        prop_assert_eq!(undone.slice(s![.., ..given]), prompt.0.view());
        prop_assert!(undone.slice(s![.., given..]).iter().all(|&id| id >= 1000), "what is open is the model's");

        for step in 0..steps + 2 {
            let mut next: Vec<_> = (0..chosen.nrows()).map(|k| *chosen.get((k, step)).unwrap_or(&7)).collect();
            template.force(step, Steps(&mut next)).unwrap();
            let expected = (0..chosen.nrows()).map(|k| *applied.0.get((k, step)).unwrap_or(&7));
            prop_assert_eq!(next, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn each_stream_ends_at_its_delay_after_the_leader_and_pads_follow(
        layout in layouts(), time in 0..=20usize, seed: usize,
    ) {
        // What is generated is then the sequence that build makes of the codes and an end.
        let delay = delay(&layout, Extent::Extend, Start::None, Bracket { bos: false, eos: true });
        let codes = codes(&layout, time, seed);
        let built = delay.build(&codes).unwrap();
        let (after, leader) = after_leader(&layout);
        let end = time + delays(&layout)[leader];
        let mut ending = Ending::new(&layout, EndRule::Staircase).unwrap();
        let choice = |k: usize, step: usize| match (built.mask.0[(k, step)], k == leader && step == end) {
            (_, true) => EOS,
            (true, _) => built.tokens.0[(k, step)],
            (false, _) if step < end => built.tokens.0[(k, step)],
            (false, _) => 55,
        };
        let row = generate(&layout, &mut ending, built.tokens.0.ncols(), choice);
        prop_assert!(ending.is_over());
        for (k, after) in after.into_iter().enumerate() {
            prop_assert_eq!(ending.end_of(k), Some(end + after));
            for step in end..row.ncols() {
                prop_assert_eq!(row[(k, step)] == EOS, step == end + after);
                prop_assert_eq!(row[(k, step)] == PAD, step > end + after);
            }
            prop_assert_eq!(row.slice(s![k, ..end]), built.tokens.0.slice(s![k, ..end]));
            let from = (time + delays(&layout)[k]).min(row.ncols());
            prop_assert_eq!(row.slice(s![k, from..]), built.tokens.0.slice(s![k, from..]));
        }
    }

    #[test]
    fn a_row_within_a_number_of_steps_ends_in_time(
        layout in layouts(), rule in rules(), spare in 0..=20usize,
    ) {
        let (after, leader) = after_leader(&layout);
        let largest = *after.iter().max().unwrap();
        let late = usize::from(rule == EndRule::Late && after.len() > 1);
        let span = if rule == EndRule::Countdown { largest.max(1) - 1 } else { largest + late };
        prop_assert!(Ending::new(&layout, rule).unwrap().within(span).is_err());
        let steps = span + 1 + spare;
        let mut ending = Ending::new(&layout, rule).unwrap().within(steps).unwrap();
        let row = generate(&layout, &mut ending, steps, |k, step| ((k + step) % 50) as i64);
        prop_assert!(ending.is_over());
        prop_assert_eq!(ending.end_of(leader), Some(spare));
        for (k, after) in after.into_iter().enumerate() {
            let after = if k == leader { after } else { after + late };
            let ends: Vec<_> = (0..steps).filter(|&step| row[(k, step)] == EOS).collect();
            let lost = rule == EndRule::Countdown && after > span;
            prop_assert_eq!(&ends, &if lost { vec![] } else { vec![spare + after] });
            prop_assert_eq!(ending.end_of(k), (!lost).then_some(spare + after));
            let pads = row.slice(s![k, ..]).iter().filter(|&&id| id == PAD).count();
            let expected = if lost || rule == EndRule::Free { 0 } else { steps - spare - after - 1 };
            prop_assert_eq!(pads, expected);
        }
    }

    #[test]
    fn an_end_that_may_not_be_chosen_is_refused_and_changes_nothing(
        layout in layouts(), rule in rules(), step in 0..=5usize,
    ) {
        let (_, leader) = after_leader(&layout);
        let mut ending = Ending::new(&layout, rule).unwrap();
        generate(&layout, &mut ending, step, |_, _| 1);
        for k in (0..layout.streams().len()).filter(|&k| k != leader) {
            prop_assert!(ending.may_end(leader) && !ending.may_end(k));
            let (before, mut next) = (ending.clone(), vec![3_u16; layout.streams().len()]);
            next[k] = EOS as u16;
            let chosen = next.clone();
            prop_assert!(ending.apply(Steps(&mut next)).is_err());
            prop_assert_eq!((&ending, &next), (&before, &chosen));
        }
    }

    #[test]
    fn content_is_what_was_built(
        layout in layouts(), bracket in brackets(), truncate: bool, time in 0..=30usize, before in 0..=5usize, seed: usize,
    ) {
        let codes = codes(&layout, time, seed);
        let tokens = delay(&layout, Extent::Extend, Start::None, bracket).build(&codes).unwrap().tokens.0;
        // What comes before a begin moves all by as many frames; without one there is nothing to find it by.
        let before = if bracket.bos { before } else { 0 };
        let tokens = Steps(ndarray::concatenate![Axis(1), Array2::from_elem((tokens.nrows(), before), 9), tokens]);
        // Truncation counts the tails' fills as frames, where no end tells.
        let extent = if truncate && bracket.eos { Extent::Truncate } else { Extent::Extend };
        let plain = Delay::new(&layout, extent, Start::None);
        let frames = content(&plain, &tokens).unwrap();
        let begin = before + usize::from(bracket.bos);
        prop_assert_eq!(&frames, &(begin..begin + time));
        let undone = Frames(plain.undo(&tokens, -1).unwrap().codes.0.slice_move(s![.., frames]));
        prop_assert_eq!(&Stray::Refuse.settle(&layout, undone).unwrap(), &codes);
    }

    #[test]
    fn a_row_that_was_cut_holds_the_frames_that_are_whole(layout in layouts(), time in 0..=30usize, seed: usize) {
        let begin = Bracket { bos: true, eos: false };
        let codes = codes(&layout, time, seed);
        let tokens = delay(&layout, Extent::Truncate, Start::None, begin).build(&codes).unwrap().tokens;
        let plain = Delay::new(&layout, Extent::Truncate, Start::None);
        let whole = (time + 1).saturating_sub(layout.max_delay());
        // Where not even the begin is whole, nothing says where the codes are.
        let expected = if whole > 0 { 1..whole } else { 0..0 };
        prop_assert_eq!(content(&plain, &tokens).unwrap(), expected);
    }

    #[test]
    fn other_ways_back_agree_where_ids_tell_fills_from_codes(
        layout in layouts(), start in starts(), time in 1..=30usize, seed: usize,
    ) {
        let codes = codes(&layout, time, seed);
        let tokens = delay(&layout, Extent::Extend, start, Bracket::BOTH).build(&codes).unwrap().tokens;
        let keep = Steps(tokens.0.mapv(|id| id < i64::from(CARDINALITY)));
        prop_assert_eq!(&compact(&tokens, &keep).unwrap(), &codes);

        let cut = Delay::new(&layout, Extent::Truncate, Start::None);
        let tokens = cut.build(&codes).unwrap().tokens;
        let (ours, theirs) = (cut.undo(&tokens, -1).unwrap(), undo_repeating(&cut, &tokens, time, PAD).unwrap());
        for ((at, &known), &theirs) in ours.mask.0.indexed_iter().zip(&theirs.0) {
            prop_assert_eq!(theirs, if known { codes.0[at] } else { tokens.0[(at.0, time - 1)] });
        }
    }
}

#[test]
fn rows_that_keep_unlike_numbers_of_cells_are_refused() {
    let tokens = Steps(ndarray::arr2(&[[1, 2, 9], [3, 9, 9]]));
    let keep = Steps(tokens.0.mapv(|id| id != 9));
    let error = compact(&tokens, &keep).unwrap_err();
    assert_eq!(error.to_string(), "stream 1: cells that are kept is 1, expected 2");
    let other = Steps(keep.0.slice(s![.., ..2]));
    assert_eq!(compact(&tokens, &other).unwrap_err().to_string(), "shape of what is kept is [2, 2], expected [2, 3]");
}

/// A plan undoes sequences shorter than its own; what they do not reach is the last step again.
#[test]
fn repeating_stops_at_the_sequence_that_there_is() {
    let layout = layout(&[0, 1]);
    let plan = "delay".parse::<Pattern>().unwrap().plan(&layout, 4, Extent::Extend, Start::None).unwrap();
    let repeated = |tokens: Array2<i64>| undo_repeating(&plan, &Steps(tokens), 9, PAD).unwrap().0;
    assert_eq!(repeated(ndarray::arr2(&[[1, 2], [3, 4]])), ndarray::arr2(&[[1, 2, 2, 2], [4, 4, 4, 4]]));
    assert_eq!(repeated(Array2::zeros((2, 0))), Array2::from_elem((2, 4), PAD));
}

#[test]
fn templates_name_what_does_not_go() {
    let layout = layout(&[0, 2]);
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let error = Template::new(&delay, &codes(&layout, 3, 0), 5).unwrap_err();
    assert_eq!(error.to_string(), "frames of the prompt is 3, expected at most 2 in 5 steps");
    let template = Template::new(&delay, &codes(&layout, 1, 0), 5).unwrap();
    assert!(template.apply(&Steps(Array2::<i64>::zeros((3, 5)))).is_err());
    assert!(template.force(0, Steps(&mut [0_i64; 3])).is_err());
    assert!(template.force(0, Steps(&mut [0_u8; 2])).is_ok());
    let wide = Template::of(Steps(ndarray::arr2(&[[1000]]))).unwrap();
    let error = wide.apply(&Steps(ndarray::arr2(&[[0_u8]]))).unwrap_err();
    assert_eq!(error.to_string(), "stream 0: token is 1000, expected an id that fits u8");
    assert!(Template::of(Steps(ndarray::arr1(&[1]))).is_err());
}

#[test]
fn the_peers_leave_short_sequences_undelayed() {
    let layout = layout(&[0, 1, 2]);
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let prompt = codes(&layout, 1, 0);
    for steps in 4..9 {
        let template = Template::open_if_short(&delay, &prompt, steps).unwrap();
        match steps < 5 {
            true => assert!(template.tokens().0.iter().all(|&id| id == UNGENERATED), "{steps}"),
            false => assert_eq!(template, Template::new(&delay, &prompt, steps).unwrap(), "{steps}"),
        }
    }
    assert!(Template::open_if_short(&delay, &Frames(Array2::<i64>::zeros((2, 0))), 3).is_err());
}

#[test]
fn ends_need_their_ids_and_one_token_a_stream() {
    let plain = Layout::preset("musicgen").unwrap();
    let error = Ending::new(&plain, EndRule::Staircase).unwrap_err();
    assert_eq!(error.to_string(), "stream main.0: eos is missing, expected an id for every stream");
    let mut ending = Ending::new(&layout(&[0, 1]), EndRule::InTurn).unwrap();
    assert!(ending.clone().within(10).is_err());
    assert!(ending.apply(Steps(&mut [1_i64; 3])).is_err());
    assert!(ending.apply(Steps(&mut [1, EOS])).is_err(), "the second stream ends after the first");
    ending.apply(Steps(&mut [EOS, 1])).unwrap();
    assert!(!ending.is_over());
    ending.apply(Steps(&mut [1, EOS])).unwrap();
    assert_eq!((ending.end_of(0), ending.end_of(1), ending.is_over()), (Some(0), Some(1), true));
}

#[test]
fn ids_that_are_no_codes_are_refused_or_settled_as_stated() {
    let layout = layout(&[0]);
    let codes = Frames(ndarray::arr2(&[[3_i64, BOS, -1, 99, EOS]]));
    assert!(Stray::Refuse.settle(&layout, codes.clone()).is_err());
    assert_eq!(Stray::Zero.settle(&layout, codes.clone()).unwrap().0, ndarray::arr2(&[[3, 0, 0, 99, 0]]));
    assert_eq!(Stray::Clamp.settle(&layout, codes).unwrap().0, ndarray::arr2(&[[3, 99, 0, 99, 99]]));
}
