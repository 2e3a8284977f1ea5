//! The embedded codec: speech at 1100 bit/s from tables of one megabyte.
//!
//! ```text
//! samples --analysis--> features [T, 272] --basis--> vectors [T, D] --8 codebooks, beam--> codes [8, T]
//! samples <--harmonics and noise-- features <--basis-- vectors <--sum of 8 codebooks------ codes [8, T]
//! ```
//!
//! It exists so that everything around it can be tried, tested and shown with nothing downloaded. The words can be
//! made out; it is no match for a neural codec, and a model should be trained on one of those. See `docs/codec.md`.

mod analysis;
mod bands;
mod pitch;
mod synthesis;
mod tables;
mod train;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::codec::{Codec, CodecSpec, frames};
use crate::error::{Error, Result};
use crate::stream::Frames;
use crate::units::FrameRate;

pub use tables::Tables;
pub use train::{Training, features};

/// Samples a second that the codec works with.
pub const SAMPLE_RATE: u32 = 24_000;
/// Samples of a frame: 80 ms.
const FRAME: usize = 1920;
/// Samples of a sub-frame: 10 ms.
const SUB: usize = 240;
/// Sub-frames of a frame.
const SUBS: usize = FRAME / SUB;
/// Where the pitch begins in a frame's features, after the bands of all sub-frames.
const PITCH: usize = SUBS * bands::BANDS;
/// Where the voicing begins.
const VOICING: usize = PITCH + SUBS;
/// Numbers in a frame's features.
const FEATURES: usize = VOICING + SUBS;
/// Levels of the quantizer.
const CODEBOOKS: usize = 8;
/// Codes of each level.
const CODES: usize = 2048;
/// Ways kept while searching for codes. 8 is near where more stop helping; see `docs/codec.md`.
const BEAM: usize = 8;

/// The tables that come with the crate.
const EMBEDDED: &[u8] = include_bytes!("builtin.bin");

/// The embedded codec.
///
/// # Examples
/// ```
/// use roundelay::codec::{Builtin, Codec};
/// use roundelay::Frames;
///
/// let codec = Builtin::new();
/// let tone: Vec<f32> = (0..4000).map(|n| (n as f32 * 0.05).sin() * 0.1).collect();
/// let codes = codec.encode(&tone)?;
/// assert_eq!(codes.0.dim(), (8, 3));
/// assert_eq!(codec.decode(Frames(codes.0.view()))?.len(), 3 * 1920);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builtin {
    spec: CodecSpec,
    tables: Tables,
}

impl Default for Builtin {
    fn default() -> Self {
        Self::new()
    }
}

impl Builtin {
    /// With the tables that come with the crate.
    pub fn new() -> Self {
        Self::with_tables(Tables::parse(EMBEDDED).expect("the embedded tables are whole, as a test sees to"))
    }

    /// With tables of one's own, from [`Training`].
    pub fn with_tables(tables: Tables) -> Self {
        let spec = CodecSpec {
            name: "builtin".to_owned(),
            sample_rate: SAMPLE_RATE,
            frame_rate: FrameRate::new(25, 2).expect("12.5 is a positive fraction"),
            codebooks: CODEBOOKS,
            cardinality: CODES,
            identity: format!("builtin-1-{:08x}", tables.checksum),
        };
        Builtin { spec, tables }
    }

    /// The features that the codes of frame `frame` stand for, or `None` if it is absent.
    ///
    /// Levels add up, so the first few alone give a coarser sound: levels from some level on may be absent.
    fn vector(&self, codes: ArrayView1<'_, i32>, frame: usize) -> Result<Option<Array1<f32>>> {
        let known = frames::known_levels(codes, CODES, frame)?;
        let (kept, _) = codes.split_at(Axis(0), known);
        if known == 0 {
            return Ok(None);
        }
        let vector = self.tables.quantizer.decode(kept.insert_axis(Axis(1)));
        Ok(Some(self.tables.unproject(vector.row(0))))
    }
}

impl Codec for Builtin {
    fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    fn encode(&self, samples: &[f32]) -> Result<Frames<Array2<i32>>> {
        frames::check_samples(samples, FRAME)?;
        let vectors = self.tables.project(&analysis::analyse(samples));
        Ok(Frames(self.tables.quantizer.encode_beam(vectors.view(), BEAM)))
    }

    fn decode(&self, codes: Frames<ArrayView2<'_, i32>>) -> Result<Vec<f32>> {
        let codes = codes.0;
        if codes.nrows() > CODEBOOKS {
            return Err(Error::invalid("number of codebooks", codes.nrows(), format!("at most {CODEBOOKS}")));
        }
        let mut synthesis = synthesis::Synthesis::new(codes.ncols());
        let mut silent = Vec::new();
        for (frame, column) in codes.columns().into_iter().enumerate() {
            match self.vector(column, frame)? {
                Some(features) => synthesis.add(frame, features.view()),
                None => silent.push(frame),
            }
        }
        let mut samples = synthesis.finish();
        silent.into_iter().for_each(|frame| frames::silence(&mut samples, frame, FRAME));
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::frames::ABSENT;
    use ndarray::s;

    /// Real speech that took no part in training: 16-bit samples after a header of 44 bytes.
    fn speech() -> Vec<f32> {
        let file = include_bytes!("../../../fixtures/recordings/wav/librivox_mono.wav");
        file[44..].chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect()
    }

    fn decode(codes: &Array2<i32>) -> Vec<f32> {
        Builtin::new().decode(Frames(codes.view())).unwrap()
    }

    /// Root mean square distance of two sounds' bands in dB, over what is not silence in the first.
    fn distance(a: &[f32], b: &[f32]) -> f32 {
        let (a, b) = (analysis::analyse(a), analysis::analyse(b));
        let (mut sum, mut count) = (0.0, 0.0);
        for (&a, &b) in a.slice(s![.., ..PITCH]).iter().zip(b.slice(s![.., ..PITCH])) {
            if a > bands::log_power(1e-6) {
                sum += ((a - b) * 10.0 / std::f32::consts::LN_10).powi(2);
                count += 1.0;
            }
        }
        (sum / count).sqrt()
    }

    #[test]
    fn frames_cover_the_samples() {
        let codec = Builtin::new();
        for (samples, frames) in [(0, 0), (1, 1), (1919, 1), (1920, 1), (1921, 2), (5000, 3)] {
            let codes = codec.encode(&vec![0.01; samples]).unwrap().0;
            assert_eq!(codes.dim(), (8, frames), "{samples} samples");
            assert!(codes.iter().all(|&code| (0..2048).contains(&code)));
            assert_eq!(decode(&codes).len(), frames * FRAME);
        }
    }

    #[test]
    fn same_samples_give_same_codes_and_same_codes_the_same_sound() {
        let speech = speech();
        let codes = Builtin::new().encode(&speech).unwrap().0;
        assert_eq!(codes, Builtin::new().encode(&speech).unwrap().0);
        assert_eq!(decode(&codes), decode(&codes));
    }

    #[test]
    fn decoded_speech_has_the_spectrum_of_the_recording() {
        let speech = speech();
        let codes = Builtin::new().encode(&speech).unwrap().0;
        let near = distance(&speech, &decode(&codes));
        assert!(near < 5.0, "{near} dB");

        let mut first_wrong = codes.clone();
        first_wrong.row_mut(0).mapv_inplace(|code| (code + 1) % 2048);
        let mut late = codes.clone();
        late.slice_mut(s![.., 1..]).assign(&codes.slice(s![.., ..-1]));
        let mut swapped = codes.clone();
        swapped.invert_axis(Axis(0));
        for (wrong, codes) in [("level 0", first_wrong), ("a frame late", late), ("levels reversed", swapped)] {
            let far = distance(&speech, &decode(&codes));
            assert!(far > 2.5 * near, "{wrong}: {far} dB, right codes {near} dB");
        }
    }

    #[test]
    fn silence_stays_below_60_db() {
        let codes = Builtin::new().encode(&[0.0; 4 * FRAME]).unwrap().0;
        assert!(decode(&codes).iter().all(|sample| sample.abs() < 1e-3));
    }

    #[test]
    fn absent_frames_are_silent_and_leave_the_others_alone() {
        let mut codes = Builtin::new().encode(&speech()[..20 * FRAME]).unwrap().0;
        let whole = decode(&codes);
        codes.slice_mut(s![.., 8..10]).fill(ABSENT);
        let parts = decode(&codes);
        assert!(parts[8 * FRAME..10 * FRAME].iter().all(|&sample| sample == 0.0));
        assert_eq!(parts[..8 * FRAME - SUB], whole[..8 * FRAME - SUB]);
        let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
        let ratio = energy(&parts[10 * FRAME..]) / energy(&whole[10 * FRAME..]);
        assert!((0.8..1.25).contains(&ratio), "sound goes on after the gap, energy ratio {ratio}");
        codes.fill(ABSENT);
        assert!(decode(&codes).iter().all(|&sample| sample == 0.0));
    }

    #[test]
    fn codes_out_of_range_are_named() {
        let codec = Builtin::new();
        for (code, text) in [
            (2048, "frame 1: code of level 3 is 2048, expected 0..2048, or -1 from some level on"),
            (-1, "frame 1: code of level 3 is -1, expected 0..2048, or -1 from some level on"),
            (-2, "frame 1: code of level 3 is -2, expected 0..2048, or -1 from some level on"),
        ] {
            let mut codes = Array2::zeros((8, 3));
            codes[[3, 1]] = code;
            assert_eq!(codec.decode(Frames(codes.view())).unwrap_err().to_string(), text);
        }
        let error = codec.decode(Frames(Array2::zeros((9, 3)).view())).unwrap_err();
        assert_eq!(error.to_string(), "number of codebooks is 9, expected at most 8");
    }

    #[test]
    fn fewer_levels_give_a_coarser_sound() {
        let speech = speech();
        let mut codes = Builtin::new().encode(&speech).unwrap().0;
        let whole = distance(&speech, &decode(&codes));
        let first_four = codes.slice(s![..4, ..]).to_owned();
        codes.slice_mut(s![4.., ..]).fill(ABSENT);
        assert_eq!(decode(&codes), decode(&first_four));
        let coarser = distance(&speech, &decode(&codes));
        assert!((whole..2.0 * whole).contains(&coarser), "{coarser} dB, all levels {whole} dB");
    }

    #[test]
    fn every_code_decodes_to_finite_samples() {
        for shift in [0, 1, 77] {
            let codes = Array2::from_shape_fn((8, 256), |(level, frame)| ((frame * 8 + level * shift) % 2048) as i32);
            let samples = decode(&codes);
            assert!(samples.iter().all(|sample| sample.is_finite() && sample.abs() < 100.0));
        }
    }

    #[test]
    fn samples_that_are_not_finite_are_named() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut samples = vec![0.0; 5000];
            samples[2000] = bad;
            let error = Builtin::new().encode(&samples).unwrap_err();
            assert_eq!(error.to_string(), format!("frame 1: sample 2000 is {bad}, expected a finite number"));
        }
    }

    #[test]
    fn samples_far_beyond_full_scale_still_give_codes() {
        let codes = Builtin::new().encode(&[f32::MAX, f32::MIN, 1e30, 0.0]).unwrap().0;
        assert!(codes.iter().all(|&code| (0..2048).contains(&code)));
    }
}
