//! The documents that describe the mesh: read at start, watched afterwards.
//!
//! [`super::seen`] notices changes. Files that were refused are read again after the next change. If the
//! machine lacked something (a descriptor, room on the disk), they are read again after a pause, also
//! without a change. All of it happens on threads where waiting for a disk holds up nothing else.

use std::path::PathBuf;

use millrace_crds::{Code, Loaded, ReadError, Remark, load, read};
use millrace_model::Mesh;

use super::seen::{Fingerprint, LOOK, Seen};

/// The files and folders given with `-f`.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    paths: Vec<PathBuf>,
    needs: Needs,
}

/// What must be in the documents: without any of it they are a mistake, and a reload would end everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A Broker.
    Broker,
    /// A source. Brokers, Triggers and sinks in the documents do not matter.
    Source,
}

/// Why a set of documents is not taken as the mesh.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// A file or folder cannot be read.
    Unreadable(String),
    /// The documents are invalid; one line each.
    Invalid(Vec<String>),
    /// There is no Broker in them.
    NoBroker,
    /// There is no source in them.
    NoSource,
}

// === impl Documents ===

impl Documents {
    pub(crate) fn new(paths: Vec<PathBuf>, needs: Needs) -> Self {
        Self { paths, needs }
    }

    /// Reads the documents now; returns the mesh (without a revision) and the remarks.
    pub(crate) async fn load(&self) -> Result<(Mesh, Vec<String>), Unfit> {
        let documents = self.clone();
        let loaded = tokio::task::spawn_blocking(move || documents.load_now()).await;
        loaded.unwrap_or_else(|error| {
            Err(Unfit::Unreadable(format!(
                "reading the documents failed: {error}"
            )))
        })
    }

    fn load_now(&self) -> Result<(Mesh, Vec<String>), Unfit> {
        let inputs = read(&self.paths).map_err(Unfit::from)?;
        let Loaded {
            mesh,
            problems,
            remarks,
            ..
        } = load(&inputs);
        let Some(mesh) = mesh else {
            return Err(Unfit::Invalid(problems.iter().map(ToString::to_string).collect()));
        };
        match self.needs {
            Needs::Broker if mesh.brokers.is_empty() => return Err(Unfit::NoBroker),
            Needs::Source if mesh.sources.is_empty() => return Err(Unfit::NoSource),
            Needs::Broker | Needs::Source => {}
        }
        let remarks = remarks.iter().filter(|remark| self.concerns(remark));
        Ok((mesh, remarks.map(ToString::to_string).collect()))
    }

    fn concerns(&self, remark: &Remark) -> bool {
        let of = |kind| {
            remark
                .document
                .as_ref()
                .is_some_and(|document| document.starts_with(kind))
        };
        self.needs == Needs::Broker || !(remark.path == "spec.sink" || of("Broker ") || of("Trigger "))
    }

    /// Waits until the files differ from `seen`, and have stood still or have kept changing for long enough,
    /// or until they are due for another try.
    pub(crate) async fn changed(&self, seen: &mut Seen) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(now) = self.look().await else { continue };
            if seen.is_to_be_taken(now) {
                return;
            }
        }
    }

    /// The state of the files now, taken before they are read: a change while they are read is then noticed
    /// later.
    pub(crate) async fn seen(&self) -> Seen {
        Seen::new(self.look().await.unwrap_or_default())
    }

    /// `None`: the process is about to end.
    async fn look(&self) -> Option<Fingerprint> {
        let documents = self.clone();
        tokio::task::spawn_blocking(move || Fingerprint::of(&documents.paths))
            .await
            .ok()
    }
}

impl From<ReadError> for Unfit {
    /// What the system refuses may be there at the next try. A file that is too large or no text is wrong.
    fn from(error: ReadError) -> Self {
        let problems = &error.problems;
        if problems
            .iter()
            .all(|problem| problem.code == Code::FileUnreadable)
        {
            return Self::Unreadable(error.to_string());
        }
        Self::Invalid(problems.iter().map(ToString::to_string).collect())
    }
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::Invalid(problems) => f.write_str(&problems.join("\n")),
            Self::NoBroker => f.write_str("there is no Broker in the documents; `millrace run` needs one"),
            Self::NoSource => {
                f.write_str("there is no source in the documents; `millrace sources` needs one")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_system_refuses_is_worth_another_try() {
        let folder = tempfile::tempdir().expect("a folder");
        let (absent, no_text) = (
            folder.path().join("absent.yaml"),
            folder.path().join("bytes.yaml"),
        );
        std::fs::write(&no_text, b"\xff\xff").expect("a file");
        let load = |paths: &[&PathBuf]| {
            let paths = paths.iter().map(|path| (*path).clone()).collect();
            Documents::new(paths, Needs::Broker).load_now()
        };
        assert!(matches!(load(&[&absent]), Err(Unfit::Unreadable(_))));
        assert!(matches!(load(&[&no_text]), Err(Unfit::Invalid(_))));
        assert!(matches!(load(&[&absent, &no_text]), Err(Unfit::Invalid(_))));
    }
}
