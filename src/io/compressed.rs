//! FLAC and OGG (Vorbis) recordings, through the crate symphonia.

use std::path::Path;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Failure;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::audio::Audio;
use super::files;
use super::wav::not_finite;
use crate::error::{Error, Result};
use crate::units::Seconds;

/// Reads a recording whole. A damaged packet is an error: to skip it would shift all that follows.
pub(super) fn read(path: &Path, kind: &str) -> Result<Audio> {
    let source = MediaSourceStream::new(Box::new(files::open(path)?), Default::default());
    let mut hint = Hint::new();
    hint.with_extension(kind);
    let probe = symphonia::default::get_probe();
    let format = probe.probe(&hint, source, FormatOptions::default(), MetadataOptions::default()).map_err(failed)?;
    let track = format.default_track(TrackType::Audio).ok_or_else(|| bad("it holds no audio"))?;
    let (id, promised) = (track.id, track.num_frames);
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or_else(|| bad("unknown codec"))?;
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(failed)?;
    let audio = decode(format, decoder, id)?;
    let found = audio.len() as u64;
    match promised {
        Some(all) if found < all => Err(bad(format!("cut short: {found} of {all} samples"))),
        _ => check(audio),
    }
}

fn decode(mut format: Box<dyn FormatReader + '_>, mut decoder: Box<dyn AudioDecoder>, track: u32) -> Result<Audio> {
    let mut audio = Audio { sample_rate: 0, channels: Vec::new() };
    let mut planes: Vec<Vec<f32>> = Vec::new();
    while let Some(packet) = format.next_packet().map_err(failed)? {
        if packet.track_id != track {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(failed)?;
        let rate = decoded.spec().rate();
        if audio.channels.is_empty() {
            audio = Audio { sample_rate: rate, channels: vec![Vec::new(); decoded.num_planes()] };
        }
        if (rate, decoded.num_planes()) != (audio.sample_rate, audio.channels.len()) {
            return Err(Error::unsupported("a change of rate or channels within a recording", "split it"));
        }
        decoded.copy_to_vecs_planar(&mut planes);
        audio.channels.iter_mut().zip(&planes).for_each(|(channel, plane)| channel.extend(plane));
    }
    Ok(audio)
}

fn check(audio: Audio) -> Result<Audio> {
    if audio.channels.is_empty() {
        return Err(bad("it holds no samples"));
    }
    if audio.sample_rate == 0 {
        return Err(Error::invalid("sample rate", 0, "at least 1 Hz"));
    }
    for (c, channel) in audio.channels.iter().enumerate() {
        if let Some(i) = channel.iter().position(|sample| !sample.is_finite()) {
            return Err(not_finite(channel[i], Seconds::of_samples(i as u64, audio.sample_rate), c));
        }
    }
    Ok(audio)
}

fn failed(failure: Failure) -> Error {
    match failure {
        Failure::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::io("read the recording", e),
        Failure::Unsupported(what) => Error::unsupported("the recording", what),
        other => bad(other),
    }
}

fn bad(detail: impl std::fmt::Display) -> Error {
    Error::malformed("recording", detail)
}
