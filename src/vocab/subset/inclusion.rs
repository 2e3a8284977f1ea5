//! Words that are surely in a subset, others drawn evenly, and the softmax that sets this right.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use ndarray::{ArrayView1, ArrayView2};

use super::draws::uniform;
use super::loss::cross_entropy;
use super::remap::check_axis;
use super::{Loss, Subset};
use crate::error::{Error, Result};
use crate::token::Token;
use crate::vocab::Real;

/// A subset, and how likely each of its ids was to be in it: 1 for those that were forced (labels, and what was retrieved
/// by a query), n / (N - forced) for the n others, drawn evenly and without replacement.
///
/// # Examples
/// ```
/// use roundelay::vocab::subset::{Inclusion, Uniforms};
/// let drawn = Inclusion::draw(&[3, 9], 4, 10, &mut Uniforms::new(5))?;
/// assert_eq!(drawn.subset().len(), 6);
/// assert!(drawn.subset().place(3).is_some() && drawn.subset().place(9).is_some());
/// let sure = drawn.log().iter().filter(|&&log| log == 0.0).count();
/// let half = drawn.log().iter().filter(|&&log| (log - 0.5f64.ln()).abs() < 1e-15).count();
/// assert_eq!((sure, half), (2, 4));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Inclusion {
    subset: Subset,
    log: Vec<f64>,
}

impl Inclusion {
    /// The subset of forced and drawn ids.
    ///
    /// # Errors
    /// As [`Subset::new`]; `Invalid` if a drawn id is forced as well, or drawn twice.
    pub fn new(forced: &[u32], drawn: &[u32], words: usize) -> Result<Self> {
        let forced = Subset::new(forced.iter().copied(), words)?;
        let subset = Subset::new(forced.ids().iter().chain(drawn).copied(), words)?;
        if subset.len() != forced.len() + drawn.len() {
            let twice = forced.len() + drawn.len() - subset.len();
            return Err(Error::invalid("drawn ids that are forced or drawn before", twice, 0));
        }
        let chance = (drawn.len() as f64 / (words - forced.len()) as f64).ln();
        let log = |&id: &u32| if forced.place(id).is_some() { 0.0 } else { chance };
        let log = subset.ids().iter().map(log).collect();
        Ok(Inclusion { subset, log })
    }

    /// The subset of forced ids and `count` others: as many numbers and steps as there are draws, however many words
    /// there are.
    ///
    /// # Errors
    /// As [`Subset::new`]; `Invalid` if there are fewer than `count` other words, or numbers to draw by.
    pub fn draw(forced: &[u32], count: usize, words: usize, draws: &mut dyn Iterator<Item = f64>) -> Result<Self> {
        let forced = Subset::new(forced.iter().copied(), words)?;
        let others = words - forced.len();
        if count > others {
            return Err(Error::invalid("number of words to draw", count, format!("at most {others}")));
        }
        // Floyd's sampling over the ranks of the others.
        let mut ranks = HashSet::<usize, FixedState>::default();
        for last in others - count..others {
            let rank = (uniform(draws)? * (last + 1) as f64) as usize;
            let rank = if ranks.insert(rank) { None } else { Some(last) };
            ranks.extend(rank);
        }
        let drawn: Vec<u32> = ranks.into_iter().map(|rank| other(&forced, rank)).collect();
        Inclusion::new(forced.ids(), &drawn, words)
    }

    /// The ids.
    pub fn subset(&self) -> &Subset {
        &self.subset
    }

    /// Logarithm of how likely each id was to be there, `[K]`, in the subset's order.
    pub fn log(&self) -> &[f64] {
        &self.log
    }
}

/// The word of this rank among those that are not forced.
fn other(forced: &Subset, rank: usize) -> u32 {
    // How many of the forced ids come before it: those with no more than `rank` others below them.
    let ids = forced.ids();
    let (mut low, mut high) = (0, ids.len());
    while low < high {
        let middle = (low + high) / 2;
        if ids[middle] as usize - middle <= rank { low = middle + 1 } else { high = middle }
    }
    (rank + low) as u32
}

/// Cross-entropy over a subset whose labels are forced, that stands for the one over all words.
///
/// ```text
/// loss = ln sum_j e^(s_j - ln P_j) - s_y          P_j how likely j was to be in the subset
/// ```
/// The sum of exponentials is that over all words on average. The loss is a little smaller, by half the relative variance
/// of that sum. With all words drawn it is [`full_softmax`](super::full_softmax) to the bit.
///
/// # Shapes
/// `logits` is `[R, K]`, of the subset; `labels` `[R]` are ids of words.
/// # Errors
/// `Invalid` for shapes that do not fit, a label that is not in the subset or was not sure to be, and a loss that is no
/// finite number.
pub fn forced_inclusion_softmax<T: Real, L: Token>(
    logits: ArrayView2<T>,
    labels: ArrayView1<L>,
    drawn: &Inclusion,
) -> Result<Loss<T>> {
    check_axis("logits of a row", logits.ncols(), drawn.subset.len())?;
    let places = drawn.subset.places(labels)?;
    match places.iter().flatten().find(|&&place| drawn.log[place] != 0.0) {
        Some(&place) => Err(Error::invalid("label", drawn.subset.ids()[place], "one of the ids that are forced")),
        None => cross_entropy(logits, &places, Some(&drawn.log)),
    }
}
