//! The nearest of 2048 codes for 2400 vectors, beside the bare matrix product of that size.
//!
//! Divide a line's time by that of `product`: absolute times are the machine's. `scripts/nearest-speed` measures 100,000
//! vectors, beside faiss.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::codebook::{Codes, ResidualQuantizer};

const VECTORS: usize = 2400;
const CODES: usize = 2048;

fn nearest(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut random = |rows, columns| Array2::<f32>::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0));
    for d in [8, 64, 128, 512] {
        let (vectors, table) = (random(VECTORS, d), random(CODES, d));
        let transposed = table.t().as_standard_layout().into_owned();
        let mut scores = Array2::zeros((VECTORS, CODES));
        let codes = Codes::new(table.clone());
        let stack = ResidualQuantizer::new(vec![table]);
        let mut group = criterion.benchmark_group(format!("{VECTORS} vectors of {d}, {CODES} codes"));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
        group.bench_function("product", |b| b.iter(|| general_mat_mul(1.0, &vectors, &transposed, 0.0, &mut scores)));
        group.bench_function("nearest", |b| b.iter(|| codes.nearest(black_box(vectors.view()))));
        group.bench_function("beam of 4", |b| b.iter(|| stack.encode_beam(black_box(vectors.view()), 4)));
    }
}

criterion_group!(benches, nearest);
criterion_main!(benches);
