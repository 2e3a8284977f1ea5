//! The verbs.

mod align;
mod batches;
mod build;
mod codebook;
mod decode;
mod encode;
mod export;
mod generate;
mod inspect;
mod layouts;
mod merge;
mod prep;
mod show;
mod stats;
mod subvocab;
mod train;
mod undo;
mod verify;
mod vocab;
pub mod weights;
mod words;

use clap::Subcommand;

use crate::failure::Outcome;

#[derive(Subcommand)]
pub enum Verb {
    /// Makes a training dataset of recordings, words and codes
    Prep(prep::Args),
    /// Tells what is in a dataset
    Inspect(inspect::Args),
    /// Checks that a dataset is whole, and names every defect
    Verify(verify::Args),
    /// Joins datasets, or the shards of one
    Merge(merge::Args),
    /// Writes a dataset in another form
    Export(export::Args),
    /// Tells who speaks how much in a dataset, and what its text rows hold
    Stats(stats::Args),
    /// Tells how a corpus is trained on, or makes one batch of it
    Batches(batches::Args),
    /// Trains a small model on a dataset
    Train(train::Args),
    /// Has a trained model go on, into sound and words
    Generate(generate::Args),
    /// Lists the layouts there are, or prints one
    Layouts(layouts::Args),
    /// Shifts codes by their delays: frames to steps
    Build(build::Args),
    /// Takes the delays out again: steps to frames
    Undo(undo::Args),
    /// Weighs every position for the loss
    Weights(weights::Args),
    /// Puts words on the frame grid: a text row
    Align(align::Args),
    /// Turns a text row back into words
    Words(words::Args),
    /// Turns sound into codes
    Encode(encode::Args),
    /// Turns codes into sound
    Decode(decode::Args),
    /// Trains codebooks, and tells how those of datasets are used
    Codebook(codebook::Args),
    /// Joins vocabularies in one id space, and writes codes in one row of it
    Vocab(vocab::Args),
    /// Searches millions of word vectors for the few thousand that matter
    Subvocab(subvocab::Args),
    /// Draws the grid of streams and steps
    Show(show::Args),
}

impl Verb {
    pub fn run(self) -> Outcome {
        match self {
            Verb::Prep(args) => args.run(),
            Verb::Inspect(args) => args.run(),
            Verb::Verify(args) => args.run(),
            Verb::Merge(args) => args.run(),
            Verb::Export(args) => args.run(),
            Verb::Stats(args) => args.run(),
            Verb::Batches(args) => args.run(),
            Verb::Train(args) => args.run(),
            Verb::Generate(args) => args.run(),
            Verb::Layouts(args) => args.run(),
            Verb::Build(args) => args.run(),
            Verb::Undo(args) => args.run(),
            Verb::Weights(args) => args.run(),
            Verb::Align(args) => args.run(),
            Verb::Words(args) => args.run(),
            Verb::Encode(args) => args.run(),
            Verb::Decode(args) => args.run(),
            Verb::Codebook(args) => args.run(),
            Verb::Vocab(args) => args.run(),
            Verb::Subvocab(args) => args.run(),
            Verb::Show(args) => args.run(),
        }
    }
}
