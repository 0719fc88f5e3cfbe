//! Why the log could not do what it was asked. A full disk is told from a broken one.

use std::io;

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The volume has no room.
    #[error("the disk is full")]
    DiskFull,
    /// Too many bytes wait for the writer.
    #[error("too many appends wait to be written")]
    QueueFull,
    /// An append is larger than a frame may be.
    #[error("an append of {bytes} bytes or {events} events is more than one frame holds")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Its events.
        events: usize,
    },
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
    /// A file of a later format.
    #[error("{file} has format version {version}; this build reads version 1")]
    Format {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// A file was removed, renamed or replaced while it was open: whatever is written to it is lost when the
    /// process ends.
    #[error("{file} of the log was removed or replaced while Millrace had it open")]
    Gone {
        /// The file's name in the log's folder.
        file: String,
    },
    /// An operation on a file failed.
    #[error("{operation} {file}: {reason}")]
    Io {
        /// What was tried: `write`, `sync`, `open`, ...
        operation: &'static str,
        /// The file's name in the log's folder.
        file: String,
        /// What the system said.
        reason: String,
    },
}

/// A failed operation on a file.
pub(super) fn io_error(operation: &'static str, file: &str, error: &io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LogError::DiskFull,
        _ => LogError::Io {
            operation,
            file: file.to_owned(),
            reason: error.to_string(),
        },
    }
}
