//! Residual vector quantization: each table codes what the tables before it left over.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::nearest::Codes;

/// Vectors searched together with a beam; bounds the memory of the search, not its result.
const CHUNK: usize = 32;

/// A stack of code tables of one width.
///
/// ```text
/// x ------ c0 ---> r1 ------ c1 ---> r2 ...       r[l+1] = r[l] - table[l][code[l]]
///   code 17          code 3                       decoded = sum of the codes' vectors
/// ```
#[derive(Debug, Clone)]
pub struct ResidualQuantizer {
    levels: Vec<Codes>,
}

impl ResidualQuantizer {
    /// Stacks the tables, each `[codes, d]`, first level first.
    ///
    /// # Panics
    /// If there is no table, a table is empty, or their widths differ.
    pub fn new(tables: Vec<Array2<f32>>) -> Self {
        let levels: Vec<Codes> = tables.into_iter().map(Codes::new).collect();
        let width = levels.first().expect("a quantizer needs a level").dimension();
        assert!(levels.iter().all(|level| level.dimension() == width && !level.is_empty()), "tables of one width");
        ResidualQuantizer { levels }
    }

    /// The levels, first to last.
    pub fn levels(&self) -> &[Codes] {
        &self.levels
    }

    /// The length of each vector.
    pub fn dimension(&self) -> usize {
        self.levels[0].dimension()
    }

    /// Codes each row level by level, always with the nearest code.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`; returns `[levels, n]`.
    ///
    /// # Panics
    /// If `vectors` has another width.
    ///
    /// # Examples
    /// ```
    /// use ndarray::array;
    /// use roundelay::codebook::ResidualQuantizer;
    ///
    /// let quantizer = ResidualQuantizer::new(vec![array![[0.0], [10.0]], array![[0.0], [1.0], [2.0]]]);
    /// let codes = quantizer.encode(array![[11.2], [0.4]].view());
    /// assert_eq!(codes, array![[1, 0], [1, 0]]);
    /// assert_eq!(quantizer.decode(codes.view()), array![[11.0], [0.0]]);
    /// ```
    pub fn encode(&self, vectors: ArrayView2<'_, f32>) -> Array2<i32> {
        let mut residual = vectors.to_owned();
        let mut codes = Array2::zeros((self.levels.len(), vectors.nrows()));
        for (level, mut row) in self.levels.iter().zip(codes.rows_mut()) {
            for (index, code) in level.nearest(residual.view()).into_iter().enumerate() {
                row[index] = code as i32;
                residual.row_mut(index).zip_mut_with(&level.table().row(code), |r, c| *r -= c);
            }
        }
        codes
    }

    /// Codes each row keeping the `width` best ways so far after every level. A wider beam comes
    /// nearer and costs `width` times the search; width 1 is [`encode`](Self::encode).
    ///
    /// # Shapes
    /// As [`encode`](Self::encode).
    ///
    /// # Panics
    /// If `vectors` has another width than the tables, or `width` is 0.
    pub fn encode_beam(&self, vectors: ArrayView2<'_, f32>, width: usize) -> Array2<i32> {
        assert!(width > 0, "a beam keeps at least one way");
        let mut codes = Array2::zeros((self.levels.len(), vectors.nrows()));
        for (part, found) in vectors.axis_chunks_iter(Axis(0), CHUNK).zip(codes.axis_chunks_iter_mut(Axis(1), CHUNK)) {
            self.search(part, width, found);
        }
        codes
    }

    /// Beam search of one chunk `[n, d]` into `found` `[levels, n]`.
    fn search(&self, vectors: ArrayView2<'_, f32>, width: usize, mut found: ArrayViewMut2<'_, i32>) {
        let mut ways: Vec<Way> = (0..vectors.nrows()).map(|row| Way::start(row, vectors)).collect();
        let mut residual = vectors.to_owned();
        for level in &self.levels {
            let mut best = Vec::with_capacity(ways.len() * width);
            let mut number = 0;
            level.scores(residual.view(), |scores| {
                let way = &ways[number];
                if number == 0 || ways[number - 1].row != way.row {
                    best.push(Best::new(width));
                }
                let list = best.last_mut().expect("the first way of a row starts its list");
                scores.iter().enumerate().for_each(|(code, &score)| list.offer(way.distance + score, number, code));
                number += 1;
            });
            (ways, residual) = extend(&ways, residual.view(), level, &best);
        }
        for way in ways.iter().rev() {
            // The best way of a row comes first, so it is the last to be written.
            way.codes.iter().zip(found.column_mut(way.row)).for_each(|(&code, cell)| *cell = code);
        }
    }

    /// The vectors that codes stand for: the sum over levels.
    ///
    /// # Shapes
    /// `codes` is `[levels, n]`, where fewer levels than the quantizer has give the partial sum;
    /// returns `[n, d]`.
    ///
    /// # Panics
    /// If there are more levels than tables, or a code is not one of its table.
    pub fn decode(&self, codes: ArrayView2<'_, i32>) -> Array2<f32> {
        assert!(codes.nrows() <= self.levels.len(), "not more levels than tables");
        let mut vectors = Array2::zeros((codes.ncols(), self.dimension()));
        for (level, row) in self.levels.iter().zip(codes.rows()) {
            for (mut vector, &code) in vectors.rows_mut().into_iter().zip(row) {
                vector += &level.table().row(code as usize);
            }
        }
        vectors
    }
}

/// One way of coding a row so far.
struct Way {
    row: usize,
    /// Squared length of what is left over.
    distance: f32,
    codes: Vec<i32>,
}

impl Way {
    fn start(row: usize, vectors: ArrayView2<'_, f32>) -> Self {
        let vector = vectors.row(row);
        Way { row, distance: vector.dot(&vector), codes: Vec::new() }
    }
}

/// The candidates with the smallest distances, sorted; of equals the first offered stays first.
struct Best {
    width: usize,
    list: Vec<(f32, usize, usize)>,
}

impl Best {
    fn new(width: usize) -> Self {
        Best { width, list: Vec::with_capacity(width + 1) }
    }

    #[inline]
    fn offer(&mut self, distance: f32, way: usize, code: usize) {
        if self.list.len() == self.width && distance >= self.list[self.width - 1].0 {
            return;
        }
        let place = self.list.partition_point(|other| other.0 <= distance);
        self.list.insert(place, (distance, way, code));
        self.list.truncate(self.width);
    }
}

/// The chosen candidates as ways of their own, with their residuals.
fn extend(ways: &[Way], residual: ArrayView2<'_, f32>, level: &Codes, best: &[Best]) -> (Vec<Way>, Array2<f32>) {
    let chosen: Vec<_> = best.iter().flat_map(|list| &list.list).collect();
    let mut left = Array2::zeros((chosen.len(), residual.ncols()));
    let mut extended = Vec::with_capacity(chosen.len());
    for (&&(_, way, code), mut row) in chosen.iter().zip(left.rows_mut()) {
        row.assign(&residual.row(way));
        row -= &level.table().row(code);
        let mut codes = ways[way].codes.clone();
        codes.push(code as i32);
        extended.push(Way { row: ways[way].row, distance: row.dot(&row), codes });
    }
    (extended, left)
}

/// What is left of `vectors` after every level but `level` has been taken away: the data on which
/// that level alone can be averaged again.
///
/// # Shapes
/// `vectors` is `[n, d]`, `codes` is `[levels, n]`; returns `[n, d]`.
///
/// # Panics
/// If the shapes do not agree, or a code is not one of its table.
pub fn without_others(
    quantizer: &ResidualQuantizer,
    vectors: ArrayView2<'_, f32>,
    codes: ArrayView2<'_, i32>,
    level: usize,
) -> Array2<f32> {
    let mut left = &vectors - &quantizer.decode(codes);
    let row = codes.slice(s![level, ..]);
    for (mut vector, &code) in left.rows_mut().into_iter().zip(row) {
        vector += &quantizer.levels[level].table().row(code as usize);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
    }

    fn stack(rng: &mut ChaCha8Rng, levels: usize, codes: usize, d: usize) -> ResidualQuantizer {
        ResidualQuantizer::new((0..levels).map(|level| random(rng, codes, d) / (level + 1) as f32).collect())
    }

    fn error(quantizer: &ResidualQuantizer, x: &Array2<f32>, codes: &Array2<i32>) -> Vec<f32> {
        (x - &quantizer.decode(codes.view())).map_axis(Axis(1), |row| row.dot(&row)).to_vec()
    }

    /// Every combination of codes, tried one after another.
    fn exhaustive(quantizer: &ResidualQuantizer, x: &Array2<f32>) -> Vec<f32> {
        let codes = quantizer.levels[0].len();
        let all = codes.pow(quantizer.levels.len() as u32);
        let grid = Array2::from_shape_fn((quantizer.levels.len(), all), |(level, index)| {
            (index / codes.pow(level as u32) % codes) as i32
        });
        let decoded = quantizer.decode(grid.view());
        let distance = |row: ndarray::ArrayView1<'_, f32>| {
            decoded.rows().into_iter().map(|d| (&d - &row).mapv(|v| v * v).sum()).fold(f32::INFINITY, f32::min)
        };
        x.rows().into_iter().map(distance).collect()
    }

    #[test]
    fn beam_of_width_one_is_the_plain_search() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (n, codes, d) in [(0, 4, 3), (1, 4, 3), (33, 16, 5), (100, 7, 2)] {
            let quantizer = stack(&mut rng, 4, codes, d);
            let x = random(&mut rng, n, d);
            assert_eq!(quantizer.encode_beam(x.view(), 1), quantizer.encode(x.view()));
        }
    }

    #[test]
    fn beam_that_keeps_everything_finds_the_best_combination() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let quantizer = stack(&mut rng, 3, 5, 4);
        let x = random(&mut rng, 40, 4);
        let found = error(&quantizer, &x, &quantizer.encode_beam(x.view(), 25));
        for (found, best) in found.into_iter().zip(exhaustive(&quantizer, &x)) {
            assert!((found - best).abs() < 1e-5, "{found} is not {best}");
        }
    }

    #[test]
    fn beam_result_does_not_depend_on_the_neighbours() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let quantizer = stack(&mut rng, 4, 16, 6);
        let x = random(&mut rng, 70, 6);
        let whole = quantizer.encode_beam(x.view(), 4);
        for row in [0, 31, 32, 69] {
            let alone = quantizer.encode_beam(x.slice(s![row..row + 1, ..]), 4);
            assert_eq!(alone.column(0), whole.column(row));
        }
    }

    #[test]
    fn without_others_leaves_the_level_and_the_error() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let quantizer = stack(&mut rng, 3, 8, 4);
        let x = random(&mut rng, 20, 4);
        let codes = quantizer.encode(x.view());
        let left = without_others(&quantizer, x.view(), codes.view(), 1);
        let others =
            &x - &left + &quantizer.levels[1].table().select(Axis(0), &codes.row(1).mapv(|c| c as usize).to_vec());
        assert!((others - quantizer.decode(codes.view())).iter().all(|v| v.abs() < 1e-5));
    }
}
