//! Random numbers that depend on a seed, an epoch and an example's name, and on nothing else.
//!
//! ```text
//! key, 32 bytes   seed   hash of the name   what for   which row       stream   epoch
//! ```

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where an example's random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Draws {
    pub seed: u64,
    pub epoch: u64,
    example: u64,
}

/// What numbers are drawn for: one drawing does not change another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Moving the text.
    Shift,
    /// Leaving out the text of an example.
    Example,
    /// Leaving out text of the row of the stream of this name.
    Row(&'a str),
}

impl Draws {
    pub fn new(seed: u64, epoch: u64, example: &str) -> Self {
        Draws { seed, epoch, example: hash(example) }
    }

    /// The numbers for a purpose.
    pub fn numbers(self, purpose: Purpose) -> ChaCha8Rng {
        let [kind, name] = match purpose {
            Purpose::Shift => [0, 0],
            Purpose::Example => [1, 0],
            Purpose::Row(name) => [2, hash(name)],
        };
        let mut key = [0; 32];
        for (bytes, part) in key.chunks_exact_mut(8).zip([self.seed, self.example, kind, name]) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        let mut numbers = ChaCha8Rng::from_seed(key);
        numbers.set_stream(self.epoch);
        numbers
    }

    /// One of so many choices, each as likely as the others.
    pub fn choice(self, purpose: Purpose, choices: u128) -> u128 {
        (u128::from(self.numbers(purpose).next_u64()) * choices) >> 64
    }
}

/// True with a probability from 0, which is never, to 1, which is always.
pub(super) fn hit(numbers: &mut ChaCha8Rng, probability: f64) -> bool {
    // 53 bits, as many as a double holds: from 0 to just below 1.
    ((numbers.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
}

/// FNV-1a of 64 bits: the standard library's hash may change from one version to the next.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
