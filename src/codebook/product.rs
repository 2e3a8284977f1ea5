//! The score of every code for every row of a batch, tile by tile, each given away while it is still in registers.
//!
//! ```text
//! codes in panels of 16          rows in groups of R         tile: R x 16 scores, d steps
//!   panel [d, 16]                  group [d, R]                score += row value x 16 codes
//!   | c0 c1 .. c15 |  k = 0        | r0 r1 .. |  k = 0         and at the end |c|^2 - 2 x.c
//!   | c0 c1 .. c15 |  k = 1        | r0 r1 .. |  k = 1
//! ```
//!
//! A matrix product would write `rows x codes` scores to memory and read them again. Each score is summed over k in
//! order, by fused multiply and add, whatever the width of the processor's registers: all processors find the same.

use ndarray::{Array2, ArrayView2, Axis};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd, bytemuck};

/// Codes of a panel: one register of the widest kind.
pub const WIDTH: usize = 16;

/// Rows of a block, whose groups stay in a near cache while the panels pass. All sizes of groups divide it.
const BLOCK: usize = 240;

/// A table of codes, laid out for the product.
#[derive(Debug, Clone)]
pub struct Panels {
    /// `[panel, d, WIDTH]`; what is missing in the last panel is 0.
    cells: Vec<f32>,
    /// `|c|^2` of each code, infinite for those that are missing.
    norms: Vec<f32>,
    depth: usize,
}

impl Panels {
    /// Lays out `table` `[codes, d]`.
    pub fn new(table: ArrayView2<'_, f32>) -> Self {
        let depth = depth(&table);
        let panels = table.nrows().div_ceil(WIDTH);
        let mut norms = vec![f32::INFINITY; panels * WIDTH];
        norms.iter_mut().zip(table.rows()).for_each(|(norm, code)| *norm = code.dot(&code));
        Panels { cells: interleaved::<WIDTH>(table, depth), norms, depth }
    }

    /// The nearest code of each row of `[n, d]`, n of them at `codes`.
    pub fn nearest(&self, rows: ArrayView2<'_, f32>, codes: &mut [usize]) {
        for (rows, codes) in rows.axis_chunks_iter(Axis(0), BLOCK).zip(codes.chunks_mut(BLOCK)) {
            Arch::new().dispatch(Nearest { panels: self, rows, codes });
        }
    }

    /// Calls `each` for every row, in order, with the scores of all codes.
    pub fn scores(&self, rows: ArrayView2<'_, f32>, codes: usize, mut each: impl FnMut(&[f32])) {
        let mut scores = Array2::zeros((BLOCK.min(rows.nrows()), self.norms.len()));
        for rows in rows.axis_chunks_iter(Axis(0), BLOCK) {
            Arch::new().dispatch(Scores { panels: self, rows, scores: &mut scores });
            let whole = scores.rows().into_iter().take(rows.nrows());
            whole.for_each(|row| each(&row.to_slice().expect("a row of a row-major matrix is contiguous")[..codes]));
        }
    }

    /// Goes over all tiles, handing each row of a tile to `take`.
    #[inline(always)]
    fn tiles<S: Simd, const V: usize, const R: usize>(
        &self,
        simd: S,
        rows: ArrayView2<'_, f32>,
        take: &mut impl Take<S, V>,
    ) {
        let groups = interleaved::<R>(rows, self.depth);
        let panels = self.cells.chunks_exact(self.depth * WIDTH).zip(self.norms.chunks_exact(WIDTH));
        for (panel, (cells, norms)) in panels.enumerate() {
            let codes = registers::<S, V>(cells);
            let norms = &registers::<S, V>(norms)[0];
            for (group, rows) in groups.chunks_exact(self.depth * R).enumerate() {
                let rows = rows.as_chunks::<R>().0;
                simd.vectorize(Tile { simd, codes, norms, rows, panel, first: group * R, take });
            }
        }
    }
}

/// Steps of a sum: vectors without any length have one, of zeros.
fn depth(rows: &ArrayView2<'_, f32>) -> usize {
    rows.ncols().max(1)
}

/// Rows as `[group, depth, N]`, filled up with zeros.
fn interleaved<const N: usize>(rows: ArrayView2<'_, f32>, depth: usize) -> Vec<f32> {
    let mut cells = vec![0.0; rows.nrows().div_ceil(N) * depth * N];
    for (number, row) in rows.rows().into_iter().enumerate() {
        let (group, place) = (number / N, number % N);
        let group = &mut cells[group * depth * N..][..depth * N];
        row.iter().zip(group.as_chunks_mut::<N>().0).for_each(|(&value, step)| step[place] = value);
    }
    cells
}

/// Steps of a panel, each in V registers.
#[inline(always)]
fn registers<S: Simd, const V: usize>(cells: &[f32]) -> &[[S::f32s; V]] {
    S::as_simd_f32s(cells).0.as_chunks().0
}

/// Whoever wants the scores.
trait Take<S: Simd, const V: usize> {
    /// The scores of a panel's codes for a row; rows beyond the last are there, too, and mean nothing.
    fn take(&mut self, simd: S, row: usize, panel: usize, scores: [S::f32s; V]);
}

/// R rows against a panel.
struct Tile<'a, S: Simd, const V: usize, const R: usize, T> {
    simd: S,
    codes: &'a [[S::f32s; V]],
    norms: &'a [S::f32s; V],
    rows: &'a [[f32; R]],
    panel: usize,
    first: usize,
    take: &'a mut T,
}

impl<S: Simd, const V: usize, const R: usize, T: Take<S, V>> NullaryFnOnce for Tile<'_, S, V, R, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let simd = self.simd;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (codes, rows) in self.codes.iter().zip(self.rows) {
            for (sums, &row) in sums.iter_mut().zip(rows) {
                let row = simd.splat_f32s(row);
                for (sum, &code) in sums.iter_mut().zip(codes) {
                    *sum = simd.mul_add_f32s(row, code, *sum);
                }
            }
        }
        let minus_two = simd.splat_f32s(-2.0);
        for (row, sums) in sums.into_iter().enumerate() {
            let mut scores = *self.norms;
            scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = simd.mul_add_f32s(minus_two, sum, *score));
            self.take.take(simd, self.first + row, self.panel, scores);
        }
    }
}

/// The widths that processors have, with as many rows as leave their registers room.
macro_rules! by_width {
    ($run:ident, $simd:expr, $job:expr) => {
        match S::F32_LANES {
            16 => $run::<S, 1, 16>($simd, $job),
            8 => $run::<S, 2, 6>($simd, $job),
            4 => $run::<S, 4, 6>($simd, $job),
            _ => $run::<S, 16, 1>($simd, $job),
        }
    };
}

/// A search of one block.
struct Nearest<'a> {
    panels: &'a Panels,
    rows: ArrayView2<'a, f32>,
    codes: &'a mut [usize],
}

impl WithSimd for Nearest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        by_width!(nearest, simd, self);
    }
}

#[inline(always)]
fn nearest<S: Simd, const V: usize, const R: usize>(simd: S, job: Nearest<'_>) {
    let none = Lowest { score: [simd.splat_f32s(f32::INFINITY); V], panel: [simd.splat_u32s(0); V] };
    let mut lowest = vec![none; job.rows.nrows().next_multiple_of(R)];
    job.panels.tiles::<S, V, R>(simd, job.rows, &mut lowest);
    job.codes.iter_mut().zip(&lowest).for_each(|(code, lowest)| *code = lowest.code());
}

/// The lowest score of a row so far, of the codes at each place of a panel by themselves.
#[derive(Clone, Copy)]
struct Lowest<S: Simd, const V: usize> {
    score: [S::f32s; V],
    panel: [S::u32s; V],
}

impl<S: Simd, const V: usize> Take<S, V> for Vec<Lowest<S, V>> {
    #[inline(always)]
    fn take(&mut self, simd: S, row: usize, panel: usize, scores: [S::f32s; V]) {
        let here = simd.splat_u32s(panel as u32);
        let Lowest { score, panel } = &mut self[row];
        for ((lowest, panel), score) in score.iter_mut().zip(panel).zip(scores) {
            // Of equals the first panel stays.
            let less = simd.less_than_f32s(score, *lowest);
            *lowest = simd.select_f32s(less, score, *lowest);
            *panel = simd.select_u32s(less, here, *panel);
        }
    }
}

impl<S: Simd, const V: usize> Lowest<S, V> {
    /// The code with the lowest score of all; the first of equals.
    fn code(&self) -> usize {
        let scores: &[f32] = bytemuck::cast_slice(&self.score);
        let panels: &[u32] = bytemuck::cast_slice(&self.panel);
        let codes = panels.iter().enumerate().map(|(place, &panel)| panel as usize * WIDTH + place);
        let before = |a: (f32, usize), b: (f32, usize)| a.0 < b.0 || (a.0 == b.0 && a.1 < b.1);
        let lowest = scores.iter().copied().zip(codes).reduce(|a, b| if before(b, a) { b } else { a });
        lowest.map_or(0, |(_, code)| code)
    }
}

/// All scores of one block.
struct Scores<'a> {
    panels: &'a Panels,
    rows: ArrayView2<'a, f32>,
    scores: &'a mut Array2<f32>,
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        by_width!(scores, simd, self);
    }
}

#[inline(always)]
fn scores<S: Simd, const V: usize, const R: usize>(simd: S, job: Scores<'_>) {
    job.panels.tiles::<S, V, R>(simd, job.rows, job.scores);
}

impl<S: Simd, const V: usize> Take<S, V> for Array2<f32> {
    #[inline(always)]
    fn take(&mut self, _simd: S, row: usize, panel: usize, scores: [S::f32s; V]) {
        let columns = self.ncols();
        let cells = self.as_slice_mut().expect("it was made row-major");
        if let Some(row) = cells.chunks_exact_mut(columns).nth(row) {
            row[panel * WIDTH..][..WIDTH].copy_from_slice(bytemuck::cast_slice(&scores));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
    }

    /// The score as it is defined: one fused step after another.
    fn score(row: ArrayView2<'_, f32>, code: ArrayView2<'_, f32>) -> f32 {
        let sum = row.iter().zip(code).fold(0.0f32, |sum, (&x, &c)| x.mul_add(c, sum));
        (-2.0f32).mul_add(sum, code.row(0).dot(&code.row(0)))
    }

    #[test]
    fn scores_are_the_same_to_the_bit_on_any_width() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (n, codes, d) in [(1, 1, 1), (7, 5, 3), (241, 40, 17), (500, 16, 8), (3, 3, 0)] {
            let (rows, table) = (random(&mut rng, n, d), random(&mut rng, codes, d));
            let panels = Panels::new(table.view());
            let mut row = 0;
            panels.scores(rows.view(), codes, |found| {
                let of = |code| score(rows.slice(s![row..=row, ..]), table.slice(s![code..=code, ..]));
                assert_eq!(found, (0..codes).map(of).collect::<Vec<_>>(), "row {row} of {n}");
                row += 1;
            });
            assert_eq!(row, n);

            let (mut widest, mut one_by_one) = (vec![0; n], vec![0; n]);
            panels.nearest(rows.view(), &mut widest);
            for (rows, codes) in rows.axis_chunks_iter(Axis(0), BLOCK).zip(one_by_one.chunks_mut(BLOCK)) {
                Nearest { panels: &panels, rows, codes }.with_simd(pulp::Scalar);
            }
            assert_eq!(widest, one_by_one);
        }
    }

    #[test]
    fn numbers_that_are_no_distance_end_in_the_first_code() {
        let panels = Panels::new(Array2::zeros((40, 2)).view());
        let mut codes = [7; 2];
        panels.nearest(ndarray::array![[f32::NAN, 0.0], [f32::INFINITY, f32::INFINITY]].view(), &mut codes);
        assert_eq!(codes, [0, 0]);
    }
}
