//! Arrays that come from Python, as views of the memory that they lie in, and arrays that go there.

use ndarray::{Array, ArrayD, ArrayViewD, Dimension};
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use roundelay::token::Token;

/// Ids of one of the integer types.
pub enum Ids<'py> {
    I64(PyReadonlyArrayDyn<'py, i64>),
    I32(PyReadonlyArrayDyn<'py, i32>),
    I16(PyReadonlyArrayDyn<'py, i16>),
    U32(PyReadonlyArrayDyn<'py, u32>),
    U16(PyReadonlyArrayDyn<'py, u16>),
    U8(PyReadonlyArrayDyn<'py, u8>),
}

/// Does the same for ids of any type; `$view` is what is seen of them.
macro_rules! for_ids {
    ($ids:expr, $view:ident => $body:expr) => {
        match &$ids {
            $crate::array::Ids::I64(ids) => for_ids!(@one ids, $view => $body),
            $crate::array::Ids::I32(ids) => for_ids!(@one ids, $view => $body),
            $crate::array::Ids::I16(ids) => for_ids!(@one ids, $view => $body),
            $crate::array::Ids::U32(ids) => for_ids!(@one ids, $view => $body),
            $crate::array::Ids::U16(ids) => for_ids!(@one ids, $view => $body),
            $crate::array::Ids::U8(ids) => for_ids!(@one ids, $view => $body),
        }
    };
    (@one $ids:ident, $view:ident => $body:expr) => {{
        let $view = $ids.as_array();
        $body
    }};
}
pub(crate) use for_ids;

impl<'py> Ids<'py> {
    /// The ids of an array, a tensor on the processor, or whatever numpy makes an array of.
    pub fn of(source: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = untyped(source)?;
        macro_rules! first {
            ($array:expr, $($kind:ident)*) => {$(
                if let Some(ids) = view($array)? {
                    return Ok(Ids::$kind(ids));
                }
            )*};
        }
        first!(&array, I64 I32 I16 U32 U16 U8);
        let other = converted(array.clone())?;
        first!(&other, I64 I32 I16 U32 U16 U8);
        Err(PyTypeError::new_err(format!("the ids are {}, expected integers", array.dtype())))
    }
}

/// Ids of any type as the library keeps them.
pub fn stored(source: &Bound<'_, PyAny>) -> PyResult<ArrayD<i32>> {
    let ids = for_ids!(Ids::of(source)?, ids => wide(ids));
    match ids.iter().find(|&&id| i32::try_from(id).is_err()) {
        None => Ok(ids.mapv(|id| id as i32)),
        Some(id) => Err(PyValueError::new_err(format!("an id is {id}, expected one of 32 bits"))),
    }
}

/// Ids of any type as the widest.
pub fn wide<A: Token>(ids: ArrayViewD<A>) -> ArrayD<i64> {
    ids.mapv(Into::into)
}

/// With so many axes as are wanted.
pub fn shaped<A, D: Dimension>(what: &str, array: ArrayD<A>) -> PyResult<Array<A, D>> {
    let (found, expected) = (array.ndim(), D::NDIM.unwrap_or_default());
    let wrong = |_| PyValueError::new_err(format!("the {what} have {found} axes, expected {expected}"));
    array.into_dimensionality().map_err(wrong)
}

/// The floats of an array.
pub fn floats<'py>(source: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
    let array = untyped(source)?;
    match view(&array)? {
        Some(floats) => Ok(floats),
        None => Err(PyTypeError::new_err(format!("the values are {}, expected float32", array.dtype()))),
    }
}

/// As an array of numpy's, without a copy where there can be one without.
fn untyped<'py>(source: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = source.cast::<PyUntypedArray>() {
        return checked(array.clone());
    }
    let py = source.py();
    let array = match from_torch(source)? {
        Some(_) => source.call_method0(intern!(py, "numpy")).map_err(|e| unseen(py, &e))?,
        None if source.hasattr(intern!(py, "__dlpack__"))? => {
            py.import("numpy")?.call_method1(intern!(py, "from_dlpack"), (source,))?
        }
        None => py.import("numpy")?.call_method1(intern!(py, "asarray"), (source,))?,
    };
    checked(array.cast_into()?)
}

/// What a view may have.
const MOST_AXES: usize = 32;

fn checked<'py>(array: Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if array.ndim() > MOST_AXES {
        let found = array.ndim();
        return Err(PyValueError::new_err(format!("the array has {found} axes, expected at most {MOST_AXES}")));
    }
    if !array.is_exact_instance_of::<PyUntypedArray>() && array.hasattr(intern!(array.py(), "mask"))? {
        return Err(PyTypeError::new_err("the array has a mask, expected one without: fill what is masked"));
    }
    Ok(array)
}

/// PyTorch's own reason, and what would be seen.
fn unseen(py: Python<'_>, error: &PyErr) -> PyErr {
    let reason = error.value(py);
    PyTypeError::new_err(format!(
        "{reason}; expected a tensor on the processor, without gradient, of a type of numpy's"
    ))
}

/// What cannot be seen as it lies, as something that can: other orders of bytes, int8 as int16, uint64 as int64, and an
/// empty list, of which numpy says float64, as int64. The rest stays.
fn converted<'py>(array: Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let (py, dtype) = (array.py(), array.dtype());
    let seen_as = match (dtype.kind(), dtype.itemsize()) {
        (b'i', 1) => PyString::new(py, "int16").into_any(),
        (b'u', 8) => {
            check_fits(&array)?;
            PyString::new(py, "int64").into_any()
        }
        (b'f', 8) if array.len() == 0 => PyString::new(py, "int64").into_any(),
        _ => dtype.call_method1(intern!(py, "newbyteorder"), ("=",))?,
    };
    Ok(array.call_method1(intern!(py, "astype"), (seen_as,))?.cast_into()?)
}

fn check_fits(array: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    if array.len() == 0 {
        return Ok(());
    }
    let most = array.call_method0(intern!(array.py(), "max"))?;
    match most.gt(i64::MAX)? {
        false => Ok(()),
        true => Err(PyValueError::new_err(format!("an id is {most}, expected one that int64 holds"))),
    }
}

/// PyTorch's function that makes tensors of arrays, if this is a tensor.
fn from_torch<'py>(source: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static TENSOR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static FROM_NUMPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = source.py();
    // Not imported for those who have no tensors.
    if TENSOR.get(py).is_none() && source.get_type().module()?.to_string().split('.').next() != Some("torch") {
        return Ok(None);
    }
    if !source.is_instance(TENSOR.import(py, "torch", "Tensor")?)? {
        return Ok(None);
    }
    FROM_NUMPY.import(py, "torch", "from_numpy").map(|from_numpy| Some(from_numpy.clone()))
}

/// The array if it is one of this type; a copy of it where its items do not lie in step with their size.
fn view<'py, A: Element>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Option<PyReadonlyArrayDyn<'py, A>>> {
    let Ok(array) = array.cast::<PyArrayDyn<A>>() else { return Ok(None) };
    let in_step = array.strides().iter().all(|stride| stride % size_of::<A>() as isize == 0);
    let array = match in_step && array.data().is_aligned() {
        true => array.clone(),
        false => array.call_method0(intern!(array.py(), "copy"))?.cast_into()?,
    };
    let lent = |e: numpy::BorrowError| PyValueError::new_err(e.to_string());
    Ok(Some(array.try_readonly().map_err(lent)?))
}

/// Gives results as what they were made of: tensors if the source is one, else arrays.
pub struct Alike<'py> {
    pub py: Python<'py>,
    from_torch: Option<Bound<'py, PyAny>>,
}

impl<'py> Alike<'py> {
    pub fn to(source: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Alike { py: source.py(), from_torch: from_torch(source)? })
    }

    /// A new array, every cell of which is to be written: its numbers are whatever lies in the memory.
    pub fn unwritten<A: Element>(&self, shape: &impl Dimension) -> PyResult<PyReadwriteArrayDyn<'py, A>> {
        static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let shape = PyTuple::new(self.py, shape.slice())?;
        let array = EMPTY.import(self.py, "numpy", "empty")?.call1((shape, numpy::dtype::<A>(self.py)))?;
        Ok(array.cast_into::<PyArrayDyn<A>>()?.readwrite())
    }

    /// The same, if it is wanted.
    pub fn unwritten_if<A: Element>(
        &self,
        wanted: bool,
        shape: &impl Dimension,
    ) -> PyResult<Option<PyReadwriteArrayDyn<'py, A>>> {
        wanted.then(|| self.unwritten(shape)).transpose()
    }

    /// A new mask to write to: all false, as not every byte is a truth.
    pub fn unset(&self, shape: &impl Dimension) -> PyReadwriteArrayDyn<'py, bool> {
        PyArrayDyn::zeros(self.py, shape.slice(), false).readwrite()
    }

    /// Without a copy.
    pub fn give<A: Element>(&self, array: ArrayD<A>) -> PyResult<Py<PyAny>> {
        self.written(PyArrayDyn::from_owned_array(self.py, array).readwrite())
    }

    /// A new array that is written now.
    pub fn written<A: Element>(&self, array: PyReadwriteArrayDyn<'py, A>) -> PyResult<Py<PyAny>> {
        let array = array.as_any().clone();
        match &self.from_torch {
            Some(from_numpy) => Ok(from_numpy.call1((array,))?.unbind()),
            None => Ok(array.unbind()),
        }
    }

    /// The same, if there is any.
    pub fn written_if<A: Element>(&self, array: Option<PyReadwriteArrayDyn<'py, A>>) -> PyResult<Option<Py<PyAny>>> {
        array.map(|array| self.written(array)).transpose()
    }
}
