//! What every training backend must pass (feature `testing`).
//!
//! ```text
//! Law::all()     name, check          check(make)   Ok, or what was found instead
//! check_all(make)                     every law; panics with the names of those that do not hold
//! recorded(make, cases)               losses that other projects' code gave for known logits
//! ```
//!
//! A backend is made anew for each law by `make`, from a spec and a seed: the same ones must give the same model. Batches
//! are small, and come out of [`Collate`](crate::batch::Collate) as any others do.
//!
//! # Examples
//! ```
//! use roundelay::backend::contract::{LAWS, check_all};
//! use roundelay::backend::{Reference, ReferenceOptions};
//! check_all(|spec, seed| Reference::new(spec, ReferenceOptions { seed, ..ReferenceOptions::default() }));
//! assert!(LAWS.contains(&"rows_count_alike_in_any_order"));
//! ```

mod batches;
mod checkpoint;
mod learning;
mod loss;
mod recorded;
mod refusal;
mod sight;
mod trial;

use ndarray::Array3;

use super::{BatchSpec, Report, TrainBackend};
use crate::error::Result;

pub use recorded::{Recorded, recorded};

/// A backend whose loss of given logits can be asked for: by the code that a step uses.
pub trait Score: TrainBackend {
    /// The loss that a batch has when the model's logits are these.
    ///
    /// # Shapes
    /// For each stream `[batch, time, outputs]`; streams that are not trained have no logits, an empty array.
    /// # Errors
    /// Those of the device. A loss that is no number is reported as it is.
    fn score(&mut self, batch: &Self::Batch, logits: &[Array3<f32>]) -> Result<Report>;
}

/// Makes a backend from a spec and a seed.
pub type Make<'a, B> = &'a dyn Fn(&BatchSpec, u64) -> Result<B>;

/// Nothing, or what was found where a law does not hold.
pub type Found<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Something that holds for every backend.
pub struct Law<B> {
    /// What holds, as in `rows_count_alike_in_any_order`.
    pub name: &'static str,
    /// Says what is found instead, if it does not hold.
    pub check: fn(Make<B>) -> Found,
}

macro_rules! laws {
    ($($module:ident::$law:ident,)*) => {
        /// Names of the laws, in the order in which they are checked.
        pub const LAWS: &[&str] = &[$(stringify!($law)),*];

        impl<B: Score> Law<B> {
            /// All of them.
            pub fn all() -> Vec<Law<B>> {
                vec![$(Law { name: stringify!($law), check: $module::$law }),*]
            }
        }
    };
}

laws! {
    loss::losses_are_weighted_cross_entropies,
    loss::chances_add_up_to_one,
    loss::labels_are_counted_exactly,
    loss::what_weighs_nothing_adds_nothing,
    loss::a_stream_without_weights_has_no_part,
    loss::rows_count_alike_in_any_order,
    loss::parts_add_up_to_the_whole,
    loss::absent_rows_change_nothing,
    loss::packed_rows_are_worth_unpacked_ones,
    sight::steps_do_not_see_later_ones,
    sight::streams_do_not_see_later_ones,
    sight::segments_do_not_see_each_other,
    learning::a_step_on_parts_is_the_step_on_the_whole,
    learning::a_step_reports_the_loss_before_it,
    learning::evaluation_leaves_the_model_alone,
    learning::uploaded_batches_stay_as_they_are,
    learning::steps_make_the_loss_smaller,
    learning::nothing_to_learn_is_no_lesson,
    checkpoint::the_same_calls_give_the_same_model,
    checkpoint::a_run_goes_on_from_its_checkpoint,
    checkpoint::damaged_checkpoints_are_refused,
    refusal::batches_of_another_kind_are_refused,
    refusal::what_is_no_number_is_refused,
}

/// Checks every law.
///
/// # Panics
/// If one does not hold, with the names of all that do not, and what was found.
pub fn check_all<B: Score>(make: impl Fn(&BatchSpec, u64) -> Result<B>) {
    let broken = |law: Law<B>| (law.check)(&make).err().map(|found| format!("{}: {found}", law.name));
    let broken: Vec<String> = Law::all().into_iter().filter_map(broken).collect();
    assert!(broken.is_empty(), "laws that do not hold:\n{}", broken.join("\n"));
}

/// Fails with what was found, unless something holds.
fn holds(condition: bool, found: impl FnOnce() -> String) -> Found {
    if condition { Ok(()) } else { Err(found().into()) }
}

/// Numbers to 1e-5 of the larger.
fn close(found: f64, expected: f64, what: &str) -> Found {
    let close = found == expected || (found - expected).abs() <= 1e-5 * found.abs().max(expected.abs());
    holds(close, || format!("{what} is {found}, expected {expected}"))
}

/// Reports alike: counts exactly, everything else to 1e-5.
fn alike(found: &Report, expected: &Report) -> Found {
    let streams = (found.streams.len(), expected.streams.len());
    holds(streams.0 == streams.1, || format!("a report of {} streams, expected {}", streams.0, streams.1))?;
    close(found.loss, expected.loss, "loss")?;
    for (k, (found, expected)) in found.streams.iter().zip(&expected.streams).enumerate() {
        close(found.loss, expected.loss, &format!("loss of stream {k}"))?;
        for (what, found, expected) in [("tokens", found.tokens, expected.tokens), ("pads", found.pads, expected.pads)]
        {
            let counts = (found.count, expected.count);
            holds(counts.0 == counts.1, || format!("{} {what} in stream {k}, expected {}", counts.0, counts.1))?;
            close(found.nats, expected.nats, &format!("nats of {what} in stream {k}"))?;
        }
    }
    match (found.gradient_norm, expected.gradient_norm) {
        (Some(found), Some(expected)) => close(found, expected, "norm of the gradient"),
        _ => Ok(()),
    }
}
