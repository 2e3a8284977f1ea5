//! `subvocab build`, `query` and `recall` as processes, and what they say to files that are damaged or do not fit.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::program::{fails, path, succeeds};
use ndarray::{Array2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::io::{BuildOptions, Numbers, Store, TensorRows, VectorSource, build_store, tensors};
use roundelay::vocab::search::{Index, Values, Vectors};
use serde_json::Value;

/// Vectors in 20 heaps.
fn drawn(rows: usize, dimension: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let heaps = Array2::from_shape_simple_fn((20, dimension), || rng.random_range(-1.0f32..1.0));
    let mut all = Array2::from_shape_simple_fn((rows, dimension), || rng.random_range(-0.2f32..0.2));
    all.rows_mut().into_iter().for_each(|mut row| row += &heaps.row(rng.random_range(0..20)));
    all
}

fn saved(folder: &Path, name: &str, tensor: &str, numbers: &Array2<f32>) -> PathBuf {
    let path = folder.join(name);
    tensors::write(&path, &[(tensor, numbers.clone().into())]).unwrap();
    path
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_built_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = drawn(6000, 24);
    let words = saved(folder.path(), "words.safetensors", "embedding", &vectors);
    let queries = saved(folder.path(), "queries.safetensors", "queries", &vectors.slice(s![..5, ..]).to_owned());
    let mut run = 0;
    for (numbers, bytes) in [("f32", 4), ("f16", 2), ("i8", 1)] {
        let store = folder.path().join(format!("{numbers}.safetensors"));
        let said = succeeds(&["subvocab", "build", path(&words), "-o", path(&store), "--numbers", numbers]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["vectors"], &said["clusters"]), (&6000.into(), &77.into()));
        let size = fs::metadata(&store).unwrap().len();
        assert_eq!(said["bytes"], size);
        assert!((6000 * (24 * bytes + 8)..6000 * (24 * bytes + 8) + 12_000).contains(&size), "{size}");

        let found = parsed(&succeeds(&["subvocab", "query", path(&store), path(&queries), "-k", "50"]));
        assert_eq!(found.len(), 5);
        // The same by what the store holds, row by row.
        let opened = Store::open(&store).unwrap();
        let index = opened.index();
        assert_eq!((opened.len(), opened.dimension(), index.clusters()), (6000, 24, 77));
        let exact = index.exact(vectors.slice(s![..5, ..]), 50, 1).unwrap();
        let gathered = index.gather(&[17, 5999, 0]).unwrap();
        let moved = (&gathered - &vectors.select(Axis(0), &[17, 5999, 0])).mapv(f32::abs);
        assert!(moved.iter().all(|&moved| moved <= if numbers == "f32" { 0.0 } else { 0.006 }), "{moved}");
        for (query, found) in found.iter().enumerate() {
            assert_eq!(found["ids"], serde_json::json!(exact.ids.row(query).to_vec()));
            assert_eq!(found["scores"], serde_json::json!(exact.scores.row(query).to_vec()));
        }
        // And nearly those of the vectors before they were rounded.
        let whole = vectors.as_slice().unwrap();
        let truth = Index::new(Vectors::new(Values::F32(whole), 24).unwrap());
        let recall = truth.exact(vectors.slice(s![..5, ..]), 50, 1).unwrap().recall(&exact);
        assert!(if numbers == "f32" { recall == 1.0 } else { recall > 0.95 }, "{numbers}: {recall}");

        let said = succeeds(&["subvocab", "recall", path(&store), path(&queries), "-k", "50", "--json"]);
        let said: Vec<Value> = serde_json::from_str(&said).unwrap();
        let recalls: Vec<f64> = said.iter().map(|tried| tried["recall"].as_f64().unwrap()).collect();
        assert_eq!(said.len(), 8, "1 to 64, and 77");
        assert!(recalls[7] == 1.0 && recalls[4] > 0.9 && recalls.is_sorted(), "{recalls:?}");
        run += 1;
    }
    assert_eq!(run, 3);
}

#[test]
fn labels_are_forced_in_and_files_hold_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = drawn(900, 7);
    let words = saved(folder.path(), "words.safetensors", "embedding", &vectors);
    let queries = saved(folder.path(), "queries.safetensors", "queries", &vectors.slice(s![..2, ..]).to_owned());
    let store = folder.path().join("store.safetensors");
    succeeds(&["subvocab", "build", path(&words), "-o", path(&store), "--cosine", "--clusters", "9", "--threads", "3"]);
    let exact = parsed(&succeeds(&["subvocab", "query", path(&store), path(&queries), "-k", "900"]));
    let worst = |query: usize| exact[query]["ids"][899].as_i64().unwrap();
    // A cosine with itself.
    assert!((exact[0]["scores"][0].as_f64().unwrap() - 1.0).abs() < 0.02 && exact[0]["ids"][0] == 0);

    let labels = folder.path().join("labels.safetensors");
    let forced = ndarray::array![[worst(0), -1], [worst(1), worst(1)]];
    tensors::write(&labels, &[("labels", forced.into())]).unwrap();
    let ask =
        ["subvocab", "query", path(&store), path(&queries), "-k", "10", "--probes", "3", "--labels", path(&labels)];
    let printed = parsed(&succeeds(&ask));
    let out = folder.path().join("out.safetensors");
    succeeds(&[&ask[..], &["-o", path(&out)]].concat());
    let ids = tensors::read(&out, "ids").unwrap();
    assert_eq!(ids.shape(), [2, 10]);
    for (query, row) in ids.axis_iter(Axis(0)).enumerate() {
        assert_eq!(serde_json::json!(row.iter().collect::<Vec<_>>()), printed[query]["ids"]);
        assert_eq!(row[9], worst(query), "worst of all, and there");
    }
}

#[test]
fn stores_are_the_same_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = drawn(20_000, 5);
    let bytes = |threads: usize, numbers| {
        let store = folder.path().join("store.safetensors");
        let options = BuildOptions { threads, numbers, sample: 8, ..BuildOptions::default() };
        build_store(&vectors.view(), &store, &options).unwrap();
        fs::read(store).unwrap()
    };
    for numbers in [Numbers::I8, Numbers::F16] {
        let one = bytes(1, numbers);
        assert!(one == bytes(3, numbers));
        assert!(one == bytes(100_000, numbers));
        assert!(one == bytes(1, numbers));
    }
}

#[test]
fn one_word_and_columns_of_zeros_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.safetensors");
    for numbers in [Numbers::I8, Numbers::F16, Numbers::F32] {
        let vectors = ndarray::array![[0.0f32, -2.0, 0.0]];
        build_store(&vectors.view(), &store, &BuildOptions { numbers, ..BuildOptions::default() }).unwrap();
        let opened = Store::open(&store).unwrap();
        assert_eq!((opened.numbers(), opened.is_cosine(), opened.is_empty()), (numbers, false, false));
        let found = opened.index().approximate(ndarray::array![[9.0, 1.0, 1.0]].view(), 1, 5, 2).unwrap();
        assert_eq!((found.ids[[0, 0]], opened.index().vectors().row(0)), (0, vec![0.0, -2.0, 0.0]));
    }
}

#[test]
fn vectors_that_cannot_be_stored_are_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.safetensors");
    let build = |input: &Path, more: &[&str]| {
        let error = fails(1, &[&["subvocab", "build", path(input), "-o", path(&store)], more].concat());
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(left.into_iter().all(|name| name.ends_with(".safetensors") && name != "store.safetensors"));
        error
    };
    let mut vectors = drawn(300, 6);
    let good = saved(folder.path(), "good.safetensors", "w", &vectors);
    assert!(build(&good, &["--clusters", "301"]).contains("number of clusters is 301, expected 1 to 300"));
    assert!(build(&good, &["--clusters", "0"]).contains("number of clusters"));
    assert!(build(&good, &["--threads", "0"]).contains("number of threads"));
    assert!(build(&good, &["--tensor", "v"]).contains("one of w"));
    assert!(build(&folder.path().join("none.safetensors"), &[]).contains("open the file"));
    vectors[[123, 4]] = f32::NAN;
    let nan = saved(folder.path(), "nan.safetensors", "w", &vectors);
    assert!(build(&nan, &[]).contains("dimension 4 of vector 123"));
    assert!(build(&nan, &["--cosine"]).contains("dimension 4 of vector 123"));
    vectors[[123, 4]] = 1e6;
    let far = saved(folder.path(), "far.safetensors", "w", &vectors);
    let error = build(&far, &["--numbers", "f16"]);
    assert!(error.contains("dimension 4 of vector 123") && error.contains("stored as f16"), "{error}");
    let empty = saved(folder.path(), "empty.safetensors", "w", &Array2::zeros((0, 6)));
    assert!(build(&empty, &[]).contains("[N, D], not empty"));
    let ids = folder.path().join("ids.safetensors");
    tensors::write(&ids, &[("w", ndarray::array![[1i64, 2]].into())]).unwrap();
    assert!(build(&ids, &[]).contains("type of tensor `w`"));
    tensors::write(&ids, &[("a", ndarray::array![[1f32]].into()), ("b", ndarray::array![[1f32]].into())]).unwrap();
    assert!(build(&ids, &[]).contains("a, b"));
    let bytes = fs::read(&good).unwrap();
    let short = folder.path().join("short.safetensors");
    for length in [0, 5, 40, bytes.len() - 1] {
        fs::write(&short, &bytes[..length]).unwrap();
        assert!(build(&short, &[]).contains("tensor file"), "{length}");
    }
    assert!(fails(2, &["subvocab", "build", path(&good), "-o", "store.bin"]).contains(".safetensors"));
}

#[test]
fn stores_that_are_damaged_and_queries_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let words = saved(folder.path(), "words.safetensors", "w", &drawn(300, 6));
    let store = folder.path().join("store.safetensors");
    succeeds(&["subvocab", "build", path(&words), "-o", path(&store)]);
    let file = |name: &str, numbers: &Array2<f32>| saved(folder.path(), name, "queries", numbers);
    let good = file("queries.safetensors", &Array2::ones((2, 6)));
    let query = |store: &Path, queries: &Path, more: &[&str]| {
        fails(1, &[&["subvocab", "query", path(store), path(queries)], more].concat())
    };
    assert!(query(&store, &good, &[]).contains("number of vectors to find is 8192, expected 1 to 300"));
    assert!(query(&store, &good, &["-k", "0"]).contains("number of vectors to find"));
    assert!(query(&store, &good, &["-k", "5", "--probes", "0"]).contains("number of probes"));
    let wide = file("wide.safetensors", &Array2::ones((2, 7)));
    assert!(query(&store, &wide, &["-k", "5"]).contains("dimensions of the queries is 7, expected 6"));
    let none = file("none.safetensors", &Array2::ones((0, 6)));
    assert!(query(&store, &none, &["-k", "5"]).contains("at least one"));
    let nan = file("nan.safetensors", &Array2::from_elem((1, 6), f32::NAN));
    assert!(query(&store, &nan, &["-k", "5"]).contains("dimension 0 of vector 0"));
    assert!(query(&store, &words, &["-k", "5"]).contains("tensor `queries`"));
    let labels = folder.path().join("labels.safetensors");
    for (numbers, words) in [
        (ndarray::array![[1i64], [300]], "an id below 300"),
        (ndarray::array![[1], [-7]], "-1 for none"),
        (ndarray::array![[1], [2], [3]], "as labels"),
        (ndarray::array![[1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]], "number of labels"),
    ] {
        tensors::write(&labels, &[("labels", numbers.into())]).unwrap();
        let error = query(&store, &good, &["-k", "5", "--labels", path(&labels)]);
        assert!(error.contains(words), "{error}");
    }

    // No store at all, and the store cut and changed.
    assert!(query(&words, &good, &["-k", "5"]).contains("no `roundelay_vectors`"));
    let bytes = fs::read(&store).unwrap();
    let bad = folder.path().join("bad.safetensors");
    for length in [0, 7, 100, 2000, bytes.len() - 1] {
        fs::write(&bad, &bytes[..length]).unwrap();
        assert!(query(&bad, &good, &["-k", "5"]).contains("bad.safetensors"), "{length}");
    }
    let changed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let place = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect(from);
        let mut changed = bytes.clone();
        changed[place..place + from.len()].copy_from_slice(to.as_bytes());
        fs::write(&bad, changed).unwrap();
        query(&bad, &good, &["-k", "5"])
    };
    assert!(changed("\\\"version\\\":1", "\\\"version\\\":7").contains("version 7"));
    assert!(changed("\"I8\"", "\"U8\"").contains("type of tensor `vectors`"));
    assert!(changed("\\\"i8\\\"", "\\\"i9\\\"").contains("store of vectors"));
    assert!(changed("\"shape\":[300,6]", "\"shape\":[600,3]").contains("number of scales"));
    assert!(changed("\"places\"", "\"plates\"").contains("tensor `places`"));
}

#[test]
fn ids_that_repeat_in_a_damaged_store_are_no_fault_of_the_labels() {
    let folder = tempfile::tempdir().unwrap();
    let words = saved(folder.path(), "words.safetensors", "w", &drawn(300, 6));
    let queries = saved(folder.path(), "queries.safetensors", "queries", &Array2::ones((1, 6)));
    let store = folder.path().join("store.safetensors");
    succeeds(&["subvocab", "build", path(&words), "-o", path(&store)]);
    let best = &parsed(&succeeds(&["subvocab", "query", path(&store), path(&queries), "-k", "5"]))[0]["ids"];
    let [first, second] = [0, 1].map(|place| best[place].as_u64().unwrap() as u32);

    let mut bytes = fs::read(&store).unwrap();
    let ids = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("ids").unwrap().data().to_vec();
    let start = bytes.windows(ids.len()).position(|window| window == ids).unwrap();
    let row = ids.chunks(4).position(|id| id == second.to_le_bytes()).unwrap();
    bytes[start + 4 * row..][..4].copy_from_slice(&first.to_le_bytes());
    let bad = folder.path().join("bad.safetensors");
    fs::write(&bad, bytes).unwrap();
    let labels = folder.path().join("labels.safetensors");
    tensors::write(&labels, &[("labels", ndarray::array![[i64::from(first)]].into())]).unwrap();
    let error = fails(1, &["subvocab", "query", path(&bad), path(&queries), "-k", "5", "--labels", path(&labels)]);
    assert!(error.contains("bad.safetensors") && error.contains("twice among the 5 best"), "{error}");
    assert!(!error.contains("labels.safetensors"), "{error}");
}

#[test]
fn the_longest_vectors_that_there_can_be_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.safetensors");
    let vectors = Array2::from_shape_fn((2, 1 << 16), |(row, _)| if row == 0 { 1e15f32 } else { -1e15 });
    for numbers in [Numbers::I8, Numbers::F32] {
        build_store(&vectors.view(), &store, &BuildOptions { numbers, ..BuildOptions::default() }).unwrap();
        let opened = Store::open(&store).unwrap();
        let found = opened.index().exact(vectors.view(), 2, 3).unwrap();
        assert_eq!(found.ids, ndarray::array![[0, 1], [1, 0]]);
    }
}

#[test]
fn more_threads_than_there_is_work_for_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let words = saved(folder.path(), "words.safetensors", "w", &drawn(9000, 6));
    let queries = saved(folder.path(), "queries.safetensors", "queries", &Array2::ones((3, 6)));
    let [few, many] = ["2", "100000"].map(|threads| {
        let store = folder.path().join(format!("{threads}.safetensors"));
        succeeds(&["subvocab", "build", path(&words), "-o", path(&store), "--threads", threads]);
        let ask = ["subvocab", "query", path(&store), path(&queries), "-k", "2000", "--threads", threads];
        (fs::read(&store).unwrap(), succeeds(&ask), succeeds(&[&ask[..], &["--probes", "40"]].concat()))
    });
    assert!(few == many);
}

#[test]
fn a_build_that_is_killed_leaves_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let words = saved(folder.path(), "words.safetensors", "w", &drawn(60_000, 32));
    let store = folder.path().join("store.safetensors");
    let arguments = ["subvocab", "build", path(&words), "-o", path(&store), "--clusters", "300"];
    let mut kills = 0;
    for pause in [0, 30, 100, 200, 300] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_roundelay"));
        let mut child = child.args(arguments).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let over = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        // There whole, or not there.
        match store.exists() {
            true => assert!(Store::open(&store).is_ok()),
            false => kills += usize::from(!over),
        }
        let _ = fs::remove_file(&store);
    }
    assert!(kills > 0, "none was killed in time");
}

#[test]
fn bf16_and_other_numbers_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.safetensors");
    let halves: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
    let tensors = [
        ("bf16", safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![1, 2], &halves).unwrap()),
        ("i8", safetensors::tensor::TensorView::new(safetensors::Dtype::I8, vec![2, 1], &[3, 255]).unwrap()),
    ];
    safetensors::serialize_to_file(tensors, None, &file).unwrap();
    for (name, expected) in [("bf16", [1.5, -2.0]), ("i8", [3.0, -1.0])] {
        let source = TensorRows::open(&file, Some(name)).unwrap();
        let mut rows = [0.0; 2];
        source.read(0, &mut rows).unwrap();
        assert_eq!((rows, source.vectors() * source.dimension()), (expected, 2));
    }
}
