//! What each fuzz target does with its bytes: read them, and where they are accepted hold the result against a law.
//!
//! ```text
//! fuzz_targets/words.rs    libFuzzer's bytes ─┐
//! tests/regressions.rs     corpus/words/*    ─┴─> words(bytes)    returns, or panics: a find
//! ```

use std::io::Write;
use std::path::Path;

use ndarray::{Array2, Array3, ArrayD};
use roundelay::io::tensors;
use roundelay::io::{PartReader, read_alignments, read_audio};
use roundelay::text::{Tokenizer, Word};
use roundelay::{Delay, Extent, FrameRate, Frames, Kind, Layout, Start, Stream};
use tempfile::NamedTempFile;

/// Tensors, pieces and segments looked at in one input: more would only make the target slow.
const LOOKED_AT: usize = 64;

/// A layout that is accepted prints, and reads back as itself.
pub fn layout(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(layout) = Layout::from_json(text) else { return };
    let printed = layout.to_json();
    let again = Layout::from_json(&printed).expect("what is printed can be read");
    assert_eq!(again, layout, "the layout changed: {printed}");
    assert_eq!(again.to_json(), printed);
}

/// Every id that a model gives out is one of its own and can be decoded; so can all its ids.
pub fn tokenizer(bytes: &[u8]) {
    const TEXTS: [&str; 6] =
        ["", "  two  spaces ", "hello there", "a\u{2581}b\u{e9}\u{1f600}\0", "<s><0x41>", "abab aab"];
    let Ok(tokenizer) = Tokenizer::from_bytes(bytes) else { return };
    let size = tokenizer.len() as i32;
    let pieces = (0..size).take(LOOKED_AT).filter_map(|id| tokenizer.piece(id));
    for text in TEXTS.into_iter().chain(pieces) {
        let ids = tokenizer.encode(text);
        assert!(ids.iter().all(|id| (0..size).contains(id)), "{text:?} became {ids:?} of {size}");
        tokenizer.decode(&ids).expect("ids that were given out can be decoded");
    }
    let _ = tokenizer.encode_lines("one\n\ntwo\n");
    let every: Vec<i32> = (0..size).collect();
    tokenizer.decode(&every).expect("every id can be decoded");
    assert!(tokenizer.decode(&[size]).is_err() && tokenizer.decode(&[-1]).is_err());
}

/// Words that are accepted keep their times when they are written again, and every time has a frame.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(words) = read_alignments(text) else { return };
    let rate = FrameRate::new(25, 2).expect("a rate");
    for word in &words {
        let (start, first) = (rate.floor(word.start), rate.ceil(word.start));
        assert!((0..=1).contains(&(first - start)));
        assert!((rate.floor(word.end) < start) <= (word.end < word.start), "frames are in another order than times");
    }
    let again = format!("{{\"alignments\": [{}]}}", words.iter().map(entry).collect::<Vec<_>>().join(","));
    assert_eq!(read_alignments(&again).expect("what is written can be read"), words);
}

fn entry(word: &Word) -> String {
    let string = |text: &str| serde_json::to_string(text).expect("a string is JSON");
    format!("[{}, [{}, {}], {}]", string(&word.text), word.start, word.end, string(&word.speaker))
}

/// A tensor holds no more elements than its file has bytes. The first byte chooses the format.
pub fn tensors(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let suffix = [".safetensors", ".npy", ".npz"][usize::from(*kind) % 3];
    let file = file(bytes, suffix);
    // An .npz is compressed, and expands.
    let most = if suffix == ".npz" { usize::MAX } else { bytes.len() };
    let Ok(mut names) = tensors::names(file.path()) else { return };
    names.push("codes".to_owned());
    for name in names.iter().take(LOOKED_AT) {
        let ids = tensors::read(file.path(), name);
        let weights = tensors::read_f32(file.path(), name);
        assert!(ids.is_err() || weights.is_err(), "both integers and floats");
        let elements = ids.map_or(0, |ids: ArrayD<i64>| ids.len()).max(weights.map_or(0, |weights| weights.len()));
        assert!(elements <= most, "{elements} elements out of {most} bytes");
    }
}

/// The counts of a part are those of its segments, and each is found by its id.
pub fn parts(bytes: &[u8]) {
    let file = file(bytes, ".parquet");
    let Ok(part) = PartReader::open(file.path()) else { return };
    let (rows, frames, layout) = (part.rows(), part.frames(), part.layout().clone());
    let Ok(segments) = part.collect::<roundelay::Result<Vec<_>>>() else { return };
    assert_eq!(segments.len() as u64, rows);
    let found: usize = segments.iter().map(|segment| segment.codes.0.ncols()).sum();
    assert_eq!(frames.expect("frames of a part that can be read"), found as u64);
    let part = PartReader::open(file.path()).expect("it was opened before");
    for segment in segments.iter().take(2) {
        layout.check_codes(&segment.codes).expect("codes that were read are the layout's");
        assert!(part.find(&segment.id).expect("it was read before").is_some_and(|found| found.id == segment.id));
    }
}

/// Samples are finite, of one length in every channel, and no more than the file has bytes.
pub fn wav(bytes: &[u8]) {
    let file = file(bytes, ".wav");
    let Ok(audio) = read_audio(file.path()) else { return };
    assert!(audio.sample_rate > 0 && !audio.channels.is_empty());
    assert!(audio.channels.iter().all(|channel| channel.len() == audio.len()));
    assert!(audio.len() * audio.channels.len() <= bytes.len());
    assert!(audio.channels.iter().flatten().all(|sample| sample.is_finite()));
}

/// Undoing a delay is the identity where the sequence holds the code, and absent elsewhere.
pub fn roundtrip(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let streams: Vec<Stream> = (0..1 + bytes.below(5)).map(|k| stream(k, &mut bytes)).collect();
    let layout = Layout::new("fuzz", FrameRate::new(25, 2).expect("a rate"), streams).expect("a layout by its rules");
    let (batch, frames) = (bytes.below(3), bytes.below(40));
    let extent = [Extent::Extend, Extent::Truncate][bytes.below(2)];
    let start = [Start::None, Start::Initial][bytes.below(2)];
    let delay = Delay::new(&layout, extent, start);
    // Any value: what is shifted is positions.
    let codes = Array3::from_shape_simple_fn((batch, layout.streams().len(), frames), || i64::from(bytes.next()) - 2);
    check_batch(&delay, codes.clone());
    if let Some(first) = codes.outer_iter().next() {
        check_one(&delay, first.to_owned());
    }
}

fn stream(k: usize, bytes: &mut Bytes) -> Stream {
    let text = k == 0 && bytes.below(2) == 0;
    Stream {
        name: format!("stream {k}"),
        kind: if text { Kind::Text } else { Kind::Acoustic },
        speaker: "main".to_owned(),
        level: (!text).then_some(k),
        cardinality: 1 + u32::from(bytes.next()),
        delay: bytes.below(50),
        initial: bytes.next().into(),
        pad: bytes.next().into(),
        end_pad: None,
        bos: None,
        eos: None,
        phase: None,
        trained: true,
    }
}

fn check_batch(delay: &Delay, codes: Array3<i64>) {
    let frames = Frames(codes);
    let built = delay.build(&frames).expect("codes have the layout's streams");
    let undone = delay.undo(&built.tokens, -1).expect("steps that were built");
    let known = built.mask.0.iter().filter(|known| **known).count();
    assert_eq!(undone.mask.0.iter().filter(|known| **known).count(), known, "a code is known on one side only");
    for ((at, &back), &code) in undone.codes.0.indexed_iter().zip(&frames.0) {
        let (_, k, t) = at;
        let step = delay.step_of(k, t);
        let kept = step < built.tokens.0.shape()[2];
        assert_eq!(undone.mask.0[at], kept, "{at:?}");
        assert_eq!(back, if kept { code } else { -1 }, "{at:?}");
        assert!(delay.extent() == Extent::Truncate || kept, "{at:?} is lost");
    }
}

fn check_one(delay: &Delay, codes: Array2<i64>) {
    let frames = Frames(codes);
    let built = delay.build(&frames).expect("codes have the layout's streams");
    let undone = delay.undo(&built.tokens, -1).expect("steps that were built");
    if delay.extent() == Extent::Extend {
        assert_eq!(undone.codes, frames);
    }
}

/// Small numbers out of the input; zeros once it has ended.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.next()) % limit
    }
}

/// The bytes in a file of their own, gone once it is dropped.
fn file(bytes: &[u8], suffix: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile_in(folder()).expect("a temporary file");
    file.write_all(bytes).expect("room for the bytes");
    file
}

/// In memory where there is such a place: every input becomes a file.
fn folder() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
