//! From a row of text back to words.
//!
//! ```text
//! row       P    E  ▁hell   o  ▁there   P    P
//! words          hello [0.16, 0.32)  there [0.32, 0.40)
//! ```

use crate::error::{Error, Result};
use crate::text::{TextStream, Tokenizer, Word};

/// The words of a row, from the row alone: the best that can be done for generated text.
///
/// A word ends before a pad, an end of pad, a cell without data (absent, ungenerated, initial), a control piece, and
/// a piece that begins a word. It lasts from its first token's frame to the end of its last token's, which is where it
/// was written, not when it was said. Where the words were kept, as datasets do, they are the exact answer: see
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
    let mut words = Vec::new();
    let mut start = 0;
    for end in 1..=row.len() {
        let last = row[end - 1];
        if !is_spoken(last, text, tokenizer) {
            start = end;
            continue;
        }
        let next = row.get(end).filter(|&&id| is_spoken(id, text, tokenizer) && !tokenizer.begins_word(id));
        if next.is_none() {
            words.extend(word(row, start..end, text, tokenizer)?);
            start = end;
        }
    }
    Ok(words)
}

fn is_spoken(id: i32, text: &TextStream, tokenizer: &Tokenizer) -> bool {
    text.is_data(id) && !text.is_pad(id) && !tokenizer.is_control(id)
}

/// The word in some cells, unless they hold nothing but a space.
fn word(row: &[i32], cells: std::ops::Range<usize>, text: &TextStream, tokenizer: &Tokenizer) -> Result<Option<Word>> {
    let ids = &row[cells.clone()];
    if let Some(at) = ids.iter().position(|&id| tokenizer.piece(id).is_none()) {
        let error = Error::invalid("token", ids[at], format!("0..{} as in the tokenizer", tokenizer.len()));
        return Err(error.at_frame(cells.start + at).in_stream(&text.stream.name));
    }
    let [start, end] = [cells.start, cells.end].map(|frame| text.frame_rate.start_of(frame));
    let word = Word::new(tokenizer.decode(ids)?.trim_start_matches(' '), start, end, text.speaker);
    Ok(Some(word).filter(|word| !word.text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Layout;

    const MODEL: &[u8] = include_bytes!("../../fixtures/tokenizers/small_unigram_2000.model");

    fn words(row: &[i32]) -> Result<Vec<(String, String, String)>> {
        let layout = Layout::preset("delay-1").unwrap();
        let text = TextStream::of(&layout, "A").unwrap();
        let words = words_from_row(row, &text, &Tokenizer::from_bytes(MODEL).unwrap())?;
        Ok(words.into_iter().map(|word| (word.text, word.start.to_string(), word.end.to_string())).collect())
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
