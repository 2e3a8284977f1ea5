//! Whether models are taught to end.
//!
//! ```text
//! step         0   1   2   3   4          extended     s3 and the end are targets: the end is live
//! target      s0  s1  s2  s3  end
//! weight     100 100 100 100  100
//!
//! target      s0  s1  s2  s3              truncated    the end fell off: the model is never told to stop
//! ```

use ndarray::{ArrayView2, Axis, Zip};
use serde::{Deserialize, Serialize};

/// In how many examples a stream's end is learned: a target that is its end id, and weighs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndTokens {
    /// The end id.
    pub id: u32,
    /// Examples with a live end.
    pub live: u64,
}

impl EndTokens {
    /// Looks for a live end in each example of a stream.
    ///
    /// # Shapes
    /// `targets` and `weights` are `[batch, time]` over steps.
    pub(super) fn count(&mut self, targets: ArrayView2<i64>, weights: ArrayView2<f32>) {
        let id = i64::from(self.id);
        for (targets, weights) in targets.axis_iter(Axis(0)).zip(weights.axis_iter(Axis(0))) {
            let live = Zip::from(targets).and(weights).any(|&target, &weight| target == id && weight > 0.0);
            self.live += u64::from(live);
        }
    }
}
