//! Decoded row groups, the last used of them, within a bound.
//!
//! ```text
//! get 7   slot of 7: filled          -> its segments
//! get 3   slot of 3: being filled    -> waits for the thread that does
//! get 5   slot of 5: new             -> decodes; the longest unused go until all fit
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::Segment;
use crate::error::Result;

/// The segments of a row group.
pub(super) type Block = Arc<[Arc<Segment>]>;

/// Blocks by number. Those that are being decoded, and those still held by others, come on top of the bound.
#[derive(Debug)]
pub(super) struct Cache {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<usize, Entry>,
    /// Filled blocks by when they were last used.
    used: BTreeMap<u64, usize>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// Locked while the block is decoded, which the cache is not.
    slot: Arc<Mutex<Option<Block>>>,
    /// When it was last used, and its size; none until it is filled.
    filled: Option<(u64, usize)>,
}

impl Cache {
    pub fn new(limit: usize) -> Self {
        Cache { limit, state: Mutex::default() }
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.state = Mutex::default();
    }

    /// The block of this number, which `decode` makes if it is not here. Threads that want the same one wait for the
    /// first; after its error the next tries again.
    pub fn get(&self, number: usize, decode: impl FnOnce() -> Result<Vec<Segment>>) -> Result<Block> {
        let slot = self.slot(number);
        let mut block = lock(&slot);
        if let Some(block) = &*block {
            return Ok(block.clone());
        }
        let made: Block = decode()?.into_iter().map(Arc::new).collect();
        *block = Some(made.clone());
        self.keep(number, made.iter().map(|segment| size_of_segment(segment)).sum());
        Ok(made)
    }

    fn slot(&self, number: usize) -> Arc<Mutex<Option<Block>>> {
        let mut state = lock(&self.state);
        state.touch(number);
        state.slots.entry(number).or_default().slot.clone()
    }

    /// Counts a block that was just filled, and lets the longest unused go.
    fn keep(&self, number: usize, bytes: usize) {
        let mut state = lock(&self.state);
        let time = state.tick();
        let Some(entry) = state.slots.get_mut(&number) else { return };
        entry.filled = Some((time, bytes));
        state.used.insert(time, number);
        state.bytes += bytes;
        // The last one stays, however large: its neighbours are likely to be next.
        while state.bytes > self.limit && state.used.len() > 1 {
            let Some((_, oldest)) = state.used.pop_first() else { return };
            let entry = state.slots.remove(&oldest);
            state.bytes -= entry.and_then(|entry| entry.filled).map_or(0, |(_, bytes)| bytes);
        }
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn touch(&mut self, number: usize) {
        let now = self.tick();
        let Some((time, _)) = self.slots.get_mut(&number).and_then(|entry| entry.filled.as_mut()) else { return };
        self.used.remove(time);
        *time = now;
        self.used.insert(now, number);
    }
}

/// A panic elsewhere leaves nothing half done in what these locks hold.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that a segment takes, without what the allocator adds.
fn size_of_segment(segment: &Segment) -> usize {
    use crate::text::PlacedWord;
    use crate::weights::Region;
    let word = |w: &PlacedWord| size_of::<PlacedWord>() + w.word.text.len() + w.word.speaker.len() + 4 * w.tokens.len();
    let words: usize = segment.words.iter().map(word).sum();
    let texts = segment.id.len() + segment.path.len() + segment.meta.len();
    size_of::<Segment>() + 4 * segment.codes.0.len() + words + size_of::<Region>() * segment.regions.len() + texts
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use ndarray::Array2;

    use super::*;
    use crate::batch::Split;
    use crate::error::Error;
    use crate::stream::Frames;
    use crate::units::Seconds;

    fn segment(frames: usize) -> Segment {
        Segment {
            id: String::new(),
            path: String::new(),
            start: Seconds::ZERO,
            duration: Seconds::ZERO,
            codes: Frames(Array2::zeros((1, frames))),
            words: vec![],
            regions: vec![],
            split: Split::Train,
            meta: String::new(),
        }
    }

    /// Asks for blocks of one size in turn; returns which had to be decoded.
    fn decoded(cache: &Cache, asked: &[usize]) -> Vec<usize> {
        let mut decoded = Vec::new();
        for &number in asked {
            let block = cache.get(number, || {
                decoded.push(number);
                Ok(vec![segment(number)])
            });
            assert_eq!(block.unwrap()[0].codes.0.ncols(), number);
        }
        decoded
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let one = size_of_segment(&segment(0));
        let cache = Cache::new(2 * one + one / 2);
        assert_eq!(decoded(&cache, &[1, 2, 1, 3, 1, 2, 3]), [1, 2, 3, 2, 3]);
        assert!(lock(&cache.state).bytes <= cache.limit && lock(&cache.state).slots.len() == 2);
    }

    #[test]
    fn what_is_larger_than_the_bound_is_kept_until_another_comes() {
        let cache = Cache::new(10);
        assert_eq!(decoded(&cache, &[1, 1, 2, 1]), [1, 2, 1]);
        let state = lock(&cache.state);
        assert_eq!((state.slots.len(), state.used.len()), (1, 1));
    }

    #[test]
    fn after_an_error_the_next_tries_again() {
        let cache = Cache::new(usize::MAX);
        assert!(cache.get(1, || Err(Error::invalid("a", "b", "c"))).is_err());
        assert_eq!(decoded(&cache, &[1, 1]), [1]);
    }

    #[test]
    fn threads_that_want_the_same_block_decode_it_once() {
        let (cache, count) = (Cache::new(usize::MAX), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..50 {
                        let decode = || {
                            count.fetch_add(1, SeqCst);
                            std::thread::yield_now();
                            Ok(vec![segment(number)])
                        };
                        assert_eq!(cache.get(number, decode).unwrap()[0].codes.0.ncols(), number);
                    }
                });
            }
        });
        assert_eq!(count.load(SeqCst), 50);
    }
}
