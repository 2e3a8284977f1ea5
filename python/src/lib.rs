//! roundelay for Python: numpy arrays and tensors in, numpy arrays and tensors out.
//!
//! ```text
//! Python object ── array ──> view of its memory ── roundelay, without the interpreter's lock ──> array ── alike ──> numpy or torch
//! ```
//! Documentation is here, and is what `help` shows; types are in `roundelay/_roundelay.pyi`.

mod array;
mod codebook;
mod codec;
mod data;
mod delay;
mod error;
mod joint;
mod kyutai;
mod layout;
mod line;
mod prep;
mod shift;
mod text;
mod weights;

#[pyo3::pymodule]
mod _roundelay {
    #[pymodule_export]
    use super::codebook::Usage;
    #[pymodule_export]
    use super::codec::Codec;
    #[pymodule_export]
    use super::data::{Batches, Dataset, Loader};
    #[pymodule_export]
    use super::delay::{Built, Delay, Undone, jmoshi_labels};
    #[pymodule_export]
    use super::joint::Joint;
    #[pymodule_export]
    use super::kyutai::{first_not_before, kyutai_window, kyutai_windows};
    #[pymodule_export]
    use super::layout::{Layout, Stream};
    #[pymodule_export]
    use super::line::{DelayLine, KyutaiLine, UndelayLine};
    #[pymodule_export]
    use super::prep::{merge, prep};
    #[pymodule_export]
    use super::text::{TextRow, Tokenizer, Word, Words, words_from_row};
    #[pymodule_export]
    use super::weights::{Policy, Training, Weights, reason_names};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("ABSENT", roundelay::token::ABSENT)?;
        module.add("UNGENERATED", roundelay::token::UNGENERATED)
    }
}
