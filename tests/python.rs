//! The Python package's own tests, where there is a Python that it runs on.

use std::process::Command;

#[test]
fn the_python_package_passes_its_tests() {
    let fits = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    if !Command::new("python3").args(["-c", fits]).status().is_ok_and(|status| status.success()) {
        eprintln!("no Python 3.10 or later with venv: the Python package is not tested");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check-python");
    assert!(Command::new(script).status().expect("the script is there").success());
}
