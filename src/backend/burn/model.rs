//! The parts of the model, by name, and their first numbers.
//!
//! ```text
//! inputs.<stream>         [ids read, width]           temporal.<n>.*, temporal.norm
//! text.<stream>           [width, ids said]           depth.<n>.*, depth.norm
//! depth.from_temporal     [width, streams x depth width]
//! depth.said.<stream>     [ids read, depth width]     what was said just before, all but the last
//! depth.heads.<stream>    [depth width, ids said]
//! ```
//! All are matrices, the gains of norms with one row, so that optimiser and checkpoint are plain lists.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Options;
use crate::backend::BatchSpec;
use crate::error::{Error, Result};

/// A part for each use of it: its place in a list, its tensor.
pub(super) struct Model<T> {
    /// Embeddings of what is read, stream by stream.
    pub(super) inputs: Vec<T>,
    pub(super) temporal: Stack<T>,
    /// Heads of the trained streams of text.
    pub(super) text: Vec<T>,
    /// None where no audio is trained.
    pub(super) depth: Option<Depth<T>>,
}

/// The transformer over the trained streams of audio.
pub(super) struct Depth<T> {
    pub(super) from_temporal: T,
    /// Embeddings of what was said in the same step, as in [`Said::told`].
    pub(super) said: Vec<T>,
    pub(super) stack: Stack<T>,
    pub(super) heads: Vec<T>,
}

/// A transformer's layers.
pub(super) struct Stack<T> {
    pub(super) blocks: Vec<Block<T>>,
    pub(super) norm: T,
}

/// A layer: attention, then a gated feed-forward.
pub(super) struct Block<T> {
    pub(super) attend_norm: T,
    pub(super) query: T,
    pub(super) key: T,
    pub(super) value: T,
    pub(super) attended: T,
    pub(super) feed_norm: T,
    pub(super) gate: T,
    pub(super) up: T,
    pub(super) down: T,
}

impl<T> Model<T> {
    /// The same parts, each made into something else.
    pub(super) fn map<U>(&self, f: &mut dyn FnMut(&T) -> U) -> Model<U> {
        Model {
            inputs: self.inputs.iter().map(&mut *f).collect(),
            temporal: self.temporal.map(f),
            text: self.text.iter().map(&mut *f).collect(),
            depth: self.depth.as_ref().map(|depth| Depth {
                from_temporal: f(&depth.from_temporal),
                said: depth.said.iter().map(&mut *f).collect(),
                stack: depth.stack.map(f),
                heads: depth.heads.iter().map(&mut *f).collect(),
            }),
        }
    }
}

impl<T> Stack<T> {
    pub(super) fn map<U>(&self, f: &mut dyn FnMut(&T) -> U) -> Stack<U> {
        Stack { blocks: self.blocks.iter().map(|block| block.map(f)).collect(), norm: f(&self.norm) }
    }
}

impl<T> Block<T> {
    fn map<U>(&self, f: &mut dyn FnMut(&T) -> U) -> Block<U> {
        Block {
            attend_norm: f(&self.attend_norm),
            query: f(&self.query),
            key: f(&self.key),
            value: f(&self.value),
            attended: f(&self.attended),
            feed_norm: f(&self.feed_norm),
            gate: f(&self.gate),
            up: f(&self.up),
            down: f(&self.down),
        }
    }
}

/// A part before it has numbers.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) shape: [usize; 2],
    start: Start,
}

/// A part's first numbers.
enum Start {
    /// All 1: the gain of a norm, which is no matrix that decays.
    One,
    /// Drawn evenly, with this standard deviation.
    Drawn(f64),
}

impl Part {
    /// Whether weight decay is for it.
    pub(super) fn decays(&self) -> bool {
        matches!(self.start, Start::Drawn(_))
    }

    fn numbers(&self, random: &mut ChaCha8Rng) -> Vec<f32> {
        let numbers = 0..self.shape[0] * self.shape[1];
        match self.start {
            Start::One => numbers.map(|_| 1.0).collect(),
            // Evenly drawn from -a..a deviates by a / sqrt(3).
            Start::Drawn(deviation) => {
                numbers.map(|_| ((random.random::<f64>() * 2.0 - 1.0) * 3f64.sqrt() * deviation) as f32).collect()
            }
        }
    }
}

/// Which streams are trained, in the layout's order.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) text: Vec<usize>,
    pub(super) audio: Vec<usize>,
}

impl Said {
    pub(super) fn of(spec: &BatchSpec) -> Self {
        let trained = |audio: bool| {
            let of_kind = spec.streams.iter().enumerate().filter(move |(_, s)| s.trained && s.kind.is_audio() == audio);
            of_kind.map(|(k, _)| k).collect()
        };
        Said { text: trained(false), audio: trained(true) }
    }

    /// Texts, then audio.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        self.text.iter().chain(&self.audio).copied()
    }

    /// Streams whose tokens a stream of audio is told, with its number among these: all that are said since the one before
    /// it, in the layout's order, and that one.
    pub(super) fn told(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut told: Vec<_> = self.all().map(|k| (k, self.audio.iter().filter(|&&audio| audio < k).count())).collect();
        told.iter_mut().filter(|(k, _)| self.audio.contains(k)).for_each(|(_, to)| *to += 1);
        let streams = self.audio.len();
        told.into_iter().filter(move |&(_, to)| to < streams)
    }
}

/// Most numbers of a model: 8 GiB, and twice that for the optimiser.
const MOST_NUMBERS: usize = 1 << 31;

/// The parts of a model that is to be made.
#[derive(Default)]
pub(super) struct Parts(pub(super) Vec<Part>);

impl Parts {
    /// The model for some streams.
    ///
    /// # Errors
    /// `Invalid` for options that make none; `OverLimit` for more than 2^31 numbers.
    pub(super) fn of(spec: &BatchSpec, options: &Options) -> Result<(Model<usize>, Vec<Part>)> {
        options.check()?;
        let (mut parts, said) = (Parts::default(), Said::of(spec));
        let model = parts.model(spec, &said, options);
        parts.check()?;
        Ok((model, parts.0))
    }

    /// Holds the parts' size against the limit.
    ///
    /// # Errors
    /// `OverLimit` for more than 2^31 numbers.
    pub(super) fn check(&self) -> Result<()> {
        let numbers =
            self.0.iter().fold(0usize, |sum, part| sum.saturating_add(part.shape[0].saturating_mul(part.shape[1])));
        match numbers > MOST_NUMBERS {
            true => Err(Error::over_limit("numbers of the model", numbers, MOST_NUMBERS)),
            false => Ok(()),
        }
    }

    /// First numbers of all parts, the same ones for the same seed.
    pub(super) fn numbers(parts: &[Part], seed: u64) -> impl Iterator<Item = Vec<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        parts.iter().map(move |part| part.numbers(&mut random))
    }

    fn model(&mut self, spec: &BatchSpec, said: &Said, options: &Options) -> Model<usize> {
        let stream = |k: usize| &spec.streams[k];
        let width = options.width;
        Model {
            inputs: spec.streams.iter().map(|s| self.table(format!("inputs.{}", s.name), s.inputs, width)).collect(),
            temporal: self.stack("temporal", options.layers, width),
            text: said
                .text
                .iter()
                .map(|&k| self.head(&format!("text.{}", stream(k).name), width, stream(k).outputs))
                .collect(),
            depth: (!said.audio.is_empty()).then(|| self.depth(spec, said, options)),
        }
    }

    fn depth(&mut self, spec: &BatchSpec, said: &Said, options: &Options) -> Depth<usize> {
        let (width, streams) = (options.depth_width, said.audio.len());
        let table = |parts: &mut Self, k: usize| {
            parts.table(format!("depth.said.{}", spec.streams[k].name), spec.streams[k].inputs, width)
        };
        let head = |parts: &mut Self, &k: &usize| {
            parts.head(&format!("depth.heads.{}", spec.streams[k].name), width, spec.streams[k].outputs)
        };
        Depth {
            from_temporal: self.matrix("depth.from_temporal".into(), options.width, streams * width, 1.0),
            said: said.told().map(|(k, _)| table(self, k)).collect(),
            stack: self.stack("depth", options.depth_layers, width),
            heads: said.audio.iter().map(|k| head(self, k)).collect(),
        }
    }

    pub(super) fn stack(&mut self, name: &str, layers: usize, width: usize) -> Stack<usize> {
        Stack {
            blocks: (0..layers).map(|n| self.block(&format!("{name}.{n}"), layers, width)).collect(),
            norm: self.norm(format!("{name}.norm"), width),
        }
    }

    fn block(&mut self, name: &str, layers: usize, width: usize) -> Block<usize> {
        // What layers add up to is to stay about 1.
        let (inner, added) = (Options::inner(width), 1.0 / (2.0 * layers as f64).sqrt());
        let mut square = |part: &str, share| self.matrix(format!("{name}.{part}"), width, width, share);
        let [query, key, value] = ["query", "key", "value"].map(|part| square(part, 1.0));
        Block {
            query,
            key,
            value,
            attended: square("attended", added),
            attend_norm: self.norm(format!("{name}.attend_norm"), width),
            feed_norm: self.norm(format!("{name}.feed_norm"), width),
            gate: self.matrix(format!("{name}.gate"), width, inner, 1.0),
            up: self.matrix(format!("{name}.up"), width, inner, 1.0),
            down: self.matrix(format!("{name}.down"), inner, width, added),
        }
    }

    /// An embedding: as long as what a norm gives, whatever is read.
    pub(super) fn table(&mut self, name: String, ids: usize, width: usize) -> usize {
        self.part(name, [ids, width], Start::Drawn(1.0))
    }

    pub(super) fn matrix(&mut self, name: String, from: usize, to: usize, share: f64) -> usize {
        self.part(name, [from, to], Start::Drawn(share / (from as f64).sqrt()))
    }

    /// What says ids begins with nearly the same likelihood for all.
    pub(super) fn head(&mut self, name: &str, from: usize, to: usize) -> usize {
        self.matrix(name.into(), from, to, 0.2)
    }

    /// A head that lies the other way, `[ids said, width]`, so that some of its rows can be taken.
    pub(super) fn rows(&mut self, name: String, ids: usize, width: usize) -> usize {
        self.part(name, [ids, width], Start::Drawn(0.2 / (width as f64).sqrt()))
    }

    pub(super) fn norm(&mut self, name: String, width: usize) -> usize {
        self.part(name, [1, width], Start::One)
    }

    fn part(&mut self, name: String, shape: [usize; 2], start: Start) -> usize {
        self.0.push(Part { name, shape, start });
        self.0.len() - 1
    }
}
