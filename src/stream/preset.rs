//! Layouts of published models, compiled in as the files they are.

use crate::error::{Error, Result};
use crate::stream::Layout;

/// Name and JSON of each, in the order they are listed.
const PRESETS: &[(&str, &str)] = &[
    ("moshi-7b", include_str!("presets/moshi-7b.json")),
    ("moshi-7b-pretrain", include_str!("presets/moshi-7b-pretrain.json")),
    ("moshi-2b", include_str!("presets/moshi-2b.json")),
    ("j-moshi", include_str!("presets/j-moshi.json")),
    ("hibiki", include_str!("presets/hibiki.json")),
    ("kyutai-stt-1b", include_str!("presets/kyutai-stt-1b.json")),
    ("kyutai-stt-2.6b", include_str!("presets/kyutai-stt-2.6b.json")),
    ("kyutai-tts-1.6b", include_str!("presets/kyutai-tts-1.6b.json")),
    ("musicgen", include_str!("presets/musicgen.json")),
    ("musicgen-stereo", include_str!("presets/musicgen-stereo.json")),
    ("parler-tts", include_str!("presets/parler-tts.json")),
    ("dia", include_str!("presets/dia.json")),
    ("higgs-v2", include_str!("presets/higgs-v2.json")),
    ("csm", include_str!("presets/csm.json")),
    ("personaplex", include_str!("presets/personaplex.json")),
    ("orpheus", include_str!("presets/orpheus.json")),
    ("bark", include_str!("presets/bark.json")),
    ("delay-1", include_str!("presets/delay-1.json")),
];

/// Models that share a preset, and which.
const ALIASES: &[(&str, &str)] = &[("hibiki-2b", "hibiki"), ("hibiki-zero-3b", "hibiki")];

impl Layout {
    /// Names of the layouts that come with the crate.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// A layout that comes with the crate; `hibiki-2b` and `hibiki-zero-3b` are both `hibiki`.
    ///
    /// # Errors
    /// `Invalid` with the names there are.
    pub fn preset(name: &str) -> Result<Self> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, preset)| preset);
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
    fn an_alias_is_its_preset() {
        for (alias, name) in ALIASES {
            assert_eq!(Layout::preset(alias).unwrap().name(), *name);
            assert!(Layout::presets().all(|preset| preset != *alias));
        }
        let error = Layout::preset("moshi-8b").unwrap_err().to_string();
        assert!(error.starts_with("layout is \"moshi-8b\", expected one of moshi-7b, "), "{error}");
    }
}
