//! From a row of text back to words.
//!
//! ```text
//! row       P    E  ▁hell   o  ▁there   P    P
//! words          hello [0.16, 0.32)  there [0.32, 0.40)      less the text's lag
//! ```
//!
//! What a row alone can tell: where a word begins, if its first piece says so (`▁there`) or padding stands before it;
//! its text; and when it was written, which is when it was said only if it was not late. SentencePiece models put a space
//! in front of what they encode, so words that were encoded one by one begin visibly in every language, also in those
//! that write no spaces. Where that mark is missing (ids from elsewhere, models without it, words joined before they were
//! encoded), words are what lies between pads: words without a pad between them come back as one, and a word with a pad
//! inside as several. Ends, speakers and words that do not fit in the row are not in it at all.

use crate::error::{Error, Result};
use crate::text::{Rule, TextStream, Tokenizer, Word};
use crate::units::Seconds;

/// The words of a row, from the row alone: the best that can be done for generated text.
///
/// A word ends before a pad, an end of pad, a cell without data (absent, ungenerated, initial), a control piece, and
/// a piece that begins a word. It lasts from its first token's frame to the end of its last token's, with the text's lag
/// taken out; that is where it was written. Where the words were kept, as datasets do, they are the exact answer: see
/// [`TextRow::words`](crate::text::TextRow::words).
///
/// # Shapes
/// `row` is `[time]`, undelayed.
/// # Errors
/// `Invalid` with the frame, if a token is data of the stream and outside the tokenizer's vocabulary.
/// # Examples
/// ```
/// use roundelay::text::{TextStream, Tokenizer, words_from_row};
/// let tokenizer = Tokenizer::from_bytes(include_bytes!("../../fixtures/tokenizers/mistral_v1_32k_bpe.model"))?;
/// let layout = roundelay::Layout::preset("moshi-7b")?;
/// let text = TextStream::of(&layout, "SPEAKER_MAIN")?;
/// let words = words_from_row(&[3, 0, 6312, 28709, 736, 3, 3], &text, &tokenizer)?;
/// assert_eq!((&*words[0].text, words[0].end.to_string()), ("hello", "0.32".to_string()));
/// assert_eq!((&*words[1].text, words[1].start.to_string()), ("there", "0.32".to_string()));
/// # Ok::<(), roundelay::Error>(())
/// ```
pub fn words_from_row(row: &[i32], text: &TextStream, tokenizer: &Tokenizer) -> Result<Vec<Word>> {
    Rule::Moshi.words(row, text, tokenizer)
}

impl Rule {
    /// The words of a row that was written by this rule, as [`words_from_row`] does for the default one.
    ///
    /// Kyutai's in-word padding is padding, and its audio delay is taken out. J-Moshi's rule leaves pads inside words:
    /// they end a word only where words were joined without spaces, as nothing else does then.
    ///
    /// # Errors
    /// As [`words_from_row`]; `Invalid` if the audio delay is no number.
    pub fn words(self, row: &[i32], text: &TextStream, tokenizer: &Tokenizer) -> Result<Vec<Word>> {
        let mut reader =
            Reader { text: *text, tokenizer, silent: None, spread: false, cells: Vec::new(), words: Vec::new() };
        match self {
            Rule::Moshi => {}
            Rule::Kyutai(rule) => {
                reader.silent = rule.in_word_padding;
                reader.text.lag = text.lag - Seconds::from_f64(rule.audio_delay)?;
            }
            Rule::Jmoshi(rule) => reader.spread = rule.whitespace_before_word,
        }
        for (frame, &id) in row.iter().enumerate() {
            reader.read(frame, id)?;
        }
        reader.end()?;
        Ok(reader.words)
    }
}

struct Reader<'a> {
    text: TextStream<'a>,
    tokenizer: &'a Tokenizer,
    /// An id that is no token, as a pad.
    silent: Option<i32>,
    /// Pads may lie inside a word.
    spread: bool,
    /// Frames and tokens of the word that is being read.
    cells: Vec<(usize, i32)>,
    words: Vec<Word>,
}

impl Reader<'_> {
    fn read(&mut self, frame: usize, id: i32) -> Result<()> {
        let pad = self.text.is_pad(id) || self.silent == Some(id);
        if pad && self.spread {
            return Ok(());
        }
        let spoken = !pad && self.text.is_data(id) && !self.tokenizer.is_control(id);
        if !spoken || self.tokenizer.begins_word(id) {
            self.end()?;
        }
        if spoken {
            self.cells.push((frame, id));
        }
        Ok(())
    }

    /// Ends the word that is being read, unless it holds nothing but a space.
    fn end(&mut self) -> Result<()> {
        let cells = std::mem::take(&mut self.cells);
        let (Some((first, _)), Some((last, _))) = (cells.first(), cells.last()) else { return Ok(()) };
        if let Some((frame, id)) = cells.iter().find(|(_, id)| self.tokenizer.piece(*id).is_none()) {
            let error = Error::invalid("token", id, format!("0..{} as in the tokenizer", self.tokenizer.len()));
            return Err(error.at_frame(*frame).in_stream(&self.text.stream.name));
        }
        let ids: Vec<_> = cells.iter().map(|(_, id)| *id).collect();
        let [start, end] = [*first, last + 1].map(|frame| self.text.frame_rate.start_of(frame) - self.text.lag);
        let word = Word::new(self.tokenizer.decode(&ids)?.trim_start_matches(' '), start, end, self.text.speaker);
        self.words.extend(Some(word).filter(|word| !word.text.is_empty()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Layout;
    use crate::text::{JmoshiRule, KyutaiRule};

    const MODEL: &[u8] = include_bytes!("../../fixtures/tokenizers/small_unigram_2000.model");

    fn words(row: &[i32]) -> Result<Vec<(String, String, String)>> {
        let layout = Layout::preset("delay-1").unwrap();
        let text = TextStream::of(&layout, "A").unwrap();
        let words = words_from_row(row, &text, &Tokenizer::from_bytes(MODEL).unwrap())?;
        Ok(words.into_iter().map(|word| (word.text, word.start.to_string(), word.end.to_string())).collect())
    }

    #[test]
    fn the_lag_of_the_layout_is_taken_out() {
        let layout = Layout::preset("kyutai-stt-2.6b").unwrap();
        let text = TextStream::of(&layout, "A").unwrap();
        let tokenizer = Tokenizer::from_bytes(MODEL).unwrap();
        let mut row = [3; 60];
        row[50] = 261;
        let words = words_from_row(&row, &text, &tokenizer).unwrap();
        assert_eq!((words[0].start.to_string(), words[0].end.to_string()), ("0.5".into(), "0.58".into()));
        // Text that leads the sound: 1.28 s.
        let layout = Layout::preset("kyutai-tts-1.6b").unwrap();
        let text = TextStream { stream: text.stream, ..TextStream::of(&layout, "A").unwrap() };
        assert_eq!(words_from_row(&row, &text, &tokenizer).unwrap()[0].start.to_string(), "5.28");
    }

    #[test]
    fn each_rule_reads_what_it_writes() {
        let layout = Layout::preset("delay-1").unwrap();
        let text = TextStream::of(&layout, "A").unwrap();
        let tokenizer = Tokenizer::from_bytes(MODEL).unwrap();
        let read = |rule: Rule, row: &[i32]| {
            let words = rule.words(row, &text, &tokenizer).unwrap().into_iter();
            words.map(|word| (word.text, word.start.to_string(), word.end.to_string())).collect::<Vec<_>>()
        };
        let kyutai = Rule::Kyutai(KyutaiRule { in_word_padding: Some(7), audio_delay: 0.08, ..KyutaiRule::default() });
        assert_eq!(read(kyutai, &[0, 519, 291, 7, 7, 3]), [said("line1", "0.16", "0.32")]);
        let joined = |whitespace_before_word| Rule::Jmoshi(JmoshiRule { whitespace_before_word });
        let row = [0, 519, 3, 0, 291, 3, 261];
        assert_eq!(read(joined(true), &row), [said("line1", "0.08", "0.4"), said("the", "0.48", "0.56")]);
        assert_eq!(read(joined(false), &row)[..2], [said("line", "0.08", "0.16"), said("1", "0.32", "0.4")]);
    }

    #[test]
    fn words_without_a_mark_are_what_lies_between_pads() {
        // 291 is the digit 1 without a space in front.
        assert_eq!(words(&[0, 291, 291, 3, 0, 291]).unwrap(), [said("11", "0.08", "0.24"), said("1", "0.4", "0.48")]);
    }

    fn said(text: &str, start: &str, end: &str) -> (String, String, String) {
        (text.into(), start.into(), end.into())
    }

    // 261 is ▁the, 260 ▁, 519 ▁line, 291 1, 199 and 173 the bytes of é.

    #[test]
    fn words_end_at_pads_and_where_the_next_begins() {
        let found = words(&[3, 0, 261, 519, 291, 3, 261]).unwrap();
        assert_eq!(found, [said("the", "0.16", "0.24"), said("line1", "0.24", "0.4"), said("the", "0.48", "0.56")]);
    }

    #[test]
    fn cells_without_text_are_skipped() {
        let found = words(&[32_000, -1, 261, -2, 1, 261, 2, -1]).unwrap();
        assert_eq!(found, [said("the", "0.16", "0.24"), said("the", "0.4", "0.48")]);
        assert_eq!(words(&[]).unwrap(), []);
        assert_eq!(words(&[260, 260, 3]).unwrap(), []);
    }

    #[test]
    fn a_word_without_its_beginning_is_still_a_word() {
        assert_eq!(words(&[291, 199, 173, 3]).unwrap(), [said("1\u{e9}", "0", "0.24")]);
    }

    #[test]
    fn a_token_beyond_the_tokenizer_is_named() {
        let error = words(&[3, 261, 2000]).unwrap_err();
        assert_eq!(error.to_string(), "stream text, frame 2: token is 2000, expected 0..2000 as in the tokenizer");
    }
}
