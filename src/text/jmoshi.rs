//! J-Moshi's rule: a token goes where its first character is said.
//!
//! ```text
//! words       to [0.16, 0.40)      going [0.40, 0.80)           a space belongs to the word after it
//! characters  t    o               _    g    o    i    n    g   each lasts as long as the others of its word
//! tokens      ▁to                  ▁going                       at 0.16 and 0.40 s
//!
//! frame       0    1    2    3    4    5    6    7
//! row         P    E   to    P   E  going   P    P
//! ```
//!
//! A token whose frame is taken moves to the next free one. Times are doubles here, as the peer's are.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tally::EventKind;
use crate::text::told::Told;
use crate::text::word::strip;
use crate::text::{PlacedWord, TextRow, TextStream, Tokenizer, Word};
use crate::units::{FrameRate, Seconds};

/// The unknown id of the tokenizers that the peer knows, which is also its end of pad.
const UNKNOWN: i32 = 0;

/// Options of the rule by which J-Moshi's fine-tuning code writes words.
///
/// All words of a speaker are tokenized as one text, so that a token's ids may depend on the words beside it. A token
/// belongs to the word in which its first character lies; a word may be left without tokens of its own. The row is
/// made for the whole recording: it lasts for a second after the last word, and what finds no free frame in it is not
/// written, nor is anything after that: `Cut`. Then it is cut, or filled with pads, to the frames asked for. Pads are
/// known by value.
///
/// A character that the tokenizer can only spell in bytes becomes the unknown id, 0, which is also the end of pad:
/// `Unknown`, and counted as a collision. The peer writes words from before the beginning at the end of the row; here
/// they go to the first free frame.
///
/// # Source
/// nu-dialogue/moshi-finetune `tools/tokenize_text.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JmoshiRule {
    /// Joins words by a space. Without, words are joined as they are, for languages that write no spaces.
    pub whitespace_before_word: bool,
}

impl Default for JmoshiRule {
    fn default() -> Self {
        JmoshiRule { whitespace_before_word: true }
    }
}

impl JmoshiRule {
    /// What a word adds to the transcript: its text, and whether a space goes before it.
    fn spelled<'w>(&self, word: &'w Word, is_first: bool) -> (&'static str, &'w str) {
        match self.whitespace_before_word {
            true => (if is_first { "" } else { " " }, strip(&word.text)),
            false => ("", &word.text),
        }
    }
}

/// Gives words their tokens: those that they bring, else those that begin in them in the transcript of their speaker.
pub(super) fn tokenize(rule: JmoshiRule, words: Vec<Word>, tokenizer: &Tokenizer) -> Result<Vec<PlacedWord>> {
    let placed = |word: Word| PlacedWord::new(word.clone(), word.ids.unwrap_or_default());
    let mut words: Vec<_> = words.into_iter().map(placed).collect();
    let mut speakers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, PlacedWord { word, .. }) in words.iter().enumerate() {
        speakers.entry(word.speaker.clone()).or_default().push(index);
    }
    for mut said in speakers.into_values() {
        said.sort_by_key(|&index| words[index].word.start);
        // A word with ids of its own is not spelled: the transcript begins anew behind it.
        let runs = said.split(|&index| words[index].word.ids.is_some()).map(<[usize]>::to_vec).collect::<Vec<_>>();
        runs.iter().try_for_each(|run| spell(rule, &mut words, run, tokenizer))?;
    }
    Ok(words)
}

/// Tokenizes words as one text.
fn spell(rule: JmoshiRule, words: &mut [PlacedWord], run: &[usize], tokenizer: &Tokenizer) -> Result<()> {
    let mut text = String::new();
    // Word and beginning of each character.
    let mut said: Vec<(usize, f64)> = Vec::new();
    for &index in run {
        let word = &words[index].word;
        let (space, letters) = rule.spelled(word, text.is_empty());
        let count = space.len() + letters.chars().count();
        let [start, end] = [word.start, word.end].map(Seconds::to_f64);
        let each = (end - start) / count as f64;
        said.extend((0..count).map(|i| (index, start + i as f64 * each)));
        text.extend([space, letters]);
    }
    let mut at = 0;
    for (i, (piece, id)) in tokenizer.pieces(&text).into_iter().enumerate() {
        // The space that the tokenizer puts in front of a text is nobody's.
        let length = piece.chars().count() - usize::from(i == 0 && piece.starts_with('\u{2581}'));
        if length == 0 {
            continue;
        }
        let &(word, start) = said.get(at).ok_or_else(other_length)?;
        words[word].tokens.push(id);
        words[word].starts.push(Seconds::from_f64(start)?);
        at += length;
    }
    if at == said.len() { Ok(()) } else { Err(other_length()) }
}

fn other_length() -> Error {
    let detail = "it needs as many characters in the pieces as in the words, and the tokenizer adds or removes some";
    Error::unsupported("the rule jmoshi with this tokenizer", detail)
}

/// Places words that are sorted by start and whose tokens are data.
pub(super) fn place(rule: JmoshiRule, mut words: Vec<PlacedWord>, text: &TextStream, frames: usize) -> TextRow {
    let mut writer = Writer::new(text, frames, places(rule, &words, text));
    for (index, placed) in words.iter_mut().enumerate() {
        placed.frame = None;
        writer.word(index, placed);
    }
    for &(word, cell) in &writer.held {
        let frame = &mut words[word].frame;
        *frame = Some(frame.map_or(cell, |frame| frame.min(cell)));
    }
    TextRow { tokens: writer.row, words, notes: writer.told.notes(), collisions: writer.collisions }
}

/// The frames of the peer's row: a second more than the last word takes.
fn places(rule: JmoshiRule, words: &[PlacedWord], text: &TextStream) -> usize {
    let own = || words.iter().filter(|placed| placed.word.speaker == text.speaker && takes_time(placed));
    let Some(PlacedWord { word, starts, .. }) = own().next_back() else { return 0 };
    let [start, end] = [word.start, word.end].map(|time| (time + text.lag).to_f64());
    let (space, letters) = rule.spelled(word, own().nth(1).is_none());
    let count = (space.len() + letters.chars().count()) as f64;
    // Where the peer's last character ends is a sum that may miss the word's end by a bit.
    let end = if starts.is_empty() { end } else { start + count * ((end - start) / count) };
    ((end + 1.0) * text.frame_rate.to_f64()) as usize
}

/// True for a word that is said: one with letters, or with ids of its own.
fn takes_time(placed: &PlacedWord) -> bool {
    !placed.tokens.is_empty() || !placed.word.stripped().is_empty()
}

/// Frames that a search may pass without taking notes; in speech it hardly passes any.
const LONG_SEARCH: usize = 64;

struct Writer<'a> {
    text: &'a TextStream<'a>,
    row: Vec<i32>,
    /// What the peer's row holds past ours.
    beyond: BTreeMap<usize, i32>,
    /// Frames of the peer's row.
    places: usize,
    /// Where a search goes on from a frame that a long one has passed.
    skip: HashMap<usize, usize>,
    /// True once a token has found no free frame.
    full: bool,
    /// Words and frames of the tokens in the row.
    held: Vec<(usize, usize)>,
    /// How many of them have the pad's id, so that their frames look free.
    hidden: usize,
    told: Told,
    collisions: usize,
}

impl<'a> Writer<'a> {
    fn new(text: &'a TextStream<'a>, frames: usize, places: usize) -> Self {
        Writer {
            text,
            row: vec![text.pad(); frames],
            beyond: BTreeMap::new(),
            places,
            skip: HashMap::new(),
            full: false,
            held: Vec::new(),
            hidden: 0,
            told: Told::default(),
            collisions: 0,
        }
    }

    fn word(&mut self, index: usize, placed: &PlacedWord) {
        let PlacedWord { word, tokens, .. } = placed;
        if word.speaker != self.text.speaker {
            return self.told.tell(index, EventKind::OtherSpeaker, 0);
        }
        if word.end <= word.start {
            self.told.tell(index, EventKind::NoDuration, 0);
        }
        if !takes_time(placed) {
            return self.told.tell(index, EventKind::Empty, 0);
        }
        self.told.count(index, EventKind::Unknown, tokens.iter().filter(|&&id| id == UNKNOWN).count());
        let mut cut = 0;
        for (i, &id) in tokens.iter().enumerate() {
            let wanted = frame_of(start_of(placed, i, self.text.lag), self.text.frame_rate);
            let found = self.free_from(usize::try_from(wanted).unwrap_or(0));
            cut += usize::from(found.is_none_or(|cell| cell >= self.row.len()));
            if let Some(cell) = found {
                self.write(index, cell, id);
                let late = usize::try_from(i128::from(cell as u64) - i128::from(wanted)).unwrap_or(0);
                self.told.count(index, EventKind::Late, if i == 0 && cell < self.row.len() { late } else { 0 });
            }
        }
        self.told.count(index, EventKind::Cut, cut);
    }

    /// The first frame from `cell` on that looks free; none once there was none.
    fn free_from(&mut self, cell: usize) -> Option<usize> {
        if self.full {
            return None;
        }
        let (mut free, mut passed) = (cell, Vec::new());
        while free < self.places && self.get(free) != self.text.pad() {
            passed.push(free);
            free = self.skip.get(&free).map_or(free + 1, |&skip| skip.max(free + 1));
        }
        // Frames that are taken stay so: the next search from far back leaps over them.
        if passed.len() > LONG_SEARCH {
            self.skip.extend(passed.into_iter().map(|cell| (cell, free)));
        }
        self.full = free >= self.places;
        (!self.full).then_some(free)
    }

    fn get(&self, cell: usize) -> i32 {
        self.row.get(cell).or_else(|| self.beyond.get(&cell)).copied().unwrap_or(self.text.pad())
    }

    fn set(&mut self, cell: usize, id: i32) {
        match self.row.get_mut(cell) {
            Some(found) => *found = id,
            None => drop(self.beyond.insert(cell, id)),
        }
    }

    /// Writes a token to a frame that looks free, and the end of pad before it.
    fn write(&mut self, word: usize, cell: usize, id: i32) {
        let before = cell.checked_sub(1).filter(|&before| self.get(before) == self.text.pad());
        if let (Some(before), Some(end)) = (before, self.text.end_pad()) {
            self.let_go(before);
            self.set(before, end);
        }
        self.let_go(cell);
        self.set(cell, id);
        if cell < self.row.len() {
            self.held.push((word, cell));
            self.collisions += usize::from(self.text.is_pad(id));
            self.hidden += usize::from(id == self.text.pad());
        }
    }

    /// Counts the token in a frame that looks free as overwritten, if there is one.
    fn let_go(&mut self, cell: usize) {
        let at = (self.hidden > 0).then(|| self.held.iter().rposition(|&(_, held)| held == cell)).flatten();
        if let Some(at) = at {
            let (word, _) = self.held.remove(at);
            (self.hidden, self.collisions) = (self.hidden - 1, self.collisions - 1);
            self.told.tell(word, EventKind::Overwritten, 1);
        }
    }
}

/// When a token begins: as it was given, or by its share of the word.
fn start_of(placed: &PlacedWord, token: usize, lag: Seconds) -> f64 {
    if let Some(&start) = placed.starts.get(token) {
        return (start + lag).to_f64();
    }
    let [start, end] = [placed.word.start, placed.word.end].map(|time| (time + lag).to_f64());
    start + token as f64 * ((end - start) / placed.tokens.len() as f64)
}

/// The frame of a time, as Python's `time // (1 / rate)` has it.
fn frame_of(time: f64, rate: FrameRate) -> i64 {
    let frame = 1.0 / rate.to_f64();
    let rest = time.rem_euclid(frame);
    let quotient = (time - rest) / frame;
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Layout;
    use crate::text::Rule;

    fn word(text: &str, start: &str, end: &str) -> Word {
        Word::new(text, start.parse().unwrap(), end.parse().unwrap(), "A")
    }

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_bytes(include_bytes!("../../fixtures/tokenizers/mistral_v1_32k_bpe.model")).unwrap()
    }

    fn told(row: &TextRow) -> Vec<(EventKind, u64)> {
        row.notes.iter().map(|event| (event.event, event.amount)).collect()
    }

    fn place(words: Vec<PlacedWord>, frames: usize) -> TextRow {
        let layout = Layout::preset("j-moshi").unwrap();
        Rule::Jmoshi(JmoshiRule::default()).place(words, &TextStream::of(&layout, "A").unwrap(), frames).unwrap()
    }

    #[test]
    fn the_picture_holds() {
        let words = vec![word("to", "0.16", "0.4"), word("going", "0.4", "0.8")];
        let words = tokenize(JmoshiRule::default(), words, &tokenizer()).unwrap();
        assert_eq!(words[1].starts, ["0.4".parse().unwrap()]);
        let row = place(words, 8);
        assert_eq!((row.tokens.as_slice(), told(&row)), (&[3, 0, 298, 3, 0, 1404, 3, 3][..], vec![]));
        assert_eq!(row.words.iter().map(|word| word.frame).collect::<Vec<_>>(), [Some(2), Some(5)]);
    }

    #[test]
    fn a_token_belongs_to_the_word_in_which_it_begins() {
        let rule = JmoshiRule { whitespace_before_word: false };
        let words = vec![word("th", "0", "0.2"), word("e", "0.2", "0.4"), word("re is", "1", "2")];
        let words = tokenize(rule, words, &tokenizer()).unwrap();
        let tokens: Vec<_> = words.iter().map(|word| word.tokens.as_slice()).collect();
        assert_eq!(tokens, [&[736][..], &[], &[349]]);
        assert_eq!(words[2].starts, ["1.4".parse().unwrap()]);
    }

    #[test]
    fn a_character_without_a_piece_is_the_unknown_id() {
        let words = tokenize(JmoshiRule::default(), vec![word("a\u{1FAE0}b", "0.4", "0.7")], &tokenizer()).unwrap();
        assert_eq!(words[0].tokens, [264, 0, 28726]);
        let row = place(words, 9);
        assert_eq!(row.tokens, [3, 3, 3, 3, 0, 264, 0, 28726, 3]);
        assert_eq!((told(&row), row.collisions), (vec![(EventKind::Unknown, 1)], 1));
    }

    #[test]
    fn words_with_ids_are_not_spelled_and_share_their_time_out() {
        let given = Word { ids: Some(vec![70, 71]), ..word("x", "0.2", "0.5") };
        let words = vec![word("to", "0", "0.1"), given, word("to", "1", "1.1"), word("to", "1.1", "1.2")];
        let words = tokenize(JmoshiRule::default(), words, &tokenizer()).unwrap();
        let tokens: Vec<_> = words.iter().map(|word| word.tokens.as_slice()).collect();
        assert_eq!(tokens, [&[298][..], &[70, 71], &[298], &[298]]);
        assert_eq!(place(words, 6).tokens, [298, 0, 70, 0, 71, 3]);
    }

    #[test]
    fn what_the_row_has_no_room_for_is_cut_with_all_that_follows() {
        let long = |start, end| PlacedWord::new(word("a", start, end), vec![10; 16]);
        let row = place(vec![long("0", "0.08"), PlacedWord::new(word("b", "0.16", "0.24"), vec![20])], 40);
        assert_eq!(row.tokens[..17], [vec![10; 15], vec![3, 3]].concat());
        assert_eq!(told(&row), [(EventKind::Cut, 1), (EventKind::Cut, 1)]);
    }

    #[test]
    fn blank_words_and_words_without_duration_are_told() {
        let words = vec![word(" ", "0", "1"), word("to", "0.16", "0.16"), word("so", "0.1", "0.3")];
        let words = tokenize(JmoshiRule::default(), words, &tokenizer()).unwrap();
        assert!(words[0].tokens.is_empty());
        let row = place(words, 6);
        assert_eq!(row.tokens, [0, 579, 298, 3, 3, 3]);
        assert_eq!(told(&row), [(EventKind::Empty, 0), (EventKind::NoDuration, 0)]);
    }

    #[test]
    fn frames_are_those_of_pythons_floor_division() {
        let frame = |time| frame_of(time, FrameRate::new(25, 2).unwrap());
        // In doubles 0.24 and 2.32 lie just before a frame; the last two before the beginning.
        let times = [0.08, 0.16, 0.24, 0.56, 2.32, 1e6, -0.01, -0.08];
        assert_eq!(times.map(frame), [1, 2, 2, 7, 28, 12_499_999, -1, -1]);
    }
}
