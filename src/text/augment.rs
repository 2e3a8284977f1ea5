//! Text that is dropped or moved on purpose, so that a model does not lean on it.
//!
//! ```text
//! row         P    E   Hel   lo    P    E   you   P
//! lexical     P    E    -    lo    P    E    -    P     each token of a word by itself; pads stay
//! position    P    -   Hel   lo    -    E    -    P     every position by itself
//! example     -    -    -    -     -    -    -    -     the whole row, or nothing
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::draws::{Draws, Purpose, hit};
use crate::text::{PlacedWord, Rule, TextRow, TextStream};
use crate::token::ABSENT;
use crate::units::{FrameRate, Seconds};

/// What is done to the text of examples, drawn for each one by itself.
///
/// The draw depends on the seed, the epoch and the example's id alone: it is the same on every machine, in any order and
/// on any number of threads.
///
/// # Examples
/// ```
/// use roundelay::text::{Augment, Rule, ShiftRange, TextDrop, TextStream, Unit, Word, tokenize};
/// let layout = roundelay::Layout::preset("moshi-7b")?;
/// let text = TextStream::of(&layout, "SPEAKER_MAIN")?;
/// let word = Word::new("hello", "1.2".parse()?, "1.5".parse()?, "SPEAKER_MAIN");
/// let words = tokenize(vec![word], |_| Ok(vec![6312, 28709]))?;
///
/// let augment = Augment {
///     drop: Some(TextDrop { probability: 0.3, unit: Unit::Lexical }),
///     shift: Some(ShiftRange { least: "-0.6".parse()?, most: "0.6".parse()? }),
///     seed: 13,
/// };
/// let (row, done) = augment.draw("calls/a.wav@0")?.place(Rule::Moshi, words, &text, 25)?;
/// assert_eq!(done.shift.to_string(), "0.119"); // the text comes 119 ms later: 1.319 s lies in frame 16
/// assert_eq!((row.words[0].frame, done.dropped), (Some(16), 1));
/// assert_eq!(row.tokens[15..19], [0, -1, 28709, 3]);
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// Moshi paper, arXiv 2410.00037: in pre-training 30 % of the text is masked, by a unit that it does not say, and text
/// and audio are shifted against each other by up to 0.6 s, either way; neither is done in later stages.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Text that is left out; none by default.
    pub drop: Option<TextDrop>,
    /// How far the text is moved against the sound; not at all by default.
    pub shift: Option<ShiftRange>,
    /// Of all draws; 0 by default.
    pub seed: u64,
}

/// How much text is left out.
///
/// What is left out becomes absent (-1): no embedding goes in and no loss comes out, so a model neither reads nor
/// learns that nothing was said. A pad in its place would teach it just that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextDrop {
    /// Of each unit, from 0 to 1.
    pub probability: f64,
    /// What is left out or kept as one.
    pub unit: Unit,
}

/// What is left out or kept as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// All text of the example, in every row of text.
    Example,
    /// Each token of a word by itself; pads stay. A word's token whose id is that of a pad counts as a pad.
    Lexical,
    /// Every position by itself, pads as well.
    Position,
}

/// How far text is moved against the sound: uniform over whole milliseconds from `least` on, up to `most`.
///
/// Positive: the text comes later. Negative: it comes earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftRange {
    /// The least shift.
    pub least: Seconds,
    /// The largest shift.
    pub most: Seconds,
}

/// What was drawn for one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Added to the times of words before they are placed; positive: the text comes later.
    pub shift: Seconds,
    drop: Option<TextDrop>,
    draws: Draws,
}

/// What was done to a row of text, to be kept with the example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Augmented {
    /// Of the [`Augment`].
    pub seed: u64,
    /// The epoch that it was drawn for.
    #[serde(default, skip_serializing_if = "is_first")]
    pub epoch: u64,
    /// Seconds by which the text was moved; positive: later.
    pub shift: Seconds,
    /// Positions of the row that held text or pads and are absent now.
    pub dropped: u64,
}

fn is_first(epoch: &u64) -> bool {
    *epoch == 0
}

impl Augment {
    /// Draws for the example of an id: the same for the same id, always.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn draw(&self, example: &str) -> Result<Drawn> {
        self.draw_in(0, example)
    }

    /// Draws for the example of an id in an epoch: the same for the same two, always. Epoch 0 has the draws of
    /// [`draw`](Self::draw).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn draw_in(&self, epoch: u64, example: &str) -> Result<Drawn> {
        self.check()?;
        let draws = Draws::new(self.seed, epoch, example);
        let shift = self.shift.map_or(Ok(Seconds::ZERO), |range| range.draw(draws))?;
        Ok(Drawn { shift, drop: self.drop, draws })
    }

    /// Checks the choices.
    ///
    /// # Errors
    /// `Invalid` if a probability is not from 0 to 1, or a range has its least above its most.
    pub fn check(&self) -> Result<()> {
        if let Some(TextDrop { probability, .. }) = self.drop
            && !(0.0..=1.0).contains(&probability)
        {
            return Err(Error::invalid("probability of dropping text", probability, "a number from 0 to 1"));
        }
        match self.shift {
            Some(ShiftRange { least, most }) if least > most => {
                Err(Error::invalid("least shift of the text", least, format!("at most the largest shift, {most}")))
            }
            _ => Ok(()),
        }
    }
}

impl ShiftRange {
    fn draw(self, draws: Draws) -> Result<Seconds> {
        let milliseconds = FrameRate::new(1000, 1)?;
        let choices = milliseconds.floor(self.most - self.least) as u128 + 1;
        let choice = draws.choice(Purpose::Shift, choices);
        Ok(self.least + milliseconds.start_of(choice as usize))
    }
}

impl Drawn {
    /// The same stream of text, moved.
    pub fn lag<'a>(&self, text: &TextStream<'a>) -> TextStream<'a> {
        TextStream { lag: text.lag + self.shift, ..*text }
    }

    /// Leaves out text of a row that has been placed. Every stream of text has draws of its own, except that an
    /// example is left out whole. What is no text (absent, ungenerated, initial) stays as it is.
    ///
    /// # Shapes
    /// `row` is `[time]`, undelayed.
    pub fn apply(&self, row: &mut [i32], text: &TextStream) -> Augmented {
        let Draws { seed, epoch, .. } = self.draws;
        let mut done = Augmented { seed, epoch, shift: self.shift, dropped: 0 };
        let Some(TextDrop { probability, unit }) = self.drop else { return done };
        let whole = hit(&mut self.draws.numbers(Purpose::Example), probability);
        let mut numbers = self.draws.numbers(Purpose::Row(&text.stream.name));
        for id in row {
            // A number for each position, whatever it holds: a word does not change what becomes of the others.
            let by_itself = hit(&mut numbers, probability);
            let dropped = match unit {
                Unit::Example => whole,
                Unit::Lexical => by_itself && !text.is_pad(*id),
                Unit::Position => by_itself,
            };
            if dropped && text.is_data(*id) {
                *id = ABSENT as i32;
                done.dropped += 1;
            }
        }
        done
    }

    /// Places words as the rule does, moved, and leaves out what was drawn.
    ///
    /// # Errors
    /// As [`Rule::place`].
    pub fn place(
        &self,
        rule: Rule,
        words: Vec<PlacedWord>,
        text: &TextStream,
        frames: usize,
    ) -> Result<(TextRow, Augmented)> {
        let mut row = rule.place(words, &self.lag(text), frames)?;
        let done = self.apply(&mut row.tokens, text);
        Ok((row, done))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::{Kind, Layout, Stream};
    use crate::text::Word;
    use crate::text::draws::hash;

    fn seconds(text: &str) -> Seconds {
        text.parse().unwrap()
    }

    fn dropping(probability: f64, unit: Unit, seed: u64) -> Augment {
        Augment { drop: Some(TextDrop { probability, unit }), shift: None, seed }
    }

    fn stream(name: &str) -> Stream {
        let stream = Layout::preset("delay-1").unwrap().streams()[0].clone();
        assert_eq!((stream.kind, stream.pad, stream.end_pad, stream.cardinality), (Kind::Text, 3, Some(0), 32_000));
        Stream { name: name.into(), ..stream }
    }

    fn text(stream: &Stream) -> TextStream<'_> {
        TextStream { stream, frame_rate: FrameRate::new(25, 2).unwrap(), speaker: "A", lag: Seconds::ZERO }
    }

    /// Half of it words' tokens; a quarter pads, a quarter ends of pads.
    fn long_row() -> Vec<i32> {
        (0..100_000).map(|t| [3, 0, 500, 31_999][t % 4]).collect()
    }

    fn applied(augment: Augment, example: &str, mut row: Vec<i32>) -> (Vec<i32>, Augmented) {
        let stream = stream("text");
        let done = augment.draw(example).unwrap().apply(&mut row, &text(&stream));
        (row, done)
    }

    // Computed with a ChaCha8 written for it, from the same keys.
    #[test]
    fn draws_are_these_on_every_machine() {
        let range = ShiftRange { least: seconds("-0.6"), most: seconds("0.6") };
        let shifts = |seed| {
            let augment = Augment { shift: Some(range), seed, ..Augment::default() };
            ["a.wav", "a.wav@125", ""].map(|id| augment.draw(id).unwrap().shift.to_string())
        };
        assert_eq!((hash(""), hash("a")), (0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c));
        assert_eq!(shifts(0), ["-0.245", "0.508", "-0.512"]);
        assert_eq!(shifts(1), ["-0.043", "0.146", "-0.053"]);
        let (row, _) = applied(dropping(0.5, Unit::Position, 7), "a.wav", vec![3; 16]);
        assert_eq!(row, [-1, -1, 3, -1, 3, 3, 3, 3, -1, 3, -1, -1, 3, -1, -1, 3]);
    }

    #[test]
    fn shares_are_those_asked_for() {
        for probability in [0.01, 0.3, 0.9] {
            let near = |found: u64, of: f64| {
                let deviation = (of * probability * (1.0 - probability)).sqrt();
                assert!((found as f64 - of * probability).abs() < 5.0 * deviation, "{found} of {of}: {probability}");
            };
            near(applied(dropping(probability, Unit::Position, 3), "a", long_row()).1.dropped, 100_000.0);
            near(applied(dropping(probability, Unit::Lexical, 4), "a", long_row()).1.dropped, 50_000.0);
            let augment = dropping(probability, Unit::Example, 5);
            let rows = (0..20_000).map(|n| applied(augment, &format!("calls/{n}.wav"), vec![9]).1.dropped);
            near(rows.sum(), 20_000.0);
        }
    }

    #[test]
    fn never_and_always_are_exact() {
        for (unit, all) in [(Unit::Example, 100_000), (Unit::Lexical, 50_000), (Unit::Position, 100_000)] {
            assert_eq!(applied(dropping(0.0, unit, 1), "a", long_row()).0, long_row());
            let (row, done) = applied(dropping(1.0, unit, 1), "a", long_row());
            assert_eq!((done.dropped, row.iter().filter(|&&id| id == -1).count()), (all, all as usize));
        }
    }

    #[test]
    fn what_is_no_text_stays() {
        let row = vec![-1, -2, 32_000, 9];
        for unit in [Unit::Example, Unit::Lexical, Unit::Position] {
            let (row, done) = applied(dropping(1.0, unit, 1), "a", row.clone());
            assert_eq!((row, done.dropped), (vec![-1, -2, 32_000, -1], 1));
        }
    }

    #[test]
    fn two_rows_of_text_have_draws_of_their_own_but_an_example_has_one() {
        let streams = [stream("text"), stream("text.other")];
        let rows = |augment: Augment, id: &str| {
            let drawn = augment.draw(id).unwrap();
            streams.each_ref().map(|stream| {
                let mut row = vec![9; 64];
                drawn.apply(&mut row, &text(stream));
                row
            })
        };
        let [a, b] = rows(dropping(0.5, Unit::Position, 1), "a");
        assert_ne!(a, b);
        for id in ["a", "b", "c", "d"] {
            let [a, b] = rows(dropping(0.5, Unit::Example, 1), id);
            assert_eq!(a, b);
        }
    }

    #[test]
    fn shifts_are_uniform_over_milliseconds_and_reach_both_ends() {
        let range = ShiftRange { least: seconds("-0.0025"), most: seconds("0.0012") };
        let augment = Augment { shift: Some(range), ..Augment::default() };
        let mut counts = std::collections::BTreeMap::new();
        for n in 0..8000 {
            *counts.entry(augment.draw(&n.to_string()).unwrap().shift).or_insert(0u32) += 1;
        }
        let found: Vec<String> = counts.keys().map(|shift| shift.to_string()).collect();
        assert_eq!(found, ["-0.0025", "-0.0015", "-0.0005", "0.0005"]);
        assert!(counts.values().all(|&count| (1800..2200).contains(&count)), "{counts:?}");
        let fixed = ShiftRange { least: seconds("0.16"), most: seconds("0.16") };
        assert_eq!(Augment { shift: Some(fixed), ..augment }.draw("a").unwrap().shift, seconds("0.16"));
    }

    #[test]
    fn a_positive_shift_brings_the_text_later() {
        let stream = stream("text");
        let words = vec![PlacedWord::new(Word::new("hi", seconds("0.4"), seconds("0.6"), "A"), vec![9])];
        for (shift, frame) in [("0.16", 7), ("-0.16", 3), ("0.079", 5), ("-0.001", 4)] {
            let range = ShiftRange { least: seconds(shift), most: seconds(shift) };
            let drawn = Augment { shift: Some(range), ..Augment::default() }.draw("a").unwrap();
            let (row, done) = drawn.place(Rule::Moshi, words.clone(), &text(&stream), 10).unwrap();
            assert_eq!((row.tokens[frame], row.words[0].frame), (9, Some(frame)), "{shift}");
            assert_eq!((done.shift, done.dropped), (seconds(shift), 0));
            assert_eq!(row.words[0].word, words[0].word, "the word's own times stay");
        }
    }

    #[test]
    fn wrong_options_are_named() {
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = dropping(wrong, Unit::Example, 0).draw("a").unwrap_err().to_string();
            assert_eq!(error, format!("probability of dropping text is {wrong}, expected a number from 0 to 1"));
        }
        let range = ShiftRange { least: seconds("0.6"), most: seconds("-0.6") };
        let error = Augment { shift: Some(range), ..Augment::default() }.draw("a").unwrap_err().to_string();
        assert_eq!(error, "least shift of the text is 0.6, expected at most the largest shift, -0.6");
    }

    #[test]
    fn options_and_record_are_json() {
        let json = r#"{"drop":{"probability":0.3,"unit":"lexical"},"shift":{"least":-0.6,"most":0.6},"seed":9}"#;
        let augment: Augment = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&augment).unwrap(), json);
        assert_eq!(serde_json::from_str::<Augment>("{}").unwrap(), Augment::default());
        assert!(serde_json::from_str::<Augment>(r#"{"dorp": null}"#).is_err());
        let done = Augmented { seed: 9, epoch: 0, shift: seconds("-0.25"), dropped: 3 };
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"seed":9,"shift":-0.25,"dropped":3}"#);
        let later = serde_json::to_string(&Augmented { epoch: 2, ..done }).unwrap();
        assert_eq!(later, r#"{"seed":9,"epoch":2,"shift":-0.25,"dropped":3}"#);
    }

    #[test]
    fn epochs_have_draws_of_their_own_and_the_first_is_the_plain_one() {
        let augment = dropping(0.5, Unit::Position, 7);
        let row = |epoch| {
            let (stream, mut row) = (stream("text"), vec![3; 64]);
            let done = augment.draw_in(epoch, "a.wav").unwrap().apply(&mut row, &text(&stream));
            assert_eq!((done.seed, done.epoch), (7, epoch));
            row
        };
        assert_eq!(row(0), applied(augment, "a.wav", vec![3; 64]).0);
        let rows: std::collections::BTreeSet<_> = (0..20).map(row).collect();
        assert_eq!((rows.len(), row(u64::MAX)), (20, row(u64::MAX)));
    }

    fn rows() -> impl Strategy<Value = Vec<i32>> {
        prop::collection::vec(prop_oneof![Just(3), Just(0), Just(-1), Just(-2), 4..32_001i32], 0..80)
    }

    proptest! {
        #[test]
        fn an_example_has_the_same_draw_in_any_order(
            mut ids in prop::collection::vec("[a-z/@0-9]{0,12}", 1..12),
            seed: u64,
            row in rows(),
        ) {
            let augment = Augment {
                drop: Some(TextDrop { probability: 0.5, unit: Unit::Position }),
                shift: Some(ShiftRange { least: seconds("-0.6"), most: seconds("0.6") }),
                seed,
            };
            let draw = |id: &String| (id.clone(), applied(augment, id, row.clone()));
            let mut forwards: Vec<_> = ids.iter().map(draw).collect();
            ids.reverse();
            forwards.reverse();
            prop_assert_eq!(forwards, ids.iter().map(draw).collect::<Vec<_>>());
        }

        #[test]
        fn units_drop_what_they_say_and_count_it(row in rows(), seed: u64, probability in 0.0..=1.0) {
            let [example, lexical, position] = [Unit::Example, Unit::Lexical, Unit::Position]
                .map(|unit| applied(dropping(probability, unit, seed), "a", row.clone()));
            for (t, &id) in row.iter().enumerate() {
                let is_text = (0..32_000).contains(&id);
                prop_assert!([id, -1].contains(&position.0[t]) && (is_text || position.0[t] == id));
                // The same numbers decide: a word's token is dropped under both or neither.
                prop_assert_eq!(lexical.0[t], if [0, 3].contains(&id) { id } else { position.0[t] });
                prop_assert_eq!(example.0[t], if is_text && example.1.dropped > 0 { -1 } else { id });
            }
            for (after, done) in [example, lexical, position] {
                prop_assert_eq!(done.dropped, after.iter().zip(&row).filter(|(a, b)| a != b).count() as u64);
                prop_assert_eq!((done.seed, done.shift), (seed, Seconds::ZERO));
            }
        }

        #[test]
        fn doing_it_twice_is_doing_it_once(row in rows(), seed: u64, probability in 0.0..=1.0) {
            for unit in [Unit::Example, Unit::Lexical, Unit::Position] {
                let augment = dropping(probability, unit, seed);
                let once = applied(augment, "a", row.clone()).0;
                let (twice, done) = applied(augment, "a", once.clone());
                prop_assert_eq!((twice, done.dropped), (once, 0));
            }
        }

        #[test]
        fn shifts_lie_in_their_range(least in -100_000..100_000i64, length in 0..100_000i64, seed: u64) {
            let [least, most] = [least, least + length].map(|value| seconds(&format!("{value}e-5")));
            let augment = Augment { shift: Some(ShiftRange { least, most }), seed, ..Augment::default() };
            let shift = augment.draw("a").unwrap().shift;
            prop_assert!(least <= shift && shift <= most);
            let steps = FrameRate::new(1000, 1).unwrap();
            prop_assert_eq!(steps.floor(shift - least), steps.ceil(shift - least), "whole milliseconds");
        }
    }
}
