//! From folders to batches: every segment once an epoch over all ranks, and on from any step as if nothing had happened.
#![cfg(feature = "io")]

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, s};
use proptest::prelude::*;
use roundelay::batch::{Ahead, Collate, Crop, OrderOptions, Packing, Place, Segment, Shuffle, Split};
use roundelay::io::{self, Dataset, DatasetInfo, Identity, Loaded, Loader, LoaderOptions, PartWriter};
use roundelay::pipeline::SliceText;
use roundelay::text::{Augment, PlacedWord, ShiftRange, TextDrop, Unit, Word};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Seconds, Start};

fn layout() -> Layout {
    Layout::preset("delay-1").unwrap()
}

fn segment(name: &str, n: usize, frames: usize) -> Segment {
    let time = |frame: usize| format!("{}", frame as f64 * 0.08).parse::<Seconds>().unwrap();
    let word = Word::new("no", time(frames / 2), time(frames / 2 + 1), "SPEAKER_MAIN");
    Segment {
        id: format!("{name}{n}"),
        path: format!("{name}{n}"),
        start: Seconds::ZERO,
        duration: time(frames),
        codes: Frames(Array2::from_shape_fn((3, frames), |(k, t)| ((100 * n + 10 * k + t) % 2048) as i32)),
        words: vec![PlacedWord { frame: Some(frames / 2), ..PlacedWord::new(word, vec![77]) }],
        regions: vec![],
        split: if n.is_multiple_of(4) { Split::Valid } else { Split::Train },
        meta: "{}".into(),
    }
}

/// Two parts, of row groups of about 60 tokens.
fn write(folder: &Path, name: &str, lengths: &[usize]) -> Dataset {
    let mut info = DatasetInfo::new(&layout(), Identity { name: "codes".into(), sha256: None }, None);
    info.options.insert("rule".into(), "moshi".into());
    io::write_atomic(&folder.join(io::LAYOUT_FILE), layout().to_json().as_bytes()).unwrap();
    let halves = [0..lengths.len() / 2, lengths.len() / 2..lengths.len()];
    for (part, numbers) in halves.into_iter().enumerate() {
        let path = folder.join(DatasetInfo::part_name(part));
        let mut writer = PartWriter::with_group_size(&path, &layout(), 60).unwrap();
        numbers.for_each(|n| writer.write(&segment(name, n, lengths[n])).unwrap());
        info.parts.push(writer.finish().unwrap());
    }
    info.counts.segments = lengths.len() as u64;
    io::write_json_atomic(&folder.join(io::INFO_FILE), &info).unwrap();
    Dataset::open(folder).unwrap()
}

fn loader(datasets: Vec<(Dataset, f64)>, options: LoaderOptions) -> roundelay::Result<Loader<Delay>> {
    let delay = Delay::new(&layout(), Extent::Extend, Start::Initial);
    let collate = Collate::new(layout(), Policy::named("moshi").unwrap(), delay).unwrap();
    Loader::new(datasets, collate, options)
}

/// What is compared between runs.
fn copy(loaded: &Loaded) -> Loaded {
    loaded.clone()
}

/// The batches of one rank, to the end of some epochs.
fn all(loader: &Loader<Delay>, from: Place, epochs: u64) -> Vec<Loaded> {
    let mut batches = loader.batches(from, Some(epochs), Ahead { threads: 3, depth: 4 }).unwrap();
    let mut seen = Vec::new();
    while let Some(loaded) = batches.next() {
        seen.push(copy(loaded.unwrap()));
    }
    seen
}

fn ids(batches: &[Loaded]) -> impl Iterator<Item = String> {
    batches.iter().flat_map(|loaded| loaded.batch.rows.iter().flatten().map(|placed| placed.id.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_segment_is_seen_once_an_epoch_and_a_resumed_run_goes_on(
        lengths in prop::collection::vec(0usize..30, 1..40),
        world in 1usize..=8,
        batch in 1usize..4,
        pool in 1usize..40,
        stop in any::<prop::sample::Index>(),
        blocks: bool,
        pack: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let packing = pack.then_some(Packing { steps: 40, overhead: 2 });
        let shuffle = if blocks { Shuffle::Blocks } else { Shuffle::Full };
        let order = OrderOptions { batch, world, pool, shuffle, packing, seed: 3, ..OrderOptions::default() };
        let of_rank = |rank| {
            let options = LoaderOptions { order: order.clone(), rank, split: None, cache: 4000, ..LoaderOptions::default() };
            loader(vec![(Dataset::open(folder.path()).unwrap(), 1.0)], options).unwrap()
        };
        write(folder.path(), "a", &lengths);

        let mut counts: BTreeMap<(u64, String), usize> = BTreeMap::new();
        let mut shapes: Vec<Vec<_>> = Vec::new();
        for rank in 0..world {
            let loader = of_rank(rank);
            let unbroken = all(&loader, Place::default(), 2);
            for loaded in &unbroken {
                ids(std::slice::from_ref(loaded)).for_each(|id| *counts.entry((loaded.place.epoch, id)).or_default() += 1);
            }
            shapes.push(unbroken.iter().map(|loaded| (loaded.place, loaded.batch.shape())).collect());

            // Stopped after some batches; a new process reads its position from a file.
            let stop = stop.index(unbroken.len());
            let mut batches = loader.batches(Place::default(), None, Ahead::default()).unwrap();
            for expected in &unbroken[..stop] {
                prop_assert_eq!(&copy(batches.next().unwrap().unwrap()), expected);
            }
            let position = serde_json::to_string(&batches.position().unwrap()).unwrap();
            drop(batches);
            let again = of_rank(rank);
            let from = again.order().seek(&serde_json::from_str(&position).unwrap()).unwrap();
            let mut batches = again.batches(from, None, Ahead::default()).unwrap();
            for expected in &unbroken[stop..] {
                prop_assert_eq!(&copy(batches.next().unwrap().unwrap()), expected);
            }
        }
        prop_assert!(shapes.windows(2).all(|two| two[0] == two[1]));
        let expected = (0..2).flat_map(|epoch| (0..lengths.len()).map(move |n| ((epoch, format!("a{n}")), 1)));
        prop_assert_eq!(counts, expected.collect());
    }
}

#[test]
fn a_side_of_the_split_is_read_whole_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lengths: Vec<usize> = (0..30).map(|n| 5 + n % 9).collect();
    write(folder.path(), "a", &lengths);
    for (split, expected) in [(Split::Valid, 8), (Split::Train, 22)] {
        let options = LoaderOptions { split: Some(split), evaluation: true, ..LoaderOptions::default() };
        let loader = loader(vec![(Dataset::open(folder.path()).unwrap(), 0.3)], options).unwrap();
        let batches = all(&loader, Place::default(), 1);
        let mut ids: Vec<_> = ids(&batches).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), expected);
        let of_split = |id: &String| id[1..].parse::<usize>().unwrap().is_multiple_of(4) == (split == Split::Valid);
        assert!(ids.iter().all(of_split));
        assert!(batches.iter().flat_map(|loaded| &loaded.batch.rows).any(Vec::is_empty), "the last batch is not full");
    }
}

#[test]
fn several_datasets_are_mixed_by_their_weights() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] =
        [("a", 12), ("b", 40)].map(|(name, n)| write(folders[(name == "b") as usize].path(), name, &vec![9; n]));
    let options = LoaderOptions { split: None, ..LoaderOptions::default() };
    let loader = loader(vec![(a, 2.0), (b, 0.5)], options).unwrap();
    let batches = all(&loader, Place::default(), 2);
    let mut counts = BTreeMap::new();
    ids(&batches).for_each(|id| *counts.entry(id).or_insert(0) += 1);
    assert!((0..12).all(|n| counts[&format!("a{n}")] == 4));
    assert!((0..40).all(|n| counts[&format!("b{n}")] == 1));
    let datasets =
        batches.iter().flat_map(|loaded| loaded.made.iter().flatten().zip(loaded.batch.rows.iter().flatten()));
    assert!(
        datasets.clone().count() == 88 && { datasets }
            .all(|(made, placed)| (made.dataset == 1) == placed.id.starts_with('b'))
    );
}

#[test]
fn crops_and_augmented_text_are_those_of_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let lengths: Vec<usize> = (0..20).map(|n| 8 + n).collect();
    let dataset = write(folder.path(), "a", &lengths);
    let shift = ShiftRange { least: "-0.16".parse().unwrap(), most: "0.16".parse().unwrap() };
    let drop = TextDrop { probability: 0.3, unit: Unit::Position };
    let options = LoaderOptions {
        order: OrderOptions { batch: 4, crop: Crop::Random { frames: 12 }, ..OrderOptions::default() },
        split: None,
        text: SliceText::Start,
        augment: Some(Augment { drop: Some(drop), shift: Some(shift), seed: 5 }),
        ..LoaderOptions::default()
    };
    let segments: BTreeMap<_, _> =
        dataset.segments().map(Result::unwrap).map(|segment| (segment.id.clone(), segment)).collect();
    let loader = loader(vec![(dataset, 1.0)], options).unwrap();
    let batches = all(&loader, Place::default(), 2);
    let (mut audio, mut dropped, mut starts) = (0, 0, BTreeMap::<_, Vec<_>>::new());
    for loaded in &batches {
        assert!(loaded.batch.shape().2 <= 12 + 1);
        for (row, made) in loaded.made.iter().enumerate().filter(|(_, made)| !made.is_empty()) {
            let (made, undone) = (&made[0], &loaded.batch.undo(loader.collate().sequencer(), row).unwrap()[0]);
            let id = &loaded.batch.rows[row][0].id;
            let expected = segments[id].codes.0.slice(s![1.., made.frames.clone()]);
            assert_eq!(undone.codes.0.slice(s![1.., ..]), expected, "audio of {id}");
            audio += 1;
            dropped += made.augmented[0].dropped;
            let text = undone.codes.0.row(0);
            assert_eq!(text.iter().filter(|&&id| id == -1).count() as u64, made.augmented[0].dropped);
            starts.entry(id.clone()).or_default().push(made.frames.start);
        }
    }
    assert_eq!((audio, batches.len()), (40, 10));
    assert!(dropped > 0 && starts.values().any(|starts| starts[0] != starts[1]), "drawn anew each epoch");
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Dataset::open(folder.path()).unwrap();
    write(folder.path(), "a", &[5; 12]);
    let refusal = |options| loader(vec![(open(), 1.0)], options).unwrap_err().to_string();
    let plain = LoaderOptions::default;
    assert_eq!(refusal(LoaderOptions { rank: 1, ..plain() }), "rank is 1, expected below 1, the number of ranks");
    let sides = OrderOptions { both_sides: true, ..OrderOptions::default() };
    assert!(refusal(LoaderOptions { order: sides, ..plain() }).contains("not supported"));
    let none = loader(vec![(open(), 0.0)], plain()).unwrap_err().to_string();
    assert_eq!(none, "number of segments (train) is 0, expected at least 1");
    let other = Layout::preset("moshi-7b").unwrap();
    let delay = Delay::new(&other, Extent::Extend, Start::Initial);
    let collate = Collate::new(other, Policy::named("moshi").unwrap(), delay).unwrap();
    let error = Loader::new(vec![(open(), 1.0)], collate, plain()).unwrap_err().to_string();
    assert!(error.ends_with("layout is another, \"delay-1\", expected that of the collation, \"moshi-7b\""), "{error}");

    let other = tempfile::tempdir().unwrap();
    write(other.path(), "b", &[5; 3]);
    let path = other.path().join(io::INFO_FILE);
    let info = std::fs::read_to_string(&path).unwrap().replace("\"codes\"", "\"mimi\"");
    std::fs::write(&path, info).unwrap();
    let unlike = loader(vec![(open(), 1.0), (Dataset::open(other.path()).unwrap(), 1.0)], plain());
    let error = unlike.unwrap_err().to_string();
    assert!(error.contains("codec is mimi, expected that of ") && error.ends_with(", codes"), "{error}");

    // A part that is damaged after the index was made: its batches are errors, the others come.
    let whole = loader(vec![(open(), 1.0)], LoaderOptions { evaluation: true, split: None, ..plain() });
    let part = folder.path().join(DatasetInfo::part_name(1));
    let bytes = std::fs::read(&part).unwrap();
    std::fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    drop(whole);
    let order = OrderOptions { batch: 2, pooling: false, ..OrderOptions::default() };
    let options = LoaderOptions { evaluation: true, split: None, order, ..plain() };
    let damaged = loader(vec![(open(), 1.0)], options).unwrap();
    let mut batches = damaged.batches(Place::default(), Some(1), Ahead::default()).unwrap();
    let mut results = Vec::new();
    while let Some(loaded) = batches.next() {
        results.push(loaded.map(|loaded| loaded.place.step).map_err(|e| e.to_string()));
    }
    assert_eq!(results.iter().filter_map(|r| r.as_ref().ok()).collect::<Vec<_>>(), [&0, &1, &2]);
    let names = |e: &String| e.contains("part-00001.parquet: recording \"a");
    assert!(results[3..].iter().all(|r| r.as_ref().is_err_and(names)), "{results:?}");
}
