//! How the words of a dataset were placed, as its `dataset.json` says.
//!
//! ```text
//! options  {"rule": "kyutai", "rule_options": {"keep_main_only": true, ..}, "main_speaker": "agent",
//!           "speakers": {"other": "caller"}, "border": "start", ..}
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::batch::Segment;
use crate::error::{Error, Result};
use crate::pipeline::Speakers;
use crate::text::Rule;
use crate::window::Border;

/// What it takes to place the words of a dataset again as they were: the choices of the command that wrote it.
///
/// # Examples
/// ```
/// use roundelay::io::Placing;
/// let options = serde_json::json!({"rule": "moshi", "main_speaker": "agent", "speakers": {"other": "caller"}});
/// let placing = Placing::of(options.as_object().unwrap())?;
/// assert_eq!((placing.rule.name(), placing.speakers.main(), placing.border.name()), ("moshi", "agent", "start"));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Placing {
    /// How words became a text row.
    pub rule: Rule,
    /// Whose words each text row holds.
    pub speakers: Speakers,
    /// What became of words that a window's border cuts.
    pub border: Border,
}

impl Placing {
    /// From the options of a [`DatasetInfo`](super::DatasetInfo). A choice that is not there is the default one, except
    /// for the rule: a row by one rule says nothing of another's.
    ///
    /// # Errors
    /// `Invalid` if the rule is missing; `Malformed` if a choice is none that this version knows.
    pub fn of(options: &Map<String, Value>) -> Result<Self> {
        let given = |name: &str| options.get(name).filter(|value| !value.is_null()).cloned();
        let Some(rule) = given("rule") else {
            let expected = "the rule that placed the words; a dataset without it cannot place them anew";
            return Err(Error::invalid("rule in the dataset's options", "missing", expected));
        };
        let mut choice = match given("rule_options") {
            Some(options) => read("rule_options", options)?,
            None => Map::new(),
        };
        choice.insert("rule".into(), rule);
        let main: Option<String> = given("main_speaker").map(|main| read("main_speaker", main)).transpose()?;
        let others: Option<Map<String, Value>> =
            given("speakers").map(|others| read("speakers", others)).transpose()?;
        let mut speakers = main.map_or_else(Speakers::default, Speakers::new);
        for (speaker, label) in others.unwrap_or_default() {
            speakers = speakers.with(speaker, read::<String>("speakers", label)?);
        }
        let border = given("border").map(|border| read("border", border)).transpose()?.unwrap_or_default();
        Ok(Placing { rule: read("rule", Value::Object(choice))?, speakers, border })
    }

    /// The speakers of a segment: those that the manifest named for its recording, which its `meta` holds, else the
    /// dataset's.
    ///
    /// # Errors
    /// `Malformed` if they are no labels.
    pub fn speakers_of(&self, segment: &Segment) -> Result<Speakers> {
        #[derive(Default, Deserialize)]
        struct Named {
            main_speaker: Option<String>,
            speakers: Option<BTreeMap<String, String>>,
        }
        // Hardly any recording names them, and its meta may be long.
        let named: Named = match segment.meta.contains("speaker") {
            true => serde_json::from_str(&segment.meta)
                .map_err(|e| Error::malformed("speakers in the segment's meta", e).in_recording(&segment.id))?,
            false => Named::default(),
        };
        let main = Speakers::new(named.main_speaker.as_deref().unwrap_or(self.speakers.main()));
        let others = named.speakers.as_ref().unwrap_or(self.speakers.others());
        Ok(others.iter().fold(main, |speakers, (speaker, label)| speakers.with(speaker, label)))
    }
}

fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::malformed(format!("{name} in the dataset's options"), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{JmoshiRule, KyutaiRule, TurnMarkers};

    fn of(options: Value) -> Result<Placing> {
        Placing::of(options.as_object().unwrap())
    }

    fn refusal(options: Value) -> String {
        of(options).unwrap_err().to_string()
    }

    #[test]
    fn every_rule_comes_back() {
        let kyutai = r#"{"rule": "kyutai", "rule_options": {"keep_main_only": true, "keep_and_shift": false,
            "audio_delay": 0.1, "turn_markers": {"bos": 5, "eos": 6}}, "border": "drop", "window": 8, "hop": null}"#;
        let rule = KyutaiRule {
            keep_main_only: true,
            audio_delay: 0.1,
            turn_markers: Some(TurnMarkers { bos: 5, eos: 6 }),
            ..KyutaiRule::default()
        };
        let expected = Placing { rule: Rule::Kyutai(rule), speakers: Speakers::default(), border: Border::Drop };
        assert_eq!(of(serde_json::from_str(kyutai).unwrap()).unwrap(), expected);
        let jmoshi = serde_json::json!({"rule": "jmoshi", "rule_options": {"whitespace_before_word": false}});
        let rule = Rule::Jmoshi(JmoshiRule { whitespace_before_word: false });
        assert_eq!(of(jmoshi).unwrap().rule, rule);
    }

    #[test]
    fn a_recording_may_name_its_own_speakers() {
        let placing =
            of(serde_json::json!({"rule": "moshi", "main_speaker": "a", "speakers": {"other": "b"}})).unwrap();
        let speakers = |meta: &str| {
            let codes = crate::Frames(ndarray::Array2::zeros((1, 0)));
            let (start, duration) = (crate::Seconds::ZERO, crate::Seconds::ZERO);
            let (id, path, meta) = ("x".into(), "x".into(), meta.into());
            let (words, regions, split) = (vec![], vec![], crate::batch::Split::Train);
            placing.speakers_of(&Segment { id, path, start, duration, codes, words, regions, split, meta })
        };
        assert_eq!(speakers("{\"room\":1}").unwrap(), placing.speakers);
        assert_eq!(speakers("{\"main_speaker\":\"c\"}").unwrap(), Speakers::new("c").with("other", "b"));
        assert_eq!(speakers("{\"speakers\":{\"other\":\"d\"}}").unwrap(), Speakers::new("a").with("other", "d"));
        let error = speakers("{\"main_speaker\":1}").unwrap_err().to_string();
        assert!(error.starts_with("recording \"x\": speakers in the segment's meta is ill-formed"), "{error}");
    }

    #[test]
    fn what_is_missing_is_the_default_but_not_the_rule() {
        let placing = of(serde_json::json!({"rule": "moshi", "speakers": null})).unwrap();
        assert_eq!(placing, Placing { rule: Rule::Moshi, speakers: Speakers::default(), border: Border::Start });
        let missing = refusal(serde_json::json!({"main_speaker": "a"}));
        assert!(missing.starts_with("rule in the dataset's options is missing, expected"), "{missing}");
    }

    #[test]
    fn what_a_later_version_may_write_is_refused() {
        let unknown = refusal(serde_json::json!({"rule": "later"}));
        assert!(
            unknown.starts_with("rule in the dataset's options is ill-formed: unknown variant `later`"),
            "{unknown}"
        );
        let option = refusal(serde_json::json!({"rule": "kyutai", "rule_options": {"later": 1}}));
        assert!(option.contains("unknown field `later`"), "{option}");
        assert!(refusal(serde_json::json!({"rule": "moshi", "border": "later"})).starts_with("border in the"));
        assert!(refusal(serde_json::json!({"rule": "moshi", "speakers": {"other": 1}})).starts_with("speakers in the"));
        assert!(refusal(serde_json::json!({"rule": "moshi", "rule_options": []})).starts_with("rule_options in the"));
    }
}
