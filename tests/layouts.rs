//! The presets against a table of what was published, Kyutai's configurations against the presets, and the verb that
//! lists them.

mod common;

use std::fs;

use common::fixture;
use roundelay::{FrameRate, Kind, Layout, Stream};

/// What a preset must say, written down apart from it.
struct Published {
    name: &'static str,
    /// Frames, in seconds.
    rate: (u32, u32),
    /// Cardinality of the text stream, which is never late.
    text: Option<u32>,
    audio: Audio,
    /// Lag of the text and silence in front, in seconds; 0 where there is none.
    shift: (&'static str, &'static str),
    second_hand: bool,
}

struct Audio {
    speakers: &'static [&'static str],
    /// Delays of the levels of each speaker.
    delays: Vec<usize>,
    cardinality: u32,
    /// Initial and pad.
    fills: (u32, u32),
    /// Bos and eos.
    brackets: (Option<u32>, Option<u32>),
    semantic: bool,
    /// The first streams, in the order of the layout, that the loss sees.
    trained: usize,
}

const MIMI: (u32, u32) = (25, 2);
const ENCODEC: (u32, u32) = (50, 1);
const DAC: (u32, u32) = (44_100, 512);
const NO_SHIFT: (&str, &str) = ("0", "0");

/// Mimi streams with the acoustic ones so many frames late.
fn mimi(speakers: &'static [&'static str], levels: usize, acoustic: usize, trained: usize) -> Audio {
    let delays = (0..levels).map(|level| if level == 0 { 0 } else { acoustic }).collect();
    let (fills, brackets) = ((2048, 2048), (None, None));
    Audio { speakers, delays, cardinality: 2048, fills, brackets, semantic: true, trained }
}

/// Streams of a codec without a semantic level, all trained.
fn plain(
    speakers: &'static [&'static str],
    delays: impl Into<Vec<usize>>,
    cardinality: u32,
    fills: (u32, u32),
    brackets: (Option<u32>, Option<u32>),
) -> Audio {
    Audio { speakers, delays: delays.into(), cardinality, fills, brackets, semantic: false, trained: usize::MAX }
}

#[rustfmt::skip]
fn published() -> Vec<Published> {
    const BOTH: &[&str] = &["main", "other"];
    const MAIN: &[&str] = &["main"];
    let speech = |name, text, audio, shift| {
        Published { name, rate: MIMI, text: Some(text), audio, shift, second_hand: false }
    };
    let sound = |name, rate, audio| Published { name, rate, text: None, audio, shift: NO_SHIFT, second_hand: false };
    let second_hand = |published| Published { second_hand: true, ..published };
    vec![
        speech("moshi-7b", 32000, mimi(BOTH, 8, 1, 8), NO_SHIFT),
        speech("moshi-7b-pretrain", 32000, mimi(BOTH, 8, 2, 8), NO_SHIFT),
        speech("moshi-2b", 48000, mimi(BOTH, 16, 2, 16), NO_SHIFT),
        speech("j-moshi", 32000, mimi(BOTH, 8, 1, 16), NO_SHIFT),
        second_hand(speech("hibiki", 48000, mimi(BOTH, 16, 2, 16), NO_SHIFT)),
        speech("kyutai-stt-1b", 8000, mimi(MAIN, 32, 0, 0), ("0.5", "0")),
        speech("kyutai-stt-2.6b", 4000, mimi(MAIN, 32, 0, 0), ("2.5", "1")),
        speech("kyutai-tts-1.6b", 8000, mimi(MAIN, 32, 2, 32), ("-1.28", "0")),
        sound("musicgen", ENCODEC, plain(MAIN, [0, 1, 2, 3], 2048, (2048, 2048), (None, None))),
        sound("musicgen-stereo", ENCODEC, plain(&["left", "right"], [0, 1, 2, 3], 2048, (2048, 2048), (None, None))),
        sound("parler-tts", DAC, plain(MAIN, [0, 1, 2, 3, 4, 5, 6, 7, 8], 1024, (1025, 1024), (Some(1025), Some(1024)))),
        sound("dia", DAC, plain(MAIN, [0, 8, 9, 10, 11, 12, 13, 14, 15], 1024, (1026, 1025), (Some(1026), Some(1024)))),
        sound("higgs-v2", (25, 1), plain(MAIN, [0, 1, 2, 3, 4, 5, 6, 7], 1024, (1024, 1025), (Some(1024), Some(1025)))),
        sound("csm", MIMI, Audio { fills: (2050, 2050), brackets: (None, Some(0)), ..mimi(MAIN, 32, 0, 32) }),
        second_hand(speech("personaplex", 32000, mimi(BOTH, 8, 1, 8), NO_SHIFT)),
        second_hand(sound("orpheus", (24_000, 2048), plain(MAIN, [0; 7], 4096, (4096, 4096), (None, None)))),
        sound("bark", (75, 1), plain(MAIN, [0, 0], 1024, (1024, 1024), (None, None))),
        speech("delay-1", 32000, Audio { delays: vec![1, 1], ..mimi(MAIN, 2, 1, 2) }, NO_SHIFT),
    ]
}

impl Published {
    /// The streams in order: speaker after speaker, or in pairs of left and right.
    fn streams(&self) -> Vec<Stream> {
        let Audio { speakers, delays, .. } = &self.audio;
        let levels = 0..delays.len();
        let in_order: Vec<(&str, usize)> = match self.name {
            "musicgen-stereo" => levels.flat_map(|level| speakers.iter().map(move |s| (*s, level))).collect(),
            _ => speakers.iter().flat_map(|speaker| levels.clone().map(move |level| (*speaker, level))).collect(),
        };
        let text = self.text.map(text_stream);
        let audio = in_order.into_iter().enumerate().map(|(k, (speaker, level))| self.audio.stream(k, speaker, level));
        text.into_iter().chain(audio).collect()
    }
}

/// PAD is 3 and EPAD 0 in every model with a text stream.
fn text_stream(cardinality: u32) -> Stream {
    Stream {
        name: "text".into(),
        kind: Kind::Text,
        speaker: "main".into(),
        level: None,
        cardinality,
        delay: 0,
        initial: cardinality,
        pad: 3,
        end_pad: Some(0),
        bos: None,
        eos: None,
        phase: None,
        trained: true,
    }
}

impl Audio {
    fn stream(&self, k: usize, speaker: &str, level: usize) -> Stream {
        Stream {
            name: format!("{speaker}.{level}"),
            kind: if level == 0 && self.semantic { Kind::Semantic } else { Kind::Acoustic },
            speaker: speaker.into(),
            level: Some(level),
            cardinality: self.cardinality,
            delay: self.delays[level],
            initial: self.fills.0,
            pad: self.fills.1,
            end_pad: None,
            bos: self.brackets.0,
            eos: self.brackets.1,
            phase: None,
            trained: k < self.trained,
        }
    }
}

/// The seven streams of a coarse frame of SNAC, as level and phase.
const SNAC: [(usize, Option<usize>); 7] =
    [(0, None), (1, Some(0)), (1, Some(1)), (2, Some(0)), (2, Some(1)), (2, Some(2)), (2, Some(3))];

fn with_phases(mut streams: Vec<Stream>) -> Vec<Stream> {
    for (stream, (level, phase)) in streams.iter_mut().zip(SNAC) {
        (stream.level, stream.phase) = (Some(level), phase);
        stream.name = phase.map_or(format!("main.{level}"), |phase| format!("main.{level}.{phase}"));
    }
    streams
}

#[test]
fn every_preset_is_what_was_published() {
    let published = published();
    assert_eq!(Layout::presets().collect::<Vec<_>>(), published.iter().map(|p| p.name).collect::<Vec<_>>());
    assert_eq!(published.len(), 18);
    let mut streams = 0;
    for expected in published {
        let layout = Layout::preset(expected.name).unwrap();
        let rows = match expected.name {
            "orpheus" => with_phases(expected.streams()),
            _ => expected.streams(),
        };
        assert_eq!(layout.streams(), rows, "{}", expected.name);
        assert_eq!(layout.frame_rate(), FrameRate::new(expected.rate.0, expected.rate.1).unwrap(), "{}", expected.name);
        let seconds = |time: Option<roundelay::Seconds>| time.unwrap_or_default().to_string();
        let shift = (seconds(layout.text_lag()), seconds(layout.silence_prefix()));
        assert_eq!((shift.0.as_str(), shift.1.as_str()), expected.shift, "{}", expected.name);
        let source = layout.source().unwrap();
        assert_eq!(source.starts_with("second-hand"), expected.second_hand, "{}: {source}", expected.name);
        streams += rows.len();
    }
    assert_eq!(streams, 17 * 4 + 33 * 5 + 4 + 8 + 9 * 2 + 8 + 32 + 7 + 2 + 3);
}

fn config(name: &str) -> String {
    fs::read_to_string(fixture("layouts").join(name)).unwrap()
}

#[test]
fn kyutai_configs_are_the_presets() {
    for (file, preset, text_card) in [
        ("config_moshi_7b.json", "moshi-7b", None),
        ("config_moshi_2b.json", "moshi-2b", None),
        ("config_j_moshi.json", "j-moshi", None),
        ("config_hibiki.json", "hibiki", None),
        ("config_stt_1b.json", "kyutai-stt-1b", None),
        ("config_stt_2.6b_lacks_text_card.json", "kyutai-stt-2.6b", Some(4000)),
        ("config_tts_1.6b.json", "kyutai-tts-1.6b", None),
    ] {
        let (read, preset) =
            (Layout::from_kyutai_json(&config(file), text_card).unwrap(), Layout::preset(preset).unwrap());
        assert_eq!(read.streams(), preset.streams(), "{file}");
        assert_eq!(read.frame_rate(), preset.frame_rate(), "{file}");
        assert_eq!(read.text_lag(), preset.text_lag(), "{file}");
        assert_eq!(read.silence_prefix(), preset.silence_prefix(), "{file}");
        if text_card.is_none() {
            assert_eq!(Layout::read(&config(file)).unwrap(), read, "{file}");
        }
    }
}

#[test]
fn a_delay_in_seconds_is_read_as_frames() {
    let layout = Layout::read(&config("delay_in_seconds.json")).unwrap();
    assert_eq!(layout.streams().iter().map(|stream| stream.delay).collect::<Vec<_>>(), [0, 1, 1]);
    assert_eq!(layout.streams(), Layout::preset("delay-1").unwrap().streams());
}

#[test]
fn directions_are_said_in_words() {
    for (name, words) in [
        ("moshi-7b-pretrain", &["acoustic codes trail by 2 frames, 160 ms"][..]),
        (
            "kyutai-stt-2.6b",
            &[
                "no stream trails another",
                "text trails audio by 2.5 s, between 31 and 32 frames, in the data",
                "1 s of silence in front, in the data",
            ],
        ),
        ("musicgen", &["levels 1 to 3 trail by 1 to 3 frames, 20 ms to 60 ms, 1 frame more at each"]),
        ("musicgen-stereo", &["levels 1 to 3 trail by 1 to 3 frames, 20 ms to 60 ms, 1 frame more at each"]),
        (
            "dia",
            &[
                "levels 1 to 8 trail by 8 to 15 frames, 92.9 ms to 174.1 ms, 1 frame more at each",
                "every stream may begin with 1026 and end with 1024: --bracket both",
            ],
        ),
        ("csm", &["no stream trails another", "every stream may end with 0: --bracket eos"]),
        (
            "orpheus",
            &[
                "no stream trails another",
                "level 1 runs 2 times as fast, level 2 4 times: --pattern multi-rate puts the codes in the order of time",
            ],
        ),
        ("delay-1", &["audio codes trail by 1 frame, 80 ms"]),
    ] {
        assert_eq!(Layout::preset(name).unwrap().describe(), words, "{name}");
    }
}

#[cfg(feature = "cli")]
mod verb {
    use std::process::{Command, Output};

    use super::*;

    fn layouts(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_roundelay")).arg("layouts").args(arguments).output().unwrap()
    }

    fn printed(arguments: &[&str]) -> String {
        let output = layouts(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refusal(arguments: &[&str]) -> String {
        let output = layouts(arguments);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    fn path(file: &str) -> String {
        fixture("layouts").join(file).to_str().unwrap().to_owned()
    }

    #[test]
    fn every_preset_is_listed_with_its_words_and_source() {
        let list = printed(&[]);
        assert!(list.contains(
            "musicgen: 4 streams at 50 Hz\n  delays  0 1 2 3\n          levels 1 to 3 trail by 1 to 3 frames, 20 ms to \
             60 ms, 1 frame more at each\n  source  audiocraft"
        ));
        assert_eq!(list.lines().filter(|line| !line.starts_with(' ')).count(), 18);
        assert_eq!(list.matches("  source  second-hand").count(), 3);
    }

    #[test]
    fn a_name_prints_what_can_be_read_again() {
        for name in Layout::presets() {
            assert_eq!(Layout::from_json(&printed(&[name])).unwrap(), Layout::preset(name).unwrap());
        }
        assert_eq!(printed(&["hibiki-zero-3b"]), printed(&["hibiki"]));
    }

    #[test]
    fn a_config_is_a_layout_like_any_other() {
        let layout = Layout::from_json(&printed(&[&path("config_moshi_7b.json")])).unwrap();
        assert_eq!(layout.streams(), Layout::preset("moshi-7b").unwrap().streams());
        assert_eq!(Layout::from_json(&printed(&[&path("delay_in_seconds.json")])).unwrap().max_delay(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_file_and_line() {
        let comma = refusal(&[&path("config_stt_1b_lacks_a_comma.json")]);
        assert!(comma.contains("config_stt_1b_lacks_a_comma.json:7: layout is ill-formed: expected `,`"), "{comma}");
        let card = refusal(&[&path("config_stt_2.6b_lacks_text_card.json")]);
        assert!(
            card.contains("text_card.json: text_card is missing, expected the number of text ids; add it"),
            "{card}"
        );
        assert!(refusal(&["kyutai-stt-2.7b"]).contains("expected one of moshi-7b, "));
        assert!(refusal(&["missing.json"]).contains("missing.json: cannot read the file"));
    }
}
