//! Layouts, codes and patterns drawn at random, for property tests of one's own pipeline (feature `proptest`).
//!
//! Whatever comes before the shift and after it, such as storage, batching or a model's input, should hold for any
//! layout and any length, not only for those at hand.
//!
//! # Examples
//! A store of 32-bit ids, held to the law that codes come back:
//!
//! ```
//! use ndarray::Array3;
//! use proptest::prelude::*;
//! use roundelay::strategies::{codes, extents, layouts};
//! use roundelay::{Delay, Extent, Sequencer, Steps};
//!
//! fn stored(ids: &Array3<i64>) -> Vec<u8> {
//!     ids.iter().flat_map(|&id| (id as i32).to_le_bytes()).collect()
//! }
//! fn read(bytes: &[u8], shape: (usize, usize, usize)) -> Array3<i64> {
//!     let ids = bytes.chunks_exact(4).map(|id| i32::from_le_bytes(id.try_into().unwrap()).into());
//!     Array3::from_shape_vec(shape, ids.collect()).unwrap()
//! }
//!
//! let clips = layouts().prop_flat_map(|layout| (codes(&layout, 1..3_usize, 0..60_usize), Just(layout)));
//! proptest!(|((codes, layout) in clips, (extent, start) in extents())| {
//!     let delay = Delay::new(&layout, extent, start);
//!     let built = delay.build(&codes).unwrap().tokens.0;
//!     let undone = delay.undo(&Steps(read(&stored(&built), built.dim())), -1).unwrap();
//!     let known = undone.mask.0.iter().zip(&undone.codes.0).zip(&codes.0);
//!     prop_assert!(known.clone().all(|((&known, &back), &code)| !known || back == code));
//!     prop_assert!(extent == Extent::Truncate || known.clone().all(|((&known, _), _)| known));
//! });
//! ```

use std::ops::RangeInclusive;

// Not `crate`: this crate's own tests include the file, so that they need no feature.
use ndarray::Array3;
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use roundelay::delay::{Delays, Pattern};
use roundelay::token::{ABSENT, UNGENERATED};
use roundelay::{Extent, FrameRate, Frames, Kind, Layout, Start, Stream};

/// Any layout of 1 to 40 streams, text first, with delays of 0 to 50 frames.
pub fn layouts() -> impl Strategy<Value = Layout> {
    layouts_of(1..=40, 0..=50)
}

/// Any layout of so many streams with such delays: text, one semantic stream, and acoustic ones.
///
/// Special ids lie anywhere, also among the data. Either all streams have a begin and an end of their own or none.
pub fn layouts_of(streams: impl Into<SizeRange>, delays: RangeInclusive<usize>) -> impl Strategy<Value = Layout> {
    rows(vec(stream(delays), streams)).prop_map(|streams| {
        let streams = streams.into_iter().enumerate().map(|(k, stream)| Stream {
            name: format!("s{k}"),
            kind: [Kind::Text, Kind::Semantic, Kind::Acoustic][k.min(2)],
            level: k.checked_sub(1),
            end_pad: (k == 0).then_some(stream.pad + 1),
            ..stream
        });
        layout(streams.collect())
    })
}

/// Any layout of a codec with 1 to 4 levels of 1 to 4 phases each, streams in any order, delays of 0 to 7 frames.
pub fn multi_rate_layouts() -> impl Strategy<Value = Layout> {
    let places = vec(1..=4_usize, 1..=4).prop_flat_map(|rates| {
        let level = |(level, rate)| (0..rate).map(move |phase| (level, phase));
        let places: Vec<_> = rates.into_iter().enumerate().flat_map(level).collect();
        (rows(vec(stream(0..=7), places.len())), Just(places).prop_shuffle())
    });
    places.prop_map(|(streams, places)| {
        let streams = streams.into_iter().zip(places).map(|(stream, (level, phase))| Stream {
            name: format!("{level}.{phase}"),
            level: Some(level),
            phase: Some(phase),
            ..stream
        });
        layout(streams.collect())
    })
}

/// An acoustic stream that has no place yet.
fn stream(delays: RangeInclusive<usize>) -> impl Strategy<Value = Stream> {
    let ids = (0..5000_u32, 0..5000_u32, 0..5000_u32, 0..5000_u32);
    (delays, 1..3000_u32, ids, any::<bool>()).prop_map(|(delay, cardinality, (initial, pad, bos, eos), trained)| {
        Stream {
            name: String::new(),
            kind: Kind::Acoustic,
            speaker: "main".into(),
            level: None,
            cardinality,
            delay,
            initial,
            pad,
            end_pad: None,
            bos: Some(bos),
            eos: Some(eos),
            phase: None,
            trained,
        }
    })
}

/// Streams that all have a begin and an end, or none.
fn rows(streams: impl Strategy<Value = Vec<Stream>>) -> impl Strategy<Value = Vec<Stream>> {
    (streams, any::<bool>()).prop_map(|(mut streams, bracketed)| {
        if !bracketed {
            streams.iter_mut().for_each(|stream| (stream.bos, stream.eos) = (None, None));
        }
        streams
    })
}

fn layout(streams: Vec<Stream>) -> Layout {
    let rate = FrameRate::new(25, 2).expect("12.5 Hz");
    Layout::new("any", rate, streams).expect("streams by the rules of a layout")
}

/// Codes of each stream of a layout, a tenth of them absent and a tenth ungenerated.
///
/// The codes come of one seed. What shrinks is the shape.
///
/// # Shapes
/// `[batch, stream, time]`, with any number of examples and frames that the strategies give.
pub fn codes<B, T>(layout: &Layout, batch: B, frames: T) -> impl Strategy<Value = Frames<Array3<i64>>> + use<B, T>
where
    B: Strategy<Value = usize>,
    T: Strategy<Value = usize>,
{
    let layout = layout.clone();
    (batch, frames, any::<u64>().no_shrink())
        .prop_map(move |(batch, frames, seed)| codes_of(&layout, batch, frames, seed))
}

/// The codes that a seed stands for, where the shape is known: always the same for the same seed.
///
/// # Shapes
/// `[batch, stream, time]`.
pub fn codes_of(layout: &Layout, batch: usize, frames: usize, seed: u64) -> Frames<Array3<i64>> {
    let mut state = seed;
    let mut next = || {
        // Any sequence that visits all codes will do: a 64-bit linear congruence.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as i64
    };
    let shape = (batch, layout.streams().len(), frames);
    Frames(Array3::from_shape_fn(shape, |(_, k, _)| match next() % 10 {
        0 => ABSENT,
        1 => UNGENERATED,
        _ => next() % i64::from(layout.streams()[k].cardinality),
    }))
}

/// Every way of beginning and ending a sequence.
pub fn extents() -> impl Strategy<Value = (Extent, Start)> {
    let extent = prop_oneof![Just(Extent::Extend), Just(Extent::Truncate)];
    (extent, prop_oneof![Just(Start::None), Just(Start::Initial)])
}

/// Any pattern that a layout of `streams` streams may have: each kind, with delays of up to 18 frames.
///
/// # Panics
/// If there are no streams.
pub fn patterns(streams: usize) -> impl Strategy<Value = Pattern> {
    assert!(streams > 0, "a pattern is for one stream or more");
    let any_delays = move || prop_oneof![delays(streams), Just(Delays::Layout)];
    let parallel = (-1..4_i64).prop_map(|empty_initial| Pattern::Parallel { empty_initial });
    let delay = (any_delays(), prop_oneof![Just(0), 1..40_usize], -1..4_i64)
        .prop_map(|(delays, flatten_first, empty_initial)| Pattern::Delay { delays, flatten_first, empty_initial });
    let coarse_first = delays(streams - 1).prop_map(|delays| Pattern::CoarseFirst { delays });
    let divisors: Vec<usize> = (1..=streams).filter(|&size| streams.is_multiple_of(size)).collect();
    prop_oneof![
        parallel.clone(),
        delay,
        flattening(streams),
        any_delays().prop_map(|delays| Pattern::Flatten { flattening: None, delays }),
        partial_flatten(streams),
        // One stream alone has no finer ones.
        if streams > 1 { coarse_first.boxed() } else { parallel.boxed() },
        prop::sample::select(divisors).prop_map(|group_by| Pattern::Musiclm { group_by }),
        any_delays().prop_map(|delays| Pattern::MultiRate { delays }),
    ]
}

fn delays(streams: usize) -> impl Strategy<Value = Delays> {
    let each = ascending(streams, 9).prop_map(Delays::Each);
    prop_oneof![Just(Delays::None), Just(Delays::Staircase), each]
}

/// Inner steps with gaps, and a delay for each group.
fn flattening(streams: usize) -> impl Strategy<Value = Pattern> {
    (ascending(streams, streams + 2), ascending(streams + 3, 9)).prop_map(|(inner, of_inner)| {
        let delays = Delays::Each(inner.iter().map(|&step| of_inner[step]).collect());
        Pattern::Flatten { flattening: Some(inner), delays }
    })
}

/// One delay for the first stream, and one for the others.
fn partial_flatten(streams: usize) -> impl Strategy<Value = Pattern> {
    (0..9_usize, 0..9_usize).prop_map(move |(first, more)| {
        let delays = (0..streams).map(|k| if k == 0 { first } else { first + more });
        Pattern::PartialFlatten { delays: Delays::Each(delays.collect()) }
    })
}

fn ascending(len: usize, most: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(0..=most, len).prop_map(|mut numbers| {
        numbers.sort_unstable();
        numbers
    })
}
