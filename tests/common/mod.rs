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

/// Cases and tensors of Kyutai's delay and training forward.
pub fn moshi_delay() -> (Value, Vec<u8>) {
    let cases =
        recorded("reference/moshi/delay.json", "5ac6571f476a71e6c96014ae9d7483d05019931715cfef3a33c90dc6149e86fd");
    let tensors = recorded(
        "reference/moshi/delay.safetensors",
        "8a734d0d29492b6742b6abafa474999723b3bdb1d13e6028ca35b46a60984367",
    );
    (json(&cases), tensors)
}

/// Cases and tensors of J-Moshi's sequences, chunks, labels and batches.
pub fn jmoshi() -> (Value, Vec<u8>) {
    let cases =
        recorded("reference/jmoshi/jmoshi.json", "f385584a7cbc4bac297a5cdc37f4f8e172f72e02a4273804e95a12ea8cc6c03a");
    let tensors = recorded(
        "reference/jmoshi/jmoshi.safetensors",
        "7af89deed462df54163ca7b6adb9cee72316338648f8b3f408b1709dff57db61",
    );
    (json(&cases), tensors)
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
