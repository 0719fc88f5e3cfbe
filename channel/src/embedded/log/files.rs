//! What the log needs of a file system, as a trait, so that tests can put a disk under it that loses power at
//! any moment.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::direct::DirectFile;
use crate::embedded::path_identity::PathIdentity;

/// One folder of files. Names are plain file names, without a path.
pub trait Files: Send + Sync + fmt::Debug {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file, in place of one of the same name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a file to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Deletes a file. Readers that have it open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Whether the file has another name too, as in a backup: removing this one gives no room back.
    fn has_other_names(&self, _name: &str) -> bool {
        false
    }
    /// Makes creations and deletions durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Whether the folder is where it was opened; the error tells what became of it.
    fn check_place(&self) -> io::Result<()>;
    /// Whether files can be made and removed now; the error tells why not.
    fn check_writable(&self) -> io::Result<()>;
}

/// One open file.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// Writes all the bytes at that place. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Reads up to the buffer's length; fewer bytes only at the file's end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Makes content and length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// The file's length.
    fn length(&self) -> io::Result<u64>;
    /// Whether the file's name is known to mean another file now, or none.
    fn is_gone(&self) -> bool;
}

/// A folder of the machine's file system.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    identity: PathIdentity,
    is_cached: bool,
}

// === impl Folder ===

impl Folder {
    /// The folder at `path`, which must exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: PathIdentity::of(&File::open(path)?, path)?,
            is_cached: true,
        })
    }

    fn file(&self, name: &str, options: &OpenOptions) -> io::Result<Arc<dyn LogFile>> {
        let path = self.path.join(name);
        let file = options.open(&path)?;
        Ok(Arc::new(DirectFile::new(file, &path, self.is_cached)?))
    }

    /// The same, with large writes past the page cache: for files that are synced after each write. Others
    /// are better served by memory that takes at once what the disk gets in its own time.
    #[must_use]
    pub fn past_cache(self) -> Self {
        Self {
            is_cached: false,
            ..self
        }
    }
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        // Another process may have its log at this path by now.
        self.check_place()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        self.file(name, &options)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.file(name, OpenOptions::new().read(true).write(true))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_place()?;
        std::fs::remove_file(self.path.join(name))
    }

    fn has_other_names(&self, name: &str) -> bool {
        let found = std::fs::metadata(self.path.join(name));
        found.is_ok_and(|found| found.nlink() > 1)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let folder = File::open(&self.path)?;
        if !self.identity.is(&folder) {
            self.check_place()?;
        }
        folder.sync_all()
    }

    fn check_place(&self) -> io::Result<()> {
        if self.identity.is_lost() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "the folder {} was moved, removed or replaced while Millrace had it open; put it back, \
                     or restart Millrace",
                    self.path.display()
                ),
            ));
        }
        Ok(())
    }

    fn check_writable(&self) -> io::Result<()> {
        use rustix::fs::{Access, access};

        self.check_place()?;
        access(&self.path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(
                error.kind(),
                format!("the folder {} cannot be written: {error}", self.path.display()),
            )
        })
    }
}
