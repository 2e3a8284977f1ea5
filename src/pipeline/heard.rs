//! Two voices in one channel: in which frames each speaker is heard.
//!
//! ```text
//! channel         s0 s1 s2 s3 s4 s5 s6          segments: A [0.1, 0.25), B [0.24, 0.4)
//! A is heard       .  x  x  x  .  .  .          frames that a segment touches
//! B is heard       .  .  .  x  x  .  .          both where they overlap
//! ```

use std::ops::Range;

use crate::error::Result;
use crate::pipeline::{Speakers, silence_frames, speakers::main_speaker};
use crate::stream::Layout;
use crate::tally::{Event, EventKind};
use crate::text::SpeakerSegment;
use crate::units::Seconds;

/// What a stream holds where its speaker is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unheard {
    /// Codes of silence: the channel is encoded once for each speaker, silent where the others speak.
    Silence,
    /// No codes: the channel is encoded once, and absent where the speaker does not speak.
    Absent,
}

/// Frames in which each speaker of a layout is heard, for a recording of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard(Vec<Vec<bool>>);

impl Heard {
    /// From segments to frames. Frames that a segment touches are heard; the layout's silence in front is not.
    ///
    /// Frames in which a speaker is not heard are counted, with the speaker's label, and so are segments of speakers
    /// that the layout has no streams for, and frames of segments before the sound and past its end.
    ///
    /// # Errors
    /// `Invalid` if there are segments and none is the main speaker's; else as [`Speakers::labels`].
    pub fn new(
        layout: &Layout,
        segments: &[SpeakerSegment],
        speakers: &Speakers,
        frames: usize,
    ) -> Result<(Heard, Vec<Event>)> {
        let found: Vec<_> = segments.iter().map(|segment| segment.speaker.as_str()).collect();
        speakers.check_main_is_in(&found)?;
        let wanted = layout.audio_speakers();
        let labels = speakers.labels(main_speaker(layout).unwrap_or_default(), &wanted, &found)?;
        let mut heard = vec![vec![false; frames]; labels.len()];
        let mut events = Vec::new();
        let (silence, end) = (silence_frames(layout).min(frames), frames);
        for segment in segments {
            let span = touched(layout, segment);
            let mut tell = |kind, amount: usize| {
                events.push(Event::new(kind, amount as u64).about(&segment.speaker, segment.start));
            };
            match labels.iter().position(|label| *label == Some(&segment.speaker)) {
                None => tell(EventKind::OtherSpeaker, count(&span)),
                Some(speaker) => {
                    let within = |frame: i64| usize::try_from(frame).unwrap_or(0).clamp(silence, end);
                    let inside = within(span.start)..within(span.end);
                    let outside = count(&span) - inside.len();
                    heard[speaker][inside].fill(true);
                    if outside > 0 {
                        tell(EventKind::Duration, outside);
                    }
                }
            }
        }
        let names = wanted.iter().zip(labels).map(|(speaker, label)| label.unwrap_or(speaker));
        events.extend(names.zip(&heard).filter_map(|(name, heard)| unheard(name, heard)));
        Ok((Heard(heard), events))
    }

    /// The channel as each speaker's: silent where that speaker is not heard.
    pub fn silenced(&self, samples: &[f32], samples_per_frame: usize) -> Vec<Vec<f32>> {
        let alone = |heard: &Vec<bool>| {
            let mut samples = samples.to_vec();
            for (frame, _) in samples.chunks_mut(samples_per_frame).zip(heard).filter(|(_, heard)| !**heard) {
                frame.fill(0.0);
            }
            samples
        };
        self.0.iter().map(alone).collect()
    }

    /// Whether the layout's speaker of this number is heard in a frame.
    pub(super) fn is_heard(&self, speaker: usize, frame: usize) -> bool {
        self.0[speaker].get(frame).copied().unwrap_or(false)
    }
}

/// Tells in how many frames a speaker is not heard, if in any.
fn unheard(speaker: &str, heard: &[bool]) -> Option<Event> {
    let frames = heard.iter().filter(|&&heard| !heard).count() as u64;
    (frames > 0).then(|| Event::new(EventKind::Unheard, frames).about(speaker, Seconds::ZERO))
}

/// Frames that a segment lies in, behind the silence in front; those before the sound are below that.
fn touched(layout: &Layout, segment: &SpeakerSegment) -> Range<i64> {
    let rate = layout.frame_rate();
    let silence = rate.start_of(silence_frames(layout));
    rate.floor(segment.start + silence)..rate.ceil(segment.end + silence)
}

fn count(frames: &Range<i64>) -> usize {
    usize::try_from(frames.end.saturating_sub(frames.start)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(speaker: &str, start: &str, end: &str) -> SpeakerSegment {
        SpeakerSegment { start: start.parse().unwrap(), end: end.parse().unwrap(), speaker: speaker.into() }
    }

    fn heard(segments: &[SpeakerSegment], frames: usize) -> (Vec<String>, Vec<(EventKind, u64)>) {
        let layout = Layout::preset("moshi-7b").unwrap();
        let (heard, events) = Heard::new(&layout, segments, &Speakers::new("A").with("other", "B"), frames).unwrap();
        let mark = |heard: &Vec<bool>| heard.iter().map(|heard| if *heard { 'x' } else { '.' }).collect();
        (heard.0.iter().map(mark).collect(), events.iter().map(|event| (event.event, event.amount)).collect())
    }

    #[test]
    fn the_picture_holds() {
        let (frames, events) = heard(&[segment("A", "0.1", "0.25"), segment("B", "0.24", "0.4")], 7);
        assert_eq!(frames, [".xxx...", "...xx.."]);
        assert_eq!(events, [(EventKind::Unheard, 4), (EventKind::Unheard, 5)]);
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let (frames, events) = heard(&[segment("C", "0", "0.2"), segment("A", "-1", "9"), segment("B", "2", "3")], 4);
        assert_eq!(frames, ["xxxx", "...."]);
        let past = [(EventKind::Duration, 122), (EventKind::Duration, 13), (EventKind::Unheard, 4)];
        assert_eq!(events, [[(EventKind::OtherSpeaker, 3)].as_slice(), &past].concat());
        let (_, events) = heard(&[segment("A", "-1", "-0.5")], 4);
        assert_eq!(events, [(EventKind::Duration, 7), (EventKind::Unheard, 4), (EventKind::Unheard, 4)]);
    }

    #[test]
    fn nobody_is_the_main_speaker_by_what_is_left() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let refusal = |segments: &[SpeakerSegment]| {
            Heard::new(&layout, segments, &Speakers::default(), 4).unwrap_err().to_string()
        };
        let found = [segment("SPEAKER_01", "0", "1"), segment("SPEAKER_00", "0", "1")];
        let expected = "label of the main speaker is \"SPEAKER_MAIN\", expected one of \"SPEAKER_00\", \"SPEAKER_01\"";
        assert_eq!(refusal(&found), expected);
        assert!(refusal(&[segment("SPEAKER_OTHER", "0", "1")]).ends_with("expected one of \"SPEAKER_OTHER\""));
    }

    #[test]
    fn frames_that_are_not_heard_are_told_with_their_speaker() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let segments = [segment("SPEAKER_MAIN", "0", "0.1")];
        let (_, events) = Heard::new(&layout, &segments, &Speakers::default(), 3).unwrap();
        let told: Vec<_> = events.iter().map(|e| (e.word.as_deref().unwrap(), e.time.unwrap(), e.amount)).collect();
        assert_eq!(told, [("SPEAKER_MAIN", Seconds::ZERO, 1), ("other", Seconds::ZERO, 3)]);
    }

    #[test]
    fn a_silenced_channel_is_the_channel_in_frames_that_are_heard() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let segments = [segment("SPEAKER_MAIN", "0", "0.1")];
        let (heard, _) = Heard::new(&layout, &segments, &Speakers::default(), 3).unwrap();
        assert_eq!(heard.silenced(&[1.0; 5], 2), [[1.0, 1.0, 1.0, 1.0, 0.0], [0.0; 5]]);
    }
}
