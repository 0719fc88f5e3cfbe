//! The exit codes, which scripts may rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok,
    /// It failed, or the other side refused.
    Failed,
    /// The command line does not make sense.
    Usage,
    /// The documents are invalid.
    Invalid,
    /// Another process has the data folder.
    Locked,
    /// There is no answer at all.
    Unreachable,
}

/// The section of `--help` that lists them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  ok
  1  failed, or refused by the other side
  2  the command line does not make sense
  3  the documents are invalid
  4  the data folder is in use by another process
  5  no answer: nothing is reachable there

Data goes to the standard output, remarks go to the standard error.";

// === impl Exit ===

impl Exit {
    /// The code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Locked => 4,
            Self::Unreachable => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
