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

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millrace_event::ObjectName;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::folder::{FORMAT_FILE, broker_path, brokers_in, check_known_format, entries, fault, sync_dir};
use super::log::{Folder, copies};
use super::{OpenError, ends};

/// How often a copy is begun anew because segments came and went while it was made.
const ATTEMPTS: u32 = 20;

/// How long another process may keep a database locked.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// Why one try failed.
#[derive(Debug)]
enum Cut {
    /// A segment of the copy was deleted meanwhile.
    Missed,
    Failed(BackupError),
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

/// The backup while it is being made. Dropping it removes the folder unless it is published.
struct Draft {
    path: PathBuf,
    target: PathBuf,
}

// === impl Draft ===

impl Draft {
    fn beside(target: &Path, data: &Path) -> Result<Self, BackupError> {
        let name = target.file_name();
        let name = name.ok_or_else(|| BackupError::NotEmpty(target.to_owned()))?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(|error| fault("make", parent, error))?;
        let parent = real(parent)?;
        if parent.starts_with(real(data)?) {
            return Err(BackupError::Within(target.to_owned()));
        }
        let target = parent.join(name);
        let is_free = match fs::read_dir(&target) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(BackupError::NotEmpty(target));
        }
        let draft = format!(".{}.partial-{:08x}", name.to_string_lossy(), fastrand::u32(..));
        Ok(Self {
            path: parent.join(draft),
            target,
        })
    }

    /// Empties it, to begin anew.
    fn empty(&self) -> Result<(), BackupError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(fault("delete", &self.path, error).into());
            }
            _ => {}
        }
        make_dir(&self.path)
    }

    /// Gives it its final name, durably. An empty folder of that name is replaced.
    fn publish(self) -> Result<(), BackupError> {
        fs::rename(&self.path, &self.target).map_err(|error| fault("rename", &self.path, error))?;
        Ok(sync_dir(self.target.parent().unwrap_or(Path::new(".")))?)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing nothing has that name.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// One try.
struct Copy<'a> {
    data: &'a Path,
    into: &'a Path,
    report: BackupReport,
}

/// A Broker's log whose sealed segments are linked.
struct Begun {
    broker: ObjectName,
    linked: Vec<String>,
    /// The segment that was being written then.
    active: Option<String>,
}

// === impl Copy ===

impl Copy<'_> {
    fn make(&mut self) -> Result<(), Cut> {
        self.copy(Path::new(FORMAT_FILE))?;
        // What sources remember must not be ahead of the logs, so it is copied first.
        self.database(Path::new("sources.db"))?;
        let mut begun: Vec<Begun> = Vec::new();
        // A Broker made meanwhile may hold events that an earlier one had accepted.
        loop {
            let mut brokers = brokers_in(self.data)?;
            brokers.retain(|broker| begun.iter().all(|known| known.broker != *broker));
            if brokers.is_empty() {
                break;
            }
            for broker in brokers {
                begun.push(self.begin(broker)?);
            }
            for broker in begun.iter().map(|begun| &begun.broker) {
                let file = broker_path(broker).join("state.db");
                if !self.into.join(&file).exists() {
                    self.database(&file)?;
                }
            }
        }
        for begun in &begun {
            self.finish(begun)?;
        }
        // After the Brokers: one that was forgotten meanwhile is in the copy with its folder or with its end.
        self.ends()?;
        self.report.brokers = begun.len();
        self.sync(&begun)
    }

    /// Makes the Broker's folders and links the segments that nobody writes any more.
    fn begin(&mut self, broker: ObjectName) -> Result<Begun, Cut> {
        let log = broker_path(&broker).join("log");
        fs::create_dir_all(self.into.join(&log))
            .map_err(|error| fault("make", &self.into.join(&log), error))?;
        let mut linked = self.segments(&log)?;
        let active = linked.pop();
        for name in &linked {
            self.link(&log.join(name))?;
        }
        Ok(Begun {
            broker,
            linked,
            active,
        })
    }

    /// Links segments that were sealed meanwhile, and copies the end.
    fn finish(&mut self, begun: &Begun) -> Result<(), Cut> {
        let log = broker_path(&begun.broker).join("log");
        let mut segments = self.segments(&log)?;
        // Segments are deleted from the oldest on: while the one that was written then exists, none behind it
        // has been missed.
        if begun
            .active
            .as_ref()
            .is_some_and(|active| !segments.contains(active))
        {
            return Err(Cut::Missed);
        }
        if !segments.is_empty() {
            self.check_state(&begun.broker)?;
        }
        let active = segments.pop();
        for name in segments.iter().filter(|name| !begun.linked.contains(name)) {
            self.link(&log.join(name))?;
        }
        if let Some(name) = active {
            self.copy(&log.join(&name))?;
            self.report.copied_segments += 1;
            let folder = self.into.join(&log);
            let settled = Folder::open(&folder).and_then(|files| copies::settle(&files, &name));
            settled.map_err(|error| fault("read", &folder.join(&name), error))?;
        }
        Ok(())
    }

    /// Copies where forgotten Brokers ended.
    fn ends(&mut self) -> Result<(), Cut> {
        let all = self.data.join(ends::FOLDER);
        for namespace in entries(&all, fs::FileType::is_dir)? {
            let folder = Path::new(ends::FOLDER).join(&namespace);
            fs::create_dir_all(self.into.join(&folder))
                .map_err(|error| fault("make", &self.into.join(&folder), error))?;
            for name in entries(&all.join(&namespace), fs::FileType::is_file)? {
                self.copy(&folder.join(name))?;
            }
            sync_dir(&self.into.join(&folder))?;
            sync_dir(&self.into.join(ends::FOLDER))?;
        }
        Ok(())
    }

    /// A log without its state cannot be opened: the Broker was being made when state was copied, or its
    /// database is gone.
    fn check_state(&self, broker: &ObjectName) -> Result<(), Cut> {
        let file = broker_path(broker).join("state.db");
        if self.into.join(&file).exists() {
            return Ok(());
        }
        let file = self.data.join(file);
        if file.exists() {
            return Err(Cut::Missed);
        }
        Err(Cut::Failed(BackupError::Database {
            file,
            reason: "it is missing although the log holds events".to_owned(),
        }))
    }

    /// The segments of a log, oldest first.
    fn segments(&self, log: &Path) -> Result<Vec<String>, Cut> {
        let folder = self.data.join(log);
        match copies::segments(&folder) {
            Ok(segments) => Ok(segments),
            // The Broker's folder is being made, or removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(fault("list", &folder, error).into()),
        }
    }

    fn link(&mut self, path: &Path) -> Result<(), Cut> {
        match fs::hard_link(self.data.join(path), self.into.join(path)) {
            Ok(()) => {
                self.report.linked_segments += 1;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Cut::Missed),
            // Another file system, or one without hard links.
            Err(_) => {
                self.report.copied_segments += 1;
                self.copy(path)
            }
        }
    }

    /// Copies a file, durably.
    fn copy(&mut self, path: &Path) -> Result<(), Cut> {
        let (from, to) = (self.data.join(path), self.into.join(path));
        let copied = fs::copy(&from, &to).and_then(|bytes| {
            File::open(&to)?.sync_all()?;
            Ok(bytes)
        });
        match copied {
            Ok(bytes) => {
                self.report.copied_bytes += bytes;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Cut::Missed),
            Err(error) => Err(fault("copy", &from, error).into()),
        }
    }

    /// Copies a database that may be in use, durably. A missing database is skipped.
    fn database(&mut self, path: &Path) -> Result<(), Cut> {
        let (from, to) = (self.data.join(path), self.into.join(path));
        if !from.exists() {
            return Ok(());
        }
        if let Err(error) = copy_database(&from, &to) {
            // A Broker that is forgotten takes its folder along.
            if !from.exists() {
                return Err(Cut::Missed);
            }
            return Err(Cut::Failed(BackupError::Database {
                file: from,
                reason: error.to_string(),
            }));
        }
        let synced = File::open(&to).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        let metadata = synced.map_err(|error| fault("sync", &to, error))?;
        self.report.copied_bytes += metadata.len();
        Ok(())
    }

    /// Makes all names durable, from the inside out.
    fn sync(&self, begun: &[Begun]) -> Result<(), Cut> {
        for begun in begun {
            let broker = self.into.join(broker_path(&begun.broker));
            sync_dir(&broker.join("log"))?;
            for folder in broker
                .ancestors()
                .take_while(|folder| folder.starts_with(self.into))
            {
                sync_dir(folder)?;
            }
        }
        Ok(sync_dir(self.into)?)
    }
}

impl<E: Into<BackupError>> From<E> for Cut {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    Ok(fs::create_dir(path).map_err(|error| fault("make", path, error))?)
}

fn real(path: &Path) -> Result<PathBuf, BackupError> {
    Ok(fs::canonicalize(path).map_err(|error| fault("find", path, error))?)
}

/// Copies one snapshot of the whole database; its writer is not held up.
fn copy_database(from: &Path, to: &Path) -> Result<(), rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)?;
    let mut target = Connection::open(to)?;
    let backup = Backup::new(&source, &mut target)?;
    let began = Instant::now();
    // In one step: a write between two steps would make the copy begin anew.
    while backup.step(-1)? != StepResult::Done {
        if began.elapsed() > PATIENCE {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                Some("it is locked by another process".to_owned()),
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(backup);
    let verdict: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(verdict),
        ));
    }
    target.close().map_err(|(_, error)| error)
}

#[cfg(test)]
mod tests {
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
