//! The manifest: which recordings there are, one JSON object a line.
//!
//! ```text
//! {"path": "a.wav", "duration": 12.3}
//! {"path": "b.wav", "duration": 7.12, "split": "valid", "room": "kitchen"}      room goes to `meta`
//! {"path": "c.wav", "main_speaker": "A", "speakers": {"other": "B"}}             labels of this recording's own
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::files;
use crate::batch::Split;
use crate::error::{Error, Result};
use crate::pipeline::Speakers;
use crate::units::Seconds;

/// Bytes of one line, so that a file without line ends is not read into memory whole.
const MAX_LINE: u64 = 1 << 20;

/// Recordings that there is room for from the start, in 2 MiB: a table that grows is there twice for a while.
const SEEN: usize = 100_000;

/// One recording of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Line in the manifest, from 1.
    pub line: usize,
    /// The recording as it is written there; [`Manifest::locate`] leads to the file.
    pub path: String,
    /// Its length, exactly as written.
    pub duration: Option<Seconds>,
    /// The side of the split, where the manifest chooses it.
    pub split: Option<Split>,
    /// The main speaker's label, where it is this recording's own; also in `meta`.
    pub main_speaker: Option<String>,
    /// Labels of the layout's other speakers, where they are this recording's own; also in `meta`.
    pub speakers: Option<BTreeMap<String, String>>,
    /// All keys but path, duration and split, sorted, as a JSON object; the values as they were written.
    pub meta: String,
}

impl ManifestEntry {
    /// Who is who in this recording: its own labels, and otherwise those that hold for all.
    pub fn speakers(&self, all: &Speakers) -> Speakers {
        let others = self.speakers.as_ref().unwrap_or(all.others());
        let main = Speakers::new(self.main_speaker.as_deref().unwrap_or(all.main()));
        others.iter().fold(main, |speakers, (speaker, label)| speakers.with(speaker, label))
    }
}

/// Reads a manifest line by line.
///
/// A bad line is an error of that line alone, and reading goes on after it; after an error of the system it ends.
/// Blank lines are skipped.
pub struct Manifest {
    path: PathBuf,
    lines: BufReader<File>,
    line: usize,
    /// Where each path came first, by 96 bits of a hash: 16 bytes a recording, as there may be millions.
    seen: HashMap<[u32; 3], u32>,
    done: bool,
}

impl Manifest {
    /// Opens a manifest.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        // It is read more than once, which a pipe would answer with nothing.
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(
                Error::unsupported("a manifest from a pipe or device", "save it to a file").in_file(path.display())
            );
        }
        let lines = BufReader::new(file);
        let seen = HashMap::with_capacity(SEEN);
        Ok(Manifest { path: path.to_owned(), lines, line: 0, seen, done: false })
    }

    /// The file that an entry's path means: relative to the manifest's folder.
    pub fn locate(&self, entry_path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(entry_path)
    }

    /// The next line without its end, or `None` at the end of the file.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let failed = |e| Error::io("read the manifest", e);
        if self.lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if bytes.len() as u64 == MAX_LINE {
            self.lines.skip_until(b'\n').map_err(failed)?;
            return Err(Error::over_limit("length of the line", "larger", format!("{MAX_LINE} bytes")));
        }
        Ok(Some(bytes))
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<ManifestEntry> {
        let text = std::str::from_utf8(bytes).map_err(malformed)?;
        let text = if self.line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let Keys(mut keys) = serde_json::from_str(text).map_err(bad_json)?;
        let path = path(keys.remove("path").as_deref())?;
        let duration = duration(keys.remove("duration").as_deref())?;
        let split = split(keys.remove("split").as_deref())?;
        // These stay in `meta`: whoever makes rows of text anew must know them.
        let main_speaker = label(keys.get("main_speaker").map(AsRef::as_ref))?;
        let speakers = labels(keys.get("speakers").map(AsRef::as_ref))?;
        let meta = serde_json::to_string(&keys).map_err(malformed)?;
        self.check_new(&path)?;
        Ok(ManifestEntry { line: self.line, path, duration, split, main_speaker, speakers, meta })
    }

    fn check_new(&mut self, path: &str) -> Result<()> {
        let line = u32::try_from(self.line).map_err(|_| Error::over_limit("number of lines", self.line, u32::MAX))?;
        match *self.seen.entry(files::short_hash(path)).or_insert(line) {
            first if first == line => Ok(()),
            first => Err(Error::invalid("path", format!("{path:?} again"), format!("it once, as on line {first}"))),
        }
    }
}

impl Iterator for Manifest {
    type Item = Result<ManifestEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.done {
                return None;
            }
            let entry = match self.next_line() {
                Ok(None) => return None,
                Ok(Some(bytes)) if bytes.trim_ascii().is_empty() => continue,
                Ok(Some(bytes)) => self.entry(&bytes),
                Err(e) => {
                    self.done = matches!(e.kind(), crate::ErrorKind::Io { .. });
                    Err(e)
                }
            };
            return Some(entry.map_err(|e| e.on_line(self.line).in_file(self.path.display())));
        }
    }
}

fn path(value: Option<&RawValue>) -> Result<String> {
    let value = value.ok_or_else(|| Error::invalid("path", "missing", "the recording's file"))?;
    match serde_json::from_str::<String>(value.get()) {
        Ok(path) if !path.is_empty() => Ok(path),
        _ => Err(Error::invalid("path", abridged(value), "a string that names the recording's file")),
    }
}

/// The decimal as it is written: through a double, 2.32 s may land in another frame.
fn duration(value: Option<&RawValue>) -> Result<Option<Seconds>> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    match value.get().parse::<Seconds>() {
        Ok(duration) if duration >= Seconds::ZERO => Ok(Some(duration)),
        _ => Err(Error::invalid("duration", abridged(value), "a number of seconds from 0 to 10^12")),
    }
}

fn split(value: Option<&RawValue>) -> Result<Option<Split>> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map_err(|_| Error::invalid("split", abridged(value), "\"train\" or \"valid\""))
}

fn label(value: Option<&RawValue>) -> Result<Option<String>> {
    let Some(value) = value else { return Ok(None) };
    let bad = |_| Error::invalid("main_speaker", abridged(value), "the label of the main speaker, a string");
    serde_json::from_str(value.get()).map_err(bad)
}

fn labels(value: Option<&RawValue>) -> Result<Option<BTreeMap<String, String>>> {
    let Some(value) = value else { return Ok(None) };
    let bad =
        |_| Error::invalid("speakers", abridged(value), "labels of the layout's other speakers, as {\"other\": \"B\"}");
    serde_json::from_str(value.get()).map_err(bad)
}

fn abridged(value: &RawValue) -> String {
    value.get().chars().take(80).collect()
}

/// Keys with their values as written; one that comes twice is an error, as nobody knows which is meant.
struct Keys(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Keys, A::Error> {
                let mut keys = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, _>()? {
                    if keys.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("key {key:?} comes twice")));
                    }
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}

/// serde counts lines within the text it is given, which is always one.
fn bad_json(error: serde_json::Error) -> Error {
    malformed(error.to_string().replace(" at line 1 column ", " at column "))
}

fn malformed(detail: impl std::fmt::Display) -> Error {
    Error::malformed("line of the manifest", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: impl AsRef<[u8]>) -> Vec<std::result::Result<ManifestEntry, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        std::fs::write(&path, bytes).unwrap();
        let cut = |e: Error| e.to_string().rsplit_once("m.jsonl:").unwrap().1.to_owned();
        Manifest::open(&path).unwrap().map(|entry| entry.map_err(cut)).collect()
    }

    #[test]
    fn lines_become_entries() {
        let entries = read(
            "\n{\"path\":\"../a.wav\",\"duration\":2.3200}\r\n  \n{\"z\":1.50,\"path\":\"b\",\"split\":\"valid\",\"a\":{\"k\": [1]}}",
        );
        let first = ManifestEntry {
            line: 2,
            path: "../a.wav".into(),
            duration: Some("2.32".parse().unwrap()),
            split: None,
            main_speaker: None,
            speakers: None,
            meta: "{}".into(),
        };
        let second = ManifestEntry {
            line: 4,
            path: "b".into(),
            duration: None,
            split: Some(Split::Valid),
            main_speaker: None,
            speakers: None,
            meta: r#"{"a":{"k": [1]},"z":1.50}"#.into(),
        };
        assert_eq!(entries, [Ok(first), Ok(second)]);
    }

    #[test]
    fn a_bad_line_is_an_error_of_that_line_alone() {
        let mut text =
            b"{\"path\":\"a\"}\n{\"path\":\"a\"}\n\"\xff\"\n[1]\n{\"path\":1}\n{}\n{\"path\":\"b\",\"duration\":\"3\"}
{\"path\":\"c\",\"duration\":-1}\n{\"path\":\"d\",\"split\":\"test\"}\n{\"path\":\"e\"\n"
                .to_vec();
        text.extend(b"{\"path\":\"".iter().chain(&vec![b'x'; 3 << 20]));
        text.extend(b"\"}\n{\"path\":\"last\",\"duration\":null,\"split\":null}");
        let entries = read(text);
        let errors: Vec<&str> = entries.iter().filter_map(|e| e.as_ref().err()).map(String::as_str).collect();
        let expected = [
            "2: path is \"a\" again, expected it once, as on line 1",
            "3: line of the manifest is ill-formed: invalid utf-8",
            "4: line of the manifest is ill-formed: invalid type: sequence",
            "5: path is 1, expected a string that names the recording's file",
            "6: path is missing",
            "7: duration is \"3\", expected a number of seconds from 0",
            "8: duration is -1,",
            "9: split is \"test\", expected \"train\" or \"valid\"",
            "10: line of the manifest is ill-formed: EOF",
            "11: length of the line is larger, over the limit of 1048576 bytes",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(expected), "{error}\n{expected}");
        }
        assert_eq!((entries.len(), entries.last().unwrap().as_ref().unwrap().line), (12, 12));
    }

    #[test]
    fn files_are_found_beside_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.jsonl"), "").unwrap();
        let manifest = Manifest::open(&folder.path().join("m.jsonl")).unwrap();
        assert_eq!(manifest.locate("wav/a.wav"), folder.path().join("wav/a.wav"));
        assert_eq!(manifest.locate("/abs.wav"), Path::new("/abs.wav"));
    }
}
