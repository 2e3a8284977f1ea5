//! Words with times, as moshi-finetune's `annotate.py` writes them.
//!
//! ```text
//! {"alignments": [
//!   ["He",  [0.21, 0.34], "SPEAKER_MAIN"],        text, [start, end] in seconds, speaker
//!   ["was", [0.34, 0.56], "SPEAKER_MAIN"]
//! ]}
//! ```
//!
//! A time is taken from the digits in the file, never through a double.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::text::Word;
use crate::units::Seconds;

/// A day of speech is about ten megabytes of words.
const MAX_BYTES: u64 = 1 << 28;

/// Reads the words of a file.
///
/// # Errors
/// `Io` if the file cannot be read, `OverLimit` beyond 256 MiB, else as [`read_alignments`]; each names the file.
pub fn read_words(path: &Path) -> Result<Vec<Word>> {
    let read = || read_alignments(&read_text(path)?);
    read().map_err(|e: Error| e.in_file(path.display()))
}

fn read_text(path: &Path) -> Result<String> {
    let refused = |e| Error::io("read the words", e);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(refused)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::over_limit("size of the words file", format!("{} or more", bytes.len()), MAX_BYTES));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = line_of(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        malformed("it is not UTF-8", line)
    })
}

/// Reads the words in a JSON text, in the order of the file. Keys other than `alignments` are ignored.
///
/// Any label is a speaker, and any string a word, the empty one too; a time may be negative and an end before its
/// start. What is to be done about such words is the placing rule's matter.
///
/// # Errors
/// `Malformed` with the line where the text is no JSON or an entry has another form; `Invalid` with the line for a time
/// beyond a thousand million seconds.
/// # Examples
/// ```
/// use roundelay::io::read_alignments;
/// let words = read_alignments(r#"{"alignments": [["He", [0.21, 0.34], "SPEAKER_MAIN"]]}"#)?;
/// assert_eq!((&*words[0].text, words[0].start.to_string()), ("He", "0.21".to_string()));
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn read_alignments(text: &str) -> Result<Vec<Word>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A list would be taken for the object's values in order.
    if text.trim_start().starts_with('[') {
        return Err(Error::malformed("words file", "it is a list, expected {\"alignments\": [..]}"));
    }
    let file: WordsFile = serde_json::from_str(text).map_err(|e| explain(text, &e))?;
    let missing = || Error::malformed("words file", "it has no \"alignments\"");
    let alignments = file.alignments.ok_or_else(missing)?;
    Value { text, raw: alignments, at: [0; 3], depth: 0 }.words()
}

#[derive(Deserialize)]
struct WordsFile<'a> {
    // Not an Option of the value: `null` is to be seen as such.
    #[serde(borrow, default, deserialize_with = "present")]
    alignments: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn word(entry: &Value) -> Result<Word> {
    let [text, span, speaker] = entry.parts("[word, [start, end], speaker]")?;
    let [start, end] = span.parts("[start, end]")?;
    Ok(Word::new(text.string()?, start.time()?, end.time()?, speaker.string()?))
}

/// A part of the file, and where in the alignments it is.
#[derive(Clone, Copy)]
struct Value<'a> {
    text: &'a str,
    raw: &'a RawValue,
    at: [usize; 3],
    depth: usize,
}

impl<'a> Value<'a> {
    fn part(&self, index: usize, raw: &'a RawValue) -> Value<'a> {
        let mut part = Value { raw, depth: self.depth + 1, ..*self };
        part.at[self.depth] = index;
        part
    }

    /// A list of exactly so many.
    fn parts<const N: usize>(&self, expected: &str) -> Result<[Value<'a>; N]>
    where
        [&'a RawValue; N]: Deserialize<'a>,
    {
        let parts: [&RawValue; N] = serde_json::from_str(self.raw.get()).map_err(|_| self.is_not(expected))?;
        let mut indices = 0..;
        Ok(parts.map(|raw| self.part(indices.next().unwrap_or_default(), raw)))
    }

    /// A list of any length, of which no more is held at once than the words.
    fn words(&self) -> Result<Vec<Word>> {
        let mut words = Words { list: self, read: Vec::new(), refused: None };
        let read = serde_json::Deserializer::from_str(self.raw.get()).deserialize_seq(&mut words);
        match words.refused {
            Some(error) => Err(error),
            None => read.map(|()| words.read).map_err(|_| self.is_not("[[word, [start, end], speaker], ..]")),
        }
    }

    fn string(&self) -> Result<String> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.is_not("a string"))
    }

    fn time(&self) -> Result<Seconds> {
        if !self.raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(self.is_not("a number of seconds"));
        }
        self.raw.get().parse::<Seconds>().map_err(|e| self.named(e))
    }

    /// Puts the entry's name in place of "time".
    fn named(&self, error: Error) -> Error {
        match error.kind() {
            crate::ErrorKind::Invalid { found, expected, .. } => {
                Error::invalid(self.name(), shortened(found), expected).on_line(self.line())
            }
            _ => error.on_line(self.line()),
        }
    }

    fn is_not(&self, expected: &str) -> Error {
        malformed(format!("{} is {}, expected {expected}", self.name(), shortened(self.raw.get())), self.line())
    }

    fn name(&self) -> String {
        let indices = self.at[..self.depth].iter().map(|index| format!("[{index}]"));
        format!("alignments{}", indices.collect::<String>())
    }

    /// The line on which the value begins.
    fn line(&self) -> usize {
        let at = self.raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        line_of(&self.text.as_bytes()[..at])
    }
}

/// Takes the words one by one, up to the first that is none.
struct Words<'a, 'list> {
    list: &'list Value<'a>,
    read: Vec<Word>,
    refused: Option<Error>,
}

impl<'a> Visitor<'a> for &mut Words<'a, '_> {
    type Value = ();

    fn expecting(&self, message: &mut std::fmt::Formatter) -> std::fmt::Result {
        message.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while let Some(raw) = list.next_element()? {
            match word(&self.list.part(self.read.len(), raw)) {
                Ok(word) => self.read.push(word),
                Err(error) => {
                    self.refused = Some(error);
                    return Err(de::Error::custom("no word"));
                }
            }
        }
        Ok(())
    }
}

fn malformed(detail: impl std::fmt::Display, line: usize) -> Error {
    Error::malformed("words file", detail).on_line(line)
}

fn line_of(before: &[u8]) -> usize {
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Enough of a value to know it again.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("{}..", &value[..end]),
        None => value.to_owned(),
    }
}

/// The parser's complaint; where Python wrote a number that JSON has no word for, that.
fn explain(text: &str, error: &serde_json::Error) -> Error {
    let line = error.line().max(1);
    let shown = text.lines().nth(line - 1).unwrap_or_default();
    // The column points at the number's first letter, or at the one after a minus.
    let from = shown.get(error.column().saturating_sub(2)..).unwrap_or_default();
    let odd = ["NaN", "Infinity"].into_iter().find(|odd| from.get(..odd.len() + 2).unwrap_or(from).contains(odd));
    match odd {
        Some(odd) => malformed(format!("{odd} is no time, and no JSON either"), line),
        None => malformed(error, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::FrameRate;

    const WORDS: &str = r#"{
  "alignments": [
    ["He", [0.21, 0.34], "SPEAKER_MAIN"],
    ["wäs", [2.32, 2.4e0], "SPEAKER_OTHER"],
    ["", [-0.10, -1e-1], ""]
  ],
  "text_conditions": {"mood": ["calm", [null]]}
}
"#;

    fn refusal(text: &str) -> String {
        read_alignments(text).unwrap_err().to_string()
    }

    #[test]
    fn words_come_with_the_times_that_are_written() {
        let words = read_alignments(WORDS).unwrap();
        let shown: Vec<_> = words.iter().map(|word| (&*word.text, word.start.to_string(), &*word.speaker)).collect();
        let expected = [("He", "0.21", "SPEAKER_MAIN"), ("wäs", "2.32", "SPEAKER_OTHER"), ("", "-0.1", "")];
        assert_eq!(shown, expected.map(|(text, start, speaker)| (text, start.to_string(), speaker)));
        assert_eq!(words[1].end.to_string(), "2.4");
        assert_eq!(FrameRate::new(25, 2).unwrap().floor(words[1].start), 29);
        assert_eq!(read_alignments(&format!("\u{feff}{WORDS}")).unwrap(), words);
        assert_eq!(read_alignments(r#"{"alignments": []}"#).unwrap(), []);
    }

    #[test]
    fn more_digits_than_a_double_holds_are_kept() {
        let text = WORDS.replace("0.21", "0.079999999999999999999").replace("2.32", "0.0800000000000000000001");
        let words = read_alignments(&text).unwrap();
        let rate = FrameRate::new(25, 2).unwrap();
        assert_eq!((rate.floor(words[0].start), rate.floor(words[1].start)), (0, 1));
    }

    #[test]
    fn damaged_files_say_what_and_where() {
        let entry = "[\"He\", [0.21, 0.34], \"SPEAKER_MAIN\"]";
        let cases = [
            ("0.34", "NaN", "line 3: words file is ill-formed: NaN is no time, and no JSON either"),
            ("-1e-1", "Infinity", "line 5: words file is ill-formed: Infinity is no time, and no JSON either"),
            ("-1e-1", "-Infinity", "line 5: words file is ill-formed: Infinity is no time, and no JSON either"),
            ("\"alignments\"", "\"words\"", "words file is ill-formed: it has no \"alignments\""),
            (
                "0.34]",
                "0.34, 1]",
                "line 3: words file is ill-formed: alignments[0][1] is [0.21, 0.34, 1], expected [start, end]",
            ),
            (
                "\"SPEAKER_OTHER\"",
                "null",
                "line 4: words file is ill-formed: alignments[1][2] is null, expected a string",
            ),
            ("\"He\"", "7", "line 3: words file is ill-formed: alignments[0][0] is 7, expected a string"),
            (
                "2.32",
                "\"2.32\"",
                "line 4: words file is ill-formed: alignments[1][1][0] is \"2.32\", expected a number of seconds",
            ),
            (
                "0.34",
                "1e99",
                "line 3: alignments[0][1][1] is 1e99, expected between -1000000000000 and 1000000000000 seconds",
            ),
            (
                entry,
                "{\"word\": 1}",
                "line 3: words file is ill-formed: alignments[0] is {\"word\": 1}, expected [word, [start, end], spe",
            ),
            (
                entry,
                "[\"He\", [0.21, 0.34]",
                "line 7: words file is ill-formed: expected `,` or `]` at line 7 column 20",
            ),
            ("2.32", "02.32", "line 4: words file is ill-formed: invalid number at line 4 column 16"),
            ("calm", "ca\nlm", "line 7: words file is ill-formed: control character"),
        ];
        for (from, to, message) in cases {
            assert!(WORDS.contains(from), "{from}");
            let found = refusal(&WORDS.replacen(from, to, 1));
            assert!(found.starts_with(message), "{to}\nfound    {found}\nexpected {message}");
        }
    }

    #[test]
    fn whole_files_of_another_form_are_refused() {
        let cases = [
            ("", "line 1: words file is ill-formed: EOF while parsing a value"),
            ("[[\"He\", [0, 1], \"A\"]]", "it is a list, expected {\"alignments\": [..]}"),
            ("7", "line 1: words file is ill-formed: invalid type: integer `7`"),
            ("{\"alignments\": null}", "alignments is null, expected [[word, [start, end], speaker], ..]"),
            ("{\"alignments\": {\"a\": 1}}", "alignments is {\"a\": 1}, expected [[word"),
            ("{\"alignments\": [], \"alignments\": []}", "duplicate field `alignments`"),
            ("{\"alignments\": []} {}", "trailing characters"),
            (&WORDS[..120], "line 5: words file is ill-formed: EOF while parsing"),
        ];
        for (text, message) in cases {
            assert!(refusal(text).contains(message), "{message}: {}", refusal(text));
        }
    }

    #[test]
    fn long_values_are_shortened_and_deep_ones_do_no_harm() {
        let deep = format!("{{\"alignments\": [{}{}]}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(refusal(&deep).len() < 300, "{}", refusal(&deep));
        let long = WORDS.replace("0.21", &"9".repeat(10_000));
        assert!(refusal(&long).len() < 300, "{}", refusal(&long));
    }

    #[test]
    fn the_first_of_many_values_that_are_no_words_is_named() {
        let words = |entry: &str| format!("{{\"alignments\": [{}{entry}]}}", "[\"\", [0, 1], \"\"],\n".repeat(1000));
        assert_eq!(read_alignments(&words("[\"a\", [2, 3], \"b\"]")).unwrap().len(), 1001);
        let place = |entry: &str| refusal(&words(entry)).split(" is ").take(2).collect::<Vec<_>>().join(" is ");
        assert_eq!(place(&vec!["0"; 1 << 20].join(",")), "line 1001: words file is ill-formed: alignments[1000]");
        assert_eq!(place("[0, 0, 0]"), "line 1001: words file is ill-formed: alignments[1000][1]");
        assert_eq!(
            place(&format!("[[{}0]]", "0,".repeat(1 << 20))),
            "line 1001: words file is ill-formed: alignments[1000]"
        );
        assert_eq!(place("[\"\", [0, \"1\"], \"\"]"), "line 1001: words file is ill-formed: alignments[1000][1][1]");
    }

    #[test]
    fn files_are_named_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert!(read_words(&path).unwrap_err().to_string().contains("a.json: cannot read the words: "));
        std::fs::write(&path, WORDS).unwrap();
        assert_eq!(read_words(&path).unwrap(), read_alignments(WORDS).unwrap());
        std::fs::write(&path, b"{\n\"\xff").unwrap();
        let error = read_words(&path).unwrap_err();
        assert!(error.to_string().ends_with("a.json:2: words file is ill-formed: it is not UTF-8"), "{error}");
    }
}
