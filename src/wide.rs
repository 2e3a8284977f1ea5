//! Loops in the widest registers that the processor has.
//!
//! What is built for all processors of a kind moves 16 bytes at a time. A loop in here is compiled for the wider kinds as
//! well, and the processor at hand chooses. Only for loops whose result is the same in any width: numbers are moved,
//! compared and counted, never summed as floats.

use pulp::Arch;

/// Calls `work`.
#[inline(always)]
pub(crate) fn wide<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}
