//! The best 1024 of 200,000 vectors of 64 dimensions, beside one plain read of them.
//!
//! Divide a line's time by that of `read`: absolute times are the machine's. `scripts/search-speed` measures 10,000,000
//! vectors, beside faiss.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use half::f16;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::vocab::search::{Index, Values, Vectors};

const ROWS: usize = 200_000;
const DIMENSION: usize = 64;

fn search(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let whole: Vec<i8> = (0..ROWS * DIMENSION).map(|_| rng.random_range(-127..=127)).collect();
    let floats: Vec<f32> = whole.iter().map(|&value| f32::from(value) / 127.0).collect();
    let halves: Vec<f16> = floats.iter().map(|&value| f16::from_f32(value)).collect();
    let queries = Array2::from_shape_simple_fn((16, DIMENSION), || rng.random_range(-1.0f32..1.0));
    let one = queries.slice(ndarray::s![..1, ..]);
    let scales = [1.0 / 127.0; DIMENSION];
    let kinds = [
        ("i8", Values::I8 { values: &whole, scales: &scales }),
        ("f16", Values::F16(&halves)),
        ("f32", Values::F32(&floats)),
    ];
    let words: &[u64] = bytemuck::pod_align_to(&whole).1;
    let mut group = criterion.benchmark_group(format!("{ROWS} vectors of {DIMENSION}"));
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group.bench_function("read, i8", |b| {
        b.iter(|| black_box(words).iter().fold(0u64, |sum, &word| sum.wrapping_add(word)))
    });
    for (name, values) in kinds {
        let index = Index::new(Vectors::new(values, DIMENSION).expect("numbers"));
        group.bench_function(format!("1 query, {name}"), |b| b.iter(|| index.exact(black_box(one), 1024, 1)));
        group.bench_function(format!("16 queries, {name}"), |b| {
            b.iter(|| index.exact(black_box(queries.view()), 1024, 1))
        });
    }
}

criterion_group!(benches, search);
criterion_main!(benches);
