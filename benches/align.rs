//! 250 words to a row of 100 s, beside filling a row: placing alone, and with tokenizing.
//!
//! Divide a line's time by that of `fill`: absolute times are the machine's.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use roundelay::text::{JmoshiRule, KyutaiRule, PlacedWord, Rule, TextStream, Tokenizer, Word};
use roundelay::{Layout, Seconds};

const MODEL: &[u8] = include_bytes!("../fixtures/tokenizers/mistral_v1_32k_bpe.model");
const FRAMES: usize = 1250;
const TEXT: &str = "so what I was going to say is that nobody knows, honestly, how internationalisation came about in a \
                    small town like that";

/// Words of 0.3 s, 0.4 s apart, times in milliseconds that lie on no grid.
fn words() -> Vec<Word> {
    let time = |milliseconds: usize| Seconds::from_f64(milliseconds as f64 / 1000.0).expect("a time");
    let word = |(i, text): (usize, &str)| Word::new(text, time(400 * i + 13), time(400 * i + 313), "SPEAKER_MAIN");
    TEXT.split(' ').cycle().take(250).enumerate().map(word).collect()
}

fn align(criterion: &mut Criterion) {
    let tokenizer = Tokenizer::from_bytes(MODEL).expect("a model");
    let layout = Layout::preset("moshi-7b").expect("a preset");
    let text = TextStream::of(&layout, "SPEAKER_MAIN").expect("a text stream");
    let mut group = criterion.benchmark_group("250 words, 1250 frames");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("fill", |b| b.iter(|| vec![black_box(3); FRAMES]));
    for rule in [Rule::Moshi, Rule::Kyutai(KyutaiRule::default()), Rule::Jmoshi(JmoshiRule::default())] {
        let place = |words: Vec<PlacedWord>| rule.place(words, &text, FRAMES).expect("a row");
        let placed = rule.tokenize(words(), &tokenizer).expect("tokens");
        let mut bench = |name: &str, f: &mut dyn FnMut(&mut criterion::Bencher)| {
            group.bench_function(format!("{} {name}", rule.name()), f);
        };
        bench("place", &mut |b| b.iter_batched(|| placed.clone(), place, BatchSize::SmallInput));
        let both = |words| place(rule.tokenize(words, &tokenizer).expect("tokens"));
        bench("tokenize and place", &mut |b| b.iter_batched(words, both, BatchSize::SmallInput));
    }
}

criterion_group!(benches, align);
criterion_main!(benches);
