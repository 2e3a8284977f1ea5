//! Damaging a dataset in many ways: each is named.
#![cfg(feature = "io")]

#[path = "common/corpus.rs"]
mod corpus;
#[cfg(feature = "cli")]
#[path = "common/program.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod program;

use std::fs;
use std::path::Path;

use corpus::Corpus;
use roundelay::batch::{Segment, Split};
use roundelay::io::{Dataset, DatasetInfo, PartWriter, prep, sha256_of_file, verify, write_json_atomic};
use roundelay::weights::Region;
use roundelay::{Layout, Seconds};
use serde_json::Value;

const PART: &str = "part-00001.parquet";

/// A dataset that can be damaged and made whole again.
struct Sample {
    corpus: Corpus,
    files: Vec<(String, Vec<u8>)>,
}

impl Sample {
    fn new() -> Self {
        let corpus = Corpus::new(16);
        corpus.prep("out", &corpus.options());
        let files = corpus::folder_bytes(&corpus.at("out"));
        Sample { corpus, files }
    }

    /// What is wrong after the damage, in words.
    fn defects(&self, damage: impl Fn(&Path)) -> Vec<String> {
        let out = self.corpus.at("out");
        fs::remove_dir_all(&out).unwrap();
        fs::create_dir(&out).unwrap();
        self.files.iter().for_each(|(name, bytes)| fs::write(out.join(name), bytes).unwrap());
        damage(&out);
        let verified = verify(&out).unwrap();
        assert!(verified.finished);
        verified.defects.iter().map(ToString::to_string).collect()
    }

    /// The one defect that a damage gives.
    fn defect(&self, damage: impl Fn(&Path)) -> String {
        let defects = self.defects(damage);
        assert_eq!(defects.len(), 1, "{defects:#?}");
        defects.into_iter().next().unwrap()
    }

    /// Changes `dataset.json`.
    fn described(&self, change: impl Fn(&mut Value)) -> String {
        self.defect(|out| {
            let path = out.join("dataset.json");
            let mut info = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            change(&mut info);
            fs::write(path, serde_json::to_vec(&info).unwrap()).unwrap();
        })
    }

    /// Changes the first segment of a part, whose checksum is then that of the new file.
    fn segment(&self, change: impl Fn(&mut Segment)) -> Vec<String> {
        self.defects(|out| {
            let mut segments = part(out);
            change(&mut segments[0]);
            rewrite(out, &segments, Dataset::open(out).unwrap().layout());
        })
    }
}

fn part(out: &Path) -> Vec<Segment> {
    roundelay::io::PartReader::open(&out.join(PART)).unwrap().map(Result::unwrap).collect()
}

fn rewrite(out: &Path, segments: &[Segment], layout: &Layout) {
    let mut writer = PartWriter::create(&out.join(PART), layout).unwrap();
    segments.iter().for_each(|segment| writer.write(segment).unwrap());
    let summary = writer.finish().unwrap();
    let mut info = Dataset::open(out).unwrap().info().clone();
    info.parts[1] = summary;
    write_json_atomic(&out.join("dataset.json"), &info).unwrap();
}

fn replace_line(path: &Path, change: impl Fn(&mut Vec<String>)) {
    let mut lines: Vec<_> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_whole_dataset_has_no_defect() {
    let sample = Sample::new();
    assert_eq!(sample.defects(|_| ()), [""; 0]);
    let untouched = |out: &Path| {
        fs::write(out.join("README.md"), "mine").unwrap();
        drop(Dataset::open(out).unwrap().segment("1.wav").unwrap());
    };
    assert_eq!(sample.defects(untouched), [""; 0], "files of other names are none of ours");
}

#[test]
fn every_damage_to_a_file_is_named() {
    let sample = Sample::new();
    let missing = sample.defect(|out| fs::remove_file(out.join(PART)).unwrap());
    assert_eq!(missing, "part-00001.parquet: part is missing, expected 3 segments");
    let flipped = sample.defects(|out| {
        let mut bytes = fs::read(out.join(PART)).unwrap();
        bytes[2000] ^= 16;
        fs::write(out.join(PART), bytes).unwrap();
    });
    assert!(flipped[0].starts_with("part-00001.parquet: SHA-256 is "), "{flipped:?}");
    let cut = sample.defects(|out| {
        let bytes = fs::read(out.join(PART)).unwrap();
        fs::write(out.join(PART), &bytes[..bytes.len() - 9]).unwrap();
    });
    assert_eq!(cut.len(), 3, "{cut:#?}");
    assert!(cut[0].starts_with("part-00001.parquet: size in bytes is ") && cut[2].contains(PART), "{cut:#?}");
    let orphan = sample.defect(|out| _ = fs::copy(out.join(PART), out.join("part-00009.parquet")).unwrap());
    let expected = "part-00009.parquet: file is a part that nobody knows, expected one of those in dataset.json";
    assert_eq!(orphan, expected);
    let left = sample.defect(|out| fs::write(out.join(".roundelay-abc.tmp"), "half").unwrap());
    assert!(left.starts_with(".roundelay-abc.tmp: file is left by a run that was killed"), "{left}");
    let another = sample.defects(|out| {
        let other = Layout::preset("moshi-7b-pretrain").unwrap();
        rewrite(out, &part(out), &other);
    });
    let expected =
        "part-00001.parquet: layout is another, \"moshi-7b-pretrain\", expected that of layout.json, \"moshi-7b\"";
    assert_eq!(another, [expected]);
    let renamed = sample.defect(|out| {
        fs::write(out.join("layout.json"), Layout::preset("moshi-7b-pretrain").unwrap().to_json()).unwrap();
    });
    assert!(renamed.starts_with("layout.json: name of the layout is moshi-7b-pretrain"), "{renamed}");
    let lost = sample.defect(|out| fs::remove_file(out.join("layout.json")).unwrap());
    assert!(lost.starts_with("layout.json: cannot open the file"), "{lost}");
}

#[test]
fn every_sum_that_is_another_is_named() {
    let sample = Sample::new();
    let info: DatasetInfo = {
        let (_, bytes) = sample.files.iter().find(|(name, _)| name == "dataset.json").unwrap();
        serde_json::from_slice(bytes).unwrap()
    };
    let counts = [
        ("recordings", info.counts.recordings),
        ("segments", info.counts.segments),
        ("frames", info.counts.frames),
        ("text_pads", info.counts.text_pads),
        ("rejects", info.counts.rejects),
    ];
    for (name, found) in counts {
        let defect = sample.described(|info| info["counts"][name] = (found + 1).into());
        let expected = format!("dataset.json: counts.{name} is {}, expected {found}, as there are", found + 1);
        assert_eq!(defect, expected);
    }
    let seconds = sample.described(|info| info["counts"]["seconds"] = 1.5.into());
    assert!(seconds.starts_with("dataset.json: counts.seconds is 1.5, expected "), "{seconds}");
    let rows = sample.described(|info| info["parts"][1]["rows"] = 9.into());
    assert_eq!(rows, "part-00001.parquet: number of segments is 9, expected 3, as there are");
    let frames = sample.described(|info| info["parts"][1]["frames"] = 9.into());
    assert!(frames.starts_with("part-00001.parquet: number of frames is 9, expected "), "{frames}");
    let twice = sample.described(|info| {
        let first = info["parts"][0].clone();
        info["parts"].as_array_mut().unwrap().push(first);
    });
    assert_eq!(twice, "dataset.json: part is part-00000.parquet again, expected each once");
    let format = sample.described(|info| info["format"] = 99.into());
    assert!(format.starts_with("dataset.json: dataset format 99 is not supported"), "{format}");
    let json = sample.defect(|out| fs::write(out.join("dataset.json"), "{").unwrap());
    assert!(json.starts_with("dataset.json:1: dataset description is ill-formed"), "{json}");
}

#[test]
fn every_fault_of_the_ledger_is_named() {
    let sample = Sample::new();
    let lost = sample.defects(|out| {
        replace_line(&out.join("events.jsonl"), |lines| drop(lines.remove(0)));
    });
    assert!(!lost.is_empty() && lost.iter().all(|defect| defect.starts_with("dataset.json: events.")), "{lost:#?}");
    let garbled = sample.defect(|out| replace_line(&out.join("events.jsonl"), |lines| lines[2] = "{\"event\":".into()));
    assert!(garbled.starts_with("events.jsonl:3: event is ill-formed"), "{garbled}");
    let later = |out: &Path| {
        replace_line(&out.join("events.jsonl"), |lines| lines.push("{\"event\":\"of_a_later_version\"}".into()));
    };
    assert_eq!(sample.defects(later), [""; 0]);
    for name in ["events.jsonl", "rejects.jsonl"] {
        let missing = sample.defect(|out| fs::remove_file(out.join(name)).unwrap());
        assert!(missing.starts_with(&format!("{name}: cannot open the file")), "{missing}");
    }
    let twice = sample.defect(|out| replace_line(&out.join("rejects.jsonl"), |lines| lines.push(lines[0].clone())));
    assert!(twice.starts_with("dataset.json: counts.rejects is "), "{twice}");
}

#[test]
fn every_fault_of_a_segment_is_named() {
    let sample = Sample::new();
    let one = |change: fn(&mut Segment)| {
        let defects = sample.segment(change);
        assert_eq!(defects.len(), 1, "{defects:#?}");
        defects.into_iter().next().unwrap()
    };
    let id = one(|segment| segment.id = "0.wav".into());
    assert_eq!(id, "part-00001.parquet: recording \"0.wav\": id is another segment's as well, expected one of its own");
    let slot = one(|segment| segment.codes.0[[3, 4]] = -2);
    assert!(slot.ends_with("stream main.2, frame 4: code is -2, expected no slot for a model to fill"), "{slot}");
    let long = sample.segment(|segment| segment.duration = segment.duration + Seconds::of_samples(1, 1));
    assert!(
        long[0].starts_with("part-00001.parquet: recording \"") && long[0].contains(": duration_sec is "),
        "{long:?}"
    );
    assert!(long.len() == 2 && long[1].starts_with("dataset.json: counts.seconds is "), "{long:?}");
    let early = one(|segment| segment.start = "-1".parse().unwrap());
    assert!(early.ends_with("start_sec is -1, expected 0 or more"), "{early}");
    let meta = one(|segment| segment.meta = "[1]".into());
    assert!(meta.contains(": meta is ill-formed"), "{meta}");
    let word = one(|segment| segment.words[0].frame = Some(4000));
    assert!(word.contains("frame of the word \"word0\" is 4000, expected below "), "{word}");
    let (start, end) = (Seconds::of_samples(1, 1), Seconds::ZERO);
    let backwards = sample.segment(|segment| segment.regions.push(Region { start, end, weight: 1.0 }));
    assert!(backwards[0].contains("end of the region is 0 s, expected after its start, 1 s"), "{backwards:?}");
    let sides = sample.defects(|out| {
        let mut segments = part(out);
        segments[1].path = segments[0].path.clone();
        segments[1].split = Split::Valid;
        rewrite(out, &segments, Dataset::open(out).unwrap().layout());
    });
    assert!(sides[0].ends_with("split is valid, expected that of the recording's other segments"), "{sides:#?}");
    assert!(sides[1].starts_with("dataset.json: counts.recordings is "), "{sides:#?}");
}

#[test]
fn a_code_beyond_its_codebook_is_named() {
    let sample = Sample::new();
    let defects = sample.defects(|out| {
        let layout = Layout::preset("moshi-7b").unwrap();
        // Nobody who writes with the layout can write such a code, so another layout writes it and is then renamed.
        let wide = layout.to_json().replace("\"cardinality\":2048", "\"cardinality\":2050");
        assert_ne!(wide, layout.to_json());
        let mut segments = part(out);
        segments[0].codes.0[[3, 4]] = 2049;
        rewrite(out, &segments, &Layout::from_json(&wide).unwrap());
        let bytes = fs::read(out.join(PART)).unwrap();
        let (wide, narrow) = (wide.as_bytes(), layout.to_json().into_bytes());
        let at = bytes.windows(wide.len()).position(|window| window == wide).unwrap();
        let bytes = [&bytes[..at], &narrow, &bytes[at + wide.len()..]].concat();
        fs::write(out.join(PART), bytes).unwrap();
        let mut info = Dataset::open(out).unwrap().info().clone();
        info.parts[1].sha256 = sha256_of_file(&out.join(PART)).unwrap();
        write_json_atomic(&out.join("dataset.json"), &info).unwrap();
    });
    assert_eq!(defects.len(), 1, "{defects:#?}");
    assert!(defects[0].ends_with("stream main.2, frame 4: code is 2049, expected 0..2048, or -1 where there is none"));
}

#[test]
fn a_length_that_is_not_that_of_the_codes_is_named() {
    let sample = Sample::new();
    let defects = sample.defects(|out| {
        let mut segments = part(out);
        segments.truncate(1);
        segments[0].codes = roundelay::Frames(ndarray::Array2::zeros((17, 4099)));
        rewrite(out, &segments, Dataset::open(out).unwrap().layout());
        // 4099 stands in the part as its length alone: in a page and in the column's statistics.
        let mut bytes = fs::read(out.join(PART)).unwrap();
        let at: Vec<_> = (0..bytes.len() - 4).filter(|&n| bytes[n..n + 4] == 4099u32.to_le_bytes()).collect();
        assert!(!at.is_empty());
        at.into_iter().for_each(|n| bytes[n] += 1);
        fs::write(out.join(PART), bytes).unwrap();
        let mut info = Dataset::open(out).unwrap().info().clone();
        info.parts[1].sha256 = sha256_of_file(&out.join(PART)).unwrap();
        write_json_atomic(&out.join("dataset.json"), &info).unwrap();
    });
    assert_eq!(defects.len(), 1, "{defects:#?}");
    assert!(defects[0].ends_with("row of codes is 4099 frames, expected num_frames, 4100"), "{defects:#?}");
}

#[test]
fn an_unfinished_folder_is_checked_as_far_as_it_goes() {
    let corpus = Corpus::new(30);
    let mut options = corpus.options();
    options.part_recordings = 4;
    // A run that cannot go on: the manifest is taken away while it is at work.
    let out = corpus.at("out");
    let parked = corpus.at("parked.jsonl");
    let result = prep(&corpus.manifest(), &out, &options, &mut |now| {
        if now.counts.segments > 10 && !parked.exists() {
            fs::rename(corpus.manifest(), &parked).unwrap();
        }
        Ok(())
    });
    assert!(result.unwrap_err().to_string().contains("data.jsonl: cannot open the file"));
    let verified = verify(&out).unwrap();
    assert!(!verified.finished && verified.defects.is_empty() && verified.parts >= 3, "{verified:?}");
    let part = out.join(PART);
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..100]).unwrap();
    let defects = verify(&out).unwrap().defects;
    assert!(defects[0].message.starts_with("part-00001.parquet: size in bytes is "), "{defects:?}");
    // The same run makes it again.
    fs::rename(parked, corpus.manifest()).unwrap();
    prep(&corpus.manifest(), &out, &options, &mut |_| Ok(())).unwrap();
    assert_eq!(fs::read(&part).unwrap(), bytes);
    assert_eq!(verify(&out).unwrap().defects, []);
    let nothing = corpus.at("nothing");
    fs::create_dir(&nothing).unwrap();
    assert!(verify(&nothing).unwrap_err().to_string().contains("dataset is no dataset"));
}

#[cfg(feature = "cli")]
#[test]
fn the_command_line_says_what_is_wrong_and_by_its_status_whether() {
    use program::{fails, path, roundelay, succeeds, text};
    let sample = Sample::new();
    let out = sample.corpus.at("out");
    let verify = ["verify", path(&out)];
    assert_eq!(succeeds(&verify), "whole: 15 segments in 4 parts\n");
    let json: Value = serde_json::from_str(&succeeds(&["verify", path(&out), "--json"])).unwrap();
    assert_eq!(json, serde_json::json!({"finished": true, "parts": 4, "segments": 15, "defects": []}));

    fs::remove_file(out.join(PART)).unwrap();
    let output = roundelay(&verify);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "part-00001.parquet: part is missing, expected 3 segments\n");
    assert_eq!(text(&output.stderr), "error: 1 defect; read: 12 segments in 3 parts\n");
    let json = roundelay(&["verify", path(&out), "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["defects"][0]["file"], PART);

    fs::remove_file(out.join("dataset.json")).unwrap();
    fs::create_dir(out.join(".prep")).unwrap();
    assert!(fails(1, &verify).starts_with("error: unfinished; what is there is whole: "));
}
