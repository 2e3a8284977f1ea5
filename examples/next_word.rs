//! Next-word training with 8,192 candidates, against full softmax over 50,000 words.
//!
//! ```text
//! words of a corpus that is drawn   [4, 65]
//! full          logits [4, 64, 50000]   full_softmax
//! candidates    logits [4, 64, 8192]    labels, 256 words retrieved for each row, and others drawn evenly, which are
//!                                       weighed by how likely they were: forced_inclusion_softmax
//! uncorrected   the same candidates     subset_softmax
//! ```
//! `cargo run --release --features burn --example next_word -- [STEPS A ROUND] [ROUNDS] [LEARNING RATE]`. The three begin alike and read
//! the same batches, in turns. Prints a table: after each round, the validation loss over all words, and the time of a
//! step, the median with the least and the most; last what the corpus itself leaves open.

use std::time::Instant;

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, s};
use roundelay::Result;
use roundelay::backend::burn::{Cpu, LogitModel, LogitOptions};
use roundelay::backend::{LogitBackend, LogitInput, LogitSpec};
use roundelay::vocab::search::{Index, Values, Vectors};
use roundelay::vocab::subset::{
    Inclusion, Loss, Proposal, Uniforms, forced_inclusion_softmax, full_softmax, subset_softmax,
};

const WORDS: usize = 50_000;
const CLASSES: usize = 16;
const ROWS: usize = 4;
const POSITIONS: usize = 64;
const CANDIDATES: usize = 8192;
const RETRIEVED: usize = 256;

/// Steps after which the table that is searched is taken anew from the model.
const FRESH: usize = 10;

/// Batches that are held out.
const HELD_OUT: usize = 6;

/// Words by Zipf's law, each of a class; a class is mostly followed by one of two others.
struct Corpus {
    words: Proposal,
    /// Those of a class, and how likely each is there.
    classes: Vec<(Vec<usize>, Proposal)>,
    draws: Uniforms,
}

/// How often the class decides what follows.
const BOUND: f64 = 0.8;

impl Corpus {
    fn new(seed: u64) -> Result<Self> {
        let zipf = |&word: &usize| (word as f64 + 3.0).powf(-1.3);
        let class = |class: usize| {
            let words: Vec<usize> = (0..WORDS).filter(|&word| Self::class(word) == class).collect();
            let likely = Proposal::listed(&words.iter().map(zipf).collect::<Vec<_>>())?;
            Ok((words, likely))
        };
        let words = Proposal::listed(&(0..WORDS).collect::<Vec<_>>().iter().map(zipf).collect::<Vec<_>>())?;
        let classes = (0..CLASSES).map(class).collect::<Result<_>>()?;
        Ok(Corpus { words, classes, draws: Uniforms::new(seed) })
    }

    fn class(word: usize) -> usize {
        word.wrapping_mul(2_654_435_761) % 1_000_003 % CLASSES
    }

    /// The two classes that mostly follow.
    fn next_classes(word: usize) -> [usize; 2] {
        let class = Self::class(word);
        [(class * 7 + 3) % CLASSES, (class * 11 + 20) % CLASSES]
    }

    fn uniform(&mut self) -> f64 {
        self.draws.next().expect("numbers without end")
    }

    fn next(&mut self, word: usize) -> Result<usize> {
        let (bound, which) = (self.uniform() < BOUND, self.uniform() < 0.5);
        if !bound {
            return Ok(self.words.draw(1, &mut self.draws)?[0] as usize);
        }
        let (words, likely) = &self.classes[Self::next_classes(word)[usize::from(which)]];
        Ok(words[likely.draw(1, &mut self.draws)?[0] as usize])
    }

    /// Rows of a word more than there are positions.
    fn batch(&mut self) -> Result<Array2<i32>> {
        let mut batch = Array2::zeros((ROWS, POSITIONS + 1));
        for mut row in batch.outer_iter_mut() {
            let mut word = self.words.draw(1, &mut self.draws)?[0] as usize;
            for cell in &mut row {
                *cell = word as i32;
                word = self.next(word)?;
            }
        }
        Ok(batch)
    }

    /// What a word costs for one who knows how the corpus is made.
    fn nats(&self, before: usize, word: usize) -> f64 {
        let of_class = |class: usize| {
            let (words, likely) = &self.classes[class];
            words.binary_search(&word).map_or(0.0, |place| likely.probability(place as u32))
        };
        let bound: f64 = Self::next_classes(before).into_iter().map(of_class).sum();
        -(BOUND * bound / 2.0 + (1.0 - BOUND) * self.words.probability(word as u32)).ln()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Full,
    Candidates,
    Uncorrected,
}

struct Learner {
    method: Method,
    model: LogitModel<Cpu>,
    /// The output table as it was a few steps ago, and the length of its longest row.
    table: (Array2<f32>, f64),
    draws: Uniforms,
    steps: usize,
    times: Vec<f64>,
}

impl Learner {
    fn new(method: Method, learning_rate: f64) -> Result<Self> {
        let spec = LogitSpec { channels: vec![WORDS], outputs: WORDS, timed: false };
        let options = LogitOptions { learning_rate, ..LogitOptions::default() };
        let model = LogitModel::new(&spec, &options, &Default::default())?;
        let table = (Array2::zeros((0, options.width)), 0.0);
        Ok(Learner { method, model, table, draws: Uniforms::new(1), steps: 0, times: Vec::new() })
    }

    fn step(&mut self, batch: ArrayView2<i32>) -> Result<()> {
        let begun = Instant::now();
        let (tokens, labels) = read(batch);
        let mut input = LogitInput::new(tokens.view());
        let gradient = if self.method == Method::Full {
            let logits = self.model.logits(&input)?;
            full_softmax(flat(&logits), labels.view())?.gradient
        } else {
            let drawn = self.candidates(&input, &labels)?;
            input.candidates = Some(drawn.subset().ids());
            let logits = self.model.logits(&input)?;
            self.loss(flat(&logits), &labels, &drawn)?.gradient
        };
        let shape = (ROWS, POSITIONS, gradient.ncols());
        self.model.learn(gradient.into_shape_with_order(shape).expect("rows of positions").view())?;
        self.steps += 1;
        self.times.push(begun.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    fn loss(&self, logits: ArrayView2<f32>, labels: &Array1<i32>, drawn: &Inclusion) -> Result<Loss<f32>> {
        match self.method {
            Method::Uncorrected => subset_softmax(logits, labels.view(), drawn.subset()),
            _ => forced_inclusion_softmax(logits, labels.view(), drawn),
        }
    }

    /// The labels, what each row's query finds, and others up to the number of candidates.
    fn candidates(&mut self, input: &LogitInput, labels: &Array1<i32>) -> Result<Inclusion> {
        if self.steps.is_multiple_of(FRESH) {
            let table = self.model.rows(None)?;
            let longest =
                Vectors::new(Values::F32(table.as_slice().expect("rows in one piece")), table.ncols())?.longest();
            self.table = (table, longest);
        }
        let (table, longest) = &self.table;
        let vectors = Vectors::trusted(Values::F32(table.as_slice().expect("as above")), table.ncols(), *longest)?;
        let queries = self.model.hidden(input)?.mean_axis(Axis(1)).expect("there are positions");
        let found = Index::new(vectors).exact(queries.view(), RETRIEVED, 1)?;
        let mut forced: Vec<u32> = labels.iter().map(|&id| id as u32).chain(found.ids).collect();
        forced.sort_unstable();
        forced.dedup();
        Inclusion::draw(&forced, CANDIDATES - forced.len(), WORDS, &mut self.draws)
    }

    /// The mean loss over all words.
    fn validate(&mut self, batches: &[Array2<i32>]) -> Result<f64> {
        let mut sum = 0.0;
        for batch in batches {
            let (tokens, labels) = read(batch.view());
            let logits = self.model.predict(&LogitInput::new(tokens.view()))?;
            sum += full_softmax(flat(&logits), labels.view())?.mean();
        }
        Ok(sum / batches.len() as f64)
    }

    /// Median, least and most.
    fn spread(&mut self) -> String {
        self.times.sort_by(f64::total_cmp);
        let times = &self.times;
        format!("{:.0} ({:.0} to {:.0})", times[times.len() / 2], times[0], times[times.len() - 1])
    }
}

/// What is read, and what follows it.
fn read(batch: ArrayView2<i32>) -> (Array3<i32>, Array1<i32>) {
    let tokens = batch.slice(s![.., ..-1]).insert_axis(Axis(1)).to_owned();
    (tokens, batch.slice(s![.., 1..]).iter().copied().collect())
}

/// Positions as rows.
fn flat(logits: &Array3<f32>) -> ArrayView2<'_, f32> {
    let shape = (ROWS * POSITIONS, logits.len_of(Axis(2)));
    logits.view().into_shape_with_order(shape).expect("logits in one piece")
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, usual: f64| arguments.get(n).map_or(usual, |given| given.parse().expect("a number"));
    let (steps, rounds, rate) = (number(0, 30.0) as usize, number(1, 5.0) as usize, number(2, 0.01));
    let mut corpus = Corpus::new(7)?;
    let held_out = (0..HELD_OUT).map(|_| corpus.batch()).collect::<Result<Vec<_>>>()?;
    let mut learners = Vec::new();
    for method in [Method::Full, Method::Candidates, Method::Uncorrected] {
        learners.push(Learner::new(method, rate)?);
    }
    println!("| steps | full | candidates | uncorrected |\n| ---: | ---: | ---: | ---: |");
    for round in 1..=rounds {
        let batches = (0..steps).map(|_| corpus.batch()).collect::<Result<Vec<_>>>()?;
        let mut losses = Vec::new();
        for learner in &mut learners {
            batches.iter().try_for_each(|batch| learner.step(batch.view()))?;
            losses.push(format!("{:.3}", learner.validate(&held_out)?));
        }
        println!("| {} | {} |", round * steps, losses.join(" | "));
    }
    let times: Vec<String> = learners.iter_mut().map(Learner::spread).collect();
    println!("| ms a step | {} |", times.join(" | "));
    let pairs =
        held_out.iter().flat_map(|batch| batch.windows([1, 2]).into_iter().map(|pair| [pair[[0, 0]], pair[[0, 1]]]));
    let nats: Vec<f64> = pairs.map(|[before, word]| corpus.nats(before as usize, word as usize)).collect();
    println!("\nThe corpus itself leaves {:.3} open.", nats.iter().sum::<f64>() / nats.len() as f64);
    Ok(())
}
