//! Layouts of published models, compiled in as the files they are.

use crate::error::{Error, Result};
use crate::stream::Layout;

/// Name and JSON of each, in the order they are listed.
const PRESETS: &[(&str, &str)] = &[
    ("moshi-7b", include_str!("presets/moshi-7b.json")),
    ("j-moshi", include_str!("presets/j-moshi.json")),
    ("delay-1", include_str!("presets/delay-1.json")),
];

impl Layout {
    /// Names of the layouts that come with the crate.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// A layout that comes with the crate.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    pub fn preset(name: &str) -> Result<Self> {
        let (_, json) = PRESETS.iter().find(|(preset, _)| *preset == name).ok_or_else(|| {
            let names: Vec<_> = Self::presets().collect();
            Error::invalid("layout", format!("\"{name}\""), format!("one of {}", names.join(", ")))
        })?;
        Self::from_json(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_named_as_listed_and_print_as_stored() {
        for (name, json) in PRESETS {
            let layout = Layout::preset(name).unwrap();
            assert_eq!(layout.name(), *name);
            assert!(layout.source().is_some(), "{name} has no source");
            assert_eq!(layout.to_json(), *json);
        }
    }

    #[test]
    fn moshi_7b_has_the_published_delays() {
        let layout = Layout::preset("moshi-7b").unwrap();
        let delays: Vec<_> = layout.streams().iter().map(|s| s.delay).collect();
        assert_eq!(delays, [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(layout.streams().iter().filter(|s| s.trained).count(), 9);
    }
}
