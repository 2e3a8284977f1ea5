//! What a token weighs, as data.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Weights by what a token is.
///
/// # Examples
/// ```
/// use roundelay::{Normalize, Policy};
/// let policy = Policy { text_pad: 0.3, ..Policy::named("moshi")? };
/// assert_eq!((policy.semantic, policy.acoustic), (100.0, 1.0));
/// assert_eq!(policy.normalize, Normalize::Modality);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Weight of a text pad; a text token weighs 1.
    pub text_pad: f32,
    /// Which ids count as a text pad.
    pub pad_ids: PadIds,
    /// Weight of a semantic code.
    pub semantic: f32,
    /// Weight of an acoustic code.
    pub acoustic: f32,
    /// What the weights are divided by.
    pub normalize: Normalize,
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

/// What weights are divided by, over the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Nothing: raw weights.
    None,
    /// Text and audio each by their own sum, so that each adds a weighted mean to the loss.
    Modality,
}

impl Policy {
    /// Names of the policies there are.
    pub const NAMES: &[&str] = &["moshi"];

    /// A policy by name: `moshi` halves PAD and EPAD, weighs semantic codes 100 and acoustic ones 1, each modality by
    /// its own sum.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    /// # Source
    /// Moshi paper (arXiv 2410.00037): pads reduced by 50 %, 100 and 1 for the codebooks.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "moshi" => Ok(Policy {
                text_pad: 0.5,
                pad_ids: PadIds::PadAndEndPad,
                semantic: 100.0,
                acoustic: 1.0,
                normalize: Normalize::Modality,
            }),
            _ => Err(Error::invalid("policy", format!("\"{name}\""), format!("one of {}", Self::NAMES.join(", ")))),
        }
    }

    /// Checks that every weight is finite and not negative.
    ///
    /// # Errors
    /// `Invalid`, naming the weight.
    pub fn validate(&self) -> Result<()> {
        let weights = [
            ("text pad weight", self.text_pad),
            ("semantic weight", self.semantic),
            ("acoustic weight", self.acoustic),
        ];
        match weights.into_iter().find(|(_, weight)| !weight.is_finite() || *weight < 0.0) {
            Some((what, weight)) => Err(Error::invalid(what, weight, "a finite number, not negative")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_are_no_factors_are_refused() {
        let moshi = Policy::named("moshi").unwrap();
        assert!(moshi.validate().is_ok());
        let error = Policy { semantic: f32::NAN, ..moshi }.validate().unwrap_err();
        assert_eq!(error.to_string(), "semantic weight is NaN, expected a finite number, not negative");
        assert!(Policy { text_pad: -0.5, ..moshi }.validate().is_err());
        assert!(Policy::named("mosh").unwrap_err().to_string().contains("one of moshi"));
    }
}
