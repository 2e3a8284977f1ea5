//! Opens the files of codecs.

use std::path::Path;

#[cfg(feature = "builtin")]
use crate::codec::{Builtin, builtin::Tables};
#[cfg(feature = "mimi")]
use crate::codec::{Mimi, mimi::MimiOptions};
use crate::error::Result;
use crate::io::files;

/// Bytes of a file of Mimi's weights; the published one has 385 million.
#[cfg(feature = "mimi")]
const MAX_MIMI: u64 = 1 << 30;

/// Bytes of a file of the embedded codec's tables; those that come with the crate have about a million.
#[cfg(feature = "builtin")]
const MAX_TABLES: u64 = 1 << 26;

/// Mimi with the weights of a safetensors file.
///
/// # Errors
/// `Io`; `OverLimit` for a file of more than 1 GiB; else those of [`Mimi::new`].
#[cfg(feature = "mimi")]
pub fn open_mimi(path: &Path, options: MimiOptions) -> Result<Mimi> {
    let weights = files::read(path, "file of Mimi's weights", MAX_MIMI)?;
    Mimi::new(&weights, options).map_err(|e| e.in_file(path.display()))
}

/// The embedded codec with tables of one's own.
///
/// # Errors
/// `Io`; `OverLimit` for a file of more than 64 MiB; else those of [`Tables::parse`].
#[cfg(feature = "builtin")]
pub fn open_builtin(path: &Path) -> Result<Builtin> {
    let tables = files::read(path, "file of codec tables", MAX_TABLES)?;
    let tables = Tables::parse(&tables).map_err(|e| e.in_file(path.display()))?;
    Ok(Builtin::with_tables(tables))
}
