//! Times the tokenizing and placing of one window's words: the Rust side of `scripts/align-speed`.
//!
//! ```text
//! align_speed MODEL WORDS.json  ->  {"tokenized and placed": ns, "placed alone": ns, "result": [row, frames, events, collisions]}
//! ```

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, fs};

use roundelay::tally::Event;
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

/// Nanoseconds of one call, the least mean of nine runs.
fn best(times: u32, mut call: impl FnMut() -> Duration) -> f64 {
    let mut run = || (0..times).map(|_| call()).sum::<Duration>().as_nanos() as f64 / f64::from(times);
    (0..9).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// How long `work` takes. What goes in was copied just before, so that it lies in the cache as what Python uses over and
/// over does; what comes out is dropped after.
fn timed<O>(work: impl FnOnce() -> O) -> Duration {
    let begun = Instant::now();
    let output = work();
    let elapsed = begun.elapsed();
    black_box(output);
    elapsed
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
    let mut placed = tokenize(words.clone());
    let row = place(placed.clone());
    let both = best(50, || {
        let words = black_box(words.clone());
        timed(|| place(tokenize(words)))
    });
    // The row is dropped in time, as Python drops it; its words go in again.
    let alone = best(200, || timed(|| placed = place(std::mem::take(&mut placed)).words));
    let event = |event: Event| (event.event, event.word, event.time, event.amount);
    let events: Vec<_> = row.events().into_iter().map(event).collect();
    let at: Vec<_> = row.words.iter().map(|word| word.frame).collect();
    let result = (row.tokens, at, events, row.collisions);
    println!("{}", serde_json::json!({"tokenized and placed": both, "placed alone": alone, "result": result}));
    Ok(())
}
