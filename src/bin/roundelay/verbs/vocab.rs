//! `vocab`: several vocabularies in one id space, and codes in one row of it

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;
use roundelay::delay::Pattern;
use roundelay::io::{tensors, write_atomic};
use roundelay::pipeline::Flatten;
use roundelay::vocab::{Joint, Part};
use roundelay::{Error, Frames, Result};
use serde_json::{Value, json};

use crate::args::{self, OutputArg};
use crate::failure::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists the joint vocabularies there are, or tells sizes and ranges of one
    Show(ShowArgs),
    /// Puts parts together to a joint vocabulary
    Make(MakeArgs),
    /// Turns streams into one row of joint ids: `codes` to `tokens`
    Encode(EncodeArgs),
    /// Turns one row of joint ids into streams: `tokens` to `codes`
    Decode(DecodeArgs),
}

impl Args {
    pub fn run(self) -> Outcome {
        match self.verb {
            Verb::Show(args) => args.run(),
            Verb::Make(args) => args.run(),
            Verb::Encode(args) => args.run(),
            Verb::Decode(args) => args.run(),
        }
    }
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Preset name or JSON file
    #[arg(value_name = "V")]
    vocab: Option<String>,
    /// Print JSON instead of a table
    #[arg(long, requires = "vocab")]
    json: bool,
}

impl ShowArgs {
    fn run(self) -> Outcome {
        let mut out = std::io::stdout().lock();
        let Some(name) = self.vocab else {
            for name in Joint::presets() {
                let joint = Joint::preset(name)?;
                writeln!(out, "{name}: {} ids, {} parts", joint.size(), joint.parts().len())?;
            }
            return Ok(());
        };
        let joint = read_vocab(&name)?;
        match self.json {
            true => writeln!(out, "{:#}", described(&joint))?,
            false => table(&mut out, &joint)?,
        }
        Ok(())
    }
}

/// Least and greatest joint id.
fn ends(part: &Part) -> (usize, usize) {
    (part.least(), part.end() - 1)
}

/// Which parts have ids in common, and how many.
fn shared(joint: &Joint) -> Vec<(&str, &str, usize)> {
    let mut shared = Vec::new();
    for (n, one) in joint.parts().iter().enumerate() {
        for other in &joint.parts()[..n] {
            let count = one.shared_with(other);
            shared.extend((count > 0).then_some((other.name(), one.name(), count)));
        }
    }
    shared
}

fn described(joint: &Joint) -> Value {
    let part = |part: &Part| {
        let (first, last) = ends(part);
        json!({"name": part.name(), "size": part.size(), "first": first, "last": last, "range": part.first().is_some()})
    };
    let parts: Vec<_> = joint.parts().iter().map(part).collect();
    let shared = shared(joint).into_iter().map(|(a, b, ids)| json!({"parts": [a, b], "ids": ids}));
    let shared: Vec<_> = shared.collect();
    json!({"size": joint.size(), "parts": parts, "shared": shared, "of_no_part": joint.of_no_part()})
}

fn table(out: &mut impl Write, joint: &Joint) -> Outcome {
    let width = joint.parts().iter().map(|part| part.name().chars().count()).max().unwrap_or(0).max(4);
    writeln!(out, "{:width$}  {:>10}  {:>10}  {:>10}", "part", "size", "first", "last")?;
    for part in joint.parts() {
        let (first, last) = ends(part);
        let rest = if part.first().is_some() { "" } else { "  some of them" };
        writeln!(out, "{:width$}  {:>10}  {first:>10}  {last:>10}{rest}", part.name(), part.size())?;
    }
    for (one, other, count) in shared(joint) {
        writeln!(out, "{one} and {other} share {count} ids")?;
    }
    writeln!(out, "{} joint ids, {} of them of no part", joint.size(), joint.of_no_part())?;
    Ok(())
}

/// A preset, or a file.
fn read_vocab(name: &str) -> Result<Joint> {
    let (preset, path) = (Joint::preset(name), Path::new(name));
    if preset.is_ok() || !args::is_file(path) {
        return preset;
    }
    Joint::from_json(&args::read_text(path, "joint vocabulary")?).map_err(|e| e.in_file(name))
}

#[derive(clap::Args)]
struct MakeArgs {
    /// A part, each behind all before it: NAME=SIZE, or at a place of its own: NAME=FIRST..END, without END
    #[arg(long = "part", value_name = "PART", required_unless_present = "layout")]
    parts: Vec<PartArg>,
    /// A part for each stream of a layout, behind the others
    #[arg(long, value_name = "L", conflicts_with = "shared")]
    layout: Option<String>,
    /// All parts from 0 on, so that an id is the same in each
    #[arg(long)]
    shared: bool,
    /// Joint ids in all, if there are more than the parts have
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// File to write, `.json` [default: print it]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

/// A part's name and place.
#[derive(Clone)]
struct PartArg {
    name: String,
    first: Option<usize>,
    size: usize,
}

impl FromStr for PartArg {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, ids) = text.rsplit_once('=').ok_or("it is NAME=SIZE or NAME=FIRST..END")?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{text:?} is no number of ids"));
        match ids.split_once("..") {
            None => Ok(PartArg { name: name.into(), first: None, size: number(ids)? }),
            Some((first, end)) => {
                let (first, end) = (number(first)?, number(end)?);
                let size = end.checked_sub(first).ok_or("it ends before it begins")?;
                Ok(PartArg { name: name.into(), first: Some(first), size })
            }
        }
    }
}

impl MakeArgs {
    fn run(self) -> Outcome {
        let mut end = 0_usize;
        let mut parts = Vec::new();
        let layout = self.layout.as_deref().map(args::layout).transpose()?;
        let streams = layout.iter().flat_map(|layout| layout.streams()).map(|stream| PartArg {
            name: stream.name.clone(),
            first: None,
            size: stream.cardinality as usize,
        });
        for part in self.parts.iter().cloned().chain(streams) {
            if self.shared && part.first.is_some() {
                return Err(Failure::Usage("--shared puts each part at 0: give NAME=SIZE alone".into()));
            }
            let first = part.first.unwrap_or(if self.shared { 0 } else { end });
            end = end.max(first.saturating_add(part.size));
            parts.push(Part::range(part.name, first, part.size)?);
        }
        let joint = match self.size {
            Some(size) => Joint::with_size(size, parts)?,
            None => Joint::new(parts)?,
        };
        match &self.output {
            Some(path) => write_atomic(path, joint.to_json().as_bytes())?,
            None => write!(std::io::stdout().lock(), "{}", joint.to_json())?,
        }
        Ok(())
    }
}

/// What the row is made of.
#[derive(clap::Args)]
struct RowArgs {
    /// A model's row: orpheus, orpheus:turn or bark
    #[arg(long, value_name = "NAME", conflicts_with_all = ["vocab", "layout", "pattern"])]
    preset: Option<String>,
    /// Joint vocabulary, a preset's name or a JSON file, with a part for each stream [default: the layout's streams]
    #[arg(long, value_name = "V", requires = "layout")]
    vocab: Option<String>,
    /// Preset name, layout file or Kyutai's config.json
    #[arg(long, value_name = "L")]
    layout: Option<String>,
    /// Order of the codes: NAME[:key=value;..] [default: flatten]
    #[arg(long, value_name = "P", requires = "layout")]
    pattern: Option<Pattern>,
    /// Parts in front of the codes; those of more than one id are tensors of that name
    #[arg(long, value_name = "PART,..", value_delimiter = ',')]
    front: Option<Vec<String>>,
    /// Parts behind the codes, of one id each
    #[arg(long, value_name = "PART,..", value_delimiter = ',')]
    behind: Option<Vec<String>>,
}

impl RowArgs {
    fn flatten(&self) -> std::result::Result<Flatten, Failure> {
        let flatten = match (&self.preset, &self.layout) {
            (Some(name), _) => Flatten::preset(name)?,
            (None, Some(layout)) => {
                let layout = args::layout(layout)?;
                let joint = self.vocab.as_deref().map_or_else(|| Joint::of_layout(&layout, &[]), read_vocab)?;
                let pattern = match &self.pattern {
                    Some(pattern) => pattern.clone(),
                    None => "flatten".parse()?,
                };
                Flatten::new(layout, pattern, joint)?
            }
            (None, None) => return Err(Failure::Usage("a row needs --preset, or --layout".into())),
        };
        let given = |names: &'_ Option<Vec<String>>, own: Vec<String>| names.clone().unwrap_or(own);
        let front = given(&self.front, flatten.front().map(|part| part.name().to_owned()).collect());
        let behind = given(&self.behind, flatten.behind().map(|part| part.name().to_owned()).collect());
        Ok(flatten.between(&names(&front), &names(&behind))?)
    }
}

fn names(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[derive(clap::Args)]
struct EncodeArgs {
    /// Tensor file (.safetensors, .npz, .npy) with `codes`, and a tensor for each row in front of them
    #[arg(value_name = "IN")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    row: RowArgs,
}

impl EncodeArgs {
    fn run(self) -> Outcome {
        let flatten = self.row.flatten()?;
        let at = |e: Error| e.in_file(self.input.display());
        let codes = Frames(tensors::read(&self.input, "codes")?);
        let rows = flatten.rows().map(|part| tensors::read(&self.input, part.name())).collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        let tokens = flatten.row(&codes, &views).map_err(at)?;
        tensors::write(&self.output.output, &[("tokens", tokens.into())])?;
        Ok(())
    }
}

#[derive(clap::Args)]
struct DecodeArgs {
    /// Tensor file (.safetensors, .npz, .npy) with `tokens`
    #[arg(value_name = "IN")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    row: RowArgs,
}

impl DecodeArgs {
    fn run(self) -> Outcome {
        let flatten = self.row.flatten()?;
        let tokens = tensors::read(&self.input, "tokens")?;
        let found = flatten.codes(&tokens).map_err(|e| e.in_file(self.input.display()))?;
        let rows = flatten.rows().map(Part::name).zip(found.rows).map(|(name, row)| (name, row.into()));
        let all: Vec<_> = [("codes", found.codes.0.into())].into_iter().chain(rows).collect();
        tensors::write(&self.output.output, &all)?;
        Ok(())
    }
}
