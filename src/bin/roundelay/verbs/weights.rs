//! `weights IN -o OUT --layout L --policy P`: `codes` -> `weights`, `reasons`, `sequence_weights`, `sequence_reasons`

use clap::ValueEnum;
use roundelay::io::tensors;
use roundelay::{Frames, Policy};

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
    #[command(flatten)]
    policy: PolicyArgs,
}

/// A policy and what to change in it.
#[derive(clap::Args)]
pub struct PolicyArgs {
    /// Named weights to start from
    #[arg(long, value_name = "P", default_value = "moshi", value_parser = Policy::named)]
    policy: Policy,
    /// Weight of a text pad instead of the policy's
    #[arg(long, value_name = "X")]
    text_pad_weight: Option<f32>,
    /// Weight of a semantic code instead of the policy's
    #[arg(long, value_name = "X")]
    semantic_weight: Option<f32>,
    /// Weight of an acoustic code instead of the policy's
    #[arg(long, value_name = "X")]
    acoustic_weight: Option<f32>,
    /// What weights are divided by instead of the policy's choice
    #[arg(long, value_enum, value_name = "N")]
    normalize: Option<Normalize>,
}

#[derive(ValueEnum, Clone, Copy)]
enum Normalize {
    /// Nothing
    None,
    /// Text and audio each by their own sum
    Modality,
}

impl PolicyArgs {
    pub fn policy(&self) -> Policy {
        let mut policy = self.policy;
        policy.text_pad = self.text_pad_weight.unwrap_or(policy.text_pad);
        policy.semantic = self.semantic_weight.unwrap_or(policy.semantic);
        policy.acoustic = self.acoustic_weight.unwrap_or(policy.acoustic);
        policy.normalize = match self.normalize {
            Some(Normalize::None) => roundelay::Normalize::None,
            Some(Normalize::Modality) => roundelay::Normalize::Modality,
            None => policy.normalize,
        };
        policy
    }
}

impl Args {
    pub fn run(self) -> Outcome {
        let (layout, codes) = self.input.codes()?;
        let at = |e| self.input.named(e);
        let shift = self.shift.of_frames(&layout, last_axis(&codes))?;
        let codes = Frames(codes);
        layout.check_codes(&codes).map_err(at)?;
        let weights = self.policy.policy().weigh(&layout, &shift, &codes).map_err(at)?;
        let tensors = [
            ("weights", weights.frames.0.into()),
            ("reasons", weights.frame_reasons.0.into()),
            ("sequence_weights", weights.steps.0.into()),
            ("sequence_reasons", weights.step_reasons.0.into()),
        ];
        tensors::write(&self.output.output, &tensors)?;
        for (modality, sum) in [("text", weights.sums.text), ("audio", weights.sums.audio)] {
            if sum == 0.0 {
                note(format!("no {modality} position weighs anything: it adds 0 to the loss"));
            }
        }
        Ok(())
    }
}
