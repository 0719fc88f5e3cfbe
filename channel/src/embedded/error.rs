//! Why a data folder or a channel in it could not be opened.

use std::io;
use std::path::PathBuf;

use millrace_event::ObjectName;

use super::log::LogError;

/// Why a data folder or a channel in it could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it (exit code 4).
    #[error("the data folder {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The folder was written by another version, or is no data folder.
    #[error(
        "the data folder {} has a format that this Millrace does not read (found: {found}); \
         use the version that wrote it, or another folder", .folder.display()
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// What its FORMAT file says.
        found: String,
    },
    /// A database cannot be relied on.
    #[error(
        "the database {} is corrupt: {reason}. Start with --rebuild-state to set it aside and begin every \
         trigger at the oldest event that is still kept", .file.display()
    )]
    StateUnreadable {
        /// The database.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A database was written by a later version, or SQLite failed for a reason that is not damage.
    #[error("the database {} could not be opened: {reason}", .file.display())]
    State {
        /// The database.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The log could not be opened.
    #[error("the log of broker {broker} could not be opened: {source}")]
    Log {
        /// The broker.
        broker: ObjectName,
        /// What is wrong.
        source: LogError,
    },
    /// An operation on a file failed.
    #[error("could not {operation} {}: {source}", .path.display())]
    Files {
        /// What was tried: `open`, `make`, `sync`, ...
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that cannot be a folder.
    #[error("`{0}` cannot be stored: names consist of letters, digits, `-`, `.` and `_`")]
    BadName(ObjectName),
    /// The channel is to be removed but still open.
    #[error("the channel of broker {0} is still open")]
    StillOpen(ObjectName),
    /// The work of opening was cut off by the end of the process.
    #[error("the process is about to end")]
    Interrupted,
}
