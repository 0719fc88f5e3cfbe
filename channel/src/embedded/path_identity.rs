//! Whether an open file or folder is still what its path names: it may be removed, renamed or replaced under
//! the process.
//!
//! Data in an unlinked file is lost when the process ends, however often it was synced. A link count alone
//! does not tell: a backup may hold a second link, and a folder above may have been renamed. So the path is
//! asked, which costs one `stat`.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A path, and what it named when it was opened. While that stays open, no other file can have its inode
/// number; once it is closed, the time of its birth tells it from a later one.
#[derive(Clone, Debug)]
pub(crate) struct PathIdentity {
    path: PathBuf,
    id: Id,
}

/// Device, inode, and time of birth, where the file system knows it.
type Id = (u64, u64, Option<SystemTime>);

// === impl PathIdentity ===

impl PathIdentity {
    /// The identity of the open `file`.
    pub(crate) fn of(file: &File, path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(&file.metadata()?),
        })
    }

    /// The identity of what is at this path now.
    pub(crate) fn named(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(&std::fs::metadata(path)?),
        })
    }

    /// Whether the open `file` is what the path named then.
    pub(crate) fn is(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|metadata| id(&metadata) == self.id)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path is known to name something else now, or nothing. A path that cannot be looked at
    /// proves nothing.
    pub(crate) fn is_lost(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(now) => id(&now) != self.id,
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        }
    }
}

fn id(metadata: &Metadata) -> Id {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_lost_when_its_path_names_nothing_or_something_else() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("folder");
        let (path, aside) = (folder.join("file"), temp.path().join("aside"));
        std::fs::create_dir(&folder).unwrap();
        let file = File::create(&path).unwrap();
        let identity = PathIdentity::of(&file, &path).unwrap();
        assert!(!identity.is_lost());
        // A second link keeps the link count up, but not the identity.
        std::fs::hard_link(&path, &aside).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(identity.is_lost(), "removed");
        std::fs::write(&path, b"").unwrap();
        assert!(identity.is_lost(), "replaced");
        std::fs::rename(&aside, &path).unwrap();
        assert!(!identity.is_lost(), "put back");
        std::fs::rename(&folder, temp.path().join("moved")).unwrap();
        assert!(identity.is_lost(), "a folder above was renamed");
        std::fs::write(&folder, b"").unwrap();
        assert!(identity.is_lost(), "a file stands where the folder was");
    }
}
