//! The command line as a process.

use std::path::Path;
use std::process::{Command, Output};

pub fn roundelay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roundelay")).args(arguments).output().unwrap()
}

/// Standard output of a call that must succeed.
pub fn succeeds(arguments: &[&str]) -> String {
    let output = roundelay(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Standard error of a call that must fail with this status.
pub fn fails(status: i32, arguments: &[&str]) -> String {
    let output = roundelay(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
    assert!(error.starts_with("error:") && !error.contains("panicked"), "{error}");
    error
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
