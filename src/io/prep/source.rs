//! Where codes come from: a codec that hears the recording, or a file beside it.

use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayD, Axis, Ix3};

use super::beside;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::io::{Identity, read_audio, tensors};
use crate::pipeline::{self, Heard, Speakers, Unheard, codebooks_read, rates, silence_frames};
use crate::stream::{Frames, Layout};
use crate::tally::{Event, EventKind};
use crate::units::Seconds;

/// Suffixes tried where none is given.
const SUFFIXES: [&str; 3] = [".safetensors", ".npz", ".npy"];

/// Frames by which codes may differ from the length that the manifest gives: codecs pad and round at the end. More
/// means another frame rate or another recording.
const TOLERANCE: u64 = 2;

/// Where codes come from.
pub enum CodeSource {
    /// Encode the recording.
    Codec(Box<dyn Codec>),
    /// Read codes that were made before, from the recording's name with this suffix instead of its extension, beside
    /// the recording or in a folder `codes` beside its folder.
    Files {
        /// As `.mimi.npy`; if none, `.safetensors`, `.npz` and `.npy` are tried.
        suffix: Option<String>,
    },
}

/// Codes of one recording.
pub(super) struct Coded {
    pub codes: Frames<Array3<i32>>,
    /// Who is heard when, where codes of one channel are several speakers'.
    pub heard: Option<Heard>,
    pub duration: Seconds,
    pub events: Vec<Event>,
}

/// How the voices of a recording of one channel are told apart.
pub(super) struct Voices<'a> {
    pub recording: &'a Path,
    pub speakers: &'a Speakers,
    pub unheard: Unheard,
}

impl Voices<'_> {
    fn heard(&self, layout: &Layout, frames: usize, events: &mut Vec<Event>) -> Result<Heard> {
        let (path, segments) = beside::segments(self.recording)?;
        let heard = Heard::new(layout, &segments, self.speakers, frames);
        let (heard, told) = heard.map_err(|e| e.in_file(path.display()))?;
        events.extend(told);
        Ok(heard)
    }
}

impl CodeSource {
    pub(super) fn identity(&self) -> Identity {
        match self {
            CodeSource::Codec(codec) => Identity::of_codec(codec.as_ref()),
            CodeSource::Files { suffix } => {
                Identity { name: format!("codes{}", suffix.as_deref().unwrap_or("")), sha256: None }
            }
        }
    }

    pub(super) fn codes(
        &self,
        recording: &Path,
        layout: &Layout,
        expected: Option<Seconds>,
        voices: Option<&Voices>,
    ) -> Result<Coded> {
        match self {
            CodeSource::Codec(codec) => encode(codec.as_ref(), recording, layout, expected, voices),
            CodeSource::Files { suffix } => read(recording, suffix.as_deref(), layout, expected, voices),
        }
    }
}

fn encode(
    codec: &dyn Codec,
    path: &Path,
    layout: &Layout,
    expected: Option<Seconds>,
    voices: Option<&Voices>,
) -> Result<Coded> {
    let sound = read_audio(path)?;
    let in_file = |e: Error| e.in_file(path.display());
    let silence = silence_frames(layout);
    let duration = sound.duration() + layout.frame_rate().start_of(silence);
    let (rate, mut channels) =
        (codec.spec().sample_rate, sound.resampled(codec.spec().sample_rate).map_err(in_file)?.channels);
    let frame = layout.frame_rate().samples_per_frame(rate)?;
    for channel in &mut channels {
        channel.splice(..0, std::iter::repeat_n(0.0, silence * frame));
    }
    let mut events = Vec::new();
    let mut heard = None;
    if let (Some(voices), [channel]) = (voices, channels.as_slice()) {
        let voiced = voices.heard(layout, channel.len().div_ceil(frame), &mut events)?;
        match voices.unheard {
            Unheard::Silence => channels = voiced.silenced(channel, frame),
            Unheard::Absent => heard = Some(voiced),
        }
    }
    let codes = pipeline::encode(codec, &channels).map_err(in_file)?;
    tell(difference(codes.0.len_of(Axis(2)).saturating_sub(silence), layout, expected), &mut events);
    Ok(Coded { codes, heard, duration, events })
}

fn read(
    recording: &Path,
    suffix: Option<&str>,
    layout: &Layout,
    expected: Option<Seconds>,
    voices: Option<&Voices>,
) -> Result<Coded> {
    let path = locate(recording, suffix)?;
    let codes = read_codes(&path, layout).map_err(|e| e.in_file(path.display()))?;
    let (channels, _, frames) = codes.0.dim();
    let difference = difference(frames, layout, expected);
    if let Some(expected) = expected.filter(|_| difference > TOLERANCE) {
        let rate = layout.frame_rate();
        let wanted = format!("{} for {expected} s at {rate} frames a second", rate.ceil(expected));
        return Err(Error::invalid("number of frames", frames, wanted).in_file(path.display()));
    }
    let duration = expected.unwrap_or_else(|| layout.frame_rate().start_of(frames));
    let mut events = Vec::new();
    let heard = voices.filter(|_| channels == 1).map(|voices| voices.heard(layout, frames, &mut events)).transpose()?;
    tell(difference, &mut events);
    Ok(Coded { codes, heard, duration, events })
}

/// Frames by which a recording differs from what the manifest says.
fn difference(frames: usize, layout: &Layout, expected: Option<Seconds>) -> u64 {
    expected.map_or(0, |length| layout.frame_rate().ceil(length).abs_diff(frames as i64))
}

fn tell(difference: u64, events: &mut Vec<Event>) {
    if difference > 0 {
        events.insert(0, Event::new(EventKind::Duration, difference));
    }
}

/// The file of codes that belongs to a recording.
fn locate(recording: &Path, suffix: Option<&str>) -> Result<PathBuf> {
    let stem = recording.file_stem().unwrap_or_default().to_string_lossy();
    let folder = recording.parent().unwrap_or(Path::new(""));
    let folders = [folder.to_owned(), folder.join("../codes")];
    let suffixes = suffix.as_ref().map_or(&SUFFIXES[..], std::slice::from_ref);
    let names = suffixes.iter().flat_map(|suffix| folders.iter().map(move |folder| (folder, suffix)));
    let mut candidates = names.map(|(folder, suffix)| folder.join(format!("{stem}{suffix}")));
    candidates.find(|path| path.exists()).ok_or_else(|| {
        let expected = format!("{stem} with {} beside it or in ../codes", suffixes.join(", "));
        Error::invalid("file of codes", "missing", expected).in_file(recording.display())
    })
}

/// `audio_codes` `[C, Q, T]`, `codes` `[n_q, T]`, `A` and `B` `[Q, T]`, or a level each, `codes_0`, `codes_1` ..; a
/// `.npy` file by its number of axes. A batch of one in front of two axes is none.
fn read_codes(path: &Path, layout: &Layout) -> Result<Frames<Array3<i32>>> {
    let (name, codes) = tensors::read_first_of(path, &["audio_codes", "codes", "A", "codes_0"])?;
    let codes = match (name.as_str(), codes.ndim()) {
        ("audio_codes", 3) => codes.into_dimensionality::<Ix3>().expect("it has three axes"),
        ("audio_codes", 2) => by_channel(codes, layout)?,
        ("codes", _) => by_channel(one_example(codes, &name)?, layout)?,
        ("A", _) => both_speakers(one_example(codes, &name)?, one_example(tensors::read(path, "B")?, "B")?)?,
        ("codes_0", _) => by_level(path, layout)?,
        (_, axes) => return Err(Error::invalid(format!("number of axes of {name}"), axes, "3, as [C, Q, T]")),
    };
    if let Some(((c, q, t), code)) = codes.indexed_iter().find(|(_, code)| i32::try_from(**code).is_err()) {
        let place = format!("channel {c}, codebook {q}");
        return Err(Error::invalid("code", code, "an id of 32 bits").in_stream(place).at_frame(t));
    }
    Ok(Frames(codes.mapv(|code| code as i32)))
}

/// Two axes, `[row, time]`.
fn one_example(codes: ArrayD<i64>, name: &str) -> Result<ArrayD<i64>> {
    match codes.shape() {
        [_, _] => Ok(codes),
        [1, _, _] => Ok(codes.index_axis_move(Axis(0), 0)),
        shape => Err(Error::invalid(format!("shape of {name}"), format!("{shape:?}"), "[codebooks, frames]")),
    }
}

/// Rows of all speakers, one after another, as one channel for each.
fn by_channel(codes: ArrayD<i64>, layout: &Layout) -> Result<Array3<i64>> {
    let (rows, frames) = (codes.len_of(Axis(0)), codes.len_of(Axis(1)));
    let read = codebooks_read(layout).max(1);
    let channels = rows / read;
    if rows != channels * read || !(1..=layout.audio_speakers().len()).contains(&channels) {
        // More rows are not levels to leave out: nobody could tell them from another speaker's.
        let all = read * layout.audio_speakers().len();
        let expected = format!("{read} for one speaker or {all} for all, as layout {} reads", layout.name());
        return Err(Error::invalid("number of codebooks", rows, expected));
    }
    let codes = codes.as_standard_layout().into_owned().into_shape_with_order((channels, read, frames));
    Ok(codes.expect("rows were divided by channels"))
}

/// A tensor for each level, `[C, n T]` or `[n T]` where it runs n times as fast as the grid: what SNAC gives.
fn by_level(path: &Path, layout: &Layout) -> Result<Array3<i64>> {
    let rates = rates(layout);
    let found = tensors::names(path)?.iter().filter(|name| name.starts_with("codes_")).count();
    if found != rates.len() {
        let expected = format!("{}, as layout {} reads", rates.len(), layout.name());
        return Err(Error::invalid("number of levels", found, expected));
    }
    let mut levels: Vec<Array3<i64>> = Vec::with_capacity(found);
    for (level, rate) in rates.into_iter().enumerate() {
        let name = format!("codes_{level}");
        let codes = tensors::read(path, &name)?;
        let (channels, length) = match *codes.shape() {
            [length] => (1, length),
            [channels, length] => (channels, length),
            ref shape => return Err(Error::invalid(format!("shape of {name}"), format!("{shape:?}"), "[C, T]")),
        };
        let (c, frames) = levels.first().map_or((channels, length / rate), |first| (first.dim().0, first.dim().2));
        if (channels, length) != (c, frames * rate) {
            let expected = format!("[{c}, {}], {rate} codes a frame", frames * rate);
            return Err(Error::invalid(format!("shape of {name}"), format!("[{channels}, {length}]"), expected));
        }
        let codes = codes.as_standard_layout().into_owned().into_shape_with_order((c, frames, rate));
        levels.push(codes.expect("as many codes").permuted_axes([0, 2, 1]));
    }
    let levels: Vec<_> = levels.iter().map(|level| level.view()).collect();
    Ok(ndarray::concatenate(Axis(1), &levels).expect("as many channels and frames"))
}

/// One channel each, as J-Moshi's tools write them.
fn both_speakers(a: ArrayD<i64>, b: ArrayD<i64>) -> Result<Array3<i64>> {
    if a.shape() != b.shape() {
        return Err(Error::invalid("shape of B", format!("{:?}", b.shape()), format!("{:?}, as A has", a.shape())));
    }
    let both = ndarray::stack(Axis(0), &[a.view(), b.view()]).expect("both have one shape");
    Ok(both.into_dimensionality().expect("two axes and one in front"))
}
