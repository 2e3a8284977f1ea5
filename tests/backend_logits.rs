//! Laws of a model that learns from the gradient of its logits, held against burn's.

use ndarray::{Array3, ArrayView3, Axis, arr3, s};
use roundelay::Result;
use roundelay::backend::burn::{Cpu, LogitModel, LogitOptions};
use roundelay::backend::{LogitBackend, LogitInput, LogitSpec};

fn spec() -> LogitSpec {
    LogitSpec { channels: vec![12, 5], outputs: 10, timed: false }
}

fn options() -> LogitOptions {
    LogitOptions { width: 8, heads: 2, layers: 1, learning_rate: 0.02, warmup: 0, ..LogitOptions::default() }
}

fn model(spec: &LogitSpec, options: &LogitOptions) -> LogitModel<Cpu> {
    LogitModel::new(spec, options, &Default::default()).unwrap()
}

fn tokens() -> Array3<i32> {
    Array3::from_shape_fn((3, 2, 6), |(row, channel, at)| match channel {
        0 => ((row * 5 + at * 7) % 12) as i32,
        _ => (row + at) as i32 % 5 - 2,
    })
}

/// The gradient of half the squared distance from a table of aims.
fn towards(aims: &Array3<f32>, logits: &Array3<f32>) -> Array3<f32> {
    logits - aims
}

fn aims(outputs: usize) -> Array3<f32> {
    Array3::from_shape_fn((3, 6, outputs), |(row, at, id)| ((row + 2 * at + 3 * id) % 4) as f32 / 2.0)
}

#[test]
fn a_loss_that_it_does_not_know_falls() {
    let (mut model, tokens, aims) = (model(&spec(), &options()), tokens(), aims(10));
    let input = LogitInput::new(tokens.view());
    let distance = |logits: &Array3<f32>| (logits - &aims).mapv(|x| x * x).sum();
    let first = distance(&model.logits(&input).unwrap());
    for _ in 0..200 {
        let logits = model.logits(&input).unwrap();
        model.learn(towards(&aims, &logits).view()).unwrap();
    }
    let last = distance(&model.predict(&input).unwrap());
    assert!(last < first / 5.0, "{first} to {last}");
    assert_eq!(model.steps(), 200);
}

#[test]
fn logits_are_products_of_hidden_numbers_and_rows() {
    let (mut model, tokens) = (model(&spec(), &options()), tokens());
    let input = LogitInput { candidates: Some(&[1, 4, 9]), ..LogitInput::new(tokens.view()) };
    let (logits, hidden, rows) =
        (model.predict(&input).unwrap(), model.hidden(&input).unwrap(), model.rows(input.candidates).unwrap());
    let all = model.predict(&LogitInput::new(tokens.view())).unwrap();
    assert_eq!((logits.dim(), hidden.dim(), rows.dim()), ((3, 6, 3), (3, 6, 8), (3, 8)));
    assert_eq!(rows, model.rows(None).unwrap().select(Axis(0), &[1, 4, 9]));
    for ((row, at, place), &logit) in logits.indexed_iter() {
        assert!((hidden.slice(s![row, at, ..]).dot(&rows.row(place)) - logit).abs() < 1e-5);
        assert!((all[[row, at, [1, 4, 9][place]]] - logit).abs() < 1e-6);
    }
    // Hidden numbers are made without candidates, even ones that there are not.
    let others = LogitInput { candidates: Some(&[999_999]), ..input };
    assert_eq!(model.hidden(&others).unwrap(), hidden);
}

#[test]
fn predictions_are_logits_and_leave_what_is_kept() {
    let (tokens, aims, times) = (tokens(), aims(10), [0.2, 0.5, 1.0]);
    let spec = LogitSpec { timed: true, ..spec() };
    let input = LogitInput { times: Some(&times), ..LogitInput::new(tokens.view()) };
    let few = tokens.slice(s![..1, .., ..3]);
    let other = LogitInput { candidates: Some(&[2, 8]), times: Some(&[0.0]), ..LogitInput::new(few) };
    let train = |looks: bool| {
        let mut model = model(&spec, &options());
        for _ in 0..5 {
            let logits = model.logits(&input).unwrap();
            if looks {
                assert_eq!(model.predict(&input).unwrap(), logits, "to the bit");
                assert_eq!(model.predict(&other).unwrap().dim(), (1, 3, 2));
            }
            model.learn(towards(&aims, &logits).view()).unwrap();
        }
        assert!(model.predict(&input).is_ok() && model.learn(aims.view()).is_err(), "nothing to learn from");
        (model.predict(&input).unwrap(), model.rows(None).unwrap())
    };
    assert_eq!(train(true), train(false), "to the bit");
}

#[test]
fn logits_given_last_are_learned_from() {
    let (tokens, aims) = (tokens(), aims(10));
    let input = || LogitInput::new(tokens.view());
    let train = |asked: usize| {
        let mut model = model(&spec(), &options());
        for _ in 0..3 {
            for _ in 0..asked {
                model.logits(&LogitInput { candidates: Some(&[1]), ..input() }).unwrap();
            }
            let logits = model.logits(&input()).unwrap();
            // Refused before anything is let go of.
            assert!(model.logits(&LogitInput { candidates: Some(&[]), ..input() }).is_err());
            model.learn(towards(&aims, &logits).view()).unwrap();
        }
        model.predict(&input()).unwrap()
    };
    assert_eq!(train(0), train(3), "to the bit");
}

#[test]
fn only_candidates_move() {
    let (mut model, tokens) = (model(&spec(), &options()), tokens());
    let before = model.rows(None).unwrap();
    let input = LogitInput { candidates: Some(&[0, 3]), ..LogitInput::new(tokens.view()) };
    for _ in 0..3 {
        let logits = model.logits(&input).unwrap();
        model.learn(logits.view()).unwrap();
    }
    let after = model.rows(None).unwrap();
    for id in 0..10 {
        assert_eq!(before.row(id) != after.row(id), [0, 3].contains(&id), "row {id}");
    }
}

#[test]
fn all_as_candidates_are_all() {
    let (tokens, aims, all) = (tokens(), aims(10), (0..10).collect::<Vec<u32>>());
    let train = |candidates: Option<&[u32]>| {
        let mut model = model(&spec(), &options());
        for _ in 0..5 {
            let logits = model.logits(&LogitInput { candidates, ..LogitInput::new(tokens.view()) }).unwrap();
            model.learn(towards(&aims, &logits).view()).unwrap();
        }
        model.predict(&LogitInput::new(tokens.view())).unwrap()
    };
    let (whole, listed) = (train(None), train(Some(&all)));
    assert!(whole.iter().zip(&listed).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(whole, train(None), "to the bit");
}

#[test]
fn causal_models_do_not_see_what_comes() {
    for causal in [true, false] {
        let mut model = model(&spec(), &LogitOptions { causal, ..options() });
        let before = tokens();
        let mut after = before.clone();
        after.slice_mut(s![.., 0, 4..]).mapv_inplace(|id| (id + 1) % 12);
        let logits = [&before, &after].map(|tokens| model.predict(&LogitInput::new(tokens.view())).unwrap());
        let [early, late] =
            [s![.., ..4, ..], s![.., 4.., ..]].map(|part| logits[0].slice(part) != logits[1].slice(part));
        assert_eq!((early, late), (!causal, true));
    }
}

#[test]
fn times_are_told_and_learned() {
    let spec = LogitSpec { timed: true, ..spec() };
    let (mut model, tokens) = (model(&spec, &options()), tokens());
    let mut say =
        |times: &[f32; 3]| model.predict(&LogitInput { times: Some(times), ..LogitInput::new(tokens.view()) });
    let (one, other) = (say(&[0.0, 0.5, 1.0]).unwrap(), say(&[0.0, 0.6, 1.0]).unwrap());
    for row in 0..3 {
        assert_eq!(one.index_axis(Axis(0), row) != other.index_axis(Axis(0), row), row == 1);
    }
    // Ids alike, aims by the time: only the time can tell them.
    let (alike, times) = (Array3::zeros((3, 2, 4)), [0.1, 0.5, 0.9]);
    let input = LogitInput { times: Some(&times), ..LogitInput::new(alike.view()) };
    for _ in 0..200 {
        let logits = model.logits(&input).unwrap();
        model.learn(Array3::from_shape_fn(logits.dim(), |at| logits[at] - at.0 as f32).view()).unwrap();
    }
    let logits = model.predict(&input).unwrap();
    assert!((0..3).all(|row| (logits[[row, 2, 3]] - row as f32).abs() < 0.3), "{logits}");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    fn says<T>(result: Result<T>, expected: &str) {
        assert_eq!(result.err().map(|error| error.to_string()).as_deref(), Some(expected));
    }
    let (mut model, tokens) = (model(&spec(), &options()), tokens());
    let input = LogitInput::new(tokens.view());
    let empty = Array3::<f32>::zeros((3, 6, 10));
    says(model.learn(empty.view()), "logits to learn from is none, expected logits given since the last step");
    let logits = model.logits(&input).unwrap();
    let bad = |model: &mut LogitModel<Cpu>, gradient: ArrayView3<f32>, expected: &str| {
        says(model.learn(gradient), expected);
    };
    let shape = "shape of the gradient is [3, 6, 9], expected [3, 6, 10], as the logits given last";
    bad(&mut model, logits.slice(s![.., .., 1..]), shape);
    bad(&mut model, (&empty + f32::NAN).view(), "gradient is NaN, expected finite numbers");
    bad(&mut model, (&empty + 1e38).view(), "length of the gradient is inf, expected a finite number");
    assert_eq!((model.steps(), &model.predict(&input).unwrap()), (0, &logits));
    // That one went through the layers, and took the logits with it.
    bad(&mut model, empty.view(), "logits to learn from is none, expected logits given since the last step");

    let mut refuse = |input: LogitInput, expected: &str| says(model.logits(&input), expected);
    refuse(LogitInput::new(tokens.slice(s![.., ..1, ..])), "number of channels is 1, expected 2");
    refuse(
        LogitInput::new(arr3(&[[[1, 12], [0, 0]]]).view()),
        "frame 1: input of row 0, channel 0 is 12, expected -2, -1 or 0..12",
    );
    refuse(
        LogitInput::new(arr3(&[[[-3, 1], [0, 0]]]).view()),
        "frame 0: input of row 0, channel 0 is -3, expected -2, -1 or 0..12",
    );
    refuse(
        LogitInput::new(Array3::zeros((0, 2, 4)).view()),
        "rows and positions is 0 and 4, expected at least 1 of each",
    );
    refuse(LogitInput { times: Some(&[0.0; 3]), ..input }, "number of times is 3, expected 0");
    refuse(LogitInput { candidates: Some(&[]), ..input }, "number of candidates is 0, expected at least 1");
    refuse(LogitInput { candidates: Some(&[1, 10]), ..input }, "candidate 1 is 10, expected 2..10");
    refuse(LogitInput { candidates: Some(&[2, 1]), ..input }, "candidate 1 is 1, expected 3..10");
    let spec = LogitSpec { outputs: 0, ..spec() };
    let refused = LogitModel::<Cpu>::new(&spec, &options(), &Default::default());
    says(refused.map(drop), "ids read and said is [12, 5] and 0, expected a channel, and 1 to 2147483647 ids in each");
}
