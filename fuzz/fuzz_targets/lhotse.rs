#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay_fuzz::lhotse(bytes));
