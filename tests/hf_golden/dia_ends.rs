//! Dia while it generates: nari-labs' countdown and transformers' rule of ends.

use ndarray::{Array2, Axis, s};
use roundelay::delay::{EndRule, Ending, Stray};
use roundelay::{Delay, Extent, Start, Steps};

use super::dia::{layout_of, prompts, recorded_prompts};
use super::{Case, Ids, Op, codes_within, layout, number, numbers};

pub const OPS: &[Op] = &[("dia_generate", 3, generate), ("dia_hf_eos_rule", 2, hf_eos_rule)];

/// The peer's loop with scripted predictions: the prompt's template while any row has one, then the ends.
fn generate(case: &Case) {
    let (layout, calls) = (layout_of(case), number(case.expect("decoder_calls")));
    let (preds, fed, buffer) = (case.grid("preds"), case.grid("fed"), case.turned("buffer"));
    let prompts_of_rows = recorded_prompts(case);
    let templates = prompts(case, &prompts_of_rows);
    let prefills: Vec<_> = templates.iter().map(|template| template.first_open().unwrap()).collect();
    assert_eq!(prefills, numbers(case.expect("prefill_steps")), "{}", case.name());

    let mut over_after = 0;
    for (row, template) in templates.iter().enumerate() {
        let ending = Ending::new(&layout, EndRule::Countdown).unwrap();
        let mut ending = ending.within(case.number("max_tokens") - 1).unwrap();
        let mut tokens = Array2::zeros((layout.streams().len(), calls + 1));
        tokens.column_mut(0).assign(&template.tokens().0.column(0));
        for call in 0..calls {
            assert_eq!(tokens.column(call), fed.slice(s![call, row, ..]), "{}: row {row}, call {call}", case.name());
            let mut next = preds.slice(s![call, row, ..]).to_vec();
            template.force(call + 1, Steps(&mut next)).unwrap();
            ending.apply(Steps(&mut next)).unwrap();
            tokens.column_mut(call + 1).iter_mut().zip(next).for_each(|(to, id)| *to = id);
            over_after = over_after.max(if ending.is_over() { 0 } else { call + 1 });
        }
        assert_eq!(tokens, buffer.index_axis(Axis(0), row), "{}: row {row}", case.name());
        check_output(case, row, tokens, prefills[row]);
    }
    // The loop's last call is the one after which every row's countdown is over.
    assert!(over_after + 1 == calls || calls == case.number("max_tokens") - 1, "{}: {over_after}", case.name());
}

fn check_output(case: &Case, row: usize, tokens: Array2<i64>, prefill: usize) {
    let layout = layout_of(case);
    let codes = codes_within(&Delay::new(&layout, Extent::Truncate, Start::None), tokens, prefill);
    let codes = Stray::Zero.settle(&layout, codes).unwrap();
    assert_eq!(codes.0.ncols(), numbers(case.expect("out_lengths"))[row], "{}: row {row}", case.name());
    let expected = case.row(&format!("out{row}")).reversed_axes();
    assert_eq!(codes.0, expected, "{}: row {row}", case.name());
}

fn hf_eos_rule(case: &Case) {
    let (eos, delays) = (case.id("eos"), numbers(case.param("delays")));
    let layout = layout("dia", &delays, &Ids { initial: eos + 2, pad: eos + 1, bos: Some(eos + 2), eos: Some(eos) });
    let (raw, filtered, tokens) = (case.grid("raw"), case.grid("filtered"), case.grid("tokens"));
    let forced = case.flags("forced");
    let steps = case.number("max_generation_len") - case.number("start_len");
    for row in 0..case.number("batch") {
        let mut ending = Ending::new(&layout, EndRule::Free).unwrap().within(steps).unwrap();
        for step in 0..case.number("steps") {
            for k in 0..delays.len() {
                let at = [step, row, k];
                // The channel filter leaves the ids that may be chosen, and the model's next best instead of others.
                let may = |id: i64| id < eos || (id == eos && ending.may_end(k));
                assert!(may(filtered[at]) && (filtered[at] == raw[at] || !may(raw[at])), "{}: {at:?}", case.name());
            }
            let mut next = filtered.slice(s![step, row, ..]).to_vec();
            ending.apply(Steps(&mut next)).unwrap();
            assert_eq!(next, tokens.slice(s![step, row, ..]).to_vec(), "{}: row {row}, step {step}", case.name());
            let at_end: Vec<_> = (0..delays.len()).map(|k| ending.end_of(k) == Some(step)).collect();
            let expected: Vec<_> = (0..delays.len()).map(|k| forced[[step, row, k]]).collect();
            assert_eq!(at_end, expected, "{}: row {row}, step {step}", case.name());
        }
        assert!(ending.is_over());
    }
}
