//! A trainer behind the pipe, in Rust: any backend becomes one by `serve`.
//!
//! ```sh
//! cargo build --release --example reference_trainer
//! roundelay train DIR --trainer target/release/examples/reference_trainer
//! ```

use std::io::{stdin, stdout};

#[cfg(not(feature = "testing"))]
use roundelay::backend::serve;
#[cfg(feature = "testing")]
use roundelay::backend::serve_scoring as serve;
use roundelay::backend::{BatchSpec, Reference, ReferenceOptions};
use roundelay::{Error, Result};
use serde_json::Value;

fn main() -> Result<()> {
    serve(reference, stdin(), stdout())
}

fn reference(spec: &BatchSpec, options: &Value) -> Result<Reference> {
    let options: ReferenceOptions =
        serde_json::from_value(options.clone()).map_err(|e| Error::malformed("options", e))?;
    Reference::new(spec, options)
}
