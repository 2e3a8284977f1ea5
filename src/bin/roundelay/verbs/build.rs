//! `build IN -o OUT --layout L`: `codes` -> `tokens`, `mask`

use roundelay::Frames;
use roundelay::io::tensors;

use crate::args::{OutputArg, ShiftArgs};
use crate::failure::Outcome;
use crate::input::{InputArgs, LayoutArg};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    layout: LayoutArg,
    #[command(flatten)]
    shift: ShiftArgs,
}

impl Args {
    pub fn run(self) -> Outcome {
        let (layout, codes) = self.input.grid(&self.layout, "codes")?;
        let at = |e: roundelay::Error| e.in_file(self.input.path.display());
        let built = self.shift.delay(&layout).build(&Frames(codes)).map_err(at)?;
        let mask = built.mask.0.mapv(u8::from);
        tensors::write(&self.output.output, &[("tokens", built.tokens.0.into()), ("mask", mask.into())])?;
        Ok(())
    }
}
