//! What the reference backend learns: four tables for each stream.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::backend::{BatchSpec, StreamSpec};

/// A number for each parameter: the parameters themselves, their gradient, or what the optimiser keeps of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tables(pub Vec<StreamTables>);

/// A stream's; those of a stream that is not trained are empty, but for the first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamTables {
    /// `[inputs, width]`: what reading an id adds to the state.
    pub read: Array2<f64>,
    /// `[inputs, width]`: what saying an id adds to the state that later streams of the step see.
    pub said: Array2<f64>,
    /// `[outputs, width]`: from the state to logits.
    pub logits: Array2<f64>,
    /// `[outputs, 1]`: added to logits.
    pub bias: Array2<f64>,
}

impl StreamTables {
    fn zeros(stream: &StreamSpec, width: usize) -> Self {
        let rows = |rows: usize| if stream.trained { rows } else { 0 };
        StreamTables {
            read: Array2::zeros((stream.inputs, width)),
            said: Array2::zeros((rows(stream.inputs), width)),
            logits: Array2::zeros((rows(stream.outputs), width)),
            bias: Array2::zeros((rows(stream.outputs), 1)),
        }
    }

    fn named(&self) -> [(&'static str, &Array2<f64>); 4] {
        [("read", &self.read), ("said", &self.said), ("logits", &self.logits), ("bias", &self.bias)]
    }

    fn tables_mut(&mut self) -> [&mut Array2<f64>; 4] {
        [&mut self.read, &mut self.said, &mut self.logits, &mut self.bias]
    }
}

impl Tables {
    pub fn zeros(spec: &BatchSpec, width: usize) -> Self {
        Tables(spec.streams.iter().map(|stream| StreamTables::zeros(stream, width)).collect())
    }

    /// Drawn evenly so that logits begin at about 1; biases at 0.
    pub fn random(spec: &BatchSpec, width: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut tables = Tables::zeros(spec, width);
        for stream in &mut tables.0 {
            for table in [&mut stream.read, &mut stream.said, &mut stream.logits] {
                table.mapv_inplace(|_| random.random::<f64>() - 0.5);
            }
        }
        tables
    }

    /// Every table with a name, in an order that never changes.
    pub fn named(&self) -> impl Iterator<Item = (String, &Array2<f64>)> {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(k, tables)| tables.named().into_iter().map(move |(name, table)| (format!("{k}.{name}"), table)))
    }

    pub fn values(&self) -> impl Iterator<Item = &f64> {
        self.0.iter().flat_map(StreamTables::named).flat_map(|(_, table)| table)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.0.iter_mut().flat_map(StreamTables::tables_mut).flatten()
    }

    /// Length of all of it as one vector.
    pub fn norm(&self) -> f64 {
        self.values().map(|x| x * x).sum::<f64>().sqrt()
    }
}
