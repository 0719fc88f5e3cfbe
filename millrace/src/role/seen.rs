//! Notices that files have changed.
//!
//! Watching is polling: it works on every file system and on the links of a mounted ConfigMap. A change is
//! taken when the files were unchanged between two looks, so that an editor may empty or rename them, and a
//! certificate may be written before its key. Files that never stand still are taken after a while all the
//! same.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How often the files are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Looks at files that keep changing before they are read as they are: 1.5 s, so that a change is applied
/// within 2 s.
const RESTLESS_LOOKS: u32 = 6;
/// The first pause before files are tried again that did not change. Each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What tells one state of the files from another, without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(BTreeMap<PathBuf, Mark>);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Of its mode and owner, too: who may read it may change without its content.
    changed: (i64, i64),
    /// Reveals a file that was renamed over another of the same length.
    inode: u64,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// The state of these files, and of those in these folders, now.
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut all = BTreeMap::new();
        for path in paths {
            note(path, &mut all);
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                note(&entry.path(), &mut all);
            }
        }
        Self(all)
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
    /// The files as they are before they are first read.
    pub(super) fn new(now: Fingerprint) -> Self {
        Self {
            last: now.clone(),
            taken: now,
            restless: 0,
            again: None,
        }
    }

    /// Notes a look; returns whether the files are to be read now.
    pub(super) fn is_to_be_taken(&mut self, now: Fingerprint) -> bool {
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
        let mark = Mark {
            bytes: about.len(),
            modified: about.modified().ok(),
            changed: (about.ctime(), about.ctime_nsec()),
            inode: about.ino(),
        };
        all.insert(path.to_owned(), mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(length: u64) -> Fingerprint {
        let mark = Mark {
            bytes: length,
            ..Mark::default()
        };
        Fingerprint(BTreeMap::from([(PathBuf::from("a"), mark)]))
    }

    #[test]
    fn another_mode_is_a_change() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let paths = [file.path().to_owned()];
        let before = Fingerprint::of(&paths);
        // The time of a change is that of the last tick.
        std::thread::sleep(Duration::from_millis(30));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(file.path(), mode).expect("its mode");
        assert_ne!(before, Fingerprint::of(&paths));
    }

    fn seen() -> Seen {
        Seen::new(files(0))
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
}
