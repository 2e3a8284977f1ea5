//! A conditional task with discrete flow matching: is the source where the path begins, or what the model is told?
//!
//! ```text
//! words   w w w T w .. w      32 words of 8 classes, 4 to each; at one place one of two tags, plain or turned
//! codes   c c c 0 c .. c      16: the class of the word, with a turned tag 4 more, said in one of two voices, which is
//!                             drawn for the whole sequence: the second one 7 times of 10
//!
//! begin       x_0 = words                      model reads x_t
//! shared      the same, but words and codes have the same ids: x_t does not tell which of them it is
//! told-mask   x_0 = mask, mask, ..             model reads x_t and the words
//! told-noise  x_0 = codes drawn evenly         model reads x_t and the words
//! both        x_0 = words                      model reads x_t and the words
//! ```
//! `cargo run --release --features burn --example flow_task -- [STEPS] [RATE] [SEED]` trains a small model in each way and
//! prints a JSON object: losses by training step, of sequences that it is not trained on, and what the solver makes of
//! their words. The loss is that of all times from 0 to 0.999, and of those below 0.5 and from 0.9 on.

use std::str::FromStr;
use std::time::Instant;

use ndarray::{Array2, Array3, ArrayView2, Axis, concatenate, s, stack};
use roundelay::backend::burn::{Cpu, LogitModel, LogitOptions};
use roundelay::backend::{LogitBackend, LogitInput, LogitSpec};
use roundelay::flow::{
    Euler, EulerOptions, FlowBatch, MixturePath, Outputs, Polynomial, Reduction, SeededUniforms, Uniforms, softmax,
};
use roundelay::vocab::Joint;
use roundelay::{Error, Result};
use serde_json::{Value, json};

/// The last two are the tags.
const WORDS: usize = 34;
const TURNED: i64 = 33;
const CLASSES: usize = 8;
const LENGTH: usize = 12;
const BATCH: usize = 64;
/// Sequences for the losses and for the solver.
const HELD_OUT: usize = 256;
const SECOND_VOICE: f64 = 0.7;
/// The loss is infinite at time 1.
const LATEST: f64 = 0.999;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Begin,
    Shared,
    ToldMask,
    ToldNoise,
    Both,
}

impl Way {
    const ALL: [(Way, &str); 5] = [
        (Way::Begin, "begin"),
        (Way::Shared, "shared"),
        (Way::ToldMask, "told-mask"),
        (Way::ToldNoise, "told-noise"),
        (Way::Both, "both"),
    ];

    fn is_told(self) -> bool {
        !matches!(self, Way::Begin | Way::Shared)
    }

    fn joint(self) -> Result<Joint> {
        let parts = [("words", WORDS), ("codes", 2 * CLASSES), ("mask", 1)];
        if self == Way::Shared { Joint::shared(&parts) } else { Joint::disjoint(&parts) }
    }

    /// Joint ids at time 0.
    fn x_0(self, joint: &Joint, words: &Array2<i64>, draws: &mut impl Uniforms) -> Result<Array2<i64>> {
        let drawn = |part: &str, size: usize, draws: &mut dyn FnMut() -> f64| {
            joint.part(part)?.encode(&words.mapv(|_| (size as f64 * draws()) as i64))
        };
        match self {
            Way::Begin | Way::Shared | Way::Both => joint.part("words")?.encode(words),
            Way::ToldMask => drawn("mask", 1, &mut || 0.0),
            Way::ToldNoise => drawn("codes", 2 * CLASSES, &mut || draws.next()),
        }
    }
}

/// Words and their codes, `[sequence, position]`.
struct Data {
    words: Array2<i64>,
    codes: Array2<i64>,
}

impl Data {
    fn drawn(count: usize, draws: &mut impl Uniforms) -> Self {
        let mut below = |end: usize| (end as f64 * draws.next()) as usize;
        let mut words = Array2::from_shape_simple_fn((count, LENGTH), || below(WORDS - 2) as i64);
        for mut words in words.outer_iter_mut() {
            words[below(LENGTH)] = TURNED - below(2) as i64;
        }
        let mut codes = classes(&words).mapv(|class| 2 * class);
        for mut codes in codes.outer_iter_mut() {
            codes += i64::from(draws.next() < SECOND_VOICE);
        }
        Data { words, codes }
    }
}

/// The right class at each position.
fn classes(words: &Array2<i64>) -> Array2<i64> {
    let mut classes = words.mapv(|word| if word < TURNED - 1 { word % CLASSES as i64 } else { 0 });
    for (words, mut classes) in words.outer_iter().zip(classes.outer_iter_mut()) {
        let turned = words.iter().any(|&word| word == TURNED);
        let others = classes.iter_mut().zip(words).filter(|(_, word)| turned && **word < TURNED - 1);
        others.for_each(|(class, _)| *class = (*class + 4) % CLASSES as i64);
    }
    classes
}

/// How logits are asked for: to be learned from, or only to be looked at.
type Say = fn(&mut LogitModel<Cpu>, &LogitInput) -> Result<Array3<f32>>;

/// One way of doing the task.
struct Task {
    way: Way,
    joint: Joint,
    path: MixturePath<Polynomial>,
    model: LogitModel<Cpu>,
}

impl Task {
    fn new(way: Way, learning_rate: f64, seed: u64) -> Result<Self> {
        let joint = way.joint()?;
        let mut channels = vec![joint.size()];
        channels.extend(way.is_told().then_some(WORDS));
        let spec = LogitSpec { channels, outputs: 2 * CLASSES, timed: true };
        let options = LogitOptions { causal: false, learning_rate, seed, ..LogitOptions::default() };
        let model = LogitModel::new(&spec, &options, &Default::default())?;
        Ok(Task { way, joint, path: MixturePath::new(Polynomial::LINEAR)?, model })
    }

    /// One step on sequences drawn anew.
    fn train(&mut self, draws: &mut SeededUniforms) -> Result<f64> {
        let data = Data::drawn(BATCH, draws);
        let times = self.path.times(BATCH, LATEST, draws)?;
        let (loss, gradient) = self.loss(&data, &times, draws, LogitModel::logits)?;
        self.model.learn(gradient.view())?;
        Ok(loss.iter().sum::<f64>() / loss.len() as f64)
    }

    fn loss(
        &mut self,
        data: &Data,
        times: &[f64],
        draws: &mut SeededUniforms,
        say: Say,
    ) -> Result<(Array2<f64>, Array3<f32>)> {
        let x_0 = self.way.x_0(&self.joint, &data.words, draws)?;
        let x_1 = self.joint.part("codes")?.encode(&data.codes)?;
        let x_t = self.path.sample(&x_0, &x_1, times, draws)?;
        let (tokens, told) = (read(self.way, x_t.view(), &data.words), single(times));
        let logits = say(&mut self.model, &LogitInput { times: Some(&told), ..LogitInput::new(tokens.view()) })?;
        let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times };
        let outputs = Outputs::Target(self.joint.part("codes")?);
        let (loss, gradient) = self.path.generalized_kl_gradient(outputs, &logits, batch, Reduction::Mean)?;
        Ok((loss.positions, gradient))
    }

    /// Mean losses: of all times, of early and of late ones. The draws are the same each time.
    fn validate(&mut self, data: &Data) -> Result<[f64; 3]> {
        let mut draws = SeededUniforms::new(77);
        let (mut sums, mut counts) = ([0.0; 3], [0.0; 3]);
        for (n, rows) in (0..HELD_OUT).step_by(BATCH).enumerate() {
            let rows = s![rows..rows + BATCH, ..];
            let part = Data { words: data.words.slice(rows).to_owned(), codes: data.codes.slice(rows).to_owned() };
            // Spread evenly over all batches.
            let time = |b: usize| LATEST * (b as f64 + (n as f64 + 0.5) / (HELD_OUT / BATCH) as f64) / BATCH as f64;
            let times: Vec<f64> = (0..BATCH).map(time).collect();
            let (losses, _) = self.loss(&part, &times, &mut draws, LogitModel::predict)?;
            for (losses, t) in losses.outer_iter().zip(&times) {
                for (k, _) in [true, *t < 0.5, *t >= 0.9].into_iter().enumerate().filter(|(_, counts)| *counts) {
                    sums[k] += losses.sum();
                    counts[k] += LENGTH as f64;
                }
            }
        }
        Ok(std::array::from_fn(|k| sums[k] / counts[k]))
    }

    /// Codes for words, in so many steps.
    fn say(&mut self, words: &Array2<i64>, steps: u32, draws: &mut SeededUniforms) -> Result<Array2<i64>> {
        let x_0 = self.way.x_0(&self.joint, words, draws)?;
        let codes = self.joint.part("codes")?;
        let step_size = (steps > 1).then(|| 1.0 / f64::from(steps));
        let euler = Euler::new(&self.path, EulerOptions { step_size, ..EulerOptions::default() });
        let model = |t: f64, x: ArrayView2<'_, i64>| {
            let (tokens, told) = (read(self.way, x, words), single(&vec![t; words.nrows()]));
            softmax(&self.model.predict(&LogitInput { times: Some(&told), ..LogitInput::new(tokens.view()) })?)
        };
        let solution = euler.solve(Outputs::Target(codes), x_0.view(), model, draws)?;
        codes.decode(&solution.tokens)
    }
}

/// What the model reads; it is told the words or not.
fn read(way: Way, x_t: ArrayView2<'_, i64>, words: &Array2<i64>) -> Array3<i32> {
    let channels = [x_t, words.view()];
    let tokens = stack(Axis(1), &channels[..1 + usize::from(way.is_told())]).expect("grids of one shape");
    tokens.mapv(|id| id as i32)
}

fn single(times: &[f64]) -> Vec<f32> {
    times.iter().map(|&t| t as f32).collect()
}

/// How right what was said is: classes, whole sequences, and the voices of sequences against how they are drawn.
fn judged(words: &Array2<i64>, codes: &Array2<i64>) -> Value {
    let right = codes.mapv(|code| code / 2) - classes(words);
    let right = right.mapv(|off| off == 0);
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let voices: Vec<i64> = codes.outer_iter().map(|codes| codes.iter().map(|code| code % 2).sum()).collect();
    let of = |voice: i64| share(voices.iter().filter(|&&sum| sum == voice).count(), voices.len());
    let (first, second) = (of(0), of(LENGTH as i64));
    let mixed = 1.0 - first - second;
    // Half the sum of how far the shares of first, second and mixed voices are off.
    let distance = 0.5 * ((first - 1.0 + SECOND_VOICE).abs() + (second - SECOND_VOICE).abs() + mixed);
    let whole = right.outer_iter().filter(|right| right.iter().all(|&right| right)).count();
    json!({
        "classes_right": share(right.iter().filter(|&&right| right).count(), right.len()),
        "sequences_right": share(whole, voices.len()),
        "mixed_voices": mixed,
        "voices_off": distance,
    })
}

/// Steps after which the loss is looked at: often at first.
fn looks(steps: u32) -> impl Iterator<Item = u32> {
    let first = [0, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400];
    first.into_iter().filter(move |&look| look < steps).chain((500..steps).step_by(500)).chain([steps])
}

fn run(way: Way, name: &str, steps: u32, rate: f64, seed: u64) -> Result<Value> {
    let (mut task, mut draws) = (Task::new(way, rate, seed)?, SeededUniforms::new(seed));
    let held_out = Data::drawn(HELD_OUT, &mut SeededUniforms::new(1_000_000 + seed));
    let (mut losses, mut step, start) = (Vec::new(), 0, Instant::now());
    for look in looks(steps) {
        while step < look {
            task.train(&mut draws)?;
            step += 1;
        }
        let [all, early, late] = task.validate(&held_out)?;
        losses.push(json!({ "step": step, "loss": all, "early": early, "late": late }));
        eprintln!("{name:>10} step {step:>5}: loss {all:8.3}, early {early:7.3}, late {late:8.3}");
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut said = serde_json::Map::new();
    for steps in [1, 4, 16] {
        // A batch at a time, as in training.
        let codes: Vec<_> = (0..HELD_OUT)
            .step_by(BATCH)
            .map(|row| task.say(&held_out.words.slice(s![row..row + BATCH, ..]).to_owned(), steps, &mut draws))
            .collect::<Result<_>>()?;
        let views: Vec<_> = codes.iter().map(|codes| codes.view()).collect();
        let codes = concatenate(Axis(0), &views).expect("grids of one length");
        said.insert(steps.to_string(), judged(&held_out.words, &codes));
    }
    Ok(json!({ "way": name, "training_seconds": seconds, "losses": losses, "by_solver_steps": said }))
}

/// An argument by its place, or what it is without one.
fn argument<T: FromStr>(place: usize, what: &str, other: T) -> Result<T> {
    match std::env::args().nth(place) {
        Some(text) => text.parse().map_err(|_| Error::invalid(what, text, "a number")),
        None => Ok(other),
    }
}

fn main() -> Result<()> {
    let (steps, rate, seed) = (argument(1, "steps", 400)?, argument(2, "rate", 0.005)?, argument(3, "seed", 0)?);
    let ways = Way::ALL.into_iter().map(|(way, name)| run(way, name, steps, rate, seed)).collect::<Result<Vec<_>>>()?;
    println!("{}", json!({ "steps": steps, "rate": rate, "seed": seed, "batch": BATCH, "ways": ways }));
    Ok(())
}
