//! `encode WAV -o OUT`: sound to `audio_codes`

use std::path::PathBuf;

use roundelay::io::{read_audio, tensors};
use roundelay::pipeline;

use crate::args::{CodecArg, OutputArg, WholeArg};
use crate::failure::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Recording, of any sample rate and number of channels
    #[arg(value_name = "WAV")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    codec: CodecArg,
    #[command(flatten)]
    whole: WholeArg,
}

impl Args {
    pub fn run(self) -> Outcome {
        let codec = self.codec.encoder(&self.whole)?;
        let at = |e: roundelay::Error| e.in_file(self.input.display());
        let sound = read_audio(&self.input)?.resampled(codec.spec().sample_rate).map_err(at)?;
        let codes = pipeline::encode(codec.as_ref(), &sound.channels).map_err(at)?;
        tensors::write(&self.output.output, &[("audio_codes", codes.0.mapv(i64::from).into())])?;
        Ok(())
    }
}
