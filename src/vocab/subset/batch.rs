//! A subset of its own for each row of a batch.

use ndarray::{Array, Array2, Array3, ArrayView, ArrayView2, ArrayView3, ArrayViewMut2, Axis, Dimension, RemoveAxis};

use super::Subset;
use super::remap::{check_axis, same_words};
use crate::error::Result;
use crate::token::Token;

/// One subset for each row, all of the same size: [`Subset::filled`] makes such ones.
///
/// # Shapes
/// B subsets of K of N words.
///
/// # Examples
/// ```
/// use ndarray::{Array2, arr2, arr3};
/// use roundelay::vocab::subset::{Subset, Subsets};
///
/// let labels = arr2(&[[5i64, 9], [0, 5]]);
/// let ranked = [[1, 5, 2, 3], [9, 8, 7, 6]]; // by two queries
/// let row = |forced: [u32; 2], ranked| Subset::filled(3, &forced, ranked, 10);
/// let subsets = Subsets::new(vec![row([5, 9], ranked[0])?, row([0, 5], ranked[1])?])?;
/// assert_eq!(subsets.ids(), arr2(&[[1, 5, 9], [0, 5, 9]]));
/// assert_eq!(subsets.local(labels.view())?, arr2(&[[1, 2], [0, 1]]));
///
/// let table = Array2::from_shape_fn((10, 2), |(id, d)| 10 * id + d);
/// let rows = arr3(&[[[10, 11], [50, 51], [90, 91]], [[0, 1], [50, 51], [90, 91]]]);
/// assert_eq!(subsets.gather(table.view())?, rows);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsets(Vec<Subset>);

impl Subsets {
    /// Joins the subsets of a batch's rows.
    ///
    /// # Errors
    /// `Invalid` if there is none, or if their sizes or their numbers of words differ.
    pub fn new(rows: Vec<Subset>) -> Result<Self> {
        same_words(&rows)?;
        rows.iter().try_for_each(|row| check_axis("ids of a subset", row.len(), rows[0].len()))?;
        Ok(Subsets(rows))
    }

    /// The subsets, row by row.
    pub fn rows(&self) -> &[Subset] {
        &self.0
    }

    /// Their ids, `[B, K]`.
    pub fn ids(&self) -> Array2<u32> {
        Array2::from_shape_fn((self.0.len(), self.0[0].len()), |(row, place)| self.0[row].ids()[place])
    }

    /// Labels as places in their row's subset: [`Subset::local`].
    ///
    /// # Shapes
    /// `[B, T]`.
    /// # Errors
    /// As there; `Invalid` for another number of rows.
    pub fn local<T: Token>(&self, labels: ArrayView2<T>) -> Result<Array2<T>> {
        let rows = self.with(labels)?.map(|(subset, row)| subset.local(row)).collect::<Result<Vec<_>>>()?;
        Ok(stacked(&rows))
    }

    /// Places as labels: [`Subset::global`].
    ///
    /// # Shapes
    /// `[B, T]`.
    /// # Errors
    /// As there; `Invalid` for another number of rows.
    pub fn global<T: Token>(&self, places: ArrayView2<T>) -> Result<Array2<T>> {
        let rows = self.with(places)?.map(|(subset, row)| subset.global(row)).collect::<Result<Vec<_>>>()?;
        Ok(stacked(&rows))
    }

    /// Rows of a table, `[N, D]` to `[B, K, D]`.
    ///
    /// # Errors
    /// As [`Subset::gather`].
    pub fn gather<T: Copy>(&self, table: ArrayView2<T>) -> Result<Array3<T>> {
        let rows = self.0.iter().map(|subset| subset.gather(table)).collect::<Result<Vec<_>>>()?;
        Ok(stacked(&rows))
    }

    /// Adds the gradients of gathered rows to those of the table, `[B, K, D]` to `[N, D]`.
    ///
    /// # Errors
    /// As [`Subset::add`]; `Invalid` for another number of rows.
    pub fn add<T: Copy + std::ops::AddAssign>(&self, rows: ArrayView3<T>, mut table: ArrayViewMut2<T>) -> Result<()> {
        self.with(rows)?.try_for_each(|(subset, rows)| subset.add(rows, table.view_mut()))
    }

    /// What belongs to each row's subset: [`Subset::take`], `[B, T, N]` to `[B, T, K]`.
    ///
    /// # Errors
    /// As there; `Invalid` for another number of rows.
    pub fn take<T: Copy>(&self, all: ArrayView3<T>) -> Result<Array3<T>> {
        let rows = self.with(all)?.map(|(subset, row)| subset.take(row)).collect::<Result<Vec<_>>>()?;
        Ok(stacked(&rows))
    }

    /// Numbers of each row's subset among those of all words: [`Subset::scatter`], `[B, T, K]` to `[B, T, N]`.
    ///
    /// # Errors
    /// As there; `Invalid` for another number of rows.
    pub fn scatter<T: Copy>(&self, part: ArrayView3<T>, rest: T) -> Result<Array3<T>> {
        let rows = self.with(part)?.map(|(subset, row)| subset.scatter(row, rest)).collect::<Result<Vec<_>>>()?;
        Ok(stacked(&rows))
    }

    /// Each subset with its row of a batch.
    fn with<'a, T, D: RemoveAxis>(
        &'a self,
        batch: ArrayView<'a, T, D>,
    ) -> Result<impl Iterator<Item = (&'a Subset, ArrayView<'a, T, D::Smaller>)>> {
        check_axis("rows of the batch", batch.len_of(Axis(0)), self.0.len())?;
        let rows: Vec<_> = (0..self.0.len()).map(|row| batch.clone().index_axis_move(Axis(0), row)).collect();
        Ok(self.0.iter().zip(rows))
    }
}

/// Rows of a batch as one.
fn stacked<T: Clone, D: Dimension>(rows: &[Array<T, D>]) -> Array<T, D::Larger>
where
    D::Larger: RemoveAxis,
{
    let rows: Vec<_> = rows.iter().map(|row| row.view()).collect();
    ndarray::stack(Axis(0), &rows).expect("subsets are of one size")
}
