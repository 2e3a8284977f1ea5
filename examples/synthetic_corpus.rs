//! Writes a corpus of pre-encoded codes and words, for measuring: two speakers of 8 codebooks at 12.5 frames a second.
//!
//! ```text
//! cargo run --release --example synthetic_corpus -- DIR HOURS [SECONDS]     recordings of 36 s, or of so many
//! ```
//!
//! Codes are drawn evenly, which no compression makes smaller; words are those of a short list, two or three a second.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

const WORDS: [&str; 16] = [
    "and",
    "so",
    "the",
    "of course",
    "yes",
    "right",
    "well",
    "morning",
    "train",
    "because",
    "nobody",
    "understands",
    "exactly",
    "twenty",
    "I",
    "suppose",
];

/// Numbers that look random, the same each time.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// `audio_codes`, `[2, 8, frames]`, 16 bits each.
fn codes(path: &Path, frames: u64, draws: &mut Draws) -> io::Result<()> {
    let bytes = 2 * 16 * frames;
    let header =
        format!("{{\"audio_codes\":{{\"dtype\":\"I16\",\"shape\":[2,8,{frames}],\"data_offsets\":[0,{bytes}]}}}}");
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for _ in 0..16 * frames {
        file.write_all(&((draws.next() >> 40) as u16 % 2048).to_le_bytes())?;
    }
    file.flush()
}

/// moshi-finetune's form.
fn words(path: &Path, seconds: u64, draws: &mut Draws) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write!(file, "{{\"alignments\": [")?;
    let (mut hundredths, mut comma) = (0, "");
    while hundredths + 60 < 100 * seconds {
        let draw = draws.next();
        let speaker = if draw & 3 == 0 { "SPEAKER_OTHER" } else { "SPEAKER_MAIN" };
        let (start, end) = (hundredths as f64 / 100.0, (hundredths + 30) as f64 / 100.0);
        write!(file, "{comma}[\"{}\", [{start}, {end}], \"{speaker}\"]", WORDS[(draw >> 8) as usize % WORDS.len()])?;
        hundredths += 25 + (draw >> 16) % 30;
        comma = ", ";
    }
    write!(file, "]}}")?;
    file.flush()
}

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |n: usize| arguments.get(n).and_then(|text| text.parse::<u64>().ok());
    let (Some(folder), Some(hours)) = (arguments.first(), number(1)) else {
        return Err(io::Error::other("expected DIR HOURS [SECONDS]"));
    };
    let (folder, seconds) = (Path::new(folder), number(2).unwrap_or(36).max(2));
    fs::create_dir_all(folder)?;
    let mut manifest = BufWriter::new(File::create(folder.join("data.jsonl"))?);
    let mut draws = Draws(0x9e37_79b9_7f4a_7c15);
    for n in 0..3600 * hours / seconds {
        // A folder for each thousand: file systems are slow with more.
        let name = format!("{:04}/{n:07}", n / 1000);
        if n % 1000 == 0 {
            fs::create_dir_all(folder.join(format!("{:04}", n / 1000)))?;
        }
        codes(&folder.join(format!("{name}.safetensors")), seconds * 25 / 2, &mut draws)?;
        words(&folder.join(format!("{name}.json")), seconds, &mut draws)?;
        writeln!(manifest, "{{\"path\": \"{name}.wav\", \"duration\": {seconds}}}")?;
    }
    manifest.flush()
}
