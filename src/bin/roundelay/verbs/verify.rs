//! `verify DIR`: is a dataset whole?

use std::io::Write;
use std::path::PathBuf;

use roundelay::io::{Verified, verify};

use crate::failure::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Dataset folder; of an unfinished one the parts that are there are checked
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Outcome {
        let verified = verify(&self.folder)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let json = serde_json::to_string_pretty(&verified).map_err(std::io::Error::from)?;
            writeln!(out, "{json}")?;
        } else {
            for defect in &verified.defects {
                writeln!(out, "{defect}")?;
            }
        }
        let Verified { finished, parts, segments, defects } = &verified;
        let seen = format!("{segments} segments in {parts} parts");
        match (defects.len(), finished) {
            (0, true) if self.json => Ok(()),
            (0, true) => Ok(writeln!(out, "whole: {seen}")?),
            (0, false) => Err(Failure::Incomplete(format!("unfinished; what is there is whole: {seen}"))),
            (1, true) => Err(Failure::Incomplete(format!("1 defect; read: {seen}"))),
            (n, true) => Err(Failure::Incomplete(format!("{n} defects; read: {seen}"))),
            (n, false) => Err(Failure::Incomplete(format!("unfinished, and defects: {n}; read: {seen}"))),
        }
    }
}
