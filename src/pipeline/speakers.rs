//! Who is who: the layout's speakers, and the labels that words and speaker segments have for them.
//!
//! ```text
//! layout   main            other                words   SPEAKER_MAIN  B
//!          SPEAKER_MAIN    the only other one: B
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stream::{Kind, Layout};

/// Labels of a layout's speakers.
///
/// The main speaker is that of the layout's first text stream, or of its first audio stream if it has no text.
///
/// # Examples
/// ```
/// use roundelay::pipeline::Speakers;
/// let speakers = Speakers::new("agent");
/// assert_eq!(speakers.labels("main", &["main", "other"], &["caller", "agent"])?, [Some("agent"), Some("caller")]);
/// assert!(speakers.labels("main", &["main", "other"], &["caller", "agent", "bystander"]).is_err());
/// let speakers = speakers.with("other", "caller");
/// assert!(speakers.labels("main", &["main", "other"], &["caller", "agent", "bystander"]).is_ok());
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speakers {
    main: String,
    others: BTreeMap<String, String>,
}

impl Default for Speakers {
    /// `SPEAKER_MAIN`, as moshi-finetune's annotator has it.
    fn default() -> Self {
        Speakers::new("SPEAKER_MAIN")
    }
}

impl Speakers {
    /// The main speaker's label.
    pub fn new(main: impl Into<String>) -> Self {
        Speakers { main: main.into(), others: BTreeMap::new() }
    }

    /// The label of another speaker of the layout.
    #[must_use]
    pub fn with(mut self, speaker: impl Into<String>, label: impl Into<String>) -> Self {
        self.others.insert(speaker.into(), label.into());
        self
    }

    /// The main speaker's label.
    pub fn main(&self) -> &str {
        &self.main
    }

    /// The labels that were given to other speakers of the layout.
    pub fn others(&self) -> &BTreeMap<String, String> {
        &self.others
    }

    /// Checks that the layout has the speakers that were given labels, and that no two share one.
    ///
    /// # Errors
    /// `Invalid`, naming the speaker.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let main = main_speaker(layout);
        let mut labels = vec![&self.main];
        for (speaker, label) in &self.others {
            let known = layout.streams().iter().any(|stream| stream.speaker == *speaker);
            if !known || Some(speaker.as_str()) == main {
                let mut others: Vec<_> = layout.streams().iter().map(|s| s.speaker.as_str()).collect();
                others.retain(|speaker| Some(*speaker) != main);
                others.sort_unstable();
                others.dedup();
                let expected = format!("one of the layout's other speakers: {}", list(&others));
                return Err(Error::invalid("speaker with a label", format!("{speaker:?}"), expected));
            }
            if labels.contains(&label) {
                let expected = "a label that no other speaker has";
                return Err(Error::invalid(format!("label of the speaker {speaker}"), format!("{label:?}"), expected));
            }
            labels.push(label);
        }
        Ok(())
    }

    /// The label of each wanted speaker of a layout, whose main one is `main`, in a recording where labels `found`
    /// occur. A single other speaker without a label takes the single other label; without any it has none. Where the
    /// main speaker's label does not occur, `SPEAKER_OTHER` alone is taken so: any other might be the main speaker's.
    ///
    /// # Errors
    /// `Invalid` if there are several and nobody says who is who, or if one is left and the main speaker is not found.
    pub fn labels<'a>(&'a self, main: &str, wanted: &[&str], found: &[&'a str]) -> Result<Vec<Option<&'a str>>> {
        let given = |speaker: &str| match speaker == main {
            true => Some(self.main.as_str()),
            false => self.others.get(speaker).map(String::as_str),
        };
        let open: Vec<_> = wanted.iter().filter(|speaker| given(speaker).is_none()).collect();
        let taken = |label: &str| label == self.main || self.others.values().any(|other| other == label);
        let mut free: Vec<_> = found.iter().copied().filter(|label| !taken(label)).collect();
        free.sort_unstable();
        free.dedup();
        if !open.is_empty() && !free.is_empty() && (open.len(), free.len()) != (1, 1) {
            let open: Vec<_> = open.into_iter().copied().collect();
            let expected = format!("a choice which of them is the layout's {}", open.join(", which its "));
            let what = format!("labels of the speakers besides {:?}", self.main);
            return Err(Error::invalid(what, list(&free), expected));
        }
        if !open.is_empty() && !free.is_empty() && free != [OTHER] {
            self.check_main_is_in(found)?;
        }
        Ok(wanted.iter().map(|speaker| given(speaker).or(free.first().copied())).collect())
    }

    /// Checks that the main speaker's label is among those of a recording, if it has any.
    pub(super) fn check_main_is_in(&self, found: &[&str]) -> Result<()> {
        if found.is_empty() || found.contains(&self.main.as_str()) {
            return Ok(());
        }
        let mut labels = found.to_vec();
        labels.sort_unstable();
        labels.dedup();
        let expected = format!("one of {}", list(&labels));
        Err(Error::invalid("label of the main speaker", format!("{:?}", self.main), expected))
    }
}

/// The other speaker of moshi-finetune's files, who may speak alone.
const OTHER: &str = "SPEAKER_OTHER";

/// The speaker of a layout's first text stream, or of its first stream.
pub(super) fn main_speaker(layout: &Layout) -> Option<&str> {
    let text = layout.streams().iter().find(|stream| stream.kind == Kind::Text);
    text.or(layout.streams().first()).map(|stream| stream.speaker.as_str())
}

fn list(labels: &[&str]) -> String {
    match labels {
        [] => "none".to_owned(),
        _ => labels.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_cannot_be_told_are_listed() {
        let speakers = Speakers::default();
        let error = speakers.labels("main", &["main", "other"], &["B", "A", "SPEAKER_MAIN", "B"]).unwrap_err();
        let expected = "labels of the speakers besides \"SPEAKER_MAIN\" is \"A\", \"B\", expected a choice which of them \
                        is the layout's other";
        assert_eq!(error.to_string(), expected);
        assert_eq!(speakers.labels("main", &["main"], &["B", "A"]).unwrap(), [Some("SPEAKER_MAIN")]);
        assert_eq!(speakers.labels("main", &["a", "main"], &[]).unwrap(), [None, Some("SPEAKER_MAIN")]);
        assert!(speakers.labels("main", &["a", "b"], &["B"]).unwrap_err().to_string().contains("a, which its b"));
    }

    #[test]
    fn what_is_left_is_the_other_speaker_only_beside_the_main_one() {
        let speakers = Speakers::new("Tom");
        let error = speakers.labels("main", &["main", "other"], &["SPEAKER_MAIN"; 2]).unwrap_err().to_string();
        assert_eq!(error, "label of the main speaker is \"Tom\", expected one of \"SPEAKER_MAIN\"");
        let labels = |found| speakers.labels("main", &["main", "other"], found).unwrap();
        assert_eq!(labels(&["SPEAKER_MAIN", "Tom"]), [Some("Tom"), Some("SPEAKER_MAIN")]);
        assert_eq!(labels(&["SPEAKER_OTHER"]), [Some("Tom"), Some("SPEAKER_OTHER")]);
        assert_eq!(speakers.labels("main", &["main"], &["B"]).unwrap(), [Some("Tom")]);
    }

    #[test]
    fn labels_are_for_the_layouts_other_speakers_and_unlike() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let error = |speaker: &str, label: &str| {
            Speakers::default().with(speaker, label).check(&layout).unwrap_err().to_string()
        };
        let expected = "speaker with a label is \"user\", expected one of the layout's other speakers: \"other\"";
        assert_eq!(error("user", "B"), expected);
        assert!(error("main", "B").starts_with("speaker with a label is \"main\""));
        assert!(error("other", "SPEAKER_MAIN").contains("a label that no other speaker has"));
        assert!(Speakers::default().with("other", "B").check(&layout).is_ok());
    }
}
