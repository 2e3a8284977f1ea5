//! What ends a verb early, and with which exit status.

use std::io::{self, Write};

use roundelay::Error;

/// Why a verb did not finish.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that cannot be: exit status 2.
    Usage(String),
    /// The data are not what they should be: exit status 1.
    Data(Error),
    /// The run is done, and not all of it went well: exit status 1.
    Incomplete(String),
    /// Whoever read our output has closed it, as `head` does: nothing went wrong.
    ReaderGone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Data(error)
    }
}

/// A failure of standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Data(Error::io("write to standard output", error)),
        }
    }
}

pub type Outcome = Result<(), Failure>;

/// A remark that ends nothing; if nobody can read it, the work is done all the same.
pub fn note(message: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "note: {message}");
}

/// The word that opens a message of failure.
pub fn label() -> impl std::fmt::Display {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    format!("{red}error:{red:#}")
}
