//! The columns of Kyutai's own generation loop, where user and model take turns.
//!
//! ```text
//! delays 0 1 1 | 1: text t, the model's audio a and b, the user's audio u; i initial, - nothing
//!
//! step                      0    1    2    3
//! user hands in             u0   u1   u2   u3
//! model reads       text    i    t0   t1   t2     emitted one step ago
//!                   a, b    i    i    a1   a2     emitted one step ago; what came out at step 0 is dropped
//!                   u       i    i    u1   u2     handed in one delay ago; u0 is dropped
//! model emits       text    t0   t1   t2   t3
//!                   a, b    a0   a1   a2   a3
//! frame out                 -    t0   t1   t2     emitted when the frame's text came out ...
//!                           -    a1   a2   a3     ... and its audio, one delay later
//! ```

use super::ids;
use super::ring::Ring;
use super::rows::{check_batch, check_row, wrong_column};
use crate::error::{Error, Result};
use crate::stream::{Frames, Kind, Layout, Steps, Stream};
use crate::token::{ABSENT, Token, UNGENERATED};

/// What a [`KyutaiLine`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KyutaiOptions {
    /// Audio streams that the model generates: those that follow text. The rest are the user's. By default as many as
    /// the layout trains from the first one on: 8 of Moshi's 16, but all 16 of a layout that trains both speakers.
    pub dep_q: Option<usize>,
    /// Rows may start, pause and reset each by itself: a frame comes out of every step, and rows that have none hold
    /// ungenerated tokens (-2). By default no frame comes out until every row has one, and a reset of any row holds
    /// back the frames of all.
    pub out_of_sync: bool,
    /// Classifier-free guidance: the model reads every row twice, first all rows with their condition, then all
    /// without. Default false.
    pub guidance: bool,
}

/// Kyutai's `LMGen` without its model: what the model reads at each step, and the frames that come of what it emits.
///
/// A step is [`KyutaiLine::input`], the model, then [`KyutaiLine::output`]; or [`KyutaiLine::abandon`] where the model
/// fails. The directions in words:
///
/// - A stream with delay d reads its initial id in steps 0 to d. From then on text and the model's audio read what
///   was emitted one step ago, as the model's tokens are delayed already; the user's audio reads what was handed in
///   d steps ago.
/// - So the user's frame 0 is never read, and frame j stands where training has frame j - 1: training reads frame 0 at
///   step d + 1. Who needs them to agree hands in the first frame twice.
/// - What the model emits on a delayed stream in the first d steps is dropped, though the depth model reads it within
///   the step ([`KyutaiLine::depth_input`]), where training reads the initial id.
/// - Nothing comes out in the first [`max_delay`](Layout::max_delay) steps, all streams counted; then step s gives
///   frame s - max delay of text and the model's audio, each stream's token from the step that is its delay later.
/// - A row that is not active reads initial ids, takes nothing and gives ungenerated (-2).
///
/// Unlike the lines beside it this one follows its peer, not [`build`](crate::Sequencer::build).
///
/// # Examples
/// ```
/// use roundelay::delay::{KyutaiLine, KyutaiOptions};
/// use roundelay::{Frames, Layout, Steps};
///
/// let layout = Layout::preset("delay-1")?; // text and two audio streams, delays 0 1 1; let the second be the user's
/// let mut line = KyutaiLine::new(&layout, 1, KyutaiOptions { dep_q: Some(1), ..Default::default() })?;
/// let (mut input, mut frame) = ([0; 3], [0; 2]);
/// line.input(Frames(&[70]), Steps(&mut input))?;
/// assert_eq!(input, [32000, 2048, 2048]);
/// assert!(!line.output(Steps(&[3]), Steps(&[50]), Frames(&mut frame))?);
///
/// line.input(Frames(&[71]), Steps(&mut input))?;
/// assert_eq!(input, [3, 2048, 2048]);
/// assert!(line.output(Steps(&[4]), Steps(&[51]), Frames(&mut frame))?);
/// assert_eq!(frame, [3, 51]);
///
/// line.input(Frames(&[72]), Steps(&mut input))?;
/// assert_eq!(input, [4, 51, 71]); // neither 70 nor 50 was ever read
/// # Ok::<(), roundelay::Error>(())
/// ```
/// # Source
/// moshi 0.2.13, `models/lm.py`, `LMGen` and its streaming state.
#[derive(Debug, Clone)]
pub struct KyutaiLine<A> {
    streams: Vec<Stream>,
    options: KyutaiOptions,
    max_delay: usize,
    initial: Vec<A>,
    ungenerated: A,
    user: Ring<A>,
    emitted: Ring<A>,
    /// What the model emitted last, `[batch, 1 + dep_q]`.
    last: Vec<A>,
    /// Steps that each row has taken.
    offsets: Vec<usize>,
    active: Vec<bool>,
    /// Steps since any row was reset, whether a row took part or not.
    since_reset: usize,
    /// Between input and output.
    running: bool,
}

impl<A: Token> KyutaiLine<A> {
    /// A line for `batch` rows, all active and at their start.
    ///
    /// # Errors
    /// `Invalid` if the first stream is not text, the only one, if there are fewer than `dep_q` others, if there is no
    /// row, or if an id or ungenerated (-2) does not fit the token type; `OverLimit` as for the other lines.
    pub fn new(layout: &Layout, batch: usize, options: KyutaiOptions) -> Result<Self> {
        let streams = layout.streams().to_vec();
        let generated = 1 + generated_audio(&streams, options.dep_q)?;
        let misfit = |_| Error::invalid("token type", A::NAME, format!("a signed one, for {UNGENERATED}"));
        let ungenerated = A::try_from(UNGENERATED).map_err(misfit)?;
        let (max_delay, initial) = (layout.max_delay(), ids(layout, |stream| stream.initial)?);
        let (own, others) = streams.split_at(generated);
        let user = others.iter().map(|stream| stream.delay).collect();
        let emitted = own.iter().map(|stream| max_delay - stream.delay).collect();
        Ok(KyutaiLine {
            user: Ring::new(user, batch, &initial[generated..])?,
            emitted: Ring::new(emitted, batch, &initial[..generated])?,
            last: initial[..generated].repeat(batch),
            offsets: vec![0; batch],
            active: vec![true; batch],
            since_reset: 0,
            running: false,
            streams,
            options,
            max_delay,
            initial,
            ungenerated,
        })
    }

    /// Rows of the batch.
    pub fn batch(&self) -> usize {
        self.offsets.len()
    }

    /// Steps that each row has taken since its start or reset.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Audio streams that the model generates.
    pub fn dep_q(&self) -> usize {
        self.emitted.streams() - 1
    }

    /// Streams that the user is to hand in.
    pub fn user_streams(&self) -> usize {
        self.user.streams()
    }

    /// Says which rows take part from now on.
    ///
    /// # Errors
    /// `Invalid` if `active` is not `[batch]`, or between input and output.
    pub fn set_active(&mut self, active: &[bool]) -> Result<()> {
        self.check_running(false)?;
        check_batch("rows", active.len(), self.batch())?;
        self.active.copy_from_slice(active);
        Ok(())
    }

    /// Starts a row anew and makes it active.
    ///
    /// Unless the rows are out of sync, no row gives a frame in the next [`max_delay`](Layout::max_delay) steps.
    ///
    /// # Errors
    /// `Invalid` if there is no such row, or between input and output.
    pub fn reset(&mut self, row: usize) -> Result<()> {
        self.check_running(false)?;
        check_row(row, self.batch())?;
        (self.offsets[row], self.active[row], self.since_reset) = (0, true, 0);
        Ok(())
    }

    /// Takes the user's frame and gives what the model reads.
    ///
    /// # Shapes
    /// `user` is `[batch, stream]` with [`user_streams`](KyutaiLine::user_streams) or more, of which the last ones are
    /// not used; `input` is `[batch, stream]` with all streams, and twice the batch under guidance.
    /// # Errors
    /// `StreamCount` if the user's streams are too few; `Invalid` for another length, for a token of an active row that
    /// its stream does not know, or before the output of the step before. Then nothing has moved.
    pub fn input(&mut self, user: Frames<&[A]>, input: Steps<&mut [A]>) -> Result<()> {
        self.check_running(false)?;
        let given = self.check_user(user.0)?;
        let (batch, streams, generated) = (self.batch(), self.streams.len(), self.emitted.streams());
        let copies = if self.options.guidance { 2 } else { 1 };
        check_length(input.0.len(), copies * batch, streams)?;
        for row in 0..batch {
            let column = &mut input.0[row * streams..][..streams];
            if self.active[row] {
                let (own, others) = column.split_at_mut(generated);
                own.copy_from_slice(&self.last[row * generated..][..generated]);
                self.user.take(row, &user.0[row * given..][..self.user.streams()], others);
            }
            self.fill_initial(row, column);
        }
        if self.options.guidance {
            input.0.copy_within(..batch * streams, batch * streams);
        }
        self.running = true;
        Ok(())
    }

    /// Takes the step's input back, for when the model gave nothing: all rows are where they were before it.
    ///
    /// The step may then be tried again, or its rows paused or reset. Nothing happens where no step has begun.
    pub fn abandon(&mut self) {
        if std::mem::take(&mut self.running) {
            (0..self.batch()).filter(|&row| self.active[row]).for_each(|row| self.user.take_back(row));
        }
    }

    /// What the depth model reads within the step: the text token, then the audio tokens as sampled, all but the last.
    ///
    /// That is so from step 0 on, while training has initial ids there in a stream's first steps.
    ///
    /// # Shapes
    /// `text` is `[batch]`, after the caller's changes if there are any; `sampled` is `[batch, dep_q]`, before them;
    /// `depth` is `[batch, dep_q]`.
    /// # Errors
    /// `Invalid` for another length.
    pub fn depth_input(&self, text: Steps<&[A]>, sampled: Steps<&[A]>, depth: Steps<&mut [A]>) -> Result<()> {
        let dep_q = self.dep_q();
        self.check_emitted(text.0, sampled.0)?;
        check_length(depth.0.len(), self.batch(), dep_q)?;
        for (row, &text) in text.0.iter().enumerate() {
            if let Some((first, rest)) = depth.0[row * dep_q..][..dep_q].split_first_mut() {
                *first = text;
                rest.copy_from_slice(&sampled.0[row * dep_q..][..dep_q - 1]);
            }
        }
        Ok(())
    }

    /// Takes what the model emitted, after the caller's changes if any, and gives the frame that is whole now.
    ///
    /// Returns false, with `frame` untouched, where Kyutai's code returns `None`. Emitted tokens are taken as they are.
    ///
    /// # Shapes
    /// `text` is `[batch]`, `audio` is `[batch, dep_q]`, `frame` is `[batch, 1 + dep_q]`.
    /// # Errors
    /// `Invalid` for another length, or before the step's input. Then nothing has moved.
    pub fn output(&mut self, text: Steps<&[A]>, audio: Steps<&[A]>, frame: Frames<&mut [A]>) -> Result<bool> {
        self.check_running(true)?;
        self.check_emitted(text.0, audio.0)?;
        let (batch, generated, dep_q) = (self.batch(), self.emitted.streams(), self.dep_q());
        check_length(frame.0.len(), batch, generated)?;
        self.running = false;
        self.since_reset += 1;
        let whole = self.options.out_of_sync || self.since_reset > self.max_delay;
        for row in 0..batch {
            if self.active[row] {
                let last = &mut self.last[row * generated..][..generated];
                last[0] = text.0[row];
                last[1..].copy_from_slice(&audio.0[row * dep_q..][..dep_q]);
                self.emitted.push(row, last.iter().copied());
                self.offsets[row] += 1;
            }
            if whole {
                self.give(row, &mut frame.0[row * generated..][..generated]);
            }
        }
        Ok(whole)
    }

    /// The row's frame that its newest tokens made whole.
    fn give(&self, row: usize, frame: &mut [A]) {
        match self.active[row] && self.offsets[row] > self.max_delay {
            true => self.emitted.newest(row, frame),
            false => frame.fill(self.ungenerated),
        }
    }

    /// Writes initial ids where the row reads nothing else yet.
    fn fill_initial(&self, row: usize, column: &mut [A]) {
        let (offset, active) = (self.offsets[row], self.active[row]);
        for ((token, stream), &initial) in column.iter_mut().zip(&self.streams).zip(&self.initial) {
            if !active || offset <= stream.delay {
                *token = initial;
            }
        }
    }

    fn check_running(&self, expected: bool) -> Result<()> {
        match self.running == expected {
            true => Ok(()),
            false if expected => Err(Error::invalid("call", "output", "the step's input before it")),
            false => Err(Error::invalid(
                "call",
                "one between input and output",
                "the step's output before it, or that it is abandoned",
            )),
        }
    }

    /// Streams that the user hands in, if they will do.
    fn check_user(&self, user: &[A]) -> Result<usize> {
        let (batch, needed) = (self.batch(), self.user.streams());
        let given = user.len() / batch;
        if !user.len().is_multiple_of(batch) {
            return Err(wrong_column(user.len(), batch, needed));
        }
        if given < needed {
            return Err(crate::ErrorKind::StreamCount { found: given, expected: needed }.into());
        }
        let others = &self.streams[self.emitted.streams()..];
        for row in (0..batch).filter(|&row| self.active[row]) {
            let column = &user[row * given..];
            others.iter().zip(column).try_for_each(|(stream, &token)| check_token(stream, token.into()))?;
        }
        Ok(given)
    }

    fn check_emitted(&self, text: &[A], audio: &[A]) -> Result<()> {
        check_length(text.len(), self.batch(), 1)?;
        check_length(audio.len(), self.batch(), self.dep_q())
    }
}

/// Audio streams that the model generates, of streams that are text first, and nowhere else.
fn generated_audio(streams: &[Stream], dep_q: Option<usize>) -> Result<usize> {
    for (k, stream) in streams.iter().enumerate() {
        let expected =
            if k == 0 { "text, as the first stream" } else { "semantic or acoustic, after the first stream" };
        if (stream.kind == Kind::Text) != (k == 0) {
            return Err(Error::invalid("kind", format!("{:?}", stream.kind), expected).in_stream(&stream.name));
        }
    }
    let audio = &streams[1..];
    let dep_q = dep_q.unwrap_or_else(|| audio.iter().take_while(|stream| stream.trained).count());
    match dep_q <= audio.len() {
        true => Ok(dep_q),
        false => Err(Error::invalid("dep_q", dep_q, format!("at most the {} audio streams", audio.len()))),
    }
}

/// A user's token is a code, the initial id or absent.
fn check_token(stream: &Stream, token: i64) -> Result<()> {
    let code = (0..i64::from(stream.cardinality)).contains(&token);
    if code || token == i64::from(stream.initial) || token == ABSENT {
        return Ok(());
    }
    let expected = format!("0..{}, {}, or -1 where there is none", stream.cardinality, stream.initial);
    Err(Error::invalid("user's token", token, expected).in_stream(&stream.name))
}

fn check_length(found: usize, batch: usize, streams: usize) -> Result<()> {
    match found == batch * streams {
        true => Ok(()),
        false => Err(wrong_column(found, batch, streams)),
    }
}
