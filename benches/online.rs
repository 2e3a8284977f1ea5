//! One column at a time beside a copy of the ids it writes, at Moshi's 17 streams.
//!
//! Divide a line's time by that of `copy` in the same group: absolute times are the machine's.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use roundelay::delay::{DelayLine, KyutaiLine, KyutaiOptions, UndelayLine};
use roundelay::{Extent, Frames, Layout, Start, Steps};

const EXTEND: (Extent, Start) = (Extent::Extend, Start::None);

fn columns(criterion: &mut Criterion) {
    for batch in [1, 16] {
        let layout = Layout::preset("moshi-7b").expect("a preset");
        let source: Vec<i64> = (0..17 * batch as i64).collect();
        let mut target = vec![0; source.len()];
        let mut group = criterion.benchmark_group(format!("moshi-7b {batch} x 17, i64"));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        group.bench_function("copy", |b| b.iter(|| black_box(&mut target[..]).copy_from_slice(black_box(&source[..]))));

        let mut line = DelayLine::new(&layout, EXTEND.0, EXTEND.1, batch).expect("ids fit");
        let mut step =
            || line.step(Frames(black_box(&source[..])), Steps(black_box(&mut target[..]))).expect("columns");
        group.bench_function("step", |b| b.iter(&mut step));

        let mut line = UndelayLine::new(&layout, EXTEND.0, EXTEND.1, batch, -1).expect("a batch");
        let mut step =
            || line.step(Steps(black_box(&source[..])), Frames(black_box(&mut target[..]))).expect("columns");
        group.bench_function("undelay step", |b| b.iter(&mut step));

        let mut line = KyutaiLine::new(&layout, batch, KyutaiOptions::default()).expect("ids fit");
        let (user, text, audio) = (&source[..8 * batch], &source[..batch], &source[..8 * batch]);
        let mut frame = vec![0; 9 * batch];
        let mut step = || {
            line.input(Frames(black_box(user)), Steps(black_box(&mut target[..]))).expect("the user's codes");
            let (text, audio) = (Steps(black_box(text)), Steps(black_box(audio)));
            line.output(text, audio, Frames(black_box(&mut frame[..]))).expect("the model's tokens")
        };
        group.bench_function("kyutai input and output", |b| b.iter(&mut step));
        group.finish();
    }
}

criterion_group!(benches, columns);
criterion_main!(benches);
