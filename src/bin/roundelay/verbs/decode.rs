//! `decode IN -o WAV`: codes to sound

use std::path::{Path, PathBuf};

use ndarray::{Array3, Axis};
use roundelay::io::{tensors, write_wav};
use roundelay::{Error, Frames, pipeline};

use crate::args::{self, CodecArg};
use crate::failure::{Failure, Outcome};
use crate::input::{InputArgs, LayoutArg};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Preset name or layout file, if the tensor file holds `codes` of all streams and no `audio_codes`
    #[command(flatten)]
    layout: LayoutArg,
    /// WAV to write, one channel a speaker
    #[arg(short, long, value_name = "WAV")]
    output: PathBuf,
    #[command(flatten)]
    codec: CodecArg,
}

impl Args {
    pub fn run(self) -> Outcome {
        let codec = self.codec.codec();
        let codes = self.codes()?;
        let at = |e: Error| e.in_file(self.input.path.display());
        let channels = pipeline::decode(codec.as_ref(), &codes).map_err(at)?;
        let clipped = write_wav(&self.output, codec.spec().sample_rate, &channels)?;
        if clipped > 0 {
            anstream::eprintln!("note: {clipped} samples were beyond full scale and are clipped");
        }
        Ok(())
    }

    /// `[channel, codebook, frame]`.
    fn codes(&self) -> Result<Frames<Array3<i32>>, Failure> {
        if let Some((layout, segment)) = self.input.in_dataset(&self.layout)? {
            return Ok(pipeline::audio_codes(&layout, &Frames(segment.codes.0.view()))?);
        }
        let path = &self.input.path;
        match &self.layout.layout {
            None => Ok(audio_codes(path)?),
            Some(name) => {
                let layout = args::layout(name)?;
                let codes = narrow(tensors::read(path, "codes")?.into_dimensionality(), "2, as [stream, time]", path)?;
                Ok(pipeline::audio_codes(&layout, &Frames(codes.view())).map_err(|e| e.in_file(path.display()))?)
            }
        }
    }
}

/// `[channel, codebook, frame]`, or one channel of it.
fn audio_codes(path: &Path) -> roundelay::Result<Frames<Array3<i32>>> {
    let codes = tensors::read(path, "audio_codes")?;
    let codes = if codes.ndim() == 2 { codes.insert_axis(Axis(0)) } else { codes };
    narrow(codes.into_dimensionality(), "3, as [channel, codebook, frame]", path).map(Frames)
}

/// Ids to 32 bits, once the axes are right.
fn narrow<D: ndarray::Dimension>(
    codes: Result<ndarray::Array<i64, D>, ndarray::ShapeError>,
    axes: &str,
    path: &Path,
) -> roundelay::Result<ndarray::Array<i32, D>> {
    let codes = codes.map_err(|_| Error::invalid("number of axes", "another", axes).in_file(path.display()))?;
    if let Some(code) = codes.iter().find(|code| i32::try_from(**code).is_err()) {
        return Err(Error::invalid("code", code, "an id of 32 bits").in_file(path.display()));
    }
    Ok(codes.mapv(|code| code as i32))
}
