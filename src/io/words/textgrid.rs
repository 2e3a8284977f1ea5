//! Praat's TextGrid as text, long or short.
//!
//! ```text
//! long                                   short
//! File type = "ooTextFile"               File type = "ooTextFile"
//! Object class = "TextGrid"              Object class = "TextGrid"
//!
//! xmin = 0                               0
//! xmax = 1.87                            1.87
//! tiers? <exists>                        <exists>
//! size = 1                               1
//! item []:
//!     item [1]:
//!         class = "IntervalTier"         "IntervalTier"
//!         name = "words"                 "words"
//!         xmin = 0                       0
//!         xmax = 1.87                    1.87
//!         intervals: size = 1            1
//!         intervals [1]:
//!             xmin = 0.315               0.315
//!             xmax = 0.676               0.676
//!             text = "mary"              "mary"
//! ```
//!
//! Both are the same once all is left out that is not a number, a text in quotes or a flag standing alone: that is how
//! Praat reads them. The Montreal Forced Aligner writes tiers `words` and `phones`, or `SPEAKER - words` for each
//! speaker. Tiers of points are passed over.

use std::collections::BTreeSet;

use super::SPEAKER;
use super::source::{is_silence, shortened, untimed};
use crate::error::{Error, ErrorKind, Result};
use crate::text::Word;
use crate::units::Seconds;

const WHAT: &str = "TextGrid";

pub fn parse(text: &str) -> Result<Vec<Word>> {
    let tiers = Reader { rest: text, line: 1 }.tiers()?;
    let mut words = Vec::new();
    for (tier, speaker) in chosen(&tiers)? {
        words.extend(tier.labels.iter().map(|label| label.word(speaker)));
    }
    Ok(words)
}

/// A tier of intervals.
struct Tier<'a> {
    name: String,
    line: usize,
    labels: Vec<Label<'a>>,
}

/// An interval in which something is said.
struct Label<'a> {
    start: Seconds,
    end: Seconds,
    /// As in the file, where a quote is written twice.
    text: &'a str,
    line: usize,
}

impl Label<'_> {
    fn word(&self, speaker: &str) -> Word {
        Word::new(unescaped(self.text).trim(), self.start, self.end, speaker)
    }
}

/// The tiers that hold words, with their speakers.
fn chosen<'t, 'a>(tiers: &'t [Tier<'a>]) -> Result<Vec<(&'t Tier<'a>, &'t str)>> {
    let named: Vec<_> = tiers.iter().filter_map(|tier| Some((tier, speaker(&tier.name)?))).collect();
    let mut speakers = BTreeSet::new();
    if let Some((tier, speaker)) = named.iter().find(|(_, speaker)| !speakers.insert(*speaker)) {
        let detail = format!("two tiers hold the words of {speaker}, expected one named {:?}", tier.name);
        return Err(Error::malformed(WHAT, detail).on_line(tier.line));
    }
    match tiers {
        _ if !named.is_empty() => Ok(named),
        [only] => lone(only).map(|tier| vec![(tier, SPEAKER)]),
        _ => Err(no_words(tiers)),
    }
}

/// The speaker whose words a tier of this name holds.
fn speaker(name: &str) -> Option<&str> {
    let of_words = |kind: &str| ["words", "word"].iter().any(|words| kind.trim().eq_ignore_ascii_case(words));
    match name.rsplit_once(" - ") {
        Some((speaker, kind)) if of_words(kind) => Some(speaker),
        _ => of_words(name).then_some(SPEAKER),
    }
}

/// A tier of another name holds words if each of its labels is one.
fn lone<'t, 'a>(tier: &'t Tier<'a>) -> Result<&'t Tier<'a>> {
    match tier.labels.iter().find(|label| label.text.trim().contains(char::is_whitespace)) {
        Some(label) => {
            let detail = format!("tier {:?} holds {:?}, which is more than a word", tier.name, shortened(label.text));
            Err(untimed(detail).on_line(label.line))
        }
        None => Ok(tier),
    }
}

fn no_words(tiers: &[Tier]) -> Error {
    let names: Vec<_> = tiers.iter().take(20).map(|tier| format!("{:?}", shortened(&tier.name))).collect();
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let detail = format!("its tiers of intervals are {found}, expected one named \"words\" or \"SPEAKER - words\"");
    Error::malformed(WHAT, detail)
}

/// What counts in the file.
#[derive(Clone, Copy)]
enum Token<'a> {
    Number(&'a str),
    Text(&'a str),
    Flag(&'a str),
    End,
}

struct Reader<'a> {
    rest: &'a str,
    /// Of what was read last.
    line: usize,
}

impl<'a> Reader<'a> {
    fn tiers(mut self) -> Result<Vec<Tier<'a>>> {
        self.head()?;
        let count = self.count("number of tiers")?;
        let mut tiers = Vec::new();
        for _ in 0..count {
            tiers.extend(self.tier()?);
        }
        match self.next()? {
            Token::End => Ok(tiers),
            more => Err(self.is_not("what follows the last tier", more, "the end of the file")),
        }
    }

    fn head(&mut self) -> Result<()> {
        match (self.next()?, self.next()?) {
            (Token::Text("ooTextFile" | "ooTextFile short"), Token::Text("TextGrid")) => {}
            (Token::Text(kind), _) if kind.contains("chronological") => {
                return Err(Error::unsupported("a chronological TextGrid", "save it as text file, long or short"));
            }
            _ => return Err(Error::malformed(WHAT, "it does not begin with \"ooTextFile\" \"TextGrid\"")),
        }
        self.time("xmin of the file")?;
        self.time("xmax of the file")?;
        match self.next()? {
            Token::Flag("<exists>") => Ok(()),
            other => Err(self.is_not("tiers", other, "<exists>")),
        }
    }

    /// A tier, if it is one of intervals.
    fn tier(&mut self) -> Result<Option<Tier<'a>>> {
        let points = match self.next()? {
            Token::Text("IntervalTier") => false,
            Token::Text("TextTier") => true,
            other => return Err(self.is_not("class of a tier", other, "\"IntervalTier\" or \"TextTier\"")),
        };
        let mut tier = Tier { name: unescaped(self.text("name of the tier")?), line: self.line, labels: Vec::new() };
        self.time("xmin of the tier")?;
        self.time("xmax of the tier")?;
        for _ in 0..self.count("size of the tier")? {
            let start = self.time(if points { "time of the point" } else { "xmin of the interval" })?;
            if points {
                self.text("mark of the point")?;
                continue;
            }
            let label = self.label(start)?;
            tier.labels.extend((!is_silence(label.text)).then_some(label));
        }
        Ok((!points).then_some(tier))
    }

    /// The rest of an interval that begins at this time.
    fn label(&mut self, start: Seconds) -> Result<Label<'a>> {
        let end = self.time("xmax of the interval")?;
        if end < start {
            return Err(Error::invalid("xmax of the interval", end, format!("{start} or later")).on_line(self.line));
        }
        let text = self.text("text of the interval")?;
        Ok(Label { start, end, text, line: self.line })
    }

    fn time(&mut self, what: &str) -> Result<Seconds> {
        let token = self.next()?;
        let Token::Number(digits) = token else { return Err(self.is_not(what, token, "a number of seconds")) };
        digits.parse::<Seconds>().map_err(|error| match error.kind() {
            ErrorKind::Invalid { expected, .. } => Error::invalid(what, shortened(digits), expected).on_line(self.line),
            _ => error,
        })
    }

    fn count(&mut self, what: &str) -> Result<usize> {
        let token = self.next()?;
        let count = if let Token::Number(digits) = token { digits.parse().ok() } else { None };
        count.ok_or_else(|| self.is_not(what, token, "a whole number"))
    }

    fn text(&mut self, what: &str) -> Result<&'a str> {
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(self.is_not(what, other, "text in quotes")),
        }
    }

    fn is_not(&self, what: &str, found: Token, expected: impl std::fmt::Display) -> Error {
        let found = match found {
            Token::Number(found) | Token::Flag(found) => shortened(found),
            Token::Text(found) => format!("\"{}\"", shortened(found)),
            Token::End => return Error::malformed(WHAT, format!("it ends before the {what}")).on_line(self.line),
        };
        Error::malformed(WHAT, format!("{what} is {found}, expected {expected}")).on_line(self.line)
    }

    /// The next that counts.
    fn next(&mut self) -> Result<Token<'a>> {
        loop {
            self.skip(self.rest.len() - self.rest.trim_start().len());
            let rest = self.rest;
            let Some(first) = rest.chars().next() else { return Ok(Token::End) };
            match first {
                '"' => return self.quoted(),
                // The rest of the line is a comment.
                '!' => drop(self.skip(rest.find('\n').unwrap_or(rest.len()))),
                '<' => {
                    let end = rest.find('>').map_or(rest.len(), |end| end + 1);
                    return Ok(Token::Flag(self.skip(end)));
                }
                _ => {
                    let word = self.skip(rest.find(char::is_whitespace).unwrap_or(rest.len()));
                    if first.is_ascii_digit() || "+-.".contains(first) {
                        return Ok(Token::Number(word));
                    }
                }
            }
        }
    }

    /// Passes so many bytes.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
        passed
    }

    /// A text up to the quote that no second one follows.
    fn quoted(&mut self) -> Result<Token<'a>> {
        let (line, body) = (self.line, &self.rest[1..]);
        let mut end = 0;
        loop {
            let Some(quote) = body[end..].find('"') else {
                return Err(Error::malformed(WHAT, "text in quotes has no end").on_line(line));
            };
            end += quote;
            if !body[end + 1..].starts_with('"') {
                break;
            }
            end += 2;
        }
        self.skip(end + 2);
        Ok(Token::Text(&body[..end]))
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\"\"", "\"")
}
