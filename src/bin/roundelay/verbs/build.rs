//! `build IN -o OUT --layout L`: `codes` -> `tokens`, `mask`

use roundelay::io::tensors;
use roundelay::{Frames, Sequencer};

use crate::args::OutputArg;
use crate::failure::{Outcome, note};
use crate::input::{InputArgs, last_axis};
use crate::shift::ShiftArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    shift: ShiftArgs,
}

impl Args {
    pub fn run(self) -> Outcome {
        let (layout, codes) = self.input.codes()?;
        let at = |e| self.input.named(e);
        let shift = self.shift.of_frames(&layout, last_axis(&codes))?;
        let codes = Frames(codes);
        let built = shift.build(&codes).map_err(at)?;
        // Positions are all that counts here, and some families put special ids among their codes.
        if let Err(error) = layout.check_codes(&codes) {
            note(format!("shifted as it is: {}", at(error)));
        }
        let mask = built.mask.0.mapv(u8::from);
        tensors::write(&self.output.output, &[("tokens", built.tokens.0.into()), ("mask", mask.into())])?;
        Ok(())
    }
}
