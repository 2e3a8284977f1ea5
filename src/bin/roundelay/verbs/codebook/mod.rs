//! `codebook`: tables of codes, made and watched

mod stats;
mod train;

use clap::Subcommand;

use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Trains tables of your own for the codec `builtin`, which takes them with --codec-weights
    Train(train::Args),
    /// Tells how every codebook of datasets is used, and which codes are dead
    Stats(stats::Args),
}

impl Args {
    pub fn run(self) -> Outcome {
        match self.verb {
            Verb::Train(args) => args.run(),
            Verb::Stats(args) => args.run(),
        }
    }
}
