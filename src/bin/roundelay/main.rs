//! The command line: one verb a file, each on the library's public functions alone.

mod args;
mod failure;
mod input;
mod verbs;

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
    match Command::parse().verb.run() {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            anstream::eprintln!("{} {message}\n\nFor more information, try '--help'.", failure::label());
            ExitCode::from(2)
        }
        Err(Failure::Data(error)) => {
            anstream::eprintln!("{} {error}", failure::label());
            ExitCode::FAILURE
        }
    }
}
