//! Fast scores of a block of rows for one query.
//!
//! ```text
//! 8 rows of i8   | x0 .. x31 | x32 .. x63 | ..    32 numbers to i16, times 32 of the query, neighbours added: 16 sums a row
//!                                                 and at the end the sums of 8 rows are folded into 8 scores
//! ```

use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::{Arch, Simd, WithSimd};

use super::query::{Fast, Query};
use super::vectors::{Values, Vectors};

/// Rows that are scored in one go.
pub(super) const BLOCK: usize = 256;

/// Some rows, ready to be scored.
pub(super) enum Block<'a> {
    Whole(&'a [i8]),
    Float(&'a [f32]),
}

impl<'a> Block<'a> {
    /// These rows of a table; halves are widened into `room`.
    pub fn new(vectors: &Vectors<'a>, rows: std::ops::Range<usize>, room: &'a mut Vec<f32>) -> Self {
        let range = rows.start * vectors.dimension()..rows.end * vectors.dimension();
        match vectors.values() {
            Values::I8 { values, .. } => Block::Whole(&values[range]),
            Values::F32(values) => Block::Float(&values[range]),
            Values::F16(values) => Block::Float(widened(&values[range], room)),
        }
    }

    /// The score of each row.
    pub fn scores(&self, query: &Query, scores: &mut [f32]) {
        match (self, &query.fast) {
            (Block::Whole(rows), Fast::Whole(query)) => whole(rows, query, scores),
            (Block::Float(rows), Fast::Float(query)) => Arch::new().dispatch(Floats { rows, query, scores }),
            _ => unreachable!("a query is made for its table"),
        }
    }
}

fn widened<'a>(halves: &[f16], room: &'a mut Vec<f32>) -> &'a [f32] {
    room.resize(halves.len(), 0.0);
    halves.convert_to_f32_slice(room);
    room
}

/// Scores of rows of i8: whole numbers, so that their order does not matter.
fn whole(rows: &[i8], query: &[i16], scores: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V4::try_new() {
            return simd.vectorize(x86::Whole::<_, 32> { simd, rows, query, scores });
        }
        if let Some(simd) = pulp::x86::V3::try_new() {
            return simd.vectorize(x86::Whole::<_, 16> { simd, rows, query, scores });
        }
    }
    plain(rows, query, scores);
}

/// The same for any processor.
fn plain(rows: &[i8], query: &[i16], scores: &mut [f32]) {
    for (row, score) in rows.chunks_exact(query.len()).zip(scores) {
        *score = products(row, query) as f32;
    }
}

#[inline(always)]
fn products(row: &[i8], query: &[i16]) -> i32 {
    row.iter().zip(query).map(|(&value, &weight)| i32::from(value) * i32::from(weight)).sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::x86::{V3, V4};
    use pulp::{NullaryFnOnce, cast, i8x16, i32x8, i32x16};

    use super::{plain, products};

    /// Rows that are summed at a time.
    const ROWS: usize = 8;

    /// Registers that take N numbers at once.
    pub trait Wide<const N: usize>: Copy {
        type Sums: Copy;

        fn zeros(self) -> Self::Sums;

        /// Adds products, those of neighbours together.
        fn add(self, sums: Self::Sums, values: [i8; N], weights: [i16; N]) -> Self::Sums;

        /// As eight sums.
        fn narrow(self, sums: Self::Sums) -> i32x8;

        fn narrower(self) -> V3;
    }

    impl Wide<16> for V3 {
        type Sums = i32x8;

        #[inline(always)]
        fn zeros(self) -> i32x8 {
            self.splat_i32x8(0)
        }

        #[inline(always)]
        fn add(self, sums: i32x8, values: [i8; 16], weights: [i16; 16]) -> i32x8 {
            let values = self.convert_i8x16_to_i16x16(cast::<[i8; 16], i8x16>(values));
            self.wrapping_add_i32x8(sums, self.multiply_wrapping_add_adjacent_i16x16(values, cast(weights)))
        }

        #[inline(always)]
        fn narrow(self, sums: i32x8) -> i32x8 {
            sums
        }

        #[inline(always)]
        fn narrower(self) -> V3 {
            self
        }
    }

    impl Wide<32> for V4 {
        type Sums = i32x16;

        #[inline(always)]
        fn zeros(self) -> i32x16 {
            self.splat_i32x16(0)
        }

        #[inline(always)]
        fn add(self, sums: i32x16, values: [i8; 32], weights: [i16; 32]) -> i32x16 {
            let values = self.avx512bw._mm512_cvtepi8_epi16(cast(values));
            self.wrapping_add_i32x16(sums, cast(self.avx512bw._mm512_madd_epi16(values, cast(weights))))
        }

        #[inline(always)]
        fn narrow(self, sums: i32x16) -> i32x8 {
            let [low, high]: [i32x8; 2] = cast(sums);
            self.wrapping_add_i32x8(low, high)
        }

        #[inline(always)]
        fn narrower(self) -> V3 {
            *self
        }
    }

    pub struct Whole<'a, W, const N: usize> {
        pub simd: W,
        pub rows: &'a [i8],
        pub query: &'a [i16],
        pub scores: &'a mut [f32],
    }

    impl<W: Wide<N>, const N: usize> NullaryFnOnce for Whole<'_, W, N> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Whole { simd, rows, query, scores } = self;
            let v3 = simd.narrower();
            let (steps, rest) = query.as_chunks::<N>();
            let (eights, few) = scores.as_chunks_mut::<ROWS>();
            let mut groups = rows.chunks_exact(ROWS * query.len());
            for (group, scores) in groups.by_ref().zip(eights) {
                let mut totals = fold(v3, sums(simd, group, query.len(), steps));
                if !rest.is_empty() {
                    let mut tails = [0; ROWS];
                    for (tail, row) in tails.iter_mut().zip(group.chunks_exact(query.len())) {
                        *tail = products(&row[steps.len() * N..], rest);
                    }
                    totals = v3.wrapping_add_i32x8(totals, cast(tails));
                }
                *scores = cast(v3.avx._mm256_cvtepi32_ps(cast(totals)));
            }
            plain(groups.remainder(), query, few);
        }
    }

    /// Eight sums for each row.
    // Loops, not iterators' functions: what those are given is compiled for any processor, and called.
    #[inline(always)]
    fn sums<W: Wide<N>, const N: usize>(simd: W, mut rows: &[i8], width: usize, query: &[[i16; N]]) -> [i32x8; ROWS] {
        let mut sums = [simd.narrower().splat_i32x8(0); ROWS];
        for sum in &mut sums {
            let (row, others) = rows.split_at(width);
            rows = others;
            let mut wide = simd.zeros();
            for (&values, &weights) in row.as_chunks().0.iter().zip(query) {
                wide = simd.add(wide, values, weights);
            }
            *sum = simd.narrow(wide);
        }
        sums
    }

    /// The total of each row.
    #[inline(always)]
    fn fold(simd: V3, sums: [i32x8; ROWS]) -> i32x8 {
        let pair = |a, b| simd.avx2._mm256_hadd_epi32(a, b);
        let [a, b, c, d, e, f, g, h] = sums.map(cast);
        let (low, high) = (pair(pair(a, b), pair(c, d)), pair(pair(e, f), pair(g, h)));
        let firsts = simd.avx2._mm256_permute2x128_si256::<0x20>(low, high);
        let seconds = simd.avx2._mm256_permute2x128_si256::<0x31>(low, high);
        simd.wrapping_add_i32x8(cast(firsts), cast(seconds))
    }
}

/// Scores of rows of f32.
struct Floats<'a> {
    rows: &'a [f32],
    query: &'a [f32],
    scores: &'a mut [f32],
}

impl WithSimd for Floats<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (steps, rest) = S::as_simd_f32s(self.query);
        for (row, score) in self.rows.chunks_exact(self.query.len()).zip(self.scores) {
            let (values, few) = S::as_simd_f32s(row);
            let begin = simd.splat_f32s(0.0);
            let sum = values.iter().zip(steps).fold(begin, |sum, (&value, &step)| simd.mul_add_f32s(value, step, sum));
            let tail: f32 = few.iter().zip(rest).map(|(value, step)| value * step).sum();
            *score = simd.reduce_sum_f32s(sum) + tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn whole_scores_are_those_of_a_plain_loop() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut run = 0;
        for dimension in [1, 2, 15, 16, 17, 31, 64, 100, 512, 4096] {
            for rows in [0, 1, 7, 8, 9, 40] {
                let bound = ((1 << 24) / dimension as i32 - 1).min(32767) as i16;
                let mut values: Vec<i8> = (0..rows * dimension).map(|_| rng.random()).collect();
                let mut query: Vec<i16> = (0..dimension).map(|_| rng.random_range(-bound..=bound)).collect();
                // The largest sum there can be.
                if rows > 8 {
                    values[..dimension].fill(-128);
                    query.fill(-bound);
                }
                let (mut fast, mut slow) = (vec![0.0; rows], vec![0.0; rows]);
                whole(&values, &query, &mut fast);
                plain(&values, &query, &mut slow);
                assert_eq!(fast, slow, "{rows} rows of {dimension}");
                #[cfg(target_arch = "x86_64")]
                if let Some(simd) = pulp::x86::V3::try_new() {
                    let (rows, query, scores) = (&values, &query, &mut fast);
                    scores.fill(f32::NAN);
                    simd.vectorize(x86::Whole::<_, 16> { simd, rows, query, scores });
                    assert_eq!(fast, slow, "narrower registers, {dimension}");
                }
                run += 1;
            }
        }
        assert_eq!(run, 60);
    }
}
