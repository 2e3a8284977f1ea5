//! What a run that is broken off goes on with.

use serde_json::Value;

use super::batches::World;
use super::trial::Trial;
use super::{Found, Make, Score, holds};
use crate::backend::Report;
use crate::error::Result;

/// Two batches, taken in turns, the second in parts.
fn train<B: Score>(trial: &mut Trial<B>, world: &World, steps: std::ops::Range<u64>) -> Result<Vec<Report>> {
    let (whole, cut) = (world.batch(&[&[0], &[3]])?, world.batch(&[&[1, 2], &[5]])?);
    let parts = [cut.part(0..1), cut.part(1..2)];
    let step = |step: u64| match step.is_multiple_of(2) {
        true => trial.step(&[&whole]),
        false => trial.step(&[&parts[0], &parts[1]]),
    };
    steps.map(step).collect()
}

/// Without it no result can be had again, and no fault be found by trying.
pub(super) fn the_same_calls_give_the_same_model<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let [mut one, mut two] = [Trial::new(make, &world.spec)?, Trial::new(make, &world.spec)?];
    holds(one.saved()? == two.saved()?, || "two models of a seed differ before the first step".into())?;
    holds(train(&mut one, &world, 0..3)? == train(&mut two, &world, 0..3)?, || {
        "reports of the same steps differ".into()
    })?;
    let saved = one.saved()?;
    holds(two.saved()? == saved, || "checkpoints of the same steps differ".into())?;
    holds(one.saved()? == saved, || "two checkpoints of a model differ".into())?;
    let other = Trial::seeded(make, &world.spec, 8)?.saved()?;
    holds(other != Trial::new(make, &world.spec)?.saved()?, || "models of two seeds are the same".into())
}

/// Without it a run that was broken off ends elsewhere than one that was not.
pub(super) fn a_run_goes_on_from_its_checkpoint<B: Score>(make: Make<B>) -> Found {
    let world = World::two_sides()?;
    let unseen = world.batch(&[&[6, 7], &[9], &[10]])?;
    let mut trial = Trial::new(make, &world.spec)?;
    train(&mut trial, &world, 0..3)?;
    let saved = trial.saved()?;
    let (evaluated, steps) = (trial.evaluate(&unseen)?, train(&mut trial, &world, 3..6)?);
    let (after, end) = (trial.evaluate(&unseen)?, trial.saved()?);
    // A fresh one, one of another seed, and the one that has gone on.
    for seed in [Some(7), Some(8), None] {
        let mut fresh = seed.map(|seed| Trial::seeded(make, &world.spec, seed)).transpose()?;
        let again = fresh.as_mut().unwrap_or(&mut trial);
        again.load(&saved)?;
        holds(again.evaluate(&unseen)? == evaluated, || "a model that was loaded gives another loss".into())?;
        holds(train(again, &world, 3..6)? == steps, || "steps behind a checkpoint differ".into())?;
        holds(again.evaluate(&unseen)? == after, || "the model behind them differs".into())?;
        holds(seed == Some(8) || again.saved()? == end, || "the checkpoint behind them differs".into())?;
    }
    Ok(())
}

/// Without it a run goes on with half a model, or loses the one that it has.
pub(super) fn damaged_checkpoints_are_refused<B: Score>(make: Make<B>) -> Found {
    let world = World::one_side()?;
    let probe = world.batch(&[&[6]])?;
    let mut trial = Trial::new(make, &world.spec)?;
    train(&mut trial, &world, 0..1)?;
    let saved = trial.saved()?;
    let foreign = Trial::new(make, &World::two_sides()?.spec)?.saved()?;
    train(&mut trial, &world, 1..2)?;
    let (before, report) = (trial.saved()?, trial.evaluate(&probe)?);
    for (what, damaged) in damages(&saved)?.into_iter().chain([("of other streams", foreign)]) {
        holds(trial.load(&damaged).is_err(), || format!("a checkpoint {what} is taken"))?;
        holds(trial.evaluate(&probe)? == report, || format!("a checkpoint {what} has changed the model"))?;
    }
    holds(trial.saved()? == before, || "the model is another behind checkpoints that were refused".into())?;
    trial.load(&saved)?;
    holds(trial.saved()? == saved, || "a whole checkpoint is not taken behind damaged ones".into())
}

fn damages(saved: &[u8]) -> Found<Vec<(&'static str, Vec<u8>)>> {
    let checkpoint = Checkpoint::of(saved)?;
    let (name, entry) = checkpoint.tensors().next().ok_or("a checkpoint without tensors")?;
    let renamed = checkpoint.with(|header| {
        header.remove(name);
        header.insert(format!("{name}_"), entry.clone());
    })?;
    let shapes = checkpoint.tensors().find(|(_, entry)| entry["shape"] != reversed(&entry["shape"]));
    let (name, entry) = shapes.ok_or("a checkpoint without a table")?;
    let turned = checkpoint.with(|header| header[name]["shape"] = reversed(&entry["shape"]))?;
    let cut = |bytes: usize| saved[..bytes].to_vec();
    Ok(vec![
        ("of no byte", vec![]),
        ("of 7 bytes", cut(7)),
        ("that ends in its header", cut(20)),
        ("that ends in its data", cut(saved.len() / 2)),
        ("without its last byte", cut(saved.len() - 1)),
        ("that is text", b"not a checkpoint at all, but quite some text".to_vec()),
        ("of endless length", [&u64::MAX.to_le_bytes()[..], &saved[8..]].concat()),
        ("whose header is no JSON", [&saved[..8], &[b'!'; 1], &saved[9..]].concat()),
        ("with a tensor of another name", renamed),
        ("with a tensor of another shape", turned),
    ])
}

fn reversed(shape: &Value) -> Value {
    shape.as_array().map_or(Value::Null, |axes| axes.iter().rev().cloned().collect())
}

/// A safetensors file: enough of it to be damaged with care.
pub(super) struct Checkpoint {
    header: serde_json::Map<String, Value>,
    data: Vec<u8>,
}

impl Checkpoint {
    pub fn of(bytes: &[u8]) -> Found<Self> {
        let (length, rest) = bytes.split_first_chunk().ok_or("a checkpoint of less than 8 bytes")?;
        let length = usize::try_from(u64::from_le_bytes(*length))?;
        let (header, data) = rest.split_at_checked(length).ok_or("a checkpoint without its header")?;
        Ok(Checkpoint { header: serde_json::from_slice(header)?, data: data.to_vec() })
    }

    fn tensors(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.header.iter().filter(|(name, _)| *name != "__metadata__")
    }

    /// The same data behind another header.
    fn with(&self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> serde_json::Result<Vec<u8>> {
        let mut header = self.header.clone();
        change(&mut header);
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok([&(header.len() as u64).to_le_bytes()[..], &header, &self.data].concat())
    }

    /// With every number so large that any model built of them is beyond its range.
    pub fn overgrown(mut self) -> serde_json::Result<Vec<u8>> {
        let ranges: Vec<_> = self.tensors().filter_map(|(_, entry)| Some((number(entry)?, place(entry)?))).collect();
        for (number, place) in ranges {
            let cells = self.data.get_mut(place).into_iter().flat_map(|data| data.chunks_exact_mut(number.len()));
            cells.for_each(|cell| cell.copy_from_slice(&number));
        }
        self.with(|_| ())
    }
}

fn number(entry: &Value) -> Option<Vec<u8>> {
    match entry["dtype"].as_str()? {
        "F32" => Some(3e38_f32.to_le_bytes().to_vec()),
        "F64" => Some(1e300_f64.to_le_bytes().to_vec()),
        _ => None,
    }
}

fn place(entry: &Value) -> Option<std::ops::Range<usize>> {
    let at = |i: usize| entry["data_offsets"][i].as_u64().and_then(|at| usize::try_from(at).ok());
    Some(at(0)?..at(1)?)
}
