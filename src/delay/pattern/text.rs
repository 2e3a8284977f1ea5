//! The text form of a pattern, `NAME[:key=value;key=value]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Pattern;
use crate::error::{Error, Result};

const NAMES: &str = "parallel, delay, flatten, partial-flatten, coarse-first, musiclm or multi-rate";
const WHOLE: &str = "a whole number";

/// Where a pattern's delays come from.
///
/// In text `none`, `staircase`, `layout` or a list such as `0,1,1`; in JSON one of these words or an array.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Json", into = "Json")]
pub enum Delays {
    /// No stream is delayed.
    #[default]
    None,
    /// 0, 1, 2, ..
    Staircase,
    /// The layout's, in any order.
    Layout,
    /// One for each stream; a list never falls, as in audiocraft: one that does is most often a slip.
    Each(Vec<usize>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "delays must be none, staircase, layout, or a list of whole numbers")]
enum Json {
    Word(Word),
    Each(Vec<usize>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    None,
    Staircase,
    Layout,
}

impl Delays {
    /// What `delay` does unless told otherwise.
    pub(super) fn of_layout() -> Self {
        Delays::Layout
    }
}

impl From<Json> for Delays {
    fn from(json: Json) -> Self {
        match json {
            Json::Word(Word::None) => Delays::None,
            Json::Word(Word::Staircase) => Delays::Staircase,
            Json::Word(Word::Layout) => Delays::Layout,
            Json::Each(delays) => Delays::Each(delays),
        }
    }
}

impl From<Delays> for Json {
    fn from(delays: Delays) -> Self {
        match delays {
            Delays::None => Json::Word(Word::None),
            Delays::Staircase => Json::Word(Word::Staircase),
            Delays::Layout => Json::Word(Word::Layout),
            Delays::Each(delays) => Json::Each(delays),
        }
    }
}

impl FromStr for Delays {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Delays::None),
            "staircase" => Ok(Delays::Staircase),
            "layout" => Ok(Delays::Layout),
            list => Ok(Delays::Each(numbers("delays", list, "none, staircase, layout, or numbers such as 0,1,1")?)),
        }
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delays::None => f.write_str("none"),
            Delays::Staircase => f.write_str("staircase"),
            Delays::Layout => f.write_str("layout"),
            Delays::Each(delays) => f.write_str(&list(delays)),
        }
    }
}

/// Numbers as the text form writes them.
pub(super) fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// An empty text is an empty list, so that every list can be written.
fn numbers(option: &str, text: &str, expected: &str) -> Result<Vec<usize>> {
    let numbers = text.split(',').map(|number| number.trim().parse());
    let read = if text.is_empty() { Ok(Vec::new()) } else { numbers.collect() };
    read.map_err(|_: std::num::ParseIntError| Error::invalid(option, text, expected))
}

/// Options that are still to be read, and those that this pattern has.
struct Options<'a> {
    given: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    fn split(text: Option<&'a str>) -> Result<Self> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        for option in text.into_iter().flat_map(|text| text.split(';')) {
            let (key, value) =
                option.split_once('=').ok_or_else(|| Error::invalid("pattern's option", option, "key=value"))?;
            if given.iter().any(|(other, _)| *other == key.trim()) {
                return Err(Error::invalid("pattern's option", format!("{} twice", key.trim()), "each one once"));
            }
            given.push((key.trim(), value.trim()));
        }
        Ok(Options { given, known: Vec::new() })
    }

    /// The value given for an option of this pattern.
    fn take(&mut self, key: &'static str) -> Option<&'a str> {
        self.known.push(key);
        let at = self.given.iter().position(|(given, _)| *given == key)?;
        Some(self.given.swap_remove(at).1)
    }

    fn number<N: FromStr>(&mut self, key: &'static str, default: N) -> Result<N> {
        match self.take(key) {
            Some(text) => text.parse().map_err(|_| Error::invalid(key, text, WHOLE)),
            None => Ok(default),
        }
    }

    fn delays(&mut self, default: Delays) -> Result<Delays> {
        self.take("delays").map_or(Ok(default), str::parse)
    }

    fn flattening(&mut self) -> Result<Option<Vec<usize>>> {
        let list = |text| numbers("flattening", text, "numbers such as 0,1,1");
        self.take("flattening").map(list).transpose()
    }

    /// Refuses what no option took.
    fn end(self, name: &str) -> Result<()> {
        match self.given.first() {
            Some((key, _)) => {
                let known = self.known.join(" or ");
                Err(Error::invalid(format!("option of pattern {name}"), key, known))
            }
            None => Ok(()),
        }
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, options) = text.split_once(':').map_or((text, None), |(name, options)| (name, Some(options)));
        let mut options = Options::split(options)?;
        let pattern = match name.trim() {
            "parallel" => Pattern::Parallel { empty_initial: options.number("empty-initial", 0)? },
            "delay" => Pattern::Delay {
                delays: options.delays(Delays::Layout)?,
                flatten_first: options.number("flatten-first", 0)?,
                empty_initial: options.number("empty-initial", 0)?,
            },
            "flatten" => Pattern::Flatten { flattening: options.flattening()?, delays: options.delays(Delays::None)? },
            "partial-flatten" => Pattern::PartialFlatten { delays: options.delays(Delays::None)? },
            "coarse-first" => Pattern::CoarseFirst { delays: options.delays(Delays::None)? },
            "musiclm" => Pattern::Musiclm { group_by: options.number("group-by", 2)? },
            "multi-rate" => Pattern::MultiRate { delays: options.delays(Delays::None)? },
            unknown => return Err(Error::invalid("pattern", unknown, NAMES)),
        };
        options.end(name.trim())?;
        Ok(pattern)
    }
}

/// Leaves out what goes without saying.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn option<V: PartialEq + fmt::Display>(key: &str, value: &V, default: V) -> Option<String> {
            (*value != default).then(|| format!("{key}={value}"))
        }
        let delays = |delays, default| option("delays", delays, default);
        let (name, options) = match self {
            Pattern::Parallel { empty_initial } => ("parallel", vec![option("empty-initial", empty_initial, 0)]),
            Pattern::Delay { delays: given, flatten_first, empty_initial } => {
                let flatten_first = option("flatten-first", flatten_first, 0);
                let empty_initial = option("empty-initial", empty_initial, 0);
                ("delay", vec![delays(given, Delays::Layout), flatten_first, empty_initial])
            }
            Pattern::Flatten { flattening, delays: given } => {
                let flattening = flattening.as_ref().map(|inner| format!("flattening={}", list(inner)));
                ("flatten", vec![flattening, delays(given, Delays::None)])
            }
            Pattern::PartialFlatten { delays: given } => ("partial-flatten", vec![delays(given, Delays::None)]),
            Pattern::CoarseFirst { delays: given } => ("coarse-first", vec![delays(given, Delays::None)]),
            Pattern::Musiclm { group_by } => ("musiclm", vec![option("group-by", group_by, 2)]),
            Pattern::MultiRate { delays: given } => ("multi-rate", vec![delays(given, Delays::None)]),
        };
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(";");
        write!(f, "{name}{}{options}", if options.is_empty() { "" } else { ":" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let pairs = [
            ("parallel", r#"{"pattern":"parallel","empty_initial":0}"#),
            ("delay", r#"{"pattern":"delay","delays":"layout","flatten_first":0,"empty_initial":0}"#),
            (
                "delay:delays=0,1,2,3;flatten-first=2;empty-initial=-1",
                r#"{"pattern":"delay","delays":[0,1,2,3],"flatten_first":2,"empty_initial":-1}"#,
            ),
            ("flatten:flattening=0,1,1;delays=0,2,2", r#"{"pattern":"flatten","flattening":[0,1,1],"delays":[0,2,2]}"#),
            ("partial-flatten:delays=staircase", r#"{"pattern":"partial-flatten","delays":"staircase"}"#),
            ("coarse-first:delays=1,1,1", r#"{"pattern":"coarse-first","delays":[1,1,1]}"#),
            ("musiclm:group-by=4", r#"{"pattern":"musiclm","group_by":4}"#),
            ("multi-rate", r#"{"pattern":"multi-rate","delays":"none"}"#),
        ];
        for (text, json) in pairs {
            let pattern: Pattern = text.parse().unwrap();
            assert_eq!(pattern.to_json(), json);
            assert_eq!(pattern.to_string(), text);
            assert_eq!(Pattern::from_json(json).unwrap(), pattern);
        }
        let spaced: Pattern = " delay : empty-initial = 1 ; delays = 0, 1 ".parse().unwrap();
        assert_eq!(spaced.to_string(), "delay:delays=0,1;empty-initial=1");
        assert_eq!(Pattern::from_json(r#"{"pattern":"musiclm"}"#).unwrap().to_string(), "musiclm");
    }

    #[test]
    fn errors_list_what_there_is() {
        let refused = |text: &str| text.parse::<Pattern>().unwrap_err().to_string();
        assert_eq!(
            refused("zigzag"),
            "pattern is zigzag, expected parallel, delay, flatten, partial-flatten, coarse-first, musiclm or multi-rate"
        );
        assert_eq!(
            refused("delay:flattening=0,1"),
            "option of pattern delay is flattening, expected delays or flatten-first or empty-initial"
        );
        assert_eq!(refused("delay:"), "pattern's option is , expected key=value");
        assert_eq!(refused("delay:delays"), "pattern's option is delays, expected key=value");
        assert_eq!(
            refused("musiclm:group-by=1;group-by=2"),
            "pattern's option is group-by twice, expected each one once"
        );
        assert_eq!(refused("musiclm:group-by=-1"), "group-by is -1, expected a whole number");
        assert_eq!(
            refused("delay:delays=0,x"),
            "delays is 0,x, expected none, staircase, layout, or numbers such as 0,1,1"
        );
        assert_eq!(refused("flatten:flattening=0,,1"), "flattening is 0,,1, expected numbers such as 0,1,1");
    }

    #[test]
    fn json_errors_name_the_slip() {
        let refused = |text: &str| Pattern::from_json(text).unwrap_err().to_string();
        assert!(refused(r#"{"pattern":"zigzag"}"#).contains("unknown variant `zigzag`, expected one of `parallel`"));
        assert!(refused(r#"{"pattern":"delay","dealys":[]}"#).contains("unknown field `dealys`"));
        assert!(refused(r#"{"pattern":"delay","delays":"own"}"#).contains("delays must be none, staircase, layout"));
        assert!(refused("{").starts_with("line 1: pattern is ill-formed"));
    }
}
