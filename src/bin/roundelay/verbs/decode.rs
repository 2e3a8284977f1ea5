//! `decode IN -o WAV`: codes to sound

use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayD, Axis};
use roundelay::codec::Codec;
use roundelay::io::{Dataset, tensors, write_wav};
use roundelay::{Error, Frames, pipeline};

use crate::args::{self, CodecArg};
use crate::failure::{Failure, Outcome, note};
use crate::input::InputArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// WAV to write, one channel a speaker
    #[arg(short, long, value_name = "WAV")]
    output: PathBuf,
    #[command(flatten)]
    codec: CodecArg,
}

impl Args {
    pub fn run(self) -> Outcome {
        let codec = self.codec.open()?;
        self.check_codec(codec.as_ref())?;
        let codes = self.codes()?;
        let at = |e| self.input.named(e);
        let channels = pipeline::decode(codec.as_ref(), &codes).map_err(at)?;
        let clipped = write_wav(&self.output, codec.spec().sample_rate, &channels)?;
        if clipped > 0 {
            note(format!("{clipped} samples were beyond full scale and are clipped"));
        }
        Ok(())
    }

    fn check_codec(&self, codec: &dyn Codec) -> Outcome {
        if self.input.segment.is_some() {
            let dataset = Dataset::open(&self.input.path)?;
            args::check_codec(&dataset, codec, "").map_err(|e| self.input.named(e))?;
        }
        Ok(())
    }

    /// `[channel, codebook, frame]`.
    fn codes(&self) -> Result<Frames<Array3<i32>>, Failure> {
        if let Some((layout, segment)) = self.input.in_dataset()? {
            return Ok(pipeline::audio_codes(&layout, &Frames(segment.codes.0.view()))?);
        }
        let path = &self.input.path;
        match &self.input.layout {
            None => Ok(audio_codes(path)?),
            Some(name) => {
                let layout = args::layout(name)?;
                let codes = narrow(tensors::read(path, "codes")?, "2, as [stream, time]", path)?;
                Ok(pipeline::audio_codes(&layout, &Frames(codes.view())).map_err(|e| e.in_file(path.display()))?)
            }
        }
    }
}

/// `[channel, codebook, frame]`, or one channel of it.
fn audio_codes(path: &Path) -> roundelay::Result<Frames<Array3<i32>>> {
    let codes = tensors::read(path, "audio_codes")?;
    let codes = if codes.ndim() == 2 { codes.insert_axis(Axis(0)) } else { codes };
    narrow(codes, "3, as [channel, codebook, frame]", path).map(Frames)
}

/// Ids to 32 bits, and the axes that they must have.
fn narrow<D: ndarray::Dimension>(
    codes: ArrayD<i64>,
    axes: &str,
    path: &Path,
) -> roundelay::Result<ndarray::Array<i32, D>> {
    let in_file = |error: Error| error.in_file(path.display());
    if let Some((place, code)) = codes.indexed_iter().find(|(_, code)| i32::try_from(**code).is_err()) {
        let place = ndarray::Dimension::slice(&place);
        return Err(in_file(Error::invalid(format!("code at {place:?}"), code, "an id of 32 bits")));
    }
    let found = codes.ndim();
    let codes = codes.mapv(|code| code as i32).into_dimensionality();
    codes.map_err(|_| in_file(Error::invalid("number of axes", found, axes)))
}
