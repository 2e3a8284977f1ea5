//! Datasets by number: every segment is found, from any thread, whatever became of the index.
#![cfg(feature = "io")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;
use proptest::prelude::*;
use roundelay::batch::{Order, OrderOptions, Place, Segment, Source, Split};
use roundelay::io::{self, Dataset, DatasetInfo, INDEX_FILE, Identity, PartWriter};
use roundelay::text::{PlacedWord, Word};
use roundelay::{Frames, Layout, Seconds};

fn layout() -> Layout {
    Layout::preset("delay-1").unwrap()
}

/// Segment `n` of so many frames; every third is held out, every second has a word.
fn segment(n: usize, frames: usize) -> Segment {
    let word = PlacedWord::new(Word::new("no", Seconds::ZERO, Seconds::ZERO, "A"), vec![n as i32]);
    Segment {
        id: format!("{}@{n}", n % 7),
        path: format!("{}", n % 7),
        start: Seconds::ZERO,
        duration: Seconds::ZERO,
        codes: Frames(Array2::from_shape_fn((3, frames), |(k, t)| ((n + 10 * k + t) % 2048) as i32)),
        words: vec![word; n % 2],
        regions: vec![],
        split: if n.is_multiple_of(3) { Split::Valid } else { Split::Train },
        meta: "{}".into(),
    }
}

/// Writes parts with row groups of about so many tokens.
fn write_dataset(folder: &Path, parts: &[Vec<Segment>], group: usize) {
    let mut info = DatasetInfo::new(&layout(), Identity { name: "codes".into(), sha256: None }, None);
    io::write_atomic(&folder.join(io::LAYOUT_FILE), layout().to_json().as_bytes()).unwrap();
    for (n, segments) in parts.iter().enumerate() {
        let path = folder.join(DatasetInfo::part_name(n));
        let mut writer = PartWriter::with_group_size(&path, &layout(), group).unwrap();
        segments.iter().for_each(|segment| writer.write(segment).unwrap());
        info.parts.push(writer.finish().unwrap());
    }
    info.counts.segments = info.parts.iter().map(|part| part.rows).sum();
    io::write_json_atomic(&folder.join(io::INFO_FILE), &info).unwrap();
}

/// So many segments in parts of 1, 2, 3 and so on.
fn parts(lengths: &[usize]) -> Vec<Vec<Segment>> {
    let (mut n, mut parts) = (0, Vec::new());
    let mut rest = lengths;
    while !rest.is_empty() {
        let (part, left) = rest.split_at(rest.len().min(parts.len() + 1));
        parts.push(part.iter().enumerate().map(|(i, &frames)| segment(n + i, frames)).collect());
        (n, rest) = (n + part.len(), left);
    }
    parts
}

/// Checks that what the index and `get` say is what reading in order gives.
fn check(dataset: &Dataset, expected: &[Segment]) {
    let index = dataset.index().unwrap();
    let lengths: Vec<u32> = expected.iter().map(|segment| segment.codes.0.ncols() as u32).collect();
    assert_eq!(index.frames(), lengths);
    assert_eq!(index.len(), expected.len());
    assert_eq!(
        index.blocks().iter().flat_map(|block| block.clone()).collect::<Vec<_>>(),
        Vec::from_iter(0..expected.len())
    );
    for (n, segment) in expected.iter().enumerate().rev() {
        assert_eq!((index.id(n), index.split(n)), (segment.id.as_str(), segment.split));
        assert_eq!(index.number(&segment.id), Some(n));
        assert_eq!(*dataset.get(n).unwrap(), *segment);
    }
    assert_eq!(index.number("none"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_segment_is_found_by_number_and_id(
        lengths in prop::collection::vec(0usize..20, 0..30),
        group in 1usize..300,
        cache in prop::sample::select(vec![0, 3000, usize::MAX]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let parts = parts(&lengths);
        write_dataset(folder.path(), &parts, group);
        let expected = parts.concat();
        let dataset = Dataset::open(folder.path()).unwrap().with_cache(cache);
        check(&dataset, &expected);
        prop_assert!(dataset.get(expected.len()).is_err());
        let again = Dataset::open(folder.path()).unwrap();
        prop_assert_eq!(again.index().unwrap(), dataset.index().unwrap());
        prop_assert_eq!(again.segments().collect::<Result<Vec<_>, _>>().unwrap(), expected.clone());
        for segment in expected.iter().take(3) {
            prop_assert_eq!(&again.segment(&segment.id).unwrap(), segment);
        }
    }
}

/// A dataset of 40 segments, its segments, and the bytes of its index.
fn sample(folder: &Path) -> (Vec<Segment>, Vec<u8>) {
    let lengths: Vec<usize> = (0..40).map(|n| n % 9).collect();
    let parts = parts(&lengths);
    write_dataset(folder, &parts, 60);
    check(&Dataset::open(folder).unwrap(), &parts.concat());
    (parts.concat(), fs::read(folder.join(INDEX_FILE)).unwrap())
}

#[test]
fn a_damaged_index_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (segments, index) = sample(folder.path());
    let path = folder.path().join(INDEX_FILE);
    let mut cases = 0;
    for at in (0..index.len()).step_by(7) {
        let mut flipped = index.clone();
        flipped[at] ^= 1 << (at % 8);
        for damaged in [&index[..at], &flipped, &[&index[..], &[0]].concat()] {
            fs::write(&path, damaged).unwrap();
            check(&Dataset::open(folder.path()).unwrap(), &segments);
            assert!(fs::read(&path).unwrap() == index, "{at}");
            cases += 1;
        }
    }
    assert!(cases > 300, "{cases}");
}

#[test]
fn an_index_of_another_dataset_is_made_anew() {
    let [folder, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let (segments, index) = sample(folder.path());
    // The same parts, and another description of them.
    sample(other.path());
    let info = other.path().join(io::INFO_FILE);
    fs::write(&info, fs::read_to_string(&info).unwrap().replace("\"codes\"", "\"mimi\"")).unwrap();
    fs::write(other.path().join(INDEX_FILE), &index).unwrap();
    check(&Dataset::open(other.path()).unwrap(), &segments);
    assert!(fs::read(other.path().join(INDEX_FILE)).unwrap() != index);
    // Other parts than when the index was made.
    let fewer = parts(&[4, 4, 4]);
    write_dataset(folder.path(), &fewer, 60);
    check(&Dataset::open(folder.path()).unwrap(), &fewer.concat());
}

#[test]
fn where_no_index_can_be_written_reading_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (segments, _) = sample(folder.path());
    let path = folder.path().join(INDEX_FILE);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check(&Dataset::open(folder.path()).unwrap(), &segments);
    assert!(path.is_dir());
}

#[test]
fn a_part_that_is_not_the_indexs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (segments, _) = sample(folder.path());
    let mut changed = parts(&(0..40).map(|n| n % 9).collect::<Vec<_>>());
    changed[3][1].id = "another".into();
    let path = folder.path().join(DatasetInfo::part_name(3));
    let mut writer = PartWriter::with_group_size(&path, &layout(), 60).unwrap();
    changed[3].iter().for_each(|segment| writer.write(segment).unwrap());
    writer.finish().unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    let error = dataset.get(7).unwrap_err().to_string();
    assert!(error.contains("part-00003.parquet: part is ill-formed: it is not that of index.bin"), "{error}");
    assert_eq!(*dataset.get(0).unwrap(), segments[0]);
    assert_eq!(dataset.get(7).unwrap_err().to_string(), error);
    let error = dataset.get(40).unwrap_err().to_string();
    assert!(error.contains("number of a segment is 40, expected one of its 40 segments"), "{error}");
}

#[test]
fn threads_read_one_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (segments, _) = sample(folder.path());
    for cache in [0, 10_000, usize::MAX] {
        let dataset = Arc::new(Dataset::open(folder.path()).unwrap().with_cache(cache));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (dataset, segments) = (dataset.clone(), &segments);
                scope.spawn(move || {
                    for i in 0..500 {
                        let n = (i * (2 * thread + 3) + thread) % segments.len();
                        assert_eq!(*dataset.get(n).unwrap(), segments[n]);
                    }
                });
            }
        });
    }
}

/// From a position to its batch.
fn seek(order: &Order, step: u64) -> std::time::Duration {
    let position = order.position(Place { epoch: 0, step });
    let start = std::time::Instant::now();
    order.batch(order.seek(&position).unwrap()).unwrap();
    start.elapsed()
}

/// With optimisation it is far under the limit.
#[test]
#[ignore = "a million segments take a while to write"]
fn a_million_segments_open_within_a_fifth_of_a_second() {
    const SEGMENTS: usize = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let one = segment(1, 4);
    let mut info = DatasetInfo::new(&layout(), Identity { name: "codes".into(), sha256: None }, None);
    io::write_atomic(&folder.path().join(io::LAYOUT_FILE), layout().to_json().as_bytes()).unwrap();
    for part in 0..50 {
        let path = folder.path().join(DatasetInfo::part_name(part));
        let mut writer = PartWriter::create(&path, &layout()).unwrap();
        for n in part * SEGMENTS / 50..(part + 1) * SEGMENTS / 50 {
            writer.write(&Segment { id: format!("recordings/{:07}.wav@{}", n / 3, n % 3), ..one.clone() }).unwrap();
        }
        info.parts.push(writer.finish().unwrap());
    }
    io::write_json_atomic(&folder.path().join(io::INFO_FILE), &info).unwrap();
    let open = || {
        let start = std::time::Instant::now();
        let dataset = Dataset::open(folder.path()).unwrap();
        assert_eq!(dataset.index().unwrap().len(), SEGMENTS);
        (start.elapsed(), dataset)
    };
    let (first, dataset) = open();
    let again = (0..5).map(|_| open().0).min().unwrap();
    println!("the first time {first:?}, then {again:?}");
    assert!(again.as_millis() < 200, "{again:?}");
    let start = std::time::Instant::now();
    for n in (0..SEGMENTS).step_by(99_991) {
        let segment = dataset.get(n).unwrap();
        assert_eq!(dataset.index().unwrap().number(&segment.id), Some(n));
    }
    println!("11 segments far apart {:?}", start.elapsed());
    let index = dataset.index().unwrap();
    let source = Source { lengths: index.frames().into(), blocks: index.blocks().to_vec(), weight: 1.0 };
    let order = Order::new(vec![source], OrderOptions::default()).unwrap();
    let slowest = (0..100).map(|n| seek(&order, n * 619)).max().unwrap();
    println!("the slowest of 100 seeks {slowest:?}");
    assert!(slowest.as_millis() < 10, "{slowest:?}");
}
