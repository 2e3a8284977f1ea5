//! Reading recorded vectors, for every test that compares against a peer.
#![allow(dead_code, reason = "each test binary uses its own part")]

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
