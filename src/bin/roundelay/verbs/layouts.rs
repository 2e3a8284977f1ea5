//! `layouts [NAME]`

use std::io::Write;

use roundelay::Layout;

use crate::args;
use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Preset name, layout file or Kyutai's config.json; prints it as JSON, checked
    name: Option<String>,
}

impl Args {
    pub fn run(self) -> Outcome {
        let mut out = std::io::stdout().lock();
        match self.name {
            Some(name) => write!(out, "{}", args::layout(&name)?.to_json())?,
            None => Layout::presets().try_for_each(|name| list(&mut out, &Layout::preset(name)?))?,
        }
        Ok(())
    }
}

fn list(out: &mut impl Write, layout: &Layout) -> Outcome {
    let delays: Vec<_> = layout.streams().iter().map(|stream| stream.delay.to_string()).collect();
    writeln!(out, "{}: {} streams at {} Hz", layout.name(), delays.len(), layout.frame_rate())?;
    writeln!(out, "  delays  {}", delays.join(" "))?;
    for line in layout.describe() {
        writeln!(out, "          {line}")?;
    }
    writeln!(out, "  source  {}", layout.source().unwrap_or("not stated"))?;
    Ok(())
}
