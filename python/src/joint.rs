//! Several vocabularies in one id space.

use ndarray::ArrayD;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundelay::vocab;

use crate::array::{Alike, Ids, for_ids};
use crate::error::OrRaise;
use crate::layout::{json, layout};

/// Named vocabularies in one id space, such as text and the codes of audio.
///
/// `Joint.disjoint({"text": 32000, "audio": 2048})` lays them one after another, `Joint.shared` all from 0 on,
/// `Joint.of_layout` has a part for each stream; `Joint.preset(name)` is a published one, `Joint.from_json` any map.
#[pyclass(frozen, eq, module = "roundelay")]
#[derive(PartialEq)]
pub struct Joint(vocab::Joint);

#[pymethods]
impl Joint {
    #[staticmethod]
    fn disjoint(parts: &Bound<'_, PyDict>) -> PyResult<Self> {
        Joint::made(parts, vocab::Joint::disjoint)
    }

    #[staticmethod]
    fn shared(parts: &Bound<'_, PyDict>) -> PyResult<Self> {
        Joint::made(parts, vocab::Joint::shared)
    }

    /// A part for each stream, of its name and cardinality, behind the parts of `front`.
    #[staticmethod]
    #[pyo3(signature = (layout, front = None))]
    fn of_layout(layout: &Bound<'_, PyAny>, front: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let front = front.cloned().unwrap_or_else(|| PyDict::new(layout.py()));
        let layout = self::layout(layout)?;
        Joint::made(&front, |front| vocab::Joint::of_layout(&layout, front))
    }

    /// The names of the vocabularies that are built in.
    #[staticmethod]
    fn presets() -> Vec<&'static str> {
        vocab::Joint::presets().collect()
    }

    #[staticmethod]
    fn preset(name: &str) -> PyResult<Self> {
        vocab::Joint::preset(name).map(Joint).or_raise()
    }

    /// From the JSON form, as text or as a dictionary.
    #[staticmethod]
    fn from_json(joint: &Bound<'_, PyAny>) -> PyResult<Self> {
        vocab::Joint::from_json(&json(joint)?).map(Joint).or_raise()
    }

    /// The JSON form.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// Number of joint ids.
    #[getter]
    fn size(&self) -> usize {
        self.0.size()
    }

    /// Sizes of the parts, by name, in order.
    #[getter]
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let parts = PyDict::new(py);
        self.0.parts().iter().try_for_each(|part| parts.set_item(part.name(), part.size()))?;
        Ok(parts)
    }

    /// A part's own ids, of any shape, as joint ids (int64); absent and ungenerated ones stay what they are.
    fn encode(&self, part: &str, ids: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (given, like, part) = (Ids::of(ids)?, Alike::to(ids)?, self.0.part(part).or_raise()?);
        let joint: ArrayD<i64> = for_ids!(given, view => ids.py().detach(|| part.encode(&view)).or_raise()?);
        like.give(joint)
    }

    /// Joint ids as a part's own ids (int64): the inverse of `encode`.
    fn decode(&self, part: &str, joint: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (given, like, part) = (Ids::of(joint)?, Alike::to(joint)?, self.0.part(part).or_raise()?);
        let ids: ArrayD<i64> = for_ids!(given, view => joint.py().detach(|| part.decode(&view)).or_raise()?);
        like.give(ids)
    }

    /// True at the joint ids of a part.
    fn mask<'py>(&self, py: Python<'py>, part: &str) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let part = self.0.part(part).or_raise()?;
        Ok(py.detach(|| part.mask()).into_pyarray(py))
    }

    /// Joint ids that are of both parts.
    fn shared_ids(&self, py: Python<'_>, one: &str, other: &str) -> PyResult<Vec<u32>> {
        py.detach(|| self.0.shared_ids(one, other)).or_raise()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Joint>().getattr("from_json")?, (self.to_json(),)))
    }

    fn __len__(&self) -> usize {
        self.0.size()
    }

    fn __repr__(&self) -> String {
        let parts: Vec<_> = self.0.parts().iter().map(|part| format!("{} {}", part.name(), part.size())).collect();
        format!("Joint of {} ids: {}", self.0.size(), parts.join(", "))
    }
}

impl Joint {
    fn made(
        parts: &Bound<'_, PyDict>,
        make: impl FnOnce(&[(&str, usize)]) -> roundelay::Result<vocab::Joint>,
    ) -> PyResult<Self> {
        let one = |(name, size): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let size = size
                .extract()
                .map_err(|_| PyValueError::new_err(format!("the size of {name} is {size}, expected a count")));
            Ok((name.extract::<String>()?, size?))
        };
        let parts = parts.iter().map(one).collect::<PyResult<Vec<_>>>()?;
        let parts: Vec<_> = parts.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        make(&parts).map(Joint).or_raise()
    }
}
