//! Times the tokenizing and placing of one window's words: the Rust side of `scripts/align-speed`.
//!
//! ```text
//! align_speed MODEL WORDS.json  ->  {"tokenized and placed": ns, "placed alone": ns, "row": [3, 0, 6312, ..], "events": 7}
//! ```

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, fs};

use roundelay::text::{PlacedWord, Rule, TextStream, Tokenizer, Word};
use roundelay::{Layout, Seconds};
use serde::Deserialize;

#[derive(Deserialize)]
struct Window {
    alignments: Vec<(String, [f64; 2], String)>,
    frames: usize,
}

impl Window {
    fn words(self) -> roundelay::Result<Vec<Word>> {
        let word = |(text, [start, end], speaker): (String, [f64; 2], String)| {
            Ok(Word::new(text, Seconds::from_f64(start)?, Seconds::from_f64(end)?, speaker))
        };
        self.alignments.into_iter().map(word).collect()
    }
}

/// Nanoseconds of one call, the least mean of nine runs. What goes in is copied just before, so that it lies in the cache
/// as what Python uses over and over does; what comes out is dropped after.
fn best<I: Clone, O>(input: &I, times: u32, work: impl Fn(I) -> O) -> f64 {
    let call = || {
        let input = black_box(input.clone());
        let begun = Instant::now();
        let output = work(input);
        let elapsed = begun.elapsed();
        black_box(output);
        elapsed
    };
    let run = || (0..times).map(|_| call()).sum::<Duration>().as_nanos() as f64 / f64::from(times);
    (0..9).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn Error>> {
    let [model, words] = [1, 2].map(|at| env::args().nth(at).expect("MODEL WORDS.json"));
    let tokenizer = Tokenizer::from_bytes(&fs::read(model)?)?;
    let window: Window = serde_json::from_slice(&fs::read(words)?)?;
    let (frames, words) = (window.frames, window.words()?);
    let layout = Layout::preset("moshi-7b")?;
    let text = TextStream::of(&layout, "SPEAKER_MAIN")?;

    let tokenize = |words| Rule::Moshi.tokenize(words, &tokenizer).expect("words without line feeds");
    let place = |words: Vec<PlacedWord>| Rule::Moshi.place(words, &text, frames).expect("ids of the tokenizer");
    let placed = tokenize(words.clone());
    let row = place(placed.clone());
    let both = best(&words, 50, |words| place(tokenize(words)));
    let alone = best(&placed, 200, place);
    let (row, events) = (row.tokens, row.notes.len());
    println!(
        "{}",
        serde_json::json!({"tokenized and placed": both, "placed alone": alone, "row": row, "events": events})
    );
    Ok(())
}
