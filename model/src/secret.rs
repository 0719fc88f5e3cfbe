//! Where a secret is found. The secret itself is shown nowhere: not in logs, not by the admin API.

use std::fmt;
use std::path::PathBuf;

/// A secret, or where it is found when it is needed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself, from a Secret document.
    Value(Box<[u8]>),
    /// The value of an environment variable of the process.
    Env(String),
    /// The content of a file, without a line break at its end. Read again each time a source starts, and when
    /// the file changes.
    File(NamedFile),
    /// It cannot be found, with a sentence that says so: what needs it does not run.
    Missing(String),
}

/// A file that a document names. The operator's rule decides, when the file is read, whether it may (crate
/// `secrets`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The path; a relative one is relative to the folder in which Millrace was started.
    pub path: PathBuf,
    /// The folder in which the document lies.
    pub folder: PathBuf,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(***)"),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(file) => f.debug_tuple("File").field(&file.path).finish(),
            Self::Missing(why) => f.debug_tuple("Missing").field(why).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(
            format!("{:?}", Secret::Value(b"hush".as_slice().into())),
            "Value(***)"
        );
    }
}
