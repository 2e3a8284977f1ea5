//! What the last axis of a model's output counts.

use ndarray::{Array, ArrayBase, ArrayView1, Axis, Data, Dimension};

use crate::error::{Error, Result};
use crate::token::ABSENT;
use crate::vocab::{Part, Real};

/// What the last axis of a model's output counts: all joint ids, or the target's own ids alone.
///
/// A target of 512 ids in a joint vocabulary of 35,512 is best given as `Target`: nothing is spent on the others, and
/// none of them can be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outputs<'a> {
    /// All joint ids, of which this part is the target.
    Joint(&'a Part),
    /// The ids of the target.
    Target(&'a Part),
}

impl<'a> Outputs<'a> {
    /// The part that tokens are of at time 1.
    pub fn target(self) -> &'a Part {
        match self {
            Outputs::Joint(target) | Outputs::Target(target) => target,
        }
    }

    /// Length of the last axis.
    pub fn size(self) -> usize {
        match self {
            Outputs::Joint(target) => target.joint_size(),
            Outputs::Target(target) => target.size(),
        }
    }

    /// Where a joint id stands on the last axis; the target has not all of them.
    pub(super) fn index(self, joint: u32) -> Option<usize> {
        match self {
            Outputs::Joint(target) => Some(joint as usize).filter(|&id| id < target.joint_size()),
            Outputs::Target(target) => target.local(joint).map(|id| id as usize),
        }
    }

    /// Joint ids of the target with their place on the last axis, from low to high.
    pub(super) fn of_target(self) -> impl Iterator<Item = (u32, usize)> + Clone + use<'a> {
        let joint = matches!(self, Outputs::Joint(_));
        self.target().in_joint_order().map(move |(id, own)| (id, if joint { id } else { own } as usize))
    }

    /// Checks an output against the tokens that it is for.
    pub(super) fn check(self, what: &str, found: &[usize], tokens: &[usize]) -> Result<()> {
        let expected: Vec<usize> = tokens.iter().copied().chain([self.size()]).collect();
        super::path::check_shape(what, found, &expected)
    }

    /// A token as a joint id; `None` for an absent one.
    pub(super) fn token(self, what: &str, at: usize, id: i64) -> Result<Option<u32>> {
        let size = self.target().joint_size();
        match usize::try_from(id) {
            Ok(joint) if joint < size => Ok(Some(joint as u32)),
            Err(_) if id == ABSENT => Ok(None),
            _ => Err(Error::invalid(format!("{what} at position {at}"), id, format!("a joint id, 0..{size}"))),
        }
    }
}

/// Probabilities of logits, over the last axis.
///
/// # Shapes
/// `[.., ids]`; returns the same.
/// # Errors
/// `Invalid`, with the position in row-major order, where all logits are minus infinity or one is no number.
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::flow::softmax;
///
/// let logits = arr2(&[[0.0_f32, f32::NEG_INFINITY, 0.0], [3.0, 3.0, 3.0]]);
/// let probabilities = softmax(&logits)?;
/// assert_eq!(probabilities.row(0).to_vec(), [0.5, 0.0, 0.5]);
/// assert!((probabilities[[1, 2]] - 1.0 / 3.0).abs() < 1e-7);
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn softmax<F: Real, D: Dimension>(logits: &ArrayBase<impl Data<Elem = F>, D>) -> Result<Array<F, D>> {
    let Some(last) = logits.ndim().checked_sub(1) else {
        return Err(Error::invalid("number of axes of the logits", 0, "1 or more"));
    };
    let mut probabilities = logits.to_owned();
    for (at, mut row) in probabilities.lanes_mut(Axis(last)).into_iter().enumerate() {
        let log_sum = log_sum(row.view(), at)?;
        row.mapv_inplace(|logit| F::from_f64((logit.into() - log_sum).exp()));
    }
    Ok(probabilities)
}

/// The logarithm of the sum of what logits are logarithms of.
pub(super) fn log_sum<F: Real>(logits: ArrayView1<'_, F>, at: usize) -> Result<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, &logit| largest.max(logit.into()));
    let sum: f64 = logits.iter().map(|&logit| (logit.into() - largest).exp()).sum();
    match largest.is_finite() && !sum.is_nan() {
        true => Ok(largest + sum.ln()),
        false => {
            let found = if sum.is_nan() && largest.is_finite() { f64::NAN } else { largest };
            Err(Error::invalid(format!("largest logit at position {at}"), found, "a number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{arr0, arr2};

    use super::*;

    #[test]
    fn logits_without_a_largest_one_are_refused() {
        let refused = |row: [f32; 2]| softmax(&arr2(&[[0.0, 1.0], row])).unwrap_err().to_string();
        let of = |number| format!("largest logit at position 1 is {number}, expected a number");
        assert_eq!(refused([f32::NEG_INFINITY; 2]), of("-inf"));
        assert_eq!(refused([0.0, f32::INFINITY]), of("inf"));
        assert_eq!(refused([0.0, f32::NAN]), of("NaN"));
        assert!(softmax(&arr0(1.0)).is_err());
    }

    #[test]
    fn the_target_has_its_ids_in_joint_order() {
        let joint = crate::vocab::Joint::with_size(6, vec![Part::map("a", vec![5, 0, 3]).unwrap()]).unwrap();
        let target = joint.part("a").unwrap();
        assert_eq!(Outputs::Joint(target).of_target().collect::<Vec<_>>(), [(0, 0), (3, 3), (5, 5)]);
        assert_eq!(Outputs::Target(target).of_target().collect::<Vec<_>>(), [(0, 1), (3, 2), (5, 0)]);
        assert_eq!([4, 5].map(|id| Outputs::Target(target).index(id)), [None, Some(0)]);
        assert_eq!([4, 6].map(|id| Outputs::Joint(target).index(id)), [Some(4), None]);
    }
}
