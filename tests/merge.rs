//! Shards and merging: what several jobs write is what one would have written.
#![cfg(feature = "io")]

#[path = "common/corpus.rs"]
mod corpus;
#[cfg(feature = "cli")]
#[path = "common/program.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use corpus::{Corpus, assert_same, folder_bytes};
use roundelay::batch::{Segment, Split};
use roundelay::io::{Dataset, DatasetInfo, PrepOptions, Shard, ValidShare, merge, prep, verify};
use roundelay::window::Border;

fn segments(folder: &Path) -> Vec<Segment> {
    Dataset::open(folder).unwrap().segments().map(Result::unwrap).collect()
}

fn check_whole(folder: &Path) {
    let verified = verify(folder).unwrap();
    assert!(verified.finished && verified.defects.is_empty(), "{:#?}", verified.defects);
}

/// Prepares every shard, and returns the folders.
fn shards(corpus: &Corpus, count: usize) -> Vec<PathBuf> {
    let shard = |index| {
        let options = PrepOptions { shard: Some(Shard::new(index, count).unwrap()), ..corpus.options() };
        let name = format!("shard-{index}-{count}");
        corpus.prep(&name, &options);
        corpus.at(&name)
    };
    (0..count).map(shard).collect()
}

fn merged(folders: &[PathBuf], output: &Path) -> DatasetInfo {
    merge(folders, output, &mut |_| Ok(())).unwrap()
}

fn refused(folders: &[PathBuf], output: &Path) -> String {
    merge(folders, output, &mut |_| Ok(())).unwrap_err().to_string()
}

#[test]
fn shards_merged_are_the_single_run_to_the_byte() {
    let corpus = Corpus::new(62);
    let info = corpus.prep("whole", &corpus.options());
    assert!(info.parts.len() == 13 && info.counts.rejects > 3 && !info.events.is_empty(), "{info:?}");
    check_whole(&corpus.at("whole"));
    for count in [1, 2, 3, 5, 16] {
        let mut folders = shards(&corpus, count);
        folders.iter().for_each(|folder| check_whole(folder));
        folders.reverse();
        let output = corpus.at(&format!("merged-{count}"));
        assert_eq!(merged(&folders, &output), info, "{count} shards");
        assert_same(&output, &corpus.at("whole"));
    }
    let card = fs::read_to_string(corpus.at("whole/README.md")).unwrap();
    assert!(card.contains(&format!("| segments | {} |\n", info.counts.segments)), "{card}");
}

#[test]
fn a_finished_shard_is_left_as_it_is_by_the_same_call_only() {
    let corpus = Corpus::new(20);
    let options = |more: &dyn Fn(&mut PrepOptions)| {
        let mut options = PrepOptions { shard: Some(Shard::new(0, 2).unwrap()), ..corpus.options() };
        more(&mut options);
        options
    };
    let again = |options: &PrepOptions| prep(&corpus.manifest(), &corpus.at("shard"), options, &mut |_| Ok(()));
    let info = again(&options(&|_| {})).unwrap();
    let written = || fs::metadata(corpus.at("shard/dataset.json")).unwrap().modified().unwrap();
    let before = (written(), folder_bytes(&corpus.at("shard")));
    assert_eq!(again(&options(&|options| options.jobs = 2)).unwrap(), info);
    assert!((written(), folder_bytes(&corpus.at("shard"))) == before, "it was written again");
    let refused = |options: &PrepOptions| {
        let error = again(options).unwrap_err().to_string();
        assert!(error.contains("output folder is the folder of a finished dataset"), "{error}");
    };
    refused(&options(&|options| options.window = Some("2".parse().unwrap())));
    refused(&options(&|options| options.shard = Some(Shard::new(1, 2).unwrap())));
    refused(&options(&|options| options.shard = None));
    // The last line is of another shard or none: the manifest is another all the same.
    fs::write(corpus.manifest(), fs::read_to_string(corpus.manifest()).unwrap() + "\n{}").unwrap();
    refused(&options(&|_| {}));
    assert!((written(), folder_bytes(&corpus.at("shard"))) == before);
}

#[test]
fn shards_are_disjoint_cover_all_and_differ_by_a_part() {
    let corpus = Corpus::new(100);
    let whole: Vec<_> = {
        corpus.prep("whole", &corpus.options());
        segments(&corpus.at("whole"))
    };
    let longest = |folder: &Path| {
        let parts = Dataset::open(folder).unwrap().info().parts.iter().map(|part| part.frames).max();
        parts.unwrap_or(0)
    };
    let longest = longest(&corpus.at("whole"));
    for count in [2, 3, 7] {
        let shards: Vec<_> = shards(&corpus, count).iter().map(|folder| segments(folder)).collect();
        let mut all: Vec<_> = shards.iter().flatten().cloned().collect();
        all.sort_by_key(|segment| whole.iter().position(|other| other.id == segment.id));
        assert!(all == whole, "{count} shards");
        let frames = |shard: &Vec<Segment>| shard.iter().map(|segment| segment.codes.0.ncols() as u64).sum::<u64>();
        let (most, least) = (shards.iter().map(frames).max().unwrap(), shards.iter().map(frames).min().unwrap());
        // The manifest does not say which recordings have no codes.
        assert!(most - least <= 2 * longest, "{most} and {least} frames in {count} shards, {longest} in a part");
    }
}

#[test]
fn datasets_of_other_recordings_follow_each_other() {
    let (a, b) = (Corpus::new(23), Corpus::new(40));
    let renamed = fs::read_to_string(b.manifest()).unwrap();
    for name in fs::read_dir(b.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        fs::rename(b.at(&name), b.at(&format!("b-{name}"))).unwrap();
    }
    fs::write(b.manifest(), renamed.replace("\"path\":\"", "\"path\":\"b-")).unwrap();
    let infos = [a.prep("out", &a.options()), b.prep("out", &b.options())];
    let folders = [a.at("out"), b.at("out")];
    let output = a.at("merged");
    let info = merged(&folders, &output);
    let expected: Vec<_> = folders.iter().flat_map(|folder| segments(folder)).collect();
    assert!(segments(&output) == expected);
    assert_eq!(info.counts, infos[0].counts.clone() + &infos[1].counts);
    let names: Vec<_> = info.parts.iter().map(|part| part.name.as_str()).collect();
    let expected: Vec<_> = (0..names.len()).map(DatasetInfo::part_name).collect();
    assert_eq!(names, expected);
    for name in ["events.jsonl", "rejects.jsonl"] {
        let joined = folders.iter().map(|folder| fs::read_to_string(folder.join(name)).unwrap()).collect::<String>();
        assert_eq!(fs::read_to_string(output.join(name)).unwrap(), joined);
    }
    check_whole(&output);
    // Shards among others stand where the first of them does.
    let mut folders = shards(&a, 2);
    folders.insert(1, b.at("out"));
    merged(&folders, &a.at("mixed"));
    assert_same(&a.at("mixed"), &output);
}

#[test]
fn what_does_not_go_together_is_refused_with_both_sides() {
    let corpus = Corpus::new(20);
    corpus.prep("a", &corpus.options());
    let with = |name: &str, change: fn(&mut PrepOptions)| {
        let mut options = corpus.options();
        change(&mut options);
        corpus.prep(name, &options);
        refused(&[corpus.at("a"), corpus.at(name)], &corpus.at("out"))
    };
    let refusals = [
        with("window", |options| options.window = Some("2".parse().unwrap())),
        with("border", |options| options.border = Border::Drop),
        with("suffix", |options| {
            options.codes = roundelay::io::CodeSource::Files { suffix: Some(".safetensors".into()) }
        }),
        with("layout", |options| options.layout = roundelay::Layout::preset("moshi-7b-pretrain").unwrap()),
        with("tokenizer", |options| {
            let path = corpus::tokenizer().with_file_name("demo_8k_unigram.model");
            options.tokenizer = Some(path);
        }),
    ];
    let expected = [
        "option window is 2.0, expected that of ",
        "option border is \"drop\", expected that of ",
        "codec is codes.safetensors, expected that of ",
        "layout is another, moshi-7b-pretrain, expected that of ",
        "tokenizer is demo_8k_unigram.model with SHA-256 ",
    ];
    for (refusal, expected) in refusals.iter().zip(expected) {
        assert!(refusal.contains(expected), "{refusal}\n{expected}");
    }
    assert!(!corpus.at("out").exists(), "a refusal leaves no folder");
}

#[test]
fn overlaps_and_missing_shards_are_refused_by_name() {
    let corpus = Corpus::new(20);
    let [a, b] = ["a", "b"].map(|name| {
        corpus.prep(name, &corpus.options());
        corpus.at(name)
    });
    let out = corpus.at("out");
    let error = refused(&[a.clone(), b.clone()], &out);
    let names = format!("the first is \"0.wav\", in {} and {}, expected each in one", a.display(), b.display());
    assert!(
        error.starts_with("ids of segments is 19 that are in two datasets; ") && error.ends_with(&names),
        "{error}"
    );
    let shards = shards(&corpus, 3);
    let error = refused(&[shards[2].clone(), shards[0].clone()], &out);
    assert!(
        error.contains("number of shards of a manifest is 2 of 3, expected all of them: 1/3 is missing"),
        "{error}"
    );
    let error = refused(&[shards[1].clone(), shards[0].clone(), shards[1].clone(), shards[2].clone()], &out);
    assert!(error.contains("shard is 1/3 again, expected it once, as in "), "{error}");
    let other = self::shards(&corpus, 2).remove(1);
    let error = refused(&[shards[0].clone(), shards[1].clone(), shards[2].clone(), other], &out);
    assert!(error.contains("shard is 0/3, expected one of 2, as in "), "{error}");
    let error = refused(&[a.clone(), shards[0].clone()], &a);
    assert!(error.contains("output folder is one of the datasets, expected another"), "{error}");
    assert!(refused(std::slice::from_ref(&a), &b).contains("the folder of a finished dataset"));
    assert!(refused(&[], &out).contains("number of datasets is 0"));
    assert!(!out.exists());
}

#[test]
fn a_merge_that_broke_off_goes_on_and_takes_no_damaged_part() {
    let corpus = Corpus::new(40);
    corpus.prep("whole", &corpus.options());
    let folders = shards(&corpus, 2);
    let damaged = Dataset::open(&folders[1]).unwrap().info().parts.last().unwrap().name.clone();
    let sound = fs::read(folders[1].join(&damaged)).unwrap();
    let mut bytes = sound.clone();
    bytes[100] ^= 1;
    fs::write(folders[1].join(&damaged), bytes).unwrap();
    let out = corpus.at("out");
    let error = refused(&folders, &out);
    assert!(error.contains("SHA-256 is ") && error.contains(&damaged), "{error}");
    assert!(!out.join(&damaged).exists(), "a damaged part has no name");
    let unfinished = verify(&out).unwrap();
    assert!(!unfinished.finished && unfinished.parts > 2 && unfinished.defects.is_empty(), "{unfinished:?}");
    let error = refused(&[corpus.at("whole")], &out);
    assert!(error.contains("unfinished run in the output folder is another one"), "{error}");
    fs::write(folders[1].join(&damaged), sound).unwrap();
    merged(&folders, &out);
    assert_same(&out, &corpus.at("whole"));
}

#[test]
fn a_ledger_of_another_length_is_refused() {
    let corpus = Corpus::new(40);
    let folders = shards(&corpus, 2);
    let path = folders[0].join("events.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let (shorter, longer) = (text.split_once('\n').unwrap().1.to_owned(), format!("{text}{text}"));
    for (text, expected) in [(shorter, "fewer lines than its parts have"), (longer, "more lines than its parts have")] {
        fs::write(&path, text).unwrap();
        let error = refused(&folders, &corpus.at("out"));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_side_of_the_split_depends_on_the_path_alone() {
    let corpus = Corpus::new(60);
    let valid = Some(ValidShare { share: 0.3, seed: 5 });
    let held_out = |name: &str, options: PrepOptions| -> BTreeSet<String> {
        corpus.prep(name, &options);
        let segments = segments(&corpus.at(name));
        segments.into_iter().filter(|segment| segment.split == Split::Valid).map(|segment| segment.path).collect()
    };
    let whole = held_out("valid", PrepOptions { valid, ..corpus.options() });
    assert!((8..28).contains(&whole.len()), "{}", whole.len());
    let shard = |n| PrepOptions { valid, shard: Some(Shard::new(n, 2).unwrap()), ..corpus.options() };
    let both: BTreeSet<_> = (0..2).flat_map(|n| held_out(&format!("valid-{n}"), shard(n))).collect();
    assert_eq!(both, whole);
    let lines = fs::read_to_string(corpus.manifest()).unwrap();
    let mut lines: Vec<_> = lines.lines().collect();
    lines.reverse();
    let first = whole.first().unwrap();
    let chosen = |line: &str| line.replace("\"path\"", "\"split\":\"train\",\"path\"");
    let text = |path: &str| format!("\"{path}\"");
    let lines: Vec<_> =
        lines.into_iter().map(|line| if line.contains(&text(first)) { chosen(line) } else { line.into() }).collect();
    fs::write(corpus.manifest(), lines.join("\n")).unwrap();
    let reversed = held_out("reversed", PrepOptions { valid, ..corpus.options() });
    assert_eq!(reversed, whole.iter().skip(1).cloned().collect(), "the manifest has the last word");
    let seeded =
        held_out("seeded", PrepOptions { valid: Some(ValidShare { share: 0.3, seed: 6 }), ..corpus.options() });
    assert_ne!(seeded, whole);
    assert_eq!(
        held_out("none", PrepOptions { valid: Some(ValidShare { share: 0.0, seed: 5 }), ..corpus.options() }).len(),
        0
    );
    let error = PrepOptions { valid: Some(ValidShare { share: 1.5, seed: 5 }), ..corpus.options() };
    let error =
        roundelay::io::prep(&corpus.manifest(), &corpus.at("x"), &error, &mut |_| Ok(())).unwrap_err().to_string();
    assert_eq!(error, "share of recordings held out is 1.5, expected 0 to 1");
}

#[cfg(feature = "cli")]
#[test]
fn the_command_line_shares_a_manifest_out_and_joins_it() {
    use program::{fails, path, succeeds};
    let corpus = Corpus::new(30);
    let (manifest, tokenizer) = (corpus.manifest(), corpus::tokenizer());
    let prep = |name: &str, more: &[&str]| {
        let out = corpus.at(name);
        let words = ["prep", path(&manifest), "-o", path(&out), "--tokenizer", path(&tokenizer), "--codec", "codes"];
        succeeds(&[&words[..], &["--part-recordings", "4", "--valid", "0.2", "--valid-seed", "3"], more].concat())
    };
    let whole = prep("whole", &[]);
    prep("0", &["--shard", "0/2"]);
    prep("1", &["--shard", "1/2"]);
    let [a, b, out] = ["0", "1", "out"].map(|name| corpus.at(name));
    assert_eq!(succeeds(&["merge", path(&a), path(&b), "-o", path(&out)]), whole);
    assert_same(&out, &corpus.at("whole"));
    let error = fails(1, &["merge", path(&a), "-o", path(&corpus.at("half"))]);
    assert!(error.contains("1/2 is missing"), "{error}");
    let error = fails(2, &["prep", path(&manifest), "-o", path(&out), "--shard", "2/2"]);
    assert!(error.contains("shard is 2/2, expected 0/n to n-1/n"), "{error}");
}

#[cfg(all(feature = "cli", unix))]
#[test]
fn a_job_array_of_slurms_writes_what_one_run_writes() {
    let corpus = Corpus::new(20);
    corpus.prep("whole", &corpus.options());
    // With a slash, as a shell completes it.
    let (manifest, out, tokenizer) = (corpus.manifest(), corpus.at("out/"), corpus::tokenizer());
    let bin = Path::new(env!("CARGO_BIN_EXE_roundelay")).parent().unwrap();
    let paths = std::env::join_paths(
        std::iter::once(bin.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let run = |variables: &[(&str, &str)], more: &[&str]| {
        let mut job = std::process::Command::new("bash");
        job.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/slurm-prep.sh")).args([&manifest, &out]).args(more);
        job.env("PATH", paths.as_ref().unwrap()).envs(variables.iter().copied());
        job.output().unwrap()
    };
    let prep = ["--tokenizer", program::path(&tokenizer), "--codec", "codes", "--part-recordings", "5"];
    let task = |id| run(&[("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_COUNT", "2")], &prep);
    let succeeds = |output: std::process::Output| assert!(output.status.success(), "{output:?}");
    succeeds(task("0"));
    let half = run(&[], &[]);
    assert!(!half.status.success() && program::text(&half.stderr).contains("1/2 is missing"), "{half:?}");
    // The whole array is submitted again.
    succeeds(task("0"));
    succeeds(task("1"));
    succeeds(run(&[], &[]));
    assert_same(&out, &corpus.at("whole"));
    assert!(!corpus.at("out.shards").exists());
    // A merge that died before it had tidied up is started again.
    std::fs::create_dir(corpus.at("out.shards")).unwrap();
    succeeds(run(&[], &[]));
    assert!(!corpus.at("out.shards").exists());
}
