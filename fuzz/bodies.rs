//! What each fuzz target does with its bytes: read them, and where they are accepted hold the result against a law.
//!
//! ```text
//! fuzz_targets/words.rs    libFuzzer's bytes ─┐
//! tests/regressions.rs     corpus/words/*    ─┴─> words(bytes)    returns, or panics: a find
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

use ndarray::{Array3, ArrayD, ArrayView2, Axis};
use roundelay::delay::{Bracket, Delays, Pattern};
use roundelay::io::tensors;
use roundelay::io::{PartReader, WordsFormat, parse_segments, parse_words, parse_words_for, read_audio, words_text};
use roundelay::text::{SpeakerSegment, Tokenizer, Word};
use roundelay::{Delay, Extent, FrameRate, Frames, Kind, Layout, Sequencer, Start, Stream};
use tempfile::NamedTempFile;

/// Tensors, pieces and segments looked at in one input: more would only make the target slow.
const LOOKED_AT: usize = 64;

/// A layout that is accepted prints, and reads back as itself.
pub fn layout(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(layout) = Layout::from_json(text) else { return };
    check_printed(&layout);
}

fn check_printed(layout: &Layout) {
    let printed = layout.to_json();
    let again = Layout::read(&printed).expect("what is printed can be read");
    assert_eq!(again, *layout, "the layout changed: {printed}");
    assert_eq!(again.to_json(), printed);
    assert!(!layout.describe().is_empty());
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

/// moshi-finetune's words that are accepted are the same when they are written again, and every time has a frame.
pub fn words(bytes: &[u8]) {
    let Some(text) = words_text_of(bytes) else { return };
    let Ok(transcript) = parse_words(&text, WordsFormat::MoshiFinetune) else { return };
    let words = transcript.words.as_deref().unwrap_or_default();
    check_times(words);
    let regions =
        transcript.regions.iter().map(|region| format!("[{}, {}, {}]", region.start, region.end, region.weight));
    let again = format!(
        "{{\"alignments\": {}, \"regions\": {}, \"text_conditions\": {}}}",
        transcript.words.as_ref().map_or("null".to_owned(), |words| list(words.iter().map(entry))),
        list(regions),
        transcript.conditions.as_deref().unwrap_or("null"),
    );
    assert_eq!(parse_words(&again, WordsFormat::MoshiFinetune).expect("what is written can be read"), transcript);
}

fn entry(word: &Word) -> String {
    let said = word.ids.as_ref().map_or_else(|| json(&word.text), |ids| list(ids.iter().map(i32::to_string)));
    format!("[{said}, [{}, {}], {}]", word.start, word.end, json(&word.speaker))
}

/// J-Moshi's words that are accepted are the same when they are written again.
pub fn jmoshi(bytes: &[u8]) {
    let entry = |word: &Word| {
        let (speaker, said) = (json(&word.speaker), json(&word.text));
        format!(r#"{{"end": {}, "start": {}, "word": {said}, "speaker": {speaker}}}"#, word.end, word.start)
    };
    check_words(bytes, WordsFormat::Jmoshi, |words| list(words.iter().map(entry)));
}

/// WhisperX's words that are accepted are the same when they are written again.
pub fn whisperx(bytes: &[u8]) {
    let entry = |word: &Word| {
        let (speaker, said) = (json(&word.speaker), json(&word.text));
        format!(r#"{{"word": {said}, "start": {}, "end": {}, "speaker": {speaker}}}"#, word.start, word.end)
    };
    check_words(bytes, WordsFormat::Whisperx, |words| {
        format!(r#"{{"segments": [{{"words": {}}}], "word_segments": 0}}"#, list(words.iter().map(entry)))
    });
}

/// The words of a TextGrid that is accepted are the same when they are written again, a tier for each speaker.
pub fn textgrid(bytes: &[u8]) {
    check_words(bytes, WordsFormat::TextGrid, |words| {
        let mut tiers: Vec<&[Word]> = words.chunk_by(|a, b| a.speaker == b.speaker).collect();
        if tiers.is_empty() {
            // A tier in which nothing is said.
            tiers.push(&[]);
        }
        let quoted = |text: &str| text.replace('"', "\"\"");
        let mut written = format!("\"ooTextFile\" \"TextGrid\" 0 0 <exists> {}\n", tiers.len());
        for tier in tiers {
            let name = quoted(tier.first().map_or("", |word| &word.speaker));
            written += &format!("class = \"IntervalTier\" ! tier\n\"{name} - words\" 0 0 {}\n", tier.len());
            written.extend(tier.iter().map(|word| format!("{} {} \"{}\"\n", word.start, word.end, quoted(&word.text))));
        }
        written
    });
}

/// CTM's words that are accepted are the same when they are written again.
pub fn ctm(bytes: &[u8]) {
    let line = |word: &Word| format!("a {} {} {} {}\n", word.speaker, word.start, word.end - word.start, word.text);
    check_words(bytes, WordsFormat::Ctm, |words| words.iter().map(line).collect());
}

/// Lhotse's words that are accepted are the same when they are written again, each in a supervision of its own.
pub fn lhotse(bytes: &[u8]) {
    let line = |(id, word): (usize, &Word)| {
        let (start, duration) = (word.start, word.end - word.start);
        let (speaker, said) = (json(&word.speaker), json(&word.text));
        format!(
            "{{\"id\": \"{id}\", \"recording_id\": \"a\", \"start\": {start}, \"duration\": {duration}, \"speaker\": \
             {speaker}, \"alignment\": {{\"word\": [[{said}, {start}, {duration}, null]]}}}}\n"
        )
    };
    check_words(bytes, WordsFormat::Lhotse, |words| words.iter().enumerate().map(line).collect());
}

/// Spans of speakers that are accepted are the same when they are written again.
pub fn rttm(bytes: &[u8]) {
    let Some(text) = words_text_of(bytes) else { return };
    let _ = parse_segments(&text, Some("a"));
    let Ok(segments) = parse_segments(&text, None) else { return };
    let line = |segment: &SpeakerSegment| {
        let (start, duration) = (segment.start, segment.end - segment.start);
        assert!(start <= segment.end);
        format!("SPEAKER a 1 {start} {duration} <NA> <NA> {} <NA> <NA>\n", segment.speaker)
    };
    let again: String = segments.iter().map(line).collect();
    assert_eq!(parse_segments(&again, None).expect("what is written can be read"), segments);
}

/// Whichever format it is found to have, a text is read or refused.
fn words_text_of(bytes: &[u8]) -> Option<String> {
    let text = words_text(bytes.to_vec()).ok()?;
    for name in ["a.json", "a"] {
        let _ = WordsFormat::detect(name, &text);
    }
    Some(text)
}

/// Words that are accepted have times in order of their frames, and are the same when they are written again.
fn check_words(bytes: &[u8], format: WordsFormat, write: impl Fn(&[Word]) -> String) {
    let Some(text) = words_text_of(bytes) else { return };
    let _ = parse_words_for("a", &text, format);
    let Ok(transcript) = parse_words(&text, format) else { return };
    let words = transcript.words.expect("only moshi-finetune has recordings of which nothing is known");
    check_times(&words);
    // Nothing but silence is taken, a file with nothing in it is not.
    if words.is_empty() {
        return;
    }
    let again = write(&words);
    let again = parse_words(&again, format).unwrap_or_else(|error| panic!("{error}:\n{again}"));
    assert_eq!(again.words, Some(words));
}

fn check_times(words: &[Word]) {
    let rate = FrameRate::new(25, 2).expect("a rate");
    for word in words {
        let (start, first) = (rate.floor(word.start), rate.ceil(word.start));
        assert!((0..=1).contains(&(first - start)));
        assert!((rate.floor(word.end) < start) <= (word.end < word.start), "frames are in another order than times");
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn list(entries: impl Iterator<Item = String>) -> String {
    format!("[{}]", entries.collect::<Vec<_>>().join(", "))
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

/// Undoing a delay, with a bracket or without, or a general pattern is the identity where the sequence holds the code,
/// and absent elsewhere.
pub fn roundtrip(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let streams: Vec<Stream> = (0..1 + bytes.below(5)).map(|k| stream(k, &mut bytes)).collect();
    let layout = Layout::new("fuzz", FrameRate::new(25, 2).expect("a rate"), streams).expect("a layout by its rules");
    let (batch, frames) = (bytes.below(3), bytes.below(40));
    let ends = Ends {
        extent: [Extent::Extend, Extent::Truncate][bytes.below(2)],
        start: [Start::None, Start::Initial][bytes.below(2)],
        bracket: Bracket { bos: bytes.below(2) == 1, eos: bytes.below(2) == 1 },
    };
    let pattern = (bytes.below(2) == 1).then(|| drawn_pattern(layout.streams().len(), &mut bytes));
    // Any value: what is shifted is positions.
    let codes = Array3::from_shape_simple_fn((batch, layout.streams().len(), frames), || i64::from(bytes.next()) - 2);
    let delay = Delay::new(&layout, ends.extent, ends.start);
    let delay = delay.bracketed(&layout, ends.bracket).expect("every stream has both ids");
    check_inverse(&delay, &codes, ends.extent);
    if let Some(pattern) = pattern {
        check_pattern(&pattern, &layout, ends, &codes);
    }
}

/// What stands around the codes.
#[derive(Clone, Copy)]
struct Ends {
    extent: Extent,
    start: Start,
    bracket: Bracket,
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
        bos: Some(1000),
        eos: Some(1001),
        phase: None,
        trained: true,
    }
}

/// A pattern that most often is one for so many streams.
fn drawn_pattern(streams: usize, bytes: &mut Bytes) -> Pattern {
    match bytes.below(7) {
        0 => Pattern::Parallel { empty_initial: bytes.below(4) as i64 - 1 },
        1 => Pattern::Delay {
            delays: drawn_delays(streams, bytes),
            flatten_first: bytes.below(40),
            empty_initial: bytes.below(4) as i64 - 1,
        },
        2 => Pattern::Flatten { flattening: Some(rising(streams, bytes)), delays: drawn_delays(streams, bytes) },
        3 => Pattern::PartialFlatten { delays: drawn_delays(streams, bytes) },
        4 => Pattern::CoarseFirst { delays: drawn_delays(streams - 1, bytes) },
        5 => Pattern::Musiclm { group_by: bytes.below(6) },
        _ => Pattern::MultiRate { delays: drawn_delays(streams, bytes) },
    }
}

fn drawn_delays(streams: usize, bytes: &mut Bytes) -> Delays {
    match bytes.below(4) {
        0 => Delays::None,
        1 => Delays::Staircase,
        2 => Delays::Layout,
        _ => Delays::Each(rising(streams, bytes)),
    }
}

fn rising(len: usize, bytes: &mut Bytes) -> Vec<usize> {
    let more = (0..len).scan(0, |sum, _| {
        *sum += bytes.below(4);
        Some(*sum)
    });
    more.collect()
}

/// A pattern that is accepted, in words or as JSON, prints and reads back as itself; its sequences are undone exactly.
pub fn pattern(bytes: &[u8]) {
    const LAYOUTS: [&str; 3] = ["delay-1", "musicgen", "orpheus"];
    static LAYOUT: LazyLock<[Layout; 3]> =
        LazyLock::new(|| LAYOUTS.map(|name| Layout::preset(name).expect("a preset")));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for pattern in text.parse::<Pattern>().into_iter().chain(Pattern::from_json(text)) {
        assert_eq!(pattern.to_string().parse::<Pattern>().expect("what is printed can be read"), pattern);
        assert_eq!(Pattern::from_json(&pattern.to_json()).expect("what is printed can be read"), pattern);
        let ends = Ends {
            extent: [Extent::Extend, Extent::Truncate][text.len() % 2],
            start: [Start::None, Start::Initial][text.len() / 2 % 2],
            bracket: Bracket::default(),
        };
        for layout in LAYOUT.iter() {
            let shape = (1, layout.streams().len(), text.len() % 5);
            let codes = Array3::from_shape_fn(shape, |(_, k, t)| (10 * k + t) as i64);
            check_pattern(&pattern, layout, ends, &codes);
        }
    }
}

/// Checks a pattern if it is one for the layout.
fn check_pattern(pattern: &Pattern, layout: &Layout, ends: Ends, codes: &Array3<i64>) {
    let (Ends { extent, start, bracket }, frames) = (ends, codes.len_of(Axis(2)));
    let columns = bracket.columns(frames);
    let Ok(plan) = pattern.plan(layout, columns, extent, start) else { return };
    let plan = plan.bracketed(layout, bracket).expect("both ids in every stream, or no bracket");
    let steps = plan.steps(frames).expect("the frames that it was made for");
    assert!(steps <= 1 << 24, "{steps} steps");
    // The longest sequences take long to build, and are like the others.
    if steps > 1 << 10 {
        return;
    }
    check_inverse(&plan, codes, extent);
    // Two lengths may become one where something is cut.
    match pattern.frames_of(steps, layout, extent, start) {
        Ok(found) => assert_eq!(found, columns),
        Err(error) => assert!(extent == Extent::Truncate, "{error}"),
    }
}

fn check_inverse(sequencer: &impl Sequencer, codes: &Array3<i64>, extent: Extent) {
    let frames = Frames(codes.view());
    let built = sequencer.build(&frames).expect("codes have the layout's streams");
    let undone = sequencer.undo(&built.tokens, -1).expect("steps that were built");
    let known = built.mask.0.iter().filter(|known| **known).count();
    assert_eq!(undone.mask.0.iter().filter(|known| **known).count(), known, "a code is known on one side only");
    for ((at, &back), &code) in undone.codes.0.indexed_iter().zip(codes) {
        let (b, k, t) = at;
        let step = sequencer.step_of(k, t, codes.len_of(Axis(2))).expect("frames that were built");
        assert_eq!(undone.mask.0[at], step.is_some(), "{at:?}");
        assert_eq!(back, if step.is_some() { code } else { -1 }, "{at:?}");
        assert!(step.is_none_or(|step| built.tokens.0[(b, k, step)] == code), "{at:?} is not where it should be");
        assert!(extent == Extent::Truncate || step.is_some(), "{at:?} is lost");
    }
    if let Some(first) = codes.outer_iter().next() {
        check_one(sequencer, first, undone.codes.0.index_axis(Axis(0), 0));
    }
}

/// One example is undone as in its batch.
fn check_one(sequencer: &impl Sequencer, codes: ArrayView2<i64>, expected: ArrayView2<i64>) {
    let built = sequencer.build(&Frames(codes)).expect("codes have the layout's streams");
    assert_eq!(sequencer.undo(&built.tokens, -1).expect("steps that were built").codes.0, expected);
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

/// A configuration of Kyutai's that is accepted is a layout with its delays, which prints and reads back as itself.
pub fn kyutai(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text_card in [None, Some(8000)] {
        let Ok(layout) = Layout::from_kyutai_json(text, text_card) else { continue };
        check_printed(&layout);
        // A number beyond doubles may be among what is ignored.
        let config = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        if let Some(delays) = config.get("delays") {
            let found: Vec<_> = layout.streams().iter().map(|stream| stream.delay).collect();
            assert_eq!(serde_json::json!(found), *delays);
        }
    }
}
