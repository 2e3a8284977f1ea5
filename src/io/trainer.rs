//! A trainer as a child process.
//!
//! ```text
//! Process ── messages ──> thread ──> its standard input         each waits at most the deadline,
//!         <─ answers  ─── thread <── its standard output        counted from when anything last went through
//!                         thread <── its standard error ──> ours, and the last lines kept
//! ```
//!
//! Nobody waits for a pipe itself, only for a thread that does: a trainer that has been stopped may have left another
//! process behind which holds the pipe open.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::backend::{BatchSpec, Process, Trainer};
use crate::error::{Error, Result};

/// How long a trainer may take to end once it is to.
const GRACE: Duration = Duration::from_secs(5);
/// How long its last words may take to arrive.
const WORDS: Duration = Duration::from_millis(500);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);
/// What goes through at once.
const PIECE: usize = 1 << 20;
/// Pieces of answers that are read before they are wanted.
const AHEAD: usize = 16;
/// Lines of its standard error that are kept, and bytes of each.
const LINES: usize = 20;
const LINE: usize = 400;

/// A program that trains, and how long it may be silent.
///
/// # Examples
/// ```
/// use roundelay::io::TrainerCommand;
/// let trainer = TrainerCommand::parse(r#"python3 -u "my trainer.py" --lr 1e-4"#)?;
/// assert_eq!(trainer.words, ["python3", "-u", "my trainer.py", "--lr", "1e-4"]);
/// assert_eq!(trainer.deadline.as_secs(), 600);
/// # Ok::<(), roundelay::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainerCommand {
    /// The program and its arguments. No shell sees them.
    pub words: Vec<String>,
    /// How long an answer may take; ten minutes by default. A trainer that does nothing for longer is stopped.
    pub deadline: Duration,
}

impl TrainerCommand {
    /// Splits a line as a shell does: at spaces, but not within `'..'` or `".."`; a backslash takes a space, a quote or a
    /// backslash for itself. Nothing else means anything.
    ///
    /// # Errors
    /// `Malformed` for a quote that is not closed; `Invalid` if no word is there.
    pub fn parse(line: &str) -> Result<Self> {
        Ok(TrainerCommand { words: split(line)?, deadline: Duration::from_secs(600) })
    }

    fn shown(&self) -> String {
        let quoted = |word: &String| match word.contains(|c: char| c.is_whitespace() || c == '"' || c == '\\') {
            true => format!("'{word}'"),
            false => word.clone(),
        };
        self.words.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}

fn split(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let escapes = letter == '\\' && quote != Some('\'');
        if let Some(taken) = letters.next_if(|next| escapes && matches!(next, ' ' | '"' | '\'' | '\\')) {
            word.get_or_insert_default().push(taken);
        } else if quote == Some(letter) {
            quote = None;
        } else if quote.is_none() && matches!(letter, '"' | '\'') {
            quote = Some(letter);
            word.get_or_insert_default();
        } else if quote.is_none() && letter.is_whitespace() {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(letter);
        }
    }
    words.extend(word);
    match quote {
        Some(quote) => Err(Error::malformed("command", format!("{quote} is not closed: {line}"))),
        None if words.is_empty() => Err(Error::invalid("command", "empty", "a program and its arguments")),
        None => Ok(words),
    }
}

/// Starts a program and has it build its model for such batches; the options are its own. Dropping what it gives ends the
/// program: its input is closed, and after five seconds it is killed.
///
/// Its standard error goes to ours. Its standard output is for answers alone: `docs/format.md` has the protocol.
///
/// # Errors
/// `Io` if there is no such program, if it ends, refuses or is silent beyond the deadline, with its last words;
/// `Malformed` or `Unsupported` if it says something that is no answer.
pub fn spawn_trainer(command: &TrainerCommand, spec: &BatchSpec, options: &serde_json::Value) -> Result<Process> {
    let (program, arguments) =
        command.words.split_first().ok_or_else(|| Error::invalid("command", "empty", "a program and its arguments"))?;
    let doing = || format!("start the trainer `{}`", command.shown());
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().map_err(|e| Error::io(doing(), e))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let watch = Arc::new(Watch {
        command: command.shown(),
        deadline: command.deadline,
        child: Mutex::new(Reaped(child)),
        moved: Mutex::new(Instant::now()),
        stalled: AtomicBool::new(false),
    });
    let (Some(input), Some(output), Some(error)) = pipes else { unreachable!("all three were asked for") };
    let pipes = threads((input, output, error), &watch);
    let (answers, messages, stderr) = pipes.map_err(|e| Error::io(doing(), e))?;
    Process::start((answers, messages), Behind { watch, stderr }, spec, options)
}

/// The threads that wait for pipes, and what they are heard by.
fn threads(
    (mut input, mut output, mut error): (ChildStdin, ChildStdout, ChildStderr),
    watch: &Arc<Watch>,
) -> io::Result<(Answers, Messages, Stderr)> {
    let (to, messages) = channel::<Vec<u8>>();
    let (wrote, written) = sync_channel(1);
    start("trainer's input", move || {
        // It ends when the host lets go, or the trainer; either is seen at the other end of a channel.
        messages.iter().map(|piece| input.write_all(&piece)).try_for_each(|done| wrote.send(done)).unwrap_or_default();
    })?;
    let (read, from) = sync_channel(AHEAD);
    start("trainer's output", move || pump(&mut output, |piece| read.send(piece.to_vec()).is_ok()))?;
    let lines = Arc::<Mutex<Lines>>::default();
    let keep = Arc::clone(&lines);
    let thread = start("trainer's words", move || {
        pump(&mut error, |piece| {
            held(&keep).add(piece);
            // If there is no place to say them, they are kept all the same.
            io::stderr().write_all(piece).unwrap_or_default();
            true
        });
    })?;
    let answers = Answers { from, piece: Vec::new(), at: 0, watch: Arc::clone(watch) };
    Ok((answers, Messages { to, written, watch: Arc::clone(watch) }, Stderr { lines, thread }))
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(run)
}

/// Hands on what a pipe gives until it ends, or nobody wants it.
fn pump(from: &mut impl Read, mut to: impl FnMut(&[u8]) -> bool) {
    let mut piece = vec![0; 1 << 16];
    loop {
        match from.read(&mut piece) {
            Err(e) if e.kind() == ErrorKind::Interrupted => (),
            Ok(read) if read > 0 && to(&piece[..read]) => (),
            _ => return,
        }
    }
}

/// What is known of the child, and how long anybody has waited.
struct Watch {
    command: String,
    deadline: Duration,
    child: Mutex<Reaped>,
    /// When anything last went through, either way.
    moved: Mutex<Instant>,
    stalled: AtomicBool,
}

impl Watch {
    /// Waits for a thread that waits for the trainer; none where that has ended. Too long, and the trainer is stopped.
    fn wait<T>(&self, from: &Receiver<T>) -> io::Result<Option<T>> {
        // Its pipes may be held open still by what it started.
        if self.stalled.load(Ordering::Relaxed) {
            return Err(ErrorKind::TimedOut.into());
        }
        let begun = Instant::now();
        loop {
            let still = begun.max(*held(&self.moved)).elapsed();
            match from.recv_timeout(self.deadline.saturating_sub(still)) {
                Ok(moved) => {
                    *held(&self.moved) = Instant::now();
                    return Ok(Some(moved));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if begun.max(*held(&self.moved)).elapsed() < self.deadline => (),
                Err(RecvTimeoutError::Timeout) => {
                    self.stalled.store(true, Ordering::Relaxed);
                    held(&self.child).0.kill()?;
                    return Err(ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// A child that does not outlive its host. By then its input is closed, which tells it to end.
struct Reaped(Child);

impl Reaped {
    /// How it ended; none if it had to be killed.
    fn end(&mut self) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            thread::sleep(LOOK);
        }
        // One that has ended meanwhile needs no killing.
        let _ = self.0.kill().and_then(|()| self.0.wait());
        None
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        self.end();
    }
}

struct Messages {
    to: Sender<Vec<u8>>,
    written: Receiver<io::Result<()>>,
    watch: Arc<Watch>,
}

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        let sent = self.to.send(piece.to_vec()).is_ok();
        match self.watch.wait(&self.written)? {
            Some(written) if sent => written.map(|()| piece.len()),
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Answers {
    from: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    watch: Arc<Watch>,
}

impl Read for Answers {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece = self.watch.wait(&self.from)?.unwrap_or_default();
            self.at = 0;
        }
        let read = (&self.piece[self.at..]).read(to)?;
        self.at += read;
        Ok(read)
    }
}

/// What it says to people.
struct Stderr {
    lines: Arc<Mutex<Lines>>,
    thread: JoinHandle<()>,
}

impl Stderr {
    /// The last lines, once they are all there or no more can be waited for.
    fn last(&self) -> Vec<String> {
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < WORDS {
            thread::sleep(LOOK);
        }
        held(&self.lines).all()
    }
}

/// The last lines of a text that comes in pieces.
#[derive(Default)]
struct Lines {
    whole: VecDeque<String>,
    begun: Vec<u8>,
}

impl Lines {
    fn add(&mut self, piece: &[u8]) {
        for &byte in piece {
            match byte {
                // Progress that is drawn over and over ends in the latter.
                b'\n' | b'\r' => self.end_line(),
                _ if self.begun.len() < LINE => self.begun.push(byte),
                _ => (),
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.begun).trim_end().to_owned();
        self.begun.clear();
        if !line.is_empty() {
            self.whole.push_back(line);
        }
        if self.whole.len() > LINES {
            self.whole.pop_front();
        }
    }

    fn all(&mut self) -> Vec<String> {
        self.end_line();
        self.whole.iter().cloned().collect()
    }
}

/// What the host asks when answers end.
struct Behind {
    watch: Arc<Watch>,
    stderr: Stderr,
}

impl Trainer for Behind {
    fn fate(&mut self) -> String {
        let how = match self.watch.stalled.load(Ordering::Relaxed) {
            true => format!("did nothing for {} s and was stopped", self.watch.deadline.as_secs_f64()),
            false => match held(&self.watch.child).end() {
                Some(status) => match status.code() {
                    Some(code) => format!("ended with status {code}"),
                    None => format!("was ended by {status}"),
                },
                None => "closed its pipes and was stopped".into(),
            },
        };
        let words: String = self.stderr.last().iter().map(|line| format!("\n  {line}")).collect();
        let words = if words.is_empty() { " without a word".into() } else { format!("; its last words:{words}") };
        format!("`{}` {how}{words}", self.watch.command)
    }
}

/// Nothing that is held is left half changed, whoever panicked meanwhile.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_does() {
        for (line, words) in [
            ("a  b\tc ", &["a", "b", "c"][..]),
            (r#"a' b "c'd"#, &[r#"a b "cd"#]),
            (r#""a \" b" '' c\ d"#, &[r#"a " b"#, "", "c d"]),
            (r"C:\python\python.exe 'x\ y'", &[r"C:\python\python.exe", r"x\ y"]),
            ("$HOME *.py; ls | wc", &["$HOME", "*.py;", "ls", "|", "wc"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        let errors = ["a 'b", " "].map(|line| TrainerCommand::parse(line).unwrap_err().to_string());
        let expected = ["command is ill-formed: ' is not closed: a 'b"];
        assert_eq!(errors[..1], expected);
        assert_eq!(errors[1], "command is empty, expected a program and its arguments");
    }

    #[test]
    fn the_last_lines_are_kept_whatever_the_pieces() {
        let text: String = (0..50).map(|i| format!("line {i}\r\n")).collect();
        for size in 1..12 {
            let mut lines = Lines::default();
            text.as_bytes().chunks(size).for_each(|piece| lines.add(piece));
            let expected: Vec<_> = (30..50).map(|i| format!("line {i}")).collect();
            assert_eq!(lines.all(), expected);
        }
        let mut lines = Lines::default();
        lines.add(&[b'x'; 10_000]);
        assert_eq!(lines.all(), ["x".repeat(LINE)]);
    }
}
