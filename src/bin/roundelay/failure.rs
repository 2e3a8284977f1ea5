//! What ends a verb early, and with which exit status.

use std::io;

use roundelay::Error;

/// Why a verb did not finish.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that cannot be: exit status 2.
    Usage(String),
    /// The data are not what they should be: exit status 1.
    Data(Error),
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

/// The word that opens a message of failure.
pub fn label() -> impl std::fmt::Display {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    format!("{red}error:{red:#}")
}
