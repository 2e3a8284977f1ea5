//! A dataset at a glance.

use std::fmt;

use crate::io::DatasetInfo;
use crate::stream::{Kind, Layout};

/// What a dataset holds, as it prints.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a> {
    /// The dataset's own description.
    pub info: &'a DatasetInfo,
    /// Its rows.
    pub layout: &'a Layout,
}

impl Summary<'_> {
    /// Share of the text row's frames that hold its pad; none without text or frames, or where nobody counted.
    pub fn pad_share(&self) -> Option<f64> {
        let texts = self.layout.streams().iter().filter(|stream| stream.kind == Kind::Text).count();
        let cells = self.info.counts.frames * texts as u64;
        // J-Moshi's files do not say, and no text is without a pad.
        (cells > 0 && self.info.counts.text_pads > 0).then(|| self.info.counts.text_pads as f64 / cells as f64)
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DatasetInfo { counts, codec, tokenizer, parts, events, .. } = self.info;
        let rate = self.layout.frame_rate();
        writeln!(f, "layout      {}, {} streams at {rate} Hz", self.layout.name(), self.layout.streams().len())?;
        writeln!(f, "codec       {}", codec.name)?;
        if let Some(tokenizer) = tokenizer {
            writeln!(f, "tokenizer   {}", tokenizer.name)?;
        }
        writeln!(f, "recordings  {} in {} segments, {} parts", counts.recordings, counts.segments, parts.len())?;
        writeln!(f, "hours       {:.4}", counts.seconds.to_f64() / 3600.0)?;
        writeln!(f, "frames      {}", counts.frames)?;
        if let Some(share) = self.pad_share() {
            writeln!(f, "pad share   {:.1} % of text frames", 100.0 * share)?;
        }
        writeln!(f, "rejects     {}", counts.rejects)?;
        write!(f, "events{}", if events.is_empty() { "      none" } else { "" })?;
        for (kind, count) in events.iter() {
            write!(f, "\n  {:<16}{}", kind.name(), count.events)?;
            if count.amount > 0 {
                write!(f, " (amount {})", count.amount)?;
            }
        }
        Ok(())
    }
}
