//! The documents that describe the mesh: read at start, watched afterwards.
//!
//! Watching is polling: it works on every file system and on the links of a mounted ConfigMap. A change is
//! applied when the files were unchanged between two looks, so that an editor may empty or rename them. Files
//! that never stand still are read after a while all the same; if that fails, they are read again after the
//! next change. If the machine lacked something (a descriptor, room on the disk), they are read again after a
//! pause, also without a change. All of it happens on threads where waiting for a disk holds up nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use millrace_crds::{Code, Loaded, ReadError, Remark, load, read};
use millrace_model::Mesh;
use tokio::time::Instant;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Looks at files that keep changing before they are read as they are: 1.5 s, so that a change is applied
/// within 2 s.
const RESTLESS_LOOKS: u32 = 6;
/// The first pause before files are tried again that did not change. Each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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

/// What tells one state of the files from another, without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint(BTreeMap<PathBuf, Mark>);

/// Length, time of change and inode number of a file. The number reveals a file that was renamed over another
/// of the same length.
type Mark = (u64, Option<SystemTime>, u64);

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
        let now = self.look().await.unwrap_or_default();
        Seen {
            last: now.clone(),
            taken: now,
            restless: 0,
            again: None,
        }
    }

    /// `None`: the process is about to end.
    async fn look(&self) -> Option<Fingerprint> {
        let documents = self.clone();
        tokio::task::spawn_blocking(move || documents.fingerprint())
            .await
            .ok()
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
    /// Looks since the files began to differ from those that were read last.
    restless: u32,
    /// What was read last is to be tried again.
    again: Option<Again>,
}

/// Another try with files that did not change.
#[derive(Clone, Copy, Debug)]
struct Again {
    at: Instant,
    /// The pause before it.
    pause: Duration,
}

// === impl Seen ===

impl Seen {
    /// Notes a look; returns whether the files are to be read now.
    fn is_to_be_taken(&mut self, now: Fingerprint) -> bool {
        let settled = now == self.last;
        self.last = now;
        if self.last == self.taken {
            self.restless = 0;
            return self.again.is_some_and(|again| again.at <= Instant::now());
        }
        self.restless += 1;
        if !settled && self.restless < RESTLESS_LOOKS {
            return false;
        }
        self.restless = 0;
        self.taken = self.last.clone();
        self.again = None;
        true
    }

    /// What was read is in effect, or is refused for good: only a change of the files matters from now on.
    pub(crate) fn settle(&mut self) {
        self.again = None;
    }

    /// What was read could not be applied for now: it is tried again after a pause.
    pub(crate) fn try_again(&mut self) {
        let pause = self
            .again
            .map_or(FIRST_PAUSE, |again| (again.pause * 2).min(LONGEST_PAUSE));
        let at = Instant::now() + pause;
        self.again = Some(Again { at, pause });
    }
}

fn note(path: &Path, all: &mut BTreeMap<PathBuf, Mark>) {
    if let Ok(about) = std::fs::metadata(path) {
        all.insert(path.to_owned(), (about.len(), about.modified().ok(), about.ino()));
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

    fn files(length: u64) -> Fingerprint {
        Fingerprint(BTreeMap::from([(PathBuf::from("a"), (length, None, 0))]))
    }

    fn seen() -> Seen {
        Seen {
            last: files(0),
            taken: files(0),
            restless: 0,
            again: None,
        }
    }

    #[test]
    fn a_change_is_taken_when_the_files_stand_still_again() {
        let mut seen = seen();
        let looks = [
            (0, false),
            (1, false),
            (1, true),
            (1, false),
            (2, false),
            (1, false),
        ];
        for (number, (length, is_taken)) in looks.into_iter().enumerate() {
            assert_eq!(seen.is_to_be_taken(files(length)), is_taken, "look {number}");
        }
    }

    #[test]
    fn files_that_never_stand_still_are_taken_every_few_looks() {
        let mut seen = seen();
        let taken: Vec<u64> = (1..=18)
            .filter(|look| seen.is_to_be_taken(files(*look)))
            .collect();
        assert_eq!(taken, [6, 12, 18]);
        assert!(
            !seen.is_to_be_taken(files(18)),
            "and what was taken is not taken again"
        );
    }

    /// Seconds until the files are to be read, if they are `now` like this from here on.
    async fn pause(seen: &mut Seen, now: &Fingerprint) -> u64 {
        for second in 1..=LONGEST_PAUSE.as_secs() {
            assert!(!seen.is_to_be_taken(now.clone()), "before second {second}");
            tokio::time::advance(Duration::from_secs(1)).await;
            if seen.is_to_be_taken(now.clone()) {
                return second;
            }
        }
        panic!("they are never read")
    }

    #[tokio::test(start_paused = true)]
    async fn what_met_a_shortage_is_read_again_after_pauses_that_grow() {
        let mut seen = seen();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            seen.try_again();
            pauses.push(pause(&mut seen, &files(0)).await);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);

        // A change is read once it stands still, and counts as a new beginning.
        seen.try_again();
        assert!(!seen.is_to_be_taken(files(1)));
        assert!(seen.is_to_be_taken(files(1)));
        seen.try_again();
        assert_eq!(pause(&mut seen, &files(1)).await, 1);

        seen.settle();
        tokio::time::advance(2 * LONGEST_PAUSE).await;
        assert!(
            !seen.is_to_be_taken(files(1)),
            "what is in effect is not read again"
        );
    }

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
