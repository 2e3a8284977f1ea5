//! Discrete flow matching over a joint vocabulary.
//!
//! ```text
//! training    x_0 source ──┐
//!             x_1 target ──┴─ mixture path at time t ─> x_t ─ model ─> logits ─ generalized KL ─> loss, gradient
//!
//! sampling    x_0 source ─> x_t ─ model ─> posterior of x_1 ─ Euler step ─> x_t+h ─ .. ─> x_1 target
//! ```
//!
//! Source and target may be unlike vocabularies, 35,000 text ids and 512 codes: a [`Joint`](crate::vocab::Joint)
//! vocabulary has them both. At time 0 all tokens are of the source, at time 1 all are of the target. Shapes are
//! `[batch, ..]` for tokens, `[batch]` for times, and one axis more for what is said of each id; the solver takes
//! `[batch, position]`.
//!
//! # Examples
//! A conditional task from end to end, with a stub for the model: the target is the source's word, said in one of two
//! codes.
//!
//! ```
//! use ndarray::{Array3, ArrayView2, arr2};
//! use roundelay::flow::{
//!     Euler, EulerOptions, FlowBatch, MixturePath, Outputs, Polynomial, Reduction, SeededUniforms, softmax,
//! };
//! use roundelay::vocab::Joint;
//!
//! let joint = Joint::disjoint(&[("words", 3), ("codes", 6)])?;
//! let (words, codes) = (joint.part("words")?, joint.part("codes")?);
//! let path = MixturePath::new(Polynomial::new(2.0)?)?;
//! let outputs = Outputs::Target(codes);
//!
//! // Word w is said as code 2 w or 2 w + 1; a code that is there already stays. The model learns it by counting.
//! let mut counts = Array3::<f32>::zeros((1, joint.size(), codes.size()));
//! let mut draws = SeededUniforms::new(1);
//! let x_0 = words.encode(&arr2(&[[0, 1, 2, 1]]))?;
//! let x_1 = codes.encode(&arr2(&[[1, 2, 5, 3]]))?;
//! for _ in 0..100 {
//!     let times = path.times(1, 0.999, &mut draws)?;
//!     let x_t = path.sample(&x_0, &x_1, &times, &mut draws)?;
//!     for (&now, &later) in x_t.iter().zip(&x_1) {
//!         counts[[0, now as usize, codes.local(later as u32).expect("a code") as usize]] += 1.0;
//!     }
//! }
//!
//! // What it says of tokens on the way, and what that costs.
//! let logits = |x: ArrayView2<i64>| {
//!     Array3::from_shape_fn((1, 4, 6), |(_, n, code)| counts[[0, x[[0, n]] as usize, code]].ln())
//! };
//! let x_t = arr2(&[[0, 5, 8, 1]]);
//! let batch = FlowBatch { x_1: x_1.view(), x_t: x_t.view(), times: &[0.5] };
//! let (loss, gradient) = path.generalized_kl_gradient(outputs, &logits(x_t.view()), batch, Reduction::Mean)?;
//! assert_eq!((loss.positions[[0, 0]], gradient.dim()), (0.0, (1, 4, 6)));
//! assert!(loss.positions[[0, 3]] > 0.5, "word 1 has two codes");
//!
//! let euler = Euler::new(&path, EulerOptions::default());
//! let solution = euler.solve(outputs, x_0.view(), |_, x| softmax(&logits(x)), &mut draws)?;
//! let said = codes.decode(&solution.tokens)?;
//! assert_eq!(said.mapv(|code| code / 2), arr2(&[[0, 1, 2, 1]]));
//! # Ok::<(), roundelay::Error>(())
//! ```
//! # Source
//! Gat et al., Discrete Flow Matching (arXiv 2407.15595); Meta's flow_matching, commit 11568d37.

mod draws;
mod grid;
mod loss;
mod outputs;
mod path;
mod scheduler;
mod solver;

pub use draws::{SeededUniforms, Uniforms};
pub use grid::Step;
pub use loss::{FlowBatch, FlowLoss, LossAndGradient, Reduction};
pub use outputs::{Outputs, softmax};
pub use path::MixturePath;
pub use scheduler::{Cosine, LinearVp, Polynomial, Scheduler, SquaredCosine, Vp};
pub use solver::{DivergenceFree, Euler, EulerOptions, Jump, Solution};
