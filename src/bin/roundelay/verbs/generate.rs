//! `generate RUN DIR --segment ID -o WAV`: a trained model goes on where a segment's begin ends

use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use roundelay::backend::{BatchSpec, Generate, Sampler, Sampling, TrainBackend, fill};
use roundelay::io::{Checkpoint, Dataset, load_checkpoint, read_run, tensors, write_wav};
use roundelay::token::UNGENERATED;
use roundelay::{Error, Frames, Kind, Layout, Seconds, pipeline};

use crate::args::CodecArg;
use crate::failure::{Failure, Outcome, note};
use crate::model::{Model, WithVoice};
use crate::verbs::words;

/// Twenty minutes of Mimi's frames: each is said by looking at all before it.
const MOST_FRAMES: usize = 15_000;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of a training run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Dataset folder with the segment that is gone on with
    #[arg(value_name = "DIR")]
    dataset: PathBuf,
    /// The segment; what other speakers say in it is given all the way
    #[arg(long, value_name = "ID")]
    segment: String,
    /// WAV to write, one channel a speaker; for codes of a codec that is at hand
    #[arg(short, long, value_name = "WAV", required_unless_present = "codes")]
    output: Option<PathBuf>,
    /// Seconds of the segment that are given before the model goes on
    #[arg(long, value_name = "S", default_value = "1")]
    prompt: Seconds,
    /// Seconds in all; the segment's own unless told
    #[arg(long, value_name = "S")]
    seconds: Option<Seconds>,
    /// Logits are divided by it; 0 takes the likeliest id
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    temperature: f32,
    /// Draw from so many of the likeliest ids; 0: from all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// File for the codes, `.safetensors`
    #[arg(long, value_name = "OUT")]
    codes: Option<PathBuf>,
    /// SentencePiece model, to print the words that were said
    #[arg(long, value_name = "M")]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    codec: CodecArg,
}

/// A prompt, and what becomes of it.
struct Speaking<'a> {
    args: &'a Args,
    dataset: &'a Dataset,
    checkpoint: &'a Checkpoint,
    /// `[stream, time]`; -2 is what the model is to say.
    prompt: Array2<i32>,
    /// What the segment itself has.
    segment: Array2<i32>,
}

impl WithVoice for Speaking<'_> {
    fn with<M: TrainBackend + Generate>(self, mut model: M) -> Outcome {
        load_checkpoint(&self.args.run, self.checkpoint, &mut model)?;
        let codes = self.said(&mut model)?;
        self.write(&codes)
    }
}

impl Args {
    pub fn run(self) -> Outcome {
        let (plan, layout, checkpoint) = read_run(&self.run)?;
        let dataset = Dataset::open(&self.dataset)?;
        if dataset.layout() != &layout {
            let (found, expected) = (dataset.layout().name(), format!("that of the run, {}", layout.name()));
            return Err(Error::invalid("layout", found, expected).in_file(self.dataset.display()).into());
        }
        self.check_codec(&dataset)?;
        let spec: BatchSpec = serde::Deserialize::deserialize(&plan["spec"])
            .map_err(|e| Error::malformed("the run's spec", e).in_file(self.run.display()))?;
        let segment = dataset.segment(&self.segment)?.codes.0;
        let prompt = self.prompt(&layout, &segment)?;
        let speaking = Speaking { args: &self, dataset: &dataset, checkpoint: &checkpoint, prompt, segment };
        Model::of_plan(&plan).map_err(|e| e.in_file(self.run.display()))?.speaking(&spec, speaking)
    }

    /// Codes of another codec would come out as noise.
    fn check_codec(&self, dataset: &Dataset) -> Outcome {
        let (found, codec) = (&dataset.info().codec.name, self.codec.codec());
        let expected = &codec.spec().identity;
        if self.output.is_some() && found != expected {
            let expected = format!("{expected}, or --codes in place of a WAV");
            return Err(Error::invalid("codec of the dataset", found, expected).in_file(self.dataset.display()).into());
        }
        Ok(())
    }

    /// The segment's begin; behind it other speakers go on as long as they do in the segment, and are absent then.
    fn prompt(&self, layout: &Layout, segment: &Array2<i32>) -> Result<Array2<i32>, Failure> {
        let frames = |time: Seconds| usize::try_from(layout.frame_rate().ceil(time)).unwrap_or(0);
        let (given, there) = (frames(self.prompt), segment.ncols());
        let all = self.seconds.map_or(there, frames);
        if given == 0 || given > there || all <= given {
            let lengths = format!("{given} frames of {there}, {all} in all");
            let expected = "at least 1 frame, all of them in the segment, and more in all";
            return Err(Error::invalid("prompt", lengths, expected).in_recording(&self.segment).into());
        }
        if all > MOST_FRAMES {
            return Err(Error::over_limit("frames to be said", all, MOST_FRAMES).into());
        }
        let mut prompt = Array2::from_elem((segment.nrows(), all), roundelay::token::ABSENT as i32);
        let both = all.min(there);
        prompt.slice_mut(s![.., ..both]).assign(&segment.slice(s![.., ..both]));
        for (k, _) in layout.streams().iter().enumerate().filter(|(_, stream)| stream.trained) {
            prompt.slice_mut(s![k, given..]).fill(UNGENERATED as i32);
        }
        Ok(prompt)
    }
}

impl Speaking<'_> {
    fn said(&self, model: &mut impl Generate) -> Result<Array2<i32>, Failure> {
        let Args { temperature, top_k, seed, .. } = *self.args;
        let mut sampler = Sampler::new(Sampling { temperature, top_k, seed })?;
        let mut codes = self.prompt.clone();
        let mut columns = codes.columns_mut().into_iter();
        let layout = self.dataset.layout();
        let choose = |_: usize, logits: &[f32]| sampler.choose(logits);
        fill(model, layout, Frames(self.prompt.view()), choose, |frame| {
            let column = columns.next().expect("as many frames as the prompt has");
            column.into_iter().zip(frame).for_each(|(to, id)| *to = *id);
            Ok(())
        })?;
        Ok(codes)
    }

    fn write(&self, codes: &Array2<i32>) -> Outcome {
        let layout = self.dataset.layout();
        if let Some(path) = &self.args.codes {
            tensors::write(path, &[("codes", codes.mapv(i64::from).into())])?;
        }
        let said = layout.streams().iter().map(|stream| stream.trained);
        self.tell(codes, &said.collect::<Vec<_>>())?;
        let Some(output) = &self.args.output else { return Ok(()) };
        let codec = self.args.codec.codec();
        let audio = pipeline::audio_codes(layout, &Frames(codes.view()))?;
        let channels = pipeline::decode(codec.as_ref(), &audio)?;
        let clipped = write_wav(output, codec.spec().sample_rate, &channels)?;
        if clipped > 0 {
            note(format!("{clipped} samples were beyond full scale and are clipped"));
        }
        Ok(())
    }

    /// How much of what was said is what the segment has, and its words.
    fn tell(&self, codes: &Array2<i32>, trained: &[bool]) -> Outcome {
        let mut out = std::io::stdout().lock();
        let layout = self.dataset.layout();
        for (name, audio) in [("codes", true), ("text", false)] {
            let (mut alike, mut all) = (0, 0);
            for (k, stream) in layout.streams().iter().enumerate().filter(|(k, _)| trained[*k]) {
                if (stream.kind != Kind::Text) == audio {
                    let cells = self.prompt.row(k).into_iter().zip(codes.row(k)).zip(self.segment.row(k));
                    let said = cells.filter(|((given, _), _)| i64::from(**given) == UNGENERATED);
                    said.for_each(|((_, said), segment)| {
                        (alike, all) = (alike + usize::from(said == segment), all + 1)
                    });
                }
            }
            if all > 0 {
                writeln!(
                    out,
                    "{name:<8}{alike} of {all} as in the segment, {:.1} %",
                    100.0 * alike as f64 / all as f64
                )?;
            }
        }
        if let Some(tokenizer) = &self.args.tokenizer {
            writeln!(out, "words   {}", words::printed(self.dataset, codes, Path::new(tokenizer))?)?;
        }
        Ok(())
    }
}
