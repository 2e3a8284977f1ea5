//! What was found for a query is kept for the next time it is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use ndarray::{Array2, ArrayView2, Axis};

use super::remap::check_axis;
use crate::error::{Error, Result};

/// Results by query, of a bounded number: the one that was not asked for longest makes room.
///
/// Queries are the same if they are so to the bit. Results are those of one store of vectors, and one way of asking:
/// [`Cache::clear`] it when a vector or the number of results changes, as in training.
///
/// # Examples
/// ```
/// use ndarray::{Array2, arr2};
/// use roundelay::vocab::subset::Cache;
///
/// let mut cache = Cache::new(100)?;
/// let double = |queries: Array2<f32>| Ok(queries.outer_iter().map(|q| q.mapv(|x| 2.0 * x).to_vec()).collect());
/// let found = cache.results(arr2(&[[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]).view(), double)?;
/// assert_eq!(found.iter().map(|found| found[0]).collect::<Vec<_>>(), [2.0, 6.0, 2.0]);
/// cache.results(arr2(&[[3.0, 4.0]]).view(), double)?;
/// assert_eq!((cache.hits(), cache.misses()), (2, 2));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cache<V> {
    most: usize,
    /// When each was asked for last, and what was found.
    found: HashMap<Box<[u32]>, (u64, Arc<V>), FixedState>,
    /// Queries by when they were asked for last.
    asked: BTreeMap<u64, Box<[u32]>>,
    now: u64,
    hits: u64,
    misses: u64,
}

impl<V> Cache<V> {
    /// A cache of at most so many results.
    ///
    /// # Errors
    /// `Invalid` for none.
    pub fn new(most: usize) -> Result<Self> {
        if most == 0 {
            return Err(Error::invalid("results to keep", 0, "at least 1"));
        }
        let (found, asked) = Default::default();
        Ok(Cache { most, found, asked, now: 0, hits: 0, misses: 0 })
    }

    /// The results of a batch of queries: what is not known is searched, all at once and each query once.
    ///
    /// # Shapes
    /// `queries` is `[B, D]`; `search` is given `[M, D]` and returns M results. Returns B.
    /// # Errors
    /// Those of `search`; `Invalid` if it returns another number of results. What is kept then stays as it is.
    pub fn results(
        &mut self,
        queries: ArrayView2<f32>,
        search: impl FnOnce(Array2<f32>) -> Result<Vec<V>>,
    ) -> Result<Vec<Arc<V>>> {
        let keys: Vec<Box<[u32]>> = queries.outer_iter().map(|q| q.iter().map(|x| x.to_bits()).collect()).collect();
        let mut missing = HashMap::<&[u32], usize, FixedState>::default();
        let mut rows = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            if !self.found.contains_key(key) && !missing.contains_key(&**key) {
                missing.insert(key, rows.len());
                rows.push(row);
            }
        }
        let searched = match rows.is_empty() {
            true => Vec::new(),
            false => search(queries.select(Axis(0), &rows))?,
        };
        check_axis("number of results", searched.len(), rows.len())?;
        let searched: Vec<Arc<V>> = searched.into_iter().map(Arc::new).collect();
        (self.hits, self.misses) = (self.hits + (keys.len() - rows.len()) as u64, self.misses + rows.len() as u64);
        let result = |key: &[u32]| match missing.get(key) {
            Some(&row) => searched[row].clone(),
            None => self.found[key].1.clone(),
        };
        // All are looked up before any is kept, as that may push others out.
        let results: Vec<Arc<V>> = keys.iter().map(|key| result(key)).collect();
        drop(missing);
        keys.into_iter().zip(&results).for_each(|(key, result)| self.keep(key, result.clone()));
        Ok(results)
    }

    fn keep(&mut self, key: Box<[u32]>, result: Arc<V>) {
        self.now += 1;
        if let Some((before, _)) = self.found.insert(key.clone(), (self.now, result)) {
            self.asked.remove(&before);
        }
        self.asked.insert(self.now, key);
        if self.found.len() > self.most
            && let Some((_, oldest)) = self.asked.pop_first()
        {
            self.found.remove(&oldest);
        }
    }

    /// Forgets all results.
    pub fn clear(&mut self) {
        self.found.clear();
        self.asked.clear();
    }

    /// How many results are kept.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many queries were answered from what was known, or with another one of their batch.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// How many were searched.
    pub fn misses(&self) -> u64 {
        self.misses
    }
}
