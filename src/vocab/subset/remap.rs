//! The map between ids of all words and places in a subset.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use ndarray::{Array, Array2, ArrayView, ArrayView2, ArrayViewMut2, Axis, Dimension, RemoveAxis, Zip};

use crate::error::{Error, Result};
use crate::token::Token;

/// Some of the ids `0..words`, each once and in rising order; an id's place among them is what it is called inside.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::vocab::subset::Subset;
///
/// let subset = Subset::new([42, 7, 90, 7], 100)?;
/// assert_eq!(subset.ids(), [7, 42, 90]);
/// let labels = arr2(&[[42i32, 7, -1]]);
/// let local = subset.local(labels.view())?;
/// assert_eq!(local, arr2(&[[1, 0, -1]]));
/// assert_eq!(subset.global(local.view())?, labels);
/// let error = subset.local(arr2(&[[7i32, 8]]).view()).unwrap_err();
/// assert_eq!(error.to_string(), "label at [0, 1] is 8, expected one of the 3 ids of the subset");
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subset {
    ids: Vec<u32>,
    words: usize,
}

impl Subset {
    /// The subset of these ids, in any order and as often as they are named.
    ///
    /// # Errors
    /// `Invalid` for an id that is no word; `OverLimit` for more than 2^32 words.
    pub fn new(ids: impl IntoIterator<Item = u32>, words: usize) -> Result<Self> {
        check_words(words)?;
        let mut ids: Vec<u32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.last().filter(|&&last| last as usize >= words) {
            Some(last) => Err(Error::invalid("id", last, format!("0..{words}"))),
            None => Ok(Subset { ids, words }),
        }
    }

    /// The subset of exactly `size` ids: all that are `forced`, then `ranked` ones, the best first, until it is full.
    ///
    /// # Errors
    /// As [`Subset::new`]; `Invalid` if more than `size` ids are forced, or too few are ranked to fill it.
    pub fn filled(size: usize, forced: &[u32], ranked: impl IntoIterator<Item = u32>, words: usize) -> Result<Self> {
        let forced = Subset::new(forced.iter().copied(), words)?;
        if forced.len() > size {
            return Err(Error::invalid("number of forced ids", forced.len(), format!("at most {size}")));
        }
        let mut taken: HashSet<u32, FixedState> = forced.ids.iter().copied().collect();
        let ranked = ranked.into_iter().filter(|&id| taken.insert(id));
        let missing = size - forced.len();
        let ids: Vec<u32> = forced.ids.iter().copied().chain(ranked.take(missing)).collect();
        match ids.len() == size {
            true => Subset::new(ids, words),
            false => Err(Error::invalid("ids to fill the subset", ids.len(), size)),
        }
    }

    /// All that is in one of them.
    ///
    /// # Errors
    /// `Invalid` if the numbers of words differ or there is no subset.
    pub fn union(subsets: &[Subset]) -> Result<Self> {
        let words = same_words(subsets)?;
        Subset::new(subsets.iter().flat_map(|subset| subset.ids.iter().copied()), words)
    }

    /// The ids, in rising order.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many there are: K.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many words there are to choose from: N.
    pub fn words(&self) -> usize {
        self.words
    }

    /// An id's place.
    pub fn place(&self, id: u32) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// Labels as places; -1 and -2 stay as they are.
    ///
    /// # Shapes
    /// Any.
    /// # Errors
    /// `Invalid` with where it is for a label that is not in the subset.
    pub fn local<T: Token, D: Dimension>(&self, labels: ArrayView<T, D>) -> Result<Array<T, D>> {
        convert(labels, "one of", self, |id| Some(self.place(u32::try_from(id).ok()?)? as i64))
    }

    /// Places as labels; -1 and -2 stay as they are.
    ///
    /// # Shapes
    /// Any.
    /// # Errors
    /// `Invalid` with where it is for a place that the subset has not, or an id that the type cannot hold.
    pub fn global<T: Token, D: Dimension>(&self, places: ArrayView<T, D>) -> Result<Array<T, D>> {
        convert(places, "a place among", self, |place| Some(i64::from(*self.ids.get(usize::try_from(place).ok()?)?)))
    }

    /// Places of labels, as indices; none where the label is -1 or -2.
    pub(super) fn places<T: Token>(&self, labels: ndarray::ArrayView1<T>) -> Result<Vec<Option<usize>>> {
        let place = |(row, &label): (usize, &T)| match u32::try_from(label.into()).ok().and_then(|id| self.place(id)) {
            None if is_absent(label.into()) => Ok(None),
            None => Err(not_there("label", row, label.into(), "one of", self)),
            place => Ok(place),
        };
        labels.iter().enumerate().map(place).collect()
    }

    /// Rows of a table: the embeddings of the subset.
    ///
    /// # Shapes
    /// `table` is `[N, D]`; returns `[K, D]`.
    /// # Errors
    /// `Invalid` if the table has not N rows.
    pub fn gather<T: Copy>(&self, table: ArrayView2<T>) -> Result<Array2<T>> {
        check_axis("rows of the table", table.nrows(), self.words)?;
        Ok(self.pick(table, Axis(0)))
    }

    /// Adds rows of the subset to those of a table: gradients of embeddings, back to where they were gathered.
    ///
    /// # Shapes
    /// `rows` is `[K, D]`, `table` `[N, D]`.
    /// # Errors
    /// `Invalid` if that is not so.
    pub fn add<T: Copy + std::ops::AddAssign>(&self, rows: ArrayView2<T>, mut table: ArrayViewMut2<T>) -> Result<()> {
        check_axis("rows of the subset", rows.nrows(), self.len())?;
        check_axis("rows of the table", table.nrows(), self.words)?;
        check_axis("columns of the table", table.ncols(), rows.ncols())?;
        for (row, &id) in rows.outer_iter().zip(&self.ids) {
            Zip::from(table.row_mut(id as usize)).and(row).for_each(|sum, &part| *sum += part);
        }
        Ok(())
    }

    /// What belongs to the subset, of numbers of all words.
    ///
    /// # Shapes
    /// `[.., N]` to `[.., K]`.
    /// # Errors
    /// `Invalid` if the last axis is not N long.
    pub fn take<T: Copy, D: RemoveAxis>(&self, all: ArrayView<T, D>) -> Result<Array<T, D>> {
        let last = last_axis(&all)?;
        check_axis("last axis", all.len_of(last), self.words)?;
        Ok(self.pick(all, last))
    }

    /// Numbers of the subset among those of all words, which are `rest`: minus infinity for logits, 0 for gradients.
    ///
    /// # Shapes
    /// `[.., K]` to `[.., N]`.
    /// # Errors
    /// `Invalid` if the last axis is not K long.
    pub fn scatter<T: Copy, D: RemoveAxis>(&self, part: ArrayView<T, D>, rest: T) -> Result<Array<T, D>> {
        let last = last_axis(&part)?;
        check_axis("last axis", part.len_of(last), self.len())?;
        let mut shape = part.raw_dim();
        shape[last.index()] = self.words;
        let mut all = Array::from_elem(shape, rest);
        for (mut all, part) in all.lanes_mut(last).into_iter().zip(part.lanes(last)) {
            self.ids.iter().zip(part).for_each(|(&id, &number)| all[id as usize] = number);
        }
        Ok(all)
    }

    fn pick<T: Copy, D: RemoveAxis>(&self, all: ArrayView<T, D>, axis: Axis) -> Array<T, D> {
        let ids: Vec<usize> = self.ids.iter().map(|&id| id as usize).collect();
        all.select(axis, &ids)
    }
}

/// Ids are 32 bits wide.
pub(super) fn check_words(words: usize) -> Result<()> {
    match u64::try_from(words).is_ok_and(|words| words <= 1 << 32) {
        true => Ok(()),
        false => Err(Error::over_limit("number of words", words, 1u64 << 32)),
    }
}

/// The number of words that subsets have in common.
pub(super) fn same_words(subsets: &[Subset]) -> Result<usize> {
    let words = subsets.first().ok_or_else(|| Error::invalid("number of subsets", 0, "at least 1"))?.words;
    match subsets.iter().find(|subset| subset.words != words) {
        Some(other) => Err(Error::invalid("words of a subset", other.words, format!("{words}, as of the first"))),
        None => Ok(words),
    }
}

pub(super) fn check_axis(what: &str, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::invalid(what, found, expected)),
    }
}

/// Whether an id stands for none: absent, or to be generated.
pub(super) fn is_absent(id: i64) -> bool {
    (crate::token::UNGENERATED..0).contains(&id)
}

fn last_axis<T, D: Dimension>(array: &ArrayView<T, D>) -> Result<Axis> {
    let last = array.ndim().checked_sub(1);
    last.map(Axis).ok_or_else(|| Error::invalid("number of axes", 0, "at least 1"))
}

/// Ids of one kind as the other, where they are neither absent nor to be generated.
fn convert<T: Token, D: Dimension>(
    ids: ArrayView<T, D>,
    whose: &str,
    subset: &Subset,
    other: impl Fn(i64) -> Option<i64>,
) -> Result<Array<T, D>> {
    let mut converted = ids.to_owned();
    for (place, id) in converted.iter_mut().enumerate() {
        let old: i64 = (*id).into();
        if !is_absent(old) {
            let new = other(old).and_then(|new| T::try_from(new).ok());
            *id = new.ok_or_else(|| not_there("label", at(ids.shape(), place), old, whose, subset))?;
        }
    }
    Ok(converted)
}

fn not_there(what: &str, at: impl std::fmt::Debug, id: i64, whose: &str, subset: &Subset) -> Error {
    Error::invalid(format!("{what} at {at:?}"), id, format!("{whose} the {} ids of the subset", subset.len()))
}

/// The index of an element, by its number in logical order.
fn at(shape: &[usize], mut number: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &length) in index.iter_mut().zip(shape).rev() {
        (*place, number) = (number % length, number / length);
    }
    index
}
