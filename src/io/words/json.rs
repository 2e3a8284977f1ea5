//! JSON read value by value, each of which knows where it stands.
//!
//! ```text
//! {"segments": [{"words": [{"word": "He", "start": "x"}]}]}
//!                                                  └─ line 1: segments[0].words[0].start is "x", expected a number ..
//! ```
//!
//! A value is the text that was written, so that a number keeps all its digits; no more is held at once than what the
//! caller keeps.

use std::array;
use std::fmt::{self, Display};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::source::{line_of, shortened};
use crate::error::{Error, ErrorKind, Result};
use crate::units::Seconds;

/// A text, and what it is called in messages.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    pub what: &'static str,
    pub text: &'a str,
}

impl<'a> Document<'a> {
    /// The value that the whole text is.
    pub fn value(self) -> Result<Value<'a, 'static>> {
        self.value_of(self.text)
    }

    /// The value that a part of the text is, such as a line.
    pub fn value_of(self, part: &'a str) -> Result<Value<'a, 'static>> {
        let raw: &RawValue = serde_json::from_str(part).map_err(|e| self.explain(part, &e))?;
        Ok(Value { document: self, raw: raw.get(), place: Place { above: None, step: Step::Whole } })
    }

    fn malformed(self, detail: impl Display, line: usize) -> Error {
        Error::malformed(self.what, detail).on_line(line)
    }

    /// The line on which a part of the text begins.
    fn line(self, part: &str) -> usize {
        line_of(&self.text.as_bytes()[..part.as_ptr().addr() - self.text.as_ptr().addr()])
    }

    /// The parser's complaint; where Python wrote a number that JSON has no word for, that.
    fn explain(self, part: &str, error: &serde_json::Error) -> Error {
        let within = error.line().max(1);
        let shown = part.lines().nth(within - 1).unwrap_or_default();
        // The column points at the number's first letter, or at the one after a minus.
        let from = shown.get(error.column().saturating_sub(2)..).unwrap_or_default();
        let odd = ["NaN", "Infinity"].into_iter().find(|odd| from.get(..odd.len() + 2).unwrap_or(from).contains(odd));
        let complaint = error.to_string();
        let complaint = complaint.rsplit_once(" at line ").map_or(&*complaint, |(complaint, _)| complaint);
        let detail = match odd {
            Some(odd) => format!("{odd} is no time, and no JSON either"),
            None => format!("{complaint} at column {}", error.column()),
        };
        self.malformed(detail, self.line(part) + within - 1)
    }
}

/// A part of a document.
#[derive(Clone, Copy)]
pub struct Value<'a, 'p> {
    document: Document<'a>,
    raw: &'a str,
    place: Place<'p>,
}

#[derive(Clone, Copy)]
struct Place<'p> {
    above: Option<&'p Place<'p>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Whole,
    Key(&'static str),
    Index(usize),
}

impl<'a> Value<'a, '_> {
    fn part(&self, step: Step, raw: &'a RawValue) -> Value<'a, '_> {
        Value { document: self.document, raw: raw.get(), place: Place { above: Some(&self.place), step } }
    }

    /// Hands on the entries of a list, up to the first that is refused.
    pub fn each(&self, expected: &str, take: impl FnMut(Value<'a, '_>) -> Result<()>) -> Result<()> {
        let mut each = Each { list: self, take, count: 0, refused: None };
        let read = serde_json::Deserializer::from_str(self.raw).deserialize_seq(&mut each);
        match each.refused {
            Some(error) => Err(error),
            None => read.map_err(|_| self.is_not(expected)),
        }
    }

    /// A list of exactly so many.
    pub fn entries<const N: usize>(&self, expected: &str) -> Result<[Value<'a, '_>; N]>
    where
        [&'a RawValue; N]: Deserialize<'a>,
    {
        let entries: [&RawValue; N] = serde_json::from_str(self.raw).map_err(|_| self.is_not(expected))?;
        Ok(array::from_fn(|index| self.part(Step::Index(index), entries[index])))
    }

    /// The values of these keys of an object; what other keys say is passed over.
    pub fn fields<const N: usize>(
        &self,
        keys: [&'static str; N],
        expected: &str,
    ) -> Result<[Option<Value<'a, '_>>; N]> {
        let mut fields = Fields { keys, found: [None; N], twice: None };
        let read = serde_json::Deserializer::from_str(self.raw).deserialize_map(&mut fields);
        if let Some(key) = fields.twice {
            return Err(self.malformed(format!("{} has {key:?} twice", self.name())));
        }
        read.map_err(|_| self.is_not(expected))?;
        Ok(array::from_fn(|at| fields.found[at].map(|raw| self.part(Step::Key(keys[at]), raw))))
    }

    /// A field that has to be there.
    pub fn required<T>(&self, key: &str, field: Option<T>) -> Result<T> {
        field.ok_or_else(|| self.malformed(format!("{} has no {key:?}", self.name())))
    }

    /// The value, unless it is `null`.
    pub fn known(self) -> Option<Self> {
        (self.raw != "null").then_some(self)
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.raw.starts_with('[')
    }

    /// The text that was written.
    pub fn written(&self) -> &'a str {
        self.raw
    }

    pub fn string(&self) -> Result<String> {
        serde_json::from_str(self.raw).map_err(|_| self.is_not("a string"))
    }

    pub fn time(&self) -> Result<Seconds> {
        if !self.raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(self.is_not("a number of seconds"));
        }
        self.raw.parse::<Seconds>().map_err(|e| self.named(e))
    }

    /// A time that is not negative.
    pub fn duration(&self) -> Result<Seconds> {
        let duration = self.time()?;
        if duration < Seconds::ZERO { Err(self.is_not("a duration, 0 or more")) } else { Ok(duration) }
    }

    /// Puts the value's name in place of "time".
    fn named(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Invalid { expected, .. } => {
                Error::invalid(self.name(), shortened(self.raw), expected).on_line(self.line())
            }
            _ => error.on_line(self.line()),
        }
    }

    /// The value is something else than it should be.
    pub fn is_not(&self, expected: &str) -> Error {
        self.malformed(format!("{} is {}, expected {expected}", self.name(), shortened(self.raw)))
    }

    pub fn malformed(&self, detail: impl Display) -> Error {
        self.document.malformed(detail, self.line())
    }

    /// Its place, as in `segments[3].words[0]`.
    pub fn name(&self) -> String {
        let mut steps = Vec::new();
        let mut place = Some(&self.place);
        while let Some(at) = place {
            steps.push(at.step);
            place = at.above;
        }
        let name: String = steps.iter().rev().map(Step::to_string).collect();
        let name = name.strip_prefix('.').unwrap_or(&name);
        if name.is_empty() { "it".to_owned() } else { name.to_owned() }
    }

    /// The line on which it begins.
    pub fn line(&self) -> usize {
        self.document.line(self.raw)
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Whole => Ok(()),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Takes the entries of a list one by one.
struct Each<'a, 'p, 'list, F> {
    list: &'list Value<'a, 'p>,
    take: F,
    count: usize,
    refused: Option<Error>,
}

impl<'a, F: FnMut(Value<'a, '_>) -> Result<()>> Visitor<'a> for &mut Each<'a, '_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while let Some(raw) = list.next_element()? {
            if let Err(error) = (self.take)(self.list.part(Step::Index(self.count), raw)) {
                self.refused = Some(error);
                return Err(A::Error::custom("refused"));
            }
            self.count += 1;
        }
        Ok(())
    }
}

/// Picks the values of some keys out of an object.
struct Fields<'a, const N: usize> {
    keys: [&'static str; N],
    found: [Option<&'a RawValue>; N],
    twice: Option<&'static str>,
}

impl<'a, const N: usize> Visitor<'a> for &mut Fields<'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Among(&self.keys))? {
            let Some(at) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if self.found[at].replace(map.next_value()?).is_some() {
                self.twice = Some(self.keys[at]);
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(())
    }
}

/// Which of some keys a key is.
struct Among<'k>(&'k [&'static str]);

impl<'a> DeserializeSeed<'a> for Among<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, key: D) -> std::result::Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Among<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> std::result::Result<Self::Value, E> {
        Ok(self.0.iter().position(|among| *among == key))
    }
}
