//! Every input of the fuzz targets that is kept, replayed on a plain compiler: seeds, and what fuzzing has found.
//!
//! ```text
//! fuzz/corpus/words/*                 seeds: whole files, and damaged ones, that each reach another branch
//! fixtures/regressions/words/*        finds: each once made the target panic, hang or fill the memory
//! ```
#![cfg(feature = "io")]

use std::fs;
use std::path::{Path, PathBuf};

use roundelay::io::PartReader;

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// Seeds of a target at least; with fewer, files are missing or this test looks in the wrong place.
const SEEDS: usize = 15;

/// Runs a target over its files, of which there are `finds` besides the seeds.
fn replay(target: &str, finds: usize, check: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = files(&root.join("fuzz/corpus").join(target));
    let found = files(&root.join("fixtures/regressions").join(target));
    assert!(seeds.len() >= SEEDS, "{target}: {} seeds", seeds.len());
    assert!(found.len() >= finds, "{target}: {} finds, expected {finds}", found.len());
    for path in seeds.iter().chain(&found) {
        // The name of the last one is shown if it fails.
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
    }
}

/// Files of a folder, sorted; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn layouts() {
    replay("layout", 0, bodies::layout);
}

#[test]
fn kyutai_configs() {
    replay("kyutai", 0, bodies::kyutai);
}

#[test]
fn tokenizers() {
    replay("tokenizer", 0, bodies::tokenizer);
}

#[test]
fn words_files() {
    replay("words", 0, bodies::words);
}

#[test]
fn jmoshi_files() {
    replay("jmoshi", 0, bodies::jmoshi);
}

#[test]
fn whisperx_files() {
    replay("whisperx", 0, bodies::whisperx);
}

#[test]
fn textgrid_files() {
    replay("textgrid", 0, bodies::textgrid);
}

#[test]
fn ctm_files() {
    replay("ctm", 0, bodies::ctm);
}

#[test]
fn lhotse_files() {
    replay("lhotse", 0, bodies::lhotse);
}

#[test]
fn rttm_files() {
    replay("rttm", 0, bodies::rttm);
}

#[test]
fn tensor_files() {
    replay("tensors", 0, bodies::tensors);
}

#[test]
fn parts() {
    replay("parts", 5, bodies::parts);
}

/// That these are quick and take little memory shows in what they are refused for: what they claim, and not what came of
/// it.
#[test]
fn parts_that_claim_too_much_are_refused_for_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/regressions/parts");
    for (name, expected) in [
        ("page_claims_2_gib", "size of a page of column \"id\" is 2147483647, over the limit of 154, out of 7 bytes"),
        (
            "runs_of_70_million_rows_in_every_column",
            "number of rows of a row group is 70000000, over the limit of 4194304",
        ),
        (
            "schema_nested_10000_deep_overflows_the_stack",
            "columns and groups in the schema is 10001, over the limit of 256",
        ),
        (
            "schema_of_two_billion_children_allocates_16_gib",
            "children of a group in the schema is 2147483647, over the",
        ),
    ] {
        let part = PartReader::open(&folder.join(format!("{name}.parquet")));
        let error = part.and_then(|mut part| part.try_for_each(|segment| segment.map(drop))).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn recordings() {
    replay("wav", 0, bodies::wav);
}

#[test]
fn pattern_options() {
    replay("pattern", 0, bodies::pattern);
}

#[test]
fn delays_and_their_inverse() {
    replay("roundtrip", 0, bodies::roundtrip);
}
