//! Errors as Python's exceptions, with their own messages.

use std::io;
use std::path::Path;

use pyo3::exceptions::{PyNotImplementedError, PyOSError, PyValueError};
use pyo3::{PyErr, PyResult};
use roundelay::{Error, ErrorKind};

/// A `roundelay` result as Python sees it.
pub trait OrRaise<T> {
    /// `OSError` where the system refused, `NotImplementedError` for what is understood and not handled, else
    /// `ValueError`.
    fn or_raise(self) -> Result<T, PyErr>;
}

impl<T> OrRaise<T> for roundelay::Result<T> {
    fn or_raise(self) -> Result<T, PyErr> {
        self.map_err(exception)
    }
}

fn exception(error: Error) -> PyErr {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::Io { .. } => PyOSError::new_err(message),
        ErrorKind::Unsupported { .. } => PyNotImplementedError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}

/// What a file holds.
pub fn read<'a, T>(path: &'a Path, how: impl FnOnce(&'a Path) -> io::Result<T>) -> Result<T, PyErr> {
    how(path).map_err(|e| PyOSError::new_err(format!("cannot read {}: {e}", path.display())))
}

/// More than anybody has, and less than memory holds.
const MOST: usize = 1 << 28;

/// A number that memory or time is taken for.
pub fn limited(what: &str, number: usize) -> PyResult<usize> {
    match number <= MOST {
        true => Ok(number),
        false => Err(PyValueError::new_err(format!("{what} is {number}, expected at most {MOST}"))),
    }
}

/// A time in seconds, or another measure that must not be negative.
pub fn measure(what: &str, value: f64) -> PyResult<f64> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(PyValueError::new_err(format!("{what} is {value}, expected a number of 0 or more"))),
    }
}
