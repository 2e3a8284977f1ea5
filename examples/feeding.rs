//! How much of a step is waiting for its batch: the same batches, fed while the model works, and all on the device already.
//!
//! ```text
//! fed      step 1, step 2, ..      made and uploaded by other threads meanwhile
//! there    step 1, step 2, ..      uploaded before the clock is started
//! ```
//! `cargo run --release --features burn --example feeding -- [DATASET] [STEPS] [ROUNDS] [cpu | cuda | TRAINER]`; without a
//! dataset, or with `-`, clips are drawn and put together anew for each batch; a trainer is a command line, as in
//! `"python3 examples/train_torch.py"`. Prints one JSON object. Rounds are taken in turns; times are milliseconds for a
//! step, the median of rounds, with the least and the most.

use std::path::PathBuf;
use std::time::Instant;

use ndarray::Array2;
#[cfg(feature = "cuda")]
use roundelay::backend::burn::Gpu;
use roundelay::backend::burn::{BurnBackend, Cpu, Device, Found, Options};
use roundelay::backend::{BatchSpec, Feeder, Source, TrainBackend, Upload};
use roundelay::batch::{Ahead, Clip, Collate, Place, TrainBatch};
use roundelay::io::{Data, Dataset, Loader, LoaderOptions, TrainerCommand, spawn_trainer};
use roundelay::{Delay, Extent, Frames, Layout, Policy, Result, Start};

const ROWS: usize = 2;
const FRAMES: usize = 100;

/// Collates one pair of clips after another, drawn once.
struct Drawn {
    collate: Collate<Delay>,
    clips: Vec<Array2<i32>>,
    taken: usize,
    batch: TrainBatch,
}

impl Drawn {
    fn new(layout: &Layout) -> Result<Self> {
        let of = |clip: usize| {
            let code = |(k, t): (usize, usize)| ((clip * 7919 + k * 104_729 + t * 1_299_709) % 2048) as i32;
            Array2::from_shape_fn((layout.streams().len(), FRAMES), code)
        };
        let delay = Delay::new(layout, Extent::Extend, Start::Initial);
        let collate = Collate::new(layout.clone(), Policy::named("moshi")?, delay)?;
        Ok(Drawn { collate, clips: (0..32).map(of).collect(), taken: 0, batch: TrainBatch::default() })
    }
}

impl Source for Drawn {
    fn next(&mut self) -> Option<Result<&TrainBatch>> {
        let row = |n: usize| {
            let codes = Frames(self.clips[n % self.clips.len()].view());
            vec![Clip { id: "drawn", index: n as u64, codes, regions: &[] }]
        };
        let rows: Vec<_> = (self.taken..self.taken + ROWS).map(row).collect();
        self.taken += ROWS;
        Some(self.collate.batch(&rows, None, &mut self.batch).map(|()| &self.batch))
    }
}

/// Where batches come from, begun anew for each round.
type Begin = Box<dyn Fn() -> Result<Box<dyn Source>>>;

struct Boxed(Box<dyn Source>);

impl Source for Boxed {
    fn next(&mut self) -> Option<Result<&TrainBatch>> {
        self.0.next()
    }
}

fn source(dataset: Option<PathBuf>) -> Result<(BatchSpec, Begin)> {
    let Some(folder) = dataset else {
        let layout = Layout::preset("moshi-7b")?;
        let spec = BatchSpec::new(&layout, ROWS, 2 * FRAMES);
        return Ok((spec, Box::new(move || Ok(Box::new(Drawn::new(&layout)?)))));
    };
    let dataset = Dataset::open(&folder)?;
    let layout = dataset.layout().clone();
    let delay = Delay::new(&layout, Extent::Extend, Start::Initial);
    let collate = Collate::new(layout, Policy::named("moshi")?, delay)?;
    let train = Loader::new(vec![(dataset, 1.0)], collate, LoaderOptions::default())?;
    let spec = Data { train: train.clone(), valid: None }.spec()?;
    let begin =
        move || -> Result<Box<dyn Source>> { Ok(Box::new(train.batches(Place::default(), None, Ahead::default())?)) };
    Ok((spec, Box::new(begin)))
}

/// Milliseconds for a step while batches are fed; the first one, for which everything is begun, is not counted.
fn fed<B: TrainBackend<Batch: 'static>>(model: &mut B, begin: &Begin, steps: usize) -> Result<f64> {
    let mut feeder = Feeder::new(Boxed(begin()?), model.uploader()?, usize::MAX)?;
    let mut step = || {
        let fed = feeder.next().expect("sources here have no end")?;
        model.step(&fed.parts).map(drop)
    };
    step()?;
    let start = Instant::now();
    (0..steps).try_for_each(|_| step())?;
    Ok(start.elapsed().as_secs_f64() * 1e3 / steps as f64)
}

/// The same of batches that are there.
fn there(model: &mut impl TrainBackend, begin: &Begin, steps: usize) -> Result<f64> {
    let (mut source, mut upload) = (begin()?, model.uploader()?);
    let mut next = || upload.upload(source.next().expect("sources here have no end")?);
    let batches = (0..=steps).map(|_| next()).collect::<Result<Vec<_>>>()?;
    model.step(&batches[..1])?;
    let start = Instant::now();
    batches[1..].iter().try_for_each(|batch| model.step(std::slice::from_ref(batch)).map(drop))?;
    Ok(start.elapsed().as_secs_f64() * 1e3 / steps as f64)
}

fn measure<B: TrainBackend<Batch: 'static>>(
    mut model: B,
    begin: &Begin,
    steps: usize,
    rounds: usize,
) -> Result<serde_json::Value> {
    let (mut waiting, mut all) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        let times = [fed(&mut model, begin, steps)?, there(&mut model, begin, steps)?];
        waiting.push(times[0] / times[1] - 1.0);
        all.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
    }
    let [fed, there] = all.map(spread);
    Ok(
        serde_json::json!({ "steps": steps, "rounds": rounds, "fed_ms": fed, "there_ms": there, "share_waiting": spread(waiting) }),
    )
}

fn spread(mut of: Vec<f64>) -> serde_json::Value {
    of.sort_by(f64::total_cmp);
    serde_json::json!({ "median": of[of.len() / 2], "least": of[0], "most": of[of.len() - 1] })
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dataset = args.next().filter(|folder| folder != "-").map(PathBuf::from);
    let mut number = |default: usize| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(default).max(1);
    let (steps, rounds) = (number(10), number(5));
    let on = args.next().unwrap_or_default();
    let (spec, begin) = source(dataset)?;
    let device = match on.as_str() {
        "" => Device::Auto,
        "cpu" => Device::Cpu,
        "cuda" => Device::Cuda(0),
        trainer => {
            let trainer = spawn_trainer(&TrainerCommand::parse(trainer)?, &spec, &serde_json::json!({}))?;
            println!("{}", measure(trainer, &begin, steps, rounds)?);
            return Ok(());
        }
    };
    let (found, options) = (device.find()?, Options::default());
    eprintln!("{found:?}");
    let measured = match found {
        Found::Cpu(device) => measure(BurnBackend::<Cpu>::new(&spec, &options, &device)?, &begin, steps, rounds)?,
        #[cfg(feature = "cuda")]
        Found::Gpu(device) => measure(BurnBackend::<Gpu>::new(&spec, &options, &device)?, &begin, steps, rounds)?,
    };
    println!("{measured}");
    Ok(())
}
