//! Logits of a part among those of all joint ids, and back.
//!
//! ```text
//! of the part    1.5  0.2  -1.0
//! joint          -inf  1.5  -inf  0.2  -1.0  -inf
//! ```

use ndarray::{Array, ArrayBase, Axis, Data, DataMut, Dimension};

use super::part::{Part, of_part};
use crate::error::Result;

impl Part {
    /// The part's logits among those of all joint ids; the rest is minus infinity, so that softmax gives it nothing.
    ///
    /// # Shapes
    /// `[.., part's size]`; returns `[.., joint size]`.
    /// # Errors
    /// `Invalid` if the last axis is not as long as the part.
    /// # Examples
    /// ```
    /// use ndarray::arr2;
    /// use roundelay::vocab::Joint;
    ///
    /// let joint = Joint::disjoint(&[("source", 2), ("target", 3)])?;
    /// let target = joint.part("target")?;
    /// let logits = arr2(&[[1.5, 0.2, -1.0]]);
    /// let wide = target.widen(&logits)?;
    /// assert_eq!(wide, arr2(&[[f64::NEG_INFINITY, f64::NEG_INFINITY, 1.5, 0.2, -1.0]]));
    /// assert_eq!(target.narrow(&wide)?, logits);
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn widen<F: Real, S: Data<Elem = F>, D: Dimension>(&self, logits: &ArrayBase<S, D>) -> Result<Array<F, D>> {
        self.widen_with(logits, F::NEG_INFINITY)
    }

    /// [`Part::widen`] with another filler: 0 for probabilities and gradients.
    ///
    /// # Errors
    /// As [`Part::widen`].
    pub fn widen_with<F: Real, S: Data<Elem = F>, D: Dimension>(
        &self,
        logits: &ArrayBase<S, D>,
        rest: F,
    ) -> Result<Array<F, D>> {
        let last = self.last_axis(logits, self.size())?;
        let mut shape = logits.raw_dim();
        shape[last] = self.joint_size();
        let mut wide = Array::from_elem(shape, rest);
        for (from, mut to) in logits.lanes(Axis(last)).into_iter().zip(wide.lanes_mut(Axis(last))) {
            self.in_joint_order().for_each(|(joint, id)| to[joint as usize] = from[id as usize]);
        }
        Ok(wide)
    }

    /// The part's own out of the logits of all joint ids, or of a gradient with respect to them.
    ///
    /// # Shapes
    /// `[.., joint size]`; returns `[.., part's size]`.
    /// # Errors
    /// `Invalid` if the last axis is not as long as the joint vocabulary.
    pub fn narrow<F: Real, S: Data<Elem = F>, D: Dimension>(&self, logits: &ArrayBase<S, D>) -> Result<Array<F, D>> {
        let last = self.last_axis(logits, self.joint_size())?;
        let mut shape = logits.raw_dim();
        shape[last] = self.size();
        let mut narrow = Array::from_elem(shape, F::NEG_INFINITY);
        for (from, mut to) in logits.lanes(Axis(last)).into_iter().zip(narrow.lanes_mut(Axis(last))) {
            self.in_joint_order().for_each(|(joint, id)| to[id as usize] = from[joint as usize]);
        }
        Ok(narrow)
    }

    /// Sets the logits of joint ids outside the part to minus infinity.
    ///
    /// # Shapes
    /// `[.., joint size]`.
    /// # Errors
    /// As [`Part::narrow`].
    pub fn mask_others<F: Real, S: DataMut<Elem = F>, D: Dimension>(&self, logits: &mut ArrayBase<S, D>) -> Result<()> {
        let (last, mask) = (self.last_axis(logits, self.joint_size())?, self.mask());
        for mut row in logits.lanes_mut(Axis(last)) {
            row.iter_mut().zip(&mask).filter(|(_, own)| !**own).for_each(|(logit, _)| *logit = F::NEG_INFINITY);
        }
        Ok(())
    }

    fn last_axis<S: ndarray::RawData, D: Dimension>(&self, logits: &ArrayBase<S, D>, expected: usize) -> Result<usize> {
        let found = logits.shape().last().copied();
        match found.filter(|found| *found == expected) {
            Some(_) => Ok(logits.ndim() - 1),
            None => Err(of_part(self.name(), "last axis of the logits", found.unwrap_or(0), expected)),
        }
    }
}

/// A number that logits may be made of: `f32` or `f64`.
pub trait Real: Copy + Into<f64> + Send + Sync + std::fmt::Debug + sealed::Width + 'static {
    /// The logit of what cannot be.
    const NEG_INFINITY: Self;

    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;
}

mod sealed {
    pub trait Width {}
}

macro_rules! real {
    ($($float:ident),*) => {$(
        impl sealed::Width for $float {}
        impl Real for $float {
            const NEG_INFINITY: Self = $float::NEG_INFINITY;
            fn from_f64(value: f64) -> Self {
                value as $float
            }
        }
    )*};
}
real!(f32, f64);

#[cfg(test)]
mod tests {
    use ndarray::{Array0, arr2};

    use super::*;

    #[test]
    fn masking_is_narrowing_and_widening() {
        let part = Part::map("a", vec![4, 0, 2]).unwrap();
        let mut logits = arr2(&[[1.0_f32, 2.0, 3.0, 4.0, 5.0]]);
        let again = part.widen(&part.narrow(&logits).unwrap()).unwrap();
        part.mask_others(&mut logits).unwrap();
        assert_eq!(logits, again);
        assert_eq!(part.narrow(&logits).unwrap(), arr2(&[[5.0, 1.0, 3.0]]));
        assert_eq!(part.widen_with(&arr2(&[[1.0, 2.0, 3.0]]), 0.0).unwrap(), arr2(&[[2.0, 0.0, 3.0, 0.0, 1.0]]));
    }

    #[test]
    fn other_lengths_are_refused() {
        let part = Part::range("a", 1, 2).unwrap();
        let error = part.widen(&arr2(&[[1.0, 2.0, 3.0]])).unwrap_err().to_string();
        assert_eq!(error, "part a: last axis of the logits is 3, expected 2");
        assert!(part.narrow(&Array0::from_elem((), 1.0)).is_err());
    }
}
