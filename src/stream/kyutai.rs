//! Kyutai's `config.json` as a layout.
//!
//! ```text
//! "delays": [0,     0, 1, 1, 1, 1, 1, 1, 1,   0, 1, 1, 1, 1, 1, 1, 1]
//!            text   main: dep_q 8, trained    other: the rest of n_q 16
//! ```

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::stream::form::{Object, parse, seconds};
use crate::stream::layout::Unchecked;
use crate::stream::{Kind, Layout, Stream};
use crate::units::{FrameRate, Seconds};

/// Codebooks of Mimi have 2048 entries; no release says otherwise.
const CARD: u32 = 2048;
/// What Kyutai's model takes where the file has none.
const DEP_Q: usize = 8;
const TEXT_PAD: u32 = 3;
const TEXT_END_PAD: u32 = 0;

/// The fields that say something about streams; the others describe the network.
#[derive(Deserialize)]
struct Config {
    delays: Vec<usize>,
    n_q: Option<usize>,
    dep_q: Option<usize>,
    card: Option<u32>,
    text_card: Option<u32>,
    existing_text_padding_id: Option<u32>,
    existing_text_end_padding_id: Option<u32>,
    model_type: Option<String>,
    stt_config: Option<Object<Stt>>,
    tts_config: Option<Object<Tts>>,
}

#[derive(Deserialize)]
struct Stt {
    #[serde(default, deserialize_with = "seconds")]
    audio_delay_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "seconds")]
    audio_silence_prefix_seconds: Option<Seconds>,
}

#[derive(Deserialize)]
struct Tts {
    #[serde(default, deserialize_with = "seconds")]
    audio_delay: Option<Seconds>,
    multistream: Option<bool>,
}

impl Layout {
    /// Reads the `config.json` that Kyutai's models come with. `text_card` stands in where the file has none, as in
    /// those for speech to text.
    ///
    /// Text comes first, then `n_q` audio streams. Of these the first `dep_q` are trained. They are cut into speakers
    /// by `model_type`:
    ///
    /// | `model_type` | speakers | trained if there is no `dep_q` |
    /// | --- | --- | --- |
    /// | `moshi` (also if absent), `hibiki` | `main` and `other`, half each, if `n_q` is twice `dep_q`; also if all are generated and the delays start again in the middle; else `main` | 8 |
    /// | `stt` | `main`, who is heard | none |
    /// | `tts` | `main`; with `multistream` `main` and `other`, half each | 8 |
    ///
    /// `audio_delay_seconds` of speech to text is the time by which text trails audio; `audio_delay` of text to speech
    /// the time by which it leads. `second_stream_ahead` is left out: a layout has the text row before a second one is
    /// multiplied into it. So is `text_card_out`: a row of text holds what goes in.
    ///
    /// # Errors
    /// `Malformed` with the line where the JSON or a field's type is wrong; `Invalid` if there is no `text_card`, if
    /// delays, `n_q` and `dep_q` do not go together, else as [`Layout::new`]; `Unsupported` for another `model_type`.
    /// # Examples
    /// ```
    /// use roundelay::Layout;
    /// let stt = r#"{
    ///     "model_type": "stt",
    ///     "delays": [0, 0, 0],
    ///     "stt_config": {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.0}
    /// }"#;
    /// let layout = Layout::from_kyutai_json(stt, Some(8000))?;
    /// let trained: Vec<_> = layout.streams().iter().map(|stream| stream.trained).collect();
    /// assert_eq!(trained, [true, false, false]);
    /// assert_eq!(layout.describe()[1], "text trails audio by 0.5 s, between 6 and 7 frames, in the data");
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    /// # Source
    /// moshi `models/loaders.py`, `models/lm.py` and `models/tts.py`.
    pub fn from_kyutai_json(text: &str, text_card: Option<u32>) -> Result<Self> {
        let Object(config) = parse::<Object<Config>>(text)?;
        let text_card = config.text_card.or(text_card).ok_or_else(no_text_card)?;
        let model = config.model()?;
        let (text_delay, audio_delays) = config.delays()?;
        let dep_q = config.dep_q(model, audio_delays.len())?;
        let levels = audio_delays.len() / config.voices(model, audio_delays, dep_q)?;
        let audio = audio_delays.iter().enumerate();
        let audio = audio.map(|(q, &delay)| config.audio_stream(q, levels, delay, q < dep_q));
        let streams = [config.text_stream(text_card, text_delay)].into_iter().chain(audio).collect();
        config.layout(model, streams)
    }
}

fn no_text_card() -> Error {
    let expected = "the number of text ids; add it to the file, as \"text_card\": 8000 for a tokenizer of 8000 pieces";
    Error::invalid("text_card", "missing", expected)
}

#[derive(Clone, Copy, PartialEq)]
enum Model {
    Moshi,
    Hibiki,
    Stt,
    Tts,
}

impl Model {
    const NAMES: [(&str, Model); 4] =
        [("moshi", Model::Moshi), ("hibiki", Model::Hibiki), ("stt", Model::Stt), ("tts", Model::Tts)];

    fn name(self) -> &'static str {
        Model::NAMES[self as usize].0
    }
}

impl Config {
    fn model(&self) -> Result<Model> {
        let Some(name) = &self.model_type else { return Ok(Model::Moshi) };
        let known = Model::NAMES.iter().find(|(known, _)| known == name);
        known.map(|(_, model)| *model).ok_or_else(|| {
            let names = Model::NAMES.map(|(known, _)| known).join(", ");
            Error::unsupported(format!("model_type \"{name}\""), format!("known are {names}"))
        })
    }

    /// The text's delay, and one for each of `n_q` audio streams.
    fn delays(&self) -> Result<(usize, &[usize])> {
        let (text, audio) =
            self.delays.split_first().ok_or_else(|| Error::invalid("delays", "empty", "one for each stream"))?;
        match self.n_q {
            Some(n_q) if n_q != audio.len() => {
                let expected = format!("n_q + 1, which is {}", n_q.saturating_add(1));
                Err(Error::invalid("number of delays", self.delays.len(), expected))
            }
            _ => Ok((*text, audio)),
        }
    }

    /// How many of `n_q` audio streams are generated.
    fn dep_q(&self, model: Model, n_q: usize) -> Result<usize> {
        let dep_q = self.dep_q.unwrap_or(if model == Model::Stt { 0 } else { DEP_Q });
        match dep_q <= n_q {
            true => Ok(dep_q),
            false => Err(Error::invalid("dep_q", dep_q, format!("at most n_q, which is {n_q}"))),
        }
    }

    /// How many speakers the audio streams belong to, an equal number each.
    fn voices(&self, model: Model, delays: &[usize], dep_q: usize) -> Result<usize> {
        let n_q = delays.len();
        let (front, back) = delays.split_at(n_q / 2);
        // Within one speaker delays do not fall back to that of the first codebook.
        let starts_again = front == back && front.first() < front.last();
        let two = match model {
            Model::Stt => false,
            Model::Tts => self.tts_config.as_ref().and_then(|Object(tts)| tts.multistream).unwrap_or(false),
            _ if dep_q == n_q => starts_again,
            _ if Some(n_q) == dep_q.checked_mul(2) => true,
            _ => {
                let expected = format!("dep_q, which is {dep_q}, for one speaker, or twice that for two");
                return Err(Error::invalid("n_q", n_q, expected));
            }
        };
        match two && !n_q.is_multiple_of(2) {
            true => Err(Error::invalid("n_q", n_q, "an even number, for two speakers")),
            false => Ok(if two { 2 } else { 1 }),
        }
    }

    fn text_stream(&self, cardinality: u32, delay: usize) -> Stream {
        Stream {
            name: "text".to_owned(),
            kind: Kind::Text,
            speaker: "main".to_owned(),
            level: None,
            cardinality,
            delay,
            initial: cardinality,
            pad: self.existing_text_padding_id.unwrap_or(TEXT_PAD),
            end_pad: Some(self.existing_text_end_padding_id.unwrap_or(TEXT_END_PAD)),
            bos: None,
            eos: None,
            phase: None,
            trained: true,
        }
    }

    /// Audio stream `q` of all, with so many levels a speaker.
    fn audio_stream(&self, q: usize, levels: usize, delay: usize, trained: bool) -> Stream {
        let (speaker, level) = (["main", "other"][q / levels], q % levels);
        let cardinality = self.card.unwrap_or(CARD);
        Stream {
            name: format!("{speaker}.{level}"),
            kind: if level == 0 { Kind::Semantic } else { Kind::Acoustic },
            speaker: speaker.to_owned(),
            level: Some(level),
            cardinality,
            delay,
            initial: cardinality,
            pad: cardinality,
            end_pad: None,
            bos: None,
            eos: None,
            phase: None,
            trained,
        }
    }

    fn layout(&self, model: Model, streams: Vec<Stream>) -> Result<Layout> {
        let stt = self.stt_config.as_ref().map(|Object(stt)| stt);
        let tts = self.tts_config.as_ref().map(|Object(tts)| tts);
        let (text_lag, silence_prefix) = match model {
            Model::Moshi | Model::Hibiki => (None, None),
            Model::Stt => {
                (stt.and_then(|stt| stt.audio_delay_seconds), stt.and_then(|stt| stt.audio_silence_prefix_seconds))
            }
            Model::Tts => (tts.and_then(|tts| tts.audio_delay).map(|lead| Seconds::ZERO - lead), None),
        };
        let said = |time: &Seconds| *time != Seconds::ZERO;
        Unchecked {
            name: format!("kyutai-{}", model.name()),
            source: Some(format!("a config.json of Kyutai's form, model_type {}", model.name())),
            frame_rate: FrameRate::new(25, 2)?,
            text_lag: text_lag.filter(said),
            silence_prefix: silence_prefix.filter(said),
            streams,
        }
        .try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Layout> {
        Layout::from_kyutai_json(json, Some(100))
    }

    fn refusal(json: &str) -> String {
        read(json).unwrap_err().to_string()
    }

    fn names(json: &str) -> String {
        read(json).unwrap().streams().iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn fields_that_do_not_go_together_are_named() {
        assert_eq!(refusal(r#"{"delays": [0, 0], "n_q": 2}"#), "number of delays is 2, expected n_q + 1, which is 3");
        assert_eq!(refusal(r#"{"delays": [0, 0]}"#), "dep_q is 8, expected at most n_q, which is 1");
        assert_eq!(refusal(r#"{"delays": []}"#), "delays is empty, expected one for each stream");
        assert_eq!(
            refusal(r#"{"delays": [0, 0, 0, 0], "dep_q": 1}"#),
            "n_q is 3, expected dep_q, which is 1, for one speaker, or twice that for two"
        );
        assert_eq!(
            refusal(r#"{"delays": [0], "model_type": "mimi"}"#),
            "model_type \"mimi\" is not supported: known are moshi, hibiki, stt, tts"
        );
        let odd = r#"{"delays": [0, 0], "dep_q": 1, "model_type": "tts", "tts_config": {"multistream": true}}"#;
        assert_eq!(refusal(odd), "n_q is 1, expected an even number, for two speakers");
        let missing = Layout::from_kyutai_json(r#"{"delays": [0]}"#, None).unwrap_err().to_string();
        assert!(missing.starts_with("text_card is missing"), "{missing}");
        let silence = r#"{"delays": [0], "model_type": "stt", "stt_config": {"audio_silence_prefix_seconds": -1}}"#;
        assert_eq!(refusal(silence), "silence_prefix is -1 s, expected 0 s or more");
        for list in ["[[0]]", r#"{"delays": [0], "model_type": "stt", "stt_config": [0.5, 1]}"#] {
            assert!(refusal(list).contains("expected an object"), "{list}");
        }
        assert_eq!(read("{\n\"delays\": [0, -1]}").unwrap_err().position().line, Some(2));
    }

    #[test]
    fn the_file_goes_before_what_stands_in() {
        let layout = read(r#"{"delays": [0], "dep_q": 0, "text_card": 7}"#).unwrap();
        assert_eq!((layout.streams()[0].cardinality, layout.streams().len()), (7, 1));
        assert_eq!(read(r#"{"delays": [0], "dep_q": 0}"#).unwrap().streams()[0].initial, 100);
    }

    #[test]
    fn speakers_follow_from_what_is_generated() {
        assert_eq!(names(r#"{"delays": [0, 0, 1, 0, 1], "dep_q": 2}"#), "text main.0 main.1 other.0 other.1");
        assert_eq!(names(r#"{"delays": [0, 0, 1, 0, 1], "dep_q": 4}"#), "text main.0 main.1 other.0 other.1");
        assert_eq!(names(r#"{"delays": [0, 0, 1, 1, 1], "dep_q": 4}"#), "text main.0 main.1 main.2 main.3");
        assert_eq!(names(r#"{"delays": [0, 0, 0], "dep_q": 2}"#), "text main.0 main.1");
        assert_eq!(names(r#"{"delays": [0, 0, 1, 0, 1], "model_type": "stt"}"#), "text main.0 main.1 main.2 main.3");
        let tts = |multistream| {
            names(&format!(
                r#"{{"delays": [0, 0, 2], "dep_q": 2, "model_type": "tts", "tts_config": {{"multistream": {multistream}}}}}"#
            ))
        };
        assert_eq!(tts("true"), "text main.0 other.0");
        assert_eq!(tts("null"), "text main.0 main.1");
    }

    #[test]
    fn only_the_model_at_hand_has_a_lag() {
        let lag = |model: &str| {
            let layout = read(&format!(
                r#"{{"delays": [0], "dep_q": 0, "model_type": "{model}", "tts_config": {{"audio_delay": 1.28}},
                    "stt_config": {{"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1.0}}}}"#
            ))
            .unwrap();
            let text = |time: Option<Seconds>| time.map_or(String::new(), |time| time.to_string());
            [text(layout.text_lag()), text(layout.silence_prefix())]
        };
        assert_eq!(lag("moshi"), ["", ""]);
        assert_eq!(lag("stt"), ["2.5", "1"]);
        assert_eq!(lag("tts"), ["-1.28", ""]);
    }
}
