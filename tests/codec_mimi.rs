//! Mimi beside the crate that it is made of, and files of weights that are not what they should be.
//!
//! The weights are seeded and as large as the published ones: this is for a release build.
#![cfg(all(feature = "mimi", feature = "io"))]

mod common;
#[path = "common/mimi.rs"]
mod mimi;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use candle_core::{DType, Device, IndexOp, Tensor};
use common::fixture;
use moshi::streaming::{StreamMask, StreamTensor};
use ndarray::{Array2, Axis, concatenate, s};
use roundelay::Frames;
use roundelay::codec::mimi::{MimiOptions, Way};
use roundelay::codec::{Codec, Mimi};
use roundelay::io::read_audio;
use serde_json::Value;

static WEIGHTS: LazyLock<Vec<u8>> = LazyLock::new(|| mimi::weights(0));
static MIMI: LazyLock<Mimi> = LazyLock::new(|| Mimi::new(&WEIGHTS, MimiOptions::default()).unwrap());
static WHOLE: LazyLock<Mimi> =
    LazyLock::new(|| Mimi::new(&WEIGHTS, MimiOptions { way: Way::Whole, ..MimiOptions::default() }).unwrap());
/// Moshi's own, used as its programs do.
static PEER: LazyLock<moshi::mimi::Mimi> = LazyLock::new(|| {
    let vb = candle_nn::VarBuilder::from_slice_safetensors(&WEIGHTS, DType::F32, &Device::Cpu).unwrap();
    moshi::mimi::Mimi::new(moshi::mimi::Config::v0_1(Some(8)), vb).unwrap()
});

const FRAME: usize = 1920;

fn sound(name: &str) -> Vec<Vec<f32>> {
    read_audio(&fixture(&format!("recordings/wav/{name}.wav"))).unwrap().channels
}

fn tensor(samples: &[f32]) -> Tensor {
    Tensor::from_slice(samples, (1, 1, samples.len()), &Device::Cpu).unwrap()
}

fn codes(tensor: &Tensor) -> Array2<i32> {
    let rows = tensor.i(0).unwrap().to_vec2::<u32>().unwrap();
    let flat = rows.iter().flatten().map(|&code| code as i32).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), flat).unwrap()
}

/// What Moshi makes of a recording as it comes in, a frame at a time.
fn peer_steps(samples: &[f32]) -> Array2<i32> {
    let mut peer = PEER.clone();
    let step = |frame: &[f32]| {
        let found = peer.encode_step(&tensor(frame).into(), &StreamMask::empty()).unwrap();
        codes(found.as_option().unwrap())
    };
    let frames: Vec<_> = samples.chunks_exact(FRAME).map(step).collect();
    concatenate(Axis(1), &frames.iter().map(|frame| frame.view()).collect::<Vec<_>>()).unwrap()
}

fn peer_whole(samples: &[f32]) -> Array2<i32> {
    codes(&PEER.clone().encode(&tensor(samples)).unwrap())
}

#[test]
fn codes_are_the_crates_own_streaming_and_whole() {
    // 12.64 s: what the transformer sees is full after 10 s.
    let samples = &sound("librivox_pauses_mono")[0];
    let (streamed, whole) = (MIMI.encode(samples).unwrap().0, WHOLE.encode(samples).unwrap().0);
    assert_eq!(streamed.dim(), (8, 158));
    assert_eq!(streamed, peer_steps(samples));
    assert_eq!(whole, peer_whole(samples));
    assert_eq!(streamed.slice(s![.., ..125]), whole.slice(s![.., ..125]), "10 s");
    let distinct: BTreeSet<_> = streamed.row(7).iter().copied().collect();
    assert!(distinct.len() > 50, "the weights tell frames apart: {} codes", distinct.len());
}

#[test]
fn the_last_frame_is_filled_up_with_zeros() {
    let speech = &sound("mary_bobby_stereo")[0][10_000..];
    let chunk = 5 * FRAME;
    let lengths = [0, 1, 240, 1919, 1920, 1921, 3839, 3840, 3841, chunk - 1, chunk, chunk + 1];
    for length in lengths {
        let frames = length.div_ceil(FRAME);
        let mut filled = speech[..length].to_vec();
        filled.resize(frames * FRAME, 0.0);
        let streamed = MIMI.encode(&speech[..length]).unwrap().0;
        let whole = WHOLE.encode(&speech[..length]).unwrap().0;
        assert_eq!(streamed.dim(), (8, frames), "{length} samples");
        assert_eq!(streamed, whole, "{length} samples");
        if frames > 0 {
            assert_eq!(streamed, peer_whole(&filled), "{length} samples");
        }
    }
    // Left to itself the crate rounds up too, and gives other codes to some recordings that end within a frame.
    let differs = |rest: &usize| {
        let (cut, filled) = (&speech[..FRAME + rest], [&speech[..FRAME + rest], &vec![0.0; FRAME - rest]].concat());
        assert_eq!(peer_whole(cut).dim(), (8, 2));
        peer_whole(cut) != peer_whole(&filled)
    };
    assert!([1, 100, 300, 700, 1000, 1300, 1900].iter().any(differs));
}

#[test]
fn channels_are_coded_as_if_alone() {
    let channels = sound("mary_bobby_stereo");
    let [left, right] = [&channels[0][..40_000], &channels[1][..40_000]];
    let alone = [MIMI.encode(left).unwrap(), MIMI.encode(right).unwrap()];
    assert_ne!(alone[0], alone[1]);
    assert_eq!(MIMI.encode_all(&[left, right]).unwrap(), alone);
    assert_eq!(MIMI.encode_all(&[right, left, right]).unwrap()[1], alone[0]);
    assert_eq!(MIMI.encode_all(&[left, &right[..1920]]).unwrap()[0], alone[0], "of unlike lengths");
    assert!(MIMI.encode_all(&[]).unwrap().is_empty());
    let many = Mimi::new(&WEIGHTS, MimiOptions { codebooks: 32, ..MimiOptions::default() }).unwrap();
    let deep = many.encode(left).unwrap().0;
    assert_eq!((deep.dim(), deep.slice(s![..8, ..])), ((32, 21), alone[0].0.view()));
    assert_eq!(many.choices()["codebooks"], 32);
    let one = Mimi::new(&WEIGHTS, MimiOptions { codebooks: 1, ..MimiOptions::default() }).unwrap();
    let shallow = one.encode(left).unwrap().0;
    assert_eq!(shallow, alone[0].0.slice(s![..1, ..]));
    assert_eq!(one.decode(Frames(shallow.view())).unwrap().len(), 21 * FRAME);
}

fn noise(frames: usize) -> Array2<i32> {
    Array2::from_shape_fn((8, frames), |(q, t)| ((q * 977 + t * 1361 + 7) % 2048) as i32)
}

fn decode(codes: &Array2<i32>) -> Vec<f32> {
    MIMI.decode(Frames(codes.view())).unwrap()
}

#[test]
fn sound_is_the_crates_own() {
    // 10.4 s, beyond what the transformer sees.
    let codes = noise(130);
    let mut peer = PEER.clone();
    let step = |frame: usize| {
        let column: Vec<u32> = codes.column(frame).iter().map(|&code| code as u32).collect();
        let column = Tensor::from_vec(column, (1, 8, 1), &Device::Cpu).unwrap();
        let sound = peer.decode_step(&StreamTensor::from_tensor(column), &StreamMask::empty()).unwrap();
        sound.as_option().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let expected: Vec<f32> = (0..130).flat_map(step).collect();
    let found = decode(&codes);
    assert_eq!(found.len(), 130 * FRAME);
    let loudest = expected.iter().fold(0f32, |most, sample| most.max(sample.abs()));
    let apart = found.iter().zip(&expected).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(loudest > 1e-3 && apart <= 1e-5 * loudest, "{apart} apart, loudest {loudest}");
}

#[test]
fn levels_may_be_absent_and_frames_too() {
    let all = noise(7);
    let fewer = all.slice(s![..3, ..]).to_owned();
    let mut absent = all.clone();
    absent.slice_mut(s![3.., ..]).fill(-1);
    assert_eq!(decode(&absent), decode(&fewer));
    assert_ne!(decode(&absent), decode(&all));
    absent.column_mut(2).fill(-1);
    let sound = decode(&absent);
    assert!(sound[2 * FRAME..3 * FRAME].iter().all(|&sample| sample == 0.0));
    assert!(sound[3 * FRAME + 100..].iter().any(|&sample| sample != 0.0));
    assert_eq!(decode(&Array2::from_elem((8, 2), -1)), vec![0.0; 2 * FRAME]);
    assert_eq!(decode(&Array2::zeros((0, 3))), vec![0.0; 3 * FRAME]);
    assert!(decode(&Array2::zeros((8, 0))).is_empty());
}

#[test]
fn what_is_no_code_and_no_sound_is_told() {
    let refused = |codes: Array2<i32>| MIMI.decode(Frames(codes.view())).unwrap_err().to_string();
    let with = |q: usize, t: usize, code: i32| {
        let mut codes = noise(4);
        codes[[q, t]] = code;
        refused(codes)
    };
    let range = "expected 0..2048, or -1 from some level on";
    assert_eq!(with(5, 3, 2048), format!("frame 3: code of level 5 is 2048, {range}"));
    assert_eq!(with(0, 1, -2), format!("frame 1: code of level 0 is -2, {range}"));
    assert_eq!(with(2, 0, -1), format!("frame 0: code of level 2 is -1, {range}"));
    assert_eq!(refused(Array2::zeros((9, 2))), "number of codebooks is 9, expected at most 8");
    let mut samples = vec![0.1; 5000];
    samples[4000] = f32::NAN;
    let error = MIMI.encode(&samples).unwrap_err().to_string();
    assert_eq!(error, "frame 2: sample 4000 is NaN, expected a finite number");
    samples[4000] = f32::MAX;
    let error = MIMI.encode(&samples).unwrap_err().to_string();
    assert!(error.starts_with("frame 0: what Mimi's network gives is "), "{error}");
    let error = WHOLE.encode(&vec![0.0; 3751 * FRAME]).unwrap_err().to_string();
    assert_eq!(error, "frames to be encoded as a whole is 3751, over the limit of 3750");
}

/// The header and the numbers of the weights.
fn parts() -> (Value, &'static [u8]) {
    let length = u64::from_le_bytes(*WEIGHTS.first_chunk().unwrap()) as usize;
    (serde_json::from_slice(&WEIGHTS[8..8 + length]).unwrap(), &WEIGHTS[8 + length..])
}

/// The weights with other names.
fn renamed(rename: impl Fn(&str) -> String) -> Vec<u8> {
    let (header, data) = parts();
    let renamed = header.as_object().unwrap().iter().map(|(name, entry)| (rename(name), entry.clone())).collect();
    mimi::file(&Value::Object(renamed), data)
}

/// The weights with another entry for a tensor.
fn described(name: &str, key: &str, value: Value) -> Vec<u8> {
    let (mut header, data) = parts();
    header[name][key] = value;
    mimi::file(&header, data)
}

/// The weights with numbers of a tensor, from its first on, replaced.
fn overwritten(name: &str, numbers: &[f32]) -> Vec<u8> {
    let (header, data) = parts();
    let start = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut data = data.to_vec();
    for (n, number) in numbers.iter().enumerate() {
        data[start + 4 * n..][..4].copy_from_slice(&number.to_le_bytes());
    }
    mimi::file(&header, &data)
}

#[test]
fn damaged_files_are_told_apart() {
    let first = "decoder.model.0.conv.conv";
    let zeros = vec![0.0; 512 * 7];
    let cases: [(&str, Vec<u8>, usize, &str); 14] = [
        ("empty", vec![], 8, "file of Mimi's weights is ill-formed: "),
        ("text", b"{\"version\": 1, \"model\": \"mimi\"}".to_vec(), 8, "file of Mimi's weights is ill-formed: "),
        ("cut in the header", WEIGHTS[..5000].to_vec(), 8, "file of Mimi's weights is ill-formed: "),
        ("cut", WEIGHTS[..WEIGHTS.len() - 1].to_vec(), 8, "file of Mimi's weights is ill-formed: "),
        ("longer", [&WEIGHTS[..], b"more"].concat(), 8, "file of Mimi's weights is ill-formed: "),
        (
            "a language model's",
            renamed(|name| format!("depformer.{name}")),
            8,
            "file of Mimi's weights is ill-formed: it has 346 tensors, the first of them depformer.decoder.model.0",
        ),
        (
            "a tensor missing",
            renamed(|name| name.replace("downsample.conv", "downsample.gone")),
            8,
            "tensor downsample.conv.conv.conv.weight is missing, expected one of shape [512, 512, 4]",
        ),
        (
            "another shape",
            described(&format!("{first}.weight_v"), "shape", serde_json::json!([512, 1024, 7])),
            8,
            "shape of tensor decoder.model.0.conv.conv.weight_v is [512, 1024, 7], expected [1024, 512, 7]",
        ),
        (
            "integers",
            described(&format!("{first}.bias"), "dtype", "I32".into()),
            8,
            "tensor decoder.model.0.conv.conv.bias of type I32 is not supported: weights are 32-bit floats, F32",
        ),
        (
            "not finite",
            overwritten(&format!("{first}.bias"), &[0.0, 0.0, f32::INFINITY]),
            8,
            "value 2 of tensor decoder.model.0.conv.conv.bias is inf, expected a finite number",
        ),
        (
            "zeros",
            overwritten(&format!("{first}.weight_v"), &zeros),
            8,
            "row 0 of tensor decoder.model.0.conv.conv.weight_v is all zeros, expected a direction",
        ),
        (
            "8 codebooks",
            renamed(|name| name.replace("vq_rest.vq.layers.7.", "vq_rest.vq.layers.gone.")),
            32,
            "number of codebooks is 32, expected at most 8, which the file has",
        ),
        ("none asked for", vec![], 0, "number of codebooks is 0, expected 1 to 32"),
        ("33 asked for", vec![], 33, "number of codebooks is 33, expected 1 to 32"),
    ];
    for (what, bytes, codebooks, expected) in cases {
        let options = MimiOptions { codebooks, ..MimiOptions::default() };
        let error = Mimi::new(&bytes, options).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{what}: {error}");
    }
    // Kernels that are not split do as well.
    let (mut header, data) = parts();
    let entries = header.as_object_mut().unwrap();
    let kernels = entries.remove(&format!("{first}.weight_v")).unwrap();
    entries.insert(format!("{first}.weight"), kernels);
    Mimi::new(&mimi::file(&header, data), MimiOptions::default()).unwrap();
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let samples = &sound("mary_bobby_stereo")[0][..40_000];
    let expected = MIMI.encode(samples).unwrap();
    let both = rayon::join(|| MIMI.encode(samples).unwrap(), || MIMI.encode(samples).unwrap());
    assert_eq!(both, (expected.clone(), expected));
}
