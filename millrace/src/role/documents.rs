//! The documents that describe the mesh: read at start, watched afterwards.
//!
//! Watching is polling: it works on every file system and on the links of a mounted ConfigMap, and a change is taken
//! up only when the files have stood still for one more look, so that an editor may empty or rename as it likes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use millrace_crds::{Loaded, Remark, load, read};
use millrace_model::Mesh;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);

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
    /// A source; what is said of Brokers and Triggers, and of where sources send to, is no matter.
    Source,
}

/// What tells one state of the files from another, without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

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
    pub(crate) fn load(&self) -> Result<(Mesh, Vec<String>), Unfit> {
        let inputs = read(&self.paths).map_err(|error| Unfit::Unreadable(error.to_string()))?;
        let Loaded {
            mesh,
            problems,
            remarks,
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

    /// Waits until the files differ from what they were, and stand still again.
    pub(crate) async fn changed(&self, seen: &mut Seen) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.fingerprint();
            let settled = now == seen.last;
            seen.last = now;
            if settled && seen.last != seen.taken {
                seen.taken = seen.last.clone();
                return;
            }
        }
    }

    /// The state of the files now, taken before they are read: a change while they are read is then noticed later.
    pub(crate) fn seen(&self) -> Seen {
        let now = self.fingerprint();
        Seen {
            last: now.clone(),
            taken: now,
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut all = BTreeMap::new();
        for path in &self.paths {
            note(path, &mut all);
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                note(&entry.path(), &mut all);
            }
        }
        Fingerprint(all)
    }
}

/// What was seen of the files.
#[derive(Debug)]
pub(crate) struct Seen {
    last: Fingerprint,
    taken: Fingerprint,
}

fn note(path: &Path, all: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
    if let Ok(about) = std::fs::metadata(path) {
        all.insert(path.to_owned(), (about.len(), about.modified().ok()));
    }
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::Invalid(problems) => f.write_str(&problems.join("\n")),
            Self::NoBroker => f.write_str("there is no Broker in the documents"),
            Self::NoSource => f.write_str("there is no source in the documents"),
        }
    }
}
