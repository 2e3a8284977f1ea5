//! Against counting the slow way.

use std::collections::BTreeMap;

use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::batch::Split;
use crate::stream::Frames;
use crate::units::Seconds;

fn layout() -> Layout {
    Layout::preset("delay-1").unwrap()
}

fn segment(codes: Array2<i32>) -> Segment {
    Segment {
        id: "a.wav".into(),
        path: "a.wav".into(),
        start: Seconds::ZERO,
        duration: layout().frame_rate().start_of(codes.ncols()),
        codes: Frames(codes),
        words: vec![],
        regions: vec![],
        split: Split::Train,
        meta: String::new(),
    }
}

fn counted(segments: &[Segment]) -> CodebookCounts {
    let mut counts = CodebookCounts::new(&layout(), "drawn").unwrap();
    segments.iter().for_each(|segment| counts.add(segment).unwrap());
    counts
}

fn segments() -> impl Strategy<Value = Vec<Segment>> {
    let code = || prop_oneof![6 => 0..4i32, 1 => Just(-1), 1 => Just(-2), 2 => 0..2048i32];
    let one = (0usize..40).prop_flat_map(move |frames| prop::collection::vec(code(), 3 * frames));
    let rows = |codes: Vec<i32>| segment(Array2::from_shape_vec((3, codes.len() / 3), codes).unwrap());
    prop::collection::vec(one.prop_map(rows), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn figures_are_those_of_the_slow_way(segments in segments(), floor in 0u64..5) {
        let found = counted(&segments).statistics(Threshold::Count(floor as f64));
        prop_assert_eq!((found.segments, found.codebooks.len()), (segments.len() as u64, 2));
        for (k, codebook) in found.codebooks.iter().enumerate() {
            let cells: Vec<i32> = segments.iter().flat_map(|segment| segment.codes.0.row(k + 1).to_vec()).collect();
            let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
            cells.iter().filter(|&&code| code >= 0).for_each(|&code| *counts.entry(code).or_default() += 1);
            let total: u64 = counts.values().sum();
            prop_assert_eq!((codebook.counted.total, codebook.absent), (total, cells.len() as u64 - total));
            prop_assert_eq!(codebook.counted.used, counts.len());
            if total == 0 {
                prop_assert_eq!((codebook.counted.perplexity, codebook.counted.most), (None, None));
                continue;
            }
            let alive = counts.values().filter(|&&n| n >= floor).count();
            prop_assert_eq!(codebook.counted.dead, Some(if floor == 0 { 0 } else { 2048 - alive }));
            let bits: f64 = counts.values().map(|&n| n as f64 / total as f64).map(|p| -p * p.log2()).sum();
            prop_assert!((codebook.counted.entropy_bits.unwrap() - bits).abs() < 1e-9);
            let most = counts.iter().max_by_key(|(code, n)| (**n, -**code)).map(|(code, n)| (*code as usize, *n));
            prop_assert_eq!(codebook.counted.most.map(|most| (most.code, most.count)), most);
        }
    }

    #[test]
    fn parts_that_went_through_json_add_up_to_the_whole(segments in segments(), cut in 0..7usize) {
        let (first, second) = segments.split_at(cut.min(segments.len()));
        let mut sum: CodebookCounts =
            serde_json::from_str(&serde_json::to_string(&counted(second)).unwrap()).unwrap();
        sum.merge(&counted(first)).unwrap();
        prop_assert_eq!(sum, counted(&segments));
    }
}

#[test]
fn moving_averages_follow_the_segments() {
    let mut counts = counted(&[]).with_average(0.75).unwrap();
    for codes in [[[0, 0], [5, 5], [6, -1]], [[0, 0], [5, 7], [6, 6]]] {
        counts.add(&segment(Array2::from_shape_fn((3, 2), |(k, t)| codes[k][t]))).unwrap();
    }
    let found = counts.statistics(Threshold::Share(0.2));
    let averages: Vec<_> = found.codebooks.iter().map(|codebook| codebook.ema.unwrap()).collect();
    // 0.25 of each segment's counts, the first of which decays once.
    assert_eq!((averages[0].total, averages[0].used, averages[0].most.unwrap().count), (0.875, 2, 0.625));
    assert_eq!((averages[1].total, averages[1].dead), (0.6875, Some(2047)));
    assert_eq!(found.codebooks[0].counted.total, 4);
}

#[test]
fn speakers_of_one_level_are_counted_together() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let mut counts = CodebookCounts::new(&layout, "drawn").unwrap();
    let codes = Array2::from_shape_fn((17, 3), |(k, t)| if k == 9 { 8 } else { t as i32 });
    counts.add(&segment(codes)).unwrap();
    let found = counts.statistics_by_level(Threshold::Ratio(0.01));
    assert_eq!((counts.statistics(Threshold::Ratio(0.01)).codebooks.len(), found.codebooks.len()), (16, 8));
    // Row 9 is the other speaker's level 0.
    let figures = |level: usize| (found.codebooks[level].counted.total, found.codebooks[level].counted.used);
    assert_eq!((figures(0), figures(1)), ((6, 4), (6, 3)));
    assert_eq!(found.codebooks[0].codebook, "level 0");
}

#[test]
fn what_cannot_be_added_is_refused() {
    let mut counts = counted(&[]);
    let refused = |counts: &mut CodebookCounts, other: &CodebookCounts| counts.merge(other).unwrap_err().to_string();
    let other = CodebookCounts::new(&Layout::preset("moshi-7b").unwrap(), "drawn").unwrap();
    assert_eq!(refused(&mut counts, &other), "layout is moshi-7b, expected delay-1 as before");
    let other = CodebookCounts::new(&layout(), "other").unwrap();
    assert_eq!(refused(&mut counts, &other), "codec is other, expected drawn as before");
    let other = counted(&[]).with_average(0.5).unwrap();
    assert_eq!(refused(&mut counts, &other), "counts to add is with moving averages, expected counts alone");
    let mut many = counted(&[]);
    many.streams[0].absent = u64::MAX;
    counts.streams[0].absent = 1;
    assert!(refused(&mut counts, &many).contains("sum of the counts"));
}

#[test]
fn counts_that_are_not_those_of_their_layout_are_refused() {
    let mut form = serde_json::to_value(counted(&[])).unwrap();
    form["streams"][1]["counts"] = serde_json::json!([1, 2]);
    let error = serde_json::from_value::<CodebookCounts>(form).unwrap_err().to_string();
    assert_eq!(error, "streams of the counts is others, expected those of the layout delay-1");
    let mut form = serde_json::to_value(counted(&[])).unwrap();
    form["streams"][1]["counts"][7] = serde_json::json!(-1);
    assert!(serde_json::from_value::<CodebookCounts>(form).is_err());
}

#[test]
fn codes_out_of_range_are_named() {
    let wrong = segment(Array2::from_shape_fn((3, 2), |(k, t)| if (k, t) == (2, 1) { 2048 } else { 0 }));
    let error = counted(&[]).add(&wrong).unwrap_err().to_string();
    assert!(error.contains("a.wav") && error.contains("code is 2048, expected 0..2048"), "{error}");
}
