//! Joint vocabularies of published models, compiled in as the files they are.

use super::Joint;
use crate::error::{Error, Result};

/// Name and JSON of each, in the order they are listed.
const PRESETS: &[(&str, &str)] =
    &[("orpheus", include_str!("presets/orpheus.json")), ("bark", include_str!("presets/bark.json"))];

impl Joint {
    /// Names of the joint vocabularies that come with the crate.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// A joint vocabulary that comes with the crate; its parts of codes have the names of the layout's streams.
    ///
    /// - `orpheus`: text, the ids of its chat and of speech, then a part for each of SNAC's seven slots in a frame.
    ///   Second-hand, many programs agree.
    /// - `bark`: that of the coarse model: semantic ids, two codebooks, pad and begin of the coarse codes. transformers
    ///   5.23.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    pub fn preset(name: &str) -> Result<Self> {
        let (_, json) = PRESETS.iter().find(|(preset, _)| *preset == name).ok_or_else(|| {
            let names: Vec<_> = Self::presets().collect();
            Error::invalid("joint vocabulary", format!("\"{name}\""), format!("one of {}", names.join(", ")))
        })?;
        Self::from_json(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Layout;

    #[test]
    fn presets_are_valid_print_as_stored_and_have_a_part_for_each_stream() {
        for (name, json) in PRESETS {
            let joint = Joint::preset(name).unwrap();
            assert_eq!(joint.to_json(), *json, "{name}");
            for stream in Layout::preset(name).unwrap().streams() {
                assert_eq!(joint.part(&stream.name).unwrap().size(), stream.cardinality as usize);
            }
        }
        let error = Joint::preset("bork").unwrap_err().to_string();
        assert_eq!(error, "joint vocabulary is \"bork\", expected one of orpheus, bark");
    }

    #[test]
    fn orpheus_slots_come_in_the_order_of_time() {
        let joint = Joint::preset("orpheus").unwrap();
        let slots = ["main.0", "main.1.0", "main.2.0", "main.2.1", "main.1.1", "main.2.2", "main.2.3"];
        for (slot, name) in slots.into_iter().enumerate() {
            assert_eq!(joint.part(name).unwrap().first(), Some(128_266 + 4096 * slot));
        }
    }
}
