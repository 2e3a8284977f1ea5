//! Short recordings drawn by number: codes and words, among them what gives events and what cannot be used.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array3;
use roundelay::Layout;
use roundelay::io::{CodeSource, DatasetInfo, PrepOptions, prep, tensors};
use serde_json::json;

pub struct Corpus {
    pub folder: tempfile::TempDir,
}

/// Numbers that look random, the same each time.
pub fn draw(n: usize, salt: u64) -> usize {
    let mut x = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 27)) >> 33) as usize
}

impl Corpus {
    /// So many recordings of two speakers, of 2 to 10 s. Every thirteenth lacks its codes, every fifth its length in the
    /// manifest, which has a line that is no JSON as well.
    pub fn new(recordings: usize) -> Self {
        let corpus = Corpus { folder: tempfile::tempdir().unwrap() };
        let mut lines: Vec<_> = (0..recordings).map(|n| corpus.add(n)).collect();
        lines.insert(recordings / 2, "no JSON".into());
        fs::write(corpus.manifest(), lines.join("\n")).unwrap();
        corpus
    }

    /// Writes a recording, and returns its line.
    fn add(&self, n: usize) -> String {
        let frames = 25 + draw(n, 1) % 101;
        if n % 13 != 7 {
            let code = |(c, q, t)| (draw(1000 * n + t, 8 * c as u64 + q as u64) % 2048) as i64;
            let codes = Array3::from_shape_fn((2, 8, frames), code);
            tensors::write(&self.at(&format!("{n}.safetensors")), &[("audio_codes", codes.into_dyn().into())]).unwrap();
        }
        let speaker = |i: usize| if draw(n, i as u64).is_multiple_of(3) { "SPEAKER_OTHER" } else { "SPEAKER_MAIN" };
        let time = |i: usize| (draw(n + i, 2) % 30 + 40 * i) as f64 / 100.0;
        let word = |i| json!([format!("word{i}"), [time(i), time(i) + 0.2], speaker(i)]);
        let words: Vec<_> = (0..frames / 5).map(word).collect();
        fs::write(self.at(&format!("{n}.json")), json!({ "alignments": words }).to_string()).unwrap();
        let mut line = json!({ "path": format!("{n}.wav"), "number": n });
        if !n.is_multiple_of(5) {
            line["duration"] = json!((8 * frames) as f64 / 100.0);
        }
        line.to_string()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn manifest(&self) -> PathBuf {
        self.at("data.jsonl")
    }

    pub fn options(&self) -> PrepOptions {
        let layout = Layout::preset("moshi-7b").unwrap();
        let mut options = PrepOptions::new(layout, Some(tokenizer()), CodeSource::Files { suffix: None });
        options.part_recordings = 5;
        options
    }

    pub fn prep(&self, name: &str, options: &PrepOptions) -> DatasetInfo {
        prep(&self.manifest(), &self.at(name), options, &mut |_| Ok(())).unwrap()
    }
}

pub fn tokenizer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tokenizers/small_unigram_2000.model")
}

/// Names and bytes of all files in a folder.
pub fn folder_bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| {
            assert!(entry.file_type().unwrap().is_file(), "{:?} is no file", entry.path());
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort_unstable();
    files
}

/// Says which file differs: the bytes themselves are too many to print.
#[track_caller]
pub fn assert_same(found: &Path, expected: &Path) {
    let (found, expected) = (folder_bytes(found), folder_bytes(expected));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert!(found == expected, "{name} differs");
    }
}
