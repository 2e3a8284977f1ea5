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

use std::collections::{BTreeMap, BTreeSet};

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

/// The talk of each speaker and of all, in a segment whose words' time 0 lies `lead` behind its beginning.
///
/// What lies past the duration is left out. What lies before the beginning is not: no other segment has these words.
pub(super) fn talk(
    words: &[PlacedWord],
    lead: Seconds,
    duration: Seconds,
    silence: Seconds,
) -> (BTreeMap<&str, Talk>, Talk) {
    let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for PlacedWord { word, .. } in words {
        let span = Span { start: word.start + lead, end: (word.end + lead).min(duration) };
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
    sweep(&mut talks, &mut all);
    for talk in &mut talks {
        talk.finish();
        all.units.extend(&talk.units);
        all.turns.extend(&talk.turns);
    }
    (names.into_iter().zip(talks).collect(), all)
}

impl Talk {
    fn finish(&mut self) {
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
    let mut joined = Vec::new();
    spans.iter().for_each(|&span| append(&mut joined, span, &together));
    joined
}

/// Puts a span behind the others, or makes it one with the last where they belong together.
fn append(spans: &mut Vec<Span>, span: Span, together: impl Fn(Span, Span) -> bool) {
    match spans.last_mut() {
        Some(last) if together(*last, span) => last.end = last.end.max(span.end),
        _ => spans.push(span),
    }
}

/// Who falls silent and who speaks up at one time; in order.
#[derive(Default)]
struct Border {
    end: Vec<usize>,
    begin: Vec<usize>,
}

/// The times at which units end or begin.
fn borders(talks: &[Talk]) -> BTreeMap<Seconds, Border> {
    let mut borders: BTreeMap<Seconds, Border> = BTreeMap::new();
    for (speaker, unit) in (0..).zip(talks).flat_map(|(n, talk)| talk.units.iter().map(move |unit| (n, unit))) {
        borders.entry(unit.start).or_default().begin.push(speaker);
        borders.entry(unit.end).or_default().end.push(speaker);
    }
    borders
}

/// Goes from the first unit to the last with those who speak, and gives each silence and each overlap to those
/// concerned.
fn sweep(talks: &mut [Talk], all: &mut Talk) {
    let mut speakers = BTreeSet::new();
    let mut last: Option<(Seconds, Border)> = None;
    for (time, border) in borders(talks) {
        if let Some((start, before)) = last {
            let span = Span { start, end: time };
            match speakers.len() {
                // Nobody spoke, so all who did before fell silent at its beginning.
                0 => sort_silence(span, &before.end, &border.begin, talks, all),
                1 => {}
                _ => sort_overlap(span, &speakers, talks, all),
            }
        }
        border.end.iter().for_each(|speaker| _ = speakers.remove(speaker));
        speakers.extend(&border.begin);
        last = Some((time, border));
    }
}

/// An overlap of all who speak; it goes on where they had one just before.
fn sort_overlap(span: Span, speakers: &BTreeSet<usize>, talks: &mut [Talk], all: &mut Talk) {
    append(&mut all.overlaps, span, touches);
    speakers.iter().for_each(|&speaker| append(&mut talks[speaker].overlaps, span, touches));
}

/// A pause if one of those who spoke goes on, else a gap before those who begin.
fn sort_silence(span: Span, before: &[usize], after: &[usize], talks: &mut [Talk], all: &mut Talk) {
    let mut on = after.iter().filter(|speaker| before.binary_search(speaker).is_ok()).peekable();
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
        found_behind(words, 0, duration)
    }

    /// Of words whose times count from so late in the segment.
    fn found_behind(words: &[PlacedWord], lead: i64, duration: i64) -> (BTreeMap<&str, [Times; 6]>, [Times; 6]) {
        let [lead, duration, silence] = [lead, duration, 20].map(|time| format!("{time}e-2").parse().unwrap());
        let (talks, all) = talk(words, lead, duration, silence);
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
        assert_eq!(talks["A"][0], [(-50, 30), (90, 100)]);
        assert_eq!((&talks["B"], &talks["C"]), (&Default::default(), &Default::default()));
        assert_eq!((&all[0], &all[3]), (&vec![(-50, 30), (90, 100)], &vec![(30, 90)]));
        assert_eq!(found(&[], 100), Default::default());
    }

    #[test]
    fn words_count_from_behind_the_silence_in_front() {
        // With 1 s of it, -0.6 s lies in the segment, and the word that ends at -1.2 s before it.
        let words = [said(-150, -120, "A"), said(-60, -10, "B"), said(20, 80, "A")];
        let (talks, all) = found_behind(&words, 100, 150);
        assert_eq!((&talks["A"][0], &talks["B"][0]), (&vec![(-50, -20), (120, 150)], &vec![(40, 90)]));
        assert_eq!((&all[3], &all[4]), (&vec![], &vec![(-20, 40), (90, 120)]));
    }

    #[test]
    fn many_who_speak_at_once_have_one_overlap_each() {
        let names: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
        let words: Vec<_> = (0..).zip(&names).map(|(n, name)| said(n, 600 - n, name)).collect();
        let (talks, all) = found(&words, 600);
        assert_eq!((&talks["000"][5], &talks["299"][5]), (&vec![(1, 599)], &vec![(299, 301)]));
        assert_eq!((talks.len(), &all[5]), (300, &vec![(1, 599)]));
    }

    /// Cells of a hundredth of a second.
    type Raster = Vec<bool>;

    fn runs(raster: &[bool]) -> Times {
        let at = |t: i64| t >= 0 && raster.get(t as usize) == Some(&true);
        let starts = (0..raster.len() as i64).filter(|&t| at(t) && !at(t - 1));
        starts.map(|start| (start, (start..).find(|&t| !at(t)).unwrap())).collect()
    }

    /// Cells before the beginning of the segment.
    const FRONT: i64 = 20;

    /// Cells where the condition holds, as runs from the segment's beginning.
    fn runs_where(cells: usize, holds: impl Fn(usize) -> bool) -> Times {
        let runs = runs(&(0..cells).map(holds).collect::<Vec<_>>());
        runs.into_iter().map(|(start, end)| (start - FRONT, end - FRONT)).collect()
    }

    /// The definitions, cell by cell: a cell is in a pause if all is silent and the nearest sound on both sides has the
    /// speaker in it.
    fn slowly(words: &[PlacedWord], lead: i64, cells: usize) -> (BTreeMap<&str, [Times; 6]>, [Times; 6]) {
        let cells = cells + FRONT as usize;
        let names: std::collections::BTreeSet<&str> = words.iter().map(|word| &*word.word.speaker).collect();
        let says = |word: &PlacedWord, t: usize| {
            let time = t as i64 - FRONT - lead;
            hundredths(word.word.start) <= time && time < hundredths(word.word.end)
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
        let speech: BTreeMap<&str, Raster> = names.iter().map(|&name| (name, speech(name))).collect();
        let speakers = |t: usize| names.iter().copied().filter(|&name| units[name][t]).collect::<Vec<_>>();
        let before = |t: usize| (0..t).rev().map(speakers).find(|who| !who.is_empty()).unwrap_or_default();
        let after = |t: usize| (t..cells).map(speakers).find(|who| !who.is_empty()).unwrap_or_default();
        let silent = |t: usize| speakers(t).is_empty() && !before(t).is_empty() && !after(t).is_empty();
        let on = |t: usize| before(t).iter().any(|name| after(t).contains(name));
        let of = |name: &str| {
            let pause = |t: usize| silent(t) && before(t).contains(&name) && after(t).contains(&name);
            [
                runs_where(cells, |t| speech[name][t]),
                runs_where(cells, |t| units[name][t]),
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
        let one =
            (-FRONT..300i64, -5..60i64, "[ABC]").prop_map(|(start, length, who)| said(start, start + length, &who));
        prop::collection::vec(one, 0..14)
    }

    proptest! {
        #[test]
        fn talk_equals_the_raster(words in conversations(), lead in 0..60i64, cells in 1..320usize) {
            prop_assert_eq!(found_behind(&words, lead, cells as i64), slowly(&words, lead, cells));
        }

        #[test]
        fn pauses_join_units_to_turns(words in conversations()) {
            for lists in found(&words, 300).0.values() {
                prop_assert_eq!(lists[1].len() - lists[2].len(), lists[3].len());
            }
        }
    }
}
