//! The next batch is on its way while the device is busy.
//!
//! ```text
//! feeder's thread    take 1, upload 1   take 2, upload 2   wait    take 3, upload 3
//! caller                                step 1 ───────────────────> step 2 ──────────> ..
//! ```

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::Upload;
use crate::batch::TrainBatch;
use crate::error::{Error, Result};

/// Gives batches one after another, in memory that it may use again.
pub trait Source: Send {
    /// The next batch; none behind the last. An error comes in its batch's place.
    fn next(&mut self) -> Option<Result<&TrainBatch>>;
}

/// A step's batches on the device.
#[derive(Debug)]
pub struct Fed<B> {
    /// The step's rows in their order, as many to a part as fit the device.
    pub parts: Vec<B>,
    /// Segments that are in it, for messages.
    pub segments: Vec<String>,
}

/// Takes batches to the device on a thread of its own, at most one ahead of those that were taken.
///
/// Dropping it stops the thread as soon as it has finished what it is doing, and waits for it.
///
/// # Examples
/// ```
/// use roundelay::Result;
/// use roundelay::backend::{Feeder, Source, Upload};
/// use roundelay::batch::TrainBatch;
///
/// struct Three(u32, TrainBatch);
/// impl Source for Three {
///     fn next(&mut self) -> Option<Result<&TrainBatch>> {
///         self.0 += 1;
///         (self.0 <= 3).then_some(Ok(&self.1))
///     }
/// }
/// struct Count(u32);
/// impl Upload for Count {
///     type Batch = u32;
///     fn upload(&mut self, _: &TrainBatch) -> Result<u32> {
///         self.0 += 1;
///         Ok(self.0)
///     }
/// }
/// let mut feeder = Feeder::new(Three(0, TrainBatch::default()), Count(0), usize::MAX)?;
/// let mut seen = Vec::new();
/// while let Some(fed) = feeder.next() {
///     seen.extend(fed?.parts);
/// }
/// assert_eq!(seen, [1, 2, 3]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug)]
pub struct Feeder<B> {
    /// None once the end was seen.
    fed: Option<Receiver<Result<Fed<B>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Send + 'static> Feeder<B> {
    /// Starts the thread. Batches of more than `rows` rows are cut into parts: one step all the same.
    ///
    /// # Errors
    /// `Invalid` if a part may have no row; `Io` if the thread cannot be started.
    pub fn new<U>(source: impl Source + 'static, upload: U, rows: usize) -> Result<Self>
    where
        U: Upload<Batch = B> + Send + 'static,
    {
        if rows == 0 {
            return Err(Error::invalid("rows of a part", rows, "at least 1"));
        }
        let (to, fed) = sync_channel(0);
        let feed = move || feed(source, upload, rows, to);
        let thread = Builder::new().name("feeder".into()).spawn(feed);
        let thread = thread.map_err(|e| Error::io("start the feeder's thread", e))?;
        Ok(Feeder { fed: Some(fed), thread: Some(thread) })
    }
}

impl<B> Feeder<B> {
    /// The next step's batches; none behind the last. After an error there is no more.
    // No `Iterator`: what follows an error would be a step that was not planned.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<Fed<B>>> {
        let next = self.fed.as_ref()?.recv().ok();
        if !matches!(next, Some(Ok(_))) {
            self.fed = None;
            let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
            return if panicked { Some(Err(Error::io("feed the trainer", io::Error::other("a panic")))) } else { next };
        }
        next
    }
}

impl<B> Drop for Feeder<B> {
    fn drop(&mut self) {
        self.fed = None;
        // What it failed of concerns nobody any more.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn feed<U: Upload>(mut source: impl Source, mut upload: U, rows: usize, to: SyncSender<Result<Fed<U::Batch>>>) {
    while let Some(batch) = source.next() {
        let fed = batch.and_then(|batch| parts(batch, &mut upload, rows));
        let failed = fed.is_err();
        // Nobody listens any more: the feeder was dropped.
        if to.send(fed).is_err() || failed {
            return;
        }
    }
}

fn parts<U: Upload>(batch: &TrainBatch, upload: &mut U, rows: usize) -> Result<Fed<U::Batch>> {
    let all = batch.shape().0;
    let parts = match all <= rows {
        true => vec![upload.upload(batch)?],
        false => {
            let part = |first| upload.upload(&batch.part(first..all.min(first + rows)));
            (0..all).step_by(rows).map(part).collect::<Result<_>>()?
        }
    };
    let segments = batch.rows.iter().flatten().map(|placed| placed.id.clone()).collect();
    Ok(Fed { parts, segments })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of so many rows until one is refused, or worse.
    struct Rows(Vec<Option<usize>>, TrainBatch);

    impl Source for Rows {
        fn next(&mut self) -> Option<Result<&TrainBatch>> {
            let rows = self.0.pop()?;
            let Some(rows) = rows else { return Some(Err(Error::invalid("segment", "broken", "whole"))) };
            assert!(rows < 9, "a bug");
            self.1.rows = vec![Vec::new(); rows];
            self.1.input.0 = ndarray::Array3::zeros((rows, 1, 1));
            self.1.target.0 = ndarray::Array3::zeros((rows, 1, 1));
            self.1.weights.0 = ndarray::Array3::zeros((rows, 1, 1));
            self.1.reasons.0 = ndarray::Array3::zeros((rows, 1, 1));
            Some(Ok(&self.1))
        }
    }

    struct Shape;

    impl Upload for Shape {
        type Batch = usize;
        fn upload(&mut self, batch: &TrainBatch) -> Result<usize> {
            Ok(batch.shape().0)
        }
    }

    fn fed(rows: &[Option<usize>], most: usize) -> Vec<std::result::Result<Vec<usize>, String>> {
        let source = Rows(rows.iter().rev().copied().collect(), TrainBatch::default());
        let mut feeder = Feeder::new(source, Shape, most).unwrap();
        let next = || Some(feeder.next()?.map(|fed| fed.parts).map_err(|e| e.to_string()));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn large_batches_are_cut_into_parts() {
        assert_eq!(fed(&[Some(5), Some(2), Some(4)], 2), [Ok(vec![2, 2, 1]), Ok(vec![2]), Ok(vec![2, 2])]);
        assert!(Feeder::new(Rows(vec![], TrainBatch::default()), Shape, 0).is_err());
    }

    #[test]
    fn an_error_is_the_last_that_comes() {
        let [ok, error] = &fed(&[Some(1), None, Some(1)], 8)[..] else { panic!("not two") };
        assert_eq!((ok, error), (&Ok(vec![1]), &Err("segment is broken, expected whole".into())));
    }

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(fed(&[Some(1), Some(9)], 8)[1], Err("cannot feed the trainer: a panic".into()));
    }

    #[test]
    fn dropping_it_stops_the_thread() {
        let source = Rows(vec![Some(1); 100], TrainBatch::default());
        let mut feeder = Feeder::new(source, Shape, 8).unwrap();
        assert_eq!(feeder.next().unwrap().unwrap().parts, [1]);
    }
}
