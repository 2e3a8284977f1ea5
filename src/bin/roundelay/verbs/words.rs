//! `words IN --tokenizer M`: text rows back to words

use std::io::Write;
use std::path::PathBuf;

use ndarray::{Array2, ArrayD, Axis};
use roundelay::batch::Segment;
use roundelay::io::{Dataset, tensors};
use roundelay::pipeline::Speakers;
use roundelay::text::{PlacedWord, Rule, TextStream, Tokenizer, Word};
use roundelay::token::ABSENT;
use roundelay::{Error, Layout, Seconds, Sequencer, Steps, pipeline};

use crate::args::{self, RuleArgs};
use crate::failure::{Failure, Outcome};
use crate::input::{InputArgs, last_axis};
use crate::shift::ShiftArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// SentencePiece model; a dataset's segment needs none, as it keeps its words
    #[arg(long, value_name = "M")]
    tokenizer: Option<PathBuf>,
    /// The label for words of the layout's main speaker; a dataset knows it, and its rule
    #[arg(long, value_name = "NAME", default_value = "SPEAKER_MAIN")]
    main_speaker: String,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    shift: ShiftArgs,
}

/// moshi-finetune's form, so that what is printed can be read again.
#[derive(serde::Serialize)]
struct Printed {
    /// None where nobody knows what was said.
    alignments: Option<Vec<Entry>>,
}

type Entry = (Said, [Seconds; 2], String);

/// A word's text, or the ids that it was given by.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Ids(Vec<i32>),
}

impl Args {
    pub fn run(self) -> Outcome {
        let (words, grid) = match (self.input.in_dataset()?, &self.tokenizer) {
            (Some((_, segment)), None) => (kept(&segment), segment.codes.0.mapv(i64::from).into_dyn()),
            (Some((_, segment)), Some(_)) => {
                let dataset = Dataset::open(&self.input.path)?;
                let labels: Vec<_> = segment.words.iter().map(|placed| placed.word.speaker.as_str()).collect();
                let grid = segment.codes.0.mapv(i64::from).into_dyn();
                let words = words_in(&dataset, &grid, &labels, &self.tokenizer()?);
                (words.map_err(|e| self.input.named(e))?, grid)
            }
            (None, _) => {
                let layout = args::layout(self.input.layout.as_deref().unwrap_or("moshi-7b"))?;
                let (grid, tokenizer) = (self.grid(&layout)?, self.tokenizer()?);
                let (rule, speakers) = (self.rule.rule(Some(&tokenizer))?, Speakers::new(&self.main_speaker));
                let texts = pipeline::text_streams(&layout, &speakers, &[])?;
                (words_of(&layout, &grid, rule, &texts, &tokenizer).map_err(|e| self.input.named(e))?, grid)
            }
        };
        // A text row comes first: without any text in it, nobody knows what was said.
        let row = if grid.ndim() == 1 { grid.view() } else { grid.index_axis(Axis(0), 0) };
        let unknown = words.is_empty() && !row.is_empty() && row.iter().all(|&id| id == ABSENT);
        let json = serde_json::to_string(&Printed { alignments: (!unknown).then_some(words) });
        writeln!(std::io::stdout().lock(), "{}", json.map_err(std::io::Error::from)?)?;
        Ok(())
    }

    /// The grid of a tensor file, without delays: `codes`, or `tokens` that are a row of text or a sequence.
    fn grid(&self, layout: &Layout) -> Result<ArrayD<i64>, Failure> {
        let named = |e| self.input.named(e);
        let (name, grid) = tensors::read_first_of(&self.input.path, &["codes", "tokens"])?;
        if name != "tokens" || grid.ndim() < 2 {
            return Ok(grid);
        }
        if self.input.layout.is_none() {
            let detail = "its delays are those of its layout: give --layout, and --extent and --start as it was built";
            return Err(named(Error::unsupported("a delayed sequence", detail)).into());
        }
        let shift = self.shift.of_steps(layout, last_axis(&grid)).map_err(named)?;
        Ok(shift.undo(&Steps(grid), ABSENT).map_err(named)?.codes.0)
    }

    fn tokenizer(&self) -> Result<Tokenizer, Failure> {
        let path = self.tokenizer.as_ref().ok_or_else(|| Failure::Usage("a text row needs --tokenizer".into()))?;
        Ok(args::tokenizer(path)?)
    }
}

/// The words of a grid that goes with a dataset, as they print.
pub fn printed(dataset: &Dataset, codes: &Array2<i32>, tokenizer: &Tokenizer) -> Result<String, Failure> {
    let grid = codes.mapv(i64::from).into_dyn();
    let words = words_in(dataset, &grid, &[], tokenizer)?;
    Ok(serde_json::to_string(&Printed { alignments: Some(words) }).map_err(std::io::Error::from)?)
}

/// The words of a grid that goes with a dataset, by the rule and the labels that it was made with.
fn words_in(
    dataset: &Dataset,
    grid: &ArrayD<i64>,
    labels: &[&str],
    tokenizer: &Tokenizer,
) -> roundelay::Result<Vec<Entry>> {
    let speakers = speakers_of(dataset);
    let texts = pipeline::text_streams(dataset.layout(), &speakers, labels)?;
    words_of(dataset.layout(), grid, rule_of(dataset)?, &texts, tokenizer)
}

/// The labels that a dataset's speakers have in its words.
fn speakers_of(dataset: &Dataset) -> Speakers {
    let options = &dataset.info().options;
    let main = options.get("main_speaker").and_then(|label| label.as_str());
    let others = options.get("speakers").and_then(|others| others.as_object()).into_iter().flatten();
    let others = others.filter_map(|(speaker, label)| Some((speaker, label.as_str()?)));
    others.fold(main.map_or_else(Speakers::default, Speakers::new), |all, (speaker, label)| all.with(speaker, label))
}

/// The rule by which a dataset's text was written.
fn rule_of(dataset: &Dataset) -> roundelay::Result<Rule> {
    let options = &dataset.info().options;
    let Some(name) = options.get("rule") else { return Ok(Rule::default()) };
    let mut rule = options.get("rule_options").and_then(|rule| rule.as_object()).cloned().unwrap_or_default();
    rule.insert("rule".to_owned(), name.clone());
    serde_json::from_value(rule.into()).map_err(|e| Error::malformed("rule of the dataset", e))
}

/// The words that a segment keeps; one that was given by ids has no text.
fn kept(segment: &Segment) -> Vec<Entry> {
    let said = |placed: &PlacedWord| match placed.word.text.is_empty() && !placed.tokens.is_empty() {
        true => Said::Ids(placed.tokens.clone()),
        false => Said::Text(placed.word.text.clone()),
    };
    let entry = |placed: &PlacedWord| entry(said(placed), &placed.word);
    segment.words.iter().map(entry).collect()
}

fn entry(said: Said, word: &Word) -> Entry {
    (said, [word.start, word.end], word.speaker.clone())
}

/// Words of all text streams of a grid, or of the row itself, in order of start.
fn words_of(
    layout: &Layout,
    grid: &ArrayD<i64>,
    rule: Rule,
    texts: &[(usize, TextStream)],
    tokenizer: &Tokenizer,
) -> roundelay::Result<Vec<Entry>> {
    let Some((_, first)) = texts.first() else {
        return Err(Error::unsupported("words", "the layout has no text stream"));
    };
    let mut words = Vec::new();
    match grid.ndim() {
        1 => words.extend(rule.words(&ids(grid.iter())?, first, tokenizer)?),
        2 => {
            layout.check_streams(grid.shape()[0])?;
            for (k, text) in texts {
                words.extend(rule.words(&ids(grid.index_axis(Axis(0), *k).iter())?, text, tokenizer)?);
            }
            words.sort_by_key(|word| word.start);
        }
        axes => return Err(Error::invalid("number of axes", axes, "1, as [time], or 2, as [stream, time]")),
    }
    Ok(words.iter().map(|word| entry(Said::Text(word.text.clone()), word)).collect())
}

fn ids<'a>(row: impl Iterator<Item = &'a i64>) -> roundelay::Result<Vec<i32>> {
    let id = |(t, &id): (usize, &i64)| {
        i32::try_from(id).map_err(|_| Error::invalid("token", id, "an id of 32 bits").at_frame(t))
    };
    row.enumerate().map(id).collect()
}
