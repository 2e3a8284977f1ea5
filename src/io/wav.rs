//! WAV: integer and float PCM, read and written through hound.
//!
//! ```text
//! RIFF size WAVE | fmt_ 16 (tag, channels, rate, .., align, bits) | LIST 5 ..... pad | data size samples
//! ```
//!
//! hound 3.5 takes the pad byte after a chunk of odd length for the next chunk's name, and says of a file cut short
//! only that bytes are missing. So the chunks are walked here, and hound is handed `fmt` and `data` alone.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec};

use super::audio::Audio;
use super::files::{self, Sealed};
use crate::error::{Error, Result};
use crate::units::Seconds;

/// What a program writes for a length that it cannot go back to fill in.
const UNKNOWN_LENGTH: u32 = u32::MAX;
/// How the `fmt` chunk with a number of valid bits begins.
const EXTENSIBLE: [u8; 2] = [0xfe, 0xff];
/// Bytes of a `fmt` chunk; the longest kind has 40.
const MAX_FORMAT: u32 = 1024;

/// Reads a WAV file whole.
pub(super) fn read(path: &Path) -> Result<Audio> {
    let mut file = BufReader::with_capacity(1 << 16, files::open(path)?);
    let (mut format, promised) = find_data(&mut file)?;
    let found = bytes_left(&mut file)?.min(promised.into()) as u32;
    if format[4..8] == [0; 4] {
        return Err(Error::invalid("sample rate", 0, "at least 1 Hz"));
    }
    if found < promised && promised != UNKNOWN_LENGTH {
        // Bytes of one sample of all channels; 0 is for hound to refuse.
        let frame = u32::from(u16::from_le_bytes([format[12], format[13]])).max(1);
        return Err(bad(format!("cut short: {} of {} samples", found / frame, promised / frame)));
    }
    if format.starts_with(&EXTENSIBLE) && format.len() >= 20 {
        // 24 valid bits in 32 stand on the left, with zeros below them; hound takes the right ones. As 32 bits all is
        // well.
        format.copy_within(14..16, 18);
    }
    let header = plain_header(&format, found);
    let reader = WavReader::new(Cursor::new(header).chain(file.take(found.into()))).map_err(refused)?;
    let spec = reader.spec();
    Ok(Audio { sample_rate: spec.sample_rate, channels: channels(reader, spec)? })
}

/// Walks the chunks up to the samples; returns the `fmt` chunk and the samples' length in bytes.
fn find_data(file: &mut BufReader<File>) -> Result<(Vec<u8>, u32)> {
    let mut head = [0; 12];
    file.read_exact(&mut head).map_err(|_| bad("too short for a WAV file"))?;
    match (&head[..4], &head[8..]) {
        (b"RIFF", b"WAVE") => {}
        (b"RF64" | b"BW64", b"WAVE") => {
            return Err(Error::unsupported("WAV of over 4 GiB (RF64)", "split it, or use FLAC"));
        }
        _ => return Err(bad("it does not begin as a WAV file does (RIFF .... WAVE)")),
    }
    let mut format = None;
    loop {
        let mut chunk = [0; 8];
        file.read_exact(&mut chunk).map_err(|_| bad("cut short before its samples"))?;
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        match &chunk[..4] {
            b"fmt " => format = Some(read_format(file, length)?),
            b"data" => return Ok((format.ok_or_else(|| bad("its samples come before their format"))?, length)),
            _ => skip(file, i64::from(length) + i64::from(length % 2))?,
        }
    }
}

fn read_format(file: &mut BufReader<File>, length: u32) -> Result<Vec<u8>> {
    if !(16..=MAX_FORMAT).contains(&length) {
        return Err(bad(format!("its fmt chunk has {length} bytes, expected 16 to {MAX_FORMAT}")));
    }
    let mut format = vec![0; length as usize];
    file.read_exact(&mut format).map_err(|_| bad("cut short within its fmt chunk"))?;
    skip(file, i64::from(length % 2))?;
    Ok(format)
}

fn skip(file: &mut BufReader<File>, bytes: i64) -> Result<()> {
    // Past the end is no error here: the next read is one.
    file.seek_relative(bytes).map_err(|e| Error::io("read the recording", e))
}

fn bytes_left(file: &mut BufReader<File>) -> Result<u64> {
    let failed = |e| Error::io("read the recording", e);
    let at = file.stream_position().map_err(failed)?;
    Ok(file.get_ref().metadata().map_err(failed)?.len().saturating_sub(at))
}

/// A header with the two chunks that matter and no others.
fn plain_header(format: &[u8], data: u32) -> Vec<u8> {
    let length = |bytes: usize| (bytes as u32).to_le_bytes();
    let mut header = b"RIFF".to_vec();
    header.extend(data.saturating_add(format.len() as u32 + 20).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(length(format.len()));
    header.extend(format);
    header.extend(b"data");
    header.extend(data.to_le_bytes());
    header
}

/// Samples of each channel, full scale -1 to 1.
fn channels(reader: WavReader<impl Read>, spec: WavSpec) -> Result<Vec<Vec<f32>>> {
    let count = usize::from(spec.channels);
    let mut channels: Vec<_> = (0..count).map(|_| Vec::with_capacity(reader.duration() as usize)).collect();
    let mut push = |(i, sample): (usize, f32)| match sample.is_finite() {
        true => {
            channels[i % count].push(sample);
            Ok(())
        }
        false => Err(not_finite(sample, Seconds::of_samples((i / count) as u64, spec.sample_rate), i % count)),
    };
    match spec.sample_format {
        SampleFormat::Float => {
            let mut samples = reader.into_samples::<f32>().enumerate();
            samples.try_for_each(|(i, sample)| push((i, sample.map_err(refused)?)))?;
        }
        SampleFormat::Int => {
            let full = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            let mut samples = reader.into_samples::<i32>().enumerate();
            samples.try_for_each(|(i, sample)| push((i, sample.map_err(refused)? as f32 / full)))?;
        }
    }
    Ok(channels)
}

/// What hound does not take.
fn refused(error: hound::Error) -> Error {
    let supported = "PCM of 8, 16, 24 and 32 bits and float of 32 are";
    match error {
        hound::Error::IoError(e) => Error::io("read the recording", e),
        hound::Error::FormatError(detail) => bad(detail),
        hound::Error::Unsupported | hound::Error::TooWide | hound::Error::InvalidSampleFormat => {
            Error::unsupported("this kind of WAV", supported)
        }
        other => bad(other),
    }
}

/// The error for a sample that is no number.
pub(super) fn not_finite(sample: f32, time: Seconds, channel: usize) -> Error {
    Error::invalid(format!("sample at {:.6} s of channel {channel}", time.to_f64()), sample, "a finite number")
}

/// Writes 16-bit PCM through a temporary file, and returns how many samples were clipped to its range.
///
/// # Errors
/// `Io`; `Invalid` for no channels, channels of different lengths, a rate of 0 or a sample that is no number;
/// `OverLimit` past 4 GiB.
pub fn write_wav(path: &Path, sample_rate: u32, channels: &[Vec<f32>]) -> Result<u64> {
    write(path, sample_rate, channels).map_err(|e| e.in_file(path.display()))
}

fn write(path: &Path, sample_rate: u32, channels: &[Vec<f32>]) -> Result<u64> {
    let count = check_writable(sample_rate, channels)?;
    let spec =
        hound::WavSpec { channels: count, sample_rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    // The header comes first and holds the length, which a sink that only appends needs beforehand: so in memory.
    let mut bytes = std::io::Cursor::new(Vec::new());
    let failed = |e: hound::Error| Error::malformed("recording to write", e);
    let mut writer = hound::WavWriter::new(&mut bytes, spec).map_err(failed)?;
    let mut clipped = 0;
    for i in 0..channels[0].len() {
        for (c, channel) in channels.iter().enumerate() {
            if !channel[i].is_finite() {
                return Err(not_finite(channel[i], Seconds::of_samples(i as u64, sample_rate), c));
            }
            let scaled = (channel[i] * 32768.0).round();
            let sample = scaled.clamp(-32768.0, 32767.0);
            clipped += u64::from(sample != scaled);
            writer.write_sample(sample as i16).map_err(failed)?;
        }
    }
    writer.finalize().map_err(failed)?;
    let mut file = Sealed::create(path)?;
    std::io::Write::write_all(&mut file, bytes.get_ref()).map_err(|e| Error::io("write the recording", e))?;
    file.seal()?;
    Ok(clipped)
}

fn check_writable(sample_rate: u32, channels: &[Vec<f32>]) -> Result<u16> {
    if sample_rate == 0 {
        return Err(Error::invalid("sample rate", 0, "at least 1 Hz"));
    }
    let count = u16::try_from(channels.len()).ok().filter(|&n| n > 0);
    let count = count.ok_or_else(|| Error::invalid("number of channels", channels.len(), "1 to 65535"))?;
    let length = channels[0].len();
    if let Some(other) = channels.iter().find(|channel| channel.len() != length) {
        return Err(Error::invalid("length of a channel", other.len(), format!("{length}, as the first")));
    }
    let bytes = length as u64 * u64::from(count) * 2;
    if bytes > u64::from(u32::MAX - 64) {
        return Err(Error::over_limit("size of the recording", bytes, format!("{} bytes", u32::MAX - 64)));
    }
    Ok(count)
}

fn bad(detail: impl std::fmt::Display) -> Error {
    Error::malformed("recording", detail)
}
