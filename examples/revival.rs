//! What becomes of a codebook of 4096 codes on 1,000,000 skewed vectors, without revival of dead codes and with it.
//!
//! ```text
//! cargo run --release --example revival -- [OUT.svg]
//!
//! vectors    clusters of which a few have most of the vectors         usage    a bend down of counts, most used code first
//! table      small random numbers, as a network begins with           dead     used for less than 1e-5 of the vectors
//! ```
//!
//! Two workers train it, each on its half of every batch; their replicas are the same to the last bit, which is checked.
//! All draws are seeded: every run prints the same table.

use std::env;
use std::fmt::Write;
use std::fs;

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundelay::codebook::{Codes, EmaCodebook, EmaRule, SeededDraws, Threshold, Usage, threads};

const VECTORS: usize = 1_000_000;
const CODES: usize = 4096;
const WIDTH: usize = 32;
const CLUSTERS: usize = 3000;
/// The share of cluster r falls as 1 / r^SKEW.
const SKEW: f64 = 1.1;
const BATCH: usize = 10_000;
const EPOCHS: usize = 12;
const WORKERS: usize = 2;
/// Codes with a smaller share of the vectors are dead.
const DEAD: Threshold = Threshold::Share(1e-5);

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let vectors = skewed(&mut rng);
    let table = Array2::from_shape_fn((CODES, WIDTH), |_| rng.random_range(-0.1..0.1));
    let rule = EmaRule { decay: 0.97, ..EmaRule::default() };
    let stages = [
        ("before", table.clone()),
        ("trained without revival", train(&vectors, &table, EmaRule { revival: None, ..rule })?),
        ("trained with revival", train(&vectors, &table, rule)?),
    ];
    let variance = mean_square(&(&vectors - &vectors.mean_axis(Axis(0)).ok_or("no vectors")?));
    let measured: Vec<Stage> = stages.into_iter().map(|(name, table)| Stage::of(name, table, &vectors)).collect();
    print!("{}", markdown(&measured, variance)?);
    if let Some(path) = env::args().nth(1) {
        fs::write(path, picture(&measured)?)?;
    }
    Ok(())
}

/// Normal clusters around normal centres, `[VECTORS, WIDTH]`.
fn skewed(rng: &mut ChaCha8Rng) -> Array2<f32> {
    let centres = Array2::from_shape_fn((CLUSTERS, WIDTH), |_| normal(rng));
    let shares: Vec<f64> = (1..=CLUSTERS).map(|rank| (rank as f64).powf(-SKEW)).collect();
    let mut upto: Vec<f64> = shares.iter().scan(0.0, |sum, share| Some(std::mem::replace(sum, *sum + share))).collect();
    let total: f64 = shares.iter().sum();
    upto.iter_mut().for_each(|sum| *sum /= total);
    let mut vectors = Array2::zeros((VECTORS, WIDTH));
    for mut row in vectors.rows_mut() {
        let drawn: f64 = rng.random();
        let cluster = upto.partition_point(|&sum| sum <= drawn) - 1;
        row.zip_mut_with(&centres.row(cluster), |value, centre| *value = centre + 0.4 * normal(rng));
    }
    vectors
}

/// A normal number, of mean 0 and variance 1, after Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (radius, turn): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
}

/// Goes through all vectors EPOCHS times; each worker takes its part of every batch.
fn train(vectors: &Array2<f32>, table: &Array2<f32>, rule: EmaRule) -> Outcome<Array2<f32>> {
    let tables = std::thread::scope(|scope| {
        let worker = |(rank, mut workers)| {
            scope.spawn(move || {
                let mut codebook = EmaCodebook::new(table.clone(), rule)?;
                let mut draws = SeededDraws::new(2);
                for batch in (0..EPOCHS).flat_map(|_| vectors.axis_chunks_iter(Axis(0), BATCH)) {
                    codebook.step(part(batch, rank), &mut draws, &mut workers)?;
                }
                Ok(codebook.codes().table().to_owned())
            })
        };
        let running: Vec<_> = threads(WORKERS).into_iter().enumerate().map(worker).collect();
        running.into_iter().map(|worker| worker.join().expect("no worker panics")).collect::<Outcome<Vec<_>>>()
    })?;
    assert!(tables.windows(2).all(|pair| pair[0] == pair[1]), "replicas are the same");
    Ok(tables.into_iter().next().expect("there are workers"))
}

/// A worker's rows of a batch.
fn part(batch: ArrayView2<'_, f32>, rank: usize) -> ArrayView2<'_, f32> {
    let upto = |rank| rank * batch.nrows() / WORKERS;
    batch.slice_move(s![upto(rank)..upto(rank + 1), ..])
}

/// How all vectors fare with a table.
struct Stage {
    name: &'static str,
    usage: Usage,
    /// Mean squared distance of a vector to its code.
    error: f64,
}

impl Stage {
    fn of(name: &'static str, table: Array2<f32>, vectors: &Array2<f32>) -> Self {
        let codes = Codes::new(table);
        let mut usage = Usage::new(CODES);
        let mut left = vectors.to_owned();
        for (mut row, code) in left.rows_mut().into_iter().zip(codes.nearest(vectors.view())) {
            usage.add(code);
            row -= &codes.table().row(code);
        }
        Stage { name, usage, error: mean_square(&left) }
    }

    /// The figures of a column.
    fn figures(&self, variance: f64) -> [String; 10] {
        let usage = &self.usage;
        let count = |extreme: Option<(usize, u64)>| extreme.map_or(0, |(_, count)| count).to_string();
        [
            usage.used().to_string(),
            usage.dead(DEAD).len().to_string(),
            format!("{:.0}", usage.perplexity()),
            format!("{:.3}", usage.normalized_entropy()),
            format!("{:.3}", usage.gini()),
            format!("{:.1}", usage.mean()),
            format!("{:.1}", usage.deviation()),
            count(usage.least()),
            count(usage.most()),
            format!("{:.2} %", 100.0 * self.error / variance),
        ]
    }
}

/// Mean squared length of the rows.
fn mean_square(rows: &Array2<f32>) -> f64 {
    rows.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / rows.nrows() as f64
}

const FIGURES: [&str; 10] = [
    "codes in use",
    "dead codes (less than 1e-5 of the vectors)",
    "perplexity",
    "entropy, share of the largest",
    "Gini",
    "mean use",
    "standard deviation",
    "least used",
    "most used",
    "error, share of the variance",
];

fn markdown(stages: &[Stage], variance: f64) -> Result<String, std::fmt::Error> {
    let mut text = String::from("| |");
    stages.iter().try_for_each(|stage| write!(text, " {} |", stage.name))?;
    writeln!(text, "\n|{}", " --- |".repeat(stages.len() + 1))?;
    let columns: Vec<_> = stages.iter().map(|stage| stage.figures(variance)).collect();
    for (row, name) in FIGURES.iter().enumerate() {
        write!(text, "| {name} |")?;
        columns.iter().try_for_each(|column| write!(text, " {} |", column[row]))?;
        writeln!(text)?;
    }
    Ok(text)
}

/// Size of the plot, in pixels, and what is left of it for labels.
const PLOT: (f64, f64) = (720.0, 360.0);
const MARGIN: f64 = 72.0;
/// Of colours that differ for all eyes.
const COLOURS: [&str; 3] = ["#999999", "#d55e00", "#0072b2"];

/// Use of each code, most used first, on a logarithmic scale; codes without use lie on the lowest line.
fn picture(stages: &[Stage]) -> Result<String, std::fmt::Error> {
    let (width, height) = (PLOT.0 + 2.0 * MARGIN, PLOT.1 + 2.0 * MARGIN);
    let decades = (VECTORS as f64).log10() + 1.0;
    let x = |rank: usize| MARGIN + PLOT.0 * rank as f64 / CODES as f64;
    // One decade below 1 is left for 0.
    let y = |count: u64| MARGIN + PLOT.1 * (1.0 - (1.0 + (count as f64).max(0.1).log10()) / decades);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for power in 0..=VECTORS.ilog10() {
        let (count, left, right) = (10u64.pow(power), MARGIN, MARGIN + PLOT.0);
        let line = y(count);
        writeln!(svg, "<path d=\"M{left} {line:.1}H{right}\" stroke=\"#dddddd\"/>")?;
        writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>", left - 6.0, line + 4.0)?;
    }
    writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">0</text>", MARGIN - 6.0, y(0) + 4.0)?;
    for rank in (0..=CODES).step_by(1024) {
        let (x, y) = (x(rank), MARGIN + PLOT.1 + 20.0);
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{rank}</text>")?;
    }
    let foot = MARGIN + PLOT.1 + 44.0;
    writeln!(svg, "<text x=\"{MARGIN}\" y=\"{foot}\">codes, most used first</text>")?;
    writeln!(svg, "<text x=\"{MARGIN}\" y=\"24\">vectors of a code, of {VECTORS}</text>")?;
    for (number, (stage, colour)) in stages.iter().zip(COLOURS).enumerate() {
        let mut counts = stage.usage.counts().to_vec();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let point = |(rank, &count): (usize, &u64)| format!("{:.1},{:.1}", x(rank), y(count));
        let points: Vec<_> = counts.iter().enumerate().step_by(8).map(point).collect();
        writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        )?;
        let (x, y) = (MARGIN + PLOT.0 - 220.0, MARGIN + 20.0 * number as f64 + 14.0);
        writeln!(svg, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", stage.name)?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}
