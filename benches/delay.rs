//! Build, undo and weights beside a copy of the bytes they write, at Moshi's batch shape.
//!
//! Divide a line's time by that of `copy` in the same run: absolute times are the machine's.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array3;
use roundelay::{Delay, Extent, Frames, Layout, Policy, Start};

fn shifts(criterion: &mut Criterion) {
    let layout = Layout::preset("moshi-7b").expect("a preset");
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let codes = Frames(Array3::from_shape_fn((16, 17, 1250), |(b, k, t)| ((b * 7 + k * 5 + t) % 2048) as i64));
    let built = delay.build(&codes).expect("the grid fits the layout");
    let policy = Policy::named("moshi").expect("a policy");

    let mut group = criterion.benchmark_group("moshi-7b 16 x 17 x 1250, i64");
    let source: Vec<i64> = built.tokens.0.iter().copied().collect();
    let mut target = vec![0; source.len()];
    group.bench_function("copy", |b| b.iter(|| black_box(&mut target).copy_from_slice(black_box(&source))));
    group.bench_function("shift", |b| b.iter(|| delay.shift(black_box(&codes), |_| (0, 0))));
    group.bench_function("build, with mask", |b| b.iter(|| delay.build(black_box(&codes))));
    group.bench_function("undo, with mask", |b| b.iter(|| delay.undo(black_box(&built.tokens), -1)));
    group.bench_function("weights, both frames", |b| b.iter(|| policy.weigh(&layout, &delay, black_box(&codes))));
    group.finish();
}

criterion_group!(benches, shifts);
criterion_main!(benches);
