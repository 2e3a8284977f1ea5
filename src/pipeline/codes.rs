//! What a codec gives, and a layout's rows: one into the other and back.
//!
//! ```text
//! channel 0  q0 q1 ..      rows  text  main.0 main.1 ..  other.0 other.1 ..
//! channel 1  q0 q1 ..                  channel 0         channel 1
//! ```
//!
//! A codebook that runs n times as fast as the grid is n rows of a channel, one after another: SNAC's three at 1 : 2 : 4
//! are seven.

use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::pipeline::Heard;
use crate::stream::{Frames, Layout, Stream};
use crate::tally::{Event, EventKind};
use crate::token::{ABSENT, UNGENERATED};

/// Encodes every channel.
///
/// # Shapes
/// `channels` holds samples at the codec's rate, one list a channel, all of one length. Returns
/// `[channel, codebook, frame]`.
/// # Errors
/// Those of the codec; `Invalid` if lengths differ.
pub fn encode(codec: &dyn Codec, channels: &[Vec<f32>]) -> Result<Frames<Array3<i32>>> {
    let channels: Vec<_> = channels.iter().map(Vec::as_slice).collect();
    let rows = codec.encode_all(&channels)?;
    let views: Vec<_> = rows.iter().map(|codes| codes.0.view()).collect();
    if views.is_empty() {
        return Ok(Frames(Array3::zeros((0, codec.spec().codebooks, 0))));
    }
    let stacked = ndarray::stack(Axis(0), &views);
    stacked.map(Frames).map_err(|_| Error::invalid("length of a channel", "unlike the others'", "the same for all"))
}

/// Decodes every channel of `[channel, codebook, frame]`: samples at the codec's rate.
///
/// # Errors
/// Those of the codec, with the channel.
pub fn decode(codec: &dyn Codec, codes: &Frames<Array3<i32>>) -> Result<Vec<Vec<f32>>> {
    let channel = |(c, codes): (usize, ArrayView2<i32>)| {
        codec.decode(Frames(codes)).map_err(|error| error.in_stream(format!("channel {c}")))
    };
    codes.0.outer_iter().enumerate().map(channel).collect()
}

/// The audio rows of a layout as a codec reads them: one channel for each speaker.
///
/// # Shapes
/// `[stream, time]` becomes `[channel, codebook, frame]`.
/// # Errors
/// `StreamCount`.
pub fn audio_codes(layout: &Layout, codes: &Frames<ArrayView2<i32>>) -> Result<Frames<Array3<i32>>> {
    layout.check_streams(codes.0.len_of(Axis(0)))?;
    let speakers = layout.audio_speakers();
    let shape = (speakers.len(), codebooks_read(layout), codes.0.len_of(Axis(1)));
    let mut audio = Array3::from_elem(shape, ABSENT as i32);
    for (stream, row) in layout.streams().iter().zip(codes.0.outer_iter()) {
        let channel = speakers.iter().position(|&speaker| speaker == stream.speaker);
        if let (Some(codebook), Some(channel)) = (codebook_of(layout, stream), channel) {
            audio.slice_mut(s![channel, codebook, ..]).assign(&row);
        }
    }
    Ok(Frames(audio))
}

/// The layout's rows, with those of text absent for now.
pub(super) fn rows(
    layout: &Layout,
    codes: &Frames<Array3<i32>>,
    heard: Option<&Heard>,
    events: &mut Vec<Event>,
) -> Result<Frames<Array2<i32>>> {
    let codes = &codes.0;
    let (channels, read) = check_shape(layout, codes.dim(), heard.is_some(), events)?;
    let speakers = layout.audio_speakers();
    let shape = (layout.streams().len(), codes.len_of(Axis(2)));
    let mut rows = Frames(Array2::from_elem(shape, ABSENT as i32));
    for (stream, mut row) in layout.streams().iter().zip(rows.0.outer_iter_mut()) {
        let speaker = speakers.iter().position(|&speaker| speaker == stream.speaker);
        let (Some(codebook), Some(speaker)) = (codebook_of(layout, stream), speaker) else { continue };
        match heard {
            Some(heard) => row.assign(&heard_row(heard, speaker, codes.slice(s![0, codebook, ..]))),
            None if speaker < channels => row.assign(&codes.slice(s![speaker, codebook, ..])),
            None => {}
        }
    }
    layout.check_codes(&rows)?;
    check_generated(layout, &rows)?;
    let given = codes.slice(s![..channels, ..read, ..]);
    let absent = given.lanes(Axis(1)).into_iter().filter(|c| c.iter().all(|&c| i64::from(c) == ABSENT)).count();
    if absent > 0 && read > 0 {
        events.push(Event::new(EventKind::Absent, absent as u64));
    }
    Ok(rows)
}

/// Channels and codebooks that are read; others are counted.
fn check_shape(
    layout: &Layout,
    (channels, codebooks, _): (usize, usize, usize),
    one_channel: bool,
    events: &mut Vec<Event>,
) -> Result<(usize, usize)> {
    if channels == 0 {
        return Err(Error::invalid("number of channels", 0, "at least 1"));
    }
    if one_channel && channels > 1 {
        return Err(Error::invalid("number of channels", channels, "1, whose speakers are told apart by segments"));
    }
    let speakers = layout.audio_speakers().len();
    if channels > speakers {
        events.push(Event::new(EventKind::Channels, (channels - speakers) as u64));
    }
    let read = check_number(layout, codebooks)?;
    if codebooks > read {
        events.push(Event::new(EventKind::Codebooks, (codebooks - read) as u64));
    }
    Ok((channels.min(speakers), read))
}

/// One row of a channel, absent where the speaker is not heard.
fn heard_row(heard: &Heard, speaker: usize, row: ndarray::ArrayView1<i32>) -> ndarray::Array1<i32> {
    let code = |(t, &code): (usize, &i32)| if heard.is_heard(speaker, t) { code } else { ABSENT as i32 };
    row.iter().enumerate().map(code).collect()
}

/// Slots that a model is to fill have no place in a dataset.
fn check_generated(layout: &Layout, rows: &Frames<Array2<i32>>) -> Result<()> {
    match rows.0.indexed_iter().find(|(_, code)| i64::from(**code) == UNGENERATED) {
        Some(((k, t), code)) => {
            let error = Error::invalid("code", code, "a code, or -1 where there is none");
            Err(error.in_stream(&layout.streams()[k].name).at_frame(t))
        }
        None => Ok(()),
    }
}

/// Checks that a codec with so many codebooks, all at the layout's rate, can feed it.
///
/// # Errors
/// `Invalid` if the layout reads more; `Unsupported` if streams are phases of a codec that runs at several rates.
pub fn check_codebooks(layout: &Layout, codebooks: usize) -> Result<()> {
    if let Some(stream) = layout.streams().iter().find(|stream| stream.phase.is_some()) {
        let error = Error::unsupported("a stream with a phase", "all codebooks of this codec run at one rate");
        return Err(error.in_stream(&stream.name));
    }
    check_number(layout, codebooks).map(drop)
}

/// The number of codebooks that a layout reads, if there are as many.
fn check_number(layout: &Layout, codebooks: usize) -> Result<usize> {
    let read = codebooks_read(layout);
    if codebooks < read {
        let expected = format!("at least {read}, as layout {} reads", layout.name());
        return Err(Error::invalid("number of codebooks", codebooks, expected));
    }
    Ok(read)
}

/// Rows of codes of each speaker that a layout reads: its codebooks, one that runs n times as fast counted n times.
pub fn codebooks_read(layout: &Layout) -> usize {
    rates(layout).iter().sum()
}

/// How many codes each level has in a frame.
pub fn rates(layout: &Layout) -> Vec<usize> {
    let mut rates = Vec::new();
    for (level, stream) in layout.streams().iter().filter_map(|stream| Some((stream.level?, stream))) {
        rates.resize(rates.len().max(level + 1), 1);
        rates[level] = rates[level].max(stream.phase.unwrap_or(0) + 1);
    }
    rates
}

/// The row of a channel's codes that a stream holds.
fn codebook_of(layout: &Layout, stream: &Stream) -> Option<usize> {
    let level = stream.level?;
    Some(rates(layout)[..level].iter().sum::<usize>() + stream.phase.unwrap_or(0))
}

/// Whole frames of silence that stand in front of a recording's sound: the layout's `silence_prefix`, rounded up.
///
/// Words and speaker segments keep the times of the sound alone.
///
/// # Source
/// Kyutai's speech-to-text scripts round up as well (1 s is 13 frames at 12.5 Hz), and take no more than the 1 s itself
/// out of the times that they print; so does the text's lag here.
pub fn silence_frames(layout: &Layout) -> usize {
    let frames = layout.silence_prefix().map_or(0, |length| layout.frame_rate().ceil(length));
    usize::try_from(frames).unwrap_or(0)
}
