//! Rows of numbers in memory, or in a file that is mapped.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::{Error, Result};

/// The largest number that a vector or a query may hold, so that no sum of products overflows.
pub(super) const LARGEST: f32 = 1e15;

/// The most dimensions that a vector may have.
const DIMENSIONS: usize = 1 << 16;

/// No vector of such numbers is longer.
pub(crate) const LONGEST: f64 = LARGEST as f64 * 256.0;

/// The numbers of a table, row by row.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// As they are.
    F32(&'a [f32]),
    /// Rounded to 11 bits.
    F16(&'a [f16]),
    /// A number of dimension k is this times `scales[k]`.
    I8 {
        /// The table.
        values: &'a [i8],
        /// One for each dimension.
        scales: &'a [f32],
    },
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
            Values::I8 { values, .. } => values.len(),
        }
    }

    /// Where the first number stands that is none, or is too large.
    fn first_bad(&self) -> Option<(usize, f32)> {
        let bad = |(place, value): (usize, f32)| (!is_good(value)).then_some((place, value));
        match self {
            Values::F32(values) => values.iter().copied().enumerate().find_map(bad),
            Values::F16(values) => values.iter().map(|value| value.to_f32()).enumerate().find_map(bad),
            Values::I8 { .. } => None,
        }
    }
}

/// Whether a number can be searched with.
pub(crate) fn is_good(value: f32) -> bool {
    value.abs() <= LARGEST
}

/// A table of vectors that others hold.
///
/// # Shapes
/// `[n, dimension]`, row-major.
///
/// # Examples
/// ```
/// use roundelay::vocab::search::{Index, Values, Vectors};
///
/// let words = [1.0, 0.0, 0.0, 1.0, 2.0, 2.0, -1.0, 0.5];
/// let index = Index::new(Vectors::new(Values::F32(&words), 2)?);
/// let found = index.exact(ndarray::array![[1.0, 0.1]].view(), 2, 1)?;
/// assert_eq!(found.ids, ndarray::array![[2, 0]]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    values: Values<'a>,
    dimension: usize,
    rows: usize,
    longest: f64,
}

impl<'a> Vectors<'a> {
    /// Reads the table once, to see that all of it are numbers.
    ///
    /// # Errors
    /// `Invalid` if it is empty, its length is no multiple of the dimension, scales are missing, or a value is not a
    /// number up to 1e15; `OverLimit` beyond 2^32 - 1 rows or 2^16 dimensions.
    pub fn new(values: Values<'a>, dimension: usize) -> Result<Self> {
        let mut vectors = Vectors::trusted(values, dimension, 0.0)?;
        if let Some((place, value)) = values.first_bad() {
            return Err(bad_value(place / dimension, place % dimension, value));
        }
        vectors.longest = (0..vectors.rows).map(|row| vectors.length(row)).fold(0.0, f64::max);
        Ok(vectors)
    }

    /// Takes the word of whoever wrote the table that no row is longer than `longest` and all are numbers: nothing of it
    /// is read. Rows that are not come out in no search, or where they should not.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for the values.
    pub fn trusted(values: Values<'a>, dimension: usize, longest: f64) -> Result<Self> {
        if dimension == 0 || values.len() == 0 {
            return Err(Error::invalid("vectors", "none, or of no dimension", "at least one number"));
        }
        if dimension > DIMENSIONS {
            return Err(Error::over_limit("dimensions of the vectors", dimension, DIMENSIONS));
        }
        if !values.len().is_multiple_of(dimension) {
            let expected = format!("a multiple of the {dimension} dimensions");
            return Err(Error::invalid("numbers of the vectors", values.len(), expected));
        }
        let rows = values.len() / dimension;
        if rows >= u32::MAX as usize {
            return Err(Error::over_limit("number of vectors", rows, u32::MAX - 1));
        }
        if !(0.0..=LONGEST).contains(&longest) {
            return Err(Error::invalid("length of the longest vector", longest, "a number of 0 or more"));
        }
        if let Values::I8 { scales, .. } = values {
            check_scales(scales, dimension)?;
        }
        Ok(Vectors { values, dimension, rows, longest })
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Never: a table has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Numbers of each vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Length of the longest vector.
    pub fn longest(&self) -> f64 {
        self.longest
    }

    /// The numbers.
    pub fn values(&self) -> Values<'a> {
        self.values
    }

    /// One vector, as numbers.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; self.dimension];
        self.copy_row(row, &mut numbers);
        numbers
    }

    /// Writes one vector where there is room for it.
    pub(super) fn copy_row(&self, row: usize, numbers: &mut [f32]) {
        let range = row * self.dimension..(row + 1) * self.dimension;
        match self.values {
            Values::F32(values) => numbers.copy_from_slice(&values[range]),
            Values::F16(values) => values[range].convert_to_f32_slice(numbers),
            Values::I8 { values, scales } => {
                let scaled = values[range].iter().zip(scales).map(|(&value, scale)| f32::from(value) * scale);
                numbers.iter_mut().zip(scaled).for_each(|(number, scaled)| *number = scaled);
            }
        }
    }

    /// For each of these rows the sum of weight times number over the dimensions in their order; scales are in the
    /// weights already.
    pub(super) fn scores<const R: usize>(&self, rows: [usize; R], weights: &[f64]) -> [f64; R] {
        let ranges = rows.map(|row| row * self.dimension..(row + 1) * self.dimension);
        match self.values {
            Values::F32(values) => sums(ranges.map(|range| &values[range]), weights, |value| value.into()),
            Values::F16(values) => sums(ranges.map(|range| &values[range]), weights, |value| value.into()),
            Values::I8 { values, .. } => sums(ranges.map(|range| &values[range]), weights, |value| value.into()),
        }
    }

    fn length(&self, row: usize) -> f64 {
        let range = row * self.dimension..(row + 1) * self.dimension;
        let square = |value: f64| value * value;
        let squares: f64 = match self.values {
            Values::F32(values) => values[range].iter().map(|&value| square(value.into())).sum(),
            Values::F16(values) => values[range].iter().map(|&value| square(value.into())).sum(),
            Values::I8 { values, scales } => {
                let scaled = values[range].iter().zip(scales);
                scaled.map(|(&value, &scale)| square(f64::from(value) * f64::from(scale))).sum()
            }
        };
        squares.sqrt()
    }
}

fn sums<T: Copy, const R: usize>(rows: [&[T]; R], weights: &[f64], number: impl Fn(T) -> f64) -> [f64; R] {
    let rows = rows.map(|row| &row[..weights.len()]);
    let mut sums = [0.0; R];
    for (k, weight) in weights.iter().enumerate() {
        sums.iter_mut().zip(rows).for_each(|(sum, row)| *sum += weight * number(row[k]));
    }
    sums
}

fn check_scales(scales: &[f32], dimension: usize) -> Result<()> {
    if scales.len() != dimension {
        return Err(Error::invalid("number of scales", scales.len(), format!("{dimension}, one for each dimension")));
    }
    match scales.iter().position(|&scale| !(is_good(scale) && scale >= 0.0)) {
        None => Ok(()),
        Some(place) => {
            Err(Error::invalid(format!("scale of dimension {place}"), scales[place], "a number from 0 to 1e15"))
        }
    }
}

/// The error of a value that is no number, or is too large.
pub(crate) fn bad_value(row: usize, dimension: usize, value: f32) -> Error {
    Error::invalid(
        format!("dimension {dimension} of vector {row}"),
        value,
        format!("a number up to {LARGEST:e} in size"),
    )
}
