//! `generate RUN DIR --segment ID -o WAV`: a trained model goes on where a segment's begin ends

use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use roundelay::backend::{BatchSpec, Generate, Sampler, Sampling, TrainBackend, fill};
use roundelay::codec::Codec;
use roundelay::io::{Checkpoint, Dataset, load_checkpoint, read_run, sha256_of_file, tensors, write_wav};
use roundelay::text::Tokenizer;
use roundelay::token::UNGENERATED;
use roundelay::{Error, Frames, Kind, Layout, Seconds, pipeline};

use crate::args::{self, CodecArg};
use crate::failure::{Failure, Outcome, note};
use crate::model::{Model, WithVoice};
use crate::verbs::words;

/// Twenty minutes of Mimi's frames: each is said by looking at all before it.
const MOST_FRAMES: usize = 15_000;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of a training run by burn or the reference
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Dataset folder with the segment that is gone on with
    #[arg(value_name = "DIR")]
    dataset: PathBuf,
    /// The segment; what other speakers say in it is given all the way
    #[arg(long, value_name = "ID")]
    segment: String,
    /// WAV to write, one channel a speaker, if the codec is at hand; or --codes, or both
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
    tokenizer: Option<&'a Tokenizer>,
    codec: Option<Box<dyn Codec>>,
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
        let codec = self.codec(&dataset)?;
        let spec: BatchSpec = serde::Deserialize::deserialize(&plan["spec"])
            .map_err(|e| Error::malformed("the run's spec", e).in_file(self.run.display()))?;
        let tokenizer = self.tokenizer(&dataset)?;
        let segment = dataset.segment(&self.segment)?.codes.0;
        let prompt = self.prompt(&layout, &segment)?;
        let speaking = Speaking {
            args: &self,
            dataset: &dataset,
            tokenizer: tokenizer.as_ref(),
            codec,
            checkpoint: &checkpoint,
            prompt,
            segment,
        };
        Model::of_plan(&plan).map_err(|e| e.in_file(self.run.display()))?.speaking(&spec, speaking)
    }

    /// What turns text into words, if it is to be; not the dataset's own is told.
    fn tokenizer(&self, dataset: &Dataset) -> Result<Option<Tokenizer>, Failure> {
        let Some(path) = &self.tokenizer else { return Ok(None) };
        if !dataset.layout().streams().iter().any(|stream| stream.kind == Kind::Text) {
            return Err(Error::unsupported("--tokenizer", "the layout has no text stream").into());
        }
        let own = dataset.info().tokenizer.as_ref();
        if own.is_some_and(|own| own.sha256.is_some())
            && own.and_then(|own| own.sha256.clone()) != Some(sha256_of_file(path)?)
        {
            note(format!("{} is not the tokenizer of the dataset: words may come out wrong", path.display()));
        }
        Ok(Some(args::tokenizer(path)?))
    }

    /// What makes a WAV of the codes, if one is to be written.
    fn codec(&self, dataset: &Dataset) -> Result<Option<Box<dyn Codec>>, Failure> {
        let codec = self.output.is_some().then(|| self.codec.open()).transpose()?;
        if let Some(codec) = &codec {
            let checked = args::check_codec(dataset, codec.as_ref(), ", or --codes in place of a WAV");
            checked.map_err(|e| e.in_file(self.dataset.display()))?;
        }
        Ok(codec)
    }

    /// The segment's begin; behind it other speakers go on as long as they do in the segment, and are absent then.
    fn prompt(&self, layout: &Layout, segment: &Array2<i32>) -> Result<Array2<i32>, Failure> {
        let frames = |time: Seconds| usize::try_from(layout.frame_rate().ceil(time)).unwrap_or(0);
        let (given, there) = (frames(self.prompt), segment.ncols());
        let all = self.seconds.map_or(there, frames);
        if given == 0 || given > there || all <= given {
            let lengths = format!("{given} frames of the segment's {there}, with --seconds for {all} in all");
            let expected = "at least 1 frame, no more than the segment has, and fewer than in all";
            return Err(Error::invalid("--prompt", lengths, expected).in_recording(&self.segment).into());
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
        if let (Some(path), Some(codec)) = (&self.args.output, &self.codec) {
            self.write_sound(codes, codec.as_ref(), path)?;
        }
        // Last, as whoever reads it may have enough of it.
        let said = layout.streams().iter().map(|stream| stream.trained);
        self.tell(codes, &said.collect::<Vec<_>>())
    }

    fn write_sound(&self, codes: &Array2<i32>, codec: &dyn Codec, output: &Path) -> Outcome {
        let audio = pipeline::audio_codes(self.dataset.layout(), &Frames(codes.view()))?;
        let channels = pipeline::decode(codec, &audio)?;
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
        if let Some(tokenizer) = self.tokenizer {
            writeln!(out, "words   {}", words::printed(self.dataset, codes, tokenizer)?)?;
        }
        Ok(())
    }
}
