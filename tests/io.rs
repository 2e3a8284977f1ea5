//! Files: what is written is read back, and what is damaged is an error that says where.
#![cfg(feature = "io")]

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayD, IxDyn, arr1, arr2};
use proptest::prelude::*;
use roundelay::batch::{Segment, Split};
use roundelay::io::tensors::{self, Tensor};
use roundelay::io::{self, Dataset, DatasetInfo, Identity, PartReader, PartSummary, PartWriter};
use roundelay::text::{PlacedWord, Word};
use roundelay::weights::Region;
use roundelay::{Frames, Kind, Layout, Seconds, Stream};

fn layout(streams: usize, cardinality: u32) -> Layout {
    let stream = |level: usize| Stream {
        name: format!("main.{level}"),
        kind: Kind::Acoustic,
        speaker: "main".into(),
        level: Some(level),
        cardinality,
        delay: 0,
        initial: cardinality,
        pad: cardinality,
        end_pad: None,
        bos: None,
        eos: None,
        phase: None,
        trained: true,
    };
    Layout::new("test", "12.5".parse().unwrap(), (0..streams).map(stream).collect()).unwrap()
}

fn segment(id: &str, codes: Array2<i32>) -> Segment {
    Segment {
        id: id.into(),
        path: "a.wav".into(),
        start: Seconds::ZERO,
        duration: "2.32".parse().unwrap(),
        codes: Frames(codes),
        words: vec![],
        regions: vec![],
        split: Split::Train,
        meta: "{}".into(),
    }
}

fn word(text: &str, frame: Option<usize>, tokens: &[i32]) -> PlacedWord {
    let word = Word::new(text, "0.08".parse().unwrap(), "0.3".parse().unwrap(), "SPEAKER_MAIN");
    PlacedWord { frame, ..PlacedWord::new(word, tokens.to_vec()) }
}

fn write_part(path: &Path, layout: &Layout, segments: &[Segment], group: usize) -> PartSummary {
    let mut writer = PartWriter::with_group_size(path, layout, group).unwrap();
    segments.iter().for_each(|segment| writer.write(segment).unwrap());
    writer.finish().unwrap()
}

fn read_part(path: &Path) -> roundelay::Result<Vec<Segment>> {
    PartReader::open(path)?.collect()
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

// Parts

/// A decimal of up to 15 digits.
fn any_time() -> impl Strategy<Value = Seconds> {
    let digits = prop_oneof![0u64..100, 0u64..1_000_000_000];
    (any::<bool>(), digits, 0u64..1_000_000).prop_map(|(negative, whole, fraction)| {
        let sign = if negative { "-" } else { "" };
        format!("{sign}{whole}.{fraction:06}").parse().unwrap()
    })
}

fn any_word() -> impl Strategy<Value = PlacedWord> {
    let frame = prop_oneof![Just(None), (0usize..=i32::MAX as usize).prop_map(Some)];
    let tokens = prop::collection::vec(any::<i32>(), 0..4);
    (".{0,6}", any_time(), any_time(), ".{0,3}", frame, tokens).prop_map(
        |(text, start, end, speaker, frame, tokens)| PlacedWord {
            frame,
            ..PlacedWord::new(Word::new(text, start, end, speaker), tokens)
        },
    )
}

fn any_segment(streams: usize, cardinality: u32) -> impl Strategy<Value = Segment> {
    let codes = (0usize..9).prop_flat_map(move |frames| {
        prop::collection::vec(-2..cardinality as i32, streams * frames)
            .prop_map(move |codes| Array2::from_shape_vec((streams, frames), codes).unwrap())
    });
    let region = (any_time(), any_time(), 0f32..1e9).prop_map(|(start, end, weight)| Region { start, end, weight });
    let words = prop::collection::vec(any_word(), 0..4);
    let regions = prop::collection::vec(region, 0..3);
    (".{0,9}", ".{0,9}", any_time(), any_time(), codes, words, regions, any::<bool>(), ".{0,9}").prop_map(
        |(id, path, start, duration, codes, words, regions, valid, meta)| {
            let split = if valid { Split::Valid } else { Split::Train };
            Segment { id, path, start, duration, codes: Frames(codes), words, regions, split, meta }
        },
    )
}

fn any_part() -> impl Strategy<Value = (Layout, Vec<Segment>)> {
    let cardinality = prop::sample::select(vec![1, 128, 129, 2048, 32768, 32769, i32::MAX as u32]);
    (1usize..5, cardinality).prop_flat_map(|(streams, cardinality)| {
        (Just(layout(streams, cardinality)), prop::collection::vec(any_segment(streams, cardinality), 0..6))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn what_a_part_is_given_it_gives_back((layout, segments) in any_part(), group in 1usize..60) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part-00000.parquet");
        let summary = write_part(&path, &layout, &segments, group);
        prop_assert_eq!(read_part(&path).unwrap(), segments.clone());
        prop_assert_eq!(summary.frames, segments.iter().map(|s| s.codes.0.ncols() as u64).sum::<u64>());
        let again = write_part(&folder.path().join("part-00001.parquet"), &layout, &segments, group);
        prop_assert_eq!((summary.sha256, summary.bytes), (again.sha256, again.bytes));
        if let Some(last) = segments.last() {
            let first = segments.iter().find(|s| s.id == last.id);
            let found = PartReader::open(&path).unwrap().find(&last.id).unwrap();
            prop_assert_eq!(found.as_ref(), first);
        }
    }

    #[test]
    fn a_damaged_part_is_an_error_or_still_a_part(at in 0f64..1.0, byte in any::<u8>(), cut in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let mut bytes = sample_part(&path);
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        fs::write(&path, &bytes).unwrap();
        // No panic, and no endless reading; a changed code within range cannot be told from another.
        match read_part(&path) {
            Ok(segments) => prop_assert!(!cut && segments.len() == 3),
            Err(e) => prop_assert!(e.to_string().contains("p.parquet"), "{}", e),
        }
    }
}

fn sample_segments() -> Vec<Segment> {
    let mut first = segment("a@0", arr2(&[[3, 0, 812, -1], [5, 6, 7, 8], [9, -1, -1, 1]]));
    first.words = vec![word("no", Some(2), &[812, 4]), word("uh", None, &[])];
    first.regions = vec![Region { start: Seconds::ZERO, end: "0.16".parse().unwrap(), weight: 2.5 }];
    let mut last = segment("a@4", Array2::zeros((3, 5000)));
    last.split = Split::Valid;
    vec![first, segment("a@3", Array2::zeros((3, 0))), last]
}

fn sample_part(path: &Path) -> Vec<u8> {
    write_part(path, &Layout::preset("delay-1").unwrap(), &sample_segments(), 10);
    fs::read(path).unwrap()
}

#[test]
fn a_thousand_streams_and_empty_parts_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let layout = layout(1024, 2048);
    let codes = Array2::from_shape_fn((1024, 3), |(k, t)| (k + t) as i32);
    let segments = [segment("wide", codes), segment("none", Array2::zeros((1024, 0)))];
    write_part(&path, &layout, &segments, 1 << 20);
    assert_eq!(read_part(&path).unwrap(), segments);
    assert_eq!(write_part(&path, &layout, &[], 1).rows, 0);
    assert_eq!(read_part(&path).unwrap(), []);
}

#[test]
fn a_part_appears_when_it_is_finished_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let mut writer = PartWriter::with_group_size(&path, &Layout::preset("delay-1").unwrap(), 1).unwrap();
    writer.write(&sample_segments()[0]).unwrap();
    assert!(!path.exists());
    assert_eq!(files_in(folder.path()), 1);
    drop(writer);
    assert_eq!(files_in(folder.path()), 0);
    sample_part(&path);
    assert_eq!(files_in(folder.path()), 1);
}

#[test]
fn a_part_refuses_codes_that_are_not_its_layouts_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let mut writer = PartWriter::create(&path, &Layout::preset("delay-1").unwrap()).unwrap();
    let error = writer.write(&segment("big", arr2(&[[0, 0], [0, 0], [0, 2048]]))).unwrap_err();
    assert!(error.to_string().contains("recording \"big\", stream main.1, frame 1: code is 2048"), "{error}");
    assert!(
        writer.write(&segment("few", arr2(&[[0], [0]]))).unwrap_err().to_string().contains("2 streams, expected 3")
    );
    writer.write(&sample_segments()[0]).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_part(&path).unwrap(), sample_segments()[..1]);
}

#[test]
fn every_cut_of_a_part_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let bytes = sample_part(&path);
    for length in (0..bytes.len()).step_by(37) {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(read_part(&path).is_err(), "{length}");
    }
}

fn part_error(path: &Path) -> String {
    read_part(path).unwrap_err().to_string()
}

#[test]
fn files_that_are_no_parts_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    assert!(part_error(&path).contains("cannot open the file"));
    fs::write(&path, "not a parquet file at all").unwrap();
    assert!(part_error(&path).contains("part is ill-formed"), "{}", part_error(&path));
    let json = Layout::preset("delay-1").unwrap().to_json();
    let columns = "REQUIRED BYTE_ARRAY id (STRING); REQUIRED BYTE_ARRAY path (STRING); REQUIRED FLOAT start_sec;";
    for (metadata, columns, expected) in [
        (vec![], columns, "has no roundelay.format"),
        (vec![("roundelay.format", "2")], columns, "dataset format 2 is not supported"),
        (vec![("roundelay.format", "x")], columns, "no number"),
        (vec![("roundelay.format", "1")], columns, "has no roundelay.layout"),
        (vec![("roundelay.format", "1"), ("roundelay.layout", "{}")], columns, "layout is ill-formed"),
        (vec![("roundelay.format", "1"), ("roundelay.layout", &json)], columns, "column \"start_sec\" is FLOAT"),
        (vec![("roundelay.format", "1"), ("roundelay.layout", &json)], "REQUIRED INT32 id;", "column \"id\" is INT32"),
    ] {
        write_other(&path, &metadata, columns);
        assert!(part_error(&path).contains(expected), "{}", part_error(&path));
    }
}

/// A Parquet file without rows.
fn write_other(path: &Path, metadata: &[(&str, &str)], columns: &str) {
    use parquet::file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter};
    let schema = parquet::schema::parser::parse_message_type(&format!("message other {{ {columns} }}")).unwrap();
    let pairs = metadata.iter().map(|(k, v)| KeyValue::new(k.to_string(), v.to_string())).collect();
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
    let file = fs::File::create(path).unwrap();
    SerializedFileWriter::new(file, schema.into(), properties.into()).unwrap().close().unwrap();
}

// Datasets

fn write_dataset(folder: &Path) -> DatasetInfo {
    let layout = Layout::preset("delay-1").unwrap();
    let codec = Identity { name: "codes".into(), sha256: None };
    let mut info = DatasetInfo::new(&layout, codec, None);
    io::write_atomic(&folder.join(io::LAYOUT_FILE), layout.to_json().as_bytes()).unwrap();
    for (n, segments) in sample_segments().chunks(2).enumerate() {
        info.parts.push(write_part(&folder.join(DatasetInfo::part_name(n)), &layout, segments, 1));
    }
    io::write_json_atomic(&folder.join(io::INFO_FILE), &info).unwrap();
    info
}

#[test]
fn a_dataset_gives_its_segments_in_order_and_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let info = write_dataset(folder.path());
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.info(), &info);
    assert_eq!(dataset.layout().name(), "delay-1");
    assert_eq!(dataset.segments().collect::<Result<Vec<_>, _>>().unwrap(), sample_segments());
    assert_eq!(dataset.segment("a@4").unwrap(), sample_segments()[2]);
    let error = dataset.segment("b").unwrap_err().to_string();
    assert!(error.contains("segment is \"b\", expected the id of one of its"), "{error}");
    for part in &info.parts {
        io::verify_part(&dataset.part_path(part), part).unwrap();
    }
}

#[test]
fn folders_that_are_no_datasets_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let error = || Dataset::open(folder).unwrap_err().to_string();
    assert!(error().contains("dataset is no dataset, expected a folder"), "{}", error());
    let info = write_dataset(folder);
    fs::remove_file(folder.join(io::INFO_FILE)).unwrap();
    assert!(error().contains("unfinished: 2 parts and no dataset.json"), "{}", error());
    fs::write(folder.join(io::INFO_FILE), r#"{"format": 2, "anything": "else"}"#).unwrap();
    assert!(error().contains("dataset format 2 is not supported"), "{}", error());
    fs::write(folder.join(io::INFO_FILE), "{\"format\": 1,\n}").unwrap();
    assert!(error().contains("dataset.json:2: dataset description is ill-formed"), "{}", error());
    for name in ["../part-00000.parquet", "/etc/passwd", "..", ""] {
        let mut info = info.clone();
        info.parts[0].name = name.into();
        io::write_json_atomic(&folder.join(io::INFO_FILE), &info).unwrap();
        assert!(error().contains("name of a part is"), "{}", error());
    }
    io::write_json_atomic(&folder.join(io::INFO_FILE), &info).unwrap();
    fs::write(folder.join(io::LAYOUT_FILE), Layout::preset("moshi-7b").unwrap().to_json()).unwrap();
    assert!(error().contains("name of the layout is moshi-7b, expected \"delay-1\""), "{}", error());
    fs::remove_file(folder.join(io::LAYOUT_FILE)).unwrap();
    assert!(error().contains("layout.json: cannot open"), "{}", error());
    assert!(Dataset::open(Path::new("/nowhere")).unwrap_err().to_string().contains("cannot open the dataset's folder"));
}

#[test]
fn parts_that_are_missing_or_foreign_end_the_segments_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let info = write_dataset(folder.path());
    let part = folder.path().join(&info.parts[1].name);
    write_part(&part, &Layout::preset("delay-1").unwrap(), &[], 1);
    let items: Vec<_> =
        Dataset::open(folder.path()).unwrap().segments().map(|s| s.map_err(|e| e.to_string())).collect();
    assert_eq!(items.len(), 3);
    assert!(items[2].as_ref().unwrap_err().contains("number of segments is 0, expected 1"), "{:?}", items[2]);
    assert!(io::verify_part(&part, &info.parts[1]).unwrap_err().to_string().contains("SHA-256 is"));
    fs::remove_file(&part).unwrap();
    let last = Dataset::open(folder.path()).unwrap().segments().last().unwrap().unwrap_err();
    assert!(last.to_string().contains("part-00001.parquet: cannot open"), "{last}");
}

// Tensors

#[test]
fn tensors_round_trip_and_their_order_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.safetensors", "b.safetensors"].map(|name| folder.path().join(name));
    let list: Vec<(&str, Tensor)> = vec![
        ("tokens", arr2(&[[1i64, -1], [i64::MAX, i64::MIN]]).into()),
        ("mask", arr1(&[0u8, 1, 255]).into()),
        ("weights", arr1(&[0.5f32, -1e30]).into()),
        ("sums", ArrayD::<f64>::zeros(IxDyn(&[])).into()),
        ("empty", Array2::<i64>::zeros((3, 0)).into()),
    ];
    tensors::write(&a, &list).unwrap();
    tensors::write(&b, &list.iter().rev().cloned().collect::<Vec<_>>()).unwrap();
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_eq!(tensors::names(&a).unwrap(), ["empty", "mask", "sums", "tokens", "weights"]);
    assert_eq!(tensors::read(&a, "tokens").unwrap(), arr2(&[[1, -1], [i64::MAX, i64::MIN]]).into_dyn());
    assert_eq!(tensors::read(&a, "mask").unwrap(), arr1(&[0, 1, 255]).into_dyn());
    assert_eq!(tensors::read(&a, "empty").unwrap().shape(), [3, 0]);
    assert_eq!(tensors::read_f32(&a, "weights").unwrap(), arr1(&[0.5, -1e30]).into_dyn());
    assert_eq!(tensors::read_f32(&a, "sums").unwrap(), ArrayD::<f32>::zeros(IxDyn(&[])));
    assert_eq!(tensors::read_first_of(&a, &["codes", "mask", "tokens"]).unwrap().0, "mask");
    let bytes = fs::read(&a).unwrap();
    assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("mask").unwrap().data(), [0, 1, 255]);
    assert_eq!(files_in(folder.path()), 2);
}

#[test]
fn tensors_that_cannot_be_written_are_refused() {
    let one = || Tensor::from(arr1(&[1i64]));
    let error = |name: &str, list: &[(&str, Tensor)]| tensors::write(Path::new(name), list).unwrap_err().to_string();
    assert!(error("/nowhere/a.safetensors", &[("a", one())]).contains("cannot create a file"));
    assert!(error("a.npz", &[("a", one())]).contains("not supported"));
    assert!(error("a.safetensors", &[("a", one()), ("a", one())]).contains("tensor name is a"));
    assert!(error("a.safetensors", &[("__metadata__", one())]).contains("__metadata__"));
}

fn npy(descr: &str, shape: &str, fortran: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn npy_of_every_integer_type_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("codes.NPY");
    for (descr, data, expected) in [
        ("|i1", vec![255, 2], [-1, 2]),
        ("|u1", vec![255, 2], [255, 2]),
        ("|b1", vec![1, 0], [1, 0]),
        ("<i2", vec![255, 255, 2, 0], [-1, 2]),
        (">i2", vec![255, 255, 0, 2], [-1, 2]),
        ("<u2", vec![255, 255, 2, 0], [65535, 2]),
        ("<i4", [(-1i32).to_le_bytes(), 2i32.to_le_bytes()].concat(), [-1, 2]),
        (">u4", [7u32.to_be_bytes(), 2u32.to_be_bytes()].concat(), [7, 2]),
        ("<i8", [(-1i64).to_le_bytes(), 2i64.to_le_bytes()].concat(), [-1, 2]),
        ("<u8", [7u64.to_le_bytes(), 2u64.to_le_bytes()].concat(), [7, 2]),
    ] {
        fs::write(&path, npy(descr, "(2,)", "False", &data)).unwrap();
        assert_eq!(tensors::read(&path, "any").unwrap(), arr1(&expected).into_dyn(), "{descr}");
    }
    fs::write(&path, npy("|u1", "(2, 3)", "True", &[1, 4, 2, 5, 3, 6])).unwrap();
    let read = tensors::read(&path, "codes").unwrap();
    assert_eq!(read, arr2(&[[1, 2, 3], [4, 5, 6]]).into_dyn());
    assert!(read.is_standard_layout());
    assert_eq!(tensors::names(&path).unwrap(), [""; 0]);
}

#[test]
fn npz_is_read_stored_and_deflated() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("codes.npz");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, method) in
        [("codes.npy", zip::CompressionMethod::Stored), ("text.npy", zip::CompressionMethod::Deflated)]
    {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).unwrap();
        zip.write_all(&npy("<i2", "(2,)", "False", &[1, 0, 2, 0])).unwrap();
    }
    zip.start_file("bomb.npy", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&npy("<i2", "(1073741824,)", "False", &[])).unwrap();
    zip.start_file("huge.npy", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&npy("<i2", "(1099511627776,)", "False", &[])).unwrap();
    zip.finish().unwrap();
    assert_eq!(tensors::names(&path).unwrap(), ["bomb", "codes", "huge", "text"]);
    assert_eq!(tensors::read_first_of(&path, &["tokens", "text"]).unwrap().1, arr1(&[1, 2]).into_dyn());
    assert_eq!(tensors::read(&path, "codes").unwrap(), arr1(&[1, 2]).into_dyn());
    let error = |name: &str| tensors::read(&path, name).unwrap_err().to_string();
    assert!(
        error("absent")
            .ends_with("tensor `absent` is missing, expected a name that the file holds: bomb, codes, huge, text")
    );
    assert!(error("bomb").contains("cut short: 0 of 2147483648 bytes"), "{}", error("bomb"));
    assert!(error("huge").contains("over the limit"), "{}", error("huge"));
}

#[test]
fn an_axis_of_zero_hides_no_large_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let header = r#"{"codes":{"dtype":"I64","shape":[1099511627776,3,0],"data_offsets":[0,0]}}"#;
    fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).unwrap();
    let error = tensors::read(&path, "codes").unwrap_err().to_string();
    assert!(error.contains("number of elements of a tensor is 1099511627776 x 3 x 0"), "{error}");
}

#[test]
fn damaged_tensor_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let error = |path: &Path| tensors::read(path, "codes").unwrap_err().to_string();
    let whole = file("a.safetensors");
    tensors::write(&whole, &[("codes", arr1(&[1i64, 2]).into()), ("w", arr1(&[1f32]).into())]).unwrap();
    let bytes = fs::read(&whole).unwrap();
    let cut = file("cut.safetensors");
    for length in 0..bytes.len() {
        fs::write(&cut, &bytes[..length]).unwrap();
        assert!(error(&cut).contains("tensor file is ill-formed"), "{length}");
    }
    fs::write(&cut, [&bytes[..], b"x"].concat()).unwrap();
    assert!(error(&cut).contains("too long"), "{}", error(&cut));
    fs::write(&cut, u64::MAX.to_le_bytes()).unwrap();
    assert!(error(&cut).contains("claims 18446744073709551615 bytes"), "{}", error(&cut));
    let float = tensors::read(&whole, "w").unwrap_err().to_string();
    assert!(float.contains("type of tensor `w` is F32, expected an integer type"), "{float}");
    assert!(tensors::read_f32(&whole, "codes").unwrap_err().to_string().contains("is I64, expected F32 or F64"));
    fs::write(file("f.npy"), npy("<f4", "(1,)", "False", &[0; 4])).unwrap();
    assert!(error(&file("f.npy")).contains("is F32, expected an integer type"));
    fs::write(file("s.npy"), npy("<i8", "(3,)", "False", &[0; 8])).unwrap();
    assert!(error(&file("s.npy")).contains("ill-formed"), "{}", error(&file("s.npy")));
    fs::write(file("u.npy"), npy("<u8", "(1,)", "False", &[255; 8])).unwrap();
    assert!(error(&file("u.npy")).contains("id is 18446744073709551615"));
    fs::write(file("x.npz"), "PK\x03\x04 and no more").unwrap();
    assert!(error(&file("x.npz")).contains(".npz file is ill-formed"), "{}", error(&file("x.npz")));
    assert!(error(&file("x.pt")).contains("a tensor file with extension .pt is not supported"));
    assert!(error(&file("none.npy")).contains("cannot open the file"));
}

// Recordings

/// A WAV file of one fmt chunk and one data chunk.
fn wav(tag: u16, channels: u16, rate: u32, bits: u16, align: u16, data: &[u8]) -> Vec<u8> {
    let mut fmt = Vec::new();
    for field in [tag, channels] {
        fmt.extend(field.to_le_bytes());
    }
    fmt.extend(rate.to_le_bytes());
    fmt.extend((rate.wrapping_mul(align.into())).to_le_bytes());
    fmt.extend(align.to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    riff(&[(b"fmt ", &fmt), (b"data", data)])
}

fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, data) in chunks {
        bytes.extend(*name);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(*data);
        bytes.extend(&[0][..data.len() % 2]);
    }
    let size = bytes.len() as u32 - 8;
    bytes[4..8].copy_from_slice(&size.to_le_bytes());
    bytes
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.wav")
    }

    fn read(&self, bytes: &[u8]) -> roundelay::Result<io::Audio> {
        fs::write(self.path(), bytes).unwrap();
        io::read_audio(&self.path())
    }

    fn error(&self, bytes: &[u8]) -> String {
        let error = self.read(bytes).unwrap_err().to_string();
        assert!(error.contains("a.wav: "), "{error}");
        error
    }
}

#[test]
fn wav_of_every_width_has_the_same_samples() {
    let scratch = Scratch::new();
    let expected = vec![vec![0.5f32, -1.0], vec![0.0, 0.25]];
    let ints = [[1i32 << 30, 0], [i32::MIN, 1 << 29]];
    let top =
        |bytes: usize| ints.iter().flatten().flat_map(|x| x.to_le_bytes()[4 - bytes..].to_vec()).collect::<Vec<u8>>();
    let low24 = ints.iter().flatten().flat_map(|x| (x >> 8).to_le_bytes()).collect::<Vec<u8>>();
    let floats: Vec<u8> = [0.5f32, 0.0, -1.0, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
    for (tag, bits, width, data) in [
        (1, 8, 1, vec![192, 128, 0, 160]),
        (1, 16, 2, top(2)),
        (1, 24, 3, top(3)),
        (1, 24, 4, low24),
        (1, 32, 4, top(4)),
        (3, 32, 4, floats),
    ] {
        let audio = scratch.read(&wav(tag, 2, 24_000, bits, 2 * width, &data)).unwrap();
        assert_eq!((audio.sample_rate, &audio.channels), (24_000, &expected), "{tag} {bits}");
    }
}

#[test]
fn valid_bits_in_a_wider_container_stand_on_the_left() {
    let scratch = Scratch::new();
    let data: Vec<u8> = [1i32 << 30, i32::MIN].iter().flat_map(|x| x.to_le_bytes()).collect();
    let plain = wav(0xfffe, 1, 24_000, 32, 4, &data);
    let mut fmt = plain[20..36].to_vec();
    fmt.extend(22u16.to_le_bytes());
    fmt.extend(24u16.to_le_bytes());
    fmt.extend([0; 4]);
    fmt.extend(b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    let audio = scratch.read(&riff(&[(b"fmt ", &fmt), (b"data", &data)])).unwrap();
    assert_eq!(audio.channels, [[0.5, -1.0]]);
}

#[test]
fn odd_chunks_and_unknown_lengths_are_read() {
    let scratch = Scratch::new();
    let plain = wav(1, 1, 8000, 16, 2, &[1, 0, 2, 0]);
    let fmt = &plain[20..36];
    let odd =
        riff(&[(b"LIST", b"12345"), (b"fmt ", fmt), (b"fact", b"123"), (b"data", &[1, 0, 2, 0]), (b"bext", b"x")]);
    assert_eq!(scratch.read(&odd).unwrap(), scratch.read(&plain).unwrap());
    let mut piped = plain.clone();
    piped[40..44].fill(255);
    assert_eq!(scratch.read(&piped).unwrap(), scratch.read(&plain).unwrap());
    assert!(scratch.read(&wav(1, 2, 8000, 16, 4, &[])).unwrap().is_empty());
}

#[test]
fn damaged_wav_says_what_is_wrong() {
    let scratch = Scratch::new();
    let whole = wav(1, 2, 8000, 16, 4, &[0; 40]);
    assert!(scratch.error(&whole[..44 + 14]).contains("cut short: 3 of 10 samples"));
    for length in 0..44 {
        scratch.error(&whole[..length]);
    }
    assert!(scratch.error(b"ID3 and so on, an MP3 file").contains("does not begin as a WAV file"));
    assert!(scratch.error(&wav(1, 0, 8000, 16, 4, &[])).contains("zero channels"));
    assert!(scratch.error(&wav(1, 1, 0, 16, 2, &[])).contains("sample rate is 0"));
    assert!(scratch.error(&wav(1, 2, 8000, 16, 3, &[])).contains("ill-formed"));
    assert!(scratch.error(&wav(1, 1, 8000, 16, 0, &[])).contains("ill-formed"));
    assert!(scratch.error(&wav(2, 1, 8000, 4, 1, &[])).contains("ill-formed"));
    assert!(scratch.error(&wav(1, 1, 8000, 12, 2, &[])).contains("a.wav"));
    assert!(scratch.error(&wav(1, 1, 8000, 16, 2, &[0; 3])).contains("ill-formed"));
    assert!(scratch.error(&riff(&[(b"data", &[])])).contains("before their format"));
    assert!(scratch.error(&riff(&[(b"fmt ", &[0; 8])])).contains("8 bytes, expected 16"));
    let nan: Vec<u8> = [0f32, 0.0, 0.0, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
    let error = scratch.error(&wav(3, 2, 8000, 32, 8, &nan));
    assert!(error.contains("sample at 0.000125 s of channel 1 is NaN, expected a finite number"), "{error}");
    assert!(io::read_audio(Path::new("none.wav")).unwrap_err().to_string().contains("none.wav: cannot open the file"));
    assert!(io::read_audio(Path::new("a.mp3")).unwrap_err().to_string().contains("a .mp3 recording is not supported"));
}

#[cfg(not(feature = "symphonia"))]
#[test]
fn compressed_recordings_name_the_feature() {
    let error = io::read_audio(Path::new("a.flac")).unwrap_err().to_string();
    assert_eq!(
        error,
        "a.flac: a .flac recording is not supported: build roundelay with the feature symphonia, or convert it to WAV"
    );
}

#[test]
fn written_wav_is_read_back_and_clipping_is_counted() {
    let scratch = Scratch::new();
    let channels = vec![vec![0.0, 0.5, -1.0, 2.0], vec![1.0, -1.5, 0.25, 32767.0 / 32768.0]];
    assert_eq!(io::write_wav(&scratch.path(), 24_000, &channels).unwrap(), 3);
    let top = 32767.0 / 32768.0;
    let audio = io::read_audio(&scratch.path()).unwrap();
    assert_eq!(audio.channels, [[0.0, 0.5, -1.0, top], [top, -1.0, 0.25, top]]);
    assert_eq!(audio.duration().to_string(), "0.000166666666666666666666");
    let error = |rate, channels: &[Vec<f32>]| io::write_wav(&scratch.path(), rate, channels).unwrap_err().to_string();
    assert!(error(0, &channels).contains("sample rate is 0"));
    assert!(error(1, &[]).contains("number of channels is 0"));
    assert!(error(1, &[vec![0.0], vec![]]).contains("length of a channel is 0, expected 1"));
    assert!(error(1, &[vec![0.0, f32::INFINITY]]).contains("sample at 1.000000 s of channel 0 is inf"));
    assert_eq!(io::read_audio(&scratch.path()).unwrap(), audio);
}

// Resampling

fn sine(hertz: f64, rate: u32, length: usize) -> Vec<f32> {
    (0..length).map(|n| (std::f64::consts::TAU * hertz * n as f64 / f64::from(rate)).sin() as f32 * 0.5).collect()
}

/// Largest difference away from the ends, in decibels under the sine's amplitude.
fn worst_decibels(resampled: &[f32], ideal: &[f32], margin: usize) -> f64 {
    let differences = resampled.iter().zip(ideal).map(|(a, b)| f64::from((a - b).abs()) / 0.5);
    let worst = differences.skip(margin).take(ideal.len() - 2 * margin).fold(0.0, f64::max);
    20.0 * worst.log10()
}

#[test]
fn a_resampled_sine_is_the_ideal_one_in_place() {
    for (from, to) in [
        (8_000, 24_000),
        (16_000, 24_000),
        (44_100, 24_000),
        (48_000, 24_000),
        (22_050, 24_000),
        (24_000, 44_100),
        (24_000, 16_000),
        (44_101, 24_000),
        (192_000, 8_000),
    ] {
        let length = from as usize * 2;
        let resampled = io::resample(&sine(440.0, from, length), from, to).unwrap();
        assert_eq!(resampled.len(), to as usize * 2);
        let margin = to as usize / 4;
        let ideal = sine(440.0, to, resampled.len());
        let there = worst_decibels(&resampled, &ideal, margin);
        assert!(there < -100.0, "{from} {to}: {there} dB");
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_taken_out() {
    let resampled = io::resample(&sine(15_000.0, 48_000, 96_000), 48_000, 24_000).unwrap();
    assert!(resampled[6000..42_000].iter().all(|x| x.abs() < 1e-5));
    let speech = io::resample(&sine(10_000.0, 48_000, 96_000), 48_000, 24_000).unwrap();
    assert!(worst_decibels(&speech, &sine(10_000.0, 24_000, 48_000), 6000) < -60.0);
}

#[test]
fn lengths_follow_the_law_for_every_length() {
    for (from, to) in [
        (16_000u32, 24_000u32),
        (44_100, 24_000),
        (24_000, 24_000),
        (48_000, 24_000),
        (1_000, 768_000),
        (24_001, 24_000),
    ] {
        for length in [0usize, 1, 2, 3, 79, 146, 147, 148, 1023, 1024, 1025, 2500] {
            let resampled = io::resample(&vec![0.1; length], from, to).unwrap();
            assert_eq!(resampled.len(), (length * to as usize).div_ceil(from as usize), "{from} {to} {length}");
        }
    }
    for (from, to) in [(999, 24_000), (24_000, 0), (768_001, 24_000)] {
        assert!(io::resample(&[0.0], from, to).unwrap_err().to_string().contains("Hz is not supported"));
    }
}

#[test]
fn an_impulse_stays_where_it_is() {
    let mut impulse = vec![0.0; 8000];
    impulse[4000] = 1.0;
    for to in [24_000, 44_100, 48_000] {
        let resampled = io::resample(&impulse, 16_000, to).unwrap();
        let at = resampled.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert!((at as f64 / f64::from(to) - 0.25).abs() < 0.5 / f64::from(to), "{to}: {at}");
    }
    let audio = io::Audio { sample_rate: 16_000, channels: vec![impulse.clone(), impulse] };
    assert_eq!(audio.clone().resampled(16_000).unwrap(), audio);
    assert_eq!(audio.resampled(24_000).unwrap().len(), 12_000);
}

// FLAC and OGG

/// 0.2 s at 8 kHz: 440 Hz of 16000 / 32768 on the left, 220 Hz of half that on the right.
#[cfg(feature = "symphonia")]
fn tone(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings").join(format!("tone.{kind}"))
}

#[cfg(feature = "symphonia")]
#[test]
fn flac_and_ogg_are_read_whole_and_in_place() {
    let ideal = |hertz: f64, peak: f64| {
        let sample =
            move |n: usize| (peak * (std::f64::consts::TAU * hertz * n as f64 / 8000.0).sin()).round() / 32768.0;
        (0..1600).map(|n| sample(n) as f32).collect::<Vec<f32>>()
    };
    let ideal = [ideal(440.0, 16000.0), ideal(220.0, 8000.0)];
    for (kind, tolerance) in [("flac", 0.0), ("ogg", 0.02)] {
        let audio = io::read_audio(&tone(kind)).unwrap();
        assert_eq!((audio.sample_rate, audio.channels.len(), audio.len()), (8000, 2, 1600), "{kind}");
        for (channel, ideal) in audio.channels.iter().zip(&ideal) {
            let worst = channel.iter().zip(ideal).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance, "{kind}: {worst}");
        }
    }
}

#[cfg(feature = "symphonia")]
#[test]
fn damaged_flac_and_ogg_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["flac", "ogg"] {
        let bytes = fs::read(tone(kind)).unwrap();
        let path = folder.path().join(format!("a.{kind}"));
        for length in (0..bytes.len()).step_by(bytes.len() / 50) {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = io::read_audio(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("a.{kind}: ")), "{error}");
        }
        fs::write(&path, "RIFF and the like").unwrap();
        assert!(io::read_audio(&path).is_err());
    }
}
