//! What can be chosen, and what of it goes together.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::source::CodeSource;
use crate::error::{Error, Result};
use crate::io::dataset::Identity;
use crate::io::{Shard, WordsFormat, files};
use crate::pipeline::{Prepare, Speakers, Unheard, check_codebooks};
use crate::stream::{Kind, Layout};
use crate::text::{Rule, Tokenizer};
use crate::units::Seconds;
use crate::window::{Border, Window};

/// Bytes of a tokenizer; the largest published are a few million.
const MAX_TOKENIZER: u64 = 1 << 28;

/// Recordings in a part, unless another number is asked for.
const PART_RECORDINGS: usize = 256;

/// How to prepare.
pub struct PrepOptions {
    /// The rows to fill.
    pub layout: Layout,
    /// SentencePiece model; needed if the layout has a text stream.
    pub tokenizer: Option<PathBuf>,
    /// Where codes come from.
    pub codes: CodeSource,
    /// How words become a text row.
    pub rule: Rule,
    /// Whose words each text row holds, and who is who in speaker segments.
    pub speakers: Speakers,
    /// Length of a segment; whole recordings if none.
    pub window: Option<Seconds>,
    /// From one segment's start to the next one's; the window if none.
    pub hop: Option<Seconds>,
    /// What becomes of words that a window's border cuts.
    pub border: Border,
    /// What follows the recording's name, without its extension, in the name of its words' file; if none, `.json`,
    /// `.TextGrid`, `.textgrid`, `.ctm` and `.jsonl` are tried.
    pub words_suffix: Option<String>,
    /// The format of words; found by extension and content if none.
    pub words_format: Option<WordsFormat>,
    /// Tells the speakers of a recording of one channel apart by the segments in the `.rttm` file beside it, and what
    /// their streams hold where they are not heard. If none, such a channel is the first speaker's.
    pub diarised: Option<Unheard>,
    /// What share of the recordings is held out, of those for which the manifest does not say it; none if not given.
    pub valid: Option<ValidShare>,
    /// Recordings in a part; a part also ends after 8 hours by the manifest.
    pub part_recordings: usize,
    /// Only these parts of the manifest; all if none.
    pub shard: Option<Shard>,
    /// Threads; has no effect on what is written.
    pub jobs: usize,
}

/// Which recordings are held out: a draw for each that depends on the seed and its path alone, so that order, shards
/// and other recordings do not matter.
///
/// # Examples
/// ```
/// use roundelay::io::ValidShare;
/// let valid = ValidShare { share: 0.1, seed: 0 };
/// let held_out = (0..10_000).filter(|n| valid.holds(&format!("{n}.wav"))).count();
/// assert_eq!(held_out, 988);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ValidShare {
    /// The share, 0 to 1.
    pub share: f64,
    /// Another seed gives another choice.
    pub seed: u64,
}

impl ValidShare {
    /// Whether a recording is held out, by its path in the manifest.
    pub fn holds(&self, path: &str) -> bool {
        let hash = files::sha256(&[&self.seed.to_le_bytes(), path.as_bytes()].concat());
        let draw = u64::from_le_bytes(*hash.first_chunk().expect("32 bytes hold 8"));
        // 53 bits are what a double holds: 0 to just below 1, evenly.
        ((draw >> 11) as f64) < self.share * (1u64 << 53) as f64
    }

    fn check(&self) -> Result<()> {
        match (0.0..=1.0).contains(&self.share) {
            true => Ok(()),
            false => Err(Error::invalid("share of recordings held out", self.share, "0 to 1")),
        }
    }
}

impl PrepOptions {
    /// Whole recordings by the default rule, on one thread.
    pub fn new(layout: Layout, tokenizer: Option<PathBuf>, codes: CodeSource) -> Self {
        PrepOptions {
            layout,
            tokenizer,
            codes,
            rule: Rule::default(),
            speakers: Speakers::default(),
            window: None,
            hop: None,
            border: Border::default(),
            words_suffix: None,
            words_format: None,
            diarised: None,
            valid: None,
            part_recordings: PART_RECORDINGS,
            shard: None,
            jobs: 1,
        }
    }

    /// How recordings become segments, if the options go together.
    pub(super) fn prepare(&self) -> Result<Prepare<'_>> {
        let PrepOptions { layout, rule, speakers, border, .. } = self;
        let prepare = Prepare { layout, rule: *rule, speakers, window: self.windows()?, border: *border };
        prepare.check()?;
        self.valid.map_or(Ok(()), |valid| valid.check())?;
        if self.part_recordings == 0 {
            return Err(Error::invalid("recordings in a part", 0, "at least 1"));
        }
        match &self.codes {
            CodeSource::Codec(_) => self.check_codec()?,
            CodeSource::Files { .. } => self.check_files()?,
        }
        Ok(prepare)
    }

    fn check_codec(&self) -> Result<()> {
        let (CodeSource::Codec(codec), layout) = (&self.codes, &self.layout) else { return Ok(()) };
        let spec = codec.spec();
        let by = |e: Error| e.in_recording(format!("codec {}", spec.name));
        check_codebooks(layout, spec.codebooks).map_err(by)?;
        if spec.frame_rate != layout.frame_rate() {
            let expected = format!("{}, as the codec {} gives", spec.frame_rate, spec.name);
            return Err(Error::invalid("frame rate of the layout", layout.frame_rate(), expected));
        }
        Ok(())
    }

    /// What can only be done to sound.
    fn check_files(&self) -> Result<()> {
        if let Some(length) = self.layout.silence_prefix().filter(|length| *length > Seconds::ZERO) {
            let expected = "none with files of codes: encode with a codec, or take a layout whose text_lag holds it and \
                            that has no silence_prefix, where the codes have the silence already";
            return Err(Error::invalid("silence_prefix of the layout", format!("{length} s"), expected));
        }
        if self.diarised == Some(Unheard::Silence) {
            let detail = "codes of silence come from a codec: encode, or leave unheard frames absent";
            return Err(Error::unsupported("silence in files of codes", detail));
        }
        Ok(())
    }

    fn windows(&self) -> Result<Option<Window>> {
        let rate = self.layout.frame_rate();
        let frames = |what: &str, length: Seconds| {
            let frames = usize::try_from(rate.ceil(length)).ok().filter(|&frames| frames > 0);
            frames.ok_or_else(|| Error::invalid(what, length, "a positive number of seconds"))
        };
        match (self.window, self.hop) {
            (None, None) => Ok(None),
            (None, Some(hop)) => Err(Error::invalid("hop", hop, "none without a window")),
            (Some(size), hop) => Window::new(frames("window", size)?, frames("hop", hop.unwrap_or(size))?).map(Some),
        }
    }

    /// The tokenizer, if the layout has text.
    pub(super) fn open_tokenizer(&self) -> Result<Option<(Identity, Tokenizer)>> {
        let mut texts = self.layout.streams().iter().filter(|stream| stream.kind == Kind::Text);
        let Some(smallest) = texts.by_ref().map(|text| text.cardinality).min() else { return Ok(None) };
        let Some(path) = &self.tokenizer else {
            let expected = "a SentencePiece model, as the layout has a text stream";
            return Err(Error::invalid("tokenizer", "missing", expected));
        };
        let bytes = files::read(path, "tokenizer", MAX_TOKENIZER)?;
        let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| e.in_file(path.display()))?;
        if tokenizer.len() > smallest as usize {
            let expected = format!("at most {smallest}, the cardinality of the text stream");
            return Err(Error::invalid("number of pieces", tokenizer.len(), expected).in_file(path.display()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some((Identity { name, sha256: Some(files::sha256_hex(&bytes)) }, tokenizer)))
    }

    /// The choices that change what is written, as `dataset.json` has them.
    pub(super) fn record(&self) -> Result<Map<String, Value>> {
        let failed = |e| Error::malformed("options", e);
        let mut rule = serde_json::to_value(self.rule).map_err(failed)?;
        let mut options = serde_json::json!({
            "rule": rule.as_object_mut().and_then(|rule| rule.remove("rule")),
            "rule_options": rule,
            "main_speaker": self.speakers.main(),
            "speakers": self.speakers.others(),
            "window": self.window,
            "hop": self.hop,
            "border": self.border,
            "words_suffix": self.words_suffix,
            "words_format": self.words_format.map(WordsFormat::name),
            "diarised": self.diarised,
            "valid": self.valid,
            "part_recordings": self.part_recordings,
        });
        let mut options = options.as_object_mut().map(std::mem::take).unwrap_or_default();
        if let CodeSource::Codec(codec) = &self.codes
            && let choices = codec.choices()
            && !choices.is_empty()
        {
            options.insert("codec".to_owned(), Value::Object(choices));
        }
        Ok(options)
    }
}
