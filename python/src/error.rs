//! Errors as Python's exceptions, with their own messages.

use std::io;
use std::path::Path;

use pyo3::PyErr;
use pyo3::exceptions::{PyNotImplementedError, PyOSError, PyValueError};
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
