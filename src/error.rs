//! One error for the whole crate: what went wrong, and where.
//!
//! ```text
//! words/a.json:3: recording "a.wav", stream main.1, frame 12: code is 2050, expected 0..2048
//! └─ Position ───────────────────────────────────────────┘  └─ ErrorKind ─────────────────┘
//! ```

use std::fmt;
use std::io;

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong ([`Error::kind`]) and where ([`Error::position`]).
///
/// The parts of the position are filled in by whoever knows them: the layout knows the stream, the reader the line,
/// the pipeline the recording.
///
/// # Examples
/// ```
/// use roundelay::{Error, ErrorKind};
/// let error = Error::invalid("code", 2050, "0..2048").in_stream("main.1").at_frame(12);
/// assert_eq!(error.to_string(), "stream main.1, frame 12: code is 2050, expected 0..2048");
/// assert!(matches!(error.kind(), ErrorKind::Invalid { .. }));
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    position: Position,
}

/// The kinds of failure a caller may want to tell apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    Io {
        /// The operation, as in "open the recording".
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The input is not what its format says.
    #[error("{what} is ill-formed: {detail}")]
    Malformed {
        /// The thing read, as in "words file".
        what: String,
        /// What does not fit.
        detail: String,
    },
    /// The input is well-formed but outside what this crate handles.
    #[error("{what} is not supported: {detail}")]
    Unsupported {
        /// The thing asked for.
        what: String,
        /// What is supported instead.
        detail: String,
    },
    /// The input asks for more than a stated limit.
    #[error("{what} is {found}, over the limit of {limit}")]
    OverLimit {
        /// The quantity.
        what: String,
        /// Its value.
        found: String,
        /// The limit.
        limit: String,
    },
    /// A grid does not have one row for each stream of the layout.
    #[error("the grid has {found} streams, expected {expected}")]
    StreamCount {
        /// Rows of the grid.
        found: usize,
        /// Streams of the layout.
        expected: usize,
    },
    /// A sequence is too short for its delays to be undone.
    #[error("the sequence has {found} steps, expected at least {expected}")]
    TooShort {
        /// Steps of the sequence.
        found: usize,
        /// The least number of steps that these delays give.
        expected: usize,
    },
    /// A value is not one of those allowed.
    #[error("{what} is {found}, expected {expected}")]
    Invalid {
        /// The field or quantity.
        what: String,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
}

/// Where an error happened; unknown parts are `None`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// File, as the user named it.
    pub file: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Recording or segment.
    pub recording: Option<String>,
    /// Stream name.
    pub stream: Option<String>,
    /// Frame (or step) index, from 0.
    pub frame: Option<usize>,
}

impl Error {
    /// Wraps a refusal of the operating system.
    pub fn io(doing: impl Into<String>, source: io::Error) -> Self {
        ErrorKind::Io { doing: doing.into(), source }.into()
    }

    /// Says that `what` does not follow its format.
    pub fn malformed(what: impl Into<String>, detail: impl fmt::Display) -> Self {
        ErrorKind::Malformed { what: what.into(), detail: detail.to_string() }.into()
    }

    /// Says that `what` is understood and not handled.
    pub fn unsupported(what: impl Into<String>, detail: impl fmt::Display) -> Self {
        ErrorKind::Unsupported { what: what.into(), detail: detail.to_string() }.into()
    }

    /// Says that `what` is more than is allowed.
    pub fn over_limit(what: impl Into<String>, found: impl fmt::Display, limit: impl fmt::Display) -> Self {
        ErrorKind::OverLimit { what: what.into(), found: found.to_string(), limit: limit.to_string() }.into()
    }

    /// Says which value was found and which was expected.
    pub fn invalid(what: impl Into<String>, found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        ErrorKind::Invalid { what: what.into(), found: found.to_string(), expected: expected.to_string() }.into()
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Where it went wrong.
    pub fn position(&self) -> &Position {
        &self.0.position
    }

    /// Adds the file, unless one is known already.
    #[must_use]
    pub fn in_file(mut self, file: impl fmt::Display) -> Self {
        self.0.position.file.get_or_insert_with(|| file.to_string());
        self
    }

    /// Names the file from `folder` on, if it lies below it: for messages that are kept.
    #[must_use]
    pub fn relative_to(mut self, folder: &std::path::Path) -> Self {
        if let Some(file) = &mut self.0.position.file
            && let Ok(below) = std::path::Path::new(&*file).strip_prefix(folder)
        {
            *file = below.display().to_string();
        }
        self
    }

    /// Adds the line (from 1), unless one is known already.
    #[must_use]
    pub fn on_line(mut self, line: usize) -> Self {
        self.0.position.line.get_or_insert(line);
        self
    }

    /// Adds the recording, unless one is known already.
    #[must_use]
    pub fn in_recording(mut self, recording: impl fmt::Display) -> Self {
        self.0.position.recording.get_or_insert_with(|| recording.to_string());
        self
    }

    /// Adds the stream, unless one is known already.
    #[must_use]
    pub fn in_stream(mut self, stream: impl fmt::Display) -> Self {
        self.0.position.stream.get_or_insert_with(|| stream.to_string());
        self
    }

    /// Adds the frame (from 0), unless one is known already.
    #[must_use]
    pub fn at_frame(mut self, frame: usize) -> Self {
        self.0.position.frame.get_or_insert(frame);
        self
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Error(Box::new(Inner { kind, position: Position::default() }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.position.to_string();
        match place.is_empty() {
            true => write!(f, "{}", self.0.kind),
            false => write!(f, "{place}: {}", self.0.kind),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
        }
        if let Some(line) = self.line {
            write!(f, "{}{line}", if self.file.is_some() { ":" } else { "line " })?;
        }
        let rest = [
            self.recording.as_ref().map(|r| format!("recording \"{r}\"")),
            self.stream.as_ref().map(|s| format!("stream {s}")),
            self.frame.map(|t| format!("frame {t}")),
        ];
        let rest = rest.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !rest.is_empty() && (self.file.is_some() || self.line.is_some()) {
            write!(f, ": ")?;
        }
        write!(f, "{rest}")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_reads_from_file_to_frame() {
        let error =
            Error::invalid("code", 9, "0..4").at_frame(2).in_stream("a").in_recording("r").on_line(3).in_file("f");
        assert_eq!(error.to_string(), "f:3: recording \"r\", stream a, frame 2: code is 9, expected 0..4");
    }

    #[test]
    fn files_can_be_named_from_a_folder_on() {
        let error = |folder: &str| Error::invalid("x", 1, 2).in_file("a/b/c").relative_to(folder.as_ref()).to_string();
        assert_eq!(error("a"), "b/c: x is 1, expected 2");
        assert_eq!(error("b"), "a/b/c: x is 1, expected 2");
    }

    #[test]
    fn the_innermost_position_stays() {
        let error = Error::malformed("words file", "no words").in_file("inner").in_file("outer");
        assert_eq!(error.position().file.as_deref(), Some("inner"));
    }
}
