//! Whether models are taught to end.
//!
//! ```text
//! step         0   1   2   3   4          extended     s3 and the end are targets: the end is live
//! target      s0  s1  s2  s3  end
//! weight     100 100 100 100  100
//!
//! target      s0  s1  s2  s3              truncated    the end fell off: the model is never told to stop
//! ```

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::stream::Stream;

/// In how many examples a stream's end is learned: a target that is its end id, and weighs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndTokens {
    /// The end id.
    pub id: u32,
    /// Whether the id is that of an ordinary code as well: then only the last target of a stream that weighs something
    /// can be its end.
    pub is_code: bool,
    /// Examples with a live end.
    pub live: u64,
}

impl EndTokens {
    pub(super) fn of(stream: &Stream, id: u32) -> Self {
        EndTokens { id, is_code: stream.kind.is_audio() && id < stream.cardinality, live: 0 }
    }

    /// Looks for a live end in each example of a stream.
    ///
    /// # Shapes
    /// `targets` and `weights` are `[batch, time]` over steps.
    pub(super) fn count(&mut self, targets: ArrayView2<i64>, weights: ArrayView2<f32>) {
        let id = i64::from(self.id);
        for (targets, weights) in targets.axis_iter(Axis(0)).zip(weights.axis_iter(Axis(0))) {
            let mut learned =
                targets.iter().zip(weights).filter(|(_, weight)| **weight > 0.0).map(|(target, _)| *target);
            let live = if self.is_code { learned.next_back() == Some(id) } else { learned.any(|target| target == id) };
            self.live += u64::from(live);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::stream::Layout;

    #[test]
    fn an_end_that_is_a_code_as_well_is_one_at_the_end_only() {
        let csm = Layout::preset("csm").unwrap();
        let mut end = EndTokens::of(&csm.streams()[0], 0);
        let weights = arr2(&[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]);
        end.count(arr2(&[[5, 0, 7], [5, 7, 0], [5, 0, 0]]).view(), weights.view());
        assert_eq!((end.is_code, end.live), (true, 2));
        let higgs = Layout::preset("higgs-v2").unwrap();
        let mut end = EndTokens::of(&higgs.streams()[0], 1025);
        end.count(arr2(&[[5, 1025, 7], [5, 7, 1]]).view(), weights.slice(ndarray::s![..2, ..]));
        assert_eq!((end.is_code, end.live), (false, 1));
    }
}
