//! The star: worker 0 in the middle, a stream to each of the others.

use std::io::{self, Read, Write};

use super::frame::{self, Head, Kind, lost, told};
use super::{Collective, check_root};
use crate::error::{Error, ErrorKind, Result};

/// Worker 0, which has a stream to each other worker.
///
/// It hears the others one after another in the order of their ranks. If one is lost or out of step, all that can still
/// be reached are told which and why. A worker that hangs is noticed when reading from its stream or writing to it times
/// out, if whoever opened the stream has set both.
#[derive(Debug)]
pub struct Hub<S> {
    /// The stream of rank r is at r - 1.
    streams: Vec<S>,
    step: u64,
    state: State,
    bytes: Vec<u8>,
}

/// A worker other than 0, which has one stream: to worker 0.
///
/// Its stream should wait at least as long as the hub's streams do together, since the hub may itself be waiting for
/// others; else worker 0 is blamed for one that hangs.
#[derive(Debug)]
pub struct Spoke<S> {
    stream: S,
    rank: usize,
    size: usize,
    step: u64,
    state: State,
    bytes: Vec<u8>,
}

/// Whether the group still is one: the rank that broke it and why.
type State = std::result::Result<(), (usize, String)>;

/// The error of every operation after the first that failed.
fn check(state: &State) -> Result<()> {
    state.as_ref().map_err(|(rank, why)| told(*rank, why.clone())).copied()
}

impl<S: Read + Write> Hub<S> {
    /// Hears the greetings of the others, which may have connected in any order.
    ///
    /// # Errors
    /// `Io` if a stream ends, `Malformed` if it does not greet, `Invalid` if the ranks are not each of 1, 2, ... once, or
    /// a worker expects another number of workers.
    pub fn new(mut streams: Vec<S>) -> Result<Self> {
        let size = streams.len() + 1;
        let mut places: Vec<Option<S>> = (1..size).map(|_| None).collect();
        for (index, mut stream) in streams.drain(..).enumerate() {
            // Until it has greeted, a stream's rank is not known; its place in the list is the best name there is.
            let head = frame::read_head(&mut stream, index + 1)?;
            let place = head.rank.checked_sub(1).and_then(|place| places.get_mut(place));
            match place {
                Some(place @ None) if head.kind == Kind::Hello && head.step == size as u64 => *place = Some(stream),
                _ => {
                    let expected = format!("greetings of workers 1 to {} of {size}, each once", size - 1);
                    return Err(Error::invalid("what a worker said first", head.describe(), expected));
                }
            }
        }
        let streams = places.into_iter().flatten().collect();
        Ok(Hub { streams, step: 0, state: Ok(()), bytes: Vec::new() })
    }

    /// Hears one operation from every spoke and gives its payload to `take`.
    fn hear_all(
        &mut self,
        expected: impl Fn(usize) -> Head,
        mut take: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        check(&self.state)?;
        let mut failed = None;
        for (rank, stream) in (1..).zip(&mut self.streams) {
            let heard = hear(stream, rank, expected(rank), &mut self.bytes).and_then(|()| take(rank, &self.bytes));
            // The rest are heard even so: one that is still sending could not read what it is told.
            failed = failed.or(heard.err().map(|error| (rank, error)));
        }
        failed.map_or(Ok(()), |(rank, error)| Err(self.give_up(rank, error)))
    }

    /// Answers every spoke, which ends the operation.
    fn answer_all(&mut self, reply: impl Fn(usize) -> (Head, Vec<u8>)) -> Result<()> {
        for rank in 1..self.size() {
            let (head, payload) = reply(rank);
            if let Err(error) = frame::write(&mut self.streams[rank - 1], head, &payload) {
                return Err(self.give_up(rank, lost(rank, error)));
            }
        }
        self.step += 1;
        Ok(())
    }

    /// Tells everybody who can still be told which worker broke the group.
    fn give_up(&mut self, rank: usize, error: Error) -> Error {
        let why = reason(&error);
        let head = Head { kind: Kind::Lost, rank, step: self.step, length: why.len() as u64 };
        for stream in &mut self.streams {
            // One that cannot be told is lost as well; the first is the one to name.
            let _ = frame::write(stream, head, why.as_bytes());
        }
        self.state = Err((rank, why));
        error
    }
}

/// Reads one frame, which must be `expected`, and its payload.
fn hear(stream: &mut impl Read, rank: usize, expected: Head, bytes: &mut Vec<u8>) -> Result<()> {
    let head = frame::read_head(stream, rank)?;
    if head != expected {
        // What it goes on to say is heard to the end, else it could not hear what it is told.
        let _ = io::copy(&mut stream.take(head.length), &mut io::sink());
        let what = format!("operation of worker {rank}");
        return Err(Error::invalid(what, head.describe(), expected.describe()));
    }
    frame::read_payload(stream, rank, bytes, head.length)
}

/// Why, without "cannot go on with worker 3", which whoever is told says again.
fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Io { source, .. } => source.to_string(),
        _ => error.to_string(),
    }
}

impl<S: Read + Write> Collective for Hub<S> {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        self.streams.len() + 1
    }

    fn broadcast(&mut self, root: usize, data: &mut [f32]) -> Result<()> {
        check_root(root, self.size())?;
        let (step, whole) = (self.step, 4 * data.len() as u64);
        let head = |length| Head { kind: Kind::Broadcast, rank: root, step, length };
        let take = |rank, bytes: &[u8]| {
            if rank == root {
                read_floats(bytes, data);
            }
            Ok(())
        };
        self.hear_all(|rank| head(if rank == root { whole } else { 0 }), take)?;
        self.answer_all(|rank| if rank == root { (head(0), Vec::new()) } else { (head(whole), floats(data)) })
    }

    fn all_reduce(&mut self, sums: &mut [i64]) -> Result<()> {
        let head = Head { kind: Kind::AllReduce, rank: 0, step: self.step, length: 8 * sums.len() as u64 };
        self.hear_all(|_| head, |rank, bytes| add(sums, rank, bytes))?;
        self.answer_all(|_| (head, integers(sums)))
    }
}

/// Adds what a worker sent.
fn add(sums: &mut [i64], rank: usize, bytes: &[u8]) -> Result<()> {
    for (sum, bytes) in sums.iter_mut().zip(bytes.as_chunks().0) {
        let added = sum.checked_add(i64::from_le_bytes(*bytes));
        *sum = added
            .ok_or_else(|| Error::over_limit("sum of the workers", format!("too large at worker {rank}"), "2^63"))?;
    }
    Ok(())
}

fn floats(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn integers(data: &[i64]) -> Vec<u8> {
    data.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read_floats(bytes: &[u8], data: &mut [f32]) {
    data.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
}

impl<S: Read + Write> Spoke<S> {
    /// Greets worker 0 as worker `rank` of `size`.
    ///
    /// # Errors
    /// `Invalid` if there is no such worker, or it is worker 0; `Io` if the stream fails.
    pub fn new(mut stream: S, rank: usize, size: usize) -> Result<Self> {
        if !(1..size).contains(&rank) {
            return Err(Error::invalid("rank of a worker with one stream", rank, format!("1 to {}", size.max(1) - 1)));
        }
        let head = Head { kind: Kind::Hello, rank, step: size as u64, length: 0 };
        frame::write(&mut stream, head, &[]).map_err(|error| lost(0, error))?;
        Ok(Spoke { stream, rank, size, step: 0, state: Ok(()), bytes: Vec::new() })
    }

    /// Runs one operation: says `head` with a payload and hears `answer`, whose payload is then in `bytes`.
    fn operate(&mut self, head: Head, payload: &[u8], answer: Head) -> Result<()> {
        check(&self.state)?;
        let sent = frame::write(&mut self.stream, head, payload);
        // If worker 0 gave up, sending may fail; what it said last can still be read and tells more.
        let result = self.hear(answer).and(sent.map_err(|error| (0, lost(0, error))));
        self.step += 1;
        result.map_err(|(rank, error)| {
            self.state = Err((rank, reason(&error)));
            error
        })
    }

    /// Hears the answer of worker 0, or which worker it lost.
    fn hear(&mut self, answer: Head) -> std::result::Result<(), (usize, Error)> {
        let head = frame::read_head(&mut self.stream, 0).map_err(|error| (0, error))?;
        if head.kind == Kind::Lost {
            let words = frame::read_words(&mut self.stream, head.length);
            return Err((head.rank, told(head.rank, words)));
        }
        if head != answer {
            return Err((0, Error::invalid("answer of worker 0", head.describe(), answer.describe())));
        }
        frame::read_payload(&mut self.stream, 0, &mut self.bytes, head.length).map_err(|error| (0, error))
    }
}

impl<S: Read + Write> Collective for Spoke<S> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn broadcast(&mut self, root: usize, data: &mut [f32]) -> Result<()> {
        check_root(root, self.size)?;
        let head = |length| Head { kind: Kind::Broadcast, rank: root, step: self.step, length };
        let (nothing, whole) = (head(0), head(4 * data.len() as u64));
        if root == self.rank {
            return self.operate(whole, &floats(data), nothing);
        }
        self.operate(nothing, &[], whole)?;
        read_floats(&self.bytes, data);
        Ok(())
    }

    fn all_reduce(&mut self, sums: &mut [i64]) -> Result<()> {
        let head = Head { kind: Kind::AllReduce, rank: 0, step: self.step, length: 8 * sums.len() as u64 };
        self.operate(head, &integers(sums), head)?;
        sums.iter_mut().zip(self.bytes.as_chunks().0).for_each(|(sum, bytes)| *sum = i64::from_le_bytes(*bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A stream that says what it was given and takes everything.
    #[derive(Debug)]
    struct Script(io::Cursor<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn frame(head: Head, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, head, payload).unwrap();
        bytes
    }

    fn heads() -> impl Strategy<Value = Head> {
        let kind = prop_oneof![Just(Kind::Hello), Just(Kind::Broadcast), Just(Kind::AllReduce), Just(Kind::Lost)];
        let number = || prop_oneof![0u64..4, Just(16), any::<u64>()];
        (kind, 0usize..4, number(), number()).prop_map(|(kind, rank, step, length)| Head { kind, rank, step, length })
    }

    #[test]
    fn frame_is_written_as_the_picture_says() {
        let head = Head { kind: Kind::AllReduce, rank: 3, step: 5, length: 2 };
        let expected = b"rnd\x01\x02\0\0\0\x03\0\0\0\x05\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0ab";
        assert_eq!(frame(head, b"ab"), expected);
        assert_eq!(frame::read_head(&mut &expected[..], 1).unwrap(), head);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_answer_or_an_error(heads in vec(heads(), 0..4), tail in vec(any::<u8>(), 0..80)) {
            let mut bytes = frame(Head { kind: Kind::Hello, rank: 1, step: 2, length: 0 }, &[]);
            heads.iter().for_each(|&head| bytes.extend(frame(head, &[7; 16])));
            bytes.extend(tail);
            // The first of them greets; what follows is heard by the hub, or by the spoke.
            let answer = bytes[frame::HEADER..].to_vec();
            let mut hub = Hub::new(vec![Script(io::Cursor::new(bytes))]).unwrap();
            let mut spoke = Spoke::new(Script(io::Cursor::new(answer)), 1, 2).unwrap();
            for worker in [&mut hub as &mut dyn Collective, &mut spoke] {
                let first = worker.all_reduce(&mut [1, 2]);
                let right = Head { kind: Kind::AllReduce, rank: 0, step: 0, length: 16 };
                prop_assert_eq!(first.is_ok(), heads.first() == Some(&right));
                let second = worker.broadcast(1, &mut [1.0; 4]);
                prop_assert!(first.is_ok() || second.is_err(), "an error is final");
            }
        }
    }
}
