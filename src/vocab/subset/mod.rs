//! A few thousand words out of millions: which ids a step is made on, and a loss on them that stands for all.
//!
//! ```text
//! words 0..N        3    7   19   42   77   90          ids of a subset, in rising order
//! places 0..K       0    1    2    3    4    5          what the model says, and what labels become
//!
//! labels   [B, T]      42  7 -1     ->   3  1 -1        absent ones stay
//! table    [N, D]      rows 3 7 19 ..   ->   [K, D]     and gradients of rows back into [N, D]
//! logits   [.., K]     ->  [.., N]                      minus infinity elsewhere; gradients 0 elsewhere
//! ```
//! [`Subset`] is the map, [`Subsets`] one for each row of a batch. [`Proposal`] and [`Inclusion`] draw ids and say how
//! likely each was, which the losses set off: a softmax over a part of the words is smaller than over all of them, and
//! dividing each word's share by its chance of being there makes up for that. [`Curriculum`] shrinks the subset as
//! training goes on, [`Cache`] keeps what was found for a query, [`marker`] says which query is for which positions, and
//! [`select`] trains what chooses the words.
//!
//! # Examples
//! Half of the words, drawn evenly beside the labels, stand for all of them:
//!
//! ```
//! use ndarray::{Array1, Array2, arr1};
//! use roundelay::vocab::subset::{Inclusion, Uniforms, forced_inclusion_softmax, full_softmax};
//!
//! let logits = Array2::from_shape_fn((2, 1000), |(row, id)| ((row * 31 + id * 17) % 101) as f64 / 50.0);
//! let labels = arr1(&[7u32, 512]);
//! let full = full_softmax(logits.view(), labels.view())?;
//!
//! let drawn = Inclusion::draw(&[7, 512], 499, 1000, &mut Uniforms::new(1))?;
//! let taken = drawn.subset().take(logits.view())?;
//! assert_eq!(taken.dim(), (2, 501));
//! let part = forced_inclusion_softmax(taken.view(), labels.view(), &drawn)?;
//! assert!((part.mean() - full.mean()).abs() < 0.05, "{} and {}", part.mean(), full.mean());
//!
//! let all = Inclusion::draw(&[7, 512], 998, 1000, &mut Uniforms::new(1))?;
//! let whole = forced_inclusion_softmax(logits.view(), labels.view(), &all)?;
//! assert!((whole.mean() - full.mean()).abs() < 1e-12);
//! # Ok::<(), roundelay::Error>(())
//! ```

mod batch;
mod cache;
mod curriculum;
mod draws;
mod inclusion;
mod loss;
pub mod marker;
mod proposal;
mod remap;
mod sampled;
pub mod select;

pub use batch::Subsets;
pub use cache::Cache;
pub use curriculum::{Curriculum, Shrinking};
pub use draws::Uniforms;
pub use inclusion::{Inclusion, forced_inclusion_softmax};
pub use loss::{Loss, by_row, full_softmax, subset_softmax};
pub use proposal::Proposal;
pub use remap::Subset;
pub use sampled::{Correction, Sample, SampledSoftmax};
