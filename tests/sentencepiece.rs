//! Every tokenizer in `fixtures/tokenizers` against the C++ library itself, over strings drawn at random.
//!
//! ```text
//! cargo test --features sentencepiece --test sentencepiece       needs cmake and a C++ compiler
//! ```

use std::fs;
use std::ops::RangeInclusive;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::text::Tokenizer;
use sentencepiece::SentencePieceProcessor;

const TEXTS: usize = 10_000;
/// Each model is another stream of the generator.
const SEED: u64 = 20_260_214;

/// Characters of one sort, next to one another in strings.
const RANGES: &[&[RangeInclusive<char>]] = &[
    // ASCII, digits, accents, combining marks.
    &[' '..='~'],
    &['0'..='9', '.'..='.', ','..=',', ' '..=' '],
    &['\u{c0}'..='\u{24f}', 'a'..='z'],
    &['a'..='e', '\u{300}'..='\u{36f}', '\u{1ab0}'..='\u{1ace}', '\u{20d0}'..='\u{20f0}', '\u{345}'..='\u{345}'],
    // Half width and full width, with the marks that join to what is before them.
    &['\u{ff01}'..='\u{ff9f}', '\u{ffe0}'..='\u{ffee}', '\u{3099}'..='\u{309c}'],
    // Ligatures, presentation forms, digraphs.
    &['\u{fb00}'..='\u{fb06}', '\u{fb13}'..='\u{fb4f}', '\u{fdf0}'..='\u{fdfc}', '\u{fe70}'..='\u{fefc}', 'Ĳ'..='ŉ'],
    // Fractions, superscripts, roman and circled numbers, squared words.
    &[
        '\u{b2}'..='\u{be}',
        '\u{2070}'..='\u{209c}',
        '\u{2100}'..='\u{218b}',
        '\u{2460}'..='\u{24ff}',
        '\u{3200}'..='\u{33ff}',
    ],
    // Hangul, as letters and as syllables; kana; ideographs, those for compatibility too.
    &['\u{1100}'..='\u{11ff}', '\u{3131}'..='\u{318e}', '\u{ac00}'..='\u{d7a3}'],
    &['\u{3041}'..='\u{30ff}', '\u{31f0}'..='\u{31ff}'],
    &['\u{4e00}'..='\u{9fff}', '\u{f900}'..='\u{faff}', '\u{20000}'..='\u{2a6df}', '\u{2f800}'..='\u{2fa1d}'],
    // Arabic, Devanagari, Thai, Greek, Cyrillic.
    &[
        '\u{600}'..='\u{6ff}',
        '\u{900}'..='\u{97f}',
        '\u{e01}'..='\u{e5b}',
        '\u{370}'..='\u{52f}',
        '\u{1f00}'..='\u{1fff}',
    ],
    &[
        '\u{1f300}'..='\u{1faff}',
        '\u{1f1e6}'..='\u{1f1ff}',
        '\u{1f3fb}'..='\u{1f3ff}',
        '\u{200d}'..='\u{200d}',
        '\u{fe0f}'..='\u{fe0f}',
    ],
    // Controls, marks of direction, what has no width, what is no character.
    &['\0'..='\u{1f}', '\u{7f}'..='\u{9f}', '\u{ad}'..='\u{ad}', '\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}'],
    &[
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff0}'..='\u{ffff}',
        '\u{e000}'..='\u{e0ff}',
        '\u{e0001}'..='\u{e007f}',
    ],
    // Spaces: all that Unicode has, and the sign for an escaped one.
    &[' '..=' ', '\u{2581}'..='\u{2581}', 'a'..='b'],
    &[
        '\t'..='\r',
        '\u{85}'..='\u{85}',
        '\u{a0}'..='\u{a0}',
        '\u{1680}'..='\u{1680}',
        '\u{2000}'..='\u{200a}',
        '\u{2028}'..='\u{2029}',
        '\u{202f}'..='\u{202f}',
        '\u{205f}'..='\u{205f}',
        '\u{3000}'..='\u{3000}',
        'x'..='y',
    ],
    &['\0'..='\u{d7ff}', '\u{e000}'..=char::MAX],
];

/// Strings that mean something to somebody.
const WORDS: &[&str] = &[
    "the",
    " The",
    "hello",
    " there,",
    " I",
    "'m",
    " don't",
    "family",
    " of",
    " Dashwood",
    " had",
    " long",
    " 12.5",
    " 2026",
    " ",
    "  ",
    "   ",
    "\n",
    "\u{2581}",
    "\u{2581}\u{2581}",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<0x41>",
    "<0x00>",
    "\0",
    "A\u{30a}",
    "e\u{301}",
    "\u{1100}\u{1161}\u{11a8}",
    "\u{ff8a}\u{ff9f}",
    "\u{fdfa}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{2764}\u{fe0f}",
    "\u{130}",
    "\u{df}",
    "\u{1e9e}",
    "\u{3a3}\u{3c2}",
    "\u{b4}",
    "\u{a8}",
    "\u{203e}",
    "\u{ff5e}",
    "\u{2126}",
];

/// A string of some parts, most of them of the same few sorts.
fn text(rng: &mut ChaCha8Rng, tokenizer: &Tokenizer) -> String {
    let sorts: Vec<_> = (0..rng.random_range(1..4)).map(|_| RANGES.choose(rng).unwrap()).collect();
    let mut text = String::new();
    for _ in 0..rng.random_range(0..24) {
        let part = match rng.random_range(0..8) {
            0 => (*WORDS.choose(rng).unwrap()).to_owned(),
            1 => tokenizer.piece(rng.random_range(0..tokenizer.len() as i32)).unwrap().replace('\u{2581}', " "),
            _ => {
                let sort = sorts.choose(rng).unwrap();
                String::from(character(rng, sort))
            }
        };
        let times = if rng.random_range(0..40) == 0 { rng.random_range(2..200) } else { 1 };
        text.extend((0..times).map(|_| &*part));
    }
    text
}

fn character(rng: &mut ChaCha8Rng, sort: &[RangeInclusive<char>]) -> char {
    let range = sort.choose(rng).unwrap();
    rng.random_range(range.clone())
}

/// Rows of ids that no text need become: of the first few, where the special ids and bytes are, or of all.
fn ids(rng: &mut ChaCha8Rng, len: usize) -> Vec<i32> {
    let end = *[len.min(300) as i32, len as i32].choose(rng).unwrap();
    (0..rng.random_range(0..24)).map(|_| rng.random_range(0..end)).collect()
}

/// Compares both libraries over one model; returns how many texts had other than ASCII characters.
fn compare(model: &[u8], stream: u64) -> usize {
    let tokenizer = Tokenizer::from_bytes(model).unwrap();
    let original = SentencePieceProcessor::from_serialized_proto(model).unwrap();
    assert_eq!(tokenizer.len(), original.len());
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    rng.set_stream(stream);
    let decoded =
        |ids: &[i32]| original.decode_piece_ids(&ids.iter().map(|&id| id as u32).collect::<Vec<_>>()).unwrap();
    let mut beyond_ascii = 0;
    for _ in 0..TEXTS {
        let text = text(&mut rng, &tokenizer);
        let found = tokenizer.encode(&text);
        let expected: Vec<_> = original.encode(&text).unwrap().iter().map(|piece| piece.id as i32).collect();
        assert_eq!(found, expected, "ids of {text:?}");
        assert_eq!(tokenizer.decode(&found).unwrap(), decoded(&found), "text of {text:?}");
        let row = ids(&mut rng, tokenizer.len());
        assert_eq!(tokenizer.decode(&row).unwrap(), decoded(&row), "text of {row:?}");
        beyond_ascii += usize::from(!text.is_ascii());
    }
    beyond_ascii
}

#[test]
fn every_id_is_that_of_the_library() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tokenizers");
    let mut models: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    models.retain(|path| path.extension().is_some_and(|extension| extension == "model"));
    models.sort();
    assert_eq!(models.len(), 5, "{models:?}");
    for (stream, path) in (0..).zip(models) {
        let beyond_ascii = compare(&fs::read(&path).unwrap(), stream);
        assert!(beyond_ascii > TEXTS / 2, "{}: {beyond_ascii}", path.display());
    }
}
