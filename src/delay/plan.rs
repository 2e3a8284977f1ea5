//! An order of steps, compiled to stretches that are copied at once.
//!
//! ```text
//! flatten       a0  .  . a1  .  . a2  .  .        a   one run: step 0, frame 0, 3 frames, stride 3
//!                . b0  .  . b1  .  . b2  .        b   one run: step 1, ..
//!                .  . c0  .  . c1  .  . c2        c   one run: step 2, ..
//! ```

use super::pattern::{Order, Pattern, Shape};
use super::run::{Bracket, Fills, Run, Runs};
use super::{Extent, Sequencer, Start};
use crate::error::{Error, Result};
use crate::stream::Layout;

/// A general pattern for up to a number of frames, ready to build and to undo.
///
/// Codes may be shorter than what it was made for: the sequence keeps its length. So may sequences: what they do not
/// reach comes back as the fill.
///
/// ```text
/// flatten, made for 3 frames           undone
/// a0 a1     ->   a0  p a1  p  p  p     a0 a1  p      true true true
/// b0 b1           i b0  p b1  p  p     b0 b1  p      true true true
/// ```
/// Undo is the inverse of build for exactly as many frames as the plan was made for. A sequence does not tell how many
/// it was built from, so undo always gives the plan's number. Behind shorter codes, what stands where the others would
/// have been, fills and the end of a bracket, comes back as codes that the mask calls known. Whoever builds fewer takes
/// the first so many columns of what is undone, or makes a plan for that number.
///
/// # Examples
/// ```
/// use ndarray::arr2;
/// use roundelay::{Extent, Frames, Sequencer, Start};
/// use roundelay::delay::{Fills, Pattern, Plan};
///
/// let pattern: Pattern = "flatten".parse()?;
/// let plan = Plan::new(pattern.order(2, 2, Start::Initial)?, Extent::Extend, vec![Fills::all(7); 2])?;
/// let built = plan.build(&Frames(arr2(&[[10, 11], [20, 21]])))?;
/// assert_eq!(built.tokens.0, arr2(&[[7, 10, 7, 11, 7], [7, 7, 20, 7, 21]]));
/// assert_eq!(plan.frame_at(1, 4), Some(1));
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    order: Order,
    streams: Vec<Row>,
    /// Steps of the longest sequence that can be undone.
    longest: usize,
    bracket: Bracket,
}

/// One stream's way through the steps, and its fills.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    /// At least one, which tells where the stream's first code is.
    runs: Vec<Run>,
    fills: Fills,
}

impl Pattern {
    /// Compiles the pattern for a layout's streams and up to `frames` frames.
    ///
    /// [`Start::Initial`] puts one empty step in front. [`Extent::Truncate`] drops as many steps from the end as the
    /// most forward stream runs past the last frame. That leaves the delayed streams without their last codes, as
    /// with [`Delay`](super::Delay); but where every stream is delayed, those steps of delay stay.
    ///
    /// # Errors
    /// As [`Pattern::order`].
    /// # Source
    /// audiocraft `Pattern.valid_layout`.
    pub fn plan(&self, layout: &Layout, frames: usize, extent: Extent, start: Start) -> Result<Plan> {
        Plan::of_layout(self.order_of(layout, frames, start)?, layout, extent)
    }
}

impl Plan {
    /// Compiles an order, with the fills of each stream.
    ///
    /// # Errors
    /// `StreamCount` if there are not fills for each stream.
    /// # Source
    /// [`Extent::Truncate`] is audiocraft's `keep_only_valid_steps`.
    pub fn new(order: Order, extent: Extent, fills: Vec<Fills>) -> Result<Self> {
        let steps = match extent {
            Extent::Extend => order.steps(),
            Extent::Truncate => order.valid_steps(),
        };
        Plan::of_first(order, steps, fills)
    }

    /// Compiles an order of a layout's streams.
    ///
    /// # Errors
    /// `StreamCount` if the order is for another number of streams.
    pub fn of_layout(order: Order, layout: &Layout, extent: Extent) -> Result<Self> {
        Plan::new(order, extent, layout.streams().iter().map(Fills::of).collect())
    }

    /// The plan that does what [`Delay`](super::Delay) does in a closed form.
    ///
    /// # Errors
    /// `OverLimit` for more than 2^24 codes.
    pub fn of_delay(layout: &Layout, frames: usize, extent: Extent, start: Start) -> Result<Self> {
        let order = Shape::of_delay(layout, start).order(frames)?;
        let tail = if extent == Extent::Truncate { layout.max_delay() } else { 0 };
        let steps = order.steps() - tail;
        Plan::of_first(order, steps, layout.streams().iter().map(Fills::of).collect())
    }

    /// Compiles the first steps of an order.
    fn of_first(order: Order, steps: usize, fills: Vec<Fills>) -> Result<Self> {
        if fills.len() != order.streams() {
            return Err(crate::ErrorKind::StreamCount { found: fills.len(), expected: order.streams() }.into());
        }
        let order = order.cut(steps);
        let rows = compile(&order).into_iter().zip(fills);
        let streams = rows.map(|(runs, fills)| Row { runs, fills }).collect();
        Ok(Plan { streams, longest: order.steps(), order, bracket: Bracket::default() })
    }

    /// The same with the first of the order's frames for each stream's `bos`, the last for its `eos`, or both: an order
    /// of T + 2 frames lays out T.
    ///
    /// # Errors
    /// `Invalid`, naming the first stream whose layout lacks the id, or if the order has too few frames.
    pub fn bracketed(self, layout: &Layout, bracket: Bracket) -> Result<Self> {
        bracket.check(layout)?;
        if self.order.frames() < bracket.width() {
            let expected = format!("at least {}, for the bracket", bracket.width());
            return Err(Error::invalid("number of frames", self.order.frames(), expected));
        }
        Ok(Plan { bracket, ..self })
    }

    /// The codes of each step of the sequence.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The order's frame whose code of stream `k` stands at step `s`; none where there is a fill.
    ///
    /// # Panics
    /// If there is no stream `k`.
    pub fn frame_at(&self, k: usize, s: usize) -> Option<usize> {
        let runs = &self.streams[k].runs;
        let run = &runs[runs.partition_point(|run| run.step <= s).checked_sub(1)?];
        let passed = s - run.step;
        (passed.is_multiple_of(run.stride) && passed / run.stride < run.len).then(|| run.column + passed / run.stride)
    }

    fn most_frames(&self) -> usize {
        self.order.frames() - self.bracket.width()
    }

    /// The plan for a model's output, where position s holds what was predicted for step s + 1.
    ///
    /// ```text
    /// steps          I a0 a1 a2           undone as before
    /// output at      0  1  2  3
    /// predicts      a0 a1 a2  -           undone without start; the last position may be there or not
    /// ```
    /// Unchanged if the first step holds a code.
    ///
    /// # Source
    /// audiocraft `Pattern.revert_pattern_logits`.
    #[must_use]
    pub fn without_start(mut self) -> Self {
        if self.order.starts_empty() {
            self.order = self.order.behind_first();
            self.streams.iter_mut().flat_map(|row| &mut row.runs).for_each(|run| run.step -= 1);
        }
        self
    }
}

impl Sequencer for Plan {
    fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// As many for any number of frames up to that of the plan: the length does not tell how many there were.
    ///
    /// # Errors
    /// `Invalid` for more frames than the plan was made for, its bracket not counted.
    fn steps(&self, frames: usize) -> Result<usize> {
        let most = self.most_frames();
        match frames <= most {
            true => Ok(self.order.steps()),
            false => Err(Error::invalid("number of frames", frames, format!("at most {most}"))),
        }
    }

    /// Those that the plan was made for, whatever the length and however many the sequence was built from. Of a
    /// sequence of fewer, only so many of the first columns of [`undo`](Sequencer::undo) are codes.
    ///
    /// # Errors
    /// `Invalid` for more steps than the plan has.
    fn frames(&self, steps: usize) -> Result<usize> {
        match steps <= self.longest {
            true => Ok(self.most_frames()),
            false => Err(Error::invalid("number of steps", steps, format!("at most {}", self.longest))),
        }
    }

    fn runs(&self, k: usize, frames: usize) -> Runs<'_> {
        let runs = &self.streams[k].runs;
        // What lies behind the last code is tail: runs without any codes would make it a gap.
        let columns = self.bracket.columns(frames);
        let some = runs.partition_point(|run| run.column < columns).max(1);
        Runs::Many(runs[..some].iter())
    }

    fn fills(&self, k: usize) -> Fills {
        self.streams[k].fills
    }

    fn bracket(&self) -> Bracket {
        self.bracket
    }
}

/// Every stream's runs: codes that are as far apart as those before them go together.
fn compile(order: &Order) -> Vec<Vec<Run>> {
    let mut streams: Vec<Vec<Run>> = vec![Vec::new(); order.streams()];
    let mut heads = vec![order.steps(); order.streams()];
    for s in 0..order.steps() {
        for (t, k) in order.codes(s) {
            heads[k] = heads[k].min(s);
            if t < order.frames() {
                extend(&mut streams[k], s, t);
            }
        }
    }
    for (runs, head) in streams.iter_mut().zip(heads) {
        if runs.is_empty() {
            runs.push(Run { step: head, column: 0, len: 0, stride: 1 });
        }
    }
    streams
}

/// Adds a code to the last run if it goes on there, else begins another.
fn extend(runs: &mut Vec<Run>, step: usize, column: usize) {
    if let Some(run) = runs.last_mut()
        && column == run.column + run.len
    {
        let stride = step - (run.step + (run.len - 1) * run.stride);
        if run.len == 1 || stride == run.stride {
            (run.stride, run.len) = (stride, run.len + 1);
            return;
        }
    }
    runs.push(Run { step, column, len: 1, stride: 1 });
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2, s};

    use super::*;
    use crate::stream::{Frames, Steps};

    #[test]
    fn a_bracket_goes_through_any_order() {
        let layout = Layout::preset("higgs-v2").unwrap();
        let order = "coarse-first".parse::<Pattern>().unwrap().order_of(&layout, 4, Start::None).unwrap();
        let plan = Plan::of_layout(order.clone(), &layout, Extent::Extend).unwrap();
        let plan = plan.bracketed(&layout, Bracket::BOTH).unwrap();
        let codes = Frames(Array2::from_shape_fn((8, 2), |(k, t)| (10 * k + t) as i64));
        let built = plan.build(&codes).unwrap().tokens;
        assert_eq!(built.0.row(0).to_vec(), [1024, 0, 1, 1025, 1025, 1025, 1025, 1025]);
        assert_eq!(built.0.row(7).to_vec(), [1024, 1024, 1024, 1024, 1024, 70, 71, 1025]);
        assert_eq!(plan.labels(&codes, -1).unwrap().0.row(7).to_vec(), [-1, -1, -1, -1, -1, 70, 71, 1025]);
        assert_eq!(plan.undo(&built, -1).unwrap().codes, codes);
        assert!(plan.steps(3).is_err());
    }

    fn plan(pattern: &str, streams: usize, frames: usize) -> Plan {
        let order = pattern.parse::<Pattern>().unwrap().order(streams, frames, Start::None).unwrap();
        let fills = Fills { between: 8, ..Fills::edges(7, 9) };
        Plan::new(order, Extent::Extend, vec![fills; streams]).unwrap()
    }

    #[test]
    fn a_flattened_stream_is_one_run() {
        let plan = plan("flatten", 3, 100);
        for k in 0..3 {
            assert_eq!(plan.streams[k].runs, [Run { step: k, column: 0, len: 100, stride: 3 }]);
        }
    }

    #[test]
    fn a_stream_that_changes_its_pace_is_a_few_runs() {
        let plan = plan("delay:delays=none;flatten-first=2", 4, 100);
        // Frame 2, the first that is not flattened, happens to be as far from frame 1 as that is from frame 0.
        let first = Run { step: 0, column: 0, len: 3, stride: 4 };
        assert_eq!(plan.streams[0].runs, [first, Run { step: 9, column: 3, len: 97, stride: 1 }]);
        let first = Run { step: 1, column: 0, len: 2, stride: 4 };
        assert_eq!(plan.streams[1].runs, [first, Run { step: 8, column: 2, len: 98, stride: 1 }]);
    }

    #[test]
    fn heads_gaps_and_tails_have_their_own_fills() {
        let plan = plan("flatten", 2, 3);
        let built = plan.build(&Frames(arr2(&[[10, 11], [20, 21]]))).unwrap();
        assert_eq!(built.tokens.0, arr2(&[[10, 8, 11, 9, 9, 9], [7, 20, 8, 21, 9, 9]]));
        let none = plan.build(&Frames(Array2::<i64>::zeros((2, 0)))).unwrap();
        assert_eq!(none.tokens.0, arr2(&[[9; 6], [7, 9, 9, 9, 9, 9]]));
        assert!(!none.mask.0.iter().any(|&known| known));
    }

    #[test]
    fn what_a_short_sequence_lacks_comes_back_as_the_fill() {
        let undone = plan("flatten", 2, 2).undo(&Steps(arr2(&[[10, 8, 11], [7, 20, 8]])), -1).unwrap();
        assert_eq!(undone.codes.0, arr2(&[[10, 11], [20, -1]]));
        assert_eq!(undone.mask.0, arr2(&[[true, true], [true, false]]));
    }

    #[test]
    fn shorter_codes_come_back_in_the_first_columns() {
        let codes = Frames(arr2(&[[10, 11], [20, 21]]));
        let short = plan("flatten", 2, 3);
        let undone = short.undo(&short.build(&codes).unwrap().tokens, -1).unwrap();
        assert_eq!(undone.codes.0, arr2(&[[10, 11, 9], [20, 21, 9]]));
        assert!(undone.mask.0.iter().all(|&known| known));

        let layout = Layout::preset("higgs-v2").unwrap();
        let pattern: Pattern = "coarse-first".parse().unwrap();
        let short = pattern.plan(&layout, 6, Extent::Extend, Start::None).unwrap();
        let short = short.bracketed(&layout, Bracket::BOTH).unwrap();
        let codes = Frames(Array2::from_shape_fn((8, 2), |(k, t)| (10 * k + t) as i64));
        let undone = short.undo(&short.build(&codes).unwrap().tokens, -1).unwrap();
        assert_eq!(undone.codes.0.slice(s![.., ..2]), codes.0);
        assert_eq!(undone.codes.0.slice(s![.., 2..]), Array2::from_elem((8, 2), 1025));
        assert!(undone.mask.0.iter().all(|&known| known));
    }

    #[test]
    fn longer_grids_than_planned_are_refused() {
        let plan = plan("flatten", 2, 2);
        let error = plan.build(&Frames(Array2::<i64>::zeros((2, 3)))).unwrap_err();
        assert_eq!(error.to_string(), "number of frames is 3, expected at most 2");
        let error = plan.undo(&Steps(Array2::<i64>::zeros((2, 5))), -1).unwrap_err();
        assert_eq!(error.to_string(), "number of steps is 5, expected at most 4");
        assert!(plan.build(&Frames(Array2::<i64>::zeros((3, 2)))).is_err());
        assert!(Plan::new(plan.order().clone(), Extent::Extend, vec![]).is_err());
    }

    #[test]
    fn a_models_output_is_undone_without_the_start() {
        let order = "parallel".parse::<Pattern>().unwrap().order(1, 2, Start::Initial).unwrap();
        let plan = Plan::new(order, Extent::Extend, vec![Fills::all(7)]).unwrap().without_start();
        for output in [arr2(&[[1, 2]]), arr2(&[[1, 2, 3]])] {
            assert_eq!(plan.undo(&Steps(output), -1).unwrap().codes.0, arr2(&[[1, 2]]));
        }
        assert_eq!(plan.clone().without_start(), plan);
    }

    #[test]
    fn cells_know_their_frame() {
        let plan = plan("musiclm", 2, 2);
        let frames = |k| (0..5).map(|s| plan.frame_at(k, s)).collect::<Vec<_>>();
        assert_eq!(frames(0), [Some(0), None, Some(1), None, None]);
        assert_eq!(frames(1), [None, Some(0), None, Some(1), None]);
        assert_eq!(plan.step_of(1, 1, 2).unwrap(), Some(3));
    }
}
