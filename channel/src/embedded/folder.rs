//! The data folder on disk: its format, its lock, and where each broker's files are.
//!
//! ```text
//! FORMAT  LOCK  ballast  member  sources.db
//! brokers/<namespace>/<name>/state.db
//! brokers/<namespace>/<name>/log/
//! brokers/<namespace>/<name>/history/
//! ends/<namespace>/<name>
//! trash/
//! ```
//!
//! # The lock
//! One process has the folder at a time. The lock is on the folder itself: the folder cannot be deleted while
//! it is not empty, and every path to it (a link, a bind mount) leads to the same lock. The file LOCK is
//! locked too, for versions that know only that one. It names the process for people who look; deleting it
//! does no harm.

use std::fs::{File, FileType, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use millrace_event::ObjectName;

use super::path_identity::PathIdentity;
use super::{OpenError, ends};

/// What FORMAT says in this version.
const FORMAT: &str = "millrace data 1\n";

/// The file that names the version of the folder.
pub(crate) const FORMAT_FILE: &str = "FORMAT";

/// Kubernetes' bound on names; also keeps within what file systems take.
const LONGEST_NAME: usize = 253;

/// A data folder whose lock is held as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    identity: PathIdentity,
    _locks: Vec<File>,
}

// === impl DataFolder ===

impl DataFolder {
    /// Opens or makes the folder, takes the lock, checks the format. Blocking.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(path).map_err(|error| fault("make", path, error))?;
        let locks = locks(path)?;
        let identity = PathIdentity::named(path).map_err(|error| fault("look at", path, error))?;
        check_format(path)?;
        let folder = Self {
            path: path.to_owned(),
            identity,
            _locks: locks,
        };
        // What a removal could not finish.
        match std::fs::remove_dir_all(folder.trash()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault("delete", &folder.trash(), error))
            }
            _ => Ok(folder),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a broker's files are. A name can never lead out of the data folder.
    pub(crate) fn broker(&self, broker: &ObjectName) -> Result<PathBuf, OpenError> {
        if !is_plain(broker.namespace()) || !is_plain(broker.name()) {
            return Err(OpenError::BadName(broker.clone()));
        }
        Ok(self.path.join(broker_path(broker)))
    }

    /// Makes a broker's folders, durably, from the outside in. Blocking.
    pub(crate) fn make_broker(&self, broker: &ObjectName) -> Result<PathBuf, OpenError> {
        if self.identity.is_lost() {
            let moved = "it was moved, removed or replaced while Millrace had it open; put it back, or restart Millrace";
            return Err(fault(
                "use",
                &self.path,
                io::Error::new(io::ErrorKind::NotFound, moved),
            ));
        }
        let path = self.broker(broker)?;
        let mut within = self.path.clone();
        for part in ["brokers", broker.namespace(), broker.name(), "log"] {
            let inner = within.join(part);
            if !inner.is_dir() {
                match std::fs::create_dir(&inner) {
                    // Another Broker of the namespace made it just now.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && inner.is_dir() => {}
                    made => made.map_err(|error| fault("make", &inner, error))?,
                }
                sync_dir(&within)?;
            }
            within = inner;
        }
        Ok(path)
    }

    /// The brokers that have a folder, in order. Blocking.
    pub(crate) fn brokers(&self) -> Result<Vec<ObjectName>, OpenError> {
        brokers_in(&self.path)
    }

    /// The first position of a Broker that is made now: above every one that a Broker of its name ever used.
    /// Blocking.
    pub(crate) fn end_of_earlier(&self, broker: &ObjectName) -> Result<u64, OpenError> {
        self.broker(broker)?;
        ends::find(&self.path, broker)
    }

    /// Notes durably that a Broker's log ends at `end`, for the next one of its name. Blocking.
    pub(crate) fn note_end(&self, broker: &ObjectName, end: u64) -> Result<(), OpenError> {
        self.broker(broker)?;
        ends::note(&self.path, broker, end, &self.in_trash()?)
    }

    /// Moves a broker's folder away, so that a crash never leaves half of it under its name. What is to be
    /// deleted then; `None`: it has no folder. After an error it is there as it was. Blocking.
    pub(crate) fn put_away(&self, broker: &ObjectName) -> Result<Option<PathBuf>, OpenError> {
        let path = self.broker(broker)?;
        if !path.exists() {
            return Ok(None);
        }
        let away = self.in_trash()?;
        std::fs::rename(&path, &away).map_err(|error| fault("move", &path, error))?;
        if let Some(namespace) = path.parent() {
            if let Err(error) = sync_dir(namespace) {
                tracing::warn!(%error, "a loss of power may bring the folder of a removed broker back");
            }
            // Goes only when it is empty.
            let _ = std::fs::remove_dir(namespace);
        }
        Ok(Some(away))
    }

    fn trash(&self) -> PathBuf {
        self.path.join("trash")
    }

    /// A new name in the folder that a start empties.
    fn in_trash(&self) -> Result<PathBuf, OpenError> {
        let trash = self.trash();
        std::fs::create_dir_all(&trash).map_err(|error| fault("make", &trash, error))?;
        Ok(trash.join(format!("{:016x}", fastrand::u64(..))))
    }
}

/// Deletes what was put away. What stays goes at the next start. Blocking; a large folder takes long.
pub(crate) fn delete(away: &Path) {
    if let Err(error) = std::fs::remove_dir_all(away) {
        tracing::warn!(folder = %away.display(), %error, "files of a removed broker stay until the next start");
    }
}

/// The path of a broker's files within a data folder. The name is one that a folder can have.
pub(crate) fn broker_path(broker: &ObjectName) -> PathBuf {
    Path::new("brokers").join(broker.namespace()).join(broker.name())
}

/// The brokers that have a folder in a data folder, in order. Blocking.
pub(crate) fn brokers_in(data: &Path) -> Result<Vec<ObjectName>, OpenError> {
    let all = data.join("brokers");
    let mut brokers = Vec::new();
    for namespace in entries(&all, FileType::is_dir)? {
        for name in entries(&all.join(&namespace), FileType::is_dir)? {
            brokers.push(ObjectName::new(namespace.as_str(), name));
        }
    }
    brokers.sort();
    Ok(brokers)
}

/// An operation on a file or folder that failed.
pub(crate) fn fault(operation: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Files {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Makes what was created or renamed in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), OpenError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| fault("sync", path, error))
}

/// Locks the folder and the file in it.
fn locks(folder: &Path) -> Result<Vec<File>, OpenError> {
    let opened = File::open(folder).map_err(|error| fault("open", folder, error))?;
    let mut locks = Vec::new();
    match opened.try_lock() {
        Ok(()) => locks.push(opened),
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(folder.to_owned())),
        // Some network file systems lock files only.
        Err(TryLockError::Error(error)) => tracing::warn!(
            folder = %folder.display(), %error,
            "the file system cannot lock a folder: only the file LOCK in it keeps other processes out; do not delete it"
        ),
    }
    locks.push(lock_file(folder)?);
    Ok(locks)
}

fn lock_file(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("LOCK");
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = opened.map_err(|error| fault("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => return Err(fault("lock", &path, error)),
    }
    // Only for people who look: the lock itself is the system's, and goes with the process. A full disk must
    // not stop the start.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn check_format(folder: &Path) -> Result<(), OpenError> {
    if folder.join(FORMAT_FILE).exists() || folder.join("brokers").exists() {
        return check_known_format(folder);
    }
    write_format(folder, &folder.join(FORMAT_FILE))
}

/// Checks that the folder has this version's format.
pub(crate) fn check_known_format(folder: &Path) -> Result<(), OpenError> {
    let path = folder.join(FORMAT_FILE);
    let other = |found: &str| OpenError::Format {
        folder: folder.to_owned(),
        found: found.trim_end().to_owned(),
    };
    match std::fs::read(&path) {
        Ok(found) if found == FORMAT.as_bytes() => Ok(()),
        Ok(found) => {
            let found: String = String::from_utf8_lossy(&found).chars().take(40).collect();
            Err(other(&found))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(other("no FORMAT file")),
        Err(error) => Err(fault("read", &path, error)),
    }
}

/// Complete or not at all: a crash never leaves half a format.
fn write_format(folder: &Path, path: &Path) -> Result<(), OpenError> {
    let draft = folder.join("FORMAT.new");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(FORMAT.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| fault("write", &draft, error))?;
    std::fs::rename(&draft, path).map_err(|error| fault("write", path, error))?;
    sync_dir(folder)
}

/// The plain names of that kind in a folder that may be absent.
pub(crate) fn entries(path: &Path, kind: fn(&FileType) -> bool) -> Result<Vec<String>, OpenError> {
    let listed = match std::fs::read_dir(path) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("list", path, error)),
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| fault("list", path, error))?;
        let is_wanted = entry.file_type().is_ok_and(|found| kind(&found));
        if let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|name| is_wanted && is_plain(name))
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// A Kubernetes name (letters, digits, `-`, `.`, not beginning with a dot), which is also a harmless file
/// name. Capitals and `_` do no harm in a mesh from files.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temp.path()).unwrap();
        let long = "x".repeat(254);
        for name in [
            "..",
            ".",
            "",
            "a/b",
            "a\\b",
            "a\0b",
            ".hidden",
            "ä",
            long.as_str(),
        ] {
            for broker in [ObjectName::new(name, "default"), ObjectName::new("shop", name)] {
                assert!(
                    matches!(folder.broker(&broker), Err(OpenError::BadName(_))),
                    "{name:?}"
                );
            }
        }
    }

    #[test]
    fn a_folder_of_another_format_is_refused_in_words() {
        for found in [&b"millrace data 2\n"[..], b"", b"\xff\xfe"] {
            let temp = tempfile::tempdir().unwrap();
            std::fs::write(temp.path().join("FORMAT"), found).unwrap();
            let error = DataFolder::open(temp.path()).unwrap_err();
            assert!(matches!(error, OpenError::Format { .. }), "{error}");
        }
    }

    #[test]
    fn brokers_without_a_format_are_not_taken_for_a_new_folder() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("brokers")).unwrap();
        assert!(matches!(
            DataFolder::open(temp.path()),
            Err(OpenError::Format { .. })
        ));
    }

    #[test]
    fn one_holder_at_a_time_also_within_a_process() {
        let temp = tempfile::tempdir().unwrap();
        let first = DataFolder::open(temp.path()).unwrap();
        assert!(matches!(DataFolder::open(temp.path()), Err(OpenError::Locked(path)) if path == temp.path()));
        let holder = std::fs::read_to_string(temp.path().join("LOCK")).unwrap();
        assert_eq!(holder.trim(), std::process::id().to_string());
        drop(first);
        DataFolder::open(temp.path()).unwrap();
    }

    #[test]
    fn a_lock_file_that_is_deleted_or_replaced_lets_nobody_in() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        let first = DataFolder::open(&folder).unwrap();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        std::fs::remove_file(folder.join("LOCK")).unwrap();
        for path in [&folder, &link] {
            assert!(
                matches!(DataFolder::open(path), Err(OpenError::Locked(_))),
                "{}",
                path.display()
            );
        }
        std::fs::write(folder.join("LOCK"), b"").unwrap();
        assert!(matches!(DataFolder::open(&folder), Err(OpenError::Locked(_))));
        drop(first);
        DataFolder::open(&link).unwrap();
    }

    #[test]
    fn a_version_that_locks_only_the_file_keeps_this_one_out() {
        let temp = tempfile::tempdir().unwrap();
        let old = lock_file(temp.path()).unwrap();
        assert!(matches!(DataFolder::open(temp.path()), Err(OpenError::Locked(_))));
        drop(old);
        DataFolder::open(temp.path()).unwrap();
    }

    #[test]
    fn brokers_are_listed_and_removed_with_everything_in_them() {
        let temp = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temp.path()).unwrap();
        assert_eq!(folder.brokers().unwrap(), []);
        let (a, b) = (ObjectName::new("shop", "a"), ObjectName::new("shop", "b"));
        for broker in [&b, &a] {
            let path = folder.make_broker(broker).unwrap();
            std::fs::write(path.join("log").join("x"), b"x").unwrap();
        }
        assert_eq!(folder.brokers().unwrap(), [a.clone(), b.clone()]);
        delete(&folder.put_away(&a).unwrap().unwrap());
        assert_eq!(folder.put_away(&a).unwrap(), None);
        assert_eq!(folder.brokers().unwrap(), [b]);
        // What a crash left of a removal goes at the next start.
        std::fs::create_dir_all(temp.path().join("trash/half")).unwrap();
        drop(folder);
        DataFolder::open(temp.path()).unwrap();
        assert!(!temp.path().join("trash").exists());
    }
}
