//! Batches that laws are held on: small, of every kind of stream, from clips drawn by number.

use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::backend::BatchSpec;
use crate::batch::{Clip, Collate, TrainBatch, Width};
use crate::delay::{Delay, Extent, Start};
use crate::error::Result;
use crate::stream::{Frames, Kind, Layout, Stream};
use crate::token::ABSENT;
use crate::units::FrameRate;
use crate::weights::Policy;

/// Streams, and how batches of them are made.
pub(super) struct World {
    pub spec: BatchSpec,
    collate: Collate<Delay>,
}

impl World {
    /// A speaker's text, semantic and acoustic stream, audio one frame late. Pads are learned behind the text.
    pub fn one_side() -> Result<Self> {
        let streams = vec![text("main", 12, true), audio("main", 0, (8, 1), true), audio("main", 1, (6, 1), true)];
        World::new(streams, Policy::named("jmoshi")?)
    }

    /// Both speakers' streams; the other's audio is only read, its words are said as well.
    pub fn two_sides() -> Result<Self> {
        let main = [text("main", 11, true), audio("main", 0, (7, 0), true), audio("main", 1, (5, 2), true)];
        let other = [audio("other", 0, (7, 0), false), text("other", 9, true), audio("other", 1, (5, 1), false)];
        World::new(main.into_iter().chain(other).collect(), Policy::named("moshi")?)
    }

    pub fn all() -> Result<[Self; 2]> {
        Ok([Self::one_side()?, Self::two_sides()?])
    }

    fn new(streams: Vec<Stream>, policy: Policy) -> Result<Self> {
        let layout = Layout::new("contract", FrameRate::new(25, 2)?, streams)?;
        let spec = BatchSpec::new(&layout, 4, 24);
        let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
        Ok(World { spec, collate: Collate::new(layout, policy, delay)? })
    }

    /// Rows of clips, by their numbers; one of several is packed, one of none absent.
    pub fn batch(&self, rows: &[&[u64]]) -> Result<TrainBatch> {
        let mut batch = TrainBatch::default();
        self.fill(rows, None, &mut batch)?;
        Ok(batch)
    }

    /// As [`World::batch`], of some width, into the caller's memory.
    pub fn fill(&self, rows: &[&[u64]], width: Option<Width>, into: &mut TrainBatch) -> Result<()> {
        let codes: Vec<Vec<Array2<i32>>> =
            rows.iter().map(|row| row.iter().map(|&n| self.codes(n)).collect()).collect();
        let clips: Vec<Vec<Clip>> = rows.iter().zip(&codes).map(|(row, codes)| clips(row, codes)).collect();
        self.collate.batch(&clips, width, into)
    }

    /// Rows in which nothing is.
    pub fn absent(&self, rows: usize) -> Result<TrainBatch> {
        let mut batch = TrainBatch::default();
        self.fill(&vec![&[][..]; rows], Some(Width::Steps(4)), &mut batch)?;
        Ok(batch)
    }

    /// Codes of a clip of 3 to 6 frames: of the text a third is pads, of all a tenth is absent.
    fn codes(&self, number: u64) -> Array2<i32> {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let streams = self.collate.layout().streams();
        Array2::from_shape_fn((streams.len(), 3 + number as usize % 4), |(k, _)| {
            let stream = &streams[k];
            match (random.random_range(0..30), stream.end_pad) {
                (0..3, _) => ABSENT as i32,
                (3..9, Some(_)) => stream.pad as i32,
                (9..13, Some(end)) => end as i32,
                _ => random.random_range(0..stream.cardinality as i32),
            }
        })
    }

    /// Logits around 0, and for every other row around 100: their exponentials are beyond 32 bits.
    pub fn logits(&self, batch: &TrainBatch) -> Vec<Array3<f32>> {
        let (rows, _, steps) = batch.shape();
        let mut random = ChaCha8Rng::seed_from_u64(99);
        let mut of = |(row, ..): (usize, usize, usize)| 6.0 * random.random::<f32>() - 3.0 + 100.0 * (row % 2) as f32;
        let streams = self.spec.streams.iter().map(|stream| match stream.trained {
            true => Array3::from_shape_fn((rows, steps, stream.outputs), &mut of),
            false => Array3::zeros((0, 0, 0)),
        });
        streams.collect()
    }
}

fn clips<'a>(numbers: &[u64], codes: &'a [Array2<i32>]) -> Vec<Clip<'a>> {
    let clip = |(&index, codes): (&u64, &'a Array2<i32>)| Clip {
        id: "clip",
        index,
        codes: Frames(codes.view()),
        regions: &[],
    };
    numbers.iter().zip(codes).map(clip).collect()
}

fn text(speaker: &str, cardinality: u32, trained: bool) -> Stream {
    let audio = audio(speaker, 0, (cardinality, 0), trained);
    Stream { name: format!("{speaker} text"), kind: Kind::Text, level: None, pad: 3, end_pad: Some(0), ..audio }
}

fn audio(speaker: &str, level: usize, (cardinality, delay): (u32, usize), trained: bool) -> Stream {
    Stream {
        name: format!("{speaker}.{level}"),
        kind: [Kind::Semantic, Kind::Acoustic][level],
        speaker: speaker.into(),
        level: Some(level),
        cardinality,
        delay,
        initial: cardinality,
        pad: cardinality,
        end_pad: None,
        bos: None,
        eos: None,
        phase: None,
        trained,
    }
}

/// Puts other ids that the streams read into some cells of the input, and takes others into the target there.
pub(super) fn scramble(batch: &mut TrainBatch, spec: &BatchSpec, at: impl Fn(usize, usize, usize) -> bool) {
    let other = |id: &mut i32, end: usize| *id = (*id + 1) % end as i32;
    for ((row, k, step), id) in batch.input.0.indexed_iter_mut().filter(|(cell, _)| at(cell.0, cell.1, cell.2)) {
        other(id, spec.streams[k].inputs);
        let target = &mut batch.target.0[[row, k, step]];
        other(target, spec.streams[k].outputs);
    }
}

/// Takes the weight of some cells.
pub(super) fn silence(batch: &mut TrainBatch, at: impl Fn(usize, usize, usize) -> bool) {
    let cells = batch.weights.0.indexed_iter_mut().filter(|(cell, _)| at(cell.0, cell.1, cell.2));
    cells.for_each(|(_, weight)| *weight = 0.0);
}
