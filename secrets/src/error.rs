//! Why a secret cannot be had, in words that name the flag which would allow it and never repeat a content.

use std::io;
use std::path::Path;

use crate::reader::{DEADLINE, MAX_BYTES};

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file lies below no open folder.
    #[error(
        "the file {file} is not below a folder from which documents may name files ({open}); \
         the flag --secret-dir opens another"
    )]
    Outside {
        /// As written: the target of links is not told.
        file: String,
        /// The open folders.
        open: String,
    },
    /// The file lies where no document may ever look.
    #[error("the file {file} belongs to {owner}, from where no document may name a file; no flag allows it")]
    Closed {
        /// As written: the target of links is not told.
        file: String,
        /// The owner of that place.
        owner: &'static str,
    },
    /// The variable's name begins with no open prefix.
    #[error(
        "the variable {name} is not open to documents, as those that begin with {open} are; \
         the flag --secret-env-prefix opens others"
    )]
    Variable {
        /// Its name.
        name: String,
        /// The open prefixes.
        open: String,
    },
    /// The variable is one of Millrace's own flags, which may reveal how the machine is set up.
    #[error("the variable {0} is a flag of Millrace, and no document may name it")]
    Flag(String),
    /// There is no such variable.
    #[error("the environment has no variable {0}")]
    NoVariable(String),
    /// It is not a regular file.
    #[error("{file} is {kind}, and only a regular file is read")]
    NotRegular {
        /// As written.
        file: String,
        /// The kind of the file.
        kind: &'static str,
    },
    /// It is too large.
    #[error("{0} has more than {max} KiB, the most that is read", max = MAX_BYTES >> 10)]
    TooLarge(String),
    /// The path is longer than any system allows.
    #[error("the path {0} is too long")]
    PathTooLong(String),
    /// The system refuses to open or read it.
    #[error("the file {file}: {error}")]
    Unreadable {
        /// As written.
        file: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// It could not be read in time.
    #[error("the file {0} could not be read within {seconds} s", seconds = DEADLINE.as_secs())]
    Late(String),
    /// An earlier attempt to read it has not ended yet.
    #[error("the file {0} cannot be read: an earlier attempt to read it still hangs")]
    Hangs(String),
    /// There is no such entry of a Secret document.
    #[error("{0}")]
    Missing(String),
}

/// The longest piece of a document's text that an error repeats, in characters.
const SHOWN: usize = 200;

// === impl SecretError ===

impl SecretError {
    /// Whether the document is at fault, and not the moment or the machine: the result is the same on every
    /// machine with the same flags.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Outside { .. }
            | Self::Closed { .. }
            | Self::Variable { .. }
            | Self::Flag(_)
            | Self::NotRegular { .. }
            | Self::TooLarge(_)
            | Self::PathTooLong(_) => true,
            Self::NoVariable(_)
            | Self::Unreadable { .. }
            | Self::Late(_)
            | Self::Hangs(_)
            | Self::Missing(_) => false,
        }
    }

    /// Whether the attempt failed without telling whether the secret exists: a later attempt may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Late(_) | Self::Hangs(_) => true,
            Self::Unreadable { error, .. } => !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
            _ => false,
        }
    }
}

/// A document's text in one line, without control characters, and cut at a readable length.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// A path, as [`shown`] shows text.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_shown_short_and_without_control_characters() {
        let text = format!("\u{1b}[31m\n{}", "x".repeat(5_000));
        let shown = shown(&text);
        assert!(
            shown.chars().count() < 250 && !shown.contains(['\u{1b}', '\n']),
            "{shown}"
        );
    }
}
