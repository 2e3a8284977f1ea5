//! What weights are divided by.
//!
//! ```text
//! class      weighed       none    modality            class
//! words      1 each         1      text                words
//! pads      .5 each         1      text                pads / .5       so that all of them weigh .5
//! audio    100 or 1         1      audio               audio
//! ```

use serde::{Deserialize, Serialize};

use super::{Normalize, Policy};
use crate::error::{Error, Result};
use crate::stream::Layout;

/// What positions have in common that weigh something together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Text that is no pad.
    Words,
    /// What the policy counts as a text pad, learned tails among them.
    Pads,
    /// Semantic and acoustic codes.
    Audio,
}

impl Class {
    /// The name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Class::Words => "words",
            Class::Pads => "pads",
            Class::Audio => "audio",
        }
    }
}

/// Sums of the raw weights. A sum of 0 means that there is nothing to learn: it adds 0 to the loss.
///
/// With the sums of several parts, each part's share can be weighed rightly: a mean over all is the parts' means by
/// their sums. `text` is `words` and `pads` together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Over text streams.
    pub text: f64,
    /// Over semantic and acoustic streams.
    pub audio: f64,
    /// Over text that is no pad.
    pub words: f64,
    /// Over text pads, by whatever they weigh.
    pub pads: f64,
}

impl Sums {
    /// Adds a raw weight.
    pub(super) fn count(&mut self, class: Class, weight: f64) {
        match class {
            Class::Words => self.words += weight,
            Class::Pads => self.pads += weight,
            Class::Audio => self.audio += weight,
        }
        if class != Class::Audio {
            self.text += weight;
        }
    }

    /// Checks that there is something to divide by.
    pub(crate) fn check(&self) -> Result<()> {
        match (self.text + self.audio).is_finite() {
            true => Ok(()),
            false => Err(Error::invalid("sum of the weights", self.text + self.audio, "a finite number")),
        }
    }

    /// Adds the sums of another part.
    pub fn add(&mut self, other: &Sums) {
        self.text += other.text;
        self.audio += other.audio;
        self.words += other.words;
        self.pads += other.pads;
    }
}

impl Policy {
    /// What the raw weights of a class are divided by; 1 where nothing is there to divide.
    pub(super) fn divisor(&self, class: Class, sums: &Sums) -> f64 {
        let sum = match (self.normalize, class) {
            (Normalize::None, _) => 1.0,
            (_, Class::Audio) => sums.audio,
            (Normalize::Modality, _) => sums.text,
            (Normalize::Class, Class::Words) => sums.words,
            (Normalize::Class, Class::Pads) => sums.pads / f64::from(self.text_pad),
        };
        if sum > 0.0 { sum } else { 1.0 }
    }

    /// The classes that are to be learned and have nothing to learn in a batch of such sums: they add 0 to its loss.
    ///
    /// # Examples
    /// ```
    /// use roundelay::weights::{Class, Sums};
    /// use roundelay::{Layout, Policy};
    /// let sums = Sums { text: 1.5, words: 0.0, pads: 1.5, audio: 300.0 };
    /// let layout = Layout::preset("delay-1")?;
    /// assert_eq!(Policy::named("jmoshi")?.nothing_to_learn(&layout, &sums), [Class::Words]);
    /// assert_eq!(Policy::named("moshi")?.nothing_to_learn(&layout, &sums), []);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn nothing_to_learn(&self, layout: &Layout, sums: &Sums) -> Vec<Class> {
        let learned = |audio| layout.streams().iter().any(|stream| stream.trained && stream.kind.is_audio() == audio);
        self.empty_classes([learned(false), learned(true)], sums)
    }

    /// Those of text, of audio or of both that are to be learned.
    pub(super) fn empty_classes(&self, [text, audio]: [bool; 2], sums: &Sums) -> Vec<Class> {
        let by_class = self.normalize == Normalize::Class;
        let [words, pads] = if by_class { [sums.words, sums.pads] } else { [sums.text; 2] };
        let classes = [
            (Class::Words, text && words == 0.0),
            (Class::Pads, text && pads == 0.0 && self.text_pad > 0.0),
            (Class::Audio, audio && sums.audio == 0.0),
        ];
        classes.into_iter().filter(|(_, empty)| *empty).map(|(class, _)| class).collect()
    }
}
