//! Reading recorded vectors, for every test that compares against a peer.
#![allow(dead_code, reason = "each test binary uses its own part")]

#[cfg(feature = "cli")]
pub mod program;

#[path = "../../src/strategies.rs"]
pub mod strategies;

use std::fs;
use std::path::PathBuf;

use ndarray::ArrayD;
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A fixture's bytes, which must be those that were recorded.
pub fn recorded(name: &str, sha256: &str) -> Vec<u8> {
    let bytes = fs::read(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, sha256, "{name} is not the file that was recorded");
    bytes
}

/// A family of recorded cases.
pub struct Recorded {
    cases: Value,
    tensors: Vec<u8>,
}

impl Recorded {
    /// Both files of a family, which must have these SHA-256.
    pub fn read(name: &str, [cases, tensors]: [&str; 2]) -> Self {
        let cases = recorded(&format!("reference/{name}.json"), cases);
        Recorded { cases: json(&cases), tensors: recorded(&format!("reference/{name}.safetensors"), tensors) }
    }

    pub fn tensors(&self) -> Tensors<'_> {
        Tensors::new(&self.tensors)
    }

    /// All cases, which are the whole file or a part of it.
    pub fn all(&self) -> &[Value] {
        self.cases.as_array().or(self.cases["cases"].as_array()).unwrap()
    }

    /// The cases of one operation.
    pub fn of<'a>(&'a self, op: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all().iter().filter(move |case| case["op"] == op)
    }
}

/// Kyutai's delay and training forward.
pub fn moshi_delay() -> Recorded {
    let cases = "5ac6571f476a71e6c96014ae9d7483d05019931715cfef3a33c90dc6149e86fd";
    Recorded::read("moshi/delay", [cases, "8a734d0d29492b6742b6abafa474999723b3bdb1d13e6028ca35b46a60984367"])
}

/// J-Moshi's sequences, chunks, labels and batches.
pub fn jmoshi() -> Recorded {
    let cases = "f385584a7cbc4bac297a5cdc37f4f8e172f72e02a4273804e95a12ea8cc6c03a";
    Recorded::read("jmoshi/jmoshi", [cases, "7af89deed462df54163ca7b6adb9cee72316338648f8b3f408b1709dff57db61"])
}

/// The published models' own code.
pub fn published() -> Recorded {
    let cases = "e0021a2564942b3058bca05aa8a9343768b9493fe61cb5f0fcf7392f771c19f9";
    Recorded::read("hf/hf", [cases, "886c32df0dab960749505c799b9be75797329bf60a15f30ef35e0ce0ea280dec"])
}

pub fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub struct Tensors<'a>(SafeTensors<'a>);

impl<'a> Tensors<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Tensors(SafeTensors::deserialize(bytes).unwrap())
    }

    pub fn i64(&self, key: &str) -> ArrayD<i64> {
        self.read(key, |bytes: [u8; 8]| i64::from_le_bytes(bytes))
    }

    pub fn f32(&self, key: &str) -> ArrayD<f32> {
        self.read(key, f32::from_le_bytes)
    }

    pub fn f64(&self, key: &str) -> ArrayD<f64> {
        self.read(key, f64::from_le_bytes)
    }

    pub fn bool(&self, key: &str) -> ArrayD<bool> {
        self.read(key, |byte: [u8; 1]| byte[0] != 0)
    }

    fn read<T, const N: usize>(&self, key: &str, value: impl Fn([u8; N]) -> T) -> ArrayD<T> {
        let tensor = self.0.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        let values = tensor.data().chunks_exact(N).map(|bytes| value(bytes.try_into().unwrap())).collect();
        ArrayD::from_shape_vec(tensor.shape(), values).unwrap_or_else(|e| panic!("{key}: {e}"))
    }
}
