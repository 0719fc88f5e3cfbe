//! One try at a copy: segments are linked, then state is copied, then the end of each log.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use millrace_event::ObjectName;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{BackupError, BackupReport};
use crate::embedded::ends;
use crate::embedded::folder::{FORMAT_FILE, broker_path, brokers_in, entries, fault, sync_dir};
use crate::embedded::log::{Folder, copies};

/// How long another process may keep a database locked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why one try failed.
#[derive(Debug)]
pub(super) enum Cut {
    /// A segment of the copy was deleted meanwhile.
    Missed,
    Failed(BackupError),
}

/// One try.
pub(super) struct Copy<'a> {
    pub(super) data: &'a Path,
    pub(super) into: &'a Path,
    pub(super) report: BackupReport,
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
    pub(super) fn make(&mut self) -> Result<(), Cut> {
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
