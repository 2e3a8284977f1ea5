//! One batch over all workers: which rows there are, what each code's rows add up to, and rows by their number.
//!
//! ```text
//! worker 0   rows 0 1 2            value 0.75, scale 2^41     1649267441664      the same integers whoever adds them,
//! worker 1   rows 3 4                                                            so the same sums to the last bit
//! worker 2   rows 5 6 7 8
//! ```

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2};

use super::collective::{Collective, Digest, check_alike, gather};
use super::nearest::Codes;
use crate::error::{Error, Result};

/// Largest value that a vector may hold: squares of larger ones leave the range of `f32`.
pub(super) const LARGEST: f32 = 1e15;

/// The rows of all workers, of which this one holds some.
pub(super) struct Batch<'a> {
    vectors: CowArray<'a, f32, Ix2>,
    /// The first row of each worker, and the end.
    starts: Vec<usize>,
    rank: usize,
    /// Largest absolute value of all rows.
    largest: f32,
}

/// What the rows of a batch add up to, code by code.
pub(super) struct Totals {
    /// The codes of this worker's rows.
    pub codes: Vec<usize>,
    /// How many rows each code has.
    pub sizes: Vec<u64>,
    /// Their sums, `[codes, d]`.
    pub sums: Array2<f64>,
    /// Mean squared difference of a value and its code's.
    pub error: f64,
}

impl<'a> Batch<'a> {
    /// Agrees with the other workers on which rows there are, and that all mean the same by them.
    ///
    /// Whatever is wrong with one worker's rows is an error for all: nobody goes on alone.
    pub fn new(
        vectors: CowArray<'a, f32, Ix2>,
        width: usize,
        digest: Digest,
        workers: &mut dyn Collective,
    ) -> Result<Self> {
        let vectors = contiguous(vectors);
        let largest = largest(vectors.view(), width);
        let mine = largest
            .as_ref()
            .map_or([1, 0, 0, 0], |largest| [0, vectors.nrows() as i64, digest.number(), largest.to_bits().into()]);
        let all = gather(workers, mine)?;
        largest?;
        if let Some(rank) = all.iter().position(|&[refused, ..]| refused != 0) {
            let expected = format!("{width} numbers up to {LARGEST:e} in each");
            return Err(Error::invalid(format!("vectors of worker {rank}"), "something that it refused", expected));
        }
        check_alike("codebook, rule or seed", all.iter().map(|&[_, _, digest, _]| digest))?;
        // Bits of floats that are not negative are in the order of the floats.
        let largest = all.iter().map(|&[.., bits]| f32::from_bits(bits as u32)).fold(0.0, f32::max);
        let ends = all.iter().scan(0, |end, &[_, rows, ..]| {
            *end += rows as usize;
            Some(*end)
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        if starts.last() == Some(&0) {
            return Err(Error::invalid("number of vectors of all workers", 0, "at least 1"));
        }
        Ok(Batch { vectors, starts, rank: workers.rank(), largest })
    }

    /// How many rows all workers hold.
    pub fn len(&self) -> usize {
        *self.starts.last().expect("the starts end with the end")
    }

    /// This worker's rows.
    pub fn own(&self) -> ArrayView2<'_, f32> {
        self.vectors.view()
    }

    /// Assigns every row to its nearest code and adds the rows of each code up.
    pub fn totals(&self, table: &Codes, workers: &mut dyn Collective) -> Result<Totals> {
        let codes = table.nearest(self.own());
        let distances = self.distances(&codes, table);
        let farthest = largest_of_all(&distances, workers)?;
        let (value, distance) = (Fixed::new(self.largest, self.len()), Fixed::new(farthest, self.len()));
        let (count, width) = (table.len(), table.dimension());
        let mut all = vec![0; count * width + count + 1];
        let (sums, rest) = all.split_at_mut(count * width);
        self.add_rows(&codes, value, sums);
        codes.iter().for_each(|&code| rest[code] += 1);
        rest[count] = distances.iter().map(|&own| distance.of(own)).sum();
        workers.all_reduce(&mut all)?;
        let error =
            distance.back(all.pop().expect("the last number is the error")) / (self.len() * width.max(1)) as f64;
        let sizes = all.split_off(count * width).into_iter().map(|size| size as u64).collect();
        let sums = all.into_iter().map(|sum| value.back(sum)).collect();
        let sums = Array2::from_shape_vec((count, width), sums).expect("a sum for each value of the table");
        Ok(Totals { codes, sizes, sums, error })
    }

    /// Squared distance of each own row from its code.
    fn distances(&self, codes: &[usize], table: &Codes) -> Vec<f32> {
        let table = table.table();
        let rows = self.vectors.rows().into_iter().zip(codes);
        rows.map(|(row, &code)| squared_distance(row, table.row(code))).collect()
    }

    /// Adds each own row to the sums of its code.
    fn add_rows(&self, codes: &[usize], fixed: Fixed, sums: &mut [i64]) {
        let width = self.vectors.ncols();
        for (row, &code) in self.vectors.rows().into_iter().zip(codes) {
            let sums = &mut sums[code * width..][..width];
            sums.iter_mut().zip(slice(row)).for_each(|(sum, &value)| *sum += fixed.of(value));
        }
    }

    /// The rows of these numbers, wherever they are.
    ///
    /// # Errors
    /// `Invalid` if the workers ask for different rows, or for one that is not there.
    pub fn fetch(&self, rows: &[usize], workers: &mut dyn Collective) -> Result<Array2<f32>> {
        let digest = rows.iter().fold(Digest::of(&"rows"), |digest, &row| digest.add(row as u64));
        check_alike("draw of rows", gather(workers, [digest.number()])?.into_iter().flatten())?;
        if let Some(&row) = rows.iter().find(|&&row| row >= self.len()) {
            return Err(Error::invalid("row that was drawn", row, format!("a row below {}", self.len())));
        }
        let mut fetched = Array2::zeros((rows.len(), self.vectors.ncols()));
        for (rank, range) in self.starts.windows(2).enumerate() {
            let places: Vec<usize> =
                (0..rows.len()).filter(|&place| (range[0]..range[1]).contains(&rows[place])).collect();
            if places.is_empty() {
                continue;
            }
            let mut part = Array2::zeros((places.len(), self.vectors.ncols()));
            if rank == self.rank {
                let own: Vec<usize> = places.iter().map(|&place| rows[place] - range[0]).collect();
                part = self.vectors.select(Axis(0), &own);
            }
            workers.broadcast(rank, part.as_slice_mut().expect("a new array is contiguous"))?;
            places.iter().zip(part.rows()).for_each(|(&place, row)| fetched.row_mut(place).assign(&row));
        }
        Ok(fetched)
    }
}

/// The same numbers, row by row in memory.
fn contiguous(vectors: CowArray<'_, f32, Ix2>) -> CowArray<'_, f32, Ix2> {
    if vectors.is_standard_layout() { vectors } else { vectors.as_standard_layout().into_owned().into() }
}

/// The largest absolute value, where all are numbers and not too large.
fn largest(vectors: ArrayView2<'_, f32>, width: usize) -> Result<f32> {
    if vectors.ncols() != width {
        return Err(Error::invalid("width of the vectors", vectors.ncols(), width));
    }
    let values = vectors.as_slice().expect("made contiguous");
    // As integers, the bits of what is not a number are above those of all numbers; and of integers, processors compare
    // many at once.
    let bits = |value: &f32| value.abs().to_bits();
    let largest = f32::from_bits(values.iter().map(bits).fold(0, u32::max));
    if largest <= LARGEST {
        return Ok(largest);
    }
    let bad = values.iter().position(|value| bits(value) > LARGEST.to_bits()).expect("one is too large");
    let what = format!("value {} of vector {}", bad % width, bad / width);
    Err(Error::invalid(what, values[bad], format!("a number up to {LARGEST:e} in size")))
}

/// The largest of all workers' numbers, of which none is below 0.
pub(super) fn largest_of_all(own: &[f32], workers: &mut dyn Collective) -> Result<f32> {
    let own = own.iter().copied().fold(0.0, f32::max);
    let all = gather(workers, [own.to_bits().into()])?;
    Ok(all.iter().map(|&[bits]| f32::from_bits(bits as u32)).fold(0.0, f32::max))
}

/// A row's values.
fn slice(row: ArrayView1<'_, f32>) -> &[f32] {
    row.to_slice().expect("rows of a row-major matrix are contiguous")
}

/// Squared distance of two rows of row-major matrices, always added in the same order.
pub(super) fn squared_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    const LANES: usize = 8;
    let (a, b) = (slice(a).as_chunks::<LANES>(), slice(b).as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            lanes[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
        }
    }
    let rest: f32 = a.1.iter().zip(b.1).map(|(a, b)| (a - b) * (a - b)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Numbers as multiples of a power of two that is so small that nothing of an `f32` near the largest is lost, and so
/// large that a given number of them can be added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fixed {
    scale: f64,
}

impl Fixed {
    /// Adding this, a number below 2^51 ends up in the low bits, rounded.
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64;

    /// For `count` numbers up to `largest` in size.
    pub fn new(largest: f32, count: usize) -> Self {
        let room = 62 - (count as u64).next_power_of_two().ilog2().min(61) as i64;
        // Every f32 but 0 is a normal f64, whose exponent stands in these bits; it is that of the next power of two.
        let exponent = (f64::from(largest).to_bits() >> 52) as i64 - 1022;
        let power = room.min(51) - exponent;
        Fixed { scale: if largest > 0.0 { f64::from_bits(((1023 + power) as u64) << 52) } else { 1.0 } }
    }

    /// The nearest multiple. One addition instead of a conversion, of which processors do many at once.
    #[inline]
    pub fn of(self, value: f32) -> i64 {
        let shifted = f64::from(value) * self.scale + Self::SHIFT;
        shifted.to_bits() as i64 - Self::SHIFT.to_bits() as i64
    }

    /// What a multiple stands for.
    pub fn back(self, multiple: i64) -> f64 {
        multiple as f64 / self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebook::Alone;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn fixed_numbers_are_exact_near_the_largest_and_fit_when_added() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for exponent in [-149, -126, -20, 0, 3, 49] {
            let largest = 2.0f64.powi(exponent) as f32 * 1.5;
            for count in [1, 3, 1000, 1 << 20] {
                let fixed = Fixed::new(largest, count);
                for _ in 0..100 {
                    let value = largest * rng.random_range(-1.0..=1.0);
                    assert!(fixed.of(value).checked_mul(count as i64).is_some(), "{value} {count} times");
                    let lost = (fixed.back(fixed.of(value)) - f64::from(value)).abs();
                    assert!(lost <= f64::from(largest) * 2.0f64.powi(-40), "{value} of {largest}, {count} times");
                    assert!(value.abs() < largest / 4.0 || lost == 0.0, "{value} of {largest}, {count} times");
                }
            }
        }
        assert_eq!(Fixed::new(0.0, 5).of(0.0), 0);
    }

    #[test]
    fn squared_distance_is_that_of_a_plain_loop() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for width in 0..40 {
            let rows = Array2::from_shape_simple_fn((2, width), || rng.random_range(-1.0f32..1.0));
            let plain: f32 = (&rows.row(0) - &rows.row(1)).mapv(|value| value * value).sum();
            assert!((squared_distance(rows.row(0), rows.row(1)) - plain).abs() < 1e-5);
        }
    }

    #[test]
    fn rows_in_any_layout_are_the_same_batch() {
        let x = Array2::from_shape_fn((7, 3), |(i, j)| (i * 3 + j) as f32);
        let columns = x.t().as_standard_layout().into_owned();
        let table = Codes::new(x.select(Axis(0), &[0, 5]));
        let sums = |x: ArrayView2<'_, f32>| {
            Batch::new(x.into(), 3, Digest::of(&1), &mut Alone).unwrap().totals(&table, &mut Alone).unwrap().sums
        };
        assert_eq!(sums(x.view()), sums(columns.t()));

        let by_columns = Codes::new(table.table().t().as_standard_layout().into_owned().reversed_axes());
        let batch = Batch::new(x.view().into(), 3, Digest::of(&1), &mut Alone).unwrap();
        assert_eq!(batch.totals(&by_columns, &mut Alone).unwrap().sums, sums(x.view()));
    }
}
