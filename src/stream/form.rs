//! The JSON form of a layout: read by field, written one stream a line.
//!
//! ```text
//! "delay": 1           frames
//! "delay": "0.08 s"    seconds, if they are a whole number of frames; written as frames
//! ```

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::stream::layout::Unchecked;
use crate::stream::{Kind, Layout, Stream};
use crate::units::{FrameRate, Seconds};

impl Layout {
    /// Reads the JSON form. A delay is a number of frames, or seconds in words.
    ///
    /// # Errors
    /// `Malformed` with the line where the JSON or a field's type is wrong, else as [`Layout::new`]; `Invalid` for a
    /// delay in seconds that is no whole number of frames, with the frames on either side.
    /// # Examples
    /// ```
    /// use roundelay::Layout;
    /// let text = Layout::preset("delay-1")?.to_json().replace(r#""delay":1"#, r#""delay":"0.16 s""#);
    /// assert_eq!(Layout::from_json(&text)?.max_delay(), 2);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Self> {
        parse::<LayoutForm>(text)?.try_into()
    }

    /// Reads a layout, or a `config.json` of Kyutai's: what has `delays` and no `streams` is the latter.
    ///
    /// # Errors
    /// As [`Layout::from_json`] or [`Layout::from_kyutai_json`].
    pub fn read(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Fields {
            streams: Option<IgnoredAny>,
            delays: Option<IgnoredAny>,
        }
        let Object(fields) = parse::<Object<Fields>>(text)?;
        match fields.streams.is_none() && fields.delays.is_some() {
            true => Self::from_kyutai_json(text, None),
            false => Self::from_json(text),
        }
    }

    /// The JSON form, one stream a line.
    pub fn to_json(&self) -> String {
        let mut lines = vec![format!("  \"name\": {}", value(self.name()))];
        lines.extend(self.source().map(|source| format!("  \"source\": {}", value(source))));
        lines.push(format!("  \"frame_rate\": {}", value(&self.frame_rate())));
        // Not through a double: a time has as many digits as were written.
        lines.extend(self.text_lag().map(|lag| format!("  \"text_lag\": {lag}")));
        lines.extend(self.silence_prefix().map(|length| format!("  \"silence_prefix\": {length}")));
        let streams: Vec<_> = self.streams().iter().map(|stream| format!("    {}", value(stream))).collect();
        lines.push(format!("  \"streams\": [\n{}\n  ]", streams.join(",\n")));
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }
}

fn value<T: Serialize + ?Sized>(field: &T) -> String {
    serde_json::to_string(field).expect("a layout's fields have string keys and finite numbers")
}

/// Reads JSON of which every error has its line.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::malformed("layout", &e).on_line(e.line().max(1)))
}

/// A number of seconds, with all its digits.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Seconds>, D::Error> {
    let Some(number) = Option::<Box<RawValue>>::deserialize(deserializer)? else { return Ok(None) };
    number.get().parse().map(Some).map_err(de::Error::custom)
}

/// What is read by field, never by place: a derived reader takes a list as well.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, as {\"key\": value}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A layout as it is written.
pub(super) type LayoutForm = Object<LayoutFields>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayoutFields {
    name: String,
    source: Option<String>,
    frame_rate: FrameRate,
    #[serde(default, deserialize_with = "seconds")]
    text_lag: Option<Seconds>,
    #[serde(default, deserialize_with = "seconds")]
    silence_prefix: Option<Seconds>,
    streams: Vec<Object<StreamForm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamForm {
    name: String,
    kind: Kind,
    speaker: String,
    level: Option<usize>,
    cardinality: u32,
    delay: DelayForm,
    initial: u32,
    pad: u32,
    end_pad: Option<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    phase: Option<usize>,
    trained: bool,
}

impl TryFrom<LayoutForm> for Layout {
    type Error = Error;

    fn try_from(Object(fields): LayoutForm) -> Result<Self> {
        let LayoutFields { name, source, frame_rate, text_lag, silence_prefix, streams } = fields;
        let streams = streams.into_iter().map(|Object(stream)| stream.at(frame_rate)).collect::<Result<_>>()?;
        Unchecked { name, source, frame_rate, text_lag, silence_prefix, streams }.try_into()
    }
}

impl StreamForm {
    /// The stream, in a layout with this rate.
    fn at(self, rate: FrameRate) -> Result<Stream> {
        let delay = self.delay.frames(rate).map_err(|e| e.in_stream(&self.name))?;
        let StreamForm { name, kind, speaker, level, cardinality, initial, pad, .. } = self;
        let StreamForm { end_pad, bos, eos, phase, trained, .. } = self;
        Ok(Stream { name, kind, speaker, level, cardinality, delay, initial, pad, end_pad, bos, eos, phase, trained })
    }
}

/// A delay as it is written.
#[derive(Clone, Copy)]
enum DelayForm {
    Frames(usize),
    Seconds(Seconds),
}

impl DelayForm {
    fn frames(self, rate: FrameRate) -> Result<usize> {
        let time = match self {
            DelayForm::Frames(frames) => return Ok(frames),
            DelayForm::Seconds(time) => time,
        };
        let found = format!("{time} s");
        let not_negative = |_| Error::invalid("delay", &found, "0 s or more");
        let below = usize::try_from(rate.floor(time)).map_err(not_negative)?;
        if rate.floor(time) == rate.ceil(time) {
            return Ok(below);
        }
        let [below, above] = [below, below + 1].map(|frames| format!("{frames} ({})", in_seconds(frames, rate)));
        Err(Error::invalid("delay", found, format!("a whole number of frames: {below} or {above}")))
    }
}

/// When a frame begins; rounded where no decimal says it exactly.
fn in_seconds(frame: usize, rate: FrameRate) -> String {
    let time = rate.start_of(frame);
    match rate.floor(time) == rate.ceil(time) {
        true => format!("{time} s"),
        false => format!("about {:.6} s", time.to_f64()),
    }
}

impl<'de> Deserialize<'de> for DelayForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(DelayVisitor)
    }
}

struct DelayVisitor;

impl Visitor<'_> for DelayVisitor {
    type Value = DelayForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a delay in frames, as 1, or in seconds, as \"0.08 s\"")
    }

    fn visit_u64<E: de::Error>(self, frames: u64) -> std::result::Result<DelayForm, E> {
        usize::try_from(frames).map(DelayForm::Frames).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<DelayForm, E> {
        let number = text.strip_suffix('s').map(str::trim_ascii_end);
        let number = number.filter(|number| number.parse::<Seconds>().is_ok());
        let number = number.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
        // Digits too small to be kept would make a time between two frames pass for a whole one.
        Seconds::exact(number).map(DelayForm::Seconds).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `delay-1` with another delay on its last two streams.
    fn delayed(delay: &str) -> Result<Layout> {
        let json = Layout::preset("delay-1").unwrap().to_json();
        Layout::from_json(&json.replace("\"delay\":1", &format!("\"delay\":{delay}")))
    }

    fn refusal(delay: &str) -> String {
        delayed(delay).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_line() {
        let error = delayed("-1").unwrap_err();
        assert_eq!(error.position().line, Some(7));
        let text = Layout::preset("delay-1").unwrap().to_json();
        assert!(Layout::from_json(&text.replace("delay\":1", "dealy\":1")).unwrap_err().to_string().contains("dealy"));
    }

    #[test]
    fn a_delay_in_seconds_is_its_frames() {
        for (delay, frames) in [("0", 0), ("\"0 s\"", 0), ("\"0.08 s\"", 1), ("\"0.16s\"", 2), ("\"8e1 s\"", 1000)] {
            let layout = delayed(delay).unwrap();
            assert_eq!(layout.max_delay(), frames, "{delay}");
            assert!(layout.to_json().contains(&format!("\"delay\":{frames},")));
        }
    }

    #[test]
    fn a_delay_between_frames_is_refused_with_its_neighbours() {
        assert_eq!(
            refusal("\"0.1 s\""),
            "stream main.0: delay is 0.1 s, expected a whole number of frames: 1 (0.08 s) or 2 (0.16 s)"
        );
        assert_eq!(refusal("\"-0.08 s\""), "stream main.0: delay is -0.08 s, expected 0 s or more");
        assert!(refusal("\"1e9 s\"").contains("0 to 65536 frames"));
        for wrong in ["\"0.08\"", "\"80 ms\"", "\"s\"", "0.08", "-1", "null", "[1]"] {
            assert!(refusal(wrong).contains("a delay in frames, as 1, or in seconds, as \"0.08 s\""), "{wrong}");
        }
        for long in ["1e-1000", "-1e-1000", "0.08000000000000000000000001"] {
            assert!(refusal(&format!("\"{long} s\"")).contains("expected at most 24 decimals"), "{long}");
        }
        let third = Layout::preset("parler-tts").unwrap().to_json().replace("\"delay\":8", "\"delay\":\"0.1 s\"");
        let error = Layout::from_json(&third).unwrap_err().to_string();
        assert!(error.contains("8 (about 0.092880 s) or 9 (about 0.104490 s)"), "{error}");
    }

    #[test]
    fn seconds_keep_their_digits() {
        let json = Layout::preset("delay-1").unwrap().to_json();
        let lag = "-0.123456789012345678901234";
        let text = json.replace("\"streams\"", &format!("\"text_lag\": {lag},\n  \"streams\""));
        let layout = Layout::from_json(&text).unwrap();
        assert_eq!(layout.to_json(), text);
        assert!(Layout::from_json(&text.replace(lag, "\"1\"")).is_err());
    }

    #[test]
    fn any_rate_prints_and_reads_back() {
        let streams = Layout::preset("delay-1").unwrap().streams().to_vec();
        for (frames, seconds) in [(50, 3), (12, 1), (1, 999), (44_100, 512), (16_777_213, 16_777_216)] {
            let layout = Layout::new("any", FrameRate::new(frames, seconds).unwrap(), streams.clone()).unwrap();
            assert_eq!(Layout::from_json(&layout.to_json()).unwrap(), layout, "{frames}/{seconds}");
        }
    }

    #[test]
    fn lists_are_no_layouts() {
        let list =
            r#"["n", null, 12.5, null, null, [["a", "text", "m", null, 1, 0, 0, 0, null, null, null, null, true]]]"#;
        let expected = "invalid type: sequence, expected an object, as {\"key\": value}";
        let stream = r#"{"name": "n", "frame_rate": 12.5, "streams": [["a", "text", "m", null, 1, 0, 0, 0, null, null, null, null, true]]}"#;
        for text in [list, stream] {
            for error in [Layout::from_json(text).unwrap_err(), Layout::read(text).unwrap_err()] {
                assert!(error.to_string().contains(expected), "{error}");
                assert_eq!(error.position().line, Some(1));
            }
            assert!(serde_json::from_str::<Layout>(text).unwrap_err().to_string().contains(expected));
        }
    }

    #[test]
    fn either_form_is_read() {
        let moshi = Layout::preset("moshi-7b").unwrap();
        assert_eq!(Layout::read(&moshi.to_json()).unwrap(), moshi);
        let config = r#"{"delays": [0, 0, 1], "dep_q": 2, "text_card": 10}"#;
        assert_eq!(Layout::read(config).unwrap(), Layout::from_kyutai_json(config, None).unwrap());
        assert!(Layout::read("{}").unwrap_err().to_string().contains("name"));
        assert_eq!(Layout::read("{\n\"delays\": [0]\n\"n_q\": 0}").unwrap_err().position().line, Some(3));
    }
}
