//! How frames become steps: a delay for each stream, or a general pattern.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use roundelay::delay::{Fills, Pattern, Plan, Runs};
use roundelay::{Delay, Error, Layout, Result, Sequencer};

use crate::args;

/// How frames become steps.
#[derive(Args)]
pub struct ShiftArgs {
    /// Whether the sequence grows by the largest delay, or loses the tails
    #[arg(long, value_enum, default_value_t = Extent::Extend)]
    extent: Extent,
    /// What comes before the first step: nothing, or one column of initial ids
    #[arg(long, value_enum, default_value_t = Start::None)]
    start: Start,
    /// Another pattern than the layout's delays: NAME[:key=value;..] such as flatten:flattening=0,1,1, or a JSON file
    #[arg(long, value_name = "P")]
    pattern: Option<PatternArg>,
    /// Columns added to every stream before the shift: its bos in front, its eos behind
    #[arg(long, value_enum, default_value_t = Bracket::None)]
    bracket: Bracket,
}

#[derive(ValueEnum, Clone, Copy)]
enum Extent {
    Extend,
    Truncate,
}

#[derive(ValueEnum, Clone, Copy)]
enum Start {
    None,
    Initial,
}

#[derive(ValueEnum, Clone, Copy)]
enum Bracket {
    None,
    Bos,
    Eos,
    Both,
}

/// A pattern in words, or where it is written down.
#[derive(Clone)]
enum PatternArg {
    Words(Pattern),
    File(PathBuf),
}

impl FromStr for PatternArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(pattern) => Ok(PatternArg::Words(pattern)),
            Err(_) if args::is_file(Path::new(text)) => Ok(PatternArg::File(text.into())),
            Err(error) => Err(error),
        }
    }
}

impl PatternArg {
    fn read(&self) -> Result<Pattern> {
        match self {
            PatternArg::Words(pattern) => Ok(pattern.clone()),
            PatternArg::File(path) => {
                let text = args::read_text(path, "pattern")?;
                Pattern::from_json(&text).map_err(|e| e.in_file(path.display()))
            }
        }
    }
}

impl ShiftArgs {
    /// What lays out grids of this many frames.
    pub fn of_frames(&self, layout: &Layout, frames: usize) -> Result<Shift> {
        self.shift(layout, |_| Ok(self.bracket().columns(frames)))
    }

    /// What takes back sequences of this many steps.
    pub fn of_steps(&self, layout: &Layout, steps: usize) -> Result<Shift> {
        self.shift(layout, |pattern| pattern.frames_of(steps, layout, self.extent(), self.start()))
    }

    /// `columns` tells how many frames a pattern is for, the bracket's among them.
    fn shift(&self, layout: &Layout, columns: impl FnOnce(&Pattern) -> Result<usize>) -> Result<Shift> {
        let (extent, start, bracket) = (self.extent(), self.start(), self.bracket());
        match &self.pattern {
            None => Ok(Shift::Delay(Delay::new(layout, extent, start).bracketed(layout, bracket)?)),
            Some(pattern) => {
                let pattern = pattern.read()?;
                let plan = pattern.plan(layout, columns(&pattern)?, extent, start)?;
                Ok(Shift::Plan(plan.bracketed(layout, bracket)?))
            }
        }
    }

    fn extent(&self) -> roundelay::Extent {
        match self.extent {
            Extent::Extend => roundelay::Extent::Extend,
            Extent::Truncate => roundelay::Extent::Truncate,
        }
    }

    fn start(&self) -> roundelay::Start {
        match self.start {
            Start::None => roundelay::Start::None,
            Start::Initial => roundelay::Start::Initial,
        }
    }

    fn bracket(&self) -> roundelay::delay::Bracket {
        roundelay::delay::Bracket {
            bos: matches!(self.bracket, Bracket::Bos | Bracket::Both),
            eos: matches!(self.bracket, Bracket::Eos | Bracket::Both),
        }
    }
}

/// The one or the other, chosen on the command line.
pub enum Shift {
    Delay(Delay),
    Plan(Plan),
}

impl Sequencer for Shift {
    fn stream_count(&self) -> usize {
        match self {
            Shift::Delay(delay) => delay.stream_count(),
            Shift::Plan(plan) => plan.stream_count(),
        }
    }

    fn steps(&self, frames: usize) -> Result<usize> {
        match self {
            Shift::Delay(delay) => delay.steps(frames),
            Shift::Plan(plan) => plan.steps(frames),
        }
    }

    fn frames(&self, steps: usize) -> Result<usize> {
        match self {
            Shift::Delay(delay) => delay.frames(steps),
            Shift::Plan(plan) => plan.frames(steps),
        }
    }

    fn runs(&self, k: usize, frames: usize) -> Runs<'_> {
        match self {
            Shift::Delay(delay) => delay.runs(k, frames),
            Shift::Plan(plan) => plan.runs(k, frames),
        }
    }

    fn fills(&self, k: usize) -> Fills {
        match self {
            Shift::Delay(delay) => delay.fills(k),
            Shift::Plan(plan) => plan.fills(k),
        }
    }

    fn bracket(&self) -> roundelay::delay::Bracket {
        match self {
            Shift::Delay(delay) => delay.bracket(),
            Shift::Plan(plan) => plan.bracket(),
        }
    }
}
