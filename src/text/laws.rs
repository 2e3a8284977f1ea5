//! Laws of the peers' rules: the row equals that of a slow twin, and row and events account for every token.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use crate::stream::Layout;
use crate::tally::EventKind;
use crate::text::{JmoshiRule, KyutaiRule, PlacedWord, Rule, TextRow, TextStream, TurnMarkers, Word};
use crate::units::Seconds;

const PAD: i32 = 3;
const END: i32 = 0;
const RATE: f64 = 12.5;

/// A cell: its id, and whose token it is. Markers belong to their word, and are no tokens of its own.
type Cell = (i32, Option<(usize, bool)>);

fn text(layout: &Layout, lag: i64) -> TextStream<'_> {
    TextStream { lag: hundredths(lag), ..TextStream::of(layout, "A").unwrap() }
}

fn hundredths(value: i64) -> Seconds {
    format!("{value}e-2").parse().unwrap()
}

/// Words anywhere in ten seconds, in order of start, some with tokens that look like pads; named by their index.
fn words() -> impl Strategy<Value = Vec<PlacedWord>> {
    let token = prop_oneof![8 => 100..32_000i32, 1 => Just(PAD), 1 => Just(END), 1 => Just(7)];
    let one = (-60..1000i64, -3..60i64, prop::bool::weighted(0.7), prop::collection::vec(token, 0..6));
    prop::collection::vec(one, 0..40).prop_map(|mut words| {
        words.sort_by_key(|(start, ..)| *start);
        let word = |(index, (start, length, main, tokens)): (usize, (i64, i64, bool, Vec<i32>))| {
            let (start, end) = (hundredths(start), hundredths(start + length));
            PlacedWord::new(Word::new(index.to_string(), start, end, if main { "A" } else { "B" }), tokens)
        };
        words.into_iter().enumerate().map(word).collect()
    })
}

/// What happened to each word, by its name.
fn amounts(row: &TextRow, kinds: &[EventKind]) -> BTreeMap<usize, u64> {
    let mut amounts = BTreeMap::new();
    for event in row.events().iter().filter(|event| kinds.contains(&event.event)) {
        *amounts.entry(event.word.as_ref().unwrap().parse().unwrap()).or_default() += event.amount;
    }
    amounts
}

/// Checks tokens, frames and accounts of a row against the twin's cells; `given` is how many ids each word brought.
fn agree(row: &TextRow, cells: &[Cell], given: &[usize], pads: &[i32]) -> Result<(), TestCaseError> {
    prop_assert_eq!(&row.tokens, &cells.iter().map(|cell| cell.0).collect::<Vec<_>>());
    let lost = [EventKind::Replaced, EventKind::Overwritten, EventKind::Dropped, EventKind::Cut];
    let lost = amounts(row, &lost);
    for (index, word) in row.words.iter().enumerate() {
        let held = cells.iter().filter(|(_, owner)| owner.is_some_and(|(owner, _)| owner == index)).count();
        prop_assert_eq!(held + lost.get(&index).map_or(0, |&n| n as usize), given[index], "word {}", index);
        prop_assert_eq!(word.frame, cells.iter().position(|(_, owner)| *owner == Some((index, true))));
    }
    let collisions = cells.iter().filter(|(id, owner)| owner.is_some() && pads.contains(id)).count();
    prop_assert_eq!(row.collisions, collisions);
    Ok(())
}

/// Kyutai's rule frame by frame, with a queue, as its description has it.
fn kyutai_slowly(rule: KyutaiRule, words: &[PlacedWord], lag: i64, places: usize) -> (Vec<Cell>, Vec<usize>) {
    let in_word = rule.in_word_padding.unwrap_or(PAD);
    let mut given = vec![0; words.len()];
    let mut kept = VecDeque::new();
    let mut before = None;
    for (index, PlacedWord { word, tokens, .. }) in words.iter().enumerate() {
        if rule.keep_main_only && word.speaker != "A" {
            continue;
        }
        let mut ids: Vec<Cell> = tokens.iter().map(|&id| (id, Some((index, true)))).collect();
        if let Some(TurnMarkers { bos, eos }) = rule.turn_markers.filter(|_| !rule.keep_main_only) {
            let speaker = Some(word.speaker.as_str());
            if speaker != before && speaker == Some("A") {
                ids.insert(0, (bos, Some((index, false))));
            } else if speaker != before && before == Some("A") {
                ids.insert(0, (eos, Some((index, false))));
            }
            before = speaker;
        }
        given[index] = ids.len();
        let [mut start, mut end] = [word.start, word.end].map(|time| (time + hundredths(lag)).to_f64());
        if end <= start || (rule.audio_delay != 0.0 && end <= rule.audio_delay) {
            continue;
        }
        if rule.audio_delay != 0.0 {
            (start, end) = (start - rule.audio_delay, end - rule.audio_delay);
        }
        kept.push_back((ids, start, end));
    }
    let mut row: Vec<Cell> = vec![(PAD, None); places];
    let (mut queue, mut last) = (VecDeque::new(), -1);
    for t in 0..places {
        while kept.front().is_some_and(|(_, start, _)| start * RATE < t as f64 + 1.0) {
            let (ids, _, end) = kept.pop_front().unwrap();
            if !rule.keep_and_shift {
                queue.clear();
            }
            queue.extend(ids);
            last = (end * RATE) as i64;
        }
        if let Some(cell) = queue.pop_front() {
            // An id that is overwritten by itself is still there.
            if t > 0 && [PAD, in_word].contains(&row[t - 1].0) && row[t - 1].0 != END {
                row[t - 1] = (END, None);
            }
            row[t] = cell;
        } else if t as i64 <= last {
            row[t].0 = in_word;
        }
    }
    let prefix = if rule.audio_delay < 0.0 { (RATE * -rule.audio_delay) as usize } else { 0 };
    row.resize(places.max(prefix), (-1, None));
    row[..prefix].fill((-1, None));
    (row, given)
}

/// J-Moshi's rule on a row as long as it takes.
fn jmoshi_slowly(words: &[PlacedWord], lag: i64, frames: usize) -> Vec<Cell> {
    let times = |word: &Word| [word.start, word.end].map(|time| (time + hundredths(lag)).to_f64());
    let own = |word: &&PlacedWord| word.word.speaker == "A";
    let end = words.iter().rfind(own).map_or(-1.0, |word| times(&word.word)[1]);
    let mut row: Vec<Cell> = vec![(PAD, None); ((end + 1.0) * RATE) as usize];
    'row: for (index, PlacedWord { word, tokens, .. }) in words.iter().enumerate().filter(|(_, word)| own(word)) {
        let [start, end] = times(word);
        for (i, &id) in tokens.iter().enumerate() {
            let start = start + i as f64 * ((end - start) / tokens.len() as f64);
            let mut frame = (start.max(0.0) * RATE).ceil();
            // Its beginning without rounding, which is what Python's division looks at.
            while frame.mul_add(1.0 / RATE, -start.max(0.0)) > 0.0 {
                frame -= 1.0;
            }
            let mut frame = frame as usize;
            while row.get(frame).is_some_and(|cell| cell.0 != PAD) {
                frame += 1;
            }
            if frame >= row.len() {
                break 'row;
            }
            row[frame] = (id, Some((index, true)));
            if frame > 0 && row[frame - 1].0 == PAD {
                row[frame - 1] = (END, None);
            }
        }
    }
    row.resize(frames, (PAD, None));
    row
}

fn kyutai_rules() -> impl Strategy<Value = KyutaiRule> {
    let padding = prop::option::of(prop_oneof![Just(7), Just(PAD), Just(END), Just(31_999)]);
    let delay = prop_oneof![3 => Just(0.0), 1 => -4.0..4.0f64, 1 => Just(0.08), 1 => Just(-1.28)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.3));
    (padding, delay, flags).prop_map(|(in_word_padding, audio_delay, (main, markers, shift, frames_as_seconds))| {
        KyutaiRule {
            in_word_padding,
            keep_main_only: main,
            turn_markers: markers.then_some(TurnMarkers { bos: 1, eos: 2 }),
            keep_and_shift: shift,
            audio_delay,
            frames_as_seconds,
        }
    })
}

proptest! {
    #[test]
    fn the_kyutai_rule_accounts_for_every_token(
        rule in kyutai_rules(), words in words(), lag in -300..300i64, heard in 0usize..150, more in 0usize..60,
    ) {
        let layout = Layout::preset("delay-1").unwrap();
        let pads = [PAD, END, rule.in_word_padding.unwrap_or(PAD)];
        let places = if rule.frames_as_seconds { KyutaiRule::frames(heard as f64, layout.frame_rate()) } else { heard };
        let (mut cells, given) = kyutai_slowly(rule, &words, lag, places);
        let row = Rule::Kyutai(rule).place_in_window(words.clone(), &text(&layout, lag), heard, heard + more).unwrap();
        let mut window = cells.clone();
        window.resize(heard + more, (-1, None));
        agree(&row, &window, &given, &pads)?;
        if rule.frames_as_seconds {
            cells.resize(heard, (-1, None));
        }
        let row = Rule::Kyutai(rule).place(words, &text(&layout, lag), heard).unwrap();
        agree(&row, &cells, &given, &pads)?;
        prop_assert_eq!(&Rule::Kyutai(rule).place(row.words.clone(), &text(&layout, lag), heard).unwrap(), &row);
    }

    #[test]
    fn the_jmoshi_rule_accounts_for_every_token(words in words(), lag in -300..300i64, frames in 0usize..200) {
        let layout = Layout::preset("j-moshi").unwrap();
        let cells = jmoshi_slowly(&words, lag, frames);
        let given: Vec<_> = words.iter().map(|w| if w.word.speaker == "A" { w.tokens.len() } else { 0 }).collect();
        let rule = Rule::Jmoshi(JmoshiRule::default());
        let row = rule.place(words, &text(&layout, lag), frames).unwrap();
        agree(&row, &cells, &given, &[PAD, END])?;
        let unknown: u64 = amounts(&row, &[EventKind::Unknown]).values().sum();
        let is_main = |word: &&PlacedWord| word.word.speaker == "A";
        let zeros = row.words.iter().filter(is_main).flat_map(|w| &w.tokens).filter(|&&id| id == 0).count();
        prop_assert_eq!(unknown, zeros as u64);
        prop_assert_eq!(&rule.place(row.words.clone(), &text(&layout, lag), frames).unwrap(), &row);
    }

    #[test]
    fn rules_are_data(rule in kyutai_rules(), whitespace_before_word in any::<bool>()) {
        for rule in [Rule::Moshi, Rule::Kyutai(rule), Rule::Jmoshi(JmoshiRule { whitespace_before_word })] {
            let json = serde_json::to_string(&rule).unwrap();
            let start = format!("{{\"rule\":\"{}\"", rule.name());
            prop_assert!(json.starts_with(&start), "{}", json);
            prop_assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
        }
    }
}

#[test]
fn options_may_be_left_out_but_not_misspelt() {
    let read = serde_json::from_str::<Rule>;
    assert_eq!(read(r#"{"rule": "kyutai"}"#).unwrap(), Rule::Kyutai(KyutaiRule::default()));
    assert_eq!(read(r#"{"rule": "jmoshi"}"#).unwrap(), Rule::Jmoshi(JmoshiRule { whitespace_before_word: true }));
    assert!(read(r#"{"rule": "kyutai", "keep_main": true}"#).is_err());
}
