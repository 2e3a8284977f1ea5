#![no_main]

use std::panic::PanicHookInfo;

// libFuzzer's hook ends the process at the first panic, also at one that is caught. `PartReader` catches those of the
// Parquet crate, which asserts what a damaged page breaks; so only panics from elsewhere end the process here. One of
// the Parquet crate that nobody catches still does: libfuzzer-sys aborts on a panic that reaches it.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(judge)), |bytes: &[u8]| roundelay_fuzz::parts(bytes));

fn judge(panic: &PanicHookInfo<'_>) {
    let file = panic.location().map_or("", |location| location.file());
    let of_a_dependency = file.contains("/registry/src/") || file.starts_with("/rustc/");
    if !of_a_dependency {
        eprintln!("{panic}");
        std::process::abort();
    }
}
