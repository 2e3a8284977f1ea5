//! Who speaks when in one segment, from the spans of its words.
//!
//! ```text
//! A words    ▬▬ ▬▬▬            ▬▬▬▬▬             ▬▬▬
//! A units    ══════            ═════             ═══     silence of up to 0.2 s inside
//! B units             ════        ══════
//!                  gap    gap     └┘ overlap  gap
//! A turns    ──────            ─────             ───     B spoke between
//!
//! A units    ══════     ═════
//!                  pause
//! A turns    ────────────────                            nobody spoke between
//! ```

use std::collections::BTreeMap;

use crate::text::PlacedWord;
use crate::units::Seconds;

/// A stretch of time that is not empty; the end lies outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: Seconds,
    pub end: Seconds,
}

impl Span {
    pub fn length(self) -> Seconds {
        self.end - self.start
    }
}

/// What one speaker does, or all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Talk {
    /// The union of words.
    pub speech: Vec<Span>,
    pub units: Vec<Span>,
    pub turns: Vec<Span>,
    /// Silences before the speaker goes on.
    pub pauses: Vec<Span>,
    /// Silences after somebody else, before the speaker begins.
    pub gaps: Vec<Span>,
    /// Time in which somebody else speaks as well.
    pub overlaps: Vec<Span>,
}

/// The talk of each speaker and of all. What lies outside of `0..duration` is left out: there is no sound for it.
pub(super) fn talk(words: &[PlacedWord], duration: Seconds, silence: Seconds) -> (BTreeMap<&str, Talk>, Talk) {
    let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for PlacedWord { word, .. } in words {
        let span = Span { start: word.start.max(Seconds::ZERO), end: word.end.min(duration) };
        spans.entry(&word.speaker).or_default().extend((span.start < span.end).then_some(span));
    }
    let mut all = Talk { speech: union(spans.values().flatten().copied().collect()), ..Talk::default() };
    let (names, mut talks): (Vec<&str>, Vec<Talk>) = spans
        .into_iter()
        .map(|(name, spans)| {
            let speech = union(spans);
            let units = join(&speech, |before, after| after.start - before.end <= silence);
            (name, Talk { speech, units, ..Talk::default() })
        })
        .unzip();
    sort_stretches(&stretches(&talks), &mut talks, &mut all);
    for talk in &mut talks {
        talk.finish();
        all.units.extend(&talk.units);
        all.turns.extend(&talk.turns);
    }
    all.overlaps = join(&all.overlaps, touches);
    (names.into_iter().zip(talks).collect(), all)
}

impl Talk {
    fn finish(&mut self) {
        self.overlaps = join(&self.overlaps, touches);
        let pauses = &self.pauses;
        self.turns =
            join(&self.units, |before, _| pauses.binary_search_by_key(&before.end, |pause| pause.start).is_ok());
    }
}

/// Spans in any order, as spans that do not touch.
fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    join(&spans, touches)
}

fn touches(before: Span, after: Span) -> bool {
    after.start <= before.end
}

/// Makes one of neighbours that belong together; in order of start.
fn join(spans: &[Span], together: impl Fn(Span, Span) -> bool) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for &span in spans {
        match joined.last_mut() {
            Some(last) if together(*last, span) => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

/// A stretch in which the same ones speak.
struct Stretch {
    span: Span,
    speakers: Vec<usize>,
}

/// Time from the first unit to the last, cut wherever a unit begins or ends.
fn stretches(talks: &[Talk]) -> Vec<Stretch> {
    let mut borders: Vec<Seconds> =
        talks.iter().flat_map(|talk| &talk.units).flat_map(|unit| [unit.start, unit.end]).collect();
    borders.sort();
    borders.dedup();
    let mut units: Vec<_> = talks.iter().map(|talk| talk.units.iter().peekable()).collect();
    let mut stretch = |border: &[Seconds]| {
        let span = Span { start: border[0], end: border[1] };
        let speaks = |units: &mut std::iter::Peekable<std::slice::Iter<Span>>| {
            while units.next_if(|unit| unit.end <= span.start).is_some() {}
            units.peek().is_some_and(|unit| unit.start <= span.start)
        };
        let speakers = (0..).zip(&mut units).filter_map(|(n, units)| speaks(units).then_some(n)).collect();
        Stretch { span, speakers }
    };
    borders.windows(2).map(&mut stretch).collect()
}

/// Gives each silence and each overlap to those concerned.
fn sort_stretches(stretches: &[Stretch], talks: &mut [Talk], all: &mut Talk) {
    for (n, Stretch { span, speakers }) in stretches.iter().enumerate() {
        match speakers.len() {
            // Nobody spoke up in a silence, so it lies between two stretches with speakers.
            0 => sort_silence(*span, &stretches[n - 1].speakers, &stretches[n + 1].speakers, talks, all),
            1 => {}
            _ => {
                all.overlaps.push(*span);
                speakers.iter().for_each(|&speaker| talks[speaker].overlaps.push(*span));
            }
        }
    }
}

/// A pause if one of those who spoke goes on, else a gap before those who begin.
fn sort_silence(span: Span, before: &[usize], after: &[usize], talks: &mut [Talk], all: &mut Talk) {
    let mut on = after.iter().filter(|speaker| before.contains(speaker)).peekable();
    if on.peek().is_some() {
        all.pauses.push(span);
        on.for_each(|&speaker| talks[speaker].pauses.push(span));
    } else {
        all.gaps.push(span);
        after.iter().for_each(|&speaker| talks[speaker].gaps.push(span));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Word;

    /// A word from and to so many hundredths of a second.
    fn said(start: i64, end: i64, speaker: &str) -> PlacedWord {
        let [start, end] = [start, end].map(|time| format!("{time}e-2").parse().unwrap());
        PlacedWord::new(Word::new("w", start, end, speaker), vec![])
    }

    fn hundredths(time: Seconds) -> i64 {
        crate::FrameRate::new(100, 1).unwrap().floor(time)
    }

    type Times = Vec<(i64, i64)>;

    fn times(spans: &[Span]) -> Times {
        spans.iter().map(|span| (hundredths(span.start), hundredths(span.end))).collect()
    }

    /// Speech, units, turns, pauses, gaps, overlaps.
    fn lists(talk: &Talk) -> [Times; 6] {
        [&talk.speech, &talk.units, &talk.turns, &talk.pauses, &talk.gaps, &talk.overlaps].map(|spans| times(spans))
    }

    fn found(words: &[PlacedWord], duration: i64) -> (BTreeMap<&str, [Times; 6]>, [Times; 6]) {
        let [duration, silence] = [duration, 20].map(|time| format!("{time}e-2").parse().unwrap());
        let (talks, all) = talk(words, duration, silence);
        (talks.iter().map(|(&name, talk)| (name, lists(talk))).collect(), lists(&all))
    }

    #[test]
    fn the_upper_picture_holds() {
        let words = [
            said(10, 30, "A"),
            said(45, 60, "A"), // after 0.15 s: the same unit
            said(100, 150, "B"),
            said(200, 260, "A"),
            said(230, 300, "B"),
            said(320, 350, "A"), // B ended last, so the silence of 0.2 s is a gap
        ];
        let (talks, all) = found(&words, 400);
        let a = [
            vec![(10, 30), (45, 60), (200, 260), (320, 350)],
            vec![(10, 60), (200, 260), (320, 350)],
            vec![(10, 60), (200, 260), (320, 350)],
            vec![],
            vec![(150, 200), (300, 320)],
            vec![(230, 260)],
        ];
        let b = [
            vec![(100, 150), (230, 300)],
            vec![(100, 150), (230, 300)],
            vec![(100, 150), (230, 300)],
            vec![],
            vec![(60, 100)],
            vec![(230, 260)],
        ];
        assert_eq!((&talks["A"], &talks["B"]), (&a, &b));
        assert_eq!(all[0], [(10, 30), (45, 60), (100, 150), (200, 300), (320, 350)]);
        assert_eq!([&all[3], &all[4], &all[5]], [&vec![], &vec![(60, 100), (150, 200), (300, 320)], &vec![(230, 260)]]);
    }

    #[test]
    fn the_lower_picture_holds() {
        let words = [said(0, 50, "A"), said(71, 100, "A"), said(120, 130, "A")];
        let (talks, all) = found(&words, 130);
        let units = vec![(0, 50), (71, 130)];
        assert_eq!(talks["A"][1..4], [units.clone(), vec![(0, 130)], vec![(50, 71)]]);
        assert_eq!(all[1..], [units, vec![(0, 130)], vec![(50, 71)], vec![], vec![]]);
    }

    #[test]
    fn a_word_within_the_others_speech_is_a_turn_of_its_own_and_ends_none() {
        let words = [said(0, 100, "A"), said(40, 60, "B"), said(130, 200, "A")];
        let (talks, all) = found(&words, 200);
        assert_eq!((&talks["A"][2], &talks["B"][2]), (&vec![(0, 200)], &vec![(40, 60)]));
        assert_eq!((&all[3], &all[4], &all[5]), (&vec![(100, 130)], &vec![], &vec![(40, 60)]));
    }

    #[test]
    fn a_word_in_a_pause_ends_the_turn() {
        let words = [said(0, 100, "A"), said(110, 120, "B"), said(130, 200, "A")];
        let (talks, all) = found(&words, 200);
        // 0.3 s of A's own silence is more than 0.2 s.
        assert_eq!(
            (&talks["A"][2], &all[3], &all[4]),
            (&vec![(0, 100), (130, 200)], &vec![], &vec![(100, 110), (120, 130)])
        );
    }

    #[test]
    fn who_ends_and_begins_with_others_goes_on() {
        let words = [said(0, 100, "A"), said(50, 100, "B"), said(150, 200, "A"), said(150, 170, "C")];
        let (talks, all) = found(&words, 200);
        assert_eq!((&talks["A"][2], &talks["A"][3]), (&vec![(0, 200)], &vec![(100, 150)]));
        assert_eq!((&talks["C"][3], &talks["C"][4]), (&vec![], &vec![]));
        assert_eq!((&all[3], &all[4]), (&vec![(100, 150)], &vec![]));
    }

    #[test]
    fn what_has_no_sound_is_left_out() {
        let words = [said(-50, 30, "A"), said(90, 150, "A"), said(100, 120, "B"), said(60, 60, "B"), said(80, 70, "C")];
        let (talks, all) = found(&words, 100);
        assert_eq!(talks["A"][0], [(0, 30), (90, 100)]);
        assert_eq!((&talks["B"], &talks["C"]), (&Default::default(), &Default::default()));
        assert_eq!((&all[0], &all[3]), (&vec![(0, 30), (90, 100)], &vec![(30, 90)]));
        assert_eq!(found(&[], 100), Default::default());
    }

    /// Cells of a hundredth of a second.
    type Raster = Vec<bool>;

    fn runs(raster: &[bool]) -> Times {
        let at = |t: i64| t >= 0 && raster.get(t as usize) == Some(&true);
        let starts = (0..raster.len() as i64).filter(|&t| at(t) && !at(t - 1));
        starts.map(|start| (start, (start..).find(|&t| !at(t)).unwrap())).collect()
    }

    /// Cells where the condition holds, as runs.
    fn runs_where(cells: usize, holds: impl Fn(usize) -> bool) -> Times {
        runs(&(0..cells).map(holds).collect::<Vec<_>>())
    }

    /// The definitions, cell by cell: a cell is in a pause if all is silent and the nearest sound on both sides has the
    /// speaker in it.
    fn slowly(words: &[PlacedWord], cells: usize) -> (BTreeMap<&str, [Times; 6]>, [Times; 6]) {
        let names: std::collections::BTreeSet<&str> = words.iter().map(|word| &*word.word.speaker).collect();
        let says = |word: &PlacedWord, t: usize| {
            hundredths(word.word.start) <= t as i64 && (t as i64) < hundredths(word.word.end)
        };
        let speech = |name: &str| -> Raster {
            (0..cells).map(|t| words.iter().any(|word| word.word.speaker == name && says(word, t))).collect()
        };
        let units = |name: &str| -> Raster {
            let speech = speech(name);
            let mut units = speech.clone();
            let silences = runs(&speech.iter().map(|speaks| !speaks).collect::<Vec<_>>());
            for (start, end) in silences.into_iter().filter(|&(a, b)| a > 0 && b < cells as i64 && b - a <= 20) {
                units[start as usize..end as usize].fill(true);
            }
            units
        };
        let units: BTreeMap<&str, Raster> = names.iter().map(|&name| (name, units(name))).collect();
        let speakers = |t: usize| names.iter().copied().filter(|&name| units[name][t]).collect::<Vec<_>>();
        let before = |t: usize| (0..t).rev().map(speakers).find(|who| !who.is_empty()).unwrap_or_default();
        let after = |t: usize| (t..cells).map(speakers).find(|who| !who.is_empty()).unwrap_or_default();
        let silent = |t: usize| speakers(t).is_empty() && !before(t).is_empty() && !after(t).is_empty();
        let on = |t: usize| before(t).iter().any(|name| after(t).contains(name));
        let of = |name: &str| {
            let pause = |t: usize| silent(t) && before(t).contains(&name) && after(t).contains(&name);
            [
                runs(&speech(name)),
                runs(&units[name]),
                runs_where(cells, |t| units[name][t] || pause(t)),
                runs_where(cells, pause),
                runs_where(cells, |t| silent(t) && !on(t) && after(t).contains(&name)),
                runs_where(cells, |t| speakers(t).len() > 1 && units[name][t]),
            ]
        };
        let each: BTreeMap<&str, [Times; 6]> = names.iter().map(|&name| (name, of(name))).collect();
        let all = [
            runs_where(cells, |t| words.iter().any(|word| says(word, t))),
            each.values().flat_map(|lists| lists[1].clone()).collect(),
            each.values().flat_map(|lists| lists[2].clone()).collect(),
            runs_where(cells, |t| silent(t) && on(t)),
            runs_where(cells, |t| silent(t) && !on(t)),
            runs_where(cells, |t| speakers(t).len() > 1),
        ];
        (each, all)
    }

    fn conversations() -> impl Strategy<Value = Vec<PlacedWord>> {
        let one = (-20..300i64, -5..60i64, "[ABC]").prop_map(|(start, length, who)| said(start, start + length, &who));
        prop::collection::vec(one, 0..14)
    }

    proptest! {
        #[test]
        fn talk_equals_the_raster(words in conversations(), cells in 1..320usize) {
            prop_assert_eq!(found(&words, cells as i64), slowly(&words, cells));
        }

        #[test]
        fn pauses_join_units_to_turns(words in conversations()) {
            for lists in found(&words, 300).0.values() {
                prop_assert_eq!(lists[1].len() - lists[2].len(), lists[3].len());
            }
        }
    }
}
