//! Higgs Audio v2: Boson AI's own code and transformers.

use ndarray::{Array2, Axis, concatenate, s};
use roundelay::delay::{Bracket, EndRule, Ending, Fills, Stray, Template};
use roundelay::{Delay, Extent, Frames, Layout, Sequencer, Start, Steps};

use super::{Case, Ids, Op, codes_within, layout, number, numbers, turn};

pub const OPS: &[Op] = &[
    ("higgs_build", 3, build),
    ("higgs_revert", 4, revert),
    ("higgs_collate", 3, collate),
    ("higgs_stream", 3, stream),
    ("higgs_hf_processor", 2, processor),
    ("higgs_hf_decode", 2, decode),
    ("higgs_hf_eos_rule", 3, hf_eos_rule),
];

fn with_streams(streams: usize, delayed: bool, bos: i64, eos: i64) -> Layout {
    let delays: Vec<_> = (0..streams).map(|k| if delayed { k } else { 0 }).collect();
    layout("higgs-v2", &delays, &Ids { initial: bos, pad: eos, bos: Some(bos), eos: Some(eos) })
}

pub fn layout_of(case: &Case) -> Layout {
    let id = |names: [&str; 2]| names.into_iter().find_map(|name| case.param(name).as_i64()).unwrap();
    let delayed = case.param("use_delay_pattern").as_bool().unwrap_or(true);
    let (bos, eos) = (id(["bos", "audio_stream_bos_id"]), id(["eos", "audio_stream_eos_id"]));
    with_streams(case.number("num_codebooks"), delayed, bos, eos)
}

fn delay(layout: &Layout) -> Delay {
    Delay::new(layout, Extent::Extend, Start::None)
}

fn bracketed(layout: &Layout) -> Delay {
    delay(layout).bracketed(layout, Bracket::BOTH).unwrap()
}

fn build(case: &Case) {
    let codes = Frames(case.grid("codes"));
    let layout = with_streams(codes.0.len_of(Axis(1)), true, case.id("bos"), case.id("pad"));
    assert_eq!(delay(&layout).build(&codes).unwrap().tokens.0, case.grid("delayed"), "{}", case.name());
    let open = delay(&layout).shift(&codes, |_| Fills::edges(case.id("bos"), -1)).unwrap();
    assert_eq!(open.0, case.grid("delayed_with_gen_mask"), "{}", case.name());
}

fn revert(case: &Case) {
    let delayed = Steps(case.row("delayed"));
    let layout = with_streams(delayed.0.nrows(), true, 1024, 1025);
    assert_eq!(delay(&layout).undo(&delayed, -1).unwrap().codes.0, case.row("codes"), "{}", case.name());
}

/// Segments one after another; no labels on those that are skipped.
fn collate(case: &Case) {
    let layout = layout_of(case);
    let (mut heard, mut spoken) = (Joined::new(&layout), Joined::new(&layout));
    for (i, sample) in case.param("samples").as_array().unwrap().iter().enumerate() {
        let codes = case.row(&format!("codes{i}"));
        let mut from = 0;
        for segment in sample.as_array().unwrap() {
            let (kind, frames) = (segment[0].as_str().unwrap(), number(&segment[1]));
            let codes = Frames(codes.slice(s![.., from..from + frames]).to_owned());
            let labels = bracketed(&layout).labels(&codes, -100).unwrap().0;
            let labels = if kind == "skip" { Array2::from_elem(labels.dim(), -100) } else { labels };
            let tokens = bracketed(&layout).build(&codes).unwrap().tokens.0;
            (if kind == "in" { &mut heard } else { &mut spoken }).push(&tokens, &labels);
            from += frames;
        }
        assert_eq!(from, codes.ncols(), "{}: frames of {i}", case.name());
    }
    spoken.check(case, "audio_out_ids", "audio_out_ids_start");
    assert_eq!(spoken.labels, case.row("label_audio_ids"), "{}: labels", case.name());
    if heard.starts.is_empty() {
        assert!(case.ids("audio_in_ids").is_empty() && case.ids("audio_in_ids_start").is_empty());
    } else {
        heard.check(case, "audio_in_ids", "audio_in_ids_start");
    }
}

struct Joined {
    tokens: Array2<i64>,
    labels: Array2<i64>,
    starts: Vec<i64>,
}

impl Joined {
    fn new(layout: &Layout) -> Self {
        let none = Array2::zeros((layout.streams().len(), 0));
        Joined { tokens: none.clone(), labels: none, starts: Vec::new() }
    }

    fn push(&mut self, tokens: &Array2<i64>, labels: &Array2<i64>) {
        self.starts.push(self.tokens.ncols() as i64);
        self.tokens = concatenate![Axis(1), self.tokens, *tokens];
        self.labels = concatenate![Axis(1), self.labels, *labels];
    }

    fn check(&self, case: &Case, tokens: &str, starts: &str) {
        assert_eq!(self.tokens, case.row(tokens), "{}: {tokens}", case.name());
        assert_eq!(self.starts, case.ids(starts).into_iter().collect::<Vec<_>>(), "{}: {starts}", case.name());
    }
}

/// Rows filled at the right with ends; labels without any end.
fn processor(case: &Case) {
    let layout = layout_of(case);
    let (ids, labels) = (turn(case.grid("audio_input_ids")), turn(case.grid("audio_labels")));
    let shows = case.flags("audio_input_ids_mask");
    let mut next = 0;
    for (row, sample) in case.param("samples").as_array().unwrap().iter().enumerate() {
        let mut joined = Joined::new(&layout);
        for frames in numbers(sample) {
            let codes = Frames(case.row(&format!("codes{next}")));
            assert_eq!(codes.0.ncols(), frames);
            let unended = bracketed(&layout).shift(&codes, |_| Fills::all(-100)).unwrap();
            joined.push(&bracketed(&layout).build(&codes).unwrap().tokens.0, &unended.0);
            next += 1;
        }
        check_text(case, row, &numbers(sample));
        let steps = joined.tokens.ncols();
        let shown: Vec<_> = shows.index_axis(Axis(0), row).iter().copied().collect();
        assert_eq!(shown, (0..shown.len()).map(|step| step < steps).collect::<Vec<_>>(), "{}: row {row}", case.name());
        for (found, expected, fill) in
            [(&joined.tokens, &ids, case.id("audio_stream_eos_id")), (&joined.labels, &labels, -100)]
        {
            let expected = expected.index_axis(Axis(0), row);
            assert_eq!(found, expected.slice(s![.., ..steps]), "{}: row {row}", case.name());
            assert!(expected.slice(s![.., steps..]).iter().all(|&id| id == fill), "{}: row {row}", case.name());
        }
    }
}

/// One audio token in the text for each step, the last K - 1 of which are delay tokens.
fn check_text(case: &Case, row: usize, frames: &[usize]) {
    let layout = layout_of(case);
    let (audio, delay) = (case.id("audio_token_id"), case.id("audio_delay_token_id"));
    let text: Vec<i64> = case.ids("input_ids").index_axis(Axis(0), row).iter().copied().collect();
    let runs: Vec<_> = text.chunk_by(|a, b| a == b).filter(|run| [audio, delay].contains(&run[0])).collect();
    let steps = |frames: usize| bracketed(&layout).steps(frames).unwrap();
    let expected: Vec<_> = frames
        .iter()
        .flat_map(|&n| [vec![audio; steps(n) - layout.max_delay()], vec![delay; layout.max_delay()]])
        .collect();
    assert_eq!(runs, expected.iter().map(Vec::as_slice).collect::<Vec<_>>(), "{}: text of row {row}", case.name());
}

fn decode(case: &Case) {
    let (layout, tokens) = (layout_of(case), turn(case.grid("sequence")));
    assert_eq!(tokens.len_of(Axis(0)), numbers(case.param("frames")).len());
    for (row, tokens) in tokens.outer_iter().enumerate() {
        let codes = codes_within(&delay(&layout), tokens.to_owned(), 0);
        let codes = Stray::Clamp.settle(&layout, codes).unwrap();
        assert_eq!(codes.0, case.row(&format!("codes{row}")), "{}: row {row}", case.name());
    }
}

/// The begins that are forced: each stream's own, and those in front of it.
fn head(layout: &Layout) -> Template<ndarray::Ix2> {
    let begin = Bracket { bos: true, eos: false };
    let delay = Delay::new(layout, Extent::Truncate, Start::None).bracketed(layout, begin).unwrap();
    let streams = layout.streams().len();
    Template::new(&delay, &Frames(Array2::<i64>::zeros((streams, 0))), streams).unwrap()
}

/// Boson's loop stops one step before the last stream has its end; serving takes the first and the last frame away.
fn stream(case: &Case) {
    let layout = layout_of(case);
    let (streams, template) = (layout.streams().len(), head(&layout));
    let mut ending = Ending::new(&layout, EndRule::Late).unwrap();
    let (raw, tokens) = (case.row("raw"), case.row("tokens"));
    let (num_delay, num_remaining) = (case.ids("num_delay"), case.ids("num_remaining"));
    let steps = number(case.expect("steps"));
    for step in 0..steps {
        let mut next = raw.row(step).to_vec();
        template.force(step + 1, Steps(&mut next)).unwrap();
        ending.apply(Steps(&mut next)).unwrap();
        assert_eq!(next, tokens.row(step).to_vec(), "{}: step {step}", case.name());
        let last = ending.end_of(streams - 1).map(|end| end - 1);
        let remaining = last.filter(|&last| last > step).map_or(-1, |last| (last - step) as i64);
        assert_eq!(num_remaining[[step]], remaining, "{}: step {step}", case.name());
        let begun = if last == Some(step) { 0 } else { (step + 1).min(streams - 1) };
        assert_eq!(num_delay[[step]], begun as i64, "{}: step {step}", case.name());
    }
    let stopped = case.expect("stopped").as_bool().unwrap();
    assert_eq!(ending.end_of(streams - 1), stopped.then_some(steps), "{}", case.name());

    let sequence = concatenate![Axis(1), template.tokens().0.slice(s![.., ..1]), tokens.reversed_axes()];
    assert_eq!(sequence, case.row("sequence"), "{}", case.name());
    let served = bracketed(&layout).undo(&Steps(sequence.view()), -1).unwrap().codes;
    assert_eq!(Stray::Clamp.settle(&layout, served).unwrap().0, case.row("codes"), "{}", case.name());
    // Ours goes by the ids, and so keeps the last frame of what did not end.
    let ours = codes_within(&delay(&layout), sequence, 0).0;
    assert_eq!(ours.slice(s![.., ..case.row("codes").ncols()]), case.row("codes"), "{}", case.name());
    assert_eq!(ours.ncols(), case.row("codes").ncols() + usize::from(!stopped), "{}", case.name());
}

fn hf_eos_rule(case: &Case) {
    let layout = layout_of(case);
    let (streams, template) = (layout.streams().len(), head(&layout));
    let (raw, tokens, text) = (case.grid("raw"), case.grid("tokens"), case.ids("text"));
    // The peer looks for the text's begin among its last K tokens; a shorter prompt counts as so many frames.
    let missing = streams.saturating_sub(case.ids("start_text_ids").len_of(Axis(1)));
    for (row, eos_step) in numbers(case.param("eos_step")).into_iter().enumerate() {
        let mut ending = Ending::new(&layout, EndRule::Late).unwrap();
        for step in 0..case.number("steps") {
            let mut next = raw.slice(s![step, row, ..]).to_vec();
            template.force(step + missing, Steps(&mut next)).unwrap();
            ending.apply(Steps(&mut next)).unwrap();
            assert_eq!(next, tokens.slice(s![step, row, ..]).to_vec(), "{}: row {row}, step {step}", case.name());
            let expected = match ending.end_of(streams - 1) {
                None => "audio_token_id",
                Some(last) if step < last => "audio_delay_token_id",
                Some(_) => "text_eos_token_id",
            };
            assert_eq!(text[[step, row]], case.id(expected), "{}: text of row {row}, step {step}", case.name());
        }
        assert_eq!(ending.end_of(0), Some(eos_step), "{}: row {row}", case.name());
    }
}
