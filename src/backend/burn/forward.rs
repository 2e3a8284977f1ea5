//! From tokens to what the heads say ids from.
//!
//! ```text
//! ids of a step ── sum of embeddings ── temporal ──┬── heads of text
//!                                                  └── a projection for each stream ─┬─ depth ── heads of audio
//!                                        embedding of what was said just before it ──┘
//! ```

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::Options;
use super::attention::{Sequence, stack};
use super::batch::{Ids, Read, Told};
use super::model::{Depth, Model};

/// What the temporal transformer makes of each step: `[row x step, width]`.
pub(super) fn temporal<B: Backend>(model: &Model<Tensor<B, 2>>, read: &Read<B>, options: &Options) -> Tensor<B, 2> {
    let embedded = model.inputs.iter().zip(&read.inputs).map(|(table, ids)| embed(table, ids));
    let x = embedded.reduce(|sum, stream| sum + stream).expect("a layout has streams");
    stack(&model.temporal, &read.sequence, options.heads, x)
}

/// What the depth transformer makes of each stream of steps, given what was said before it in the same step.
///
/// # Shapes
/// `steps` is `[step, width]`; returns `[step x stream, depth width]`.
pub(super) fn depth<B: Backend>(
    depth: &Depth<Tensor<B, 2>>,
    sequence: &Sequence<B>,
    steps: Tensor<B, 2>,
    told: &[Told<B>],
    options: &Options,
) -> Tensor<B, 2> {
    let (count, streams, width) = (sequence.rows, sequence.steps, options.depth_width);
    let x = steps.matmul(depth.from_temporal.clone()).reshape([count * streams, width]);
    let x = match said_before(depth, told, [count, streams, width]) {
        Some(said) => x + said,
        None => x,
    };
    stack(&depth.stack, sequence, options.depth_heads, x)
}

/// The sum of embeddings of what each stream is told; none where no stream is told anything.
fn said_before<B: Backend>(
    depth: &Depth<Tensor<B, 2>>,
    told: &[Told<B>],
    [count, streams, width]: [usize; 3],
) -> Option<Tensor<B, 2>> {
    let mut before = vec![None; streams];
    for (table, (to, ids)) in depth.said.iter().zip(told) {
        let embedded = embed(table, ids);
        before[*to] = Some(before[*to].take().map_or(embedded.clone(), |sum: Tensor<B, 2>| sum + embedded));
    }
    let nothing = Tensor::zeros([count, width], &before.iter().flatten().next()?.device());
    let before = before.into_iter().map(|said| said.unwrap_or_else(|| nothing.clone()).reshape([count, 1, width]));
    Some(Tensor::<B, 3>::cat(before.collect(), 1).reshape([count * streams, width]))
}

/// Rows of a table; nothing where there is no id.
pub(super) fn embed<B: Backend>(table: &Tensor<B, 2>, ids: &Ids<B>) -> Tensor<B, 2> {
    table.clone().select(0, ids.ids.clone()) * ids.present.clone()
}
