//! What goes over a stream between two workers.
//!
//! ```text
//! magic  kind  rank  step  length   payload
//! u32    u32   u32   u64   u64      length bytes       all little-endian
//!
//! HELLO       rank of the spoke, length 0; step: how many workers it expects
//! BROADCAST   rank of the root; floats (from the root and to the others) or nothing (from the others)
//! ALL_REDUCE  integers
//! LOST        rank of a worker that is lost or out of step; why, in words
//! ```

use std::io::{self, Read, Write};

use crate::error::{Error, Result};

/// The first bytes of every frame; the last is the version.
const MAGIC: u32 = u32::from_le_bytes(*b"rnd\x01");
/// Longest text that is read of why a worker was lost.
const WORDS: u64 = 4096;
/// Bytes before the payload.
pub(super) const HEADER: usize = 28;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Broadcast,
    AllReduce,
    Lost,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Hello, Kind::Broadcast, Kind::AllReduce, Kind::Lost];
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: Kind,
    pub rank: usize,
    pub step: u64,
    pub length: u64,
}

impl Head {
    fn bytes(&self) -> [u8; HEADER] {
        let kind = Kind::ALL.iter().position(|&kind| kind == self.kind).expect("every kind is in the list");
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&(kind as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.rank as u32).to_le_bytes());
        bytes[12..20].copy_from_slice(&self.step.to_le_bytes());
        bytes[20..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    fn parse(bytes: [u8; HEADER]) -> Option<Head> {
        let small = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let large = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let kind = *Kind::ALL.get(small(4) as usize)?;
        (small(0) == MAGIC).then_some(Head { kind, rank: small(8) as usize, step: large(12), length: large(20) })
    }

    /// The operation in words, for messages.
    pub fn describe(&self) -> String {
        let Head { kind, rank, step, length } = self;
        match kind {
            Kind::Hello => format!("greeting of worker {rank} of {step}"),
            Kind::Broadcast => format!("broadcast from worker {rank} of {} floats, operation {step}", length / 4),
            Kind::AllReduce => format!("sum of {} numbers, operation {step}", length / 8),
            Kind::Lost => format!("loss of worker {rank}"),
        }
    }
}

/// Sends one frame in one write: sockets hold back the second of two small ones.
pub(super) fn write(stream: &mut impl Write, head: Head, payload: &[u8]) -> io::Result<()> {
    stream.write_all(&[&head.bytes(), payload].concat())?;
    stream.flush()
}

/// Reads the head of the next frame from worker `from`.
pub(super) fn read_head(stream: &mut impl Read, from: usize) -> Result<Head> {
    let mut bytes = [0; HEADER];
    stream.read_exact(&mut bytes).map_err(|error| lost(from, error))?;
    Head::parse(bytes).ok_or_else(|| Error::malformed(format!("what worker {from} sent"), "it is not a frame"))
}

/// Reads the payload of a frame whose length was found to be right.
pub(super) fn read_payload(stream: &mut impl Read, from: usize, bytes: &mut Vec<u8>, length: u64) -> Result<()> {
    bytes.resize(length as usize, 0);
    stream.read_exact(bytes).map_err(|error| lost(from, error))
}

/// Reads why a worker was lost.
pub(super) fn read_words(stream: &mut impl Read, length: u64) -> String {
    let mut bytes = Vec::new();
    // What cannot be read of it is left out: the rank is known from the head.
    let _ = stream.take(length.min(WORDS)).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The error of a stream that failed.
pub(super) fn lost(rank: usize, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => "it is gone",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "it is gone",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it did not answer in time",
        _ => return Error::io(doing(rank), error),
    };
    Error::io(doing(rank), io::Error::new(error.kind(), why))
}

/// The error of a worker that somebody else lost.
pub(super) fn told(rank: usize, words: String) -> Error {
    Error::io(doing(rank), io::Error::other(words))
}

fn doing(rank: usize) -> String {
    format!("go on with worker {rank}")
}
