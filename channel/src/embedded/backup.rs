//! A copy of a data folder, which a process may be writing to: `millrace backup`.
//!
//! # Flow
//! Sealed segments never change, so they are linked (copied where the target is on another file system).
//! State comes after them, by SQLite's own backup, and the end of each log last. So the copy of state never
//! names an event that the copy of its log lacks. An event that one Broker's state calls delivered to another
//! Broker is in that Broker's log. The copy is made under a temporary name, synced, and renamed at the end.
//!
//! # Guarantees
//! Every event accepted before the beginning is in the copy, and is settled there only if it was settled in
//! the original. To a process that starts on the copy it looks like an unclean stop: events in flight are
//! delivered again.
//!
//! # Assumptions
//! The lock of the folder is not touched: the process may run, start or stop meanwhile. It may also delete
//! segments. The backup notices a segment that it has missed, and begins anew.

mod copy;
mod draft;

use std::path::{Path, PathBuf};

use super::OpenError;
use super::folder::{FORMAT_FILE, check_known_format};
use copy::{Copy, Cut};
use draft::Draft;

/// How often a copy is begun anew because segments came and went while it was made.
const ATTEMPTS: u32 = 20;

/// What a backup consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Brokers.
    pub brokers: usize,
    /// Segments that are hard links to the original's.
    pub linked_segments: usize,
    /// Segments that were copied.
    pub copied_segments: usize,
    /// Bytes that were copied, databases included.
    pub copied_bytes: u64,
}

/// Why the backup could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder to copy is not a data folder.
    #[error("{} is no data folder of Millrace: it has no file FORMAT", .0.display())]
    NoData(PathBuf),
    /// The target exists already.
    #[error("{} is not an empty folder; a backup is made in a new one", .0.display())]
    NotEmpty(PathBuf),
    /// The target would lie within the original.
    #[error("{} lies within the data folder", .0.display())]
    Within(PathBuf),
    /// A database could not be copied.
    #[error("the database {} could not be copied: {reason}", .file.display())]
    Database {
        /// The database.
        file: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// Segments changed during every one of many tries.
    #[error(
        "segments came and went {ATTEMPTS} times while they were copied; raise millrace.dev/retention-bytes, or try again"
    )]
    Restless,
    /// A file or folder failed, or the folder has another version.
    #[error(transparent)]
    Files(#[from] OpenError),
}

/// Copies the data folder at `data` to the new folder `target`. Blocking.
pub fn backup(data: &Path, target: &Path) -> Result<BackupReport, BackupError> {
    check_source(data)?;
    let draft = Draft::beside(target, data)?;
    for _ in 0..ATTEMPTS {
        draft.empty()?;
        let mut copy = Copy {
            data,
            into: &draft.path,
            report: BackupReport::default(),
        };
        match copy.make() {
            Ok(()) => {
                let report = copy.report;
                draft.publish()?;
                return Ok(report);
            }
            Err(Cut::Missed) => {}
            Err(Cut::Failed(error)) => return Err(error),
        }
    }
    Err(BackupError::Restless)
}

fn check_source(data: &Path) -> Result<(), BackupError> {
    if data.join(FORMAT_FILE).exists() {
        Ok(check_known_format(data)?)
    } else {
        Err(BackupError::NoData(data.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Channel;
    use crate::embedded::channel::testing::{OPTIONS, append, broker, events_from, spec};
    use crate::embedded::{Store, StoreOptions};

    #[tokio::test]
    async fn a_backup_of_an_open_folder_opens_with_everything_and_leaves_the_original_alone() {
        let temp = tempfile::tempdir().unwrap();
        let (data, target) = (temp.path().join("data"), temp.path().join("deep/copy"));
        let store = Store::open(&data, StoreOptions::default()).unwrap();
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        channel.open_lanes(vec![spec("a")]).await.unwrap();
        append(&*channel, &["one", "two"]).await;
        channel.roll().await;
        append(&*channel, &["three"]).await;
        let checkpoints = store.checkpoints();
        checkpoints.compare_and_set("a", 0, b"x".to_vec()).await.unwrap();
        let report = backup(&data, &target).unwrap();
        assert_eq!(
            (report.brokers, report.linked_segments, report.copied_segments),
            (1, 1, 1)
        );
        append(&*channel, &["four"]).await;
        let copy = Store::open(&target, StoreOptions::default()).unwrap();
        let copied = copy.channel(&broker(), OPTIONS).await.unwrap();
        assert_eq!(events_from(&*copied, 0).await, ["one", "two", "three"]);
        assert_eq!(append(&*copied, &["other"]).await.offset, 3);
        assert!(copied.recovered_uncleanly());
        assert_eq!(copied.lanes().await.unwrap().len(), 1);
        assert_eq!(copy.checkpoints().get("a").await.unwrap().unwrap().value, b"x");
        assert_eq!(events_from(&*channel, 0).await, ["one", "two", "three", "four"]);
        let names: Vec<_> = fs::read_dir(target.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["copy"], "nothing else is left");
    }

    #[tokio::test]
    async fn a_log_without_its_state_is_no_backup() {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        let store = Store::open(&data, StoreOptions::default()).unwrap();
        let channel = store.channel(&broker(), OPTIONS).await.unwrap();
        append(&*channel, &["one"]).await;
        channel.close().await.unwrap();
        fs::remove_file(data.join("brokers/shop/default/state.db")).unwrap();
        let refused = backup(&data, &temp.path().join("copy")).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("missing although the log holds events"),
            "{refused}"
        );
        assert!(!temp.path().join("copy").exists());
    }

    #[test]
    fn only_a_new_or_empty_folder_outside_of_the_original_is_written_to() {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        drop(Store::open(&data, StoreOptions::default()).unwrap());
        let (full, empty) = (temp.path().join("full"), temp.path().join("empty"));
        fs::create_dir_all(full.join("x")).unwrap();
        fs::create_dir(&empty).unwrap();
        assert!(matches!(backup(&data, &full), Err(BackupError::NotEmpty(_))));
        assert!(matches!(
            backup(&data, &data.join("copy")),
            Err(BackupError::Within(_))
        ));
        assert!(matches!(backup(&empty, &full), Err(BackupError::NoData(_))));
        backup(&data, &empty).unwrap();
        assert!(matches!(backup(&data, &empty), Err(BackupError::NotEmpty(_))));
        fs::write(data.join("FORMAT"), "millrace data 9\n").unwrap();
        let later = backup(&data, &temp.path().join("later"));
        assert!(matches!(later, Err(BackupError::Files(OpenError::Format { .. }))));
        assert!(!temp.path().join("later").exists());
    }
}
