//! What the peers' own code gave for the same inputs, family by family (`fixtures/README.md` says how it was recorded).

mod common;

#[path = "golden/codebook.rs"]
mod codebook;
#[path = "golden/delay.rs"]
mod delay;
#[path = "golden/flow.rs"]
mod flow;
#[path = "golden/interleave.rs"]
mod interleave;
#[path = "golden/jmoshi_text.rs"]
mod jmoshi_text;
#[path = "golden/loss.rs"]
mod loss;
#[path = "golden/pipeline.rs"]
mod pipeline;
#[path = "golden/subset.rs"]
mod subset;
#[path = "golden/tokenize.rs"]
mod tokenize;
#[path = "golden/topk.rs"]
mod topk;
#[path = "golden/weights.rs"]
mod weights;
#[path = "golden/window.rs"]
mod window;
