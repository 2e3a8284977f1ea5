//! The order over a million segments, and collation beside a copy of the bytes that it writes.
//!
//! Divide a collation's time by its group's `copy`: absolute times are the machine's. All memory is allocated and touched
//! beforehand. A line of the order is a whole operation: its time says whether it is quick enough.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ndarray::{Array3, Axis};
use roundelay::batch::{Clip, Collate, Crop, Order, OrderOptions, Packing, Place, Source, TrainBatch, Width};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Sequencer, Start};

const SEGMENTS: usize = 1_000_000;

/// Lengths without a pattern, of 2 to 34 s for the most part.
fn source() -> Source {
    let length = |i: usize| {
        let draw = (i as u64).wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 33;
        (25 + draw % 400 * (draw % 7) / 6) as u32
    };
    let lengths: Arc<[u32]> = (0..SEGMENTS).map(length).collect();
    let blocks = (0..SEGMENTS).step_by(50).map(|first| first..SEGMENTS.min(first + 50)).collect();
    Source { blocks, ..Source::new(lengths) }
}

/// Orders as they are trained with, by name.
fn orders() -> [(&'static str, OrderOptions); 3] {
    let packing = Some(Packing { steps: 1250, overhead: 2 });
    let windows = Crop::Windows { frames: 125, hop: 125 };
    [
        ("pools", OrderOptions::default()),
        ("windows", OrderOptions { crop: windows, ..OrderOptions::default() }),
        ("packed", OrderOptions { packing, ..OrderOptions::default() }),
    ]
}

fn order(criterion: &mut Criterion) {
    let source = source();
    let mut group = criterion.benchmark_group("order of 1,000,000 segments");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(10);
    for (name, options) in orders() {
        let new = |options: &OrderOptions| Order::new(vec![source.clone()], options.clone()).expect("good options");
        group.bench_function(format!("{name}: plan"), |b| b.iter(|| new(black_box(&options))));
        let order = new(&options);
        let steps = order.steps(3).expect("an epoch");
        let mut turn = 0;
        // From pool to pool, so that none is at hand.
        group.bench_function(format!("{name}: seek any step"), |b| {
            b.iter(|| {
                turn += steps / 3 + 1;
                let position = order.position(Place { epoch: 3, step: turn % steps });
                order.batch(order.seek(&position).expect("its own")).expect("a step")
            })
        });
        let mut turn = 0;
        group.bench_function(format!("{name}: next step"), |b| {
            b.iter(|| {
                turn += 1;
                order.batch(Place { epoch: 3, step: turn % steps }).expect("a step")
            })
        });
        if options.packing.is_some() {
            group.bench_function("packed: an epoch's steps", |b| {
                b.iter_batched(|| new(&options), |order| order.steps(3).expect("an epoch"), BatchSize::PerIteration)
            });
        }
    }
}

fn codes((batch, streams, frames): (usize, usize, usize)) -> Array3<i32> {
    Array3::from_shape_fn((batch, streams, frames), |(b, k, t)| ((b * 7 + k * 5 + t) % 2048) as i32)
}

fn clips(codes: &Array3<i32>, frames: usize) -> Vec<Clip<'_>> {
    let clip = |(index, codes)| Clip { id: "calls/2024-01-01/a.wav@1250", index, codes: Frames(codes), regions: &[] };
    let each = codes.axis_chunks_iter(Axis(2), frames).flat_map(|chunk| {
        (0..chunk.len_of(Axis(0))).map(move |b| chunk.index_axis_move(Axis(0), b)).collect::<Vec<_>>()
    });
    (0..).zip(each).map(clip).collect()
}

fn collate(criterion: &mut Criterion) {
    let layout = Layout::preset("moshi-7b").expect("a preset");
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let codes = codes((16, 17, 1250));
    for (name, frames, to_a_row) in [("rows of one segment", 1250, 1), ("rows of 12 segments", 104, 12)] {
        let collate = Collate::new(layout.clone(), Policy::default(), delay.clone()).expect("a policy of the layout");
        let clips = clips(&codes, frames);
        let rows: Vec<&[Clip]> = clips.chunks(to_a_row).take(16).collect();
        let steps = delay.steps(frames).expect("any") * to_a_row - 1;
        let mut batch = TrainBatch::default();
        collate.batch(&rows, Some(Width::Steps(steps)), &mut batch).expect("rows that fit");
        let bytes = batch.input.0.len() * 13;
        let mut group = criterion.benchmark_group(format!("collate 16x17x1250, {name}"));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2)).sample_size(50);
        let (from, mut to) = (vec![1_u8; bytes], vec![2_u8; bytes]);
        group.bench_function("copy", |b| b.iter(|| black_box(&mut to).copy_from_slice(black_box(&from))));
        group.bench_function("collate", |b| {
            b.iter(|| collate.batch(black_box(&rows), Some(Width::Steps(steps)), &mut batch).expect("rows that fit"))
        });
    }
}

criterion_group!(benches, order, collate);
criterion_main!(benches);
