//! Where vectors come from.

use std::path::Path;

use half::{bf16, f16};
use ndarray::{ArrayView2, s};
use safetensors::Dtype;

use super::mapped::Mapped;
use crate::error::{Error, Result};

/// Rows of numbers that can be read from any of them on, by several threads at once.
pub trait VectorSource: Sync {
    /// How many rows there are.
    fn vectors(&self) -> usize;

    /// Numbers of each row.
    fn dimension(&self) -> usize;

    /// Reads the rows from `first` on: as many as `rows` has room for, which are there.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn read(&self, first: usize, rows: &mut [f32]) -> Result<()>;
}

impl VectorSource for ArrayView2<'_, f32> {
    fn vectors(&self) -> usize {
        self.nrows()
    }

    fn dimension(&self) -> usize {
        self.ncols()
    }

    fn read(&self, first: usize, rows: &mut [f32]) -> Result<()> {
        rows.iter_mut().zip(self.slice(s![first.., ..])).for_each(|(value, source)| *value = *source);
        Ok(())
    }
}

/// A tensor of a `.safetensors` file, which is mapped: f32, f16, bf16 or i8, taken as they are.
#[derive(Debug)]
pub struct TensorRows {
    file: Mapped,
    name: String,
    dtype: Dtype,
    shape: [usize; 2],
}

impl TensorRows {
    /// The tensor of this name; without one, the only tensor of the file.
    ///
    /// # Errors
    /// `Io`, `Malformed`; `Invalid` if there is no such tensor, or several to choose from, or it is not `[N, D]` with at
    /// least one row, or of another type.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Self> {
        TensorRows::of(path, name).map_err(|e| e.in_file(path.display()))
    }

    fn of(path: &Path, name: Option<&str>) -> Result<Self> {
        let file = Mapped::open(path)?;
        let names = file.names();
        let name = match (name, names.as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [only]) => only.clone(),
            (None, several) => {
                let found = if several.is_empty() { "none".to_owned() } else { several.join(", ") };
                return Err(Error::invalid("tensors of the file", found, "one, or the name of one"));
            }
        };
        let info = file.info(&name)?;
        let dtype = info.dtype;
        if ![Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I8].contains(&dtype) {
            let found = format!("{dtype:?}");
            return Err(Error::invalid(format!("type of tensor `{name}`"), found, "F32, F16, BF16 or I8"));
        }
        let shape = match info.shape.as_slice() {
            &[rows, columns] if rows > 0 && columns > 0 => [rows, columns],
            other => {
                return Err(Error::invalid(
                    format!("shape of tensor `{name}`"),
                    format!("{other:?}"),
                    "[N, D], not empty",
                ));
            }
        };
        let source = TensorRows { file, name, dtype, shape };
        // Whatever cannot be read is known now.
        source.read(0, &mut [])?;
        Ok(source)
    }

    fn copy<T: bytemuck::AnyBitPattern>(
        &self,
        first: usize,
        rows: &mut [f32],
        number: impl Fn(T) -> f32,
    ) -> Result<()> {
        let values = self.file.numbers::<T>(&self.name, self.dtype)?;
        let values = &values[first * self.shape[1]..][..rows.len()];
        rows.iter_mut().zip(values).for_each(|(row, &value)| *row = number(value));
        Ok(())
    }
}

impl VectorSource for TensorRows {
    fn vectors(&self) -> usize {
        self.shape[0]
    }

    fn dimension(&self) -> usize {
        self.shape[1]
    }

    fn read(&self, first: usize, rows: &mut [f32]) -> Result<()> {
        match self.dtype {
            Dtype::F16 => self.copy(first, rows, f16::to_f32),
            Dtype::BF16 => self.copy(first, rows, bf16::to_f32),
            Dtype::I8 => self.copy(first, rows, |value: i8| value.into()),
            _ => self.copy(first, rows, |value: f32| value),
        }
    }
}
