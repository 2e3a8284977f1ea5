//! General patterns beside a copy of the sequence that they write or read, and the compiling of their plans.
//!
//! A flattened grid is mostly fills: its sequence is many times its codes, and undoing it must walk all of it. So both
//! ways are measured against `copy_from_slice` of the sequence's bytes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array3;
use roundelay::delay::Pattern;
use roundelay::{Extent, Frames, Layout, Sequencer, Start, Steps};

const PATTERNS: [&str; 6] = ["parallel", "delay", "partial-flatten", "flatten", "coarse-first", "musiclm:group-by=1"];

/// Presets, and a batch of each.
const GRIDS: [(&str, (usize, usize, usize)); 2] = [("moshi-7b", (16, 17, 1250)), ("musicgen", (16, 4, 1500))];

fn patterns(criterion: &mut Criterion) {
    for (preset, shape) in GRIDS {
        let layout = Layout::preset(preset).expect("a preset");
        let code = |(b, k, t)| ((b * 7 + k * 5 + t) % 1024) as i64;
        let codes = Frames(Array3::from_shape_fn(shape, code));
        for name in PATTERNS {
            let pattern: Pattern = name.parse().expect("a pattern");
            let plan = || pattern.plan(&layout, shape.2, Extent::Extend, Start::Initial).expect("a plan");
            let compiled = plan();
            let mut tokens = compiled.build(&codes).expect("codes of the layout").tokens.0;
            let mut undone = codes.0.clone();
            let mut group = criterion.benchmark_group(format!("{name} {preset}"));
            group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
            let (source, mut target) = (tokens.clone(), tokens.clone());
            let source = source.as_slice().expect("a new array is one slice");
            let target = target.as_slice_mut().expect("a new array is one slice");
            group.bench_function("copy", |b| b.iter(|| black_box(&mut *target).copy_from_slice(black_box(source))));
            group.bench_function("build", |b| {
                b.iter(|| compiled.build_into(black_box(&codes), Steps(tokens.view_mut()), None).expect("codes"))
            });
            let tokens = Steps(tokens);
            group.bench_function("undo", |b| {
                b.iter(|| compiled.undo_into(black_box(&tokens), Frames(undone.view_mut()), None, -1).expect("tokens"))
            });
            group.bench_function("plan", |b| b.iter(plan));
        }
    }
}

criterion_group!(benches, patterns);
criterion_main!(benches);
