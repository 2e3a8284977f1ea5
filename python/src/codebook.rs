//! How codes are used.

use ndarray::ArrayViewD;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundelay::codebook::Threshold;
use roundelay::token::Token;
use serde_json::Value;

use crate::array::{Ids, for_ids};
use crate::data::parsed;
use crate::error::limited;
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
    fn new(cardinality: usize) -> PyResult<Self> {
        limited("cardinality", cardinality).map(roundelay::codebook::Usage::new).map(Usage)
    }

    /// Counts codes of any shape; absent ones are left out.
    fn add(&mut self, codes: &Bound<'_, PyAny>) -> PyResult<()> {
        let ids = Ids::of(codes)?;
        let wrong = for_ids!(ids, ids => codes.py().detach(|| self.count(ids)));
        let Some((at, code)) = wrong else { return Ok(()) };
        let below = self.0.counts().len();
        Err(PyValueError::new_err(format!("the code at position {at} is {code}, expected one below {below}")))
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

impl Usage {
    /// Nothing is counted if a code is none of the codebook: its position and what it is.
    fn count<A: Token>(&mut self, codes: ArrayViewD<A>) -> Option<(usize, i64)> {
        let codes = || codes.iter().map(|&code| code.into());
        let cardinality = self.0.counts().len() as i64;
        let wrong = codes().enumerate().find(|&(_, code)| code >= cardinality);
        if wrong.is_none() {
            codes().filter(|&code| code >= 0).for_each(|code| self.0.add(code as usize));
        }
        wrong
    }
}
