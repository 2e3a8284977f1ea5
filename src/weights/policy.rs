//! What a token weighs, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::region::check_factor;
use crate::error::{Error, Result};
use crate::stream::Layout;

/// Weights by what a token is.
///
/// A text token weighs 1. Streams that are not trained weigh nothing, whatever is said here.
///
/// # Examples
/// ```
/// use roundelay::{Normalize, Policy};
/// let policy = Policy { text_pad: 0.3, ..Policy::named("moshi")? };
/// assert_eq!((policy.semantic, policy.acoustic), (100.0, 1.0));
/// assert_eq!(policy.normalize, Normalize::Modality);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Weight of a text pad, beside a text token's in the same stream.
    pub text_pad: f32,
    /// Which ids count as a text pad.
    pub pad_ids: PadIds,
    /// Weight of a semantic code.
    pub semantic: f32,
    /// Weight of an acoustic code.
    pub acoustic: f32,
    /// Which streams weigh `semantic`.
    pub semantic_streams: SemanticStreams,
    /// Weights of single streams, by name: of a code, or of a text token instead of 1.
    pub streams: BTreeMap<String, f32>,
    /// Whether fills behind a stream's last code are learned where their id is below the stream's initial one, as Moshi's
    /// text pad is and its audio pad is not. Not behind an absent code: nobody has heard that stream end.
    pub learned_tails: bool,
    /// What the weights are divided by.
    pub normalize: Normalize,
    /// Which frames the depth transformer learns; all of them without.
    pub depth_frames: Option<DepthFrames>,
}

/// Which text ids count as a pad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadIds {
    /// Only PAD; EPAD weighs as a text token.
    Pad,
    /// PAD and EPAD.
    PadAndEndPad,
}

/// Which streams weigh as semantic ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SemanticStreams {
    /// Every semantic stream, of each speaker.
    All,
    /// The first audio stream that is trained, whatever its kind, and no other.
    FirstAudio,
}

/// What weights are divided by, over the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Nothing: raw weights.
    None,
    /// Text and audio each by their own sum, so that each adds a weighted mean to the loss.
    Modality,
    /// A mean over words, `text_pad` times a mean over pads, and a weighted mean over audio.
    Class,
}

/// Frames drawn at random, in which alone acoustic codes above the first level are learned.
///
/// One draw a frame serves all streams. It depends on the seed, on the example's own index and on the frame: not on the
/// batch that the example comes in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthFrames {
    /// Chance of each frame, 0 to 1.
    pub share: f64,
    /// Seed of the draws.
    pub seed: u64,
}

/// As [`Policy::named`]`("moshi")`.
impl Default for Policy {
    fn default() -> Self {
        Policy {
            text_pad: 0.5,
            pad_ids: PadIds::PadAndEndPad,
            semantic: 100.0,
            acoustic: 1.0,
            semantic_streams: SemanticStreams::All,
            streams: BTreeMap::new(),
            learned_tails: false,
            normalize: Normalize::Modality,
            depth_frames: None,
        }
    }
}

impl Policy {
    /// Names of the policies there are.
    pub const NAMES: &[&str] = &["moshi", "kyutai", "jmoshi"];

    /// A policy by name.
    ///
    /// - `moshi` halves PAD and EPAD, weighs semantic codes 100 and acoustic ones 1, each modality by its own sum.
    /// - `kyutai` gives the 100 to the first audio stream only.
    /// - `jmoshi` counts EPAD as a word, takes words, pads and audio each by its own sum, and learns the text's tail.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    /// # Source
    /// Moshi paper (arXiv 2410.00037): pads reduced by 50 %, 100 and 1 for the codebooks. moshi-finetune 2acc879,
    /// `finetune/loss.py`, as its example settings call it. nu-dialogue/moshi-finetune 3879d29, `utils/data.py`.
    pub fn named(name: &str) -> Result<Self> {
        let moshi = Policy::default();
        match name {
            "moshi" => Ok(moshi),
            "kyutai" => Ok(Policy { semantic_streams: SemanticStreams::FirstAudio, ..moshi }),
            "jmoshi" => Ok(Policy { pad_ids: PadIds::Pad, normalize: Normalize::Class, learned_tails: true, ..moshi }),
            _ => Err(Error::invalid("policy", format!("\"{name}\""), format!("one of {}", Self::NAMES.join(", ")))),
        }
    }

    /// Reads the JSON form. What it leaves out is as in `moshi`.
    ///
    /// # Errors
    /// `Malformed` with the line, for a field that there is not as well; `Invalid` as [`Policy::validate`].
    /// # Examples
    /// ```
    /// use roundelay::{Policy, weights::PadIds};
    /// let policy = Policy::from_json(r#"{"pad_ids": "pad", "streams": {"main.3": 2.0}}"#)?;
    /// assert_eq!((policy.pad_ids, policy.text_pad), (PadIds::Pad, 0.5));
    /// assert_eq!(Policy::from_json(&policy.to_json())?, policy);
    /// assert!(Policy::from_json("{\n\"pads\": 1}").unwrap_err().to_string().starts_with("line 2: "));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Self> {
        // A derived reader takes a list as well, by place.
        if text.trim_start().starts_with('[') {
            return Err(Error::malformed("policy", "a list, expected an object, as {\"text_pad\": 0.5}").on_line(1));
        }
        let policy: Policy =
            serde_json::from_str(text).map_err(|e| Error::malformed("policy", &e).on_line(e.line().max(1)))?;
        policy.validate().map(|()| policy)
    }

    /// The JSON form, with every field.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a policy has string keys") + "\n"
    }

    /// Checks that every weight is finite and not negative, and that a share is one.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn validate(&self) -> Result<()> {
        check_factor("text_pad", self.text_pad)?;
        check_factor("semantic", self.semantic)?;
        check_factor("acoustic", self.acoustic)?;
        self.streams.iter().try_for_each(|(name, &weight)| check_factor(&format!("streams.{name}"), weight))?;
        match self.depth_frames {
            Some(DepthFrames { share, .. }) if !(0.0..=1.0).contains(&share) => {
                Err(Error::invalid("depth_frames.share", share, "0 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// [`Policy::validate`], and that every stream that is named is one of the layout's.
    ///
    /// # Errors
    /// `Invalid`, with the names there are.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.validate()?;
        let names = || layout.streams().iter().map(|stream| stream.name.as_str());
        match self.streams.keys().find(|name| !names().any(|known| known == *name)) {
            None => Ok(()),
            Some(unknown) => {
                let expected = format!("a stream of the layout: {}", names().collect::<Vec<_>>().join(", "));
                Err(Error::invalid("streams", format!("\"{unknown}\""), expected))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        Policy::from_json(json).unwrap_err().to_string()
    }

    #[test]
    fn weights_that_are_no_factors_are_refused_by_name() {
        let moshi = Policy::default();
        let error = Policy { semantic: f32::NAN, ..moshi.clone() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "semantic is NaN, expected a finite number, not negative");
        assert_eq!(refusal(r#"{"text_pad": -0.5}"#), "text_pad is -0.5, expected a finite number, not negative");
        let infinite = Policy { acoustic: f32::INFINITY, ..moshi.clone() }.validate().unwrap_err();
        assert!(infinite.to_string().starts_with("acoustic is inf"));
        assert!(Policy::from_json(r#"{"acoustic": 1e39}"#).is_err());
        assert!(refusal(r#"{"streams": {"main.1": -1}}"#).starts_with("streams.main.1 is -1"));
        let depth = |share| Policy { depth_frames: Some(DepthFrames { share, seed: 0 }), ..moshi.clone() };
        assert_eq!(depth(1.5).validate().unwrap_err().to_string(), "depth_frames.share is 1.5, expected 0 to 1");
        assert!(depth(f64::NAN).validate().is_err() && depth(0.0).validate().is_ok() && depth(1.0).validate().is_ok());
        assert!(Policy::named("mosh").unwrap_err().to_string().contains("one of moshi, kyutai, jmoshi"));
    }

    #[test]
    fn unknown_fields_and_streams_are_refused() {
        let misspelt = Policy::from_json("{\n  \"text_pad\": 0.5,\n  \"normalise\": \"class\"\n}").unwrap_err();
        assert_eq!(misspelt.position().line, Some(3));
        assert!(misspelt.to_string().contains("normalise"), "{misspelt}");
        for wrong in ["", "[0.5]", "null", "{\"normalize\": \"batch\"}", "{\"depth_frames\": {\"share\": 1}}", "{} x"] {
            assert!(matches!(Policy::from_json(wrong).unwrap_err().position().line, Some(1)), "{wrong}");
        }
        let layout = Layout::preset("delay-1").unwrap();
        let error = Policy::from_json(r#"{"streams": {"main.9": 2}}"#).unwrap().check(&layout).unwrap_err();
        assert_eq!(error.to_string(), "streams is \"main.9\", expected a stream of the layout: text, main.0, main.1");
        assert!(Policy::from_json(r#"{"streams": {"main.1": 2}}"#).unwrap().check(&layout).is_ok());
    }

    #[test]
    fn named_policies_print_and_read_back() {
        for name in Policy::NAMES {
            let policy = Policy::named(name).unwrap();
            assert_eq!(Policy::from_json(&policy.to_json()).unwrap(), policy);
        }
        assert_eq!(Policy::from_json("{}").unwrap(), Policy::named("moshi").unwrap());
        let all = r#"{"streams": {"text": 0.3}, "depth_frames": {"share": 0.0625, "seed": 18446744073709551615}}"#;
        let policy = Policy::from_json(all).unwrap();
        assert_eq!(Policy::from_json(&policy.to_json()).unwrap(), policy);
    }
}
