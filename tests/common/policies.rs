//! Policies and regions drawn at random.

use proptest::collection::btree_map;
use proptest::prelude::*;
use roundelay::weights::{DepthFrames, PadIds, Region, SemanticStreams};
use roundelay::{Layout, Normalize, Policy, Seconds};

/// Any policy over streams of such names.
pub fn policies(streams: usize) -> impl Strategy<Value = Policy> {
    let factor = || prop::sample::select(vec![0.0_f32, 0.25, 0.3, 1.0, 2.0, 100.0]);
    let ids = prop_oneof![Just(PadIds::Pad), Just(PadIds::PadAndEndPad)];
    let semantic = prop_oneof![Just(SemanticStreams::All), Just(SemanticStreams::FirstAudio)];
    let normalize = prop_oneof![Just(Normalize::None), Just(Normalize::Modality), Just(Normalize::Class)];
    let depth = (prop::sample::select(vec![0.0, 0.3, 1.0]), any::<u64>());
    let depth = prop::option::of(depth.prop_map(|(share, seed)| DepthFrames { share, seed }));
    let named = btree_map((0..streams).prop_map(|k| format!("s{k}")), factor(), 0..3);
    let weights = (factor(), factor(), factor());
    (weights, ids, semantic, named, any::<bool>(), normalize, depth).prop_map(
        |(
            (text_pad, semantic, acoustic),
            pad_ids,
            semantic_streams,
            streams,
            learned_tails,
            normalize,
            depth_frames,
        )| {
            Policy {
                text_pad,
                pad_ids,
                semantic,
                acoustic,
                semantic_streams,
                streams,
                learned_tails,
                normalize,
                depth_frames,
            }
        },
    )
}

/// Spans of time around the first frames.
pub fn regions() -> impl Strategy<Value = Region> {
    let weight = prop::sample::select(vec![0.0_f32, 0.5, 1.0, 3.3]);
    (-100..600_i64, 1..300_i64, weight).prop_map(|(start, length, weight)| {
        let seconds = |hundredths: i64| Seconds::from_f64(hundredths as f64 / 100.0).unwrap();
        Region { start: seconds(start), end: seconds(start + length), weight }
    })
}

/// A layout with a policy that may name its streams.
pub fn weighed(layouts: impl Strategy<Value = Layout>) -> impl Strategy<Value = (Layout, Policy)> {
    layouts.prop_flat_map(|layout| {
        let streams = layout.streams().len();
        (Just(layout), policies(streams))
    })
}
