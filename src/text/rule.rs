//! The rules by which words become a row, as data.
//!
//! ```text
//! words  ──tokenize──>  words with ids  ──place──>  one token a frame, and what became of each word
//! ```

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stream::Kind;
use crate::text::{JmoshiRule, KyutaiRule, PlacedWord, TextRow, TextStream, Tokenizer, Word, jmoshi, kyutai, moshi};
use crate::token::ABSENT;

/// How words become a row.
///
/// As data it is its name and its options: `{"rule": "kyutai", "keep_main_only": true}`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The Moshi paper's rule, made complete: a word begins in the frame of its start, or as soon as the word before
    /// it is finished; an end of pad goes before each word that does not touch the one before.
    #[default]
    Moshi,
    /// That of Kyutai's fine-tuning code, with its options and its arithmetic.
    Kyutai(KyutaiRule),
    /// That of J-Moshi's: tokens are spread over the characters of their words.
    Jmoshi(JmoshiRule),
}

impl Rule {
    /// The rule's name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Moshi => "moshi",
            Rule::Kyutai(_) => "kyutai",
            Rule::Jmoshi(_) => "jmoshi",
        }
    }

    /// True if the row is made for the whole recording and cut into windows afterwards.
    pub fn places_whole(self) -> bool {
        matches!(self, Rule::Jmoshi(_))
    }

    /// Gives each word its tokens: those that it brings, else those of its text without white space around it. The
    /// J-Moshi rule tokenizes all words of a speaker as one text, and says when each token begins.
    ///
    /// # Errors
    /// `Unsupported` if the tokenizer drops line feeds and a word has one, or under the J-Moshi rule changes characters.
    pub fn tokenize(&self, words: Vec<Word>, tokenizer: &Tokenizer) -> Result<Vec<PlacedWord>> {
        match self {
            Rule::Moshi | Rule::Kyutai(_) => tokenize_once(words, tokenizer),
            Rule::Jmoshi(rule) => jmoshi::tokenize(*rule, words, tokenizer),
        }
    }

    /// Places words in a row of `frames` tokens. Frames that the words already have do not matter: a row can be made
    /// anew from the words of another.
    ///
    /// Under the Kyutai rule a negative delay may make the row longer: see [`KyutaiRule::audio_delay`].
    ///
    /// # Errors
    /// `Invalid` if a word that is to be written has a token outside the stream's cardinality or not as many starts as
    /// tokens, if the stream is not text, or if an option of the rule is out of range.
    /// # Examples
    /// ```
    /// use roundelay::text::{Rule, TextStream, Word, tokenize};
    /// let layout = roundelay::Layout::preset("moshi-7b")?;
    /// let text = TextStream::of(&layout, "SPEAKER_MAIN")?;
    /// let word = Word::new("hello", "0.2".parse()?, "0.5".parse()?, "SPEAKER_MAIN");
    /// let words = tokenize(vec![word], |_| Ok(vec![6312, 28709]))?;
    /// let row = Rule::Moshi.place(words, &text, 6)?;
    /// assert_eq!(row.tokens, [3, 0, 6312, 28709, 3, 3]);
    /// assert_eq!(row.words[0].frame, Some(2));
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn place(self, words: Vec<PlacedWord>, text: &TextStream, frames: usize) -> Result<TextRow> {
        let words = self.checked(words, text)?;
        Ok(match self {
            Rule::Moshi => moshi::place(words, text, frames),
            Rule::Kyutai(rule) => kyutai::place(rule, words, text, frames, None),
            Rule::Jmoshi(rule) => jmoshi::place(rule, words, text, frames),
        })
    }

    /// Places words in a window of `frames`, of which only the first `heard` have sound: text ends where the sound
    /// does, and the frames after that are absent; [`KyutaiRule::frames_as_seconds`] makes it go on. The row has
    /// `frames` tokens under every rule.
    ///
    /// # Errors
    /// Those of [`place`](Self::place).
    pub fn place_in_window(
        self,
        words: Vec<PlacedWord>,
        text: &TextStream,
        heard: usize,
        frames: usize,
    ) -> Result<TextRow> {
        let heard = heard.min(frames);
        if let Rule::Kyutai(rule) = self {
            return Ok(kyutai::place(rule, self.checked(words, text)?, text, heard, Some(frames)));
        }
        let mut row = self.place(words, text, heard)?;
        row.tokens.resize(frames, ABSENT as i32);
        Ok(row)
    }

    /// The words in order of start, if all of it goes together.
    fn checked(self, mut words: Vec<PlacedWord>, text: &TextStream) -> Result<Vec<PlacedWord>> {
        if text.stream.kind != Kind::Text {
            let error = Error::invalid("kind", format!("{:?}", text.stream.kind), "Text");
            return Err(error.in_stream(&text.stream.name));
        }
        if let Rule::Kyutai(rule) = self {
            rule.check(text)?;
        }
        words.sort_by_key(|word| word.word.start);
        words.iter().try_for_each(|word| self.check_word(word, text))?;
        Ok(words)
    }

    /// Checks a word, if it is to be written.
    fn check_word(self, PlacedWord { word, tokens, starts, .. }: &PlacedWord, text: &TextStream) -> Result<()> {
        let wrong = tokens.iter().find(|&&id| !text.is_data(id));
        let starts_fit = starts.is_empty() || starts.len() == tokens.len();
        // Most words are right, whoever said them.
        if (wrong.is_none() && starts_fit) || !self.writes(word, text) {
            return Ok(());
        }
        let what = |part: &str| format!("{part} of the word {:?} at {}", word.text, word.start);
        let error = match wrong {
            Some(id) => Error::invalid(what("a token"), id, format!("0..{}", text.stream.cardinality)),
            None => Error::invalid(what("the number of starts"), starts.len(), format!("{}, as tokens", tokens.len())),
        };
        Err(error.in_stream(&text.stream.name))
    }

    /// True for words of a speaker whose words the rule writes.
    pub(crate) fn writes(self, word: &Word, text: &TextStream) -> bool {
        word.speaker == text.speaker || matches!(self, Rule::Kyutai(rule) if !rule.keep_main_only)
    }
}

/// Gives each word its tokens: those that it brings, else those of its text without white space around it.
///
/// # Errors
/// Those of `encode`.
pub fn tokenize(words: Vec<Word>, mut encode: impl FnMut(&str) -> Result<Vec<i32>>) -> Result<Vec<PlacedWord>> {
    let mut placed = Vec::with_capacity(words.len());
    for word in words {
        let tokens = match &word.ids {
            Some(ids) => ids.clone(),
            None => encode(word.stripped())?,
        };
        placed.push(PlacedWord::new(word, tokens));
    }
    Ok(placed)
}

/// The same, each text once: half of what people say is a few hundred words.
fn tokenize_once(words: Vec<Word>, tokenizer: &Tokenizer) -> Result<Vec<PlacedWord>> {
    let mut first: HashMap<&str, usize, _> = HashMap::with_capacity_and_hasher(words.len(), FixedState::default());
    let (mut tokens, mut normal) = (Vec::<Vec<i32>>::with_capacity(words.len()), String::new());
    for (index, word) in words.iter().enumerate() {
        let ids = match &word.ids {
            Some(ids) => ids.clone(),
            None => {
                let text = word.stripped();
                match *first.entry(text).or_insert(index) {
                    first if first < index => tokens[first].clone(),
                    _ => tokenizer.encode_lines_in(&mut normal, text)?,
                }
            }
        };
        tokens.push(ids);
    }
    Ok(words.into_iter().zip(tokens).map(|(word, tokens)| PlacedWord::new(word, tokens)).collect())
}
