//! What the peers' own code gave for the same inputs, family by family (`fixtures/README.md` says how it was recorded).

mod common;

#[path = "golden/delay.rs"]
mod delay;
#[path = "golden/tokenize.rs"]
mod tokenize;
