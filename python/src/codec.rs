//! Samples <-> codes.

use ndarray::{Ix1, Ix2};
use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use roundelay::Frames;
use roundelay::codec::Codec as _;
use roundelay::codec::builtin::Builtin;

use crate::array::{floats, shaped, stored};
use crate::error::OrRaise;

/// The codec that is embedded: for trying things out, not for models. It hears one channel.
#[pyclass(frozen, module = "roundelay")]
pub struct Codec(Builtin);

#[pymethods]
impl Codec {
    #[new]
    #[pyo3(signature = (name = "builtin"))]
    fn new(name: &str) -> PyResult<Self> {
        match name {
            "builtin" => Ok(Codec(Builtin::new())),
            _ => Err(PyValueError::new_err(format!("codec is {name:?}, expected \"builtin\""))),
        }
    }

    #[getter]
    fn sample_rate(&self) -> u32 {
        self.0.spec().sample_rate
    }

    /// Frames a second, as a `fractions.Fraction`.
    #[getter]
    fn frame_rate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("fractions")?.call_method1("Fraction", (self.0.spec().frame_rate.to_string(),))
    }

    #[getter]
    fn codebooks(&self) -> usize {
        self.0.spec().codebooks
    }

    #[getter]
    fn cardinality(&self) -> usize {
        self.0.spec().cardinality
    }

    /// Which tables it has: codes of another identity mean other sounds.
    #[getter]
    fn identity(&self) -> &str {
        &self.0.spec().identity
    }

    /// Codes int32 `[codebook, frame]` of samples float32 `[sample]` at `sample_rate`, full scale -1 to 1.
    fn encode<'py>(&self, samples: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        let (py, given) = (samples.py(), floats(samples)?);
        let samples = shaped::<_, Ix1>("samples", given.as_array().to_owned())?.to_vec();
        Ok(py.detach(|| self.0.encode(&samples)).or_raise()?.0.into_pyarray(py))
    }

    /// Samples float32 `[sample]` of codes `[codebook, frame]`; the last codebooks may be missing or absent (-1).
    fn decode<'py>(&self, codes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let (py, codes) = (codes.py(), shaped::<_, Ix2>("codes", stored(codes)?)?);
        Ok(py.detach(|| self.0.decode(Frames(codes.view()))).or_raise()?.into_pyarray(py))
    }

    fn __repr__(&self) -> String {
        let spec = self.0.spec();
        let (name, codebooks, cardinality) = (&spec.name, spec.codebooks, spec.cardinality);
        format!("Codec {name}: {codebooks} codebooks of {cardinality} at {:?}", spec.frame_rate)
    }
}
