//! Kyutai's rule: what a word has not said when the next begins is thrown away, unless it is told to wait.
//!
//! ```text
//! words       a [1, 5) three tokens      b [3, 6) one token         in frames
//! frame       0    1    2    3    4    5    6    7
//! row         E   a1   a2    b    I    I    I    P         a3 is replaced; I in-word padding, P if none is given
//! shifted     E   a1   a2   a3    b    I    I    P         with `keep_and_shift`
//! ```
//!
//! Times are doubles here, as the peer's are: 2.32 s at 12.5 frames a second lies in frame 28 and not 29.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tally::EventKind;
use crate::text::told::Told;
use crate::text::{PlacedWord, TextRow, TextStream};
use crate::token::ABSENT;
use crate::units::FrameRate;

/// Frames that text may be ahead or behind: a bound on what an option can make us allocate.
const MAX_DELAY: f64 = 65536.0;

/// Options of the rule by which Kyutai's fine-tuning code writes words; by default all are off.
///
/// Words of all speakers go into one row, in order of start. A word begins in the frame in which it starts, at frame 0
/// if it starts before, and then replaces what the word before has not said yet: event `Replaced`. Words whose end is
/// not after their start are left out: `Dropped`. Where the frame before a token holds a pad, which is known by value,
/// it becomes the end of pad: so a token with the pad's id is overwritten by the next, `Overwritten`. The lag of the
/// [`TextStream`] is added to all times before anything else.
///
/// # Source
/// moshi-finetune `finetune/data/interleaver.py`, `Interleaver`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KyutaiRule {
    /// Written after a word's tokens, up to the frame in which it ends; pad if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_word_padding: Option<i32>,
    /// Leaves out the words of other speakers, which are otherwise written like the main speaker's.
    pub keep_main_only: bool,
    /// Ids written at changes of speaker, as tokens of the word that they precede; not if only the main speaker's
    /// words are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_markers: Option<TurnMarkers>,
    /// Lets a word that begins wait for the one before, as the default rule does.
    pub keep_and_shift: bool,
    /// Seconds by which text leads the sound. Words that end before it are left out: `Dropped`. Below zero, text
    /// trails: as many frames at the beginning are absent, whatever was there (`Overwritten`), and the row is longer
    /// than asked for if it takes that.
    pub audio_delay: f64,
    /// Takes the number of frames with sound for seconds, as the peer does by mistake: the row is made with
    /// ceil(frames x rate) places, then cut to the frames that are asked for. So in a short last window text goes on
    /// where the sound has ended, with pads or words, and is trained on, and only what lies past
    /// ceil(frames x rate) is absent. The number of frames with sound is `heard` in
    /// [`Rule::place_in_window`](crate::text::Rule::place_in_window), and `frames` in
    /// [`Rule::place`](crate::text::Rule::place).
    pub frames_as_seconds: bool,
}

/// Ids that mark changes of speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnMarkers {
    /// Before the main speaker's first word, and before each that follows one of someone else.
    pub bos: i32,
    /// Before a word of someone else that follows one of the main speaker.
    pub eos: i32,
}

impl KyutaiRule {
    /// Frames of a segment: ceil(duration x rate) in doubles, in which 0.56 s at 12.5 is 8 frames and not 7.
    pub fn frames(duration: f64, rate: FrameRate) -> usize {
        (duration * rate.to_f64()).ceil() as usize
    }

    /// Checks the options.
    pub(super) fn check(&self, text: &TextStream) -> Result<()> {
        let markers = self.turn_markers.map(|TurnMarkers { bos, eos }| [("bos", bos), ("eos", eos)]);
        let padding = self.in_word_padding.map(|id| ("in_word_padding", id));
        if let Some((what, id)) = markers.into_iter().flatten().chain(padding).find(|&(_, id)| !text.is_data(id)) {
            return Err(Error::invalid(what, id, format!("0..{}", text.stream.cardinality)));
        }
        // Not a comparison the other way round: that would let a NaN pass.
        match (self.audio_delay * text.frame_rate.to_f64()).abs() <= MAX_DELAY {
            true => Ok(()),
            false => Err(Error::invalid("audio_delay", self.audio_delay, format!("at most {MAX_DELAY} frames"))),
        }
    }

    /// The id to be written before a word of the main speaker or of another; `main` is then whose turn it is.
    fn marker(&self, is_main: bool, main: &mut Option<bool>) -> Option<i32> {
        let markers = self.turn_markers.filter(|_| !self.keep_main_only)?;
        let before = main.replace(is_main);
        match is_main {
            true => (before != Some(true)).then_some(markers.bos),
            false => (before == Some(true)).then_some(markers.eos),
        }
    }
}

/// Places words that are sorted by start and whose tokens are data, in a row of `frames` tokens: of `heard` if none is
/// given, or of more if a negative delay takes them.
pub(super) fn place(
    rule: KyutaiRule,
    mut words: Vec<PlacedWord>,
    text: &TextStream,
    heard: usize,
    frames: Option<usize>,
) -> TextRow {
    let rate = text.frame_rate.to_f64();
    let (places, frames) = match rule.frames_as_seconds {
        true => (KyutaiRule::frames(heard as f64, text.frame_rate), frames.or(Some(heard))),
        false => (heard, frames),
    };
    let prefix = (rate * -rule.audio_delay) as usize;
    let length = places.max(prefix).min(frames.unwrap_or(usize::MAX));
    let mut told = Told::default();
    let said = said(rule, &mut words, text, &mut told);
    let mut writer = Writer {
        pads: Pads::new(rule, text),
        row: TextRow { tokens: vec![text.pad(); length], words, notes: Vec::new(), collisions: 0 },
        told,
        places,
        prefix,
        cursor: 0,
        last: -1,
        owner: None,
    };
    for (at, word) in said.iter().enumerate() {
        let next = said.get(at + 1).map_or(places, Said::frame).min(places);
        writer.word(word, if rule.keep_and_shift { places } else { next });
    }
    writer.finish(frames.unwrap_or(length))
}

/// A word that is to be written.
struct Said {
    /// Index among all words.
    word: usize,
    marker: Option<i32>,
    /// floor(start x rate), below 0 before the beginning.
    start: i64,
    /// End x rate, truncated: the last frame of in-word padding.
    last: i64,
}

impl Said {
    fn frame(&self) -> usize {
        usize::try_from(self.start).unwrap_or(0)
    }
}

/// The words that are to be written, once none of them has a frame.
fn said(rule: KyutaiRule, words: &mut [PlacedWord], text: &TextStream, told: &mut Told) -> Vec<Said> {
    let (rate, delay) = (text.frame_rate.to_f64(), rule.audio_delay);
    let mut main = None;
    let mut said = Vec::with_capacity(words.len());
    for (index, PlacedWord { word, frame, tokens, .. }) in words.iter_mut().enumerate() {
        *frame = None;
        let is_main = word.speaker == text.speaker;
        if rule.keep_main_only && !is_main {
            told.tell(index, EventKind::OtherSpeaker, 0);
            continue;
        }
        // A word that is left out takes its marker with it.
        let marker = rule.marker(is_main, &mut main);
        let [start, end] = [word.start, word.end].map(|time| (time + text.lag).to_f64());
        if end <= start || (delay != 0.0 && end <= delay) {
            told.tell(index, EventKind::Dropped, tokens.len() + usize::from(marker.is_some()));
            continue;
        }
        let [start, end] = [start, end].map(|time| (time - delay) * rate);
        said.push(Said { word: index, marker, start: start.floor() as i64, last: end as i64 });
    }
    said
}

/// The ids that are silence in a row of this rule.
struct Pads {
    pad: i32,
    in_word: i32,
    end: Option<i32>,
}

impl Pads {
    fn new(rule: KyutaiRule, text: &TextStream) -> Self {
        Pads { pad: text.pad(), in_word: rule.in_word_padding.unwrap_or(text.pad()), end: text.end_pad() }
    }

    /// True for what an end of pad may overwrite.
    fn yields(&self, id: i32) -> bool {
        id == self.pad || id == self.in_word
    }

    fn collides(&self, id: i32) -> bool {
        self.yields(id) || Some(id) == self.end
    }
}

struct Writer {
    pads: Pads,
    row: TextRow,
    told: Told,
    /// Frames that are written, of which the row may hold fewer.
    places: usize,
    /// Frames at the beginning that are absent in the end.
    prefix: usize,
    /// The frame after the last one written.
    cursor: usize,
    /// The last frame that belongs to the word that began last.
    last: i64,
    /// The word that has a token just before the cursor.
    owner: Option<usize>,
}

impl Writer {
    /// Writes a word's tokens that find room before `until`.
    fn word(&mut self, said: &Said, until: usize) {
        let tokens = std::mem::take(&mut self.row.words[said.word].tokens);
        if tokens.is_empty() {
            self.told.tell(said.word, EventKind::Empty, 0);
        }
        if said.frame() < self.places {
            self.pad_to(said.frame());
            self.last = said.last;
        }
        let first = self.cursor.max(said.frame());
        let given = tokens.len() + usize::from(said.marker.is_some());
        let fitting = until.saturating_sub(first).min(given);
        let hidden = self.prefix.saturating_sub(first).min(fitting);
        let end = self.prefix.max(self.row.tokens.len());
        let outside = first.saturating_add(fitting).saturating_sub(end).min(fitting);
        let ids = said.marker.iter().map(|&id| (id, true)).chain(tokens.iter().map(|&id| (id, false)));
        ids.take(fitting).for_each(|(id, is_marker)| self.put(id, said.word, is_marker));
        self.row.words[said.word].tokens = tokens;
        self.tell(said, first, [given - fitting, hidden, outside], until);
    }

    /// Says what became of a word.
    fn tell(&mut self, said: &Said, first: usize, [unsaid, hidden, outside]: [usize; 3], until: usize) {
        let own = first + usize::from(said.marker.is_some());
        let late = i128::try_from(own).map_or(0, |own| own - i128::from(said.start));
        if late > 0 && self.row.words[said.word].frame.is_some() {
            self.told.tell(said.word, EventKind::Late, usize::try_from(late).unwrap_or(usize::MAX));
        }
        self.told.count(said.word, EventKind::Overwritten, hidden);
        let replaced = until < self.places.min(self.row.tokens.len());
        self.told.count(said.word, EventKind::Replaced, if replaced { unsaid } else { 0 });
        self.told.count(said.word, EventKind::Cut, if replaced { outside } else { outside + unsaid });
    }

    /// Pads from the cursor up to a frame.
    fn pad_to(&mut self, frame: usize) {
        if frame <= self.cursor {
            return;
        }
        let end = usize::try_from(self.last.saturating_add(1)).unwrap_or(0).min(frame).min(self.row.tokens.len());
        if self.pads.in_word != self.pads.pad && end > self.cursor {
            self.row.tokens[self.cursor..end].fill(self.pads.in_word);
        }
        (self.cursor, self.owner) = (frame, None);
    }

    /// Writes one id at the cursor, and the end of pad before it.
    fn put(&mut self, id: i32, word: usize, is_marker: bool) {
        self.end_padding();
        if let Some(cell) = self.row.tokens.get_mut(self.cursor) {
            *cell = id;
            if self.cursor >= self.prefix {
                self.row.collisions += usize::from(self.pads.collides(id));
                let frame = &mut self.row.words[word].frame;
                *frame = frame.or((!is_marker).then_some(self.cursor));
            }
        }
        self.owner = Some(word);
        self.cursor += 1;
    }

    /// Ends the padding before the cursor: by value, so that it may be a word's token.
    fn end_padding(&mut self) {
        let Some(before) = self.cursor.checked_sub(1) else { return };
        let (Some(end), Some(cell)) = (self.pads.end, self.row.tokens.get_mut(before)) else { return };
        if !self.pads.yields(*cell) || *cell == end {
            return;
        }
        *cell = end;
        if let Some(owner) = self.owner.filter(|_| before >= self.prefix) {
            self.row.collisions -= 1;
            self.told.tell(owner, EventKind::Overwritten, 1);
            let frame = &mut self.row.words[owner].frame;
            *frame = frame.filter(|&frame| frame != before);
        }
    }

    /// The row, with what lies before the delay and past the places absent.
    fn finish(mut self, frames: usize) -> TextRow {
        self.pad_to(self.places);
        let TextRow { mut tokens, words, collisions, .. } = self.row;
        let prefix = self.prefix.min(tokens.len());
        tokens[..prefix].fill(ABSENT as i32);
        tokens.resize(frames, ABSENT as i32);
        TextRow { tokens, words, notes: self.told.notes(), collisions }
    }
}
