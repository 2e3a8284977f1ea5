//! Which format a file of words has.
//!
//! ```text
//! File type = "ooTextFile"                      textgrid
//! {"alignments": ..}                            moshi-finetune
//! {"segments": ..}, {"word_segments": ..}       whisperx
//! {"supervisions": ..}, {"recording_id": ..}    lhotse, as are those in a list
//! [{"word": ..}, ..]                            jmoshi
//! otherwise                                     what the extension says
//! ```

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::WordsFormat;
use super::source::{unmarked, untimed};
use crate::error::{Error, Result};

/// Keys that only one format has at the top; the first of these that is there decides.
const KEYS: [(&str, WordsFormat); 7] = [
    ("alignments", WordsFormat::MoshiFinetune),
    ("segments", WordsFormat::Whisperx),
    ("word_segments", WordsFormat::Whisperx),
    ("supervisions", WordsFormat::Lhotse),
    ("recording_id", WordsFormat::Lhotse),
    ("tracks", WordsFormat::Lhotse),
    ("word", WordsFormat::Jmoshi),
];

/// Extensions of text that has no times of its words.
const UNTIMED: [&str; 6] = ["txt", "srt", "vtt", "lab", "tsv", "trn"];

impl WordsFormat {
    /// The format of a file, by its content and the extension of its name.
    ///
    /// # Errors
    /// `Unsupported` with a list of what is read.
    /// # Examples
    /// ```
    /// use roundelay::io::WordsFormat;
    /// assert_eq!(WordsFormat::detect("a.json", r#"{"segments": []}"#)?, WordsFormat::Whisperx);
    /// assert_eq!(WordsFormat::detect("a.ctm", "")?, WordsFormat::Ctm);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn detect(name: &str, content: &str) -> Result<WordsFormat> {
        let extension = Path::new(name).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let extension = extension.as_deref().unwrap_or_default();
        let content = unmarked(content).trim_start();
        let found =
            if content.starts_with(['{', '[']) { of_json(content, extension) } else { of_text(content, extension) };
        found.ok_or_else(|| unknown(extension))
    }
}

fn of_text(content: &str, extension: &str) -> Option<WordsFormat> {
    let first = content.lines().next().unwrap_or_default();
    if first.contains("\"ooTextFile") {
        return Some(WordsFormat::TextGrid);
    }
    let one = |format: &WordsFormat| format.extensions().contains(&extension);
    // An empty .json is damaged rather than unknown.
    WordsFormat::ALL.into_iter().find(one)
}

fn of_json(content: &str, extension: &str) -> Option<WordsFormat> {
    let top = top_keys(content);
    match top.decided() {
        Some(format) if top.of_entries && format != WordsFormat::Lhotse => {
            (format == WordsFormat::Jmoshi).then_some(format)
        }
        Some(WordsFormat::Jmoshi) => None,
        Some(format) => Some(format),
        None if extension == "jsonl" => Some(WordsFormat::Lhotse),
        // Nobody speaks; of those forms only J-Moshi's is a list of words.
        None if top.whole && top.of_entries && top.empty => Some(WordsFormat::Jmoshi),
        // What is no JSON at all is refused with its line.
        None if !top.whole && extension == "json" => Some(WordsFormat::MoshiFinetune),
        None => None,
    }
}

/// Keys of an object, or of the first one in a list.
#[derive(Default)]
struct Top {
    found: [bool; KEYS.len()],
    /// They are of a list's first entry.
    of_entries: bool,
    empty: bool,
    /// The object, or the empty list, was read to its end.
    whole: bool,
}

impl Top {
    fn decided(&self) -> Option<WordsFormat> {
        KEYS.iter().zip(self.found).find(|(_, found)| *found).map(|((_, format), _)| *format)
    }
}

fn top_keys(content: &str) -> Top {
    let mut top = Top::default();
    let read = serde_json::Deserializer::from_str(content).deserialize_any(&mut top);
    top.whole |= read.is_ok();
    top
}

impl<'a> Visitor<'a> for &mut Top {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of them")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<str>>()? {
            if let Some(at) = KEYS.iter().position(|(known, _)| *known == key) {
                self.found[at] = true;
            }
            map.next_value::<IgnoredAny>()?;
        }
        self.whole = true;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        self.of_entries = true;
        self.empty = true;
        self.empty = list.next_element_seed(First(&mut *self))?.is_none();
        self.whole |= self.empty;
        // One is enough.
        Err(A::Error::custom("enough"))
    }
}

/// The keys of an object that is the first in a list.
struct First<'t>(&'t mut Top);

impl<'a> DeserializeSeed<'a> for First<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, entry: D) -> std::result::Result<(), D::Error> {
        self.0.empty = false;
        entry.deserialize_map(self.0)
    }
}

fn unknown(extension: &str) -> Error {
    match extension {
        "rttm" => Error::unsupported("RTTM as a file of words", "it says who speaks and not what; give it as segments"),
        _ if UNTIMED.contains(&extension) => untimed(format!(".{extension} is a transcript alone")),
        _ => {
            let read = WordsFormat::ALL.map(|format| format!("{format} (.{})", format.extensions().join(", .")));
            Error::unsupported("this form of words", format!("read are {}", read.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_before_the_extension() {
        const MOSHI: Option<WordsFormat> = Some(WordsFormat::MoshiFinetune);
        let cases = [
            ("a.json", "{\"alignments\": []}", MOSHI),
            ("a.json", "{\"segments\": [], \"alignments\": []}", MOSHI),
            ("a.json", "{\"alignments\": [[\"a\", [0, 1]", MOSHI),
            ("a.json", "not JSON", MOSHI),
            ("a.json", "", MOSHI),
            ("a.json", "[[\"a\", [0, 1], \"b\"]]", MOSHI),
            ("a.json", "\u{feff}\n{\"text\": \"a\", \"segments\": []}", Some(WordsFormat::Whisperx)),
            ("a", "{\"word_segments\": []}", Some(WordsFormat::Whisperx)),
            ("a.json", "[{\"start\": 0, \"word\": \"a\"}]", Some(WordsFormat::Jmoshi)),
            ("a.json", " []", Some(WordsFormat::Jmoshi)),
            ("a.JSONL", "", Some(WordsFormat::Lhotse)),
            ("a.jsonl", "{}", Some(WordsFormat::Lhotse)),
            ("a.json", "[{\"id\": 1, \"supervisions\": []}]", Some(WordsFormat::Lhotse)),
            ("a.json", "{\"id\": 1, \"recording_id\": 2}\n{}", Some(WordsFormat::Lhotse)),
            ("a", "File type = \"ooTextFile\"\n", Some(WordsFormat::TextGrid)),
            ("b/a.TextGrid", "", Some(WordsFormat::TextGrid)),
            ("a.ctm", "a 1 0 1 b", Some(WordsFormat::Ctm)),
            ("a.json", "{\"words\": []}", None),
            ("a.json", "{\"word\": \"a\"}", None),
            ("a.json", "[{\"alignments\": []}]", None),
            ("a", "a 1 0 1 b", None),
            ("a.txt", "a", None),
            ("a.rttm", "", None),
        ];
        for (name, content, expected) in cases {
            assert_eq!(WordsFormat::detect(name, content).ok(), expected, "{name}: {content}");
        }
    }

    #[test]
    fn what_is_unknown_is_told_what_is_read() {
        let refusal = |name: &str, content: &str| WordsFormat::detect(name, content).unwrap_err().to_string();
        assert_eq!(
            refusal("a.eaf", "<?xml"),
            "this form of words is not supported: read are moshi-finetune (.json), jmoshi (.json), whisperx (.json), \
             textgrid (.textgrid), ctm (.ctm), lhotse (.jsonl, .json)"
        );
        assert!(
            refusal("a.srt", "1").contains("times of its words is not supported: .srt is a transcript alone; whisp")
        );
        assert!(refusal("a.rttm", "SPEAKER").contains("who speaks and not what"));
    }
}
