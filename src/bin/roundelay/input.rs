//! What verbs read: a tensor file, or one segment of a dataset.

use std::path::PathBuf;
use std::sync::mpsc;

use clap::Args;
use ndarray::{Array2, ArrayD};
use roundelay::batch::Segment;
use roundelay::io::{Dataset, tensors};
use roundelay::{Error, Layout};

use crate::args;
use crate::failure::Failure;

/// A tensor file with its layout, or a dataset folder with a segment's id.
#[derive(Args)]
pub struct InputArgs {
    /// Tensor file (.safetensors, .npz, .npy), or a dataset folder with --segment
    #[arg(value_name = "IN")]
    pub path: PathBuf,
    /// Which segment of the dataset folder
    #[arg(long, value_name = "ID")]
    pub segment: Option<String>,
    /// Preset name, layout file or Kyutai's config.json, for the rows of a tensor file; a dataset folder brings its own
    #[arg(long, value_name = "L")]
    pub layout: Option<String>,
}

impl InputArgs {
    /// `codes`, `[stream, time]` or `[batch, stream, time]`, with their layout.
    pub fn codes(&self) -> Result<(Layout, ArrayD<i64>), Failure> {
        match (self.in_dataset()?, &self.layout) {
            (Some((layout, segment)), _) => Ok((layout, segment.codes.0.mapv(i64::from).into_dyn())),
            (None, Some(name)) => Ok((args::layout(name)?, tensors::read(&self.path, "codes")?)),
            (None, None) => Err(Failure::Usage("a tensor file needs --layout".into())),
        }
    }

    /// The segment, if the input is a dataset.
    pub fn in_dataset(&self) -> Result<Option<(Layout, Segment)>, Failure> {
        match (&self.segment, self.path.is_dir()) {
            (None, false) => Ok(None),
            (None, true) => {
                Err(Failure::Usage("a dataset folder needs --segment ID; `inspect --segments` lists them".into()))
            }
            (Some(_), false) => Err(Failure::Usage("--segment goes with a dataset folder".into())),
            (Some(_), true) if self.layout.is_some() => {
                Err(Failure::Usage("a dataset brings its own layout: leave --layout out".into()))
            }
            (Some(id), true) => {
                let dataset = Dataset::open(&self.path)?;
                let segment = dataset.segment(id)?;
                Ok(Some((dataset.layout().clone(), segment)))
            }
        }
    }

    /// An error with the input's name.
    pub fn named(&self, error: Error) -> Error {
        error.in_file(self.path.display())
    }
}

/// Columns of a grid.
pub fn last_axis(grid: &ArrayD<i64>) -> usize {
    grid.shape().last().copied().unwrap_or(0)
}

/// A grid without batch.
pub fn one_example(grid: ArrayD<i64>) -> Result<Array2<i64>, Error> {
    let axes = grid.ndim();
    grid.into_dimensionality().map_err(|_| Error::invalid("number of axes", axes, "2, as [stream, time]"))
}

/// Segments that wait to be counted while others are read.
const AHEAD: usize = 8;

/// Shows `count` all segments of a dataset in order, one by one, so that memory does not grow with their number.
pub fn each_segment(
    dataset: &Dataset,
    mut count: impl FnMut(Segment) -> roundelay::Result<()>,
) -> roundelay::Result<()> {
    std::thread::scope(|scope| {
        // One thread reads what another counts.
        let (sender, segments) = mpsc::sync_channel(AHEAD);
        // Whoever counts may have stopped at an error.
        scope.spawn(|| dataset.segments().try_for_each(move |segment| sender.send(segment).ok()));
        segments.into_iter().try_for_each(|segment| count(segment?))
    })
}
