//! What comes next is made while the consumer is busy.
//!
//! ```text
//! workers     5 . .   4 3   7 6       take the next number and a free buffer, and make it
//! made           3   5   4            wait for their turn
//! consumer    2                       takes them in order; its buffer comes back with the next call
//! ```

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};

/// Worker threads that make numbered things ahead of whoever takes them, in order, in memory that is used again.
///
/// Dropping it stops the workers as soon as each has finished what it is making, and waits for them.
///
/// # Examples
/// ```
/// use roundelay::batch::{Ahead, Prefetch};
/// let square = |number, to: &mut u64| {
///     *to = number * number;
///     Ok(())
/// };
/// let mut squares = Prefetch::new(Ahead { threads: 2, depth: 4 }, 3..6, square)?;
/// let mut seen = Vec::new();
/// while let Some(square) = squares.next() {
///     seen.push(*square?);
/// }
/// assert_eq!(seen, [9, 16, 25]);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug)]
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
    /// What the consumer holds.
    current: Option<T>,
    numbers: Range<u64>,
}

/// How far and by how many to work ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Worker threads; 2 by default.
    pub threads: usize,
    /// Buffers in all: those being made, those that wait to be taken, and the consumer's; 4 by default. With a single one
    /// nothing is made ahead.
    pub depth: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Ahead { threads: 2, depth: 4 }
    }
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// There is a free buffer, or an end.
    free: Condvar,
    /// Something has been made.
    made: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Not begun yet.
    left: Range<u64>,
    buffers: Vec<T>,
    made: BTreeMap<u64, (T, Result<()>)>,
    stopped: bool,
}

impl<T: Default + Send + 'static> Prefetch<T> {
    /// Begins to make `numbers` with `make`, which finds in its buffer whatever an earlier one left there.
    ///
    /// # Errors
    /// `Invalid` for no threads or no depth; `Io` if the system starts no thread.
    pub fn new<M>(ahead: Ahead, numbers: Range<u64>, make: M) -> Result<Self>
    where
        M: Fn(u64, &mut T) -> Result<()> + Send + Sync + 'static,
    {
        for (what, number) in [("threads", ahead.threads), ("depth", ahead.depth)] {
            if number == 0 {
                return Err(Error::invalid(what, 0, "at least 1"));
            }
        }
        let buffers = (0..ahead.depth).map(|_| T::default()).collect();
        let state = State { left: numbers.clone(), buffers, made: BTreeMap::new(), stopped: false };
        let shared = Shared { state: Mutex::new(state), free: Condvar::new(), made: Condvar::new() };
        let mut prefetch = Prefetch { shared: Arc::new(shared), workers: Vec::new(), current: None, numbers };
        let make = Arc::new(make);
        for _ in 0..ahead.threads {
            let (shared, make) = (prefetch.shared.clone(), make.clone());
            let worker = Builder::new().name("prefetch".into()).spawn(move || shared.work(&*make));
            // Those that were started stop when `prefetch` is dropped.
            prefetch.workers.push(worker.map_err(|e| Error::io("start a thread", e))?);
        }
        Ok(prefetch)
    }
}

impl<T> Prefetch<T> {
    /// The next one, once it is made; none behind the last. It may be taken out, with another left in its place.
    ///
    /// An error comes in its place, and a panic in a worker as an error; the numbers behind it come all the same.
    // No `Iterator`: what it gives is lent until the next call.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<&mut T>> {
        let number = self.numbers.next()?;
        let mut state = self.shared.lock();
        if let Some(buffer) = self.current.take() {
            state.buffers.push(buffer);
            self.shared.free.notify_one();
        }
        let (buffer, result) = loop {
            match state.made.remove(&number) {
                Some(made) => break made,
                None => state = self.shared.made.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        let current = self.current.insert(buffer);
        Some(result.map(|()| current))
    }
}

impl<T> Shared<T> {
    /// What a worker does.
    fn work(&self, make: &impl Fn(u64, &mut T) -> Result<()>) {
        while let Some((number, mut buffer)) = self.begin() {
            let made = catch_unwind(AssertUnwindSafe(|| make(number, &mut buffer)));
            let result = made.unwrap_or_else(|panic| Err(panicked(number, &*panic)));
            self.lock().made.insert(number, (buffer, result));
            self.made.notify_one();
        }
    }

    /// The next number and a buffer for it; none at the end.
    fn begin(&self) -> Option<(u64, T)> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.left.is_empty() {
                return None;
            }
            // Both at once: the lowest number that is not made always has a buffer.
            if let Some(buffer) = state.buffers.pop() {
                return state.left.next().map(|number| (number, buffer));
            }
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No panic happens while the lock is held but by the allocator's.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.free.notify_all();
        for worker in self.workers.drain(..) {
            worker.join().expect("a worker catches panics");
        }
    }
}

fn panicked(number: u64, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
    Error::io(format!("make step {number}"), io::Error::other(format!("a worker panicked: {text}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    use super::*;

    /// Counts what there is of it.
    #[derive(Debug)]
    struct Buffer {
        number: usize,
        holds: u64,
    }

    static BUFFERS: AtomicUsize = AtomicUsize::new(0);

    impl Default for Buffer {
        fn default() -> Self {
            Buffer { number: BUFFERS.fetch_add(1, SeqCst), holds: 0 }
        }
    }

    #[test]
    fn order_is_kept_and_buffers_come_back() {
        let make = |number: u64, to: &mut Buffer| {
            // Some take longer than those behind them.
            (0..(number * 7919) % 5000).for_each(|i| to.holds = std::hint::black_box(i));
            to.holds = number;
            Ok(())
        };
        let mut prefetch = Prefetch::new(Ahead { threads: 4, depth: 3 }, 10..1010, make).unwrap();
        let mut seen = BTreeSet::new();
        for number in 10..1010 {
            let buffer = prefetch.next().unwrap().unwrap();
            assert_eq!(buffer.holds, number);
            seen.insert(buffer.number);
        }
        assert!(prefetch.next().is_none() && prefetch.next().is_none());
        assert!(seen.len() <= 3, "{seen:?}");
    }

    #[test]
    fn work_is_bounded() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        let (told, made) = mpsc::channel();
        let make = move |number: u64, _: &mut u8| {
            count.fetch_add(1, SeqCst);
            told.send(number).unwrap();
            Ok(())
        };
        let mut prefetch = Prefetch::new(Ahead { threads: 2, depth: 3 }, 0..u64::MAX, make).unwrap();
        let first: BTreeSet<u64> = made.iter().take(3).collect();
        assert!(first.into_iter().eq(0..3));
        prefetch.next().unwrap().unwrap();
        // The consumer holds one buffer of the three; the others are full, and no fourth is begun.
        assert_eq!((begun.load(SeqCst), made.try_recv().is_err()), (3, true));
        prefetch.next().unwrap().unwrap();
        assert_eq!(made.recv().unwrap(), 3);
        drop(prefetch);
        assert!(begun.load(SeqCst) <= 4);
    }

    #[test]
    fn errors_and_panics_come_in_their_place() {
        let make = |number: u64, to: &mut u64| {
            *to = number;
            match number {
                3 => Err(Error::invalid("code", 9, "0..4").in_recording("b.wav@250")),
                5 => panic!("no more {number}"),
                _ => Ok(()),
            }
        };
        let mut prefetch = Prefetch::new(Ahead::default(), 0..8, make).unwrap();
        let seen: Vec<_> = std::iter::from_fn(|| {
            let next = prefetch.next()?;
            Some(next.map(|number| *number).map_err(|error| error.to_string()))
        })
        .collect();
        let mut expected: Vec<_> = (0..8).map(Ok).collect();
        expected[3] = Err("recording \"b.wav@250\": code is 9, expected 0..4".into());
        expected[5] = Err("cannot make step 5: a worker panicked: no more 5".into());
        assert_eq!(seen, expected);
    }

    #[test]
    fn dropping_waits_for_what_is_being_made_and_no_more() {
        let (begun, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let go = Arc::new(AtomicBool::new(false));
        let (of_begun, of_finished, of_go) = (begun.clone(), finished.clone(), go.clone());
        let make = move |_: u64, _: &mut u8| {
            of_begun.fetch_add(1, SeqCst);
            while !of_go.load(SeqCst) {
                std::thread::yield_now();
            }
            of_finished.fetch_add(1, SeqCst);
            Ok(())
        };
        let prefetch = Prefetch::new(Ahead { threads: 2, depth: 100 }, 0..1000, make).unwrap();
        while begun.load(SeqCst) < 2 {
            std::thread::yield_now();
        }
        let shared = prefetch.shared.clone();
        let dropping = std::thread::spawn(move || drop(prefetch));
        while !shared.lock().stopped {
            std::thread::yield_now();
        }
        go.store(true, SeqCst);
        dropping.join().unwrap();
        assert_eq!((begun.load(SeqCst), finished.load(SeqCst)), (2, 2));
    }

    #[test]
    fn nothing_ahead_is_refused() {
        let new = |threads, depth| Prefetch::new(Ahead { threads, depth }, 0..1, |_, _: &mut u8| Ok(()));
        assert!(new(0, 1).is_err() && new(1, 0).is_err());
        assert_eq!(new(1, 1).unwrap().next().map(|made| made.is_ok()), Some(true));
    }
}
