//! What was kept, moved, cut or dropped.
//!
//! Nothing is lost in silence: whatever does not fit is an [`Event`], and a [`Tally`] is the events of one recording,
//! of one run, or of many runs merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// Tokens at or past the end of the row were not written; `amount` is how many.
    Cut,
    /// A word is written `amount` frames later than it was said: the word before was not finished, or frame 0 was left
    /// to the end of pad.
    Late,
    /// A word has no tokens.
    Empty,
    /// A word's end is not after its start; it was kept.
    NoDuration,
    /// A word of a speaker whose text this layout does not hold; it was kept beside the row. Or a speaker segment of one
    /// for whom the layout has no streams; `amount` is then its frames, `word` its label.
    OtherSpeaker,
    /// A word that begins in a window ends past it.
    CrossesWindow,
    /// Codes or audio differ in length from what the manifest says, or a speaker segment lies partly outside of the sound;
    /// `amount` is by how many frames.
    Duration,
    /// Audio channels beyond the layout's speakers were left out; `amount` is how many.
    Channels,
    /// Codebooks that the layout does not read were left out; `amount` is how many.
    Codebooks,
    /// A window's hop leaves frames that no segment holds; `amount` is how many.
    Skipped,
    /// A word starts in frames that no segment holds.
    OutsideWindow,
    /// Tokens of words have an id that means silence in the text row; `amount` is how many.
    Collision,
    /// A channel that is there has frames without codes; `amount` is how many.
    Absent,
    /// Tokens of a word were not written because the next word began; `amount` is how many.
    Replaced,
    /// Tokens of a word were written and then overwritten: they have the pad's id and looked like silence, or stood
    /// where a negative delay leaves the row absent; `amount` is how many.
    Overwritten,
    /// A word was left out, as its rule or the choice at a window's border wants it; `amount` is its tokens.
    Dropped,
    /// A word that a window's border cuts goes on in the next window; `amount` is how many tokens.
    Split,
    /// Frames in which a speaker of a recording with one channel is not heard; `amount` is how many.
    Unheard,
    /// Tokens of words are the unknown id: no text comes back from them; `amount` is how many.
    Unknown,
    /// A recording has words, and none for its rows of text: their speakers are others. Where somebody speaks in a row's
    /// sound, it then says silence; `amount` is how many words.
    Wordless,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [EventKind; 20] = [
        EventKind::Cut,
        EventKind::Late,
        EventKind::Empty,
        EventKind::NoDuration,
        EventKind::OtherSpeaker,
        EventKind::CrossesWindow,
        EventKind::Duration,
        EventKind::Channels,
        EventKind::Codebooks,
        EventKind::Skipped,
        EventKind::OutsideWindow,
        EventKind::Collision,
        EventKind::Absent,
        EventKind::Replaced,
        EventKind::Overwritten,
        EventKind::Dropped,
        EventKind::Split,
        EventKind::Unheard,
        EventKind::Unknown,
        EventKind::Wordless,
    ];

    /// The name written to ledgers.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Cut => "cut",
            EventKind::Late => "late",
            EventKind::Empty => "empty",
            EventKind::NoDuration => "no_duration",
            EventKind::OtherSpeaker => "other_speaker",
            EventKind::CrossesWindow => "crosses_window",
            EventKind::Duration => "duration",
            EventKind::Channels => "channels",
            EventKind::Codebooks => "codebooks",
            EventKind::Skipped => "skipped",
            EventKind::OutsideWindow => "outside_window",
            EventKind::Collision => "collision",
            EventKind::Absent => "absent",
            EventKind::Replaced => "replaced",
            EventKind::Overwritten => "overwritten",
            EventKind::Dropped => "dropped",
            EventKind::Split => "split",
            EventKind::Unheard => "unheard",
            EventKind::Unknown => "unknown",
            EventKind::Wordless => "wordless",
        }
    }
}

/// One thing that did not go straight through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub event: EventKind,
    /// Recording or segment; empty until the pipeline names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recording: String,
    /// When in the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Seconds>,
    /// The word concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// How many tokens or frames; the kind says which.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub amount: u64,
}

fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

impl Event {
    /// An event with nothing but its kind and amount.
    pub fn new(event: EventKind, amount: u64) -> Self {
        Event { event, recording: String::new(), time: None, word: None, amount }
    }

    /// The same event, about a word.
    #[must_use]
    pub fn about(mut self, word: &str, time: Seconds) -> Self {
        self.word = Some(word.to_owned());
        self.time = Some(time);
        self
    }
}

/// Counts of events by kind: how often, and the sum of their amounts.
///
/// Reading passes over kinds that only a later version knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Count>")]
pub struct Tally(BTreeMap<EventKind, Count>);

/// How often an event happened, and the sum of its amounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Number of events.
    pub events: u64,
    /// Tokens or frames concerned.
    pub amount: u64,
}

impl Tally {
    /// Counts one event.
    pub fn add(&mut self, event: &Event) {
        let count = self.0.entry(event.event).or_default();
        count.events += 1;
        count.amount += event.amount;
    }

    /// Adds another tally: merging in any order gives the same sums.
    pub fn merge(&mut self, other: &Tally) {
        for (&kind, other) in &other.0 {
            let count = self.0.entry(kind).or_default();
            count.events += other.events;
            count.amount += other.amount;
        }
    }

    /// The counts of one kind.
    pub fn get(&self, kind: EventKind) -> Count {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Kinds that happened, with their counts, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (EventKind, Count)> + '_ {
        self.0.iter().map(|(&kind, &count)| (kind, count))
    }

    /// True if nothing happened.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<BTreeMap<String, Count>> for Tally {
    fn from(counts: BTreeMap<String, Count>) -> Self {
        let known = |name: &str| EventKind::ALL.into_iter().find(|kind| kind.name() == name);
        Tally(counts.into_iter().filter_map(|(name, count)| Some((known(&name)?, count))).collect())
    }
}

impl<'a> FromIterator<&'a Event> for Tally {
    fn from_iter<I: IntoIterator<Item = &'a Event>>(events: I) -> Self {
        let mut tally = Tally::default();
        events.into_iter().for_each(|event| tally.add(event));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_equals_counting_all() {
        let events = [Event::new(EventKind::Cut, 2), Event::new(EventKind::Late, 1), Event::new(EventKind::Cut, 3)];
        let whole: Tally = events.iter().collect();
        let mut merged: Tally = events[1..].iter().collect();
        merged.merge(&events[..1].iter().collect());
        assert_eq!(merged, whole);
        assert_eq!(whole.get(EventKind::Cut), Count { events: 2, amount: 5 });
    }

    #[test]
    fn names_are_those_that_serde_writes() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
        }
    }

    #[test]
    fn a_tally_is_read_back_without_the_kinds_of_later_versions() {
        let tally: Tally = [Event::new(EventKind::Cut, 2)].iter().collect();
        let text = serde_json::to_string(&tally).unwrap();
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
        let later = text.replacen('{', "{\"merged\": {\"events\": 1, \"amount\": 0},", 1);
        assert_eq!(serde_json::from_str::<Tally>(&later).unwrap(), tally);
    }
}
