//! How the loss went down.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::backend::{BatchSpec, Labels, Report};
use crate::batch::Split;
use crate::error::{Error, Result};
use crate::io::files;
use crate::stream::Kind;

/// Ten million steps; larger files are no curves.
const MOST_BYTES: u64 = 1 << 31;

/// A line of the learning curve: cross-entropies in nats a label, weights apart; none where there were no labels.
///
/// ```text
/// {"step": 400, "epoch": 200, "split": "train", "loss": 0.31, "words": 0.2, "pads": 0.1, "semantic": 0.4, ..}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Optimisation steps so far.
    pub step: u64,
    /// Epoch of the step's batch.
    pub epoch: u64,
    /// What was measured on.
    pub split: Split,
    /// What the step made smaller; none for an evaluation, whose batches are weighed each by itself.
    pub loss: Option<f64>,
    /// Text that is no pad.
    pub words: Option<f64>,
    /// Pads and ends of pads.
    pub pads: Option<f64>,
    /// Codes of semantic streams.
    pub semantic: Option<f64>,
    /// Codes of acoustic streams.
    pub acoustic: Option<f64>,
    /// Length of the gradient before clipping.
    pub gradient_norm: Option<f64>,
}

impl Point {
    pub(super) fn new((step, epoch): (u64, u64), split: Split, spec: &BatchSpec, report: &Report) -> Self {
        let of = |kind| report.tokens(|k| spec.streams[k].kind == kind).mean();
        let mut pads = Labels::default();
        report.streams.iter().for_each(|stream| pads.add(&stream.pads));
        Point {
            step,
            epoch,
            split,
            loss: (split == Split::Train).then_some(report.loss),
            words: of(Kind::Text),
            pads: pads.mean(),
            semantic: of(Kind::Semantic),
            acoustic: of(Kind::Acoustic),
            gradient_norm: report.gradient_norm,
        }
    }
}

/// The file of the curve, line by line.
#[derive(Debug)]
pub(super) struct Curve {
    file: File,
    name: String,
}

impl Curve {
    /// Goes on behind the lines of the first `steps` steps; the rest is taken back, and evaluations that were made only
    /// because the run ended there.
    pub fn open(path: &Path, steps: u64, due: impl Fn(u64) -> bool) -> Result<Self> {
        let failed = |e| Error::io("write the learning curve", e).in_file(path.display());
        if path.exists() {
            let text = files::read_text(path, "learning curve", MOST_BYTES)?;
            let kept = kept(&text, steps, due).map_err(|e| e.in_file(path.display()))?;
            files::write_atomic(path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        Ok(Curve { file, name: path.display().to_string() })
    }

    pub fn write(&mut self, point: &Point) -> Result<()> {
        let failed = |e| Error::io("write the learning curve", e).in_file(&self.name);
        let mut line = serde_json::to_string(point).map_err(|e| failed(e.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(failed)
    }

    /// On the disk before a checkpoint says that it is.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("write the learning curve", e).in_file(&self.name))
    }
}

/// The points of a file; none if there is no file yet.
pub(super) fn read(path: &Path) -> Result<Vec<Point>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = files::read_text(path, "learning curve", MOST_BYTES)?;
    text.lines().enumerate().map(|line| point(line).map_err(|e| e.in_file(path.display()))).collect()
}

fn point((number, line): (usize, &str)) -> Result<Point> {
    serde_json::from_str(line).map_err(|e| Error::malformed("learning curve", e).on_line(number + 1))
}

/// The lines of the first `steps` steps. A last line that was not finished is behind them.
fn kept(text: &str, steps: u64, due: impl Fn(u64) -> bool) -> Result<String> {
    let mut kept = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate().filter(|(_, line)| line.ends_with('\n')) {
        let point = point((number, line))?;
        if point.step <= steps && (point.split == Split::Train || due(point.step)) {
            kept.push_str(line);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_behind_the_checkpoint_are_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curve.jsonl");
        let mut curve = Curve::open(&path, 0, |_| true).unwrap();
        let point = |step| {
            Point::new((step, 0), Split::Train, &BatchSpec { streams: vec![], rows: 1, steps: 1 }, &Report::default())
        };
        (1..6).for_each(|step| curve.write(&point(step)).unwrap());
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.trim_end()).unwrap();

        let mut curve = Curve::open(&path, 3, |_| true).unwrap();
        (4..6).for_each(|step| curve.write(&point(step)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(whole.lines().count(), 5);

        std::fs::write(&path, whole.replacen("\"step\":2", "rubbish", 1)).unwrap();
        let error = Curve::open(&path, 3, |_| true).unwrap_err().to_string();
        assert!(error.contains("curve.jsonl:2: learning curve is ill-formed"), "{error}");
    }
}
