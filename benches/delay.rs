//! Build, undo and the training view beside a copy of the bytes they write.
//!
//! Each group has its own `copy`: `copy_from_slice` of as many bytes as the others of the group write. Divide a line's
//! time by it: absolute times are the machine's. All memory is allocated and touched beforehand.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use ndarray::{Array3, ArrayViewMut3, Axis};
use roundelay::token::Token;
use roundelay::weights::{TrainingViews, WeightsViews};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Sequencer, Start, Steps};

/// Batch, streams and frames: Moshi's batch, a single short clip, and a batch far beyond any cache.
const SHAPES: [(usize, usize, usize); 3] = [(16, 17, 1250), (1, 17, 125), (256, 17, 1250)];

/// Every result is looked at: an error would make a very fast bench.
const FITS: &str = "codes of the layout, and views of its shape";

fn codes<A: Token>(shape: (usize, usize, usize)) -> Frames<Array3<A>> {
    let code = |(b, k, t)| A::try_from(((b * 7 + k * 5 + t) % 2048) as i64).ok().expect("a code fits any type");
    Frames(Array3::from_shape_fn(shape, code))
}

fn group<'a>(
    criterion: &'a mut Criterion,
    what: &str,
    from: &str,
    (b, k, t): (usize, usize, usize),
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(format!("{what} {b}x{k}x{t} {from}"));
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(50);
    group
}

/// What everything else is measured against.
fn copy(group: &mut BenchmarkGroup<WallTime>, bytes: usize) {
    let (source, mut target) = (vec![1_u8; bytes], vec![2_u8; bytes]);
    group.bench_function("copy", |b| b.iter(|| black_box(&mut target).copy_from_slice(black_box(&source))));
}

fn moshi() -> (Layout, Delay) {
    let layout = Layout::preset("moshi-7b").expect("a preset");
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    (layout, delay)
}

fn build<A: Token>(criterion: &mut Criterion) {
    for shape in SHAPES {
        let ((_, delay), codes) = (moshi(), codes::<A>(shape));
        let steps = (shape.0, shape.1, delay.steps(shape.2).expect("any number of frames"));
        let (mut tokens, mut mask) = (Array3::<i64>::ones(steps), Array3::from_elem(steps, true));
        let mut group = group(criterion, "build", A::NAME, shape);
        copy(&mut group, tokens.len() * 8);
        group.bench_function("build", |b| {
            b.iter(|| delay.build_into(black_box(&codes), Steps(tokens.view_mut()), None).expect(FITS))
        });
        group.bench_function("build, with mask", |b| {
            b.iter(|| {
                delay.build_into(black_box(&codes), Steps(tokens.view_mut()), Some(Steps(mask.view_mut()))).expect(FITS)
            })
        });
        if shape == SHAPES[0] {
            let mut narrow = Array3::<i32>::ones(steps);
            group.bench_function("build to i32", |b| {
                b.iter(|| delay.build_into(black_box(&codes), Steps(narrow.view_mut()), None).expect(FITS))
            });
        }
        if shape == SHAPES[2] {
            group.bench_function("build, two threads", |b| b.iter(|| two_threads(&delay, &codes, tokens.view_mut())));
        }
    }
}

/// Half of the batch each.
fn two_threads<A: Token>(delay: &Delay, codes: &Frames<Array3<A>>, tokens: ArrayViewMut3<i64>) {
    let half = codes.0.len_of(Axis(0)) / 2;
    let (first, second) = codes.0.view().split_at(Axis(0), half);
    let (to_first, to_second) = tokens.split_at(Axis(0), half);
    std::thread::scope(|scope| {
        scope.spawn(|| delay.build_into(&Frames(first), Steps(to_first), None).expect(FITS));
        delay.build_into(&Frames(second), Steps(to_second), None).expect(FITS);
    });
}

fn undo<B: Token>(criterion: &mut Criterion) {
    for shape in SHAPES {
        let ((_, delay), codes) = (moshi(), codes::<B>(shape));
        let tokens = delay.build(&codes).expect("codes of the layout").tokens;
        let (mut undone, mut mask) = (Array3::<i64>::ones(shape), Array3::from_elem(shape, true));
        let mut group = group(criterion, "undo", B::NAME, shape);
        copy(&mut group, undone.len() * 8);
        group.bench_function("undo", |b| {
            b.iter(|| delay.undo_into(black_box(&tokens), Frames(undone.view_mut()), None, -1).expect(FITS))
        });
        group.bench_function("undo, with mask", |b| {
            b.iter(|| {
                let mask = Some(Frames(mask.view_mut()));
                delay.undo_into(black_box(&tokens), Frames(undone.view_mut()), mask, -1).expect(FITS)
            })
        });
    }
}

fn training<A: Token>(criterion: &mut Criterion) {
    for shape in SHAPES {
        let ((layout, delay), codes) = (moshi(), codes::<A>(shape));
        let policy = Policy::named("moshi").expect("a policy");
        let steps = delay.steps(shape.2).expect("any number of frames");
        let (whole, said) = ((shape.0, shape.1, steps), (shape.0, shape.1, steps - 1));
        let mut tokens = Array3::<i64>::ones(whole);
        let (mut mask, mut weights) = (Array3::from_elem(said, true), Array3::<f32>::ones(said));
        let mut group = group(criterion, "training view", A::NAME, shape);
        copy(&mut group, tokens.len() * 8 + mask.len() * 5);
        group.bench_function("fused", |b| {
            b.iter(|| {
                let views = TrainingViews {
                    tokens: Steps(tokens.view_mut()),
                    mask: Some(Steps(mask.view_mut())),
                    weights: Steps(weights.view_mut()),
                };
                policy.training_into(&layout, &delay, black_box(&codes), views).expect(FITS)
            })
        });
    }
}

fn weights(criterion: &mut Criterion) {
    let (shape, (layout, delay)) = (SHAPES[0], moshi());
    let (codes, policy) = (codes::<i64>(shape), Policy::named("moshi").expect("a policy"));
    let in_steps = (shape.0, shape.1, delay.steps(shape.2).expect("any number of frames"));
    let [mut frames, mut steps] = [shape, in_steps].map(Array3::<f32>::ones);
    let [mut frame_reasons, mut step_reasons] = [shape, in_steps].map(Array3::<u8>::ones);
    let mut whole = group(criterion, "weights", "i64", shape);
    copy(&mut whole, 5 * (frames.len() + steps.len()));
    whole.bench_function("both frames, with reasons", |b| {
        b.iter(|| {
            let views = WeightsViews {
                frames: Some(Frames(frames.view_mut())),
                frame_reasons: Some(Frames(frame_reasons.view_mut())),
                steps: Some(Steps(steps.view_mut())),
                step_reasons: Some(Steps(step_reasons.view_mut())),
            };
            policy.weigh_into(&layout, &delay, black_box(&codes), views).expect(FITS)
        })
    });
    drop(whole);
    let mut alone = group(criterion, "weights in steps", "i64", shape);
    copy(&mut alone, 4 * steps.len());
    alone.bench_function("without reasons", |b| {
        b.iter(|| {
            let views = WeightsViews { steps: Some(Steps(steps.view_mut())), ..WeightsViews::default() };
            policy.weigh_into(&layout, &delay, black_box(&codes), views).expect(FITS)
        })
    });
}

criterion_group!(
    benches,
    build::<i64>,
    build::<u16>,
    undo::<i64>,
    undo::<u16>,
    training::<i64>,
    training::<u16>,
    weights
);
criterion_main!(benches);
