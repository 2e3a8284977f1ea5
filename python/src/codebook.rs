//! How codes are used.

use ndarray::ArrayD;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundelay::codebook::Threshold;
use serde_json::Value;

use crate::array::{Ids, for_ids, wide};
use crate::data::parsed;
use crate::layout::options;

/// How often each code of a codebook occurs: counts, and what they come to.
///
/// Entropy is in bits, perplexity is 2 to the power of it; the Gini coefficient is 0 where all codes are used alike.
#[pyclass(module = "roundelay")]
pub struct Usage(roundelay::codebook::Usage);

/// The threshold of dead codes: one of `count`, `share` and `ratio`; a count of 1 unless given.
pub fn threshold(given: Option<&Bound<'_, PyDict>>) -> PyResult<Threshold> {
    match options(given)? {
        none if none.is_empty() => Ok(Threshold::Count(1.0)),
        given => parsed("threshold of dead codes", Value::Object(given)),
    }
}

#[pymethods]
impl Usage {
    #[new]
    fn new(cardinality: usize) -> Self {
        Usage(roundelay::codebook::Usage::new(cardinality))
    }

    /// Counts codes of any shape; absent ones are left out.
    fn add(&mut self, codes: &Bound<'_, PyAny>) -> PyResult<()> {
        let ids = Ids::of(codes)?;
        let codes: ArrayD<i64> = for_ids!(ids, ids => wide(ids));
        let cardinality = self.0.counts().len();
        let wrong = codes.iter().position(|&code| code >= 0 && code as usize >= cardinality);
        if let Some(at) = wrong {
            let code = codes.iter().nth(at).expect("it was found there");
            let message = format!("the code at position {at} is {code}, expected one below {cardinality}");
            return Err(PyValueError::new_err(message));
        }
        codes.into_iter().filter(|&code| code >= 0).for_each(|code| self.0.add(code as usize));
        Ok(())
    }

    /// Adds what another count of the same codebook saw.
    fn merge(&mut self, other: &Usage) -> PyResult<()> {
        let [mine, theirs] = [&self.0, &other.0].map(|usage| usage.counts().len());
        if mine != theirs {
            return Err(PyValueError::new_err(format!("the other codebook has {theirs} codes, expected {mine}")));
        }
        self.0.merge(&other.0);
        Ok(())
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.0.counts().to_vec().into_pyarray(py)
    }

    #[getter]
    fn total(&self) -> u64 {
        self.0.total()
    }

    /// Codes that occur.
    #[getter]
    fn used(&self) -> usize {
        self.0.used()
    }

    #[getter]
    fn entropy(&self) -> f64 {
        self.0.entropy()
    }

    #[getter]
    fn perplexity(&self) -> f64 {
        self.0.perplexity()
    }

    /// The share of the most used code.
    #[getter]
    fn max_share(&self) -> f64 {
        self.0.max_share()
    }

    #[getter]
    fn gini(&self) -> f64 {
        self.0.gini()
    }

    /// Codes that occur less than `count` times (1 unless given), than a `share` of all, or than a `ratio` of what each
    /// would have if all were used alike.
    #[pyo3(signature = (**below))]
    fn dead(&self, below: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<usize>> {
        Ok(self.0.dead(threshold(below)?))
    }

    fn __repr__(&self) -> String {
        let (used, codes, total) = (self.0.used(), self.0.counts().len(), self.0.total());
        format!("Usage: {used} of {codes} codes in {total}, perplexity {:.1}", self.0.perplexity())
    }
}
