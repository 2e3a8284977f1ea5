//! J-Moshi's Parquet: files of pandas and pyarrow are read, and what is exported comes back.
#![cfg(feature = "io")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::recorded;
use ndarray::Array2;
use proptest::prelude::*;
use roundelay::batch::{Segment, Split};
use roundelay::io::{self, Dataset, DatasetInfo, Identity, JmoshiCounts, PartWriter, export_jmoshi};
use roundelay::text::{PlacedWord, Word};
use roundelay::weights::Region;
use roundelay::{Frames, Layout, Seconds, Stream};

/// Written by `fixtures/jmoshi/make.py`.
const FILES: [(&str, &str); 4] = [
    ("pandas.parquet", "d0d68d03f57381680595f01d2c5ace7dcdc9dab23e15b79c21b6436cd73d30a8"),
    ("variant.parquet", "d9fc94d7175f2c6ff4bcd47dc76940854bc9350546c4dd17ef0e4a223d054245"),
    ("zstd.parquet", "24c8e0bc0ec20098f99e4d7d16b64ea424173ba8e044e09c844c338c6ab5b938"),
    ("null.parquet", "544111bd2558df406727fcdd6708fbec2ea5c822efce4acdcee33027b1fd6f39"),
];

/// Copies a fixture into a folder, as an index is written beside it.
fn copied(n: usize, folder: &Path) -> PathBuf {
    let (name, sha256) = FILES[n];
    let path = folder.join(name);
    fs::write(&path, recorded(&format!("jmoshi/{name}"), sha256)).unwrap();
    path
}

/// What `make.py` computes: text in row 0, then eight codebooks.
fn speaker(n: usize, side: usize, frames: usize) -> Array2<i32> {
    Array2::from_shape_fn((9, frames), |(row, t)| match row {
        0 => (7 * n + 5 * side + t * t) % 32000,
        k => (11 * n + 101 * (k - 1) + 53 * side + t * t) % 2048,
    } as i32)
}

fn check_fixture(dataset: &Dataset) {
    assert_eq!(dataset.layout(), &Layout::preset("j-moshi").unwrap());
    let index = dataset.index().unwrap();
    assert_eq!(index.frames(), [5, 0, 40]);
    assert_eq!((dataset.info().counts.segments, dataset.info().counts.frames), (3, 45));
    let streamed: Vec<_> = dataset.segments().map(Result::unwrap).collect();
    for (n, frames) in [5, 0, 40].into_iter().enumerate() {
        let segment = dataset.get(n).unwrap();
        assert_eq!(segment.id, format!("corpus/dialogue-{n}"));
        assert_eq!(segment.duration, Seconds::of_samples(8 * frames as u64, 100));
        let (a, b) = (speaker(n, 0, frames), speaker(n, 1, frames));
        assert_eq!(segment.codes.0, ndarray::concatenate![ndarray::Axis(0), a, b.slice(ndarray::s![1.., ..])]);
        assert_eq!(*segment, streamed[n]);
        assert_eq!(index.number(&segment.id), Some(n));
    }
    assert_eq!(streamed.len(), 3);
}

#[test]
fn files_of_pandas_and_pyarrow_are_read() {
    for (n, (name, _)) in FILES.iter().enumerate().take(2) {
        let folder = tempfile::tempdir().unwrap();
        let path = copied(n, folder.path());
        // The file, then its folder; each again with the index that is there by then.
        for path in [&path, folder.path(), &path, folder.path()] {
            check_fixture(&Dataset::open(path).unwrap());
        }
        assert!(folder.path().join("index.bin").exists());
        assert!(folder.path().join(format!("{name}.index.bin")).exists());
    }
}

#[test]
fn a_changed_file_has_another_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied(0, folder.path());
    check_fixture(&Dataset::open(&path).unwrap());
    let other = tempfile::tempdir().unwrap();
    fs::copy(copied(1, other.path()), &path).unwrap();
    check_fixture(&Dataset::open(&path).unwrap());
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| {
        Dataset::open(path).and_then(|d| d.segments().try_for_each(|s| s.map(drop))).unwrap_err().to_string()
    };
    let zstd = error(&copied(2, folder.path()));
    assert!(zstd.contains("zstd.parquet: compression ZSTD") && zstd.contains("Snappy is read"), "{zstd}");
    let null = error(&copied(3, folder.path()));
    assert!(null.contains("null.parquet") && null.contains("a null"), "{null}");
    assert!(error(&folder.path().join("none.parquet")).contains("none.parquet"));
}

fn word() -> PlacedWord {
    PlacedWord::new(Word::new("no", Seconds::ZERO, Seconds::ZERO, "A"), vec![7])
}

fn segment(n: usize, codes: Array2<i32>, layout: &Layout) -> Segment {
    Segment {
        id: format!("{n}"),
        path: format!("{n}"),
        start: Seconds::ZERO,
        duration: layout.frame_rate().start_of(codes.ncols()),
        codes: Frames(codes),
        words: vec![],
        regions: vec![],
        split: if n.is_multiple_of(3) { Split::Valid } else { Split::Train },
        meta: "{}".into(),
    }
}

fn write_dataset(folder: &Path, layout: &Layout, segments: &[Segment]) -> Dataset {
    let mut info = DatasetInfo::new(layout, Identity { name: "codes".into(), sha256: None }, None);
    io::write_atomic(&folder.join(io::LAYOUT_FILE), layout.to_json().as_bytes()).unwrap();
    let mut writer = PartWriter::create(&folder.join(DatasetInfo::part_name(0)), layout).unwrap();
    segments.iter().for_each(|segment| writer.write(segment).unwrap());
    info.parts.push(writer.finish().unwrap());
    io::write_json_atomic(&folder.join(io::INFO_FILE), &info).unwrap();
    Dataset::open(folder).unwrap()
}

/// Codes of J-Moshi's layout, some absent.
fn any_codes() -> impl Strategy<Value = Array2<i32>> {
    (0usize..30).prop_flat_map(|frames| {
        prop::collection::vec(-1..2048, 17 * frames)
            .prop_map(move |codes| Array2::from_shape_vec((17, frames), codes).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn what_is_exported_comes_back(codes in prop::collection::vec(any_codes(), 0..9)) {
        let layout = Layout::preset("j-moshi").unwrap();
        let [folder, out] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        let segments: Vec<_> = codes.into_iter().enumerate().map(|(n, codes)| segment(n, codes, &layout)).collect();
        let counts = export_jmoshi(&write_dataset(folder.path(), &layout, &segments), out.path()).unwrap();
        prop_assert_eq!(counts.train + counts.valid, segments.len() as u64);
        if segments.is_empty() {
            prop_assert!(Dataset::open(out.path()).is_err());
            return Ok(());
        }
        // train.parquet comes before valid.parquet.
        let (train, valid): (Vec<_>, Vec<_>) = segments.into_iter().partition(|s| s.split == Split::Train);
        let read = Dataset::open(out.path()).unwrap();
        let expected = [train, valid].concat();
        prop_assert_eq!(read.segments().collect::<Result<Vec<_>, _>>().unwrap(), expected.clone());
        for (n, segment) in expected.iter().enumerate() {
            prop_assert_eq!(&*read.get(n).unwrap(), segment);
        }
        prop_assert_eq!(read.info().counts.frames, counts.frames);
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let [folder, out] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let mut one = segment(1, Array2::zeros((17, 4)), &layout);
    one.words = vec![word(); 3];
    one.regions = vec![Region { start: Seconds::ZERO, end: Seconds::ZERO, weight: 1.0 }];
    one.meta = r#"{"a":1}"#.into();
    let dataset = write_dataset(folder.path(), &layout, &[one, segment(3, Array2::zeros((17, 2)), &layout)]);
    let expected = JmoshiCounts { train: 1, valid: 1, frames: 6, without_text_of_b: 2, words: 3, regions: 1, meta: 1 };
    assert_eq!(export_jmoshi(&dataset, out.path()).unwrap(), expected);
    let error = export_jmoshi(&dataset, out.path()).unwrap_err().to_string();
    assert!(error.contains("train.parquet: output is there already"), "{error}");
}

#[test]
fn a_text_row_of_the_other_speaker_becomes_that_of_b() {
    let preset = Layout::preset("j-moshi").unwrap();
    let text = Stream { name: "other.text".into(), speaker: "other".into(), ..preset.streams()[0].clone() };
    let streams = [preset.streams(), &[text]].concat();
    let layout = Layout::new("both", preset.frame_rate(), streams).unwrap();
    let [folder, out] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let codes = Array2::from_shape_fn((18, 3), |(k, t)| (100 * k + t) as i32);
    let dataset = write_dataset(folder.path(), &layout, &[segment(1, codes.clone(), &layout)]);
    assert_eq!(export_jmoshi(&dataset, out.path()).unwrap().without_text_of_b, 0);
    let rows = texts_of_b(&out.path().join("train.parquet"));
    assert_eq!(rows, codes.row(17).to_vec());
    // Without such a row it is pads.
    let out = tempfile::tempdir().unwrap();
    let codes = codes.slice(ndarray::s![..17, ..]).to_owned();
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_dataset(folder.path(), &preset, &[segment(1, codes, &preset)]);
    export_jmoshi(&dataset, out.path()).unwrap();
    assert_eq!(texts_of_b(&out.path().join("train.parquet")), [3, 3, 3]);
}

/// The first three values of column B, through the Parquet crate's own reader.
fn texts_of_b(path: &Path) -> Vec<i32> {
    use parquet::column::reader::ColumnReader;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let file = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let group = file.get_row_group(0).unwrap();
    let ColumnReader::Int32ColumnReader(mut column) = group.get_column_reader(2).unwrap() else { panic!("integers") };
    let (mut values, mut def, mut rep) = (vec![], vec![], vec![]);
    column.read_records(1, Some(&mut def), Some(&mut rep), &mut values).unwrap();
    assert_eq!(values.len(), 27);
    values[..3].to_vec()
}

#[test]
fn layouts_and_codes_without_a_place_are_refused() {
    let layout = Layout::preset("delay-1").unwrap();
    let [folder, out] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let dataset = write_dataset(folder.path(), &layout, &[segment(1, Array2::zeros((3, 4)), &layout)]);
    let error = export_jmoshi(&dataset, &out.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("\"delay-1\" as J-Moshi's Parquet is not supported: there are 1 speakers"), "{error}");
    assert!(!out.path().join("out").exists());
    let layout = Layout::preset("j-moshi").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_dataset(folder.path(), &layout, &[segment(1, Array2::from_elem((17, 1), -2), &layout)]);
    let error = export_jmoshi(&dataset, out.path()).unwrap_err().to_string();
    assert!(error.contains("recording \"1\": code is -2, expected one that is there, or -1"), "{error}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
