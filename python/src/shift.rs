//! A delay for each stream, or a general pattern: what a `Delay` of Python's stands for.

use roundelay::delay::{Bracket, Fills, Plan, Runs};
use roundelay::{Layout, Result, Sequencer};

/// Lays frames out as steps, by a closed form or by a compiled list.
#[derive(Clone)]
pub enum Shift {
    Delay(roundelay::Delay),
    Plan(Plan),
}

macro_rules! each {
    ($shift:expr, $one:ident => $do:expr) => {
        match $shift {
            Shift::Delay($one) => $do,
            Shift::Plan($one) => $do,
        }
    };
}

impl Shift {
    pub fn bracketed(self, layout: &Layout, bracket: Bracket) -> Result<Self> {
        match self {
            Shift::Delay(delay) => delay.bracketed(layout, bracket).map(Shift::Delay),
            Shift::Plan(plan) => plan.bracketed(layout, bracket).map(Shift::Plan),
        }
    }
}

impl Sequencer for Shift {
    fn stream_count(&self) -> usize {
        each!(self, shift => shift.stream_count())
    }

    fn steps(&self, frames: usize) -> Result<usize> {
        each!(self, shift => shift.steps(frames))
    }

    fn frames(&self, steps: usize) -> Result<usize> {
        each!(self, shift => shift.frames(steps))
    }

    fn runs(&self, k: usize, frames: usize) -> Runs<'_> {
        each!(self, shift => shift.runs(k, frames))
    }

    fn fills(&self, k: usize) -> Fills {
        each!(self, shift => shift.fills(k))
    }

    fn bracket(&self) -> Bracket {
        each!(self, shift => shift.bracket())
    }
}
