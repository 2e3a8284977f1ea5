//! `undo IN -o OUT --layout L`: `tokens` -> `codes`, `mask`

use std::path::PathBuf;

use roundelay::io::tensors;
use roundelay::token::ABSENT;
use roundelay::{Sequencer, Steps};

use crate::args::{self, OutputArg};
use crate::failure::Outcome;
use crate::input::last_axis;
use crate::shift::ShiftArgs;

#[derive(clap::Args)]
pub struct Args {
    /// Tensor file (.safetensors, .npz, .npy) with `tokens`
    #[arg(value_name = "IN")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArg,
    /// Preset name, layout file or Kyutai's config.json
    #[arg(long, value_name = "L")]
    layout: String,
    #[command(flatten)]
    shift: ShiftArgs,
}

impl Args {
    pub fn run(self) -> Outcome {
        let layout = args::layout(&self.layout)?;
        let tokens = tensors::read(&self.input, "tokens")?;
        let at = |e: roundelay::Error| e.in_file(self.input.display());
        let shift = self.shift.of_steps(&layout, last_axis(&tokens)).map_err(at)?;
        let undone = shift.undo(&Steps(tokens), ABSENT).map_err(at)?;
        let mask = undone.mask.0.mapv(u8::from);
        tensors::write(&self.output.output, &[("codes", undone.codes.0.into()), ("mask", mask.into())])?;
        Ok(())
    }
}
