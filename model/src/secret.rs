//! Where a secret is found. The secret itself is shown nowhere: not in logs, not by the admin API.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use millrace_event::ObjectName;

/// A secret, or where it is found when it is needed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// The secret itself, from a Secret document.
    Value(Box<[u8]>),
    /// The value of an environment variable of the process.
    Env(String),
    /// The content of a file, without a line break at its end. Read again each time a source starts, and when
    /// the file changes.
    File(NamedFile),
    /// It cannot be found: what needs it does not run.
    Missing(MissingSecret),
}

/// An entry of a Secret that cannot be found. Its `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MissingSecret {
    /// The Secret.
    pub secret: ObjectName,
    /// The name of the entry.
    pub key: String,
    /// Why it cannot be found.
    pub why: NoSecret,
}

/// Why an entry of a Secret cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoSecret {
    /// There is no such Secret in the files.
    NotInFiles,
    /// There is no such Secret in the cluster.
    NotFound,
    /// The Secret has no such entry.
    NoEntry,
    /// The document of the Secret is invalid.
    Invalid,
    /// Millrace may not read the Secret.
    Forbidden,
    /// It has not been looked up yet. Unlike the others, this says nothing about the Secret.
    Pending,
}

/// A file that a document names. The operator's rule decides, when the file is read, whether it may (crate
/// `secrets`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedFile {
    /// The path; a relative one is relative to the folder in which Millrace was started.
    pub path: PathBuf,
    /// The folder in which the document lies.
    pub folder: PathBuf,
}

/// A secret that was read. It is seen by whoever asks for its octets, and by nobody who prints what holds it:
/// no log line, no error and no panic.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Octets(Box<[u8]>);

// === impl Octets ===

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Box<[u8]>>> From<T> for Octets {
    fn from(octets: T) -> Self {
        Self(octets.into())
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Secret ===

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

impl fmt::Display for MissingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, key, why } = self;
        match why {
            NoSecret::NotInFiles => write!(f, "there is no Secret {secret} in these files"),
            NoSecret::NotFound => write!(f, "there is no Secret {secret}"),
            NoSecret::NoEntry => write!(f, "the Secret {secret} has no entry `{key}`"),
            NoSecret::Invalid => write!(f, "the Secret {secret} is invalid"),
            NoSecret::Forbidden => write!(
                f,
                "Millrace may not read the Secret {secret}: its ServiceAccount needs a Role with get and watch for it"
            ),
            NoSecret::Pending => write!(f, "the Secret {secret} has not been looked up yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_sentence() {
        for (why, sentence) in [
            (NoSecret::NotInFiles, "there is no Secret shop/s in these files"),
            (NoSecret::NotFound, "there is no Secret shop/s"),
            (NoSecret::NoEntry, "the Secret shop/s has no entry `k`"),
            (NoSecret::Invalid, "the Secret shop/s is invalid"),
            (
                NoSecret::Forbidden,
                "Millrace may not read the Secret shop/s: its ServiceAccount needs a Role with get and watch for it",
            ),
            (NoSecret::Pending, "the Secret shop/s has not been looked up yet"),
        ] {
            let missing = MissingSecret {
                secret: ObjectName::new("shop", "s"),
                key: "k".to_owned(),
                why,
            };
            assert_eq!(missing.to_string(), sentence);
        }
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(
            format!("{:?}", Secret::Value(b"hush".as_slice().into())),
            "Value(***)"
        );
    }
}
