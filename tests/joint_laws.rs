//! Laws of joint vocabularies: back is back, for any set of vocabularies, any overlap and any pattern.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Array3, ArrayD, Axis, concatenate, s};
use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use roundelay::delay::{Pattern, join_phases, split_phases};
use roundelay::pipeline::Flatten;
use roundelay::vocab::{Joint, Part};
use roundelay::{Frames, Layout};

mod common;

use common::strategies::{codes, layouts_of, multi_rate_layouts, patterns};

/// A part: a range anywhere, or ids in any order, in a space so small that parts overlap.
fn part(name: String) -> impl Strategy<Value = Part> {
    let range = (0..40_usize, 1..30_usize, Just(name.clone()));
    let range = range.prop_map(|(first, size, name)| Part::range(name, first, size).unwrap());
    let map = hash_set(0..60_u32, 1..30).prop_map(|ids| ids.into_iter().collect::<Vec<_>>()).prop_shuffle();
    prop_oneof![range, map.prop_map(move |ids| Part::map(name.clone(), ids).unwrap())]
}

/// One to six parts, with up to nine ids of no part behind them.
fn joints() -> impl Strategy<Value = Joint> {
    let parts = (1..=6_usize).prop_flat_map(|count| (0..count).map(|n| part(format!("p{n}"))).collect::<Vec<_>>());
    (parts, 0..10_usize).prop_map(|(parts, more)| {
        let size = Joint::new(parts.clone()).unwrap().size();
        Joint::with_size(size + more, parts).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ids_come_back_and_belong_where_the_mask_says(joint in joints()) {
        for part in joint.parts() {
            let ids = Array1::from_iter(-2..part.size() as i64);
            let encoded = part.encode(&ids).unwrap();
            prop_assert_eq!(&part.decode(&encoded).unwrap(), &ids);
            // The slow way round: ask of every joint id which of the part's it is.
            let slow: BTreeMap<u32, u32> = (0..part.size() as u32).map(|id| (part.joint(id).unwrap(), id)).collect();
            prop_assert_eq!(slow.len(), part.size(), "no two to the same");
            let mask = part.mask();
            prop_assert_eq!(mask.len(), joint.size());
            for id in 0..joint.size() as u32 + 3 {
                prop_assert_eq!(part.local(id), slow.get(&id).copied());
                prop_assert_eq!(mask.get(id as usize).copied().unwrap_or(false), slow.contains_key(&id));
                prop_assert_eq!(joint.parts_of(id).any(|of| of.name() == part.name()), slow.contains_key(&id));
            }
            prop_assert!(part.in_joint_order().eq(slow.into_iter()));
            prop_assert_eq!(part.joint(part.size() as u32), None);
            prop_assert!(part.encode(&Array1::from_elem(1, part.size() as i64)).is_err());
        }
        for (one, other) in joint.parts().iter().flat_map(|one| joint.parts().iter().map(move |other| (one, other))) {
            let shared = one.mask().into_iter().zip(other.mask()).filter(|(one, other)| *one && *other).count();
            prop_assert_eq!(one.shared_with(other), shared);
            prop_assert_eq!(joint.shared_ids(one.name(), other.name()).unwrap().len(), shared);
        }
        let unused = (0..joint.size() as u32).filter(|&id| joint.parts_of(id).next().is_none()).count();
        prop_assert_eq!(joint.of_no_part(), unused);
        for part in joint.parts() {
            let mask = part.mask();
            prop_assert_eq!(mask.iter().position(|&own| own), Some(part.least()));
            prop_assert_eq!(mask.iter().rposition(|&own| own), Some(part.end() - 1));
        }
        prop_assert_eq!(Joint::from_json(&joint.to_json()).unwrap(), joint);
    }

    #[test]
    fn logits_come_back_and_the_rest_has_nothing(joint in joints(), batch in 0..3_usize) {
        for part in joint.parts() {
            let logits = Array2::from_shape_fn((batch, part.size()), |(b, j)| (7 * b + j) as f32);
            let wide = part.widen(&logits).unwrap();
            prop_assert_eq!(wide.dim(), (batch, joint.size()));
            prop_assert_eq!(&part.narrow(&wide).unwrap(), &logits);
            for ((b, id), &logit) in wide.indexed_iter() {
                let own = part.local(id as u32).map(|own| logits[(b, own as usize)]);
                prop_assert_eq!(logit, own.unwrap_or(f32::NEG_INFINITY));
            }
            let mut masked = Array2::from_shape_fn((batch, joint.size()), |(b, id)| {
                part.local(id as u32).map_or(5.0, |own| logits[(b, own as usize)])
            });
            part.mask_others(&mut masked).unwrap();
            prop_assert_eq!(masked, wide);
        }
    }

    #[test]
    fn disjoint_and_shared_are_what_their_names_say(sizes in vec(1..500_usize, 1..8)) {
        let names: Vec<String> = (0..sizes.len()).map(|n| n.to_string()).collect();
        let parts: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
        let (disjoint, shared) = (Joint::disjoint(&parts).unwrap(), Joint::shared(&parts).unwrap());
        prop_assert_eq!(disjoint.size(), sizes.iter().sum::<usize>());
        prop_assert_eq!(shared.size(), *sizes.iter().max().unwrap());
        for id in 0..disjoint.size() as u32 {
            prop_assert_eq!(disjoint.parts_of(id).count(), 1);
        }
        for id in 0..shared.size() as u32 {
            prop_assert!(shared.parts_of(id).all(|part| part.local(id) == Some(id)));
            prop_assert_eq!(shared.parts_of(id).count(), sizes.iter().filter(|&&size| size > id as usize).count());
        }
    }
}

/// Layouts of any kind, with a pattern, codes, and words that stand in front.
fn flattened() -> impl Strategy<Value = (Layout, Pattern, Frames<Array3<i64>>, Array2<i64>)> {
    let layouts = prop_oneof![multi_rate_layouts().boxed(), layouts_of(1..=9, 0..=4).boxed()];
    layouts.prop_flat_map(|layout| {
        let (streams, batch) = (layout.streams().len(), 1..3_usize);
        let phased = layout.streams().iter().any(|stream| stream.phase.is_some());
        let pattern = patterns(streams).prop_filter("for a layout with phases", move |pattern| {
            phased || !matches!(pattern, Pattern::MultiRate { .. })
        });
        (Just(layout), pattern, batch, 0..12_usize, 0..5_usize).prop_flat_map(
            |(layout, pattern, batch, frames, words)| {
                let codes = codes(&layout, batch..=batch, frames..=frames);
                let words = vec(0..50_i64, batch * words)
                    .prop_map(move |ids| Array2::from_shape_vec((batch, words), ids).unwrap());
                (Just(layout), Just(pattern), codes, words)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn flattened_codes_come_back(
        (layout, pattern, codes, words) in flattened(),
        (split, begin) in (0..5_usize, any::<bool>()),
    ) {
        let joint = Joint::of_layout(&layout, &[("words", 50), ("more", 50), ("begin", 1), ("end", 1)]).unwrap();
        let flatten = Flatten::new(layout, pattern, joint).unwrap();
        // Two rows, either of which may be empty, with something between them and the codes or nothing.
        let (front, begin) = if begin { (&["words", "more", "begin"][..], 1) } else { (&["words", "more"][..], 0) };
        let flatten = flatten.between(front, &["end"]).unwrap();
        let (words, more) = words.view().split_at(Axis(1), words.ncols().min(split));
        let row = flatten.row(&codes, &[words.into_dyn(), more.into_dyn()]).unwrap();
        let (batch, streams, frames) = codes.0.dim();
        prop_assert_eq!(row.shape(), [batch, words.ncols() + more.ncols() + begin + streams * frames + 1]);
        let back = flatten.codes(&row).unwrap();
        prop_assert_eq!(&back.codes.0, &codes.0.clone().into_dyn());
        prop_assert_eq!(back.rows, vec![words.to_owned().into_dyn(), more.to_owned().into_dyn()]);
        // Row by row it is the same.
        for b in 0..batch {
            let one = Frames(codes.0.index_axis(Axis(0), b));
            let alone = flatten.row(&one, &[words.row(b).into_dyn(), more.row(b).into_dyn()]).unwrap();
            prop_assert_eq!(&alone, &row.index_axis(Axis(0), b));
        }
    }

    #[test]
    fn levels_of_snac_like_rates_come_back_from_one_row(
        rates in vec(1..=4_usize, 1..=4),
        frames in 0..6_usize,
        seed in any::<u32>(),
    ) {
        // Level l at rates[l] codes a frame, as a codec gives them: rows of unlike lengths.
        let code = |level: usize, n: usize| (seed as usize).wrapping_mul(31).wrapping_add(97 * level + n) as i64 & 255;
        let levels: Vec<Array1<i64>> =
            rates.iter().enumerate().map(|(l, rate)| (0..rate * frames).map(|n| code(l, n)).collect()).collect();
        let streams = rates.iter().enumerate().flat_map(|(level, &rate)| (0..rate).map(move |phase| (level, phase)));
        let layout = snac_like(streams);
        let phases: Vec<_> = levels.iter().zip(&rates).map(|(row, &rate)| split_phases(row.view(), rate).unwrap()).collect();
        let views: Vec<_> = phases.iter().map(|phases| phases.view()).collect();
        let codes = Frames(concatenate(Axis(0), &views).unwrap());

        let joint = Joint::of_layout(&layout, &[]).unwrap();
        let flatten = Flatten::new(layout, "multi-rate".parse().unwrap(), joint).unwrap();
        let row = flatten.row(&codes, &[]).unwrap();
        prop_assert_eq!(row.len(), rates.iter().sum::<usize>() * frames);
        let back: Array2<i64> = flatten.codes(&row).unwrap().codes.0.into_dimensionality().unwrap();
        let mut first = 0;
        for (level, &rate) in levels.iter().zip(&rates) {
            prop_assert_eq!(&join_phases(back.slice(s![first..first + rate, ..])), level);
            first += rate;
        }
    }
}

fn snac_like(streams: impl Iterator<Item = (usize, usize)>) -> Layout {
    let stream = |(level, phase)| {
        format!(
            r#"{{"name":"{level}.{phase}","kind":"acoustic","speaker":"main","level":{level},"phase":{phase},
            "cardinality":256,"delay":0,"initial":256,"pad":256,"trained":true}}"#
        )
    };
    let streams: Vec<String> = streams.map(stream).collect();
    Layout::from_json(&format!(r#"{{"name":"like-snac","frame_rate":12,"streams":[{}]}}"#, streams.join(","))).unwrap()
}

#[test]
fn rows_of_any_axes_are_refused_but_one_and_two() {
    let flatten = Flatten::preset("orpheus").unwrap();
    let error = flatten.codes(&ArrayD::<i64>::zeros(vec![1, 1, 9])).unwrap_err().to_string();
    assert_eq!(error, "number of axes of the row is 3, expected 1, as [step], or 2, as [batch, step]");
}
