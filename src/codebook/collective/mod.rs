//! Workers that train replicas of one codebook: what they tell each other.
//!
//! ```text
//!   worker 1 --+                     a star: every worker but 0 has one stream to worker 0
//!   worker 2 --+-- worker 0
//!   worker 3 --+                     all_reduce   everybody's integers in, their sums back to everybody
//!                                    broadcast    the root's floats to everybody
//! ```
//!
//! Sums are of integers only: their order and grouping cannot matter, so replicas end with the same bits however many
//! workers there are. [`Hub`] and [`Spoke`] speak over anything that reads and writes; [`threads`] are such a star
//! within one process. No clock is read here: how long to wait for a worker that hangs is set on the stream by whoever
//! opened it.

mod frame;
mod pipe;
mod star;

pub use pipe::threads;
pub use star::{Hub, Spoke};

use crate::error::{Error, Result};

/// A group of workers that do the same operations in the same order, seen from one of them.
///
/// Two operations are enough: sums tell everybody about all, a broadcast tells everybody about one. An error is final:
/// every further operation fails as well.
pub trait Collective {
    /// This worker's number, from 0.
    fn rank(&self) -> usize;

    /// How many workers there are.
    fn size(&self) -> usize;

    /// Gives everybody the values that `root` has.
    ///
    /// # Errors
    /// `Io` names a worker that is lost; `Invalid` one that does another operation, or a root that is not there.
    fn broadcast(&mut self, root: usize, data: &mut [f32]) -> Result<()>;

    /// Puts the sum over all workers in the place of each number.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast); `OverLimit` if a sum is not below 2^63 in size.
    fn all_reduce(&mut self, sums: &mut [i64]) -> Result<()>;
}

impl<C: Collective + ?Sized> Collective for Box<C> {
    fn rank(&self) -> usize {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn broadcast(&mut self, root: usize, data: &mut [f32]) -> Result<()> {
        (**self).broadcast(root, data)
    }

    fn all_reduce(&mut self, sums: &mut [i64]) -> Result<()> {
        (**self).all_reduce(sums)
    }
}

/// The one worker of a group of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn broadcast(&mut self, root: usize, _data: &mut [f32]) -> Result<()> {
        check_root(root, 1)
    }

    fn all_reduce(&mut self, _sums: &mut [i64]) -> Result<()> {
        Ok(())
    }
}

fn check_root(root: usize, size: usize) -> Result<()> {
    if root < size { Ok(()) } else { Err(Error::invalid("root of a broadcast", root, format!("a rank below {size}"))) }
}

/// Everybody's few numbers, by rank: a sum in which each worker fills its own place.
pub(super) fn gather<const N: usize>(workers: &mut dyn Collective, mine: [i64; N]) -> Result<Vec<[i64; N]>> {
    let mut all = vec![0; N * workers.size()];
    all[N * workers.rank()..][..N].copy_from_slice(&mine);
    workers.all_reduce(&mut all)?;
    Ok(all.as_chunks::<N>().0.to_vec())
}

/// Refuses to go on if a worker's digest is not that of worker 0.
pub(super) fn check_alike(what: &str, digests: impl IntoIterator<Item = i64>) -> Result<()> {
    let mut digests = digests.into_iter();
    let first = digests.next();
    let Some(other) = digests.position(|digest| Some(digest) != first) else { return Ok(()) };
    Err(Error::invalid(format!("{what} of worker {}", other + 1), "another", "that of worker 0"))
}

/// A number that tells unlike things apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digest(u64);

impl Digest {
    /// Of what a value prints as: rules and options, whose fields are all in it.
    pub fn of(value: &impl std::fmt::Debug) -> Self {
        format!("{value:?}").bytes().fold(Digest(0), |digest, byte| digest.add(byte.into()))
    }

    /// With one more number.
    pub fn add(self, number: u64) -> Self {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Digest(mixed ^ (mixed >> 29))
    }

    /// With many more floats, by their bits.
    pub fn floats<'a>(self, values: impl IntoIterator<Item = &'a f32>) -> Self {
        values.into_iter().fold(self, |digest, value| digest.add(value.to_bits().into()))
    }

    pub fn number(self) -> i64 {
        self.0 as i64
    }
}
