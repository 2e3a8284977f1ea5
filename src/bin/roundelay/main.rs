//! The command line: one verb a file, each on the library's public functions alone.

mod args;
mod failure;
mod input;
mod model;
mod reading;
mod shift;
mod verbs;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use failure::Failure;

/// Multi-stream codec data to training sequences for Moshi-like speech models, and back.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: verbs::Verb,
}

fn main() -> ExitCode {
    let (message, status) = match Command::parse().verb.run() {
        Ok(()) | Err(Failure::ReaderGone) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (format!("{message}\n\nFor more information, try '--help'."), 2),
        Err(Failure::Data(error)) => (error.to_string(), 1),
        Err(Failure::Incomplete(message)) => (message, 1),
    };
    // A closed standard error is no reason to lose the status.
    let _ = writeln!(anstream::stderr(), "{} {message}", failure::label());
    ExitCode::from(status)
}
