//! Reading: on threads of its own, within a deadline, and only what the rule and the bounds allow.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use millrace_model::{NamedFile, Octets, Secret};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::{SecretError, shown, shown_path};
use crate::open::open_file;
use crate::rule::SecretRule;
use crate::turn::Turns;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// How long reading one file may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Reads what documents name, under one rule. Cheap to clone; clones share their bounds.
#[derive(Clone, Debug)]
pub struct SecretReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rule: SecretRule,
    turns: Turns,
}

// === impl SecretReader ===

impl SecretReader {
    /// A reader under this rule.
    pub fn new(rule: SecretRule) -> Self {
        Self {
            shared: Arc::new(Shared {
                rule,
                turns: Turns::new(),
            }),
        }
    }

    /// The rule.
    pub fn rule(&self) -> &SecretRule {
        &self.shared.rule
    }

    /// The octets of a secret as they are now, without one line break at the end, which editors and `echo`
    /// leave there.
    ///
    /// # Errors
    /// When the rule does not allow it, or it does not exist.
    pub async fn secret(&self, secret: &Secret) -> Result<Octets, SecretError> {
        let octets = match secret {
            Secret::Value(value) => value.to_vec(),
            Secret::Env(name) => self.variable(name)?,
            Secret::File(file) => self.file(file).await?,
            Secret::Missing(why) => return Err(SecretError::Missing(why.to_string())),
        };
        Ok(without_line_break(octets).into())
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When the rule does not allow it, it is not a regular file of at most [`MAX_BYTES`], or it cannot be
    /// read in time.
    pub async fn file(&self, file: &NamedFile) -> Result<Vec<u8>, SecretError> {
        self.aside(file, read).await
    }

    /// Whether a secret would be read, without reading it. A missing variable is no error here: another
    /// machine may have it.
    ///
    /// # Errors
    /// As [`SecretReader::secret`].
    pub async fn judge(&self, secret: &Secret) -> Result<(), SecretError> {
        match secret {
            Secret::Value(_) | Secret::Missing(_) => Ok(()),
            Secret::Env(name) => self.shared.rule.judge_variable(name),
            Secret::File(file) => {
                self.aside(file, |rule, file| open_file(rule, file).map(drop))
                    .await
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Vec<u8>, SecretError> {
        self.shared.rule.judge_variable(name)?;
        match std::env::var_os(name) {
            Some(value) => Ok(value.into_encoded_bytes()),
            None => Err(SecretError::NoVariable(shown(name))),
        }
    }

    /// Runs work that may hang on a thread of its own. Nothing waits for that thread longer than
    /// [`DEADLINE`], not even the end of the process.
    async fn aside<T: Send + 'static>(
        &self,
        file: &NamedFile,
        work: impl FnOnce(&SecretRule, &NamedFile) -> Result<T, SecretError> + Send + 'static,
    ) -> Result<T, SecretError> {
        let deadline = Instant::now() + DEADLINE;
        let turn = self.shared.turns.take(file, deadline).await?;
        let (answer, answered) = oneshot::channel();
        let (shared, named) = (self.shared.clone(), file.clone());
        let thread = std::thread::Builder::new().name("secret".to_owned());
        let begun = thread.spawn(move || {
            let result = work(&shared.rule, &named);
            drop(turn);
            let _ = answer.send(result);
        });
        begun.map_err(|error| SecretError::Unreadable {
            file: shown_path(&file.path),
            error,
        })?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SecretError::Unreadable {
                file: shown_path(&file.path),
                error: io::Error::other("the thread that read it broke down"),
            }),
            Err(_) => Err(SecretError::Late(shown_path(&file.path))),
        }
    }
}

fn read(rule: &SecretRule, file: &NamedFile) -> Result<Vec<u8>, SecretError> {
    let mut content = Vec::new();
    open_file(rule, file)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|error| SecretError::Unreadable {
            file: shown_path(&file.path),
            error,
        })?;
    if content.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLarge(shown_path(&file.path)));
    }
    Ok(content)
}

fn without_line_break(mut octets: Vec<u8>) -> Vec<u8> {
    if octets.ends_with(b"\n") {
        octets.pop();
        if octets.ends_with(b"\r") {
            octets.pop();
        }
    }
    octets
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
