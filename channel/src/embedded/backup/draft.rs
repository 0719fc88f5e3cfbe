//! The folder under a temporary name in which a backup is made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::embedded::folder::{fault, sync_dir};

/// The backup while it is being made. Dropping it removes the folder unless it is published.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    target: PathBuf,
}

// === impl Draft ===

impl Draft {
    pub(super) fn beside(target: &Path, data: &Path) -> Result<Self, BackupError> {
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
    pub(super) fn empty(&self) -> Result<(), BackupError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(fault("delete", &self.path, error).into());
            }
            _ => {}
        }
        make_dir(&self.path)
    }

    /// Gives it its final name, durably. An empty folder of that name is replaced.
    pub(super) fn publish(self) -> Result<(), BackupError> {
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

fn make_dir(path: &Path) -> Result<(), BackupError> {
    Ok(fs::create_dir(path).map_err(|error| fault("make", path, error))?)
}

fn real(path: &Path) -> Result<PathBuf, BackupError> {
    Ok(fs::canonicalize(path).map_err(|error| fault("find", path, error))?)
}
