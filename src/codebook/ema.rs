//! A codebook that follows the vectors assigned to its codes, a batch at a time.
//!
//! ```text
//! table [codes, d] --nearest--> counts [codes], sums [codes, d] of the batch, over all workers
//!                                   |
//! sizes [codes]    <----------------+-- sizes and sums move a little towards them
//! sums [codes, d]  <----------------+
//! table [codes, d] = sums / smoothed sizes;     dead codes are given vectors of the batch
//! ```

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, Zip};

use super::batch::{Batch, LARGEST, Totals};
use super::collective::{Collective, Digest};
use super::kmeans::Clusters;
use super::nearest::Codes;
use super::usage::moved;
use super::{Draw, Draws, EmaRule, Metric, Moment, Revival, Usage};
use crate::error::{Error, Result};

/// All that a codebook under training consists of, besides its rule: to be kept and taken up again.
#[derive(Debug, Clone, PartialEq)]
pub struct EmaParts {
    /// The vectors, `[codes, d]`.
    pub table: Array2<f32>,
    /// Moving average of how many vectors each code had.
    pub sizes: Vec<f32>,
    /// Moving average of their sums, `[codes, d]`.
    pub sums: Array2<f32>,
    /// How many steps were made.
    pub steps: u64,
}

/// A codebook under training.
///
/// Replicas of several workers stay the same to the last bit, and the same as one worker that sees all their vectors.
///
/// # Examples
/// ```
/// use ndarray::array;
/// use roundelay::codebook::{Alone, EmaCodebook, EmaRule, SeededDraws};
///
/// let rule = EmaRule { decay: 0.5, ..EmaRule::default() };
/// let mut codebook = EmaCodebook::new(array![[0.0, 0.0], [10.0, 0.0], [500.0, 500.0]], rule)?;
/// let vectors = array![[1.0, 1.0], [9.0, 1.0], [2.0, 1.0], [10.0, 3.0]];
/// let mut draws = SeededDraws::new(1);
/// let mut dead = Vec::new();
/// for _ in 0..5 {
///     let step = codebook.step(vectors.view(), &mut draws, &mut Alone)?;
///     dead.extend(step.revived.iter().map(|revived| revived.code));
/// }
/// assert_eq!(dead, [2]); // the code that nobody used now has one of the vectors
/// assert_eq!(codebook.usage().used(), 3);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EmaCodebook {
    rule: EmaRule,
    codes: Codes,
    sizes: Vec<f32>,
    sums: Array2<f32>,
    steps: u64,
}

/// What one step came to.
#[derive(Debug, Clone)]
pub struct EmaStep {
    /// The code of each of this worker's vectors, by the table before the step.
    pub codes: Vec<usize>,
    /// Mean squared difference of a value and its code's, over all workers' vectors.
    pub error: f64,
    /// How many vectors of all workers each code had.
    pub counts: Usage,
    /// The codes that were found dead, in order, and what they were given.
    pub revived: Vec<Revived>,
    /// The table before the step.
    pub before: Codes,
}

/// A dead code that was given a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revived {
    /// The code.
    pub code: usize,
    /// The row of the whole batch whose vector it was given.
    pub row: usize,
}

impl EmaStep {
    /// The vectors that the codes stand for, `[n, d]`.
    pub fn quantized(&self) -> Array2<f32> {
        self.before.table().select(Axis(0), &self.codes)
    }
}

impl EmaCodebook {
    /// Starts from a table, with each code as if it had had one vector: its own.
    ///
    /// # Shapes
    /// `table` is `[codes, d]`.
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn new(table: Array2<f32>, rule: EmaRule) -> Result<Self> {
        let sizes = vec![1.0; table.nrows()];
        Self::from_parts(EmaParts { sums: table.clone(), sizes, table, steps: 0 }, rule)
    }

    /// Starts from what k-means gave, with each code as if it had had the vectors of its cluster, or its own one if the
    /// cluster is empty.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn from_clusters(clusters: Clusters, rule: EmaRule) -> Result<Self> {
        let sizes: Vec<f32> = clusters.sizes.iter().map(|&size| size.max(1) as f32).collect();
        let mut sums = clusters.means.clone();
        sums.rows_mut().into_iter().zip(&sizes).for_each(|(mut row, &size)| row *= size);
        Self::from_parts(EmaParts { table: clusters.means, sizes, sums, steps: 0 }, rule)
    }

    /// Starts from vectors drawn from a batch.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`: this worker's.
    /// # Errors
    /// As [`step`](Self::step).
    /// # Source
    /// TATS `tats/modules/codebook.py` and esm `layers/codebook.py`, `_init_embeddings`.
    pub fn drawn(
        vectors: ArrayView2<'_, f32>,
        codes: usize,
        rule: EmaRule,
        draws: &mut dyn Draws,
        workers: &mut dyn Collective,
    ) -> Result<Self> {
        rule.check()?;
        let width = vectors.ncols();
        let batch = Batch::new(rule.prepared(vectors), width, Digest::of(&(rule, codes, width)), workers)?;
        let (_, table) = draw(&batch, codes, &rule, draws, workers)?;
        Self::new(table, rule)
    }

    /// Takes up what was kept.
    ///
    /// # Errors
    /// `Invalid` if shapes do not agree, a number is not finite, a size is below 0, there is no code, or the rule has
    /// numbers that make no sense.
    pub fn from_parts(parts: EmaParts, rule: EmaRule) -> Result<Self> {
        rule.check()?;
        let EmaParts { mut table, sizes, sums, steps } = parts;
        if table.is_empty() || sums.dim() != table.dim() || sizes.len() != table.nrows() {
            let found = format!("{:?}, {} sizes and sums {:?}", table.dim(), sizes.len(), sums.dim());
            return Err(Error::invalid("table of a codebook", found, "codes with a vector, a size and a sum each"));
        }
        check_finite(&table, &sizes, &sums)?;
        rule.scale(&mut table);
        Ok(EmaCodebook { rule, codes: Codes::new(table), sizes, sums, steps })
    }

    /// What is to be kept.
    pub fn parts(&self) -> EmaParts {
        EmaParts {
            table: self.codes.table().to_owned(),
            sizes: self.sizes.clone(),
            sums: self.sums.clone(),
            steps: self.steps,
        }
    }

    /// How the codebook moves.
    pub fn rule(&self) -> &EmaRule {
        &self.rule
    }

    /// The table, ready to be searched.
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The sizes: how much each code was used lately.
    pub fn usage(&self) -> Usage<f64> {
        let sizes = self.sizes.iter().map(|&size| size.into()).collect();
        Usage::from_counts(sizes).expect("sizes are finite and not below 0")
    }

    /// Moves the codebook by one batch. All workers must call this together, each with its own part of the batch, which
    /// may be empty for some.
    ///
    /// Rows that are only there to fill a batch up are to be left out; [`codes`](Self::codes) finds their codes as well.
    ///
    /// # Shapes
    /// `vectors` is `[n, d]`.
    /// # Errors
    /// `Invalid` if `vectors` has another width, a value is not a number up to 1e15, nobody has a vector, the draws name
    /// rows that are not there, or workers have unlike codebooks, rules or draws; that of the collective if a worker is
    /// lost. The codebook is then as before.
    pub fn step(
        &mut self,
        vectors: ArrayView2<'_, f32>,
        draws: &mut dyn Draws,
        workers: &mut dyn Collective,
    ) -> Result<EmaStep> {
        let vectors = self.rule.prepared(vectors);
        let batch = Batch::new(vectors, self.codes.dimension(), self.digest(), workers)?;
        let totals = batch.totals(&self.codes, workers)?;
        let mut next = EmaParts { steps: self.steps + 1, ..self.parts() };
        let mut revived = self.revive(Moment::BeforeEma, &mut next, &batch, draws, workers)?;
        self.rule.average(&mut next, &totals);
        revived.extend(self.revive(Moment::AfterEma, &mut next, &batch, draws, workers)?);
        check_finite(&next.table, &next.sizes, &next.sums)?;
        let EmaParts { table, sizes, sums, steps } = next;
        let before = std::mem::replace(&mut self.codes, Codes::new(table));
        (self.sizes, self.sums, self.steps) = (sizes, sums, steps);
        Ok(EmaStep {
            codes: totals.codes,
            error: totals.error,
            counts: Usage::from_counts(totals.sizes)?,
            revived,
            before,
        })
    }

    /// Gives dead codes vectors, if this is the moment to look for them.
    fn revive(
        &self,
        moment: Moment,
        next: &mut EmaParts,
        batch: &Batch<'_>,
        draws: &mut dyn Draws,
        workers: &mut dyn Collective,
    ) -> Result<Vec<Revived>> {
        let due = |revival: &Revival| revival.moment == moment && revival.is_due(next.steps);
        let Some(revival) = self.rule.revival.filter(due) else { return Ok(Vec::new()) };
        let usage = Usage::from_counts(next.sizes.iter().map(|&size| f64::from(size)).collect())?;
        let dead = usage.dead(revival.threshold);
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let count = if revival.draw == Draw::EachCode { next.sizes.len() } else { dead.len() };
        let (rows, vectors) = draw(batch, count, &self.rule, draws, workers)?;
        let size = revival.state.size(usage.mean());
        let each = dead.iter().enumerate().map(|(place, &code)| {
            let drawn = if revival.draw == Draw::EachCode { code } else { place };
            next.give(code, vectors.row(drawn), size);
            Revived { code, row: rows[drawn] }
        });
        Ok(each.collect())
    }

    /// Tells replicas apart that are not alike.
    fn digest(&self) -> Digest {
        let digest = Digest::of(&(&self.rule, self.codes.len(), self.codes.dimension())).add(self.steps);
        digest.floats(self.codes.table()).floats(&self.sizes).floats(&self.sums)
    }
}

/// Draws vectors of a batch, with the rows that they come from: of copies with noise, if it has too few and there is to be
/// noise.
fn draw(
    batch: &Batch<'_>,
    count: usize,
    rule: &EmaRule,
    draws: &mut dyn Draws,
    workers: &mut dyn Collective,
) -> Result<(Vec<usize>, Array2<f32>)> {
    let copies = if rule.noise > 0.0 { count.div_ceil(batch.len()) } else { 1 };
    let drawn = draws.rows(copies * batch.len(), count);
    if drawn.len() != count {
        return Err(Error::invalid("number of rows drawn", drawn.len(), count));
    }
    let rows: Vec<usize> = drawn.iter().map(|&row| if copies > 1 { row % batch.len() } else { row }).collect();
    let mut vectors = batch.fetch(&rows, workers)?;
    if copies > 1 {
        let width = vectors.ncols();
        let deviation = rule.noise / (width as f64).sqrt();
        for (mut vector, &row) in vectors.rows_mut().into_iter().zip(&drawn) {
            let noise = draws.noise(row, width);
            vector.iter_mut().zip(noise).for_each(|(value, noise)| *value += (f64::from(noise) * deviation) as f32);
        }
        // Noise changes lengths.
        rule.scale(&mut vectors);
    }
    Ok((rows, vectors))
}

impl EmaParts {
    /// Gives a code a new vector, and a size with the sum that belongs to it.
    fn give(&mut self, code: usize, vector: ndarray::ArrayView1<'_, f32>, size: Option<f64>) {
        self.table.row_mut(code).assign(&vector);
        if let Some(size) = size {
            self.sizes[code] = size as f32;
            self.sums.row_mut(code).assign(&vector.mapv(|value| (f64::from(value) * size) as f32));
        }
    }
}

impl EmaRule {
    /// Moves sizes and sums towards those of a batch, and makes the table anew.
    fn average(&self, parts: &mut EmaParts, totals: &Totals) {
        for (size, &count) in parts.sizes.iter_mut().zip(&totals.sizes) {
            *size = moved((*size).into(), count as f64, self.decay) as f32;
        }
        Zip::from(&mut parts.sums).and(&totals.sums).for_each(|sum, &new| {
            *sum = moved((*sum).into(), new, self.decay) as f32;
        });
        let divisors = self.smoothing.divisors(&parts.sizes);
        let rows = parts.table.rows_mut().into_iter().zip(parts.sums.rows()).zip(divisors);
        // A code that never had a vector stays where it is.
        for ((mut row, sum), divisor) in rows.filter(|&(_, divisor)| divisor > 0.0) {
            row.zip_mut_with(&sum, |value, &sum| *value = (f64::from(sum) / divisor) as f32);
        }
        self.scale(&mut parts.table);
    }

    /// Vectors as this rule's metric has them.
    fn prepared<'a>(&self, vectors: ArrayView2<'a, f32>) -> CowArray<'a, f32, Ix2> {
        if self.metric == Metric::Euclidean {
            return vectors.into();
        }
        let mut scaled = vectors.to_owned();
        self.scale(&mut scaled);
        scaled.into()
    }

    /// Scales rows to length 1 where only their direction counts.
    fn scale(&self, rows: &mut Array2<f32>) {
        if self.metric == Metric::Euclidean {
            return;
        }
        for mut row in rows.rows_mut() {
            let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            // One that has this length stays, so that what was kept comes back with the same bits. A vector of length 0 has
            // no direction and stays as well.
            if length > 0.0 && (length - 1.0).abs() > 1e-6 {
                row.mapv_inplace(|value| (f64::from(value) / length) as f32);
            }
        }
    }
}

/// Refuses parts with numbers that are none.
fn check_finite(table: &Array2<f32>, sizes: &[f32], sums: &Array2<f32>) -> Result<()> {
    let finite = |mut values: ndarray::iter::Iter<'_, f32, ndarray::Ix2>| values.all(|value| value.is_finite());
    if !finite(table.iter()) || !finite(sums.iter()) {
        return Err(Error::invalid("table or sums of a codebook", "not finite somewhere", "numbers"));
    }
    // Twice what vectors may hold: smoothing can take the mean of the largest a little beyond them.
    let most = 2.0 * LARGEST;
    if let Some(value) = table.iter().find(|value| value.abs() > most) {
        return Err(Error::invalid("value in a codebook's table", value, format!("a number up to {most:e} in size")));
    }
    match sizes.iter().find(|&&size| !(size.is_finite() && size >= 0.0)) {
        Some(size) => Err(Error::invalid("size of a code", size, "a number of 0 or more")),
        None => Ok(()),
    }
}
