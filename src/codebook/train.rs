//! Training of a stack of codebooks, batch by batch, by one worker or several.
//!
//! ```text
//! first batch   x --k-means--> table 0 --residual--k-means--> table 1 ...
//! every batch   x --step--> table 0 --residual--step--> table 1 ... up to the level at which dropout stops
//! ```

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::collective::{Collective, Digest, check_alike, gather};
use super::draws::SeededDraws;
use super::usage::check_number;
use super::{EmaCodebook, EmaRule, EmaStep, KMeans, ResidualQuantizer, Start, Usage};
use crate::error::{Error, Result};

/// Steps that train only the first levels, so that fewer of them do well on their own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// The share of steps in which levels are dropped, from 0 to 1.
    pub share: f64,
    /// Fewest levels that are left; how many are left is drawn evenly from this to all of them.
    pub least: usize,
}

/// How a stack of codebooks is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ResidualTraining {
    /// How many tables there are. Default 8.
    pub levels: usize,
    /// Codes in each. Default 2048.
    pub codes: usize,
    /// How they move. Default roundelay's own.
    pub rule: EmaRule,
    /// Where k-means starts on the first batch. Default random.
    pub start: Start,
    /// Rounds of k-means on the first batch. Default 10.
    pub rounds: usize,
    /// Steps that train only the first levels. Default none.
    pub dropout: Option<Dropout>,
    /// Seed of all draws. Default 0.
    pub seed: u64,
}

impl Default for ResidualTraining {
    fn default() -> Self {
        ResidualTraining {
            levels: 8,
            codes: 2048,
            rule: EmaRule::default(),
            start: Start::Random,
            rounds: 10,
            dropout: None,
            seed: 0,
        }
    }
}

impl ResidualTraining {
    fn check(&self) -> Result<()> {
        if self.levels == 0 {
            return Err(Error::invalid("number of codebooks", 0, "at least 1"));
        }
        self.rule.check()?;
        let Some(Dropout { share, least }) = self.dropout else { return Ok(()) };
        check_number("share of steps with dropout", share)?;
        if share > 1.0 || !(1..=self.levels).contains(&least) {
            let expected = format!("a share up to 1 and 1 to {} levels", self.levels);
            return Err(Error::invalid("dropout", format!("{share} of the steps, {least} levels"), expected));
        }
        Ok(())
    }

    /// K-means of one level. Every level draws its own rows.
    fn k_means(&self, level: usize) -> KMeans {
        let seed = self.seed.wrapping_add(level as u64);
        KMeans { clusters: self.codes, rounds: self.rounds, seed, start: self.start }
    }
}

/// A stack of codebooks under training.
///
/// # Examples
/// ```
/// use ndarray::Array2;
/// use roundelay::codebook::{Alone, ResidualTrainer, ResidualTraining};
///
/// let vectors = Array2::from_shape_fn((200, 2), |(i, j)| ((i * (7 + 4 * j)) % 29) as f32);
/// let training = ResidualTraining { levels: 3, codes: 8, ..ResidualTraining::default() };
/// let mut trainer = ResidualTrainer::new(&training, vectors.view(), &mut Alone)?;
/// let steps = trainer.step(vectors.view(), &mut Alone)?;
/// assert!(steps[0].error > steps[1].error && steps[1].error > steps[2].error);
/// assert_eq!(trainer.quantizer().encode(vectors.view()).dim(), (3, 200));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ResidualTrainer {
    training: ResidualTraining,
    levels: Vec<EmaCodebook>,
    draws: SeededDraws,
}

impl ResidualTrainer {
    /// Finds the first tables by k-means on what the levels before leave of the first batch.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`: this worker's part of the batch.
    /// # Errors
    /// `Invalid` if the training has numbers that make no sense, nobody has a vector, a value is not a number up to 1e15,
    /// or workers are trained differently; that of the collective if one is lost.
    pub fn new(
        training: &ResidualTraining,
        vectors: ArrayView2<'_, f32>,
        workers: &mut dyn Collective,
    ) -> Result<Self> {
        training.check()?;
        check_alike("training", gather(workers, [Digest::of(training).number()])?.into_iter().flatten())?;
        let mut residual = vectors.to_owned();
        let mut levels = Vec::with_capacity(training.levels);
        for level in 0..training.levels {
            let clusters = training.k_means(level).fit_with(residual.view(), workers)?;
            let codebook = EmaCodebook::from_clusters(clusters, training.rule)?;
            let codes = codebook.codes().nearest(residual.view());
            subtract(&mut residual, codebook.codes().table(), &codes);
            levels.push(codebook);
        }
        // A seed apart from those of the levels.
        let draws = SeededDraws::new(training.seed.wrapping_add(training.levels as u64));
        Ok(ResidualTrainer { training: *training, levels, draws })
    }

    /// Takes up codebooks that were kept, first level first, which replace those of k-means.
    ///
    /// # Errors
    /// `Invalid` if there are not as many as levels, with codes as many as the training says and of one width.
    pub fn resumed(training: &ResidualTraining, levels: Vec<EmaCodebook>, draws: SeededDraws) -> Result<Self> {
        training.check()?;
        let width = levels.first().map(|level| level.codes().dimension());
        let fits =
            |level: &EmaCodebook| level.codes().len() == training.codes && Some(level.codes().dimension()) == width;
        if levels.len() != training.levels || !levels.iter().all(fits) {
            let expected = format!("{} of {} codes and one width", training.levels, training.codes);
            return Err(Error::invalid("codebooks to go on with", format!("{} unlike ones", levels.len()), expected));
        }
        Ok(ResidualTrainer { training: *training, levels, draws })
    }

    /// Moves the codebooks by one batch. All workers must call this together.
    ///
    /// Returns what each level's step came to; fewer than all levels where dropout stopped.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`: this worker's part of the batch.
    /// # Errors
    /// As [`EmaCodebook::step`]. If it is that of the collective, or about what a level leaves to the next, some levels may
    /// have moved already: go on from what was kept before.
    pub fn step(&mut self, vectors: ArrayView2<'_, f32>, workers: &mut dyn Collective) -> Result<Vec<EmaStep>> {
        let count = self.levels_of_step();
        let mut residual = vectors.to_owned();
        let mut steps = Vec::with_capacity(count);
        for level in &mut self.levels[..count] {
            let step = level.step(residual.view(), &mut self.draws, workers)?;
            subtract(&mut residual, step.before.table(), &step.codes);
            steps.push(step);
        }
        Ok(steps)
    }

    /// How many levels the next step trains.
    fn levels_of_step(&mut self) -> usize {
        match self.training.dropout {
            Some(Dropout { share, least }) if self.draws.happens(share) => {
                least + self.draws.below((self.levels.len() - least + 1) as u64) as usize
            }
            _ => self.levels.len(),
        }
    }

    /// The codebooks, first level first.
    pub fn levels(&self) -> &[EmaCodebook] {
        &self.levels
    }

    /// The draws as they stand: with the codebooks' parts, all that is needed to go on later.
    pub fn draws(&self) -> &SeededDraws {
        &self.draws
    }

    /// The tables as they are now.
    pub fn quantizer(&self) -> ResidualQuantizer {
        ResidualQuantizer::new(self.levels.iter().map(|level| level.codes().table().to_owned()).collect())
    }

    /// How much each level's codes were used lately.
    pub fn usage(&self) -> Vec<Usage<f64>> {
        self.levels.iter().map(EmaCodebook::usage).collect()
    }
}

/// Takes each row's code from it.
fn subtract(residual: &mut Array2<f32>, table: ArrayView2<'_, f32>, codes: &[usize]) {
    residual.rows_mut().into_iter().zip(codes).for_each(|(mut row, &code)| row -= &table.row(code));
}
