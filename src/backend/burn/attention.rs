//! A transformer's layers over rows of steps that are laid out one after another.
//!
//! ```text
//! segments   0 0 0 1 1 -          step 4 (the second of segment 1) looks at 3 and 4:
//! places     0 1 2 0 1 0          hidden from it are other segments and what comes later
//! ```

use burn::tensor::activation::{silu, softmax};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};

use super::model::{Block, Stack};

/// Keeps a norm of nothing from dividing by 0.
const TINY: f32 = 1e-6;

/// Added to what is not to be attended to: its share is then exactly 0.
const HIDDEN: f32 = -1e9;

/// How far the slowest pair of numbers turns in 2 pi places.
const LONGEST: f64 = 10_000.0;

/// Who is in a sequence, and where.
#[derive(Debug, Clone)]
pub(super) struct Sequence<B: Backend> {
    pub(super) rows: usize,
    pub(super) steps: usize,
    /// 0 or [`HIDDEN`], `[row or 1, 1, step, step attended to]`.
    hidden: Tensor<B, 4>,
    /// Cosines and sines of places, `[row or 1, step, 1, head width]`; none where no place is told.
    turns: Option<[Tensor<B, 4>; 2]>,
}

impl<B: Backend> Sequence<B> {
    /// Steps that look back within their segments, and know their places in these.
    pub(super) fn packed(
        [rows, steps]: [usize; 2],
        segments: Vec<i32>,
        places: &[i32],
        head: usize,
        device: &B::Device,
    ) -> Self {
        let segments = Tensor::<B, 2, Int>::from_data(TensorData::new(segments, [rows, steps]), device);
        let [to, from] = [[rows, 1, steps, 1], [rows, 1, 1, steps]].map(|shape| segments.clone().reshape(shape));
        let other = to.not_equal(from).float();
        let hidden = (other + later(steps, device)).clamp_max(1.0) * HIDDEN;
        Sequence { rows, steps, hidden, turns: Some(turns([rows, steps], places, head, device)) }
    }

    /// Rows of one segment each: every step looks back, or at all steps if it is not `causal`, and knows its place.
    pub(super) fn whole([rows, steps]: [usize; 2], causal: bool, head: usize, device: &B::Device) -> Self {
        let hidden = if causal { later(steps, device) * HIDDEN } else { Tensor::zeros([1, 1, steps, steps], device) };
        let places: Vec<i32> = (0..steps as i32).collect();
        Sequence { rows, steps, hidden, turns: Some(turns([1, steps], &places, head, device)) }
    }

    /// The same without what gradients take.
    pub(super) fn inner(&self) -> Sequence<B::InnerBackend>
    where
        B: AutodiffBackend,
    {
        let turns = self.turns.clone().map(|turns| turns.map(Tensor::inner));
        Sequence { rows: self.rows, steps: self.steps, hidden: self.hidden.clone().inner(), turns }
    }

    /// Steps that look back, and are told apart by what they hold.
    pub(super) fn plain(rows: usize, steps: usize, device: &B::Device) -> Self {
        Sequence { rows, steps, hidden: later(steps, device) * HIDDEN, turns: None }
    }
}

/// 1 where a step is later than the one that would attend to it.
fn later<B: Backend>(steps: usize, device: &B::Device) -> Tensor<B, 4> {
    let number = Tensor::<B, 1, Int>::arange(0..steps as i64, device);
    let [to, from] = [[1, 1, steps, 1], [1, 1, 1, steps]].map(|shape| number.clone().reshape(shape));
    to.lower(from).float()
}

/// Cosines and sines of places, `[row, step, 1, head width]`.
fn turns<B: Backend>([rows, steps]: [usize; 2], places: &[i32], head: usize, device: &B::Device) -> [Tensor<B, 4>; 2] {
    let most = places.iter().copied().max().unwrap_or(0);
    let turn = |f: fn(f64) -> f64| {
        let angles = (0..=most).flat_map(|place| (0..head).map(move |n| angle(place, n, head)));
        let turned: Vec<f32> = angles.map(|angle| f(angle) as f32).collect();
        let of = |&place: &i32| turned[place as usize * head..][..head].iter().copied();
        let cells = places.iter().flat_map(of).collect();
        Tensor::from_data(TensorData::new(cells, [rows, steps, 1, head]), device)
    };
    [turn(f64::cos), turn(f64::sin)]
}

/// How far a head's number turns by its place; numbers of its two halves turn in pairs.
fn angle(place: i32, number: usize, head: usize) -> f64 {
    let pair = (number % (head / 2)) as f64 / (head / 2) as f64;
    f64::from(place) * LONGEST.powf(-pair)
}

/// All layers over `[row x step, width]`.
pub(super) fn stack<B: Backend>(
    stack: &Stack<Tensor<B, 2>>,
    sequence: &Sequence<B>,
    heads: usize,
    mut x: Tensor<B, 2>,
) -> Tensor<B, 2> {
    for block in &stack.blocks {
        x = x.clone() + attend(block, sequence, heads, norm(x, &block.attend_norm));
        x = x.clone() + feed(block, norm(x, &block.feed_norm));
    }
    norm(x, &stack.norm)
}

fn attend<B: Backend>(
    block: &Block<Tensor<B, 2>>,
    sequence: &Sequence<B>,
    heads: usize,
    x: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let (&Sequence { rows, steps, .. }, [_, width]) = (sequence, x.dims());
    let by_head = |part: &Tensor<B, 2>| x.clone().matmul(part.clone()).reshape([rows, steps, heads, width / heads]);
    let [mut query, mut key, value] = [&block.query, &block.key, &block.value].map(by_head);
    if let Some(turns) = &sequence.turns {
        [query, key] = [query, key].map(|x| turn(x, turns));
    }
    let [query, key, value] = [query, key, value].map(|x| x.swap_dims(1, 2));
    let scores = query.matmul(key.transpose()) * ((width / heads) as f64).powf(-0.5) + sequence.hidden.clone();
    let attended = softmax(scores, 3).matmul(value).swap_dims(1, 2);
    attended.reshape([rows * steps, width]).matmul(block.attended.clone())
}

/// Turns pairs of numbers by their step's place, so that attention sees how far apart two steps are.
fn turn<B: Backend>(x: Tensor<B, 4>, [cos, sin]: &[Tensor<B, 4>; 2]) -> Tensor<B, 4> {
    let half = x.dims()[3] / 2;
    let [first, second] = [0..half, half..2 * half].map(|half| x.clone().slice_dim(3, half));
    x * cos.clone() + Tensor::cat(vec![-second, first], 3) * sin.clone()
}

fn feed<B: Backend>(block: &Block<Tensor<B, 2>>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let gate = silu(x.clone().matmul(block.gate.clone()));
    (gate * x.matmul(block.up.clone())).matmul(block.down.clone())
}

/// Brings each step to length 1 for each number, times a gain.
fn norm<B: Backend>(x: Tensor<B, 2>, gain: &Tensor<B, 2>) -> Tensor<B, 2> {
    let length = ((x.clone() * x.clone()).mean_dim(1) + TINY).sqrt();
    x / length * gain.clone()
}
