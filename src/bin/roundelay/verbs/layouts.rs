//! `layouts [NAME]`

use std::io::Write;

use roundelay::Layout;

use crate::args;
use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Preset name or layout file; prints it as JSON, checked
    name: Option<String>,
}

impl Args {
    pub fn run(self) -> Outcome {
        let mut out = std::io::stdout().lock();
        match self.name {
            Some(name) => write!(out, "{}", args::layout(&name)?.to_json())?,
            None => {
                for name in Layout::presets() {
                    let layout = Layout::preset(name)?;
                    let delays: Vec<_> = layout.streams().iter().map(|stream| stream.delay.to_string()).collect();
                    writeln!(out, "{name}: {} streams at {} Hz", delays.len(), layout.frame_rate())?;
                    writeln!(out, "  delays  {}", delays.join(" "))?;
                    writeln!(out, "  source  {}", layout.source().unwrap_or("not stated"))?;
                }
            }
        }
        Ok(())
    }
}
