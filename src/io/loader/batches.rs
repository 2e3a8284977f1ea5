//! Batches one after another, made ahead.

use super::{Loaded, Loader};
use crate::batch::{Ahead, Place, Position, Prefetch};
use crate::delay::Sequencer;
use crate::error::Result;

/// The batches of one rank in order, made by worker threads while the consumer trains.
///
/// Dropping it stops the threads.
#[derive(Debug)]
pub struct Batches<S> {
    loader: Loader<S>,
    prefetch: Prefetch<Loaded>,
    from: Place,
    taken: u64,
}

impl<S: Sequencer + Send + Sync + 'static> Loader<S> {
    /// The batches from a step on: of so many epochs, the begun one among them, or without an end.
    ///
    /// With packing, a number of epochs has all their pools packed first, to know the end.
    ///
    /// # Errors
    /// As [`Order::items`](crate::batch::Order::items); those of [`Prefetch::new`].
    pub fn batches(&self, from: Place, epochs: Option<u64>, ahead: Ahead) -> Result<Batches<S>> {
        let steps = match epochs {
            None => u64::MAX,
            Some(epochs) => self.steps(from, epochs)?,
        };
        let loader = self.clone();
        let make = move |number, loaded: &mut Loaded| match loader.order().after(from, number)? {
            Some(at) => loader.batch(at, loaded),
            None => unreachable!("an order without items is refused"),
        };
        let prefetch = Prefetch::new(ahead, 0..steps, make)?;
        Ok(Batches { loader: self.clone(), prefetch, from, taken: 0 })
    }

    /// Steps that are left of some epochs.
    fn steps(&self, from: Place, epochs: u64) -> Result<u64> {
        let all = (from.epoch..from.epoch.saturating_add(epochs)).map(|epoch| self.order().steps(epoch));
        Ok(all.sum::<Result<u64>>()?.saturating_sub(from.step))
    }
}

impl<S: Sequencer> Batches<S> {
    /// The next batch; none behind the last. Its memory is used again with the next call.
    ///
    /// An error comes in its batch's place, and the next call goes on behind it.
    // No `Iterator`: what it gives is lent until the next call.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<&mut Loaded>> {
        let next = self.prefetch.next();
        self.taken += u64::from(next.is_some());
        next
    }

    /// Where to go on once all that was taken so far has been trained on: keep it with the model's checkpoint.
    ///
    /// # Errors
    /// As [`Order::items`](crate::batch::Order::items).
    pub fn position(&self) -> Result<Position> {
        let order = self.loader.order();
        let at = order.after(self.from, self.taken)?.unwrap_or(self.from);
        Ok(order.position(at))
    }
}
