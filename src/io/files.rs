//! Files that appear whole or not at all.
//!
//! ```text
//! .roundelay-Xy12.tmp  -- write, sync -->  rename  -->  part-00000.parquet
//! ```
//!
//! A run killed at any moment leaves a temporary file, which no reader looks at and [`remove_leftovers`] deletes.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

const PREFIX: &str = ".roundelay-";
const SUFFIX: &str = ".tmp";

/// A file under a temporary name in the folder it is for; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: NamedTempFile,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Seal {
    pub sha256: String,
    pub bytes: u64,
}

impl Sealed {
    pub fn create(path: &Path) -> Result<Self> {
        let path = &target(path)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // Temporary files are private by default; these become the user's, with the rights that the umask leaves.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder_of(path))
            .map_err(|e| Error::io("create a file in the folder", e).in_file(path.display()))?;
        Ok(Sealed { file, path: path.to_owned(), hash: Sha256::new(), bytes: 0 })
    }

    /// The SHA-256 of what was written so far, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex(self.hash.clone())
    }

    /// The file itself, for whoever writes here and there; what is written so counts for neither hash nor size.
    pub fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file its name once its bytes are on the disk.
    pub fn seal(self) -> Result<Seal> {
        let failed = |e| Error::io("write the file", e).in_file(self.path.display());
        self.file.as_file().sync_all().map_err(failed)?;
        self.file.persist(&self.path).map_err(|e| failed(e.error))?;
        sync_folder(folder_of(&self.path)).map_err(failed)?;
        Ok(Seal { sha256: hex(self.hash), bytes: self.bytes })
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.as_file_mut().write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// The file that is to be written: where a link leads, and never a pipe, a device or a folder, which a rename would
/// replace.
fn target(path: &Path) -> Result<PathBuf> {
    let Ok(there) = std::fs::metadata(path) else { return Ok(path.to_owned()) };
    if !there.is_file() {
        let error = Error::invalid("output", "a folder, pipe or device", "a regular file, or a name that is free");
        return Err(error.in_file(path.display()));
    }
    path.canonicalize().map_err(|e| Error::io("follow the link", e).in_file(path.display()))
}

/// Writes a file through a temporary one beside it.
///
/// # Errors
/// `Io`; an older file of that name is then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Sealed::create(path)?;
    file.write_all(bytes).map_err(|e| Error::io("write the file", e).in_file(path.display()))?;
    file.seal().map(drop)
}

/// Writes a value as indented JSON with a newline at the end, through a temporary file.
///
/// # Errors
/// `Io`, or `Malformed` if the value has no JSON form.
pub fn write_json_atomic<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::malformed("value for a JSON file", e).in_file(path.display()))?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

/// Holds a folder for one process by a file in it, until what is returned is dropped or the process ends, however it
/// ends: the system lets go of a dead process's locks.
///
/// # Errors
/// `Invalid` if another process holds it; `Io`.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let failed = |e| Error::io("lock the output folder", e).in_file(path.display());
    let file = File::create(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::invalid("output folder", "in use by another run", "one run at a time").in_file(path.display()))
        }
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// `Io`.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(hash)),
            Ok(read) => hash.update(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read the file", e).in_file(path.display())),
        }
    }
}

/// Deletes the temporary files that a killed run left in a folder, and returns how many there were.
///
/// Only for a folder that no other run is writing to.
///
/// # Errors
/// `Io`.
pub fn remove_leftovers(folder: &Path) -> Result<usize> {
    let failed = |e| Error::io("clear the folder of temporary files", e).in_file(folder.display());
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(is_leftover) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a file of this name is a temporary one.
pub(crate) fn is_leftover(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Opens a file for reading; a folder is refused here, where the message can still say so.
pub(crate) fn open(path: &Path) -> Result<File> {
    let failed = |e| Error::io("open the file", e).in_file(path.display());
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

/// Reads a text file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, what: &str, limit: u64) -> Result<String> {
    String::from_utf8(read(path, what, limit)?).map_err(|e| Error::malformed(what, e).in_file(path.display()))
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::with_capacity(size.min(limit) as usize);
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(format!("read the {what}"), e).in_file(path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(Error::over_limit(format!("size of the {what}"), "larger", format!("{limit} bytes"))
            .in_file(path.display()));
    }
    Ok(bytes)
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// The SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// 96 bits of a hash, in 12 bytes: for sets of names that may be many millions.
pub(crate) fn short_hash(name: &str) -> [u32; 3] {
    let hash = sha256(name.as_bytes());
    [0, 4, 8].map(|at| u32::from_le_bytes(*hash[at..].first_chunk().expect("32 bytes hold 12")))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A rename is on the disk once its folder is. Windows cannot open a folder, and needs no such thing.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_leaves_nothing_and_a_sealed_one_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        drop(Sealed::create(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_atomic(&path, b"abc").unwrap();
        write_atomic(&path, b"abc").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(sha256_of_file(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::write(folder.path().join(".roundelay-x.tmp"), "half").unwrap();
        assert_eq!(remove_leftovers(folder.path()).unwrap(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_the_file() {
        let error = write_atomic(Path::new("/nowhere/at/all.txt"), b"").unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at/all.txt: cannot create a file"), "{error}");
        let error = sha256_of_file(Path::new("/")).unwrap_err();
        assert!(error.to_string().starts_with("/: cannot open the file"), "{error}");
    }
}
