//! General patterns against what audiocraft's own code gave (`fixtures/README.md`).
//!
//! audiocraft has one special id for all streams and always starts with an empty step, unless told otherwise by a
//! negative `empty_initial`. Its `keep_only_valid_steps` is our `Extent::Truncate`.

mod common;

use common::{Recorded, Tensors};
use ndarray::{Array2, ArrayD, Axis, Ix2, Ix3, Ix4};
use roundelay::delay::{Delays, Fills, Order, Pattern, Plan, Sequencer};
use roundelay::{Extent, Frames, Layout, Result, Start, Steps};
use serde_json::Value;

fn read() -> Recorded {
    let cases = "e275591e0c5f8eb1e608123773c301a2708745d819626c7d60c2eab7cfb06f79";
    Recorded::read("patterns/patterns", [cases, "8459d717dd37bb1fc627241acda734e031a60ba0314ebcafa615a26c002202a2"])
}

/// The cases of one operation, of which there must be so many.
fn of<'a>(recorded: &'a Recorded, op: &'a str, count: usize) -> Vec<Case<'a>> {
    let of: Vec<_> = recorded.of(op).map(Case).collect();
    assert_eq!(of.len(), count, "{op}");
    of
}

struct Case<'a>(&'a Value);

impl Case<'_> {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn key(&self, tensor: &str) -> String {
        format!("{}/{tensor}", self.name())
    }

    fn param(&self, name: &str) -> &Value {
        &self.0["params"][name]
    }

    fn streams(&self) -> usize {
        number(&self.param("args")["n_q"])
    }

    fn order(&self) -> Order {
        let pattern = pattern(self.param("provider").as_str().unwrap(), self.param("args"));
        pattern.order(self.streams(), number(self.param("timesteps")), Start::Initial).unwrap()
    }

    fn plan(&self, special: i64) -> Plan {
        let extent = match self.param("keep_only_valid_steps").as_bool().unwrap() {
            true => Extent::Truncate,
            false => Extent::Extend,
        };
        Plan::new(self.order(), extent, vec![Fills::all(special); self.streams()]).unwrap()
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Option<Vec<usize>> {
    value.as_array().map(|list| list.iter().map(number).collect())
}

/// The pattern that a provider with these arguments stands for.
fn pattern(provider: &str, args: &Value) -> Pattern {
    let delays = |default| numbers(&args["delays"]).map_or(default, Delays::Each);
    let empty_initial = args["empty_initial"].as_i64().unwrap_or(0);
    match provider {
        "parallel" => Pattern::Parallel { empty_initial },
        "delayed" => Pattern::Delay {
            delays: delays(Delays::Staircase),
            flatten_first: args["flatten_first"].as_u64().unwrap_or(0) as usize,
            empty_initial,
        },
        "unrolled" => Pattern::Flatten { flattening: numbers(&args["flattening"]), delays: delays(Delays::None) },
        "coarse_first" => Pattern::CoarseFirst { delays: delays(Delays::None) },
        "musiclm" => Pattern::Musiclm { group_by: args["group_by"].as_u64().unwrap_or(2) as usize },
        other => panic!("unknown provider {other}"),
    }
}

/// Each cell's own address: what the peer calls indexes.
fn addresses(streams: usize, time: usize) -> Array2<i64> {
    Array2::from_shape_fn((streams, time), |(k, at)| (k * time + at) as i64)
}

fn grid(tensors: &Tensors<'_>, key: &str) -> ndarray::Array3<i64> {
    tensors.i64(key).into_dimensionality::<Ix3>().unwrap()
}

/// Checks one mask for all examples of a batch.
fn assert_mask(found: &ndarray::Array3<bool>, expected: &ArrayD<bool>, name: &str) {
    found.outer_iter().for_each(|mask| assert_eq!(mask.into_dyn(), expected.view(), "{name}"));
}

#[test]
fn orders_are_those_of_the_peer() {
    let recorded = read();
    let tensors = recorded.tensors();
    for case in of(&recorded, "layout", 29) {
        let (order, name) = (case.order(), case.name());
        let starts: Vec<i64> = tensors.i64(&case.key("layout_offsets")).into_iter().collect();
        let codes = tensors.i64(&case.key("layout_coords")).into_dimensionality::<Ix2>().unwrap();
        let code = |at: i64| (codes[(at as usize, 0)] as usize, codes[(at as usize, 1)] as usize);
        let expected: Vec<Vec<_>> = starts.windows(2).map(|step| (step[0]..step[1]).map(code).collect()).collect();
        assert_eq!(order.to_vec(), expected, "{name}");

        let expect = &case.0["expect"];
        assert_eq!(order.overrun(), number(&expect["max_delay"]), "{name}");
        assert_eq!(order.steps(), number(&expect["layout_len"]), "{name}");
        assert_eq!(order.steps() - 1, number(&expect["num_sequence_steps"]), "{name}");
        assert_eq!(order.valid_steps(), number(&expect["valid_len"]), "{name}");
        assert_eq!(order.starts_empty(), expect["starts_with_special_token"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn sequences_are_those_of_the_peer() {
    let recorded = read();
    let tensors = recorded.tensors();
    for case in of(&recorded, "build", 56) {
        let codes = grid(&tensors, &case.key("codes"));
        let (_, streams, time) = codes.dim();
        let plan = case.plan(case.param("special_token").as_i64().unwrap());
        let built = plan.build(&Frames(codes)).unwrap();
        assert_eq!(built.tokens.0, grid(&tensors, &case.key("values")), "{}", case.name());
        assert_mask(&built.mask.0, &tensors.bool(&case.key("mask")), case.name());

        let plan = case.plan((streams * time) as i64);
        let built = plan.build(&Frames(addresses(streams, time))).unwrap();
        assert_eq!(built.tokens.0.into_dyn(), tensors.i64(&case.key("indexes")), "{}", case.name());
    }
}

#[test]
fn sequences_come_apart_as_with_the_peer() {
    let recorded = read();
    let tensors = recorded.tensors();
    for case in of(&recorded, "revert", 62) {
        let sequence = grid(&tensors, &case.key("seq"));
        let (_, streams, time) = sequence.dim();
        let special = case.param("special_token").as_i64().unwrap();
        let plan = case.plan(special);
        let undone = plan.undo(&Steps(sequence), special).unwrap();
        assert_eq!(undone.codes.0, grid(&tensors, &case.key("values")), "{}", case.name());
        assert_mask(&undone.mask.0, &tensors.bool(&case.key("mask")), case.name());

        let undone = plan.undo(&Steps(addresses(streams, time)), (streams * time) as i64).unwrap();
        assert_eq!(undone.codes.0.into_dyn(), tensors.i64(&case.key("indexes")), "{}", case.name());
    }
}

#[test]
fn logits_come_apart_as_with_the_peer() {
    let recorded = read();
    let tensors = recorded.tensors();
    for case in of(&recorded, "revert_logits", 56) {
        let logits = tensors.f32(&case.key("logits")).into_dimensionality::<Ix4>().unwrap();
        let (_, _, streams, time) = logits.dim();
        let special = case.param("special_value");
        let special = special.as_f64().map_or_else(|| special.as_str().unwrap().parse().unwrap(), |value| value as f32);
        let plan = case.plan(0).without_start();
        let undone = plan.unshift(&Steps(logits), Axis(2), special).unwrap();
        let bits = |values: ArrayD<f32>| values.mapv(|value| if value.is_nan() { u32::MAX } else { value.to_bits() });
        assert_eq!(bits(undone.0.into_dyn()), bits(tensors.f32(&case.key("values"))), "{}", case.name());

        let undone = plan.undo(&Steps(addresses(streams, time)), (streams * time) as i64).unwrap();
        assert_eq!(undone.codes.0.into_dyn(), tensors.i64(&case.key("indexes")), "{}", case.name());
        assert_eq!(undone.mask.0.into_dyn(), tensors.bool(&case.key("mask")), "{}", case.name());
    }
}

/// Does what a case of `error` describes.
fn attempt(id: &str) -> Result<()> {
    let order = |text: &str, streams| text.parse::<Pattern>()?.order(streams, 4, Start::Initial);
    let plan = |text: &str, frames, extent| {
        let order = text.parse::<Pattern>()?.order(4, frames, Start::Initial)?;
        Plan::new(order, extent, vec![Fills::all(0); 4])
    };
    let staircase = |frames, extent| plan("delay:delays=staircase", frames, extent).unwrap();
    let codes = |streams, frames| Frames(Array2::<i64>::zeros((streams, frames)));
    let steps = |streams, steps| Steps(Array2::<i64>::zeros((streams, steps)));
    match id {
        "delayed_unsorted" => order("delay:delays=0,2,1,3", 4).map(drop),
        "delayed_wrong_len" => order("delay:delays=0,1,2", 4).map(drop),
        "n_q_zero" => order("delay:delays=staircase", 0).map(drop),
        "build_wrong_k" => staircase(6, Extent::Extend).build(&codes(3, 6)).map(drop),
        "build_too_many_timesteps" => staircase(6, Extent::Extend).build(&codes(4, 7)).map(drop),
        "build_zero_timesteps" => staircase(6, Extent::Extend).build(&codes(4, 0)).map(drop),
        "revert_wrong_k" => staircase(6, Extent::Extend).undo(&steps(5, 10), -1).map(drop),
        "revert_too_long" => staircase(6, Extent::Extend).undo(&steps(4, 11), -1).map(drop),
        "revert_too_long_valid" => staircase(6, Extent::Truncate).undo(&steps(4, 8), -1).map(drop),
        "unrolled_inconsistent_delay" => order("flatten:flattening=0,1,1;delays=0,2,3", 3).map(drop),
        "unrolled_unsorted_flattening" => order("flatten:flattening=1,0,2", 3).map(drop),
        "coarse_first_one_codebook" => order("coarse-first", 1).map(drop),
        "musiclm_group_not_divisor" => order("musiclm:group-by=2", 9).map(drop),
        other => panic!("unknown error {other}"),
    }
}

#[test]
fn what_the_peer_refuses_is_refused() {
    let recorded = read();
    for case in of(&recorded, "error", 13) {
        let id = case.param("id").as_str().unwrap();
        // The peer stumbles over codes without frames (IndexError) where it takes any other number below that of its
        // pattern. Here no frames give fills, as any number does behind its last code.
        let refused = id != "build_zero_timesteps";
        assert_eq!(attempt(id).is_err(), refused, "{id}: {}", case.param("what"));
    }
}

/// The figures of one error's text are those of its case: 10 steps, or 7 valid ones.
#[test]
fn errors_say_how_long_a_sequence_may_be() {
    let message = |id| attempt(id).unwrap_err().to_string();
    assert_eq!(message("revert_too_long"), "number of steps is 11, expected at most 10");
    assert_eq!(message("revert_too_long_valid"), "number of steps is 8, expected at most 7");
    assert_eq!(message("build_too_many_timesteps"), "number of frames is 7, expected at most 6");
}

/// Delays that fall are refused only as a list: the two speakers of Moshi's layout need them.
#[test]
fn a_layouts_delays_may_fall() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let plan = "delay".parse::<Pattern>().unwrap().plan(&layout, 3, Extent::Extend, Start::Initial).unwrap();
    assert_eq!((plan.step_of(8, 0, 3).unwrap(), plan.step_of(9, 0, 3).unwrap()), (Some(2), Some(1)));
}
