//! The text of a file of words, speaker segments or regions.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// A day of speech is about ten megabytes of words.
const MAX_BYTES: u64 = 1 << 28;

/// The text of a file that holds `what`.
pub fn read_text(path: &Path, what: &str) -> Result<String> {
    let refused = |e| Error::io(format!("read the {what}"), e);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(refused)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::over_limit(
            format!("size of the file of {what}"),
            format!("{} or more", bytes.len()),
            MAX_BYTES,
        ));
    }
    words_text(bytes)
}

/// The file's name without folder and extension, which is most often its recording's too.
pub fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_string_lossy().into_owned())
}

/// The text that the bytes of a words file are: UTF-8, or UTF-16 that begins with its mark.
///
/// # Errors
/// `Malformed` with the line where it is neither, `Unsupported` for Praat's binary form and for compressed files.
pub fn words_text(bytes: Vec<u8>) -> Result<String> {
    const BINARY: &[u8] = b"ooBinaryFile";
    match bytes.as_slice() {
        [0x1f, 0x8b, ..] => Err(Error::unsupported("a compressed words file", "decompress it first, as with gunzip")),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        bytes if bytes.starts_with(BINARY) => {
            Err(Error::unsupported("a binary TextGrid", "save it as text, in Praat by Save > Save as text file"))
        }
        _ => utf8(bytes),
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) => {
            let line = line_of(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
            Err(Error::malformed("words file", "it is not UTF-8").on_line(line))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, rest) = bytes.as_chunks();
    let mut text = String::with_capacity(bytes.len());
    let whole = char::decode_utf16(pairs.iter().map(|&pair| unit(pair))).try_for_each(|c| c.map(|c| text.push(c)));
    match whole {
        Ok(()) if rest.is_empty() => Ok(text),
        _ => Err(Error::malformed("words file", "it is not UTF-16").on_line(line_of(text.as_bytes()))),
    }
}

/// A text without the mark that some editors put first.
pub fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The line on which a text goes on after what is before.
pub fn line_of(before: &[u8]) -> usize {
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Enough of a value to know it again.
pub fn shortened(value: &str) -> String {
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("{}..", &value[..end]),
        None => value.to_owned(),
    }
}

/// Whether an aligner wrote this where nothing is said; "spn" and "<unk>" stand for words that it does not know.
pub fn is_silence(word: &str) -> bool {
    matches!(word.trim(), "" | "<eps>" | "<sil>" | "sil" | "sp")
}

/// Refuses text whose words have no times.
pub fn untimed(found: impl Display) -> Error {
    const TOOLS: &str = "whisperx, the Montreal Forced Aligner (mfa align) and ctc-forced-aligner make the times";
    Error::unsupported("text without times of its words", format!("{found}; {TOOLS}"))
}
