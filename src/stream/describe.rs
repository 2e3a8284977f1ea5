//! Who trails whom, in words: signs differ between programs, "trails" and "leads" do not.
//!
//! ```text
//! level    0  1  2  3
//! delays   0  1  1  1      acoustic codes trail by 1 frame, 80 ms
//!          0  8  9 10      levels 1 to 3 trail by 8 to 10 frames, 640 ms to 800 ms, 1 frame more at each
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::stream::{Kind, Layout, Stream};
use crate::units::{FrameRate, Seconds};

impl Layout {
    /// The delays against the least one, then what lies in the data: the shift between text and audio, and silence in
    /// front; last the options that a layout with phases, or with `bos` or `eos` in every stream, is made for. One
    /// line each; a speaker is named only where speakers differ, a phase as `level.phase`.
    ///
    /// # Examples
    /// ```
    /// use roundelay::Layout;
    /// assert_eq!(Layout::preset("moshi-7b")?.describe(), ["acoustic codes trail by 1 frame, 80 ms"]);
    /// assert_eq!(
    ///     Layout::preset("kyutai-tts-1.6b")?.describe(),
    ///     ["acoustic codes trail by 2 frames, 160 ms", "text leads audio by 1.28 s, 16 frames, in the data"]
    /// );
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn describe(&self) -> Vec<String> {
        let mut lines = self.describe_delays();
        let lag = self.text_lag().filter(|lag| *lag != Seconds::ZERO);
        lines.extend(lag.map(|lag| describe_lag(lag, self.frame_rate())));
        let silence = self.silence_prefix().filter(|length| *length != Seconds::ZERO);
        lines.extend(silence.map(|length| format!("{length} s of silence in front, in the data")));
        lines.extend(describe_rates(self.streams()));
        lines.extend(describe_brackets(self.streams()));
        lines
    }

    fn describe_delays(&self) -> Vec<String> {
        let least = self.streams().iter().map(|stream| stream.delay).min().unwrap_or(0);
        let mut lines = Vec::new();
        if least > 0 {
            lines.push(format!("every stream is delayed by {}", length(least, self.frame_rate())));
        }
        for voice in voices(self) {
            let delays: Vec<usize> = voice.streams.iter().map(|stream| stream.delay - least).collect();
            let runs = runs(&delays).into_iter().filter(|run| delays[run.start] > 0);
            lines.extend(runs.map(|run| voice.describe(run, &delays, self.frame_rate())));
        }
        match lines.is_empty() {
            true => vec!["no stream trails another".to_owned()],
            false => lines,
        }
    }
}

/// The text or the audio streams of one speaker, or of all audio speakers where they are alike.
struct Voice<'a> {
    /// By level and phase.
    streams: Vec<&'a Stream>,
    /// Empty where there is none to tell it from.
    of: String,
}

fn voices(layout: &Layout) -> Vec<Voice<'_>> {
    let rows = |speaker: &str, audio: bool| {
        let own = layout.streams().iter().filter(|stream| stream.speaker == speaker && stream.kind.is_audio() == audio);
        let mut streams: Vec<_> = own.collect();
        streams.sort_by_key(|stream| (stream.level, stream.phase));
        Voice { streams, of: format!(" of {speaker}") }
    };
    let text = layout.streams().iter().filter(|stream| stream.kind == Kind::Text);
    let text: Vec<_> = text.map(|stream| rows(&stream.speaker, false)).collect();
    let audio: Vec<_> = layout.audio_speakers().into_iter().map(|speaker| rows(speaker, true)).collect();
    [text, audio].into_iter().flat_map(merged).collect()
}

/// One voice without a name, if all are alike.
fn merged(mut voices: Vec<Voice<'_>>) -> Vec<Voice<'_>> {
    let rows =
        |voice: &Voice| -> Vec<_> { voice.streams.iter().map(|s| (s.kind, s.level, s.phase, s.delay)).collect() };
    if voices.windows(2).all(|pair| rows(&pair[0]) == rows(&pair[1])) {
        voices.truncate(1);
        voices.iter_mut().for_each(|voice| voice.of.clear());
    }
    voices
}

/// Cuts delays into runs of equal ones, and of three or more that grow by the same number of frames. What does not
/// trail stays apart.
fn runs(delays: &[usize]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut first = 0;
    while first < delays.len() {
        let rest = &delays[first..];
        let growth = |pair: &[usize]| pair[1].checked_sub(pair[0]);
        let step = rest.windows(2).next().and_then(growth);
        let same = rest.windows(2).take_while(|pair| step.is_some() && growth(pair) == step).count();
        let end = match step {
            Some(0) => first + same + 1,
            Some(_) if same >= 2 && rest[0] > 0 => first + same + 1,
            _ => first + 1,
        };
        runs.push(first..end);
        first = end;
    }
    runs
}

impl Voice<'_> {
    fn describe(&self, run: Range<usize>, delays: &[usize], rate: FrameRate) -> String {
        let (first, last) = (delays[run.start], delays[run.end - 1]);
        let who = self.who(run.clone(), first == last);
        let verb = if run.len() == 1 && !who.ends_with("codes") { "trails" } else { "trail" };
        let by = match first == last {
            true => length(first, rate),
            false => {
                let step = frames(delays[run.start + 1] - first);
                let (shortest, longest) = (duration(first, rate), duration(last, rate));
                format!("{first} to {last} frames, {shortest} to {longest}, {step} more at each")
            }
        };
        format!("{who}{} {verb} by {by}", self.of)
    }

    /// What the streams of a run are called: by kind if they are all of it, else by level.
    fn who(&self, run: Range<usize>, alike: bool) -> String {
        let streams = &self.streams[run];
        let kind = streams[0].kind;
        let all = |kind: Kind| self.streams.iter().filter(|stream| stream.kind == kind).count();
        let whole = streams.len() == self.streams.len();
        match (kind, alike) {
            (Kind::Text, _) => return "text".to_owned(),
            (_, true) if whole => return "audio codes".to_owned(),
            (Kind::Semantic, true) if streams.len() == 1 && all(kind) == 1 => return "semantic codes".to_owned(),
            (Kind::Acoustic, true) if streams.len() == all(kind) => return "acoustic codes".to_owned(),
            _ => {}
        }
        match streams {
            [one] => format!("level {}", level(one)),
            [first, .., last] => format!("levels {} to {}", level(first), level(last)),
            [] => String::new(),
        }
    }
}

fn level(stream: &Stream) -> String {
    let level = stream.level.map_or(String::new(), |level| level.to_string());
    stream.phase.map_or(level.clone(), |phase| format!("{level}.{phase}"))
}

fn describe_lag(lag: Seconds, rate: FrameRate) -> String {
    let leads = lag < Seconds::ZERO;
    let length = if leads { Seconds::ZERO - lag } else { lag };
    let frames = match (rate.floor(length), rate.ceil(length)) {
        (below, above) if below == above => frames(below as usize),
        (below, above) => format!("between {below} and {above} frames"),
    };
    format!("text {} audio by {length} s, {frames}, in the data", if leads { "leads" } else { "trails" })
}

/// Levels of which a frame holds several codes.
fn describe_rates(streams: &[Stream]) -> Option<String> {
    let mut phases: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (level, stream) in streams.iter().filter_map(|stream| Some((stream.level?, stream))) {
        phases.entry(level).or_default().insert(stream.phase.unwrap_or(0));
    }
    let fast: Vec<_> = phases.iter().filter(|(_, phases)| phases.len() > 1).collect();
    let ((level, phases), others) = fast.split_first()?;
    let others: String =
        others.iter().map(|(level, phases)| format!(", level {level} {} times", phases.len())).collect();
    let n = phases.len();
    Some(format!(
        "level {level} runs {n} times as fast{others}: --pattern multi-rate puts the codes in the order of time"
    ))
}

/// Ids that every stream has at its ends.
fn describe_brackets(streams: &[Stream]) -> Option<String> {
    let said = |verb: &str, id: fn(&Stream) -> Option<u32>| {
        let ids: Option<Vec<u32>> = streams.iter().map(id).collect();
        ids.map(|ids| match ids.iter().all(|id| *id == ids[0]) {
            true => format!("{verb} with {}", ids[0]),
            false => format!("{verb} with an id of its own"),
        })
    };
    let (words, option) = match (said("begin", |stream| stream.bos), said("end", |stream| stream.eos)) {
        (Some(begin), Some(end)) => (format!("{begin} and {end}"), "both"),
        (Some(begin), None) => (begin, "bos"),
        (None, Some(end)) => (end, "eos"),
        (None, None) => return None,
    };
    Some(format!("every stream may {words}: --bracket {option}"))
}

/// Frames and how long they last: `1 frame, 80 ms`.
fn length(count: usize, rate: FrameRate) -> String {
    format!("{}, {}", frames(count), duration(count, rate))
}

fn frames(count: usize) -> String {
    format!("{count} frame{}", if count == 1 { "" } else { "s" })
}

/// To a tenth of a millisecond.
fn duration(frames: usize, rate: FrameRate) -> String {
    let tenths = (rate.start_of(frames).to_f64() * 10_000.0).round();
    if tenths < 10_000.0 { format!("{} ms", tenths / 10.0) } else { format!("{} s", tenths / 10_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, delays: &[usize]) -> Vec<String> {
        let preset = Layout::preset(name).unwrap();
        let mut streams = preset.streams().to_vec();
        assert_eq!(streams.len(), delays.len());
        streams.iter_mut().zip(delays).for_each(|(stream, &delay)| stream.delay = delay);
        Layout::new(name, preset.frame_rate(), streams).unwrap().describe()
    }

    #[test]
    fn who_trails_is_named_by_kind_where_it_can_be() {
        assert_eq!(described("delay-1", &[0, 0, 0]), ["no stream trails another"]);
        assert_eq!(described("delay-1", &[0, 1, 1]), ["audio codes trail by 1 frame, 80 ms"]);
        assert_eq!(described("delay-1", &[0, 1, 0]), ["semantic codes trail by 1 frame, 80 ms"]);
        assert_eq!(
            described("delay-1", &[5, 3, 16]),
            [
                "every stream is delayed by 3 frames, 240 ms",
                "text trails by 2 frames, 160 ms",
                "acoustic codes trail by 13 frames, 1.04 s"
            ]
        );
    }

    #[test]
    fn speakers_are_named_where_they_differ() {
        let mut delays = [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 2];
        assert_eq!(
            described("moshi-7b", &delays),
            [
                "acoustic codes of main trail by 1 frame, 80 ms",
                "levels 1 to 6 of other trail by 1 frame, 80 ms",
                "level 7 of other trails by 2 frames, 160 ms"
            ]
        );
        delays[16] = 1;
        assert_eq!(described("moshi-7b", &delays), ["acoustic codes trail by 1 frame, 80 ms"]);
    }

    #[test]
    fn stairs_are_one_line() {
        assert_eq!(
            described("musicgen", &[0, 2, 4, 6]),
            ["levels 1 to 3 trail by 2 to 6 frames, 40 ms to 120 ms, 2 frames more at each"]
        );
        assert_eq!(
            described("musicgen", &[3, 2, 1, 0]),
            [
                "level 0 trails by 3 frames, 60 ms",
                "level 1 trails by 2 frames, 40 ms",
                "level 2 trails by 1 frame, 20 ms"
            ]
        );
        assert_eq!(
            described("orpheus", &[0, 0, 0, 1, 1, 2, 1]),
            [
                "levels 2.0 to 2.1 trail by 1 frame, 85.3 ms",
                "level 2.2 trails by 2 frames, 170.7 ms",
                "level 2.3 trails by 1 frame, 85.3 ms",
                "level 1 runs 2 times as fast, level 2 4 times: --pattern multi-rate puts the codes in the order of time"
            ]
        );
    }

    #[test]
    fn brackets_are_said_where_every_stream_has_them() {
        let described = |ids: [(Option<u32>, Option<u32>); 3]| {
            let preset = Layout::preset("delay-1").unwrap();
            let mut streams = preset.streams().to_vec();
            streams.iter_mut().zip(ids).for_each(|(stream, (bos, eos))| (stream.bos, stream.eos) = (bos, eos));
            Layout::new("any", preset.frame_rate(), streams).unwrap().describe().split_off(1)
        };
        let (one, two) = (Some(1), Some(2));
        assert_eq!(described([(one, two); 3]), ["every stream may begin with 1 and end with 2: --bracket both"]);
        assert_eq!(described([(one, two), (one, None), (one, two)]), ["every stream may begin with 1: --bracket bos"]);
        assert_eq!(
            described([(one, one), (one, two), (None, two)]),
            ["every stream may end with an id of its own: --bracket eos"]
        );
        assert!(described([(one, None), (None, two), (one, two)]).is_empty());
    }

    #[test]
    fn runs_cover_every_stream_once() {
        for delays in [&[][..], &[1], &[0, 1, 2, 3], &[1, 2], &[3, 1, 1, 2, 3, 4, 4, 0], &[0, 8, 9, 10]] {
            let covered: Vec<usize> = runs(delays).into_iter().flatten().collect();
            assert_eq!(covered, (0..delays.len()).collect::<Vec<_>>(), "{delays:?}");
        }
    }
}
