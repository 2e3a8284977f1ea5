//! Laws of the lines that take one column at a time: for every layout, length, schedule and content they give what
//! the whole gives.

mod common;

use std::ops::Range;

use common::strategies::{codes_of, extents, layouts_of};
use ndarray::{Array2, Array3, Axis, concatenate, s};
use proptest::prelude::*;
use roundelay::delay::{Act, Bracket, DelayLine, KyutaiLine, KyutaiOptions, UndelayLine};
use roundelay::token::ABSENT;
use roundelay::{Delay, ErrorKind, Extent, Frames, Layout, Sequencer, Start, Steps, Stream};

/// What no line ever gives: cells that hold it were not written.
const UNTOUCHED: i64 = -77;

/// One column of a grid, row after row.
fn column(grid: &Array3<i64>, t: usize) -> Vec<i64> {
    grid.index_axis(Axis(2), t).iter().copied().collect()
}

/// Columns of one length as `[batch, stream, time]`.
fn grid(columns: &[Vec<i64>], batch: usize, streams: usize) -> Array3<i64> {
    Array3::from_shape_fn((batch, streams, columns.len()), |(b, k, t)| columns[t][b * streams + k])
}

/// Either line, so that both can be held to the same laws.
enum Line {
    Delay(DelayLine<i64>),
    Undelay(UndelayLine<i64>),
}

/// What makes a line, and the whole that it must give.
struct Setting {
    layout: Layout,
    extent: Extent,
    start: Start,
    undelay: bool,
}

impl Setting {
    fn line(&self, batch: usize) -> Line {
        match self.undelay {
            false => Line::Delay(DelayLine::new(&self.layout, self.extent, self.start, batch).unwrap()),
            true => Line::Undelay(UndelayLine::new(&self.layout, self.extent, self.start, batch, -1).unwrap()),
        }
    }

    /// Columns that come out of a row once it has taken `columns`, flushes among them.
    fn given(&self, columns: usize) -> usize {
        let wait = self.layout.max_delay() + usize::from(self.start == Start::Initial);
        if self.undelay { columns.saturating_sub(wait) } else { columns }
    }

    /// What `build` or `undo` makes of the whole; nothing of sequences too short to be undone.
    fn whole(&self, columns: Array3<i64>) -> Array3<i64> {
        let delay = Delay::new(&self.layout, self.extent, self.start);
        let (batch, streams, _) = columns.dim();
        match self.undelay {
            false => delay.build(&Frames(columns)).unwrap().tokens.0,
            true => match delay.undo(&Steps(columns), -1) {
                Ok(undone) => undone.codes.0,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::TooShort { .. }), "{error}");
                    Array3::zeros((batch, streams, 0))
                }
            },
        }
    }
}

fn settings(streams: usize, delay: usize) -> impl Strategy<Value = Setting> {
    (layouts_of(1..=streams, 0..=delay), extents(), any::<bool>())
        .prop_map(|(layout, (extent, start), undelay)| Setting { layout, extent, start, undelay })
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let delays: Vec<_> = self.layout.streams().iter().map(|stream| stream.delay).collect();
        write!(f, "{:?} {:?} undelay {} delays {delays:?}", self.extent, self.start, self.undelay)
    }
}

impl Line {
    fn step(&mut self, from: &[i64], to: &mut [i64]) {
        match self {
            Line::Delay(line) => line.step(Frames(from), Steps(to)),
            Line::Undelay(line) => line.step(Steps(from), Frames(to)),
        }
        .unwrap();
    }

    fn step_rows(&mut self, acts: &[Act], from: &[i64], to: &mut [i64]) -> roundelay::Result<()> {
        match self {
            Line::Delay(line) => line.step_rows(acts, Frames(from), Steps(to)),
            Line::Undelay(line) => line.step_rows(acts, Steps(from), Frames(to)),
        }
    }

    fn flush(&mut self, to: &mut [i64]) -> roundelay::Result<()> {
        match self {
            Line::Delay(line) => line.flush(Steps(to)),
            Line::Undelay(line) => line.flush(Frames(to)),
        }
    }

    fn prefill(&mut self, from: Array3<i64>, to: Array3<i64>) -> Array3<i64> {
        match self {
            Line::Delay(line) => {
                let mut to = Steps(to);
                line.prefill(&Frames(from), &mut to).map(|()| to.0)
            }
            Line::Undelay(line) => {
                let mut to = Frames(to);
                line.prefill(&Steps(from), &mut to).map(|()| to.0)
            }
        }
        .unwrap()
    }

    fn prefill_row(&mut self, row: usize, from: Array2<i64>, to: Array2<i64>) -> Array2<i64> {
        match self {
            Line::Delay(line) => {
                let mut to = Steps(to);
                line.prefill_row(row, &Frames(from), &mut to).map(|()| to.0)
            }
            Line::Undelay(line) => {
                let mut to = Frames(to);
                line.prefill_row(row, &Steps(from), &mut to).map(|()| to.0)
            }
        }
        .unwrap()
    }

    fn reset(&mut self, row: usize) {
        match self {
            Line::Delay(line) => line.reset(row),
            Line::Undelay(line) => line.reset(row),
        }
        .unwrap();
    }

    fn tail(&self) -> usize {
        match self {
            Line::Delay(line) => line.tail(),
            Line::Undelay(line) => line.tail(),
        }
    }
}

/// What one row has taken and given since its start, kept by the test.
#[derive(Debug, Default, Clone)]
struct Life {
    taken: Vec<Vec<i64>>,
    given: Vec<Vec<i64>>,
    flushed: usize,
}

impl Life {
    /// What the row does next, as near to what is wanted as its life allows.
    fn act(&self, wanted: u8, tail: usize) -> Act {
        match (wanted, self.flushed) {
            (0..=5, 0) => Act::Take,
            (6..=8, flushed) if flushed < tail => Act::Flush,
            _ => Act::Pause,
        }
    }

    /// Counts what it did, and the column if the row gives one now.
    fn count(&mut self, act: Act, from: &[i64], to: &[i64], setting: &Setting) {
        match act {
            Act::Take => self.taken.push(from.to_vec()),
            Act::Flush => self.flushed += 1,
            Act::Pause => {}
        }
        if act != Act::Pause && setting.given(self.taken.len() + self.flushed) > 0 {
            self.given.push(to.to_vec());
        } else {
            assert!(to.iter().all(|&token| token == UNTOUCHED), "a row that gives nothing was written");
        }
    }

    fn check(&self, setting: &Setting) {
        let streams = setting.layout.streams().len();
        let whole = setting.whole(grid(&self.taken, 1, streams));
        let given = grid(&self.given, 1, streams);
        assert_eq!(given, whole.slice(s![.., .., ..self.given.len()]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn steps_and_flushes_give_the_whole(
        setting in settings(40, 50), batch in 1..3usize, time in 0..=120usize, seed: u64,
    ) {
        let from = codes_of(&setting.layout, batch, time, seed).0;
        let streams = from.len_of(Axis(1));
        let (mut line, mut given) = (setting.line(batch), Vec::new());
        let tail = line.tail();
        for t in 0..time + tail {
            let mut to = vec![UNTOUCHED; batch * streams];
            match t < time {
                true => line.step(&column(&from, t), &mut to),
                false => line.flush(&mut to).unwrap(),
            }
            match setting.given(t + 1) > 0 {
                true => given.push(to),
                false => prop_assert!(to.iter().all(|&token| token == UNTOUCHED)),
            }
        }
        prop_assert_eq!(grid(&given, batch, streams), setting.whole(from));
        prop_assert!(line.flush(&mut vec![0; batch * streams]).is_err());
    }

    #[test]
    fn each_row_gives_its_own_whole_whatever_the_others_do(
        setting in settings(6, 9),
        schedule in prop::collection::vec(prop::array::uniform3(0..12u8), 0..80),
        seed: u64,
    ) {
        let from = codes_of(&setting.layout, 3, schedule.len(), seed).0;
        let streams = from.len_of(Axis(1));
        let (mut line, mut lives) = (setting.line(3), vec![Life::default(); 3]);
        for (t, wanted) in schedule.iter().enumerate() {
            for row in (0..3).filter(|&row| wanted[row] == 11) {
                line.reset(row);
                std::mem::take(&mut lives[row]).check(&setting);
            }
            let acts: Vec<_> = (0..3).map(|row| lives[row].act(wanted[row], line.tail())).collect();
            let (column, mut to) = (column(&from, t), vec![UNTOUCHED; 3 * streams]);
            line.step_rows(&acts, &column, &mut to).unwrap();
            for (row, life) in lives.iter_mut().enumerate() {
                let cells = row * streams..(row + 1) * streams;
                life.count(acts[row], &column[cells.clone()], &to[cells], &setting);
            }
        }
        lives.iter().for_each(|life| life.check(&setting));
    }

    #[test]
    fn a_prompt_at_once_is_as_many_steps(
        setting in settings(8, 12), parts in prop::collection::vec((any::<bool>(), 0..20usize), 1..6), seed: u64,
    ) {
        let time = parts.iter().map(|(_, len)| len).sum();
        let from = codes_of(&setting.layout, 2, time, seed).0;
        let untouched = |len| Array3::from_elem((2, from.len_of(Axis(1)), len), UNTOUCHED);
        let (mut steps, mut line) = (setting.line(2), setting.line(2));
        let mut begin = 0;
        for (by_row, len) in parts {
            let part = from.slice(s![.., .., begin..begin + len]).to_owned();
            let mut expected = untouched(len);
            for t in 0..len {
                let mut to = column(&expected, t);
                steps.step(&column(&part, t), &mut to);
                expected.index_axis_mut(Axis(2), t).iter_mut().zip(to).for_each(|(cell, token)| *cell = token);
            }
            let found = match by_row {
                false => line.prefill(part, untouched(len)),
                true => {
                    let row = |line: &mut Line, b| {
                        let from = part.index_axis(Axis(0), b).to_owned();
                        line.prefill_row(b, from, untouched(len).index_axis_move(Axis(0), b)).insert_axis(Axis(0))
                    };
                    let (first, second) = (row(&mut line, 0), row(&mut line, 1));
                    concatenate![Axis(0), first, second]
                }
            };
            prop_assert_eq!(found, expected);
            begin += len;
        }
    }

    #[test]
    fn frames_come_back_from_the_other_line(layout in layouts_of(1..=12, 0..=20), initial: bool, time in 0..=60usize, seed: u64) {
        let start = if initial { Start::Initial } else { Start::None };
        let from = codes_of(&layout, 1, time, seed).0;
        let mut there = DelayLine::new(&layout, Extent::Extend, start, 1).unwrap();
        let mut back = UndelayLine::new(&layout, Extent::Extend, start, 1, -1).unwrap();
        let (mut tokens, mut frame) = (vec![0; layout.streams().len()], vec![0; layout.streams().len()]);
        let mut frames = Vec::new();
        for t in 0..time + there.tail() {
            match t < time {
                true => there.step(Frames(&column(&from, t)), Steps(&mut tokens)).unwrap(),
                false => there.flush(Steps(&mut tokens)).unwrap(),
            }
            back.step(Steps(&tokens), Frames(&mut frame)).unwrap();
            frames.extend((back.wait() == [0]).then(|| frame.clone()));
        }
        prop_assert_eq!(grid(&frames, 1, layout.streams().len()), from);
    }

    /// With the user's first frame handed in twice and a model that emits what training has as target, Kyutai's loop
    /// reads what training has as input, and gives the codes.
    #[test]
    fn kyutais_loop_reads_what_training_reads(
        layout in layouts_of(1..=8, 0..=6), share in 0..=8usize, time in 1..=40usize, guidance: bool, seed: u64,
    ) {
        let streams = layout.streams().len();
        let dep_q = share.min(streams - 1);
        // The loop refuses ungenerated tokens (-2) of a user: absent ones (-1) in their place.
        let codes = codes_of(&layout, 2, time, seed).0.mapv(|code| code.max(ABSENT));
        let full = Delay::new(&layout, Extent::Truncate, Start::Initial).build(&Frames(codes.view())).unwrap().tokens.0;
        let options = KyutaiOptions { dep_q: Some(dep_q), guidance, out_of_sync: false };
        let mut line = KyutaiLine::new(&layout, 2, options).unwrap();
        let part = |grid: &Array3<i64>, streams: Range<usize>, t: usize| -> Vec<i64> {
            grid.slice(s![.., streams, t]).iter().copied().collect()
        };
        for step in 0..time {
            let mut input = vec![0; if guidance { 4 } else { 2 } * streams];
            let user = part(&codes, 1 + dep_q..streams, step.saturating_sub(1));
            line.input(Frames(&user), Steps(&mut input)).unwrap();
            let expected = column(&full, step);
            prop_assert_eq!(&input[..2 * streams], &expected);
            prop_assert!(!guidance || input[2 * streams..] == expected);

            let (text, audio) = (part(&full, 0..1, step + 1), part(&full, 1..1 + dep_q, step + 1));
            let mut frame = vec![UNTOUCHED; 2 * (1 + dep_q)];
            let whole = line.output(Steps(&text), Steps(&audio), Frames(&mut frame)).unwrap();
            prop_assert_eq!(whole, step >= layout.max_delay());
            let expected = step.checked_sub(layout.max_delay()).map(|t| part(&codes, 0..1 + dep_q, t));
            prop_assert_eq!(&frame, &expected.unwrap_or(vec![UNTOUCHED; 2 * (1 + dep_q)]));
        }
    }
}

fn delay_1() -> Layout {
    Layout::preset("delay-1").unwrap()
}

#[test]
fn what_a_line_refuses_moves_no_row() {
    let mut line = DelayLine::new(&delay_1(), Extent::Extend, Start::None, 2).unwrap();
    let mut tokens = [UNTOUCHED; 6];
    line.step(Frames(&[11, 12, 13, 21, 22, 23]), Steps(&mut tokens)).unwrap();
    tokens = [UNTOUCHED; 6];
    line.step_rows(&[Act::Flush, Act::Pause], Frames(&[0; 6]), Steps(&mut tokens)).unwrap();
    assert_eq!(tokens, [3, 12, 13, UNTOUCHED, UNTOUCHED, UNTOUCHED]);

    tokens = [UNTOUCHED; 6];
    let errors = [
        line.step(Frames(&[0; 6]), Steps(&mut tokens)).unwrap_err(),
        line.flush(Steps(&mut tokens)).unwrap_err(),
        line.step(Frames(&[0; 5]), Steps(&mut tokens)).unwrap_err(),
        line.step(Frames(&[0; 6]), Steps(&mut tokens[..3])).unwrap_err(),
        line.step_rows(&[Act::Pause], Frames(&[0; 6]), Steps(&mut tokens)).unwrap_err(),
        line.step_rows(&[Act::Flush, Act::Take], Frames(&[0; 6]), Steps(&mut tokens)).unwrap_err(),
        line.prefill(&Frames(Array3::zeros((2, 3, 1))), &mut Steps(Array3::zeros((2, 3, 1)))).unwrap_err(),
        line.prefill(&Frames(Array3::zeros((1, 3, 1))), &mut Steps(Array3::zeros((2, 3, 1)))).unwrap_err(),
        line.prefill_row(1, &Frames(Array2::zeros((2, 1))), &mut Steps(Array2::zeros((3, 1)))).unwrap_err(),
        line.prefill_row(1, &Frames(Array2::zeros((3, 1))), &mut Steps(Array2::zeros((3, 2)))).unwrap_err(),
        line.prefill_row(2, &Frames(Array2::zeros((3, 1))), &mut Steps(Array2::zeros((3, 1)))).unwrap_err(),
        line.reset(2).unwrap_err(),
    ];
    assert_eq!(tokens, [UNTOUCHED; 6]);
    let messages = errors.map(|error| error.to_string());
    assert_eq!(messages[0], "row 0 is at its tail, expected a reset before it takes columns again");
    assert_eq!(messages[1], "number of flushes of row 0 is 2, expected at most 1 before a reset");
    assert_eq!(messages[2], "length of a column is 5, expected 6, as [2, 3]");
    assert_eq!(messages[9], "number of columns for the result is 2, expected the 1 that go in");

    line.step_rows(&[Act::Pause, Act::Take], Frames(&[0, 0, 0, 31, 32, 33]), Steps(&mut tokens)).unwrap();
    assert_eq!(tokens, [UNTOUCHED, UNTOUCHED, UNTOUCHED, 31, 22, 23]);
}

#[test]
fn narrow_tokens_fit_or_are_refused() {
    let mut line = DelayLine::<u16>::new(&delay_1(), Extent::Extend, Start::None, 1).unwrap();
    let mut tokens = [0; 3];
    line.step(Frames(&[11, 21, 31]), Steps(&mut tokens)).unwrap();
    assert_eq!(tokens, [11, 2048, 2048]);
    let error = DelayLine::<u8>::new(&delay_1(), Extent::Extend, Start::None, 1).unwrap_err();
    assert_eq!(error.to_string(), "stream text: fill is 32000, expected an id that fits u8");
    let error = KyutaiLine::<u16>::new(&delay_1(), 1, KyutaiOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "token type is u16, expected a signed one, for -2");
}

#[test]
fn sizes_out_of_range_are_refused() {
    let line = |batch| DelayLine::<i64>::new(&delay_1(), Extent::Extend, Start::None, batch);
    assert!(matches!(line(0).unwrap_err().kind(), ErrorKind::Invalid { .. }));
    assert!(matches!(line(usize::MAX).unwrap_err().kind(), ErrorKind::OverLimit { .. }));
    let undelay = UndelayLine::new(&delay_1(), Extent::Extend, Start::None, usize::MAX, 0u8);
    assert!(matches!(undelay.unwrap_err().kind(), ErrorKind::OverLimit { .. }));
    // A loop without a user keeps no columns of the user's, and is bounded all the same.
    let kyutai = KyutaiLine::<i64>::new(&delay_1(), usize::MAX, KyutaiOptions { dep_q: Some(2), ..Default::default() });
    assert!(matches!(kyutai.unwrap_err().kind(), ErrorKind::OverLimit { .. }));
}

#[test]
fn kyutais_loop_refuses_calls_out_of_turn_and_layouts_it_does_not_know() {
    let new = |layout: &Layout, dep_q| {
        KyutaiLine::<i64>::new(layout, 1, KyutaiOptions { dep_q: Some(dep_q), ..Default::default() })
    };
    for dep_q in [3, usize::MAX] {
        let error = new(&delay_1(), dep_q).unwrap_err().to_string();
        assert_eq!(error, format!("dep_q is {dep_q}, expected at most the 2 audio streams"));
    }
    let audio_only = Layout::new("audio", delay_1().frame_rate(), delay_1().streams()[1..].to_vec()).unwrap();
    assert!(new(&audio_only, 1).unwrap_err().to_string().starts_with("stream main.0: kind is Semantic"));

    let mut line = new(&delay_1(), 1).unwrap();
    let (mut input, mut frame) = ([0; 3], [0; 2]);
    assert!(line.output(Steps(&[0]), Steps(&[0]), Frames(&mut frame)).is_err());
    assert!(line.input(Frames(&[2049]), Steps(&mut input)).is_err());
    line.input(Frames(&[2048]), Steps(&mut input)).unwrap();
    let error = line.input(Frames(&[0]), Steps(&mut input)).unwrap_err().to_string();
    assert!(error.ends_with("expected the step's output before it, or that it is abandoned"), "{error}");
    assert!(line.set_active(&[true]).is_err());
    assert!(line.reset(0).is_err());
    assert!(line.output(Steps(&[0]), Steps(&[0, 0]), Frames(&mut frame)).is_err());
    assert!(!line.output(Steps(&[0]), Steps(&[0]), Frames(&mut frame)).unwrap());
    assert!(line.set_active(&[true, true]).is_err());
    assert!(line.reset(1).is_err());
    assert_eq!(line.offsets(), [1]);
}

#[test]
fn kyutais_loop_generates_the_trained_audio_unless_told_otherwise() {
    for (preset, dep_q, user) in [("moshi-7b", 8, 8), ("delay-1", 2, 0)] {
        let layout = Layout::preset(preset).unwrap();
        let line = KyutaiLine::<i64>::new(&layout, 1, KyutaiOptions::default()).unwrap();
        assert_eq!((line.dep_q(), line.user_streams()), (dep_q, user), "{preset}");
    }
    let mut streams = delay_1().streams().to_vec();
    streams[1].trained = false;
    let layout = Layout::new("untrained", delay_1().frame_rate(), streams).unwrap();
    let line = KyutaiLine::<i64>::new(&layout, 1, KyutaiOptions::default()).unwrap();
    assert_eq!((line.dep_q(), line.user_streams()), (0, 2), "only those right after text count");
}

/// Steps that are begun in vain, once or twice and at any point, leave no trace in what is read and given afterwards.
#[test]
fn an_abandoned_step_leaves_no_trace() {
    let layout = Layout::preset("moshi-7b").unwrap();
    let streams = layout.streams().iter().cloned().map(|stream| Stream { delay: 3 * stream.delay, ..stream });
    let layout = Layout::new("late", layout.frame_rate(), streams.collect()).unwrap();
    let new = || KyutaiLine::<i64>::new(&layout, 2, KyutaiOptions::default()).unwrap();
    let (mut smooth, mut failing) = (new(), new());
    let mut abandoned = 0;
    failing.abandon();
    for s in 0..60 {
        let user: Vec<i64> = (0..16).map(|k| 20 * s + k).collect();
        let [mut expected, mut found] = [[0; 34]; 2];
        for _ in 0..s % 3 {
            failing.input(Frames(&[2047; 16]), Steps(&mut found)).unwrap();
            failing.abandon();
            abandoned += 1;
        }
        // The step behind one that was abandoned may be another row's alone.
        let active = [true, s % 7 != 4];
        for (line, input) in [(&mut smooth, &mut expected), (&mut failing, &mut found)] {
            line.set_active(&active).unwrap();
            line.input(Frames(&user), Steps(input)).unwrap();
        }
        assert_eq!(found, expected, "step {s}");
        let [mut expected, mut found] = [[UNTOUCHED; 18]; 2];
        for (line, frame) in [(&mut smooth, &mut expected), (&mut failing, &mut found)] {
            line.output(Steps(&[s, s]), Steps(&user), Frames(frame)).unwrap();
        }
        assert_eq!(found, expected, "step {s}");
        assert_eq!(failing.offsets(), smooth.offsets());
    }
    assert_eq!(abandoned, 60);
    failing.input(Frames(&[0; 16]), Steps(&mut [0; 34])).unwrap();
    failing.abandon();
    failing.reset(1).unwrap();
    assert_eq!(failing.offsets()[1], 0);
}

#[test]
fn a_bracket_is_fed_as_columns_of_its_own() {
    let higgs = Layout::preset("higgs-v2").unwrap();
    // Higgs has the same ids for begin and head, end and tail: ids of their own show which is which.
    let apart = higgs.streams().iter().map(|stream| Stream { bos: Some(1030), eos: Some(1031), ..stream.clone() });
    let apart = Layout::new("apart", higgs.frame_rate(), apart.collect()).unwrap();
    for (layout, [bos, eos]) in [(higgs, [1024, 1025]), (apart, [1030, 1031])] {
        for start in [Start::None, Start::Initial] {
            let codes = codes_of(&layout, 1, 5, 9);
            let id = |id| Array3::from_elem((1, 8, 1), id);
            let fed = concatenate![Axis(2), id(bos), codes.0, id(eos)];
            let delay = Delay::new(&layout, Extent::Extend, start).bracketed(&layout, Bracket::BOTH).unwrap();
            let built = delay.build(&codes).unwrap().tokens.0;
            let setting = Setting { layout: layout.clone(), extent: Extent::Extend, start, undelay: false };
            let mut line = setting.line(1);
            let mut given = vec![vec![UNTOUCHED; 8]; 7 + line.tail()];
            for (t, to) in given.iter_mut().enumerate() {
                match t < 7 {
                    true => line.step(&column(&fed, t), to),
                    false => line.flush(to).unwrap(),
                }
            }
            assert_eq!(grid(&given, 1, 8), built);

            let mut back = Setting { undelay: true, ..setting }.line(1);
            let mut frames = vec![vec![UNTOUCHED; 8]; given.len()];
            given.iter().zip(&mut frames).for_each(|(from, to)| back.step(from, to));
            assert_eq!(grid(&frames[given.len() - 7..], 1, 8), fed);
        }
    }
}

#[test]
fn a_reset_makes_a_row_of_kyutais_loop_active() {
    let options = KyutaiOptions { dep_q: Some(2), out_of_sync: true, ..Default::default() };
    let mut line = KyutaiLine::<i64>::new(&delay_1(), 2, options).unwrap();
    line.set_active(&[false, false]).unwrap();
    line.reset(1).unwrap();
    line.input(Frames(&[]), Steps(&mut [0; 6])).unwrap();
    line.output(Steps(&[0; 2]), Steps(&[0; 4]), Frames(&mut [0; 6])).unwrap();
    assert_eq!(line.offsets(), [0, 1]);
}
